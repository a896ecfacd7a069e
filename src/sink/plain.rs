//! An event in plain words, for the sinks that have no manner of their own. Owns the sentence and its list form; refuses
//! to know any markup: what makes foreign text harmless is an argument.

use super::{
    Bundle, Parcel,
    digest::{self, Manner, Room},
    slack::mrkdwn::turns_text,
    words,
};
use crate::event::{Event, Fact, NO_TITLE, SOMEONE, UNKNOWN_REPOSITORY};

/// Makes foreign text harmless and at most so many UTF-16 units long.
pub(super) type Show = fn(&str, usize) -> String;

const TITLE_UNITS_MAX: usize = 400;
const REPOSITORY_UNITS_MAX: usize = 160;
const NAME_UNITS_MAX: usize = 80;
/// Browsers and mail programs grow unreliable above about this.
const LINK_BYTES_MAX: usize = 1_000;

/// Where: `acme/api`.
pub(super) fn place(event: &Event, show: Show) -> String {
    or(show(&event.repository, REPOSITORY_UNITS_MAX), UNKNOWN_REPOSITORY)
}

/// `New issue in acme/api`
pub(super) fn headline(event: &Event, show: Show) -> String {
    format!("{} in {}", words::of(&event.kind).one, place(event, show))
}

/// `#42 What it is called (failure) on main by octocat`: whatever of it is known; empty when nothing is.
pub(super) fn detail(event: &Event, show: Show) -> String {
    let mut parts = Vec::new();
    parts.extend(fact(event, "number", show).map(|number| format!("#{}", number.trim_start_matches('#'))));
    let is_named = event.title != NO_TITLE && event.title != event.repository;
    parts.extend(Some(show(&event.title, TITLE_UNITS_MAX)).filter(|title| is_named && !title.is_empty()));
    parts.extend(fact(event, "conclusion", show).map(|how| format!("({how})")));
    if event.run().is_some() || matches!(event.kind.as_str(), "push" | "deployment_failed" | "deployment_succeeded") {
        let branch = fact(event, "branch", show).or_else(|| fact(event, "head_branch", show));
        parts.extend(branch.map(|branch| format!("on {branch}")));
    }
    let actor = show(&event.actor, NAME_UNITS_MAX);
    parts.extend((!actor.is_empty() && actor != SOMEONE).then(|| format!("by {actor}")));
    parts.join(" ")
}

/// All of it in one line: `🐛 New issue in acme/api: #42 What it is called by octocat`
pub(super) fn sentence(event: &Event, show: Show) -> String {
    let (emoji, headline, detail) = (words::of(&event.kind).emoji, headline(event, show), detail(event, show));
    let between = if detail.is_empty() || detail.starts_with("by ") { " " } else { ": " };
    format!("{emoji} {headline}{between}{detail}").trim_end().to_owned()
}

/// From where, and the reference, by which people recognise a repeat.
pub(super) fn footer(parcel: &Parcel, show: Show) -> String {
    format!("{} · {}", show(&parcel.event.source, NAME_UNITS_MAX), show(&parcel.reference, NAME_UNITS_MAX))
}

/// What stands above a list.
pub(super) fn count(bundle: Bundle<'_>) -> String {
    match bundle.parcels {
        [_] => "1 event".to_owned(),
        parcels => format!("{} events", parcels.len()),
    }
}

/// A line for each kind in each place, as many as fit; then how many events more there are.
pub(super) fn list(bundle: Bundle<'_>, show: Show, bytes_max: usize) -> String {
    let events: Vec<&Event> = bundle.parcels.iter().map(|parcel| &parcel.event).collect();
    let lines = digest::grouped(&events, Manner { show, alone: sentence }).into_iter();
    let bulleted = lines.map(|(line, count)| (format!("• {line}"), count));
    digest::fit(Vec::new(), bulleted, Room { max: bytes_max, size: str::len }).join("\n")
}

/// The worst of them.
pub(super) fn severity(bundle: Bundle<'_>) -> crate::event::Severity {
    let severities = bundle.parcels.iter().map(|parcel| parcel.event.severity);
    severities.max().unwrap_or(crate::event::Severity::Info)
}

/// The reference that tells a repeated list: its first one, and how many follow.
pub(super) fn reference(bundle: Bundle<'_>) -> String {
    let first = bundle.parcels.first().map_or("", |parcel| parcel.reference.as_str());
    match bundle.parcels.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first}+{}", count - 1),
    }
}

/// The event's link, where it is one that people may click.
pub(super) fn link(event: &Event) -> Option<&str> {
    let link = event.url.as_deref()?;
    let (scheme, rest) = link.split_once("://")?;
    let is_web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    let foreign = |c: char| c.is_whitespace() || c.is_control() || turns_text(c) || "<>|\"`".contains(c);
    let is_good = is_web && !rest.is_empty() && !rest.starts_with(['/', '?', '#']) && !rest.contains(foreign);
    (is_good && link.len() <= LINK_BYTES_MAX).then_some(link)
}

/// Whether a link's host has a dot in it: without, it is a name that only the local network knows.
pub(super) fn is_qualified(link: &str) -> bool {
    let rest = link.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    host.trim_matches('.').contains('.')
}

/// Foreign text where there is no markup at all: one line of it, and nothing that turns text.
pub(super) fn text(raw: &str, units_max: usize) -> String {
    cut(raw, units_max, &|c, out| out.push(c))
}

/// `raw` as one line, each of its characters written by `write`, at most `units_max` UTF-16 units long; what is cut ends in
/// `…`.
pub(super) fn cut(raw: &str, units_max: usize, write: &dyn Fn(char, &mut String)) -> String {
    let (mut out, mut units, mut keep_bytes) = (String::new(), 0, 0);
    let mut space_pending = false;
    let mut piece = String::new();
    for c in raw.chars().filter(|c| !turns_text(*c)) {
        if c.is_whitespace() || c.is_control() {
            space_pending = !out.is_empty();
            continue;
        }
        piece.clear();
        if std::mem::take(&mut space_pending) {
            piece.push(' ');
        }
        write(c, &mut piece);
        let piece_units = piece.encode_utf16().count();
        if units + piece_units > units_max {
            out.truncate(keep_bytes);
            // A joiner (as in 👩‍🚒) with nothing to join would take the `…` for its partner.
            out.truncate(out.trim_end_matches('\u{200d}').len());
            out.push('…');
            return out;
        }
        out.push_str(&piece);
        units += piece_units;
        if units < units_max {
            keep_bytes = out.len();
        }
    }
    out
}

fn or(text: String, fallback: &str) -> String {
    if text.is_empty() { fallback.to_owned() } else { text }
}

/// What a fact says, where it says something.
fn fact(event: &Event, name: &str, show: Show) -> Option<String> {
    let text = match event.extra.get(name)? {
        Fact::Flag(_) => return None,
        fact => show(&fact.to_string(), NAME_UNITS_MAX),
    };
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Extra;

    fn event(kind: &str, facts: &[(&str, Fact)]) -> Event {
        let extra: Extra = facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone())).collect();
        Event { extra, ..Event::of(kind) }
    }

    #[test]
    fn a_sentence_tells_what_where_which_and_who() {
        let number = ("number", Fact::Number(42));
        let text = |words: &str| Fact::Text(words.to_owned());
        let check = |event: Event, expected: &str| assert_eq!(sentence(&event, super::text), expected);
        check(event("issue_opened", &[number]), "🐛 New issue in acme/api: #42 T by octocat");
        let run = Event {
            subject: Some("acme/api@main ci".to_owned()),
            ..event("ci_failed", &[("conclusion", text("failure")), ("branch", text("main"))])
        };
        check(run, "❌ CI failed in acme/api: T (failure) on main by octocat");
        let starred = Event { title: "acme/api".to_owned(), ..event("repo_starred", &[]) };
        check(starred, "⭐\u{fe0f} New star in acme/api by octocat");
        let bare = Event {
            title: NO_TITLE.to_owned(),
            actor: SOMEONE.to_owned(),
            repository: String::new(),
            ..event("from_the_future", &[("number", Fact::Flag(true))])
        };
        check(bare, "ℹ\u{fe0f} Activity in unknown/unknown");
        let hostile = Event { title: "a\r\nBcc: x\u{202e}\u{7}".to_owned(), ..event("refund", &[]) };
        check(hostile, "↩\u{fe0f} Refund in acme/api: a Bcc: x by octocat");
    }

    #[test]
    fn a_list_fits_and_says_what_it_left_out() {
        let opened = |number: i64| event("issue_opened", &[("number", Fact::Number(number))]);
        let of = |events: Vec<Event>| -> Vec<Parcel> { events.into_iter().map(Parcel::of).collect() };
        let parcels = of(vec![opened(1), opened(2), event("push", &[])]);
        let together = list(Bundle { parcels: &parcels }, text, 100_000);
        assert_eq!(together, "• 🐛 acme/api: 2 issues opened (#1 T, #2 T)\n• 📤 New push in acme/api: T by octocat");
        let elsewhere = |number: i64| Event { repository: format!("acme/{number}"), ..opened(number) };
        let parcels = of((0..100).map(elsewhere).collect());
        let bundle = Bundle { parcels: &parcels };
        assert_eq!((count(bundle), reference(bundle)), ("100 events".to_owned(), "ref-1+99".to_owned()));
        assert_eq!(list(bundle, text, 100_000).lines().count(), 100);
        for bytes_max in [200, 500, 1_000] {
            let cut = list(bundle, text, bytes_max);
            let shown = cut.lines().count() - 1;
            assert!(cut.len() <= bytes_max, "{}", cut.len());
            assert!(cut.ends_with(&format!("\nand {} more events", 100 - shown)), "{cut}");
        }
    }

    #[test]
    fn links_are_http_and_nothing_else() {
        let link = |url: &str| link(&Event { url: Some(url.to_owned()), ..event("push", &[]) }).is_some();
        assert!(link("https://x/a?b=c&d#e") && link("HTTP://x"));
        for bad in ["javascript:alert(1)", "https://", "https:///x", "https://x/a b", "https://x/\n", "https://x/<"] {
            assert!(!link(bad), "{bad}");
        }
        assert!(!link(&format!("https://x/{}", "y".repeat(1_000))));
        for public in ["https://github.com/a", "https://a.b:9?c", "http://10.0.0.1/", "https://me@a.b./"] {
            assert!(is_qualified(public), "{public}");
        }
        for local in [
            "http://alertmanager:9093/a.b",
            "http://localhost/",
            "http://localhost.#a.b",
            "http://[::1]/",
            "http://a.b@c/",
        ] {
            assert!(!is_qualified(local), "{local}");
        }
    }
}
