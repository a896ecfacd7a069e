//! `doctor`, and the door's own question: the real executable beside a running service, its Slack on loopback.

use std::{fs, io::Write, net::TcpListener, thread};

use hookbell::{
    provider::sign_sha256_hex,
    secret::Secret,
    time::{Clock, SystemClock},
};
use serde_json::{Value, json};

use crate::harness::{
    Home, Service, http,
    slack::{Act, Slack},
};

/// What a dead and a living webhook answer to an empty message.
const ALIVE: Act = Act::Answer { status: 400, body: "no_text", retry_after_s: None };
const DEAD: Act = Act::Answer { status: 404, body: "no_service", retry_after_s: None };

/// A service whose public URL is its own door: the shortest tunnel.
fn with_public_url(home: &Home, slack: &Slack) -> Service {
    // The port that the first one gets is free for the second.
    home.configure(&slack.url, "");
    let first = home.start(&["run"]);
    let port = first.door.rsplit(':').next().expect("a port").to_owned();
    assert!(first.terminate().success());
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let door = format!("listen = \"127.0.0.1:{port}\"\npublic_url = \"http://127.0.0.1:{port}\"");
    fs::write(home.path("hookbell.toml"), text.replace("listen = \"127.0.0.1:0\"", &door)).expect("written");
    home.start(&["run"])
}

/// The exit code and the checks by name.
fn doctor(home: &Home, more: &[&str]) -> (i32, Vec<Value>) {
    let arguments: Vec<&str> = ["doctor", "--json"].iter().chain(more).copied().collect();
    let output = home.run(&arguments);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    let checks = said["checks"].as_array().expect("checks").clone();
    assert_eq!(said["ok"], checks.iter().all(|check| check["result"] != "fail"));
    (output.status.code().expect("an exit"), checks)
}

fn check<'c>(checks: &'c [Value], name: &str) -> &'c Value {
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {checks:?}"))
}

#[test]
fn a_well_service_is_well_and_nothing_is_posted_or_stored() {
    let (home, slack) = (Home::new(), Slack::with_script([ALIVE, ALIVE]));
    let service = with_public_url(&home, &slack);
    let (code, checks) = doctor(&home, &["--fsync-test"]);
    assert_eq!(code, 0, "{checks:#?}");
    for name in ["configuration", "service", "database", "bell", "sink slack", "public URL"] {
        assert_eq!(check(&checks, name)["result"], "ok", "{checks:#?}");
    }
    assert!(check(&checks, "service")["said"].as_str().is_some_and(|said| said.contains(&service.pid().to_string())));
    assert!(check(&checks, "database")["facts"]["fsync_ms"].is_number());
    let fsync = &check(&checks, "fsync")["facts"];
    assert!(
        fsync["p50_ms"].as_f64() <= fsync["p99_ms"].as_f64() && fsync["one_at_a_time_per_s"].is_number(),
        "{fsync}"
    );
    assert!(check(&checks, "public URL")["facts"]["round_trip_ms"].is_number());
    check(&checks, "cloudflared");

    // One line each for people, and the same verdicts.
    let output = home.run(&["doctor"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        text.lines().all(|line| ["ok    ", "warn  ", "fail  "].iter().any(|verdict| line.starts_with(verdict))),
        "{text}"
    );
    assert!(text.contains("\nok    sink slack: the webhook is alive") && !text.contains("secret-part"), "{text}");

    let asked = slack.so_far();
    assert!(asked.len() == 2 && asked.iter().all(|message| message.json == json!({})), "{asked:?}");
    assert!(home.json(&["deliveries", "list", "--json"]).is_empty(), "nothing was stored");
    let left = fs::read_dir(home.path("")).expect("a folder").filter_map(Result::ok);
    let left: Vec<String> = left.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains("doctor")), "{left:?}");
    assert!(service.terminate().success());
}

#[test]
fn a_dead_webhook_and_another_instance_fail_with_their_remedies() {
    let (home, slack) = (Home::new(), Slack::with_script([DEAD]));
    let service = with_public_url(&home, &slack);
    // Another installation's database: the one that runs cannot prove that it is this one.
    let other = Home::new();
    other.configure(&slack.url, "");
    assert!(other.start(&["run"]).terminate().success());
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let store = format!("[store]\npath = {:?}", other.database());
    fs::write(home.path("hookbell.toml"), text.replace("[store]", &store)).expect("written");
    let (code, checks) = doctor(&home, &[]);
    assert_eq!(code, 1);
    let dead = check(&checks, "sink slack");
    assert_eq!(dead["result"], "fail", "{dead}");
    assert!(dead["remedy"].as_str().is_some_and(|remedy| remedy.contains("SLACK_WEBHOOK_URL")), "{dead}");
    let public = check(&checks, "public URL");
    assert_eq!(public["result"], "fail", "{public}");
    assert!(public["said"].as_str().is_some_and(|said| said.contains("another hookbell answers there")), "{public}");
    assert_eq!(check(&checks, "service")["result"], "warn");
    assert!(service.terminate().success());
}

#[test]
fn a_page_that_is_not_hookbell_is_quoted() {
    let (home, slack) = (Home::new(), Slack::with_script([ALIVE]));
    let portal = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", portal.local_addr().expect("bound"));
    home.configure(&slack.url, "");
    assert!(home.start(&["run"]).terminate().success());
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let text = text.replace("[door]\n", &format!("[door]\npublic_url = {url:?}\n"));
    fs::write(home.path("hookbell.toml"), text).expect("written");
    // Ends with the test's process.
    thread::spawn(move || {
        let (mut stream, _) = portal.accept().expect("the doctor");
        let page = "<h1>Welcome to the hotel</h1>";
        let length = page.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}")
            .expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("the end");
        // Closed with something unread, the connection would be reset, and the page with it.
        std::io::copy(&mut stream, &mut std::io::sink()).expect("read to the end");
    });
    let (code, checks) = doctor(&home, &[]);
    assert_eq!(code, 1);
    let said = check(&checks, "public URL")["said"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("something else answers there (status 200: \"<h1>Welcome to the hotel</h1>\")"), "{said}");
    assert_eq!(check(&checks, "service")["result"], "warn");
}

#[test]
fn a_wrong_configuration_is_78_with_every_problem() {
    let home = Home::new();
    fs::write(home.path("hookbell.toml"), "[door]\nlissten = 1\nbody_max = \"no\"\n").expect("written");
    let (code, checks) = doctor(&home, &[]);
    assert_eq!(code, 78);
    let failed = checks.iter().filter(|check| check["name"] == "configuration" && check["result"] == "fail");
    assert!(failed.count() >= 2, "{checks:?}");
    assert!(checks.iter().any(|check| check["remedy"] == "did you mean `listen`?"), "{checks:?}");
    let output = home.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("lissten"));
}

#[test]
fn secrets_of_the_service_stand_beside_the_configuration() {
    let (home, slack) = (Home::new(), Slack::with_script([ALIVE]));
    home.configure(&slack.url, "");
    fs::write(home.path("hookbell.env"), format!("SLACK_WEBHOOK_URL={}\n", slack.url)).expect("written");
    fs::remove_file(home.path("slack.url")).expect("it was there");
    let (_, checks) = doctor(&home, &[]);
    assert_eq!(check(&checks, "sink slack")["result"], "ok", "{checks:#?}");
    assert!(slack.so_far().len() == 1);
}

/// A question to ourselves as the doctor asks it, by this key.
fn question(key: &str, nonce: &str, at: i64) -> String {
    let key = Secret::new(key.to_owned()).expect("a key");
    let parts: [&[u8]; 4] = [b"hookbell asks itself\n", nonce.as_bytes(), b"\n", &at.to_string().into_bytes()];
    json!({ "nonce": nonce, "at": at, "mac": sign_sha256_hex(&key, &parts) }).to_string()
}

#[test]
fn the_door_answers_itself_and_nobody_else() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let key = home.json(&["sql", "--json", "SELECT value FROM meta WHERE key = 'own_key'"]).remove(0);
    let key = key["value"].as_str().expect("a key").to_owned();
    assert_eq!(key.len(), 64);
    let now = SystemClock.wall().ms();
    let ask = |body: &str| {
        let answer = http::post(&service.door, "/webhooks/_self", &[], body.as_bytes()).expect("an answer");
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    let good = question(&key, "0123456789abcdef", now);
    let (status, answer) = ask(&good);
    assert_eq!((status, &answer["nonce"]), (200, &json!("0123456789abcdef")));
    let secret = Secret::new(key.clone()).expect("a key");
    assert_eq!(answer["mac"], sign_sha256_hex(&secret, &[b"hookbell answers itself\n", b"0123456789abcdef"]));

    assert_eq!(ask(&question("another key", "0123456789abcdef", now)).0, 401);
    let old = question(&key, "0123456789abcdef", now - 6 * 60 * 1000);
    let (status, answer) = ask(&old);
    assert_eq!((status, answer), (401, json!({ "error": "not authenticated" })), "the reason is for the log alone");
    assert_eq!(ask("{}").0, 400);
    assert_eq!(ask(&"x".repeat(513)).0, 413);
    assert_eq!(http::get(&service.door, "/webhooks/_self").expect("an answer").status, 405);

    // It counts as any other failure does.
    let too_often = (0..30).map(|_| ask(&old).0).find(|status| *status != 401);
    assert_eq!(too_often, Some(429));
    assert_eq!(ask(&good).0, 200, "who proves it is never refused");
    assert!(home.json(&["deliveries", "list", "--json"]).is_empty());
    assert!(service.terminate().success());
}
