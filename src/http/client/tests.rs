//! The client against a server that does as it is told.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::Instant,
};

use super::*;
use crate::threads::{STACK_BYTES, spawn};

const PATH: &str = "/services/SECRET?token=SECRET";

/// What the server does once it has read the request.
enum Then {
    Close,
    /// Waits until the client has given up.
    Hang,
}

/// A server for one connection: says `answer` and then closes or hangs. Returns what was sent to it.
fn server(answer: impl Into<Vec<u8>>, then: Then) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = answer.into();
    let thread = spawn("test-server", STACK_BYTES, move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&stream);
        // The client may have gone already.
        let _ = stream.write_all(&answer);
        match then {
            Then::Close => drop(stream.shutdown(Shutdown::Write)),
            Then::Hang => drop(io::copy(&mut stream, &mut io::sink())),
        }
        request
    });
    (address, thread.unwrap())
}

fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return head;
        }
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _ = reader.read_exact(&mut body);
    head + &String::from_utf8_lossy(&body)
}

fn post(address: SocketAddr, timeout: Duration) -> Result<Answer, Failure> {
    let url = format!("http://{address}{PATH}");
    Client::with_timeout(timeout).post(&url, "application/json", &[("X-Test", "yes")], b"{}")
}

const PATIENT: Duration = Duration::from_secs(20);

#[track_caller]
fn check(answer: &str, status: u16, retry_after: Option<u64>, body: &str) {
    let (address, server) = server(answer, Then::Close);
    let retry_after = retry_after.map(Duration::from_secs);
    let expected = Answer { retry_after, ..Answer::of(status, body) };
    let got = post(address, PATIENT).map(|answer| Answer { headers: Headers::new(), ..answer });
    assert_eq!(got, Ok(expected), "{answer}");
    server.join().unwrap();
}

#[test]
fn every_complete_answer_is_an_answer() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, None, "ok");
    check("HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, None, "until the end");
    check("HTTP/1.1 204 No Content\r\n\r\n", 204, None, "");
    check("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, None, "");
    check("HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 307, None, "");
    check(
        "HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 12\r\n\r\nrate_limited",
        429,
        Some(30),
        "rate_limited",
    );
    check("HTTP/1.1 500 No\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 500, None, "");
}

#[test]
fn the_date_is_told() {
    for (date, expected) in [("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777_000)), ("yesterday", None)] {
        let (address, server) =
            server(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"), Then::Close);
        assert_eq!(post(address, PATIENT).unwrap().date, expected.map(Timestamp::from_ms));
        server.join().unwrap();
    }
}

#[test]
fn the_request_is_complete() {
    let (address, server) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::Close);
    post(address, PATIENT).unwrap();
    let request = server.join().unwrap();
    assert!(request.starts_with(&format!("POST {PATH} HTTP/1.1\r\n")), "{request}");
    let lower = request.to_ascii_lowercase();
    for line in [
        concat!("user-agent: hookbell/", env!("CARGO_PKG_VERSION"), "\r\n"),
        "content-type: application/json\r\n",
        "content-length: 2\r\n",
        "x-test: yes\r\n",
    ] {
        assert_eq!(lower.matches(line).count(), 1, "{line:?} in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
}

#[test]
fn a_long_body_is_cut() {
    let long = "a".repeat(200_000);
    let (address, server) =
        server(format!("HTTP/1.1 400 No\r\nContent-Length: {}\r\n\r\n{long}", long.len()), Then::Close);
    assert_eq!(post(address, PATIENT).unwrap().body.len() as u64, BODY_BYTES_MAX);
    server.join().unwrap();
}

/// Fails in some way, and in none of them tells the path.
#[track_caller]
fn fails(result: Result<Answer, Failure>) -> Failure {
    let failure = result.unwrap_err();
    assert!(!format!("{failure} {failure:?}").contains("SECRET"), "{failure} {failure:?}");
    failure
}

#[test]
fn silence_is_a_timeout_after_sending() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha"] {
        let (address, server) = server(answer, Then::Hang);
        let start = Instant::now();
        let failure = fails(post(address, Duration::from_millis(200)));
        assert!(matches!(failure, Failure::Timeout { sent: true, .. }), "{failure:?}");
        assert!(start.elapsed() < Duration::from_secs(10));
        server.join().unwrap();
    }
}

#[test]
fn an_incomplete_answer_may_have_arrived() {
    for answer in
        ["", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nha", "SSH-2.0-x\r\n\r\n"]
    {
        let (address, server) = server(answer, Then::Close);
        let failure = fails(post(address, PATIENT));
        assert!(matches!(failure, Failure::Cut { .. }) && failure.may_have_arrived(), "{answer}: {failure:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_refused_connection_has_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let failure = fails(post(address, PATIENT));
    assert!(matches!(failure, Failure::Connect { .. }) && !failure.may_have_arrived(), "{failure:?}");
    assert!(failure.to_string().contains(&address.to_string()), "{failure}");
}

#[test]
fn no_tls_at_the_other_end_is_a_failure_of_trust() {
    let (address, server) = server("HTTP/1.1 400 Bad Request\r\n\r\n", Then::Close);
    // Whatever the handshake looks like to a plain server, it finds a line end or the end of the stream.
    let failure = fails(Client::with_timeout(Duration::from_secs(2)).post(
        &format!("https://{address}{PATH}"),
        "text/plain",
        &[],
        b"",
    ));
    assert!(!matches!(failure, Failure::Other { .. } | Failure::Connect { .. }), "{failure:?}");
    server.join().unwrap();
}

#[test]
fn impossible_requests_are_told_apart() {
    let client = Client::new();
    for (url, headers) in [
        ("http://example.com/SECRET", [("a", "b")]),
        ("SECRET", [("a", "b")]),
        ("https://127.0.0.1:1/SECRET", [("a", "b\r\nc: SECRET")]),
    ] {
        let failure = fails(client.post(url, "text/plain", &headers, b""));
        assert!(matches!(failure, Failure::Other { .. }), "{failure:?}");
    }
}

#[test]
fn sinks_are_https_or_on_this_machine() {
    for url in [
        "https://hooks.slack.com/services/a",
        "https://10.0.0.1:8443",
        "http://localhost:8080/x",
        "http://127.0.0.2/x",
        "http://[::1]:80/",
    ] {
        assert_eq!(check_url(url, Reach::Anybody), Ok(()), "{url}");
    }
    for url in [
        "",
        "/path",
        "SECRET",
        "http://SECRET.com/",
        "http://10.0.0.1/",
        "http://localhost.SECRET.com/",
        "ftp://SECRET/",
        "https://SECRET@host/",
        "https://",
        "https:///x",
        "https://host/a b",
    ] {
        let text = check_url(url, Reach::Anybody).expect_err(url);
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date_against_the_answers_own() {
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    for (wish, date, expected) in [
        ("120", None, Some(120)),
        (" 7 ", date, Some(7)),
        ("99999999999999999999999", None, Some(3600)),
        ("-1", None, None),
        ("", None, None),
        ("1.5", None, None),
        ("Sun, 06 Nov 1994 08:50:07 GMT", date, Some(30)),
        ("Sun, 06 Nov 1994 08:49:00 GMT", date, Some(0)),
        ("Sun, 06 Nov 1994 18:49:37 GMT", date, Some(3600)),
        ("Sun, 06 Nov 1994 08:50:07 GMT", None, None),
    ] {
        assert_eq!(retry_after(wish, date.and_then(moment)), expected.map(Duration::from_secs), "{wish}");
    }
}

#[test]
fn without_certificates_of_the_system_the_bundled_ones_serve() {
    let empty = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The environment is the process's, so this needs one of its own.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "http::client::tests::posts_by_tls_where_it_is_told", "--ignored"])
        .env("SSL_CERT_FILE", empty.path().join("none.pem"))
        .env("SSL_CERT_DIR", empty.path())
        .env("HOOKBELL_TEST_ADDRESS", address.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = false;
    // The attempt with the system's certificates connects and says nothing; the second one greets.
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = [0; 1];
        seen = stream.read(&mut first).unwrap() == 1 && first == [0x16];
    }
    assert!(seen, "no TLS hello");
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn posts_by_tls_where_it_is_told() {
    let Ok(address) = std::env::var("HOOKBELL_TEST_ADDRESS") else { return };
    let client = Client::with_timeout(Duration::from_secs(5));
    assert!(client.post(&format!("https://{address}/"), "text/plain", &[], b"").is_err());
    assert!(client.shared.use_bundled.load(Ordering::Relaxed));
}

#[test]
fn a_name_is_judged_by_the_address_that_it_resolves_to() {
    let (address, server) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Then::Close);
    let port = address.port();
    let post = |url: &str, reach| Client::within(reach).post(url, "text/plain", &[], b"");
    // To the resolver these are the loopback; as they are written they look like names.
    for host in ["0x7f.1", "2130706433", "127.1"] {
        let failure = fails(post(&format!("https://{host}:{port}{PATH}"), Reach::Public));
        assert!(matches!(&failure, Failure::Forbidden { address, .. } if address.is_loopback()), "{failure:?}");
        assert!(!failure.may_have_arrived());
        let text = failure.to_string();
        assert_eq!(text, format!("no connection to {host}:{port}: 127.0.0.1 is not a public address"));
    }
    for url in [
        format!("http://{address}{PATH}"),
        format!("https://{address}{PATH}"),
        format!("https://localhost:{port}{PATH}"),
    ] {
        assert!(matches!(fails(post(&url, Reach::Public)), Failure::Other { .. }), "{url}");
    }
    // What is allowed is the first that the server sees.
    assert_eq!(post(&format!("http://127.1:{port}{PATH}"), Reach::Private).unwrap().status, 200);
    assert!(server.join().unwrap().starts_with("POST "));
    let failure = fails(post("http://1.1.1.1/SECRET", Reach::Private));
    assert!(failure.to_string().contains("plain http to 1.1.1.1"), "{failure}");
}

#[test]
fn each_failure_says_how_far_the_request_came() {
    let of = |error| failure("host".to_owned(), error);
    for (timeout, stage, sent) in [
        (Timeout::Resolve, "DNS", false),
        (Timeout::Connect, "accept a connection", false),
        (Timeout::SendRequest, "take the request", true),
        (Timeout::SendBody, "take the request", true),
        (Timeout::RecvResponse, "answer", true),
        (Timeout::RecvBody, "finish its answer", true),
        (Timeout::Global, "altogether", true),
    ] {
        let Failure::Timeout { stage: found, sent: was_sent, .. } = of(ureq::Error::Timeout(timeout)) else { panic!() };
        assert!(found.contains(stage) && was_sent == sent, "{found}");
    }
    assert!(matches!(of(ureq::Error::HostNotFound), Failure::Dns { .. }));
    assert!(matches!(of(ureq::Error::ConnectionFailed), Failure::Connect { .. }));
    assert!(matches!(of(ureq::Error::Tls("no")), Failure::Tls { .. }));
    assert!(matches!(of(ureq::Error::LargeResponseHeader(9, 8)), Failure::Cut { .. }));
    assert!(matches!(of(ureq::Error::BodyStalled), Failure::Cut { .. }));
    assert!(
        matches!(of(ureq::Error::BadUri("secret".to_owned())), Failure::Other { cause } if !cause.contains("secret"))
    );
    let io = |kind: io::ErrorKind| of(ureq::Error::Io(kind.into()));
    assert!(matches!(io(io::ErrorKind::TimedOut), Failure::Timeout { sent: true, .. }));
    assert!(matches!(io(io::ErrorKind::ConnectionRefused), Failure::Connect { .. }));
}

#[test]
fn a_url_has_a_host() {
    assert_eq!(check_url("https://:443/path", Reach::Anybody), Err("the URL has no host".to_owned()));
    assert_eq!(check_url("/path", Reach::Anybody).unwrap_err(), "not a whole URL; expected https://host/path");
}
