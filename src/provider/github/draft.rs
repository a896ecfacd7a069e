//! An event in the making, and the cleaning that every foreign text goes through. Refuses to know which event it is.

use crate::event::{Event, Extra, Fact, NO_TITLE, SOMEONE, Severity, UNKNOWN_REPOSITORY};
use crate::provider::Provider;

use super::payload::{Account, Maybe, Named, Payload};

/// Longest text that goes into an event. GitHub's own titles end at 256 characters; a commit's first line need not.
const TEXT_CHARS_MAX: usize = 300;
/// Longest link; longer ones break Slack's blocks, and no page of GitHub's needs them.
const URL_BYTES_MAX: usize = 2000;

/// What one of the tellers found; [`Draft::finish`] fills in what all events share.
pub(super) struct Draft {
    kind: &'static str,
    severity: Severity,
    actor: Option<String>,
    title: Option<String>,
    url: Option<String>,
    subject: Option<String>,
    extra: Extra,
}

impl Draft {
    pub(super) fn new(kind: &'static str) -> Draft {
        let severity = match kind {
            "ci_failed" | "deployment_failed" | "security_alert" => Severity::Failure,
            "pr_changes_requested" => Severity::Warning,
            "pr_merged" | "pr_approved" | "ci_passed" | "deployment_succeeded" => Severity::Success,
            _ => Severity::Info,
        };
        Draft { kind, severity, actor: None, title: None, url: None, subject: None, extra: Extra::new() }
    }

    /// Who did it, where that is not the sender of the event.
    pub(super) fn actor(self, actor: Option<&str>) -> Draft {
        Draft { actor: actor.and_then(clean), ..self }
    }

    pub(super) fn title(self, title: Option<&str>) -> Draft {
        Draft { title: title.and_then(clean), ..self }
    }

    /// The first of these that is a link for people.
    pub(super) fn url<'a>(self, candidates: impl IntoIterator<Item = Option<&'a str>>) -> Draft {
        Draft { url: candidates.into_iter().flatten().find_map(link), ..self }
    }

    pub(super) fn subject(self, subject: Option<String>) -> Draft {
        Draft { subject, ..self }
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

    /// The names, joined by commas. Not cut: a rule must see the last label as well as the first.
    pub(super) fn labels(mut self, labels: &[Named]) -> Draft {
        let names: Vec<String> = labels.iter().filter_map(|label| label.name.as_deref().and_then(clean)).collect();
        if !names.is_empty() {
            self.extra.insert("labels".to_owned(), Fact::Text(names.join(",")));
        }
        self
    }

    pub(super) fn finish(self, source: &str, payload: &Payload) -> Event {
        let draft = self.text("action", payload.action.as_deref());
        Event {
            kind: draft.kind.to_owned(),
            source: source.to_owned(),
            provider: Provider::GitHub.name().to_owned(),
            actor: draft.actor.or_else(|| login(&payload.sender).and_then(clean)).unwrap_or_else(|| SOMEONE.to_owned()),
            repository: repository(payload),
            title: draft.title.unwrap_or_else(|| NO_TITLE.to_owned()),
            url: draft.url,
            severity: draft.severity,
            subject: draft.subject,
            extra: draft.extra,
        }
    }
}

/// `owner/name`; the organisation for what happens to it as a whole.
pub(super) fn repository(payload: &Payload) -> String {
    payload
        .repository
        .as_ref()
        .and_then(|repository| repository.full_name.as_deref())
        .or_else(|| login(&payload.organization))
        .and_then(clean)
        .unwrap_or_else(|| UNKNOWN_REPOSITORY.to_owned())
}

/// The repository's page.
pub(super) fn repository_url(payload: &Payload) -> Option<&str> {
    payload.repository.as_ref().and_then(|repository| repository.html_url.as_deref())
}

pub(super) fn login(account: &Maybe<Account>) -> Option<&str> {
    account.as_ref().and_then(|account| account.login.as_deref())
}

pub(super) fn name(named: &Maybe<Named>) -> Option<&str> {
    named.as_ref().and_then(|named| named.name.as_deref())
}

/// One line of bounded length without control characters; `None` when nothing is left. Text from outside ends up in
/// logs, terminals and Slack.
pub(super) fn clean(text: &str) -> Option<String> {
    let mut words = String::new();
    let mut chars = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
            chars += 1;
        }
        for char in word.chars() {
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

/// The first line of a commit's message.
pub(super) fn first_line(message: Option<&str>) -> Option<&str> {
    message.and_then(|message| message.lines().find(|line| !line.trim().is_empty()))
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
        assert_eq!(clean(&"é".repeat(TEXT_CHARS_MAX - 1)).unwrap().chars().count(), TEXT_CHARS_MAX - 1);
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
