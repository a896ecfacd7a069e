//! Every recorded GitHub payload goes the whole way: answered 200, none dead, none stuck.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Home, slack::Slack, vectors};

#[test]
fn every_recorded_github_payload_goes_through() {
    let Some(folder) = vectors() else { return };
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("payloads/manifest.json")).expect("readable")).expect("JSON");
    let files: Vec<(String, String)> = github_files(&manifest);
    assert!(files.len() > 100, "the manifest names {} GitHub payloads", files.len());

    let (home, slack) = (Home::new(), Slack::start());
    // Everything is wanted, so that every normalised event is also worded.
    home.configure(&slack.url, "[[rules]]\nname = \"everything\"\nwhen = { kind = \"*\" }\nto = [\"slack\"]\n");
    let service = home.start(&["run"]);
    for (number, (file, event)) in files.iter().enumerate() {
        let body = std::fs::read(folder.join("payloads").join(file)).expect("the manifest's files exist");
        let (status, answer) = service.post(event, &format!("payload-{number}"), &body);
        assert_eq!((status, &answer["status"]), (200, &"accepted".into()), "{file}");
    }
    let rows = home.wait_for("the settling of everything", |home| {
        let rows = home.json(&["deliveries", "list", "--json", "--limit", "10000"]);
        let open = rows.iter().any(|row| matches!(row["status"].as_str(), Some("unprocessed" | "retrying")));
        (!open).then_some(rows)
    });
    assert_eq!(rows.len(), files.len());
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for row in &rows {
        *counts.entry(row["status"].as_str().expect("a status").to_owned()).or_default() += 1;
    }
    println!("{} payloads: {counts:?}", files.len());
    let dead: Vec<&Value> = rows.iter().filter(|row| row["status"] == "dead_letter").collect();
    assert!(dead.is_empty(), "{dead:?}");
    assert!(counts.get("processed").is_some_and(|count| *count > 20), "{counts:?}");
    assert!(service.terminate().success());
}

/// File and event name of each GitHub payload.
fn github_files(manifest: &Value) -> Vec<(String, String)> {
    let entries: Vec<(String, &Value)> = match &manifest["files"] {
        Value::Array(files) => files
            .iter()
            .map(|file| (file["file"].as_str().or(file["path"].as_str()).unwrap_or_default().to_owned(), file))
            .collect(),
        Value::Object(files) => files.iter().map(|(name, file)| (name.clone(), file)).collect(),
        _ => Vec::new(),
    };
    entries
        .into_iter()
        .map(|(name, entry)| (name.trim_start_matches("payloads/").to_owned(), entry))
        .filter(|(name, _)| name.starts_with("github/"))
        .map(|(name, entry)| (name, entry["event"].as_str().expect("an event").to_owned()))
        .collect()
}
