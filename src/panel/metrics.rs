//! `GET /metrics`: Prometheus' text, version 0.0.4. Owns the names, which dashboards and alerts rely on; what is counted
//! others count.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use super::{
    api::{Api, Problem},
    live::Live,
};
use crate::{
    meters::Reading,
    time::Timestamp,
    work::health::{Report, Status},
};

/// What it is sent as.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Labels and the value.
type Sample<'a> = (&'a [(&'a str, &'a str)], f64);

/// Text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            self.0.push_str(part);
        }
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push_str(if index == 0 { "{" } else { "," });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.begin(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], reading: &Reading) {
        let bucket = format!("{name}_bucket");
        let total = reading.cumulative.last().copied().unwrap_or(0) as f64;
        let bounds = reading.bounds.iter().map(|bound| format!("{bound}")).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&reading.cumulative) {
            let mut all = labels.to_vec();
            all.push(("le", &bound));
            self.sample(&bucket, &all, *count as f64);
        }
        self.sample(&format!("{name}_sum"), labels, reading.sum);
        self.sample(&format!("{name}_count"), labels, total);
    }

    fn all<'a>(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) {
        self.begin(name, kind, help);
        for (labels, value) in samples {
            self.sample(name, labels, value);
        }
    }
}

/// The whole of it.
pub(super) fn metrics(api: &Api, live: &Live) -> Result<String, Problem> {
    let parts = &api.parts;
    let mut text = Text::default();
    let build = [("version", crate::VERSION), ("revision", crate::REVISION)];
    text.all("hookbell_build_info", "gauge", "What runs.", [(&build[..], 1.0)]);

    let answers = parts.meters.answers();
    let name = "hookbell_deliveries_total";
    text.begin(name, "counter", "Answers of the door by source; without a source, those to requests that named none.");
    // From nothing on: what appears with its first count has never grown.
    let counts = from_zero(parts.settings.sources.keys(), &ANSWERS, answers.ended);
    for ((source, result), count) in &counts {
        text.sample(name, &[("source", source), ("result", result)], *count as f64);
    }
    let name = "hookbell_ack_duration_seconds";
    text.begin(name, "histogram", "From a request's last byte to its durable answer.");
    answers.times.iter().for_each(|(source, times)| text.histogram(name, &[("source", source)], times));

    let attempts = parts.meters.attempts();
    let name = "hookbell_dispatches_total";
    text.begin(name, "counter", "Attempts to deliver by sink and what came of them.");
    let counts = from_zero(parts.settings.sinks.keys(), &OUTCOMES, attempts.ended);
    for ((sink, outcome), count) in &counts {
        text.sample(name, &[("sink", sink), ("outcome", outcome)], *count as f64);
    }
    let name = "hookbell_dispatch_duration_seconds";
    text.begin(name, "histogram", "How long one attempt to deliver took.");
    attempts.times.iter().for_each(|(sink, times)| text.histogram(name, &[("sink", sink)], times));

    let report = parts.findings.latest();
    owed(&mut text, api, &report)?;
    storage(&mut text, api)?;

    text.one(
        "hookbell_health_status",
        "gauge",
        "0 all is well, 1 look some time, 2 look now.",
        match report.status {
            Status::Ok => 0.0,
            Status::Warning => 1.0,
            Status::Failing => 2.0,
        },
    );
    let lateness = parts.bell.lateness();
    let edges = lateness.cumulative.last().copied().unwrap_or(0) as f64;
    text.one("hookbell_bell_edges_total", "counter", "Changes of a line of the desk.", edges);
    let name = "hookbell_bell_edges_late_seconds";
    text.begin(name, "histogram", "How late they came.");
    text.histogram(name, &[], &lateness);
    let tunnel = parts.tunnel.report();
    if let Some(state @ ("connected" | "down" | "not connected")) = tunnel["state"].as_str() {
        let is_up = f64::from(u8::from(state == "connected"));
        let help = "Whether the tunnel is connected, by what cloudflared and the canary say.";
        text.one("hookbell_tunnel_up", "gauge", help, is_up);
    }
    canary(&mut text, &tunnel["canary"]);
    reconciled(&mut text, &report.reconciled);
    text.one("hookbell_live_streams", "gauge", "Pages that are open.", live.streams() as f64);
    process(&mut text);
    Ok(text.0)
}

/// Where there is one.
fn canary(text: &mut Text, canary: &Value) {
    if let Some(missing) = canary["missing"].as_f64() {
        let help = "Questions to the public URL in a row that did not come back.";
        text.one("hookbell_canary_missing", "gauge", help, missing);
    }
    if let Some(ms) = canary["round_trip_ms"].as_f64() {
        let help = "How long the last one took that came back, there and back.";
        text.one("hookbell_canary_round_trip_seconds", "gauge", help, ms / 1000.0);
    }
}

/// How far each place was reconciled that is asked for.
fn reconciled(text: &mut Text, places: &[Value]) {
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Value) -> Option<f64>| {
        if places.is_empty() {
            return;
        }
        text.begin(name, kind, help);
        for place in places {
            let label = |key: &str| place[key].as_str().unwrap_or_default();
            let labels = [("source", label("source")), ("place", label("place"))];
            value(place).into_iter().for_each(|value| text.sample(name, &labels, value));
        }
    };
    let moment = |key: &'static str| {
        move |place: &Value| place[key].as_str().and_then(Timestamp::parse).map(|at| at.ms() as f64 / 1000.0)
    };
    let count = |key: &'static str| move |place: &Value| place[key].as_f64();
    let help = "When the provider was last asked what it has sent, seconds since the epoch.";
    each("hookbell_reconciled_timestamp_seconds", "gauge", help, &moment("checked_at"));
    let help = "Deliveries that the provider has sent and that are not here.";
    each("hookbell_missing_deliveries", "gauge", help, &count("missing"));
    let help = "Deliveries that were missing and were pulled in.";
    each("hookbell_recovered_deliveries_total", "counter", help, &count("recovered"));
    let help = "Deliveries that were missing and that the provider does not have any more.";
    each("hookbell_lost_deliveries_total", "counter", help, &count("lost"));
}

/// How the door's answers and a sink's attempts are counted.
const ANSWERS: [&str; 5] = ["accepted", "duplicate", "refused", "limited", "unavailable"];
const OUTCOMES: [&str; 4] = ["done", "skipped", "retry", "dead"];

/// The counts, and zero for what has not been counted of each name.
fn from_zero<'a>(
    names: impl Iterator<Item = &'a String>,
    all: &[&'static str],
    counted: Vec<(String, &'static str, u64)>,
) -> BTreeMap<(String, &'static str), u64> {
    let zeros = names.flat_map(|name| all.iter().map(move |ended| ((name.clone(), *ended), 0)));
    let mut counts: BTreeMap<_, _> = zeros.collect();
    counts.extend(counted.into_iter().map(|(name, ended, count)| ((name, ended), count)));
    counts
}

fn owed(text: &mut Text, api: &Api, report: &Report) -> Result<(), Problem> {
    let (queues, oldest) = api.read(|reader| Ok((reader.queue_depths()?, reader.oldest_undelivered(api.now())?)))?;
    let name = "hookbell_queue_depth";
    text.begin(name, "gauge", "Dispatches of each sink that are not delivered.");
    for sink in api.parts.settings.sinks.keys() {
        for state in ["due", "leased", "dead"] {
            let depth = queues.get(&(sink.clone(), state.to_owned())).copied().unwrap_or(0);
            text.sample(name, &[("sink", sink), ("state", state)], depth as f64);
        }
    }
    let age = oldest.map_or(0.0, |oldest| api.now().since(oldest).as_secs_f64());
    text.one(
        "hookbell_oldest_undelivered_age_seconds",
        "gauge",
        "How long the oldest delivery has waited that is not done with; 0 when there is none.",
        age,
    );
    let name = "hookbell_breaker_state";
    text.begin(name, "gauge", "1 while a sink is left alone because it keeps failing.");
    for sink in &report.sinks {
        text.sample(name, &[("sink", &sink.sink)], f64::from(u8::from(sink.outage.is_some())));
    }
    Ok(())
}

fn storage(text: &mut Text, api: &Api) -> Result<(), Problem> {
    let store = &api.parts.store;
    let size = api.read(|reader| reader.size())?;
    let bytes = (size.file_bytes + size.log_bytes) as f64;
    text.one("hookbell_store_bytes", "gauge", "The database on the disk, its log included.", bytes);
    if let Ok(free) = crate::store::free_bytes(store.path()) {
        text.one("hookbell_store_free_bytes", "gauge", "Free on its disk.", free as f64);
    }
    if let Some(written) = crate::store::written_bytes() {
        let help = "Bytes that this process has written to the disk.";
        text.one("hookbell_store_written_bytes_total", "counter", help, written as f64);
    }
    let commits = store.commits() as f64;
    text.one("hookbell_store_commits_total", "counter", "Transactions that have changed something.", commits);
    let is_failing = api.parts.findings.latest().storage["trouble"].is_string();
    text.one("hookbell_store_failing", "gauge", "1 while storing fails.", f64::from(u8::from(is_failing)));
    Ok(())
}

/// What every process says of itself, under the names that all use.
#[cfg(target_os = "linux")]
fn process(text: &mut Text) {
    use std::fs;
    let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let stat = read("stat");
    // The second field is the program's name, which may have blanks and brackets.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    // Of proc(5), counted from its third field on. A tick is a hundredth of a second wherever Linux runs.
    const TICKS: f64 = 100.0;
    if let (Some(user), Some(system)) = (number(11), number(12)) {
        text.one("process_cpu_seconds_total", "counter", "User and system time.", (user + system) / TICKS);
    }
    if let Some(threads) = number(17) {
        text.one("process_threads", "gauge", "Threads.", threads);
    }
    if let (Some(started), Some(booted)) = (number(19), booted()) {
        text.one("process_start_time_seconds", "gauge", "When it began, since 1970.", booted + started / TICKS);
    }
    if let Some(bytes) = number(20) {
        text.one("process_virtual_memory_bytes", "gauge", "Address space.", bytes);
    }
    if let Some(pages) = number(21) {
        let page = rustix::param::page_size() as f64;
        text.one("process_resident_memory_bytes", "gauge", "Memory that is held.", pages * page);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        text.one("process_open_fds", "gauge", "Open descriptors.", open.count() as f64);
    }
    let limits = read("limits");
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    if let Some(limit) = limit.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()) {
        text.one("process_max_fds", "gauge", "Descriptors that may be open.", limit);
    }
}

#[cfg(target_os = "linux")]
fn booted() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn process(_: &mut Text) {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meters::Histogram;

    #[test]
    fn samples_and_histograms_are_text() {
        let mut text = Text::default();
        text.begin("x_total", "counter", "Some.");
        text.sample("x_total", &[("a", "q\"b\\s\nn"), ("b", "")], 1.5);
        assert_eq!(text.0, "# HELP x_total Some.\n# TYPE x_total counter\nx_total{a=\"q\\\"b\\\\s\\nn\",b=\"\"} 1.5\n");
        let histogram = Histogram::new(&[0.5, 1.0]);
        histogram.count(Duration::from_millis(600));
        let mut text = Text::default();
        text.histogram("h", &[("s", "x")], &histogram.read());
        assert_eq!(
            text.0,
            "h_bucket{s=\"x\",le=\"0.5\"} 0\nh_bucket{s=\"x\",le=\"1\"} 1\nh_bucket{s=\"x\",le=\"+Inf\"} 1\n\
             h_sum{s=\"x\"} 0.6\nh_count{s=\"x\"} 1\n"
        );
    }

    #[test]
    fn the_canary_is_there_where_it_flies() {
        let said = |value: Value| {
            let mut text = Text::default();
            canary(&mut text, &value);
            text.0
        };
        assert_eq!(said(Value::Null), "");
        let unseen = said(serde_json::json!({ "missing": 1, "round_trip_ms": null }));
        assert!(unseen.contains("\nhookbell_canary_missing 1\n") && !unseen.contains("round_trip"), "{unseen}");
        let back = said(serde_json::json!({ "missing": 0, "round_trip_ms": 84 }));
        assert!(back.contains("\nhookbell_canary_missing 0\n"), "{back}");
        assert!(back.contains("\nhookbell_canary_round_trip_seconds 0.084\n"), "{back}");
    }

    #[test]
    fn what_was_never_counted_is_zero() {
        let names = ["a".to_owned()];
        let counts = from_zero(names.iter(), &["x", "y"], vec![("a".to_owned(), "y", 3), (String::new(), "x", 1)]);
        let counts: Vec<(&str, &str, u64)> =
            counts.iter().map(|((name, ended), count)| (name.as_str(), *ended, *count)).collect();
        assert_eq!(counts, [("", "x", 1), ("a", "x", 0), ("a", "y", 3)]);
    }

    #[test]
    fn a_process_knows_itself() {
        let mut text = Text::default();
        process(&mut text);
        for name in
            ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds"]
        {
            assert!(text.0.contains(&format!("\n{name} ")), "{name} in {}", text.0);
        }
    }
}
