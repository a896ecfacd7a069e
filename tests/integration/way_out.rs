//! The way out under everything that a destination can do, and under `kill -9` at each of its steps: nothing is lost, and
//! what comes twice says so.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{
    Home, Service,
    slack::{Act, Message, Slack},
};

/// Everything that happens to issues goes to Slack, one message each.
const ALL_ISSUES: &str = "[[rules]]\nwhen = { kind = \"issue_*\" }\nto = [\"slack\"]\n";

/// One step in the life of an issue.
fn issue(service: &Service, number: u32, action: &str, label: &str) {
    let body = json!({
        "action": action,
        "issue": { "number": number, "title": label, "user": { "login": "ada" } },
        "repository": { "full_name": "acme/api" },
        "sender": { "login": "ada" },
    });
    let (status, answer) = service.post("issues", label, body.to_string().as_bytes());
    assert_eq!(status, 200, "{answer}");
}

fn edit(home: &Home, from: &str, to: &str) {
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    assert!(text.contains(from), "{text}");
    std::fs::write(&file, text.replace(from, to)).expect("the configuration is written");
}

/// The title in a message, and its reference, by which a repeat is recognised.
fn label_and_reference(message: &Value) -> (String, String) {
    let text = message["text"].as_str().expect("every message has a text");
    let label = text.split('*').nth(3).unwrap_or_else(|| panic!("a title in {text}")).to_owned();
    let footer = message["blocks"][1]["elements"][0]["text"].as_str().expect("a footer");
    (label, footer.rsplit(" · ").next().expect("a reference").to_owned())
}

fn open_dispatches(home: &Home) -> i64 {
    let database = Connection::open(home.database()).expect("the file opens");
    let query = "SELECT count(*) FROM dispatch WHERE state IN ('due', 'leased')";
    let open: i64 = database.query_row(query, [], |row| row.get(0)).expect("a count");
    let new: i64 = database
        .query_row("SELECT count(*) FROM delivery WHERE stage <> 'routed'", [], |row| row.get(0))
        .expect("a count");
    open + new
}

#[test]
fn whatever_slack_does_each_event_arrives_once_and_in_order_within_its_subject() {
    let interval = Duration::from_millis(100);
    let archived = Act::fails(404, "channel_is_archived");
    let script = [
        Act::OK,
        Act::Answer { status: 429, body: "rate_limited", retry_after_s: Some(1) },
        Act::OK,
        Act::fails(500, "internal_error"),
        Act::OK,
        Act::Cut,
        Act::fails(404, "no_service"),
        Act::fails(404, "no_service"),
        Act::OK,
        Act::Hang,
        Act::fails(503, "<html>busy</html>"),
        Act::OK,
        archived.clone(),
        archived,
        Act::OK,
        Act::Cut,
    ];
    let slack = Slack::with_script(script.clone());
    let home = Home::new();
    home.configure(&slack.url, ALL_ISSUES);
    edit(&home, "interval = \"0 s\"", "interval = \"100 ms\"\nbacklog_digest_at = 0");
    let service = home.start(&["run"]);
    let steps = ["opened", "closed", "reopened", "assigned"];
    for (step, action) in steps.iter().enumerate() {
        for number in 1..=6 {
            issue(&service, number, action, &format!("n{number} s{step}"));
        }
    }
    home.wait_for("everything is settled", |home| (open_dispatches(home) == 0).then_some(()));
    let all: Vec<Message> = slack.so_far();
    let database = Connection::open(home.database()).expect("the file opens");
    let (done, others): (i64, i64) = database
        .query_row("SELECT sum(state = 'done'), sum(state <> 'done') FROM dispatch", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("counts");
    assert_eq!((done, others), (24, 0));

    let taken = |index: usize| matches!(script.get(index), None | Some(Act::Answer { status: 200, .. }));
    let unsure = |index: usize| matches!(script.get(index), Some(Act::Cut | Act::Hang));
    let mut accepted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut order: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut doubtful = Vec::new();
    for (index, message) in all.iter().enumerate() {
        let (label, reference) = label_and_reference(&message.json);
        if unsure(index) {
            doubtful.push((label, reference));
        } else if taken(index) {
            let subject = label.split(' ').next().expect("a subject").to_owned();
            order.entry(subject).or_default().push(label.clone());
            accepted.entry(label).or_default().push(reference);
        }
    }
    assert_eq!(accepted.len(), 24);
    assert!(accepted.values().all(|references| references.len() == 1), "answered well means once: {accepted:?}");
    assert_eq!(doubtful.len(), 3);
    for (label, reference) in &doubtful {
        assert_eq!(&accepted[label][0], reference, "what may have come twice carries the same reference");
    }
    assert!(order.values().all(|labels| labels.len() == 4 && labels.is_sorted()), "{order:?}");
    // A burst of five, then one each interval; the machine may be late, never early.
    for (first, message) in all.iter().enumerate() {
        for (count, later) in all[first..].iter().enumerate() {
            let most = 5.0 + (later.at - message.at).as_secs_f64() / interval.as_secs_f64() + 1.5;
            assert!((count + 1) as f64 <= most, "{} requests in {:?}", count + 1, later.at - message.at);
        }
    }
}

#[test]
fn an_outage_s_backlog_is_told_in_one_message_and_each_event_says_so() {
    let slack = Slack::with_script(vec![Act::fails(500, "internal_error"); 6]);
    let home = Home::new();
    home.configure(&slack.url, ALL_ISSUES);
    edit(&home, "cap = \"1 s\"", "cap = \"2 s\"");
    let mut service = home.start(&["run"]);
    issue(&service, 1, "opened", "first");
    service.wait_for_log("left alone sink=slack");
    for number in 2..=40 {
        issue(&service, number, "opened", &format!("issue {number}"));
    }
    home.wait_for("everything is settled", |home| (open_dispatches(home) == 0).then_some(()));
    let good: Vec<Message> = slack.so_far().split_off(6);
    assert!(good.len() <= 3, "{} messages for forty events", good.len());
    let bundle = good.iter().find(|message| message.text().contains("issues opened")).expect("a digest");
    assert!(bundle.text().contains("acme/api"), "{}", bundle.text());
    let story = home.json(&["deliveries", "show", "30", "--json"]).remove(0);
    let receipt = story["dispatches"][0]["receipt"].as_str().expect("a receipt").to_owned();
    assert_eq!(story["status"], "processed");
    assert!(receipt.contains("digest of"), "{receipt}");
}

#[test]
fn a_sink_that_hangs_delays_no_other_and_not_the_door() {
    let (hanging, well) = (Slack::with_script(vec![Act::Hang; 1000]), Slack::start());
    let home = Home::new();
    let rules = "[sinks.other]\nkind = \"slack\"\nwebhook_url = { env = \"OTHER_URL\" }\ninterval = \"0 s\"\n\
                 backlog_digest_at = 0\n[[rules]]\nwhen = { kind = \"issue_*\" }\nto = [\"slack\", \"other\", \"bell\"]\n";
    home.configure(&hanging.url, rules);
    let mut command = home.command(&["run"]);
    command.env("OTHER_URL", &well.url);
    let service = Service::start(command);
    issue(&service, 1, "opened", "n1 s0");
    // It holds on to the first from now on, longer than all that follows takes.
    hanging.next();
    for number in 2..=60 {
        issue(&service, number, "opened", &format!("n{number} s0"));
    }
    let labels: Vec<String> = (1..=60).map(|_| label_and_reference(&well.next().json).0).collect();
    assert_eq!(labels, (1..=60).map(|number| format!("n{number} s0")).collect::<Vec<_>>());
    assert!(hanging.so_far().is_empty(), "the hanging sink has not been asked again meanwhile");
    let open = |sink: &str| {
        let database = Connection::open(home.database()).expect("the file opens");
        let query = "SELECT count(*) FROM dispatch WHERE sink = ?1 AND state IN ('due', 'leased')";
        database.query_row(query, [sink], |row| row.get::<_, i64>(0)).expect("a count")
    };
    home.wait_for("the others are done", |_| (open("other") == 0 && open("bell") == 0).then_some(()));
    assert_eq!(open("slack"), 60);
    // Its time-out is longer than a stop may take, and the stop is in good order all the same.
    assert!(service.terminate().success());
}

/// Where the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    BeforeClaim,
    AfterClaim,
    AfterSend,
    AfterAnswer,
    AfterSettle,
}

const STEPS: [Step; 5] = [Step::BeforeClaim, Step::AfterClaim, Step::AfterSend, Step::AfterAnswer, Step::AfterSettle];
/// Kills at each step; `HOOKBELL_KILLS` asks for another number.
const KILLS: u32 = 100;

/// Reads a whole request and returns its label and reference.
fn read(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).expect("a head"), 0, "the head ended early");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    label_and_reference(&serde_json::from_slice(&body).expect("JSON"))
}

fn answer(mut stream: &TcpStream) {
    stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").expect("an answer");
}

#[test]
fn a_kill_at_any_step_loses_nothing_and_repeats_one_message_at_most() {
    let kills = std::env::var("HOOKBELL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let home = Home::new();
    let url = format!("http://{}/services/T000/B000/secret-part", listener.local_addr().expect("bound"));
    home.configure(&url, ALL_ISSUES);
    // By label: each reference under which it arrived.
    let arrived: RefCell<BTreeMap<String, Vec<String>>> = RefCell::default();
    let mut service = home.start(&["run"]);
    for kill in 0..kills {
        for step in STEPS {
            let label = format!("{step:?} {kill}");
            issue(&service, kill + 1, "opened", &label);
            let stream = (step != Step::BeforeClaim).then(|| listener.accept().expect("a connection").0);
            if let Some(stream) = stream.as_ref().filter(|_| step != Step::AfterClaim) {
                let (label, reference) = read(stream);
                arrived.borrow_mut().entry(label).or_default().push(reference);
                if step != Step::AfterSend {
                    answer(stream);
                }
            }
            if step == Step::AfterSettle {
                home.wait_for("it is settled", |home| (open_dispatches(home) == 0).then_some(()));
            }
            service.kill();
            drop(stream);
            service = home.start(&["run"]);
            // What is owed comes again now: everything before the settlement was written, and nothing after it.
            home.wait_for("nothing is owed", |home| {
                listener.set_nonblocking(true).expect("a listener");
                let next = listener.accept();
                listener.set_nonblocking(false).expect("a listener");
                if let Ok((stream, _)) = next {
                    stream.set_nonblocking(false).expect("a socket");
                    // One that was killed had connected and said nothing.
                    if stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
                        let (label, reference) = read(&stream);
                        arrived.borrow_mut().entry(label).or_default().push(reference);
                        answer(&stream);
                    }
                }
                (open_dispatches(home) == 0).then_some(())
            });
        }
    }
    let arrived = arrived.into_inner();
    assert_eq!(arrived.len(), kills as usize * STEPS.len(), "nothing is lost");
    let mut repeats = BTreeMap::new();
    for (label, references) in &arrived {
        assert!(references.iter().all(|reference| *reference == references[0]), "{label}: {references:?}");
        let most = match label.split(' ').next().expect("a step") {
            "AfterSettle" => 1,
            // It may have been sent by the time of the kill, and not written down.
            _ => 2,
        };
        assert!(references.len() <= most, "{label} came {} times", references.len());
        *repeats.entry(label.split(' ').next().expect("a step").to_owned()).or_insert(0) += references.len() - 1;
    }
    assert_eq!(repeats["AfterSend"], kills as usize, "what was sent and not answered is sent again");
    println!("{kills} kills at each step; repeats: {repeats:?}");
    assert!(service.terminate().success());
}

#[test]
fn the_ledger_tells_the_whole_story_in_order() {
    let slack = Slack::with_script([Act::fails(503, "busy")]);
    let home = Home::new();
    home.configure(
        &slack.url,
        "[[rules]]\nname = \"issues\"\nwhen = { kind = \"issue_*\" }\nto = [\"slack\", \"bell\"]\n",
    );
    let service = home.start(&["run"]);
    issue(&service, 42, "opened", "Boom");
    let json = home.wait_for("everything is told", |home| {
        let story = home.json(&["deliveries", "show", "1", "--json"]).remove(0);
        let is_shown = story["dispatches"][1]["shown_at"].is_string();
        (story["status"] == "processed" && is_shown).then_some(story)
    });
    assert!(json["durable_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{json}");
    assert_eq!(json["handled_by"], env!("CARGO_PKG_VERSION"));
    let edge = home.trace()[0]["t_ms"].as_i64().expect("an edge's time");
    let shown = json["dispatches"][1]["shown_at"].as_str().expect("a time");
    let shown = hookbell::time::Timestamp::parse(shown).expect("a time").ms();
    assert!((shown - edge).abs() <= 50, "the first edge was at {edge}, the ledger says {shown}");

    let said = String::from_utf8(home.run(&["deliveries", "show", "1"]).stdout).expect("text");
    let mut rest = said.as_str();
    for part in [
        "delivery 1 · github · processed",
        "received from 127.0.0.1, durable after ",
        "verified   by github, secret 1 of source github",
        "means      issue_opened (info): Boom in acme/api by ada, about acme/api#42",
        "rules      issues",
        "routed     by hookbell ",
        "slack: attempt 1, failed after ",
        ": Slack answered 503: busy",
        "slack: attempt 2, done after ",
        ": ok",
        "nothing is owed any more",
        "sink       slack: done, attempts 2, receipt: ok",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or out of place in:\n{said}"));
        rest = &rest[at + part.len()..];
    }
    assert!(said.contains("bell: the desk shows it"), "{said}");

    // Which version handled it is a filter.
    let of = |version: &str| home.json(&["deliveries", "list", "--handled-by", version, "--json"]).len();
    assert_eq!([of("<99"), of(">=99"), of(env!("CARGO_PKG_VERSION"))], [1, 0, 1]);
    let dry = home.json(&["deliveries", "replay", "--handled-by", "<0.0.1", "--dry-run", "--json"]).remove(0);
    assert_eq!(dry["selected"], 0);
}
