//! `bell`: plays or silences the real bell, through the running service where there is one. What is wired where,
//! `wiring` says.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use clap::Subcommand;
use serde_json::Value;

use super::{Failure, Global, print_line, try_desk, wiring};
use crate::{
    bell::{self, Bell, Edge, Gesture, MUTE_FOR, Mute, Presses, Ring, Taken},
    config::Settings,
    event::Severity,
    store::{Role, RoleLock, Store},
    threads,
    time::{Clock, SystemClock, Timestamp},
    work::control::{self, Request},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Play a cue
    #[command(after_help = "Examples:\n  hookbell bell ring ci_failed\n  hookbell bell ring pr_merged")]
    Ring {
        /// The cue's name: a kind of event, or one of your own from [cues]
        cue: String,
    },
    /// Try every LED, the buzzer and the button, and ask what you saw
    #[command(after_help = "Examples:\n  hookbell bell test\n  hookbell bell test --no-ask")]
    Test {
        /// Play all in turn and ask nothing, for scripts
        #[arg(long)]
        no_ask: bool,
    },
    /// Dark and silent now: acknowledges, or where no service runs darkens the pins
    Off,
    /// Acknowledge: what stays lit goes out
    Ack,
    /// Silence the buzzer for a while; LEDs go on
    #[command(after_help = "Examples:\n  hookbell bell mute        an hour, like a long press of the button\n  \
                            hookbell bell mute 45m\n  hookbell bell mute 2d")]
    Mute {
        /// For how long: 90s, 45m, 8h, 2d
        #[arg(value_parser = how_long, value_name = "DURATION")]
        duration: Option<Duration>,
    },
    /// Let the buzzer sound again
    Unmute,
    /// Do what the button does, for a desk without one
    Press {
        /// short acknowledges, long mutes or unmutes, double says how much waits
        #[arg(value_enum, default_value = "short")]
        gesture: Press,
    },
    /// Draw what is wired where, and say which pins something else uses
    Wiring(wiring::Arguments),
}

fn how_long(text: &str) -> Result<Duration, String> {
    let duration = super::short_duration(text).filter(|duration| !duration.is_zero() && *duration <= MUTE_MAX);
    duration.ok_or_else(|| "how long: 90s, 45m, 8h, 2d; 30d at most".to_owned())
}

/// Whoever wants silence for longer leaves the buzzer out of the configuration.
const MUTE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// [`Gesture`] as an argument.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Press {
    Short,
    Long,
    Double,
}

pub(super) fn bell(global: &Global, command: &Command) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let request = match command {
        Command::Test { no_ask } => return try_desk::test(settings, *no_ask),
        Command::Wiring(arguments) => return wiring::wiring(&settings.bell, arguments),
        Command::Ring { cue } => Request::Ring { cue: cue.clone() },
        Command::Off => Request::Off,
        Command::Ack => Request::Ack,
        Command::Mute { duration } => {
            let ms = duration.unwrap_or(MUTE_FOR).as_millis();
            Request::Mute { ms: Some(u64::try_from(ms).unwrap_or(u64::MAX)) }
        }
        Command::Unmute => Request::Mute { ms: None },
        Command::Press { gesture } => Request::Press {
            gesture: match gesture {
                Press::Short => Gesture::Short,
                Press::Long => Gesture::Long,
                Press::Double => Gesture::Double,
            },
        },
    };
    if let Command::Ring { cue } = command
        && !settings.bell.cues.contains_key(cue)
    {
        let known: Vec<&str> = settings.bell.cues.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("there is no cue {cue:?}; there are {}", known.join(", "))));
    }
    match ask(&settings.store.path, &request)? {
        Some(answer) => print_line(&format!("done by the running service{}", said(&answer))),
        None => do_here(&settings, command),
    }
}

/// What the running service answers; `None` where none runs.
pub(super) fn ask(database: &Path, request: &Request) -> Result<Option<Value>, Failure> {
    let answer = control::ask(database, request)
        .map_err(|error| Failure::Failed(format!("the running service does not answer: {error}")))?;
    match answer.as_ref().and_then(|answer| answer.get("error")).and_then(Value::as_str) {
        Some(error) => Err(Failure::Failed(error.to_owned())),
        None => Ok(answer),
    }
}

/// What is worth saying of an answer.
fn said(answer: &Value) -> String {
    if let Some(acknowledged) = answer["acknowledged"].as_array() {
        let text = |latch: &Value, key: &str| latch[key].as_str().unwrap_or_default().to_owned();
        let named: Vec<String> = acknowledged
            .iter()
            .map(|latch| format!("{} {}", text(latch, "cue"), text(latch, "subject")).trim_end().to_owned())
            .collect();
        return match named.is_empty() {
            true => "; nothing stayed lit".to_owned(),
            false => format!("; went out: {}", named.join(", ")),
        };
    }
    answer["muted_until"].as_str().map_or_else(String::new, |until| format!("; muted until {until}"))
}

/// Nobody runs. What is played is played by our own board; what is kept is changed in the database, for the next start.
fn do_here(settings: &Settings, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Ring { cue } => {
            let own = OwnDesk::open(settings.bell.clone())?;
            let taken = own.bell.ring(Ring { by_hand: true, ..Ring::now(cue, Severity::Info) });
            own.finish(&taken)
        }
        Command::Off => {
            // Opening and leaving a board is what darkens it. The database is not touched: this also runs after a crash.
            let board = OwnDesk::open(bell::Settings { button: None, ..settings.bell.clone() })?.close()?;
            print_line(&format!("dark, by the {board} board"))
        }
        Command::Ack => {
            let forgotten = with_store(settings, |store| {
                let latches = store.reader()?.latches()?;
                store.forget_latches(&latches.iter().map(|latch| latch.id).collect::<Vec<_>>())?;
                Ok(latches.len())
            })?;
            print_line(&format!("no service runs; {forgotten} will not be lit at the next start"))
        }
        Command::Mute { duration } => {
            let asked = duration.unwrap_or(MUTE_FOR);
            let until = SystemClock.wall().plus(asked);
            with_store(settings, |store| store.remember_mute(Some(Mute { until, asked })))?;
            print_line(&format!("no service runs; one that starts before {until} will be mute until then"))
        }
        Command::Unmute => {
            with_store(settings, |store| store.remember_mute(None))?;
            print_line("no service runs; the next one will not be muted")
        }
        Command::Press { .. } => Err(Failure::Failed("no service runs that a button could be pressed of".to_owned())),
        // These have gone their own way.
        Command::Test { .. } | Command::Wiring(_) => Ok(()),
    }
}

/// Opens the database as the worker does, so that none can start meanwhile.
fn with_store<T>(
    settings: &Settings,
    change: impl FnOnce(&Store) -> Result<T, crate::store::StoreError>,
) -> Result<T, Failure> {
    let path = &settings.store.path;
    if !path.exists() {
        return Err(Failure::Failed(format!("there is no database {} yet", path.display())));
    }
    let _lock = RoleLock::take(path, Role::Work)?;
    let (store, threads) = Store::open(path, 0, Arc::new(SystemClock))?;
    let changed = change(&store);
    const WITHIN: Duration = Duration::from_secs(10);
    threads.stop(WITHIN);
    Ok(changed?)
}

/// A desk of this process's own, while no service has it.
pub(super) struct OwnDesk {
    pub(super) bell: Bell,
    edges: Receiver<Edge>,
    threads: Vec<JoinHandle<()>>,
}

impl OwnDesk {
    pub(super) fn open(settings: bell::Settings) -> Result<OwnDesk, Failure> {
        let no_thread = |error: std::io::Error| Failure::Failed(format!("cannot start a thread: {error}"));
        let parts = bell::Parts { clock: Arc::new(SystemClock), newest: Timestamp::from_ms(0), keeper: None };
        let (bell, player) = bell::player::new(settings, parts);
        let edges = bell.watch();
        let mut threads =
            vec![threads::spawn("player", threads::STACK_BYTES, move || player.run()).map_err(no_thread)?];
        if let Some(presses) = Presses::new(&bell).map_err(no_thread)? {
            threads.push(threads::spawn("button", threads::STACK_BYTES, move || presses.run()).map_err(no_thread)?);
        }
        Ok(OwnDesk { bell, edges, threads })
    }

    /// Until nothing plays any more. A cue is at most half a minute long, and each edge is a reason to look.
    pub(super) fn wait_until_played(&self) -> bell::State {
        const EDGE_WITHIN: Duration = Duration::from_millis(100);
        loop {
            let state = self.bell.state();
            if state.playing.is_none() && state.queued == 0 {
                return state;
            }
            // A pause inside a tune is no edge; then the look comes by itself.
            if self.edges.recv_timeout(EDGE_WITHIN) == Err(RecvTimeoutError::Disconnected) {
                return self.bell.state();
            }
        }
    }

    /// Plays to the end and leaves the desk dark.
    pub(super) fn finish(self, taken: &Taken) -> Result<(), Failure> {
        self.wait_until_played();
        let board = self.close()?;
        match taken {
            Taken::Skipped(note) => Err(Failure::Failed(note.clone())),
            Taken::Queued | Taken::Merged => print_line(&format!("played on the {board} board")),
        }
    }

    /// Leaves the desk dark, and says what drove it, or what was wrong with it.
    fn close(self) -> Result<String, Failure> {
        let state = self.bell.state();
        self.bell.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                return Err(Failure::Failed("a thread of the desk has panicked".to_owned()));
            }
        }
        match state.error {
            Some(error) => Err(Failure::Failed(error)),
            None => Ok(state.board),
        }
    }
}
