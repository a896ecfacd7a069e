//! Values with a unit: sizes and durations, read and written. Owns the units; refuses to know any key.

use std::{ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use super::{
    problem::{Fault, Report},
    raw::Node,
};
use crate::schedule::Schedule;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const TIB: u64 = 1024 * GIB;

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What we write, then what else we read. Binary units count in 1024, the others in 1000. Largest first, because
/// [`show_size`] takes the first that fits.
const SIZES: &[(&str, u64)] = &[
    ("TiB", TIB),
    ("GiB", GIB),
    ("MiB", MIB),
    ("KiB", KIB),
    ("B", 1),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const DURATIONS_MS: &[(&str, u64)] = &[
    ("days", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1000),
    ("ms", 1),
    ("day", 86_400_000),
    ("d", 86_400_000),
    ("hours", 3_600_000),
    ("hour", 3_600_000),
    ("minutes", 60_000),
    ("minute", 60_000),
    ("seconds", 1000),
    ("second", 1000),
];

/// A size in bytes: `"25 MiB"`, or a plain number of bytes.
pub(super) fn size(node: &Node<'_>, range: RangeInclusive<u64>) -> Result<u64, Fault> {
    let bytes = match node.value {
        DeValue::Integer(_) => {
            u64::try_from(node.whole()?).map_err(|_| Fault::new("a size cannot be less than zero"))?
        }
        DeValue::String(text) => parse_size(text)?,
        _ => return Err(node.expected("a size such as \"25 MiB\"")),
    };
    within(bytes, range, show_size)
}

/// A duration such as `"5 s"`.
pub(super) fn duration(node: &Node<'_>, range: RangeInclusive<Duration>) -> Result<Duration, Fault> {
    let duration = match node.value {
        DeValue::String(text) => parse_duration(text)?,
        DeValue::Integer(number) => {
            return Err(Fault::new("a duration needs a unit").hint(format!("write \"{number} s\" for seconds")));
        }
        _ => return Err(node.expected("a duration such as \"5 s\"")),
    };
    within(duration, range, show_duration)
}

/// A whole number.
pub(super) fn whole(node: &Node<'_>, range: RangeInclusive<u32>) -> Result<u32, Fault> {
    let number = node.whole()?;
    let range = i64::from(*range.start())..=i64::from(*range.end());
    let number = within(number, range, |number| number.to_string())?;
    // The range above ends within u32.
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A number.
pub(super) fn number(node: &Node<'_>, range: RangeInclusive<f64>) -> Result<f64, Fault> {
    within(node.number()?, range, |number| number.to_string())
}

/// One of a closed set of names.
pub(super) fn choice<T: Copy>(node: &Node<'_>, choices: &[(&'static str, T)]) -> Result<T, Fault> {
    let name = node.text()?;
    match choices.iter().find(|(choice, _)| *choice == name) {
        Some((_, value)) => Ok(*value),
        None => Err(Fault::new(format!("`{name}` is none of the choices"))
            .hint_nearest(name, choices.iter().map(|(choice, _)| *choice))),
    }
}

/// A span of time, or a list of them; `None` when there is none: never is no schedule.
pub(super) fn schedule(node: Node<'_>, report: &mut Report) -> Option<Schedule> {
    let items = match node.value {
        DeValue::Array(_) => node.list().unwrap_or_default(),
        _ => vec![node],
    };
    let mut texts = Vec::new();
    for item in &items {
        match item.text().and_then(|text| Schedule::parse([text]).map(|_| text).map_err(|(_, why)| Fault::new(why))) {
            Ok(text) => texts.push(text),
            Err(fault) => report.error(&item.place, fault),
        }
    }
    // Each has been read before.
    Schedule::parse(texts.iter().copied()).ok().filter(|_| !texts.is_empty())
}

/// Not-a-number is in no range.
fn within<T: PartialOrd + Copy>(value: T, range: RangeInclusive<T>, show: fn(T) -> String) -> Result<T, Fault> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (show(*range.start()), show(*range.end()));
    Err(Fault::new(format!("{} is outside {least} to {most}", show(value))))
}

fn parse_size(text: &str) -> Result<u64, Fault> {
    let hint = "write a whole number and a unit: B, KiB, MiB, GiB, TiB (or KB, MB, GB, TB)";
    let fault = || Fault::new(format!("`{text}` is not a size")).hint(hint);
    let (number, unit) = split(text).ok_or_else(fault)?;
    let scale = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(fault)?.1,
    };
    number.checked_mul(scale).ok_or_else(|| Fault::new(format!("`{text}` is too large")))
}

fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let hint = "write a whole number and a unit: ms, s, min, h, days";
    let fault = || Fault::new(format!("`{text}` is not a duration")).hint(hint);
    let (number, unit) = split(text).ok_or_else(fault)?;
    let scale = DURATIONS_MS.iter().find(|(name, _)| *name == unit).ok_or_else(fault)?.1;
    let ms = number.checked_mul(scale).ok_or_else(|| Fault::new(format!("`{text}` is too long")))?;
    Ok(Duration::from_millis(ms))
}

/// A whole number and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// The size as the file would have it, in the largest unit that loses nothing.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES[..5])
}

/// The duration as the file would have it, in the largest unit that loses nothing.
pub fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    show(ms, &DURATIONS_MS[..5])
}

fn show(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, scale): &&(&str, u64)| amount >= *scale && amount.is_multiple_of(*scale);
    match units.iter().find(fits) {
        Some((unit, scale)) => format!("{} {unit}", amount / scale),
        // Zero fits no unit.
        None => format!("{amount} {}", units.last().map_or("", |(unit, _)| unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        let check = |text: &str, bytes: u64| assert_eq!(parse_size(text), Ok(bytes), "{text}");
        check("25 MiB", 25 * MIB);
        check("25MiB", 25 * MIB);
        check("64 KiB", 64 * KIB);
        check("1 GiB", GIB);
        check("512 KB", 512_000);
        check("10 kb", 10_000);
        check("7", 7);
        check("7 B", 7);
        for text in ["", "MiB", "1.5 GiB", "-1 B", "5 parsecs", "1 Mi B", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("99999999999 TiB").unwrap_err().what, "`99999999999 TiB` is too large");
        for (bytes, text) in [(25 * MIB, "25 MiB"), (GIB, "1 GiB"), (1000, "1000 B"), (0, "0 B"), (1536, "1536 B")] {
            assert_eq!(show_size(bytes), text);
            assert_eq!(parse_size(text), Ok(bytes));
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        let check = |text: &str, ms: u64| assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        check("5 s", 5000);
        check("200 ms", 200);
        check("10 min", 600_000);
        check("1 h", 3_600_000);
        check("3 days", 259_200_000);
        check("1 day", 86_400_000);
        for text in ["", "5", "5 m", "1.5 h", "-1 s", "5 S", "forever"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for (ms, text) in [(5000, "5 s"), (200, "200 ms"), (90_000, "90 s"), (86_400_000, "1 days"), (0, "0 ms")] {
            assert_eq!(show_duration(Duration::from_millis(ms)), text);
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)));
        }
    }
}
