//! What happens, as it happens: one ring of messages for all who watch, as server-sent events. Owns the ring and its
//! numbers; refuses to wait for anybody: who lags is told to load everything again.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    http::{Response, STREAM_WAIT_MAX},
    threads::{Wake, lock},
};

/// Messages that are kept for who comes back.
const KEPT: usize = 512;
/// And their bytes.
const KEPT_BYTES: usize = 1024 * 1024;
/// Who watches at once. Each costs a thread.
const STREAMS_MAX: usize = 32;

/// All who watch, and what they see. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    /// Part of each message's number: a number of another process says nothing here.
    process: String,
    ring: Mutex<Ring>,
    filled: Condvar,
    streams: AtomicUsize,
    /// Woken when somebody begins to watch.
    watched: Wake,
}

#[derive(Default)]
struct Ring {
    /// The number of the next message.
    next: u64,
    messages: VecDeque<(u64, Arc<str>)>,
    bytes: usize,
    /// Somebody compares what is with what was, so that what changes from now on is told.
    is_kept: bool,
    is_closed: bool,
}

impl Live {
    /// `process` is a name that no earlier process had; `watched` is woken when somebody begins to watch.
    pub fn new(process: String, watched: Wake) -> Live {
        let (ring, filled, streams) = (Mutex::default(), Condvar::new(), AtomicUsize::new(0));
        Live(Arc::new(Shared { process, ring, filled, streams, watched }))
    }

    /// How many watch.
    pub fn streams(&self) -> usize {
        self.0.streams.load(Ordering::Relaxed)
    }

    /// Tells all who watch.
    pub fn tell(&self, event: &str, data: &Value) {
        self.tell_all([(event, data)]);
    }

    /// Tells all who watch of these together, so that each of them is woken once.
    pub fn tell_all<'a>(&self, messages: impl IntoIterator<Item = (&'a str, &'a Value)>) {
        let mut ring = lock(&self.0.ring);
        let before = ring.next;
        for (event, data) in messages {
            let number = ring.next;
            let message: Arc<str> = message(&self.0.process, number, event, data).into();
            ring.next += 1;
            ring.bytes += message.len();
            ring.messages.push_back((number, message));
            while ring.messages.len() > KEPT || ring.bytes > KEPT_BYTES {
                let Some((_, old)) = ring.messages.pop_front() else { break };
                ring.bytes -= old.len();
            }
        }
        let is_news = ring.next > before;
        drop(ring);
        if is_news {
            self.0.filled.notify_all();
        }
    }

    /// From now on every change is told. Whoever watches loads everything now: what changed before, nobody knows.
    pub fn begin(&self) {
        lock(&self.0.ring).is_kept = true;
        self.tell("reset", &json!({}));
    }

    /// From now on nothing is known about what was missed.
    pub fn forget(&self) {
        let mut ring = lock(&self.0.ring);
        ring.is_kept = false;
        ring.messages.clear();
        ring.bytes = 0;
        // Whoever has seen the last one has missed what was not told.
        ring.next += 2;
    }

    /// Ends every stream.
    pub fn close(&self) {
        lock(&self.0.ring).is_closed = true;
        self.0.filled.notify_all();
    }

    /// The stream for one who watches, from after `last` on, which is what it has seen. `None` when there are too many.
    pub fn watch(&self, last: Option<&str>) -> Option<Response> {
        let shared = Arc::clone(&self.0);
        if shared.streams.fetch_add(1, Ordering::Relaxed) >= STREAMS_MAX {
            shared.streams.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let leaving = Leaving(Arc::clone(&shared));
        let next = {
            let ring = lock(&shared.ring);
            let seen = last.and_then(|last| last.strip_prefix(&shared.process)?.strip_prefix('-')?.parse::<u64>().ok());
            match ring.is_kept {
                // Of a number that is yet to come nothing is known.
                true => seen.map(|seen| seen.saturating_add(1)).filter(|next| *next <= ring.next),
                // It is told to load everything by `begin`, once.
                false => Some(ring.next),
            }
        };
        shared.watched.wake();
        let mut place = next;
        let more = move || leaving.0.next(&mut place);
        // Browsers come back after so long, milliseconds.
        Some(Response::stream("text/event-stream", "retry: 2000\n\n", Box::new(more)))
    }
}

impl Shared {
    /// What follows `place`, which moves on; after a while without anything, a word that says so. `None` at the end.
    fn next(&self, place: &mut Option<u64>) -> Option<Vec<u8>> {
        let ring = lock(&self.ring);
        let start = *place;
        let (ring, _) = self
            .filled
            .wait_timeout_while(ring, STREAM_WAIT_MAX, |ring| !ring.is_closed && start == Some(ring.next))
            .unwrap_or_else(PoisonError::into_inner);
        if ring.is_closed {
            return None;
        }
        let first = ring.messages.front().map_or(ring.next, |(number, _)| *number);
        let reset = || {
            // Under the number of the last message, from which this one is to go on.
            let number = ring.next.checked_sub(1);
            match number {
                Some(number) => message(&self.process, number, "reset", &Value::Object(Default::default())),
                None => "event: reset\ndata: {}\n\n".to_owned(),
            }
        };
        let text = match *place {
            Some(next) if next == ring.next => ":\n\n".to_owned(),
            Some(next) if next >= first => {
                ring.messages.iter().filter(|(number, _)| *number >= next).map(|(_, message)| &**message).collect()
            }
            _ => reset(),
        };
        *place = Some(ring.next);
        Some(text.into_bytes())
    }
}

fn message(process: &str, number: u64, event: &str, data: &Value) -> String {
    // JSON in one line: a line break would end the message.
    format!("id: {process}-{number}\nevent: {event}\ndata: {data}\n\n")
}

struct Leaving(Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(response: &mut Response) -> Option<String> {
        let more = response.more.as_mut()?;
        (more.next)().map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn live() -> Live {
        let live = Live::new("p".to_owned(), Wake::new());
        live.begin();
        live
    }

    #[test]
    fn who_comes_anew_loads_everything_and_then_hears_each() {
        let live = live();
        live.tell("a", &json!(1));
        let mut stream = live.watch(None).unwrap();
        assert_eq!(next(&mut stream).unwrap(), "id: p-1\nevent: reset\ndata: {}\n\n");
        live.tell("b", &json!("two\nlines"));
        live.tell("c", &json!({}));
        assert_eq!(
            next(&mut stream).unwrap(),
            "id: p-2\nevent: b\ndata: \"two\\nlines\"\n\nid: p-3\nevent: c\ndata: {}\n\n"
        );
        live.close();
        assert_eq!(next(&mut stream), None);
    }

    #[test]
    fn who_comes_back_hears_what_it_missed_or_loads_everything() {
        let live = live();
        for number in 0..3 {
            live.tell("n", &json!(number));
        }
        let mut stream = live.watch(Some("p-1")).unwrap();
        assert_eq!(next(&mut stream).unwrap().matches("event: n").count(), 2);
        for unknown in ["q-0", "p-7", "p-", "p-x", "", "p--1"] {
            let mut stream = live.watch(Some(unknown)).unwrap();
            assert!(next(&mut stream).unwrap().contains("event: reset"), "{unknown}");
        }
        for number in 0..2 * KEPT {
            live.tell("n", &json!(number));
        }
        let mut stream = live.watch(Some("p-1")).unwrap();
        assert!(next(&mut stream).unwrap().contains("event: reset"), "too long ago");
        live.tell("n", &json!("x".repeat(2 * KEPT_BYTES)));
        assert!(lock(&live.0.ring).messages.is_empty() && lock(&live.0.ring).bytes == 0);
    }

    #[test]
    fn what_was_forgotten_is_loaded_again_once_somebody_looks() {
        let live = live();
        live.tell("n", &json!(1));
        let mut stayed = live.watch(Some("p-0")).unwrap();
        live.forget();
        assert!(next(&mut stayed).unwrap().contains("event: reset"), "what it has not heard yet is gone");
        let mut streams = [None, Some("p-0"), Some("p-1")].map(|last| live.watch(last).unwrap());
        live.begin();
        live.tell("n", &json!(2));
        for stream in &mut streams {
            assert_eq!(next(stream).unwrap(), "id: p-4\nevent: reset\ndata: {}\n\nid: p-5\nevent: n\ndata: 2\n\n");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_who_leaves_makes_room() {
        let live = live();
        let mut streams: Vec<Response> = (0..STREAMS_MAX).map(|_| live.watch(None).unwrap()).collect();
        assert!(live.watch(None).is_none());
        assert_eq!(live.streams(), STREAMS_MAX);
        streams.pop();
        assert!(live.watch(None).is_some());
    }
}
