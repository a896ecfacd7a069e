//! The addresses that GitHub publishes as its own, for `allow_from = "github"`. Owns the list, its age and its renewal;
//! refuses to guess: without a list that GitHub once gave, nobody is told yes or no.
//!
//! Source: docs.github.com, "About GitHub's IP addresses": `GET /meta`, `hooks`. The list changes, so it is never part of
//! the program.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    http::Client,
    store::Store,
    threads::{Stop, Wake, lock},
    time::{Clock, Timestamp},
};

/// Under which the store keeps the list.
pub const KEPT_AS: &str = "github_addresses";

/// How old the list becomes before it is fetched again.
const RENEW_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The waits after a failure.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// GitHub's answer holds the networks of all its services, thousands of them.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Networks that we take for a list of senders.
const NETWORKS_MAX: usize = 256;
/// A network larger than these is no company's own.
const PREFIX_MIN_V4: u8 = 8;
const PREFIX_MIN_V6: u8 = 16;

/// The list as it stands. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Option<List>>>);

/// A list with its age, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Milliseconds since the epoch at which GitHub gave it.
    fetched_ms: i64,
    networks: Vec<IpNet>,
}

impl List {
    /// What [`KEPT_AS`] holds.
    pub fn parse(kept: &str) -> Option<List> {
        serde_json::from_str(kept).ok()
    }

    /// When GitHub gave it.
    pub fn fetched(&self) -> Timestamp {
        Timestamp::from_ms(self.fetched_ms)
    }

    /// How many networks it has.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// A list is never without networks.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

impl Published {
    /// No list yet.
    pub fn new() -> Published {
        Published::default()
    }

    /// Whether the address is in the list; `None` while there is none.
    pub(super) fn contains(&self, address: IpAddr) -> Option<bool> {
        lock(&self.0).as_ref().map(|list| list.networks.iter().any(|network| network.contains(&address)))
    }

    fn list(&self) -> Option<List> {
        lock(&self.0).clone()
    }
}

/// Keeps the list fresh. [`Publisher::run`] is the thread.
pub struct Publisher {
    /// What it keeps.
    pub published: Published,
    /// Where the list survives a restart.
    pub store: Store,
    /// How it calls.
    pub client: Client,
    /// `https://api.github.com`, or a server's own.
    pub api: String,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Woken when it shall end.
    pub wake: Wake,
    /// Told when to end.
    pub stop: Stop,
}

impl Publisher {
    /// Takes the list that is kept, so that the door has it from the first request on.
    pub fn load(&self) {
        let kept = self.store.reader().and_then(|reader| reader.recall(KEPT_AS));
        match kept {
            Ok(kept) => *lock(&self.published.0) = kept.as_deref().and_then(List::parse),
            Err(error) => log::warn!("cannot read the list of GitHub's addresses: {error}"),
        }
        match self.published.list() {
            Some(list) => {
                log::info!("GitHub's addresses networks={} fetched={}", list.networks.len(), list.fetched());
            }
            None => log::info!("GitHub's addresses are not known yet; its sources answer 503 until they are"),
        }
    }

    /// Works until told to stop.
    pub fn run(self) {
        let mut retry = RETRY_FIRST;
        while !self.stop.is_told() {
            let now = self.clock.wall();
            // One from the future was fetched while the clock was wrong: nobody knows how old it is.
            let list = self.published.list().filter(|list| list.fetched() <= now);
            let age = list.map(|list| now.since(list.fetched()));
            if let Some(left) = age.and_then(|age| RENEW_AFTER.checked_sub(age)).filter(|left| !left.is_zero()) {
                self.wake.wait(left);
                continue;
            }
            match self.fetch() {
                Ok(list) => {
                    let (networks, fetched) = (list.networks.len(), list.fetched());
                    self.keep(list);
                    log::info!("GitHub's addresses networks={networks} fetched={fetched}");
                    retry = RETRY_FIRST;
                }
                Err(why) => {
                    let old = match self.published.list() {
                        Some(list) => format!("the list of {} stays", list.fetched()),
                        None => "there is no list yet".to_owned(),
                    };
                    log::warn!("cannot fetch GitHub's addresses: {why}; {old}, next attempt in {} s", retry.as_secs());
                    self.wake.wait(retry);
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    fn fetch(&self) -> Result<List, String> {
        let url = format!("{}/meta", self.api);
        let headers = [("Accept", "application/vnd.github+json"), ("X-GitHub-Api-Version", "2022-11-28")];
        let answer = self.client.get(&url, &headers, ANSWER_BYTES_MAX).map_err(|failure| failure.to_string())?;
        if answer.status != 200 {
            return Err(format!("{url} answered {}", answer.status));
        }
        let networks = networks(&answer.body)?;
        Ok(List { fetched_ms: self.clock.wall().ms(), networks })
    }

    /// For the door at once, and for the next start.
    fn keep(&self, list: List) {
        let text = serde_json::to_string(&list);
        *lock(&self.published.0) = Some(list);
        let kept = text
            .map_err(|error| error.to_string())
            .and_then(|text| self.store.remember(KEPT_AS, text).map_err(|error| error.to_string()));
        if let Err(why) = kept {
            log::warn!("cannot keep the list of GitHub's addresses: {why}; it is fetched again at the next start");
        }
    }
}

/// The networks of an answer. One entry that makes no sense makes the answer worthless: half a list would refuse GitHub.
fn networks(answer: &str) -> Result<Vec<IpNet>, String> {
    #[derive(Deserialize)]
    struct Meta {
        hooks: Vec<String>,
    }
    let meta: Meta = serde_json::from_str(answer).map_err(|error| {
        format!(
            "its answer is not the list: {error}; a server of your own may have none: name its networks in allow_from"
        )
    })?;
    if meta.hooks.is_empty() || meta.hooks.len() > NETWORKS_MAX {
        return Err(format!("its list has {} networks, which cannot be", meta.hooks.len()));
    }
    let network = |text: &String| {
        let network: IpNet = text.parse().map_err(|_| format!("its list has `{text}`, which is no network"))?;
        let prefix_min = if matches!(network, IpNet::V4(_)) { PREFIX_MIN_V4 } else { PREFIX_MIN_V6 };
        match network.prefix_len() >= prefix_min {
            true => Ok(network),
            false => Err(format!("its list has {network}, which is too large to be GitHub's")),
        }
    };
    meta.hooks.iter().map(network).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_taken_whole_or_not_at_all() {
        let check = |answer: &str, expected: Result<usize, &str>| {
            let found = networks(answer).map(|networks| networks.len());
            match (&found, expected) {
                (Ok(count), Ok(expected)) => assert_eq!(*count, expected, "{answer}"),
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{answer}: {why}"),
                _ => panic!("{answer}: {found:?}"),
            }
        };
        check(r#"{"hooks":["192.30.252.0/22","2a0a:a440::/29"],"web":["0.0.0.0/0"]}"#, Ok(2));
        check(r#"{"hooks":[]}"#, Err("0 networks"));
        check(r#"{"hooks":["192.30.252.0/22","x"]}"#, Err("`x`"));
        check(r#"{"hooks":["192.30.252.0/22","0.0.0.0/0"]}"#, Err("too large"));
        check(r#"{"hooks":["::/0"]}"#, Err("too large"));
        check(r#"{"message":"rate limited"}"#, Err("not the list"));
        check("", Err("not the list"));
        let many = format!(r#"{{"hooks":[{}"192.0.2.0/24"]}}"#, r#""192.0.2.0/24","#.repeat(NETWORKS_MAX));
        check(&many, Err("257 networks"));
    }

    /// A publisher whose store has ended, and its home.
    fn without_store(api: String) -> (tempfile::TempDir, Publisher) {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(crate::time::ManualClock::new(Timestamp::from_ms(1_800_000_000_000)));
        let (store, threads) = Store::open(&directory.path().join("hookbell.db"), 0, clock.clone()).unwrap();
        threads.stop(Duration::from_secs(10));
        let (published, client) = (Published::new(), Client::new());
        let (wake, stop) = (Wake::new(), Stop::new());
        (directory, Publisher { published, store, client, api, clock, wake, stop })
    }

    #[test]
    fn without_a_database_the_list_is_known_for_this_time() {
        let (directory, publisher) = without_store(String::new());
        let list = List::parse(r#"{"fetched_ms":0,"networks":["192.0.2.0/24"]}"#).unwrap();
        assert_eq!((list.len(), list.is_empty()), (1, false));
        publisher.keep(list);
        let is_in = || publisher.published.contains([192, 0, 2, 1].into());
        assert_eq!(is_in(), Some(true));
        std::fs::remove_file(directory.path().join("hookbell.db")).unwrap();
        publisher.load();
        assert_eq!(is_in(), Some(true), "what is known stays");
    }

    #[test]
    fn an_old_list_stays_while_there_is_no_newer() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (_directory, publisher) = without_store(format!("http://{}", listener.local_addr().unwrap()));
        let (published, wake, stop) = (publisher.published.clone(), publisher.wake.clone(), publisher.stop.clone());
        *lock(&published.0) = List::parse(r#"{"fetched_ms":0,"networks":["192.0.2.0/24"]}"#);
        let run = crate::threads::spawn("test", crate::threads::STACK_BYTES, move || publisher.run()).unwrap();
        // Asked because the list is old, it closes without a word, and that is all.
        drop(listener.accept().unwrap());
        stop.tell();
        wake.wake();
        run.join().unwrap();
        assert_eq!(published.contains([192, 0, 2, 1].into()), Some(true));
    }

    #[test]
    fn nobody_is_told_yes_or_no_without_a_list() {
        let published = Published::new();
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(published.contains(address("192.30.252.1")), None);
        let list =
            List { fetched_ms: 0, networks: networks(r#"{"hooks":["192.30.252.0/22","2a0a:a440::/29"]}"#).unwrap() };
        let kept = serde_json::to_string(&list).unwrap();
        assert_eq!(List::parse(&kept), Some(list.clone()));
        *lock(&published.0) = Some(list);
        for (text, is_in) in
            [("192.30.255.255", true), ("192.31.0.0", false), ("2a0a:a447::1", true), ("2a0a:a448::", false)]
        {
            assert_eq!(published.contains(address(text)), Some(is_in), "{text}");
        }
    }
}
