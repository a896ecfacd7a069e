//! The desk of the real executable: what stays lit, what puts it out, and what survives a restart.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use hookbell::work::control;
use serde_json::{Value, json};

use crate::harness::{Home, Service};

/// Only failures go to the bell; Slack is nowhere.
const RULES: &str = "[[rules]]\nwhen = { kind = \"ci_failed\" }\nto = [\"bell\"]\n";

fn home(more: &str) -> Home {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/none", &format!("{RULES}{more}"));
    home
}

/// Posts how a run ended, and waits until it is routed.
fn run(home: &Home, service: &Service, workflow: &str, number: i64, conclusion: &str) -> i64 {
    let id = service.post_run(workflow, number, conclusion);
    home.wait_for("routing", |home| {
        let story = home.json(&["deliveries", "show", &id.to_string(), "--json"]).remove(0);
        (story["status"] != "unprocessed").then_some(())
    });
    id
}

/// What stays lit, as `cue what`; the router tells the desk right after it has routed.
fn latched(home: &Home) -> Vec<String> {
    let bell = home.json(&["status", "--json"]).remove(0)["service"]["bell"].take();
    let text = |latch: &Value, key: &str| latch[key].as_str().expect("text").to_owned();
    let latches = bell["latched"].as_array().expect("a list").iter();
    latches.map(|latch| format!("{} {}", text(latch, "cue"), text(latch, "what"))).collect()
}

fn wait_for_latched(home: &Home, expected: &[&str]) {
    home.wait_for("what stays lit", |home| (latched(home) == expected).then_some(()));
}

/// The last level of the red LED.
fn is_red(home: &Home) -> bool {
    home.trace().iter().rev().find(|edge| edge["line"] == "red").is_some_and(|edge| edge["level"] == 1)
}

fn wait_for_red(home: &Home, lit: bool) {
    home.wait_for("the red LED", |home| (is_red(home) == lit).then_some(()));
}

/// What was routed before has been shown by now: there is one router, and it shows what it has routed before it goes on.
fn settle(home: &Home, service: &Service, salt: u64) {
    let (status, answer) = service.post_sample("push", salt);
    assert_eq!(status, 200, "{answer}");
    let id = answer["event_id"].to_string();
    home.wait_for("routing", |home| {
        (home.json(&["deliveries", "show", &id, "--json"]).remove(0)["status"] == "skipped").then_some(())
    });
}

fn said(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn red_stays_until_the_same_check_of_the_same_branch_is_green() {
    let home = home("");
    let service = home.start(&["run"]);
    run(&home, &service, "CI", 10, "failure");
    wait_for_latched(&home, &["ci_failed CI"]);
    wait_for_red(&home, true);
    // Neither of these says anything about run 10 of CI, and no rule sends any green to the bell.
    run(&home, &service, "Docs", 11, "success");
    run(&home, &service, "CI", 9, "success");
    settle(&home, &service, 1);
    assert_eq!(latched(&home), ["ci_failed CI"]);
    run(&home, &service, "CI", 12, "success");
    wait_for_latched(&home, &[]);
    wait_for_red(&home, false);
    // An older run that fails late lights nothing that would stay.
    run(&home, &service, "CI", 11, "failure");
    run(&home, &service, "Docs", 12, "failure");
    wait_for_latched(&home, &["ci_failed Docs"]);
    assert!(service.terminate().success());
    assert!(!is_red(&home), "the desk ends dark");
}

#[test]
fn what_stays_lit_outlives_a_stop_and_a_kill_and_no_acknowledgement() {
    let home = home("");
    let mut service = home.start(&["run"]);
    let id = run(&home, &service, "CI", 1, "failure");
    wait_for_red(&home, true);
    assert!(service.terminate().success());
    service = home.start(&["run"]);
    wait_for_red(&home, true);
    let before = home.trace().len();
    service.kill();
    service = home.start(&["run"]);
    home.wait_for("an edge", |home| (home.trace().len() > before && is_red(home)).then_some(()));
    assert_eq!(latched(&home), ["ci_failed CI"]);

    assert!(said(&home, &["bell", "ack"]).contains("went out: ci_failed acme/api@main ci"));
    wait_for_red(&home, false);
    assert!(said(&home, &["bell", "ack"]).contains("nothing stayed lit"));
    // What is handled again is no news.
    assert!(service.terminate().success());
    said(&home, &["deliveries", "replay", &id.to_string()]);
    service = home.start(&["run"]);
    home.wait_for("the replay", |home| {
        let story = home.json(&["deliveries", "show", &id.to_string(), "--json"]).remove(0);
        (story["dispatches"].as_array()?.len() == 2 && story["status"] == "processed").then_some(())
    });
    settle(&home, &service, 1);
    assert!(latched(&home).is_empty());

    // The button acknowledges as well; without a service, the next one begins dark.
    run(&home, &service, "CI", 2, "failure");
    wait_for_latched(&home, &["ci_failed CI"]);
    said(&home, &["bell", "press"]);
    wait_for_latched(&home, &[]);
    run(&home, &service, "CI", 3, "failure");
    wait_for_latched(&home, &["ci_failed CI"]);
    assert!(service.terminate().success());
    assert!(said(&home, &["bell", "ack"]).contains("1 will not be lit"));
    service = home.start(&["run"]);
    assert!(latched(&home).is_empty());
    assert!(service.terminate().success());
}

#[test]
fn a_cue_that_finds_no_place_still_stays_lit() {
    let cue =
        |name: &str| format!("[cues.{name}]\nled = \"green\"\npattern = \"solid\"\nlasts = \"10 s\"\npriority = 9\n");
    let names: Vec<String> = (0..9).map(|number| format!("wait{number}")).collect();
    let home = home(&names.iter().map(|name| cue(name)).collect::<String>());
    let service = home.start(&["run"]);
    // Faster than by commands: the first must still play when the failure comes.
    for name in &names {
        let answer = control::ask(&home.database(), &control::Request::Ring { cue: name.clone() }).expect("an answer");
        assert_eq!(answer.expect("a service")["ok"], true, "{name}");
    }
    let id = run(&home, &service, "CI", 1, "failure");
    wait_for_red(&home, true);
    let story = home.json(&["deliveries", "show", &id.to_string(), "--json"]).remove(0);
    let dispatch = &story["dispatches"][0];
    assert_eq!((&dispatch["status"], &dispatch["receipt"]), (&json!("skipped"), &json!("8 other cues are waiting")));
    assert_eq!(latched(&home), ["ci_failed CI"]);
    assert!(service.terminate().success());
}

#[test]
fn muting_outlives_a_restart() {
    let home = home("");
    let mut service = home.start(&["run"]);
    let muted = |home: &Home| home.json(&["status", "--json"]).remove(0)["service"]["bell"]["muted_until"].take();
    assert_eq!(muted(&home), Value::Null);
    assert!(said(&home, &["bell", "mute", "45m"]).contains("muted until 20"));
    assert!(service.terminate().success());
    service = home.start(&["run"]);
    assert!(muted(&home).is_string());
    said(&home, &["bell", "press", "long"]);
    assert_eq!(muted(&home), Value::Null);
    assert!(service.terminate().success());
    assert!(said(&home, &["bell", "mute"]).contains("no service runs"));
    service = home.start(&["run"]);
    assert!(muted(&home).is_string());
    said(&home, &["bell", "unmute"]);
    assert_eq!(muted(&home), Value::Null);
    assert!(service.terminate().success());
    let refused = home.run(&["bell", "mute", "soon"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn the_status_led_tells_of_a_sink_that_is_left_alone() {
    let home = Home::new();
    // Nobody listens there.
    home.configure("http://127.0.0.1:9/none", "");
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    std::fs::write(&file, text.replace("[bell]\n", "[bell]\nstatus = 24\n")).expect("the configuration is written");
    let mut service = home.start(&["run"]);
    let beats = |home: &Home| home.trace().iter().filter(|edge| edge["line"] == "status").count();
    home.wait_for("a heartbeat", |home| (beats(home) >= 2).then_some(()));
    for salt in 0..3 {
        assert_eq!(service.post_sample("issue_opened", salt).0, 200);
    }
    service.wait_for_log("left alone sink=slack");
    home.wait_for("the state", |home| {
        let bell = home.json(&["status", "--json"]).remove(0)["service"]["bell"].take();
        (bell["vitals"] == json!({ "storage_fails": false, "sink_down": true, "tunnel_down": false })).then_some(())
    });
    // Twice in a row, which a heartbeat never is.
    home.wait_for("a double blink", |home| {
        let on = |edge: &&Value| edge["line"] == "status" && edge["level"] == 1;
        let at: Vec<i64> = home.trace().iter().filter(on).filter_map(|edge| edge["t_ms"].as_i64()).collect();
        at.windows(2).any(|pair| (250..450).contains(&(pair[1] - pair[0]))).then_some(())
    });
    assert!(service.terminate().success());
}

/// One line over the control socket, and the answer.
fn ask(home: &Home, line: &str) -> Value {
    let mut stream = UnixStream::connect(control::socket_path(&home.database())).expect("it listens");
    writeln!(stream, "{line}").expect("it reads");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("it answers");
    serde_json::from_str(&answer).expect("JSON")
}

#[test]
fn what_the_running_desk_is_asked_for_it_plays_or_says_why_not() {
    let home = home("");
    let service = home.start(&["run"]);
    let error = |line: &str| ask(&home, line)["error"].as_str().unwrap_or_default().to_owned();
    assert!(error("wake up").starts_with("not a request: "), "{}", error("wake up"));
    assert_eq!(error(r#"{"do":"try","line":"purple"}"#), "nothing on the desk is called \"purple\"");
    assert!(error(r#"{"do":"reconcile"}"#).contains("nothing is asked for"));
    for played in [r#"{"do":"try","line":"red"}"#, r#"{"do":"test"}"#, r#"{"do":"wake"}"#] {
        assert_eq!(ask(&home, played), json!({ "ok": true }), "{played}");
    }
    // Whoever rings while it is muted wonders why nothing is heard.
    assert!(ask(&home, r#"{"do":"mute","ms":60000}"#)["muted_until"].is_string());
    assert!(ask(&home, r#"{"do":"ring","cue":"failure"}"#)["muted_until"].is_string());
    assert_eq!(ask(&home, r#"{"do":"mute","ms":null}"#), json!({ "ok": true, "muted_until": null }));
    assert_eq!(ask(&home, r#"{"do":"off"}"#), json!({ "ok": true, "acknowledged": [] }));
    assert!(service.terminate().success());
}
