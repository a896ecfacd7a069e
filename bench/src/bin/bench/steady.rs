//! A server between two measurements: whether it answers yet, still lives, and has finished what it put off.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    answer::{Progress, progress},
    push::Pool,
    service::Service,
};

/// A start that takes this long is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that still works on what it has answered gets this long, so that the next measurement does not pay for it.
const CALM_WITHIN: Duration = Duration::from_secs(10);
/// Without processor time for this long it is calm. More than the kernel's tick.
const CALM_FOR: Duration = Duration::from_millis(100);

/// Asks until there is an answer, a 200: connections are refused until it listens.
///
/// # Errors
/// When it dies, or does not answer that.
pub(crate) fn first_answer(service: &mut Service, pool: &mut Pool) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    pool.write(&mut request);
    loop {
        match TcpStream::connect(service.address) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(&request)?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer)?;
                if !matches!(progress(&answer, true), Progress::Whole { status: 200, .. }) {
                    let answer = String::from_utf8_lossy(&answer);
                    return Err(io::Error::other(format!("the first answer is not a 200 but {answer:?}")));
                }
                return Ok(());
            }
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => must_live(service)?,
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// # Errors
/// When it has died.
pub(crate) fn must_live(service: &mut Service) -> io::Result<()> {
    match service.ended() {
        None => Ok(()),
        Some(how) => Err(io::Error::other(format!("it died: {how}"))),
    }
}

/// Waits until it has finished what it put off. What is never calm is measured as it is.
///
/// # Errors
/// When it has died.
pub(crate) fn calm_down(service: &Service) -> io::Result<()> {
    let deadline = Instant::now() + CALM_WITHIN;
    let mut before_ms = service.reading_of_tree()?.cpu_ms;
    loop {
        thread::sleep(CALM_FOR);
        let now_ms = service.reading_of_tree()?.cpu_ms;
        if now_ms == before_ms || Instant::now() > deadline {
            return Ok(());
        }
        before_ms = now_ms;
    }
}
