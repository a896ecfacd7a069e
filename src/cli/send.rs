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

use super::{Failure, Global, print_json, print_line, provider_named, secret_in, source_named, table};
use crate::{
    http::{self, Client},
    provider::{self, Options, Provider, Signing, Terms, Unverified, sample},
    secret::Secret,
    threads,
    time::{Clock, SystemClock},
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
  hookbell send generic custom --source shop      sign as [sources.shop] of the configuration wants it
  DISCORD_PRIVATE=… hookbell send discord command --source discord --secret-env DISCORD_PRIVATE
  hookbell send github pr_opened --count 1000 --concurrency 32

Where the configuration has only the public key (sendgrid, discord), --secret-env must name the private one. Twilio and
Square sign the address that they call: --public-url, else `public_url` under [door], else the URL that is called.")]
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
    /// Sign by the options, the first secret that can and the `public_url` of this source of the configuration
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Where to [default: http://127.0.0.1:5000/webhooks/PROVIDER, or the source's name in its place]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The receiver's `public_url`, for providers that sign the address they call [default: the configuration's]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The environment variable that holds the secret [default: PROVIDER_WEBHOOK_SECRET, or the source's secret]
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
    /// The URL as the receiver is known to the sender, which some providers sign.
    signed_url: String,
    provider: Provider,
    secret: Secret,
    /// The receiver's.
    options: Options,
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

pub(super) fn send(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        return list(arguments.json);
    }
    let job = Arc::new(prepare(global, arguments)?);
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

fn prepare(global: &Global, arguments: &Arguments) -> Result<Job, Failure> {
    let provider = provider_named(arguments.provider.as_deref().unwrap_or_default())?;
    let event = arguments.event.clone().unwrap_or_default();
    let payload = arguments.payload.as_deref().map(read_payload).transpose()?;
    if payload.is_none() && sample::build(provider, &event, 0).is_none() {
        return Err(Failure::Usage(format!("there is no sample {event:?}; `hookbell send --list` names them")));
    }
    let name = arguments.source.as_deref().unwrap_or(provider.name());
    let url = arguments.to.clone().unwrap_or_else(|| format!("http://127.0.0.1:5000/webhooks/{name}"));
    http::check_url(&url, http::Reach::Anybody).map_err(Failure::Usage)?;
    let Receiver { secret, options, signed_url } = receiver(global, arguments, provider, &url)?;
    if arguments.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err(Failure::Usage("--rate must be more than 0".to_owned()));
    }
    let salt =
        getrandom::u64().map_err(|error| Failure::Failed(format!("the system has no randomness to give: {error}")))?;
    Ok(Job {
        client: Client::with_timeout(TIMEOUT),
        signed_url,
        url,
        provider,
        secret,
        options,
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

/// What signing must know of the receiver.
struct Receiver {
    secret: Secret,
    options: Options,
    signed_url: String,
}

/// By the source that is named, else by the environment.
fn receiver(global: &Global, arguments: &Arguments, provider: Provider, url: &str) -> Result<Receiver, Failure> {
    let secret_named = |variable: &str| {
        secret_in(variable)
            .map_err(|why| Failure::Failed(format!("{why}; it must hold the secret that the receiver knows")))
    };
    let Some(name) = &arguments.source else {
        let default = || format!("{}_WEBHOOK_SECRET", provider.name().to_uppercase());
        let secret = secret_named(&arguments.secret_env.clone().unwrap_or_else(default))?;
        let public_url = match &arguments.public_url {
            None if provider.needs_public_url() => global.load_for_reading()?.door.public_url,
            given => given.clone(),
        };
        return Ok(Receiver { secret, options: Options::NONE, signed_url: signed_url(provider, url, public_url) });
    };
    let settings = global.load()?.settings;
    let terms = &source_named(&settings, name)?.terms;
    if terms.provider != provider {
        return Err(Failure::Usage(format!("the source {name} is one of {}, not of {provider}", terms.provider)));
    }
    let signed_url = signed_url(provider, url, arguments.public_url.clone().or_else(|| terms.public_url.clone()));
    let secret = match &arguments.secret_env {
        Some(variable) => secret_named(variable)?,
        None => {
            terms.secrets.iter().find(|secret| is_accepted(terms, secret, &signed_url)).cloned().ok_or_else(|| {
                let what = format!("what the configuration has for {name} proves a request and cannot sign one");
                Failure::Failed(format!("{what}: name the variable that holds the private key with --secret-env"))
            })?
        }
    };
    Ok(Receiver { secret, options: terms.options.clone(), signed_url })
}

/// Whether the source takes what this secret of its own signs. A public key may look like a private one, so one sample
/// is signed and judged.
fn is_accepted(terms: &Terms, secret: &Secret, url: &str) -> bool {
    let provider = terms.provider;
    let now = SystemClock.wall();
    let sample = sample::list(provider).first().and_then(|(name, _)| sample::build(provider, name, 0));
    sample.is_some_and(|mut sample| {
        let signing = Signing { options: &terms.options, ..Signing::new(secret, url, now) };
        sample.sign(provider, &signing).is_ok() && {
            let headers = sample.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            let request = Unverified { target: format!("{url}{}", sample.query), headers, body: sample.body };
            provider::judge(terms, &request, now).is_ok()
        }
    })
}

/// What is signed by those who sign the address; says so where it can only be a guess.
fn signed_url(provider: Provider, url: &str, public_url: Option<String>) -> String {
    if let Some(public_url) = public_url {
        return at_public_url(url, &public_url);
    }
    if provider.needs_public_url() {
        eprintln!(
            "note: {provider} signs the address that it calls. Neither --public-url nor `public_url` under [door] \
             tells it, so the signature covers {url}"
        );
    }
    url.to_owned()
}

/// The same path under another name.
fn at_public_url(url: &str, public_url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
    format!("{}{path}", public_url.trim_end_matches('/'))
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
        let Some(mut sample) = (match &self.payload {
            Some(payload) => Some(sample::for_payload(self.provider, &self.event, payload.clone(), salt)),
            None => sample::build(self.provider, &self.event, salt),
        }) else {
            return;
        };
        let signing =
            Signing { options: &self.options, ..Signing::new(&self.secret, &self.signed_url, SystemClock.wall()) };
        if let Err(why) = sample.sign(self.provider, &signing) {
            let mut tally = threads::lock(&self.tally);
            tally.errors += 1;
            tally.last = Some(why.to_owned());
            return;
        }
        let (content_type, fields) = sample.fields();
        let answer = self.client.post(&format!("{}{}", self.url, sample.query), content_type, &fields, &sample.body);
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
