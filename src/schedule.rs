//! Hours and days at which something holds: `"22:00-07:30"`, `"sat,sun"`, `"mon-fri 09:00-17:00"`. Owns how they are
//! written; pure: the moment is an argument.

use std::fmt;

/// A moment by the clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// 0 is Monday, 6 is Sunday.
    pub weekday: u8,
    /// Since midnight, 0 to 1439.
    pub minute: u16,
}

/// Spans of a week; it holds while any of them does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    spans: Vec<Span>,
}

/// On these days, from one minute to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// As it was written.
    text: String,
    /// By weekday: whether a span begins on that day.
    days: [bool; 7],
    /// Minutes since midnight; where the end is not after the start, it is the next day's.
    from: u16,
    to: u16,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_MINUTES: u16 = 24 * 60;

impl Schedule {
    /// Reads spans as the configuration has them.
    ///
    /// # Errors
    /// What is wrong with which of them, with the remedy: its place in the list, and a sentence.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Schedule, (usize, String)> {
        let read = |(index, text): (usize, &str)| span(text).map_err(|why| (index, why));
        let spans = texts.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Schedule { spans })
    }

    /// Whether it holds at this moment.
    pub fn contains(&self, now: LocalTime) -> bool {
        self.spans.iter().any(|span| span.contains(now))
    }

    /// When it ends that holds at this moment; `None` when it never does.
    pub fn ends(&self, now: LocalTime) -> Option<LocalTime> {
        let week = 7 * DAY_MINUTES;
        let begin = u16::from(now.weekday % 7) * DAY_MINUTES + now.minute;
        (1..week)
            .map(|later| (begin + later) % week)
            .map(|minute| LocalTime { weekday: (minute / DAY_MINUTES) as u8, minute: minute % DAY_MINUTES })
            .find(|moment| !self.contains(*moment))
    }

    /// The spans as they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.spans.iter().map(|span| span.text.as_str())
    }
}

impl Span {
    fn contains(&self, now: LocalTime) -> bool {
        let today = usize::from(now.weekday) % 7;
        let yesterday = (today + 6) % 7;
        if self.from < self.to {
            return self.days[today] && (self.from..self.to).contains(&now.minute);
        }
        // Over midnight: it belongs to the day on which it began.
        (self.days[today] && now.minute >= self.from) || (self.days[yesterday] && now.minute < self.to)
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = DAYS[usize::from(self.weekday) % 7];
        write!(f, "{day} {:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

fn span(text: &str) -> Result<Span, String> {
    let fault =
        || format!("`{text}` is no span of time; write \"22:00-07:30\", \"sat,sun\" or \"mon-fri 09:00-17:00\"");
    let parts: Vec<&str> = text.split_whitespace().collect();
    let is_clock = |part: &str| part.contains(':');
    let (days, clock) = match parts.as_slice() {
        [clock] if is_clock(clock) => (None, Some(*clock)),
        [days] => (Some(*days), None),
        [days, clock] => (Some(*days), Some(*clock)),
        _ => return Err(fault()),
    };
    let days = days.map_or(Some([true; 7]), weekdays).ok_or_else(fault)?;
    let (from, to) = clock.map_or(Some((0, DAY_MINUTES)), hours).ok_or_else(fault)?;
    if from == to {
        return Err(format!("`{text}` begins when it ends; for whole days write the days alone"));
    }
    Ok(Span { text: text.to_owned(), days, from, to })
}

/// `sat,sun` or `mon-fri`, also mixed.
fn weekdays(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut index, last) = (day(first)?, day(last)?);
        days[index] = true;
        while index != last {
            index = (index + 1) % 7;
            days[index] = true;
        }
    }
    Some(days)
}

/// `22:00-07:30` as minutes since midnight.
fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    Some((minute(from)?, minute(to)?))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| {
        let is_plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(texts: &[&str], weekday: u8, hour: u16, minute: u16) -> bool {
        let schedule = Schedule::parse(texts.iter().copied()).unwrap();
        schedule.contains(LocalTime { weekday, minute: hour * 60 + minute })
    }

    #[test]
    fn hours_days_and_both() {
        let night = ["22:00-07:30"];
        assert!(
            holds(&night, 0, 22, 0) && holds(&night, 0, 23, 59) && holds(&night, 0, 0, 0) && holds(&night, 0, 7, 29)
        );
        assert!(!holds(&night, 0, 7, 30) && !holds(&night, 0, 21, 59));
        let weekend = ["sat,sun"];
        assert!(holds(&weekend, 5, 0, 0) && holds(&weekend, 6, 23, 59));
        assert!(!holds(&weekend, 4, 23, 59) && !holds(&weekend, 0, 0, 0));
        let office = ["mon-fri 09:00-17:00"];
        assert!(holds(&office, 0, 9, 0) && holds(&office, 4, 16, 59));
        assert!(!holds(&office, 5, 12, 0) && !holds(&office, 2, 17, 0));
        assert!(holds(&["sat,sun", "22:00-07:30"], 2, 23, 0), "any span is enough");
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_it_began() {
        let friday = ["fri 22:00-02:00"];
        assert!(holds(&friday, 4, 22, 0) && holds(&friday, 5, 1, 59));
        assert!(!holds(&friday, 4, 1, 0) && !holds(&friday, 5, 22, 0));
        let sunday = ["sun 22:00-24:00"];
        assert!(holds(&sunday, 6, 23, 59) && !holds(&sunday, 0, 0, 0));
        assert!(holds(&["sat-mon"], 6, 12, 0) && !holds(&["sat-mon"], 1, 12, 0));
    }

    #[test]
    fn it_says_when_it_ends() {
        let ends = |texts: &[&str], weekday: u8, hour: u16| {
            let schedule = Schedule::parse(texts.iter().copied()).unwrap();
            schedule.ends(LocalTime { weekday, minute: hour * 60 }).map(|moment| moment.to_string())
        };
        assert_eq!(ends(&["22:00-07:30"], 2, 23).as_deref(), Some("thu 07:30"));
        assert_eq!(ends(&["22:00-07:30", "sat,sun"], 4, 23).as_deref(), Some("mon 07:30"));
        assert_eq!(ends(&["sat,sun"], 6, 12).as_deref(), Some("mon 00:00"));
        assert_eq!(ends(&["mon-sun"], 0, 0), None);
    }

    #[test]
    fn what_is_no_span_is_named_with_a_remedy() {
        for text in [
            "",
            "22-7",
            "25:00-01:00",
            "10:60-11:00",
            "noon",
            "mon tue",
            "mon 9 17",
            "9:0-10:00",
            "-1:00-2:00",
            "24:01-25:00",
        ] {
            let (index, why) = Schedule::parse(["sat", text]).unwrap_err();
            assert_eq!(index, 1);
            assert!(why.contains(&format!("`{text}`")) && why.contains("22:00-07:30"), "{why}");
        }
        let (_, why) = Schedule::parse(["10:00-10:00"]).unwrap_err();
        assert!(why.contains("begins when it ends"), "{why}");
    }
}
