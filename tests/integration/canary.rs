//! The canary, by a public URL on loopback: a road that leads to the door, elsewhere, or nowhere, as the test says.
//!
//! What takes minutes in service takes milliseconds here, which the configuration does not allow; so the daemon is started
//! within the test. All who ask it are real executables.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use hookbell::{
    config::{self, Environment, Listen},
    daemon::{Daemon, Roles},
};
use serde_json::Value;

use crate::harness::{Home, PATIENCE, SECRET, http, slack::Slack};

/// Where the road leads.
#[derive(Clone)]
enum End {
    /// To this door.
    Door(String),
    /// To somebody who answers this.
    Page(&'static str, &'static str),
    /// Nobody answers.
    Nobody,
}

/// What Cloudflare says of a name without a tunnel.
const NO_TUNNEL: End = End::Page("530 <none>", "error code: 1033");

struct Road {
    url: String,
    end: Arc<Mutex<End>>,
    passed: Receiver<()>,
}

impl Road {
    fn new(end: End) -> Road {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let end = Arc::new(Mutex::new(end));
        let now = end.clone();
        let (passes, passed) = channel();
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let end = now.lock().expect("no panic").clone();
                // Who asked may have left.
                let _ = pass(&stream, &end);
                let _ = passes.send(());
            }
        });
        Road { url, end, passed }
    }

    fn leads(&self, end: End) {
        *self.end.lock().expect("no panic") = end;
    }

    /// Waits until several more have been asked and answered.
    fn wait(&self) {
        self.passed.try_iter().for_each(drop);
        for _ in 0..4 {
            self.passed.recv_timeout(PATIENCE).expect("somebody passes");
        }
    }
}

fn pass(mut stream: &TcpStream, end: &End) -> std::io::Result<()> {
    let (mut reader, mut request, mut length) = (BufReader::new(stream), Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        request.extend(line.as_bytes());
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    request.extend(body);
    match end {
        End::Door(door) => {
            let mut onward = http::connect(door)?;
            onward.write_all(&request)?;
            std::io::copy(&mut onward, &mut stream)?;
        }
        End::Page(status, body) => {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        }
        End::Nobody => {}
    }
    stream.shutdown(std::net::Shutdown::Both)
}

/// This home's configuration with a canary to there.
fn with_canary(home: &Home, slack: &Slack, url: &str) {
    home.configure(&slack.url, "[health]\ntell_after = \"1 s\"\n[tunnel]\ncanary = \"1 min\"");
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let text = text.replace("[door]\n", &format!("[door]\npublic_url = {url:?}\n"));
    fs::write(home.path("hookbell.toml"), text).expect("written");
}

fn tunnel(home: &Home) -> Value {
    home.json(&["status", "--json"]).remove(0)["service"]["tunnel"].clone()
}

#[test]
fn what_does_not_come_back_is_an_outage_and_what_does_ends_it() {
    let (home, slack, road) = (Home::new(), Slack::start(), Road::new(NO_TUNNEL));
    with_canary(&home, &slack, &road.url);
    let slack_url = slack.url.clone();
    let lookup = move |name: &str| match name {
        "GITHUB_WEBHOOK_SECRET" => Some(OsString::from(SECRET)),
        "SLACK_WEBHOOK_URL" => Some(OsString::from(&slack_url)),
        _ => None,
    };
    let environment = Environment::new(home.path(""), PathBuf::from("/none"), lookup);
    let file = home.path("hookbell.toml");
    let mut settings = config::load(Some(&file), &environment).expect("a good configuration").settings;
    settings.tunnel.canary.as_mut().expect("a canary").every = Duration::from_millis(10);
    let daemon = Daemon::start(&settings, Roles::All, Vec::new()).expect("it starts");
    let address = |listen: Option<&Listen>| match listen {
        Some(Listen::Tcp(address)) => format!("http://{address}"),
        other => panic!("not on TCP: {other:?}"),
    };
    let (door, panel) = (address(daemon.door_address()), address(daemon.panel_address()));

    let is_down_by = |says: &str| {
        let tunnel = home.wait_for(says, |home| {
            let tunnel = tunnel(home);
            (tunnel["state"] == "down" && tunnel["why"].as_str().is_some_and(|why| why.contains(says)))
                .then_some(tunnel)
        });
        assert!(tunnel["canary"]["missing"].as_u64().is_some_and(|missing| missing >= 2), "{tunnel}");
        assert!(tunnel["remedy"].is_string() && tunnel["since"].is_string(), "{tunnel}");
    };
    let is_back = || {
        let tunnel = home.wait_for("its return", |home| Some(tunnel(home)).filter(|seen| seen["state"] == "connected"));
        let canary = &tunnel["canary"];
        assert!(canary["round_trip_ms"].is_u64() && canary["at"].is_string(), "{tunnel}");
        assert_eq!(
            (&canary["missing"], &tunnel["why"], &tunnel["connections"]),
            (&0.into(), &Value::Null, &Value::Null)
        );
    };

    // It is told in words, by the desk, and by an event, which goes to Slack as any other.
    is_down_by("Cloudflare has no tunnel for this name");
    let text = String::from_utf8(home.run(&["status"]).stdout).expect("UTF-8");
    assert!(text.contains("\ntunnel: down since 2") && text.contains("\n  canary: "), "{text}");
    assert!(text.contains(&format!(": {} does not lead here: Cloudflare has no tunnel", road.url)), "{text}");
    home.wait_for("the cue", |home| home.trace().iter().any(|edge| edge["line"] == "red").then_some(()));
    let told = slack.next();
    assert!(told.text().contains("the tunnel is down") && told.text().contains("does not lead here"), "{told:?}");
    let problems = home.json(&["status", "--json"]).remove(0)["health"]["problems"].clone();
    assert_eq!(problems[0]["kind"], "hookbell_tunnel_down", "{problems}");

    road.leads(End::Door(door.clone()));
    is_back();
    let text = String::from_utf8(home.run(&["status"]).stdout).expect("UTF-8");
    assert!(text.contains("\ntunnel: connected\n  canary: there and back in "), "{text}");
    let metrics = http::get(&panel, "/metrics").expect("an answer").body;
    assert!(
        metrics.contains("\nhookbell_tunnel_up 1\n") && metrics.contains("\nhookbell_canary_missing 0\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\nhookbell_canary_round_trip_seconds 0"), "{metrics}");
    home.wait_for("the page says so", |_| {
        let page = http::get(&panel, "/").expect("an answer").body;
        page.contains("<li>Tunnel: connected, there and back in ").then_some(())
    });
    let told = slack.next();
    assert!(told.text().contains("well again"), "{told:?}");

    // Whoever else answers is not us, and so is nobody.
    road.leads(End::Page("200 OK", "<h1>Welcome to the hotel</h1>"));
    is_down_by("something else answers there (status 200: \"<h1>Welcome to the hotel</h1>\")");
    let metrics = http::get(&panel, "/metrics").expect("an answer").body;
    assert!(metrics.contains("\nhookbell_tunnel_up 0\n"), "{metrics}");
    road.leads(End::Door(door.clone()));
    is_back();

    let other = Home::new();
    other.configure(&slack.url, "");
    let stranger = other.start(&["run"]);
    road.leads(End::Door(stranger.door.clone()));
    is_down_by("another hookbell answers there");
    road.leads(End::Door(door));
    is_back();
    assert!(stranger.terminate().success());

    road.leads(End::Nobody);
    is_down_by("broke before the answer");
    // A hookbell without room may be this one: nothing follows from it, neither in an outage nor otherwise.
    let busy = End::Page("503 Service Unavailable", r#"{"error":"too many connections"}"#);
    road.leads(busy.clone());
    road.wait();
    let missing = tunnel(&home)["canary"]["missing"].clone();
    road.wait();
    is_down_by("broke before the answer");
    assert_eq!(tunnel(&home)["canary"]["missing"], missing);
    road.leads(End::Door(address(daemon.door_address())));
    is_back();
    road.leads(busy);
    road.wait();
    is_back();

    let questions = "SELECT count(*) AS stored FROM webhook_events WHERE event_type = '_self'";
    assert_eq!(home.json(&["sql", "--json", questions])[0]["stored"], 0);
    daemon.stop();
}

#[test]
fn the_program_sends_it_soon_after_its_start() {
    let (home, slack, road) = (Home::new(), Slack::start(), Road::new(NO_TUNNEL));
    with_canary(&home, &slack, &road.url);
    let mut service = home.start(&["run"]);
    road.leads(End::Door(service.door.clone()));
    let said = service.wait_for_log("canary: ");
    assert!(said.contains("canary: back round_trip_ms="), "{said}");
    assert_eq!(tunnel(&home)["canary"]["missing"], 0);
    assert!(service.terminate().success());

    // Without a public URL it has no way, and the program says so before it starts.
    let text = fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let text = text.replace(&format!("public_url = {:?}\n", road.url), "");
    fs::write(home.path("hookbell.toml"), text).expect("written");
    let output = home.run(&["run"]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("tunnel.canary") && said.contains("public_url = \"https://YOUR-HOST-NAME\""), "{said}");
}
