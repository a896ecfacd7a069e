//! Whether it is felt how much is stored already: the same hookbell with an empty database, and with databases of many
//! settled deliveries. Those are made once, and each turn gets a copy.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    store::Store,
    time::{Clock, SystemClock},
};
use hookbell_bench::{
    disk,
    load::{self, Arrivals, Outcome},
    push::Pool,
    request::SECRET,
    service::Service,
};
use rusqlite::Connection;

use crate::{
    contender::Programs,
    steady,
    turn::{BODIES_BYTES, Figures, Spans},
};

/// What is measured: its name, what a person reads, the unit that is shown, and whether more is better.
pub(crate) const MEASURED: [(&str, &str, f64, bool); 7] = [
    ("answers_per_second", "answers per second at 32 connections, 13 KB", 1.0, true),
    ("p50_ms", "500 per second, 13 KB, p50, ms", 1.0, false),
    ("p99_ms", "500 per second, 13 KB, p99, ms", 1.0, false),
    ("memory_at_rest_bytes", "memory at rest, MB", 1e6, false),
    ("memory_peak_bytes", "memory up to 32 connections, MB", 1e6, false),
    ("start_ms", "start to first answer, ms", 1.0, false),
    ("list_ms", "`hookbell deliveries list`, ms", 1.0, false),
];

/// Times that the list is asked for; the median counts.
const LISTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes a database of so many settled deliveries in `folder`, and says where it is.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn make(folder: &Path, rows: u64) -> io::Result<PathBuf> {
    let path = folder.join(format!("stored-{rows}.db"));
    let (store, threads) = Store::open(&path, 0, Arc::new(SystemClock)).map_err(io::Error::other)?;
    drop(store);
    threads.stop(PATIENCE);
    fill(&path, rows).map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    Ok(path)
}

/// Rows as the program leaves them behind. Ids as senders give them, so that the index of identities is as wide as a real
/// one, and a small body for each: large ones are read by nobody here. A hundred thousand a day, the newest now, so that
/// nothing is old enough to be removed meanwhile.
fn fill(path: &Path, rows: u64) -> rusqlite::Result<()> {
    let now_ms = SystemClock.wall().ms();
    let database = Connection::open(path)?;
    // In any order the index of identities would be written many times over.
    database.pragma_update(None, "cache_size", -500_000)?;
    database.pragma_update(None, "synchronous", "OFF")?;
    database.execute_batch(&format!(
        "BEGIN;
         CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             SELECT i, {now_ms} - ({rows} - i) * 864 AS t, lower(hex(randomblob(16))) AS name FROM n;
         INSERT INTO delivery (id, source, provider, event_type, delivery_id, body_hash, received_ms, processed_ms, stage,
                               status, peer, verified_by, handled_by, durable_us)
             SELECT i, 'github', 'github', 'issues',
                    substr(name, 1, 8) || '-' || substr(name, 9, 4) || '-' || substr(name, 13, 4) || '-'
                        || substr(name, 17, 4) || '-' || substr(name, 21),
                    random(), t, t + 40, 'routed', CASE WHEN i % 10 = 0 THEN 'skipped' ELSE 'processed' END,
                    '127.0.0.1', 1, '0.1.0', 900 + i % 700 FROM n;
         INSERT INTO body (delivery, sha256, target, headers, raw_bytes, codec, bytes)
             SELECT i, randomblob(32), '/webhooks/github', '[[\"X-GitHub-Event\",\"issues\"]]', length(body), 'raw', body
             FROM (SELECT i, CAST(printf('{{\"action\":\"opened\",\"issue\":{{\"number\":%d}},\"note\":\"%052d\"}}', i, i)
                 AS BLOB) AS body FROM n);
         INSERT INTO event (id, delivery, position, kind, actor, repository, title, severity, subject, extra, rules)
             SELECT i, i, 0, 'issue_opened', 'ada', 'acme/api', 'Retry on 5xx and time-outs, again: ' || i, 'info',
                    'acme/api#' || i, '{{\"number\":' || i || '}}', '[\"default\"]' FROM n;
         INSERT INTO dispatch (id, event, delivery, sink, state, attempts, next_ms, receipt, settled_ms, subject)
             SELECT i, i, i, 'slack', 'done', 1, t, 'ok', t + 40, 'github acme/api#' || i FROM n WHERE i % 10 > 0;
         INSERT INTO attempt (dispatch, number, began_ms, took_ms, outcome, answer)
             SELECT i, 1, t, 20, 'done', 'ok' FROM n WHERE i % 10 > 0;
         COMMIT;"
    ))?;
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Measures `hookbell run` with a copy of that database, or without any.
///
/// # Errors
/// When it does not start, dies, refuses a request, or its rows are not all there in the end.
pub(crate) fn take(
    programs: &Programs,
    spans: Spans,
    home: &Path,
    base: Option<(&Path, u64)>,
    seed: u64,
) -> io::Result<Figures> {
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    if let Some((base, _)) = base {
        fs::copy(base, home.join("hookbell.db"))?;
    }
    disk::settle(home)?;
    let mut figures = Figures::new();
    let mut note = |name: &str, figure: f64| figures.insert(name.to_owned(), figure);
    let start = Instant::now();
    let command = Service::hookbell_command(Command::new(&programs.hookbell), home, "run", "")?;
    let mut service = Service::start_logging(command, &home.join("log"), |text| {
        crate::contender::address_after(text, "listening address=http://").filter(|_| text.contains("ready version="))
    })?;
    let mut pool = Pool::new("/webhooks/github", BODIES_BYTES[1], seed);
    steady::first_answer(&mut service, &mut pool)?;
    note("start_ms", start.elapsed().as_secs_f64() * 1000.0);
    steady::calm_down(&service)?;
    thread::sleep(spans.rest / 2);
    note("memory_at_rest_bytes", service.reading_of_tree()?.resident_bytes as f64);
    let mut answers = 1;
    let mut run = |service: &mut Service, arrivals, span| -> io::Result<Outcome> {
        let outcome = load::run(service.address, &mut pool, arrivals, span)?;
        steady::must_live(service)?;
        if outcome.refused + outcome.failed > 0 {
            return Err(io::Error::other(format!("{} requests had no 200", outcome.refused + outcome.failed)));
        }
        answers += outcome.answers;
        steady::calm_down(service)?;
        Ok(outcome)
    };
    let busy = Arrivals::Closed { connections: 32, is_kept_alive: false };
    run(&mut service, busy, spans.warm_up)?;
    note("answers_per_second", run(&mut service, busy, spans.closed)?.per_second());
    let outcome = run(&mut service, Arrivals::Open { per_second: 500 }, spans.open)?;
    note("p50_ms", outcome.percentile_ms(0.5));
    note("p99_ms", outcome.percentile_ms(0.99));
    note("memory_peak_bytes", service.reading_of_tree()?.resident_peak_bytes as f64);
    let mut lists_ms = (0..LISTS).map(|_| list_ms(&programs.hookbell, home)).collect::<io::Result<Vec<f64>>>()?;
    lists_ms.sort_by(f64::total_cmp);
    note("list_ms", lists_ms[LISTS / 2]);
    service.stop()?;
    let rows = crate::contender::Contender::Run.rows(home)?.unwrap_or(0);
    let expected = answers + base.map_or(0, |(_, rows)| rows);
    if rows != expected {
        return Err(io::Error::other(format!("{rows} rows are there, and {expected} should be")));
    }
    fs::remove_dir_all(home)?;
    Ok(figures)
}

/// How long a person waits for the newest deliveries.
fn list_ms(hookbell: &Path, home: &Path) -> io::Result<f64> {
    let start = Instant::now();
    let output = Command::new(hookbell)
        .args(["deliveries", "list"])
        .current_dir(home)
        .env_clear()
        .env("HOOKBELL_CONFIG", home.join("hookbell.toml"))
        .env("GITHUB_WEBHOOK_SECRET", SECRET)
        .stdin(Stdio::null())
        .output()?;
    let took = start.elapsed();
    match output.status.success() && !output.stdout.is_empty() {
        true => Ok(took.as_secs_f64() * 1000.0),
        false => Err(io::Error::other(format!("the list: {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_before_is_whole_and_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = make(folder.path(), 1000).unwrap();
        let connection = Connection::open(&path).unwrap();
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(one("SELECT count(*) FROM delivery WHERE stage = 'routed'"), 1000);
        assert_eq!(one("SELECT count(*) FROM body WHERE raw_bytes = length(bytes)"), 1000);
        assert_eq!(one("SELECT count(*) FROM event"), 1000);
        assert_eq!(one("SELECT count(*) FROM dispatch WHERE state = 'done'"), 900);
        assert_eq!(one("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    }
}
