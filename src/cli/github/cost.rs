//! `github cost`: what watching by polling costs a day, beside what webhooks cost. Owns the sums; what was measured is the
//! service's (`status`, or what it has kept), and what was not is said to be expected.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    cli::{Failure, Global, print_json, print_line, table},
    config::Settings,
    provider::{Origin, Provider, happened},
    recover::Reached,
    store::{Filter, Reader},
    work::control,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  hookbell github cost
  hookbell github cost --json | jq '.polling.counted_a_day'

Requests are what the service has counted, for a day; what it has not counted for an hour yet is expected. GitHub's limit is
5000 requests an hour with a token, where an answer that nothing has changed is free, and 60 without one, where it is not.";

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Cost {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

const DAY_S: f64 = 86_400.0;
/// What was counted for less than this says nothing about a day.
const COUNTED_MIN_S: f64 = 3600.0;
/// GitHub lists an event this long after it happened, at least: "anywhere from 30s to 6h".
const LISTED_AFTER_S: f64 = 30.0;
/// How often is asked where nothing was asked yet.
const EVERY_S: f64 = 60.0;
/// Reconciliation asks this often at most while nothing is missing: 60 requests an hour.
const RECONCILING_MAX_A_DAY: f64 = 1440.0;
/// Deliveries of a source that are looked at for how long they took.
const LOOKED_AT: u32 = 100;

/// What one place costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Price {
    asked_a_day: f64,
    /// Those that count against the limit.
    counted_a_day: f64,
    is_measured: bool,
}

pub(super) fn cost(global: &Global, arguments: &Cost) -> Result<(), Failure> {
    let settings = global.load_for_reading()?;
    let path = &settings.store.path;
    // What it has counted is kept once an hour; it knows better.
    let running = control::ask(path, &control::Request::Status).ok().flatten().unwrap_or_default();
    let reader = Reader::open(path)?;
    let polled = polled(&settings, &running, &reader)?;
    let reconciled = reconciled(&settings, &running, &reader)?;
    let webhooks = webhooks(&settings, &reader)?;
    let sum = |key: &str| polled.iter().filter_map(|row| row[key].as_f64()).sum::<f64>();
    let report = json!({
        "polled": polled,
        "polling": {
            "requests_a_day": sum("requests_a_day"),
            "counted_a_day": sum("counted_a_day"),
            "free_a_day": sum("free_a_day"),
            "delay_s": mean(polled.iter().filter_map(|row| row["delay_s"].as_f64())),
        },
        "webhooks": webhooks,
        "reconciled": reconciled,
        "reconciling_max_a_day": RECONCILING_MAX_A_DAY,
    });
    match arguments.json {
        true => print_json(&report),
        false => lines(&report).iter().try_for_each(|line| print_line(line)),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// What the running service says of a place, else what it has kept.
fn report(running: &Value, reader: &Reader, source: &str, place: &str, origin: Origin) -> Result<Value, Failure> {
    let all = running["reconciled"].as_array().into_iter().flatten();
    let is_it = |row: &&Value| row["source"] == source && row["place"] == place && row["origin"] == origin.name();
    if let Some(row) = all.into_iter().find(is_it) {
        return Ok(row.clone());
    }
    Ok(reader.reached(source, place)?.map(|kept| Reached::parse(&kept).report()).unwrap_or_default())
}

/// A day's price by what was counted, else as it is to be expected.
fn price(report: &Value, expected: Price) -> Price {
    let number = |key: &str| report[key].as_f64().unwrap_or_default();
    let (asked, free, seconds) = (number("asked"), number("free"), number("watched_s"));
    match seconds >= COUNTED_MIN_S {
        true => Price {
            asked_a_day: asked * DAY_S / seconds,
            counted_a_day: (asked - free) * DAY_S / seconds,
            is_measured: true,
        },
        false => expected,
    }
}

/// One row for each repository that is watched.
fn polled(settings: &Settings, running: &Value, reader: &Reader) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for (name, source) in &settings.sources {
        for repository in &source.poll {
            let report = report(running, reader, name, repository, Origin::Polled)?;
            rows.push(row(name, repository, &report, source.poll_every));
        }
    }
    Ok(rows)
}

fn row(source: &str, repository: &str, report: &Value, every: Option<Duration>) -> Value {
    let polling = &report["polling"];
    let wished = every.map_or(EVERY_S, |every| every.as_secs_f64());
    let every_s = polling["every_s"].as_f64().unwrap_or(wished).max(1.0);
    let asked_a_day = DAY_S / every_s;
    // How often something happens there is not known; at worst it does each time.
    let price = price(report, Price { asked_a_day, counted_a_day: asked_a_day, is_measured: false });
    let Price { asked_a_day, counted_a_day, is_measured } = price;
    let measured_s = report["delay_s"].as_f64();
    json!({
        "source": source,
        "repository": repository,
        "requests_a_day": asked_a_day,
        "counted_a_day": counted_a_day,
        "free_a_day": asked_a_day - counted_a_day,
        "requests_are_measured": is_measured,
        "every_s": every_s,
        "without_token": polling["anonymous"],
        "delay_s": measured_s.unwrap_or(every_s / 2.0 + LISTED_AFTER_S),
        "delay_is_measured": measured_s.is_some(),
        "delay_over": report["delays"].as_u64().unwrap_or_default(),
        "trouble": report["trouble"],
        "gap_at": polling["gap_at"],
    })
}

/// One row for each place that is reconciled at GitHub.
fn reconciled(settings: &Settings, running: &Value, reader: &Reader) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    for (name, source) in settings.sources.iter().filter(|(_, source)| source.terms.provider == Provider::GitHub) {
        let Some(recover) = &source.recover else { continue };
        for place in &recover.hooks {
            let report = report(running, reader, name, place, Origin::Recovered)?;
            let often = (DAY_S / recover.every.as_secs_f64().max(1.0)).min(RECONCILING_MAX_A_DAY);
            let price = price(&report, Price { asked_a_day: often, counted_a_day: often, is_measured: false });
            rows.push(json!({
                "source": name,
                "place": place,
                "requests_a_day": price.asked_a_day,
                "counted_a_day": price.counted_a_day,
                "requests_are_measured": price.is_measured,
            }));
        }
    }
    Ok(rows)
}

/// Webhooks ask for nothing. How long they take is known of those that say when it happened.
fn webhooks(settings: &Settings, reader: &Reader) -> Result<Value, Failure> {
    let mut delays = Vec::new();
    for (name, _) in settings.sources.iter().filter(|(_, source)| source.terms.provider == Provider::GitHub) {
        let filter = Filter { source: Some(name.clone()), limit: LOOKED_AT, ..Filter::default() };
        for row in reader.list(&filter)?.iter().filter(|row| row.origin == Origin::Webhook.name()) {
            let Some(request) = reader.request(row.id)? else { continue };
            if let Some(at) = happened::happened_at(&row.event_type, &request.body) {
                delays.push(row.received_at.since(at).as_secs_f64());
            }
        }
    }
    delays.sort_by(f64::total_cmp);
    Ok(json!({
        "requests_a_day": 0,
        // What somebody has sent again, or a record, would spoil the mean.
        "delay_s": delays.get(delays.len() / 2),
        "delay_over": delays.len(),
    }))
}

/// The same for people.
fn lines(report: &Value) -> Vec<String> {
    let rows = |key: &str| report[key].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (mut cells, polled) = (Vec::new(), rows("polled"));
    for row in &polled {
        let is_measured = row["requests_are_measured"] == json!(true);
        let counted = match is_measured {
            true => count(&row["counted_a_day"]),
            false => format!("at most {}", count(&row["counted_a_day"])),
        };
        let delay = match row["delay_is_measured"] == json!(true) {
            true => format!("{}, the mean of {}", seconds(&row["delay_s"]), count(&row["delay_over"])),
            false => format!("{} or more, expected", seconds(&row["delay_s"])),
        };
        let how = if is_measured { "counted" } else { "expected" };
        let name = format!("{} ({})", text(&row["repository"]), text(&row["source"]));
        cells.push(vec![name, count(&row["requests_a_day"]), counted, how.to_owned(), delay]);
    }
    let sum = &report["polling"];
    if cells.len() > 1 {
        let (asked, counted) = (count(&sum["requests_a_day"]), count(&sum["counted_a_day"]));
        cells.push(vec!["polling in all".to_owned(), asked, counted, String::new(), seconds(&sum["delay_s"])]);
    }
    let webhooks = &report["webhooks"];
    let delay = match webhooks["delay_over"].as_u64() {
        Some(0) | None => "not known yet".to_owned(),
        Some(many) => format!("{}, the median of {many}", seconds(&webhooks["delay_s"])),
    };
    cells.push(vec!["webhooks".to_owned(), "0".to_owned(), "0".to_owned(), String::new(), delay]);
    for row in rows("reconciled") {
        let how = if row["requests_are_measured"] == json!(true) { "counted" } else { "expected" };
        let name = format!("  reconciling {} ({})", text(&row["place"]), text(&row["source"]));
        let (asked, counted) = (count(&row["requests_a_day"]), count(&row["counted_a_day"]));
        cells.push(vec![name, asked, counted, how.to_owned(), String::new()]);
    }
    let mut lines = table::lines(&["a day", "requests", "of the limit", "", "delay"], &cells);
    if polled.is_empty() {
        lines.push("nothing is polled: poll = [\"owner/repository\"] in a source of GitHub's watches one".to_owned());
    }
    if polled.iter().any(|row| row["without_token"] == json!(true)) {
        lines.push("Without a token GitHub allows 60 requests an hour in all: [github] token allows 5000".to_owned());
    }
    for row in &polled {
        let repository = table::printable(&text(&row["repository"]));
        if let Some(trouble) = row["trouble"].as_str() {
            lines.push(format!("{repository}: {}", table::printable(trouble)));
        }
        if let Some(at) = row["gap_at"].as_str() {
            lines.push(format!("{repository}: at {at} there was more than GitHub lists; some of it may be missing"));
        }
    }
    lines.push("Reconciling asks 1440 times a day at most while nothing is missing.".to_owned());
    lines
}

fn count(value: &Value) -> String {
    format!("{:.0}", value.as_f64().unwrap_or_default())
}

fn seconds(value: &Value) -> String {
    match value.as_f64().unwrap_or_default() {
        seconds @ ..10.0 => format!("{seconds:.1} s"),
        seconds @ ..100.0 => format!("{seconds:.0} s"),
        seconds @ ..7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_counted_or_expected() {
        let polling = json!({ "every_s": 120, "anonymous": false });
        let fresh = row("rust", "rust-lang/rust", &json!({ "polling": polling, "asked": 3, "watched_s": 240 }), None);
        assert_eq!((&fresh["requests_a_day"], &fresh["counted_a_day"]), (&json!(720.0), &json!(720.0)));
        assert_eq!((&fresh["requests_are_measured"], &fresh["delay_is_measured"]), (&json!(false), &json!(false)));
        assert_eq!(fresh["delay_s"], 90.0);
        let counted =
            json!({ "polling": polling, "asked": 120, "free": 90, "watched_s": 7200, "delays": 4, "delay_s": 300.0 });
        let counted = row("rust", "rust-lang/rust", &counted, None);
        let numbers =
            ["requests_a_day", "counted_a_day", "free_a_day", "delay_s"].map(|key| counted[key].as_f64().unwrap());
        assert_eq!(numbers, [1440.0, 360.0, 1080.0, 300.0]);
        let never = row("rust", "rust-lang/rust", &Value::Null, Some(Duration::from_secs(3600)));
        assert_eq!((&never["requests_a_day"], &never["delay_s"]), (&json!(24.0), &json!(1830.0)));
    }

    #[test]
    fn what_is_said_of_it() {
        let row = |measured: bool| {
            json!({ "source": "rust", "repository": "rust-lang/rust", "requests_a_day": 1440.0, "counted_a_day": 360.0,
                "requests_are_measured": measured, "delay_s": 312.0, "delay_is_measured": measured, "delay_over": 37,
                "without_token": !measured, "trouble": null, "gap_at": null })
        };
        let reconciled = json!({ "source": "github", "place": "acme/api", "requests_a_day": 288.0, "counted_a_day": 12.0,
            "requests_are_measured": true });
        let all = json!({ "polled": [row(true), row(false)], "reconciled": [reconciled],
            "polling": { "requests_a_day": 2880.0, "counted_a_day": 720.0, "delay_s": 312.0 },
            "webhooks": { "delay_s": 1.3, "delay_over": 57 } });
        assert_eq!(
            lines(&all),
            [
                "A DAY                            REQUESTS  OF THE LIMIT            DELAY",
                "rust-lang/rust (rust)            1440      360           counted   5 min, the mean of 37",
                "rust-lang/rust (rust)            1440      at most 360   expected  5 min or more, expected",
                "polling in all                   2880      720                     5 min",
                "webhooks                         0         0                       1.3 s, the median of 57",
                "  reconciling acme/api (github)  288       12            counted",
                "Without a token GitHub allows 60 requests an hour in all: [github] token allows 5000",
                "Reconciling asks 1440 times a day at most while nothing is missing.",
            ]
        );
        let nothing = json!({ "polled": [], "webhooks": {}, "reconciled": [] });
        assert!(lines(&nothing).iter().any(|line| line.starts_with("nothing is polled")));
    }
}
