//! One delivery's whole story: the ledger as a timeline, why it stands as it does, the message, and the request. Owns the
//! order and the words; the facts are the store's.

use serde_json::Value;

use super::{
    Context, body,
    deliveries::told,
    html::{Html, at, duration, glue, is, items, joined, number, plain, size, word},
    now::first_of,
    slack,
};
use crate::time::Timestamp;

pub(super) fn page(story: &Value, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    let id = plain(at(story, "id"));
    let events = items(story, "events");
    let title = events.first().map_or("", |event| word(event, "title"));
    let title = if title.is_empty() { first_of(story, &["title", "event_type"]) } else { title };
    let (tone, words) = told(word(story, "status"));
    html.fill(
        r#"<p class="over"><a href="/deliveries">Deliveries</a> / <span data-volatile>#{}</span></p><div id="headline" data-live><h1><bdi>{}</bdi></h1><p class="stands">"#,
        &[&id, title],
    );
    html.mark(tone, words);
    html.of(story, " <bdi>{source}</bdi> <code>{event_type}</code> {@received_at}</p>");
    why(&mut html, story);
    html.raw("</div>");
    actions(&mut html, story, &id);
    html.raw(r#"<div class="columns even"><section id="ledger" data-live><h2>What happened</h2>"#);
    ledger(&mut html, story);
    html.raw(r#"</section><div>"#);
    for event in events {
        meaning(&mut html, event);
    }
    let messages = items(story, "messages");
    if !messages.is_empty() {
        html.raw(r#"<section id="messages"><h2>The message</h2>"#);
        for message in messages {
            slack::message(&mut html, message);
        }
        html.raw("</section>");
    }
    html.raw("</div></div>");
    request(&mut html, story, &id);
    html
}

/// Reasons, where it is not simply done.
fn why(html: &mut Html, story: &Value) {
    const NOTES: &[(&str, &str)] = &[
        (
            "possible_replay",
            "The same body came before under another id. That is what a repeated event looks like, and also what a replay with a forged id looks like.",
        ),
        ("same_id_other_body", "This id came before with another body. Both are kept and handled."),
        (
            "repeats too often: not handled",
            "The same body came more than three times within an hour, so it is kept and not handled. If the sender means it, set `repeats = \"process\"` for this source.",
        ),
    ];
    html.raw(r#"<ul class="plain problems">"#);
    for note in items(story, "notes").iter().filter_map(Value::as_str) {
        let words = NOTES.iter().find(|(name, _)| *name == note).map_or(note, |(_, words)| words);
        html.fill(r#"<li class="problem warning"><p><bdi>{}</bdi></p></li>"#, &[words]);
    }
    let dispatches = items(story, "dispatches");
    if word(story, "status") == "skipped" && dispatches.is_empty() {
        html.raw(concat!(
            r#"<li class="problem idle"><p>No rule sends this anywhere, so it is kept and skipped.</p>"#,
            r#"<p class="remedy">If it should be sent, add a rule, then replay it. <a href="/setup#tester">The tester</a> says which rules match.</p></li>"#,
        ));
    }
    for dispatch in dispatches {
        let severity = match word(dispatch, "status") {
            "dead" => "failure",
            "due" | "leased" if !at(dispatch, "last_error").is_null() => "warning",
            _ => continue,
        };
        // Our errors end in their remedy.
        let error = word(dispatch, "last_error");
        let (what, remedy) = error.rsplit_once("; ").unwrap_or((error, ""));
        let what = if what.is_empty() { "no reason is known" } else { what };
        html.fill(
            r#"<li class="problem {}"><p><strong><bdi>{}</bdi>{}</strong> <bdi>{}</bdi></p>"#,
            &[
                severity,
                word(dispatch, "sink"),
                if severity == "failure" { " gave up:" } else { " is tried again:" },
                what,
            ],
        );
        html.remedy(remedy);
        if severity == "failure" && remedy.is_empty() {
            html.raw(r#"<p class="remedy">When the cause is gone, requeue it: what was given up is tried again from the start.</p>"#);
        }
        html.raw("</li>");
    }
    html.raw("</ul>");
}

/// Replay makes it happen again; requeue tries again what was given up.
fn actions(html: &mut Html, story: &Value, id: &str) {
    let path = glue(&["/deliveries/", id]);
    let (replay, requeue) = (glue(&["/api", &path, "/replay"]), glue(&["/api", &path, "/requeue"]));
    html.raw(r#"<div class="actions" id="again" data-live>"#);
    html.post(&replay, &path, ("", ""), "Replay");
    let dispatches = items(story, "dispatches");
    let is_dead = |dispatch: &&Value| word(dispatch, "status") == "dead";
    if dispatches.iter().any(|dispatch| is_dead(&dispatch)) {
        html.post(&requeue, &path, ("", ""), "Requeue what was given up");
    }
    html.raw("</div>");
}

/// One entry of the ledger.
struct Step {
    at: Timestamp,
    tone: &'static str,
    what: String,
    detail: String,
}

/// All of them in the order in which they happened; those of one moment in the order of the way through.
struct Ledger(Vec<Step>);

impl Ledger {
    #[inline(never)]
    fn add(&mut self, at: Timestamp, tone: &'static str, what: &[&str], detail: &[&str]) {
        let place = self.0.partition_point(|step| step.at <= at);
        self.0.insert(place, Step { at, tone, what: glue(what), detail: glue(detail) });
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}

fn steps(story: &Value) -> Vec<Step> {
    let received = moment(at(story, "received_at")).unwrap_or(Timestamp::from_ms(0));
    let mut ledger = Ledger(Vec::new());
    let peer = word(story, "peer");
    let (provider, secret) = (word(story, "provider"), plain(at(story, "verified_by")));
    let proof = match secret.as_str() {
        "0" => ["vouched for by ", provider, "'s own interface", ""],
        secret => ["verified by ", provider, ", secret ", secret],
    };
    if let Some(sent) = moment(at(story, "sent_at")) {
        ledger.add(sent, "idle", &["Sent by ", provider], &["by its own clock"]);
    }
    let how = match word(story, "origin") {
        "recovered" => "Missed, and pulled in",
        "polled" => "Found",
        _ => "Received",
    };
    ledger.add(received, "done", &[how, if peer.is_empty() { "" } else { " from " }, peer], &proof);
    let durable_ms = number(story, "durable_ms");
    let durable = Timestamp::from_ms(received.ms() + durable_ms.map_or(0, |ms| ms as i64));
    let took = durable_ms.map(duration).unwrap_or_default();
    let after = if took.is_empty() { "" } else { "after " };
    ledger.add(durable, "done", &["On the disk, and answered"], &[after, &took]);
    for event in items(story, "events") {
        let rules = joined(items(event, "rules"), ", ");
        let by = if rules.is_empty() { "no rule wants it" } else { "by " };
        ledger.add(durable, "done", &["Routed as ", word(event, "kind")], &[by, &rules]);
    }
    for dispatch in items(story, "dispatches") {
        let (channel, status) = (word(dispatch, "channel"), word(dispatch, "status"));
        let name = glue(&[word(dispatch, "sink"), if channel.is_empty() { "" } else { " " }, channel]);
        let tries = items(dispatch, "tries");
        for attempt in tries {
            let (tone, said) = match word(attempt, "outcome") {
                "done" => ("done", ": done"),
                "skipped" => ("idle", ": skipped"),
                "dead" => ("bad", ": gave up"),
                _ => ("warn", ": failed"),
            };
            let (number, took) =
                (plain(at(attempt, "number")), duration(number(attempt, "took_ms").unwrap_or_default()));
            let answer = word(attempt, "answer");
            let colon = if answer.is_empty() { "" } else { ": " };
            let begun = moment(at(attempt, "began_at")).unwrap_or(received);
            ledger.add(begun, tone, &[&name, said], &["attempt ", &number, ", ", &took, colon, answer]);
        }
        if let Some(shown) = moment(at(dispatch, "shown_at")) {
            ledger.add(shown, "shown", &[&name, ": the desk shows it"], &[]);
        }
        if let (Some(next), "due" | "leased") = (moment(at(dispatch, "next_at")), status) {
            ledger.add(next, "wait", &[&name, ": next attempt"], &[]);
        }
        if status == "skipped" && tries.is_empty() {
            let settled = moment(at(dispatch, "settled_at")).unwrap_or(durable);
            ledger.add(settled, "idle", &[&name, ": skipped"], &[word(dispatch, "last_error")]);
        }
        if let Some(digest) = at(dispatch, "digest").as_str() {
            ledger.add(durable, "wait", &[&name, ": in the digest of ", digest], &[]);
        }
    }
    if let Some(processed) = moment(at(story, "processed_at")) {
        ledger.add(processed, "end", &["Nothing is owed any more"], &[]);
    }
    ledger.0
}

fn ledger(html: &mut Html, story: &Value) {
    let steps = steps(story);
    let begun = steps.first().map_or(Timestamp::from_ms(0), |step| step.at);
    html.raw(r#"<ol class="plain ledger">"#);
    for Step { at, tone, what, detail } in &steps {
        let moment = at.to_string();
        let apart = at.since(begun).as_millis() as f64;
        let offset = if apart == 0.0 {
            moment.get(11..19).unwrap_or_default().to_owned()
        } else {
            glue(&["+", &duration(apart)])
        };
        html.fill(
            r#"<li class="{}"><time datetime="{}" title="{}">{}</time><p><strong><bdi>{}</bdi></strong>"#,
            &[tone, &moment, &moment, &offset, what],
        );
        html.some(r#" <span class="quiet"><bdi>{}</bdi></span>"#, detail);
        html.raw("</p></li>");
    }
    html.raw("</ol>");
    let receipts: Vec<&Value> =
        items(story, "dispatches").iter().filter(|dispatch| !at(dispatch, "receipt").is_null()).collect();
    if !receipts.is_empty() {
        html.raw(r#"<details><summary>Receipts</summary><dl class="pairs">"#);
        for dispatch in receipts {
            html.of(dispatch, "<div><dt><bdi>{sink}</bdi></dt><dd><bdi>{receipt}</bdi></dd></div>");
        }
        html.raw("</dl></details>");
    }
}

/// What one event of it means.
fn meaning(html: &mut Html, event: &Value) {
    html.of(event, r#"<section class="meaning"><h2>What it means</h2><p class="line {severity}"><code>{kind}</code> "#);
    html.link(word(event, "url"), first_of(event, &["title", "subject", "kind"]));
    html.raw(r#"</p><dl class="pairs">"#);
    for (key, label) in [("repository", "about"), ("actor", "by"), ("subject", "subject"), ("severity", "severity")] {
        let text = word(event, key);
        if !text.is_empty() {
            html.fill("<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>", &[label, text]);
        }
    }
    if let Some(extra) = at(event, "extra").as_object() {
        for (key, value) in extra.iter().take(40) {
            html.fill("<div><dt><bdi>{}</bdi></dt><dd><bdi>{}</bdi></dd></div>", &[key, &plain(value)]);
        }
    }
    html.raw("</dl></section>");
}

/// The request as it came.
fn request(html: &mut Html, story: &Value, id: &str) {
    html.raw(r#"<section id="request"><h2>The request</h2>"#);
    if let Some(headers) = at(story, "headers").as_object() {
        html.fill(r#"<details><summary>Headers ({})</summary><dl class="pairs mono">"#, &[&size(headers.len())]);
        for (name, value) in headers {
            html.fill("<div><dt><bdi>{}</bdi></dt><dd><bdi>{}</bdi></dd></div>", &[name, &plain(value)]);
        }
        html.raw("</dl></details>");
    }
    html.raw(r#"<details><summary>Identity</summary><dl class="pairs mono">"#);
    for (key, label) in [
        ("delivery_id", "id of the sender"),
        ("sha256", "SHA-256 of the body"),
        ("peer", "peer"),
        ("handled_by", "handled by hookbell"),
    ] {
        let text = word(story, key);
        if !text.is_empty() {
            html.fill("<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>", &[label, text]);
        }
    }
    html.raw("</dl></details><h3>Body</h3>");
    if is(story, "payload_is_cut") {
        html.raw(r#"<p class="quiet">It is too large to be shown whole; this is its beginning.</p>"#);
    }
    body::show(html, at(story, "payload"));
    html.fill(
        r#"<p><a href="/api/deliveries/{}">All of this as JSON</a> · <a href="/api/deliveries/{}/body">The body as it came</a></p></section>"#,
        &[id, id],
    );
}
