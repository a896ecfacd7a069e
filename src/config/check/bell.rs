//! `[bell]`: which pins are driven, and by what.
//!
//! No pin is ever driven that the file does not name. The default wiring therefore exists on the simulated board alone.

use std::collections::BTreeMap;

use super::Around;
use crate::{
    bell::{BUZZER, BoardKind, Pin, Settings},
    config::{
        address,
        problem::{Fault, Place, Report},
        raw::{Node, Section},
        value,
    },
};

/// The highest BCM number on the header.
const BCM_MAX: u32 = 27;
const DEFAULT_LEDS: &[(&str, u32)] = &[("red", 17), ("green", 27), ("blue", 22)];
const DEFAULT_BUZZER: u32 = 18;

const BOARDS: &[(&str, BoardKind)] =
    &[("auto", BoardKind::Auto), ("chip", BoardKind::Chip), ("pi", BoardKind::Pi), ("simulated", BoardKind::Simulated)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Buzzer {
    Active,
    Passive,
}

/// Which pin is taken by what.
type Taken = BTreeMap<u32, String>;

/// `[bell]`, with no cues yet.
pub(super) fn bell(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> Settings {
    let default_board = if section.is_present() { BoardKind::Auto } else { BoardKind::Simulated };
    let board = section.read("board", report, |node| value::choice(node, BOARDS)).unwrap_or(default_board);

    let mut taken = Taken::new();
    let names_pins = ["leds", "buzzer"].into_iter().filter(|key| section.get(key).is_some()).count() > 0;
    let mut leds: BTreeMap<String, Pin> = BTreeMap::new();
    for (name, node) in section.section("leds", report).entries() {
        if name.is_empty() || name == BUZZER {
            report.error(&node.place, Fault::new(format!("an LED cannot be called {name:?}")));
        }
        leds.extend(led(node, &mut taken, report).map(|pin| (name.to_owned(), pin)));
    }
    let mut buzzer = section.get("buzzer").and_then(|node| buzzer(node, &mut taken, report));
    if let Some(node) = section.get("button") {
        let place = node.place.clone();
        led(node, &mut taken, report);
        report.no_effect(&place);
    }

    if !names_pins && board == BoardKind::Simulated {
        let pin = |bcm| Pin { bcm, active_low: false };
        leds = DEFAULT_LEDS.iter().map(|(name, bcm)| ((*name).to_owned(), pin(*bcm))).collect();
        buzzer = Some(pin(DEFAULT_BUZZER));
    } else if !names_pins {
        let fault = Fault::new("no LED and no buzzer is named, so no pin is driven");
        report.warn(&section.place, fault.hint("add leds = { red = 17, green = 27, blue = 22 } as they are wired"));
    }

    if let Some(quiet) = section.read_list("quiet", report, quiet)
        && !quiet.is_empty()
    {
        report.no_effect(&section.place_of("quiet"));
    }
    let trace = section.read("trace", report, |node| match node.text()? {
        "" => Ok(None),
        _ => address::data_path(node, &around.data).map(Some),
    });
    let trace = trace.flatten();
    if trace.is_some() && matches!(board, BoardKind::Chip | BoardKind::Pi) {
        report.warn(&section.place_of("trace"), Fault::new("only the simulated board writes a trace"));
    }
    section.finish(report);
    Settings { board, leds, buzzer, trace, cues: BTreeMap::new() }
}

/// The LEDs that a cue may name. `auto` without pins simulates, and then has the default ones.
pub(super) fn led_names(bell: &Settings) -> Vec<&str> {
    match bell.leds.is_empty() && bell.buzzer.is_none() && bell.board == BoardKind::Auto {
        true => DEFAULT_LEDS.iter().map(|(name, _)| *name).collect(),
        false => bell.leds.keys().map(String::as_str).collect(),
    }
}

/// `17`, or `{ pin = 17, active_low = true }`.
fn led(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Pin> {
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin,
        Wired::Table(section) => section,
    };
    let pin = pin(&mut section, taken, report);
    section.finish(report);
    pin
}

/// As an LED, with a `type`.
fn buzzer(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Pin> {
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin,
        Wired::Table(section) => section,
    };
    let pin = pin(&mut section, taken, report);
    let choices = &[("active", Buzzer::Active), ("passive", Buzzer::Passive)];
    if section.read("type", report, |node| value::choice(node, choices)) == Some(Buzzer::Passive) {
        let fault = Fault::new("passive buzzers are not available in this version");
        report.error(&section.place_of("type"), fault.hint("wire an active one, or leave the buzzer out"));
    }
    section.finish(report);
    pin
}

enum Wired<'a> {
    Bare(Option<Pin>),
    Table(Section<'a>),
}

fn bare_or_table<'a>(node: Node<'a>, taken: &mut Taken, report: &mut Report) -> Wired<'a> {
    if !node.value.is_table() {
        let bcm = read_bcm(&node, &node.place, taken, report);
        return Wired::Bare(bcm.map(|bcm| Pin { bcm, active_low: false }));
    }
    let key = node.place.key.clone();
    // Only a table gets here.
    Wired::Table(node.section().unwrap_or_else(|_| Section::absent(key)))
}

fn pin(section: &mut Section<'_>, taken: &mut Taken, report: &mut Report) -> Option<Pin> {
    let active_low = section.read("active_low", report, Node::flag).unwrap_or(false);
    let Some(node) = section.get("pin") else {
        report.error(&section.place, Fault::new("`pin` is missing").hint("add pin = and the BCM number"));
        return None;
    };
    // The complaint about a pin that is taken names its user, `bell.leds.red`, rather than the `pin` beneath.
    let place = Place { key: section.place.key.clone(), at: node.place.at };
    read_bcm(&node, &place, taken, report).map(|bcm| Pin { bcm, active_low })
}

fn read_bcm(node: &Node<'_>, user: &Place, taken: &mut Taken, report: &mut Report) -> Option<u32> {
    let hint = "use the BCM number (GPIO17 is 17), not the position on the header";
    let bcm = match value::whole(node, 0..=BCM_MAX) {
        Ok(bcm) => bcm,
        Err(fault) => {
            report.error(&node.place, fault.hint(hint));
            return None;
        }
    };
    if let Some(other) = taken.insert(bcm, user.key.clone()) {
        report.error(user, Fault::new(format!("pin {bcm} is already used by {other}")));
    }
    Some(bcm)
}

/// `"22:00-07:30"`
fn quiet(node: &Node<'_>) -> Result<(), Fault> {
    let text = node.text()?;
    let is_time = |time: &str| {
        let number = |text: &str, below: u8| {
            text.len() == 2 && text.parse::<u8>().is_ok_and(|number| number < below) && !text.starts_with('+')
        };
        time.split_once(':').is_some_and(|(hours, minutes)| number(hours, 24) && number(minutes, 60))
    };
    match text.split_once('-') {
        Some((from, to)) if is_time(from) && is_time(to) => Ok(()),
        _ => Err(Fault::new(format!("`{text}` is not a span of the day")).hint("write \"22:00-07:30\"")),
    }
}
