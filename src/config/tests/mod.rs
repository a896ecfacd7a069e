//! The contract's configuration, its defaults and its template. `bad` has what is refused.

mod bad;
mod recover;
mod rotation;

use std::{collections::HashMap, ffi::OsString, fs, path::Path, time::Duration};

use super::*;
use crate::{
    bell::{BoardKind, Buzzer, BuzzerKind, Led, Pattern, Pin, Pull},
    event::Severity,
    provider::Provider,
};

const KEY: &str = "a-secret-of-the-test";
const SIGNING_KEY: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEA==";
const SLACK: &str = "https://hooks.slack.com/services/T/B/x";

fn surroundings(variables: &[(&str, &str)]) -> Environment {
    let variables: HashMap<String, OsString> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    let nowhere = PathBuf::from("/nowhere/hookbell.toml");
    Environment::new(PathBuf::from("/home/pi"), nowhere, move |name| variables.get(name).cloned())
}

fn both() -> Environment {
    surroundings(&[("GITHUB_WEBHOOK_SECRET", KEY), ("SLACK_WEBHOOK_URL", SLACK), ("SIGNING_KEY", SIGNING_KEY)])
}

/// Checks `text` as the contents of a file that need not exist.
fn check(text: &str) -> Result<Loaded, Vec<Problem>> {
    let (settings, problems) =
        check::check(Some(Path::new("/etc/hookbell/hookbell.toml")), text, &both(), Secrets::Needed);
    match settings {
        Some(settings) if problems.iter().all(|problem| problem.level == Level::Warning) => {
            Ok(Loaded { settings, warnings: problems })
        }
        _ => Err(problems),
    }
}

fn good(text: &str) -> Loaded {
    check(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// What is wrong, where and what to do, as one line.
fn line(problem: &Problem) -> String {
    let Problem { key, line, what, hint, level: _ } = problem;
    let line = line.map_or_else(|| "-".to_owned(), |line| line.to_string());
    format!("{line} {key}: {what}; {}", hint.as_deref().unwrap_or_default())
}

#[test]
fn defaults_are_the_contracts() {
    let Loaded { settings, warnings } = load(None, &both()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let Settings { file, door, store, github, tunnel, sources, sinks, zone, rules, bell, panel, health } = settings;
    assert_eq!(zone.name(), Zone::system().name());
    assert_eq!(file, None);
    assert_eq!(github.api, "https://api.github.com");
    assert_eq!(door.listen, Listen::Tcp("127.0.0.1:5000".parse().unwrap()));
    assert_eq!(door.public_url, None);
    assert_eq!((door.body_bytes_max, door.head_bytes_max), (25 << 20, 32 << 10));
    assert_eq!((door.head_deadline, door.request_deadline), (Duration::from_secs(5), Duration::from_secs(20)));
    assert_eq!((door.connections_max, door.bodies_in_flight_bytes_max), (256, 32 << 20));
    assert_eq!(door.trusted_proxies, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    assert_eq!(store.path, Path::new("/home/pi/hookbell.db"));
    assert_eq!((store.keep, store.size_bytes_max, store.free_bytes_min), (None, 1 << 30, 64 << 20));

    assert_eq!(panel.listen, Some(Listen::Tcp("127.0.0.1:5001".parse().unwrap())));
    assert!(panel.token.is_none() && panel.hosts.is_empty());
    assert_eq!((health.silence_after, health.failing_ratio), (Duration::from_secs(3600), 0.1));
    assert_eq!(
        (health.undelivered_after, health.tell_after),
        (Duration::from_secs(900), Some(Duration::from_secs(60)))
    );

    assert_eq!(sources.keys().collect::<Vec<_>>(), ["github"]);
    let github = &sources["github"];
    assert_eq!((github.terms.provider, github.repeats), (Provider::GitHub, Repeats::Limit));
    assert_eq!(github.terms.secrets, [Secret::new(KEY.to_owned()).unwrap()]);
    assert!(github.allow_from.is_everybody());

    assert_eq!(sinks.keys().collect::<Vec<_>>(), ["bell", "slack"]);
    let SinkKind::Slack { webhook_url, interval } = &sinks["slack"].kind else { panic!("{sinks:?}") };
    assert_eq!(*interval, Duration::from_secs(1));
    assert_eq!(webhook_url.expose(), SLACK);
    let Retry { first, factor, cap, jitter, give_up_after } = sinks["bell"].retry;
    assert_eq!((first, cap), (Duration::from_secs(5), Duration::from_secs(3600)));
    assert_eq!((factor, jitter, give_up_after), (3.0, 0.2, Duration::from_secs(3 * 86_400)));

    assert_eq!(rules.len(), 2);
    assert!(rules.iter().all(|rule| rule.to == ["bell", "slack"]));
    for kind in crate::rule::DEFAULT_KINDS {
        assert!(rules[0].when.fields[0].1.iter().any(|pattern| pattern.matches(kind)), "{kind}");
    }

    assert!(tunnel.metrics.is_none() && tunnel.canary.is_none());
    let led = |bcm| Led::Plain(Pin::plain(bcm));
    assert_eq!(bell.board, BoardKind::Simulated);
    assert_eq!((bell.leds["red"], bell.leds["green"], bell.leds["blue"]), (led(17), led(27), led(22)));
    let buzzer = Buzzer { pin: Pin::plain(18), kind: BuzzerKind::Active, volume: 100 };
    assert_eq!((bell.buzzer, bell.trace), (Some(buzzer), None));
    // An empty file says the same.
    assert!(good("").warnings.is_empty());
}

#[test]
fn the_environment_alone_is_enough_or_says_what_it_lacks() {
    let failed = |variables: &[(&str, &str)]| load(None, &surroundings(variables)).unwrap_err().to_string();
    let unset = failed(&[]);
    assert!(unset.contains("error: sources.github.secret: GITHUB_WEBHOOK_SECRET is not set"), "{unset}");
    assert!(unset.contains("set GITHUB_WEBHOOK_SECRET to the secret"), "{unset}");
    let empty = failed(&[("GITHUB_WEBHOOK_SECRET", "")]);
    assert!(empty.contains("GITHUB_WEBHOOK_SECRET is empty"), "{empty}");
    let blank = failed(&[("GITHUB_WEBHOOK_SECRET", " \n")]);
    assert!(blank.contains("the secret in GITHUB_WEBHOOK_SECRET is empty"), "{blank}");

    for slack in [None, Some(("SLACK_WEBHOOK_URL", ""))] {
        let mut variables = vec![("GITHUB_WEBHOOK_SECRET", KEY)];
        variables.extend(slack);
        let Loaded { settings, warnings } = load(None, &surroundings(&variables)).unwrap();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(warnings[0].what, "SLACK_WEBHOOK_URL is not set. Skipping Slack notification.");
        assert_eq!(settings.sinks.keys().collect::<Vec<_>>(), ["bell"]);
        assert_eq!(settings.rules[0].to, ["bell"]);
    }
}

#[test]
fn a_sink_without_its_url_is_left_out_and_its_rules_stay_valid() {
    let text = "[sinks.dev]\nkind = \"slack\"\nwebhook_url = { env = \"DEV_URL\" }\n[sinks.bell]\n[[rules]]\nto = [\"dev\", \"bell\"]";
    let Loaded { settings, warnings } = good(text);
    assert_eq!(warnings[0].what, "DEV_URL is not set. Skipping Slack notification.");
    assert_eq!(settings.rules[0].to, ["bell"]);
}

#[test]
fn a_bot_posts_to_its_channel_in_threads_unless_told_otherwise() {
    let with = |text: &str, token: Option<&str>| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hookbell.toml");
        fs::write(&file, text).unwrap();
        let mut variables = vec![("GITHUB_WEBHOOK_SECRET", KEY)];
        variables.extend(token.map(|token| ("SLACK_BOT_TOKEN", token)));
        (load(Some(&file), &surroundings(&variables)).unwrap(), load_without_secrets(Some(&file), &surroundings(&[])))
    };
    let (Loaded { settings, warnings }, unread) = with("[sinks.slack]\nchannel = \"#dev\"\n", Some("xoxb-1-2-geheim"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let kind = &settings.sinks["slack"].kind;
    let SinkKind::SlackBot { token, channel, threads, api, interval } = kind else { panic!("{kind:?}") };
    assert_eq!((token.expose(), channel.as_str(), *threads), ("xoxb-1-2-geheim", "#dev", true));
    assert_eq!((api.as_str(), *interval), ("https://slack.com/api", Duration::from_secs(1)));
    assert!(kind.bundles() && kind.converses());
    let text = effective(&settings);
    assert!(text.contains("token = \"(hidden)\"") && text.contains("channel = \"#dev\""), "{text}");
    assert!(!text.contains("geheim") && !format!("{settings:?}").contains("geheim"), "{text}");
    assert!(unread.unwrap().settings.sinks.is_empty());

    let text = "[sinks.slack]\ntoken = { env = \"SLACK_BOT_TOKEN\" }\nchannel = \"C0123ABCD\"\nthreads = false\n\
                api = \"http://127.0.0.1:5050/api/\"\n";
    let (Loaded { settings, .. }, _) = with(text, Some("xoxp-1"));
    let kind = &settings.sinks["slack"].kind;
    assert!(matches!(kind, SinkKind::SlackBot { api, .. } if api == "http://127.0.0.1:5050/api"), "{kind:?}");
    assert!(kind.bundles() && !kind.converses());

    let (Loaded { settings, warnings }, _) = with(text, None);
    assert_eq!(warnings[0].what, "SLACK_BOT_TOKEN is not set. Skipping Slack notification.");
    assert!(settings.sinks.is_empty());
}

#[test]
fn every_kind_of_sink_is_read_and_written_back() {
    let text = r#"
[sinks.forward]
url = "https://example.com/hook"
secret = [{ env = "SIGNING_KEY" }, { env = "SIGNING_KEY" }]
include_body = true
concurrency = 4
order = "none"
[sinks.lan]
kind = "forward"
url = "http://10.0.0.7:8080/"
secret = { env = "SIGNING_KEY" }
allow_private = true
[sinks.exec]
command = ["/bin/true", "--flag"]
time_limit = "1 min"
order = "all"
[sinks.discord]
webhook_url = { env = "SLACK_WEBHOOK_URL" }
[sinks.ntfy]
topic = "desk"
token = { env = "SIGNING_KEY" }
backlog_digest_at = 0
[sinks.email]
smtp = "smtp://mail.example.com"
user = "desk"
password = { env = "SIGNING_KEY" }
from = "Desk <desk@example.com>"
to = ["ada@example.com"]
"#;
    let Loaded { settings, warnings } = good(text);
    assert!(warnings.is_empty(), "{warnings:#?}");
    let SinkKind::Forward(forward) = &settings.sinks["forward"].kind else { panic!() };
    assert_eq!((forward.secrets.len(), forward.include_body, forward.allow_private), (2, true, false));
    assert_eq!((settings.sinks["forward"].order, settings.sinks["forward"].concurrency), (Order::None, 4));
    let SinkKind::Exec(exec) = &settings.sinks["exec"].kind else { panic!() };
    assert_eq!((exec.time_limit, exec.directory.as_path()), (Duration::from_secs(60), Path::new("/")));
    let SinkKind::Ntfy(ntfy) = &settings.sinks["ntfy"].kind else { panic!() };
    assert_eq!((ntfy.url.as_str(), settings.sinks["ntfy"].backlog_digest_at), ("https://ntfy.sh", None));
    let text = effective(&settings);
    assert!(!text.contains("AQIDB") && !text.contains("hooks.slack.com"), "{text}");
    let problems = check(&text).unwrap_err();
    let hidden = |problem: &Problem| problem.what.starts_with("secrets are never values");
    assert!(problems.iter().all(hidden), "{problems:#?}\n{text}");
    assert!(text.contains("smtp = \"smtp://mail.example.com:587\""), "{text}");

    // What is not there leaves its sink out, once and with a word; a program may come later.
    let Loaded { settings, warnings } = good(
        "[sinks.discord]\n[sinks.to]\nkind = \"forward\"\nurl = \"https://x.example\"\nsecret = { env = \"NOPE\" }\n\
         [sinks.exec]\ncommand = [\"/no/such\"]",
    );
    let says: Vec<&str> = warnings.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(
        says,
        [
            "DISCORD_WEBHOOK_URL is not set. Skipping discord.",
            "NOPE is not set. Skipping to.",
            "cannot start /no/such: No such file or directory (os error 2)",
        ]
    );
    assert_eq!(settings.sinks.keys().collect::<Vec<_>>(), ["exec"]);
}

#[test]
fn the_contracts_example_loads() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("new.secret"), "another-secret\n").unwrap();
    let file = directory.path().join("hookbell.toml");
    let text = r##"
[door]
listen = "unix:/run/hookbell/door.sock"
public_url = "https://hooks.example.com/"
body_max = "25 MiB"
head_max = "32 KiB"
head_deadline = "5 s"
request_deadline = "20 s"
connections_max = 256
bodies_in_flight_max = "32 MiB"
trusted_proxies = ["127.0.0.1", "::1"]

[store]
path = "hookbell.db"
keep = "90 days"
size_max = "1 GiB"
free_min = "64 MiB"

[panel]
listen = ""
token = { env = "HOOKBELL_PANEL_TOKEN" }
hosts = ["bell.example"]

[health]
silence_after = "2 h"
failing_ratio = 0.2
undelivered_after = "30 min"
tell_after = "never"

[sources.github]
provider = "github"
secret = [{ env = "GITHUB_WEBHOOK_SECRET" }, { file = "new.secret" }, { credential = "old" }]
allow_from = ["192.0.2.0/24", "2001:db8::1"]
repeats = "process"

[sinks.slack]
kind = "slack"
webhook_url = { env = "SLACK_WEBHOOK_URL" }
[sinks.slack.retry]
first = "1 s"
[sinks.bell]
kind = "bell"

[[rules]]
name = "quiet bots"
when = { source = "github", actor = ["*[bot]"] }
to = []
stop = true
[[rules]]
when = { kind = ["pr_*", "review_*"], repository = "acme/*", branch = ["main", "release/*"] }
unless = { label = ["wip"], draft = true }
to = ["slack", "bell"]
cue = "pr_merged"

[retry]
first = "5 s"
factor = 2
cap = "1 h"
jitter = 0.2
give_up_after = "3 days"

[bell]
board = "auto"
leds = { red = 17, green = 27, blue = { pin = 22, active_low = true } }
buzzer = { pin = 18, type = "active" }
trace = ""

[cues.pr_merged]
led = "green"
blink = { on_ms = 200, off_ms = 200, times = 3 }
tune = "d=16,o=6,b=180:c,e,g"
priority = 5
latch = false
"##;
    fs::write(&file, text).unwrap();
    fs::write(directory.path().join("old"), "old-secret\r\n").unwrap();
    let environment = surroundings(&[
        ("GITHUB_WEBHOOK_SECRET", KEY),
        ("SLACK_WEBHOOK_URL", SLACK),
        ("STATE_DIRECTORY", "/var/lib/hookbell:/var/lib/other"),
        ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap()),
    ]);
    let Loaded { settings, warnings } = load(Some(&file), &environment).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(warnings.iter().all(|problem| problem.what.starts_with("everybody on this machine")), "{warnings:?}");
    assert_eq!(settings.file.as_deref(), Some(&*file));
    assert_eq!(settings.door.listen, Listen::Unix("/run/hookbell/door.sock".into()));
    assert_eq!(settings.door.public_url.as_deref(), Some("https://hooks.example.com"));
    assert_eq!(settings.store.path, Path::new("/var/lib/hookbell/hookbell.db"));
    assert_eq!(settings.store.keep, Some(Duration::from_secs(90 * 86_400)));
    assert_eq!((&settings.panel.listen, settings.panel.hosts.as_slice()), (&None, &["bell.example".to_owned()][..]));
    assert_eq!((settings.health.tell_after, settings.health.failing_ratio), (None, 0.2));
    let github = &settings.sources["github"];
    let secrets: Vec<&str> = github.terms.secrets.iter().map(Secret::expose).collect();
    assert_eq!(secrets, [KEY, "another-secret", "old-secret"]);
    assert_eq!(
        github.allow_from.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.0/24", "2001:db8::1/128"]
    );
    assert_eq!(settings.sinks["slack"].retry.first, Duration::from_secs(1));
    assert_eq!((settings.sinks["slack"].retry.factor, settings.sinks["bell"].retry.factor), (2.0, 2.0));
    assert_eq!(settings.rules.len(), 2);
    assert!(settings.rules[0].stop && settings.rules[0].to.is_empty());
    assert_eq!(settings.rules[1].unless.as_ref().unwrap().fields.len(), 2);
    assert_eq!(settings.bell.board, BoardKind::Auto);
    assert_eq!(settings.bell.leds["blue"], Led::Plain(Pin { bcm: 22, active_low: true, pwm: false }));
    assert_eq!(settings.bell.cues["pr_merged"].tune.as_deref(), Some("d=16,o=6,b=180:c,e,g"));
}

#[test]
fn a_desk_may_have_everything() {
    let text = r##"
[schedule]
time_zone = "UTC"
[tunnel]
metrics = "127.0.0.1:20241"
[bell]
leds = { red = "GPIO17", green = 27, blue = 22, glow = { pin = 13, pwm = true }, desk = { red = 5, green = "BOARD31", blue = 16, active_low = true } }
buzzer = { pin = 18, type = "passive", volume = 30 }
button = { pin = 23, debounce = "30 ms" }
status = 24
quiet = ["22:00-07:30", "sat,sun"]
stale_after = "5 min"
latch_max = "2 days"
[cues.alarm]
led = "desk"
colour = "orange"
pattern = "breathe"
lasts = "5 s"
tune = "Alarm:d=4,o=5,b=100:a,e"
latch = true
latch_pattern = "heartbeat"
clears_on = ["ci_passed"]
latch_max = "1 h"
even_if_quiet = true
[cues.ci_failed]
blink = { times = 2 }
"##;
    let Loaded { settings, warnings } = good(text);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(settings.tunnel.metrics, Some(([127, 0, 0, 1], 20241).into()));
    let bell = &settings.bell;
    assert_eq!(bell.zone.name(), Some("UTC"));
    assert_eq!(bell.leds["red"], Led::Plain(Pin::plain(17)));
    assert_eq!(bell.leds["glow"], Led::Plain(Pin { pwm: true, ..Pin::plain(13) }));
    assert_eq!(bell.leds["desk"], Led::Rgb([5, 6, 16].map(|bcm| Pin { active_low: true, ..Pin::plain(bcm) })));
    let pin = Pin { pwm: true, ..Pin::plain(18) };
    assert_eq!(bell.buzzer, Some(Buzzer { pin, kind: BuzzerKind::Passive, volume: 30 }));
    let button = bell.button.unwrap();
    assert_eq!((button.bcm, button.active_low, button.pull), (23, true, Pull::Up));
    assert_eq!(button.debounce, Duration::from_millis(30));
    assert_eq!(bell.status, Some(Pin::plain(24)));
    assert_eq!(bell.quiet.texts().collect::<Vec<_>>(), ["22:00-07:30", "sat,sun"]);
    assert_eq!((bell.stale_after, bell.latch_max), (Duration::from_secs(300), Duration::from_secs(2 * 86_400)));
    let alarm = &bell.cues["alarm"];
    assert_eq!(
        (alarm.colour.unwrap().name(), alarm.pattern, alarm.lasts),
        ("orange", Pattern::Breathe, Duration::from_secs(5))
    );
    assert_eq!((alarm.latch, alarm.latch_pattern, alarm.even_if_quiet), (true, Some(Pattern::Heartbeat), true));
    assert_eq!((&*alarm.clears_on, alarm.latch_max), (&["ci_passed".to_owned()][..], Some(Duration::from_secs(3600))));
    let ci_failed = &bell.cues["ci_failed"];
    assert!(ci_failed.latch && ci_failed.blink.times == 2, "what is not said stays as it is");
    // What `check` prints says the same.
    let printed = effective(&settings);
    let cut = printed.split("[bell]").nth(1).unwrap();
    let again = good(&format!("[schedule]\ntime_zone = \"UTC\"\n[bell]{cut}"));
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    assert_eq!(effective(&again.settings).split("[bell]").nth(1), Some(cut));
}

#[test]
fn a_rule_asks_for_more_than_sinks() {
    let text = r##"
[schedule]
time_zone = "UTC"
[sinks.slack]
[sinks.dev]
kind = "slack"
webhook_url = { env = "DEV_URL" }
[sinks.bell]
[[rules]]
name = "pushes"
when = { kind = "push", path = "docs/*", author = "otto" }
severity = "warning"
mute = ["22:00-07:30", "sat,sun"]
digest = "10 min"
[[rules]]
name = "pushes"
to = ["bell", "slack"]
mute = "mon-fri 09:00-17:00"
digest = "1 day"
[[rules]]
to = ["slack"]
digest = "10 s"
mute = []
[[rules]]
to = ["dev"]
channel = "#ops"
digest = "10 s"
"##;
    let Loaded { settings, warnings } = good(text);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!(settings.zone.name(), Some("UTC"));
    let rules = &settings.rules;
    let digest = |rule: usize, target: usize| {
        let digest = rules[rule].to[target].digest.as_ref();
        digest.map(|digest| (digest.group.as_str(), digest.window.as_secs()))
    };
    let sinks: Vec<&str> = rules[0].to.iter().map(|target| target.sink.as_str()).collect();
    assert_eq!(sinks, ["bell", "slack"]);
    // The bell shows each at once; the groups of two rules stay apart, whatever they are called.
    assert_eq!((digest(0, 0), digest(0, 1)), (None, Some(("pushes (1)", 600))));
    assert_eq!((digest(1, 0), digest(1, 1)), (None, Some(("pushes (2)", 86_400))));
    assert_eq!(digest(2, 0), Some(("rule 3", 10)));
    assert_eq!((rules[0].severity, rules[1].severity), (Some(Severity::Warning), None));
    let spans = |rule: usize| rules[rule].mute.as_ref().map(|mute| mute.texts().collect::<Vec<_>>().join(" | "));
    assert_eq!(spans(0).as_deref(), Some("22:00-07:30 | sat,sun"));
    assert_eq!(spans(1).as_deref(), Some("mon-fri 09:00-17:00"));
    assert_eq!(spans(2), None);
    assert!(rules[3].to.is_empty(), "what its only sink can is not known while it is left out");

    // Written back as it was read.
    let text = effective(&settings);
    for line in ["digest = \"10 min\"", "mute = [\"22:00-07:30\", \"sat,sun\"]", "time_zone = \"UTC\""] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(
        check(&text).unwrap_err().iter().all(|problem| problem.what.starts_with("secrets are never values")),
        "{text}"
    );
    // Without secrets the rules are taken at their word.
    let text = "[sinks.slack]\n[[rules]]\nto = [\"slack\"]\nchannel = \"#ops\"";
    let (unread, _) = check::check(None, text, &both(), Secrets::Unneeded);
    let target = &unread.unwrap().rules[0].to[0];
    assert_eq!((target.sink.as_str(), target.channel.as_deref()), ("slack", Some("#ops")));
}

#[test]
fn no_pin_is_driven_that_the_file_does_not_name() {
    for board in ["", "board = \"auto\"", "board = \"chip\"", "board = \"pi\""] {
        let Loaded { settings, warnings } = good(&format!("[bell]\n{board}"));
        assert!(settings.bell.leds.is_empty() && settings.bell.buzzer.is_none(), "{board}");
        assert_eq!(warnings[0].what, "no LED and no buzzer is named, so no pin is driven");
    }
    assert_eq!(good("[bell]\nboard = \"simulated\"\ntrace = \"t.jsonl\"").settings.bell.leds.len(), 3);
    assert!(check("[bell]\n[cues.x]\nled = \"red\"").is_ok(), "auto without pins simulates the default LEDs");
    let only_red = good("[bell]\nboard = \"simulated\"\nleds = { red = 5 }").settings.bell;
    assert_eq!((only_red.leds.len(), only_red.buzzer), (1, None));
}

#[test]
fn a_file_is_found_by_flag_then_variable_then_the_system() {
    let directory = tempfile::tempdir().unwrap();
    let system = directory.path().join("hookbell.toml");
    let with = |variable: Option<&'static str>| {
        let lookup = move |name: &str| variable.filter(|_| name == "HOOKBELL_CONFIG").map(OsString::from);
        Environment::new("/home/pi".into(), system.clone(), lookup)
    };
    assert_eq!(locate(Some(Path::new("a.toml")), &with(Some("/b.toml"))), Some("/home/pi/a.toml".into()));
    assert_eq!(locate(None, &with(Some("/b.toml"))), Some("/b.toml".into()));
    assert_eq!(locate(None, &with(Some(""))), None);
    assert_eq!(locate(None, &with(None)), None);
    fs::write(&system, "").unwrap();
    assert_eq!(locate(None, &with(None)), Some(system.clone()));

    let absent = load(Some(Path::new("absent.toml")), &both()).unwrap_err().to_string();
    assert!(absent.contains("cannot read /home/pi/absent.toml: No such file"), "{absent}");
    assert!(absent.contains("`hookbell init` writes a commented one"), "{absent}");
}

#[test]
fn the_template_loads_cleanly_and_so_does_every_line_it_comments_out() {
    let directory = tempfile::tempdir().unwrap();
    let (file, secret) = (directory.path().join("hookbell.toml"), directory.path().join(SECRET_FILE));
    fs::write(&secret, "generated\n").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let loaded = |text: &str| {
        fs::write(&file, text).unwrap();
        let Loaded { settings, warnings } = load(Some(&file), &both()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(warnings.is_empty(), "{warnings:#?}");
        settings
    };
    let as_is = loaded(TEMPLATE);

    // What it comments out is `# key = …` or `# [table]`; prose never looks like that.
    let is_key = |rest: &str| {
        let word = rest.split(' ').next().unwrap_or_default();
        rest.starts_with('[') || (rest[word.len()..].starts_with(" = ") && !word.is_empty())
    };
    let all: Vec<&str> =
        TEMPLATE.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line)).collect();
    let all = all.join("\n");
    let full = loaded(&all);
    assert_eq!(full.rules.len(), 3);

    // Nothing that it shows as a default is anything else.
    let defaults = effective_json(&load(None, &both()).unwrap().settings);
    let (as_is, full) = (effective_json(&as_is), effective_json(&full));
    for section in ["door", "store", "sources", "sinks"] {
        assert_eq!(as_is[section], defaults[section], "{section}");
        assert_eq!(full[section], defaults[section], "{section}");
    }
    assert_eq!((&as_is["bell"], &full["bell"]["leds"]), (&defaults["bell"], &defaults["bell"]["leds"]));
    assert_eq!(as_is["rules"][0]["when"], defaults["rules"][0]["when"]);
}

#[test]
fn the_effective_configuration_can_be_read_and_hides_secrets() {
    let Loaded { settings, .. } = load(None, &both()).unwrap();
    let text = effective(&settings);
    assert!(text.contains("[door]\n") && text.contains("listen = \"127.0.0.1:5000\"\n"), "{text}");
    assert!(text.contains("[sources.github]\n") && text.contains("secret = [\"(hidden)\"]\n"), "{text}");
    assert!(text.contains("[[rules]]\n") && text.contains("keep = \"forever\"\n"), "{text}");
    assert!(!text.contains(KEY) && !text.contains("hooks.slack.com"), "{text}");
    assert!(!effective_json(&settings).to_string().contains(KEY));
    // It is TOML, and complains about nothing but the hidden secrets.
    let problems = check(&text).unwrap_err();
    assert!(
        problems.iter().all(|problem| problem.what.starts_with("secrets are never values")),
        "{problems:#?}\n{text}"
    );
    assert!(!format!("{settings:?}").contains(KEY));
}

#[test]
fn the_canary_flies_to_the_public_url_or_where_a_quick_tunnel_leads() {
    let text = "[door]\npublic_url = \"https://hooks.example.com/\"\n[tunnel]\ncanary = \"5 min\"";
    let settings = good(text).settings;
    assert_eq!(effective_json(&settings)["tunnel"]["canary"], "5 min");
    let canary = settings.tunnel.canary.unwrap();
    assert_eq!((canary.every.as_secs(), canary.public_url.as_deref()), (300, Some("https://hooks.example.com")));
    assert!(good("[tunnel]\ncanary = \"\"").settings.tunnel.canary.is_none());

    // A public URL that is wrong is one problem, not two.
    let problems = check("[door]\npublic_url = \"hooks\"\n[tunnel]\ncanary = \"1 day\"").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:#?}");

    let text = "[tunnel]\ncanary = \"1 min\"";
    let mut quick = both();
    quick.has_quick_tunnel = true;
    let (settings, problems) = check::check(None, text, &quick, Secrets::Needed);
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(settings.unwrap().tunnel.canary.is_some_and(|canary| canary.public_url.is_none()));
    // Who asks such a service how it is has the same file.
    assert!(check::check(None, text, &both(), Secrets::Unneeded).1.is_empty());
}

#[test]
fn looking_needs_no_secret() {
    let nothing = Environment::new(PathBuf::from("/srv"), PathBuf::from("/none"), |_| None);
    let loaded = load_without_secrets(None, &nothing).expect("no secret is asked for");
    assert_eq!(loaded.settings.store.path, Path::new("/srv/hookbell.db"));
    assert!(loaded.settings.sources["github"].terms.secrets.is_empty());
    assert_eq!(loaded.settings.sinks.keys().collect::<Vec<_>>(), ["bell"], "Slack cannot be reached without its URL");
    assert_eq!(loaded.settings.rules[0].to, ["bell", "slack"], "but it is where events go");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert!(load(None, &nothing).is_err());
}
