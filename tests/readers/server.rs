//! The server over real sockets, under any bytes cut anywhere: what comes of them is what the readers make of the same bytes,
//! and afterwards nothing is left of it. Clients send in segments, with pauses, several at once; they end their side, wait,
//! or are gone.

use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    config::Listen,
    http::{self, Admitted, Head, Listener, Peer, Request, Response, Running, Server, Service},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestError, TestRunner},
};

use crate::{
    fuzz::{
        portions::{portions, uncut},
        request::{self, Limits, Outcome},
    },
    streams::{sizes, streams, valid},
};

/// Longer than anything takes here, also on a machine that has much else to do.
const PATIENT: Duration = Duration::from_secs(30);
/// What the server reads after an answer is thrown away for so long; then it closes, and what comes later is a reset.
const LINGER: Duration = Duration::from_secs(2);
/// Limits that short streams reach.
const TIGHT: Limits = Limits { head_bytes_max: 300, body_bytes_max: 100 };
const ROOMY: Limits = Limits { head_bytes_max: 32 * 1024, body_bytes_max: 1024 * 1024 };
/// In an ordinary run: several conversations each.
const CASES: u32 = 300;

/// Only one of these tests at a time: each counts this process's sockets.
static ALONE: Mutex<()> = Mutex::new(());

/// What the service was handed.
type Handed = Vec<(Peer, Head, Vec<u8>)>;

/// Answers with the number of what it was handed.
struct Recorder(Arc<Mutex<Handed>>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service for Recorder {
    type Admitted = ();

    fn admit(&self, _: &Head, _: &Peer) -> Result<Admitted<()>, Response> {
        Ok(Admitted::new(()))
    }

    fn handle(&self, request: Request<()>) -> Response {
        let mut handed = locked(&self.0);
        handed.push((request.peer, request.head, request.body));
        let number = (handed.len() - 1).to_string();
        Response::text(200, number.clone()).field("X-Number", &number)
    }
}

/// How a client sends a stream.
#[derive(Clone, Debug)]
struct Conversation {
    stream: Vec<u8>,
    is_unix: bool,
    sizes: Vec<usize>,
    /// After which segments it waits for a moment, and looks whether it is answered.
    pauses: Vec<bool>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    /// It has said all, and reads.
    HalfClose,
    /// It reads, and would say more.
    Wait,
    /// It sends so much and is gone.
    Reset(Index),
}

/// What came of a conversation.
struct Talk {
    sent: Vec<u8>,
    local: Option<SocketAddr>,
    /// `None`: it did not listen.
    answer: Option<Vec<u8>>,
    /// The connection broke while it sent or listened.
    broke: bool,
    took: Duration,
}

trait Connection: Read + Write {
    fn end_writing(&self);
    fn wait_at_most(&self, time: Duration);
    fn reset(self: Box<Self>);
}

impl Connection for TcpStream {
    fn end_writing(&self) {
        // It fails only when the server is gone, which the reading shows.
        let _ = self.shutdown(Shutdown::Write);
    }

    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a time-out");
    }

    fn reset(self: Box<Self>) {
        rustix::net::sockopt::set_socket_linger(&*self, Some(Duration::ZERO)).expect("no lingering");
    }
}

impl Connection for UnixStream {
    fn end_writing(&self) {
        let _ = self.shutdown(Shutdown::Write);
    }

    fn wait_at_most(&self, time: Duration) {
        self.set_read_timeout(Some(time)).expect("a time-out");
    }

    fn reset(self: Box<Self>) {}
}

struct Bench {
    _directory: tempfile::TempDir,
    running: Running,
    limits: Limits,
    address: SocketAddr,
    path: PathBuf,
    handed: Arc<Mutex<Handed>>,
    /// The sockets of this process when nobody is connected.
    sockets: usize,
}

impl Bench {
    fn new(limits: Limits, deadline: Duration) -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("door.sock");
        let tcp = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).expect("a port");
        let unix = Listener::bind(&Listen::Unix(path.clone())).expect("a socket");
        let Ok(Listen::Tcp(address)) = tcp.local_addr() else { panic!("bound by TCP") };
        let handed = Arc::<Mutex<Handed>>::default();
        let granted = http::Limits {
            head_bytes_max: limits.head_bytes_max,
            body_bytes_max: limits.body_bytes_max,
            head_deadline: deadline,
            request_deadline: deadline,
            ..http::Limits::default()
        };
        let running = Server::new(vec![tcp, unix], granted, Recorder(handed.clone())).start("test").expect("a server");
        Bench { _directory: directory, running, limits, address, path, handed, sockets: sockets() }
    }

    fn connect(&self, is_unix: bool) -> (Box<dyn Connection>, Option<SocketAddr>) {
        if is_unix {
            return (Box::new(UnixStream::connect(&self.path).expect("it listens")), None);
        }
        let stream = TcpStream::connect(self.address).expect("it listens");
        // Each segment leaves by itself.
        stream.set_nodelay(true).expect("no delay");
        let local = stream.local_addr().ok();
        (Box::new(stream), local)
    }

    fn talk(&self, conversation: &Conversation) -> Talk {
        let Conversation { stream, is_unix, sizes, pauses, end } = conversation;
        let start = Instant::now();
        let (mut connection, local) = self.connect(*is_unix);
        let stream = match end {
            End::Reset(at) => &stream[..at.index(stream.len() + 1)],
            End::HalfClose | End::Wait => stream.as_slice(),
        };
        let (mut answer, mut broke, mut is_over) = (Vec::new(), false, false);
        for (number, segment) in portions(stream, sizes.iter().copied()).enumerate() {
            if connection.write_all(segment).is_err() {
                broke = true;
                break;
            }
            if pauses.get(number) == Some(&true) {
                connection.wait_at_most(Duration::from_millis(1));
                let mut bytes = [0; 512];
                match connection.read(&mut bytes) {
                    Ok(0) => is_over = true,
                    Ok(count) => answer.extend_from_slice(&bytes[..count]),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => (broke, is_over) = (true, true),
                }
            }
            if is_over {
                break;
            }
        }
        let answer = match end {
            End::Reset(_) => {
                connection.reset();
                None
            }
            End::HalfClose | End::Wait => {
                if matches!(end, End::HalfClose) {
                    connection.end_writing();
                }
                connection.wait_at_most(PATIENT);
                broke |= !is_over && connection.read_to_end(&mut answer).is_err();
                Some(answer)
            }
        };
        Talk { sent: stream.to_vec(), local, answer, broke, took: start.elapsed() }
    }

    /// All at once, each judged by what the readers make of its bytes.
    fn check(&self, conversations: &[Conversation], may_be_late: bool) {
        let before = locked(&self.handed).len();
        let talks: Vec<Talk> = thread::scope(|scope| {
            let talking: Vec<_> =
                conversations.iter().map(|conversation| scope.spawn(|| self.talk(conversation))).collect();
            talking.into_iter().map(|talk| talk.join().expect("a client")).collect()
        });
        let mut numbers = HashSet::new();
        let mut expected: Vec<(Option<SocketAddr>, Head, Vec<u8>)> = Vec::new();
        for talk in &talks {
            let verdict = request::read(&talk.sent, self.limits, uncut());
            if let Some(number) = judge(talk, &verdict, may_be_late) {
                assert!(numbers.insert(number), "two have the same answer: {number}");
                let (peer, head, body) = locked(&self.handed)[number].clone();
                assert!(number >= before, "an answer of an earlier conversation");
                assert_eq!(peer == Peer::Unix, talk.local.is_none());
                let Outcome::Complete(its, content, _) = verdict else { panic!("judged to be complete") };
                assert_eq!((its, content), (head, body), "handed over as it was sent");
            } else if let Outcome::Complete(head, body, _) = verdict {
                // Nobody has heard the answer: it may have been handled, once.
                expected.push((talk.local, head, body));
            }
        }
        // Who is gone may still wait to be accepted. Whoever comes now is behind all of them.
        for is_unix in [false, true] {
            let talk = self.talk(&ordinary(is_unix));
            let verdict = request::read(&talk.sent, ROOMY, uncut());
            numbers.insert(judge(&talk, &verdict, false).expect("an answer"));
        }
        self.wait_until_left();
        // What nobody has heard of was sent by one of those who did not listen.
        for (number, (peer, head, body)) in locked(&self.handed).iter().enumerate().skip(before) {
            if numbers.contains(&number) {
                continue;
            }
            let is_its = |(local, its, content): &(Option<SocketAddr>, Head, Vec<u8>)| {
                let is_from = local.map_or(*peer == Peer::Unix, |local| *peer == Peer::Tcp(local));
                is_from && (its, content) == (head, body)
            };
            let sender = expected.iter().position(is_its);
            let sender = sender.unwrap_or_else(|| panic!("nobody has sent this: {head:?} {}", body.escape_ascii()));
            expected.swap_remove(sender);
        }
    }

    /// Until nothing is left of any connection: all are answered or gone, and only have to be closed.
    fn wait_until_left(&self) {
        let start = Instant::now();
        while self.running.bodies_in_flight_bytes() > 0 || sockets() > self.sockets {
            assert!(start.elapsed() < PATIENT, "{} sockets, and {} at first", sockets(), self.sockets);
            thread::yield_now();
        }
    }

    /// It still answers, and ends in order.
    fn finish(self) {
        for is_unix in [false, true] {
            self.check(&[ordinary(is_unix)], false);
        }
        let start = Instant::now();
        self.running.stop(PATIENT);
        assert!(start.elapsed() < PATIENT / 2, "nobody was left, and it took {:?}", start.elapsed());
        assert!(TcpStream::connect(self.address).is_err() && !self.path.exists());
    }
}

/// A request like any other.
fn ordinary(is_unix: bool) -> Conversation {
    let stream = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody".to_vec();
    Conversation { stream, is_unix, sizes: Vec::new(), pauses: Vec::new(), end: End::HalfClose }
}

/// Sockets of this process.
fn sockets() -> usize {
    let names =
        fs::read_dir("/proc/self/fd").expect("descriptors").filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
}

/// Holds what a client heard against the verdict on what it sent. Returns the number in the answer of the service.
fn judge(talk: &Talk, verdict: &Outcome, may_be_late: bool) -> Option<usize> {
    let answer = talk.answer.as_ref()?;
    let (head, expected) = match verdict {
        Outcome::HeadUnfinished if talk.sent.is_empty() => (None, None),
        Outcome::HeadUnfinished => (None, Some(400)),
        Outcome::BodyUnfinished(head, _) => (Some(head), Some(400)),
        Outcome::Refused(refusal) => (None, Some(refusal.status)),
        Outcome::Complete(head, ..) => (Some(head), Some(200)),
    };
    let expects_continue = head.is_none_or(|head| head.expects_continue);
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    let answer = answer.strip_prefix(interim.as_slice()).filter(|_| expects_continue).unwrap_or(answer);
    let sent = || talk.sent.escape_ascii();
    if answer.is_empty() {
        // Who had said more than was asked for, or went on for too long after the answer, may have lost it to a reset.
        let has_surplus = matches!(verdict, Outcome::Complete(_, _, used) if *used < talk.sent.len());
        let is_lost = talk.broke && (has_surplus || may_be_late || talk.took > LINGER);
        assert!(expected.is_none() || is_lost, "{} is not answered, expected {expected:?}", sent());
        return None;
    }
    let (status, fields, body) = read_answer(answer).unwrap_or_else(|| {
        panic!("no answer to {}: {}", sent(), answer.escape_ascii());
    });
    if may_be_late && status == 408 {
        return None;
    }
    assert_eq!(Some(status), expected, "{}", sent());
    assert_eq!(fields.get("connection").map(String::as_str), Some("close"));
    let is_bare = body.is_empty() && talk.sent.trim_ascii_start().starts_with(b"HEAD ");
    let length = fields.get("content-length").map(String::as_str);
    assert!(is_bare || length == Some(body.len().to_string().as_str()), "{}", answer.escape_ascii());
    let number = fields.get("x-number").map(|number| number.parse().expect("a number"));
    assert_eq!(number.is_some(), status == 200, "only the service says 200");
    if !is_bare {
        assert!(number.map_or(body.starts_with(b"{\"error\":"), |number: usize| body == number.to_string().as_bytes()));
    }
    number
}

type Answer<'a> = (u16, BTreeMap<String, String>, &'a [u8]);

/// A status, the fields by their small names, and the rest.
fn read_answer(bytes: &[u8]) -> Option<Answer<'_>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    Some((status, lines.map(field).collect::<Option<_>>()?, body))
}

fn conversation(end: impl Strategy<Value = End>) -> impl Strategy<Value = Conversation> {
    let stream = prop_oneof![2 => streams(), 1 => valid().prop_map(|valid| valid.stream()), 1 => valid().prop_map(|valid| valid.request())];
    let pauses = vec(prop::bool::weighted(0.1), 0..20);
    (stream, any::<bool>(), sizes(), pauses, end).prop_map(|(stream, is_unix, sizes, pauses, end)| Conversation {
        stream,
        is_unix,
        sizes,
        pauses,
        end,
    })
}

fn runner(cases: u32) -> TestRunner {
    let cases = env::var("HOOKBELL_CASES").map_or(cases, |text| text.parse().expect("HOOKBELL_CASES is a number"));
    TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 500, ..Config::default() })
}

fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(&S::Value))
where
    S::Value: Clone,
{
    let result = runner(cases).run(strategy, |value| {
        check(&value);
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => panic!("{why}\nfor {value:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn over_a_socket_a_stream_becomes_what_the_readers_make_of_it() {
    let _alone = locked(&ALONE);
    let ends = || prop_oneof![4 => Just(End::HalfClose), 1 => any::<Index>().prop_map(End::Reset)];
    for limits in [ROOMY, TIGHT] {
        let bench = Bench::new(limits, PATIENT * 2);
        run(CASES / 2, &vec(conversation(ends()), 1..8), |conversations| bench.check(conversations, false));
        bench.finish();
    }
}

#[test]
fn whatever_comes_there_is_an_answer_or_an_end_in_time() {
    let _alone = locked(&ALONE);
    let deadline = Duration::from_millis(200);
    let bench = Bench::new(TIGHT, deadline);
    let ends = || prop_oneof![4 => Just(End::Wait), 1 => any::<Index>().prop_map(End::Reset)];
    run(CASES / 10, &vec(conversation(ends()), 8..24), |conversations| {
        let start = Instant::now();
        bench.check(conversations, true);
        // Reading each answer ends with the server's close, so this is how long all of them took.
        assert!(start.elapsed() < deadline + LINGER + PATIENT / 2, "{:?}", start.elapsed());
    });
    bench.finish();
}
