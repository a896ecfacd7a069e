//! What a delivery means: the shape that rules match and sinks show. Owns the field names of the contract; refuses to
//! know any provider's JSON.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// One thing that happened, in hookbell's own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened, in snake_case: `pr_opened`. The whole list stands in the README.
    pub kind: String,
    /// The configured source's name.
    pub source: String,
    /// The provider's name.
    pub provider: String,
    /// Who caused it, or [`SOMEONE`].
    pub actor: String,
    /// `owner/name`, or what the event is about; [`UNKNOWN_REPOSITORY`] where the provider does not say.
    pub repository: String,
    /// What it is called, or [`NO_TITLE`].
    pub title: String,
    /// Where to look, an `http` or `https` link.
    pub url: Option<String>,
    /// How much it matters.
    pub severity: Severity,
    /// What it belongs to, for threads and latches: `acme/api#42`, `acme/api@main ci`.
    pub subject: Option<String>,
    /// Further facts: `number`, `branch`, `labels`, `draft`, `conclusion`, …
    pub extra: Extra,
    /// The sender's own id of this one event, where a request may carry several; no rule sees it.
    #[serde(skip)]
    pub own_id: Option<String>,
}

/// Reads where the provider does not say who.
pub const SOMEONE: &str = "someone";
/// Reads where the provider does not say what about.
pub const UNKNOWN_REPOSITORY: &str = "unknown/unknown";
/// Reads where the provider gives no title.
pub const NO_TITLE: &str = "(no title)";

/// A flat map of facts. Lists are joined by a comma (`labels`), or by a line break (`paths`, which may have commas).
pub type Extra = BTreeMap<String, Fact>;

/// One fact of [`Extra`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Text.
    Text(String),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Flag(flag) => write!(f, "{flag}"),
            Fact::Number(number) => write!(f, "{number}"),
            Fact::Text(text) => f.write_str(text),
        }
    }
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Something went well.
    Success,
    /// Look at it some time.
    Warning,
    /// Look at it now.
    Failure,
}

impl Severity {
    /// The stored and shown name.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Success => "success",
            Severity::Warning => "warning",
            Severity::Failure => "failure",
        }
    }

    /// The severity of that name.
    pub fn from_name(name: &str) -> Option<Severity> {
        [Severity::Info, Severity::Success, Severity::Warning, Severity::Failure]
            .into_iter()
            .find(|severity| severity.name() == name)
    }
}

/// How a run of checks on a branch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The branch, as a subject: `acme/api@main ci`.
    pub subject: &'a str,
    /// Which of the branch's checks; empty where they have no name.
    pub what: &'a str,
    /// Grows from run to run; 0 where the provider does not number them.
    pub number: i64,
    /// How it ended.
    pub kind: &'a str,
}

/// A branch that asks to be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// As other events call it: `acme/api@feature`.
    pub branch: String,
    /// The pull request.
    pub subject: &'a str,
    /// Whether it asks from now on, or not any more; `None` where the event does not say: a merged one is talked about, too.
    pub asks: Option<bool>,
}

/// What failed.
pub const CI_FAILED: &str = "ci_failed";
/// What passed.
pub const CI_PASSED: &str = "ci_passed";
/// What passed and was the first to do so after a failure. Who asks for [`CI_PASSED`] means this as well.
pub const CI_FIXED: &str = "ci_fixed";

impl Event {
    /// The run whose end this event tells.
    pub fn run(&self) -> Option<Run<'_>> {
        let text = |name: &str| match self.extra.get(name) {
            Some(Fact::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let number = |name: &str| match self.extra.get(name) {
            Some(Fact::Number(number)) => *number,
            _ => 0,
        };
        let subject = self.subject.as_deref().filter(|_| [CI_FAILED, CI_PASSED, CI_FIXED].contains(&&*self.kind))?;
        // A run that is tried again keeps its number.
        let number = number("run").saturating_mul(1000).saturating_add(number("attempt").clamp(0, 999));
        let what = text("workflow").or(text("app")).unwrap_or_default();
        Some(Run { subject, what, number, kind: &self.kind })
    }

    /// The branch that the pull request of this event wants to have merged.
    pub fn head(&self) -> Option<Head<'_>> {
        let subject = self.subject.as_deref().filter(|_| self.kind.starts_with("pr_"))?;
        let Some(Fact::Text(branch)) = self.extra.get("head_branch") else { return None };
        let asks = match self.kind.as_str() {
            "pr_opened" | "pr_reopened" | "pr_ready" | "pr_review_requested" => Some(true),
            "pr_merged" | "pr_closed" => Some(false),
            _ => None,
        };
        Some(Head { branch: format!("{}@{branch}", self.repository), subject, asks })
    }

    /// The branch that this event happened on, where that is all that its subject says: `acme/api@feature`.
    pub fn on_branch(&self) -> Option<String> {
        let Some(Fact::Text(branch)) = self.extra.get("branch") else { return None };
        let name = format!("{}@{branch}", self.repository);
        let rest = self.subject.as_deref()?.strip_prefix(&name)?;
        (rest.is_empty() || rest.starts_with(' ')).then_some(name)
    }
}

#[cfg(test)]
impl Event {
    /// An event of GitHub's for tests: `octocat` in `acme/api`, titled `T`.
    pub(crate) fn of(kind: &str) -> Event {
        Event {
            kind: kind.to_owned(),
            source: "github".to_owned(),
            provider: "github".to_owned(),
            actor: "octocat".to_owned(),
            repository: "acme/api".to_owned(),
            title: "T".to_owned(),
            url: None,
            severity: Severity::Info,
            subject: None,
            extra: Extra::new(),
            own_id: None,
        }
    }
}
