//! `demo`: the whole thing in one terminal. The real daemon on a temporary database, a simulated desk, a stand-in for
//! Slack, and samples that are signed and sent like real ones. Owns the story; everything shown is real.

mod screen;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, Sender},
    time::{Duration, Instant},
};

use serde_json::Value;

use self::screen::Screen;
use super::{
    Failure,
    catch::{Bin, Manner},
    secret::random_hex,
};
use crate::{
    bell::{Bell, Edge, State},
    config::{self, Environment, Settings},
    daemon::{self, Daemon, Ending, Roles},
    event::CI_PASSED,
    http::Client,
    panel,
    provider::{Provider, Signing, sample},
    secret::Secret,
    store::Reader,
    threads::{self, Stop},
    time::{Clock, SystemClock},
};

/// What is shown in turn, and how often at once: news, a failure that stays lit while others come and until it is over,
/// applause that is counted, one that nobody wants, and an alarm.
const STORY: &[(&str, u64)] = &[
    ("pr_opened", 1),
    ("ci_failed", 1),
    ("repo_starred", 3),
    (CI_PASSED, 1),
    ("pr_merged", 1),
    ("push", 1),
    ("pr_review_requested", 1),
    ("issue_opened", 1),
    ("security_alert", 1),
    ("release_published", 1),
];
/// Of these, what the default rules send nowhere.
const UNWANTED: &[&str] = &["push", CI_PASSED];
/// A delivery that nobody acts on within this time is passed over.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);
/// What makes no edge, such as a second ring for what plays, is seen so soon.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell demo
  hookbell demo --count 6 --interval 1     up to the light that goes out again
  hookbell demo --count 3 | cat            every change of the desk as a line

On a terminal the desk stands in the last lines; NO_COLOR=1 draws it without colours.")]
pub(super) struct Arguments {
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Seconds between events
    #[arg(long, default_value_t = 4, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// What the screen learns.
enum Sight {
    /// An event is on its way.
    Sent(&'static str),
    Answered {
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
    let daemon =
        Daemon::start(&settings, Roles::All, Vec::new()).map_err(|error| Failure::Failed(error.to_string()))?;
    let door = daemon.door_address().and_then(daemon::loopback_address).map(|address| format!("http://{address}"));
    let (Some(door), Some(bell)) = (door, daemon.bell().cloned()) else {
        return Err(Failure::Failed("the demo's door or desk is missing".to_owned()));
    };

    let panel = daemon.panel_address().and_then(panel::Address::of).map(|address| address.url);
    let (sights, seen) = mpsc::channel();
    let edges = bell.watch();
    let (settle, settled) = mpsc::channel();
    let screen = Screen::new(&settings, bell.clone(), settle.clone(), heading(arguments, &door, panel));
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

    let stop = Stop::new();
    let teller = Teller {
        client: Client::with_timeout(Duration::from_secs(5)),
        door,
        secret: Secret::new(secret).ok_or_else(|| Failure::Failed("the secret is empty".to_owned()))?,
        interval: Duration::from_secs(arguments.interval),
        count: arguments.count,
        database: settings.store.path.clone(),
        sights: sights.clone(),
        settled,
        bell: bell.clone(),
        stop: stop.clone(),
        end: daemon.ender(),
    };
    let teller_thread = threads::spawn("demo-teller", threads::STACK_BYTES, move || teller.run()).map_err(spawned)?;
    let screen_thread =
        threads::spawn("demo-screen", threads::STACK_BYTES, move || screen.run(&seen)).map_err(spawned)?;

    let ending = daemon.wait();
    stop.tell();
    // The teller may have ended already.
    let _ = settle.send(());
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
    ending.judged().map_err(Failure::Failed)
}

fn heading(arguments: &Arguments, door: &str, panel: Option<String>) -> [String; 2] {
    let until = match arguments.count {
        Some(count) => format!("ends after {count}"),
        None => "ctrl-C ends it and leaves nothing behind".to_owned(),
    };
    let panel = panel.map(|url| format!("look at it in a browser: {url}; ")).unwrap_or_default();
    [
        format!("hookbell {} demo: {door}, a stand-in for Slack, a simulated desk", crate::VERSION),
        format!("{panel}{until}"),
    ]
}

/// The embedded default, written out and read by the very code that `run` uses.
fn settings(directory: &Path, secret: &str, slack_url: &str) -> Result<Settings, Failure> {
    let file = directory.join("hookbell.toml");
    let text = format!(
        "[door]\nlisten = \"127.0.0.1:0\"\n\
         [store]\npath = {:?}\nfree_min = 0\n\
         [panel]\nlisten = \"127.0.0.1:0\"\n\
         [bell]\nboard = \"simulated\"\nleds = {{ red = 17, green = 27, blue = 22 }}\n\
         buzzer = {{ pin = 18, type = \"passive\" }}\n",
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

/// Whether a sink has still to get something: the desk may be later than Slack.
fn owes(database: &Path) -> bool {
    let queues = Reader::open(database).and_then(|reader| reader.queues());
    queues.is_ok_and(|queues| queues.iter().any(|queue| queue.waiting > 0))
}

fn is_busy(state: &State) -> bool {
    state.playing.is_some() || state.queued > 0
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
    database: PathBuf,
    sights: Sender<Sight>,
    /// One for each event that has reached Slack or will reach nobody, and one when somebody wants to leave.
    settled: Receiver<()>,
    bell: Bell,
    stop: Stop,
    end: Sender<Ending>,
}

impl Teller {
    fn run(self) {
        let mut told = 0;
        let is_enough = |told: u64| self.stop.is_told() || self.count.is_some_and(|count| told >= count);
        'story: for (name, times) in STORY.iter().cycle() {
            if is_enough(told) {
                break;
            }
            let next = Instant::now() + self.interval;
            let before = told;
            while told < before + times && !is_enough(told) {
                told += 1;
                if self.tell(name, told).is_err() {
                    break 'story;
                }
            }
            let deadline = Instant::now() + SETTLES_WITHIN;
            for _ in (before..told).take_while(|_| !self.stop.is_told()) {
                self.wait(deadline);
            }
            while !is_enough(told) && Instant::now() < next {
                self.wait(next);
            }
        }
        // The last one is seen and heard to its end, too.
        let deadline = Instant::now() + SETTLES_WITHIN;
        let is_over = || !owes(&self.database) && !is_busy(&self.bell.state());
        while !self.stop.is_told() && !is_over() && Instant::now() < deadline {
            self.wait(Instant::now() + LOOKS_EVERY);
        }
        // The daemon may be stopping already.
        let _ = self.end.send(Ending::Asked);
    }

    /// Until something settles, or then.
    fn wait(&self, deadline: Instant) {
        // Who started this holds a sender: it does not disconnect.
        let _ = self.settled.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    /// Fails only when the screen is gone.
    fn tell(&self, name: &'static str, number: u64) -> Result<(), ()> {
        let Some(mut sample) = sample::build(Provider::GitHub, name, number) else { return Ok(()) };
        self.sights.send(Sight::Sent(name)).map_err(|_| ())?;
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
        self.sights.send(Sight::Answered { answer, took: start.elapsed() }).map_err(|_| ())
    }
}
