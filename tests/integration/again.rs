//! `deliveries replay` and `requeue`: what was given up, and what today's rules would do otherwise.

use serde_json::{Value, json};

use crate::harness::{
    Home,
    slack::{Act, Slack},
};

fn story(home: &Home, id: &str) -> Value {
    home.json(&["deliveries", "show", id, "--json"]).remove(0)
}

fn settled(home: &Home, id: &str, status: &str) -> Value {
    home.wait_for(status, |home| Some(story(home, id)).filter(|story| story["status"] == status))
}

#[test]
fn what_was_given_up_is_tried_again_as_it_was() {
    let slack = Slack::with_script([Act::fails(403, "forbidden")]);
    let home = Home::new();
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("issue_opened", 1).0, 200);
    let dead = settled(&home, "1", "dead_letter");
    let reference = slack.next().json.to_string();

    let dry = home.json(&["deliveries", "requeue", "--status", "failed", "--dry-run", "--json"]).remove(0);
    assert_eq!(dry, json!({ "selected": 1, "done": 0, "ids": [1] }));
    assert_eq!(story(&home, "1")["status"], "dead_letter", "a dry run changes nothing");
    let done = home.json(&["deliveries", "requeue", "1", "--json"]).remove(0);
    assert_eq!(done, json!({ "selected": 1, "done": 1, "ids": [1] }));
    let alive = settled(&home, "1", "processed");
    assert_eq!(slack.next().json.to_string(), reference, "the same message with the same reference");
    assert_eq!(alive["events"], dead["events"]);
    assert!(alive["notes"].to_string().contains("requeued "), "{}", alive["notes"]);
    let again = home.json(&["deliveries", "requeue", "1", "--json"]).remove(0);
    assert_eq!(again["done"], 0, "nothing is given up any more");
}

#[test]
fn a_replay_goes_by_the_rules_of_today() {
    let slack = Slack::start();
    let home = Home::new();
    home.configure(&slack.url, "[[rules]]\nwhen = { kind = \"pr_merged\" }\nto = [\"slack\"]\n");
    let service = home.start(&["run"]);
    for (name, salt) in [("issue_opened", 1), ("pr_merged", 2)] {
        assert_eq!(service.post_sample(name, salt).0, 200);
    }
    settled(&home, "1", "skipped");
    settled(&home, "2", "processed");
    slack.next();
    service.terminate();

    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration").replace("pr_merged", "*");
    std::fs::write(&file, text).expect("the configuration is written");
    // Without a service it is noted, and done when one runs.
    let said = home.run(&["deliveries", "replay", "--since", "1h"]);
    assert_eq!(String::from_utf8_lossy(&said.stdout), "2 replayed\n");
    let _service = home.start(&["run"]);
    let first = settled(&home, "1", "processed");
    let second = settled(&home, "2", "processed");
    let references: Vec<String> = (0..2).map(|_| slack.next().json.to_string()).collect();
    assert!(references[0].contains("-1-0-1") && references[1].contains("-2-0-1"), "{references:?}");
    assert_eq!(first["events"].as_array().map(Vec::len), Some(2), "what it meant then, and now");
    assert_eq!(first["kinds"], json!(["issue_opened"]));
    assert!(second["notes"].to_string().contains("replayed "), "{}", second["notes"]);
}

#[test]
fn operators_say_which_ones() {
    let home = Home::new();
    home.configure("http://127.0.0.1:9/none", "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("ping", 1).0, 200);
    for (arguments, code, part) in [
        (&["deliveries", "replay"][..], 2, "which ones?"),
        (&["deliveries", "requeue", "7"], 1, "there is no delivery 7"),
        (&["deliveries", "replay", "1", "--source", "github"], 2, "cannot be used with"),
    ] {
        let output = home.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
