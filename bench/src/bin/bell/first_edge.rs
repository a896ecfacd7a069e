//! How long it is from the first byte of a POST to the light that it rings: through the door, its sync to the disk, the
//! router, the queue and the player.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hookbell::bell::Edge;
use hookbell_bench::{
    answer::{Progress, progress},
    push::Pool,
};
use rusqlite::Connection;

use crate::desk::{Desk, LIGHT};

pub(crate) const PER_SECOND: u32 = 50;
/// As for the edges under load.
const BODY_BYTES: usize = 13 * 1024;
/// An answer that takes longer than so many intervals holds up the request that is so many behind it.
const SENDERS: u32 = 10;
/// The queue is empty long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// So short that the desk is free again before the next one. Two that meet all the same are one light.
const RULES: &str = r#"
[sinks.bell]
[cues.push]
led = "light"
blink = { on_ms = 5, off_ms = 0, times = 1 }
tune = ""
[[rules]]
when = { kind = "push" }
to = ["bell"]
"#;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Of the POSTs that have an edge of their own: from before the connection to the end of the edge's millisecond,
    /// sorted, microseconds.
    pub(crate) own_us: Vec<u64>,
    /// Rang while another's light was lit, or before it was.
    pub(crate) merged: usize,
}

/// A POST that was answered.
struct Sent {
    delivery: String,
    /// By the wall clock, microseconds.
    at_us: u64,
}

/// A POST and what the ledger says of it.
struct Shown {
    at_us: u64,
    dispatch: i64,
    edge_ms: i64,
}

/// Posts for `span`.
///
/// # Errors
/// When anything lied: a POST that was not answered 200, one that the ledger does not know as shown, an edge without one,
/// a light that ends lit.
pub(crate) fn take(executable: &Path, data: &Path, span: Duration, seed: u64) -> io::Result<Turn> {
    let desk = Desk::start(executable, data, RULES)?;
    let address = desk.service.address;
    let count = PER_SECOND * u32::try_from(span.as_secs()).unwrap_or(1);
    let senders = SENDERS as usize;
    let mut shares: Vec<Vec<(u32, Vec<u8>)>> = vec![Vec::new(); senders];
    // All of them before the first goes out: making them is nobody's time.
    let mut pool = Pool::new("/webhooks/github", BODY_BYTES, seed);
    for (number, share) in (0..count).zip((0..senders).cycle()) {
        let mut request = Vec::new();
        pool.write(&mut request);
        shares[share].push((number, request));
    }
    let start = Instant::now() + Duration::from_millis(200);
    let senders: Vec<_> = shares.into_iter().map(|share| thread::spawn(move || send(address, start, &share))).collect();
    let mut sent = Vec::new();
    for sender in senders {
        sent.extend(sender.join().map_err(|_| io::Error::other("a sender panicked"))??);
    }
    let ledger = wait_for_ledger(&desk.database()?, sent.len())?;
    let shown = sent
        .into_iter()
        .map(|Sent { delivery, at_us }| {
            let (dispatch, edge_ms) = ledger
                .get(&delivery)
                .ok_or_else(|| io::Error::other(format!("{delivery} was answered 200 and never shown")))?;
            Ok(Shown { at_us, dispatch: *dispatch, edge_ms: *edge_ms })
        })
        .collect::<io::Result<Vec<_>>>()?;
    let trace = desk.end()?;
    trace.must_end_dark()?;
    pair(shown, &trace.edges)
}

/// Posts these requests, each at the time that its number stands for.
fn send(address: SocketAddr, start: Instant, requests: &[(u32, Vec<u8>)]) -> io::Result<Vec<Sent>> {
    let (mut answer, mut sent) = (Vec::new(), Vec::new());
    for (number, request) in requests {
        let delivery = delivery_of(request).ok_or_else(|| io::Error::other("a push without a delivery id"))?;
        let due = start + Duration::from_secs(1) * *number / PER_SECOND;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let at_us = now_us();
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request)?;
        answer.clear();
        stream.read_to_end(&mut answer)?;
        if !matches!(progress(&answer, true), Progress::Whole { status: 200, .. }) {
            let answer = String::from_utf8_lossy(&answer);
            return Err(io::Error::other(format!("a POST was not answered 200 but {answer:?}")));
        }
        sent.push(Sent { delivery, at_us });
    }
    Ok(sent)
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn delivery_of(request: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"X-GitHub-Delivery: ";
    let start = request.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    let end = request[start..].iter().position(|byte| *byte == b'\r')?;
    std::str::from_utf8(&request[start..start + end]).ok().map(str::to_owned)
}

/// Each delivery's dispatch and when it was shown, as soon as there are so many.
fn wait_for_ledger(database: &Connection, count: usize) -> io::Result<HashMap<String, (i64, i64)>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let read = || -> rusqlite::Result<HashMap<String, (i64, i64)>> {
            database
                .prepare_cached(
                    "SELECT delivery.delivery_id, dispatch.id, dispatch.edge_ms
                     FROM dispatch JOIN delivery ON delivery.id = dispatch.delivery WHERE dispatch.edge_ms IS NOT NULL",
                )?
                .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
                .collect()
        };
        let ledger = read().map_err(io::Error::other)?;
        if ledger.len() >= count || Instant::now() > deadline {
            return Ok(ledger);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Gives each edge to the POST that was shown by it first; the others of it were merged.
fn pair(mut shown: Vec<Shown>, edges: &[Edge]) -> io::Result<Turn> {
    let lit: Vec<i64> =
        edges.iter().filter(|edge| edge.line == LIGHT && edge.level == 1).map(|edge| edge.t_ms).collect();
    shown.sort_unstable_by_key(|post| (post.edge_ms, post.dispatch));
    let (mut own_us, mut merged, mut taken) = (Vec::new(), 0, 0);
    for post in shown {
        // The ledger's moment is just behind the edge; that of a ring that was merged before its edge came, before it.
        let begun = lit.partition_point(|at| *at <= post.edge_ms);
        if begun == taken {
            merged += 1;
            continue;
        }
        let edge_ms = lit[taken];
        taken += 1;
        let end_us = u64::try_from(edge_ms + 1).unwrap_or(0) * 1000;
        own_us.push(end_us.saturating_sub(post.at_us));
    }
    if taken != lit.len() {
        return Err(io::Error::other(format!(
            "{} edges lit the light, and {taken} POSTs were shown by one",
            lit.len()
        )));
    }
    own_us.sort_unstable();
    Ok(Turn { own_us, merged })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_is_one_posts_and_the_others_were_merged() {
        let edge =
            |t_ms: i64, level: u8| Edge { t_ms, line: LIGHT.to_owned(), level, percent: None, hz: None, late_us: 0 };
        let edges = [edge(110, 1), edge(115, 0), edge(130, 1), edge(135, 0)];
        let shown = |at_ms: u64, dispatch, edge_ms| Shown { at_us: at_ms * 1000, dispatch, edge_ms };
        let turn = pair(vec![shown(120, 3, 131), shown(101, 1, 110), shown(105, 2, 112)], &edges).unwrap();
        assert_eq!((turn.own_us, turn.merged), (vec![10_000, 11_000], 1));
        assert!(pair(vec![shown(101, 1, 110)], &edges).is_err());
        assert!(pair(vec![shown(101, 1, 109)], &edges[..2]).is_err());
        let early = pair(vec![shown(101, 1, 110), shown(102, 2, 109)], &edges[..2]).unwrap();
        assert_eq!((early.own_us, early.merged), (vec![10_000], 1));
    }
}
