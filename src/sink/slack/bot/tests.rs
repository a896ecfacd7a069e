//! The bot against a web API on loopback and conversations in a real store.

mod story;

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use serde_json::json;

use super::*;
use crate::{
    event::{Event, Fact},
    store::{Store, StoreThreads},
    threads::{STACK_BYTES, lock, spawn},
    time::ManualClock,
};

const TOKEN: &str = "xoxb-17-18-abcdefghijklmnop";

/// Method and arguments.
type Call = (String, Value);
/// Method, status and body.
type Prepared = Arc<Mutex<VecDeque<(&'static str, u16, String)>>>;

/// A stand-in for the web API: what was prepared for a method is answered once each, and else that all is well.
struct Api {
    url: String,
    calls: Arc<Mutex<Vec<Call>>>,
    prepared: Prepared,
}

impl Api {
    fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let (calls, prepared) = <(Arc<Mutex<Vec<Call>>>, Prepared)>::default();
        let api = Api { url, calls: calls.clone(), prepared: prepared.clone() };
        // Ends with the test's process.
        spawn("slack", STACK_BYTES, move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(&stream, &calls, &prepared);
            }
        })
        .unwrap();
        api
    }

    /// The next call of this method is answered so.
    fn prepare(&self, method: &'static str, status: u16, body: impl Into<String>) {
        lock(&self.prepared).push_back((method, status, body.into()));
    }

    fn refuse(&self, method: &'static str, error: &str) {
        self.prepare(method, 200, format!(r#"{{"ok":false,"error":"{error}"}}"#));
    }

    /// What was called since the last time, each as method, place and first line.
    fn calls(&self) -> Vec<String> {
        let calls = std::mem::take(&mut *lock(&self.calls));
        let show = |(method, arguments): &Call| {
            let text = |key: &str| arguments[key].as_str().map(|text| format!(" {key}={text}")).unwrap_or_default();
            let place: String = ["channel", "thread_ts", "ts", "timestamp", "name"].map(text).concat();
            let line = arguments["text"].as_str().and_then(|text| text.lines().next()).unwrap_or_default();
            format!("{method}{place} {line}").trim_end().to_owned()
        };
        calls.iter().map(show).collect()
    }
}

fn serve(stream: &TcpStream, calls: &Mutex<Vec<Call>>, prepared: &Prepared) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with("\r\n\r\n".as_bytes()) {
        assert_ne!(reader.read_until(b'\n', &mut head).unwrap(), 0, "the head ended early");
    }
    let head = String::from_utf8(head).unwrap();
    let method = head.strip_prefix("POST /api/").unwrap().split(' ').next().unwrap().to_owned();
    assert!(head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")), "{head}");
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let count = {
        let mut calls = lock(calls);
        calls.push((method.clone(), serde_json::from_slice(&body).unwrap()));
        calls.len()
    };
    let mut prepared = lock(prepared);
    let (status, text) = match prepared.iter().position(|(known, ..)| *known == method) {
        Some(at) => prepared.remove(at).map(|(_, status, text)| (status, text)).unwrap(),
        None => (200, json!({ "ok": true, "channel": "C1", "ts": format!("1.{count}") }).to_string()),
    };
    let length = text.len();
    write!(&*stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}").unwrap();
}

struct Desk {
    _directory: tempfile::TempDir,
    store: Store,
    _threads: StoreThreads,
    api: Api,
    sink: SlackBot,
}

impl Desk {
    fn new() -> Desk {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_ms(1_767_225_600_000)));
        let (store, threads) = Store::open(&directory.path().join("hookbell.db"), 0, clock).unwrap();
        let api = Api::start();
        let sink = bot(&api, Some(Box::new(store.conversations("dev").unwrap())));
        Desk { _directory: directory, store, _threads: threads, api, sink }
    }

    /// As after a crash.
    fn restart(&mut self) {
        self.sink = bot(&self.api, Some(Box::new(self.store.conversations("dev").unwrap())));
    }

    fn deliver(&mut self, parcel: &Parcel) -> String {
        receipt(self.sink.deliver(parcel))
    }

    fn bundle(&mut self, parcels: &[Parcel]) -> String {
        receipt(self.sink.deliver_bundle(Bundle { parcels }))
    }
}

fn bot(api: &Api, conversations: Option<Box<dyn Conversations>>) -> SlackBot {
    let token = Secret::new(TOKEN.to_owned()).unwrap();
    SlackBot::new(token, "#dev".to_owned(), &api.url, Duration::from_secs(1), conversations, Client::new())
}

fn receipt(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done { receipt } => receipt.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Parcel number `at`, an hour after the one before.
fn parcel(at: i64, kind: &str, subject: &str) -> Parcel {
    let mut event = Event { subject: Some(subject.to_owned()), ..Event::of(kind) };
    event.extra.insert("number".to_owned(), Fact::Number(7));
    let received = Timestamp::from_ms(1_767_225_600_000 + at * 3_600_000);
    Parcel { delivery: at, reference: format!("ref-{at}"), received, ..Parcel::of(event) }
}

fn pull(at: i64, kind: &str) -> Parcel {
    parcel(at, kind, "acme/api#7")
}

fn ci(at: i64, kind: &str) -> Parcel {
    let mut parcel = parcel(at, kind, "acme/api@main ci");
    parcel.event.extra = [("workflow".to_owned(), Fact::Text("test".to_owned()))].into();
    parcel
}

#[test]
fn one_thread_for_each_subject_and_the_first_line_shows_how_it_stands() {
    let mut desk = Desk::new();
    assert_eq!(desk.deliver(&pull(1, "pr_opened")), "C1/1.1");
    assert_eq!(desk.deliver(&pull(2, "pr_commented")), "C1/1.2 in thread of 1.1");
    desk.restart();
    assert_eq!(desk.deliver(&pull(3, "pr_approved")), "C1/1.3 in thread of 1.1");
    assert_eq!(desk.deliver(&parcel(4, "issue_opened", "acme/api#8")), "C1/1.5");
    assert_eq!(desk.deliver(&pull(5, "pr_merged")), "C1/1.6 in thread of 1.1");
    assert_eq!(desk.deliver(&parcel(6, "issue_closed", "acme/api#8")), "C1/1.9 in thread of 1.5");
    assert_eq!(
        desk.api.calls(),
        [
            "chat.postMessage channel=#dev 🔀 *acme/api#7* · open",
            "chat.postMessage channel=C1 thread_ts=1.1 📝 New comment on a pull request in *acme/api*: #7 *T* commented on by @octocat",
            "chat.postMessage channel=C1 thread_ts=1.1 👍 Pull request approved in *acme/api*: #7 *T* approved by @octocat",
            "chat.update channel=C1 ts=1.1 🔀 *acme/api#7* · open · 👍 approved",
            "chat.postMessage channel=#dev 🐛 *acme/api#8* · open",
            "chat.postMessage channel=C1 thread_ts=1.1 ✅ Pull request merged in *acme/api*: #7 *T* merged by @octocat",
            "chat.update channel=C1 ts=1.1 ✅ *acme/api#7* · merged · 👍 approved",
            "reactions.add channel=C1 timestamp=1.1 name=white_check_mark",
            "chat.postMessage channel=C1 thread_ts=1.5 📕 Issue closed in *acme/api*: #7 *T* closed by @octocat",
            "chat.update channel=C1 ts=1.5 📕 *acme/api#8* · closed",
            "reactions.add channel=C1 timestamp=1.5 name=white_check_mark",
        ]
    );
}

#[test]
fn a_second_try_goes_on_where_the_first_one_ended() {
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    desk.api.prepare("chat.update", 503, "");
    let outcome = desk.sink.deliver(&pull(2, "pr_closed"));
    assert!(matches!(outcome, Outcome::Retry { fault: Fault::Transient, .. }), "{outcome:?}");
    desk.restart();
    desk.api.refuse("reactions.add", "ratelimited");
    let outcome = desk.sink.deliver(&pull(2, "pr_closed"));
    assert!(matches!(outcome, Outcome::Retry { fault: Fault::Busy, pause: Some(_), .. }), "{outcome:?}");
    desk.restart();
    desk.api.refuse("reactions.add", "already_reacted");
    assert_eq!(desk.deliver(&pull(2, "pr_closed")), "C1/1.2 in thread of 1.1");
    assert_eq!(desk.deliver(&pull(2, "pr_closed")), "C1/1.2 in thread of 1.1", "and there is nothing left to do");
    assert_eq!(
        desk.api.calls()[1..],
        [
            "chat.postMessage channel=C1 thread_ts=1.1 🚫 Pull request closed in *acme/api*: #7 *T* closed by @octocat",
            "chat.update channel=C1 ts=1.1 🚫 *acme/api#7* · closed",
            "chat.update channel=C1 ts=1.1 🚫 *acme/api#7* · closed",
            "reactions.add channel=C1 timestamp=1.1 name=no_entry_sign",
            "chat.update channel=C1 ts=1.1 🚫 *acme/api#7* · closed",
            "reactions.add channel=C1 timestamp=1.1 name=no_entry_sign",
        ]
    );
}

#[test]
fn a_first_message_that_is_gone_is_begun_again() {
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    desk.api.refuse("chat.postMessage", "thread_not_found");
    assert_eq!(desk.deliver(&pull(2, "pr_approved")), "C1/1.3");
    desk.api.refuse("chat.update", "message_not_found");
    assert_eq!(desk.deliver(&pull(3, "pr_merged")), "C1/1.6");
    // Slack lets who answers to a deleted message stand in the channel.
    desk.api.prepare("chat.postMessage", 200, r#"{"ok":true,"channel":"C1","ts":"2.1","message":{"ts":"2.1"}}"#);
    desk.api.refuse("chat.update", "message_not_found");
    assert_eq!(desk.deliver(&pull(4, "pr_commented")), "C1/2.1");
    assert_eq!(desk.deliver(&pull(5, "pr_commented")), "C1/1.10 in thread of 2.1");
    let calls = desk.api.calls();
    let posts: Vec<&str> = calls.iter().map(|call| call.split(" · ").next().unwrap()).collect();
    assert_eq!(
        posts[1..],
        [
            "chat.postMessage channel=C1 thread_ts=1.1 👍 Pull request approved in *acme/api*: #7 *T* approved by @octocat",
            "chat.postMessage channel=#dev 🔀 *acme/api#7*",
            "chat.postMessage channel=C1 thread_ts=1.3 ✅ Pull request merged in *acme/api*: #7 *T* merged by @octocat",
            "chat.update channel=C1 ts=1.3 ✅ *acme/api#7*",
            "chat.postMessage channel=#dev ✅ *acme/api#7*",
            "chat.postMessage channel=C1 thread_ts=1.6 📝 New comment on a pull request in *acme/api*: #7 *T* commented on by @octocat",
            "chat.update channel=C1 ts=1.6 ✅ *acme/api#7*",
            "chat.update channel=C1 ts=2.1 ✅ *acme/api#7*",
            "chat.postMessage channel=C1 thread_ts=2.1 📝 New comment on a pull request in *acme/api*: #7 *T* commented on by @octocat",
        ]
    );
}

#[test]
fn a_first_message_that_cannot_be_changed_is_told_and_no_failure() {
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    desk.api.refuse("chat.update", "edit_window_closed");
    let body = r#"{"ok":false,"error":"missing_scope","needed":"reactions:write"}"#;
    desk.api.prepare("reactions.add", 200, body);
    let receipt = desk.deliver(&pull(2, "pr_merged"));
    assert!(receipt.contains("edit_window_closed") && receipt.contains("reactions:write"), "{receipt}");
    assert_eq!(desk.deliver(&pull(3, "pr_commented")), "C1/1.5 in thread of 1.1");
    assert_eq!(desk.api.calls().len(), 5);
}

#[test]
fn what_failed_again_and_what_is_old_begins_another_thread() {
    let mut desk = Desk::new();
    assert_eq!(desk.deliver(&ci(1, "ci_failed")), "C1/1.1");
    assert_eq!(desk.deliver(&ci(2, "ci_fixed")), "C1/1.2 in thread of 1.1");
    assert_eq!(desk.deliver(&ci(2, "ci_fixed")), "C1/1.2 in thread of 1.1");
    assert_eq!(desk.deliver(&ci(3, "ci_failed")), "C1/1.4");
    assert_eq!(desk.deliver(&ci(4, "ci_passed")), "C1/1.5 in thread of 1.4");
    // A replay is no news.
    let replay = Parcel { reference: "ref-1-1".to_owned(), ..ci(1, "ci_failed") };
    assert_eq!(desk.deliver(&replay), "C1/1.7 in thread of 1.4");
    assert_eq!(desk.deliver(&ci(5, "ci_failed")), "C1/1.8");
    assert_eq!(desk.deliver(&ci(5 + 30 * 24, "ci_failed")), "C1/1.9 in thread of 1.8");
    assert_eq!(desk.deliver(&ci(6 + 60 * 24, "ci_failed")), "C1/1.10");
}

#[test]
fn a_rule_s_bad_channel_is_given_up_and_the_sink_s_own_is_repaired() {
    let mut desk = Desk::new();
    let elsewhere = Parcel { channel: Some("#ops".to_owned()), ..pull(1, "pr_opened") };
    desk.api.refuse("chat.postMessage", "not_in_channel");
    let outcome = desk.sink.deliver(&elsewhere);
    let Outcome::Dead { reason } = &outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("/invite @") && reason.contains("#ops"), "{reason}");
    desk.api.refuse("chat.postMessage", "not_in_channel");
    let outcome = desk.sink.deliver(&pull(1, "pr_opened"));
    assert!(matches!(outcome, Outcome::Retry { fault: Fault::Configuration, .. }), "{outcome:?}");
    // Each has a thread of its own.
    assert_eq!((desk.deliver(&pull(1, "pr_opened")), desk.deliver(&elsewhere)), ("C1/1.3".into(), "C1/1.4".into()));
    assert_eq!(desk.deliver(&Parcel { channel: elsewhere.channel, ..pull(2, "push") }), "C1/1.5 in thread of 1.4");
}

#[test]
fn without_threads_or_subject_every_message_stands_alone() {
    let mut desk = Desk::new();
    let starred = Parcel { subject: None, ..pull(1, "repo_starred") };
    assert_eq!((desk.deliver(&starred), desk.deliver(&starred)), ("C1/1.1".into(), "C1/1.2".into()));
    desk.sink = bot(&desk.api, None);
    assert_eq!(desk.deliver(&pull(1, "pr_opened")), "C1/1.3");
    assert_eq!(desk.deliver(&pull(2, "pr_merged")), "C1/1.4");
    let sentence = "chat.postMessage channel=#dev ✅ Pull request merged in *acme/api*: #7 *T* merged by @octocat";
    assert_eq!(desk.api.calls()[3], sentence);
}

#[test]
fn what_happens_on_a_branch_without_a_pull_request_stands_alone() {
    let mut desk = Desk::new();
    for at in 1..3 {
        let mut parcel = parcel(at, "push", "acme/api@main");
        parcel.event.extra.insert("branch".to_owned(), Fact::Text("main".to_owned()));
        assert_eq!(desk.deliver(&parcel), format!("C1/1.{at}"));
    }
    let calls = desk.api.calls();
    assert!(calls.iter().all(|call| call.starts_with("chat.postMessage channel=#dev ")), "{calls:?}");
}

#[test]
fn refused_blocks_are_said_plainly_once() {
    let mut desk = Desk::new();
    desk.api.refuse("chat.postMessage", "invalid_blocks");
    assert_eq!(desk.deliver(&pull(1, "pr_opened")), "C1/1.2 (as plain text after invalid_blocks)");
    let calls = std::mem::take(&mut *lock(&desk.api.calls));
    assert!(calls[0].1["blocks"].is_array() && calls[1].1["blocks"].is_null());
    let text = calls[1].1["text"].as_str().unwrap();
    assert!(text.starts_with("🔀 *acme/api#7* · open\n🔀 New pull request") && text.ends_with(" · ref-1"), "{text}");
    for _ in 0..2 {
        desk.api.refuse("chat.postMessage", "no_text");
    }
    let outcome = desk.sink.deliver(&pull(2, "pr_merged"));
    assert!(matches!(&outcome, Outcome::Dead { reason } if reason.contains("no_text")), "{outcome:?}");
}

#[test]
fn a_bundle_of_one_subject_is_one_answer_and_one_update() {
    let mut desk = Desk::new();
    let bundle = [pull(1, "pr_opened"), pull(2, "pr_approved")];
    assert_eq!(desk.bundle(&bundle), "C1/1.1 in a digest of 2");
    let more = [pull(3, "pr_commented"), pull(4, "pr_commented"), pull(5, "pr_merged")];
    assert_eq!(desk.bundle(&more[..2]), "C1/1.2 in thread of 1.1 in a digest of 2");
    // It was told, and its settling was lost; another has come meanwhile.
    assert_eq!(desk.bundle(&more), "C1/1.3 in thread of 1.1 in a digest of 3");
    let texts: Vec<String> = lock(&desk.api.calls).iter().map(|(_, call)| call["text"].to_string()).collect();
    assert!(
        texts[0].contains("open · 👍 approved\\n🔀 New pull request") && texts[0].contains("\\n👍 Pull"),
        "{texts:?}"
    );
    assert_eq!(texts[1].matches("commented on by").count(), 2);
    assert!(texts[2].starts_with("\"✅ Pull request merged"), "{texts:?}");
    assert_eq!(desk.api.calls().len(), 5);
}

#[test]
fn what_a_bundle_has_told_is_not_told_again_however_it_comes_back() {
    let parcels: Vec<Parcel> = (2..6).map(|at| pull(at, "pr_approved")).collect();
    let [first, second, third, _] = parcels.as_slice() else { panic!() };
    let more = pull(6, "pr_commented");
    let parts: [&[&[Parcel]]; 4] = [
        &[&parcels[..1], &parcels[1..2], &parcels[2..3], &parcels[3..]],
        &[&parcels[..3], &parcels[3..]],
        // Another digest's name stood between.
        &[&[first.clone(), third.clone()], slice::from_ref(second), &parcels[3..]],
        &[&parcels],
    ];
    for parts in parts {
        let mut desk = Desk::new();
        desk.deliver(&pull(1, "pr_opened"));
        desk.api.prepare("chat.update", 503, "");
        let outcome = desk.sink.deliver_bundle(Bundle { parcels: &parcels });
        assert!(matches!(outcome, Outcome::Retry { fault: Fault::Transient, .. }), "{outcome:?}");
        desk.restart();
        parts.iter().for_each(|part| assert!(desk.bundle(part).starts_with("C1/1.2 in thread of 1.1")));
        desk.deliver(&more);
        // A crash between the keeping and the settling.
        desk.restart();
        parcels.iter().chain([&more]).for_each(|parcel| assert_eq!(desk.deliver(parcel), "C1/1.5 in thread of 1.1"));
        let calls = desk.api.calls();
        let methods: Vec<&str> = calls.iter().map(|call| call.split(' ').next().unwrap()).collect();
        let (post, update) = ("chat.postMessage", "chat.update");
        assert_eq!(methods, [post, post, update, update, post], "{calls:?}");
    }
}

#[test]
fn a_bundle_that_grew_and_failed_again_is_still_known_as_told() {
    let mut desk = Desk::new();
    let parcels = [pull(1, "ci_x"), pull(2, "pr_opened"), pull(3, "pr_approved"), pull(4, "pr_merged")];
    desk.deliver(&parcels[0]);
    for part in [&parcels[1..3], &parcels[2..]] {
        desk.api.prepare("chat.update", 503, "");
        assert!(matches!(desk.sink.deliver_bundle(Bundle { parcels: part }), Outcome::Retry { .. }));
    }
    parcels.iter().for_each(|parcel| assert_eq!(desk.deliver(parcel), "C1/1.4 in thread of 1.1"));
    let posts = desk.api.calls().iter().filter(|call| call.starts_with("chat.postMessage")).count();
    assert_eq!(posts, 3);
}

#[test]
fn what_is_remembered_as_told_is_bounded_and_as_much_as_one_bundle() {
    let mut desk = Desk::new();
    let parcels: Vec<Parcel> = (1..=510).map(|at| pull(at, "pr_commented")).collect();
    desk.bundle(&parcels[..10]);
    desk.bundle(&parcels[10..]);
    desk.restart();
    parcels[10..].iter().for_each(|parcel| assert_eq!(desk.deliver(parcel), "C1/1.2 in thread of 1.1"));
    let last = desk.sink.find("github", "acme/api#7", "").unwrap().unwrap().last;
    assert_eq!((last.split(' ').count(), desk.api.calls().len()), (TOLD_MAX, 2));
}

#[test]
fn an_answer_whose_channel_is_gone_begins_again_in_the_one_that_is_meant() {
    for code in ["channel_not_found", "is_archived", "is_inactive", "thread_locked", "restricted_action_thread_locked"]
    {
        let mut desk = Desk::new();
        desk.deliver(&pull(1, "pr_opened"));
        desk.api.refuse("chat.postMessage", code);
        desk.api.prepare("chat.postMessage", 200, r#"{"ok":true,"channel":"C2","ts":"2.1"}"#);
        assert_eq!(desk.deliver(&pull(2, "pr_approved")), "C2/2.1");
        assert_eq!(desk.deliver(&pull(3, "pr_merged")), "C2/1.4 in thread of 2.1");
        let calls = desk.api.calls();
        assert_eq!(calls[2], "chat.postMessage channel=#dev 🔀 *acme/api#7* · open · 👍 approved", "{code}");
        assert!(calls[3].starts_with("chat.postMessage channel=C2 thread_ts=2.1 "), "{calls:?}");
    }
    // What is refused there too waits for a repair, and is told then.
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    for code in ["channel_not_found", "is_archived"] {
        desk.api.refuse("chat.postMessage", code);
    }
    let outcome = desk.sink.deliver(&pull(2, "pr_approved"));
    let Outcome::Retry { reason, fault: Fault::Configuration, .. } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("is_archived"), "{reason}");
    assert_eq!(desk.deliver(&pull(2, "pr_approved")), "C1/1.4 in thread of 1.1");
}

#[test]
fn what_is_opened_again_loses_its_reaction() {
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    desk.deliver(&pull(2, "pr_closed"));
    desk.deliver(&pull(3, "pr_reopened"));
    desk.deliver(&pull(4, "pr_closed"));
    desk.api.refuse("reactions.remove", "no_reaction");
    assert_eq!(desk.deliver(&pull(5, "pr_merged")), "C1/1.11 in thread of 1.1");
    let calls = desk.api.calls();
    let reactions: Vec<&str> = calls.iter().filter_map(|call| call.strip_prefix("reactions.")).collect();
    assert_eq!(
        reactions,
        [
            "add channel=C1 timestamp=1.1 name=no_entry_sign",
            "remove channel=C1 timestamp=1.1 name=no_entry_sign",
            "add channel=C1 timestamp=1.1 name=no_entry_sign",
            "remove channel=C1 timestamp=1.1 name=no_entry_sign",
            "add channel=C1 timestamp=1.1 name=white_check_mark",
        ]
    );
}

#[test]
fn what_was_told_does_not_fail_for_its_reaction_and_not_for_ever_for_its_first_message() {
    let mut desk = Desk::new();
    desk.deliver(&pull(1, "pr_opened"));
    desk.api.prepare("reactions.add", 503, "");
    let receipt = desk.deliver(&pull(2, "pr_closed"));
    assert!(receipt.starts_with("C1/1.2 in thread of 1.1; its reaction stays as it is: "), "{receipt}");
    for tried in 0..4 {
        desk.api.prepare("chat.update", 503, "");
        match desk.sink.deliver(&Parcel { tried, ..pull(3, "pr_reopened") }) {
            Outcome::Retry { fault: Fault::Transient, .. } => assert!(tried < 3),
            Outcome::Done { receipt: Some(receipt) } => {
                let why = "; its first message stays as it is: Slack answered 503";
                assert!(tried == 3 && receipt.contains(why), "{receipt}");
            }
            other => panic!("{other:?}"),
        }
    }
    // To slow down is no failure.
    desk.api.refuse("chat.update", "ratelimited");
    let late = Parcel { tried: 100, ..pull(4, "pr_merged") };
    let outcome = desk.sink.deliver(&late);
    assert!(matches!(outcome, Outcome::Retry { fault: Fault::Busy, pause: Some(_), .. }), "{outcome:?}");
    desk.api.calls();
    // What follows repairs both.
    assert_eq!(desk.deliver(&late), "C1/1.10 in thread of 1.1");
    assert_eq!(
        desk.api.calls(),
        [
            "chat.update channel=C1 ts=1.1 ✅ *acme/api#7* · merged",
            "reactions.add channel=C1 timestamp=1.1 name=white_check_mark"
        ]
    );
}

#[test]
fn a_refusal_that_nobody_knows_counts_against_the_message_alone() {
    let mut desk = Desk::new();
    for at in 1..3 {
        desk.api.refuse("chat.postMessage", "new_trouble");
        let outcome = desk.sink.deliver(&pull(2, "pr_approved"));
        let Outcome::Retry { reason, pause: None, fault: Fault::Busy } = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("new_trouble"), "{at} {reason}");
        desk.deliver(&pull(1, "pr_opened"));
    }
}

#[test]
fn a_bundle_without_threads_is_a_digest() {
    let mut desk = Desk::new();
    desk.sink = bot(&desk.api, None);
    let bundle = [pull(1, "pr_opened"), pull(2, "pr_opened"), pull(30, "repo_starred")];
    assert_eq!(desk.bundle(&bundle), "C1/1.1 in a digest of 3");
    let call = lock(&desk.api.calls)[0].1.clone();
    let lines = "*3 events*\n🔀 acme/api: 2 pull requests opened (#7 T)\n\
                 ⭐\u{fe0f} Repository *acme/api* was starred by @octocat";
    assert_eq!(call["text"], lines);
    let footer = call["blocks"][1]["elements"][0]["text"].as_str().unwrap();
    assert!(footer.ends_with(" · github · ref-1 … ref-30 (3 events)") && footer.matches("<!date").count() == 2);
}

/// Remembers nothing the first time.
struct Forgetful(Box<dyn Conversations>, Mutex<bool>);

impl Conversations for Forgetful {
    fn find(&self, source: &str, subject: &str, asked: &str) -> Result<Option<Conversation>, String> {
        self.0.find(source, subject, asked)
    }

    fn keep(&self, conversation: &Conversation) -> Result<(), String> {
        if !std::mem::replace(&mut *lock(&self.1), true) {
            return Err("the disk is full".to_owned());
        }
        self.0.keep(conversation)
    }
}

#[test]
fn what_could_not_be_kept_is_not_told_again() {
    let mut desk = Desk::new();
    let kept = Box::new(desk.store.conversations("dev").unwrap());
    desk.sink = bot(&desk.api, Some(Box::new(Forgetful(kept, Mutex::new(false)))));
    let outcome = desk.sink.deliver(&pull(1, "pr_opened"));
    assert!(matches!(&outcome, Outcome::Retry { fault: Fault::Busy, .. }), "{outcome:?}");
    assert_eq!(desk.deliver(&pull(1, "pr_opened")), "C1/1.1");
    assert_eq!(desk.api.calls().len(), 1);
}

#[test]
fn no_reason_and_no_receipt_contains_the_token() {
    let mut desk = Desk::new();
    let secret = "abcdefghijklmnop";
    for (status, body) in [
        (500, format!("bad token {TOKEN}")),
        (200, format!(r#"{{"ok":false,"error":"{secret}"}}"#)),
        (200, format!("{}{TOKEN}", "x".repeat(190))),
        (200, format!(r#"{{"ok":true,"channel":"{TOKEN}","ts":"{secret}"}}"#)),
    ] {
        desk.api.prepare("chat.postMessage", status, body);
        let shown = format!("{:?}", desk.sink.deliver(&Parcel { subject: None, ..pull(1, "pr_opened") }));
        assert!(!shown.contains("abcd") && !shown.contains("xoxb-17"), "{shown}");
    }
}

#[test]
fn each_channel_has_its_own_rate() {
    let (api, now) = (Api::start(), Instant::now());
    let mut sink = bot(&api, None);
    let to = |channel: Option<String>| Parcel { channel, ..pull(1, "push") };
    for channel in [None, Some("#ops".to_owned())] {
        assert!((0..BURST).all(|_| sink.take_turn(&to(channel.clone()), now).is_ok()));
        assert_eq!(sink.take_turn(&to(channel), now), Err(Duration::from_secs(1)));
    }
    for number in 0..1000 {
        assert_eq!(sink.take_turn(&to(Some(format!("#{number}"))), now), Ok(()));
    }
    assert!(sink.allowances.len() <= CHANNELS_MAX);
}
