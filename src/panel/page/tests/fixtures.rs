//! What the API answers on a desk that is in use, on a fresh one, and to somebody hostile.

use serde_json::{Value, json};

use crate::time::Timestamp;

pub(super) const HOSTILE: &str = "<script>alert(1)</script>\" onload='x' \u{202e}evil\u{1b}[2J </textarea></title>";

pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-11-27T10:20:00Z").expect("a moment")
}

/// So many seconds before that.
fn ago(seconds: i64) -> String {
    Timestamp::from_ms(now().ms() - seconds * 1000 + 42).to_string()
}

pub(super) fn health(is_well: bool) -> Value {
    let problems = json!([
        { "kind": "hookbell_sink_failing", "about": "slack", "severity": "failure",
          "what": "slack is left alone because it keeps failing: 404 no_service",
          "remedy": "make a new incoming webhook in Slack and set SLACK_WEBHOOK_URL to it", "since": ago(1900) },
        { "kind": "hookbell_source_silent", "about": "stripe", "severity": "warning",
          "what": "stripe has sent nothing for 3 days, which it never did before",
          "remedy": "look at the deliveries in Stripe's dashboard", "since": ago(90_000) },
    ]);
    json!({
        "status": if is_well { "ok" } else { "failing" },
        "sentence": if is_well { "All is well." } else { "Slack gets nothing since half an hour." },
        "since": null, "problems": if is_well { json!([]) } else { problems },
        "sources": [
            { "source": "github", "provider": "github", "received": 1204, "processed": 1201, "failed": 3, "failure_ratio": 0.002,
              "last_received": ago(12), "last_error": null, "is_healthy": true },
            { "source": "stripe", "provider": "stripe", "received": 88, "processed": 88, "failed": 0, "failure_ratio": 0.0,
              "last_received": ago(260_000), "last_error": null, "is_healthy": is_well },
        ],
        "sinks": [
            { "sink": "bell", "delivered": 310, "failed": 0, "waiting": 0, "retrying": 0, "dead": 0, "last_error": null, "outage": null, "is_healthy": true },
            { "sink": "slack", "delivered": 288, "failed": 4, "waiting": 2, "retrying": if is_well { 0 } else { 7 }, "dead": if is_well { 0 } else { 1 },
              "last_error": if is_well { Value::Null } else { json!("404 no_service; make a new incoming webhook") },
              "outage": if is_well { Value::Null } else { json!({ "since": ago(1900), "until": ago(-240), "reason": "404 no_service" }) },
              "is_healthy": is_well },
        ],
        "queue_size": if is_well { 2 } else { 9 }, "oldest_undelivered": if is_well { Value::Null } else { json!(ago(1900)) },
        "window": { "since": ago(86_400), "deliveries": 132 }, "storage": { "trouble": null, "free_bytes": 21_474_836_480_u64 },
        "clock": { "is_plainly_wrong": false }, "tunnel": { "state": "connected", "since": ago(90_000) }, "version": "0.1.0", "uptime_s": 268_000,
    })
}

pub(super) fn desk() -> Value {
    json!({
        "board": "simulated", "error": null, "playing": "ci_failed", "rings": 2, "queued": 1,
        "lines": [
            { "name": "red", "kind": "led", "colour": "#ff3b30", "pin": 17, "lit": true, "percent": null, "hz": null, "error": null },
            { "name": "green", "kind": "led", "colour": "#30d158", "pin": 27, "lit": false, "percent": null, "hz": null, "error": null },
            { "name": "blue", "kind": "led", "colour": "#3a86ff", "pin": 22, "lit": true, "percent": 40, "hz": null, "error": null },
            { "name": "mood.red", "kind": "rgb", "colour": "#ff0000", "pin": 5, "lit": true, "percent": 100, "hz": null, "error": null },
            { "name": "mood.green", "kind": "rgb", "colour": "#00ff00", "pin": 6, "lit": true, "percent": 50, "hz": null, "error": null },
            { "name": "mood.blue", "kind": "rgb", "colour": "#0000ff", "pin": 13, "lit": false, "percent": 0, "hz": null, "error": null },
            { "name": "buzzer", "kind": "buzzer", "colour": "#ffffff", "pin": 18, "lit": true, "percent": null, "hz": 880, "error": null },
        ],
        "latched": [
            { "id": 3, "cue": "ci_failed", "source": "github", "subject": "acme/desk-lamp@main ci", "what": "CI failed on main", "since": ago(1260) },
            { "id": 2, "cue": "alert_firing", "source": "grafana", "subject": "disk of build-1", "what": "Disk is 91 % full", "since": ago(9000) },
        ],
        "muted_until": null, "is_quiet": true, "vitals": {}, "button": { "presses": 3, "error": null },
        "cues": ["alert_firing", "ci_failed", "issue_opened", "payment_received", "pr_merged", "pr_opened", "release_published", "repo_starred", "security_alert"],
    })
}

pub(super) fn events() -> Value {
    let rows = [
        (
            "ci_failed",
            "failure",
            "CI #4211 (failure) on main",
            "acme/desk-lamp",
            "renovating-robot[bot]",
            12,
            "processed",
        ),
        ("repo_starred", "success", "", "acme/desk-lamp", "octocat", 95, "processed"),
        (
            "pr_merged",
            "success",
            "Say which pin is meant when two LEDs share one (#42)",
            "acme/api",
            "maria-müller",
            240,
            "retrying",
        ),
        (
            "pr_review_requested",
            "info",
            "Retry on 5xx, and on nothing else (#43)",
            "acme/api",
            "sven",
            1500,
            "processed",
        ),
        ("issue_opened", "info", "The bell is too quiet", "acme/desk-lamp", "octocat", 5600, "processed"),
        (
            "security_alert",
            "failure",
            "GHSA-xxxx: a very long title that goes on and on, because advisories do, and would not fit on one line of a telephone",
            "acme/api",
            "someone",
            7200,
            "dead_letter",
        ),
        ("payment_received", "success", "49.00 EUR from ada@example.com", "acct_1F2", "stripe", 18_000, "processed"),
        ("release_published", "success", "v2.1.0 — brighter", "acme/desk-lamp", "maria-müller", 86_000, "processed"),
    ];
    let events: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(index, (kind, severity, title, repository, actor, seconds, status))| {
            json!({ "id": 90 - index, "delivery": 70 - index, "received_at": ago(*seconds), "status": status, "kind": kind, "source": "github",
                "provider": "github", "actor": actor, "repository": repository, "title": title, "url": "https://github.com/acme/api/pull/42",
                "severity": severity, "subject": "acme/api#42", "extra": {}, "rules": ["high signal"] })
        })
        .collect();
    json!({ "events": events, "next": null })
}

pub(super) fn list() -> Value {
    let statuses = ["processed", "processed", "skipped", "retrying", "dead_letter", "unprocessed"];
    let events = events();
    let rows: Vec<Value> = (0..24)
        .map(|index| {
            let event = &events["events"][index % 8];
            json!({ "id": 240 - index, "source": if index % 8 == 6 { "stripe" } else { "github" }, "event_type": if index % 6 == 2 { "push" } else { "pull_request" },
                "delivery_id": format!("72d3162e-cc78-11e3-81ab-4c936{index}"), "received_at": ago(12 + 700 * i64::try_from(index).unwrap_or(0)), "processed_at": ago(11),
                "status": statuses[index % 6], "notes": if index == 3 { json!(["possible_replay"]) } else { json!([]) },
                "kinds": if index % 6 == 2 { json!([]) } else { json!([event["kind"]]) }, "title": event["title"], "handled_by": "0.1.0" })
        })
        .collect();
    json!({ "deliveries": rows, "next": 216, "looked_back_to": ago(17_000) })
}

pub(super) fn known() -> Value {
    json!({ "sources": ["github", "stripe"], "kinds": ["ci_failed", "pr_merged", "pr_opened", "push"],
        "statuses": ["processed", "skipped", "unprocessed", "retrying", "dead_letter", "error", "pending"] })
}

pub(super) fn story() -> Value {
    let at = |ms: i64| Timestamp::from_ms(now().ms() - 300_000 + ms).to_string();
    let events = json!([{ "kind": "pr_merged", "source": "github", "provider": "github", "actor": "maria-müller", "repository": "acme/api",
            "title": "Say which pin is meant when two LEDs share one (#42)", "url": "https://github.com/acme/api/pull/42", "severity": "success", "subject": "acme/api#42",
            "extra": { "number": 42, "branch": "main", "labels": "bug", "draft": false }, "rules": ["high signal", "the api team"] }]);
    let dispatches = json!([
        { "event": 0, "sink": "bell", "channel": null, "subject": "acme/api#42", "digest": null, "status": "done", "attempts": 1, "next_at": null, "last_error": null,
          "receipt": "green, 3 blinks", "settled_at": at(9), "shown_at": at(12), "tries": [{ "number": 1, "began_at": at(6), "took_ms": 2, "outcome": "done", "answer": null }] },
        { "event": 0, "sink": "slack", "channel": "#dev", "subject": "acme/api#42", "digest": null, "status": "due", "attempts": 2, "next_at": at(540_000),
          "last_error": "slack answered 404 no_service; make a new incoming webhook", "receipt": null, "settled_at": null, "shown_at": null,
          "tries": [{ "number": 1, "began_at": at(7), "took_ms": 412, "outcome": "retry", "answer": "404 no_service" },
                    { "number": 2, "began_at": at(15_400), "took_ms": 380, "outcome": "retry", "answer": "404 no_service" }] },
        { "event": 0, "sink": "archive", "channel": null, "subject": "acme/api#42", "digest": null, "status": "dead", "attempts": 1, "next_at": null,
          "last_error": "certificate has expired", "receipt": null, "settled_at": at(900), "shown_at": null,
          "tries": [{ "number": 1, "began_at": at(8), "took_ms": 89, "outcome": "dead", "answer": "certificate has expired" }] },
    ]);
    let messages = json!([{ "sink": "slack", "text": "✅ Pull request merged", "color": "#2eb886", "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": "acme/api" } },
            { "type": "section", "text": { "type": "mrkdwn", "text": "✅ Pull request merged in *acme/api*: #42 *Say which pin is meant* merged by @maria-müller\n<https://github.com/acme/api/pull/42>" },
              "fields": [{ "type": "mrkdwn", "text": "*Branch*\n`main`" }, { "type": "mrkdwn", "text": "*Changes*\n+41 −3" }] },
            { "type": "divider" },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": "<!date^1763805600^{date_short_pretty} {time}|2026-11-27T10:15:00.000Z> · github · 3f9c1a-17-0-0" }] },
        ] }]);
    json!({
        "id": 17, "source": "github", "event_type": "pull_request", "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "received_at": at(0),
        "processed_at": null, "status": "retrying", "notes": ["possible_replay"], "kinds": ["pr_merged"], "title": "Say which pin is meant (#42)",
        "handled_by": "0.1.0", "provider": "github", "peer": "140.82.115.1", "verified_by": 1, "durable_ms": 3.1,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "headers": { "content-type": "application/json", "user-agent": "GitHub-Hookshot/044aadd", "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "x-github-event": "pull_request", "x-hub-signature-256": "sha256=7d38cdd689735b008b3c702edd92eea23791c5f6" },
        "payload": { "action": "closed", "number": 42, "pull_request": { "title": "Say which pin is meant when two LEDs share one", "merged": true, "draft": false,
            "labels": [{ "name": "bug", "color": "d73a4a" }], "user": { "login": "maria-müller", "id": 583_231 }, "merged_by": null,
            "body": "Two LEDs on one pin made one of them dark.\n\nNow `check` says which.", "additions": 41, "deletions": 3 },
            "repository": { "full_name": "acme/api", "private": false, "topics": [] }, "sender": { "login": "maria-müller" } },
        "events": events,
        "dispatches": dispatches,
        "messages": messages,
        "payload_is_cut": false,
    })
}

pub(super) fn stats() -> Value {
    let hours: Vec<Value> = (0..24_i64)
        .map(|hour| {
            let busy = [0, 0, 1, 0, 0, 2, 5, 9, 14, 18, 12, 7, 11, 17, 15, 9, 6, 3, 1, 0, 2, 1, 0, 4][usize::try_from(hour).unwrap_or(0)];
            let led = if busy == 0 { Value::Null } else { json!(4.0 + (hour % 5) as f64) };
            let sinks = if busy == 0 { json!({}) } else { json!({ "slack": 300.0 + 40.0 * (hour % 7) as f64, "archive": 120.0 + 9.0 * (hour % 4) as f64 }) };
            json!({ "at": ago((24 - hour) * 3600), "received": busy, "failed": if hour == 14 { 4 } else { 0 },
                "durable_p99_ms": if busy == 0 { Value::Null } else { json!(3.2 + (hour % 3) as f64) }, "sinks_p99_ms": sinks, "led_p99_ms": led })
        })
        .collect();
    let figures = |p50: f64| json!({ "count": 1000, "p50_ms": p50, "p90_ms": p50 * 1.4, "p99_ms": p50 * 2.1, "max_ms": p50 * 9.0 });
    json!({
        "window": { "since": ago(86_400), "until": ago(0) }, "deliveries": { "processed": 121, "skipped": 9, "retrying": 1, "dead_letter": 1, "unprocessed": 0 }, "total": 132,
        "hours": hours, "latency": { "sampled": 1000, "durable": figures(3.1), "sinks": { "slack": figures(312.0), "archive": figures(140.0) }, "led": figures(5.2) },
        "queues": [ { "sink": "bell", "waiting": 0, "retrying": 0, "dead": 0, "next_at": null, "last_error": null, "outage": null },
            { "sink": "slack", "waiting": 2, "retrying": 7, "dead": 1, "next_at": ago(-240), "last_error": "404 no_service",
              "outage": { "since": ago(1900), "until": ago(-240), "reason": "404 no_service, 12 times in a row" } } ],
        "store": { "database_bytes": 52_428_800, "size_bytes_max": 1_073_741_824_u64, "keep": "forever", "oldest": ago(8_000_000), "free_bytes": 21_474_836_480_u64 },
        "flash": { "today_bytes": 1_887_436, "per_delivery_bytes": 14_298, "per_year_bytes": 688_914_140_u64 },
        "door": { "accepted": 1292, "duplicate": 4, "refused": 31, "limited": 12, "unavailable": 0 }, "commits": 2410,
    })
}

pub(super) fn sources() -> Value {
    json!({ "public_url": "https://hooks.example.com", "sources": [
        { "source": "github", "provider": "github", "path": "/webhooks/github", "url": "https://hooks.example.com/webhooks/github", "secrets": 2, "allow_from": ["github"],
          "last_received": ago(12), "last_refusal": { "at": ago(5000), "status": 401, "peer": "203.0.113.9", "count": 12,
          "why": "the signature does not match: another secret, or the body was changed on the way" } },
        { "source": "stripe", "provider": "stripe", "path": "/webhooks/stripe", "url": "https://hooks.example.com/webhooks/stripe", "secrets": 1, "allow_from": [],
          "last_received": null, "last_refusal": null },
    ] })
}

pub(super) fn rules() -> Value {
    json!({ "over_events": 5000, "rules": [
        { "name": "quiet bots", "when": "source = github, actor = *[bot]", "unless": "kind = ci_failed", "to": [], "cue": null, "stop": true, "hits": 412, "last_hit": ago(300) },
        { "name": "the api team", "when": "kind = pr_* or review_*, repository = acme/*", "unless": "", "to": ["dev", "bell"], "cue": "pr", "stop": false, "hits": 96, "last_hit": ago(240) },
        { "name": "everything else", "when": "", "unless": "", "to": ["slack"], "cue": null, "stop": false, "hits": 0, "last_hit": null },
    ] })
}

pub(super) fn doctor() -> Value {
    json!({ "ran_at": ago(700), "is_running": false, "checks": [
        { "name": "configuration", "verdict": "ok", "said": "/etc/hookbell/hookbell.toml: sources github, stripe; sinks bell, slack", "remedy": null },
        { "name": "storage", "verdict": "ok", "said": "writable; a commit takes 3.2 ms", "remedy": null },
        { "name": "slack", "verdict": "fail", "said": "404 no_service", "remedy": "make a new incoming webhook in Slack and set SLACK_WEBHOOK_URL to it" },
        { "name": "clock", "verdict": "warn", "said": "no one sets it", "remedy": "timedatectl set-ntp true" },
    ] })
}

pub(super) fn tested() -> Value {
    json!({ "problem": null, "events": [{ "kind": "pr_merged", "title": "Say which pin is meant (#42)", "severity": "success", "to": ["dev", "bell"], "rules": [
        { "name": "quiet bots", "verdict": "does not match", "why": "actor is maria-müller" },
        { "name": "the api team", "verdict": "matches", "why": "kind is pr_merged, repository is acme/api" },
        { "name": "everything else", "verdict": "not asked", "why": "the list had ended" },
    ] }] })
}

/// The same value with every text in it hostile, names of members too where they are a sender's.
pub(super) fn hostile(value: &Value) -> Value {
    match value {
        Value::String(_) => HOSTILE.into(),
        Value::Array(list) => list.iter().map(hostile).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), hostile(value))).collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    }
}
