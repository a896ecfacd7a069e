//! Finds the recorded requests that others made: `HOOKBELL_VECTORS`, else `../shared/vectors` beside the repository.
//! They are not part of the repository (their licences differ), so a test that misses them says so and passes.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The folder, or `None` with a line that says what is not tested.
fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("HOOKBELL_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors")),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: there is no {} with recorded requests; set HOOKBELL_VECTORS", folder.display());
    None
}

/// A file of that folder, read as JSON.
pub(crate) fn json(path: &str) -> Option<Value> {
    let path = folder()?.join(path);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("parse {}: {error}", path.display())))
}

/// A file of that folder, as it is.
pub(super) fn bytes(path: &str) -> Vec<u8> {
    folder().and_then(|folder| fs::read(folder.join(path)).ok()).unwrap_or_else(|| panic!("read {path}"))
}

/// A list within a file: what stands under `key`, for this provider.
pub(super) fn cases(path: &str, key: &str, provider: &str) -> Vec<Value> {
    let Some(mut file) = json(path) else { return Vec::new() };
    let Value::Array(cases) = file[key].take() else { panic!("{path} has no list {key}") };
    cases.into_iter().filter(|case| case["provider"] == provider).collect()
}

/// Decodes base64 with padding; the vectors' `body_base64`.
pub(super) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = ALPHABET.iter().position(|known| *known == digit).expect("base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    out
}
