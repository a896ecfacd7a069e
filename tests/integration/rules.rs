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
    let body = json!({ "action": "completed",
        "workflow_run": { "name": workflow, "run_number": number, "run_attempt": 1, "conclusion": conclusion,
            "head_branch": "main", "head_repository": { "full_name": "acme/api" } },
        "repository": { "full_name": "acme/api" }, "sender": { "login": "otto" } });
    let guid = format!("{workflow}-{number}-{conclusion}");
    let (status, answer) = service.post("workflow_run", &guid, body.to_string().as_bytes());
    assert_eq!(status, 200, "{answer}");
    let id = answer["event_id"].as_i64().expect("an id");
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
