//! `status`: how the service is.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Failure, Global, print_json, print_line, storage, table};
use crate::{
    door::{KEPT_AS, List},
    panel::Address,
    recover,
    store::{DeliveryRow, Filter, Outage, QueueCount, Reader, RefusalCount, Role, RoleLock},
    time::{Clock, SystemClock, Timestamp},
    work::{control, health::Terms, watch},
};

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  hookbell status\n  hookbell status --json | jq .service.bell")]
pub(super) struct Arguments {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    /// `running`, `running in parts`, `not running`.
    state: &'static str,
    receive_pid: Option<u32>,
    work_pid: Option<u32>,
    /// What the running worker says; null when it does not answer.
    service: Value,
    /// Whether all is well, and if not what to do; by the service, else by the database alone.
    health: Value,
    /// The database's size and limits, and what was written to the card.
    store: Value,
    deliveries: BTreeMap<String, i64>,
    queues: Vec<QueueCount>,
    /// Who was refused, the last first.
    refusals: Vec<RefusalCount>,
    /// How far each place was reconciled that providers are asked for; by the service, else by the database alone.
    reconciled: Vec<Value>,
    /// What `allow_from = "github"` goes by, once it was fetched.
    github_addresses: Option<Addresses>,
    last: Vec<DeliveryRow>,
}

#[derive(Serialize)]
struct Addresses {
    networks: usize,
    fetched_at: Timestamp,
}

/// What stays lit that is shown; `--json` has all.
const LATCHES_SHOWN: usize = 5;
/// Addresses that are shown; `--json` has more of them.
const REFUSALS_SHOWN: usize = 5;
const REFUSALS_MAX: u32 = 100;

pub(super) fn status(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let path = &settings.store.path;
    let receive_pid = RoleLock::holder(path, Role::Receive);
    let work_pid = RoleLock::holder(path, Role::Work);
    let service = control::ask(path, &control::Request::Status)
        .unwrap_or_else(|error| Some(json!({ "error": error.to_string() })))
        .unwrap_or(Value::Null);
    let reader = Reader::open(path)?;
    let report = Report {
        state: match (receive_pid, work_pid) {
            (Some(_), Some(_)) => "running",
            (None, None) => "not running",
            _ => "running in parts",
        },
        receive_pid,
        work_pid,
        health: match &service["health"] {
            Value::Null => watch::json(&watch::from_database(&reader, &Terms::of(&settings), SystemClock.wall())?),
            said => said.clone(),
        },
        store: storage::facts(&reader, &settings.store, &service["unsettled"])?,
        reconciled: reconciled(&reader, &service)?,
        service,
        deliveries: reader.status_counts()?.into_iter().collect(),
        queues: reader.queues()?,
        refusals: reader.refusals(REFUSALS_MAX)?,
        github_addresses: reader
            .recall(KEPT_AS)?
            .as_deref()
            .and_then(List::parse)
            .map(|list| Addresses { networks: list.len(), fetched_at: list.fetched() }),
        last: reader.list(&Filter { limit: 5, ..Filter::default() })?,
    };
    if arguments.json {
        return print_json(&report);
    }
    print(&report)?;
    let listen = settings.panel.listen.as_ref().filter(|_| report.work_pid.is_some());
    // What the service says knows a port that was asked for as 0.
    match (listen.and_then(Address::of), report.service["panel"].as_str()) {
        (Some(address), Some(url)) => panel(&Address { url: url.to_owned(), ..address }),
        _ => Ok(()),
    }
}

/// How far each place was reconciled.
pub(super) fn reconciled(reader: &Reader, service: &Value) -> Result<Vec<Value>, Failure> {
    match service["reconciled"].as_array() {
        Some(said) => Ok(said.clone()),
        None => Ok(recover::kept(reader)?),
    }
}

/// Where the page is, for a browser and for a camera.
pub(super) fn panel(address: &Address) -> Result<(), Failure> {
    let by_name = address.by_name.as_ref().map(|name| format!(", in this network also {name}")).unwrap_or_default();
    print_line("")?;
    print_line(&format!("panel: {}{by_name}", address.url))?;
    match address.picture() {
        Some(picture) => picture.iter().try_for_each(|line| print_line(line)),
        None => print_line("  on this machine alone; `listen` and `token` in [panel] open it to a telephone"),
    }
}

/// Whether all is well; what is not, each with what to do.
fn health(health: &Value) -> Vec<String> {
    let problem = |problem: &Value| {
        let text = |key: &str| table::printable(problem[key].as_str().unwrap_or_default());
        [format!("{}: {}, since {}", text("severity"), text("what"), text("since")), format!("  {}", text("remedy"))]
    };
    let problems: Vec<String> = health["problems"].as_array().into_iter().flatten().flat_map(problem).collect();
    match (problems.is_empty(), health["sentence"].as_str()) {
        (true, Some(sentence)) => vec![table::printable(sentence)],
        _ => problems,
    }
}

fn refused(refusal: &RefusalCount) -> String {
    let RefusalCount { source, peer, status, why, count, first_at: _, last_at } = refusal;
    let from = if peer.is_empty() { "an unknown address" } else { peer };
    let at = if source.is_empty() { String::new() } else { format!(" at {source}") };
    let why = if why.is_empty() { String::new() } else { format!(": {}", table::printable(why)) };
    format!("refused{at}: {count} from {from}, the last {last_at} with {status}{why}")
}

/// The desk in words: what drives it, what is wrong, what is silent, what stays lit.
fn desk(bell: &Value) -> Vec<String> {
    let Some(board) = bell["board"].as_str() else { return Vec::new() };
    let mut first = format!("bell: {board}");
    match (bell["muted_until"].as_str(), bell["is_quiet"].as_bool()) {
        (Some(until), _) => first += &format!(", muted until {until}"),
        (None, Some(true)) => first += ", silent at this hour",
        (None, _) => {}
    }
    let mut lines = vec![first];
    let parts = bell["lines"].as_array().into_iter().flatten().chain([&bell["button"]]);
    let mut errors: Vec<&str> = parts.filter_map(|part| part["error"].as_str()).collect();
    errors.extend(bell["error"].as_str().filter(|error| !errors.contains(error)));
    lines.extend(errors.iter().map(|error| format!("  broken: {}", table::printable(error))));
    for latch in bell["latched"].as_array().into_iter().flatten().take(LATCHES_SHOWN) {
        let text = |key: &str| table::printable(latch[key].as_str().unwrap_or_default());
        lines.push(format!("  lit: {} {} since {}", text("cue"), text("subject"), text("since")));
    }
    lines
}

/// Whether the world can reach the door, as the watcher has seen it last.
fn tunnel(tunnel: &Value) -> Option<String> {
    let text = |key: &str| table::printable(tunnel[key].as_str().unwrap_or_default());
    let is_absent = tunnel["installed"].as_bool() == Some(false);
    Some(match tunnel["state"].as_str()? {
        "connected" => match tunnel["connections"].as_u64() {
            Some(1) => "tunnel: connected (1 connection)".to_owned(),
            Some(many) => format!("tunnel: connected ({many} connections)"),
            None => "tunnel: connected".to_owned(),
        },
        "not watched" if is_absent => {
            format!("tunnel: none; cloudflared is not installed. To let the world in, {}", crate::tunnel::INSTALL)
        }
        "not watched" => "tunnel: not watched: [tunnel] metrics is not set".to_owned(),
        state @ ("down" | "not connected") => {
            let absent = if is_absent { " (cloudflared is not installed)" } else { "" };
            format!("tunnel: {state} since {}: {}{absent}\n  {}", text("since"), text("why"), text("remedy"))
        }
        _ => "tunnel: not looked at yet".to_owned(),
    })
}

/// Whether the last that went out to the public URL came back.
fn canary(tunnel: &Value) -> Option<String> {
    let canary = Some(&tunnel["canary"]).filter(|canary| canary.is_object())?;
    let last = canary["round_trip_ms"].as_i64().map(|ms| {
        let at = table::printable(canary["at"].as_str().unwrap_or_default());
        format!("there and back in {ms} ms, at {at}")
    });
    let missing = canary["missing"].as_u64().unwrap_or(0);
    Some(match (missing, last) {
        (0, Some(last)) => format!("  canary: {last}"),
        (0, None) => "  canary: none has come back yet".to_owned(),
        (missing, last) => {
            let last = last.map_or("none has come back yet".to_owned(), |last| format!("the last one was {last}"));
            // What the line above says already.
            let why = canary["why"].as_str().filter(|why| tunnel["why"] != **why);
            let why = why.map(|why| format!(": {}", table::printable(why))).unwrap_or_default();
            format!("  canary: {missing} missing in a row, {last}{why}")
        }
    })
}

fn print(report: &Report) -> Result<(), Failure> {
    let pid = |pid: Option<u32>| pid.map_or("not running".to_owned(), |pid| format!("pid {pid}"));
    match report.state {
        "running" => print_line(&format!("hookbell is running ({})", pid(report.work_pid)))?,
        "not running" => print_line("hookbell is not running; this is what its database says")?,
        _ => print_line(&format!("receive: {}, work: {}", pid(report.receive_pid), pid(report.work_pid)))?,
    }
    for line in health(&report.health) {
        print_line(&line)?;
    }
    if let Some(trouble) = report.service.pointer("/storage").and_then(Value::as_str) {
        print_line(&format!("storage: {trouble}"))?;
    }
    let watched = &report.service["tunnel"];
    for line in [tunnel(watched), canary(watched)].into_iter().flatten() {
        print_line(&line)?;
    }
    for place in &report.reconciled {
        print_line(&format!("reconciled: {}", table::printable(&recover::line(place, SystemClock.wall()))))?;
    }
    for line in desk(&report.service["bell"]) {
        print_line(&line)?;
    }
    let counts: Vec<String> = report.deliveries.iter().map(|(status, count)| format!("{count} {status}")).collect();
    print_line(&match counts.is_empty() {
        true => "deliveries: none yet".to_owned(),
        false => format!("deliveries: {}", counts.join(", ")),
    })?;
    for line in storage::lines(&report.store) {
        print_line(&line)?;
    }
    for queue in &report.queues {
        let mut line = format!("sink {}: {} waiting, {} dead", queue.sink, queue.waiting, queue.dead);
        if let (Some(error), true) = (&queue.last_error, queue.retrying > 0) {
            line.push_str(&format!(", {} after a failure ({})", queue.retrying, table::printable(error)));
        }
        print_line(&line)?;
        if let Some(Outage { since, until, wait: _, reason }) = &queue.outage {
            let reason = table::printable(reason);
            print_line(&format!("  left alone since {since}, next attempt {until}: {reason}"))?;
        }
    }
    if let Some(Addresses { networks, fetched_at }) = &report.github_addresses {
        print_line(&format!("GitHub's addresses: {networks} networks, fetched {fetched_at}"))?;
    }
    for refusal in report.refusals.iter().take(REFUSALS_SHOWN) {
        print_line(&refused(refusal))?;
    }
    if report.refusals.len() > REFUSALS_SHOWN {
        print_line("refused: more of them with --json")?;
    }
    if !report.last.is_empty() {
        print_line("")?;
        for line in super::deliveries::as_table(&report.last) {
            print_line(&line)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tunnel_in_words() {
        let said = |tunnel: Value| super::tunnel(&tunnel).unwrap_or_default();
        let with = |state: &str, connections: Value, installed: bool| {
            said(json!({
                "state": state, "connections": connections, "installed": installed,
                "since": "2026-11-22T10:00:00.000Z", "why": "it\u{1b} broke", "remedy": "mend it",
            }))
        };
        assert_eq!(with("connected", json!(4), true), "tunnel: connected (4 connections)");
        assert_eq!(with("connected", json!(1), true), "tunnel: connected (1 connection)");
        assert_eq!(with("not watched", json!(null), true), "tunnel: not watched: [tunnel] metrics is not set");
        assert!(with("not watched", json!(null), false).contains("cloudflared is not installed"));
        let down = with("down", json!(null), false);
        assert!(down.starts_with("tunnel: down since 2026-11-22T10:00:00.000Z: it"), "{down}");
        assert!(
            down.ends_with("broke (cloudflared is not installed)\n  mend it") && !down.contains('\u{1b}'),
            "{down}"
        );
        assert_eq!(with("unknown", json!(null), true), "tunnel: not looked at yet");
        assert_eq!(with("connected", json!(null), true), "tunnel: connected", "only the canary says so");
        assert_eq!(said(json!(null)), "", "a service of an earlier version");
    }

    #[test]
    fn the_canary_in_words() {
        let said = |canary: Value| super::canary(&json!({ "why": "no tunnel", "canary": canary })).unwrap_or_default();
        let with = |ms: Value, at: Value, missing: u32, why: Value| {
            said(json!({ "round_trip_ms": ms, "at": at, "missing": missing, "why": why }))
        };
        let at = || json!("2026-11-22T10:00:00.000Z");
        assert_eq!(said(json!(null)), "");
        assert_eq!(with(json!(null), json!(null), 0, json!(null)), "  canary: none has come back yet");
        let last = "there and back in 84 ms, at 2026-11-22T10:00:00.000Z";
        assert_eq!(with(json!(84), at(), 0, json!(null)), format!("  canary: {last}"));
        assert_eq!(
            with(json!(84), at(), 1, json!("a page\u{1b}")),
            format!("  canary: 1 missing in a row, the last one was {last}: a page\u{fffd}")
        );
        let known = with(json!(null), json!(null), 2, json!("no tunnel"));
        assert_eq!(known, "  canary: 2 missing in a row, none has come back yet", "why stands in the line above");
    }
}
