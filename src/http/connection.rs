//! One connection from its first byte to its close. Owns the order of things and every deadline; refuses to know the
//! threads around it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use super::{
    Admitted, Limits, Peer, Request, Response, Service,
    body::BodyReader,
    lobby::Guest,
    request::{Framing, Head, HeadReader, Refusal},
    response::Portions,
    socket::{Broken, Stream, Word},
    table::{Phase, Seat},
};
use crate::threads;

/// Bytes per read. On the stack, so it counts against the server's small stacks, and in hundreds of threads.
const READ_BYTES: usize = 8 * 1024;

/// Writing an answer may take this long even when the request's deadline is over.
const ANSWER_MIN: Duration = Duration::from_secs(5);

/// How long what a client still sends is thrown away after the answer. Closing at once would reset the connection, and
/// a reset destroys the answer before the client has read it (RFC 9112 § 9.6).
const LINGER_MAX: Duration = Duration::from_secs(2);

/// How much is thrown away.
const LINGER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What may still be on the wire after the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    Something,
}

/// What is known of a request however its conversation ends.
#[derive(Default)]
struct Known {
    method: String,
    /// Until the request is complete.
    head: Option<Head>,
}

/// Why a conversation ends without an answer from the service.
enum End {
    Refused(Refusal),
    /// The client is gone, or never said a word: there is nobody to answer.
    Gone,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> End {
        End::Refused(refusal)
    }
}

/// Serves one connection: one request, one answer.
pub(super) fn serve<S: Service>(service: &S, limits: &Limits, seat: &Seat<'_>) {
    let mut known = Known::default();
    // The service is somebody else's code. Its panic is this connection's end and nobody else's.
    let conversation = catch_unwind(AssertUnwindSafe(|| converse(service, limits, seat, &mut known)));
    seat.body_released();
    let (mut response, rest) = match conversation {
        Ok(Ok(answered)) => answered,
        Ok(Err(End::Gone)) => return,
        Ok(Err(End::Refused(refusal))) => {
            report(service, known.head.as_ref(), &seat.entry().peer, &refusal);
            (refusal.response(), Rest::Something)
        }
        Err(panic) => {
            let what = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            log::error!("a request from {} panicked: {}", seat.entry().peer, what.unwrap_or("no message"));
            (Response::error(500, "internal"), Rest::Something)
        }
    };
    let more = response.more.take().filter(|_| known.method != "HEAD");
    match more {
        None => answer(&response.encode(&known.method), rest, limits, seat),
        Some(more) => stream(&response.encode_beginning(more.bytes), *more, seat),
    }
}

/// Answers for as long as there is more to say and somebody who takes it.
fn stream(head: &[u8], mut more: Portions, seat: &Seat<'_>) {
    if seat.enter(Phase::Answering).is_err() {
        return;
    }
    let stream = &seat.entry().stream;
    let mut portion = Some(head.to_vec());
    while let Some(bytes) = &portion {
        let is_gone = || more.bytes.is_none() && stream.first_word() == Word::Never;
        // Who ends its side of an endless stream has left; of one with an end it may only have said all.
        if stream.send_all(bytes, Instant::now() + ANSWER_MIN).is_err() || is_gone() {
            return;
        }
        // A panic is this stream's end and nobody else's.
        portion = catch_unwind(AssertUnwindSafe(&mut more.next)).unwrap_or_else(|_| {
            log::error!("a stream to {} panicked", seat.entry().peer);
            None
        });
    }
}

/// Tells somebody who is not served why, as far as the socket takes it at once.
pub(super) fn turn_away<S: Service>(service: &S, Guest { stream, peer, .. }: &Guest, refusal: &Refusal) {
    report(service, None, peer, refusal);
    if stream.send_all(&refusal.response().encode(""), Instant::now()).is_ok() {
        stream.end_writing();
        // What has arrived already is thrown away, so that most get to read the answer. Nobody is waited for: this thread
        // is the one that accepts.
        discard(stream, Instant::now(), || false);
    }
}

/// Lets the service know. It reports from the thread that accepts, too, which must not end by a panic.
fn report<S: Service>(service: &S, head: Option<&Head>, peer: &Peer, refusal: &Refusal) {
    if catch_unwind(AssertUnwindSafe(|| service.refused(head, peer, refusal))).is_err() {
        log::error!("reporting a refused request from {peer} panicked");
    }
}

/// Reads the request, asks the service, returns what to answer.
fn converse<S: Service>(
    service: &S,
    limits: &Limits,
    seat: &Seat<'_>,
    known: &mut Known,
) -> Result<(Response, Rest), End> {
    let accepted = seat.entry().accepted;
    let request_deadline = accepted + limits.request_deadline;
    let mut buffer = [0; READ_BYTES];

    let (head, mut bytes) = read_head(limits, seat, &mut buffer)?;
    known.method.clone_from(&head.method);
    let head = known.head.insert(head);
    let peer = seat.entry().peer;
    let Admitted { value, body_bytes_max } = match service.admit(head, &peer) {
        Ok(admitted) => admitted,
        Err(response) => {
            let bare = matches!(head.framing, Framing::None | Framing::Length(0)) && bytes.is_empty();
            return Ok((response, if bare { Rest::Nothing } else { Rest::Something }));
        }
    };

    seat.enter(Phase::Body)?;
    let body_bytes_max = body_bytes_max.map_or(limits.body_bytes_max, |own| own.min(limits.body_bytes_max));
    let mut reader = BodyReader::new(head.framing, body_bytes_max)?;
    if head.expects_continue && bytes.is_empty() && !reader.is_complete() {
        send_continue(seat, request_deadline)?;
    }
    let mut rest = Rest::Nothing;
    loop {
        let before = reader.len();
        let used = reader.push(bytes)?;
        seat.body_grew(reader.len() - before)?;
        if used < bytes.len() {
            rest = Rest::Something;
        }
        if reader.is_complete() {
            break;
        }
        bytes = match receive(seat, &mut buffer, request_deadline)? {
            0 => return Err(Refusal::bad("the connection ended before the request").into()),
            count => &buffer[..count],
        };
    }

    seat.enter(Phase::Handling)?;
    // It was put there above.
    let Some(head) = known.head.take() else { return Err(End::Gone) };
    let request = Request { head, body: reader.into_body(), peer, accepted, admitted: value };
    let _busy = threads::busy(threads::BUSY_MAX);
    Ok((service.handle(request), rest))
}

/// Reads the head and returns with it the bytes that came after it.
fn read_head<'b>(limits: &Limits, seat: &Seat<'_>, buffer: &'b mut [u8; READ_BYTES]) -> Result<(Head, &'b [u8]), End> {
    let deadline = seat.entry().accepted + limits.head_deadline.min(limits.request_deadline);
    let mut reader = HeadReader::new(limits.head_bytes_max);
    loop {
        let count = receive(seat, buffer, deadline)?;
        if count == 0 {
            // A port scan, a health check of the proxy, a browser that connects ahead: nothing was asked.
            let nothing = reader.is_empty();
            return Err(if nothing { End::Gone } else { Refusal::bad("the connection ended within the head").into() });
        }
        if let Some((head, used)) = reader.push(&buffer[..count])? {
            return Ok((head, &buffer[used..count]));
        }
    }
}

/// One read within a deadline that holds for the whole, so that a drip of bytes does not prolong it.
fn receive(seat: &Seat<'_>, buffer: &mut [u8], deadline: Instant) -> Result<usize, End> {
    let received = seat.entry().stream.receive(buffer, deadline, || seat.waits());
    seat.keep()?;
    match received {
        Ok(count) => {
            seat.arrived(count);
            if count > 0 && Instant::now() > deadline { Err(late()) } else { Ok(count) }
        }
        Err(Broken::Late) => Err(late()),
        Err(Broken::Lost) => Err(End::Gone),
    }
}

fn late() -> End {
    too_slow().into()
}

/// What those are told whose time is over.
pub(super) fn too_slow() -> Refusal {
    Refusal::new(408, "too slow")
}

fn send_continue(seat: &Seat<'_>, deadline: Instant) -> Result<(), End> {
    match seat.entry().stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n", deadline) {
        Ok(()) => Ok(()),
        Err(Broken::Late) => Err(late()),
        Err(Broken::Lost) => Err(End::Gone),
    }
}

fn answer(bytes: &[u8], rest: Rest, limits: &Limits, seat: &Seat<'_>) {
    let stream = &seat.entry().stream;
    let now = Instant::now();
    // Somebody waits for the place of one that was shed: its answer is what the socket takes at once.
    let shed = seat.enter(Phase::Answering).is_err();
    let deadline = if shed { now } else { (seat.entry().accepted + limits.request_deadline).max(now + ANSWER_MIN) };
    if let Err(broken) = stream.send_all(bytes, deadline) {
        log::debug!("the answer to {} was not taken: {broken:?}", seat.entry().peer);
        return;
    }
    if rest == Rest::Something {
        stream.end_writing();
        let lingering = seat.enter(Phase::Lingering).is_ok();
        let until = if lingering { Instant::now() + LINGER_MAX } else { now };
        discard(stream, until, || lingering && seat.keep().is_err());
    }
}

/// Reads and throws away until the client ends, the time is over, or `stop` says so.
fn discard(stream: &Stream, until: Instant, stop: impl Fn() -> bool) {
    let mut buffer = [0; READ_BYTES];
    let mut bytes = 0;
    while bytes < LINGER_BYTES_MAX && !stop() {
        match stream.receive(&mut buffer, until, || ()) {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes += count as u64,
        }
        if Instant::now() > until {
            return;
        }
    }
}
