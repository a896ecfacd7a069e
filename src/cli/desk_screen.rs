//! The simulated desk as lines of text. Owns how lamps, sound and what stays lit look; pure: state and edges in, lines out,
//! so it refuses to know a terminal, clocks and where the lines go.
//!
//! Characters alone tell lit from dark, `[##]` from `[  ]`: colours only make it nicer. A dim lamp says its percent, a tone
//! its pitch, an LED of three colours the name of what it mixes.

use std::collections::BTreeMap;

use super::table::printable;
use crate::bell::{self, BUZZER, BuzzerKind, Colour, Edge, State, Wires};

#[cfg(test)]
mod tests;

/// Every label's columns, the space after it included.
pub(super) const LABEL: usize = 7;
/// Between two lamps.
const GAP: usize = 3;
/// ` 100%`, ` magenta` and ` 1047 Hz`: what may come behind a name has its room all the time, so that nothing jumps.
const PERCENT_ROOM: usize = 4;
const COLOUR_ROOM: usize = 8;
const PITCH_ROOM: usize = 8;

/// What the lines may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Text alone.
    Plain,
    /// The terminal's sequences for colour and weight.
    Colour,
}

/// What a line of the desk does, as far as its edges say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shine {
    lit: bool,
    percent: Option<u8>,
    hz: Option<u32>,
}

impl Shine {
    /// Hundredths of full light.
    fn light(self) -> u8 {
        if self.lit { self.percent.unwrap_or(100) } else { 0 }
    }
}

/// Something on the desk that lights or sounds.
#[derive(Debug)]
struct Thing {
    name: String,
    part: Part,
    /// The columns behind the name that are kept free.
    room: usize,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Lamp { line: usize, hue: Option<Colour> },
    Rgb { lines: [usize; 3] },
    Buzzer { line: usize },
}

/// The desk as it was seen last.
#[derive(Debug)]
pub(super) struct DeskScreen {
    things: Vec<Thing>,
    /// The lines' names, and what each does.
    lines: Vec<(String, Shine)>,
    /// Where each cue that stays lit is to be seen.
    places: BTreeMap<String, String>,
}

impl DeskScreen {
    /// The desk of these settings, dark.
    pub(super) fn new(settings: &bell::Settings) -> DeskScreen {
        let wires = Wires::new(settings);
        let percent = |line: usize| if wires.lines[line].pin.pwm { PERCENT_ROOM } else { 0 };
        let lamp = |name: &str, line: usize| Thing {
            name: name.to_owned(),
            part: Part::Lamp { line, hue: hue(name) },
            room: percent(line),
        };
        let mut things: Vec<Thing> = wires
            .lamps
            .iter()
            .map(|(name, wired)| match *wired {
                bell::Lamp::Plain(line) => lamp(name, line),
                bell::Lamp::Rgb(lines) => {
                    let room = COLOUR_ROOM + lines.into_iter().map(percent).max().unwrap_or_default();
                    Thing { name: name.clone(), part: Part::Rgb { lines }, room }
                }
            })
            .collect();
        things.extend(wires.status.map(|line| lamp(bell::STATUS, line)));
        things.extend(wires.buzzer.map(|(line, kind, _)| Thing {
            name: BUZZER.to_owned(),
            part: Part::Buzzer { line },
            room: if kind == BuzzerKind::Passive { PITCH_ROOM } else { 0 },
        }));
        let place = |led: &String| match wires.lamps.iter().find(|(name, _)| name == led).or(wires.lamps.first()) {
            Some((name, _)) => name.clone(),
            None => led.clone(),
        };
        let latched = settings.cues.iter().filter(|(_, cue)| cue.latch);
        DeskScreen {
            things,
            lines: wires.lines.iter().map(|line| (line.name.clone(), Shine::default())).collect(),
            places: latched.filter_map(|(name, cue)| Some((name.clone(), place(cue.led.as_ref()?)))).collect(),
        }
    }

    /// A line has changed.
    pub(super) fn note(&mut self, edge: &Edge) {
        if let Some((_, shine)) = self.lines.iter_mut().find(|(name, _)| *name == edge.line) {
            *shine = Shine { lit: edge.level == 1, percent: edge.percent, hz: edge.hz };
        }
    }

    /// Makes good for edges that were lost; says whether any was.
    pub(super) fn correct(&mut self, state: &State) -> bool {
        let mut is_corrected = false;
        for ((_, shine), now) in self.lines.iter_mut().zip(&state.lines) {
            if shine.lit != now.lit {
                *shine = Shine { lit: now.lit, ..Shine::default() };
                is_corrected = true;
            }
        }
        is_corrected
    }

    /// An edge in words: `red on`, `status on 40%`, `buzzer on 1047 Hz`.
    pub(super) fn edge(edge: &Edge) -> String {
        let how = match edge {
            Edge { level: 0, .. } => "off".to_owned(),
            Edge { percent: Some(percent), .. } => format!("on {percent}%"),
            Edge { hz: Some(hz), .. } => format!("on {hz} Hz"),
            Edge { .. } => "on".to_owned(),
        };
        format!("{} {how}", edge.line)
    }

    /// The LED on which a cue stays lit.
    pub(super) fn place(&self, cue: &str) -> &str {
        self.places.get(cue).map_or("first", String::as_str)
    }

    /// What plays, how often it was rung for, what waits, and why it may not sound; `None`: there is nothing to say.
    pub(super) fn plays(state: &State) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(state.error.as_deref().map(|error| format!("broken: {}", printable(error))));
        parts.extend(state.playing.as_deref().map(|cue| match state.rings {
            0 | 1 => cue.to_owned(),
            rings => format!("{cue} ×{rings}"),
        }));
        match state.queued {
            0 => {}
            1 => parts.push("1 waits".to_owned()),
            many => parts.push(format!("{many} wait")),
        }
        let signs = [
            (state.muted_until.is_some(), "muted"),
            (state.is_quiet, "quiet"),
            (state.vitals.storage_fails, "storage fails"),
            (state.vitals.sink_down, "a sink is down"),
            (state.vitals.tunnel_down, "the tunnel is down"),
        ];
        parts.extend(signs.into_iter().filter(|(holds, _)| *holds).map(|(_, sign)| sign.to_owned()));
        (!parts.is_empty()).then(|| parts.join(" · "))
    }

    /// The desk in lines of `width` columns at most. There are as many at any time, so that they can be drawn in place.
    pub(super) fn draw(&self, state: &State, width: usize, ink: Ink) -> Vec<String> {
        let room = width.saturating_sub(LABEL);
        let mut rows: Vec<(Vec<Piece>, usize)> = vec![(Vec::new(), 0)];
        for (pieces, columns) in self.things.iter().map(|thing| self.thing(thing)) {
            match rows.last_mut() {
                Some((row, used)) if *used == 0 || *used + GAP + columns <= room => {
                    if *used > 0 {
                        row.push(Piece::plain(" ".repeat(GAP)));
                        *used += GAP;
                    }
                    row.extend(pieces);
                    *used += columns;
                }
                _ => rows.push((pieces, columns)),
            }
        }
        let named = ["desk"].into_iter().chain(std::iter::repeat(""));
        let mut lines: Vec<String> = named.zip(rows).map(|(name, (row, _))| line(name, row, width, ink)).collect();
        let (plays, look) = match DeskScreen::plays(state) {
            Some(plays) => (plays, Look::Plain),
            None => ("nothing".to_owned(), Look::Dim),
        };
        lines.push(line("plays", vec![Piece { text: plays, look }], width, ink));
        lines.push(line("lit", self.lit(state, room), width, ink));
        lines
    }

    /// The newest of what stays lit, and how many there are besides.
    fn lit(&self, state: &State, room: usize) -> Vec<Piece> {
        let Some(latch) = state.latched.first() else {
            return vec![Piece { text: "nothing".to_owned(), look: Look::Dim }];
        };
        let more = match state.latched.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let newest = format!("{}: {} {}", self.place(&latch.cue), latch.cue, printable(&latch.subject));
        let newest = cut(newest.trim_end(), room.saturating_sub(columns(&more)));
        vec![Piece::plain(newest), Piece { text: more, look: Look::Dim }]
    }

    /// A lamp or the buzzer, and the columns that it has.
    fn thing(&self, thing: &Thing) -> (Vec<Piece>, usize) {
        let shine = |line: usize| self.lines.get(line).map(|(_, shine)| *shine).unwrap_or_default();
        let shares = |hue: Option<Colour>| hue.map(|hue| [0, 1, 2].map(|part| hue.share(part, true)));
        let (light, mixed, filling, behind) = match thing.part {
            Part::Lamp { line, hue } => (shine(line).light(), shares(hue), "##", String::new()),
            Part::Rgb { lines } => {
                let parts = lines.map(|line| shine(line).light());
                let light = parts.into_iter().max().unwrap_or_default();
                let pure = parts.map(|part| u32::from(part) * 100 / u32::from(light.max(1)));
                // At most 100.
                let pure = pure.map(|part| part as u8);
                (light, Some(pure), "##", format!(" {}", nearest(pure)))
            }
            Part::Buzzer { line } => {
                let pitch = shine(line).hz.map(|hz| format!(" {hz} Hz")).unwrap_or_default();
                (if shine(line).lit { 100 } else { 0 }, None, "))", pitch)
            }
        };
        let behind = match light {
            0 => String::new(),
            100.. => behind,
            dim => format!("{behind} {dim}%"),
        };
        let (frame, inner) = match light {
            0 => (Look::Dim, Piece { text: "  ".to_owned(), look: Look::Dim }),
            _ => (Look::Bold, Piece { text: filling.to_owned(), look: Look::lamp(mixed, light) }),
        };
        let framed = |text: String| Piece { text, look: frame };
        let mut pieces = vec![framed("[".to_owned()), inner, framed(format!("] {}{behind}", thing.name))];
        let used: usize = pieces.iter().map(Piece::columns).sum();
        let columns = used.max(5 + columns(&thing.name) + thing.room);
        pieces.push(Piece::plain(" ".repeat(columns - used)));
        (pieces, columns)
    }
}

/// The colour that a name says, `red` as well as `left_red`.
fn hue(name: &str) -> Option<Colour> {
    Colour::from_name(name).or_else(|| name.split(|c: char| !c.is_alphanumeric()).find_map(Colour::from_name))
}

/// The name of the colour that is most like these shares.
fn nearest(shares: [u8; 3]) -> &'static str {
    let distance = |colour: &Colour, has_pwm| {
        let apart = |part: usize| i32::from(colour.share(part, has_pwm)) - i32::from(shares[part]);
        (0..3).map(|part| apart(part).pow(2)).sum::<i32>()
    };
    let colours = Colour::names().filter_map(Colour::from_name);
    colours.min_by_key(|colour| distance(colour, true)).map_or("", Colour::name)
}

/// Text in one look.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    look: Look,
}

impl Piece {
    fn plain(text: impl Into<String>) -> Piece {
        Piece { text: text.into(), look: Look::Plain }
    }

    fn columns(&self) -> usize {
        columns(&self.text)
    }

    fn paint(&self, ink: Ink) -> String {
        let Piece { text, look } = self;
        match (ink, look) {
            _ if text.is_empty() => String::new(),
            (Ink::Plain, _) | (_, Look::Plain) => text.clone(),
            (_, Look::Bold) => format!("\x1b[1m{text}\x1b[0m"),
            (_, Look::Dim) => format!("\x1b[2m{text}\x1b[0m"),
            (_, Look::Lamp { grain, ground }) => format!("\x1b[38;5;{grain};48;5;{ground}m{text}\x1b[0m"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Look {
    Plain,
    Bold,
    Dim,
    /// Two of the 256 colours: what is lit, with a grain that shows it on a ground of the same colour, too.
    Lamp {
        grain: u8,
        ground: u8,
    },
}

impl Look {
    /// Shares of red, green and blue in percent, lit so far; `None`: no colour in particular.
    fn lamp(shares: Option<[u8; 3]>, light: u8) -> Look {
        let Some(shares) = shares else { return Look::Lamp { grain: 240, ground: 250 } };
        // The terminal's cube has six steps for each part. Dim light is still to be seen on black.
        let brightness = 40 + 60 * u32::from(light.min(100)) / 100;
        let steps = shares.map(|share| (u32::from(share) * brightness * 5 + 5_000) / 10_000);
        let colour = |[red, green, blue]: [u32; 3]| (16 + 36 * red + 6 * green + blue) as u8;
        Look::Lamp { grain: colour(steps.map(|step| step.saturating_sub(2))), ground: colour(steps) }
    }
}

/// The label as it stands before every line.
pub(super) fn label(text: &str, ink: Ink) -> String {
    let painted = Piece { text: text.to_owned(), look: Look::Bold }.paint(ink);
    painted + &" ".repeat(LABEL.saturating_sub(columns(text)))
}

fn line(name: &str, pieces: Vec<Piece>, width: usize, ink: Ink) -> String {
    let mut left = width.saturating_sub(LABEL);
    let all: usize = pieces.iter().map(Piece::columns).sum();
    // Behind the one that is cut there is nothing.
    let is_cut = all > left;
    let mut text = label(name, ink);
    for piece in pieces {
        if is_cut && piece.columns() >= left {
            text += &Piece { text: cut(&(piece.text + "…"), left), ..piece }.paint(ink);
            break;
        }
        left -= piece.columns();
        text += &piece.paint(ink);
    }
    match ink {
        Ink::Plain => text.trim_end().to_owned(),
        Ink::Colour => text,
    }
}

/// The text in so many columns, with … where it is longer.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = column(*c) <= left;
        left = left.saturating_sub(column(*c));
        fits
    });
    let kept: String = kept.collect();
    if width == 0 { String::new() } else { kept + "…" }
}

/// A text behind its label in lines of `width` columns, cut between words. A word that is longer stays whole, whatever the
/// terminal makes of it: half an address opens nothing.
pub(super) fn fold(text: &str, width: usize) -> Vec<String> {
    let room = width.saturating_sub(LABEL);
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let needs = columns(word);
        if line.is_empty() {
            used = needs;
        } else if needs <= room && used + 1 + needs > room {
            lines.push(std::mem::take(&mut line));
            used = needs;
        } else {
            line.push(' ');
            used += 1 + needs;
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// How many columns a text takes at most, without its looks.
pub(super) fn columns(text: &str) -> usize {
    let mut is_look = false;
    let shown = text.chars().filter(|c| {
        let was_look = is_look;
        is_look = *c == '\x1b' || (is_look && *c != 'm');
        !is_look && !was_look
    });
    shown.map(column).sum()
}

/// Letters of the alphabets that have narrow ones, punctuation and lines take one; what may be wide counts as wide, which
/// cuts a little early and never wraps.
fn column(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0..=0x10ff | 0x1e00..=0x22ff | 0x2500..=0x257f => 1,
        _ => 2,
    }
}
