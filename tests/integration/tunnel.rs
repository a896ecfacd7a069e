//! Quick tunnels, with a cloudflared of our own that behaves as the real one is documented: it asks for a name, says so in
//! its log, and shows name and connections at its metrics. And `status` about tunnels.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::harness::{Home, Service, slack::Slack};

/// Writes its pid and its arguments, and gives itself a name by them, so that each start has another.
const CLOUDFLARED: &str = r#"#!/usr/bin/env python3
import http.server, json, os, signal, sys
here = os.path.dirname(os.path.abspath(sys.argv[0]))
arguments = sys.argv[1:]
with open(here + "/started", "a") as log:
    log.write(json.dumps({"pid": os.getpid(), "arguments": arguments, "environment": dict(os.environ)}) + "\n")
number = sum(1 for _ in open(here + "/started"))
name = "try-%d-of-many.trycloudflare.com" % number
print("INF Requesting new quick Tunnel on trycloudflare.com...", file=sys.stderr, flush=True)
if os.path.exists(here + "/refuse"):
    print("ERR failed to request quick Tunnel: no luck today", file=sys.stderr, flush=True)
    sys.exit(1)
print("INF |  https://%s  |" % name, file=sys.stderr, flush=True)
host, port = arguments[arguments.index("--metrics") + 1].split(":")
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {"/ready": '{"status":200,"readyConnections":1}', "/quicktunnel": '{"hostname":"%s"}' % name}
        body = answers.get(self.path, "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer((host, int(port)), Metrics).serve_forever()
"#;

/// A home with such a cloudflared in its PATH, and `run --quick-tunnel` as it would be typed there.
fn home(slack: &Slack, more: &str) -> Home {
    let home = Home::new();
    home.configure(&slack.url, more);
    let program = home.path("cloudflared");
    fs::write(&program, CLOUDFLARED).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
    home
}

fn command(home: &Home) -> Command {
    let mut command = home.command(&["run", "--quick-tunnel"]);
    command.env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", home.path("").display()));
    command
}

/// What each start was told, as it wrote it down.
fn starts(home: &Home) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(home.path("started")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is_alive(pid: &serde_json::Value) -> bool {
    // A zombie is dead, and somebody else's to bury.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn wait_for_death(home: &Home, pid: &serde_json::Value) {
    home.wait_for("cloudflared's end", |_| (!is_alive(pid)).then_some(()));
}

#[test]
fn it_prints_the_urls_comes_back_after_a_death_and_ends_with_us() {
    let slack = Slack::start();
    let twilio = "[sources.sms]\nprovider = \"twilio\"\nsecret = { env = \"GITHUB_WEBHOOK_SECRET\" }\n";
    let home = home(&slack, twilio);
    let printed = home.path("printed");
    let mut command = command(&home);
    let mut service = Service::start_printing(&mut command, &printed);
    service.wait_for_log("quick tunnel: connected url=https://try-1-of-many.trycloudflare.com");
    let text = home.wait_for("the URLs", |_| {
        let text = fs::read_to_string(&printed).unwrap_or_default();
        text.contains("hookbell-tunnel").then_some(text)
    });
    for source in ["github", "sms"] {
        assert!(text.contains(&format!("https://try-1-of-many.trycloudflare.com/webhooks/{source}\n")), "{text}");
    }
    let first = starts(&home).remove(0);
    let arguments: Vec<&str> =
        first["arguments"].as_array().expect("a list").iter().filter_map(|one| one.as_str()).collect();
    let metrics = arguments[7];
    let expected =
        ["tunnel", "--no-autoupdate", "--config", "/dev/null", "--protocol", "http2", "--metrics", metrics, "--url"];
    assert_eq!(arguments[..9], expected);
    assert_eq!(arguments[9], service.door, "it leads to our door");
    assert!(!first["environment"].to_string().contains(crate::harness::SECRET), "{first}");

    // Twilio signs the URL that it calls, which only the tunnel knows.
    let sent = home.json(&[
        "send",
        "twilio",
        "sms_received",
        "--json",
        "--secret-env",
        "GITHUB_WEBHOOK_SECRET",
        "--to",
        &format!("{}/webhooks/sms", service.door),
        "--public-url",
        "https://try-1-of-many.trycloudflare.com",
    ]);
    assert_eq!(sent.last().expect("a summary")["accepted"], 1, "{sent:?}");

    // The watcher looks at once; what it sees is in the status.
    let said = home.wait_for("a look at the tunnel", |home| {
        let text = String::from_utf8(home.run(&["status"]).stdout).expect("UTF-8");
        text.lines().find(|line| line.starts_with("tunnel: ") && !line.contains("not ")).map(str::to_owned)
    });
    assert_eq!(said, "tunnel: connected (1 connection)");

    let pid = first["pid"].to_string().parse().ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it was running");
    let told = service.wait_for_log("quick tunnel: cloudflared has ended");
    assert!(
        told.contains("signal: 9") && told.contains("try-1-of-many") && told.contains("started again in 1 s"),
        "{told}"
    );
    service.wait_for_log("quick tunnel: connected url=https://try-2-of-many.trycloudflare.com");

    let second = starts(&home).remove(1);
    assert!(is_alive(&second["pid"]) && !is_alive(&first["pid"]));
    assert!(service.terminate().success());
    assert!(!is_alive(&second["pid"]), "it ends before we do");
}

#[test]
fn it_does_not_outlive_a_killed_hookbell() {
    if !std::path::Path::new("/usr/bin/setpriv").exists() {
        println!("skipped: no setpriv here");
        return;
    }
    let slack = Slack::start();
    let home = home(&slack, "");
    let mut service = Service::start(command(&home));
    service.wait_for_log("quick tunnel: connected");
    let pid = starts(&home).remove(0)["pid"].clone();
    assert!(is_alive(&pid));
    service.kill();
    wait_for_death(&home, &pid);
}

#[test]
fn one_that_gets_no_name_says_why_and_is_tried_again() {
    let slack = Slack::start();
    let home = home(&slack, "");
    fs::write(home.path("refuse"), "").expect("written");
    let mut service = Service::start(command(&home));
    let told = service.wait_for_log("quick tunnel: cloudflared has ended");
    assert!(told.contains("exit status: 1") && told.contains("no luck today"), "{told}");
    fs::remove_file(home.path("refuse")).expect("it was there");
    service.wait_for_log("quick tunnel: connected");
    assert!(service.terminate().success());
}

#[test]
fn a_unix_door_listens_on_this_machine_for_it() {
    let slack = Slack::start();
    let home = home(&slack, "");
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    fs::write(home.path("hookbell.toml"), text.replace("127.0.0.1:0", "unix:door.sock")).expect("written");
    let mut service = Service::start(command(&home));
    service.wait_for_log("quick tunnels know no sockets");
    service.wait_for_log("quick tunnel: connected");
    assert!(service.door.starts_with("http://127.0.0.1:"), "{}", service.door);
    assert!(service.terminate().success());
}

#[test]
fn without_cloudflared_nothing_starts() {
    let slack = Slack::start();
    let home = home(&slack, "");
    fs::remove_file(home.path("cloudflared")).expect("it was there");
    if std::path::Path::new("/usr/bin/cloudflared").exists()
        || std::path::Path::new("/usr/local/bin/cloudflared").exists()
    {
        println!("skipped: this machine has cloudflared");
        return;
    }
    let output = command(&home).output().expect("the executable starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not installed; install cloudflared as https://pkg.cloudflare.com says"), "{said}");
    assert!(!home.database().exists());

    // And the status says the same of a service without any tunnel.
    let service = home.start(&["run"]);
    let text = String::from_utf8(home.run(&["status"]).stdout).expect("UTF-8");
    assert!(text.contains("\ntunnel: none; cloudflared is not installed"), "{text}");
    let status = home.json(&["status", "--json"]).remove(0);
    assert_eq!(status["service"]["tunnel"]["state"], "not watched");
    assert_eq!(status["service"]["tunnel"]["installed"], false);
    assert!(service.terminate().success());
}
