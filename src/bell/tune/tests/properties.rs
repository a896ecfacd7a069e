//! What holds for every text and every tune, stated for generated ones.

use std::{iter::Cycle, slice::Iter};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError},
};

use super::{corpus::SEMITONES_HZ, *};

/// What a generated tune says, before it is written down.
#[derive(Clone, Debug)]
struct Score {
    name: Option<String>,
    defaults: Option<Vec<Command>>,
    commands: Vec<Command>,
    last_comma: bool,
    /// Taken in turn, one a character: a blank before it, a capital.
    blanks: Vec<Option<char>>,
    capitals: Vec<bool>,
}

#[derive(Clone, Debug)]
enum Command {
    /// `d`, `o` or `b`, whether with `=`, and the number.
    Default(char, bool, u32),
    /// Changes nothing.
    Ignored(&'static str),
    Note(Written),
}

#[derive(Clone, Debug)]
struct Written {
    length: Option<u32>,
    /// `p` is none.
    semitone: Option<usize>,
    german: bool,
    octave: Option<u32>,
    stretch: Option<(&'static str, u64, u64)>,
    place: Index,
}

const NAMES: [&str; 12] = ["c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b"];
const STRETCHES: [(&str, u64, u64); 4] = [(".", 3, 2), ("..", 7, 4), (";", 7, 4), ("&", 2, 3)];

fn lengths() -> impl Strategy<Value = u32> {
    // Long ones seldom, or every other tune would be too long.
    prop_oneof![1 => select(vec![1, 2]), 8 => select(vec![4, 8, 16, 32, 64])]
}

fn defaults(among_notes: bool) -> impl Strategy<Value = Command> {
    let number = prop_oneof![
        lengths().prop_map(|length| ('d', length)),
        (1..=8_u32).prop_map(|octave| ('o', octave)),
        prop_oneof![1 => 25..=60_u32, 8 => 60..=900_u32].prop_map(|beats| ('b', beats)),
    ];
    let number = (number, any::<bool>()).prop_map(move |((letter, number), equals)| {
        // `d8` among the notes is a D.
        Command::Default(letter, equals || among_notes && letter == 'd', number)
    });
    let ignored = select(vec!["s=c", "s=n", "ss", "v=0", "v15", "l=0", "l0"]).prop_map(Command::Ignored);
    prop_oneof![4 => number, 1 => ignored]
}

fn notes() -> impl Strategy<Value = Command> {
    let pitch = prop_oneof![1 => Just(None), 6 => (0..12_usize).prop_map(Some)];
    let stretch = option::weighted(0.3, select(&STRETCHES[..]));
    (option::of(lengths()), pitch, any::<bool>(), option::of(1..=8_u32), stretch, any::<Index>()).prop_map(
        |(length, semitone, german, octave, stretch, place)| {
            Command::Note(Written { length, semitone, german, octave, stretch, place })
        },
    )
}

fn scores() -> impl Strategy<Value = Score> {
    let commands = vec(prop_oneof![6 => notes(), 1 => defaults(true)], 0..24);
    let blank = prop_oneof![12 => Just(None), 1 => select(vec![' ', '\n', '\t', '\u{a0}']).prop_map(Some)];
    (
        option::of("[^:=]{0,64}"),
        option::of(vec(defaults(false), 0..5)),
        (commands, notes()),
        any::<bool>(),
        vec(blank, 1..40),
        vec(any::<bool>(), 1..10),
    )
        .prop_map(|(name, defaults, (mut commands, note), last_comma, blanks, capitals)| {
            commands.push(note);
            Score { name, defaults, commands, last_comma, blanks, capitals }
        })
}

/// Of at most [`TUNE_MAX`].
fn short_scores() -> impl Strategy<Value = Score> {
    scores().prop_map(|mut score| {
        while score.write().notes.iter().map(|(_, note)| note.duration).sum::<Duration>() > TUNE_MAX {
            match &mut score.commands[..] {
                [Command::Note(only)] => only.length = Some(64),
                _ => drop(score.commands.remove(0)),
            }
        }
        score
    })
}

impl Command {
    fn text(&self) -> String {
        match self {
            Command::Default(letter, true, number) => format!("{letter}={number}"),
            Command::Default(letter, false, number) => format!("{letter}{number}"),
            Command::Ignored(text) => (*text).to_owned(),
            Command::Note(note) => note.text(),
        }
    }
}

impl Written {
    fn text(&self) -> String {
        let letter = match self.semitone {
            None => "p",
            Some(11) if self.german => "h",
            Some(semitone) => NAMES[semitone],
        };
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        let mut places = [number(self.length), letter.to_owned(), number(self.octave)];
        if let Some((stretch, ..)) = self.stretch {
            // Where there is no length, no stretch may follow it.
            let first = usize::from(self.length.is_none());
            places[first + self.place.index(3 - first)].push_str(stretch);
        }
        places.concat()
    }
}

/// A text, and what it ought to come to: each note with the column it starts in.
struct Page {
    text: String,
    notes: Vec<(usize, Note)>,
}

impl Score {
    fn write(&self) -> Page {
        let mut pen = Pen {
            text: String::new(),
            column: 1,
            blanks: self.blanks.iter().cycle(),
            capitals: self.capitals.iter().cycle(),
        };
        let mut state = [('d', 4), ('o', 6), ('b', 63)];
        let mut notes = Vec::new();
        if let Some(name) = &self.name {
            // No blank before this colon: it would be the name's.
            pen.text.push_str(name);
            pen.text.push(':');
            pen.column += name.chars().count() + 1;
        }
        if self.name.is_some() || self.defaults.is_some() {
            for (place, control) in self.defaults.iter().flatten().enumerate() {
                pen.put(if place == 0 { "" } else { "," });
                pen.put(&control.text());
                control.change(&mut state);
            }
            pen.put(":");
        }
        for (place, command) in self.commands.iter().enumerate() {
            pen.put(if place == 0 { "" } else { "," });
            let column = pen.put(&command.text());
            command.change(&mut state);
            if let Command::Note(note) = command {
                notes.push((column, note.heard(state.map(|(_, number)| number))));
            }
        }
        pen.put(if self.last_comma { "," } else { "" });
        Page { text: pen.text, notes }
    }
}

impl Command {
    fn change(&self, state: &mut [(char, u32); 3]) {
        if let Command::Default(letter, _, number) = self {
            for entry in state.iter_mut().filter(|entry| entry.0 == *letter) {
                entry.1 = *number;
            }
        }
    }
}

impl Written {
    fn heard(&self, [length, octave, beats]: [u32; 3]) -> Note {
        let octave = self.octave.unwrap_or(octave);
        let frequency_hz = self.semitone.map(|semitone| SEMITONES_HZ[0][semitone] * (f64::from(octave) - 4.0).exp2());
        let (_, times, parts) = self.stretch.unwrap_or(("", 1, 1));
        let whole_us = 240_000_000 * times;
        let us = whole_us / (u64::from(beats) * u64::from(self.length.unwrap_or(length)) * parts);
        Note { frequency_hz, duration: Duration::from_micros(us) }
    }
}

struct Pen<'a> {
    text: String,
    column: usize,
    blanks: Cycle<Iter<'a, Option<char>>>,
    capitals: Cycle<Iter<'a, bool>>,
}

impl Pen<'_> {
    /// Where the first of them stands.
    fn put(&mut self, text: &str) -> usize {
        let mut first = None;
        for c in text.chars() {
            if let Some(Some(blank)) = self.blanks.next() {
                self.text.push(*blank);
                self.column += 1;
            }
            first.get_or_insert(self.column);
            let capital = self.capitals.next() == Some(&true);
            self.text.push(if capital { c.to_ascii_uppercase() } else { c });
            self.column += 1;
        }
        first.unwrap_or(self.column)
    }
}

fn any_texts() -> impl Strategy<Value = String> {
    // Most texts are refused at their first character; those of the right letters get further.
    prop_oneof![1 => ".{0,80}", 3 => "(?s)[a-hopslvAHP#.,:=;&0-9 \n]{0,80}", 1 => "[dob]=[0-9]{1,3}:[a-h0-9#.,]{0,40}"]
}

fn within(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(notes) => {
            prop_assert!(!notes.is_empty());
            prop_assert!(notes.iter().map(|note| note.duration).sum::<Duration>() <= TUNE_MAX);
        }
        Err(error) => {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{text:?}: {error}");
            prop_assert!(!error.expected.is_empty(), "{text:?}: {error}");
        }
    }
    Ok(())
}

proptest! {
    // Nothing is written beside the sources: a case that failed belongs in a test of its own.
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn any_text_is_read_or_refused_at_one_of_its_columns(text in any_texts()) {
        within(&text)?;
    }

    #[test]
    fn a_part_of_a_tune_is_read_or_refused_at_one_of_its_columns(score in scores(), cut in any::<Index>()) {
        let text = score.write().text;
        let chars: Vec<char> = text.chars().collect();
        let cut = cut.index(chars.len() + 1);
        within(&chars[..cut].iter().collect::<String>())?;
        within(&chars[cut..].iter().collect::<String>())?;
    }

    #[test]
    fn what_is_written_is_read(score in scores()) {
        let Page { text, notes } = score.write();
        let mut total = Duration::ZERO;
        let too_long = notes.iter().find(|(_, note)| {
            total += note.duration;
            total > TUNE_MAX
        });
        match (parse(&text), too_long) {
            (Ok(read), None) => {
                prop_assert_eq!(read.len(), notes.len(), "{:?}", text);
                for (read, (_, note)) in read.iter().zip(&notes) {
                    prop_assert_eq!(read.duration, note.duration, "{:?}", text);
                    prop_assert!(!read.duration.is_zero());
                    match (read.frequency_hz, note.frequency_hz) {
                        (None, None) => {}
                        // The table has two decimals.
                        (Some(read), Some(hz)) => prop_assert!((read / hz - 1.0).abs() < 5e-5, "{text:?}: {read} {hz}"),
                        other => prop_assert!(false, "{text:?}: {other:?}"),
                    }
                }
            }
            (Err(error), Some((column, _))) => {
                prop_assert_eq!(error, TuneError { column: *column, expected: "the tune to end within 10 s" });
            }
            (read, too_long) => prop_assert!(false, "{text:?}: {read:?} {too_long:?}"),
        }
    }

    #[test]
    fn what_follows_a_tune_is_refused_where_it_stands(
        score in short_scores(),
        comma in any::<bool>(),
        garbage in "[!?x-z|/+*é♪_][ -9;-~]{0,10}",
    ) {
        let Page { mut text, .. } = score.write();
        if comma && !score.last_comma {
            text.push(',');
        }
        let column = text.chars().count() + 1;
        let error = parse(&format!("{text}{garbage}")).unwrap_err();
        prop_assert_eq!(error.column, column, "{:?} {:?}: {}", text, garbage, error);
    }

    #[test]
    fn a_rhythm_sounds_each_note_within_its_time(score in short_scores()) {
        let text = score.write().text;
        let read = parse(&text);
        prop_assert!(read.is_ok(), "{text:?}: {read:?}");
        let notes = read.unwrap_or_default();
        let total: Duration = notes.iter().map(|note| note.duration).sum();
        let spans = rhythm(&notes);
        prop_assert_eq!(spans.len(), notes.iter().filter(|note| note.frequency_hz.is_some()).count());
        let mut silent_since = Duration::ZERO;
        for (start, end) in spans {
            prop_assert!(silent_since <= start, "overlaps: {start:?}");
            prop_assert!(start < end, "inaudible: {start:?}");
            silent_since = end;
        }
        // Silent before the end, too: a tune played twice is heard as two.
        prop_assert!(silent_since < total || silent_since.is_zero());
    }
}
