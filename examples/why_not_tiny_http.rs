//! Why hookbell has a listener of its own: the same requests against `tiny_http` 0.12 and against `hookbell::http`.
//!
//! `cargo run --example why_not_tiny_http` prints the difference as a table. The tiny_http server runs as a child
//! process, because one of the requests ends it.

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hookbell::{
    config::Listen,
    http::{Admitted, Head, Limits, Listener, Peer, Request, Response, Server, Service},
};

/// Long enough to see that nothing comes, short enough to wait for.
const PATIENCE: Duration = Duration::from_secs(7);

/// What a polite service would do: refuse everything but `/`, without reading its body.
struct Refuse;

impl Service for Refuse {
    type Admitted = ();

    fn admit(&self, head: &Head, _: &Peer) -> Result<Admitted<()>, Response> {
        if head.target == "/" { Ok(Admitted::new(())) } else { Err(Response::error(404, "not found")) }
    }

    fn handle(&self, _: Request<()>) -> Response {
        Response::text(200, "ok")
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--serve") {
        return serve_tiny_http();
    }
    let cases: [(&str, Vec<u8>); 8] = [
        ("a refused body of 8 GB, announced only", announced("8589934592")),
        ("a refused body of 2^64-1 bytes, announced only", announced("18446744073709551615")),
        ("a header that is not ASCII (cf-ipcity: São Paulo)", get("cf-ipcity: São Paulo\r\n")),
        ("half a head, and then silence", b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
        ("a header line of 16 MiB", get(&format!("X-Long: {}\r\n", "x".repeat(16 << 20)))),
        ("two different Content-Lengths", post("Content-Length: 2\r\nContent-Length: 5\r\n", "hello")),
        ("Content-Length: +2", post("Content-Length: +2\r\n", "hi")),
        (
            "Transfer-Encoding: identity beside a length",
            post("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"),
        ),
    ];
    let ours = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into()))?;
    let Listen::Tcp(our_address) = ours.local_addr()? else { return Err("not a TCP address".into()) };
    let running = Server::new(vec![ours], Limits::default(), Refuse).start("example")?;

    println!("{:52} {:34} hookbell", "request", "tiny_http 0.12");
    for (name, request) in &cases {
        let (mut child, address) = start_tiny_http()?;
        let theirs = ask(&address, request);
        let ended = child.try_wait()?.is_some() || TcpStream::connect(&address).is_err();
        child.kill()?;
        child.wait()?;
        let theirs = if ended { format!("{theirs}; the process ended") } else { theirs };
        println!("{name:52} {theirs:34} {}", ask(&our_address.to_string(), request));
    }
    running.stop(Duration::from_secs(1));
    Ok(())
}

fn announced(length: &str) -> Vec<u8> {
    format!("POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n{body}").into_bytes()
}

/// The same service on tiny_http, the way its documentation shows.
fn serve_tiny_http() -> Result<(), Box<dyn Error>> {
    let server = tiny_http::Server::http("127.0.0.1:0").map_err(|error| error.to_string())?;
    println!("{}", server.server_addr());
    for request in server.incoming_requests() {
        let status = if request.url() == "/" { 200 } else { 404 };
        request.respond(tiny_http::Response::from_string("ok").with_status_code(status))?;
    }
    Ok(())
}

fn start_tiny_http() -> Result<(Child, String), Box<dyn Error>> {
    let mut child =
        Command::new(std::env::current_exe()?).arg("--serve").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address)?;
    Ok((child, address.trim().to_owned()))
}

/// Sends, and tells in a few words what came back and when.
fn ask(address: &str, request: &[u8]) -> String {
    let start = Instant::now();
    let answer = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // A server may refuse before it has read everything; what it says is still to be read.
        let sent = stream.write_all(request);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if answer.is_empty() => sent.and(Err(error)),
            _ => Ok(answer),
        }
    };
    let seconds = |start: Instant| start.elapsed().as_secs_f64();
    match answer() {
        Ok(answer) if answer.is_empty() => "closed without a word".to_owned(),
        Ok(answer) => {
            let statuses: Vec<String> = String::from_utf8_lossy(&answer)
                .split("HTTP/1.1 ")
                .skip(1)
                .map(|part| part.chars().take(3).collect())
                .collect();
            match (statuses.join(", then "), seconds(start)) {
                (statuses, late) if late > 1.0 => format!("{statuses} after {late:.0} s"),
                (statuses, _) => statuses,
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            format!("nothing for {:.0} s", seconds(start))
        }
        Err(error) => error.kind().to_string(),
    }
}
