//! `scripts/bench` builds and runs this: hookbell and others under the same load, side by side. Owns the order of the
//! rounds and the command line, which only the script types; it explains itself there.

mod contender;
mod limits;
mod report;
mod slow_disk;
mod steady;
mod stored;
mod turn;
mod way_out;
mod written;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use contender::{Contender, Programs};
use hookbell_bench::{load, machine};
use report::{Part, Report, Turn};
use turn::Spans;
use written::Bodies;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> io::Result<()> {
    fs::create_dir_all(&options.data)?;
    // Each contender runs in a folder of its own, where relative paths would lead elsewhere.
    options.data = options.data.canonicalize()?;
    for program in [&mut options.programs.hookbell, &mut options.programs.peers] {
        *program = program
            .canonicalize()
            .map_err(|error| io::Error::other(format!("{}: {error}; scripts/bench builds it", program.display())))?;
    }
    let machine = machine::describe(&options.data, &options.revision, &options.date)?;
    load::raise_descriptor_limit()?;
    let mut contenders = options.only.clone();
    contenders.retain(|contender| {
        let is_missing = contender.is_missing(&options.programs);
        if is_missing {
            eprintln!("bench: {} is left out: it is not installed", contender.name());
        }
        !is_missing
    });
    let (mut turns, mut parts) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        // Each begins once before it is somebody's second time, so that nobody always follows the same neighbour.
        for position in 0..contenders.len() {
            let contender = contenders[(position + round) % contenders.len()];
            eprintln!("bench: round {} of {}: {}", round + 1, options.rounds, contender.name());
            let home = options.data.join(contender.name());
            let figures = turn::take(contender, &options.programs, options.spans, &home, round as u64)?;
            turns.push(Turn { round, contender, figures });
        }
        if options.has_limits {
            eprintln!("bench: round {} of {}: the limits", round + 1, options.rounds);
            let home = options.data.join("limits");
            let figures = limits::take(&options.programs, options.spans, &home, round as u64)?;
            parts.push((Part::Limits, round, figures));
        }
    }
    measure_slow_disk(&options, &mut parts)?;
    measure_hookbell_alone(&options, &mut parts)?;
    let (versions, spans) = (options.versions.clone(), options.spans);
    let report = Report { machine, versions, spans, stored: options.stored, contenders, turns, parts };
    print!("{report}");
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", report.to_json());
        fs::write(file, text).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

/// Who is durable, where that costs more.
fn measure_slow_disk(options: &Options, parts: &mut Vec<report::Measured>) -> io::Result<()> {
    if !options.has_slow_disk {
        return Ok(());
    }
    if let Some(why) = slow_disk::is_missing() {
        eprintln!("bench: the slow disk is left out: {why}");
        return Ok(());
    }
    for round in 0..options.rounds_alone {
        for contender in slow_disk::DURABLE.into_iter().filter(|durable| !durable.is_missing(&options.programs)) {
            eprintln!("bench: round {} of {}: {} on a slow disk", round + 1, options.rounds_alone, contender.name());
            let seed = round as u64;
            let figures = slow_disk::take(contender, &options.programs, options.spans, &options.data, seed)?;
            parts.push((Part::SlowDisk(contender), round, figures));
        }
    }
    Ok(())
}

/// What only hookbell does.
fn measure_hookbell_alone(options: &Options, parts: &mut Vec<report::Measured>) -> io::Result<()> {
    let (programs, data, spans) = (&options.programs, &options.data, options.spans);
    if options.has_stored {
        let folder = tempfile::tempdir_in(data)?;
        let mut bases = vec![None];
        for rows in options.stored {
            eprintln!("bench: storing {rows} deliveries");
            bases.push(Some((stored::make(folder.path(), rows)?, rows)));
        }
        for round in 0..options.rounds_alone {
            for position in 0..bases.len() {
                let place = (position + round) % bases.len();
                let base = bases[place].as_ref().map(|(path, rows): &(PathBuf, u64)| (path.as_path() as &Path, *rows));
                let rows = base.map_or(0, |(_, rows)| rows);
                eprintln!("bench: round {} of {}: {rows} stored before", round + 1, options.rounds_alone);
                let figures = stored::take(programs, spans, &data.join("stored"), base, round as u64)
                    .map_err(|error| io::Error::other(format!("with {rows} stored before: {error}")))?;
                parts.push((Part::Stored(rows), round, figures));
            }
        }
    }
    for round in 0..options.rounds_alone {
        let told = |what: &str| eprintln!("bench: round {} of {}: {what}", round + 1, options.rounds_alone);
        if options.has_way_out {
            told("to the light and to Slack");
            let figures = way_out::take(&programs.hookbell, data, spans.alone, round as u64)?;
            parts.push((Part::WayOut, round, figures));
        }
        if options.has_written {
            for bodies in [Bodies::Pushes, Bodies::Noise] {
                told("bytes written");
                let figures = written::take(programs, bodies, spans.alone, &data.join("written"), round as u64)?;
                parts.push((Part::Written(bodies), round, figures));
            }
        }
    }
    Ok(())
}

struct Options {
    rounds: usize,
    /// Of what only hookbell does.
    rounds_alone: usize,
    spans: Spans,
    /// Deliveries that are stored before.
    stored: [u64; 2],
    only: Vec<Contender>,
    has_limits: bool,
    has_stored: bool,
    has_way_out: bool,
    has_written: bool,
    has_slow_disk: bool,
    json: Option<PathBuf>,
    data: PathBuf,
    programs: Programs,
    versions: String,
    revision: String,
    date: String,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> io::Result<Options> {
        let mut options = Options {
            rounds: 5,
            rounds_alone: 3,
            spans: Spans {
                warm_up: Duration::from_millis(500),
                closed: Duration::from_millis(1000),
                open: Duration::from_millis(2500),
                rest: Duration::from_secs(2),
                sync: Duration::from_millis(700),
                alone: Duration::from_secs(12),
            },
            stored: [100_000, 1_000_000],
            only: Contender::ALL.to_vec(),
            has_limits: true,
            has_stored: true,
            has_way_out: true,
            has_written: true,
            has_slow_disk: true,
            json: None,
            data: PathBuf::new(),
            programs: Programs::default(),
            versions: String::new(),
            revision: String::new(),
            date: String::new(),
        };
        while let Some(argument) = arguments.next() {
            if argument == "--quick" {
                options.rounds = 1;
                options.rounds_alone = 1;
                options.stored = [10_000, 100_000];
                options.spans = Spans {
                    warm_up: Duration::from_millis(200),
                    closed: Duration::from_millis(500),
                    open: Duration::from_millis(1500),
                    rest: Duration::from_secs(1),
                    sync: Duration::from_millis(300),
                    alone: Duration::from_secs(3),
                };
                continue;
            }
            let wrong = |why: &str| io::Error::other(format!("{argument} {why}; type scripts/bench --help"));
            let value = arguments.next().ok_or_else(|| wrong("is unknown, or lacks its value"))?;
            match argument.as_str() {
                "--rounds" => {
                    options.rounds =
                        value.parse().ok().filter(|rounds| *rounds > 0).ok_or_else(|| wrong("takes a number"))?;
                }
                "--seconds" => {
                    let seconds: f64 = value.parse().map_err(|_| wrong("takes a number"))?;
                    if !(0.1..=3600.0).contains(&seconds) {
                        return Err(wrong("takes 0.1 to 3600"));
                    }
                    options.spans.closed = Duration::from_secs_f64(seconds);
                    options.spans.open = Duration::from_secs_f64(seconds * 2.5);
                }
                "--only" => {
                    options.only_these(&value).ok_or_else(|| {
                        let all = Contender::ALL.map(Contender::name).join(", ");
                        wrong(&format!("takes one or more of {all}, {}", PARTS.join(", ")))
                    })?;
                }
                "--json" => options.json = Some(value.into()),
                "--data" => options.data = value.into(),
                "--hookbell" => options.programs.hookbell = value.into(),
                "--peers" => options.programs.peers = value.into(),
                "--gunicorn" => options.programs.gunicorn = Some(value.into()),
                "--webhook" => options.programs.webhook = Some(value.into()),
                "--node-red" => options.programs.node_red = Some(value.into()),
                "--versions" => options.versions = value,
                "--revision" => options.revision = value,
                "--date" => options.date = value,
                _ => return Err(wrong("is unknown")),
            }
        }
        Ok(options)
    }

    /// Leaves everything else out. `None` when a name is unknown.
    fn only_these(&mut self, names: &str) -> Option<()> {
        let names: Vec<&str> = names.split(',').collect();
        let contender = |name: &str| Contender::ALL.into_iter().find(|contender| contender.name() == name);
        if names.iter().any(|name| contender(name).is_none() && !PARTS.contains(name)) {
            return None;
        }
        self.only = names.iter().copied().filter_map(contender).collect();
        [self.has_limits, self.has_slow_disk, self.has_stored, self.has_way_out, self.has_written] =
            PARTS.map(|part| names.contains(&part));
        Some(())
    }
}

/// What is measured besides contenders, as `--only` has it.
const PARTS: [&str; 5] = ["limits", "slow-disk", "stored", "way-out", "written"];
