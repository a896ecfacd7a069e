//! What is wired to which pin. Owns the parts of a desk and their places in the list of lines; pure: refuses to drive
//! them.

use std::{fmt, time::Duration};

use super::{BoardKind, Colour, Settings};

/// A GPIO line by its BCM number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// BCM number, not the number on the header.
    pub bcm: u32,
    /// Whether a low level lights it, as on most relay boards.
    pub active_low: bool,
    /// Whether it is driven by the PWM hardware, and so can be dim or sound at a pitch.
    pub pwm: bool,
}

impl Pin {
    /// A pin that is lit by a high level and is on or off.
    pub const fn plain(bcm: u32) -> Pin {
        Pin { bcm, active_low: false, pwm: false }
    }
}

/// One of `leds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Led {
    /// One LED on one pin.
    Plain(Pin),
    /// Three in one body: red, green, blue.
    Rgb([Pin; 3]),
}

/// `buzzer`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buzzer {
    /// Where it is wired.
    pub pin: Pin,
    /// What it is.
    pub kind: BuzzerKind,
    /// 1 to 100 percent; only a passive one can be anything but loud.
    pub volume: u8,
}

/// The two kinds of buzzer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuzzerKind {
    /// Sounds by itself when it gets power: one pitch, so that tunes become rhythms.
    Active,
    /// A loudspeaker of sorts: sounds at the pitch that the PWM hardware gives it.
    Passive,
}

/// `button`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Button {
    /// Where it is wired.
    pub bcm: u32,
    /// Whether pressing it makes the level low, as a button to ground does.
    pub active_low: bool,
    /// What holds the level while it is not pressed.
    pub pull: Pull,
    /// A level counts once it has stayed for so long: contacts bounce.
    pub debounce: Duration,
}

/// The resistor within the chip that holds an input's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// To 3.3 V.
    Up,
    /// To ground.
    Down,
    /// There is one outside.
    None,
}

/// What the buzzer's line is called in traces and states, and therefore no LED's name.
pub const BUZZER: &str = "buzzer";
/// What the line of the LED is called that shows how hookbell itself is.
pub const STATUS: &str = "status";
/// What the button is called.
pub const BUTTON: &str = "button";

/// LEDs of the default cues, and of a simulated desk on which nothing else is wired.
pub const DEFAULT_LEDS: [&str; 3] = ["red", "green", "blue"];

/// One wire of the desk that is driven. Boards and the player call it by its place in [`Wires::lines`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The LED's name, `NAME.red` and so on for one of three colours, [`STATUS`] or [`BUZZER`].
    pub name: String,
    /// Where it is wired.
    pub pin: Pin,
    /// What hangs on it.
    pub part: Part,
}

/// How errors name it: `green (pin 17)`.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pin {})", self.name, self.pin.bcm)
    }
}

/// What hangs on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Something that lights.
    Led,
    /// Something that sounds.
    Buzzer(BuzzerKind),
}

/// The lines of an LED.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lamp {
    /// One line.
    Plain(usize),
    /// Red, green, blue.
    Rgb([usize; 3]),
}

/// A desk as it is wired.
#[derive(Clone, Debug)]
pub struct Wires {
    /// LEDs by name, then the status LED, then the buzzer.
    pub lines: Vec<Line>,
    /// The LEDs that cues may light, by name.
    pub lamps: Vec<(String, Lamp)>,
    /// The line of the LED that shows how hookbell itself is.
    pub status: Option<usize>,
    /// The buzzer's line, what it is and how loud.
    pub buzzer: Option<(usize, BuzzerKind, u8)>,
}

impl Wires {
    /// The wires that the settings name.
    ///
    /// Where pins are simulated and none is named, the desk is complete: a demonstration or a test needs no wiring, and
    /// no pin is driven by it. See [`board::open`](super::board::open) for when `auto` simulates.
    pub fn new(settings: &Settings) -> Wires {
        let mut wires = Wires { lines: Vec::new(), lamps: Vec::new(), status: None, buzzer: None };
        let (leds, buzzer) = match settings.is_imagined() {
            true => (default_leds(), Some(nowhere_buzzer())),
            false => (settings.leds.clone().into_iter().collect(), settings.buzzer),
        };
        for (name, led) in leds {
            let lamp = match led {
                Led::Plain(pin) => Lamp::Plain(wires.add(name.clone(), pin, Part::Led)),
                Led::Rgb(pins) => {
                    let [red, green, blue] = pins;
                    Lamp::Rgb(
                        [("red", red), ("green", green), ("blue", blue)]
                            .map(|(colour, pin)| wires.add(format!("{name}.{colour}"), pin, Part::Led)),
                    )
                }
            };
            wires.lamps.push((name, lamp));
        }
        wires.status = settings.status.map(|pin| wires.add(STATUS.to_owned(), pin, Part::Led));
        wires.buzzer = buzzer
            .map(|Buzzer { pin, kind, volume }| (wires.add(BUZZER.to_owned(), pin, Part::Buzzer(kind)), kind, volume));
        wires
    }

    fn add(&mut self, name: String, pin: Pin, part: Part) -> usize {
        self.lines.push(Line { name, pin, part });
        self.lines.len() - 1
    }

    /// The LED of that name and the colour it is to have. One that is not wired is shown in its colour by an LED of three
    /// colours, or by the first there is: who wired one LED sees everything on it.
    pub(super) fn lamp(&self, name: &str, colour: Option<Colour>) -> Option<(Lamp, Colour)> {
        if let Some((_, lamp)) = self.lamps.iter().find(|(lamp, _)| lamp == name) {
            return Some((*lamp, colour.unwrap_or(Colour::WHITE)));
        }
        let colour = colour.or_else(|| Colour::from_name(name)).unwrap_or(Colour::WHITE);
        let is_rgb = |(_, lamp): &&(String, Lamp)| matches!(lamp, Lamp::Rgb(_));
        let lamp = self.lamps.iter().find(is_rgb).or_else(|| self.lamps.first());
        lamp.map(|(_, lamp)| (*lamp, colour))
    }
}

impl Settings {
    /// Whether nothing is wired, so that a simulated desk is imagined.
    pub fn is_imagined(&self) -> bool {
        self.wires_nothing() && matches!(self.board, BoardKind::Auto | BoardKind::Simulated)
    }

    pub(super) fn wires_nothing(&self) -> bool {
        self.leds.is_empty() && self.buzzer.is_none() && self.status.is_none() && self.button.is_none()
    }
}

fn default_leds() -> Vec<(String, Led)> {
    DEFAULT_LEDS.iter().map(|name| ((*name).to_owned(), Led::Plain(Pin::plain(0)))).collect()
}

fn nowhere_buzzer() -> Buzzer {
    Buzzer { pin: Pin::plain(0), kind: BuzzerKind::Active, volume: 100 }
}
