//! Does harm to hookbell in every way that a desk may see, while somebody sends fifty signed deliveries a second, and judges:
//! nothing that was answered 200 is lost, the file is sound, and the service comes back. Prints how long it was deaf, what
//! the desk showed, and what told the user.
//!
//! `chaos EXECUTABLE [--long] [--only NAME,…] [--list] [--seed N] [--data FOLDER]`; `scripts/chaos` is how it is run.

mod clock;
mod database;
mod disk;
mod limits;
mod name_server;
mod outside;
mod process;

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use hookbell_bench::{
    finding::{self, Finding},
    load,
    scene::{Scenario, Setting},
};

/// By theme; what waits longest is first, so that the others are done meanwhile.
const THEMES: &[&[(&str, Scenario)]] = &[
    outside::SCENARIOS,
    process::SCENARIOS,
    clock::SCENARIOS,
    limits::SCENARIOS,
    disk::SCENARIOS,
    database::SCENARIOS,
];

/// Ways in which deliveries of one scenario were refused that are shown.
const REASONS_MAX: usize = 5;

/// Scenarios at the same time: they mostly wait.
const AT_ONCE: usize = 2;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for.
struct Arguments {
    executable: Option<PathBuf>,
    data: PathBuf,
    is_long: bool,
    is_list: bool,
    only: Vec<String>,
    seed: u64,
}

fn arguments() -> io::Result<Arguments> {
    let mut found = Arguments {
        executable: None,
        data: std::env::temp_dir(),
        is_long: false,
        is_list: false,
        only: Vec::new(),
        seed: 1,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| io::Error::other(format!("{argument} needs a value")));
        match argument.as_str() {
            "--long" => found.is_long = true,
            "--list" => found.is_list = true,
            "--only" => found.only.extend(value()?.split(',').map(|name| name.trim().to_owned())),
            "--seed" => found.seed = value()?.parse().map_err(|_| io::Error::other("--seed needs a number"))?,
            "--data" => found.data = PathBuf::from(value()?),
            _ if found.executable.is_none() && !argument.starts_with('-') => {
                found.executable = Some(PathBuf::from(argument));
            }
            _ => return Err(io::Error::other(format!("unknown argument {argument}; see scripts/chaos --help"))),
        }
    }
    Ok(found)
}

fn run() -> io::Result<bool> {
    let arguments = arguments()?;
    let all: Vec<(&str, Scenario)> = THEMES.iter().flat_map(|theme| theme.iter().copied()).collect();
    if arguments.is_list {
        all.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(true);
    }
    if let Some(unknown) = arguments.only.iter().find(|name| !all.iter().any(|(known, _)| known == name)) {
        return Err(io::Error::other(format!("no scenario is called {unknown:?}; see scripts/chaos --list")));
    }
    let Some(executable) = arguments.executable else {
        return Err(io::Error::other("name the executable to do harm to, as scripts/chaos does"));
    };
    let executable = executable
        .canonicalize()
        .map_err(|error| io::Error::other(format!("{}: {error}; build it first", executable.display())))?;
    let (is_long, seed) = (arguments.is_long, arguments.seed);
    let setting = Setting { executable, data: arguments.data.canonicalize()?, is_long, seed };
    load::raise_descriptor_limit()?;

    let is_wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let chosen: Vec<(&str, Scenario)> = all.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    let begun = Instant::now();
    let findings = do_all(&setting, &chosen);
    print!("\n{}", finding::table(&findings));
    println!("{} scenarios in {:.0} s, seed {}", chosen.len(), begun.elapsed().as_secs_f64(), setting.seed);
    for finding in &findings {
        for (reason, count) in finding.reasons.iter().take(REASONS_MAX) {
            println!("refused in {}: {count} × {reason}", finding.fault);
        }
        for lost in finding.lost.iter().take(5) {
            println!("LOST {}: {lost}", finding.fault);
        }
        for missed in &finding.missed {
            println!("FAILED {}: {missed}", finding.fault);
        }
    }
    Ok(findings.iter().all(Finding::is_good))
}

/// Some at a time, and all findings in the order of the table.
fn do_all(setting: &Setting, chosen: &[(&str, Scenario)]) -> Vec<Finding> {
    let waiting: Mutex<VecDeque<usize>> = Mutex::new((0..chosen.len()).collect());
    let found: Mutex<Vec<(usize, Finding)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(index) = next else { return };
                    let finding = do_one(setting, chosen[index]);
                    found.lock().unwrap_or_else(PoisonError::into_inner).push((index, finding));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, finding)| finding).collect()
}

/// What could not be done is an expectation missed.
fn do_one(setting: &Setting, (name, scenario): (&str, Scenario)) -> Finding {
    let begun = Instant::now();
    let finding = scenario(setting).unwrap_or_else(|error| {
        let missed = vec![error.to_string()];
        Finding { fault: name.to_owned(), missed, ..Finding::default() }
    });
    let verdict = match (&finding.skipped, finding.is_good()) {
        (Some(_), _) => "skipped",
        (None, true) => "good",
        (None, false) => "BAD",
    };
    eprintln!("chaos: {name}: {verdict} after {:.1} s", begun.elapsed().as_secs_f64());
    finding
}
