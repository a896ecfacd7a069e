//! libFuzzer's entry to the check of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hookbell_fuzz::meaning::check(bytes));
