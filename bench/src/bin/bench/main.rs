//! `scripts/bench` builds and runs this: hookbell and others under the same load, side by side. Owns the order of the
//! rounds and the command line, which only the script types; it explains itself there.

mod contender;
mod report;
mod turn;

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use contender::{Contender, Programs};
use hookbell_bench::{load, machine};
use report::{Report, Turn};
use turn::Spans;

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
    let mut turns = Vec::new();
    for round in 0..options.rounds {
        // Each begins once before it is somebody's second time, so that nobody always follows the same neighbour.
        for position in 0..contenders.len() {
            let contender = contenders[(position + round) % contenders.len()];
            eprintln!("bench: round {} of {}: {}", round + 1, options.rounds, contender.name());
            let home = options.data.join(contender.name());
            let figures = turn::take(contender, &options.programs, options.spans, &home, round as u64)?;
            turns.push(Turn { round, contender, figures });
        }
    }
    let report = Report { machine, versions: options.versions.clone(), spans: options.spans, contenders, turns };
    print!("{report}");
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", report.to_json());
        fs::write(file, text).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    }
    Ok(())
}

struct Options {
    rounds: usize,
    spans: Spans,
    only: Vec<Contender>,
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
            spans: Spans {
                warm_up: Duration::from_millis(500),
                closed: Duration::from_millis(1300),
                open: Duration::from_millis(3500),
                rest: Duration::from_secs(2),
                sync: Duration::from_millis(700),
            },
            only: Contender::ALL.to_vec(),
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
                options.spans = Spans {
                    warm_up: Duration::from_millis(200),
                    closed: Duration::from_millis(500),
                    open: Duration::from_millis(1500),
                    rest: Duration::from_secs(1),
                    sync: Duration::from_millis(300),
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
                    options.spans.open = Duration::from_secs_f64(seconds * 8.0 / 3.0);
                }
                "--only" => {
                    let find = |name: &str| Contender::ALL.into_iter().find(|contender| contender.name() == name);
                    let found: Option<Vec<_>> = value.split(',').map(find).collect();
                    let all = Contender::ALL.map(Contender::name).join(", ");
                    options.only = found.ok_or_else(|| wrong(&format!("takes one or more of {all}")))?;
                }
                "--json" => options.json = Some(value.into()),
                "--data" => options.data = value.into(),
                "--hookbell" => options.programs.hookbell = value.into(),
                "--peers" => options.programs.peers = value.into(),
                "--gunicorn" => options.programs.gunicorn = Some(value.into()),
                "--webhook" => options.programs.webhook = Some(value.into()),
                "--versions" => options.versions = value,
                "--revision" => options.revision = value,
                "--date" => options.date = value,
                _ => return Err(wrong("is unknown")),
            }
        }
        Ok(options)
    }
}
