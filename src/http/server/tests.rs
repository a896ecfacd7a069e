//! The server over real sockets.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    sync::mpsc,
};

use super::*;
use crate::{
    config::Listen,
    http::{Admitted, Head, Peer, Request, Response, lobby::PLACES},
    threads::STACK_BYTES,
};

/// Answers with what came in, except at `/none` (404 by the head), `/small` (bodies up to 4 bytes), `/panic`,
/// `/compress`, `/large`, `/stream` (which panics after its beginning), and `/wait`, where it says that it is there and
/// waits to be let go. It also panics when it is told of a refusal at `/panic`.
struct Desk {
    arrived: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    refused: mpsc::Sender<u16>,
}

impl Service for Desk {
    type Admitted = String;

    fn admit(&self, head: &Head, _: &Peer) -> Result<Admitted<String>, Response> {
        match head.target.as_str() {
            "/none" => Err(Response::error(404, "no such source")),
            "/small" => Ok(Admitted { value: head.target.clone(), body_bytes_max: Some(4) }),
            _ => Ok(Admitted::new(head.target.clone())),
        }
    }

    fn handle(&self, request: Request<String>) -> Response {
        match request.admitted.as_str() {
            "/panic" => panic!("as asked"),
            "/wait" => {
                self.arrived.send(()).unwrap();
                lock(&self.go).recv().unwrap();
                Response::text(200, "waited")
            }
            "/compress" => {
                let packed = zstd::encode_all(request.body.as_slice(), 3).unwrap();
                Response::json(200, &serde_json::json!({ "bytes": packed.len() }))
            }
            "/large" => Response::new(200, "text/plain", vec![b'a'; 64 * 1024 * 1024]),
            "/stream" => Response::stream("text/plain", "begun", Box::new(|| panic!("as asked"))),
            _ => Response::text(200, format!("{} {}", request.peer, String::from_utf8_lossy(&request.body))),
        }
    }

    fn refused(&self, head: Option<&Head>, _: &Peer, refusal: &Refusal) {
        assert!(head.is_none_or(|head| head.target != "/panic"), "as asked");
        // Nobody may be listening any more.
        let _ = self.refused.send(refusal.status);
    }
}

struct Bench {
    running: Running,
    address: SocketAddr,
    arrived: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
    refused: mpsc::Receiver<u16>,
}

const PATIENT: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits { head_bytes_max: 4096, body_bytes_max: 1024 * 1024, ..Limits::default() }
}

fn desk() -> (Desk, mpsc::Receiver<()>, mpsc::Sender<()>, mpsc::Receiver<u16>) {
    let ((arrived, arrivals), (go, gone), (refused, refusals)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    (Desk { arrived, go: Mutex::new(gone), refused }, arrivals, go, refusals)
}

fn bench(limits: Limits) -> Bench {
    let listener = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let Listen::Tcp(address) = listener.local_addr().unwrap() else { unreachable!("bound by TCP") };
    let (desk, arrived, go, refused) = desk();
    let running = Server::new(vec![listener], limits, desk).start("test").unwrap();
    Bench { running, address, arrived, go, refused }
}

impl Bench {
    fn send(&self, bytes: &[u8]) -> TcpStream {
        send(self.address, bytes)
    }

    fn ask(&self, bytes: &[u8]) -> String {
        answer(self.send(bytes))
    }

    fn wait(&self) -> TcpStream {
        let stream = self.send(&post("/wait", b"12345678"));
        self.arrived.recv_timeout(PATIENT).unwrap();
        stream
    }
}

fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    stream.set_write_timeout(Some(PATIENT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Leaves as who crashes does: the other side sees an error, and no end.
fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Everything until the end, which must be an orderly one.
fn answer(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn assert_status(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn a_request_is_the_same_wherever_it_is_cut() {
    let bench = bench(limits());
    let plain = post("/echo", b"body").to_vec();
    let chunked =
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n";
    for request in [plain.as_slice(), chunked] {
        for cut in 0..=request.len() {
            let mut stream = bench.send(&request[..cut]);
            stream.write_all(&request[cut..]).unwrap();
            let answer = answer(stream);
            assert_status(&answer, 200);
            assert!(answer.ends_with(" body"), "cut at {cut}: {answer}");
        }
    }
    bench.running.stop(PATIENT);
}

#[test]
fn refusals_are_answered_and_reported() {
    let bench = bench(limits());
    let long = [b"GET /".as_slice(), &[b'a'; 5000], b" HTTP/1.1\r\nHost: h\r\n\r\n"].concat();
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}").into_bytes();
    for (request, status) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        ([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[9; 64]].concat(), 400),
        (post("Content-Length: 5, 6\r\n", ""), 400),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", ""), 400),
        (post("Transfer-Encoding: chunked\r\n", "x\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "200000\r\n"), 413),
        (post("Content-Length: 18446744073709551615\r\n", ""), 413),
        (post("Expect: tea\r\n", ""), 417),
        (long, 431),
    ] {
        let answer = bench.ask(&request);
        assert_status(&answer, status);
        assert!(answer.contains("\r\n\r\n{\"error\":\""), "{answer}");
        assert_eq!(bench.refused.recv_timeout(PATIENT), Ok(status));
    }
    let stream = bench.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nbod");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_status(&answer(stream), 400);
    bench.running.stop(PATIENT);
}

#[test]
fn the_service_refuses_by_the_head_and_limits_the_body() {
    let bench = bench(limits());
    assert_status(&bench.ask(b"POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n"), 404);
    assert_status(&bench.ask(&post("/small", b"body")), 200);
    assert_status(&bench.ask(&post("/small", b"large")), 413);
    let head = bench.ask(b"HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    bench.running.stop(PATIENT);
}

#[test]
fn continue_is_said_when_the_head_was_let_in() {
    let bench = bench(limits());
    let head =
        |target| format!("POST {target} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut stream = bench.send(head("/echo").as_bytes());
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    assert_status(&answer(stream), 200);

    assert_status(&bench.ask(format!("{}body", head("/echo")).as_bytes()), 200);
    assert_status(&bench.ask(head("/none").as_bytes()), 404);
    let large = head("/echo").replace("Length: 4", "Length: 99999999");
    assert_status(&bench.ask(large.as_bytes()), 413);
    bench.running.stop(PATIENT);
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let bench = bench(limits());
    let body = vec![b'a'; 20 * 1024 * 1024];
    for _ in 0..3 {
        let answer = bench.ask(&post("/echo", &body));
        assert_status(&answer, 413);
    }
    bench.running.stop(PATIENT);
}

#[test]
fn the_deadline_counts_from_accept_however_the_bytes_drip() {
    let limit = Duration::from_millis(300);
    for (limits, head) in [
        (Limits { head_deadline: limit, ..limits() }, b"GET / HTTP/1.1\r\nX: ".as_slice()),
        (Limits { request_deadline: limit, ..limits() }, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n"),
    ] {
        let bench = bench(limits);
        let start = Instant::now();
        let mut stream = bench.send(head);
        // Waiting for the answer is what paces the drip.
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let mut first = [0; 1];
        while stream.write_all(b"a").is_ok() {
            match stream.read(&mut first) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                read => {
                    assert_eq!(read.unwrap(), 1);
                    break;
                }
            }
        }
        assert!(start.elapsed() >= limit);
        assert!(start.elapsed() < PATIENT / 2);
        stream.set_read_timeout(Some(PATIENT)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_status(&format!("H{}", answer(stream)), 408);
        assert_eq!(bench.refused.recv_timeout(PATIENT), Ok(408));
        bench.running.stop(PATIENT);
    }
}

#[test]
fn a_newcomer_is_told_when_all_places_are_taken() {
    let bench = bench(Limits { connections_max: 2, ..limits() });
    let waiting = [bench.wait(), bench.wait()];
    for _ in 0..3 {
        let answer = bench.ask(&post("/echo", b"body"));
        assert_status(&answer, 503);
        assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        assert_eq!(bench.refused.recv_timeout(PATIENT), Ok(503));
    }
    for stream in waiting {
        bench.go.send(()).unwrap();
        assert_status(&answer(stream), 200);
    }
    bench.running.stop(PATIENT);
}

#[test]
fn the_silent_take_no_place_and_the_oldest_of_them_goes_first() {
    let bench = bench(Limits { connections_max: 1, head_deadline: PATIENT, request_deadline: PATIENT, ..limits() });
    let mut silent: Vec<_> = (0..PLACES + 20).map(|_| bench.send(b"")).collect();
    for _ in 0..3 {
        assert_status(&bench.ask(&post("/echo", b"body")), 200);
    }
    assert_status(&answer(silent.remove(0)), 503);
    let mut last = silent.pop().unwrap();
    last.write_all(&post("/echo", b"body")).unwrap();
    assert_status(&answer(last), 200);
    drop(silent);
    bench.running.stop(PATIENT);
}

#[test]
fn silence_has_a_deadline_too() {
    let bench = bench(Limits { head_deadline: Duration::from_millis(50), ..limits() });
    assert_status(&answer(bench.send(b"")), 408);
    bench.running.stop(PATIENT);
}

#[test]
fn who_dawdles_gives_way() {
    let bench = bench(Limits { connections_max: 1, head_deadline: PATIENT, request_deadline: PATIENT, ..limits() });
    let dawdler = bench.send(b"POST / HTTP/1.1\r\n");
    let start = Instant::now();
    // The first ones come while the dawdler still has its second of grace, or even before it was accepted.
    while !bench.ask(&post("/echo", b"body")).starts_with("HTTP/1.1 200 ") {
        assert!(start.elapsed() < PATIENT / 2);
    }
    assert_status(&answer(dawdler), 503);
    bench.running.stop(PATIENT);
}

#[test]
fn bodies_count_until_their_handlers_return() {
    let bench = bench(Limits { bodies_in_flight_bytes_max: 10, ..limits() });
    let waiting = bench.wait();
    assert_eq!(bench.running.bodies_in_flight_bytes(), 8);
    assert_status(&bench.ask(&post("/echo", b"abc")), 503);
    assert_status(&bench.ask(&post("/echo", b"ab")), 200);
    bench.go.send(()).unwrap();
    assert_status(&answer(waiting), 200);
    assert_status(&bench.ask(&post("/echo", b"abc")), 200);
    assert_eq!(bench.running.bodies_in_flight_bytes(), 0);
    bench.running.stop(PATIENT);
}

#[test]
fn a_panic_is_one_connections_end() {
    let bench = bench(limits());
    for _ in 0..3 {
        let answer = bench.ask(&post("/panic", b"body"));
        assert_status(&answer, 500);
        assert!(answer.ends_with("{\"error\":\"internal\"}"), "{answer}");
    }
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    assert_eq!(bench.running.bodies_in_flight_bytes(), 0);
    bench.running.stop(PATIENT);
}

#[test]
fn a_panic_over_a_refusal_or_within_a_stream_ends_nothing_else() {
    let bench = bench(limits());
    let large = b"POST /panic HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n";
    assert_status(&bench.ask(large), 413);
    let stream = bench.ask(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_status(&stream, 200);
    assert!(stream.ends_with("\r\n\r\nbegun"), "{stream}");
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    bench.running.stop(PATIENT);
}

#[test]
fn what_comes_after_the_request_is_thrown_away() {
    let bench = bench(limits());
    assert_status(&bench.ask(&[post("/echo", b"body"), post("/echo", b"more")].concat()), 200);
    bench.running.stop(PATIENT);
}

#[test]
fn who_leaves_too_early_is_forgotten() {
    let bench = bench(limits());
    let half = bench.send(b"GET / HT");
    half.shutdown(Shutdown::Write).unwrap();
    assert_status(&answer(half), 400);
    // In the lobby: who comes later is accepted later.
    let silent = bench.send(b"");
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    reset(silent);
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    // Within its body.
    let mut told = bench.send(b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    told.read_exact(&mut [0; 25]).unwrap();
    reset(told);
    // Before its answer.
    reset(bench.wait());
    bench.go.send(()).unwrap();
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    bench.running.stop(PATIENT);
}

#[test]
fn the_small_stack_is_enough_for_compression() {
    let bench = bench(limits());
    assert_status(&bench.ask(&post("/compress", &vec![b'a'; 1024 * 1024])), 200);
    bench.running.stop(PATIENT);
}

#[test]
fn many_at_once_are_all_served() {
    let bench = bench(Limits { connections_max: 64, ..limits() });
    let address = bench.address;
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_status(&answer(send(address, &post("/echo", b"body"))), 200);
                }
            });
        }
    });
    bench.running.stop(PATIENT);
}

#[test]
fn stopping_closes_the_door_and_lets_requests_finish() {
    let bench = bench(limits());
    let waiting = bench.wait();
    let Bench { running, address, go, .. } = bench;
    let stopping = spawn("test-stop", STACK_BYTES, move || running.stop(PATIENT)).unwrap();
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENT / 2);
    }
    assert!(!stopping.is_finished());
    go.send(()).unwrap();
    assert_status(&answer(waiting), 200);
    stopping.join().unwrap();
}

#[test]
fn stopping_without_grace_ends_what_is_unfinished() {
    let bench = bench(limits());
    // Told to go on, the client knows that its connection is being served.
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut stream = bench.send(head);
    stream.read_exact(&mut [0; 25]).unwrap();
    let start = Instant::now();
    bench.running.stop(Duration::ZERO);
    assert!(start.elapsed() < PATIENT / 2);
    assert_status(&answer(stream), 503);
}

#[test]
fn stopping_without_grace_ends_an_answer_that_nobody_takes() {
    let bench = bench(limits());
    let mut stream = bench.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    stream.read_exact(&mut [0; 1]).unwrap();
    let start = Instant::now();
    bench.running.stop(Duration::ZERO);
    assert!(start.elapsed() < PATIENT / 2);
    let mut rest = Vec::new();
    // The end of it is an orderly one or none.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 64 * 1024 * 1024, "it was taken as a whole");
}

#[test]
fn who_is_silent_at_the_stop_may_still_speak_for_a_moment() {
    let round = || {
        let bench = bench(limits());
        let (silent, mut late) = (bench.send(b""), bench.send(b""));
        // In the lobby: who comes later is accepted later.
        assert_status(&bench.ask(&post("/echo", b"body")), 200);
        let Bench { running, address, .. } = bench;
        let stopping = spawn("test-stop", STACK_BYTES, move || running.stop(PATIENT)).unwrap();
        let start = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(start.elapsed() < PATIENT / 2);
        }
        let (mut said, sent) = (String::new(), late.write_all(&post("/echo", b"body")));
        let heard = late.read_to_string(&mut said);
        assert_status(&answer(silent), 503);
        stopping.join().unwrap();
        sent.is_ok() && heard.is_ok() && said.starts_with("HTTP/1.1 200 ")
    };
    // On a machine that pauses at the wrong moment, that moment is over.
    assert!((0..10).any(|_| round()));
}

#[test]
fn who_has_spoken_while_nobody_leads_is_served_at_the_stop() {
    let listener = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let Listen::Tcp(address) = listener.local_addr().unwrap() else { unreachable!("bound by TCP") };
    let client = send(address, &post("/echo", b"body"));
    let begun = Instant::now();
    let (stream, peer) = loop {
        match listener.accept().unwrap() {
            Some(accepted) => break accepted,
            None => assert!(begun.elapsed() < PATIENT),
        }
    };
    let mut running = open(vec![listener], limits(), "test").unwrap();
    let shared = Arc::clone(&running.shared);
    let guest = Guest { stream, peer, accepted: Instant::now() };
    lock(&shared.crew).front.as_mut().unwrap().lobby.enter(guest);
    // As when the thread that shall lead has been started and has not begun.
    drop(running.stop.take());
    shared.close_listeners();
    // Closed at once; a child of another test has it a little longer.
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < PATIENT);
    }
    let (desk, _arrived, _go, _refused) = desk();
    work(&shared, &Arc::new(desk));
    shared.finish(Instant::now() + PATIENT);
    let answer = answer(client);
    assert_status(&answer, 200);
    assert!(answer.ends_with(" body"), "{answer}");
}

#[test]
fn a_unix_socket_serves_and_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("door.sock");
    let tcp = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into())).unwrap();
    let unix = Listener::bind(&Listen::Unix(path.clone())).unwrap();
    let (desk, _arrived, _go, _refused) = desk();
    let running = Server::new(vec![tcp, unix], limits(), desk).start("test").unwrap();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(&post("/echo", b"body")).unwrap();
        let answer = answer(stream);
        assert_status(&answer, 200);
        assert!(answer.ends_with("the Unix socket body"), "{answer}");
    }
    running.stop(PATIENT);
    assert!(!path.exists());
}

#[test]
fn dropping_a_running_server_closes_its_door() {
    let bench = bench(limits());
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    let Bench { running, address, .. } = bench;
    drop(running);
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENT / 2);
    }
}

/// Some limits are the process's, so what needs them needs a process of its own.
fn runs_alone(test: &str) {
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("http::server::tests::{test}"), "--ignored"])
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn running_out_of_descriptors_is_survived() {
    runs_alone("runs_out_of_descriptors");
}

#[test]
fn without_descriptors_the_silent_go_first() {
    runs_alone("makes_room_by_the_silent");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn makes_room_by_the_silent() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let bench = bench(Limits { head_deadline: PATIENT, request_deadline: PATIENT, ..limits() });
    let fewer = rustix::process::Rlimit { current: Some(96), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, fewer).unwrap();
    for count in [1, RELIEF + 2] {
        let mut silent: Vec<_> = (0..count).map(|_| bench.send(b"")).collect();
        assert_status(&bench.ask(&post("/echo", b"body")), 200);
        let mut files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        // One is left for the client and none for the server.
        files.pop();
        assert_status(&bench.ask(&post("/echo", b"body")), 200);
        assert_status(&answer(silent.remove(0)), 503);
    }
    bench.running.stop(PATIENT);
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn runs_out_of_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let bench = bench(limits());
    assert_status(&bench.ask(&post("/echo", b"body")), 200);
    setrlimit(Resource::Nofile, rustix::process::Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) }).unwrap();
    let mut files: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    // One is left for the client and none for the server.
    files.pop();
    let mut stream = bench.send(&post("/echo", b"body"));
    stream.set_read_timeout(Some(Duration::from_millis(250))).unwrap();
    assert!(stream.read(&mut [0; 1]).is_err(), "accepted without a descriptor");
    drop(files);
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    assert_status(&answer(stream), 200);
    bench.running.stop(PATIENT);
}
