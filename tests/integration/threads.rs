//! Slack by bot token: what belongs to one subject is told in one thread, whose first message shows how it stands.

use std::fs;

use hookbell::provider::{Provider, sample};
use serde_json::json;

use crate::harness::{Home, slack::Slack};

const TOKEN: &str = "xoxb-17-18-abcdefghijklmnop";

#[test]
fn a_pull_request_is_one_thread_also_after_a_restart() {
    let (home, slack) = (Home::new(), Slack::start());
    let more = format!(
        "[sinks.dev]\nkind = \"slack\"\ntoken = {{ file = \"slack.token\" }}\nchannel = \"#dev\"\napi = {:?}\n\
         [[rules]]\nwhen = {{ kind = \"pr_*\" }}\nto = [\"dev\"]\n",
        slack.api
    );
    home.configure(&slack.url, &more);
    fs::write(home.path("slack.token"), TOKEN).expect("the token is written");
    let mut service = home.start(&["run"]);
    let mut log = Vec::new();
    for (at, (name, event)) in
        [("pr_opened", "pull_request"), ("pr_approved", "pull_request_review"), ("pr_merged", "pull_request")]
            .into_iter()
            .enumerate()
    {
        // With one salt they are about one pull request.
        let body = sample::build(Provider::GitHub, name, 7).expect("a known sample").body;
        assert_eq!(service.post(event, &format!("story-{at}"), &body).0, 200);
        service.wait_for_log(&format!("sent id={} ", at + 1));
        if at == 1 {
            log.extend_from_slice(service.log());
            assert!(service.terminate().success());
            service = home.start(&["run"]);
        }
    }
    let calls: Vec<_> = (0..6).map(|_| slack.next()).collect();
    let paths: Vec<&str> = calls.iter().map(|call| call.path.trim_start_matches("/api/")).collect();
    let post = "chat.postMessage";
    assert_eq!(paths, [post, post, "chat.update", post, "chat.update", "reactions.add"]);
    let parent = "1700000000.000000";
    assert_eq!(calls[0].json["channel"], "#dev");
    assert!(calls[0].json["thread_ts"].is_null() && calls[0].text().contains(" · open\n🔀 New pull request"));
    for (at, key) in [(1, "thread_ts"), (2, "ts"), (3, "thread_ts"), (4, "ts"), (5, "timestamp")] {
        let Some(json) = calls[at].json.as_object() else { panic!("{:?}", calls[at]) };
        assert_eq!((&json[key], &json["channel"]), (&parent.into(), &"C0000DEV".into()), "{json:?}");
    }
    assert!(calls[2].text().contains(" · open · 👍 approved\n🔀 New pull request"), "{}", calls[2].text());
    assert!(calls[4].text().contains(" · merged · 👍 approved\n🔀 New pull request"), "{}", calls[4].text());
    assert_eq!(calls[5].json["name"], "white_check_mark");

    let story = home.wait_for("the settling", |home| {
        let story = home.json(&["deliveries", "show", "3", "--json"]).remove(0);
        (story["status"] == "processed").then_some(story)
    });
    let receipt = "C0000DEV/1700000000.000003 in thread of 1700000000.000000";
    assert!(story.to_string().contains(receipt), "{story}");
    log.extend_from_slice(service.log());
    assert!(log.iter().all(|line| !line.contains("abcdefgh")), "{log:?}");
    assert!(service.terminate().success());
}

#[test]
fn the_runs_of_its_branch_join_a_pull_request_and_a_rule_may_choose_the_channel() {
    let (home, slack) = (Home::new(), Slack::start());
    let more = format!(
        "[sinks.dev]\nkind = \"slack\"\ntoken = {{ file = \"slack.token\" }}\nchannel = \"#dev\"\napi = {:?}\n\
         [[rules]]\nwhen = {{ kind = [\"pr_*\", \"ci_*\"] }}\nto = [\"dev\"]\n\
         [[rules]]\nwhen = {{ kind = \"ci_failed\" }}\nto = [\"dev\"]\nchannel = \"#ops\"\n",
        slack.api
    );
    home.configure(&slack.url, &more);
    fs::write(home.path("slack.token"), TOKEN).expect("the token is written");
    let mut service = home.start(&["run"]);
    let repository = json!({ "full_name": "acme/api", "owner": { "login": "acme" } });
    let pull = json!({
        "action": "opened",
        "number": 7,
        "pull_request": {
            "number": 7, "title": "Fix", "user": { "login": "ada" }, "base": { "ref": "main", "repo": repository },
            "head": { "ref": "fix", "label": "acme:fix", "repo": repository },
        },
        "repository": repository,
        "sender": { "login": "ada" },
    });
    let run = |number: u32, conclusion: &str| {
        let run = json!({
            "name": "tests", "head_branch": "fix", "run_number": number, "conclusion": conclusion,
            "head_repository": repository, "actor": { "login": "ada" },
        });
        json!({ "action": "completed", "workflow_run": run, "repository": repository, "sender": { "login": "ada" } })
    };
    let steps = [("pull_request", pull), ("workflow_run", run(1, "failure")), ("workflow_run", run(2, "success"))];
    for (at, (event, body)) in steps.into_iter().enumerate() {
        assert_eq!(service.post(event, &format!("branch-{at}"), body.to_string().as_bytes()).0, 200);
        service.wait_for_log(&format!("sent id={} ", at + 1));
    }
    let calls: Vec<_> = (0..6).map(|_| slack.next()).collect();
    let shown: Vec<String> = calls
        .iter()
        .map(|call| {
            let place = if call.json["thread_ts"].is_null() { "" } else { " in the thread" };
            let line = call.text().lines().next().unwrap_or_default();
            format!("{}{place} {line}", call.path.trim_start_matches("/api/"))
        })
        .collect();
    let expected = [
        "chat.postMessage 🔀 *acme/api#7* · open",
        "chat.postMessage in the thread ❌ CI failed in *acme/api*: *tests* (failure) on *fix* started by @ada",
        "chat.update 🔀 *acme/api#7* · open · ❌ CI failed: tests",
        "chat.postMessage *acme/api#7* · ❌ CI failed: tests",
        "chat.postMessage in the thread 💚 CI fixed in *acme/api*: *tests* on *fix* started by @ada",
        "chat.update 🔀 *acme/api#7* · open · 🟢 CI passed",
    ];
    assert_eq!(shown, expected, "{calls:#?}");
    assert_eq!(calls[3].json["channel"], "#ops");
    assert!(service.terminate().success());
}
