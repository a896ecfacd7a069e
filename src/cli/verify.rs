//! `verify`: would this recorded request be accepted, and if not, why?

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Failure, Global, print_json, print_line, provider_named, secret_in, source_named, table};
use crate::{
    headers::Headers,
    provider::{self, Flaw, Terms, Unverified, Verified},
    time::{Clock, SystemClock, Timestamp},
};

/// No provider sends more, and a recorded one is a third larger.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Of a value that is wrong, this much is shown.
const SHOWN_CHARS_MAX: usize = 60;

#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("terms").required(true).args(["source", "provider"])))]
#[command(after_help = "\
Examples:
  hookbell catch --record requests              record what comes in
  hookbell verify requests/1.json --source github
  STRIPE=whsec_… hookbell verify request.json --provider stripe --secret-env STRIPE
  NEW=… hookbell verify request.json --source github --secret-env NEW       would a new secret do?
  hookbell verify request.json --source twilio --at 2026-11-22T10:00:00Z

A recorded request is a JSON object: `method`, `url` (path, or the full public URL), `headers` (object), `body` (text) or
`body_base64`, `received_at`. Exit codes: 0 it would be accepted, 1 it would not.")]
pub(super) struct Arguments {
    /// The recorded request; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Judge as this source of the configuration would
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Judge by this provider's rules, with the secrets of --secret-env
    #[arg(long, value_name = "NAME", requires = "secret_env")]
    provider: Option<String>,
    /// An environment variable with a secret, or with a public key, in place of the source's; may be repeated
    #[arg(long, value_name = "NAME")]
    secret_env: Vec<String>,
    /// The address as the sender has it, for providers that sign it, when the record has only the path
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Judge at this time (RFC 3339 or Unix seconds) [default: when it was received, else now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// The file's form. Unknown keys are other programs' business, and a null is what is not there.
#[derive(Deserialize)]
pub(super) struct Recorded {
    url: Option<String>,
    headers: Option<Map<String, Value>>,
    body: Option<String>,
    body_base64: Option<String>,
    received_at: Option<Value>,
}

pub(super) fn verify(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let recorded = Recorded::read(&arguments.file)?;
    let (mut terms, missing) = terms(global, arguments)?;
    if let Some(public_url) = &arguments.public_url {
        terms.public_url = Some(public_url.trim_end_matches('/').to_owned());
    }
    let at = match arguments.at {
        Some(at) => at,
        None => recorded.received_at(&arguments.file)?.unwrap_or_else(|| SystemClock.wall()),
    };
    let request = recorded.request(&arguments.file)?;
    let verdict = provider::verify(&terms, request.clone(), at);
    // A variable without a secret may be the whole reason.
    let rejection =
        verdict.as_ref().err().map(|why| missing.iter().fold(why.to_string(), |why, it| format!("{it}; {why}")));
    // A secret that cannot be one proves nothing, and there is no need to look further.
    let diagnosed = || provider::diagnose(&terms, &request, at, provider::BY_HAND_BYTES_MAX);
    let hint = rejection.as_ref().and_then(|_| flaws(&terms).or_else(diagnosed));
    if verdict.is_ok() {
        missing.iter().for_each(|missing| eprintln!("warning: {missing}"));
    }
    let of = terms.secrets.len();
    if arguments.json {
        let (mut event, mut id, mut secret, mut handshake) = (Value::Null, Value::Null, Value::Null, false);
        match &verdict {
            Ok(Verified::Delivery(delivery)) => {
                (event, id) = (delivery.event_type().into(), delivery.id().into());
                secret = delivery.verified_by().map(|index| index + 1).into();
            }
            Ok(Verified::Handshake(_)) => handshake = true,
            Err(_) => {}
        }
        print_json(&json!({
            "valid": verdict.is_ok(),
            "provider": terms.provider.name(),
            "at": at,
            "verified_by": secret,
            "event_type": event,
            "delivery_id": id,
            "handshake": handshake,
            "status": verdict.as_ref().map_or_else(provider::Rejection::status, |_| 200),
            "why": rejection,
            "hint": hint,
        }))?;
    } else if let Ok(verified) = &verdict {
        match verified {
            Verified::Delivery(delivery) => {
                let (event, id) = (table::printable(delivery.event_type()), delivery.id().map(table::printable));
                let by = delivery.verified_by().map_or(0, |index| index + 1);
                let id = id.map_or_else(|| "no id of its own".to_owned(), |id| format!("delivery {id}"));
                print_line(&format!("valid: {} {event}, {id}, verified by secret {by} of {of}", terms.provider))?;
            }
            Verified::Handshake(handshake) => {
                print_line(&format!("valid: a handshake of {}, answered {}", terms.provider, handshake.status))?;
            }
        }
    } else if let Some(why) = &rejection {
        // Both may quote the request.
        print_line(&format!("invalid: {}", table::printable(why)))?;
        if let Some(hint) = &hint {
            print_line(&format!("most likely: {}", table::printable(hint)))?;
        }
    }
    match verdict {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::Failed("the request would be refused".to_owned())),
    }
}

/// What to judge by, and which variables hold no secret, in words.
fn terms(global: &Global, arguments: &Arguments) -> Result<(Terms, Vec<String>), Failure> {
    let mut terms = match &arguments.source {
        Some(name) => source_named(&global.load()?.settings, name)?.terms.clone(),
        None => Terms::new(provider_named(arguments.provider.as_deref().unwrap_or_default())?, Vec::new()),
    };
    let mut missing = Vec::new();
    if !arguments.secret_env.is_empty() {
        // None of them proves nothing: what is judged then is refused for want of one.
        terms.secrets.clear();
        for variable in &arguments.secret_env {
            match secret_in(variable) {
                Ok(secret) => terms.secrets.push(secret),
                Err(why) => missing.push(why),
            }
        }
    }
    Ok((terms, missing))
}

/// What cannot be right about the terms, whatever the request is.
fn flaws(terms: &Terms) -> Option<String> {
    let flaws = terms.provider.check(terms).into_iter().map(|flaw| match flaw {
        Flaw::Secret { index, what } if terms.secrets.len() > 1 => format!("secret {}: {what}", index + 1),
        Flaw::Secret { what, .. } => what.to_owned(),
        Flaw::Options(what) => what,
    });
    let flaws: Vec<String> = flaws.collect();
    (!flaws.is_empty()).then(|| flaws.join("; "))
}

impl Recorded {
    /// Reads the file; `-` is standard input.
    pub(super) fn read(file: &Path) -> Result<Recorded, Failure> {
        serde_json::from_slice(&read(file)?)
            .map_err(|error| Failure::Failed(format!("{} is not a recorded request: {error}", file.display())))
    }

    /// When the request came, if the record says so. One that says it in other words would be judged at another time.
    pub(super) fn received_at(&self, file: &Path) -> Result<Option<Timestamp>, Failure> {
        let Some(value) = &self.received_at else { return Ok(None) };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Timestamp::parse(&text).map(Some).ok_or_else(|| {
            let shown: String = table::printable(&text).chars().take(SHOWN_CHARS_MAX).collect();
            let what = format!("received_at of {} is no time that can be read: `{shown}`", file.display());
            Failure::Failed(format!("{what}; write RFC 3339 or Unix seconds, or say --at"))
        })
    }

    /// The request itself.
    pub(super) fn request(self, file: &Path) -> Result<Unverified, Failure> {
        let mut headers = Headers::new();
        for (name, value) in self.headers.iter().flatten() {
            match value {
                Value::Null => {}
                Value::String(value) => headers.push(name, value.as_bytes()),
                // The same header several times.
                Value::Array(values) => {
                    values.iter().filter_map(Value::as_str).for_each(|value| headers.push(name, value.as_bytes()));
                }
                other => headers.push(name, other.to_string().as_bytes()),
            }
        }
        let body = match (self.body, self.body_base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| Failure::Failed(format!("body_base64 of {}: {error}", file.display())))?,
            (None, None) => Vec::new(),
        };
        Ok(Unverified { target: self.url.unwrap_or_default(), headers, body })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = || {
        let mut bytes = Vec::new();
        let limit = FILE_BYTES_MAX + 1;
        match path.as_os_str() == "-" {
            true => std::io::stdin().take(limit).read_to_end(&mut bytes)?,
            false => std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?,
        };
        match bytes.len() as u64 > FILE_BYTES_MAX {
            true => Err(std::io::Error::other("it is larger than any recorded request")),
            false => Ok(bytes),
        }
    };
    read().map_err(|error: std::io::Error| Failure::Failed(format!("cannot read {}: {error}", path.display())))
}

pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "neither RFC 3339 (2026-11-22T10:00:00Z) nor Unix seconds".to_owned())
}
