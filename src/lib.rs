//! hookbell receives webhooks, keeps every one of them, and turns them into Slack messages and into light and sound.
//!
//! The modules stand in reading order, and dependencies point upward only: the vocabulary first, then what is pure,
//! then what touches one outside thing each, then the roles, then the program around them. `ARCHITECTURE.md` has the
//! map and the invariants; `tests/integration/invariants.rs` holds them against these sources.

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision that it was built from; what was changed since has a `+`. A debug build does not say.
pub const REVISION: &str = env!("HOOKBELL_REVISION");

/// What `--version` says.
pub const VERSION_LINE: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("HOOKBELL_REVISION"), ")");

/// When this program was built. No moment before it can be now.
pub const BUILT: time::Timestamp = match i64::from_str_radix(env!("HOOKBELL_BUILT_S"), 10) {
    Ok(seconds) => time::Timestamp::from_ms(seconds * 1000),
    Err(_) => time::Timestamp::from_ms(0),
};

// The vocabulary.
pub mod allowance;
pub mod event;
pub mod headers;
pub mod logfmt;
pub mod meters;
pub mod secret;
pub mod threads;
pub mod time;

// Pure: no I/O, no clock, no threads.
pub mod provider;
pub mod rule;
pub mod schedule;

// One outside thing each.
pub mod bell;
pub mod config;
pub mod http;
pub mod remote;
pub mod sink;
pub mod store;
pub mod systemd;
pub mod tunnel;

// The roles, and the program.
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod door;
pub mod panel;
pub mod recover;
pub mod work;
