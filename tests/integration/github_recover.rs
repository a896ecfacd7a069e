//! What GitHub has sent and we do not hold comes in: exactly that, in its order, once.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use hookbell::time::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::{
    Home, SECRET, Service,
    github::{Act, GitHub, HOOK_URL, Rights, TOKEN, ago},
    slack::Slack,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A home whose source asks this GitHub.
fn home(slack: &Slack, github: &GitHub, more: &str) -> Home {
    let home = Home::new();
    configure(&home, slack, github, "token = { file = \"token\" }\nhooks = [\"acme/api\"]\n", more);
    home
}

fn configure(home: &Home, slack: &Slack, github: &GitHub, recover: &str, more: &str) {
    let api = &github.url;
    home.configure(&slack.url, &format!("[github]\napi = \"{api}\"\n[sources.github.recover]\n{recover}\n{more}"));
    std::fs::write(home.path("token"), TOKEN).expect("written");
}

/// A body that says which it is.
fn body(number: usize) -> Value {
    json!({ "action": "opened", "issue": { "number": number, "title": format!("Issue {number}"),
        "html_url": format!("https://github.com/acme/api/issues/{number}") },
        "repository": { "full_name": "acme/api" }, "sender": { "login": "otto" } })
}

/// So many issues, one each so many seconds, the last one five minutes ago, all answered so.
fn record(github: &GitHub, hook: i64, count: usize, apart: Duration, status: u16) -> Vec<String> {
    let apart = |number: usize| apart * u32::try_from(count - number).expect("few") + Duration::from_secs(300);
    let one = |number| github.record(hook, "issues", &body(number), ago(apart(number)), status);
    (1..=count).map(one).collect()
}

/// What `status` says about the one place, as soon as it was looked at once more than when it said this.
fn reconciled_after(home: &Home, before: &Value) -> Value {
    home.wait_for("a look at GitHub", |home| {
        let report = report(home);
        (report["checked_at"].is_string() && report["checked_at"] != before["checked_at"]).then_some(report)
    })
}

/// The same at the first start.
fn reconciled(home: &Home) -> Value {
    reconciled_after(home, &Value::Null)
}

fn report(home: &Home) -> Value {
    home.json(&["status", "--json"])[0]["reconciled"][0].clone()
}

/// Has the service ask now, and waits until it has.
fn reconcile(home: &Home) -> Value {
    let before = report(home);
    let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).expect("the control socket");
    socket.write_all(b"{\"do\":\"reconcile\"}\n").expect("asked");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"ok\":true"), "{answer}");
    reconciled_after(home, &before)
}

/// Has the service ask now, whatever comes of it.
fn reconcile_somehow(home: &Home) {
    let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).expect("the control socket");
    socket.write_all(b"{\"do\":\"reconcile\"}\n").expect("asked");
}

/// The stored deliveries, oldest first.
fn held(home: &Home) -> Vec<Value> {
    let mut rows = home.json(&["deliveries", "list", "--json", "--limit", "10000"]);
    rows.reverse();
    rows
}

fn guids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["delivery_id"].as_str().expect("a GUID")).collect()
}

#[test]
fn a_gap_of_three_days_over_many_pages_comes_in_whole() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    // Some reached us in their time.
    let home =
        home(&slack, &github, "[[rules]]\nname = \"none\"\nwhen = { kind = \"issue_opened\" }\nto = [\"bell\"]\n");
    let sent = record(&github, hook, 260, Duration::from_secs(900), 502);
    let service = home.start(&["run"]);
    let report = reconciled(&home);
    let rows = held(&home);
    assert_eq!(guids(&rows), sent, "exactly the missing ones, in their order");
    assert_eq!((&report["recovered"], &report["missing"], &report["lost"]), (&json!(260), &json!(0), &json!(0)));
    assert!(report["trouble"].is_null(), "{report}");
    for row in &rows {
        assert_eq!(row["origin"], "recovered");
        let sent_at = row["sent_at"].as_str().and_then(Timestamp::parse).expect("when it was sent");
        assert!(sent_at < ago(Duration::from_secs(30)));
    }
    // Their bytes are those that were signed.
    let story = &home.json(&["deliveries", "show", "1", "--json"])[0];
    assert_eq!((&story["verified_by"], &story["payload"]["issue"]["number"]), (&json!(1), &json!(1)));
    assert!(story["notes"][0].as_str().is_some_and(|note| note.contains("502")), "{}", story["notes"]);
    // Three pages, each delivery once, and nothing was asked of GitHub but to read.
    assert_eq!((github.count("/deliveries/"), github.count("/hooks/") - 260), (260, 3));
    assert!(github.calls().iter().all(|call| call.method == "GET"));
    // Once more: nothing has changed, nothing is asked for twice.
    let report = reconcile(&home);
    let last = github.calls().pop().expect("a call");
    assert_eq!((last.status, last.if_none_match.is_some(), &report["recovered"]), (304, true, &json!(260)));
    assert!(service.terminate().success());
    // Nor after a restart.
    let before = self::report(&home);
    let service = home.start(&["run"]);
    reconciled_after(&home, &before);
    assert_eq!((held(&home).len(), github.count("/deliveries/")), (260, 260));
    assert!(service.terminate().success());
    // They are late: lit, not sounded.
    let trace = home.trace();
    assert!(trace.iter().any(|edge| edge["line"] != "buzzer"), "they are shown");
    assert!(trace.iter().all(|edge| edge["line"] != "buzzer"), "and not heard");
}

#[test]
fn only_what_is_not_held_comes_in_whatever_github_was_told() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "");
    let service = home.start(&["run"]);
    assert_eq!(reconciled(&home)["recovered"], 0, "a gap of none");
    github.reach(Some(&service.door));
    let live: Vec<String> = (1..=3).map(|number| github.send(hook, "issues", &body(number))).collect();
    // Answered 200 by somebody who has lost it, refused, and of a kind that the listing has in the middle of those held.
    let lost = github.record(hook, "issues", &body(4), SystemClock.wall(), 200);
    let refused = github.record(hook, "push", &json!({ "ref": "refs/tags/v1" }), SystemClock.wall(), 401);
    let newest = github.send(hook, "issues", &body(6));
    let report = reconcile(&home);
    let rows = held(&home);
    let expected: Vec<&str> = live.iter().chain([&newest, &lost, &refused]).map(String::as_str).collect();
    assert_eq!(guids(&rows), expected);
    assert_eq!(report["recovered"], 2);
    let origins: Vec<&str> = rows.iter().filter_map(|row| row["origin"].as_str()).collect();
    assert_eq!(origins, ["webhook", "webhook", "webhook", "webhook", "recovered", "recovered"]);
    let list = home.run(&["deliveries", "list"]);
    assert!(String::from_utf8_lossy(&list.stdout).contains("recovered"));
    assert!(service.terminate().success());
}

#[test]
fn the_signed_original_takes_the_place_of_what_was_pulled_in() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "");
    // As it was sent it had blanks that GitHub's interface does not give.
    let guid = github.record(hook, "issues", &body(1), ago(HOUR), 502);
    let service = home.start(&["run"]);
    reconciled(&home);
    let original = serde_json::to_string_pretty(&body(1)).expect("JSON");
    // Another secret: what is handed out is not proven by ours.
    assert_eq!(held(&home).len(), 1);
    let story = |home: &Home| home.json(&["deliveries", "show", "1", "--json"])[0].clone();
    let before = story(&home);
    let (status, answer) = service.post("issues", &guid, original.as_bytes());
    // The bytes that were pulled in are those that were signed: other bytes are another delivery.
    assert_eq!((status, &answer["status"], &before["verified_by"]), (200, &json!("accepted"), &json!(1)));
    assert!(service.terminate().success());

    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some("a secret of another time"));
    let home = self::home(&slack, &github, "");
    let guid = github.record(hook, "issues", &body(1), ago(HOUR), 502);
    let service = home.start(&["run"]);
    reconciled(&home);
    let before = story(&home);
    assert_eq!((&before["verified_by"], &before["origin"]), (&json!(0), &json!("recovered")));
    let (status, answer) = service.post("issues", &guid, original.as_bytes());
    assert_eq!((status, &answer["status"], &answer["event_id"]), (200, &json!("duplicate"), &json!(1)));
    let after = story(&home);
    assert_eq!((&after["verified_by"], &after["origin"]), (&json!(1), &json!("recovered")));
    assert_ne!(after["sha256"], before["sha256"]);
    // Once: the next one of that id is another delivery.
    let (_, answer) = service.post("issues", &guid, body(2).to_string().as_bytes());
    assert_eq!(answer["status"], "accepted");
    let (_, answer) = service.post("issues", &guid, original.as_bytes());
    assert_eq!((&answer["status"], &answer["event_id"]), (&json!("duplicate"), &json!(1)));
    // Nobody is told twice.
    assert_eq!(slack.next().text().matches("Issue 1").count(), 1);
    assert!(service.terminate().success());
}

#[test]
fn what_comes_while_the_list_is_read_is_neither_missed_nor_doubled() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "[[rules]]\nname = \"none\"\nwhen = { kind = \"push\" }\nto = [\"bell\"]\n");
    let mut sent = record(&github, hook, 350, Duration::from_secs(60), 502);
    github.on_listing(move |state, page| {
        if page <= 3 {
            for number in 0..40 {
                state.record(hook, "issues", &body(1000 * page + number), SystemClock.wall(), 502);
            }
        }
    });
    let service = home.start(&["run"]);
    reconciled(&home);
    github.on_listing(|_, _| {});
    assert_eq!(guids(&held(&home)), sent, "what was there when it began");
    let report = reconcile(&home);
    let newer = github.deliveries(hook).into_iter().skip(350).map(|delivery| delivery.guid);
    sent.extend(newer);
    assert_eq!(sent.len(), 350 + 120);
    assert_eq!(guids(&held(&home)), sent);
    assert_eq!(report["recovered"], 470);
    assert!(service.terminate().success());
}

#[test]
fn limits_are_obeyed_and_what_fails_is_tried_again() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "");
    let sent = record(&github, hook, 30, HOUR, 502);
    // The hooks, the list, ten deliveries; then the limit, and a second later all is well again.
    github.leave(TOKEN, 12, SystemClock.wall().plus(Duration::from_secs(2)));
    let mut service = home.start(&["run"]);
    let line = service.wait_for_log("cannot reconcile");
    assert!(line.contains("asked too often") || line.contains("asked by others"), "{line}");
    assert!(held(&home).len() < 30);
    home.wait_for("the limit's end and all of it", |home| {
        // Whoever asks in between is not let through to GitHub.
        let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).ok()?;
        socket.write_all(b"{\"do\":\"reconcile\"}\n").ok()?;
        (report(home)["recovered"] == 30).then_some(())
    });
    assert_eq!(guids(&held(&home)), sent);
    let refused = github.calls().iter().filter(|call| call.status == 403).count();
    assert!(refused <= 1, "asked {refused} times although it was told not to");
    assert!(service.terminate().success());

    // Each of these once, and all is there in the end.
    for act in [
        Act::TooFast { retry_after_s: 1 },
        Act::TooMany { retry_after_s: 1 },
        Act::Fails(500),
        Act::Fails(502),
        Act::Cut,
        Act::CutShort,
    ] {
        for part in ["GET /repos/acme/api/hooks/", "/deliveries/"] {
            let (slack, github) = (Slack::start(), GitHub::start());
            let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
            let sent = record(&github, hook, 3, HOUR, 504);
            github.script(part, [act]);
            let home = self::home(&slack, &github, "");
            let mut service = home.start(&["run"]);
            // One bad moment of one delivery is over when it is asked for once more.
            let is_told = part != "/deliveries/" || matches!(act, Act::TooFast { .. } | Act::TooMany { .. });
            if is_told {
                service.wait_for_log("cannot reconcile");
                home.wait_for("the trouble", |home| report(home)["trouble"].is_string().then_some(()));
            }
            home.wait_for("all of it", |home| {
                let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).ok()?;
                socket.write_all(b"{\"do\":\"reconcile\"}\n").ok()?;
                (report(home)["recovered"] == 3).then_some(())
            });
            assert_eq!(guids(&held(&home)), sent, "{act:?} {part}");
            assert!(report(&home)["trouble"].is_null());
            assert!(service.terminate().success());
        }
    }
}

#[test]
fn a_token_that_may_not_says_which_permission_is_missing_and_all_else_goes_on() {
    for (rights, says) in [(Rights::None, "Webhooks: read"), (Rights::Full, "make a new one")] {
        let (slack, github) = (Slack::start(), GitHub::start());
        let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
        github.record(hook, "issues", &body(1), ago(HOUR), 502);
        let home = home(&slack, &github, "");
        match rights {
            Rights::None => github.token(TOKEN, rights),
            // One that GitHub does not know.
            _ => assert!(github.with(|state| state.tokens.remove(TOKEN)).is_some()),
        }
        let mut service = home.start(&["run"]);
        let line = service.wait_for_log("cannot reconcile");
        assert!(line.contains(says) && line.contains("acme/api") && !line.contains(TOKEN), "{line}");
        let trouble = home.wait_for("the trouble", |home| {
            let report = report(home);
            Some(format!("{}; {}", report["trouble"].as_str()?, report["remedy"].as_str()?))
        });
        assert!(trouble.contains(says), "{trouble}");
        let (status, _) = service.post("issues", "by-itself", body(2).to_string().as_bytes());
        assert_eq!(status, 200);
        assert!(slack.next().text().contains("Issue 2"));
        // Somebody gives it the permission: no restart is needed.
        github.token(TOKEN, Rights::Full);
        assert_eq!(reconcile(&home)["recovered"], 1);
        service.wait_for_log("reconciling again");
        assert!(service.terminate().success());
    }
    // A hook that leads elsewhere is not ours to read; nor is it known which of two is.
    let (slack, github) = (Slack::start(), GitHub::start());
    github.add_hook("acme/api", "https://elsewhere.example/other", Some(SECRET));
    let home = home(&slack, &github, "");
    let mut service = home.start(&["run"]);
    let line = service.wait_for_log("cannot reconcile");
    assert!(line.contains("no webhook that leads to /webhooks/github") && line.contains("register acme/api"), "{line}");
    github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    github.add_hook("acme/api", "https://other.example/webhook/github", Some(SECRET));
    reconcile_somehow(&home);
    home.wait_for("what is wrong", |home| {
        report(home)["trouble"].as_str().filter(|trouble| trouble.contains("2 webhooks that lead here")).map(drop)
    });
    assert!(service.terminate().success());
}

/// One delivery that GitHub does not hand out keeps none that is newer; one that is gone is given up after a second look.
#[test]
fn one_that_is_not_to_be_had_does_not_keep_the_others() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let sent = record(&github, hook, 5, HOUR, 502);
    let id = |number: usize| github.deliveries(hook)[number].id;
    github.script(&format!("/deliveries/{}", id(1)), [Act::Fails(500); 2]);
    let home = home(&slack, &github, "");
    let mut service = home.start(&["run"]);
    service.wait_for_log("cannot reconcile");
    assert_eq!(guids(&held(&home)), [&sent[0], &sent[2], &sent[3], &sent[4]]);
    assert_eq!(report(&home)["missing"], 1);
    let report = reconcile(&home);
    assert_eq!((&report["recovered"], &report["missing"], &report["lost"]), (&json!(5), &json!(0), &json!(0)));
    assert_eq!(held(&home)[4]["delivery_id"], sent[1].as_str());
    // Listed, and gone when it is asked for.
    let lost = github.record(hook, "issues", &body(6), SystemClock.wall(), 502);
    let kept = github.record(hook, "issues", &body(7), SystemClock.wall(), 502);
    github.script(&format!("/deliveries/{}", id(5)), [Act::Fails(404); 2]);
    reconcile(&home);
    let line = service.wait_for_log("lost source=github");
    assert!(line.contains(&lost), "{line}");
    home.wait_for("the other", |home| held(home).iter().any(|row| row["delivery_id"] == kept.as_str()).then_some(()));
    let report = reconcile(&home);
    assert_eq!((&report["recovered"], &report["missing"], &report["lost"]), (&json!(6), &json!(0), &json!(1)));
    assert!(service.terminate().success());
}

/// What went well before the first that we hold of a place went to somebody else, however old the source is.
#[test]
fn what_another_receiver_took_is_not_ours() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "");
    github.leave(TOKEN, 15_000, SystemClock.wall().plus(HOUR));
    // The source holds deliveries of another place.
    let service = home.start(&["run"]);
    reconciled(&home);
    service.post("issues", "of another place", body(9).to_string().as_bytes());
    assert!(service.terminate().success());
    let database = home.path("hookbell.db");
    let text = "import sqlite3,sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM reached'); c.commit()";
    let done = std::process::Command::new("python3").arg("-c").arg(text).arg(&database).status();
    assert!(done.expect("python3").success());
    // More than come in at one turn: the next one still knows since when the place is ours.
    record(&github, hook, 3, HOUR * 200, 200);
    let failed = record(&github, hook, 510, Duration::from_secs(60), 502);
    record(&github, hook, 3, Duration::from_secs(10), 200);
    let service = home.start(&["run"]);
    let report =
        home.wait_for("all that failed", |home| Some(report(home)).filter(|report| report["recovered"] == 510));
    assert_eq!(
        (&report["missing"], guids(&held(&home)[1..])),
        (&json!(0), failed.iter().map(String::as_str).collect::<Vec<_>>())
    );
    assert_eq!(reconcile(&home)["recovered"], 510);
    assert!(service.terminate().success());
}

/// A box that was off for longer than GitHub keeps what it has sent says so.
#[test]
fn what_nobody_can_tell_any_more_is_said() {
    let (slack, github) = (Slack::start(), GitHub::start());
    github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = Home::new();
    let recover = "token = { file = \"token\" }\nhooks = [\"acme/api\"]\nwindow = \"1 h\"\n";
    configure(&home, &slack, &github, recover, "");
    let service = home.start(&["run"]);
    reconciled(&home);
    assert!(service.terminate().success());
    let text = "import sqlite3,sys,json,time; c = sqlite3.connect(sys.argv[1])\n\
                s = json.loads(c.execute('SELECT state FROM reached').fetchone()[0])\n\
                s['until_ms'] = int(time.time() * 1000) - 2 * 3600 * 1000\n\
                c.execute('UPDATE reached SET state = ?', (json.dumps(s),)); c.commit()";
    let done = std::process::Command::new("python3").arg("-c").arg(text).arg(home.path("hookbell.db")).status();
    assert!(done.expect("python3").success());
    let mut service = home.start(&["run"]);
    let line = service.wait_for_log("gap source=github place=acme/api from=");
    assert!(line.contains("ERROR"), "{line}");
    let report = home.wait_for("the gap", |home| Some(report(home)).filter(|report| report["gap"]["from"].is_string()));
    assert!(report["trouble"].is_null(), "{report}");
    let shown = String::from_utf8(home.run(&["github", "status"]).stdout).expect("UTF-8");
    assert!(shown.contains("nobody can tell any more"), "{shown}");
    assert!(service.terminate().success());
}

#[test]
fn a_day_behind_a_dead_door_is_there_after_the_start() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = home(&slack, &github, "[[rules]]\nname = \"none\"\nwhen = { kind = \"push\" }\nto = [\"bell\"]\n");
    let service = home.start(&["run"]);
    reconciled(&home);
    github.reach(Some(&service.door));
    let mut sent: Vec<String> = (1..=5).map(|number| github.send(hook, "issues", &body(number))).collect();
    service.kill();
    github.reach(None);
    sent.extend((6..=105).map(|number| github.send(hook, "issues", &body(number))));
    assert!(github.deliveries(hook).iter().skip(5).all(|delivery| !delivery.is_good()));
    let before = report(&home);
    let service = home.start(&["run"]);
    reconciled_after(&home, &before);
    let rows = held(&home);
    assert_eq!(guids(&rows), sent);
    assert!(rows.iter().skip(5).all(|row| row["origin"] == "recovered"));
    assert!(service.terminate().success());
}

#[test]
fn asking_to_send_again_is_seldom_and_what_comes_is_signed() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let home = Home::new();
    let recover = "token = { file = \"token\" }\nhooks = [\"acme/api\"]\nmode = \"redeliver\"\n";
    configure(&home, &slack, &github, recover, "");
    let sent = record(&github, hook, 3, HOUR, 502);
    // Nobody is there when GitHub tries again: it is not asked at once once more.
    let service = home.start(&["run"]);
    let report = reconciled(&home);
    assert_eq!((&report["missing"], github.count("/attempts")), (&json!(3), 3));
    github.wait_for_deliveries(hook, 6);
    assert_eq!((&reconcile(&home)["missing"], github.count("/attempts")), (&json!(3), 3));
    assert!(held(&home).is_empty());
    // An hour later it is.
    github.with(|state| state.deliveries.iter_mut().for_each(|delivery| delivery.at = delivery.at.minus(HOUR)));
    github.reach(Some(&service.door));
    reconcile(&home);
    github.wait_for_deliveries(hook, 9);
    let report = reconcile(&home);
    let rows = held(&home);
    let mut came = guids(&rows);
    came.sort_unstable();
    assert_eq!(came, sent);
    assert!(rows.iter().all(|row| row["origin"] == "webhook"));
    assert_eq!((&report["missing"], &report["recovered"]), (&json!(0), &json!(0)));
    assert!(service.terminate().success());
}

#[test]
fn an_organisation_and_an_app_are_asked_as_what_they_are() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme", HOOK_URL, Some(SECRET));
    let home = Home::new();
    configure(&home, &slack, &github, "token = { file = \"token\" }\nhooks = [\"acme\"]\n", "");
    let sent = record(&github, hook, 2, HOUR, 502);
    let service = home.start(&["run"]);
    reconciled(&home);
    assert_eq!(guids(&held(&home)), sent);
    assert!(github.count("GET /orgs/acme/hooks/") > 0);
    assert!(service.terminate().success());

    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("app", HOOK_URL, Some(SECRET));
    let home = Home::new();
    configure(&home, &slack, &github, "app = \"4242\"\napp_key = { file = \"app.pem\" }\n", "");
    for kind in ["-traditional", ""] {
        let mut openssl = std::process::Command::new("openssl");
        openssl.args(["genrsa"]).args((!kind.is_empty()).then_some(kind)).args(["-out", "app.pem", "2048"]);
        let made = openssl.current_dir(home.path("")).output().expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let guid = github.record(hook, "issues", &body(1), ago(Duration::from_secs(60)), 502);
        let mut service = home.start(&["run"]);
        service.wait_for_log("recovered id=");
        home.wait_for("the app's delivery", |home| {
            held(home).iter().any(|row| row["delivery_id"] == guid.as_str()).then_some(())
        });
        assert!(service.terminate().success());
    }
    assert!(github.count("GET /app/hook/deliveries") > 0);
}

#[test]
fn what_was_pruned_does_not_come_again() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let rules = "[[rules]]\nname = \"none\"\nwhen = { kind = \"push\" }\nto = [\"bell\"]\n";
    let home = home(&slack, &github, rules);
    let service = home.start(&["run"]);
    reconciled(&home);
    github.reach(Some(&service.door));
    for number in 1..=20 {
        github.send(hook, "issues", &body(number));
    }
    assert!(service.terminate().success());
    // All but the newest go, as if they were old.
    let keep = std::fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    std::fs::write(home.path("hookbell.toml"), keep.replace("free_min = 0", "free_min = 0\nkeep = \"1 ms\""))
        .expect("written");
    let mut service = home.start(&["run"]);
    service.wait_for_log("pruned deliveries=");
    let report = reconcile(&home);
    assert_eq!((&report["recovered"], &report["missing"]), (&json!(0), &json!(0)), "{report}");
    assert!(held(&home).len() <= 1, "{}", held(&home).len());
    assert!(service.terminate().success());
}

/// Three days of a busy organisation: as many as GitHub's hourly limit.
#[test]
fn five_thousand_missing_ones_come_in_in_order_and_once() {
    let (slack, github) = (Slack::start(), GitHub::start());
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    github.leave(TOKEN, 15_000, SystemClock.wall().plus(HOUR));
    let home = home(&slack, &github, "[[rules]]\nname = \"none\"\nwhen = { kind = \"push\" }\nto = [\"bell\"]\n");
    let sent = record(&github, hook, 5000, Duration::from_secs(50), 502);
    let service: Service = home.start(&["run"]);
    let more_than = |count: u64| {
        home.wait_for("another thousand of them", |home| {
            let report = report(home);
            (held(home).len() as u64 >= count).then_some(report)
        })
    };
    (1..=5).for_each(|thousands| drop(more_than(1000 * thousands)));
    let report = reconciled(&home);
    assert_eq!((&report["missing"], &report["lost"]), (&json!(0), &json!(0)));
    assert_eq!(guids(&held(&home)), sent);
    assert_eq!(github.count("/deliveries/"), 5000);
    assert!(service.terminate().success());
}
