//! The stand-in for GitHub answers as docs.github.com says: what `scripts/test-github` holds against its description.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Home, SECRET,
    github::{Act, GitHub, HOOK_URL, Rights, TOKEN, ago},
    http::{self, Answer},
    slack::Slack,
};

/// Asks as a client does, with a token unless it is empty.
fn ask(github: &GitHub, token: &str, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Answer {
    let mut headers = vec![("User-Agent".to_owned(), "hookbell-test".to_owned())];
    if !token.is_empty() {
        headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    }
    headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    http::exchange(&github.url, &http::request(method, path, &headers, &bytes)).expect("an answer")
}

fn get(github: &GitHub, path: &str) -> (u16, Value, Answer) {
    let answer = ask(github, TOKEN, "GET", path, &[], &Value::Null);
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default(), answer)
}

fn send(github: &GitHub, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let answer = ask(github, TOKEN, method, path, &[], body);
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let lines = answer.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The path behind a relation of `Link`.
fn link(github: &GitHub, answer: &Answer, relation: &str) -> Option<String> {
    let wanted = format!("; rel=\"{relation}\"");
    let one = header(answer, "link")?.split(", ").find_map(|one| one.strip_suffix(&wanted))?;
    Some(one.trim_matches(['<', '>']).strip_prefix(&github.url).expect("a link to itself").to_owned())
}

const HOOKS: &str = "/repos/acme/api/hooks";

#[test]
fn a_hook_is_made_changed_and_pinged() {
    let (home, slack, github) = (Home::new(), Slack::start(), GitHub::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    github.add_owner("acme/api");
    github.reach(Some(&service.door));

    let wanted = json!({ "name": "web", "active": true, "events": ["push", "star"],
        "config": { "url": HOOK_URL, "content_type": "json", "secret": SECRET, "insecure_ssl": "0" } });
    let (status, made) = send(&github, "POST", HOOKS, &wanted);
    assert_eq!((status, &made["config"]["secret"]), (201, &json!("********")), "{made}");
    assert_eq!(made["last_response"], json!({ "code": null, "status": "unused", "message": null }));
    let id = made["id"].as_i64().expect("an id");
    let first = github.wait_for_deliveries(id, 1).remove(0);
    assert_eq!((first.event.as_str(), first.status_code, first.status.as_str()), ("ping", 200, "OK"));
    assert_eq!(
        (first.payload["hook_id"].as_i64(), &first.payload["hook"]["events"]),
        (Some(id), &json!(["push", "star"]))
    );

    let (status, refusal) = send(&github, "POST", HOOKS, &wanted);
    assert_eq!((status, &refusal["message"]), (422, &json!("Validation Failed")));
    assert_eq!(refusal["errors"][0]["message"], "Hook already exists on this repository");
    assert_eq!(get(&github, &format!("{HOOKS}?per_page=100")).1[0]["id"], id);

    let one = format!("{HOOKS}/{id}");
    assert_eq!(send(&github, "POST", &format!("{one}/pings"), &Value::Null).0, 204);
    assert_eq!(github.wait_for_deliveries(id, 2)[1].event, "ping");
    assert_eq!(get(&github, &one).1["last_response"]["code"], 200);

    // One part alone leaves the others.
    let (status, config) = send(&github, "PATCH", &format!("{one}/config"), &json!({ "secret": "another" }));
    assert_eq!((status, &config["url"], &config["content_type"]), (200, &json!(HOOK_URL), &json!("json")));
    assert_eq!(github.hook(id).secret.as_deref(), Some("another"));
    assert_eq!(github.send(id, "star", &json!({ "action": "created" })), github.deliveries(id)[2].guid);
    assert_eq!(github.deliveries(id)[2].status_code, 401, "signed with what the service does not know");
    // Events alone leave the configuration.
    let (_, changed) = send(&github, "PATCH", &one, &json!({ "add_events": ["fork"], "remove_events": ["star"] }));
    assert_eq!((&changed["events"], &changed["config"]["secret"]), (&json!(["push", "fork"]), &json!("********")));
    // A configuration without a secret takes it away.
    let (_, bare) = send(&github, "PATCH", &one, &json!({ "active": false, "config": { "url": HOOK_URL } }));
    assert_eq!(bare["config"], json!({ "url": HOOK_URL, "content_type": "form", "insecure_ssl": "0" }));
    assert_eq!((get(&github, &format!("{one}/config")).1, &bare["active"]), (bare["config"].clone(), &json!(false)));
    assert!(service.terminate().success());
}

#[test]
fn what_goes_out_is_signed_and_can_go_again() {
    let (home, slack, github) = (Home::new(), Slack::start(), GitHub::start());
    home.configure(&slack.url, "");
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let body = json!({ "action": "created", "repository": { "id": 7, "full_name": "acme/api" } });
    // Nobody is there.
    let guid = github.send(hook, "star", &body);
    let dead = github.deliveries(hook).remove(0);
    assert_eq!((dead.status_code, dead.status.as_str(), dead.redelivery), (502, "failed to connect", false));
    assert!(dead.id > 1 << 53, "{}", dead.id);

    let list = format!("{HOOKS}/{hook}/deliveries");
    let (_, shown, _) = get(&github, &format!("{list}/{}", dead.id));
    assert_eq!((&shown["guid"], &shown["request"]["payload"]), (&json!(guid), &body));
    assert_eq!((&shown["action"], &shown["repository_id"]), (&json!("created"), &json!(7)));
    let headers = &shown["request"]["headers"];
    assert_eq!(headers["X-GitHub-Hook-ID"], hook.to_string());
    assert_eq!(headers["X-GitHub-Hook-Installation-Target-Type"], "repository");
    let own = crate::harness::signed("star", &guid, &dead.sent);
    let signature = own.iter().find(|(name, _)| name == "X-Hub-Signature-256").map(|(_, value)| value.as_str());
    assert_eq!(headers["X-Hub-Signature-256"].as_str(), signature);

    let service = home.start(&["run"]);
    github.reach(Some(&service.door));
    assert_eq!(send(&github, "POST", &format!("{list}/{}/attempts", dead.id), &Value::Null), (202, json!({})));
    let again = github.wait_for_deliveries(hook, 2).remove(1);
    assert_eq!((&again.guid, again.redelivery, again.status_code), (&guid, true, 200));
    assert!(again.answer.expect("an answer").contains("accepted"));
    assert_eq!(get(&github, &format!("{list}?status=failure")).1[0]["id"], dead.id);
    assert_eq!(get(&github, &format!("{list}?status=success")).1[0]["id"], again.id);
    assert!(service.terminate().success());
}

#[test]
fn a_listing_has_pages_and_things_come_meanwhile() {
    let github = GitHub::start();
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let body = json!({ "action": "created" });
    let day = |days: u64| ago(Duration::from_secs(days * 24 * 60 * 60));
    github.record(hook, "star", &body, day(4), 200);
    let guids: Vec<String> = github.with(|state| {
        (0..5).map(|number| state.record(hook, "star", &body, day(2), if number == 1 { 0 } else { 200 })).collect()
    });
    github.on_listing(move |state, page| {
        if page == 1 {
            state.record(hook, "fork", &json!({}), ago(Duration::ZERO), 200);
        }
    });
    let list = format!("{HOOKS}/{hook}/deliveries");
    let mut path = Some(format!("{list}?per_page=2"));
    let mut found = Vec::new();
    let mut pages = Vec::new();
    while let Some(next) = path {
        let (status, page, answer) = get(&github, &next);
        assert_eq!(status, 200, "{}", answer.head);
        found.extend(
            page.as_array().expect("a page").iter().map(|one| one["guid"].as_str().expect("a guid").to_owned()),
        );
        path = link(&github, &answer, "next");
        pages.push(next);
        assert_eq!(link(&github, &answer, "first").is_some(), pages.len() > 1);
    }
    assert_eq!((pages.len(), found), (3, guids.into_iter().rev().collect()), "the oldest is no longer there");
    let (_, _, last) = get(&github, &pages[2]);
    assert_eq!(link(&github, &last, "prev"), Some(pages[1].clone()));
    let (_, first, answer) = get(&github, &format!("{list}?per_page=2"));
    assert_eq!((&first[0]["event"], link(&github, &answer, "prev")), (&json!("fork"), None));
    assert_eq!(get(&github, &format!("{list}?cursor=what")).0, 400);
    let cursors = github.calls().iter().filter(|call| call.query.contains_key("cursor")).count();
    assert_eq!(cursors, 4);
}

#[test]
fn nothing_new_costs_nothing() {
    let github = GitHub::start();
    let hook = github.add_hook("acme/api", HOOK_URL, None);
    github.push_event("acme/api", "WatchEvent", &json!({ "action": "started" }), ago(Duration::ZERO));
    let later = ago(Duration::ZERO).plus(Duration::from_secs(600));
    for path in [format!("{HOOKS}/{hook}/deliveries"), "/repos/acme/api/events".to_owned()] {
        github.leave(TOKEN, 10, later);
        let (_, _, first) = get(&github, &path);
        let etag = header(&first, "etag").expect("a name").to_owned();
        assert_eq!(header(&first, "x-ratelimit-remaining"), Some("9"));
        let again = ask(&github, TOKEN, "GET", &path, &[("If-None-Match", &etag)], &Value::Null);
        assert_eq!((again.status, again.body.as_str(), header(&again, "x-ratelimit-remaining")), (304, "", Some("9")));
        let other = ask(&github, TOKEN, "GET", &path, &[("If-None-Match", "\"x\"")], &Value::Null);
        assert_eq!((other.status, header(&other, "x-ratelimit-remaining")), (200, Some("8")));
    }
    assert_eq!(github.calls().iter().filter(|call| call.if_none_match.is_some()).count(), 4);
    assert_eq!(github.count("GET /repos/acme/api/events"), 3);
}

#[test]
fn limits_and_bad_days() {
    let github = GitHub::start();
    let hook = github.add_hook("acme/api", HOOK_URL, None);
    let list = format!("{HOOKS}/{hook}/deliveries");
    let acts = [Act::TooFast { retry_after_s: 7 }, Act::TooMany { retry_after_s: 8 }, Act::Fails(502), Act::Fails(500)];
    github.script("/deliveries", acts);
    assert_eq!(get(&github, HOOKS).0, 200, "others are not meant");
    for (status, retry_after) in [(403, Some("7")), (429, Some("8")), (502, None), (500, None), (200, None)] {
        let (found, body, answer) = get(&github, &list);
        assert_eq!((found, header(&answer, "retry-after")), (status, retry_after));
        assert_eq!(body["message"].as_str().is_some_and(|text| text.contains("secondary")), retry_after.is_some());
    }
    github.script("", [Act::Cut, Act::CutShort]);
    let headers = [("User-Agent".to_owned(), "hookbell-test".to_owned())];
    let bytes = http::request("GET", HOOKS, &headers, b"");
    assert!(http::exchange(&github.url, &bytes).is_err());
    let short = http::exchange(&github.url, &bytes).expect("a part");
    assert!(short.body.len() < header(&short, "content-length").unwrap().parse().unwrap());
    github.script("", [Act::Hang]);
    let mut silent = http::connect(&github.url).expect("a connection");
    let asked = github.count("GET");
    std::io::Write::write_all(&mut *silent, &bytes).expect("it is read");
    github.wait_for_calls("GET", asked + 1);
    let reset = ago(Duration::ZERO).plus(Duration::from_secs(3600));
    github.leave(TOKEN, 1, reset);
    assert_eq!(get(&github, HOOKS).0, 200);
    let (status, body, answer) = get(&github, HOOKS);
    assert_eq!((status, header(&answer, "x-ratelimit-remaining")), (403, Some("0")));
    assert!(body["message"].as_str().is_some_and(|text| text.starts_with("API rate limit exceeded")), "{body}");
    assert!(header(&answer, "x-ratelimit-reset").unwrap().parse::<i64>().unwrap() >= reset.seconds());
    github.leave(TOKEN, 0, ago(Duration::from_secs(1)));
    assert_eq!(get(&github, HOOKS).0, 200, "that hour is over");
    assert_eq!(github.calls().iter().filter(|call| call.status == 0).count(), 2);
}

#[test]
fn tokens_may_what_they_may() {
    let github = GitHub::start();
    let hook = github.add_hook("acme/api", HOOK_URL, None);
    let of_organisation = github.add_hook("acme", HOOK_URL, None);
    for (token, rights) in [
        ("read", Rights::Read),
        ("none", Rights::None),
        ("elsewhere", Rights::Elsewhere),
        ("classic", Rights::Classic("read:org, write:repo_hook")),
    ] {
        github.token(token, rights);
    }
    let (one, other) = (format!("{HOOKS}/{hook}"), format!("/orgs/acme/hooks/{of_organisation}"));
    let ask = |token: &str, method: &str, path: &str| {
        let body = if method == "GET" { Value::Null } else { json!({ "active": true }) };
        let answer = ask(&github, token, method, path, &[], &body);
        let message = serde_json::from_str::<Value>(&answer.body).expect("JSON")["message"].as_str().map(str::to_owned);
        let accepted = header(&answer, "x-accepted-github-permissions").or(header(&answer, "x-accepted-oauth-scopes"));
        (answer.status, message.unwrap_or_default(), accepted.unwrap_or_default().to_owned())
    };
    let told = |status: u16, message: &str, accepted: &str| (status, message.to_owned(), accepted.to_owned());
    assert_eq!(ask("", "GET", &one), told(401, "Requires authentication", ""));
    assert_eq!(ask("stranger", "GET", &one), told(401, "Bad credentials", ""));
    assert_eq!(ask("read", "GET", &one), told(200, "", "repository_hooks=read"));
    let inaccessible = "Resource not accessible by personal access token";
    assert_eq!(ask("read", "PATCH", &one), told(403, inaccessible, "repository_hooks=write"));
    assert_eq!(ask("none", "GET", &one), told(403, inaccessible, "repository_hooks=read"));
    assert_eq!(ask("none", "PATCH", &other), told(403, inaccessible, "organization_hooks=write"));
    assert_eq!(ask("elsewhere", "GET", &one), told(404, "Not Found", ""));
    assert_eq!(ask("classic", "PATCH", &one), told(200, "", "admin:repo_hook, repo, write:repo_hook"));
    assert_eq!(ask("classic", "GET", &other), told(404, "Not Found", "admin:org_hook"));
    assert_eq!(ask(TOKEN, "GET", "/repos/acme/other/hooks"), told(404, "Not Found", "repository_hooks=read"));
    let nameless = http::get(&github.url, HOOKS).expect("an answer");
    assert!(nameless.status == 403 && nameless.body.contains("User-Agent"), "{}", nameless.body);
    assert!(github.calls().iter().any(|call| call.authorization.as_deref() == Some("Bearer stranger")));
    assert_eq!(github.calls()[3].body, json!({ "active": true }), "the one with PATCH");
}

#[test]
fn an_organisation_has_hooks_too() {
    let github = GitHub::start();
    github.add_owner("acme");
    let wanted = json!({ "name": "web", "events": ["repository"], "config": { "url": HOOK_URL, "secret": "x" } });
    let (status, made) = send(&github, "POST", "/orgs/acme/hooks", &wanted);
    assert_eq!((status, &made["type"], &made["last_response"]), (201, &json!("Organization"), &Value::Null));
    assert_eq!(made["config"]["content_type"], "form");
    let (_, refusal) = send(&github, "POST", "/orgs/acme/hooks", &wanted);
    assert_eq!(refusal["errors"][0]["message"], "Hook already exists on this organization");

    let id = made["id"].as_i64().expect("an id");
    let one = format!("/orgs/ACME/hooks/{id}");
    assert_eq!(get(&github, "/orgs/acme/hooks?per_page=100&page=1").1, json!([get(&github, &one).1]));
    assert_eq!(send(&github, "PATCH", &one, &json!({ "events": ["*"] })).1["events"], json!(["*"]));
    let (_, config) = send(&github, "PATCH", &format!("{one}/config"), &json!({ "content_type": "json" }));
    assert_eq!((&config, &config["secret"]), (&get(&github, &format!("{one}/config")).1, &json!("********")));
    assert_eq!(send(&github, "POST", &format!("{one}/pings"), &Value::Null).0, 204);
    assert_eq!(github.wait_for_deliveries(id, 2)[1].payload["organization"]["login"], "acme");

    let guid = github.record(id, "repository", &json!({ "action": "created" }), ago(Duration::from_secs(9)), 503);
    let (_, page, answer) = get(&github, &format!("{one}/deliveries?per_page=1"));
    assert_eq!((&page[0]["guid"], &page[0]["status"]), (&json!(guid), &json!("Invalid HTTP Response: 503")));
    let next = link(&github, &answer, "next").expect("more");
    assert!(next.starts_with("/organizations/"), "{next}");
    assert_eq!(get(&github, &next).1[0]["event"], "ping");
    let delivery = format!("{one}/deliveries/{}", page[0]["id"]);
    let headers = get(&github, &delivery).1["request"]["headers"].clone();
    assert_eq!(headers["X-GitHub-Hook-Installation-Target-Type"], "organization");
    assert_eq!(send(&github, "POST", &format!("{delivery}/attempts"), &Value::Null).0, 202);
    assert!(github.wait_for_deliveries(id, 4)[3].redelivery);
}

/// A token as an app makes it, with so much of a signature that its length is right.
fn app_token(algorithm: &str, issuer: &Value, issued_in_s: i64, expires_in_s: i64) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let now = ago(Duration::ZERO).seconds();
    let claims = json!({ "iss": issuer, "iat": now + issued_in_s, "exp": now + expires_in_s });
    let head = json!({ "alg": algorithm, "typ": "JWT" });
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{}", part(head), part(claims), URL_SAFE_NO_PAD.encode([7; 256]))
}

#[test]
fn an_app_has_one_hook_and_says_who_it_is() {
    let github = GitHub::start();
    let hook = github.add_hook("app", HOOK_URL, Some(SECRET));
    github.record(hook, "installation", &json!({ "action": "created" }), ago(Duration::from_secs(60)), 200);
    let list = "/app/hook/deliveries";
    let (id, other) = (json!("4242"), json!("4243"));
    for (token, status) in [
        (app_token("RS256", &id, -60, 540), 200),
        (app_token("RS256", &json!(4242), -60, 600), 200),
        (app_token("HS256", &id, -60, 540), 401),
        (app_token("RS256", &other, -60, 540), 404),
        (app_token("RS256", &id, -60, 660), 401),
        (app_token("RS256", &id, -660, -60), 401),
        (app_token("RS256", &id, 120, 540), 401),
        (TOKEN.to_owned(), 401),
        (String::new(), 401),
    ] {
        let answer = ask(&github, &token, "GET", list, &[], &Value::Null);
        assert_eq!(answer.status, status, "{token}: {}", answer.body);
    }
    let app = |method: &str, path: &str, body: &Value| {
        let answer = ask(&github, &app_token("RS256", &id, -60, 540), method, path, &[], body);
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap_or_default())
    };
    let page = app("GET", &format!("{list}?per_page=100"), &Value::Null).1;
    let one = format!("{list}/{}", page[0]["id"]);
    let headers = app("GET", &one, &Value::Null).1["request"]["headers"].clone();
    assert_eq!(headers["X-GitHub-Hook-Installation-Target-Type"], "integration");
    assert_eq!(headers["X-GitHub-Hook-Installation-Target-ID"], "4242");
    assert_eq!(app("POST", &format!("{one}/attempts"), &Value::Null).0, 202);
    assert_eq!(github.wait_for_deliveries(hook, 2)[1].status_code, 502);
    assert_eq!(app("PATCH", "/app/hook/config", &json!({ "secret": "new" })).1["secret"], "********");
    assert_eq!(
        (github.hook(hook).secret.as_deref(), app("GET", "/app/hook/config", &Value::Null).0),
        (Some("new"), 200)
    );
    github.leave("app", 0, ago(Duration::ZERO).plus(Duration::from_secs(60)));
    assert_eq!(app("GET", list, &Value::Null).0, 403);
}

#[test]
fn a_form_is_signed_as_it_goes() {
    let (home, slack, github) = (Home::new(), Slack::start(), GitHub::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    github.reach(Some(&service.door));
    send(&github, "PATCH", &format!("{HOOKS}/{hook}/config"), &json!({ "content_type": "form" }));
    let body = json!({ "action": "created", "note": "a & b", "repository": { "full_name": "acme/api" } });
    github.send(hook, "star", &body);
    let sent = github.deliveries(hook).remove(0);
    assert!(sent.sent.starts_with(b"payload=%7B"), "{:?}", sent.sent);
    assert_eq!((sent.status_code, sent.is_good(), &sent.payload), (200, true, &body));
    assert!(service.terminate().success());
}

#[test]
fn a_repository_has_three_hundred_events() {
    let github = GitHub::start();
    let month = Duration::from_secs(31 * 24 * 60 * 60);
    github.push_event("acme/api", "WatchEvent", &json!({ "action": "started" }), ago(month));
    let push = json!({ "repository_id": 7, "push_id": 8, "ref": "refs/heads/main", "head": "b", "before": "a" });
    let hour = ago(Duration::from_secs(3600));
    let ids: Vec<String> = (0..310).map(|_| github.push_event("acme/api", "PushEvent", &push, hour)).collect();
    github.with(|state| state.poll_interval_s = 7);
    let mut path = Some("/repos/acme/api/events?per_page=100".to_owned());
    let mut found = Vec::new();
    while let Some(next) = path {
        let (_, page, answer) = get(&github, &next);
        assert_eq!(header(&answer, "x-poll-interval"), Some("7"));
        found.extend(page.as_array().expect("a page").iter().map(|one| one["id"].as_str().expect("text").to_owned()));
        path = link(&github, &answer, "next");
    }
    assert_eq!(found, ids.iter().rev().take(300).cloned().collect::<Vec<_>>());
    assert_eq!(get(&github, "/repos/acme/api/events?per_page=100&page=4").0, 422);
    assert_eq!(get(&github, "/repos/acme/other/events").0, 404);
    // Nobody has to say who he is, and few may ask.
    let stranger = ask(&github, "", "GET", "/repos/acme/api/events", &[], &Value::Null);
    assert_eq!((stranger.status, header(&stranger, "x-ratelimit-limit")), (200, Some("60")));
    assert_eq!(serde_json::from_str::<Value>(&stranger.body).expect("JSON").as_array().map(Vec::len), Some(30));
}

#[test]
fn what_cannot_be_a_hook_is_refused() {
    let github = GitHub::start();
    github.add_owner("acme/api");
    let wanted = |url: &str| json!({ "config": { "url": url, "content_type": "json" }, "events": ["push"] });
    assert_eq!(send(&github, "POST", HOOKS, &wanted("ftp://hooks.example.com")).1["errors"][0]["field"], "url");
    for number in 0..20 {
        assert_eq!(send(&github, "POST", HOOKS, &wanted(&format!("{HOOK_URL}/{number}"))).0, 201);
    }
    let (status, refusal) = send(&github, "POST", HOOKS, &wanted(HOOK_URL));
    assert_eq!(status, 422, "{refusal}");
    let (_, page, answer) = get(&github, &format!("{HOOKS}?per_page=15"));
    assert_eq!(page.as_array().map(Vec::len), Some(15));
    let next = link(&github, &answer, "next").expect("five more");
    let (_, page, answer) = get(&github, &next);
    assert_eq!((page.as_array().map(Vec::len), link(&github, &answer, "next")), (Some(5), None));
    assert_eq!(get(&github, &format!("{HOOKS}/1")).0, 404);
}

#[test]
fn thousands_of_deliveries_are_listed() {
    let github = GitHub::start();
    let hook = github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let minute = Duration::from_secs(60);
    github.with(|state| {
        for number in 0..5_000 {
            state.record(hook, "star", &json!({ "action": "created", "number": number }), ago(minute * 4_000), 0);
        }
    });
    let mut path = Some(format!("{HOOKS}/{hook}/deliveries?per_page=100"));
    let mut ids = Vec::new();
    while let Some(next) = path {
        let (_, page, answer) = get(&github, &next);
        ids.extend(page.as_array().expect("a page").iter().map(|one| one["id"].as_i64().expect("64 bits")));
        path = link(&github, &answer, "next");
    }
    assert_eq!(ids.len(), 5_000);
    assert!(ids.is_sorted_by(|newer, older| newer > older));
    assert_eq!(github.count("/deliveries"), 50);
    let (_, last, _) = get(&github, &format!("{HOOKS}/{hook}/deliveries/{}", ids[4_999]));
    assert_eq!(last["request"]["payload"]["number"], 0);
    // What is too old is gone.
    github.with(|state| state.deliveries_kept = minute);
    assert_eq!(get(&github, &format!("{HOOKS}/{hook}/deliveries")).1, json!([]));
}
