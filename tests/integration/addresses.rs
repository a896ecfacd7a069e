//! Who may call, and who was refused: `allow_from = "github"` against a stand-in for GitHub's interface, and the counts.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::harness::{Home, Service, http, signed, slack::Slack};

/// A stand-in for `api.github.com`, which is out of order until told otherwise.
struct GitHub {
    url: String,
    works: Arc<AtomicBool>,
}

impl GitHub {
    fn start() -> GitHub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let works = Arc::new(AtomicBool::new(false));
        let told = works.clone();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                answer(&stream, told.load(Ordering::Acquire));
            }
        });
        GitHub { url, works }
    }
}

fn answer(mut stream: &TcpStream, works: bool) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let (status, body) = match head.first().map(String::as_str) {
        Some("GET /meta HTTP/1.1") if works => (
            200,
            r#"{"verifiable_password_authentication":false,"hooks":["192.0.2.0/24","2001:db8::/32"],"web":["198.51.100.0/24"]}"#,
        ),
        Some("GET /meta HTTP/1.1") => (500, "out of order"),
        _ => (404, "{}"),
    };
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    // The other side may have given up.
    let _ = stream.write_all(answer.as_bytes());
}

fn limited(slack: &Slack, github: &GitHub) -> Home {
    let home = Home::new();
    home.configure(&slack.url, &format!("[github]\napi = \"{}\"\n", github.url));
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let text = text.replace("[sources.github]", "[sources.github]\nallow_from = \"github\"");
    std::fs::write(&file, text).expect("the configuration is written");
    home
}

fn ping(service: &Service, guid: &str, from: &str) -> u16 {
    let mut headers = signed("ping", guid, b"{}");
    headers.push(("CF-Connecting-IP".to_owned(), from.to_owned()));
    http::post(&service.door, "/webhooks/github", &headers, b"{}").expect("an answer").status
}

#[test]
fn only_the_addresses_that_github_publishes_may_call() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let home = limited(&slack, &github);
    let mut service = home.start(&["run"]);
    service.wait_for_log("cannot fetch GitHub's addresses");
    assert_eq!(ping(&service, "1", "192.0.2.1"), 503, "nobody knows yet");
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["github_addresses"], Value::Null);

    github.works.store(true, Ordering::Release);
    service.wait_for_log("GitHub's addresses networks=2");
    assert_eq!(ping(&service, "1", "192.0.2.1"), 200);
    assert_eq!(ping(&service, "2", "2001:db8:1::1"), 200);
    assert_eq!(ping(&service, "3", "198.51.100.1"), 403, "another service of GitHub's");
    service.terminate();

    // The list outlives the process and GitHub's absence.
    github.works.store(false, Ordering::Release);
    let mut service = home.start(&["run"]);
    service.wait_for_log("GitHub's addresses networks=2 fetched=");
    assert_eq!(ping(&service, "4", "192.0.2.1"), 200);
    assert_eq!(ping(&service, "5", "198.51.100.1"), 403);
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["github_addresses"]["networks"], 2);
    let said = String::from_utf8(home.run(&["status"]).stdout).expect("text");
    assert!(said.contains("GitHub's addresses: 2 networks, fetched 2"), "{said}");
    service.terminate();
}

#[test]
fn refusals_are_counted_by_source_and_address_and_shown() {
    let slack = Slack::start();
    let home = Home::new();
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let forged = |from: &str| {
        let mut headers = signed("ping", "1", b"{}");
        headers.push(("CF-Connecting-IP".to_owned(), from.to_owned()));
        http::post(&service.door, "/webhooks/github", &headers, b"{ }").expect("an answer").status
    };
    assert_eq!([forged("192.0.2.1"), forged("192.0.2.1"), forged("2001:db8::7")], [401; 3]);
    let nowhere = http::post(&service.door, "/webhooks/none", &[("CF-Connecting-IP".into(), "192.0.2.9".into())], b"");
    assert_eq!(nowhere.expect("an answer").status, 404);
    // A clean stop writes what was not written yet.
    service.terminate();
    let status = home.json(&["status", "--json"]).remove(0);
    let mut seen: Vec<String> = status["refusals"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{}|{}|{}|{}", one["source"], one["peer"], one["status"], one["count"]))
        .collect();
    seen.sort();
    assert_eq!(seen, [r#"""|"192.0.2.9"|404|1"#, r#""github"|"192.0.2.1"|401|2"#, r#""github"|"2001:db8::/64"|401|1"#]);
    let said = String::from_utf8(home.run(&["status"]).stdout).expect("text");
    assert!(said.contains("refused at github: 2 from 192.0.2.1, the last "), "{said}");
}
