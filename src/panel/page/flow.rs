//! How much comes through, how fast, what waits, and what it costs the card. Refuses to measure.

use serde_json::Value;

use super::{
    Context,
    chart::{Chart, Series},
    deliveries::told,
    html::{Html, at, bytes, count, duration, items, number, whole, word},
};

pub(super) fn page(stats: &Value, health: &Value, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    html.raw("<h1>Flow</h1>");
    let hours = items(stats, "hours");
    let total = whole(stats, "total");
    html.fill(
        r#"<p class="lead" id="lead" data-live><span data-volatile>{}</span> in the last day"#,
        &[&counted_deliveries(total)],
    );
    let by_status = at(stats, "deliveries");
    let mut between = ": ";
    for status in ["processed", "skipped", "unprocessed", "retrying", "dead_letter"] {
        let number = whole(by_status, status);
        if number > 0 {
            html.fill("{}<span data-volatile>{}</span> {}", &[between, &count(number), told(status).1]);
            between = ", ";
        }
    }
    html.raw(".</p>");
    if total == 0 {
        html.raw(r#"<p class="empty" id="empty" data-live>Nothing came in this time. <a href="/setup">Setup</a> has the URLs for the senders.</p>"#);
    }
    charts(&mut html, hours);
    latency(&mut html, at(stats, "latency"));
    queues(&mut html, items(stats, "queues"));
    html.raw(r#"<div class="columns even">"#);
    card(&mut html, stats);
    door(&mut html, at(stats, "door"), health);
    html.raw("</div>");
    html
}

fn counted_deliveries(number: i64) -> String {
    super::html::counted(number, "delivery", "deliveries")
}

/// A member of each hour, or of a member of it.
#[inline(never)]
fn points(hours: &[Value], among: &str, key: &str) -> Vec<Option<f64>> {
    let figure = |hour| number(if among.is_empty() { hour } else { at(hour, among) }, key);
    hours.iter().map(figure).collect()
}

fn charts(html: &mut Html, hours: &[Value]) {
    html.raw(r#"<section aria-labelledby="day"><h2 id="day">The last day</h2><div class="charts">"#);
    let received = [
        Series { name: "received", points: points(hours, "", "received") },
        Series { name: "failed", points: points(hours, "", "failed") },
    ];
    // Half of an odd number is no number of deliveries.
    let whole = |value: f64| if value.fract() == 0.0 { count(value as i64) } else { String::new() };
    Chart { id: "c-received", title: "Deliveries an hour", unit: whole, is_bars: true, series: &received }
        .draw(html, hours);
    let near = [
        Series { name: "on the disk", points: points(hours, "", "durable_p99_ms") },
        Series { name: "LED", points: points(hours, "", "led_p99_ms") },
    ];
    Chart {
        id: "c-near",
        title: "From receipt to disk and LED, 99 of 100",
        unit: duration,
        is_bars: false,
        series: &near,
    }
    .draw(html, hours);
    let mut names: Vec<&str> = Vec::new();
    for sinks in hours.iter().filter_map(|hour| at(hour, "sinks_p99_ms").as_object()) {
        for (name, _) in sinks {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let mut sinks = Vec::new();
    for name in names {
        sinks.push(Series { name, points: points(hours, "sinks_p99_ms", name) });
    }
    Chart {
        id: "c-sinks",
        title: "From receipt to each sink, 99 of 100",
        unit: duration,
        is_bars: false,
        series: &sinks,
    }
    .draw(html, hours);
    html.raw("</div></section>");
}

/// Opens a table that scrolls in a box of its own on a narrow screen.
fn table(html: &mut Html, label: &str, columns: &[&str]) {
    html.fill(r#"<div class="scroll" tabindex="0" role="region" aria-label="{}"><table><thead><tr>"#, &[label]);
    for column in columns {
        html.fill(r#"<th scope="col">{}</th>"#, &[column]);
    }
    html.raw("</tr></thead><tbody>");
}

fn latency(html: &mut Html, latency: &Value) {
    html.raw(r#"<section id="latency" data-live><h2>From receipt to…</h2>"#);
    let mut rows = vec![("on the disk", at(latency, "durable")), ("the LED", at(latency, "led"))];
    if let Some(sinks) = at(latency, "sinks").as_object() {
        rows.extend(sinks.iter().map(|(name, figures)| (name.as_str(), figures)));
    }
    rows.retain(|(_, figures)| figures.is_object());
    if rows.is_empty() {
        html.raw(r#"<p class="quiet">Nothing was measured yet.</p></section>"#);
        return;
    }
    table(html, "From receipt to…", &["to", "half within", "90 of 100", "99 of 100", "slowest", "measured"]);
    for (name, figures) in rows {
        html.fill(r#"<tr><th scope="row"><bdi>{}</bdi></th>"#, &[name]);
        for key in ["p50_ms", "p90_ms", "p99_ms", "max_ms"] {
            html.fill("<td data-volatile>{}</td>", &[&number(figures, key).map_or("–".to_owned(), duration)]);
        }
        html.fill("<td data-volatile>{}</td></tr>", &[&count(whole(figures, "count"))]);
    }
    html.raw("</tbody></table></div></section>");
}

fn queues(html: &mut Html, queues: &[Value]) {
    html.raw(r#"<section id="queues" data-live><h2>What waits</h2>"#);
    if queues.is_empty() {
        html.raw(r#"<p class="quiet">There is no sink, so nothing can wait for one.</p></section>"#);
        return;
    }
    table(html, "What waits", &["sink", "waiting", "trying again", "given up", "next attempt", "breaker"]);
    for queue in queues {
        html.of(
            queue,
            concat!(
                r#"<tr><th scope="row"><bdi>{sink}</bdi></th><td data-volatile>{#waiting}</td>"#,
                "<td data-volatile>{#retrying}</td><td data-volatile>{#dead}</td><td>{@next_at}"
            ),
        );
        if at(queue, "next_at").is_null() {
            html.raw("–");
        }
        html.raw("</td><td>");
        let outage = at(queue, "outage");
        if outage.is_null() {
            html.mark("good", "closed");
        } else {
            html.mark("bad", "open");
            html.of(outage, " since {@since}");
            html.some(r#"<br><span class="quiet"><bdi>{}</bdi></span>"#, word(outage, "reason"));
        }
        if outage.is_null() {
            html.some(r#"<br><span class="quiet"><bdi>{}</bdi></span>"#, word(queue, "last_error"));
        }
        html.raw("</td></tr>");
    }
    html.raw("</tbody></table></div></section>");
}

/// How a figure is written.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Number,
    Words,
}

/// A label, and the member that has the figure.
type Fact = (&'static str, &'static str, Unit);

fn facts(html: &mut Html, value: &Value, facts: &[Fact]) {
    html.raw(r#"<dl class="figures">"#);
    for (label, key, unit) in facts {
        let figure = match (number(value, key), unit) {
            (_, Unit::Words) => word(value, key).to_owned(),
            (None, _) => "unknown".to_owned(),
            (Some(figure), Unit::Bytes) => bytes(figure),
            (Some(figure), Unit::Number) => count(figure as i64),
        };
        html.fill("<div><dt>{}</dt><dd data-volatile>{}</dd></div>", &[label, &figure]);
    }
    html.raw("</dl>");
}

/// What is written, and what there is room for.
fn card(html: &mut Html, stats: &Value) {
    html.raw(r#"<section id="card" data-live><h2>The card</h2><p class="quiet">Flash wears with each write; these are the bytes that reach it.</p>"#);
    const WRITTEN: &[Fact] = &[
        ("written today", "today_bytes", Unit::Bytes),
        ("for each delivery", "per_delivery_bytes", Unit::Bytes),
        ("in a year, at this rate", "per_year_bytes", Unit::Bytes),
    ];
    const KEPT: &[Fact] = &[
        ("database", "database_bytes", Unit::Bytes),
        ("at most", "size_bytes_max", Unit::Bytes),
        ("free", "free_bytes", Unit::Bytes),
        ("kept", "keep", Unit::Words),
    ];
    let store = at(stats, "store");
    facts(html, at(stats, "flash"), WRITTEN);
    if at(stats, "commits").is_i64() {
        html.of(stats, r#"<p class="quiet"><span data-volatile>{#commits}</span> commits since the start.</p>"#);
    }
    facts(html, store, KEPT);
    if !at(store, "oldest").is_null() {
        html.of(store, r#"<p class="quiet">The oldest delivery came {@oldest}.</p>"#);
    }
    html.raw("</section>");
}

/// How the door answered.
fn door(html: &mut Html, door: &Value, health: &Value) {
    const ANSWERS: &[Fact] = &[
        ("accepted", "accepted", Unit::Number),
        ("duplicate", "duplicate", Unit::Number),
        ("refused", "refused", Unit::Number),
        ("refused too often", "limited", Unit::Number),
        ("could not be stored", "unavailable", Unit::Number),
    ];
    html.raw(r#"<section id="door" data-live><h2>The door</h2>"#);
    if door.is_null() {
        html.raw(r#"<p class="quiet">It is another process and does not say.</p></section>"#);
        return;
    }
    html.raw(r#"<p class="quiet">How it answered since the start.</p>"#);
    facts(html, door, ANSWERS);
    html.some(r#"<p class="trouble"><bdi>{}</bdi></p>"#, word(at(health, "storage"), "trouble"));
    html.raw("</section>");
}
