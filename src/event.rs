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

/// A flat map of facts; lists are joined by a comma (`labels`).
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
