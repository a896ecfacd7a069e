//! The polite sender: signed deliveries on a fixed schedule, whatever else happens. Owns their latencies; refuses to know
//! the attacks.
//!
//! A request that has to wait delays no other, and latency counts from the time that the schedule says. By how much
//! this process itself was late is known for each, so that a busy machine is not taken for a slow server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hookbell_bench::request::signed;

use hookbell_bench::wire::{Script, Swarm};

/// Fifty a second.
const EVERY: Duration = Duration::from_millis(20);

/// What became of one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    scheduled: Instant,
    /// How late this process itself was.
    own_delay: Duration,
    /// From the schedule to the end of the answer, without the process's own delay.
    latency: Duration,
    /// What it was told when that was not 200.
    lost: Option<String>,
}

#[derive(Debug)]
struct Shared {
    samples: Vec<Sample>,
    /// Everything that was scheduled before this is over.
    over_until: Instant,
    stop: bool,
    broken: Option<String>,
}

/// The sender at work.
#[derive(Debug)]
pub(crate) struct Polite {
    shared: Arc<(Mutex<Shared>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// What the deliveries of some time had to bear.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) sent: usize,
    /// The first few that did not get their 200, in words, and how many there were.
    pub(crate) lost: Vec<String>,
    pub p99: Duration,
    pub own_delay_p99: Duration,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Polite {
    /// Starts posting to `path` at this address; the deliveries are named `NAME-0`, `NAME-1`, and so on.
    pub(crate) fn start(address: SocketAddr, path: &str, name: &str, patience: Duration) -> io::Result<Polite> {
        let shared = Shared { samples: Vec::new(), over_until: Instant::now(), stop: false, broken: None };
        let shared = Arc::new((Mutex::new(shared), Condvar::new()));
        let (for_thread, path, name) = (Arc::clone(&shared), path.to_owned(), name.to_owned());
        let thread = thread::Builder::new().name("polite".to_owned()).spawn(move || {
            if let Err(error) = post(address, &path, &name, patience, &for_thread) {
                lock(&for_thread.0).broken = Some(format!("the polite sender cannot go on: {error}"));
            }
            for_thread.1.notify_all();
        })?;
        Ok(Polite { shared, thread: Some(thread) })
    }

    /// What became of the deliveries between these times. Waits until all of them are over.
    pub(crate) fn between(&self, from: Instant, until: Instant) -> io::Result<Summary> {
        let (samples, over) = &*self.shared;
        let mut shared = lock(samples);
        while shared.over_until < until && shared.broken.is_none() && !shared.stop {
            shared = over.wait(shared).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        if let Some(broken) = &shared.broken {
            return Err(io::Error::other(broken.clone()));
        }
        let chosen: Vec<Sample> =
            shared.samples.iter().filter(|sample| (from..until).contains(&sample.scheduled)).cloned().collect();
        Ok(Summary {
            sent: chosen.len(),
            lost: chosen.iter().filter_map(|sample| sample.lost.clone()).collect(),
            p99: p99(chosen.iter().map(|sample| sample.latency)),
            own_delay_p99: p99(chosen.iter().map(|sample| sample.own_delay)),
        })
    }

    /// Stops. Says how many deliveries there were.
    pub(crate) fn stop(mut self) -> usize {
        lock(&self.shared.0).stop = true;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already.
            let _ = thread.join();
        }
        lock(&self.shared.0).samples.len()
    }
}

impl Drop for Polite {
    fn drop(&mut self) {
        lock(&self.shared.0).stop = true;
    }
}

fn p99(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    let index = (values.len() * 99).div_ceil(100).saturating_sub(1);
    values.get(index).copied().unwrap_or_default()
}

fn post(
    address: SocketAddr,
    path: &str,
    name: &str,
    patience: Duration,
    shared: &(Mutex<Shared>, Condvar),
) -> io::Result<()> {
    // Who measures is not to wait for those who attack. Where that is not allowed it is late now and then, and says so.
    let _ = rustix::process::nice(-10);
    let mut swarm = Swarm::new(address)?;
    let start = Instant::now();
    let scheduled = |number: u32| start + EVERY * number;
    let mut number = 0;
    let mut request = Script::ask(delivery(path, name, 0), patience);
    let mut open: Vec<(u32, Duration)> = Vec::new();
    loop {
        let stop = lock(&shared.0).stop;
        if stop && open.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        if now >= scheduled(number) && !stop {
            open.push((number, now - scheduled(number)));
            swarm.begin(u64::from(number), &request);
            number += 1;
            // Built before its time has come.
            request = Script::ask(delivery(path, name, number), patience);
        }
        let ended = swarm.turn(scheduled(number).max(now + if stop { EVERY } else { Duration::ZERO }))?;
        if ended.is_empty() && Instant::now() < scheduled(number) {
            continue;
        }
        let mut shared_now = lock(&shared.0);
        for ended in ended {
            let Some(place) = open.iter().position(|(number, _)| u64::from(*number) == ended.tag) else { continue };
            let (number, own_delay) = open.swap_remove(place);
            let lost = (ended.statuses() != [200]).then(|| {
                let reason = ended.reason().map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{name}-{number}: {}{reason}", ended.said())
            });
            let latency = ended.at - scheduled(number) - own_delay;
            shared_now.samples.push(Sample { scheduled: scheduled(number), own_delay, latency, lost });
        }
        shared_now.over_until = scheduled(open.iter().map(|(number, _)| *number).min().unwrap_or(number));
        shared.1.notify_all();
    }
}

/// A push of about four kilobytes. Every second one says that it came through a tunnel, from elsewhere.
fn delivery(path: &str, name: &str, number: u32) -> Vec<u8> {
    let line = "It changes what the others rely on, and says so. ".repeat(80);
    let body = format!(
        r#"{{"ref":"refs/heads/main","after":"{number:040x}","commits":[],"pusher":{{"name":"polite"}},"repository":{{"full_name":"polite/{name}"}},"head_commit":{{"message":"{line}"}}}}"#
    );
    let request = with_field(&signed(path, &format!("{name}-{number}"), body.as_bytes()), "Connection: close");
    if number.is_multiple_of(2) { request } else { with_field(&request, "CF-Connecting-IP: 198.51.100.7") }
}

/// The same request with one more header field.
pub(crate) fn with_field(request: &[u8], field: &str) -> Vec<u8> {
    let end = request.windows(2).position(|pair| pair == b"\r\n").map_or(0, |at| at + 2);
    [&request[..end], field.as_bytes(), b"\r\n", &request[end..]].concat()
}
