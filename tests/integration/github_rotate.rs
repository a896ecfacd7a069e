//! `github register --rotate`: a new secret, and nobody refused, whatever interrupts it.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Child, ChildStdout, Output, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use hookbell::{provider::fingerprint, secret::Secret};
use serde_json::{Value, json};

use crate::harness::{
    Home, SECRET, Service,
    github::{Act, GitHub, HOOK_URL, TOKEN},
    slack::Slack,
};

struct Desk {
    home: Home,
    github: GitHub,
    service: Service,
    _slack: Slack,
}

impl Desk {
    /// With the secret where `secret` says: `{ file = "github.secret" }`, and both files beside the configuration.
    fn new(secret: &str, more: &str) -> Desk {
        let (home, slack, github) = (Home::new(), Slack::start(), GitHub::start());
        let rule = "[[rules]]\nwhen = { kind = [\"push\", \"repo_starred\"] }\nto = []\n\
                    [[rules]]\nwhen = { kind = [\"push\", \"repo_starred\"], branch = \"none\" }\nto = [\"slack\"]\n";
        home.configure(
            &slack.url,
            &format!("[github]\napi = \"{}\"\ntoken = {{ env = \"GH\" }}\n{rule}{more}", github.url),
        );
        let file = home.path("hookbell.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let text = text.replace("[door]\n", "[door]\npublic_url = \"https://hooks.example.com\"\n");
        let text = text.replace("secret = { env = \"GITHUB_WEBHOOK_SECRET\" }", &format!("secret = {secret}"));
        std::fs::write(&file, text).expect("it is written");
        std::fs::create_dir(home.path("secrets")).expect("a new folder");
        std::os::unix::fs::symlink("github.secret", home.path("link")).expect("a new link");
        std::fs::create_dir(home.path("handed")).expect("a new folder");
        for name in ["github.secret", "secrets/github", "handed/github"] {
            write_secret(&home, name, SECRET);
        }
        let mut command = home.command(&["run"]);
        command.env("GH", TOKEN);
        // systemd hands credentials over once.
        if secret.contains("credential") {
            command.env("CREDENTIALS_DIRECTORY", home.path("handed"));
        }
        let service = Service::start(command);
        github.reach(Some(&service.door));
        Desk { home, github, service, _slack: slack }
    }

    fn hook(&self, owner: &str) -> i64 {
        self.github.add_hook(owner, HOOK_URL, Some(SECRET))
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.command(&[&["github", "register", "--rotate"], arguments].concat());
        command.env("GH", TOKEN);
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().expect("the executable starts");
        (output.status.code(), said(&output))
    }

    /// Starts it, to be interrupted.
    fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the executable starts")
    }

    fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.home.path(name)).unwrap_or_default().trim().to_owned()
    }

    /// What GitHub sends now is taken.
    fn is_taken(&self, hook: i64) -> bool {
        let guid = self.github.send(hook, "push", &json!({ "at": format!("{:?}", Instant::now()) }));
        let sent = self.github.deliveries(hook);
        sent.iter().any(|delivery| delivery.guid == guid && delivery.status_code == 200)
    }

    /// Whether the secret of the beginning is accepted.
    fn takes_the_first(&self) -> bool {
        let body = json!({ "at": format!("{:?}", Instant::now()) }).to_string();
        self.service.post("push", &format!("{:?}", Instant::now()), body.as_bytes()).0 == 200
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// As the packaged unit keeps them: for nobody else.
fn write_secret(home: &Home, name: &str, secret: &str) {
    let path = home.path(name);
    std::fs::write(&path, format!("{secret}\n")).expect("it is written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// Reads what a child prints until a line has this in it. What is returned has to be kept: a child that nobody listens to
/// ends.
fn wait_for_line(child: &mut Child, part: &str) -> BufReader<ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut seen = String::new();
    loop {
        let before = seen.len();
        assert!(output.read_line(&mut seen).expect("text") > 0, "no {part:?} in {seen}");
        if seen[before..].contains(part) {
            return output;
        }
    }
}

fn kill(mut child: Child) {
    child.kill().expect("it was running");
    child.wait().expect("our own child");
}

#[test]
fn under_load_nothing_is_refused_and_nothing_is_lost() {
    const EVERY: Duration = Duration::from_millis(60);
    let more = "[sources.github.recover]\nhooks = [\"acme/web\"]\ntoken = { env = \"GH\" }\n";
    let desk = Desk::new("{ file = \"github.secret\" }", more);
    let hooks = ["acme/api", "acme/web", "acme"].map(|owner| desk.hook(owner));
    let (begun, (code, out)) = (
        Instant::now(),
        thread::scope(|scope| {
            // Each hook's deliveries come one after the other, fifty a second in all.
            let stops = hooks.map(|hook| {
                let (stop, told) = channel::<()>();
                let github = &desk.github;
                scope.spawn(move || {
                    let begun = Instant::now();
                    for number in 0_u32.. {
                        github.send(hook, "push", &json!({ "hook": hook, "number": number }));
                        let due = (EVERY * (number + 1)).saturating_sub(begun.elapsed());
                        if told.recv_timeout(due) != Err(RecvTimeoutError::Timeout) {
                            return;
                        }
                    }
                });
                stop
            });
            let done = desk.run(&["acme/api", "acme", "--settle", "4s"]);
            drop(stops);
            done
        }),
    );
    let took = begun.elapsed();
    assert_eq!(code, Some(0), "{out}");
    for line in ["the service accepts both", "done: the old secret is not accepted any more"] {
        assert!(out.contains(line), "{line} in {out}");
    }
    let new = desk.secret("github.secret");
    assert!(new != SECRET && new.len() == 64 && !out.contains(&new), "{out}");
    assert!(!desk.home.path("github.secret.next").exists());
    let sent: Vec<_> = hooks.into_iter().flat_map(|hook| desk.github.deliveries(hook)).collect();
    let refused: Vec<_> = sent.iter().filter(|delivery| delivery.status_code != 200).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let per_second = f64::from(u32::try_from(sent.len()).expect("few")) / took.as_secs_f64();
    println!("{} deliveries in {took:?}, {per_second:.0} a second; none refused", sent.len());
    let held = desk.home.json(&[
        "sql",
        "--json",
        "SELECT count(DISTINCT delivery_id) AS held FROM delivery WHERE source = 'github'",
    ]);
    assert_eq!(held[0]["held"], json!(sent.len()), "{held:?}");
    for hook in hooks {
        assert_eq!(desk.github.hook(hook).secret.as_deref(), Some(new.as_str()));
        assert!(desk.is_taken(hook));
    }
    assert!(!desk.takes_the_first());
    assert!(desk.service.terminate().success());
}

#[test]
fn interrupted_after_any_step_the_same_command_goes_on() {
    let desk = Desk::new("{ file = \"github.secret\" }", "");
    let hooks = ["acme/api", "acme/web"].map(|owner| desk.hook(owner));
    let places = ["acme/api", "acme/web", "--settle", "1s"];
    let ends = |what: &str, is_resumed: bool| {
        for hook in hooks {
            assert!(desk.is_taken(hook), "{what}: before it goes on");
        }
        let before = desk.secret("github.secret");
        let waiting = desk.secret("github.secret.next");
        let (code, out) = desk.run(&places);
        assert_eq!((code, out.contains("goes on with the new secret")), (Some(0), is_resumed), "{what}: {out}");
        let after = desk.secret("github.secret");
        assert_ne!(before, after, "{what}");
        assert!(waiting.is_empty() || waiting == after, "{what}");
        assert!(!desk.home.path("github.secret.next").exists(), "{what}");
        for hook in hooks {
            assert_eq!(desk.github.hook(hook).secret.as_deref(), Some(after.as_str()), "{what}");
            assert!(desk.is_taken(hook), "{what}: afterwards");
        }
        assert!(!desk.takes_the_first(), "{what}");
    };
    // Half of it was written.
    std::fs::write(desk.home.path("github.secret.half"), "abc").expect("it is written");
    std::fs::write(desk.home.path("github.secret.next"), "").expect("it is written");
    ends("half written", false);
    assert!(!desk.home.path("github.secret.half").exists());
    // It was written, and nobody was told.
    write_secret(&desk.home, "github.secret.next", "waits for its turn");
    ends("written", true);
    for (what, part) in [
        ("told", "PATCH /repos/acme/api/hooks"),
        ("one changed, not pinged", "POST /repos/acme/api/hooks"),
        ("one changed", "PATCH /repos/acme/web/hooks"),
        ("all changed, the last not pinged", "POST /repos/acme/web/hooks"),
    ] {
        let before = desk.github.count(part);
        desk.github.script(part, [Act::Hang]);
        let child = desk.begin(&places);
        desk.home.wait_for(what, |_| (desk.github.count(part) > before).then_some(()));
        kill(child);
        assert!(!desk.secret("github.secret.next").is_empty(), "{what}");
        ends(what, true);
    }
    let mut child = desk.begin(&["acme/api", "acme/web", "--settle", "10m"]);
    let _output = wait_for_line(&mut child, "waiting until nothing signed with the old secret came");
    kill(child);
    ends("all changed", true);
    // The service was started anew in between.
    let mut child = desk.begin(&["acme/api", "acme/web", "--settle", "10m"]);
    let _output = wait_for_line(&mut child, "waiting until nothing signed with the old secret came");
    kill(child);
    let Desk { home, github, service, _slack } = desk;
    service.kill();
    let mut command = home.command(&["run"]);
    command.env("GH", TOKEN);
    let service = Service::start(command);
    github.reach(Some(&service.door));
    let desk = Desk { home, github, service, _slack };
    for hook in hooks {
        assert!(desk.is_taken(hook));
    }
    let (code, out) = desk.run(&places);
    assert_eq!(code, Some(0), "{out}");
    assert!(hooks.into_iter().all(|hook| desk.is_taken(hook)));
    // What GitHub refuses leaves both accepted.
    desk.github.script("PATCH /repos/acme/web/hooks", [Act::Fails(500)]);
    let (code, out) = desk.run(&places);
    assert!(code == Some(1) && out.contains("both secrets stay accepted; the same command goes on"), "{out}");
    assert!(hooks.into_iter().all(|hook| desk.is_taken(hook)));
    let (code, out) = desk.run(&places);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn whoever_was_not_named_keeps_the_old_secret_alive() {
    let desk = Desk::new("{ file = \"github.secret\" }", "");
    let (api, other, quiet) = (desk.hook("acme/api"), desk.hook("acme/other"), desk.hook("acme/quiet"));
    let gone = desk.hook("acme/api");
    let of =
        |name: &str| json!({ "action": "created", "repository": { "full_name": name }, "sender": { "login": "ada" } });
    desk.github.send(api, "star", &of("acme/api"));
    desk.github.send(gone, "star", &of("acme/api"));
    desk.github.send(other, "star", &of("acme/other"));
    desk.github.with(|state| state.hooks.retain(|hook| hook.id != gone));
    desk.home.wait_for("both are read", |home| {
        let rows = home.json(&["deliveries", "list", "--json", "--kind", "repo_starred"]);
        (rows.len() == 3).then_some(())
    });
    let (code, out) = desk.run(&["acme/api", "--settle", "1s"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(&format!("hook {other} of acme/other delivered on")), "{out}");
    assert!(out.contains(&format!("--without {other}")) && !out.contains(&gone.to_string()), "{out}");
    assert!(!desk.home.path("github.secret.next").exists());
    assert_eq!((desk.github.count("PATCH "), desk.secret("github.secret")), (0, SECRET.to_owned()));
    let (code, out) = desk.run(&["acme/api", "--dry-run"]);
    assert!(code == Some(1) && out.contains("acme/other"), "{out}");
    let (code, out) = desk.run(&["acme/api", "acme/other", "--dry-run"]);
    assert!(code == Some(0) && out.contains("a new secret would be written to"), "{out}");
    assert_eq!((desk.github.count("PATCH "), desk.home.path("github.secret.next").exists()), (0, false));

    // One that nobody has heard of for a week speaks while it waits.
    let mut child = desk.begin(&["acme/api", "acme/other", "--settle", "20s"]);
    let _output = wait_for_line(&mut child, "waiting until nothing signed with the old secret came");
    assert!(desk.is_taken(quiet));
    assert_eq!(child.wait().expect("our own child").code(), Some(1));
    assert!(desk.is_taken(quiet) && desk.is_taken(api), "both are accepted");
    let (code, out) = desk.run(&["acme/api", "acme/other", "--settle", "1s", "--json"]);
    let report: Value =
        serde_json::from_str(out.lines().next().unwrap_or_default()).unwrap_or_else(|_| panic!("{out}"));
    assert_eq!(
        (code, &report["ok"], report["rotation"]["state"].as_str()),
        (Some(1), &json!(false), Some("not begun")),
        "{out}"
    );
    assert!(report["rotation"]["others"][0].as_str().is_some_and(|other| other.contains(&quiet.to_string())), "{out}");
    let (code, out) = desk.run(&["acme/api", "acme/other", "acme/quiet", "--settle", "1s", "--json"]);
    let report: Value = serde_json::from_str(out.trim()).unwrap_or_else(|_| panic!("{out}"));
    assert_eq!((code, &report["rotation"]["state"]), (Some(0), &json!("done")), "{out}");
    assert!([api, other, quiet].into_iter().all(|hook| desk.is_taken(hook)) && !desk.takes_the_first());
    // And one that may be refused.
    let before = desk.secret("github.secret");
    let (code, out) = desk.run(&["acme/api", "acme/other", "--without", &quiet.to_string(), "--settle", "1s"]);
    assert_eq!(code, Some(0), "{out}");
    assert_ne!(desk.secret("github.secret"), before);
    assert!(desk.is_taken(api) && !desk.is_taken(quiet));
}

#[test]
fn a_credential_is_handed_to_the_running_service() {
    let desk = Desk::new("{ credential = \"github\" }", "");
    let hook = desk.hook("acme/api");
    let places = ["acme/api", "--settle", "1s"];
    let (code, out) = desk.run(&places);
    assert_eq!(code, Some(0), "{out}");
    let first = desk.secret("secrets/github");
    assert_eq!((desk.github.hook(hook).secret, desk.secret("handed/github")), (Some(first.clone()), SECRET.to_owned()));
    assert!(desk.is_taken(hook) && !desk.takes_the_first());
    // Interrupted before the last word to the service.
    let mut child = desk.begin(&["acme/api", "--settle", "10m"]);
    let _output = wait_for_line(&mut child, "waiting until nothing signed with the old secret came");
    kill(child);
    std::fs::rename(desk.home.path("secrets/github.next"), desk.home.path("secrets/github")).expect("it waits");
    let second = desk.secret("secrets/github");
    let (code, out) = desk.run(&places);
    assert!(code == Some(0) && out.contains("done but for one step"), "{out}");
    assert_eq!(
        (desk.secret("secrets/github"), desk.github.hook(hook).secret.clone()),
        (second.clone(), Some(second.clone()))
    );
    assert!(desk.is_taken(hook));
    desk.github.with(|state| state.hooks[0].secret = Some(first.clone()));
    assert!(!desk.is_taken(hook), "the one before is not accepted any more");
}

#[test]
fn while_one_waits_the_newest_that_the_service_accepts_is_set() {
    for (secret, next, is_next) in [
        ("{ file = \"github.secret\" }", "github.secret.next", true),
        ("{ credential = \"github\" }", "secrets/github.next", false),
    ] {
        let desk = Desk::new(secret, "");
        write_secret(&desk.home, next, "waits for its turn");
        desk.github.add_owner("acme/api");
        let mut command = desk.home.command(&["github", "register", "acme/api"]);
        let output = command.env("GH", TOKEN).output().expect("the executable starts");
        assert!(output.status.success(), "{}", said(&output));
        let set = desk.github.with(|state| state.hooks[0].secret.clone());
        assert_eq!(set.as_deref(), Some(if is_next { "waits for its turn" } else { SECRET }), "{secret}");
    }
}

#[test]
fn one_at_a_time_and_for_as_long_as_makes_sense() {
    let desk = Desk::new("{ file = \"github.secret\" }", "");
    let hook = desk.hook("acme/api");
    for settle in ["0s", "2d", "99999999999999d"] {
        let (code, out) = desk.run(&["acme/api", "--settle", settle]);
        assert!(code == Some(2) && out.contains("from 1s to 1d"), "{settle}: {out}");
    }
    let mut child = desk.begin(&["acme/api"]);
    let _output = wait_for_line(&mut child, "came for 300 s; what comes later is refused");
    let (code, out) = desk.run(&["acme/api", "--settle", "1s"]);
    assert!(code == Some(1) && out.contains("already does `rotate`"), "{out}");
    kill(child);
    let (code, out) = desk.run(&["acme/api", "--settle", "1s"]);
    assert!(code == Some(0) && desk.is_taken(hook), "{out}");
}

#[test]
fn the_file_s_readers_stay_and_nobody_else_s_are_left_behind() {
    let desk = Desk::new(
        "{ file = \"github.secret\" }",
        "[sources.other]\nprovider = \"github\"\nsecret = { file = \"link\" }\n",
    );
    desk.hook("acme/api");
    let file = desk.home.path("github.secret");
    let mode = |mode: u32| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    mode(0o644);
    let (code, out) = desk.run(&["acme/api", "--source", "github"]);
    assert!(code == Some(1) && out.contains("everybody on this machine can use") && out.contains("chmod o="), "{out}");
    mode(0o440);
    let (code, out) = desk.run(&["acme/api", "--source", "github"]);
    assert!(code == Some(1) && out.contains("source other has the secret in"), "{out}");
    assert!(!desk.home.path("github.secret.next").exists() && desk.github.count("PATCH ") == 0);
    std::fs::remove_file(desk.home.path("link")).expect("it is there");
    write_secret(&desk.home, "link", "another");
    let (code, out) = desk.run(&["acme/api", "--source", "github", "--settle", "1s"]);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o440);
}

#[test]
fn what_the_service_says_of_its_files_is_told() {
    let desk = Desk::new("{ file = \"github.secret\" }", "");
    let hook = desk.hook("acme/api");
    // Stands before the service's own, as that of a door which runs alone.
    let socket = UnixListener::bind(desk.home.path("hookbell.db.door.sock")).expect("a free path");
    let accepted = Arc::new(Mutex::new(vec![SECRET.to_owned()]));
    let (of_thread, file) = (Arc::clone(&accepted), desk.home.path("github.secret.next"));
    thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            let mut accepted = of_thread.lock().expect("nobody fails with it");
            if accepted.len() > 1 {
                // It takes the one that waits, and never lets go of one.
                let next = std::fs::read_to_string(&file).unwrap_or_default().trim().to_owned();
                accepted.extend((!next.is_empty()).then_some(next));
            }
            let secret = |text: &String| fingerprint(&Secret::new(text.clone()).expect("a secret"));
            let secrets: Vec<String> = accepted.iter().map(secret).collect();
            let faults = ["cannot read it; chown --reference=X X.next"];
            writeln!(&stream, "{}", json!({ "source": "github", "secrets": secrets, "faults": faults })).expect("sent");
        }
    });
    let (code, out) = desk.run(&["acme/api"]);
    assert!(code == Some(1) && out.contains("chown --reference=X X.next; mend that, and type"), "{out}");
    assert_eq!(desk.github.count("PATCH "), 0);
    // What goes wrong after the webhooks have changed is in the report.
    accepted.lock().expect("nobody fails with it").push("a third".to_owned());
    let (code, out) = desk.run(&["acme/api", "--settle", "1s", "--json"]);
    let line = out.lines().next().unwrap_or_default();
    let report: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{out}"));
    assert_eq!((code, &report["ok"], &report["rotation"]["state"]), (Some(1), &json!(false), &json!("both")), "{out}");
    assert!(report["places"][0]["hook"] == hook && out.contains("accepts the old one still"), "{out}");
}

#[test]
fn what_cannot_be_rotated_says_what_to_do() {
    let desk = Desk::new("{ env = \"GITHUB_WEBHOOK_SECRET\" }", "");
    desk.hook("acme/api");
    let (code, out) = desk.run(&["acme/api"]);
    assert!(
        code == Some(1) && out.contains("the environment variable GITHUB_WEBHOOK_SECRET, which only a restart changes"),
        "{out}"
    );
    let config = desk.home.path("hookbell.toml");
    let text = std::fs::read_to_string(&config).expect("it is there");
    let with = |secret: &str| {
        std::fs::write(&config, text.replace("{ env = \"GITHUB_WEBHOOK_SECRET\" }", secret)).expect("it is written");
        desk.run(&["acme/api"])
    };
    let (code, out) = with("[{ file = \"github.secret\" }, { file = \"secrets/github\" }]");
    assert!(code == Some(1) && out.contains("lists several secrets"), "{out}");
    write_secret(&desk.home, "other.secret", "another");
    let (code, out) = with("{ file = \"other.secret\" }");
    assert!(code == Some(1) && out.contains("accepts other secrets than this configuration says; restart it"), "{out}");
    let (code, out) = with("{ file = \"link\" }");
    assert!(code == Some(1) && out.contains("is no plain file"), "{out}");
    // The service took it from the variable when it started.
    let (code, out) = with("{ file = \"github.secret\" }");
    assert!(code == Some(1) && out.contains("does not accept both secrets; restart it"), "{out}");
    assert_eq!(desk.github.count("PATCH "), 0);
    let Desk { home, github, service, _slack } = desk;
    assert!(service.terminate().success());
    let rotate = || {
        let mut command = home.command(&["github", "register", "--rotate", "acme/api", "--settle", "1s"]);
        command.env("GH", TOKEN).output().expect("it starts")
    };
    let output = rotate();
    assert!(
        output.status.code() == Some(1) && said(&output).contains("hookbell does not run here"),
        "{}",
        said(&output)
    );
    let service = home.start(&["run"]);
    github.reach(Some(&service.door));
    let output = rotate();
    assert!(output.status.success() && said(&output).contains("goes on with the new secret"), "{}", said(&output));
    assert!(!home.path("github.secret.next").exists());
}
