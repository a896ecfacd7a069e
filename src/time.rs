//! Moments and the clocks that tell them. Owns how a moment is written; refuses to know what happens at it.

use std::{fmt, sync::Mutex, time::Duration};

use crate::schedule::LocalTime;

/// A moment: milliseconds since 1970-01-01T00:00:00 UTC. Written as RFC 3339 with milliseconds and `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The moment `duration` later; saturates.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(duration_ms(duration)))
    }

    /// The moment `duration` earlier; saturates.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(duration_ms(duration)))
    }

    /// How much later `self` is than `earlier`, zero when it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 (`2026-11-22T10:00:00Z`) or whole Unix seconds.
    pub fn parse(text: &str) -> Option<Timestamp> {
        if let Ok(seconds) = text.parse::<i64>() {
            return seconds.checked_mul(1000).map(Timestamp);
        }
        text.parse::<jiff::Timestamp>().ok().map(|moment| Timestamp(moment.as_millisecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            // Outside years -9999 to 9999: a number is still a fact.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("not a time"))
    }
}

/// How far the clock may be behind what is known to have been; a step in the wrong direction may have been noted, too.
const CLOCK_BEHIND_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether it cannot be `now`: a Pi without a battery starts in 1970, or where it was when it was switched off. `newest` is
/// a moment that has been.
pub fn is_plainly_wrong(now: Timestamp, newest: Timestamp) -> bool {
    now < crate::BUILT || now < newest.minus(CLOCK_BEHIND_MAX)
}

/// What the clock on the wall shows where hookbell stands.
#[derive(Clone, Debug)]
pub struct Zone(jiff::tz::TimeZone);

impl Zone {
    /// The system's zone; UTC where it has none.
    pub fn system() -> Zone {
        Zone(jiff::tz::TimeZone::system())
    }

    /// The zone of that name in the system's database: `Europe/Berlin`. `None` when there is none.
    pub fn named(name: &str) -> Option<Zone> {
        jiff::tz::TimeZone::get(name).ok().map(Zone)
    }

    /// Its name, where it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.iana_name()
    }

    /// What the clock shows at this moment.
    pub fn local(&self, moment: Timestamp) -> LocalTime {
        let moment = jiff::Timestamp::from_millisecond(moment.ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let local = moment.to_zoned(self.0.clone());
        let (hour, minute) = (local.hour().unsigned_abs(), local.minute().unsigned_abs());
        let weekday = local.weekday().to_monday_zero_offset().unsigned_abs();
        LocalTime { weekday, minute: u16::from(hour) * 60 + u16::from(minute) }
    }
}

/// A duration in whole milliseconds, saturating at `i64::MAX` (292 million years).
pub fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where moments come from. Real time in the daemon, [`ManualClock`] where a day has to pass in milliseconds.
pub trait Clock: Send + Sync {
    /// Wall time, which may step: a Pi without a battery starts in 1970 and jumps when NTP answers.
    fn wall(&self) -> Timestamp;
    /// Time since this machine booted, suspend included; it never steps.
    fn since_boot(&self) -> Duration;
    /// Names this boot: the steady clock of another boot is not comparable.
    fn boot_id(&self) -> String;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> Timestamp {
        let ms = match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => duration_ms(since),
            Err(before) => -duration_ms(before.duration()),
        };
        Timestamp(ms)
    }

    fn since_boot(&self) -> Duration {
        steady::since_boot()
    }

    fn boot_id(&self) -> String {
        steady::boot_id()
    }
}

#[cfg(target_os = "linux")]
mod steady {
    use std::time::Duration;

    pub(super) fn since_boot() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// The kernel's random id of this boot. Without /proc every start counts as a boot of its own, which only means
    /// that an earlier start's moments are not corrected.
    pub(super) fn boot_id() -> String {
        match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(id) => id.trim().to_owned(),
            Err(_) => format!("process {}", std::process::id()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod steady {
    use std::{
        sync::OnceLock,
        time::{Duration, Instant},
    };

    static START: OnceLock<Instant> = OnceLock::new();

    pub(super) fn since_boot() -> Duration {
        START.get_or_init(Instant::now).elapsed()
    }

    /// Elsewhere the steady clock starts with the process, so the process is the boot.
    pub(super) fn boot_id() -> String {
        format!("process {}", std::process::id())
    }
}

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// Stands at `wall`, a minute after boot.
    pub fn new(wall: Timestamp) -> ManualClock {
        ManualClock { now: Mutex::new((wall, Duration::from_secs(60))) }
    }

    /// Time passes: both clocks move.
    pub fn pass(&self, duration: Duration) {
        let mut now = self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        now.0 = now.0.plus(duration);
        now.1 += duration;
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn step_to(&self, wall: Timestamp) {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0 = wall;
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).0
    }

    fn since_boot(&self) -> Duration {
        self.now.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).1
    }

    fn boot_id(&self) -> String {
        "manual".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_in_rfc_3339() {
        let moment = Timestamp::from_ms(1_763_805_600_042);
        assert_eq!(moment.to_string(), "2025-11-22T10:00:00.042Z");
        assert_eq!(Timestamp::parse("2025-11-22T10:00:00.042Z"), Some(moment));
        assert_eq!(Timestamp::parse("1763805600"), Some(Timestamp::from_ms(1_763_805_600_000)));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_zone_tells_what_the_clock_shows() {
        let local = |zone: &Zone, text: &str| zone.local(Timestamp::parse(text).unwrap()).to_string();
        let utc = Zone::named("UTC").unwrap();
        assert_eq!((utc.name(), local(&utc, "2026-11-22T22:30:59Z").as_str()), (Some("UTC"), "sun 22:30"));
        assert!(Zone::named("Europe/Berln").is_none());
        let Some(berlin) = Zone::named("Europe/Berlin") else {
            println!("skipped: this machine has no time zones");
            return;
        };
        assert_eq!(local(&berlin, "2026-11-22T23:30:00Z"), "mon 00:30");
        assert_eq!(local(&berlin, "2026-07-01T23:30:00Z"), "thu 01:30");
    }

    #[test]
    fn a_step_moves_the_wall_clock_alone() {
        let clock = ManualClock::new(Timestamp::from_ms(0));
        clock.step_to(Timestamp::from_ms(1_000_000));
        assert_eq!(clock.since_boot(), Duration::from_secs(60));
        clock.pass(Duration::from_secs(1));
        assert_eq!(clock.wall(), Timestamp::from_ms(1_001_000));
        assert_eq!(clock.since_boot(), Duration::from_secs(61));
    }
}
