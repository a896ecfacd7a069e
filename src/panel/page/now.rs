//! The first page: whether all is well, the desk, and what came last. Refuses to judge: the sentence and the remedies are
//! health's.

use serde_json::Value;

use super::{
    Context,
    deliveries::told,
    desk,
    html::{Html, at, bytes, count, counted, duration, is, items, number, whole, word},
};

pub(super) fn page(health: &Value, desk: &Value, events: &Value, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    state(&mut html, health);
    let events = items(events, "events");
    let is_fresh =
        events.is_empty() && items(health, "sources").iter().all(|source| at(source, "last_received").is_null());
    if is_fresh {
        welcome(&mut html, health);
    }
    html.raw(r#"<div class="columns three"><div><section class="desk" aria-labelledby="desk-title"><h2 id="desk-title">The desk</h2>"#);
    desk::lamps(&mut html, desk);
    desk::plays(&mut html, desk);
    desk::actions(&mut html, desk, "/");
    html.raw(r#"<button type="button" id="sound" aria-pressed="false" hidden>Hear the buzzer here</button></section>"#);
    desk::latched(&mut html, desk);
    html.raw("</div>");
    self::events(&mut html, events);
    ways(&mut html, health);
    html.raw("</div>");
    html
}

/// The sentence, what is wrong, and the figures of the moment.
fn state(html: &mut Html, health: &Value) {
    let status = word(health, "status");
    let sentence = match word(health, "sentence") {
        "" => "It is not known whether all is well.",
        sentence => sentence,
    };
    html.fill(
        r#"<section id="state" data-live class="state {}"><h1><span class="sign" aria-hidden="true"></span><bdi>{}</bdi></h1>"#,
        &[status, sentence],
    );
    let problems = items(health, "problems");
    if !problems.is_empty() {
        html.raw(r#"<ul class="plain problems">"#);
        for problem in problems {
            html.of(problem, r#"<li class="problem {severity}"><p><span class="over">{severity}</span> <strong><bdi>{what}</bdi></strong> <span class="quiet">"#);
            if !at(problem, "since").is_null() {
                html.of(problem, "since {@since}");
            }
            html.raw("</span></p>");
            html.remedy(word(problem, "remedy"));
            html.raw("</li>");
        }
        html.raw("</ul>");
    }
    html.raw(r#"<ul class="facts">"#);
    let newest = items(health, "sources").iter().map(|source| at(source, "last_received")).max_by_key(|at| at.as_str());
    if let Some(newest) = newest.filter(|newest| newest.is_string()) {
        html.raw("<li>Last delivery ");
        html.when(newest);
        html.raw("</li>");
    }
    html.fill(
        r#"<li><span data-volatile>{}</span> in the last day</li><li><span data-volatile>{}</span> to be sent</li>"#,
        &[
            &counted(whole(at(health, "window"), "deliveries"), "delivery", "deliveries"),
            &count(whole(health, "queue_size")),
        ],
    );
    if !at(health, "oldest_undelivered").is_null() {
        html.of(health, "<li>the oldest of them came {@oldest_undelivered}</li>");
    }
    tunnel(html, at(health, "tunnel"));
    reconciled(html, items(health, "reconciled"));
    if let Some(free) = number(at(health, "storage"), "free_bytes") {
        html.fill(r#"<li><span data-volatile>{}</span> free</li>"#, &[&bytes(free)]);
    }
    if let Some(uptime) = number(health, "uptime_s") {
        html.fill(r#"<li>Up for <span data-volatile>{}</span></li>"#, &[&duration(uptime * 1000.0)]);
    }
    html.raw("</ul></section>");
}

/// The state of the tunnel, and how the canary fares.
fn tunnel(html: &mut Html, tunnel: &Value) {
    let state = word(tunnel, "state");
    if state.is_empty() {
        return;
    }
    html.fill("<li>Tunnel: {}", &[state]);
    let canary = at(tunnel, "canary");
    let missing = whole(canary, "missing");
    if missing > 0 {
        html.fill(", <span data-volatile>{}</span> missing", &[&counted(missing, "canary", "canaries")]);
    } else if let Some(ms) = number(canary, "round_trip_ms") {
        html.fill(r#", there and back in <span data-volatile>{}</span>"#, &[&duration(ms)]);
    }
    html.raw("</li>");
}

/// Whether something was missed, of each place that is asked.
fn reconciled(html: &mut Html, places: &[Value]) {
    for place in places {
        html.raw("<li>");
        html.text(&[word(place, "source"), " ", word(place, "place"), ": "].concat());
        let missing = whole(place, "missing");
        if at(place, "checked_at").is_null() {
            html.raw("not reconciled yet");
        } else if word(place, "origin") == "polled" {
            html.raw("watched");
        } else if missing > 0 {
            html.fill("<span data-volatile>{}</span> missing", &[&count(missing)]);
        } else {
            html.raw("nothing was missed");
        }
        if !at(place, "checked_at").is_null() {
            html.raw(", last looked ");
            html.when(at(place, "checked_at"));
        }
        let recovered = whole(place, "recovered");
        if recovered > 0 {
            html.fill("; <span data-volatile>{}</span> pulled in, the last ", &[&count(recovered)]);
            html.when(at(place, "recovered_at"));
        }
        html.raw("</li>");
    }
}

/// What to do on a fresh installation.
fn welcome(html: &mut Html, health: &Value) {
    html.raw(r#"<section class="welcome" id="welcome" data-live><h2>Nothing has come in yet</h2><ol>"#);
    if items(health, "sources").is_empty() {
        html.raw(
            "<li>Name a source in the configuration: who may send. <code>hookbell init</code> writes an example.</li>",
        );
    }
    if items(health, "sinks").is_empty() {
        html.raw("<li>Name a sink: where events go. <code>SLACK_WEBHOOK_URL</code> in the environment is enough for Slack.</li>");
    }
    html.raw(concat!(
        r#"<li>Give the sender its URL and the secret: <a href="/setup">Setup</a> has both places.</li>"#,
        r#"<li>Or try it from here: <code>hookbell send github issues</code> signs a sample and sends it.</li></ol></section>"#,
    ));
}

/// Where events come from and go to, each in a line.
fn ways(html: &mut Html, health: &Value) {
    html.raw(r#"<section id="ways" data-live><h2>In and out</h2><ul class="plain ways">"#);
    let sources = items(health, "sources");
    for source in sources {
        html.raw("<li>");
        html.mark(
            if is(source, "is_healthy") { "good" } else { "bad" },
            if is(source, "is_healthy") { "in" } else { "in, failing" },
        );
        html.of(source, r#" <strong><bdi>{source}</bdi></strong> <span class="quiet">"#);
        if at(source, "last_received").is_null() {
            html.raw("nothing yet");
        } else {
            html.of(source, "<span data-volatile>{#received}</span> received, last {@last_received}");
        }
        html.raw("</span></li>");
    }
    let sinks = items(health, "sinks");
    for sink in sinks {
        let (tone, said) = match (is(sink, "is_healthy"), at(sink, "outage").is_null()) {
            (_, false) => ("bad", "out, left alone"),
            (false, true) => ("bad", "out, failing"),
            (true, true) => ("good", "out"),
        };
        html.raw("<li>");
        html.mark(tone, said);
        html.of(
            sink,
            r#" <strong><bdi>{sink}</bdi></strong> <span class="quiet"><span data-volatile>{#delivered}</span> sent"#,
        );
        for (key, label) in [("waiting", "waiting"), ("retrying", "trying again"), ("dead", "given up")] {
            if whole(sink, key) > 0 {
                html.fill(r#", <span data-volatile>{}</span> {}"#, &[&count(whole(sink, key)), label]);
            }
        }
        if !at(sink, "outage").is_null() {
            html.of(at(sink, "outage"), ", next try {@until}");
        }
        html.raw("</span>");
        html.some(r#"<br><span class="trouble"><bdi>{}</bdi></span>"#, word(sink, "last_error"));
        html.raw("</li>");
    }
    if sources.is_empty() && sinks.is_empty() {
        html.raw(r#"<li class="quiet">No source and no sink is configured.</li>"#);
    }
    html.raw("</ul></section>");
}

/// What came last, the newest first.
fn events(html: &mut Html, events: &[Value]) {
    html.raw(r#"<section id="events" data-live><h2>Last events</h2>"#);
    if events.is_empty() {
        html.raw(r#"<p class="quiet">None yet. They appear here as they arrive.</p></section>"#);
        return;
    }
    html.raw(r#"<ol class="plain events">"#);
    for event in events {
        html.of(event, r#"<li data-event="{id}" class="{severity}"><p class="line"><code>{kind}</code> <a href="/deliveries/{delivery}"><bdi>"#);
        html.text(first_of(event, &["title", "subject", "kind"]));
        html.raw(r#"</bdi></a></p><p class="quiet">"#);
        html.some("<bdi>{}</bdi> by ", word(event, "repository"));
        html.some("<bdi>{}</bdi> · ", word(event, "actor"));
        if matches!(word(event, "status"), "dead_letter" | "retrying") {
            let (tone, words) = told(word(event, "status"));
            html.mark(tone, words);
            html.raw(" · ");
        }
        html.of(event, "{@received_at}</p></li>");
    }
    html.raw(r#"</ol><p><a href="/deliveries">All deliveries</a></p></section>"#);
}

/// The first member of these that has a text.
pub(super) fn first_of<'a>(value: &'a Value, keys: &[&str]) -> &'a str {
    keys.iter().map(|key| word(value, key)).find(|text| !text.trim().is_empty()).unwrap_or("(no title)")
}
