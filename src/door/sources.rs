//! The sources while the door is open: as configured, but for their secrets, which can change without a restart. Owns
//! which are accepted now; refuses to know how a rotation goes.
//!
//! Each request that could be judged looks at the files' marks first, and reads them when they are others. So the files
//! say what is accepted, to the request: a secret counts from the moment when its file is there, and no longer than it
//! is. Nobody has to be told, which is why `run` and `receive` need nothing of each other for it, and nothing is kept
//! that a crash could leave behind. Looking only after a wrong signature would miss that a secret was taken away; looking
//! once a second would refuse for a second what a sender signs with the new one. A look costs a question to the kernel
//! for each file, a small part of what a proof does, and it is all that a stranger can cause: what is read was changed by
//! somebody who may write there, a few seconds ago at most, and what cannot be read is tried once a second.
//!
//! systemd hands over credentials once, so there the files never change. Whoever rotates one hands the door its secrets
//! by the control socket ([`Sources::asked`]); they hold until the next start, or until a file does change. The answer
//! tells of each what tells it apart, so that nobody has to believe that the door has it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    config::{self, Marks, Source},
    provider,
    secret::Secret,
    threads::lock,
};

/// Between two readings of what could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// The sources by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<BTreeMap<String, Held>>);

/// One source. A request takes it as it is then and keeps it to its end.
#[derive(Debug)]
pub(super) struct Held(Mutex<Now>);

#[derive(Debug)]
struct Now {
    source: Arc<Source>,
    /// The files when they were read; `None`: they were not at rest.
    seen: Option<Marks>,
    /// What could not be read, and when that was tried.
    faults: Vec<String>,
    tried: Option<Instant>,
}

impl Sources {
    /// As configured.
    pub fn new(sources: BTreeMap<String, Source>) -> Sources {
        let held = |source: Source| {
            let (seen, faults) = (source.origins.seen(), source.origins.faults().to_vec());
            Held(Mutex::new(Now { source: Arc::new(source), seen, faults, tried: None }))
        };
        Sources(Arc::new(sources.into_iter().map(|(name, source)| (name, held(source))).collect()))
    }

    /// The source of that name.
    pub(super) fn get(&self, name: &str) -> Option<(&str, &Held)> {
        self.0.get_key_value(name).map(|(name, held)| (name.as_str(), held))
    }

    /// How many secrets it accepts now.
    pub fn count(&self, name: &str) -> Option<usize> {
        let (name, held) = self.get(name)?;
        Some(held.look(name).terms.secrets.len())
    }

    /// What the control socket is asked about a source: looks anew, or takes `accept` in place of what it accepts.
    /// Answers with the fingerprints of those that it accepts then, in their order, or an error.
    pub fn asked(&self, name: &str, accept: Option<Vec<Secret>>) -> Value {
        let Some((name, held)) = self.get(name) else {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            return json!({ "error": format!("the running service has no source {name:?}; it has {}", known.join(", ")) });
        };
        let mut now = lock(&held.0);
        let marks = now.source.origins.marks();
        // Whoever asks has just changed something, and need not wait for its second.
        now.tried = None;
        now.look(name);
        if let Some(secrets) = accept {
            if let Err(why) = config::check_list(now.source.terms.provider, &secrets) {
                return json!({ "error": format!("source {name} keeps what it accepts: {why}") });
            }
            now.take(name, secrets, "control");
            (now.seen, now.tried) = (Some(marks), None);
        }
        let secrets: Vec<String> = now.source.terms.secrets.iter().map(provider::fingerprint).collect();
        json!({ "source": name, "secrets": secrets, "faults": now.faults })
    }
}

impl Held {
    /// As it is, whatever the files say.
    pub(super) fn as_it_is(&self) -> Arc<Source> {
        lock(&self.0).source.clone()
    }

    /// With the secrets that the files say.
    pub(super) fn look(&self, name: &str) -> Arc<Source> {
        let mut now = lock(&self.0);
        now.look(name);
        now.source.clone()
    }
}

impl Now {
    fn look(&mut self, name: &str) {
        // Under the lock: marks that somebody takes later are never older than those that are kept.
        let origins = &self.source.origins;
        let marks = origins.marks();
        if self.seen.as_ref() == Some(&marks) || self.tried.is_some_and(|tried| tried.elapsed() < READ_AGAIN) {
            return;
        }
        let fresh = origins.read(self.source.terms.provider);
        let is_at_rest = marks.are_settled() && origins.marks() == marks;
        let is_whole = fresh.faults.is_empty();
        self.seen = (is_at_rest && is_whole).then_some(marks);
        self.tried = (!is_whole).then(Instant::now);
        if fresh.faults != self.faults {
            for fault in &fresh.faults {
                log::warn!("a secret is not accepted source={name} why=\"{fault}\"");
            }
            self.faults = fresh.faults;
        }
        if let Some(secrets) = fresh.secrets {
            self.take(name, secrets, "files");
        }
    }

    fn take(&mut self, name: &str, given: Vec<Secret>, whence: &str) {
        let mut secrets: Vec<Secret> = Vec::new();
        for secret in given {
            if !secrets.contains(&secret) {
                secrets.push(secret);
            }
        }
        if secrets == self.source.terms.secrets {
            return;
        }
        log::info!("secrets changed source={name} secrets={} by={whence}", secrets.len());
        let mut source = Source::clone(&self.source);
        source.terms.secrets = secrets;
        self.source = Arc::new(source);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{config::Environment, provider::fingerprint};

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned()).expect("not empty")
    }

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(first: &str) -> Home {
            let home = Home(tempfile::tempdir().expect("a directory"));
            home.write("x", first);
            home
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.path(name), text).expect("written");
        }

        fn rename(&self, from: &str, to: &str) {
            fs::rename(self.path(from), self.path(to)).expect("renamed");
        }

        /// As the configuration reads them, which must do.
        fn sources(&self, text: &str) -> Sources {
            self.write("hookbell.toml", text);
            let nowhere = PathBuf::from("/nowhere");
            let lookup = |name: &str| (name == "Y").then(|| "of-y".into());
            let environment = Environment::new(self.path(""), nowhere, lookup);
            let loaded = config::load(Some(&self.path("hookbell.toml")), &environment);
            Sources::new(loaded.unwrap_or_else(|failure| panic!("{failure}")).settings.sources)
        }
    }

    const GITHUB: &str = "[sources.github]\nsecret = { file = \"x\" }";

    fn accepted(sources: &Sources) -> Vec<String> {
        let (name, held) = sources.get("github").expect("it is configured");
        held.look(name).terms.secrets.iter().map(|secret| secret.expose().to_owned()).collect()
    }

    #[test]
    fn the_files_say_what_is_accepted() {
        let home = Home::new("old");
        let sources = home.sources(GITHUB);
        assert_eq!(accepted(&sources), ["old"]);
        home.write("x.next", "");
        assert_eq!(accepted(&sources), ["old"], "it is about to be written");
        home.write("x.next", "new\n");
        assert_eq!(accepted(&sources), ["old", "new"]);
        let begun = sources.get("github").expect("it is configured").1.as_it_is();
        home.rename("x.next", "x");
        assert_eq!(accepted(&sources), ["new"]);
        assert_eq!(begun.terms.secrets.len(), 2, "a request keeps what it began with");
        // One of the same length and at once: the file is another.
        home.write("y", "won");
        home.rename("y", "x");
        assert_eq!(accepted(&sources), ["won"]);
        home.write("x", "win");
        assert_eq!(accepted(&sources), ["win"], "the same file");
        home.write("x.next", "win");
        assert_eq!(accepted(&sources), ["win"], "each once");
        home.write("x.next", "two");
        assert_eq!(sources.count("github"), Some(2));
        fs::remove_file(home.path("x.next")).expect("removed");
        assert_eq!(sources.clone().count("github"), Some(1), "a rotation that was given up");
        assert_eq!(sources.count("other"), None);
    }

    #[test]
    fn what_cannot_be_read_takes_nothing_away() {
        let home = Home::new("old");
        let sources = home.sources(GITHUB);
        // Whoever asks does not wait for the second that a stranger's request waits for.
        let asked = || sources.asked("github", None);
        let faults = |answer: &Value| answer["faults"].as_array().map_or(0, Vec::len);
        fs::remove_file(home.path("x")).expect("removed");
        assert_eq!((accepted(&sources), faults(&asked())), (vec!["old".to_owned()], 1));
        home.write("x", " \n");
        assert_eq!((faults(&asked()), accepted(&sources)), (1, vec!["old".to_owned()]));
        let fifo = rustix::fs::mknodat(
            rustix::fs::CWD,
            home.path("x.next"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        );
        fifo.expect("a pipe that nobody writes to");
        assert_eq!((faults(&asked()), accepted(&sources)), (2, vec!["old".to_owned()]));
        home.write("x", "new");
        assert_eq!((faults(&asked()), accepted(&sources)), (1, vec!["new".to_owned()]));
        fs::remove_file(home.path("x.next")).expect("removed");
        assert_eq!((faults(&asked()), accepted(&sources)), (0, vec!["new".to_owned()]));
    }

    #[test]
    fn what_cannot_be_read_is_tried_once_a_second() {
        let home = Home::new("old");
        let sources = home.sources(GITHUB);
        fs::remove_file(home.path("x")).expect("removed");
        assert_eq!(accepted(&sources), ["old"]);
        home.write("x", "new");
        let (name, held) = sources.get("github").expect("it is configured");
        let tried = lock(&held.0).tried.expect("it was tried");
        let first = held.look(name);
        assert!(first.terms.secrets == [secret("old")] || tried.elapsed() >= READ_AGAIN);
        lock(&held.0).tried = tried.checked_sub(READ_AGAIN);
        assert_eq!(accepted(&sources), ["new"]);
    }

    #[test]
    fn one_that_will_not_do_is_left_out() {
        let home = Home::new("whsec_AQIDBAUGBwgJCgsMDQ4PEA==");
        let sources = home.sources("[sources.github]\nprovider = \"svix\"\nsecret = { file = \"x\" }");
        home.write("x.next", "no key");
        let answer = sources.asked("github", None);
        assert_eq!(answer["secrets"].as_array().map(Vec::len), Some(1), "{answer}");
        assert!(answer["faults"][0].as_str().is_some_and(|fault| fault.contains("x.next will not do")), "{answer}");
        // Whoever starts with it knows it as well.
        let answer =
            home.sources("[sources.github]\nprovider = \"svix\"\nsecret = { file = \"x\" }").asked("github", None);
        assert!(answer["faults"][0].as_str().is_some_and(|fault| fault.contains("x.next will not do")), "{answer}");
    }

    #[test]
    fn what_is_handed_over_holds_until_a_file_changes() {
        let home = Home::new("old");
        let sources = home.sources(GITHUB);
        let answer = sources.asked("github", Some(vec![secret("old"), secret("new"), secret("old")]));
        let expected: Vec<String> = ["old", "new"].map(|text| fingerprint(&secret(text))).into();
        assert_eq!(answer, json!({ "source": "github", "secrets": expected, "faults": [] }));
        assert_eq!(sources.asked("github", None), answer, "asking changes nothing");
        assert_eq!(accepted(&sources), ["old", "new"]);
        home.write("x", "file");
        assert_eq!(accepted(&sources), ["file"]);

        for (name, secrets, error) in [
            ("gitub", vec![secret("x")], "the running service has no source \"gitub\"; it has github"),
            ("github", vec![], "source github keeps what it accepts: 0 secrets; there must be 1 to 8"),
            ("github", vec![secret("x"); 9], "source github keeps what it accepts: 9 secrets; there must be 1 to 8"),
        ] {
            assert_eq!(sources.asked(name, Some(secrets)), json!({ "error": error }));
        }
        assert_eq!(accepted(&sources), ["file"]);
        // A variable is as it was, and others can be handed over all the same.
        let sources = home.sources("[sources.github]\nsecret = { env = \"Y\" }");
        assert_eq!(accepted(&sources), ["of-y"]);
        sources.asked("github", Some(vec![secret("of-y"), secret("new")]));
        assert_eq!(accepted(&sources), ["of-y", "new"]);
    }
}
