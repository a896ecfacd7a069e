//! `github`: what GitHub has sent against what is here, the webhooks that it sends by, and what asking it costs.

mod cost;
mod ping;
mod register;
mod registrar;
mod rotate;
mod wanted;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{Failure, Global, print_json, print_line, status, surroundings, table};
use crate::{
    config::{self, Settings},
    recover::{self, Parts, Recovery, Reports},
    store::{Reader, Store},
    threads::{Stop, Wake},
    time::{Clock, SystemClock},
    work::control,
};

/// Looking through three days of a busy repository takes its time; pulling in what is missing may take longer than anybody
/// waits.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Between two looks at how far the service is.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What is queued for the disk at the end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

#[derive(clap::Subcommand, Debug)]
pub(super) enum Command {
    /// Make the webhooks of repositories and organisations, or repair them
    #[command(after_help = register::EXAMPLES)]
    Register(register::Arguments),
    /// Ask now what GitHub (and GitLab, and Stripe) have sent and is not here, and pull it in
    #[command(after_help = "Examples:\n  hookbell github recover\n  hookbell github recover --json")]
    Recover(Output),
    /// How far each place is reconciled, and what was found
    #[command(after_help = "Examples:\n  hookbell github status\n  hookbell github status --json")]
    Status(Output),
    /// What polling costs a day against what webhooks cost, in requests and in delay
    #[command(after_help = cost::EXAMPLES)]
    Cost(cost::Cost),
}

#[derive(clap::Args, Debug)]
pub(super) struct Output {
    /// One JSON object per place
    #[arg(long)]
    json: bool,
}

pub(super) fn github(global: &Global, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Register(arguments) => register::register(global, arguments),
        Command::Recover(output) => recover(global, output),
        Command::Cost(arguments) => cost::cost(global, arguments),
        Command::Status(output) => {
            let settings = global.load_for_reading()?;
            let service = control::ask(&settings.store.path, &control::Request::Status).ok().flatten();
            let reader = Reader::open(&settings.store.path)?;
            print(&status::reconciled(&reader, &service.unwrap_or_default())?, output)
        }
    }
}

fn print(places: &[Value], output: &Output) -> Result<(), Failure> {
    if output.json {
        return places.iter().try_for_each(print_json);
    }
    if places.is_empty() {
        return print_line("nothing is asked for: no source has a section [sources.NAME.recover]");
    }
    let now = SystemClock.wall();
    places.iter().try_for_each(|place| print_line(&table::printable(&recover::line(place, now))))
}

/// By the running service, which knows the limits that it has met; else by ourselves.
fn recover(global: &Global, output: &Output) -> Result<(), Failure> {
    let path = &global.load_for_reading()?.store.path;
    let before = ask(path, &control::Request::Status)?.unwrap_or_default();
    let places = match ask(path, &control::Request::Reconcile)? {
        Some(answer) => match answer["error"].as_str() {
            Some(error) => return Err(Failure::Failed(error.to_owned())),
            None => wait(path, &before)?,
        },
        None => alone(&global.load_in(surroundings::of_the_service(global), config::load)?.settings)?,
    };
    print(&places, output)?;
    let troubled = places.iter().filter(|place| !place["trouble"].is_null()).count();
    match troubled {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} of {} could not be asked", places.len()))),
    }
}

fn ask(database: &Path, request: &control::Request) -> Result<Option<Value>, Failure> {
    let cannot = |error| Failure::Failed(format!("cannot ask the running service: {error}"));
    control::ask(database, request).map_err(cannot)
}

/// Waits until each place was asked by a pass that had not begun before. What is only watched has a pace of its own.
fn wait(database: &Path, before: &Value) -> Result<Vec<Value>, Failure> {
    let (until, rest) = (Instant::now() + WAIT_MAX, Wake::new());
    loop {
        let status = ask(database, &control::Request::Status)?.unwrap_or_default();
        let places = status["reconciled"].as_array().cloned().unwrap_or_default();
        let begun = |place: &Value| {
            let known = before["reconciled"].as_array().into_iter().flatten();
            let same = |other: &&Value| other["source"] == place["source"] && other["place"] == place["place"];
            // One that was started meanwhile counts anew.
            let known = known.filter(|_| before["pid"] == status["pid"]).find(same);
            known.and_then(|known| known["begun"].as_u64()).unwrap_or(0)
        };
        let is_done = |place: &Value| place["origin"] == "polled" || place["passes"].as_u64() > Some(begun(place));
        if places.iter().all(is_done) {
            return Ok(places);
        }
        if Instant::now() > until {
            let minutes = WAIT_MAX.as_secs() / 60;
            let why =
                format!("the service still pulls in after {minutes} minutes; `hookbell github status` says how far");
            return Err(Failure::Failed(why));
        }
        rest.wait(LOOK_EVERY);
    }
}

/// Without a service: one look, here.
fn alone(settings: &Settings) -> Result<Vec<Value>, Failure> {
    if settings.sources.values().all(|source| source.recover.is_none()) {
        return Ok(Vec::new());
    }
    let (store, threads) = Store::open(&settings.store.path, settings.store.free_bytes_min, Arc::new(SystemClock))?;
    let (reports, public_url) = (Reports::default(), settings.door.public_url.clone());
    let parts = Parts {
        store,
        clock: Arc::new(SystemClock),
        router: Wake::new(),
        wake: Wake::new(),
        stop: Stop::new(),
        reports: reports.clone(),
        public_url: Box::new(move || public_url.clone()),
    };
    if let Some(mut recovery) = Recovery::new(settings, parts) {
        recovery.once();
    }
    threads.stop(STOP_WITHIN);
    Ok(reports.all())
}
