//! Attacks by many at once. Owns their sizes and what may be said to them; refuses to know the server behind.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hookbell_bench::{
    request::signed,
    wire::{Ended, How, Script, Step, Swarm},
};

use crate::polite::with_field;

/// The short form, for every run of the tests, and the long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Short,
    Long,
}

impl Form {
    /// One of two, by the form.
    pub(crate) fn pick<T>(self, short: T, long: T) -> T {
        match self {
            Form::Short => short,
            Form::Long => long,
        }
    }
}

/// So many clients at a time, each with one of these scripts.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) scripts: Vec<Script>,
    /// Whether one that is over comes again at once.
    pub(crate) again: bool,
    /// How long new ones come.
    pub(crate) lasts: Duration,
    /// What may become of one, in the words of [`Ended::said`].
    pub(crate) allowed: &'static [&'static str],
    /// What must become of some at least, or the attack was none.
    pub(crate) wanted: &'static [&'static str],
}

/// What became of a crowd.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) said: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, ended: &Ended) {
        // Patience that is over tells nothing but that the server has kept its own.
        let said =
            if ended.how == How::Patience && ended.statuses().is_empty() { "held".to_owned() } else { ended.said() };
        *self.said.entry(said).or_default() += 1;
    }

    /// In one line: the most frequent first.
    pub(crate) fn line(&self) -> String {
        let mut parts: Vec<(&String, &u64)> = self.said.iter().collect();
        parts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        parts.iter().map(|(said, count)| format!("{count} × {said}")).collect::<Vec<_>>().join(", ")
    }
}

impl Crowd {
    /// Attacks until it is over.
    pub(crate) fn attack(&self, address: SocketAddr) -> io::Result<Tally> {
        // An attack comes from elsewhere: it must not win by taking the processors of this machine from its target.
        let _ = rustix::process::nice(10);
        let mut swarm = Swarm::new(address)?;
        let mut tally = Tally::default();
        let until = Instant::now() + self.lasts;
        let mut begun = 0;
        loop {
            let now = Instant::now();
            let more = now < until && (self.again || begun < self.size);
            if more {
                // Not all in one go: the others are driven meanwhile.
                for _ in 0..(self.size - swarm.open()).min(64) {
                    swarm.begin(0, &self.scripts[begun % self.scripts.len()]);
                    begun += 1;
                    if !self.again && begun == self.size {
                        break;
                    }
                }
            } else if swarm.open() == 0 || now >= until {
                for ended in swarm.turn(now)? {
                    tally.count(&ended);
                }
                if swarm.open() > 0 {
                    *tally.said.entry("held".to_owned()).or_default() += swarm.open() as u64;
                }
                return Ok(tally);
            }
            let pause =
                if more && swarm.open() < self.size { Duration::from_millis(1) } else { until - now.min(until) };
            for ended in swarm.turn(now + pause)? {
                tally.count(&ended);
            }
        }
    }

    /// What should not have come, or did not.
    pub(crate) fn wrong(&self, tally: &Tally) -> Option<String> {
        let strange = tally.said.keys().find(|said| !self.allowed.contains(&said.as_str()));
        let missing = self.wanted.iter().find(|said| !tally.said.contains_key(**said));
        let allowed = self.allowed.join(" or ");
        strange
            .map(|said| format!("expected {allowed}, and got {said} ({})", tally.line()))
            .or_else(|| missing.map(|said| format!("expected {said} among the answers, and got {}", tally.line())))
    }
}

fn forged(path: &str, body_bytes: usize) -> Vec<u8> {
    let mut request = signed(path, "forged", &vec![b'x'; body_bytes]);
    if let Some(last) = request.last_mut() {
        *last = b'y';
    }
    request
}

fn head_of(request: &[u8]) -> &[u8] {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(request.len(), |at| at + 4);
    &request[..end]
}

/// Connections that drip a head, and as many that drip a body, one byte a second each.
pub(crate) fn drips(path: &str, size: usize, lasts: Duration) -> Crowd {
    let second = Duration::from_secs(1);
    let forever = Duration::from_secs(3600);
    let head =
        Step::Drip(format!("POST {path} HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(4096)).as_bytes().into(), second);
    let body = forged(path, 1 << 20);
    let steps = [Step::Send(head_of(&body).into(), 1), Step::Drip(b"z".as_slice().into(), second)];
    Crowd {
        name: format!("{} drip a head, {} a body", size.div_ceil(2), size / 2),
        size,
        scripts: vec![Script::new([head], forever), Script::new(steps, forever)],
        again: true,
        lasts,
        // A byte that crosses the answer on its way resets the connection.
        allowed: &["503", "408", "held", "closed", "reset"],
        wanted: &["503"],
    }
}

/// As many as wanted that say nothing, and come again as fast as they can.
pub(crate) fn idle_flood(size: usize, lasts: Duration) -> Crowd {
    Crowd {
        name: format!("an idle flood, {size} open"),
        size,
        scripts: vec![Script::new([], Duration::from_secs(3600))],
        again: true,
        lasts,
        allowed: &["503", "408", "held", "closed", "reset", "no connection"],
        wanted: &["503"],
    }
}

/// As many as wanted that send one byte, and come again as fast as they can.
pub(crate) fn byte_flood(size: usize, lasts: Duration) -> Crowd {
    let script = Script::new([Step::Send(b"P".as_slice().into(), 1)], Duration::from_secs(3600));
    Crowd { name: format!("a flood of first bytes, {size} open"), scripts: vec![script], ..idle_flood(size, lasts) }
}

/// Connects that send nothing and stay.
pub(crate) fn silent(size: usize, lasts: Duration) -> Crowd {
    Crowd {
        name: format!("{size} connects that send nothing"),
        again: false,
        scripts: vec![Script::new([], lasts)],
        ..idle_flood(size, lasts)
    }
}

/// Connections that are reset as soon as they are there.
pub(crate) fn resets(size: usize, lasts: Duration) -> Crowd {
    Crowd {
        name: "connected and reset at once".to_owned(),
        size,
        scripts: vec![Script::new([Step::Reset], Duration::from_secs(5))],
        again: true,
        lasts,
        allowed: &["left", "held", "no connection"],
        wanted: &["left"],
    }
}

/// Requests with forged signatures, as many as go; half of them say that they come from elsewhere.
pub(crate) fn forgeries(path: &str, size: usize, lasts: Duration) -> Crowd {
    let request = forged(path, 1000);
    let elsewhere = with_field(&request, "CF-Connecting-IP: 198.51.100.7");
    let patience = Duration::from_secs(10);
    Crowd {
        name: "forged signatures as fast as possible".to_owned(),
        size,
        scripts: vec![Script::ask(request, patience), Script::ask(elsewhere, patience)],
        again: true,
        lasts,
        allowed: &["401", "429", "held"],
        wanted: &[],
    }
}

/// Forged bodies of a megabyte, of bytes that make every guess at what went wrong as dear as it can be. They come from many
/// addresses, so that none is known to fail too often.
pub(crate) fn dear_forgeries(path: &str, size: usize, lasts: Duration) -> Crowd {
    let mut request = forged(path, 1 << 20);
    let end = head_of(&request).len();
    request[end..].chunks_mut(2).for_each(|pair| pair.copy_from_slice(&b"\xff\n"[..pair.len()]));
    let patience = Duration::from_secs(20);
    let from = |host: usize| with_field(&request, &format!("CF-Connecting-IP: 198.51.100.{host}"));
    Crowd {
        name: format!("{size} forged bodies of 1 MiB at a time"),
        size,
        scripts: (0..size).map(|host| Script::ask(from(host), patience)).collect(),
        again: true,
        lasts,
        allowed: &["401", "429", "503", "held", "closed", "reset"],
        wanted: &[],
    }
}

/// Bodies of 25 MiB, announced and sent all at once.
pub(crate) fn large_bodies(path: &str, size: usize, lasts: Duration) -> Crowd {
    let request = forged(path, 25 << 20);
    // Not what the head was signed for.
    let megabyte: Arc<[u8]> = vec![b'z'; 1 << 20].into();
    let steps = [Step::Send(head_of(&request).into(), 1), Step::Send(megabyte, 25)];
    Crowd {
        name: format!("{size} bodies of 25 MiB, all at once"),
        size,
        scripts: vec![Script::new(steps, Duration::from_secs(20))],
        again: true,
        lasts,
        allowed: &["503", "401", "429", "held", "408", "reset", "closed"],
        wanted: &["503"],
    }
}

/// Requests whose answers are never read.
pub(crate) fn deaf(path: &str, size: usize, lasts: Duration) -> Crowd {
    let request = forged(path, 100);
    let script = Script::new([Step::Send(request.into(), 20)], Duration::from_secs(3600));
    Crowd {
        name: "answers that nobody reads".to_owned(),
        size,
        scripts: vec![Script { reads: false, ..script }],
        again: true,
        lasts,
        allowed: &["closed", "reset", "held"],
        wanted: &[],
    }
}
