//! What is configured, and what tries it: sources, rules and their tester, the bell, doctor. Refuses to change the
//! configuration, which is a file.

use serde_json::Value;

use super::{
    Context, Pasted, desk,
    html::{Html, at, counted, glue, is, items, joined, size, whole, word},
    now::first_of,
};

pub(super) fn page(
    [sources, rules, desk, doctor]: [&Value; 4],
    tested: Option<&Value>,
    pasted: Option<&Pasted<'_>>,
    context: &Context<'_>,
) -> Html {
    let mut html = Html::new(context.now);
    html.raw(concat!(
        r##"<h1>Setup</h1><p class="quiet inpage"><a href="#sources">Sources</a> <a href="#rules">Rules</a> <a href="#tester">Tester</a> "##,
        r##"<a href="#bell">Bell</a> <a href="#doctor">Doctor</a></p>"##,
    ));
    self::sources(&mut html, sources);
    self::rules(&mut html, rules);
    tester(&mut html, sources, tested, pasted);
    bell(&mut html, desk);
    self::doctor(&mut html, doctor);
    html
}

/// Where the URL goes at those who send.
fn place(provider: &str) -> &'static str {
    const PLACES: &[(&str, &str)] = &[
        (
            "github",
            "In the repository or organisation: Settings → Webhooks → Add webhook. Content type application/json, the same secret as here, and the events you want.",
        ),
        ("gitlab", "In the project or group: Settings → Webhooks → Add new webhook."),
        ("gitea", "In the repository: Settings → Webhooks → Add webhook → Gitea."),
        ("forgejo", "In the repository: Settings → Webhooks → Add webhook → Forgejo."),
        ("bitbucket", "In the repository: Repository settings → Webhooks → Add webhook, with the secret."),
        ("stripe", "In the dashboard: Developers → Webhooks → Add endpoint; the signing secret is shown there."),
        (
            "slack",
            "In your Slack app: Event Subscriptions → Request URL; the signing secret is under Basic Information.",
        ),
        ("shopify", "In the admin: Settings → Notifications → Webhooks."),
        ("grafana", "Alerting → Contact points → Webhook."),
        ("alertmanager", "In alertmanager.yml: a receiver with webhook_configs."),
        ("sentry", "Settings → Integrations → Internal integration → Webhook URL."),
        ("linear", "Settings → API → Webhooks."),
        ("pagerduty", "Integrations → Generic Webhooks (v3)."),
    ];
    PLACES.iter().find(|(name, _)| *name == provider).map_or(
        "Where this sender asks for the address of a webhook; it needs the same secret as here.",
        |(_, words)| words,
    )
}

fn sources(html: &mut Html, sources: &Value) {
    html.raw(r#"<section id="sources" data-live><h2>Sources</h2>"#);
    let public = at(sources, "public_url");
    let list = items(sources, "sources");
    if list.is_empty() {
        html.raw(concat!(
            r#"<p class="empty">No source is configured: nobody may send. <code>GITHUB_WEBHOOK_SECRET</code> in the environment is enough for "#,
            r#"GitHub; <code>hookbell init</code> writes a configuration with a fresh secret.</p></section>"#,
        ));
        return;
    }
    if public.is_null() {
        html.raw(concat!(
            r#"<p class="problem warning">The public address is not known, so only the path of each source can be shown. Set <code>public_url</code> in "#,
            r#"<code>[door]</code> to the address by which the outside reaches this machine.</p>"#,
        ));
    }
    html.raw(r#"<ul class="plain cards">"#);
    for source in list {
        let name = word(source, "source");
        html.fill(r#"<li><h3><bdi>{}</bdi></h3><p class="quiet">{}, "#, &[name, word(source, "provider")]);
        html.text(&counted(whole(source, "secrets"), "secret", "secrets"));
        html.some(", only from <bdi>{}</bdi>", &joined(items(source, "allow_from"), ", "));
        let url = first_of(source, &["url", "path"]);
        html.fill(
            r#"</p><p class="copy"><code id="url-{}">{}</code><button type="button" data-copy="url-{}" aria-label="Copy the URL of {}" hidden>Copy</button></p>"#,
            &[name, url, name, name],
        );
        html.fill(r#"<p class="quiet">{}</p><p>"#, &[place(word(source, "provider"))]);
        if at(source, "last_received").is_null() {
            html.raw(r#"Nothing has come in yet."#);
        } else {
            html.of(source, "Last delivery {@last_received}.");
        }
        html.raw("</p>");
        let refusal = at(source, "last_refusal");
        if !refusal.is_null() {
            html.fill(
                r#"<div class="problem warning"><p><strong>Last refusal: {}</strong> <span class="quiet">"#,
                &[&whole(refusal, "status").to_string()],
            );
            html.when(at(refusal, "at"));
            html.fill(
                " from <bdi>{}</bdi>, <span data-volatile>{}</span></span></p>",
                &[word(refusal, "peer"), &counted(whole(refusal, "count"), "time so far", "times so far")],
            );
            html.some("<p><bdi>{}</bdi></p>", word(refusal, "why"));
            html.raw("</div>");
        }
        html.raw("</li>");
    }
    html.raw("</ul></section>");
}

fn rules(html: &mut Html, rules: &Value) {
    html.raw(r#"<section id="rules" data-live><h2>Rules</h2>"#);
    let list = items(rules, "rules");
    if list.is_empty() {
        html.raw(concat!(
            r#"<p class="empty">No rule is written, so the small set of high signal holds: what was opened, merged, released or failed goes to "#,
            r#"every sink; the rest is kept and skipped.</p></section>"#,
        ));
        return;
    }
    html.fill(
        r#"<p class="quiet">Each that matches adds its sinks, from the first to the last; one that ends the list says so. Counted over the last <span data-volatile>{}</span>.</p><ol class="rules">"#,
        &[&counted(whole(rules, "over_events"), "event", "events")],
    );
    for rule in list {
        html.fill(
            r#"<li><p><strong><bdi>{}</bdi></strong> <span class="quiet"><span data-volatile>{}</span>"#,
            &[word(rule, "name"), &counted(whole(rule, "hits"), "hit", "hits")],
        );
        if !at(rule, "last_hit").is_null() {
            html.of(rule, ", last {@last_hit}");
        }
        html.raw(r#"</span></p><p>"#);
        html.fill(
            "when <bdi>{}</bdi>",
            &[match word(rule, "when") {
                "" => "anything comes",
                when => when,
            }],
        );
        html.some(", unless <bdi>{}</bdi>", word(rule, "unless"));
        let to = joined(items(rule, "to"), ", ");
        html.fill(" → <strong><bdi>{}</bdi></strong>", &[if to.is_empty() { "nowhere" } else { &to }]);
        html.some(", cue <code>{}</code>", word(rule, "cue"));
        if is(rule, "stop") {
            html.raw(", and the list ends");
        }
        html.raw("</p></li>");
    }
    html.raw("</ol></section>");
}

/// Asks what the rules would do, and says it.
fn tester(html: &mut Html, sources: &Value, tested: Option<&Value>, pasted: Option<&Pasted<'_>>) {
    let (source, event_type, payload) =
        pasted.map_or(("", "", ""), |pasted| (pasted.source, pasted.event_type, pasted.payload));
    html.raw(concat!(
        r##"<section id="tester"><h2>Which rules would match?</h2><p class="quiet">Nothing is sent and nothing is stored.</p>"##,
        r##"<form class="stack" method="post" action="/api/rules/test"><input type="hidden" name="return" value="/setup">"##,
        r##"<div class="pair"><p><label for="t-source">Source</label><select id="t-source" name="source">"##,
    ));
    for name in items(sources, "sources").iter().map(|source| word(source, "source")) {
        html.option(name, name, source);
    }
    html.fill(
        concat!(
            r#"</select></p><p><label for="t-type">Event type</label><input id="t-type" name="event_type" value="{}" placeholder="push" "#,
            r#"autocapitalize="none" autocomplete="off" spellcheck="false"></p></div><label for="t-payload">Payload</label>"#,
            r#"<textarea id="t-payload" name="payload" rows="8" spellcheck="false" placeholder="{}">"#,
        ),
        &[event_type, "{ \"action\": \"opened\", … }"],
    );
    // A browser drops the first line break of a text area.
    html.raw("\n");
    html.text(payload);
    html.raw(r#"</textarea><p><button class="main" type="submit">Test</button></p></form><div id="tested" data-live>"#);
    if let Some(tested) = tested {
        verdicts(html, tested);
    }
    html.raw("</div></section>");
}

fn verdicts(html: &mut Html, tested: &Value) {
    html.some(r#"<p class="problem failure"><strong><bdi>{}</bdi></strong></p>"#, word(tested, "problem"));
    let events = items(tested, "events");
    if events.is_empty() && at(tested, "problem").is_null() {
        html.raw(r#"<p class="empty">This delivery means no event, so no rule is asked.</p>"#);
    }
    for event in events {
        html.fill(
            r#"<h3 class="line {}"><code>{}</code> <bdi>{}</bdi></h3><p>"#,
            &[word(event, "severity"), word(event, "kind"), first_of(event, &["title", "subject", "kind"])],
        );
        let to = joined(items(event, "to"), ", ");
        match to.is_empty() {
            true => html.raw("It would go nowhere, be kept and skipped."),
            false => html.fill("It would go to <strong><bdi>{}</bdi></strong>.", &[&to]),
        }
        html.raw(r#"</p><ol class="rules">"#);
        for rule in items(event, "rules") {
            let verdict = word(rule, "verdict");
            html.raw("<li><p>");
            html.mark(
                match verdict {
                    "matches" => "good",
                    "does not match" => "idle",
                    _ => "wait",
                },
                verdict,
            );
            html.of(rule, " <strong><bdi>{name}</bdi></strong>");
            html.some(": <bdi>{}</bdi>", word(rule, "why"));
            html.raw("</p></li>");
        }
        html.raw("</ol>");
    }
}

fn bell(html: &mut Html, desk: &Value) {
    html.raw(r#"<section id="bell"><h2>Bell</h2><div class="desk">"#);
    self::desk::lamps(html, desk);
    self::desk::plays(html, desk);
    html.raw(r#"<div class="actions">"#);
    html.post("/api/bell/test", "/setup", ("", ""), "Test every line");
    html.post("/api/bell/off", "/setup", ("", ""), "Silence");
    let cues = items(desk, "cues");
    if !cues.is_empty() {
        html.raw(concat!(
            r#"<form class="ring" method="post" action="/api/bell/ring"><input type="hidden" name="return" value="/setup">"#,
            r#"<label for="cue">Cue</label><select id="cue" name="cue">"#,
        ));
        for cue in cues.iter().filter_map(Value::as_str) {
            html.option(cue, cue, "");
        }
        html.raw(r#"</select><button type="submit">Ring</button></form>"#);
    }
    html.raw("</div></div></section>");
}

fn doctor(html: &mut Html, doctor: &Value) {
    html.raw(r#"<section id="doctor" data-live><h2>Doctor</h2><p class="quiet">"#);
    let is_running = is(doctor, "is_running");
    if is_running {
        html.raw("It looks at everything now; that takes some seconds.");
    } else if at(doctor, "ran_at").is_null() {
        html.raw("It tries the real things: disk, pins, Slack, clock, tunnel. It has not run yet.");
    } else {
        html.of(doctor, "It tried the real things {@ran_at}.");
    }
    html.raw("</p>");
    let checks = items(doctor, "checks");
    if !checks.is_empty() {
        let failed = checks.iter().filter(|check| word(check, "verdict") != "ok").count();
        html.fill(
            r#"<p><strong>{}</strong></p><ul class="plain checks">"#,
            &[&match failed {
                0 => "All of it is as it should be.".to_owned(),
                _ => glue(&[&size(failed), " of ", &size(checks.len()), " need a look."]),
            }],
        );
        for check in checks {
            let verdict = word(check, "verdict");
            let tone = match verdict {
                "ok" => "good",
                "warn" => "warn",
                _ => "bad",
            };
            html.raw("<li><p>");
            html.mark(tone, verdict);
            html.of(check, " <strong><bdi>{name}</bdi></strong> <bdi>{said}</bdi></p>");
            html.remedy(word(check, "remedy"));
            html.raw("</li>");
        }
        html.raw("</ul>");
    }
    if !is_running {
        html.raw(r#"<div class="actions">"#);
        html.post("/api/doctor", "/setup", ("", ""), "Run doctor");
        html.raw("</div>");
    }
    html.raw("</section>");
}
