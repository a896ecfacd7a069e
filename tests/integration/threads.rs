//! Slack by bot token: what belongs to one subject is told in one thread, whose first message shows how it stands.

use std::fs;

use hookbell::provider::{Provider, sample};

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
