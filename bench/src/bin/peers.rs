//! What hookbell is measured beside, written as tiny_http's documentation shows it: `peers no-op` answers and does
//! nothing else; `peers bare-minimum FILE` checks the signature and has each delivery on the disk before it answers, in
//! the fewest lines that do so. `peers accept-loop` is no server but the limit of all of them: what accepting, reading,
//! writing and closing cost by themselves. None uses any of the program's code. Says on standard error where it listens.

use std::{
    error::Error,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use hmac::{Hmac, KeyInit, Mac};
use hookbell_bench::request::SECRET;
use rusqlite::{Connection, params};
use sha2::Sha256;
use tiny_http::{Request, Response, Server};

/// As in tiny_http's own example.
const WORKERS: usize = 4;
/// GitHub's own limit.
const BODY_BYTES_MAX: u64 = 25 * 1024 * 1024;
/// Deliveries in one transaction, and those that may wait for the next.
const BATCH_MAX: usize = 256;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["no-op"] => serve(|mut request| {
            if read_body(&mut request).is_ok() {
                // A sender that has left needs no answer.
                let _ = request.respond(Response::empty(200));
            }
        }),
        ["bare-minimum", file] => {
            let (queue, queued) = sync_channel(BATCH_MAX);
            let connection = open(file)?;
            thread::spawn(move || write(connection, &queued));
            serve(move |request| receive(request, &queue))
        }
        ["accept-loop"] => accept_loop(),
        _ => Err("usage: peers no-op | peers bare-minimum FILE | peers accept-loop".into()),
    }
}

/// Some threads that share one server.
fn serve(handle: impl Fn(Request) + Clone + Send + 'static) -> Outcome<()> {
    let server = Arc::new(Server::http("127.0.0.1:0")?);
    eprintln!("listening address=http://{}", server.server_addr());
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let (server, handle) = (Arc::clone(&server), handle.clone());
            thread::spawn(move || server.incoming_requests().for_each(handle))
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}

/// No thread waits for another: each accepts for itself.
fn accept_loop() -> Outcome<()> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    eprintln!("listening address=http://{}", listener.local_addr()?);
    let workers: Vec<_> = (0..WORKERS)
        .map(|_| {
            let listener = Arc::clone(&listener);
            thread::spawn(move || -> io::Result<()> {
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    let (mut stream, _) = listener.accept()?;
                    // A sender that has left needs no answer.
                    let _ = answer(&mut stream, &mut buffer);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")??;
    }
    Ok(())
}

/// Reads to the body's end, of which nothing is kept, and answers.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    const LENGTH: &[u8] = b"Content-Length: ";
    let ended = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
    let mut count = 0;
    let head_bytes = loop {
        match stream.read(&mut buffer[count..])? {
            0 => return Err(ended()),
            more => count += more,
        }
        if let Some(at) = find(&buffer[..count], b"\r\n\r\n") {
            break at + 4;
        }
    };
    let digits = find(&buffer[..head_bytes], LENGTH).ok_or_else(ended)? + LENGTH.len();
    let number = buffer[digits..head_bytes].iter().take_while(|byte| byte.is_ascii_digit());
    let length = number.fold(0_usize, |sum, digit| sum.saturating_mul(10) + usize::from(digit - b'0'));
    let mut left = (head_bytes + length).saturating_sub(count);
    while left > 0 {
        match stream.read(buffer)? {
            0 => return Err(ended()),
            more => left = left.saturating_sub(more),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn read_body(request: &mut Request) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(request.body_length().unwrap_or(0).min(64 * 1024));
    request.as_reader().take(BODY_BYTES_MAX).read_to_end(&mut body)?;
    Ok(body)
}

/// A proven delivery whose sender waits.
struct Waiting {
    request: Request,
    delivery: String,
    event: String,
    body: Vec<u8>,
}

fn receive(mut request: Request, queue: &SyncSender<Waiting>) {
    let Ok(body) = read_body(&mut request) else { return };
    let header = |name: &'static str| {
        request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str().to_owned())
    };
    let (Some(delivery), Some(event), Some(signature)) =
        (header("X-GitHub-Delivery"), header("X-GitHub-Event"), header("X-Hub-Signature-256"))
    else {
        let _ = request.respond(Response::empty(400));
        return;
    };
    if !is_proven(&body, &signature) {
        let _ = request.respond(Response::empty(401));
        return;
    }
    // Only when the writer has panicked; the process is of no use then, and the missing answers show it.
    let _ = queue.send(Waiting { request, delivery, event, body });
}

fn is_proven(body: &[u8], signature: &str) -> bool {
    let Some(digits) = signature.strip_prefix("sha256=").filter(|digits| digits.len() == 64) else { return false };
    let claimed: Option<Vec<u8>> =
        (0..32).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    let (Some(claimed), Ok(mut mac)) = (claimed, Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())) else {
        return false;
    };
    mac.update(body);
    mac.verify_slice(&claimed).is_ok()
}

fn open(file: &str) -> Outcome<Connection> {
    let connection = Connection::open(file)?;
    let journal: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if journal != "wal" {
        return Err(format!("{file} takes no write-ahead log; put it on a local file system").into());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE delivery (id INTEGER PRIMARY KEY, delivery TEXT NOT NULL, event TEXT NOT NULL, body BLOB NOT NULL)",
    )?;
    Ok(connection)
}

/// Takes what waits, commits it in one transaction, answers them all, and again.
fn write(mut connection: Connection, queued: &Receiver<Waiting>) {
    while let Ok(first) = queued.recv() {
        let batch: Vec<Waiting> = std::iter::once(first).chain(queued.try_iter().take(BATCH_MAX - 1)).collect();
        let status = match commit(&mut connection, &batch) {
            Ok(()) => 200,
            Err(error) => {
                eprintln!("cannot commit: {error}");
                503
            }
        };
        for waiting in batch {
            let _ = waiting.request.respond(Response::empty(status));
        }
    }
}

fn commit(connection: &mut Connection, batch: &[Waiting]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for Waiting { delivery, event, body, .. } in batch {
        transaction
            .prepare_cached("INSERT INTO delivery (delivery, event, body) VALUES (?1, ?2, ?3)")?
            .execute(params![delivery, event, body])?;
    }
    transaction.commit()
}
