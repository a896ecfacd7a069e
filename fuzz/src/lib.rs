//! What the fuzzer runs: one check for each target, a plain function that panics when a property does not hold. Owns
//! the properties; refuses to know who calls, which is libFuzzer (`targets/`), the replay of the kept corpus and the
//! property tests (both in `tests/readers`, which takes this file as a module).
//!
//! A new target is a module with a `check`, its line in [`TARGETS`], and its entry: `targets/NAME.rs`, a `[[bin]]` in
//! `Cargo.toml`, and a file of seeds in `corpus/`.

pub mod body;
pub mod head;
pub mod keys;
pub mod meaning;
pub mod portions;
pub mod proof;
pub mod request;
pub mod sender;

/// A property of any bytes. Panics when it does not hold.
pub type Check = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: &[(&str, Check)] = &[
    ("body", body::check),
    ("head", head::check),
    ("meaning", meaning::check),
    ("proof", proof::check),
    ("request", request::check),
];
