//! `bell`: plays or silences the real bell, through the running service where there is one. What is wired where,
//! `wiring` says.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use clap::Subcommand;
use serde_json::Value;

use super::{Failure, Global, print_line, wiring};
use crate::{
    bell::{self, Bell, Edge, Taken},
    event::Severity,
    threads,
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
    /// Play every LED and the buzzer in turn
    Test,
    /// Dark and silent now
    Off,
    /// Draw what is wired where, and say which pins something else uses
    Wiring(wiring::Arguments),
}

pub(super) fn bell(global: &Global, command: &Command) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let request = match command {
        Command::Ring { cue } => Request::Ring { cue: cue.clone() },
        Command::Test => Request::Test,
        Command::Off => Request::Off,
        Command::Wiring(arguments) => return wiring::wiring(&settings.bell, arguments),
    };
    if let Command::Ring { cue } = command
        && !settings.bell.cues.contains_key(cue)
    {
        let known: Vec<&str> = settings.bell.cues.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("there is no cue {cue:?}; there are {}", known.join(", "))));
    }
    let answer = control::ask(&settings.store.path, &request)
        .map_err(|error| Failure::Failed(format!("the running service does not answer: {error}")))?;
    match answer {
        Some(answer) => match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(Failure::Failed(error.to_owned())),
            None => print_line("done by the running service"),
        },
        None => play_here(settings.bell, command),
    }
}

/// Nobody runs: open the board ourselves, play to the end, leave it dark.
fn play_here(settings: bell::Settings, command: &Command) -> Result<(), Failure> {
    let (bell, player) = bell::player::new(settings);
    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, move || player.run())
        .map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
    let taken = play(&bell, command);
    let state = wait_until_played(&bell, &edges);
    bell.stop();
    if thread.join().is_err() {
        return Err(Failure::Failed("the player has panicked".to_owned()));
    }
    match (taken, state.error) {
        (_, Some(error)) => Err(Failure::Failed(error)),
        (Taken::Skipped(note), None) => Err(Failure::Failed(note)),
        (Taken::Queued | Taken::Merged, None) => print_line(&format!("played on the {} board", state.board)),
    }
}

/// Until nothing plays any more. A cue is at most half a minute long, and each edge is a reason to look.
fn wait_until_played(bell: &Bell, edges: &Receiver<Edge>) -> bell::State {
    const EDGE_WITHIN: Duration = Duration::from_millis(100);
    loop {
        let state = bell.state();
        if state.playing.is_none() && state.queued == 0 {
            return state;
        }
        // A pause inside a tune is no edge; then the look comes by itself.
        if edges.recv_timeout(EDGE_WITHIN) == Err(RecvTimeoutError::Disconnected) {
            return bell.state();
        }
    }
}

fn play(bell: &Bell, command: &Command) -> Taken {
    match command {
        Command::Ring { cue } => bell.ring(cue, Severity::Info),
        Command::Test => bell.test(),
        Command::Off => {
            bell.off();
            Taken::Queued
        }
        // Answered before anything plays.
        Command::Wiring(_) => Taken::Queued,
    }
}
