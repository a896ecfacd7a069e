//! Ringtones as text: the body of RTTTL, `d=16,o=6,b=180:c,e,g`. Owns reading one and its rhythm; pure: refuses I/O,
//! clocks, pins.
//!
//! The format is Nokia's: an optional section of defaults (`d` note length, `o` octave, `b` beats a minute), a colon,
//! notes. A note is `[length] letter [#] [.] [octave] [.]`; `p` is a pause. Blanks and case do not matter, and `h`, the
//! German B, is read too.

use std::{fmt, time::Duration};

/// The longest tune. A desk that plays for longer than this is broken, or somebody else's.
pub const TUNE_MAX: Duration = Duration::from_secs(10);

/// One note or pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Note {
    /// Equal temperament, A4 = 440 Hz; `None` is a pause.
    pub frequency_hz: Option<f64>,
    /// From its start to the next note's.
    pub duration: Duration,
}

/// Why a text is not a tune: where, and what should stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TuneError {
    /// 1-based, in characters.
    pub column: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for TuneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: expected {}", self.column, self.expected)
    }
}

impl std::error::Error for TuneError {}

/// Reads an RTTTL body.
///
/// # Errors
/// When it is not one, or is longer than [`TUNE_MAX`].
pub fn parse(body: &str) -> Result<Vec<Note>, TuneError> {
    let mut text = Text { chars: body.chars().collect(), at: 0 };
    let mut defaults = Defaults { length: 4, octave: 6, beats_per_minute: 63 };
    match text.chars.iter().filter(|c| **c == ':').count() {
        0 => {}
        1 => text.defaults(&mut defaults)?,
        _ => {
            text.skip_to_colon();
            return Err(text.expected("one ':' only (leave out the tune's name)"));
        }
    }
    let mut notes = Vec::new();
    let mut total = Duration::ZERO;
    loop {
        text.skip_blanks();
        let start = text.at;
        let note = text.note(defaults)?;
        total += note.duration;
        if total > TUNE_MAX {
            return Err(TuneError { column: start + 1, expected: "the tune to end within 10 s" });
        }
        notes.push(note);
        if text.peek().is_none() {
            return Ok(notes);
        }
        if !text.take_if(',') {
            return Err(text.expected("',' or the end"));
        }
    }
}

/// When an active buzzer, which knows one pitch, sounds: `(start, end)` from the tune's start. Each note ends a little
/// early, so that equal notes are heard as two.
pub fn rhythm(notes: &[Note]) -> Vec<(Duration, Duration)> {
    let mut spans = Vec::new();
    let mut start = Duration::ZERO;
    for note in notes {
        let end = start + note.duration;
        if note.frequency_hz.is_some() {
            spans.push((start, end - gap(note.duration)));
        }
        start = end;
    }
    spans
}

/// An eighth of the note, but audible, and never most of it. 15 ms is what a cheap buzzer needs to fall silent.
fn gap(note: Duration) -> Duration {
    (note / 8).clamp(Duration::from_millis(15), Duration::from_millis(40)).min(note / 2)
}

#[derive(Clone, Copy)]
struct Defaults {
    length: u32,
    octave: u32,
    beats_per_minute: u32,
}

/// A cursor over the characters; errors stand where it stands.
struct Text {
    chars: Vec<char>,
    at: usize,
}

impl Text {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).map(char::to_ascii_lowercase)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.at += 1;
            self.skip_blanks();
        }
        there
    }

    fn skip_blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn skip_to_colon(&mut self) {
        while self.peek().is_some_and(|c| c != ':') {
            self.at += 1;
        }
    }

    fn expected(&self, expected: &'static str) -> TuneError {
        TuneError { column: self.at + 1, expected }
    }

    /// Digits, where there are any. Saturates: what is too large is refused by its range.
    fn number(&mut self) -> Option<u32> {
        let mut number: Option<u32> = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            self.at += 1;
        }
        self.skip_blanks();
        number
    }

    /// A number that `fits`; an error stands at its first digit.
    fn number_that(&mut self, fits: impl Fn(u32) -> bool, expected: &'static str) -> Result<u32, TuneError> {
        let error = self.expected(expected);
        self.number().filter(|number| fits(*number)).ok_or(error)
    }

    /// `d=16,o=6,b=180:`, each part optional, in any order.
    fn defaults(&mut self, defaults: &mut Defaults) -> Result<(), TuneError> {
        self.skip_blanks();
        while !self.take_if(':') {
            let name = self.peek();
            if !matches!(name, Some('d' | 'o' | 'b')) {
                return Err(self.expected("d=, o=, b= or ':'"));
            }
            self.at += 1;
            self.skip_blanks();
            if !self.take_if('=') {
                return Err(self.expected("'='"));
            }
            match name {
                Some('d') => defaults.length = self.number_that(is_length, LENGTHS)?,
                Some('o') => defaults.octave = self.number_that(is_octave, OCTAVES)?,
                _ => defaults.beats_per_minute = self.number_that(|b| (25..=900).contains(&b), "25 to 900 beats")?,
            }
            if !self.take_if(',') && self.peek() != Some(':') {
                return Err(self.expected("',' or ':'"));
            }
        }
        Ok(())
    }

    fn note(&mut self, defaults: Defaults) -> Result<Note, TuneError> {
        let length = if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.number_that(is_length, LENGTHS)?
        } else {
            defaults.length
        };
        let semitone = match self.peek() {
            Some('c') => Some(0),
            Some('d') => Some(2),
            Some('e') => Some(4),
            Some('f') => Some(5),
            Some('g') => Some(7),
            Some('a') => Some(9),
            Some('b' | 'h') => Some(11),
            Some('p') => None,
            _ => return Err(self.expected("a note (a to g) or a pause (p)")),
        };
        self.at += 1;
        self.skip_blanks();
        let sharp = semitone.is_some() && self.take_if('#');
        // Phones wrote the dot before the octave or after it.
        let mut dotted = self.take_if('.');
        let octave = if self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.number_that(is_octave, OCTAVES)?
        } else {
            defaults.octave
        };
        dotted |= !dotted && self.take_if('.');

        let whole_us = 4 * 60_000_000 / u64::from(defaults.beats_per_minute);
        let plain_us = whole_us / u64::from(length);
        let duration = Duration::from_micros(if dotted { plain_us * 3 / 2 } else { plain_us });
        let frequency_hz = semitone.map(|semitone| frequency_hz(octave, semitone + i32::from(sharp)));
        Ok(Note { frequency_hz, duration })
    }
}

const LENGTHS: &str = "a length of 1, 2, 4, 8, 16, 32 or 64";
const OCTAVES: &str = "an octave from 1 to 8";

fn is_length(number: u32) -> bool {
    number.is_power_of_two() && number <= 64
}

fn is_octave(number: u32) -> bool {
    (1..=8).contains(&number)
}

fn frequency_hz(octave: u32, semitone: i32) -> f64 {
    let from_a4 = f64::from(octave) * 12.0 + f64::from(semitone) - (4.0 * 12.0 + 9.0);
    440.0 * (from_a4 / 12.0).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes as `Hz@µs`, a pause as `-@µs`.
    fn check(body: &str, expected: &str) {
        let notes = parse(body).unwrap_or_else(|error| panic!("{body}: {error}"));
        let shown: Vec<String> = notes
            .iter()
            .map(|note| match note.frequency_hz {
                Some(hz) => format!("{hz:.0}@{}", note.duration.as_micros()),
                None => format!("-@{}", note.duration.as_micros()),
            })
            .collect();
        assert_eq!(shown.join(" "), expected, "{body}");
    }

    fn check_error(body: &str, column: usize, expected: &str) {
        let error = parse(body).expect_err(body);
        assert_eq!(error.column, column, "{body}: {error}");
        assert!(error.expected.contains(expected), "{body}: {error}");
    }

    #[test]
    fn bodies() {
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
    }

    #[test]
    fn errors_say_where_and_what() {
        check_error("", 1, "a note");
        check_error("d=16:", 6, "a note");
        check_error("d=16,o=6,b=180:c,x,g", 18, "a note");
        check_error("c,", 3, "a note");
        check_error("c;e", 2, "','");
        check_error("d=3:c", 3, "length");
        check_error("d=:c", 3, "length");
        check_error("d16:c", 2, "'='");
        check_error("o=9:c", 3, "octave");
        check_error("b=24:c", 3, "beats");
        check_error("b=99999999999999:c", 3, "beats");
        check_error("x=1:c", 1, "d=, o=, b=");
        check_error("d=4 o=5:c", 5, "',' or ':'");
        check_error("d=4,o=5", 2, "',' or the end");
        check_error("Muppets:d=4:c", 8, "name");
        check_error("c0", 2, "octave");
        check_error("c..", 3, "','");
        check_error("5c", 1, "length");
        check_error("p#", 2, "','");
        check_error("é,c", 1, "a note");
        check_error("c,♪", 3, "a note");
    }

    #[test]
    fn ten_seconds_and_no_more() {
        assert_eq!(parse("d=2,b=60:c,c,c,c,c").unwrap().len(), 5);
        check_error("d=2,b=60:c,c,c,c,c,64c", 20, "10 s");
    }

    #[test]
    fn any_prefix_of_a_tune_is_read_or_refused() {
        let body = "d=16,o=6,b=180:c#.5,8p,e4.,h,♪";
        for (end, _) in body.char_indices() {
            let _ = parse(&body[..end]);
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
    }
}
