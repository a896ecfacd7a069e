//! The header: the 40 pins of a Raspberry Pi. Owns what each position is, how people name a pin, which pins a bus takes,
//! and the drawing of what is wired where; refuses to know the machine it runs on, so which buses are on is an argument.
//!
//! The numbers are those of every model with 40 pins (B+ and everything since): Raspberry Pi's own
//! "GPIO and the 40-pin header" in its computer documentation.

use std::fmt;

mod drawing;

pub use drawing::draw;

/// What a position of the header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// 3.3 V, always on.
    Power3v3,
    /// 5 V, always on. Never for a GPIO pin.
    Power5v,
    /// Ground.
    Ground,
    /// A pin that can be driven, by its BCM number.
    Gpio(u32),
}

use Role::{Gpio, Ground, Power3v3, Power5v};

/// Row by row from the end of the SD card: the odd position, then the even one at the board's edge.
const ROWS: [(Role, Role); 20] = [
    (Power3v3, Power5v),  // 1, 2
    (Gpio(2), Power5v),   // 3, 4
    (Gpio(3), Ground),    // 5, 6
    (Gpio(4), Gpio(14)),  // 7, 8
    (Ground, Gpio(15)),   // 9, 10
    (Gpio(17), Gpio(18)), // 11, 12
    (Gpio(27), Ground),   // 13, 14
    (Gpio(22), Gpio(23)), // 15, 16
    (Power3v3, Gpio(24)), // 17, 18
    (Gpio(10), Ground),   // 19, 20
    (Gpio(9), Gpio(25)),  // 21, 22
    (Gpio(11), Gpio(8)),  // 23, 24
    (Ground, Gpio(7)),    // 25, 26
    (Gpio(0), Gpio(1)),   // 27, 28
    (Gpio(5), Ground),    // 29, 30
    (Gpio(6), Gpio(12)),  // 31, 32
    (Gpio(13), Ground),   // 33, 34
    (Gpio(19), Gpio(16)), // 35, 36
    (Gpio(26), Gpio(20)), // 37, 38
    (Ground, Gpio(21)),   // 39, 40
];

/// What a pin may be besides a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternate {
    /// The EEPROM of an add-on board (HAT). The firmware reads it at every start: reserved.
    Eeprom,
    /// The I²C bus for everyone, I2C1.
    I2c,
    /// SPI0 with both of its chip selects.
    Spi,
    /// The serial port of the header.
    Uart,
    /// Hardware PWM. Takes the pin only where somebody asks for it, so it is in nobody's way.
    Pwm,
}

impl Alternate {
    /// In people's words.
    pub const fn name(self) -> &'static str {
        match self {
            Alternate::Eeprom => "the EEPROM of an add-on board",
            Alternate::I2c => "I2C",
            Alternate::Spi => "SPI",
            Alternate::Uart => "the serial port",
            Alternate::Pwm => "PWM",
        }
    }

    /// The name for programs.
    pub const fn key(self) -> &'static str {
        match self {
            Alternate::Eeprom => "eeprom",
            Alternate::I2c => "i2c",
            Alternate::Spi => "spi",
            Alternate::Uart => "uart",
            Alternate::Pwm => "pwm",
        }
    }
}

/// The pin, what else it is, and its signal's name there.
const ALTERNATES: &[(u32, Alternate, &str)] = &[
    (0, Alternate::Eeprom, "ID_SD"),
    (1, Alternate::Eeprom, "ID_SC"),
    (2, Alternate::I2c, "SDA"),
    (3, Alternate::I2c, "SCL"),
    (7, Alternate::Spi, "CE1"),
    (8, Alternate::Spi, "CE0"),
    (9, Alternate::Spi, "MISO"),
    (10, Alternate::Spi, "MOSI"),
    (11, Alternate::Spi, "SCLK"),
    (12, Alternate::Pwm, "PWM0"),
    (13, Alternate::Pwm, "PWM1"),
    (14, Alternate::Uart, "TXD"),
    (15, Alternate::Uart, "RXD"),
    (18, Alternate::Pwm, "PWM0"),
    (19, Alternate::Pwm, "PWM1"),
];

/// Pins to suggest, the best first: what no bus ever wants, then PWM, then the default pin of 1-Wire.
const FREE: [u32; 17] = [17, 27, 22, 23, 24, 25, 5, 6, 16, 26, 20, 21, 18, 12, 13, 19, 4];

/// What stands at a position, 1 to 40.
pub fn role(position: u8) -> Option<Role> {
    positions().find(|(place, _)| *place == position).map(|(_, role)| role)
}

/// Where a pin stands on the header.
pub fn position(bcm: u32) -> Option<u8> {
    positions().find(|(_, role)| *role == Gpio(bcm)).map(|(position, _)| position)
}

/// What else a pin is, and its signal's name there.
pub fn alternate(bcm: u32) -> Option<(Alternate, &'static str)> {
    ALTERNATES.iter().find(|(pin, ..)| *pin == bcm).map(|(_, alternate, signal)| (*alternate, *signal))
}

/// The ground nearest to a position, on the header as it is soldered.
pub fn nearest_ground(position: u8) -> Option<u8> {
    nearest(position, |role| role == Ground)
}

/// Every position with what it is.
fn positions() -> impl Iterator<Item = (u8, Role)> {
    (1..).zip(ROWS.into_iter().flat_map(|(odd, even)| [odd, even]))
}

/// The nearest position of a kind; of two as near, the lower.
fn nearest(position: u8, is_meant: impl Fn(Role) -> bool) -> Option<u8> {
    let of_kind = positions().filter(|(_, role)| is_meant(*role)).map(|(position, _)| position);
    of_kind.min_by_key(|other| distance(position, *other))
}

/// Squared, in pins.
fn distance(one: u8, other: u8) -> u32 {
    let place = |position: u8| (position.saturating_sub(1) / 2, position % 2);
    let ((row, column), (other_row, other_column)) = (place(one), place(other));
    u32::from(row.abs_diff(other_row)).pow(2) + u32::from(column.abs_diff(other_column)).pow(2)
}

/// Reads a pin's name as people write it: `17`, `GPIO17`, `BCM17`, or by its position `BOARD11`, `J8:11`.
///
/// # Errors
/// When it names no pin of the header, or one that cannot be driven.
pub fn parse(text: &str) -> Result<u32, PinNameError> {
    let written = text.trim();
    let unknown = || PinNameError::Unknown { written: written.to_owned() };
    let upper = written.to_ascii_uppercase();
    let after = |prefixes: &[&str]| prefixes.iter().find_map(|prefix| upper.strip_prefix(prefix).map(str::to_owned));
    if let Some(digits) = after(&["BOARD", "J8:"]) {
        let place = number(&digits).ok_or_else(unknown)?;
        let position = u8::try_from(place).ok();
        return match position.and_then(role) {
            Some(Gpio(bcm)) => Ok(bcm),
            Some(role) => {
                let beside = position.and_then(nearest_plain);
                Err(PinNameError::NotDriven { written: written.to_owned(), role, beside })
            }
            None => Err(PinNameError::NoSuchPosition { written: written.to_owned() }),
        };
    }
    let digits = after(&["GPIO", "BCM"]).unwrap_or(upper);
    let bcm = number(&digits).ok_or_else(unknown)?;
    match position(bcm) {
        Some(_) => Ok(bcm),
        None => Err(PinNameError::NoSuchPin { written: written.to_owned() }),
    }
}

/// Digits and nothing else: `+17` is no pin.
fn number(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // So many digits that they do not fit are no pin of ours, which is another thing than no number.
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// The nearest pin that nobody else wants.
fn nearest_plain(position: u8) -> Option<u32> {
    let plain = nearest(position, |role| matches!(role, Gpio(bcm) if alternate(bcm).is_none()))?;
    match role(plain) {
        Some(Gpio(bcm)) => Some(bcm),
        _ => None,
    }
}

/// Why a name is no pin that can be driven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinNameError {
    /// No name of a pin at all.
    Unknown {
        /// As it was written.
        written: String,
    },
    /// A BCM number that the header does not have.
    NoSuchPin {
        /// As it was written.
        written: String,
    },
    /// A position that the header does not have.
    NoSuchPosition {
        /// As it was written.
        written: String,
    },
    /// Power or ground.
    NotDriven {
        /// As it was written.
        written: String,
        /// What it is.
        role: Role,
        /// A pin nearby that can be driven.
        beside: Option<u32>,
    },
}

impl fmt::Display for PinNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinNameError::Unknown { written } => write!(
                f,
                "{written:?} is no pin; write a BCM number (17, GPIO17 or BCM17) or a position on the header (BOARD11 \
                 or J8:11)"
            ),
            PinNameError::NoSuchPin { written } => {
                write!(f, "{written} is not on the header, which has GPIO0 to GPIO27")
            }
            PinNameError::NoSuchPosition { written } => {
                write!(f, "{written} is not on the header, which has positions 1 to 40")
            }
            PinNameError::NotDriven { written, role, beside } => {
                let what = match role {
                    Ground => "ground",
                    Power3v3 => "3.3 V",
                    Power5v => "5 V",
                    Gpio(_) => "a pin",
                };
                write!(f, "{written} is {what}, which cannot be driven")?;
                beside.map_or(Ok(()), |bcm| write!(f, "; GPIO{bcm} near it can"))
            }
        }
    }
}

impl std::error::Error for PinNameError {}

/// One part of the desk, on one pin.
#[derive(Clone, Copy, Debug)]
pub struct Wire<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its pin.
    pub bcm: u32,
    /// What hangs on it.
    pub part: Kind,
    /// Whether a low level switches it on; of a button: whether pressing it makes the level low.
    pub active_low: bool,
    /// Of one colour of an RGB LED: what the whole is called. Its colours share one leg.
    pub common: Option<&'a str>,
}

/// What hangs on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An LED, or one colour of an RGB LED.
    Led,
    /// A buzzer that sounds by itself when it gets power.
    ActiveBuzzer,
    /// A buzzer that sounds as fast as its pin changes.
    PassiveBuzzer,
    /// A push button.
    Button,
}

impl Kind {
    /// The name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Led => "led",
            Kind::ActiveBuzzer => "active_buzzer",
            Kind::PassiveBuzzer => "passive_buzzer",
            Kind::Button => "button",
        }
    }
}

/// Where a wire's ends are on the header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// The pin itself; `None` when the header does not have it.
    pub pin: Option<u8>,
    /// The ground of its own that it goes to, where it needs one.
    pub ground: Option<u8>,
    /// The power it comes from, where it needs any: 3.3 V or 5 V.
    pub supply: Option<u8>,
}

/// Where each wire's ends go. Every ground is as good as another, so each wire gets the nearest that nobody has yet: a
/// jumper fits on one pin.
pub fn ends(wires: &[Wire<'_>]) -> Vec<Ends> {
    let mut ends = vec![Ends::default(); wires.len()];
    let mut order: Vec<(u8, usize)> =
        wires.iter().enumerate().filter_map(|(index, wire)| Some((position(wire.bcm)?, index))).collect();
    order.sort_unstable();
    let mut taken: Vec<u8> = Vec::new();
    for (pin, index) in order {
        let wire = &wires[index];
        let shared = wire.common.and_then(|common| {
            let same = wires.iter().zip(&ends).find(|(other, ends)| other.common == Some(common) && ends.pin.is_some());
            same.and_then(|(_, ends)| ends.ground)
        });
        let ground = || {
            let of_its_own = positions()
                .filter(|(position, role)| *role == Ground && !taken.contains(position))
                .map(|(place, _)| place);
            shared.or_else(|| of_its_own.min_by_key(|ground| distance(pin, *ground))).or_else(|| nearest_ground(pin))
        };
        let power = |power| nearest(pin, |role| role == power);
        let (ground, supply) = match (wire.part, wire.active_low) {
            (Kind::Led | Kind::PassiveBuzzer, false) | (Kind::Button, true) => (ground(), None),
            (Kind::Led | Kind::PassiveBuzzer, true) | (Kind::Button, false) => (None, power(Power3v3)),
            (Kind::ActiveBuzzer, false) => (ground(), power(Power5v)),
            (Kind::ActiveBuzzer, true) => (ground(), power(Power3v3)),
        };
        taken.extend(ground);
        ends[index] = Ends { pin: Some(pin), ground, supply };
    }
    ends
}

/// Which buses of the header are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buses {
    /// I²C on GPIO2 and GPIO3.
    pub i2c: bool,
    /// SPI on GPIO7 to GPIO11.
    pub spi: bool,
    /// The serial port on GPIO14 and GPIO15.
    pub uart: bool,
}

/// A wire on a pin that somebody else uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The wire's name.
    pub name: String,
    /// Its pin.
    pub bcm: u32,
    /// Who else uses the pin.
    pub with: Alternate,
    /// Up to three pins that nobody uses.
    pub free: Vec<u32>,
}

/// The wires on reserved pins and on pins of a bus that is on, in the order of the wires.
pub fn conflicts(wires: &[Wire<'_>], enabled: &Buses) -> Vec<Conflict> {
    let free = |bcm: &u32| wires.iter().all(|wire| wire.bcm != *bcm);
    let free: Vec<u32> = FREE.into_iter().filter(free).take(3).collect();
    let conflict = |wire: &Wire<'_>| {
        let (with, _) = alternate(wire.bcm)?;
        let is_used = match with {
            Alternate::Eeprom => true,
            Alternate::I2c => enabled.i2c,
            Alternate::Spi => enabled.spi,
            Alternate::Uart => enabled.uart,
            Alternate::Pwm => false,
        };
        is_used.then(|| Conflict { name: wire.name.to_owned(), bcm: wire.bcm, with, free: free.clone() })
    };
    wires.iter().filter_map(conflict).collect()
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Conflict { name, bcm, with, free } = self;
        let signal = alternate(*bcm).map_or("a signal", |(_, signal)| signal);
        write!(f, "{name} on GPIO{bcm}")?;
        position(*bcm).map_or(Ok(()), |position| write!(f, " (position {position})"))?;
        match with {
            Alternate::Eeprom => write!(f, ": the pin is {signal}, reserved for {}", with.name())?,
            _ => write!(f, ": the pin is {signal} of {}, which is on", with.name())?,
        }
        let free: Vec<String> = free.iter().map(|bcm| format!("GPIO{bcm}")).collect();
        match free.is_empty() {
            true => f.write_str("; move it to another pin")?,
            false => write!(f, "; move it to a pin that is free, such as {}", free.join(", "))?,
        }
        let switch_off = match with {
            Alternate::I2c => "`sudo raspi-config nonint do_i2c 1`, or `dtparam=i2c_arm=off`",
            Alternate::Spi => "`sudo raspi-config nonint do_spi 1`, or `dtparam=spi=off`",
            // On a Pi 5 the header's port is not the primary one, and has a parameter of its own.
            Alternate::Uart => {
                "Interface Options in `sudo raspi-config`, or `enable_uart=0` (Pi 5: `dtparam=uart0=off`)"
            }
            Alternate::Eeprom | Alternate::Pwm => return Ok(()),
        };
        write!(f, "; or switch {} off: {switch_off} in /boot/firmware/config.txt, and restart the Pi", with.name())
    }
}

#[cfg(test)]
mod tests;
