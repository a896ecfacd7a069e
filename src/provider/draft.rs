//! An event in the making, and the cleaning that every foreign text goes through. Refuses to know which event it is.

use std::collections::HashSet;

use crate::event::{Event, Extra, Fact, NO_TITLE, SOMEONE, Severity, UNKNOWN_REPOSITORY};

use super::{kinds, read, rules::Context};

/// Longest text that goes into an event. GitHub's own titles end at 256 characters; a commit's first line need not.
const TEXT_CHARS_MAX: usize = 300;
/// Longest link; longer ones break Slack's blocks, and no page of GitHub's needs them.
const URL_BYTES_MAX: usize = 2000;

/// Paths of one event. A push may touch a whole repository; who writes rules means the few files that matter to them.
const PATHS_MAX: usize = 300;
/// All of them together.
const PATHS_BYTES_MAX: usize = 8 * 1024;

/// What a normaliser found so far. What it does not find reads as the event's own "unknown".
pub(super) struct Draft {
    kind: &'static str,
    severity: Severity,
    actor: Option<String>,
    repository: Option<String>,
    title: Option<String>,
    url: Option<String>,
    subject: Option<String>,
    extra: Extra,
    own_id: Option<String>,
}

impl Draft {
    /// Of one of [`kinds::KINDS`], with that kind's severity.
    pub(super) fn new(kind: &'static str) -> Draft {
        Draft {
            kind,
            severity: kinds::severity(kind),
            actor: None,
            repository: None,
            title: None,
            url: None,
            subject: None,
            extra: Extra::new(),
            own_id: None,
        }
    }

    /// Where the payload says how bad it is.
    pub(super) fn severity(self, severity: Severity) -> Draft {
        Draft { severity, ..self }
    }

    /// Who did it; a later call counts only where nobody was found before.
    pub(super) fn actor(self, actor: Option<&str>) -> Draft {
        Draft { actor: self.actor.or_else(|| actor.and_then(clean)), ..self }
    }

    /// `owner/name`, or what the event is about: a store, an account, a channel.
    pub(super) fn repository(self, repository: Option<&str>) -> Draft {
        Draft { repository: repository.and_then(clean), ..self }
    }

    pub(super) fn title(self, title: Option<&str>) -> Draft {
        Draft { title: title.and_then(clean), ..self }
    }

    /// The first of these that is a link for people.
    pub(super) fn url<'a>(self, candidates: impl IntoIterator<Item = Option<&'a str>>) -> Draft {
        Draft { url: candidates.into_iter().flatten().find_map(link), ..self }
    }

    /// What it belongs to, for threads and latches.
    pub(super) fn subject(self, subject: Option<String>) -> Draft {
        Draft { subject: subject.as_deref().and_then(clean), ..self }
    }

    /// The sender's own id of this one event, where a request carries several: the same id is the same event, in
    /// whatever request it comes.
    pub(super) fn own_id(self, id: Option<&str>) -> Draft {
        // Not made to fit: two that were cut at the same place would be one.
        Draft { own_id: id.and_then(read::identity), ..self }
    }

    /// Adds a text that is there and not blank.
    pub(super) fn text(mut self, key: &'static str, text: Option<&str>) -> Draft {
        if let Some(text) = text.and_then(clean) {
            self.extra.insert(key.to_owned(), Fact::Text(text));
        }
        self
    }

    pub(super) fn number(mut self, key: &'static str, number: Option<i64>) -> Draft {
        if let Some(number) = number {
            self.extra.insert(key.to_owned(), Fact::Number(number));
        }
        self
    }

    pub(super) fn flag(mut self, key: &'static str, flag: Option<bool>) -> Draft {
        if let Some(flag) = flag {
            self.extra.insert(key.to_owned(), Fact::Flag(flag));
        }
        self
    }

    /// Texts joined by commas. Not cut: a rule must see the last label as well as the first.
    pub(super) fn list<'a>(mut self, key: &'static str, texts: impl IntoIterator<Item = &'a str>) -> Draft {
        let texts: Vec<String> = texts.into_iter().filter_map(clean).collect();
        if !texts.is_empty() {
            self.extra.insert(key.to_owned(), Fact::Text(texts.join(",")));
        }
        self
    }

    /// Paths, each once and on a line of its own, because they may have commas in them; no more than fit.
    pub(super) fn paths<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Draft {
        let (mut seen, mut lines) = (HashSet::new(), String::new());
        for path in paths.into_iter().filter(|path| seen.insert(*path)).filter_map(clean).take(PATHS_MAX) {
            if lines.len() + path.len() >= PATHS_BYTES_MAX {
                break;
            }
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(&path);
        }
        if !lines.is_empty() {
            self.extra.insert("paths".to_owned(), Fact::Text(lines));
        }
        self
    }

    pub(super) fn finish(self, context: &Context<'_>) -> Event {
        Event {
            kind: self.kind.to_owned(),
            source: context.source.to_owned(),
            provider: context.provider.name().to_owned(),
            actor: self.actor.unwrap_or_else(|| SOMEONE.to_owned()),
            repository: self.repository.unwrap_or_else(|| UNKNOWN_REPOSITORY.to_owned()),
            title: self.title.unwrap_or_else(|| NO_TITLE.to_owned()),
            url: self.url,
            severity: self.severity,
            subject: self.subject,
            extra: self.extra,
            own_id: self.own_id,
        }
    }
}

/// One line of bounded length without control characters; `None` when nothing is left. Text from outside ends up in
/// logs, terminals and Slack.
pub(super) fn clean(text: &str) -> Option<String> {
    let mut words = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        let space = (!words.is_empty()).then_some(' ');
        for char in space.into_iter().chain(word.chars()) {
            if chars + 1 >= TEXT_CHARS_MAX {
                words.push('…');
                return Some(words);
            }
            words.push(char);
            chars += 1;
        }
    }
    (!words.is_empty()).then_some(words)
}

/// A link that may be shown: `http` or `https`, and nothing in it that could end the markup around it.
fn link(url: &str) -> Option<String> {
    let after_scheme = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let harmless = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '<' | '>' | '|' | '"');
    (!after_scheme.is_empty() && url.len() <= URL_BYTES_MAX && url.chars().all(harmless)).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_bounded_line() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(clean(text).as_deref(), expected, "{text:?}");
        check("Add a lamp", Some("Add a lamp"));
        check("  a\r\n\tb\u{1b}[31mc\0 ", Some("a b [31mc"));
        check(" \n\u{7} ", None);
        check("", None);
        assert_eq!(clean(&"é".repeat(1000)).unwrap().chars().count(), TEXT_CHARS_MAX);
        for chars in TEXT_CHARS_MAX - 3..=TEXT_CHARS_MAX + 1 {
            let cut = clean(&format!("{} and more", "é".repeat(chars))).unwrap();
            assert_eq!(cut.chars().count(), TEXT_CHARS_MAX, "{chars}");
        }
        assert_eq!(clean(&"é".repeat(TEXT_CHARS_MAX - 1)).unwrap().chars().count(), TEXT_CHARS_MAX - 1);
    }

    #[test]
    fn paths_are_lines_and_bounded() {
        let paths =
            |paths: &[String]| match Draft::new("push").paths(paths.iter().map(String::as_str)).extra.get("paths") {
                Some(Fact::Text(lines)) => lines.clone(),
                _ => String::new(),
            };
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(paths(&[]), "");
        assert_eq!(paths(&owned(&["a, b.rs", "c\nd", "a, b.rs", " "])), "a, b.rs\nc d");
        let many: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        assert_eq!(paths(&many).lines().count(), PATHS_MAX);
        let long: Vec<String> = (0..100).map(|number| format!("{number}{}", "x".repeat(290))).collect();
        assert!((PATHS_BYTES_MAX - 300..PATHS_BYTES_MAX).contains(&paths(&long).len()));
    }

    #[test]
    fn only_links_for_people() {
        let check = |url: &str, good: bool| assert_eq!(link(url).is_some(), good, "{url:?}");
        check("https://github.com/acme/lamp/pull/1", true);
        check("http://ghe.local/acme", true);
        check("javascript:alert(1)", false);
        check("https://", false);
        check("https://a|b>", false);
        check("https://a\nb", false);
        check(&format!("https://{}", "a".repeat(URL_BYTES_MAX)), false);
    }
}
