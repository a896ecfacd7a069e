//! The kept corpus through the checks, as it is and at random changed. This is also what `scripts/fuzz` falls back to
//! where there is no fuzzer: HOOKBELL_FUZZ_SECONDS says how long.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    fuzz::{Check, TARGETS},
    pack,
};

/// Changed inputs for each target in an ordinary run.
const CHANGED: u64 = 1_000;

/// Inputs grow by repetition; this ends it.
const INPUT_BYTES_MAX: usize = 16 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let file = folder().join(target).with_extension("txt");
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let inputs = pack::unpack(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert!(!inputs.is_empty(), "{} keeps nothing", file.display());
    inputs
}

/// Runs a check; when it panics, says for which input.
fn run(target: &str, check: Check, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        eprintln!("the input, as a line for fuzz/corpus/{target}.txt:\n{}", pack::line(input));
        resume_unwind(panic);
    }
}

#[test]
fn every_target_holds_for_what_was_kept() {
    for (target, check) in TARGETS {
        run(target, *check, b"");
        for input in kept(target) {
            run(target, *check, &input);
        }
    }
    let files = fs::read_dir(folder()).expect("a corpus").count();
    assert_eq!(files, TARGETS.len(), "fuzz/corpus has files without a target in fuzz/src/lib.rs");
}

#[test]
fn every_target_has_its_entry() {
    let manifest: toml::Table = include_str!("../../fuzz/Cargo.toml").parse().expect("TOML");
    let entries = manifest["bin"].as_array().expect("entries");
    let names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    assert_eq!(names, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn every_target_holds_for_changed_inputs() {
    let seconds = env::var("HOOKBELL_FUZZ_SECONDS").ok().map(|text| text.parse().expect("a number of seconds"));
    let only: Option<Vec<String>> =
        env::var("HOOKBELL_FUZZ_TARGETS").ok().map(|names| names.split_whitespace().map(str::to_owned).collect());
    let is_chosen = |target: &str| only.as_ref().is_none_or(|names| names.iter().any(|name| name == target));
    let chosen: Vec<_> = TARGETS.iter().filter(|(target, _)| is_chosen(target)).collect();
    // An ordinary run is the same every time; a long one goes elsewhere every time.
    let seed = if seconds.is_some() { getrandom::u64().expect("randomness") } else { 1 };
    for (target, check) in &chosen {
        let inputs = kept(target);
        let mut random = Random(seed);
        let (mut runs, started) = (0, Instant::now());
        let share = seconds.map(|seconds: u64| Duration::from_secs(seconds) / chosen.len() as u32);
        while share.map_or(runs < CHANGED, |share| started.elapsed() < share) {
            run(target, *check, &changed(&inputs, &mut random));
            runs += 1;
        }
        println!("{target}: {runs} changed inputs, seed {seed}");
    }
}

/// One of the inputs with a few changes.
fn changed(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.one_of(inputs).clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(6) {
            0 => input.insert(at, random.below(256) as u8),
            1 => drop(input.drain(at..end)),
            2 if at < input.len() => input[at] ^= 1 << random.below(8),
            3 => {
                let again = input[at..end].repeat(1 + random.below(8));
                input.splice(at..at, again);
            }
            4 => {
                let other = random.one_of(inputs);
                let from = random.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let tokens = crate::streams::TOKENS;
                input.splice(at..at, tokens[random.below(tokens.len())].iter().copied());
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
    input
}

/// SplitMix64: a few lines that give the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    fn one_of<'a>(&mut self, inputs: &'a [Vec<u8>]) -> &'a Vec<u8> {
        &inputs[self.below(inputs.len())]
    }
}

#[test]
fn packing_loses_nothing() {
    let every: Vec<u8> = (0..=255).collect();
    let inputs = [b"#".to_vec(), b" a ".to_vec(), b"a\\x".to_vec(), b"\\\r\n\t\0".to_vec(), every];
    let mut sorted = inputs.to_vec();
    sorted.sort_by_key(Vec::len);
    assert_eq!(pack::unpack(&pack::pack(inputs.to_vec())), Ok(sorted));
    assert_eq!(pack::unpack("# a comment\n\nab\n"), Ok(vec![b"ab".to_vec()]));
    for broken in ["\\", "\\q", "\\x0", "\\xzz", "\u{e9}", "a\t"] {
        assert_eq!(pack::unpack(broken), Err("line 1 is not spelled as pack spells it".to_owned()), "{broken}");
    }
}
