//! The panel from outside: its API held against its own description, who is let in, what hostile requests and payloads
//! come to, and what is told as it happens.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::Instant,
};

use serde_json::{Value, json};

use crate::harness::{
    Home, PATIENCE, SECRET, Service,
    http::{Answer, exchange, get},
    slack::{Act, Slack},
};

fn fetch(panel: &str, path: &str) -> Value {
    let answer = get(panel, path).expect("an answer");
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn ask(panel: &str, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    if !fields.iter().any(|(name, _)| *name == "Host") {
        text.push_str("Host: localhost\r\n");
    }
    fields.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
    exchange(panel, format!("{text}\r\n{body}").as_bytes()).expect("an answer")
}

fn act(panel: &str, path: &str, body: &Value) -> Value {
    let answer = ask(panel, "POST", path, &[("Content-Type", "application/json")], &body.to_string());
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// What of a value is not as a schema says; the part of JSON Schema that the description uses.
fn differs(value: &Value, schema: &Value, document: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema of that name");
        return differs(value, schema, document, at);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let all: Vec<String> = choices.iter().map_while(|choice| differs(value, choice, document, at)).collect();
        return (all.len() == choices.len()).then(|| all.join(" and "));
    }
    if let Some(choices) = schema["enum"].as_array() {
        return (!choices.contains(value)).then(|| format!("{at}: {value} is none of {choices:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => return None,
    };
    let is_of = |name: &&str| match *name {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the description uses the type {other}"),
    };
    if !types.iter().any(is_of) {
        return Some(format!("{at}: {value} is no {types:?}"));
    }
    if schema["format"] == "date-time" && value.as_str().is_none_or(|text| text.len() != 24 || !text.ends_with('Z')) {
        return Some(format!("{at}: {value} is no time"));
    }
    if let Some(items) = value.as_array() {
        let wrong =
            |(index, item): (usize, &Value)| differs(item, &schema["items"], document, &format!("{at}[{index}]"));
        return items.iter().enumerate().find_map(wrong);
    }
    let map = value.as_object()?;
    let missing =
        schema["required"].as_array().into_iter().flatten().find(|name| !map.contains_key(name.as_str().unwrap()));
    if let Some(missing) = missing {
        return Some(format!("{at}: {missing} is missing"));
    }
    map.iter().find_map(|(name, value)| {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{at} is not described")),
            (Value::Null, more @ Value::Object(_)) => differs(value, more, document, &at),
            (Value::Null, _) => None,
            (schema, _) => differs(value, schema, document, &at),
        }
    })
}

/// Holds an answer against what the description says of this path.
fn check(document: &Value, path: &str, method: &str, value: &Value) {
    let schema = &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{method} {path} is not described");
    if let Some(wrong) = differs(value, schema, document, "") {
        panic!("{method} {path}: {wrong}\n{value:#}");
    }
}

/// A service with one delivery of each fate: sent, skipped, dead, and refused at the door.
fn busy(home: &Home) -> (Service, Slack) {
    let slack = Slack::with_script([Act::OK].into_iter().chain(vec![Act::fails(400, "invalid_payload"); 20]));
    let more = "[[rules]]\nname = \"all but pushes\"\nunless = { kind = \"push\" }\n";
    home.configure(&slack.url, more);
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_merged", 1).0, 200);
    slack.next();
    assert_eq!(service.post_sample("push", 2).0, 200);
    assert_eq!(service.post_sample("issue_opened", 3).0, 200);
    let refused = ask(
        &service.door,
        "POST",
        "/webhooks/github",
        &[
            ("X-Hub-Signature-256", &format!("sha256={}", "0".repeat(64))),
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", "x"),
        ],
        "{}",
    );
    assert_eq!(refused.status, 401, "{}", refused.body);
    home.wait_for("the fates", |_| {
        let statuses = fetch(&service.panel, "/api/deliveries")["deliveries"].clone();
        let statuses: Vec<&str> = statuses.as_array()?.iter().filter_map(|row| row["status"].as_str()).collect();
        (statuses == ["dead_letter", "skipped", "processed"]).then_some(())
    });
    (service, slack)
}

#[test]
fn every_answer_is_as_the_description_says() {
    let home = Home::new();
    let (service, _slack) = busy(&home);
    let panel = service.panel.as_str();
    let document = fetch(panel, "/api/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    for path in [
        "/api/health",
        "/api/deliveries",
        "/api/events",
        "/api/stats",
        "/api/sources",
        "/api/rules",
        "/api/desk",
        "/api/doctor",
    ] {
        check(&document, path, "get", &fetch(panel, path));
    }
    for id in 1..=3 {
        check(&document, "/api/deliveries/{id}", "get", &fetch(panel, &format!("/api/deliveries/{id}")));
    }
    let tested =
        json!({ "source": "github", "event_type": "push", "payload": "{\"ref\":\"refs/heads/main\",\"commits\":[]}" });
    check(&document, "/api/rules/test", "post", &act(panel, "/api/rules/test", &tested));
    for what in ["ring", "test", "ack", "off", "mute", "unmute"] {
        let path = format!("/api/bell/{what}");
        check(&document, &path, "post", &act(panel, &path, &json!({ "cue": "pr_merged", "minutes": 1 })));
    }
    check(&document, "/api/doctor", "post", &act(panel, "/api/doctor", &json!({})));
    check(&document, "/api/deliveries/{id}/requeue", "post", &act(panel, "/api/deliveries/3/requeue", &json!({})));
    home.wait_for("the second refusal", |_| {
        (fetch(panel, "/api/deliveries/3")["status"] == "dead_letter").then_some(())
    });
    check(&document, "/api/deliveries/{id}/replay", "post", &act(panel, "/api/deliveries/3/replay", &json!({})));
    // Everything that is described is there.
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let known = path.replace("{id}", "1");
            let answer = ask(panel, if method == "get" { "HEAD" } else { "GET" }, &known, &[], "");
            let expected = if method == "get" || methods["get"].is_object() { 200 } else { 405 };
            assert_eq!(answer.status, expected, "{method} {path}");
        }
    }
    // What is wrong says what and what to do.
    let error = &document["components"]["schemas"]["Error"];
    let answer = ask(panel, "GET", "/api/deliveries", &[("Sec-Fetch-Site", "cross-site")], "");
    assert_eq!(answer.status, 403, "another site's page has it work");
    for (method, path, status) in [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/deliveries/99", 404),
        ("GET", "/api/deliveries?status=x", 422),
        ("GET", "/api/deliveries?before=x", 422),
        ("GET", "/api/deliveries?since=yesterday", 422),
        ("POST", "/api/health", 405),
        ("POST", "/api/deliveries/99/replay", 404),
        ("POST", "/api/deliveries/1/requeue", 409),
        ("POST", "/api/bell/ring", 422),
        ("POST", "/api/rules/test", 422),
        ("GET", "/api/deliveries/1/replay", 405),
        ("GET", "/api/deliveries/+1", 404),
    ] {
        let answer = ask(panel, method, path, &[], "");
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        let value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(differs(&value, error, &document, ""), None, "{method} {path}");
    }
    let json = [("Content-Type", "application/json")];
    for (path, body, status) in [
        ("/api/bell/ring", "{", 400),
        ("/api/bell/ring", "{\"cue\":\"no such\"}", 422),
        ("/api/bell/mute", "{\"minutes\":\"soon\"}", 422),
        ("/api/bell/mute", "{\"minutes\":-1}", 422),
        ("/api/bell/mute", "{\"minutes\":\"5\"}", 200),
    ] {
        assert_eq!(ask(panel, "POST", path, &json, body).status, status, "{path} {body}");
    }
    assert!(service.terminate().success());
}

#[test]
fn health_counts_what_failed_and_rules_what_matched() {
    let home = Home::new();
    let (service, _slack) = busy(&home);
    let health = home.wait_for("the count", |_| {
        let health = fetch(&service.panel, "/api/health");
        (health["sources"][0]["received"] == 3 && health["sources"][0]["failed"] == 1).then_some(health)
    });
    let source = &health["sources"][0];
    assert_eq!((&source["processed"], &source["receiving_events"]), (&json!(2), &json!(true)));
    assert_eq!((&source["processing_successfully"], &source["is_healthy"]), (&json!(false), &json!(false)), "{source}");
    assert!(source["last_error"].as_str().is_some_and(|error| error.contains("invalid_payload")), "{source}");
    let sinks = health["sinks"].as_array().expect("sinks");
    let slack = sinks.iter().find(|sink| sink["sink"] == "slack").expect("slack");
    assert_eq!((&slack["delivered"], &slack["failed"], &slack["dead"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(health["status"], "warning", "{health}");
    let kinds: Vec<&Value> =
        health["problems"].as_array().expect("problems").iter().map(|problem| &problem["kind"]).collect();
    assert_eq!(kinds, ["hookbell_sink_failing"], "the sink explains the source");
    let rules = fetch(&service.panel, "/api/rules");
    assert_eq!((&rules["over_events"], &rules["rules"][0]["hits"]), (&json!(3), &json!(2)), "{rules}");
    let sources = fetch(&service.panel, "/api/sources");
    let refusal = home.wait_for("the refusal", |_| {
        let sources = fetch(&service.panel, "/api/sources");
        let refusal = sources["sources"][0]["last_refusal"].clone();
        refusal.is_object().then_some(refusal)
    });
    assert_eq!(refusal["status"], 401, "{sources}");
    // `status` says the same, from the service and from the database alone.
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["health"]["sources"][0]["failed"], 1, "{}", status["health"]);
    assert_eq!(status["service"]["panel"], json!(service.panel.clone() + "/"));
    assert!(service.terminate().success());
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["health"]["sources"][0]["failed"], 1, "{}", status["health"]);
}

#[test]
fn a_sink_that_stays_down_is_told_of_by_the_others_and_so_is_its_recovery() {
    let home = Home::new();
    // Refused by configuration: left alone at once.
    let slack = Slack::with_script(vec![Act::fails(404, "no_service"); 8]);
    let more = "[health]\ntell_after = \"1 s\"\n[sinks.note]\nkind = \"exec\"\ncommand = [\"/bin/sh\", \"-c\", \"cat >> notes; echo >> notes\"]\n\
                [sinks.slack.retry]\nfirst = \"100 ms\"\ncap = \"1 s\"\n\
                [[rules]]\nname = \"itself\"\nwhen = { kind = \"hookbell_*\" }\nto = [\"note\"]\nstop = true\n\
                [[rules]]\nname = \"the rest\"\nto = [\"slack\"]\n";
    home.configure(&slack.url, more);
    let service = home.start(&["run"]);
    service.post_sample("pr_merged", 1);
    let told = |kind: &str| {
        home.wait_for(kind, |home| {
            let notes = home.json(&["deliveries", "list", "--json"]);
            notes
                .into_iter()
                .find(|row| row["source"] == "_self" && row["event_type"] == kind && row["title"].is_string())
        })
    };
    let down = told("hookbell_sink_down");
    assert!(down["title"].as_str().is_some_and(|title| title.starts_with("slack is left alone")), "{down}");
    let recovered = told("hookbell_recovered");
    assert!(recovered["title"].as_str().is_some_and(|title| title.starts_with("well again")), "{recovered}");
    home.wait_for("both notes", |home| {
        let ids = [&down["id"], &recovered["id"]].map(|id| id.to_string());
        let is_done = |id: &String| home.json(&["deliveries", "show", id, "--json"]).remove(0)["status"] == "processed";
        ids.iter().all(is_done).then_some(())
    });
    let own = home.json(&["deliveries", "list", "--json"]).into_iter().filter(|row| row["source"] == "_self").count();
    assert_eq!(own, 2, "each is told once");
    assert_eq!(fetch(&service.panel, "/api/health")["status"], "ok");
    assert!(service.terminate().success());
}

const TOKEN: &str = "a token of twenty ch";

/// What a proxy on this machine passes on is from elsewhere.
const ELSEWHERE: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

#[test]
fn from_elsewhere_only_the_token_lets_in() {
    let home = Home::new();
    let slack = Slack::start();
    home.configure(&slack.url, "[panel]\nlisten = \"127.0.0.1:0\"\ntoken = { env = \"GITHUB_WEBHOOK_SECRET\" }\n");
    let mut command = home.command(&["run"]);
    command.env("GITHUB_WEBHOOK_SECRET", TOKEN);
    let service = Service::start(command);
    let panel = service.panel.as_str();
    for path in ["/api/health", "/api/deliveries", "/api/live", "/metrics", "/api/openapi.json", "/api/nothing"] {
        let answer = ask(panel, "GET", path, &[ELSEWHERE], "");
        assert!(matches!(answer.status, 401 | 404), "{path}: {}", answer.status);
        assert!(!answer.body.contains(TOKEN));
    }
    let answer = ask(panel, "GET", "/deliveries?q=x", &[ELSEWHERE], "");
    assert!(
        answer.status == 303 && answer.head.contains("Location: /login?next=%2Fdeliveries%3Fq%3Dx"),
        "{}",
        answer.head
    );
    assert_eq!(ask(panel, "POST", "/api/bell/off", &[ELSEWHERE], "").status, 401);
    let bearer = format!("Bearer {TOKEN}");
    assert_eq!(ask(panel, "GET", "/api/health", &[ELSEWHERE, ("Authorization", &bearer)], "").status, 200);

    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let answer = ask(panel, "POST", "/login", &[ELSEWHERE, form], "token=wrong&next=/flow");
    assert_eq!(answer.status, 401, "{}", answer.body);
    let right = format!("token={}&next=", TOKEN.replace(' ', "+"));
    for (next, location) in
        [("/flow", "/flow"), ("//evil.example", "/"), ("https://evil.example/", "/"), ("/\\evil", "/")]
    {
        let answer = ask(panel, "POST", "/login", &[ELSEWHERE, form], &format!("{right}{next}"));
        assert!(
            answer.status == 303 && answer.head.contains(&format!("Location: {location}\r\n")),
            "{next}: {}",
            answer.head
        );
    }
    let answer = ask(panel, "POST", "/login", &[ELSEWHERE, form], &format!("{right}/"));
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).expect("a cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().expect("a pair");
    let answer = ask(panel, "GET", "/", &[ELSEWHERE, ("Cookie", pair)], "");
    assert!(answer.status == 200 && answer.body.contains("Log out"), "{}", answer.status);
    assert_eq!(ask(panel, "GET", "/", &[ELSEWHERE, ("Cookie", &format!("{pair}0"))], "").status, 303);

    // Whoever guesses is slowed down; the right token passes all the same.
    let guesses: Vec<u16> = (0..40)
        .map(|number| {
            ask(
                panel,
                "GET",
                "/api/health",
                &[ELSEWHERE, ("X-Hookbell-Token", &format!("guess number {number:08}"))],
                "",
            )
            .status
        })
        .collect();
    assert!(guesses.contains(&401) && guesses.ends_with(&[429]), "{guesses:?}");
    assert_eq!(ask(panel, "GET", "/api/health", &[ELSEWHERE, ("X-Hookbell-Token", TOKEN)], "").status, 200);
    assert!(service.terminate().success());
}

#[test]
fn other_sites_pages_and_other_names_get_nothing() {
    let home = Home::new();
    let (service, _slack) = busy(&home);
    let panel = service.panel.as_str();
    for host in ["evil.example", "127.0.0.1.evil.example:5001", "localhost.evil.example", ""] {
        for path in ["/", "/api/health", "/assets/panel.js", "/api/live"] {
            let answer = ask(panel, "GET", path, &[("Host", host)], "");
            assert!(matches!(answer.status, 421 | 400), "{host} {path}: {}", answer.status);
        }
    }
    let origin = panel.to_owned();
    let host = panel.trim_start_matches("http://");
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    for fields in [
        vec![("Origin", "http://evil.example")],
        vec![("Origin", "null")],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site"), ("Origin", &origin)],
    ] {
        for path in ["/api/deliveries/3/replay", "/api/bell/off", "/api/rules/test", "/api/doctor", "/login", "/logout"]
        {
            let answer = ask(panel, "POST", path, &[fields.clone(), vec![form, ("Host", host)]].concat(), "return=/");
            assert_eq!(answer.status, 403, "{path} {fields:?}: {}", answer.body);
        }
    }
    let own = [("Origin", origin.as_str()), ("Sec-Fetch-Site", "same-origin"), form, ("Host", host)];
    let answer = ask(panel, "POST", "/api/bell/mute", &own, "minutes=1&return=/setup%23bell");
    assert!(answer.status == 303 && answer.head.contains("Location: /setup?done=muted#bell"), "{}", answer.head);
    // Nothing leads out of what is embedded.
    for path in [
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/assets/..%2fpanel.css",
        "/../etc/passwd",
        "/assets/panel.css/..",
        "/assets/",
        "//etc/passwd",
        "/assets/panel.css%00.png",
    ] {
        let answer = ask(panel, "GET", path, &[], "");
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.contains("root:"));
    }
    for path in [
        "/",
        "/deliveries",
        "/deliveries/1",
        "/flow",
        "/setup",
        "/login",
        "/nothing",
        "/api/health",
        "/assets/panel.js",
    ] {
        let answer = ask(panel, "GET", path, &[], "");
        for field in [
            "Content-Security-Policy: default-src 'none'",
            "frame-ancestors 'none'",
            "X-Content-Type-Options: nosniff",
            "X-Frame-Options: DENY",
        ] {
            assert!(answer.head.contains(field), "{path} lacks {field}: {}", answer.head);
        }
        assert!(!answer.head.contains("unsafe-inline"));
        for secret in [SECRET, "secret-part"] {
            assert!(!answer.body.contains(secret), "{path} tells a secret");
        }
    }
    assert!(service.terminate().success());
}

#[test]
fn hostile_payloads_are_text_and_bounded() {
    let home = Home::new();
    let slack = Slack::start();
    home.configure(&slack.url, "[[rules]]\nto = []\n");
    let service = home.start(&["run"]);
    let panel = service.panel.as_str();
    let evil = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><blink>\u{202e}\u{7}\u{0}</textarea>";
    let issue = |title: &str, more: Value| {
        json!({ "action": "opened", "issue": { "number": 1, "title": title, "html_url": "javascript:alert(1)" },
            "repository": { "full_name": evil }, "sender": { "login": evil }, "more": more })
    };
    let keys: serde_json::Map<String, Value> =
        (0..10_000).map(|number| (format!("<blink>{number}"), json!(number))).collect();
    let bodies = [
        issue(evil, json!(null)).to_string(),
        issue("keys", Value::Object(keys)).to_string(),
        issue("large", json!("<blink>".repeat(3 * 1024 * 1024))).to_string(),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        "not json \u{202e}<script>".to_owned(),
        issue("many", json!(vec![json!([]); 2_000_000])).to_string(),
    ];
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(service.post("issues", &format!("<h1>{number}"), body.as_bytes()).0, 200);
    }
    home.wait_for("all", |_| {
        let rows = fetch(panel, "/api/deliveries");
        let rows = rows["deliveries"].as_array()?;
        (rows.len() == bodies.len() && rows.iter().all(|row| row["status"] != "unprocessed")).then_some(())
    });
    for path in [
        "/".to_owned(),
        "/deliveries".to_owned(),
        "/deliveries?q=%3Cscript%3E&kind=%22%3E%3Cscript%3E&source='".to_owned(),
        "/login?next=%22%3E%3Cscript%3E".to_owned(),
        "/?done=%3Cscript%3E".to_owned(),
    ]
    .into_iter()
    .chain((1..=bodies.len()).map(|id| format!("/deliveries/{id}")))
    {
        let answer = get(panel, &path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        let lower = answer.body.to_lowercase();
        for forbidden in [
            "<script>",
            "<img src=x",
            "<blink>",
            "<h1>0",
            "\"javascript:",
            "'javascript:",
            "\u{202e}",
            "\u{7}",
            "\u{0}",
            "onerror=alert(1)>",
        ] {
            assert!(!lower.contains(forbidden), "{path} has {forbidden:?}");
        }
        assert!(answer.body.len() < 1_500_000, "{path}: {} bytes", answer.body.len());
    }
    let story = fetch(panel, "/api/deliveries/3");
    assert_eq!(story["payload_is_cut"], true);
    assert!(story["payload"].as_str().is_some_and(|payload| payload.len() <= 256 * 1024));
    let answer = get(panel, "/api/deliveries/3/body").expect("an answer");
    assert_eq!(answer.body.len(), bodies[2].len());
    assert!(answer.head.contains(&format!("Content-Length: {}", bodies[2].len())));
    assert!(
        answer.head.contains("Content-Disposition: attachment") && answer.head.contains("application/octet-stream")
    );
    // What is pasted into the tester comes back as text, too.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let pasted: String = form_urlencoded::byte_serialize(bodies[0].as_bytes()).collect();
    let answer =
        ask(panel, "POST", "/api/rules/test", &form, &format!("source=github&event_type=issues&payload={pasted}"));
    assert!(answer.status == 200 && !answer.body.contains("<script>alert"), "{}", answer.status);
    assert_eq!(
        ask(panel, "POST", "/api/rules/test", &form, &format!("payload={}", "x".repeat(2 * 1024 * 1024))).status,
        413
    );
    assert!(service.terminate().success());
}

/// The next message of a stream that is of this kind: its number and what it says.
fn next(stream: &mut impl BufRead, kind: &str) -> (String, Value) {
    let (_, id, data) = next_of(stream, &[kind]);
    (id, data)
}

/// The next that is of one of these kinds.
fn next_of(stream: &mut impl BufRead, kinds: &[&str]) -> (String, String, Value) {
    let (mut id, mut event) = (String::new(), String::new());
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The stream itself goes on saying that there is nothing.
        assert!(Instant::now() < deadline, "none of {kinds:?} came within {PATIENCE:?}");
        let mut line = String::new();
        assert!(stream.read_line(&mut line).expect("a line") > 0, "the stream has ended");
        let line = line.trim_end();
        if let Some(found) = line.strip_prefix("id: ") {
            found.clone_into(&mut id);
        } else if let Some(found) = line.strip_prefix("event: ") {
            found.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ")
            && kinds.contains(&event.as_str())
        {
            return (event, id, serde_json::from_str(data).expect("JSON"));
        }
    }
}

fn open(panel: &str, last: Option<&str>) -> BufReader<TcpStream> {
    let mut socket = TcpStream::connect(panel.trim_start_matches("http://")).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
    socket.write_all(format!("GET /api/live HTTP/1.1\r\nHost: localhost\r\n{last}\r\n").as_bytes()).expect("sent");
    BufReader::new(socket)
}

#[test]
fn what_happens_is_told_as_it_happens_and_nothing_is_missed_by_who_comes_back() {
    let home = Home::new();
    let slack = Slack::start();
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let mut stream = open(&service.panel, None);
    // From here on what changes is told.
    next(&mut stream, "reset");
    act(&service.panel, "/api/bell/mute", &json!({}));
    let (_, desk) = next(&mut stream, "desk");
    assert!(desk["muted_until"].is_string());
    service.post_sample("pr_merged", 1);
    let (first, row) = next(&mut stream, "delivery");
    assert_eq!((&row["source"], &row["id"]), (&json!("github"), &json!(1)));
    let is_lit = |edge: &Value| edge["line"] == "green" && edge["level"] == 1 && edge["t_ms"].is_i64();
    while !next(&mut stream, "edges").1["edges"].as_array().expect("edges").iter().any(is_lit) {}
    drop(stream);
    service.post_sample("issue_opened", 2);
    slack.next();
    slack.next();
    let mut stream = open(&service.panel, Some(&first));
    // What it has missed, or that it is to load everything: nobody may have been there to keep it.
    loop {
        match next_of(&mut stream, &["delivery", "reset"]) {
            (event, ..) if event == "reset" => break assert_eq!(fetch(&service.panel, "/api/deliveries/2")["id"], 2),
            (_, _, row) if row["id"] == 2 => break,
            _ => {}
        }
    }
    // A service that stops does not wait for who watches.
    assert!(service.terminate().success());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("its end");
}

#[test]
fn replay_without_javascript_and_what_has_not_changed_is_not_sent_again() {
    let home = Home::new();
    let (service, _slack) = busy(&home);
    let panel = service.panel.as_str();
    let page = get(panel, "/deliveries/1").expect("a page").body;
    assert!(page.contains("action=\"/api/deliveries/1/replay\""), "{page}");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = ask(panel, "POST", "/api/deliveries/1/replay", &form, "return=/deliveries/1");
    assert!(answer.status == 303 && answer.head.contains("Location: /deliveries/1?done=replayed"), "{}", answer.head);
    let page = get(panel, "/deliveries/1?done=replayed").expect("a page").body;
    assert!(page.contains("replayed"));
    home.wait_for("the replay", |_| {
        let story = fetch(panel, "/api/deliveries/1");
        (story["status"] != "unprocessed" && story["events"].as_array()?.len() == 2).then_some(())
    });
    let answer = ask(panel, "GET", "/api/deliveries/2", &[], "");
    let tag = answer.head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("a tag").to_owned();
    let again = ask(panel, "GET", "/api/deliveries/2", &[("If-None-Match", &tag)], "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert!(service.terminate().success());
}

#[test]
fn pages_go_back_to_the_first_one() {
    let home = Home::new();
    let slack = Slack::start();
    home.configure(&slack.url, "[[rules]]\nto = []\n");
    let service = home.start(&["run"]);
    for salt in 0..25 {
        service.post_sample(if salt % 5 == 0 { "push" } else { "issue_opened" }, salt);
    }
    let panel = service.panel.as_str();
    home.wait_for("all", |_| {
        let rows = fetch(panel, "/api/deliveries?status=skipped&limit=100");
        (rows["deliveries"].as_array()?.len() == 25).then_some(())
    });
    let walk = |query: &str| {
        let (mut ids, mut before) = (Vec::new(), String::new());
        loop {
            let page = fetch(panel, &format!("/api/deliveries?limit=7&{query}{before}"));
            ids.extend(page["deliveries"].as_array().expect("rows").iter().filter_map(|row| row["id"].as_i64()));
            match page["next"].as_i64() {
                Some(next) => before = format!("&before={next}"),
                None => return ids,
            }
        }
    };
    let all: Vec<i64> = (1..=25).rev().collect();
    assert_eq!(walk(""), all);
    assert_eq!(walk("status=skipped&status=processed"), all);
    assert_eq!(walk("source=github&since=2020-01-01&until=2100-01-01"), all);
    assert_eq!(walk("kind=push"), [21, 16, 11, 6, 1]);
    assert_eq!(walk("q=PUSH"), [21, 16, 11, 6, 1]);
    assert!(
        walk("q=100%25_nothing").is_empty()
            && walk("until=2020-01-01").is_empty()
            && walk("status=dead_letter").is_empty()
    );
    assert!(service.terminate().success());
}

#[test]
fn a_taken_address_costs_the_panel_and_nothing_else() {
    let home = Home::new();
    let slack = Slack::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    home.configure(&slack.url, &format!("[panel]\nlisten = \"{address}\"\n"));
    let mut service = home.start(&["run"]);
    service.wait_for_log("no panel at");
    assert_eq!(service.post_sample("pr_merged", 1).0, 200);
    slack.next();
    assert!(service.terminate().success());
}

#[test]
fn what_a_sender_proves_itself_by_is_not_shown() {
    let home = Home::new();
    let slack = Slack::start();
    home.configure(
        &slack.url,
        "[sources.lab]\nprovider = \"gitlab\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }\n[[rules]]\nto = []\n",
    );
    let service = home.start(&["run"]);
    let fields = [("X-Gitlab-Token", SECRET), ("X-Gitlab-Event", "Push Hook"), ("Content-Type", "application/json")];
    let answer = ask(&service.door, "POST", "/webhooks/lab", &fields, "{\"object_kind\":\"push\"}");
    assert_eq!(answer.status, 200, "{}", answer.body);
    for path in ["/api/deliveries/1", "/deliveries/1", "/", "/setup", "/api/sources", "/api/events"] {
        let answer = get(&service.panel, path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains(SECRET) && !answer.body.contains("Everybody"), "{path} tells the secret");
    }
    let headers = &fetch(&service.panel, "/api/deliveries/1")["headers"];
    let shown =
        headers.as_object().expect("headers").iter().find(|(name, _)| name.eq_ignore_ascii_case("x-gitlab-token"));
    assert_eq!(shown.map(|(_, value)| value), Some(&json!("(hidden)")), "{headers}");
    assert!(service.terminate().success());
}
