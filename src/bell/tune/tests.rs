//! Tunes read and tunes refused, in tables.

mod corpus;
mod properties;

use self::corpus::{SEMITONES_HZ, TUNES};
use super::*;

/// Notes as `Hz@µs`, a pause as `-@µs`.
fn check(text: &str, expected: &str) {
    let notes = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let shown: Vec<String> = notes
        .iter()
        .map(|note| match note.frequency_hz {
            Some(hz) => format!("{hz:.0}@{}", note.duration.as_micros()),
            None => format!("-@{}", note.duration.as_micros()),
        })
        .collect();
    assert_eq!(shown.join(" "), expected, "{text}");
}

fn check_error(text: &str, column: usize, expected: &str) {
    let error = parse(text).expect_err(text);
    assert_eq!(error.column, column, "{text}: {error}");
    assert!(error.expected.contains(expected), "{text}: {error}");
}

#[test]
fn notes_and_their_parts() {
    check("d=16,o=6,b=180:c,e,g", "1047@83333 1319@83333 1568@83333");
    check("b=60:a", "1760@1000000");
    check("a", "1760@952380");
    check(":a", "1760@952380");
    check("o=4,b=60,d=1:a", "440@4000000");
    check("b=60,o=4:8a#,p,2p.", "466@500000 -@1000000 -@3000000");
    check("b=60:a.4,a4.,4a.5", "440@1500000 440@1500000 880@1500000");
    check("b=60,o=5:h,b,b#,e#", "988@1000000 988@1000000 1047@1000000 698@1000000");
    check(" D = 8 , B = 120 : C , 16 P ", "1047@250000 -@125000");
    check("d=64,b=900:c8", "4186@4166");
    check("b=60,o=5:8p6,p4.", "-@500000 -@1500000");
}

#[test]
fn names_and_sections() {
    check("Name:b=60:a", "1760@1000000");
    check("Name::a", "1760@952380");
    check(":b=60:a", "1760@1000000");
    check("::a", "1760@952380");
    check("é, 1/2 #:b=60:a", "1760@1000000");
    check("E=mc2:b=60:a", "1760@1000000");
    check("B52:b=60:a", "1760@1000000");
    check(&format!("{}:b=60:a", "n".repeat(NAME_CHARS_MAX)), "1760@1000000");
    check("b=60,:a", "1760@1000000");
    check("b=120,b=60:a", "1760@1000000");
}

#[test]
fn stretches() {
    check("b=60,o=4:a.,a..,a;,a&", "440@1500000 440@1750000 440@1750000 440@666666");
    check("b=60:8.a4,8a.4,8a4.", "440@750000 440@750000 440@750000");
    check("b=60:8..a4,8;a4,8&a4", "440@875000 440@875000 440@333333");
    check("b=60:a#..4,a#4..", "466@1750000 466@1750000");
    check("b=60:p.,p..,p&", "-@1500000 -@1750000 -@666666");
}

#[test]
fn controls_among_the_notes() {
    check("b=60:a4,o=5,a,a4", "440@1000000 880@1000000 440@1000000");
    check("b=60,o=4:a,b=120,a,b240,a", "440@1000000 440@500000 440@250000");
    check("b=60,o=4:a,d=8,a", "440@1000000 440@500000");
    check("o=4,a,b=60", "440@952380");
    check("b=60:b5,d5,b.5", "988@1000000 587@1000000 988@1500000");
    check("b=60,o=4,s=C,v=15,l=0:a,SS,a,s=n,v0,l=0,a", "440@1000000 440@1000000 440@1000000");
}

#[test]
fn blanks_and_case_and_the_last_comma() {
    check("B=6 0\t:\r\nA\u{a0}4 ,\n1\n6 P", "440@1000000 -@250000");
    check("b=60:a4,", "440@1000000");
    check("b=60:a4 , \n", "440@1000000");
    check("b=60:a4,o5,", "440@1000000");
}

#[test]
fn errors_say_where_and_what() {
    for (text, column, expected) in [
        // The notes.
        ("", 1, "a note"),
        (" \n", 3, "a note"),
        (",", 1, "a note"),
        ("c,,", 3, "a note"),
        ("c, ,e", 4, "a note"),
        ("d=16:", 6, "a note"),
        ("d=16,o=6,b=180:c,x,g", 18, "a note"),
        ("Name:d=16:c,x,g", 13, "a note"),
        ("Name::", 7, "a note"),
        ("::", 3, "a note"),
        ("o=5", 4, "a note"),
        ("o=5,", 5, "a note"),
        ("é,c", 1, "a note"),
        ("c,♪", 3, "a note"),
        ("#c", 1, "a note"),
        (".c", 1, "a note"),
        ("8", 2, "a note"),
        ("8.", 3, "a note"),
        ("8,c", 2, "a note"),
        ("8 8c", 1, "a length of 1"),
        ("c;e", 3, "',' or the end"),
        ("c|e", 2, "',' or the end"),
        ("c e", 3, "',' or the end"),
        ("c\ne", 3, "',' or the end"),
        ("cc", 2, "',' or the end"),
        ("p#", 2, "',' or the end"),
        ("c##", 3, "',' or the end"),
        ("c5#", 3, "',' or the end"),
        ("c...", 4, "',' or the end"),
        ("c.;", 3, "',' or the end"),
        ("c.5.", 4, "',' or the end"),
        ("8.c.", 4, "',' or the end"),
        ("c&&", 3, "',' or the end"),
        ("eb", 2, "no flats"),
        ("8eb5", 3, "no flats"),
        ("c,e_", 4, "no flats"),
        ("e♭", 2, "no flats"),
        // Numbers out of range stand at their first digit.
        ("5c", 1, "a length of 1"),
        ("0c", 1, "a length of 1"),
        ("128c", 1, "a length of 1"),
        ("c, 99999999999999c", 4, "a length of 1"),
        ("c0", 2, "an octave from 1 to 8"),
        ("c#9", 3, "an octave"),
        ("c55", 2, "an octave"),
        ("d16", 2, "an octave"),
        ("b9", 2, "an octave"),
        ("b24,c", 2, "25 to 900 beats"),
        ("b901,c", 2, "25 to 900 beats"),
        ("c,o9,c", 4, "an octave"),
        ("c,o,c", 4, "an octave"),
        ("c,d=3,c", 5, "a length"),
        ("c,b=,c", 5, "25 to 900 beats"),
        // The defaults.
        ("d=3:c", 3, "a length of 1"),
        ("d=0:c", 3, "a length of 1"),
        ("d=128:c", 3, "a length of 1"),
        ("d=:c", 3, "a length of 1"),
        ("d:c", 2, "a length of 1"),
        ("d=-4:c", 3, "a length of 1"),
        ("d==4:c", 3, "a length of 1"),
        ("o=0:c", 3, "an octave"),
        ("o=9:c", 3, "an octave"),
        ("b=24:c", 3, "25 to 900 beats"),
        ("b=901:c", 3, "25 to 900 beats"),
        ("b=99999999999999:c", 3, "25 to 900 beats"),
        ("b=120.5:c", 6, "',' or ':'"),
        ("d=4 o=5:c", 5, "',' or ':'"),
        ("d=4;o=5:c", 4, "',' or ':'"),
        ("x=1:c", 1, "d=, o=, b="),
        ("n:x=1:c", 3, "d=, o=, b="),
        ("d=4,,o=5:c", 5, "d=, o=, b="),
        (",:c", 1, "d=, o=, b="),
        ("4:c", 1, "d=, o=, b="),
        ("=4:c", 1, "d=, o=, b="),
        ("d=4,c,e:c", 5, "d=, o=, b="),
        // Names and colons.
        ("Muppets:c", 1, "Name::c"),
        ("Muppets:x=4:c", 9, "d=, o=, b="),
        ("d=16:o=6:c", 5, "',', as the defaults"),
        ("Part 2: Name:d=4:c", 17, "at most two ':'"),
        ("Name:d=4:c:e", 11, "at most two ':'"),
        (":::c", 3, "at most two ':'"),
        // RTX.
        ("l=3:c", 3, "a cue plays once"),
        ("l=15:c", 3, "a cue plays once"),
        ("l=:c", 3, "a cue plays once"),
        ("c,l2,c", 4, "a cue plays once"),
        ("s=x:c", 3, "C, N or S"),
        ("s=:c", 3, "C, N or S"),
        ("c,s", 4, "C, N or S"),
        ("c,sx", 4, "C, N or S"),
        ("v=16:c", 3, "0 to 15"),
        ("V=3/4:c", 4, "',' or ':'"),
    ] {
        check_error(text, column, expected);
    }
    check_error(&format!("{}:d=4:c", "n".repeat(NAME_CHARS_MAX + 1)), NAME_CHARS_MAX + 1, "at most 64");
    check_error(&format!("{}::c", " ".repeat(NAME_CHARS_MAX + 1)), NAME_CHARS_MAX + 1, "at most 64");
}

#[test]
fn ten_seconds_and_no_more() {
    assert_eq!(parse("d=2,b=60:c,c,c,c,c").unwrap().len(), 5);
    check_error("d=2,b=60:c,c,c,c,c,64c", 20, "10 s");
    check_error("d=2,b=60:c,c,c,c,c, 64p,c", 21, "10 s");
    check_error("Long:d=1,b=25:c.", 15, "10 s");
    check_error("d=1,b=25:c,b=900,x", 18, "a note");
}

#[test]
fn known_tunes() {
    for (what, text, expected) in TUNES {
        let notes = parse(text).unwrap_or_else(|error| panic!("{what}: {error}"));
        let total: Duration = notes.iter().map(|note| note.duration).sum();
        let pitches: Vec<f64> = notes.iter().filter_map(|note| note.frequency_hz).collect();
        let (first, last) = (pitches[0], pitches[pitches.len() - 1]);
        let pauses = notes.len() - pitches.len();
        let ms = total.as_secs_f64() * 1000.0;
        let shown = format!("{} notes, {pauses} pauses, {ms:.0} ms, {first:.2} to {last:.2} Hz", pitches.len());
        assert_eq!(shown, *expected, "{what}");
    }
}

#[test]
fn frequencies() {
    let octave = "c c# d d# e f f# g g# a a# b";
    for (number, row) in (4..).zip(SEMITONES_HZ) {
        for (name, hz) in octave.split(' ').zip(row) {
            let read = parse(&format!("{name}{number}")).unwrap()[0].frequency_hz.unwrap();
            assert!((read - hz).abs() < 0.01, "{name}{number}: {read}");
            assert_eq!(parse(&format!("o={number}:{name}")).unwrap()[0].frequency_hz, Some(read));
        }
    }
}

#[test]
fn equal_notes_are_heard_as_two() {
    let ms = Duration::from_millis;
    let notes = parse("d=4,b=60:c,8c,8p,32c").unwrap();
    assert_eq!(
        rhythm(&notes),
        [(ms(0), ms(960)), (ms(1000), ms(1460)), (ms(2000), Duration::from_micros(2_109_375))],
        "a note of 1 s, one of 500 ms, a pause, one of 125 ms"
    );
    let shortest = parse("d=64,b=900:c").unwrap();
    assert_eq!(rhythm(&shortest), [(ms(0), Duration::from_micros(2083))]);
    assert_eq!(rhythm(&parse("p").unwrap()), []);
}
