//! The commands as a user meets them: what they print, what they refuse, how they exit.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    harness::{Home, PATIENCE, SECRET, Service, slack::Slack},
    keys::keys,
};
use hookbell::provider::Provider;

/// A child that is ended with the test.
struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn start(mut command: Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        Running(child, BufReader::new(stdout))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("a readable pipe");
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn init_writes_what_check_accepts_and_never_overwrites() {
    let home = Home::new();
    let directory = home.path("conf");
    let directory = directory.to_str().expect("a plain path");
    assert!(home.run(&["init", directory]).status.success());
    let mode = home.path("conf/github.secret").metadata().expect("written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(home.path("conf/github.secret")).expect("written");
    assert_eq!(secret.trim().len(), 64);

    let file = home.path("conf/hookbell.toml");
    let file = file.to_str().expect("a plain path");
    let checked = home.run(&["check", "--config", file]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert!(!text(&checked.stdout).contains(secret.trim()), "the secret is hidden");

    let again = home.run(&["init", directory]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("exists already"));
    assert_eq!(std::fs::read_to_string(home.path("conf/github.secret")).expect("there"), secret);
}

#[test]
fn check_tells_every_problem_at_once() {
    let home = Home::new();
    std::fs::write(
        home.path("hookbell.toml"),
        "[door]\nlissten = \"127.0.0.1:0\"\n[[rules]]\nto = [\"slak\"]\nwhen = { kind = \"pr_*\" }\n[bell]\nleds = { a = 5, b = 5 }\n",
    )
    .expect("written");
    let checked = home.run(&["check"]);
    assert_eq!(checked.status.code(), Some(78));
    let told = text(&checked.stderr);
    for part in ["lissten", "listen", "slak", "slack", "leds"] {
        assert!(told.contains(part), "no {part} in:\n{told}");
    }
    let problems = home.run(&["check", "--json"]);
    assert_eq!(problems.status.code(), Some(78));
    let problems: Value = serde_json::from_slice(&problems.stdout).expect("JSON");
    assert!(problems["problems"].as_array().is_some_and(|all| all.len() >= 3), "{problems}");
    assert_eq!(home.run(&["run"]).status.code(), Some(78), "run reads it with the same code");
}

#[test]
fn wrong_usage_is_2_and_every_command_explains_itself() {
    let home = Home::new();
    assert_eq!(home.run(&["dance"]).status.code(), Some(2));
    assert_eq!(home.run(&["deliveries", "list", "--status", "lost"]).status.code(), Some(2));
    let help = text(&home.run(&["--help"]).stdout);
    for command in [
        "run",
        "receive",
        "work",
        "demo",
        "init",
        "check",
        "send",
        "catch",
        "secret",
        "sql",
        "status",
        "backup",
        "restore",
        "deliveries",
        "bell",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in the help:\n{help}");
        let own = home.run(&[command, "--help"]);
        assert!(own.status.success(), "{command}");
        let own = text(&own.stdout);
        assert!(own.contains("Usage: hookbell"), "{own}");
    }
    for command in [
        &["run"][..],
        &["send"],
        &["catch"],
        &["sql"],
        &["deliveries", "list"],
        &["bell", "ring"],
        &["bell", "wiring"],
        &["backup"],
        &["restore"],
        &["check"],
    ] {
        let own = text(&home.run(&[command, &["--help"]].concat()).stdout);
        assert!(own.contains("Example"), "{command:?} shows no example:\n{own}");
    }
}

#[test]
fn a_secret_is_32_random_bytes() {
    let home = Home::new();
    let (one, other) = (text(&home.run(&["secret"]).stdout), text(&home.run(&["secret"]).stdout));
    assert_eq!(one.trim().len(), 64);
    assert!(one.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(one, other);
}

#[test]
fn send_signs_what_the_door_accepts_and_counts() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let to = format!("{}/webhooks/github", service.door);
    let summary = home.json(&["send", "github", "push", "--to", &to, "--count", "50", "--concurrency", "4", "--json"]);
    assert_eq!(summary[0]["sent"], 50);
    assert_eq!(summary[0]["accepted"], 50, "{}", summary[0]);
    for key in ["duplicate", "refused", "errors", "per_s", "p50_ms", "p99_ms", "max_ms"] {
        assert!(summary[0][key].is_number(), "{key} in {}", summary[0]);
    }
    let same = home.json(&["send", "github", "push", "--to", &to, "--count", "3", "--same", "--json"]);
    assert_eq!((&same[0]["accepted"], &same[0]["duplicate"]), (&json!(1), &json!(2)));
    // Every sample goes the whole way.
    let samples = home.json(&["send", "--list", "--json"]).into_iter();
    for sample in samples.filter(|sample| sample["provider"] == "github") {
        let name = sample["event"].as_str().expect("a name");
        assert!(home.run(&["send", "github", name, "--to", &to]).status.success(), "{name}");
    }
    let mut wrong = home.command(&["send", "github", "push", "--to", &to]);
    let wrong = wrong.env("GITHUB_WEBHOOK_SECRET", "another").output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("401"), "{}", text(&wrong.stderr));
    home.wait_for("the settling", |home| {
        let rows = home.json(&["deliveries", "list", "--json", "--limit", "1000"]);
        rows.iter().all(|row| matches!(row["status"].as_str(), Some("processed" | "skipped"))).then_some(())
    });
}

/// Sources that need more than a secret of the provider's usual name.
const PARTICULAR: &str = "\
[sources.shop]
provider = \"generic\"
secret = { env = \"GITHUB_WEBHOOK_SECRET\" }
header = \"X-Shop-Signature\"
encoding = \"base64\"
timestamp_header = \"X-Shop-Time\"
[sources.phone]
provider = \"twilio\"
secret = { env = \"GITHUB_WEBHOOK_SECRET\" }
[sources.discord]
secret = { env = \"DISCORD_PUBLIC\" }
";

#[test]
fn send_signs_as_a_source_of_the_configuration_wants_it() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, PARTICULAR);
    let file = home.path("hookbell.toml");
    let without_url = std::fs::read_to_string(&file).expect("the configuration");
    let with_url = without_url.replace("[door]\n", "[door]\npublic_url = \"https://hooks.example.com\"\n");
    std::fs::write(&file, &with_url).expect("the configuration is written");
    let command = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        let (private, public) = keys(Provider::Discord);
        command.env("TWILIO_WEBHOOK_SECRET", SECRET).env("GENERIC_WEBHOOK_SECRET", SECRET);
        command.env("DISCORD_PUBLIC", public).env("DISCORD_PRIVATE", private);
        command
    };
    let service = Service::start(command(&["run"]));
    let to = |source: &str| format!("{}/webhooks/{source}", service.door);
    let send = |provider: &str, event: &str, source: &str, more: &[&str]| {
        let to = to(source);
        let arguments = [&["send", provider, event, "--to", &to], more].concat();
        let output = command(&arguments).output().expect("it runs");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };

    let (code, said) = send("generic", "custom", "shop", &[]);
    assert!(code == Some(1) && said.contains("401"), "without the options: {said}");
    let (code, said) = send("generic", "custom", "shop", &["--source", "shop"]);
    assert_eq!(code, Some(0), "{said}");
    for more in [&[][..], &["--source", "phone"]] {
        let (code, said) = send("twilio", "sms_received", "phone", more);
        assert!(code == Some(0) && !said.contains("note:"), "{more:?}: {said}");
    }

    // A public key proves and does not sign, though it may look like one that does.
    let (code, said) = send("discord", "command", "discord", &["--source", "discord"]);
    assert!(code == Some(1) && said.contains("--secret-env") && !said.contains("401"), "{said}");
    let private = ["--source", "discord", "--secret-env", "DISCORD_PRIVATE"];
    let (code, said) = send("discord", "command", "discord", &private);
    assert_eq!(code, Some(0), "{said}");

    let (code, said) = send("github", "push", "shop", &["--source", "shop"]);
    assert!(code == Some(2) && said.contains("one of generic, not of github"), "{said}");
    assert_eq!(send("github", "push", "shop", &["--source", "shoe"]).0, Some(2));
    let (code, said) = send("paypal", "payment", "shop", &[]);
    assert!(code == Some(2) && said.contains("PayPal is not supported: it proves with certificates"), "{said}");

    // Nobody says how Twilio would call, so what is called is signed, and that is said.
    std::fs::write(
        &file,
        without_url.replace("[sources.phone]\nprovider = \"twilio\"", "[sources.github2]\nprovider = \"github\""),
    )
    .expect("the configuration is written");
    let (code, said) = send("twilio", "sms_received", "phone", &[]);
    assert!(code == Some(1) && said.contains(&format!("the signature covers {}", to("phone"))), "{said}");
    assert!(service.terminate().success());
}

#[test]
fn verify_names_what_is_missing_and_steers_no_terminal() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let record = |more: &str| {
        let text = format!(
            r#"{{"url":"https://a.example/\u001b[2J","headers":{{"X-GitHub-Event":"ping","X-GitHub-Delivery":"1",
               "Content-Type":"application/x-www-form-urlencoded","X-Twilio-Signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
               "X-Hub-Signature-256":"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}},
               "body":"Hello, World!"{more}}}"#
        );
        std::fs::write(home.path("request.json"), text).expect("the record is written");
    };
    let verify = |arguments: &[&str]| {
        let mut command = home.command(&[&["verify", "request.json"], arguments].concat());
        let output = command.env("NEW", "another").env("EMPTY", "").output().expect("it runs");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    record("");
    let by_github = ["--provider", "github", "--secret-env"];
    let (code, said, _) = verify(&[&by_github[..], &["MISSPELT"]].concat());
    assert!(code == Some(1) && said.starts_with("invalid: MISSPELT is not set"), "{said}");
    let (code, said, _) = verify(&[&by_github[..], &["NEW", "--secret-env", "EMPTY"]].concat());
    assert!(code == Some(1) && said.contains("EMPTY is empty; the signature does not match"), "{said}");
    let (code, said, warned) = verify(&[&by_github[..], &["GITHUB_WEBHOOK_SECRET", "--secret-env", "EMPTY"]].concat());
    assert!(code == Some(0) && said.starts_with("valid: ") && warned.contains("EMPTY is empty"), "{said}{warned}");

    // Another secret in place of the source's own.
    assert_eq!(verify(&["--source", "github"]).0, Some(0));
    assert_eq!(verify(&["--source", "github", "--secret-env", "NEW"]).0, Some(1));
    assert_eq!(verify(&["--source", "github", "--secret-env", "GITHUB_WEBHOOK_SECRET"]).0, Some(0));

    let (code, said, _) = verify(&["--provider", "twilio", "--secret-env", "NEW"]);
    assert!(code == Some(1) && said.contains("than https://a.example/\u{fffd}[2J"), "{said:?}");
    let (code, _, error) = verify(&[]);
    assert!(code == Some(2) && error.contains("--source") && error.contains("--provider"), "{error}");
    assert_eq!(verify(&["--source", "github", "--provider", "github", "--secret-env", "NEW"]).0, Some(2));

    for (received_at, expected) in [("null", 0), ("1795341600", 0), ("\"last Sunday\\u001b\"", 1), ("{}", 1)] {
        record(&format!(",\"received_at\":{received_at}"));
        let (code, _, error) = verify(&["--source", "github"]);
        assert_eq!((code, error.contains("received_at")), (Some(expected), expected == 1), "{received_at}: {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
        assert_eq!(verify(&["--source", "github", "--at", "1795341600"]).0, Some(0), "{received_at}");
    }
}

#[test]
fn recheck_counts_a_source_that_is_gone_apart() {
    let (home, slack) = (Home::new(), Slack::start());
    let old = "[sources.old]\nprovider = \"github\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }\n";
    home.configure(&slack.url, old);
    let service = home.start(&["run"]);
    for source in ["github", "old"] {
        let to = format!("{}/webhooks/{source}", service.door);
        assert!(home.run(&["send", "github", "push", "--source", source, "--to", &to]).status.success(), "{source}");
    }
    assert!(service.terminate().success());
    home.configure(&slack.url, "");
    let output = home.run(&["deliveries", "recheck"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "github: 1 by secret 1\nold: 1 not configured any more\n");
    let rows = home.json(&["deliveries", "recheck", "--json"]);
    assert_eq!((&rows[0]["source"], &rows[0]["valid"]), (&json!("old"), &json!(null)));
    assert_eq!((&rows[1]["source"], &rows[1]["valid"]), (&json!("github"), &json!(true)));

    let mut others = home.command(&["deliveries", "recheck"]);
    let output = others.env("GITHUB_WEBHOOK_SECRET", "another").output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("1 would be refused"), "{}", text(&output.stderr));
}

#[test]
fn catch_prints_records_and_plays_slack() {
    let home = Home::new();
    let records = home.path("records");
    let mut bin = Running::start(home.command(&[
        "catch",
        "--listen",
        "127.0.0.1:0",
        "--slack",
        "--json",
        "--count",
        "1",
        "--record",
        records.to_str().expect("a plain path"),
    ]));
    let listening: Value = serde_json::from_str(&bin.line()).expect("JSON");
    let url = format!("{}/services/T/B/x", listening["listening"].as_str().expect("a URL"));
    home.configure(&url, "");
    let service = home.start(&["run"]);
    service.post_sample("repo_starred", 5);
    let caught: Value = serde_json::from_str(&bin.line()).expect("JSON");
    assert_eq!(caught["method"], "POST");
    assert_eq!(caught["url"], "/services/T/B/x");
    assert!(caught["body"].as_str().is_some_and(|body| body.contains("⭐️ Repository *")), "{caught}");
    assert_eq!(std::fs::read_dir(records).expect("made").count(), 1);
}

#[test]
fn status_and_sql_work_with_and_without_the_service() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    service.post_sample("pr_opened", 1);
    slack.next();
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["state"], "running");
    assert_eq!(status["work_pid"], service.pid());
    assert_eq!(status["service"]["door"]["stored"], 1);
    assert_eq!(status["service"]["bell"]["board"], "simulated");
    assert!(service.terminate().success());

    // Without any secret in the environment: looking needs none.
    let look = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        let output =
            command.env_remove("GITHUB_WEBHOOK_SECRET").env_remove("SLACK_WEBHOOK_URL").output().expect("it runs");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(look(&["status"]).contains("hookbell is not running"));
    assert!(look(&["status"]).contains("1 processed"));
    let row: Value = serde_json::from_str(&look(&["sql", "--json", "SELECT * FROM webhook_events"])).expect("JSON");
    let columns: Vec<&String> = row.as_object().expect("an object").keys().collect();
    assert_eq!(
        columns,
        ["delivery_id", "event_type", "id", "payload_json", "processed_at", "received_at", "source", "status"]
    );
    assert!(look(&["sql"]).contains("webhook_events|"));
    assert!(look(&["deliveries", "list"]).contains("pr_opened"));
    assert!(look(&["deliveries", "show", "1"]).contains("sink       slack: done"));
    assert!(!home.run(&["deliveries", "show", "99"]).status.success());
    for harmful in
        ["DELETE FROM delivery", "PRAGMA journal_mode = DELETE", "VACUUM INTO 'copy.db'", "ATTACH 'x.db' AS x"]
    {
        assert!(!home.run(&["sql", harmful]).status.success(), "{harmful}");
    }
    assert!(!home.path("copy.db").exists() && !home.path("x.db").exists());
}

#[test]
fn the_bell_rings_through_the_service_and_without_it() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "[cues.mine]\nled = \"blue\"\nblink = { on_ms = 20, off_ms = 20, times = 2 }\n");
    let service = home.start(&["run"]);
    assert!(home.run(&["bell", "ring", "mine"]).status.success());
    let blue = |home: &Home| home.trace().iter().filter(|edge| edge["line"] == "blue").count();
    home.wait_for("four edges", |home| (blue(home) == 4).then_some(()));
    assert!(home.run(&["bell", "off"]).status.success());
    assert!(service.terminate().success());

    assert!(text(&home.run(&["bell", "ring", "mine"]).stdout).contains("played on the simulated board"));
    assert_eq!(blue(&home), 8, "the command ends when the cue has");
    assert!(home.run(&["bell", "test"]).status.success());
    let unknown = home.run(&["bell", "ring", "fanfare"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("pr_merged"), "the remedy names those there are");
}

#[test]
fn wiring_draws_the_desk_and_fails_where_a_pin_is_not_free() {
    let home = Home::new();
    let wiring = |leds: &str, more: &[&str]| {
        std::fs::write(home.path("hookbell.toml"), format!("[bell]\nleds = {{ {leds} }}\n")).expect("written");
        home.run(&[&["bell", "wiring"], more].concat())
    };
    let drawn = wiring("red = 17", &[]);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    let picture = text(&drawn.stdout);
    assert!(picture.contains("red ------- GPIO17  [11]  12   GPIO18 PWM0"), "{picture}");
    assert!(picture.contains("red  GPIO17 (11) -> 330 ohm -> LED -> GND (9)"), "{picture}");

    let reserved = wiring("red = 17, id = 1", &[]);
    assert_eq!(reserved.status.code(), Some(1));
    let told = text(&reserved.stderr);
    for part in ["id on GPIO1 (position 28)", "ID_SC", "GPIO27, GPIO22, GPIO23"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let facts = wiring("red = 17, id = 1", &["--json"]);
    assert_eq!(facts.status.code(), Some(1), "for programs as well");
    let facts: Value = serde_json::from_slice(&facts.stdout).expect("JSON");
    assert_eq!((&facts["wires"][1]["position"], &facts["conflicts"][0]["pin"]), (&json!(11), &json!(1)), "{facts}");

    std::fs::write(home.path("hookbell.toml"), "").expect("written");
    let unwired = home.run(&["bell", "wiring"]);
    assert!(unwired.status.success());
    assert!(text(&unwired.stdout).contains("leds = { red = 17"), "what to write");
}

#[test]
fn demo_shows_the_whole_thing_and_leaves_nothing_behind() {
    let home = Home::new();
    let mut command = home.command(&["demo", "--count", "1"]);
    command.env("TMPDIR", home.path("")).env_remove("GITHUB_WEBHOOK_SECRET").env_remove("HOOKBELL_CONFIG");
    let before = std::fs::read_dir(home.path("")).expect("a directory").count();
    let shown = command.output().expect("it runs");
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    for part in
        ["POST /webhooks/github", "200 {\"status\":\"accepted\"", "slack  🔀 New pull request", "desk   blue on"]
    {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    assert_eq!(std::fs::read_dir(home.path("")).expect("a directory").count(), before);

    // Ctrl-C, as a terminal sends it.
    let mut command = home.command(&["demo"]);
    command.env("TMPDIR", home.path(""));
    let mut demo = Running::start(command);
    while !demo.line().starts_with("slack") {}
    let pid = rustix::process::Pid::from_child(&demo.0);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let deadline = std::time::Instant::now() + PATIENCE;
    while !demo.line().is_empty() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
    }
    assert!(demo.0.wait().expect("our child").success());
    assert_eq!(std::fs::read_dir(home.path("")).expect("a directory").count(), before);
}

#[test]
fn demo_shows_a_light_that_stays_on_until_it_is_over() {
    let home = Home::new();
    let mut command = home.command(&["demo", "--count", "6", "--interval", "1"]);
    command.env("TMPDIR", home.path(""));
    let shown = command.output().expect("it runs");
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    let mut after = shown.as_str();
    for part in [
        "  ci_failed\n",
        "lit    the red light stays on: ci_failed acme/desk-lamp@main ci\n",
        "plays  repo_starred ×3",
        "  ci_passed\n",
        "skip   no rule wants it",
        "out    ci passed: the red light goes out\n",
    ] {
        after = after.split_once(part).unwrap_or_else(|| panic!("no {part:?}, or too early, in:\n{shown}")).1;
    }
    let of_red = |line: &&str| line.starts_with("desk   red ");
    assert_eq!(shown.lines().rfind(of_red), Some("desk   red off"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("desk   buzzer on ") && line.ends_with(" Hz")), "{shown}");
    assert!(!shown.contains('\u{1b}'), "sequences for a terminal that is not there: {shown:?}");
}

/// By `script`, which makes a terminal for a program and records what comes to it.
#[test]
fn demo_draws_the_desk_in_place_and_keeps_to_no_color() {
    let home = Home::new();
    let on_terminal = |name: &str, value: &str| {
        let demo = format!("stty cols 40 rows 24; exec '{}' demo --count 1", env!("CARGO_BIN_EXE_hookbell"));
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &demo, "/dev/null"]);
        command.env("TMPDIR", home.path("")).env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
        let shown = command.stdin(Stdio::null()).output().expect("it runs");
        assert!(shown.status.success(), "{}", text(&shown.stdout));
        text(&shown.stdout)
    };
    if !Command::new("script").arg("--version").output().is_ok_and(|shown| text(&shown.stdout).contains("util-linux")) {
        println!("skipped: there is no `script` of util-linux");
        return;
    }
    let is_coloured =
        |shown: &str| shown.split("\x1b[").any(|part| part.trim_start_matches(is_number).starts_with('m'));
    let coloured = on_terminal("NO_COLOR", "");
    assert!(is_coloured(&coloured) && coloured.contains(";48;5;21m##"), "no blue light: {coloured:?}");
    let plain = on_terminal("NO_COLOR", "1");
    assert!(!is_coloured(&plain) && plain.contains("[##] blue"), "{plain:?}");
    let dumb = on_terminal("TERM", "dumb");
    assert!(!dumb.contains('\u{1b}') && dumb.contains("desk   blue on"), "{dumb:?}");
    for shown in [coloured, plain] {
        // The desk is cleared away: where it began, these are the last words.
        let last = shown.rsplit('A').next().expect("one at least");
        assert_eq!(last, "\x1b[Jbye: everything is removed\r\n\x1b[J", "{shown:?}");
    }
}

/// Of a terminal's sequence.
fn is_number(c: char) -> bool {
    c.is_ascii_digit() || c == ';'
}

#[test]
fn the_readme_s_main_job_works_as_printed() {
    let readme = include_str!("../../README.md");
    let block = readme
        .split("```bash\n")
        .filter_map(|part| part.split("\n```").next())
        .find(|block| block.contains("openssl dgst"))
        .expect("the README signs by openssl");
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let mut command = home.command(&["run"]);
    command.env("GITHUB_WEBHOOK_SECRET", "only for trying");
    let service = Service::start(command);
    // The block as printed, with this test's port in the place of the default one.
    let script = block.replace("http://127.0.0.1:5000", &service.door);
    let mut shell = Command::new("bash");
    shell.args(["-euc", &script]).current_dir(home.path(""));
    let output = shell.output().expect("bash runs");
    assert!(output.status.success(), "{script}\n{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\"accepted\""), "{}", text(&output.stdout));
    assert!(!slack.next().text().is_empty());
    assert!(service.terminate().success());
}
