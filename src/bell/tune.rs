//! Ringtones as text: RTTTL, `Name:d=16,o=6,b=180:c,e,g`. Owns reading one and its rhythm; pure: refuses I/O, clocks,
//! pins.
//!
//! The format is Nokia's (1998), in the later reading in which A4 is 440 Hz; the earliest wrote that note `a5`:
//!
//! ```text
//! tune     = [[name ":"] [control *("," control)] ":"] command *("," command) [","]
//! control  = ("d" ["="] length) | ("o" ["="] octave) | ("b" ["="] beats)
//!          | ("s" ["="] ("c" | "n" | "s")) | ("v" ["="] 0..15) | ("l" ["="] 0)
//! command  = note | control
//! note     = [length [stretch]] ("a" .. "h") ["#"] [stretch] [octave] [stretch]
//! pause    = the same with "p", and no "#"
//! stretch  = "." (3/2)  |  ".." or ";" (7/4)  |  "&" (2/3, a triplet's)
//! length   = 1, 2, 4, 8, 16, 32 or 64         octave = 1 to 8         beats = 25 to 900 a minute
//! ```
//!
//! Without controls a tune is `d=4,o=6,b=63`. What the grammar does not say:
//!
//! - The name is ignored. It may be empty, and has at most [`NAME_CHARS_MAX`] characters. The defaults may be empty as
//!   well. A name that reads as defaults (`d=16:o=6:c`) is refused: they would be lost.
//! - Blanks and line breaks are ignored, even within a number, because tunes are wrapped anywhere; so is case.
//! - The dot stood after the octave in the specification and before it in its own example, and phones' composers wrote
//!   it after the length. Each is read, but one stretch a note.
//! - `h` is the German B. `e#` is F, and `b#` the C above. There are no flats: `eb` is written `d#`.
//! - A control among the notes holds from there on. Its `=` may be missing too, where it is not then a note: `o5`, and
//!   `b180` as no octave has two digits, but never `d8`.
//! - The last comma is Nokia's: in the first grammar it ends a note, and does not stand between two.
//! - `s` (style), `v` (volume) and `l` (loop) are from RTX, which extends RTTTL by what Nokia's messages had besides.
//!   Style and volume are read and ignored: a buzzer has neither. A loop is refused, because a cue plays once; to ignore
//!   it would change the tune. Any other control is refused, although a phone had to ignore it: here it is a slip.

use std::{fmt, time::Duration};

/// The longest tune. A desk that plays for longer than this is broken, or somebody else's.
pub const TUNE_MAX: Duration = Duration::from_secs(10);

/// The longest name. Phones took 10 or 15; a text without an end is no name.
pub const NAME_CHARS_MAX: usize = 64;

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

/// Reads an RTTTL tune, or only its defaults and notes, or only its notes.
///
/// # Errors
/// When it is not one, or is longer than [`TUNE_MAX`].
pub fn parse(text: &str) -> Result<Vec<Note>, TuneError> {
    let mut text = Text::new(text);
    let mut defaults = Defaults { length: 4, octave: 6, beats_per_minute: 63 };
    match text.colons()[..] {
        [] => {}
        [_] => text.defaults(&mut defaults, "d=, o=, b= or ':' (after a name alone, two: \"Name::c\")")?,
        [name_end, _] => {
            text.name(name_end, defaults)?;
            text.defaults(&mut defaults, "d=, o=, b= or ':'")?;
        }
        [_, _, third, ..] => {
            return Err(TuneError { column: third, expected: "at most two ':', as in \"Name:d=16,o=6,b=180:c,e,g\"" });
        }
    }
    text.notes(defaults)
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

/// What a note has where it says nothing itself.
#[derive(Clone, Copy)]
struct Defaults {
    length: u32,
    octave: u32,
    beats_per_minute: u32,
}

/// By how much a note is longer or shorter than its length, as a fraction.
type Stretch = (u64, u64);

/// A cursor over the characters that count, in lower case; errors stand where it stands.
#[derive(Clone)]
struct Text {
    /// Each with its column.
    chars: Vec<(usize, char)>,
    at: usize,
    /// The column after the last.
    end: usize,
}

impl Text {
    fn new(text: &str) -> Text {
        let numbered = (1..).zip(text.chars());
        let chars = numbered.filter(|(_, c)| !c.is_whitespace()).map(|(column, c)| (column, c.to_ascii_lowercase()));
        Text { chars: chars.collect(), at: 0, end: text.chars().count() + 1 }
    }

    fn colons(&self) -> Vec<usize> {
        self.chars.iter().filter(|(_, c)| *c == ':').map(|(column, _)| *column).collect()
    }

    fn peek(&self) -> Option<char> {
        self.peek_after(0)
    }

    fn peek_after(&self, count: usize) -> Option<char> {
        self.chars.get(self.at + count).map(|(_, c)| *c)
    }

    fn digit_after(&self, count: usize) -> Option<u32> {
        self.peek_after(count).and_then(|c| c.to_digit(10))
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn expected(&self, expected: &'static str) -> TuneError {
        TuneError { column: self.chars.get(self.at).map_or(self.end, |(column, _)| *column), expected }
    }

    /// Digits, where there are any. Saturates: what is too large is refused by its range.
    fn number(&mut self) -> Option<u32> {
        let mut number: Option<u32> = None;
        while let Some(digit) = self.digit_after(0) {
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
            self.at += 1;
        }
        number
    }

    /// A number that `fits`; an error stands at its first digit.
    fn number_that(&mut self, fits: impl Fn(u32) -> bool, expected: &'static str) -> Result<u32, TuneError> {
        let error = self.expected(expected);
        self.number().filter(|number| fits(*number)).ok_or(error)
    }

    /// `Name:`, whose colon is in that column.
    fn name(&mut self, end: usize, mut unused: Defaults) -> Result<(), TuneError> {
        if end > NAME_CHARS_MAX + 1 {
            return Err(TuneError { column: NAME_CHARS_MAX + 1, expected: "':', as a name has at most 64 characters" });
        }
        let mut as_defaults = self.clone();
        let reads = as_defaults.defaults(&mut unused, "").is_ok();
        let before = self.chars.iter().take_while(|(column, _)| *column < end);
        if reads && before.clone().any(|(_, c)| *c == '=') {
            return Err(TuneError { column: end, expected: "',', as the defaults are one section" });
        }
        self.at = before.count() + 1;
        Ok(())
    }

    /// `d=16,o=6,b=180:`, each part optional, in any order.
    fn defaults(&mut self, defaults: &mut Defaults, expected: &'static str) -> Result<(), TuneError> {
        while !self.take_if(':') {
            if !matches!(self.peek(), Some('d' | 'o' | 'b' | 's' | 'l' | 'v')) {
                return Err(self.expected(expected));
            }
            self.control(defaults)?;
            if !self.take_if(',') && self.peek() != Some(':') {
                return Err(self.expected("',' or ':'"));
            }
        }
        Ok(())
    }

    /// Stands at its letter.
    fn control(&mut self, defaults: &mut Defaults) -> Result<(), TuneError> {
        let letter = self.peek();
        self.at += 1;
        self.take_if('=');
        match letter {
            Some('d') => defaults.length = self.number_that(is_length, LENGTHS)?,
            Some('o') => defaults.octave = self.number_that(is_octave, OCTAVES)?,
            Some('b') => {
                defaults.beats_per_minute = self.number_that(|beats| (25..=900).contains(&beats), "25 to 900 beats")?;
            }
            Some('l') => {
                self.number_that(|times| times == 0, "0, as a cue plays once (l= is RTX's loop; leave it out)")?;
            }
            Some('v') => {
                self.number_that(|volume| volume <= 15, "a volume of 0 to 15 (v= is RTX's; leave it out)")?;
            }
            _ if matches!(self.peek(), Some('c' | 'n' | 's')) => self.at += 1,
            _ => return Err(self.expected("C, N or S (s= is RTX's style; leave it out)")),
        }
        Ok(())
    }

    /// Whether what stands among the notes is a control. `b` and `d` are notes as well.
    fn at_control(&self) -> bool {
        match self.peek() {
            Some('o' | 's' | 'l' | 'v') => true,
            Some('b' | 'd') if self.peek_after(1) == Some('=') => true,
            Some('b') => self.digit_after(1).is_some() && self.digit_after(2).is_some(),
            _ => false,
        }
    }

    fn notes(&mut self, mut defaults: Defaults) -> Result<Vec<Note>, TuneError> {
        let mut notes = Vec::new();
        let mut total = Duration::ZERO;
        while notes.is_empty() || self.peek().is_some() {
            if self.at_control() {
                self.control(&mut defaults)?;
            } else {
                let too_long = self.expected("the tune to end within 10 s");
                let note = self.note(defaults)?;
                total += note.duration;
                if total > TUNE_MAX {
                    return Err(too_long);
                }
                notes.push(note);
            }
            match self.peek() {
                None => {}
                Some(',') => self.at += 1,
                Some('b' | '_' | '♭') => {
                    return Err(self.expected("',' or the end (no flats: for eb write d#)"));
                }
                Some(_) => return Err(self.expected("',' or the end")),
            }
        }
        Ok(notes)
    }

    fn note(&mut self, defaults: Defaults) -> Result<Note, TuneError> {
        let mut stretch = None;
        let mut length = defaults.length;
        if self.digit_after(0).is_some() {
            length = self.number_that(is_length, LENGTHS)?;
            stretch = self.stretch();
        }
        let semitone = match self.peek() {
            Some('c') => Some(0),
            Some('d') => Some(2),
            Some('e') => Some(4),
            Some('f') => Some(5),
            Some('g') => Some(7),
            Some('a') => Some(9),
            Some('b' | 'h') => Some(11),
            Some('p') => None,
            _ => return Err(self.expected("a note (a to h) or a pause (p)")),
        };
        self.at += 1;
        let sharp = semitone.is_some() && self.take_if('#');
        stretch = stretch.or_else(|| self.stretch());
        let octave =
            if self.digit_after(0).is_some() { self.number_that(is_octave, OCTAVES)? } else { defaults.octave };
        let (times, parts) = stretch.or_else(|| self.stretch()).unwrap_or((1, 1));

        // A beat is a quarter, whatever the default length.
        let whole_us = 4 * 60_000_000 / parts;
        let divisor = u64::from(defaults.beats_per_minute) * u64::from(length);
        let duration = Duration::from_micros(whole_us * times / divisor);
        let frequency_hz = semitone.map(|semitone| frequency_hz(octave, semitone + i32::from(sharp)));
        Ok(Note { frequency_hz, duration })
    }

    fn stretch(&mut self) -> Option<Stretch> {
        let stretch = match self.peek()? {
            '.' if self.peek_after(1) == Some('.') => {
                self.at += 1;
                (7, 4)
            }
            '.' => (3, 2),
            ';' => (7, 4),
            '&' => (2, 3),
            _ => return None,
        };
        self.at += 1;
        Some(stretch)
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
mod tests;
