//! `demo`: the whole thing in one terminal. The real daemon on a temporary database, a simulated desk, a stand-in for
//! Slack, and samples that are signed and sent like real ones. Owns what is shown; everything shown is real.

use std::{
    ffi::OsString,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    Failure,
    catch::{Bin, Manner},
    secret::random_hex,
    table::printable,
};
use crate::{
    bell::Edge,
    config::{self, Environment, Settings},
    daemon::{self, Daemon, Ending, Roles},
    http::Client,
    provider::{Provider, Signing, sample},
    secret::Secret,
    threads::{self, Stop, Wake},
    time::{Clock, SystemClock},
};

/// What is shown in turn: good news, bad news, and one that nobody wants.
const STORY: &[&str] = &[
    "pr_opened",
    "ci_failed",
    "pr_review_requested",
    "pr_merged",
    "push",
    "repo_starred",
    "issue_opened",
    "security_alert",
    "release_published",
];
/// A delivery that nobody acts on within this time is passed over.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  hookbell demo\n  hookbell demo --count 3 --interval 1")]
pub(super) struct Arguments {
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Seconds between events
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// What the screen learns.
enum Sight {
    Sent {
        name: &'static str,
        answer: String,
        took: Duration,
    },
    Slack(String),
    Edge(Edge),
    /// The story is told, or somebody wants to leave.
    End,
}

pub(super) fn demo(arguments: &Arguments) -> Result<(), Failure> {
    let directory = tempfile::Builder::new()
        .prefix("hookbell-demo-")
        .tempdir()
        .map_err(|error| Failure::Failed(format!("cannot create a temporary directory: {error}")))?;
    let shown = show(arguments, directory.path());
    let removed = directory.close();
    shown?;
    removed.map_err(|error| Failure::Failed(format!("cannot remove the temporary directory: {error}")))
}

fn show(arguments: &Arguments, directory: &Path) -> Result<(), Failure> {
    let secret = random_hex()?;
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let (slack, slack_url, messages) = Bin::open(any_port, Manner::SLACK)?;
    let settings = settings(directory, &secret, &slack_url)?;
    let daemon = Daemon::start(&settings, Roles::All).map_err(|error| Failure::Failed(error.to_string()))?;
    let door = daemon.door_address().and_then(daemon::loopback_address).map(|address| format!("http://{address}"));
    let (Some(door), Some(bell)) = (door, daemon.bell().cloned()) else {
        return Err(Failure::Failed("the demo's door or desk is missing".to_owned()));
    };

    let (sights, seen) = mpsc::channel();
    let screen = Screen::new(&settings, arguments, &door);
    let edges = bell.watch();
    let for_edges = sights.clone();
    let spawned = |error: io::Error| Failure::Failed(format!("cannot start a thread: {error}"));
    // These two end when what they listen to is gone, which the stop below sees to.
    let edge_thread =
        threads::spawn("demo-edges", threads::STACK_BYTES, move || forward(&edges, &for_edges, Sight::Edge))
            .map_err(spawned)?;
    let for_slack = sights.clone();
    let slack_thread = threads::spawn("demo-slack", threads::STACK_BYTES, move || {
        forward(&messages, &for_slack, |request| Sight::Slack(slack_text(&request)));
    })
    .map_err(spawned)?;

    let settled = Wake::new();
    let stop = Stop::new();
    let teller = Teller {
        client: Client::with_timeout(Duration::from_secs(5)),
        door,
        secret: Secret::new(secret).ok_or_else(|| Failure::Failed("the secret is empty".to_owned()))?,
        interval: Duration::from_secs(arguments.interval),
        count: arguments.count,
        sights: sights.clone(),
        settled: settled.clone(),
        stop: stop.clone(),
        end: daemon.ender(),
    };
    let teller_thread = threads::spawn("demo-teller", threads::STACK_BYTES, move || teller.run()).map_err(spawned)?;
    let for_screen = settled.clone();
    let screen_thread =
        threads::spawn("demo-screen", threads::STACK_BYTES, move || screen.run(&seen, &for_screen)).map_err(spawned)?;

    let ending = daemon.wait();
    stop.tell();
    settled.wake();
    daemon.stop();
    slack.stop(Duration::from_secs(1));
    drop(bell);
    // The screen ends at this word; everybody else has nothing more to say.
    let _ = sights.send(Sight::End);
    let shown = screen_thread.join();
    for thread in [edge_thread, slack_thread, teller_thread] {
        if thread.join().is_err() {
            return Err(Failure::Failed("a thread of the demo has panicked".to_owned()));
        }
    }
    shown
        .map_err(|_| Failure::Failed("the screen has panicked".to_owned()))?
        .map_err(|error| Failure::Failed(format!("cannot write to the terminal: {error}")))?;
    match ending {
        Ending::Thread(name) => Err(Failure::Failed(format!("the thread {name} has ended unexpectedly"))),
        Ending::Signal(_) | Ending::Asked => Ok(()),
    }
}

/// The embedded default, written out and read by the very code that `run` uses.
fn settings(directory: &Path, secret: &str, slack_url: &str) -> Result<Settings, Failure> {
    let file = directory.join("hookbell.toml");
    let text = format!(
        "[door]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {:?}\nfree_min = 0\n\
         [bell]\nboard = \"simulated\"\nleds = {{ red = 17, green = 27, blue = 22 }}\n\
         buzzer = {{ pin = 18, type = \"active\" }}\n",
        directory.join("demo.db")
    );
    fs::write(&file, text).map_err(|error| Failure::Failed(format!("cannot write {}: {error}", file.display())))?;
    let (secret, slack_url) = (secret.to_owned(), format!("{slack_url}/services/T000/B000/demo"));
    let environment = Environment::new(directory.to_owned(), file.clone(), move |name| match name {
        "GITHUB_WEBHOOK_SECRET" => Some(OsString::from(&secret)),
        "SLACK_WEBHOOK_URL" => Some(OsString::from(&slack_url)),
        _ => None,
    });
    config::load(Some(&file), &environment).map(|loaded| loaded.settings).map_err(Failure::Configuration)
}

fn forward<T>(from: &Receiver<T>, to: &Sender<Sight>, sight: impl Fn(T) -> Sight) {
    while let Ok(item) = from.recv()
        && to.send(sight(item)).is_ok()
    {}
}

fn slack_text(request: &Value) -> String {
    let body: Value = request["body"].as_str().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
    body["text"].as_str().unwrap_or("(no text)").to_owned()
}

/// Tells the story: signs samples and sends them to the door.
struct Teller {
    client: Client,
    door: String,
    secret: Secret,
    interval: Duration,
    count: Option<u64>,
    sights: Sender<Sight>,
    /// Woken when an event has reached Slack, or somebody wants to leave.
    settled: Wake,
    stop: Stop,
    end: Sender<Ending>,
}

impl Teller {
    fn run(self) {
        let mut told = 0;
        for name in STORY.iter().cycle() {
            if self.stop.is_told() || self.count.is_some_and(|count| told >= count) {
                break;
            }
            told += 1;
            let next = Instant::now() + self.interval;
            if self.tell(name, told).is_err() {
                break;
            }
            self.settled.wait(SETTLES_WITHIN);
            let is_last = self.count.is_some_and(|count| told >= count);
            while !self.stop.is_told() && !is_last && Instant::now() < next {
                self.settled.wait(next.saturating_duration_since(Instant::now()));
            }
        }
        // The daemon may be stopping already.
        let _ = self.end.send(Ending::Asked);
    }

    /// Fails only when the screen is gone.
    fn tell(&self, name: &'static str, number: u64) -> Result<(), ()> {
        let Some(mut sample) = sample::build(Provider::GitHub, name, number) else { return Ok(()) };
        let start = Instant::now();
        let url = format!("{}/webhooks/github", self.door);
        let signing = Signing::new(&self.secret, &url, SystemClock.wall());
        let answer = sample.sign(Provider::GitHub, &signing).map_err(str::to_owned).and_then(|()| {
            let (content_type, fields) = sample.fields();
            self.client.post(&url, content_type, &fields, &sample.body).map_err(|failure| failure.to_string())
        });
        let answer = match answer {
            Ok(answer) => format!("{} {}", answer.status, answer.body.trim()),
            Err(failure) => failure,
        };
        self.sights.send(Sight::Sent { name, answer, took: start.elapsed() }).map_err(|_| ())
    }
}

/// Draws. On a terminal the desk stands in the last line and changes in place; elsewhere each edge is a line.
struct Screen {
    is_terminal: bool,
    lines: Vec<(String, bool)>,
    head: [String; 2],
}

impl Screen {
    fn new(settings: &Settings, arguments: &Arguments, door: &str) -> Screen {
        let leds =
            settings.bell.leds.keys().cloned().chain(settings.bell.buzzer.map(|_| crate::bell::BUZZER.to_owned()));
        let until = match arguments.count {
            Some(count) => format!("ends after {count}"),
            None => "ctrl-C ends it and leaves nothing behind".to_owned(),
        };
        Screen {
            is_terminal: io::stdout().is_terminal(),
            lines: leds.map(|name| (name, false)).collect(),
            head: [
                format!("hookbell {} demo: {door}, a stand-in for Slack,", crate::VERSION),
                format!("a simulated desk; {until}"),
            ],
        }
    }

    fn run(mut self, seen: &Receiver<Sight>, settled: &Wake) -> io::Result<()> {
        self.print(&self.head)?;
        while let Ok(sight) = seen.recv() {
            match sight {
                Sight::Sent { name, answer, took } => {
                    self.print(&[
                        String::new(),
                        format!("{}  POST /webhooks/github  {name}", self.bold("in   ")),
                        format!(
                            "{}  {} in {:.1} ms{}",
                            self.bold("kept "),
                            printable(&answer),
                            took.as_secs_f64() * 1e3,
                            if answer.starts_with("200 ") { ", on disk" } else { "" }
                        ),
                    ])?;
                    // Nobody wants a push by default: there is nothing to wait for.
                    if name == "push" {
                        self.print(&[format!("{}  no rule wants it: kept, and quiet", self.bold("skip "))])?;
                        settled.wake();
                    }
                }
                Sight::Slack(text) => {
                    let label = self.bold("slack");
                    let lines: Vec<String> = text
                        .lines()
                        .enumerate()
                        .map(|(number, line)| match number {
                            0 => format!("{label}  {}", printable(line)),
                            _ => format!("       {}", printable(line)),
                        })
                        .collect();
                    self.print(&lines)?;
                    settled.wake();
                }
                Sight::Edge(edge) => self.edge(&edge)?,
                Sight::End => break,
            }
        }
        if self.is_terminal {
            let mut out = io::stdout().lock();
            writeln!(out, "\r\x1b[2Kbye: everything is removed")?;
        }
        Ok(())
    }

    fn edge(&mut self, edge: &Edge) -> io::Result<()> {
        if let Some(line) = self.lines.iter_mut().find(|(name, _)| *name == edge.line) {
            line.1 = edge.level == 1;
        }
        match self.is_terminal {
            true => self.print(&[]),
            false => self.print(&[format!("desk   {} {}", edge.line, if edge.level == 1 { "on" } else { "off" })]),
        }
    }

    fn print(&self, lines: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.is_terminal {
            write!(out, "\r\x1b[2K")?;
        }
        for line in lines {
            writeln!(out, "{line}")?;
        }
        if self.is_terminal {
            write!(out, "{}  {}", self.bold("desk "), self.desk())?;
        }
        out.flush()
    }

    /// The desk as coloured blocks.
    fn desk(&self) -> String {
        let blocks: Vec<String> = self
            .lines
            .iter()
            .map(|(name, lit)| {
                let colour = match name.as_str() {
                    "red" => 41,
                    "green" => 42,
                    "blue" => 44,
                    _ => 43,
                };
                match lit {
                    true => format!("\x1b[{colour}m    \x1b[0m {name}"),
                    false => format!("\x1b[2m[  ]\x1b[0m {name}"),
                }
            })
            .collect();
        blocks.join("   ")
    }

    fn bold(&self, text: &str) -> String {
        match self.is_terminal {
            true => format!("\x1b[1m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
