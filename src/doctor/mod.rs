//! Tries the real things and says what it found. Owns the checks, one small file for each outside thing, and their
//! verdicts; refuses to mend anything, to post anything, and to drive a pin.
//!
//! To add a check: a function that returns a [`Check`], and a line in [`run`].

mod clock;
mod desk;
mod public;
mod service;
mod sinks;
mod storage;
mod tunnel;

use serde_json::{Value, json};

use self::clock::Shown;
use crate::{
    config::{Loaded, Settings},
    http::Client,
    store::Reader,
    time::{Clock, SystemClock, Timestamp},
};

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, or cannot be told, and somebody should know.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        }
    }
}

/// What one look has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How good it is.
    pub result: Verdict,
    /// What was found.
    pub said: String,
    /// What to do about it.
    pub remedy: Option<String>,
    /// Figures for programs; null where there are none.
    pub facts: Value,
}

impl Check {
    /// One without figures.
    pub fn new(name: &str, result: Verdict, said: impl Into<String>, remedy: Option<&str>) -> Check {
        let remedy = remedy.map(str::to_owned);
        Check { name: name.to_owned(), result, said: said.into(), remedy, facts: Value::Null }
    }

    fn ok(name: &str, said: impl Into<String>) -> Check {
        Check::new(name, Verdict::Ok, said, None)
    }

    fn warn(name: &str, said: impl Into<String>, remedy: &str) -> Check {
        Check::new(name, Verdict::Warn, said, Some(remedy))
    }

    fn fail(name: &str, said: impl Into<String>, remedy: &str) -> Check {
        Check::new(name, Verdict::Fail, said, Some(remedy))
    }

    /// Of a text that ends in its remedy, as our errors do.
    fn told(name: &str, result: Verdict, text: &str, otherwise: &str) -> Check {
        let (said, remedy) = text.rsplit_once("; ").unwrap_or((text, otherwise));
        Check::new(name, result, said, Some(remedy))
    }

    /// One object.
    pub fn json(&self) -> Value {
        let Check { name, result, said, remedy, facts } = self;
        let mut json = json!({ "name": name, "result": result.name(), "said": said, "remedy": remedy });
        if !facts.is_null() {
            json["facts"] = facts.clone();
        }
        json
    }
}

/// What is looked at.
pub struct Patient<'a> {
    /// The configuration, by which everything else is found.
    pub loaded: &'a Loaded,
    /// Pins that the configuration shares with a bus of this machine, in words.
    pub conflicts: &'a [String],
    /// Whether the card is measured for longer.
    pub fsync_test: bool,
}

/// Looks at everything, and tells each finding as it is made.
pub fn run(patient: &Patient<'_>, tell: &mut dyn FnMut(Check)) {
    let Patient { loaded, conflicts, fsync_test } = patient;
    let settings = &loaded.settings;
    configuration(loaded, tell);
    let service = service::look(settings, tell);
    tell(storage::look(&settings.store, &service.status));
    if *fsync_test {
        tell(storage::measure(&settings.store));
    }
    desk::look(&settings.bell, &service.status["bell"], conflicts, tell);
    let client = Client::new();
    let mut shown = Vec::new();
    for (name, sink) in &settings.sinks {
        if let Some((check, date)) = sinks::look(name, &sink.kind, &client) {
            tell(check);
            shown.extend(date.map(|date| Shown::now(name, date)));
        }
    }
    tell(tunnel::look(settings.tunnel.metrics));
    let (check, date) = public::look(settings, &client, service.is_running);
    tell(check);
    shown.extend(date.map(|date| Shown::now("the public URL", date)));
    tell(clock::look(newest(settings), &shown));
}

fn configuration(loaded: &Loaded, tell: &mut dyn FnMut(Check)) {
    const NAME: &str = "configuration";
    let Settings { file, sources, sinks, .. } = &loaded.settings;
    let file = file.as_ref().map_or("built in, and by the environment".to_owned(), |file| file.display().to_string());
    let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let sources = names(sources.keys().map(String::as_str).collect());
    let sinks = names(sinks.keys().map(String::as_str).collect());
    tell(Check::ok(NAME, format!("{file}: sources {sources}; sinks {sinks}")));
    for warning in &loaded.warnings {
        tell(Check::told(NAME, Verdict::Warn, &warning.to_string(), "`hookbell check` prints what is in force"));
    }
}

/// A moment that has been, as far as the database can tell.
fn newest(settings: &Settings) -> Timestamp {
    let list = |reader: Reader| reader.list(&crate::store::Filter { limit: 1, ..Default::default() });
    let rows = Reader::open(&settings.store.path).and_then(list).unwrap_or_default();
    rows.first().map_or(Timestamp::from_ms(0), |row| row.received_at)
}

fn now() -> Timestamp {
    SystemClock.wall()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_told_with_its_remedy() {
        let check = Check::told("x", Verdict::Fail, "it; is broken; mend it", "otherwise");
        assert_eq!((check.said.as_str(), check.remedy.as_deref()), ("it; is broken", Some("mend it")));
        let check = Check::told("x", Verdict::Warn, "it is broken", "otherwise");
        let said = json!({ "name": "x", "result": "warn", "said": "it is broken", "remedy": "otherwise" });
        assert_eq!(check.json(), said);
        assert_eq!(Check::ok("x", "well").json()["remedy"], Value::Null);
    }
}
