//! `scripts/bench --bell` builds and runs this: how late the edges of the desk come while the door takes a thousand signed
//! requests a second, beside the same without them, and how long it is from a POST to its light. The release executable
//! as a process, real sockets, a real file. Fails over a lie, never over a figure.

mod lateness;

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use hookbell_bench::{
    first_edge::{self, Course},
    load::{self, percentile},
    machine,
};
use lateness::{Amount, Turn};

/// What is wanted of the slowest hundredth.
const LATE_WANTED_MS: f64 = 5.0;
const FIRST_EDGE_WANTED_MS: f64 = 30.0;
/// That ring, each its own light.
const POSTS_PER_SECOND: u32 = 50;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bell: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (executable, data, revision, date, is_quick) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
    {
        [executable, data, revision, date] => (executable, data, revision, date, false),
        [executable, data, revision, date, "--quick"] => (executable, data, revision, date, true),
        _ => return Err(io::Error::other("usage: bell HOOKBELL DATA REVISION DATE [--quick]")),
    };
    let (executable, data) = (PathBuf::from(executable).canonicalize()?, PathBuf::from(data).canonicalize()?);
    let machine = machine::describe(&data, revision, date)?;
    let before = load_average();
    load::raise_descriptor_limit()?;
    let (rounds, amount) =
        if is_quick { (1, Amount { cues: 2, patterns: 0 }) } else { (5, Amount { cues: 20, patterns: 2 }) };
    let (posting_rounds, span) = if is_quick { (1, Duration::from_secs(1)) } else { (3, Duration::from_secs(20)) };
    let posting = Course { per_second: POSTS_PER_SECOND, span, beside_per_second: None, has_slack: false };

    let (mut idle, mut loaded, mut posted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("bell: edges, round {} of {rounds}", round + 1);
        // Neither is always the first.
        for is_loaded in [round % 2 == 0, round % 2 == 1] {
            let seed = is_loaded.then_some(round);
            let turns = if is_loaded { &mut loaded } else { &mut idle };
            turns.push(lateness::take(&executable, &data, amount, seed)?);
        }
    }
    for round in 0..posting_rounds {
        eprintln!("bell: POST to light, round {} of {posting_rounds}", round + 1);
        posted.push(first_edge::take(&executable, &data, posting, round)?);
    }

    for (name, value) in machine {
        println!("{name:14}{value}");
    }
    // Others on the same cores are in every figure.
    println!("{:14}{}, before; {}, after", "load average", before, load_average());
    print_lateness(&idle, &loaded);
    print_drift("idle", &idle);
    print_drift("loaded", &loaded);
    print_first_edge(&posted);
    Ok(())
}

/// Of the last minute.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn print_lateness(idle: &[Turn], loaded: &[Turn]) {
    println!(
        "\nhow late edges are, ms: medians of {} rounds, range of p99; {} edges each",
        loaded.len(),
        edges(loaded)
    );
    println!("{:<28} {:>8} {:>9}  {:<16} {:>8}", "", "p50", "p99", "", "max");
    let load = format!("{} signed POSTs a second", lateness::PER_SECOND);
    for (name, turns, goal_ms) in [("idle", idle, None), (load.as_str(), loaded, Some(LATE_WANTED_MS))] {
        let edges: Vec<&[u64]> = turns.iter().map(|turn| turn.late_us.as_slice()).collect();
        print_spread(name, &edges, goal_ms);
        let bare: Vec<&[u64]> = turns.iter().map(|turn| turn.bare_us.as_slice()).collect();
        print_spread("  a thread that only sleeps", &bare, None);
    }
    let p99 = |turn: &Turn| percentile(&turn.late_us, 0.99);
    let ratio = Spread::of(loaded.iter().zip(idle).map(|(loaded, idle)| p99(loaded) / p99(idle)));
    println!("{:<28} {:>18.1}  ({:.1} to {:.1})", "loaded × idle, p99", ratio.median, ratio.lowest, ratio.highest);
    println!("{:<28} {LATE_WANTED_MS:>18.1}", "wanted under load, at most");
    let outcomes: Vec<&load::Outcome> = loaded.iter().filter_map(|turn| turn.load.as_ref()).collect();
    let answers: u64 = outcomes.iter().map(|load| load.answers).sum();
    let waited = Spread::of(outcomes.iter().map(|load| load.percentile_ms(0.99)));
    let longest = Spread::of(outcomes.iter().map(|load| load.percentile_ms(1.0)));
    let own = Spread::of(outcomes.iter().map(|load| load.own_share * 100.0));
    println!(
        "the load: {answers} POSTs of {} KB, each answered 200 and stored, p99 {:.1} ms, max {:.0} ms; making it took {:.0} % of \
         a core",
        lateness::BODY_BYTES / 1024,
        waited.median,
        longest.highest,
        own.median
    );
}

fn print_drift(name: &str, turns: &[Turn]) {
    let patterns: Vec<lateness::Drift> = turns.iter().flat_map(|turn| turn.patterns.iter().copied()).collect();
    if patterns.is_empty() {
        return;
    }
    let late = Spread::of(patterns.iter().map(|drift| drift.late_us));
    let wall = Spread::of(patterns.iter().map(|drift| drift.wall_ms));
    println!(
        "drift within 10 s, {name}, {} patterns: last quarter less first, {:+.0} µs ({:+.0} to {:+.0}); by the wall clock, \
         {:+.2} ms ({:+.2} to {:+.2})",
        patterns.len(),
        late.median,
        late.lowest,
        late.highest,
        wall.median,
        wall.lowest,
        wall.highest
    );
}

fn print_first_edge(turns: &[first_edge::Turn]) {
    let posts: usize = turns.iter().map(|turn| turn.own_us.len() + turn.merged).sum();
    let merged: usize = turns.iter().map(|turn| turn.merged).sum();
    println!(
        "\nfrom a POST to its light, ms: medians of {} rounds, range of p99; {posts} POSTs, {} a second",
        turns.len(),
        POSTS_PER_SECOND
    );
    println!("{:<28} {:>8} {:>9}  {:<16} {:>8}", "", "p50", "p99", "", "max");
    let own: Vec<&[u64]> = turns.iter().map(|turn| turn.own_us.as_slice()).collect();
    print_spread("edge of its own", &own, Some(FIRST_EDGE_WANTED_MS));
    println!("{:<28} {FIRST_EDGE_WANTED_MS:>18.1}", "wanted, less than");
    println!("{merged} POSTs had no edge of their own: they rang while another's light was lit or about to be");
}

/// One line for what was measured in each round, microseconds, sorted. A goal that is missed is marked.
fn print_spread(name: &str, rounds_us: &[&[u64]], goal_ms: Option<f64>) {
    let share = |share: f64| Spread::of(rounds_us.iter().map(|figures_us| percentile(figures_us, share) / 1e3));
    let (p50, p99, max) = (share(0.5), share(0.99), share(1.0));
    let mark = if goal_ms.is_some_and(|goal_ms| p99.median > goal_ms) { '!' } else { ' ' };
    let range = format!("({:.2} to {:.2})", p99.lowest, p99.highest);
    println!("{name:<28} {:>8.2} {:>9.2}{mark} {range:<16} {:>8.2}", p50.median, p99.median, max.highest);
}

fn edges(turns: &[Turn]) -> usize {
    turns.iter().map(|turn| turn.late_us.len()).sum()
}

/// Of the rounds.
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Spread {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let at = |place: usize| figures.get(place).copied().unwrap_or(0.0);
        Spread { median: at(figures.len() / 2), lowest: at(0), highest: at(figures.len().saturating_sub(1)) }
    }
}
