//! `[bell]`: which pins are driven, and by what.
//!
//! No pin is ever driven that the file does not name. The default wiring therefore exists on the simulated board alone.

use std::{collections::BTreeMap, time::Duration};

use super::Around;
use crate::{
    bell::{
        BUTTON, BUZZER, BoardKind, Button, Buzzer, BuzzerKind, Led, Pin, Pull, STALE_AFTER, STATUS, Settings, cue,
        header,
    },
    config::{
        address,
        problem::{Fault, Place, Report},
        raw::{Node, Section},
        value,
    },
    time::Zone,
};

/// The highest BCM number on the header.
const BCM_MAX: u32 = 27;
const DEFAULT_LEDS: &[(&str, u32)] = &[("red", 17), ("green", 27), ("blue", 22)];
const DEFAULT_BUZZER: u32 = 18;

const BOARDS: &[(&str, BoardKind)] =
    &[("auto", BoardKind::Auto), ("chip", BoardKind::Chip), ("pi", BoardKind::Pi), ("simulated", BoardKind::Simulated)];
const PULLS: &[(&str, Pull)] = &[("up", Pull::Up), ("down", Pull::Down), ("none", Pull::None)];
const BUZZERS: &[(&str, BuzzerKind)] = &[("active", BuzzerKind::Active), ("passive", BuzzerKind::Passive)];

/// Contacts bounce for less than this.
const DEBOUNCE: Duration = Duration::from_millis(20);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The pins that the PWM hardware reaches, with its channel on a Pi 0 to 4; on a Pi 5 each has its own.
const PWM: [(u32, u32); 4] = [(12, 0), (13, 1), (18, 0), (19, 1)];

/// Which pin is taken by what.
struct Taken {
    pins: BTreeMap<u32, String>,
    /// Which PWM channel is taken by what.
    channels: BTreeMap<u32, String>,
    /// The header has so many pins; another chip may have more.
    bcm_max: u32,
}

/// `[bell]`, with no cues and no time zone yet.
pub(super) fn bell(mut section: Section<'_>, around: &Around<'_>, report: &mut Report) -> Settings {
    let default_board = if section.is_present() { BoardKind::Auto } else { BoardKind::Simulated };
    let board = section.read("board", report, |node| value::choice(node, BOARDS)).unwrap_or(default_board);
    let chip = section.read("chip", report, |node| node.text().map(str::to_owned)).filter(|label| !label.is_empty());
    if chip.is_some() && matches!(board, BoardKind::Pi | BoardKind::Simulated) {
        report.warn(&section.place_of("chip"), Fault::new("only the boards `chip` and `auto` have a chip to choose"));
    }

    let bcm_max = if chip.is_some() { 511 } else { BCM_MAX };
    let mut taken = Taken { pins: BTreeMap::new(), channels: BTreeMap::new(), bcm_max };
    let names_pins =
        ["leds", "buzzer", "status", "button"].into_iter().filter(|key| section.get(key).is_some()).count() > 0;
    let mut leds: BTreeMap<String, Led> = BTreeMap::new();
    for (name, node) in section.section("leds", report).entries() {
        if name.is_empty() || [BUZZER, STATUS, BUTTON].contains(&name) || name.contains('.') {
            report.error(&node.place, Fault::new(format!("an LED cannot be called {name:?}")));
        }
        leds.extend(led(node, &mut taken, report).map(|led| (name.to_owned(), led)));
    }
    let mut buzzer = section.get("buzzer").and_then(|node| buzzer(node, &mut taken, report));
    let status = section.get("status").and_then(|node| light(node, &mut taken, report));
    let button = section.get("button").and_then(|node| button(node, &mut taken, report));

    if !names_pins && board == BoardKind::Simulated {
        leds = DEFAULT_LEDS.iter().map(|(name, bcm)| ((*name).to_owned(), Led::Plain(Pin::plain(*bcm)))).collect();
        buzzer = Some(Buzzer { pin: Pin::plain(DEFAULT_BUZZER), kind: BuzzerKind::Active, volume: 100 });
    } else if !names_pins {
        let fault = Fault::new("no LED and no buzzer is named, so no pin is driven");
        report.warn(&section.place, fault.hint("add leds = { red = 17, green = 27, blue = 22 } as they are wired"));
    }

    let quiet = section.get("quiet").and_then(|node| value::schedule(node, report)).unwrap_or_default();
    let duration = |section: &mut Section<'_>, key, report: &mut Report, range, default| {
        section.read(key, report, |node| value::duration(node, range)).unwrap_or(default)
    };
    let stale_after = duration(&mut section, "stale_after", report, Duration::from_secs(1)..=DAY, STALE_AFTER);
    let latch_max = duration(&mut section, "latch_max", report, LATCH_MIN..=LATCH_MOST, cue::LATCH_MAX);
    let trace = section.read("trace", report, |node| match node.text()? {
        "" => Ok(None),
        _ => address::data_path(node, &around.data).map(Some),
    });
    let trace = trace.flatten();
    if trace.is_some() && matches!(board, BoardKind::Chip | BoardKind::Pi) {
        report.warn(&section.place_of("trace"), Fault::new("only the simulated board writes a trace"));
    }
    section.finish(report);
    let (zone, cues) = (Zone::system(), BTreeMap::new());
    Settings { board, chip, leds, buzzer, button, status, quiet, zone, stale_after, latch_max, trace, cues }
}

/// What a latch may last, at least and at most.
pub(super) const LATCH_MIN: Duration = Duration::from_secs(1);
pub(super) const LATCH_MOST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The LEDs that a cue may name, and whether each has colours. `auto` without pins simulates, and then has the default ones.
pub(super) fn led_names(bell: &Settings) -> Vec<(&str, bool)> {
    match bell.is_imagined() {
        true => DEFAULT_LEDS.iter().map(|(name, _)| (*name, false)).collect(),
        false => bell.leds.iter().map(|(name, led)| (name.as_str(), matches!(led, Led::Rgb(_)))).collect(),
    }
}

/// `17`, `{ pin = 17, active_low = true, pwm = true }`, or `{ red = 17, green = 27, blue = 22 }` for one of three colours.
fn led(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Led> {
    const COLOURS: [&str; 3] = ["red", "green", "blue"];
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin.map(Led::Plain),
        Wired::Table(section) => section,
    };
    if !COLOURS.iter().any(|colour| section.get(colour).is_some()) {
        let pin = pin(&mut section, taken, report);
        section.finish(report);
        return pin.map(Led::Plain);
    }
    // What holds for all three, as for a common anode, may stand beside them.
    let active_low = section.read("active_low", report, Node::flag).unwrap_or(false);
    let pins = COLOURS.map(|colour| match section.get(colour) {
        Some(node) => light(node, taken, report),
        None => {
            let fault = Fault::new(format!("an LED of three colours needs `{colour}`, too"));
            report.error(&section.place, fault.hint("name the pins of red, green and blue"));
            None
        }
    });
    section.finish(report);
    let [Some(red), Some(green), Some(blue)] = pins else { return None };
    Some(Led::Rgb([red, green, blue].map(|pin| Pin { active_low: pin.active_low || active_low, ..pin })))
}

/// One LED on one pin.
fn light(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Pin> {
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin,
        Wired::Table(section) => section,
    };
    let pin = pin(&mut section, taken, report);
    section.finish(report);
    pin
}

/// A pin with a `type`, and a volume where that means anything.
fn buzzer(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Buzzer> {
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin.map(|pin| Buzzer { pin, kind: BuzzerKind::Active, volume: 100 }),
        Wired::Table(section) => section,
    };
    let kind = section.read("type", report, |node| value::choice(node, BUZZERS)).unwrap_or(BuzzerKind::Active);
    let volume = section.read("volume", report, |node| value::whole(node, 1..=100));
    if volume.is_some() && kind == BuzzerKind::Active {
        let fault = Fault::new("an active buzzer knows one volume");
        report.warn(&section.place_of("volume"), fault.hint("a passive one gets louder and quieter"));
    }
    let (place, active_low) =
        (Place { key: section.place.key.clone(), at: section.place.at }, active_low(&mut section, report));
    let bcm = wired(&mut section, taken, report);
    section.finish(report);
    let bcm = bcm?;
    let pwm = kind == BuzzerKind::Passive;
    if pwm {
        take_channel(bcm, &place, taken, report);
    }
    let volume = volume.and_then(|volume| u8::try_from(volume).ok()).unwrap_or(100);
    Some(Buzzer { pin: Pin { bcm, active_low, pwm }, kind, volume })
}

/// A pin that is listened to.
fn button(node: Node<'_>, taken: &mut Taken, report: &mut Report) -> Option<Button> {
    let usual = |bcm| Button { bcm, active_low: true, pull: Pull::Up, debounce: DEBOUNCE };
    let mut section = match bare_or_table(node, taken, report) {
        Wired::Bare(pin) => return pin.map(|pin| usual(pin.bcm)),
        Wired::Table(section) => section,
    };
    let pull = section.read("pull", report, |node| value::choice(node, PULLS));
    let active_low = section.read("active_low", report, Node::flag).unwrap_or(pull != Some(Pull::Down));
    let pull = pull.unwrap_or(if active_low { Pull::Up } else { Pull::Down });
    let range = Duration::from_millis(1)..=Duration::from_millis(200);
    let debounce = section.read("debounce", report, |node| value::duration(node, range)).unwrap_or(DEBOUNCE);
    let bcm = wired(&mut section, taken, report);
    section.finish(report);
    bcm.map(|bcm| Button { bcm, active_low, pull, debounce })
}

enum Wired<'a> {
    Bare(Option<Pin>),
    Table(Section<'a>),
}

fn bare_or_table<'a>(node: Node<'a>, taken: &mut Taken, report: &mut Report) -> Wired<'a> {
    if !node.value.is_table() {
        let bcm = read_bcm(&node, &node.place, taken, report);
        return Wired::Bare(bcm.map(Pin::plain));
    }
    let key = node.place.key.clone();
    // Only a table gets here.
    Wired::Table(node.section().unwrap_or_else(|_| Section::absent(key)))
}

fn active_low(section: &mut Section<'_>, report: &mut Report) -> bool {
    section.read("active_low", report, Node::flag).unwrap_or(false)
}

fn pin(section: &mut Section<'_>, taken: &mut Taken, report: &mut Report) -> Option<Pin> {
    let active_low = active_low(section, report);
    let pwm = section.read("pwm", report, Node::flag).unwrap_or(false);
    let place = Place { key: section.place.key.clone(), at: section.place.at };
    let bcm = wired(section, taken, report)?;
    if pwm {
        take_channel(bcm, &place, taken, report);
    }
    Some(Pin { bcm, active_low, pwm })
}

/// The key `pin`.
fn wired(section: &mut Section<'_>, taken: &mut Taken, report: &mut Report) -> Option<u32> {
    let Some(node) = section.get("pin") else {
        report.error(&section.place, Fault::new("`pin` is missing").hint("add pin = and the BCM number"));
        return None;
    };
    // The complaint about a pin that is taken names its user, `bell.leds.red`, rather than the `pin` beneath.
    let place = Place { key: section.place.key.clone(), at: node.place.at };
    read_bcm(&node, &place, taken, report)
}

fn read_bcm(node: &Node<'_>, user: &Place, taken: &mut Taken, report: &mut Report) -> Option<u32> {
    let hint = "use the BCM number (GPIO17 is 17), or write \"BOARD11\" for the position on the header";
    let bcm = match node.text() {
        Ok(name) => header::parse(name).map_err(|error| Fault::new(error.to_string())),
        Err(_) => value::whole(node, 0..=taken.bcm_max).map_err(|fault| fault.hint(hint)),
    };
    let bcm = match bcm {
        Ok(bcm) => bcm,
        Err(fault) => {
            report.error(&node.place, fault);
            return None;
        }
    };
    if let Some(other) = taken.pins.insert(bcm, user.key.clone()) {
        report.error(user, Fault::new(format!("pin {bcm} is already used by {other}")));
    }
    Some(bcm)
}

/// Claims the PWM channel of a pin: two pins of one channel do the same.
fn take_channel(bcm: u32, user: &Place, taken: &mut Taken, report: &mut Report) {
    let Some((_, channel)) = PWM.iter().find(|(pin, _)| *pin == bcm) else {
        let fault = Fault::new(format!("the PWM hardware does not reach pin {bcm}"));
        return report.error(user, fault.hint("it reaches 12, 13, 18 and 19"));
    };
    if let Some(other) = taken.channels.insert(*channel, user.key.clone()) {
        let fault = Fault::new(format!("the PWM channel of pin {bcm} is already used by {other}"));
        report.error(user, fault.hint("before the Pi 5 12 and 18 share one, and 13 and 19 the other: use one of each"));
    }
}
