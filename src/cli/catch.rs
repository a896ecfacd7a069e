//! `catch`: a local request bin that can play Slack. The stand-in that demos, laptops and tests share.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::{Failure, print_json, print_line, table::printable};
use crate::{
    config::Listen,
    daemon,
    http::{Admitted, Head, Limits, Listener, Peer, Refusal, Request, Response, Running, Server, Service},
    time::{Clock, SystemClock},
};

/// Requests that wait to be printed; beyond it, answering waits for the terminal.
const WAITING_MAX: usize = 1024;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell catch                                 print whatever arrives on http://127.0.0.1:8090
  hookbell catch --slack                         play Slack's incoming webhook
  SLACK_WEBHOOK_URL=http://127.0.0.1:8090/services/T/B/x hookbell run
  hookbell catch --status 503                    be a destination that is down")]
pub(super) struct Arguments {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8090", value_name = "HOST:PORT")]
    listen: std::net::SocketAddr,
    /// Answer with this status
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..600))]
    status: u16,
    /// Send `Retry-After` with it, in seconds
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// Answer this much later, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay: u64,
    /// Judge messages as Slack's incoming webhooks do: `ok`, `invalid_payload`, `no_text`, `invalid_blocks`
    #[arg(long)]
    slack: bool,
    /// Write each request to a file of its own in this directory
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// End after this many requests
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// One recorded request per line
    #[arg(long)]
    json: bool,
}

/// How a bin answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    pub(super) delay: Duration,
    pub(super) is_slack: bool,
}

impl Manner {
    /// Slack on a good day.
    pub(super) const SLACK: Manner = Manner { status: 200, retry_after: None, delay: Duration::ZERO, is_slack: true };
}

/// Answers every request and hands it on as a recorded request (interface.md).
pub(super) struct Bin {
    manner: Manner,
    caught: SyncSender<Value>,
}

impl Bin {
    /// Listens; requests come by the receiver.
    pub(super) fn open(
        address: std::net::SocketAddr,
        manner: Manner,
    ) -> Result<(Running, String, Receiver<Value>), Failure> {
        let failed = |error: std::io::Error| Failure::Failed(error.to_string());
        let (caught, receiver) = sync_channel(WAITING_MAX);
        let listener = Listener::bind(&Listen::Tcp(address)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = daemon::loopback_address(&address).map(|address| format!("http://{address}")).unwrap_or_default();
        let running =
            Server::new(vec![listener], Limits::default(), Bin { manner, caught }).start("bin").map_err(failed)?;
        Ok((running, url, receiver))
    }
}

impl Service for Bin {
    type Admitted = ();

    fn admit(&self, _: &Head, _: &Peer) -> Result<Admitted<()>, Response> {
        Ok(Admitted::new(()))
    }

    fn handle(&self, request: Request<()>) -> Response {
        let recorded = record(&request);
        if self.caught.send(recorded).is_err() {
            return Response::error(503, "the bin is closing");
        }
        if !self.manner.delay.is_zero() {
            // The delay is the feature: a destination that takes its time.
            thread::sleep(self.manner.delay);
        }
        let mut response = match (self.manner.status, self.manner.is_slack) {
            (200, true) => {
                let (status, text) = judge_as_slack(&request.body);
                Response::text(status, text)
            }
            (200, false) => Response::json(200, &json!({ "status": "caught" })),
            (status, _) => Response::text(status, "as told by --status"),
        };
        response.retry_after = self.manner.retry_after;
        response
    }

    fn refused(&self, _: Option<&Head>, peer: &Peer, refusal: &Refusal) {
        log::warn!("a request from {peer} was refused: {} {}", refusal.status, refusal.reason);
    }
}

/// A request in the form that `verify` reads.
fn record(request: &Request<()>) -> Value {
    let mut headers = Map::new();
    for (name, value) in request.head.headers.iter() {
        headers.insert(name.to_owned(), String::from_utf8_lossy(value).into_owned().into());
    }
    let mut recorded = json!({
        "method": request.head.method,
        "url": request.head.target,
        "headers": headers,
        "received_at": SystemClock.wall(),
    });
    match std::str::from_utf8(&request.body) {
        Ok(text) => recorded["body"] = text.into(),
        Err(_) => recorded["body_base64"] = base64::engine::general_purpose::STANDARD.encode(&request.body).into(),
    }
    recorded
}

/// What Slack's incoming webhooks answer, as far as its documentation tells: Block Kit's limits of 50 blocks and 3,000
/// characters in a section, and a text of some kind.
fn judge_as_slack(body: &[u8]) -> (u16, &'static str) {
    let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(body) else {
        return (400, "invalid_payload");
    };
    let has_text = message.get("text").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let Some(blocks) = message.get("blocks") else {
        return if has_text { (200, "ok") } else { (400, "no_text") };
    };
    let Some(blocks) = blocks.as_array() else { return (400, "invalid_blocks") };
    match blocks.len() <= 50 && blocks.iter().all(is_block) {
        true if has_text || !blocks.is_empty() => (200, "ok"),
        true => (400, "no_text"),
        false => (400, "invalid_blocks"),
    }
}

fn is_block(block: &Value) -> bool {
    let is_text = |text: &Value, characters_max: usize| {
        matches!(text.get("type").and_then(Value::as_str), Some("mrkdwn" | "plain_text"))
            && text
                .get("text")
                .and_then(Value::as_str)
                .is_some_and(|text| (1..=characters_max).contains(&text.chars().count()))
    };
    match block.get("type").and_then(Value::as_str) {
        Some("section") => block.get("text").is_some_and(|text| is_text(text, 3000)),
        Some("context") => block.get("elements").and_then(Value::as_array).is_some_and(|elements| {
            (1..=10).contains(&elements.len()) && elements.iter().all(|element| is_text(element, 3000))
        }),
        Some(_) => true,
        None => false,
    }
}

pub(super) fn catch(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(directory) = &arguments.record {
        fs::create_dir_all(directory)
            .map_err(|error| Failure::Failed(format!("cannot create {}: {error}", directory.display())))?;
    }
    let manner = Manner {
        status: arguments.status,
        retry_after: arguments.retry_after.map(Duration::from_secs),
        delay: Duration::from_millis(arguments.delay),
        is_slack: arguments.slack,
    };
    let (running, url, caught) = Bin::open(arguments.listen, manner)?;
    match arguments.json {
        true => print_json(&json!({ "listening": url }))?,
        false => print_line(&format!("listening on {url}; ctrl-C ends it"))?,
    }
    let mut number = 0;
    while arguments.count.is_none_or(|count| number < count)
        && let Ok(recorded) = caught.recv()
    {
        number += 1;
        if let Some(directory) = &arguments.record {
            write_record(directory, number, &recorded)?;
        }
        match arguments.json {
            true => print_json(&recorded)?,
            false => print_request(number, &recorded)?,
        }
    }
    running.stop(Duration::from_secs(2));
    Ok(())
}

fn write_record(directory: &Path, number: u64, recorded: &Value) -> Result<(), Failure> {
    let stamp = SystemClock.wall().ms();
    let path = directory.join(format!("{stamp}-{number:06}.json"));
    fs::write(&path, format!("{recorded:#}\n"))
        .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))
}

fn print_request(number: u64, recorded: &Value) -> Result<(), Failure> {
    let text = |key: &str| recorded[key].as_str().unwrap_or_default();
    print_line(&format!("\n#{number} {} {}", printable(text("method")), printable(text("url"))))?;
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        print_line(&format!("{}: {}", printable(name), printable(value.as_str().unwrap_or_default())))?;
    }
    print_line("")?;
    let body = match recorded.get("body").and_then(Value::as_str) {
        Some(body) => match serde_json::from_str::<Value>(body) {
            Ok(json) => format!("{json:#}"),
            Err(_) => body.lines().map(printable).collect::<Vec<_>>().join("\n"),
        },
        None => format!("{} (base64)", text("body_base64")),
    };
    print_line(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_is_played_by_its_documented_answers() {
        let long = "x".repeat(3001);
        let section = |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
        for (message, expected) in [
            (json!({ "text": "hello" }), (200, "ok")),
            (json!({ "text": "hello", "blocks": [section("hello")] }), (200, "ok")),
            (json!({ "text": "" }), (400, "no_text")),
            (json!({ "text": "hello", "blocks": [section(&long)] }), (400, "invalid_blocks")),
            (json!({ "text": "hello", "blocks": [section("")] }), (400, "invalid_blocks")),
            (json!({ "text": "hello", "blocks": vec![section("x"); 51] }), (400, "invalid_blocks")),
            (json!([1]), (400, "invalid_payload")),
        ] {
            assert_eq!(judge_as_slack(message.to_string().as_bytes()), expected, "{message}");
        }
        assert_eq!(judge_as_slack(b"payload=x"), (400, "invalid_payload"));
    }
}
