//! How long it is from the first byte of a POST to the light that it rings: through the door, its sync to the disk, the
//! router, the queue and the player; and to the moment at which a Slack on this machine has its message.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hookbell::bell::Edge;
use rusqlite::Connection;

use crate::{
    answer::{Progress, progress},
    desk::{Desk, LIGHT},
    load::{self, Arrivals, Outcome},
    push::Pool,
};

/// As for the edges under load.
const BODY_BYTES: usize = 13 * 1024;
/// An answer that takes longer than so many intervals holds up the request that is so many behind it.
const SENDERS: u32 = 10;
/// The queue is empty long before.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is posted.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// POSTs that ring, at even distances.
    pub per_second: u32,
    /// For so long.
    pub span: Duration,
    /// POSTs of another source at the same time, which ring nothing.
    pub beside_per_second: Option<u32>,
    /// Whether each is told to Slack, too.
    pub has_slack: bool,
}

/// So short that the desk is free again before the next one. Two that meet all the same are one light.
const CUE: &str = r#"
[sources.measured]
provider = "github"
secret = { env = "GITHUB_WEBHOOK_SECRET" }
[sinks.bell]
[cues.push]
led = "light"
blink = { on_ms = 5, off_ms = 0, times = 1 }
tune = ""
"#;

/// What came of it.
#[derive(Debug)]
pub struct Turn {
    /// Of the POSTs that have an edge of their own: from before the connection to the end of the edge's millisecond,
    /// sorted, microseconds.
    pub own_us: Vec<u64>,
    /// Rang while another's light was lit, or before it was.
    pub merged: usize,
    /// From before the connection to the last byte of the message at Slack, sorted, microseconds; empty without one.
    pub slack_us: Vec<u64>,
    /// What was posted beside them.
    pub beside: Option<Outcome>,
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

/// What the ledger says of a delivery that was shown.
struct Entry {
    id: i64,
    dispatch: i64,
    edge_ms: i64,
}

/// Posts as `course` says.
///
/// # Errors
/// When anything lied: a POST that was not answered 200, one that the ledger does not know as shown, an edge without one,
/// a light that ends lit, a message that does not come.
pub fn take(executable: &Path, data: &Path, course: Course, seed: u64) -> io::Result<Turn> {
    let slack = course.has_slack.then(|| StandIn::start(data)).transpose()?;
    let (slack_toml, to) = match &slack {
        // As quickly as it can: its pace is Slack's, and not what is measured.
        Some(slack) => (
            format!(
                "[sinks.slack]\ninterval = \"0 s\"\nwebhook_url = {{ file = \"{}\" }}\n",
                slack.url_file.path().display()
            ),
            r#"["bell", "slack"]"#,
        ),
        None => (String::new(), r#"["bell"]"#),
    };
    let rule = format!("{CUE}{slack_toml}[[rules]]\nwhen = {{ source = \"measured\" }}\nto = {to}\n");
    let desk = Desk::start(executable, data, &rule)?;
    let address = desk.service.address;
    let count = course.per_second * u32::try_from(course.span.as_secs()).unwrap_or(1);
    let senders = SENDERS as usize;
    let mut shares: Vec<Vec<(u32, Vec<u8>)>> = vec![Vec::new(); senders];
    // All of them before the first goes out: making them is nobody's time.
    let mut pool = Pool::new("/webhooks/measured", BODY_BYTES, seed);
    for (number, share) in (0..count).zip((0..senders).cycle()) {
        let mut request = Vec::new();
        pool.write(&mut request);
        shares[share].push((number, request));
    }
    let is_over = AtomicBool::new(false);
    let (sent, beside) = thread::scope(|scope| {
        let beside = course.beside_per_second.map(|per_second| {
            let (is_over, longest) = (&is_over, course.span + PATIENCE);
            let mut pool = Pool::new("/webhooks/github", BODY_BYTES, !seed);
            scope.spawn(move || load::run_until(address, &mut pool, Arrivals::Open { per_second }, longest, is_over))
        });
        let start = Instant::now() + Duration::from_millis(200);
        let per_second = course.per_second;
        let senders: Vec<_> =
            shares.into_iter().map(|share| scope.spawn(move || send(address, start, per_second, &share))).collect();
        let sent: Vec<io::Result<Vec<Sent>>> = senders
            .into_iter()
            .map(|sender| sender.join().unwrap_or_else(|_| Err(io::Error::other("a sender panicked"))))
            .collect();
        is_over.store(true, Ordering::Relaxed);
        let beside =
            beside.map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("the load beside panicked"))));
        (sent, beside)
    });
    let sent: Vec<Sent> = sent.into_iter().collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
    let beside = beside.transpose()?;
    if let Some(beside) = beside.as_ref().filter(|beside| beside.refused + beside.failed > 0) {
        return Err(io::Error::other(format!("{} POSTs beside had no 200", beside.refused + beside.failed)));
    }
    let ledger = wait_for_ledger(&desk.database()?, sent.len())?;
    let entry = |delivery: &str| {
        ledger.get(delivery).ok_or_else(|| io::Error::other(format!("{delivery} was answered 200 and never shown")))
    };
    let mut slack_us = Vec::new();
    if let Some(slack) = &slack {
        let heard = slack.wait_for(sent.len());
        for Sent { delivery, at_us } in &sent {
            let id = entry(delivery)?.id;
            let there_us =
                heard.get(&id).ok_or_else(|| io::Error::other(format!("delivery {id} was never told to Slack")))?;
            slack_us.push(there_us.saturating_sub(*at_us));
        }
        slack_us.sort_unstable();
    }
    let shown = sent
        .into_iter()
        .map(|Sent { delivery, at_us }| {
            let Entry { dispatch, edge_ms, .. } = *entry(&delivery)?;
            Ok(Shown { at_us, dispatch, edge_ms })
        })
        .collect::<io::Result<Vec<_>>>()?;
    let trace = desk.end()?;
    trace.must_end_dark()?;
    let (own_us, merged) = pair(shown, &trace.edges)?;
    Ok(Turn { own_us, merged, slack_us, beside })
}

/// Takes messages as Slack's incoming webhooks do, and notes when each was complete.
struct StandIn {
    address: SocketAddr,
    /// Secrets are never values in a configuration.
    url_file: tempfile::NamedTempFile,
    heard: Arc<Mutex<Vec<(i64, u64)>>>,
    is_over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl StandIn {
    fn start(data: &Path) -> io::Result<StandIn> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut url_file = tempfile::NamedTempFile::new_in(data)?;
        writeln!(url_file, "http://{address}/services/T000/B000/XXXXXXXXXXXXXXXX")?;
        let (heard, is_over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (kept, ends) = (Arc::clone(&heard), Arc::clone(&is_over));
        let listener = thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                // What is not heard is missed where the messages are counted.
                let Ok(text) = stream.and_then(|mut stream| hear(&mut stream)) else { continue };
                let at_us = now_us();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(delivery_told(&text).map(|id| (id, at_us)));
            }
        });
        Ok(StandIn { address, url_file, heard, is_over, listener: Some(listener) })
    }

    /// When each delivery's message came, as soon as there are so many; sooner or later than that after a while.
    fn wait_for(&self, count: usize) -> HashMap<i64, u64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let heard: HashMap<i64, u64> =
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
            if heard.len() >= count || Instant::now() > deadline {
                return heard;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes it up; without this it would wait for the next message for ever.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.listener.take().map(JoinHandle::join);
        }
    }
}

/// Reads one message whole, and answers.
fn hear(stream: &mut TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if length.is_some_and(|length| body.len() >= length) {
            let text = body.to_owned();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
            return Ok(text);
        }
    }
}

/// Which delivery a message is about, by the reference below it: installation, delivery, event, replay.
fn delivery_told(text: &str) -> Option<i64> {
    let (before, _) = text.split_once("-0-0")?;
    before.rsplit('-').next()?.parse().ok()
}

/// Posts these requests, each at the time that its number stands for.
fn send(address: SocketAddr, start: Instant, per_second: u32, requests: &[(u32, Vec<u8>)]) -> io::Result<Vec<Sent>> {
    let (mut answer, mut sent) = (Vec::new(), Vec::new());
    for (number, request) in requests {
        let delivery = delivery_of(request).ok_or_else(|| io::Error::other("a push without a delivery id"))?;
        let due = start + Duration::from_secs(1) * *number / per_second;
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
fn wait_for_ledger(database: &Connection, count: usize) -> io::Result<HashMap<String, Entry>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let read = || -> rusqlite::Result<HashMap<String, Entry>> {
            database
                .prepare_cached(
                    "SELECT delivery.delivery_id, delivery.id, dispatch.id, dispatch.edge_ms
                     FROM dispatch JOIN delivery ON delivery.id = dispatch.delivery WHERE dispatch.edge_ms IS NOT NULL",
                )?
                .query_map([], |row| {
                    Ok((row.get(0)?, Entry { id: row.get(1)?, dispatch: row.get(2)?, edge_ms: row.get(3)? }))
                })?
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
fn pair(mut shown: Vec<Shown>, edges: &[Edge]) -> io::Result<(Vec<u64>, usize)> {
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
    Ok((own_us, merged))
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
        assert_eq!(turn, (vec![10_000, 11_000], 1));
        assert!(pair(vec![shown(101, 1, 110)], &edges).is_err());
        assert!(pair(vec![shown(101, 1, 109)], &edges[..2]).is_err());
        let early = pair(vec![shown(101, 1, 110), shown(102, 2, 109)], &edges[..2]).unwrap();
        assert_eq!(early, (vec![10_000], 1));
    }

    #[test]
    fn a_message_says_which_delivery_it_is_about() {
        assert_eq!(delivery_told(r#"…pushed…"},{"text":"today · github · 3f9c1a-712-0-0"}]"#), Some(712));
        assert_eq!(delivery_told("no reference"), None);
    }
}
