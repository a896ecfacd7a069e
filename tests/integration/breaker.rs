//! A sink that keeps failing is left alone, visibly, and comes back.

use crate::harness::{
    Home,
    slack::{Act, Slack},
};

const BROKEN: Act = Act::Answer { status: 500, body: "internal_error", retry_after_s: None };

#[test]
fn a_sink_that_keeps_failing_is_left_alone_and_comes_back() {
    let slack = Slack::with_script(vec![BROKEN; 6]);
    let home = Home::new();
    home.configure(&slack.url, "");
    let mut service = home.start(&["run"]);
    // Two deliveries share the five failures; the sixth is a probe's.
    assert_eq!(service.post_sample("issue_opened", 1).0, 200);
    assert_eq!(service.post_sample("pr_merged", 2).0, 200);
    let line = service.wait_for_log("left alone sink=slack");
    assert!(line.contains("internal_error"), "{line}");
    service.wait_for_log("back sink=slack");
    let delivered = |home: &Home| home.json(&["deliveries", "list", "--status", "processed", "--json"]);
    home.wait_for("both are delivered", |home| (delivered(home).len() == 2).then_some(()));
    let status = home.json(&["status", "--json"]).remove(0);
    assert!(status["queues"].as_array().expect("a list").iter().all(|queue| queue["outage"].is_null()), "{status}");
    // Of what happens here only a sink that is down is red.
    home.wait_for("the desk says so", |home| home.trace().iter().any(|edge| edge["line"] == "red").then_some(()));
}

#[test]
fn an_outage_outlives_the_process_and_is_shown() {
    let slack = Slack::with_script(vec![Act::fails(404, "channel_is_archived"); 100]);
    let home = Home::new();
    home.configure(&slack.url, "");
    // As long as it is by default.
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration").replace("cap = \"1 s\"", "cap = \"1 h\"");
    std::fs::write(&file, text).expect("the configuration is written");
    let mut service = home.start(&["run"]);
    assert_eq!(service.post_sample("issue_opened", 1).0, 200);
    service.wait_for_log("left alone sink=slack");
    let outage = |home: &Home| {
        let status = home.json(&["status", "--json"]).remove(0);
        let queues = status["queues"].as_array().expect("a list").clone();
        queues.into_iter().find(|queue| queue["sink"] == "slack").map(|queue| queue["outage"].clone())
    };
    let before = home.wait_for("the outage is noted", |home| outage(home).filter(|outage| !outage.is_null()));
    assert!(before["reason"].as_str().is_some_and(|reason| reason.contains("channel_is_archived")), "{before}");
    service.terminate();
    slack.next();
    let mut service = home.start(&["run"]);
    assert_eq!(service.post_sample("issue_opened", 2).0, 200);
    service.wait_for_log("routed id=2");
    assert_eq!(outage(&home), Some(before), "nothing was tried meanwhile");
    let said = String::from_utf8(home.run(&["status"]).stdout).expect("text");
    assert!(said.contains("left alone since ") && said.contains("restore it"), "{said}");
}

#[test]
fn slack_gets_a_few_at_once_and_then_one_a_second() {
    let slack = Slack::start();
    let home = Home::new();
    home.configure(&slack.url, "");
    let file = home.path("hookbell.toml");
    let text =
        std::fs::read_to_string(&file).expect("the configuration").replace("interval = \"0 s\"", "interval = \"1 s\"");
    std::fs::write(&file, text).expect("the configuration is written");
    let service = home.start(&["run"]);
    for salt in 0..7 {
        assert_eq!(service.post_sample("issue_opened", salt).0, 200);
    }
    let came: Vec<_> = (0..7).map(|_| slack.next().at).collect();
    // From the first to the sixth one interval has to pass at least, and another one to the seventh.
    assert!(came[5] - came[0] >= std::time::Duration::from_millis(900), "{:?}", came[5] - came[0]);
    assert!(came[6] - came[5] >= std::time::Duration::from_millis(900), "{:?}", came[6] - came[5]);
}
