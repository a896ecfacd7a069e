//! What no receiver on this machine can exceed, each of the two halves of its work alone: taking requests without reading
//! them (`peers accept-loop`), and committing the rows that hookbell stores, in its own schema, without anybody having
//! sent them. The ends between which hookbell's own figures stand.

use std::{
    fs, io,
    path::Path,
    process::Command,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    config::Repeats,
    http::request::HeadReader,
    provider::{self, Provider, Terms, Unverified, Verified},
    secret::Secret,
    store::{Arrival, Store},
    time::{Clock, SystemClock},
};
use hookbell_bench::{
    disk,
    load::{self, Arrivals},
    push::{Pool, Random},
    request::SECRET,
    service::Service,
};
use rusqlite::{Connection, params_from_iter, types::Value};

use crate::{
    contender::{Programs, address_after},
    turn::{ALL_BODIES_BYTES, Figures, Spans},
};

/// As many as connections that are compared with it.
pub(crate) const THREADS: usize = 32;
/// Rows in one transaction, and those that may wait for the next: as the bare minimum's.
const BATCH_MAX: usize = 256;
/// Different rows; each is inserted again and again under another name.
const ROWS: usize = 64;
/// Pages of the log before they are moved into the file, as hookbell has it.
const CHECKPOINT_PAGES: u32 = 4000;
const PATIENCE: Duration = Duration::from_secs(30);

/// The name of a figure: `accept_loop` answers or `commits` rows a second.
pub(crate) fn limit(what: &str, body_bytes: usize) -> String {
    format!("{what}.{body_bytes}_bytes.per_second")
}

/// Measures both, with bodies of each size.
///
/// # Errors
/// When one of them does not work, or rows that were told as committed are not there.
pub(crate) fn take(programs: &Programs, spans: Spans, home: &Path, seed: u64) -> io::Result<Figures> {
    let mut figures = Figures::new();
    fs::create_dir_all(home)?;
    let mut command = Command::new(&programs.peers);
    command.arg("accept-loop").current_dir(home);
    let service =
        Service::start_logging(command, &home.join("log"), |text| address_after(text, "listening address=http://"))?;
    for body_bytes in ALL_BODIES_BYTES {
        let mut pool = Pool::new("/webhooks/github", body_bytes, seed ^ body_bytes as u64);
        let arrivals = Arrivals::Closed { connections: THREADS, is_kept_alive: false };
        let outcome = load::run(service.address, &mut pool, arrivals, spans.closed)?;
        if outcome.refused + outcome.failed > 0 {
            return Err(io::Error::other(format!("the accept loop failed {} requests", outcome.failed)));
        }
        figures.insert(limit("accept_loop", body_bytes), outcome.per_second());
    }
    // It has nothing to finish: it ends by the signal.
    service.end()?;
    for body_bytes in ALL_BODIES_BYTES {
        let path = home.join(format!("limit-{body_bytes}.db"));
        let per_second = commits(&path, body_bytes, spans.closed, seed)
            .map_err(|error| io::Error::other(format!("rows alone, bodies of {body_bytes} bytes: {error}")))?;
        figures.insert(limit("commits", body_bytes), per_second);
    }
    fs::remove_dir_all(home)?;
    Ok(figures)
}

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What hookbell has stored of one delivery, in the order of the columns.
#[derive(Clone)]
struct Row {
    delivery: Vec<Value>,
    body: Vec<Value>,
}

/// A row and who waits for it to be durable.
struct Waiting(Row, Sender<()>);

fn commits(path: &Path, body_bytes: usize, span: Duration, seed: u64) -> Outcome<f64> {
    let stock = Stock::new(path, body_bytes, seed)?;
    disk::settle(path.parent().ok_or("a file without a folder")?)?;
    let before = count(path)?;
    let (queue, queued) = sync_channel(BATCH_MAX);
    let writer = {
        let (path, sql) = (path.to_owned(), stock.sql.clone());
        thread::spawn(move || write(&path, &sql, &queued))
    };
    let stock = Arc::new(stock);
    let start = Instant::now();
    let hands: Vec<_> = (0..THREADS)
        .map(|number| {
            let (stock, queue) = (Arc::clone(&stock), queue.clone());
            let random = Random(seed ^ (number as u64 + 1) << 40);
            thread::spawn(move || hand_over(&stock, &queue, random, start + span))
        })
        .collect();
    // The writer ends when the last of them does.
    drop(queue);
    let (mut in_span, mut all) = (0, 0);
    for hand in hands {
        let (hand_in_span, hand_all) = hand.join().map_err(|_| "a thread that hands rows over panicked")?;
        in_span += hand_in_span;
        all += hand_all;
    }
    writer.join().map_err(|_| "the writer panicked")??;
    match count(path)? - before {
        found if found == all => Ok(in_span as f64 / span.as_secs_f64()),
        found => Err(format!("{all} rows were told as committed, and {found} are there").into()),
    }
}

fn count(path: &Path) -> Outcome<i64> {
    Ok(Connection::open(path)?.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0))?)
}

/// Gives the writer a row, waits until it is durable, and again; how many were, in time and altogether.
fn hand_over(stock: &Stock, queue: &SyncSender<Waiting>, mut random: Random, end: Instant) -> (i64, i64) {
    let (told, durable) = channel();
    let (mut in_span, mut all) = (0, 0);
    while Instant::now() < end {
        // Both fail only when the writer has, which tells why.
        if queue.send(Waiting(stock.next(&mut random), told.clone())).is_err() || durable.recv().is_err() {
            break;
        }
        all += 1;
        in_span += i64::from(Instant::now() <= end);
    }
    (in_span, all)
}

/// Takes what waits, commits it in one transaction, tells them all, and again.
fn write(path: &Path, [delivery, body]: &[String; 2], queued: &Receiver<Waiting>) -> Outcome<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if journal != "wal" {
        return Err(format!("{} has no write-ahead log", path.display()).into());
    }
    while let Ok(first) = queued.recv() {
        let batch: Vec<Waiting> = std::iter::once(first).chain(queued.try_iter().take(BATCH_MAX - 1)).collect();
        let transaction = connection.transaction()?;
        for Waiting(row, _) in &batch {
            transaction.prepare_cached(delivery)?.execute(params_from_iter(&row.delivery))?;
            let id = Value::from(transaction.last_insert_rowid());
            transaction.prepare_cached(body)?.execute(params_from_iter(std::iter::once(&id).chain(&row.body)))?;
        }
        transaction.commit()?;
        for Waiting(_, told) in batch {
            // It waits for nothing else.
            let _ = told.send(());
        }
    }
    Ok(())
}

/// Rows as hookbell itself has made them, and the statements that insert such.
struct Stock {
    rows: Vec<Row>,
    sql: [String; 2],
    /// Where the sender's id and the hash stand in a delivery's row, which tell one from another.
    named_at: [usize; 2],
}

impl Stock {
    /// Lets hookbell's own store take some requests at `path`, and reads what it has made of them. The file stays: it has
    /// the schema, the page size and the log that rows are inserted with.
    fn new(path: &Path, body_bytes: usize, seed: u64) -> Outcome<Stock> {
        let (store, threads) = Store::open(path, 0, Arc::new(SystemClock))?;
        let secret = Secret::new(SECRET.to_owned()).ok_or("an empty secret")?;
        let terms = Terms::new(Provider::GitHub, vec![secret]);
        let mut pool = Pool::new("/webhooks/github", body_bytes, seed);
        for _ in 0..ROWS {
            let mut request = Vec::new();
            pool.write(&mut request);
            let arrival = Arrival {
                source: "github".to_owned(),
                peer: "127.0.0.1".to_owned(),
                repeats: Repeats::Process,
                repeat_window: Duration::from_secs(60),
                deadline: Instant::now() + PATIENCE,
            };
            let Ok(Verified::Delivery(delivery)) = provider::verify(&terms, read(&request)?, SystemClock.wall()) else {
                return Err("a request of our own is not proven".into());
            };
            store.accept(delivery, arrival)?;
        }
        drop(store);
        threads.stop(PATIENCE);
        let connection = Connection::open(path)?;
        let (names, deliveries) = all(&connection, "delivery")?;
        let (body_names, bodies) = all(&connection, "body")?;
        let rows = deliveries.into_iter().zip(bodies).map(|(delivery, body)| Row { delivery, body }).collect();
        let insert = |table: &str, names: &[String], first: &str| {
            let marks = vec!["?"; names.len() + usize::from(!first.is_empty())].join(", ");
            format!("INSERT INTO {table} ({first}{}) VALUES ({marks})", names.join(", "))
        };
        let place = |name: &str| names.iter().position(|column| column == name).ok_or("a column is missing");
        Ok(Stock {
            rows,
            sql: [insert("delivery", &names, ""), insert("body", &body_names, "delivery, ")],
            named_at: [place("delivery_id")?, place("body_hash")?],
        })
    }

    /// One of them under a name that none has.
    fn next(&self, random: &mut Random) -> Row {
        let mut row = self.rows[usize::try_from(random.next() >> 33).unwrap_or(0) % self.rows.len()].clone();
        let mut name = String::with_capacity(36);
        random.delivery(&mut name);
        let [name_at, hash_at] = self.named_at;
        row.delivery[name_at] = Value::from(name);
        row.delivery[hash_at] = Value::from(random.next().cast_signed());
        row
    }
}

/// All rows of a table but their first column, which is the id, in its order.
fn all(connection: &Connection, table: &str) -> Outcome<(Vec<String>, Vec<Vec<Value>>)> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1"))?;
    let names: Vec<String> = statement.column_names().skip(1).map(str::to_owned).collect();
    let columns = names.len();
    let rows = statement.query_map([], |row| (1..=columns).map(|column| row.get(column)).collect())?;
    Ok((names, rows.collect::<rusqlite::Result<_>>()?))
}

/// What the door would have read.
fn read(request: &[u8]) -> Outcome<Unverified> {
    let mut reader = HeadReader::new(request.len());
    let Ok(Some((head, head_bytes))) = reader.push(request) else { return Err("no request".into()) };
    Ok(Unverified { target: head.target, headers: head.headers, body: request[head_bytes..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_alone_are_hookbells_own_and_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("limit.db");
        let per_second = commits(&path, 13 * 1024, Duration::from_millis(50), 1).unwrap();
        assert!(per_second > 0.0);
        let connection = Connection::open(&path).unwrap();
        let (same, sound): (bool, String) = connection
            .query_row(
                "SELECT min(raw_bytes) = 13312 AND max(raw_bytes) = 13312 AND min(codec) = 'zstd'
                        AND count(*) = (SELECT count(*) FROM delivery),
                        (SELECT group_concat(integrity_check) FROM pragma_integrity_check) FROM body",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert!(same);
        assert_eq!(sound, "ok");
    }
}
