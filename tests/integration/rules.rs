//! What rules can ask for, by the real executable.

use serde_json::{Value, json};

use crate::harness::{Home, Service, slack::Slack};

fn kinds(home: &Home, id: i64) -> Option<Vec<Value>> {
    let story = home.json(&["deliveries", "show", &id.to_string(), "--json"]).remove(0);
    let events = story["events"].as_array().cloned().unwrap_or_default();
    (story["status"] != "unprocessed").then(|| events.into_iter().map(|event| event["kind"].clone()).collect())
}

/// Posts the end of a run, and says what it is told as.
fn run(home: &Home, service: &Service, workflow: &str, number: i64, conclusion: &str) -> Value {
    let id = service.post_run(workflow, number, conclusion);
    home.wait_for("routing", |home| kinds(home, id)).remove(0)
}

#[test]
fn the_green_after_red_is_told_once_also_after_a_restart() {
    let slack = Slack::start();
    let home = Home::new();
    home.configure(
        &slack.url,
        "[[rules]]\nwhen = { kind = \"ci_passed\" }\nunless = { kind = \"ci_passed\" }\nto = [\"slack\"]\n",
    );
    let service = home.start(&["run"]);
    assert_eq!(run(&home, &service, "CI", 1, "failure"), "ci_failed");
    assert_eq!(run(&home, &service, "Docs", 2, "success"), "ci_passed", "another workflow");
    assert!(service.terminate().success());
    let service = home.start(&["run"]);
    assert_eq!(run(&home, &service, "CI", 2, "success"), "ci_fixed");
    assert_eq!(run(&home, &service, "CI", 3, "success"), "ci_passed");
    assert!(slack.next().text().starts_with("💚 CI fixed in *acme/api*: *CI* on *main*"));
    assert_eq!(run(&home, &service, "CI", 5, "timed_out"), "ci_failed");
    assert_eq!(run(&home, &service, "CI", 4, "success"), "ci_passed", "an older run that ends late");
    // What is handled again is told as it was, whatever has happened since.
    let replayed = home.json(&["deliveries", "replay", "3", "4", "--json"]).remove(0);
    assert_eq!(replayed["done"], 2);
    for (id, kind) in [(3, "ci_fixed"), (4, "ci_passed")] {
        let twice = home.wait_for("the replay", |home| kinds(home, id).filter(|kinds| kinds.len() == 2));
        assert_eq!(twice, [kind, kind]);
    }
    assert_eq!(run(&home, &service, "CI", 6, "success"), "ci_fixed", "a replay is no news");
    assert!(service.terminate().success());
}

const RULES: &str = r#"
[schedule]
time_zone = "UTC"
[[rules]]
name = "quiet bots"
when = { actor = ["*[bot]"] }
to = []
stop = true
[[rules]]
name = "night"
when = { kind = ["ci_*", "push"] }
mute = "22:00-07:30"
to = ["slack"]
[[rules]]
when = { kind = "push", path = "docs/*" }
unless = { branch = "main" }
[[rules]]
name = "docs"
when = { kind = "push", path = ["docs/*", "*.md"] }
to = ["slack", "bell"]
severity = "warning"
digest = "10 min"
cue = "success"
"#;

#[test]
fn a_route_explains_itself_rule_by_rule_without_any_secret() {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/none", RULES);
    let service = home.start(&["run"]);
    let push = |login: &str| {
        json!({ "ref": "refs/heads/main", "pusher": { "name": login }, "repository": { "full_name": "acme/api" },
            "commits": [{ "added": ["docs/lamp, desk.md"], "modified": ["src/main.rs"] }] })
        .to_string()
    };
    let (status, answer) = service.post("push", "1", push("otto").as_bytes());
    assert_eq!((status, &answer["event_id"]), (200, &json!(1)));
    // By the clock on the wall one rule may be mute, and what is collected is not settled yet.
    home.wait_for("routing", |home| {
        let story = home.json(&["deliveries", "show", "1", "--json"]).remove(0);
        (story["events"] != json!([])).then_some(())
    });
    assert!(service.terminate().success());

    let explain = |arguments: &[&str]| {
        let mut command = home.command(&[&["check", "--explain"], arguments].concat());
        command.env_remove("GITHUB_WEBHOOK_SECRET").env_remove("SLACK_WEBHOOK_URL");
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = explain(&["1", "--at", "2026-11-22T22:30:00Z"]);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "delivery 1 · github · push · as of 2026-11-22T22:30:00.000Z, sun 22:30 in UTC",
        "  paths         docs/lamp, desk.md, src/main.rs",
        "  quiet bots: when.actor: otto is not *[bot]",
        "  night: matches, but is muted at sun 22:30, until mon 07:30",
        "  rule 3: unless.branch: it is main",
        "  docs: matches",
        "  → slack, collected for 10 min under \"docs\"",
        "  → bell",
        "  cue success",
        "  severity warning, raised by a rule",
    ] {
        assert!(said.lines().any(|said| said == line), "no {line:?} in:\n{said}");
    }
    let (_, said) = explain(&["1", "--at", "2026-11-22T12:00:00Z"]);
    assert!(said.contains("  night: matches\n"), "{said}");

    let record = json!({ "method": "POST", "url": "/hook", "headers": { "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "2" }, "body": push("robot[bot]"), "received_at": "2026-11-22T12:00:00Z" });
    std::fs::write(home.path("request.json"), record.to_string()).expect("written");
    let (code, said) = explain(&["request.json"]);
    assert!(code == Some(2) && said.contains("names no source; say --source"), "{said}");
    let (code, said) = explain(&["request.json", "--source", "github", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let event = &told["events"][0];
    assert_eq!((&event["actor"], &event["to"], &event["severity"]), (&json!("robot[bot]"), &json!([]), &json!("info")));
    assert_eq!(event["rules"][0], json!({ "rule": "quiet bots", "matched": true, "why": null }));
    assert_eq!(event["rules"][1]["why"], "not looked at: rule \"quiet bots\" stopped");

    let (code, said) = explain(&["7"]);
    assert!(code == Some(1) && said.contains("there is no delivery 7"), "{said}");
    let (code, said) = explain(&["request.json", "--source", "gitlab"]);
    assert!(code == Some(2) && said.contains("it has github"), "{said}");
    let (code, said) = explain(&["1", "--source", "github"]);
    assert!(code == Some(2) && said.contains("a stored delivery has its source"), "{said}");
}
