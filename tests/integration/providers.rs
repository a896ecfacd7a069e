//! Every provider the whole way: signed by `send`, proven at the door, stored, told.

use hookbell::{
    event::{CI_FIXED, CI_PASSED},
    provider::{KINDS, Provider},
};
use serde_json::json;

use crate::{
    harness::{Home, slack::Slack},
    keys::keys,
};

const PUBLIC_URL: &str = "https://hooks.example.com";

fn variable(provider: Provider) -> String {
    format!("{}_WEBHOOK_SECRET", provider.name().to_uppercase())
}

/// A configuration with a source for each provider.
fn configured(slack: &Slack) -> Home {
    let home = Home::new();
    let others: String = Provider::ALL
        .iter()
        .filter(|provider| **provider != Provider::GitHub)
        .map(|provider| format!("[sources.{provider}]\n"))
        .collect();
    home.configure(&slack.url, &others);
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let text = text.replace("[door]\n", &format!("[door]\npublic_url = \"{PUBLIC_URL}\"\n"));
    std::fs::write(&file, text).expect("the configuration is written");
    home
}

fn with_secrets(
    mut command: std::process::Command,
    pick: fn((&'static str, &'static str)) -> &'static str,
) -> std::process::Command {
    for &provider in Provider::ALL.iter().filter(|provider| **provider != Provider::GitHub) {
        command.env(variable(provider), pick(keys(provider)));
    }
    command
}

#[test]
fn every_sample_of_every_provider_goes_the_whole_way() {
    let slack = Slack::start();
    let home = configured(&slack);
    let service = crate::harness::Service::start(with_secrets(home.command(&["run"]), |keys| keys.1));
    let samples = home.json(&["send", "--list", "--json"]);
    let mut told = Vec::new();
    for sample in &samples {
        let (provider, name) =
            (sample["provider"].as_str().expect("a name"), sample["event"].as_str().expect("a name"));
        let to = format!("{}/webhooks/{provider}", service.door);
        let arguments = ["send", provider, name, "--to", &to, "--public-url", PUBLIC_URL];
        let output = with_secrets(home.command(&arguments), |keys| keys.0).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{provider} {name}: {said}");
        if KINDS.contains(&name) {
            told.push((provider.to_owned(), name.to_owned()));
        }
    }
    let stored = home.wait_for("routing", |home| {
        let rows = home.json(&["deliveries", "list", "--json", "--limit", "1000"]);
        rows.iter()
            .all(|row| row["processed_at"].is_string() || !row["kinds"].as_array().is_none_or(Vec::is_empty))
            .then_some(rows)
    });
    for (provider, name) in &told {
        // Red and green are sent one after the other, and which run is the later one is by chance.
        let is_name = |kind: &serde_json::Value| kind == name || (name == CI_PASSED && kind == CI_FIXED);
        let is_it = |row: &&serde_json::Value| {
            row["source"] == *provider && row["kinds"].as_array().is_some_and(|kinds| kinds.iter().any(is_name))
        };
        let row = stored.iter().find(is_it).unwrap_or_else(|| panic!("{provider} {name} is not among the stored"));
        assert_ne!(row["status"], "dead_letter", "{row}");
    }
    assert!(stored.iter().all(|row| row["status"] != "dead_letter"), "{stored:?}");
    // Today's secrets accept what is stored, as of the moment when it came; others do not.
    let recheck = ["deliveries", "recheck", "--json"];
    let output = with_secrets(home.command(&recheck), |keys| keys.1).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let mut others = with_secrets(home.command(&["deliveries", "recheck"]), |keys| keys.1);
    let output = others.env(variable(Provider::Stripe), "another").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("stripe: ") && said.contains("would be refused"), "{said}");
    assert!(service.terminate().success());
}

#[test]
fn verify_tells_what_the_door_only_logs() {
    let home = Home::new();
    let record = |body: &str, more: &str| {
        let text = format!(
            r#"{{"method":"POST","url":"/webhooks/github","headers":{{"X-GitHub-Event":"ping","X-GitHub-Delivery":"1",
               "X-Hub-Signature-256":"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"{more}}},
               "body":{body:?},"received_at":"2026-11-22T10:00:00Z"}}"#
        );
        std::fs::write(home.path("request.json"), text).expect("the record is written");
    };
    let verify = |arguments: &[&str]| {
        let mut all = vec!["verify", "request.json"];
        all.extend(arguments);
        let output = home.run(&all);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let by_variable = ["--provider", "github", "--secret-env", "GITHUB_WEBHOOK_SECRET"];
    // docs.github.com, "Validating webhook deliveries": the published test values.
    record("Hello, World!", "");
    let (code, said) = verify(&by_variable);
    assert_eq!((code, said.as_str()), (Some(0), "valid: github ping, delivery 1, verified by secret 1 of 1\n"));
    record("Hello, World!\n", "");
    let (code, said) = verify(&by_variable);
    assert!(code == Some(1) && said.contains("without the newline at the body's end"), "{said}");
    record("", r#","Content-Length":"13""#);
    let (code, said) = verify(&by_variable);
    assert!(code == Some(1) && said.contains("although 13 bytes were announced"), "{said}");
    let (code, said) = verify(&["--provider", "github", "--secret-env", "NOT_SET"]);
    assert!(code == Some(1) && said.contains("no secret is configured"), "{said}");
    assert_eq!(verify(&["--provider", "nobody", "--secret-env", "X"]).0, Some(2));
    let json: serde_json::Value =
        serde_json::from_str(&verify(&["--provider", "github", "--secret-env", "GITHUB_WEBHOOK_SECRET", "--json"]).1)
            .expect("JSON");
    assert_eq!((&json["valid"], &json["status"]), (&json!(false), &json!(401)));
}

#[test]
fn a_request_with_very_many_events_is_told_in_part_and_says_so() {
    let slack = Slack::start();
    let home = configured(&slack);
    // The desk takes what comes; a thousand messages would only take longer.
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let bell_only = "[[rules]]\nwhen = { kind = \"email_dropped\" }\nto = [\"bell\"]\n";
    std::fs::write(&file, format!("{text}\n{bell_only}")).expect("the configuration is written");
    let many: Vec<_> =
        (0..=1000).map(|number| json!({ "event": "dropped", "sg_event_id": format!("e{number}") })).collect();
    let payload = home.path("many.json");
    std::fs::write(&payload, json!(many).to_string()).expect("the payload is written");
    let service = crate::harness::Service::start(with_secrets(home.command(&["run"]), |keys| keys.1));
    let to = format!("{}/webhooks/sendgrid", service.door);
    let arguments = ["send", "sendgrid", "events", "--payload", payload.to_str().expect("UTF-8"), "--to", &to];
    let output = with_secrets(home.command(&arguments), |keys| keys.0).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let story = home.wait_for("the routing", |home| {
        let story = home.json(&["deliveries", "show", "1", "--json"]).remove(0);
        (story["events"].as_array().is_some_and(|events| !events.is_empty())).then_some(story)
    });
    assert_eq!(story["events"].as_array().map(Vec::len), Some(1000));
    assert!(story["notes"].to_string().contains("only the first 1000 of its 1001 events count"), "{}", story["notes"]);
}
