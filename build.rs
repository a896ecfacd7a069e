//! When this was built, for a program that must know when its clock is plainly wrong.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    // Builds that shall be the same on every machine say the time themselves (reproducible-builds.org).
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    let seconds = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    println!("cargo:rustc-env=HOOKBELL_BUILT_S={seconds}");
}
