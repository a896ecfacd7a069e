//! One hookbell for a long time, with all that comes to it in a day: good deliveries, forged and broken ones, slow clients,
//! somebody who looks, and faults. Judges that nothing that was answered 200 is lost, that order is kept and the file sound,
//! and that memory, descriptors and threads stay flat.
//!
//! `soak EXECUTABLE [--minutes N] [--seed N] [--data FOLDER] [--as-it-is]`; `scripts/soak` is how it is run.

mod chance;
mod faults;
mod gauge;
mod ledger;
mod report;
mod traffic;
mod visitor;

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    service::unit_environment,
    slack::{Mode, Slack},
    stage::{Plan, Stage, free_address},
};
use sha2::{Digest, Sha256};

use crate::{
    chance::{Halt, Windows},
    faults::Faults,
    gauge::Sample,
    ledger::Ledger,
    report::Report,
    traffic::Traffic,
    visitor::Visitor,
};

/// How often it is looked at what the process uses.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long all that was owed may take when the faults are over.
const SETTLING_MAX: Duration = Duration::from_secs(120);
/// The newest rows, whose bodies are unpacked and compared at the end.
const COMPARED_MAX: usize = 2000;
/// How glibc keeps memory for the service, in which a leak would drown otherwise. By itself it makes a heap for each of a dozen
/// threads, and takes a large body into them once one of its size was freed: the places of past bodies stay behind there, 35 MB
/// after some minutes and still creeping, where one heap for small things alone is a third of that.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];
/// Shorter than this there are not enough samples.
const MINUTES_MIN: u64 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Arguments {
    executable: PathBuf,
    data: PathBuf,
    lasts: Duration,
    seed: u64,
    /// Variables for the service.
    environment: Vec<(String, String)>,
}

fn arguments() -> io::Result<Arguments> {
    let (mut executable, mut data, mut minutes, mut seed) = (None, std::env::temp_dir(), 10, 1);
    let mut environment = ALLOCATOR.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| io::Error::other(format!("{argument} needs a value")));
        let number = |text: String| text.parse().map_err(|_| io::Error::other(format!("{text:?} is no number")));
        match argument.as_str() {
            "--minutes" => minutes = number(value()?)?,
            "--seed" => seed = number(value()?)?,
            "--as-it-is" => {
                environment = unit_environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            }
            "--data" => data = PathBuf::from(value()?),
            _ if executable.is_none() && !argument.starts_with('-') => executable = Some(PathBuf::from(argument)),
            _ => return Err(io::Error::other(format!("unknown argument {argument}; see scripts/soak --help"))),
        }
    }
    if minutes < MINUTES_MIN {
        return Err(io::Error::other(format!("{MINUTES_MIN} minutes at least: in less nothing can be judged")));
    }
    let executable = executable.ok_or_else(|| io::Error::other("name the executable, as scripts/soak does"))?;
    let executable = executable
        .canonicalize()
        .map_err(|error| io::Error::other(format!("{}: {error}; build it first", executable.display())))?;
    Ok(Arguments {
        executable,
        data: data.canonicalize()?,
        lasts: Duration::from_secs(60 * minutes),
        seed,
        environment,
    })
}

fn run() -> io::Result<bool> {
    let Arguments { executable, data, lasts, seed, environment } = arguments()?;
    let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(data)?;
    let slack = Slack::start()?;
    let mut plan = Plan::new(&executable, folder.path(), slack.url());
    let panel = free_address()?;
    (plan.panel, plan.is_traced, plan.environment) = (Some(panel), false, environment);
    // Who ends this program in the middle ends the service, too.
    plan.wrapper = ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).to_vec();
    // So little that each start has something to remove.
    plan.store = "size_max = \"4 MiB\"\nkeep = \"1 day\"".to_owned();
    plan.more = traffic::OTHERS
        .iter()
        .map(|provider| {
            let name = provider.name();
            format!("[sources.{name}]\nprovider = \"{name}\"\nsecret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}\n")
        })
        .collect();
    let mut stage = Stage::start(plan)?;

    let (halt, windows, requests) = (Halt::default(), Windows::default(), AtomicU64::new(0));
    let ledger = Ledger::new(stage.plan.database());
    let (outcome, visits) = (Mutex::default(), Mutex::default());
    let (samples, done) = (Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    let begun = Instant::now();
    let failed = thread::scope(|scope| {
        let traffic = Traffic {
            address: stage.address,
            seed,
            large_every: (lasts / 10).clamp(Duration::from_secs(20), Duration::from_secs(60)),
            windows: &windows,
            requests: &requests,
            outcome: &outcome,
        };
        let visitor = Visitor { panel, stage: &stage, seed, windows: &windows, requests: &requests, visits: &visits };
        let faults =
            Faults { stage: &stage, slack: &slack, ledger: &ledger, windows: &windows, lasts, seed, done: &done };
        let (halt, watched) =
            (&halt, Watched { stage: &stage, ledger: &ledger, requests: &requests, samples: &samples });
        let at_work = [
            scope.spawn(move || ends(halt, traffic.run(halt))),
            scope.spawn(move || ends(halt, visitor.run(halt))),
            scope.spawn(move || ends(halt, faults.run(halt))),
            scope.spawn(move || ends(halt, watch(watched, halt))),
        ];
        halt.wait(lasts);
        halt.tell();
        let ended = at_work.map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a panic, see above"))));
        ended.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect::<Vec<_>>()
    });
    let lasted = begun.elapsed();

    slack.answer(Mode::Ok);
    let mut report = Report::new(seed, lasted, failed);
    let settled = settle(&stage);
    report.expect(settled.is_ok(), || format!("expected that all is settled: {}", said(settled)));
    ledger.read_on()?;
    let outcome = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    let told = slack.texts();
    report.lost = ledger.lost(&outcome.promised, &told);
    let changed = changed(&stage)?;
    report.expect(changed.is_empty(), || format!("stored with other bytes than their hash: {}", changed.join(", ")));
    let wrong = ledger.out_of_order(&told);
    report.expect(wrong.is_empty(), || {
        format!("{} messages out of their subject's order: {}", wrong.len(), wrong.join(", "))
    });
    let dead = stage.count("SELECT count(*) FROM dispatch WHERE state = 'dead'")?;
    report.expect(dead == 0, || format!("{dead} dispatches are dead letters"));
    report.restarts = stage.restarts();
    let stopped = stage.stop();
    report.expect(stopped.is_ok(), || format!("expected an orderly stop: {}", said(stopped)));
    let unsound = stage.unsoundness()?;
    report.expect(unsound.is_none(), || format!("the file is unsound: {}", unsound.unwrap_or_default()));
    report.judge_log(&stage.log());
    report.unseen = ledger.unseen(&outcome.promised);
    (report.stored, report.pruned) = ledger.stored_and_pruned();
    report.told = told.len();
    report.take(outcome, visits.into_inner().unwrap_or_else(PoisonError::into_inner));
    report.faults = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.judge_lives(samples.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(report.print())
}

fn said<T>(result: io::Result<T>) -> String {
    result.err().map_or_else(String::new, |error| error.to_string())
}

/// Who cannot go on ends it for all.
fn ends(halt: &Halt, done: io::Result<()>) -> io::Result<()> {
    if done.is_err() {
        halt.tell();
    }
    done
}

/// What is looked at, and where that is noted.
struct Watched<'a> {
    stage: &'a Stage,
    ledger: &'a Ledger,
    requests: &'a AtomicU64,
    samples: &'a Mutex<Vec<Sample>>,
}

/// Each second what the process uses, and what was stored.
fn watch(watched: Watched<'_>, halt: &Halt) -> io::Result<()> {
    let Watched { stage, ledger, requests, samples } = watched;
    let (database, log) = (stage.plan.database(), stage.plan.log("run"));
    while !halt.wait(LOOK_EVERY) {
        ledger.read_on()?;
        let Some(pid) = stage.pids().first().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) else { continue };
        let life = stage.restarts();
        // It may have ended meanwhile.
        if let Some(sample) = gauge::look(pid, life, requests.load(Ordering::Relaxed), &database, &log) {
            samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
        }
    }
    Ok(())
}

/// Waits until nothing is owed any more.
fn settle(stage: &Stage) -> io::Result<()> {
    stage.wait_until("the settling of everything", SETTLING_MAX, || {
        let unsettled = stage.count(
            "SELECT (SELECT count(*) FROM delivery WHERE status IN ('unprocessed', 'retrying')) \
             + (SELECT count(*) FROM dispatch WHERE state IN ('due', 'leased')) AS unsettled",
        )?;
        if unsettled > 0 {
            // Each question is a process of its own on a small machine.
            thread::sleep(Duration::from_millis(300));
        }
        Ok(unsettled == 0)
    })
}

/// Of the newest rows those whose body is not what its hash says.
fn changed(stage: &Stage) -> io::Result<Vec<String>> {
    let rows = stage.sql(&format!(
        "SELECT delivery.id AS id, lower(hex(sha256)) AS hash, hookbell_text(codec, bytes) AS text FROM delivery \
         JOIN body ON body.delivery = delivery.id WHERE raw_bytes < 100000 ORDER BY delivery.id DESC LIMIT {COMPARED_MAX}"
    ))?;
    let is_changed = |row: &&serde_json::Value| {
        let digest = Sha256::digest(row["text"].as_str().unwrap_or_default());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        row["hash"].as_str() != Some(&hex)
    };
    Ok(rows.iter().filter(is_changed).map(|row| row["id"].to_string()).collect())
}
