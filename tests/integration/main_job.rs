//! The main job: a signed delivery becomes a Slack message and a lit LED, exactly once, whatever happens to Slack.

use std::time::{Duration, Instant};

use crate::harness::{
    Home, SECRET, Service, http, signed,
    slack::{Act, Slack},
};

fn statuses(home: &Home) -> Vec<String> {
    home.json(&["deliveries", "list", "--json"])
        .iter()
        .map(|row| row["status"].as_str().expect("a status").to_owned())
        .collect()
}

fn all_settled(home: &Home) -> Option<Vec<String>> {
    let found = statuses(home);
    found.iter().all(|status| !matches!(status.as_str(), "unprocessed" | "retrying")).then_some(found)
}

#[test]
fn a_signed_delivery_becomes_a_message_and_a_light() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);

    let (status, answer) = service.post_sample("pr_merged", 7);
    assert_eq!((status, &answer["status"]), (200, &"accepted".into()));
    let message = slack.next();
    assert!(message.text().starts_with("✅ Pull request merged in *"), "{}", message.text());
    assert_eq!(message.json["blocks"][0]["text"]["text"], message.json["text"]);

    home.wait_for("the last edge", |home| {
        let trace = home.trace();
        let green: Vec<i64> =
            trace.iter().filter(|edge| edge["line"] == "green").filter_map(|edge| edge["level"].as_i64()).collect();
        (green.len() >= 2 && green.len().is_multiple_of(2) && green.chunks(2).all(|pair| pair == [1, 0])).then_some(())
    });
    let id = answer["event_id"].to_string();
    let story = home.wait_for("the settling", |home| {
        let story = home.json(&["deliveries", "show", &id, "--json"]).remove(0);
        (story["status"] == "processed").then_some(story)
    });
    assert_eq!(story["events"][0]["kind"], "pr_merged");
    assert_eq!(story["dispatches"].as_array().expect("a list").len(), 2);
    assert_eq!(story["payload"]["action"], "closed");

    assert!(service.terminate().success());
    let dark = home.trace().iter().rev().find(|edge| edge["line"] == "green").cloned().expect("an edge");
    assert_eq!(dark["level"], 0, "the bell ends dark");
}

#[test]
fn a_repeat_is_answered_and_not_done_again() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let first = service.post_sample("issue_opened", 1);
    let second = service.post_sample("issue_opened", 1);
    assert_eq!(first.1["status"], "accepted");
    assert_eq!((second.0, &second.1["status"]), (200, &"duplicate".into()));
    assert_eq!(first.1["event_id"], second.1["event_id"]);
    slack.next();
    home.wait_for("the settling", all_settled);
    // Another one, to see that nothing of the repeat stands between the two.
    service.post_sample("repo_starred", 2);
    assert!(slack.next().text().starts_with("⭐️ Repository *"));
}

#[test]
fn one_body_under_many_ids_is_noticed_and_limited() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let body = br#"{"action":"created","sender":{"login":"a"},"repository":{"full_name":"acme/api"}}"#;
    for number in 0..5 {
        assert_eq!(service.post("star", &format!("guid-{number}"), body).1["status"], "accepted");
    }
    // The same id with another body is a delivery of its own.
    assert_eq!(service.post("star", "guid-0", br#"{"action":"created"}"#).1["status"], "accepted");
    home.wait_for("the settling", all_settled);
    let rows = home.json(&["deliveries", "list", "--json"]);
    let notes: Vec<(String, String)> =
        rows.iter().rev().map(|row| (row["status"].as_str().unwrap().to_owned(), row["notes"].to_string())).collect();
    for (number, (status, note)) in notes.iter().enumerate() {
        let is_skipped = (3..5).contains(&number);
        assert_eq!(status, if is_skipped { "skipped" } else { "processed" }, "{number}: {note}");
        assert_eq!(note.contains("possible_replay"), (1..5).contains(&number), "{number}: {note}");
        assert_eq!(note.contains("same_id_other_body"), number == 5, "{number}: {note}");
    }
}

#[test]
fn a_dead_slack_loses_nothing_and_stops_nobody() {
    let slack = Slack::with_script([
        Act::fails(500, "rollup_error"),
        Act::Cut,
        Act::Answer { status: 429, body: "rate_limited", retry_after_s: Some(1) },
    ]);
    let home = Home::new();
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 3).0, 200);
    let tries: Vec<Instant> = (0..4).map(|_| slack.next().at).collect();
    assert!(tries[3] - tries[2] >= Duration::from_millis(950), "Retry-After is kept: {:?}", tries[3] - tries[2]);
    home.wait_for("the settling", all_settled);
    let story = home.json(&["deliveries", "show", "1", "--json"]).remove(0);
    let dispatch = story["dispatches"].as_array().unwrap().iter().find(|one| one["sink"] == "slack").unwrap();
    assert_eq!((dispatch["status"].as_str(), dispatch["attempts"].as_i64()), (Some("done"), Some(4)));
    assert!(service.terminate().success());
}

#[test]
fn what_slack_will_never_take_is_dead_and_seen() {
    let slack = Slack::with_script([Act::fails(400, "invalid_blocks"), Act::fails(400, "invalid_payload")]);
    let home = Home::new();
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    service.post_sample("pr_opened", 3);
    home.wait_for("the settling", all_settled);
    assert_eq!(home.json(&["deliveries", "list", "--status", "failed", "--json"]).len(), 1);
    // The plain-text try comes second and has no blocks.
    assert!(slack.next().json["blocks"].is_array());
    assert!(slack.next().json["blocks"].is_null());
    // Others pass it.
    service.post_sample("pr_opened", 4);
    assert!(slack.next().json["blocks"].is_array());
    home.wait_for("the settling", |home| all_settled(home).filter(|all| all.len() == 2));
}

#[test]
fn what_is_not_json_is_kept_and_dead() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post("push", "not-json", b"\xff\xfe nothing").0, 200);
    home.wait_for("the settling", all_settled);
    assert_eq!(statuses(&home), ["dead_letter"]);
    assert_eq!(service.post("ping", "a-ping", br#"{"zen":"Keep it logically awesome."}"#).0, 200);
    home.wait_for("the settling", |home| all_settled(home).filter(|all| all.len() == 2));
    assert_eq!(statuses(&home), ["skipped", "dead_letter"]);
}

#[test]
fn the_split_form_does_the_same() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let receive = home.start(&["receive"]);
    // Nobody works yet: it is kept all the same.
    assert_eq!(receive.post_sample("pr_merged", 1).0, 200);
    let work = home.start(&["work"]);
    assert!(slack.next().text().contains("merged"));
    // And told at once from now on.
    let sent = Instant::now();
    receive.post_sample("issue_opened", 2);
    let message = slack.next();
    assert!(message.text().contains("issue"), "{}", message.text());
    assert!(message.at - sent < Duration::from_secs(10), "the worker was told, and did not find it by itself");
    let second = home.run(&["work"]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains(&format!("process {} already", work.pid())), "{told}");
    assert!(receive.terminate().success());
    assert!(work.terminate().success());
}

#[test]
fn a_unix_socket_is_a_door_too() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let path = home.path("door.sock");
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:0", &format!("unix:{}", path.display()))).unwrap();
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 1).0, 200);
    slack.next();
    service.kill();
    // A stale socket file is no obstacle, a living one is.
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 2).0, 200);
    assert!(service.terminate().success());
    assert!(!path.exists());
}

#[test]
fn two_variables_are_enough() {
    let (home, slack) = (Home::new(), Slack::start());
    let mut command = home.command(&["run"]);
    command.env_remove("HOOKBELL_CONFIG").env("SLACK_WEBHOOK_URL", &slack.url);
    let service = Service::start(command);
    assert_eq!(service.door, "http://127.0.0.1:5000");
    assert_eq!(service.post_sample("pr_opened", 1).0, 200);
    slack.next();
    assert!(service.terminate().success());

    let mut command = home.command(&["run"]);
    command.env_remove("HOOKBELL_CONFIG").env_remove("GITHUB_WEBHOOK_SECRET");
    let refused = command.output().unwrap();
    assert_eq!(refused.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("GITHUB_WEBHOOK_SECRET"));

    let mut command = home.command(&["run"]);
    command.env_remove("HOOKBELL_CONFIG").env_remove("SLACK_WEBHOOK_URL");
    let mut service = Service::start(command);
    service.wait_for_log("SLACK_WEBHOOK_URL is not set. Skipping Slack notification.");
    assert!(service.terminate().success());
}

#[test]
fn no_log_level_shows_a_secret() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let mut command = home.command(&["run", "-vv"]);
    command.env("RUST_LOG", "trace");
    let mut service = Service::start(command);
    service.post_sample("pr_opened", 1);
    slack.next();
    service.wait_for_log("sent id=1");
    assert!(service.log().iter().any(|line| line.contains(" DEBUG ") || line.contains(" TRACE ")), "trace is on");
    let shown: Vec<&String> =
        service.log().iter().filter(|line| line.contains("secret-part") || line.contains(SECRET)).collect();
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn an_unreadable_client_address_is_nobody() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let limited = "[sources.github]\nallow_from = [\"192.0.2.0/24\", \"127.0.0.1\"]";
    std::fs::write(&file, text.replace("[sources.github]", limited)).unwrap();
    let service = home.start(&["run"]);
    let door = service.door.clone();
    let ask = |fields: &[&str]| {
        let mut headers = signed("ping", "1", b"{}");
        headers.extend(fields.iter().map(|value| ("CF-Connecting-IP".to_owned(), (*value).to_owned())));
        http::post(&door, "/webhooks/github", &headers, b"{}").unwrap().status
    };
    assert_eq!(ask(&[]), 200, "the peer itself, which is loopback");
    assert_eq!(ask(&["192.0.2.7"]), 200);
    let mut service = service;
    // A body that never comes to its end is refused by the listener, and the log still says who did that.
    let cut = "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nCF-Connecting-IP: 192.0.2.9\r\nTransfer-Encoding: chunked\r\n\
               X-Hub-Signature-256: sha256=0000000000000000000000000000000000000000000000000000000000000000\r\n\r\nzz\r\n";
    assert_eq!(http::exchange(&service.door, cut.as_bytes()).unwrap().status, 400);
    service.wait_for_log("refused status=400 peer=192.0.2.9 ");
    for foreign in [&["198.51.100.1"][..], &["192.0.2.7", "192.0.2.7"], &["192.0.2.7:443"], &["junk"], &[""]] {
        assert_eq!(ask(foreign), 403, "{foreign:?}");
    }
}

#[test]
fn the_door_refuses_by_the_book() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let ask = |bytes: &str| http::exchange(&service.door, bytes.as_bytes()).expect("an answer");
    for (request, status) in [
        ("GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("POST /webhooks/nobody HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 404),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET http://x/health?now HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        ("GET /webhooks/github HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", 401),
        // Refused before the body: it is never sent.
        ("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", 401),
        // So is one that is too large, whatever is signed.
        (
            "POST /webhooks/github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=\
             0000000000000000000000000000000000000000000000000000000000000000\r\nContent-Length: 99999999999\r\n\r\n",
            413,
        ),
        ("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        ("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
    ] {
        let answer = ask(request);
        assert_eq!(answer.status, status, "{request:?}: {}", answer.body);
        assert!(answer.head.to_lowercase().contains("connection: close"), "{}", answer.head);
        serde_json::from_str::<serde_json::Value>(&answer.body).expect("every answer is JSON");
    }
    let tampered = vec![
        ("X-GitHub-Event".to_owned(), "push".to_owned()),
        ("X-GitHub-Delivery".to_owned(), "1".to_owned()),
        ("X-Hub-Signature-256".to_owned(), format!("sha256={}", "0".repeat(64))),
    ];
    let answer = http::post(&service.door, "/webhooks/github", &tampered, b"{}").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"not authenticated"}"#));
    assert_eq!(home.json(&["deliveries", "list", "--json"]).len(), 0, "nothing got in");
    // The secret is in no log, whatever was refused.
    let mut service = service;
    assert!(!service.log().iter().any(|line| line.contains(SECRET) || line.contains("secret-part")));
}

#[test]
fn who_fails_too_often_is_told_to_wait_and_who_is_proven_never_is() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let mut service = home.start(&["run"]);
    let door = service.door.clone();
    let ask = |client: &str, fields: &[(String, String)], body: &[u8]| {
        let headers = [fields, &[("CF-Connecting-IP".to_owned(), client.to_owned())]].concat();
        http::post(&door, "/webhooks/github", &headers, body).unwrap()
    };
    let forged = |number: u32| {
        // With a signature of another body, and with none at all.
        if number.is_multiple_of(2) {
            signed("push", "1", b"{ }")
        } else {
            vec![("X-GitHub-Event".to_owned(), "push".to_owned())]
        }
    };
    let statuses: Vec<u16> = (0..60).map(|number| ask("192.0.2.1", &forged(number), b"{}").status).collect();
    let first = statuses.iter().position(|status| *status == 429).expect("60 failures are too many");
    assert!((20..40).contains(&first), "{statuses:?}");
    assert!(statuses[..first].iter().all(|status| *status == 401), "{statuses:?}");
    let limited = ask("192.0.2.1", &forged(0), b"{}");
    assert_eq!(limited.status, 429, "{}", limited.body);
    assert!(limited.head.contains("\r\nRetry-After: "), "{}", limited.head);
    service.wait_for_log("refused status=429 peer=192.0.2.1 source=github requests=1 ");

    assert_eq!(ask("192.0.2.1", &signed("ping", "1", b"{}"), b"{}").status, 200, "proven, whoever failed before");
    assert_eq!(ask("192.0.2.2", &forged(0), b"{}").status, 401, "another address");
    assert_eq!(ask("192.0.2.1", &forged(0), b"{}").status, 429, "and that changes nothing for the forger");
}
