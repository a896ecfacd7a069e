//! Many events in a few lines. Owns the grouping and what is left out; refuses to know markup: what makes foreign text
//! harmless, and how one event is said, are arguments. Pure.

use super::{
    plain::Show,
    words::{self, By},
};
use crate::event::{Event, Fact, NO_TITLE, SOMEONE, UNKNOWN_REPOSITORY};

/// Names that a group shows; the rest are counted.
const NAMES_MAX: usize = 5;
const REPOSITORY_UNITS_MAX: usize = 160;
const ACTOR_UNITS_MAX: usize = 80;
const TITLE_UNITS_MAX: usize = 80;
const NUMBER_UNITS_MAX: usize = 20;
/// Room for what says that more has happened.
const MORE_SIZE: usize = 40;

/// How a destination is told.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Makes foreign text harmless.
    pub(super) show: Show,
    /// One event, as if it were alone.
    pub(super) alone: fn(&Event, Show) -> String,
}

/// How much a message holds.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub(super) max: usize,
    /// What counts: bytes, or UTF-16 units.
    pub(super) size: fn(&str) -> usize,
}

/// Events of one kind in one place.
struct Group<'e> {
    first: &'e Event,
    events: Vec<&'e Event>,
}

/// A line for each kind in each repository, in the order of first appearance, with how many events it tells.
pub(super) fn grouped(events: &[&Event], manner: Manner) -> Vec<(String, usize)> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for event in events {
        let is_same =
            |group: &&mut Group<'_>| (&group.first.kind, &group.first.repository) == (&event.kind, &event.repository);
        match groups.iter_mut().find(is_same) {
            Some(group) => group.events.push(event),
            None => groups.push(Group { first: event, events: vec![event] }),
        }
    }
    groups.iter().map(|group| (group.line(manner), group.events.len())).collect()
}

/// `ada, bob and 3 more`: each name once, at most `names_max` of them.
pub(super) fn list(names: impl Iterator<Item = String>, names_max: usize) -> String {
    let mut unique: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for name in names {
        if seen.insert(name.clone()) && !name.is_empty() {
            unique.push(name);
        }
    }
    let more = unique.len().saturating_sub(names_max);
    unique.truncate(names_max);
    match more {
        0 => unique.join(", "),
        more => format!("{} and {more} more", unique.join(", ")),
    }
}

/// `lines`, and of those that tell so many events each as many as fit; what does not is counted.
pub(super) fn fit(mut lines: Vec<String>, more: impl IntoIterator<Item = (String, usize)>, room: Room) -> Vec<String> {
    // A line break counts as well.
    let mut used: usize = lines.iter().map(|line| (room.size)(line) + 1).sum();
    let mut left = 0;
    for (line, count) in more {
        used += (room.size)(&line) + 1;
        match left == 0 && used + MORE_SIZE <= room.max {
            true => lines.push(line),
            false => left += count,
        }
    }
    match left {
        0 => {}
        1 => lines.push("and 1 more event".to_owned()),
        left => lines.push(format!("and {left} more events")),
    }
    lines
}

impl Group<'_> {
    fn line(&self, Manner { show, alone }: Manner) -> String {
        // One of a kind is said as if it were alone.
        let count = self.events.len();
        if count == 1 {
            return alone(self.first, show);
        }
        let Event { kind, repository, .. } = self.first;
        let repository = show(repository, REPOSITORY_UNITS_MAX);
        let repository = if repository.is_empty() { UNKNOWN_REPOSITORY.to_owned() } else { repository };
        let words = words::of(kind);
        let lead = format!("{} {repository}: {count}", words.emoji);
        let Some((many, by)) = words.many else { return format!("{lead} × {}", show(kind, ACTOR_UNITS_MAX)) };
        match list(self.events.iter().map(|event| name(event, by, show)), NAMES_MAX) {
            names if names.is_empty() => format!("{lead} {many}"),
            names => format!("{lead} {many} ({names})"),
        }
    }
}

/// Empty where nobody knows.
fn name(event: &Event, by: By, show: Show) -> String {
    match by {
        By::Actor if event.actor == SOMEONE => String::new(),
        By::Actor => show(&event.actor, ACTOR_UNITS_MAX),
        By::Title if event.title == NO_TITLE => number(event, show).trim_end().to_owned(),
        By::Title => number(event, show) + &show(&event.title, TITLE_UNITS_MAX),
    }
}

/// `#7 `, or nothing where the event has no number.
pub(super) fn number(event: &Event, show: Show) -> String {
    let number = match event.extra.get("number") {
        Some(Fact::Number(number)) => number.to_string(),
        Some(Fact::Text(text)) => show(text.trim_start_matches('#'), NUMBER_UNITS_MAX),
        Some(Fact::Flag(_)) | None => String::new(),
    };
    if number.is_empty() { number } else { format!("#{number} ") }
}
