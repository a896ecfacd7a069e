//! `scripts/bench --panel` builds and runs this: how soon every page and every answer of the API comes with a million stored
//! deliveries, and whether twenty open pages are felt at the door. The door is measured without and with them in turn.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    store::Store,
    time::{Clock, SystemClock},
};
use hookbell_bench::{
    load::{Arrivals, percentile},
    service::Service,
};
use rusqlite::Connection;

const STORED: i64 = 1_000_000;
const STREAMS: usize = 20;
/// What is wanted, milliseconds.
const ANSWER_MS: f64 = 50.0;
const SEARCH_MS: f64 = 200.0;
/// Times that each is asked.
const ASKED: usize = 100;
const ROUNDS: usize = 5;

/// What is asked, and within what its p99 should be.
const QUESTIONS: &[(&str, f64)] = &[
    ("/", ANSWER_MS),
    ("/deliveries", ANSWER_MS),
    ("/deliveries/500000", ANSWER_MS),
    ("/deliveries?status=dead_letter", ANSWER_MS),
    ("/deliveries?source=github&before=400000", ANSWER_MS),
    ("/flow", ANSWER_MS),
    ("/setup", ANSWER_MS),
    ("/api/health", ANSWER_MS),
    ("/api/deliveries?limit=100", ANSWER_MS),
    ("/api/deliveries?status=error&kind=ci_failed", ANSWER_MS),
    ("/api/deliveries?since=2000-01-01&until=2001-01-01", ANSWER_MS),
    ("/api/deliveries/999999", ANSWER_MS),
    ("/api/events", ANSWER_MS),
    ("/api/stats", ANSWER_MS),
    ("/api/sources", ANSWER_MS),
    ("/api/rules", ANSWER_MS),
    ("/api/desk", ANSWER_MS),
    ("/metrics", ANSWER_MS),
    ("/deliveries?q=title+77", SEARCH_MS),
    ("/api/deliveries?q=nothing+has+this", SEARCH_MS),
    ("/api/deliveries?q=ada&kind=issue_opened&source=github", SEARCH_MS),
];

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("panel: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let executable = PathBuf::from(arguments.next().ok_or("the executable is missing")?).canonicalize()?;
    let directory = PathBuf::from(arguments.next().ok_or("the directory for the databases is missing")?);
    let is_quick = arguments.next().as_deref() == Some("--quick");
    let (stored, asked, rounds) = if is_quick { (STORED / 10, ASKED / 5, 1) } else { (STORED, ASKED, ROUNDS) };
    let home = tempfile::tempdir_in(&directory)?;
    let (_, threads) = Store::open(&home.path().join("hookbell.db"), 0, Arc::new(SystemClock))?;
    threads.stop(Duration::from_secs(10));
    eprintln!("panel: storing {stored} deliveries");
    fill(&home.path().join("hookbell.db"), stored)?;
    // Free for the moment; whoever takes it in between makes this fail, not lie.
    let panel = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let service = Service::hookbell(&executable, home.path(), "run", &format!("[panel]\nlisten = \"{panel}\""))?;
    println!("{stored} stored deliveries, each asked {asked} times; milliseconds\n");
    println!("{:<58} {:>8} {:>8} {:>8}", "question", "p50", "p99", "wanted");
    for (path, wanted) in QUESTIONS {
        let mut times = Vec::new();
        for _ in 0..asked {
            let start = Instant::now();
            let (status, bytes) = get(panel, path)?;
            times.push(u64::try_from(start.elapsed().as_micros())?);
            if status != 200 && !(is_quick && status == 404) || bytes == 0 {
                return Err(format!("{path} was answered {status} with {bytes} bytes").into());
            }
        }
        times.sort_unstable();
        let (p50, p99) = (percentile(&times, 0.5) / 1000.0, percentile(&times, 0.99) / 1000.0);
        let mark = if p99 > *wanted { '!' } else { ' ' };
        println!("{path:<58} {p50:>8.1} {p99:>8.1}{mark} {wanted:>7.0}");
    }
    println!("\nthe door at 200 POSTs a second, p99 in milliseconds, {rounds} rounds");
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for has_streams in [round % 2 == 0, round % 2 == 1] {
            let watched = if has_streams { watch(panel)? } else { Vec::new() };
            let heard: Arc<AtomicUsize> = Arc::default();
            let readers: Vec<_> = watched
                .into_iter()
                .map(|(mut stream, closer)| {
                    let heard = Arc::clone(&heard);
                    let reader = thread::spawn(move || {
                        let mut buffer = [0; 16 * 1024];
                        // Ends when it is closed below.
                        while let Ok(count @ 1..) = stream.read(&mut buffer) {
                            heard.fetch_add(count, Ordering::Relaxed);
                        }
                    });
                    (reader, closer)
                })
                .collect();
            let mut pool = hookbell_bench::push::Pool::new("/webhooks/github", 8 * 1024, round as u64);
            let span = Duration::from_secs(if is_quick { 2 } else { 6 });
            let outcome =
                hookbell_bench::load::run(service.address, &mut pool, Arrivals::Open { per_second: 200 }, span)?;
            if outcome.refused + outcome.failed > 0 {
                return Err(format!("{} refused, {} failed", outcome.refused, outcome.failed).into());
            }
            for (reader, closer) in readers {
                closer.shutdown(std::net::Shutdown::Both)?;
                reader.join().map_err(|_| "a reader panicked")?;
            }
            if has_streams && heard.load(Ordering::Relaxed) == 0 {
                return Err("the open pages heard nothing".into());
            }
            let p99 = outcome.percentile_ms(0.99);
            if has_streams { with.push(p99) } else { without.push(p99) }
        }
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (without, with) = (median(&mut without), median(&mut with));
    println!("without {without:.2}, with {STREAMS} open pages {with:.2}, × {:.2}", with / without.max(0.001));
    service.stop()?;
    Ok(())
}

/// Status and bytes of the body.
fn get(address: SocketAddr, path: &str) -> Result<(u16, usize), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no answer")?;
    let status = String::from_utf8_lossy(&answer[..head]).split(' ').nth(1).unwrap_or_default().parse()?;
    Ok((status, answer.len() - head - 4))
}

/// Open pages, each with what closes it.
fn watch(address: SocketAddr) -> Result<Vec<(TcpStream, TcpStream)>, Failure> {
    (0..STREAMS)
        .map(|_| {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(format!("GET /api/live HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
            let closer = stream.try_clone()?;
            Ok((stream, closer))
        })
        .collect()
}

/// A day and what was before it: the newest hundred thousand are of the last day.
fn fill(path: &Path, rows: i64) -> Result<(), Failure> {
    let now_ms = SystemClock.wall().ms();
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(60))?;
    // 864 ms apart: a hundred thousand a day.
    database.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             SELECT i, {now_ms} - ({rows} - i) * 864 AS t FROM n;
         INSERT INTO delivery (id, source, provider, event_type, delivery_id, body_hash, received_ms, processed_ms, stage,
                               status, peer, verified_by, handled_by, durable_us)
             SELECT i, 'github', 'github', 'issues', 'old-' || i, i * 7919, t, t + 40, 'routed',
                    CASE WHEN i % 500 = 0 THEN 'dead_letter' WHEN i % 3 = 0 THEN 'skipped' ELSE 'processed' END,
                    '127.0.0.1', 1, '0.1.0', 900 + i % 700 FROM n;
         INSERT INTO body (delivery, sha256, target, headers, raw_bytes, codec, bytes)
             SELECT i, x'00', '/webhooks/github', '[[\"X-GitHub-Event\",\"issues\"]]', 30, 'raw', CAST('{{\"action\":\"opened\"}}' AS BLOB)
             FROM n WHERE i % 10 = 0 OR i > {rows} - 1000;
         INSERT INTO event (id, delivery, position, kind, actor, repository, title, severity, subject, extra, rules)
             SELECT i, i, 0, CASE WHEN i % 50 = 0 THEN 'ci_failed' ELSE 'issue_opened' END, 'ada', 'acme/api', 'Title ' || i,
                    'info', 'acme/api#' || i, '{{}}', '[\"high signal\"]' FROM n;
         INSERT INTO dispatch (id, event, delivery, sink, state, attempts, next_ms, receipt, settled_ms, subject, edge_ms)
             SELECT i, i, i, 'bell', CASE WHEN i % 500 = 0 THEN 'dead' ELSE 'done' END, 1, t, 'ok', t + 40,
                    'acme/api#' || (i % 1000), t + 5 FROM n;
         INSERT INTO attempt (dispatch, number, began_ms, took_ms, outcome, answer) SELECT i, 1, t, 20, 'done', 'ok' FROM n;
         COMMIT;"
    ))?;
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}
