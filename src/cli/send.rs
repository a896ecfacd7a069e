//! `send`: signs a sample as a provider would and sends it; with `--count` and more, a load generator.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, print_json, print_line, table};
use crate::{
    http::{self, Client},
    provider::{
        Provider,
        sample::{self, Sample},
    },
    secret::Secret,
    threads,
};

/// Threads that send at once.
const CONCURRENCY_MAX: u32 = 512;
/// A request that takes longer counts as an error.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell send --list
  hookbell send github pr_merged
  hookbell send github push --payload push.json --to https://hooks.example.com/webhooks/github
  hookbell send github pr_opened --count 1000 --concurrency 32")]
pub(super) struct Arguments {
    /// Whose rules to sign by
    #[arg(required_unless_present = "list")]
    provider: Option<String>,
    /// A sample's name; with --payload, the provider's own word for the event (`pull_request`)
    #[arg(required_unless_present = "list")]
    event: Option<String>,
    /// Name the samples
    #[arg(long)]
    list: bool,
    /// Send this body instead of a sample; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    payload: Option<PathBuf>,
    /// Where to [default: http://127.0.0.1:5000/webhooks/PROVIDER]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The environment variable that holds the secret [default: PROVIDER_WEBHOOK_SECRET]
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// At this many a second, whether or not the answers keep up; latency counts from when each was due
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// This many at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u32,
    /// Repeat the same bytes under the same id
    #[arg(long)]
    same: bool,
    /// End with one JSON object
    #[arg(long)]
    json: bool,
}

/// Everything that one request needs, shared by the threads.
struct Job {
    client: Client,
    url: String,
    provider: Provider,
    secret: Secret,
    event: String,
    payload: Option<Vec<u8>>,
    salt: u64,
    same: bool,
    count: u64,
    rate: Option<f64>,
    started: Instant,
    next: AtomicU64,
    tally: Mutex<Tally>,
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    duplicate: u64,
    refused: u64,
    errors: u64,
    latencies: Vec<Duration>,
    last: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    sent: u64,
    accepted: u64,
    duplicate: u64,
    refused: u64,
    errors: u64,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

pub(super) fn send(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        return list(arguments.json);
    }
    let job = Arc::new(prepare(arguments)?);
    let threads: Vec<_> = (0..arguments.concurrency)
        .map(|number| {
            let job = job.clone();
            threads::spawn(&format!("send-{number}"), threads::STACK_BYTES, move || job.run())
        })
        .collect::<std::io::Result<_>>()
        .map_err(|error| Failure::Failed(format!("cannot start a thread: {error}")))?;
    for thread in threads {
        if thread.join().is_err() {
            return Err(Failure::Failed("a sending thread has panicked".to_owned()));
        }
    }
    let elapsed = job.started.elapsed();
    let tally = std::mem::take(&mut *threads::lock(&job.tally));
    report(arguments, tally, elapsed)
}

fn list(as_json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for provider in Provider::ALL {
        for (name, what) in sample::list(*provider) {
            rows.push(vec![provider.name().to_owned(), (*name).to_owned(), (*what).to_owned()]);
        }
    }
    if as_json {
        return rows
            .iter()
            .try_for_each(|row| print_json(&json!({ "provider": row[0], "event": row[1], "what": row[2] })));
    }
    table::lines(&["provider", "event", "what"], &rows).iter().try_for_each(|line| print_line(line))
}

fn prepare(arguments: &Arguments) -> Result<Job, Failure> {
    let name = arguments.provider.as_deref().unwrap_or_default();
    let provider = Provider::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Provider::ALL.iter().map(|provider| provider.name()).collect();
        Failure::Usage(format!("there is no provider {name:?}; there are {}", known.join(", ")))
    })?;
    let event = arguments.event.clone().unwrap_or_default();
    let payload = arguments.payload.as_deref().map(read_payload).transpose()?;
    if payload.is_none() && sample::build(provider, &event, 0).is_none() {
        return Err(Failure::Usage(format!("there is no sample {event:?}; `hookbell send --list` names them")));
    }
    let variable =
        arguments.secret_env.clone().unwrap_or_else(|| format!("{}_WEBHOOK_SECRET", provider.name().to_uppercase()));
    let secret = std::env::var(&variable).ok().and_then(Secret::new).ok_or_else(|| {
        Failure::Failed(format!("{variable} is not set; it must hold the secret that the receiver knows"))
    })?;
    let url = arguments.to.clone().unwrap_or_else(|| format!("http://127.0.0.1:5000/webhooks/{}", provider.name()));
    http::check_url(&url).map_err(Failure::Usage)?;
    if arguments.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(Failure::Usage("--rate must be more than 0".to_owned()));
    }
    let salt =
        getrandom::u64().map_err(|error| Failure::Failed(format!("the system has no randomness to give: {error}")))?;
    Ok(Job {
        client: Client::with_timeout(TIMEOUT),
        url,
        provider,
        secret,
        event,
        payload,
        salt,
        same: arguments.same,
        count: arguments.count,
        rate: arguments.rate,
        started: Instant::now(),
        next: AtomicU64::new(0),
        tally: Mutex::default(),
    })
}

fn read_payload(path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let read = || match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => fs::read(path),
    };
    read().map_err(|error| Failure::Failed(format!("cannot read {}: {error}", path.display())))
}

impl Job {
    fn run(&self) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return;
            }
            let due = match self.rate {
                Some(rate) => self.started + Duration::from_secs_f64(number as f64 / rate),
                None => Instant::now(),
            };
            // Pacing, not waiting for anybody.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            self.send_one(number, due);
        }
    }

    fn send_one(&self, number: u64, due: Instant) {
        let salt = if self.same { self.salt } else { self.salt.wrapping_add(number) };
        let Some(Sample { mut headers, body, .. }) = (match &self.payload {
            Some(payload) => Some(sample::for_payload(self.provider, &self.event, payload.clone(), salt)),
            None => sample::build(self.provider, &self.event, salt),
        }) else {
            return;
        };
        sample::sign(self.provider, &self.secret, &mut headers, &body);
        let fields: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("content-type"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = self.client.post(&self.url, "application/json", &fields, &body);
        let latency = due.elapsed();
        let mut tally = threads::lock(&self.tally);
        match answer {
            Ok(answer) => {
                tally.latencies.push(latency);
                let status: Value = serde_json::from_str(&answer.body).unwrap_or_default();
                match (answer.status, status["status"].as_str()) {
                    (200..300, Some("duplicate")) => tally.duplicate += 1,
                    (200..300, _) => tally.accepted += 1,
                    _ => tally.refused += 1,
                }
                tally.last = Some(format!("{} {}", answer.status, table::printable(answer.body.trim())));
            }
            Err(failure) => {
                tally.errors += 1;
                tally.last = Some(failure.to_string());
            }
        }
    }
}

fn report(arguments: &Arguments, mut tally: Tally, elapsed: Duration) -> Result<(), Failure> {
    tally.latencies.sort_unstable();
    let ms = |share: f64| {
        let last = tally.latencies.len().saturating_sub(1);
        let place = (share * last as f64).round() as usize;
        tally.latencies.get(place).map_or(0.0, |latency| (latency.as_secs_f64() * 1e5).round() / 100.0)
    };
    let summary = Summary {
        sent: tally.accepted + tally.duplicate + tally.refused + tally.errors,
        accepted: tally.accepted,
        duplicate: tally.duplicate,
        refused: tally.refused,
        errors: tally.errors,
        per_s: ((tally.accepted + tally.duplicate) as f64 / elapsed.as_secs_f64() * 10.0).round() / 10.0,
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        max_ms: ms(1.0),
    };
    match (arguments.json, arguments.count) {
        (true, _) => print_json(&summary)?,
        (false, 1) => print_line(tally.last.as_deref().unwrap_or("nothing was sent"))?,
        (false, _) => print_line(&format!(
            "sent {}: {} accepted, {} duplicate, {} refused, {} errors; {}/s, p50 {} ms, p99 {} ms, max {} ms",
            summary.sent,
            summary.accepted,
            summary.duplicate,
            summary.refused,
            summary.errors,
            summary.per_s,
            summary.p50_ms,
            summary.p99_ms,
            summary.max_ms
        ))?,
    }
    match (summary.refused + summary.errors, tally.last) {
        (0, _) => Ok(()),
        (failed, last) => Err(Failure::Failed(format!(
            "{failed} of {} were not accepted; the last answer: {}",
            summary.sent,
            last.unwrap_or_default()
        ))),
    }
}
