//! `github register` against the stand-in for GitHub, whose pings reach the service's door.

use std::{process::Output, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Home, SECRET, Service,
    github::{Act, GitHub, HOOK_URL, Rights, TOKEN, ago},
    slack::Slack,
};

/// A service, the GitHub that delivers to it, and whoever types commands beside it.
struct Desk {
    home: Home,
    github: GitHub,
    service: Option<Service>,
    _slack: Slack,
}

impl Desk {
    /// Three kinds of events are wanted from GitHub: `fork`, `push`, `star`.
    fn new(more: &str) -> Desk {
        let desk = Desk::at_rest(more);
        desk.started()
    }

    fn at_rest(more: &str) -> Desk {
        let (home, slack, github) = (Home::new(), Slack::start(), GitHub::start());
        let more = format!(
            "[github]\napi = \"{}\"\ntoken = {{ env = \"GH\" }}\n\
             [[rules]]\nwhen = {{ kind = [\"push\", \"repo_starred\", \"repo_forked\"] }}\nto = [\"slack\"]\n{more}",
            github.url
        );
        home.configure(&slack.url, &more);
        let file = home.path("hookbell.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let text = text.replace("[door]\n", "[door]\npublic_url = \"https://hooks.example.com\"\n");
        std::fs::write(&file, text).expect("it is written");
        Desk { home, github, service: None, _slack: slack }
    }

    fn started(mut self) -> Desk {
        let service = self.home.start(&["run"]);
        self.github.reach(Some(&service.door));
        self.service = Some(service);
        self
    }

    fn run(&self, token: &str, arguments: &[&str]) -> Output {
        let arguments = [&["github", "register"], arguments].concat();
        self.home.command(&arguments).env("GH", token).output().expect("the executable starts")
    }

    /// Whether all went well, and the report.
    fn report(&self, arguments: &[&str]) -> (bool, Value) {
        let output = self.run(TOKEN, &[arguments, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {}", said(&output).1));
        (output.status.success(), report)
    }

    /// The one hook of this owner.
    fn only_hook(&self, owner: &str) -> i64 {
        self.github.with(|state| {
            let ids: Vec<i64> = state.hooks.iter().filter(|hook| hook.owner == owner).map(|hook| hook.id).collect();
            let [id] = ids[..] else { panic!("{ids:?}") };
            id
        })
    }

    fn writes(&self) -> usize {
        ["POST ", "PATCH "].map(|method| self.github.count(method)).iter().sum()
    }
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn whats(place: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let changes = place["changes"].as_array().expect("a list").iter();
    changes
        .map(|change| format!("{} {} {}", text(&change["what"]), text(&change["from"]), text(&change["to"])))
        .collect()
}

#[test]
fn a_webhook_is_made_and_the_second_time_nothing_changes() {
    let desk = Desk::new("");
    desk.github.add_owner("acme/api");
    let output = desk.run(TOKEN, &["acme/api"]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    for line in [
        "acme/api: a new webhook",
        "  url: https://hooks.example.com/webhooks/github",
        "  content type: json",
        "  certificates checked: yes",
        "  + event fork",
        "  + event push",
        "  + event star",
        "  secret: set",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in {out}");
    }
    assert!(out.contains("GitHub's ping came through the tunnel after") && out.contains("and is stored"), "{out}");
    assert!(!out.contains(SECRET));
    let hook = desk.github.hook(desk.only_hook("acme/api"));
    assert_eq!((hook.url.as_str(), hook.secret.as_deref(), hook.active), (HOOK_URL, Some(SECRET), true));
    assert_eq!((hook.content_type.as_str(), hook.insecure_ssl.as_str()), ("json", "0"));
    assert_eq!(hook.events, ["fork", "push", "star"]);

    let before = desk.writes();
    let (is_well, report) = desk.report(&["acme/api", "ACME/api"]);
    assert!(is_well, "{report}");
    let place = &report["places"][0];
    assert_eq!(
        (&place["action"], &place["changes"], report["places"].as_array().map(Vec::len)),
        (&json!("unchanged"), &json!([]), Some(1))
    );
    assert_eq!(
        (&place["ping"]["status"], &place["ping"]["held"], &place["error"]),
        (&json!(200), &json!(true), &Value::Null)
    );
    assert_eq!(desk.writes() - before, 1, "the ping");
    let rows = desk.home.json(&["deliveries", "list", "--json"]);
    assert_eq!(rows.iter().filter(|row| row["event_type"] == "ping").count(), 2, "{rows:?}");
    assert!(report["requests"].as_u64().is_some_and(|requests| requests < 10), "{report}");
}

#[test]
fn each_field_that_drifted_is_repaired() {
    let desk = Desk::new("");
    let hook = desk.github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    let other = desk.github.add_hook("acme/api", "https://ci.example.com/webhooks/ci", Some("theirs"));
    let check = |drift: &dyn Fn(&mut crate::harness::github::Hook), expected: &[&str]| {
        desk.github.with(|state| drift(state.hooks.iter_mut().find(|found| found.id == hook).expect("it is there")));
        let (is_well, report) = desk.report(&["acme/api"]);
        assert!(is_well, "{report}");
        let place = &report["places"][0];
        assert_eq!((&place["action"], &place["hook"]), (&json!("repaired"), &json!(hook)), "{place}");
        assert_eq!(whats(place), expected);
        let (is_well, report) = desk.report(&["acme/api", "--dry-run"]);
        assert!(is_well && report["places"][0]["action"] == "unchanged", "{report}");
        let now = desk.github.hook(hook);
        assert_eq!((now.url.as_str(), now.secret.as_deref(), now.active), (HOOK_URL, Some(SECRET), true));
        assert_eq!((now.content_type.as_str(), now.insecure_ssl.as_str()), ("json", "0"));
        assert_eq!(now.events, ["fork", "push", "star"]);
    };
    check(&|_| {}, &["event - fork", "event - push", "event - star", "event * -"]);
    check(
        &|hook| hook.events = vec!["push".to_owned(), "gollum".to_owned()],
        &["event - fork", "event - star", "event gollum -"],
    );
    check(&|hook| hook.content_type = "form".to_owned(), &["content type form json"]);
    check(&|hook| hook.insecure_ssl = "1".to_owned(), &["certificates checked no yes"]);
    check(&|hook| hook.active = false, &["active no yes"]);
    check(&|hook| hook.secret = None, &["secret none ours"]);
    check(
        &|hook| hook.secret = Some("another".to_owned()),
        &["secret another, which this source does not accept ours"],
    );
    let old = "https://old.example.com/webhook/github";
    check(&|hook| hook.url = old.to_owned(), &[&format!("url {old} {HOOK_URL}")]);
    // Nobody's business but theirs.
    let theirs = desk.github.hook(other);
    assert_eq!((theirs.secret.as_deref(), theirs.events.as_slice()), (Some("theirs"), &["*".to_owned()][..]));
    assert!(!desk.github.calls().iter().any(|call| call.path.contains(&other.to_string())));
}

#[test]
fn what_delivers_to_somebody_else_is_left_alone() {
    let mut desk = Desk::new("");
    let url = "https://hooks.home.example/webhooks/github";
    let hook = desk.github.add_hook("acme/api", url, Some("theirs"));
    let is_left = |what: &str| {
        let (is_well, report) = desk.report(&["acme/api"]);
        let place = &report["places"][0];
        let error = place["error"].as_str().unwrap_or_default();
        assert!(
            !is_well && error.contains("may be somebody else's") && error.contains(&format!("--hook {hook}")),
            "{what}: {report}"
        );
        assert_eq!((place["action"].as_str(), desk.writes()), (Some("failed"), 0), "{what}");
        assert_eq!(desk.github.hook(hook).url, url, "{what}");
    };
    is_left("quiet");
    for status in [200, 502, 401] {
        desk.github.record(hook, "push", &json!({}), ago(Duration::from_secs(1)), status);
        is_left(&format!("answered {status}"));
    }
    // One that is nowhere.
    let output = desk.run(TOKEN, &["acme/api", "--hook", "999"]);
    let (_, err) = said(&output);
    assert!(output.status.code() == Some(1) && err.contains("none of these places has a webhook 999"), "{err}");
    assert_eq!(desk.writes(), 0);

    let (is_well, report) = desk.report(&["acme/api", "--new"]);
    assert!(is_well && report["places"][0]["action"] == "created", "{report}");
    assert_eq!(desk.github.hook(hook).url, url);
    // Ours is there now: the other is told of and not touched.
    let (is_well, report) = desk.report(&["acme/api"]);
    assert!(is_well && report["places"][0]["action"] == "unchanged", "{report}");
    assert!(
        report["places"][0]["notes"][0].as_str().is_some_and(|note| note.contains("looks like an old one")),
        "{report}"
    );
    let (is_well, report) = desk.report(&["acme/api", "--hook", &hook.to_string()]);
    // GitHub does not take the same twice.
    assert!(is_well && report["places"][0]["action"] == "repaired", "{report}");
    assert!(desk.service.take().expect("it runs").terminate().success());
}

#[test]
fn a_dry_run_changes_nothing() {
    let desk = Desk::new("");
    desk.github.add_owner("acme/new");
    let drifted = desk.github.add_hook("acme/api", HOOK_URL, Some("another"));
    let wrong = desk.github.add_hook("acme/web", HOOK_URL, Some("another"));
    desk.github.with(|state| {
        let hook = state.hooks.iter_mut().find(|hook| hook.id == wrong).expect("it is there");
        hook.events = ["fork", "push", "star"].map(str::to_owned).to_vec();
    });
    desk.github.send(wrong, "push", &json!({}));
    let before = desk.github.with(|state| format!("{:?}", state.hooks));
    let output = desk.run(TOKEN, &["acme/new", "acme/api", "acme/web", "--dry-run"]);
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    for line in [
        "acme/new: a new webhook",
        &format!("acme/api: hook {drifted}"),
        "  - event *",
        &format!("acme/web: hook {wrong} is as it shall be"),
        "  secret: set in place of another, if a ping is answered 401 as GitHub's last delivery was",
    ] {
        assert!(out.lines().any(|found| found == line), "{line} in {out}");
    }
    assert_eq!((desk.writes(), desk.github.with(|state| format!("{:?}", state.hooks))), (0, before));
    let (is_well, report) = desk.report(&["acme/new", "acme/api", "acme/web", "--dry-run"]);
    let actions: Vec<&str> =
        report["places"].as_array().expect("a list").iter().filter_map(|place| place["action"].as_str()).collect();
    assert_eq!((is_well, actions), (true, vec!["would create", "would repair", "would repair"]));
    assert_eq!(desk.writes(), 0);
}

#[test]
fn a_refusal_names_the_permission_and_the_others_go_on() {
    let desk = Desk::new("");
    for owner in ["acme/api", "acme/web", "acme"] {
        desk.github.add_owner(owner);
    }
    let tokens = [
        ("read", Rights::Read),
        ("none", Rights::None),
        ("elsewhere", Rights::Elsewhere),
        ("classic", Rights::Classic("repo")),
    ];
    for (token, rights) in tokens {
        desk.github.token(token, rights);
    }
    let check = |token: &str, place: &str, words: &[&str]| {
        let output = desk.run(token, &[place]);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(1), "{token} {place}: {out}{err}");
        for word in words {
            assert!(out.contains(word), "{token} {place}: {word} in {out}");
        }
    };
    let repository = "repository permission \"Webhooks: read and write\"";
    let organisation = "organisation permission \"Webhooks: read and write\"";
    check("read", "acme/api", &["answers 403", repository, "admin:repo_hook"]);
    check("none", "acme/api", &["answers 403", repository]);
    check("none", "acme", &["answers 403", organisation, "admin:org_hook"]);
    check("elsewhere", "acme/api", &["answers 404", "may not see it", repository]);
    check("classic", "acme", &["answers 404", organisation]);
    check("unknown", "acme/api", &["answers 401", "the token is wrong, has expired, or was taken back"]);
    let output = desk.run("", &["acme/api"]);
    let (_, err) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    for words in [
        "no token",
        "personal-access-tokens/new",
        "\"Webhooks: read and write\"",
        "admin:repo_hook",
        "--token-env",
        "[github] token",
    ] {
        assert!(err.contains(words), "{words} in {err}");
    }
    // A classic token that may for a repository may not for an organisation, and one that is not there stops nobody.
    let output = desk.run("classic", &["acme", "acme/gone", "acme/api"]);
    let (out, err) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("2 of 3 could not be set up"), "{err}");
    assert_eq!(desk.github.hook(desk.only_hook("acme/api")).secret.as_deref(), Some(SECRET));
    // A token of its own, from a file and from a variable.
    std::fs::write(desk.home.path("token"), format!("{TOKEN}\n")).expect("written");
    for arguments in [["acme/web", "--token-file", "token"], ["acme", "--token-env", "OTHER"]] {
        let arguments = [&["github", "register"][..], &arguments].concat();
        let output = desk.home.command(&arguments).env("GH", "none").env("OTHER", TOKEN).output().expect("it starts");
        assert!(output.status.success(), "{:?}", said(&output));
    }
    let hook = desk.github.hook(desk.only_hook("acme"));
    assert_eq!(
        (hook.url.as_str(), hook.events.as_slice()),
        (HOOK_URL, &["fork", "push", "star"].map(str::to_owned)[..])
    );
}

#[test]
fn a_ping_that_does_not_arrive_is_explained() {
    let desk = Desk::new("");
    desk.github.add_owner("acme/api");
    desk.github.reach(None);
    let output = desk.run(TOKEN, &["acme/api"]);
    let (out, _) = said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(
        out.contains("GitHub cannot deliver its ping: \"failed to connect\"") && out.contains("hookbell doctor"),
        "{out}"
    );
    // Somebody else there, who says 200 to everything.
    let slack = Slack::start();
    let door = slack.url.split('/').take(3).collect::<Vec<_>>().join("/");
    desk.github.reach(Some(&door));
    let output = desk.run(TOKEN, &["acme/api"]);
    let (out, _) = said(&output);
    assert!(output.status.code() == Some(1) && out.contains("GitHub's ping was answered"), "{out}");
}

#[test]
fn a_secret_that_the_service_does_not_accept_is_set_nowhere() {
    let desk = Desk::new("");
    let hooks = [
        desk.github.add_hook("acme/api", HOOK_URL, Some(SECRET)),
        desk.github.add_hook("acme/web", HOOK_URL, Some("another")),
    ];
    desk.github.add_owner("acme/new");
    let before = desk.github.with(|state| format!("{:?}", state.hooks));
    let mut command = desk.home.command(&["github", "register", "acme/api", "acme/web", "acme/new"]);
    let output = command.env("GH", TOKEN).env("GITHUB_WEBHOOK_SECRET", "new").output().expect("it starts");
    let (_, err) = said(&output);
    assert!(output.status.code() == Some(1) && err.contains("does not accept this configuration's secret"), "{err}");
    assert!(err.contains("restart hookbell"), "{err}");
    assert_eq!((desk.writes(), desk.github.with(|state| format!("{:?}", state.hooks))), (0, before));
    let (is_well, report) = desk.report(&["acme/api", "acme/web", "acme/new"]);
    assert!(is_well, "{report}");
    assert!(hooks.into_iter().all(|hook| desk.github.hook(hook).secret.as_deref() == Some(SECRET)));
}

#[test]
fn a_ping_is_found_behind_what_came_since() {
    let desk = Desk::new("");
    let hook = desk.github.add_hook("acme/api", HOOK_URL, Some(SECRET));
    // Three pages of newer ones are there before the ping is, whose number is the next.
    desk.github.on_listing(move |state, number| {
        if number == 1 {
            for _ in 0..250 {
                state.record(hook, "push", &json!({}), ago(Duration::ZERO), 200);
            }
            state.deliveries.iter_mut().for_each(|delivery| delivery.id += 1_000_000);
        }
    });
    let (is_well, report) = desk.report(&["acme/api"]);
    assert!(is_well && report["places"][0]["ping"]["held"] == true, "{report}");
}

#[test]
fn a_token_goes_to_the_server_that_it_is_for() {
    let desk = Desk::at_rest("[sources.github.recover]\nhooks = [\"acme/api\"]\ntoken = { env = \"OWN\" }\n");
    desk.github.add_owner("acme/api");
    let other = GitHub::start();
    other.add_owner("acme/api");
    let run = || {
        let mut command = desk.home.command(&["github", "register", "acme/api", "--dry-run"]);
        command.env("GH", "usual").env("OWN", TOKEN).output().expect("the executable starts")
    };
    let check = |github: &GitHub| {
        let output = run();
        assert!(output.status.success(), "{:?}", said(&output));
        assert!(github.calls().iter().all(|call| call.authorization.as_deref() == Some(&format!("Bearer {TOKEN}"))));
        assert!(!github.calls().is_empty());
    };
    check(&desk.github);
    let file = desk.home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let own = format!("hooks = [\"acme/api\"]\napi = \"{}\"\n", other.url);
    let text = text.replace("hooks = [\"acme/api\"]\n", &own);
    std::fs::write(&file, &text).expect("it is written");
    check(&other);
    let before = other.calls().len();
    std::fs::write(&file, text.replace("token = { env = \"OWN\" }\n", "")).expect("it is written");
    let output = run();
    let (_, err) = said(&output);
    assert!(output.status.code() == Some(78) && err.contains("sources.github.recover.token"), "{err}");
    assert_eq!(other.calls().len(), before);
}

#[test]
fn without_the_database_github_s_word_counts() {
    let desk = Desk::new("");
    desk.github.add_owner("acme/api");
    let text = std::fs::read_to_string(desk.home.path("hookbell.toml")).expect("it is there");
    let text = text.replace("[store]\n", "[store]\npath = \"elsewhere.db\"\n");
    std::fs::write(desk.home.path("laptop.toml"), text).expect("it is written");
    let arguments = ["github", "register", "acme/api", "--config", "laptop.toml"];
    let output = desk.home.command(&arguments).env("GH", TOKEN).output().expect("it starts");
    let (out, err) = said(&output);
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("GitHub's word has to do") && out.contains("was answered 200 after"), "{out}");
    assert!(!desk.home.path("elsewhere.db").exists());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let desk = Desk::at_rest("[sources.other]\nprovider = \"github\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }\n");
    let check = |arguments: &[&str], code: i32, words: &str| {
        let output = desk.run(TOKEN, arguments);
        let (out, err) = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
        assert!(format!("{out}{err}").contains(words), "{arguments:?}: {words} in {out}{err}");
    };
    check(&[], 2, "OWNER/REPO");
    check(&["a/b/c"], 2, "neither OWNER/REPOSITORY nor an organisation's name");
    check(&["acme/api"], 2, "which source? Say --source: github, other");
    check(&["acme/api", "--source", "stripe"], 2, "no source \"stripe\" of GitHub's");
    let file = desk.home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("kind = [\"push\"", "source = \"github\", kind = [\"push\"")).expect("written");
    check(&["acme/api", "--source", "other"], 1, "no rule sends anything of GitHub's from source other anywhere");
    std::fs::write(&file, text.replace("public_url = \"https://hooks.example.com\"\n", "")).expect("written");
    check(&["acme/api", "--source", "github"], 1, "public_url = \"https://YOUR-HOST-NAME\"");
    assert!(desk.github.calls().is_empty());
}

#[test]
fn one_bad_moment_of_github_s_stops_nobody_else() {
    let desk = Desk::new("");
    for owner in ["acme/api", "acme/web"] {
        desk.github.add_owner(owner);
    }
    desk.github.script("POST /repos/acme/api/hooks", [Act::Fails(500)]);
    let (is_well, report) = desk.report(&["acme/api", "acme/web"]);
    assert!(!is_well && report["places"][0]["error"].as_str().is_some_and(|why| why.contains("500")), "{report}");
    assert_eq!((&report["places"][1]["action"], &report["ok"]), (&json!("created"), &json!(false)));
    let (is_well, report) = desk.report(&["acme/api", "acme/web"]);
    assert!(is_well, "{report}");
}
