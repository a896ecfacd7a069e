//! The configuration that `hookbell init` writes. Owns its text; writes no file.

/// A commented configuration with every key. It loads as it stands, given [`SECRET_FILE`] beside it.
pub const TEMPLATE: &str = include_str!("default.toml");

/// The name under which [`TEMPLATE`] expects the generated secret of GitHub's webhook, in its own directory.
pub const SECRET_FILE: &str = "github.secret";
