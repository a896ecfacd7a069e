//! The list of deliveries and its filters, which live in the address. Owns how the list is asked for again; refuses to
//! filter.

use form_urlencoded::Serializer;
use serde_json::Value;

use super::{
    Context,
    html::{Html, at, glue, items, joined, plain, word},
    now::first_of,
};

/// What a status is called, and its tone.
pub(super) fn told(status: &str) -> (&'static str, &'static str) {
    const STATUSES: &[(&str, &str, &str)] = &[
        ("processed", "good", "processed"),
        ("skipped", "idle", "skipped"),
        ("unprocessed", "wait", "waiting"),
        ("retrying", "warn", "retrying"),
        ("dead_letter", "bad", "dead letter"),
        ("pending", "wait", "pending"),
        ("processing", "wait", "in work"),
        ("error", "bad", "retrying or dead"),
    ];
    STATUSES.iter().find(|(name, ..)| *name == status).map_or(("idle", "unknown"), |(_, tone, words)| (tone, words))
}

pub(super) fn page(query: &[(String, String)], list: &Value, known: &Value, context: &Context<'_>) -> Html {
    let mut html = Html::new(context.now);
    html.raw("<h1>Deliveries</h1>");
    filters(&mut html, query, known);
    let rows = items(list, "deliveries");
    let is_filtered = query.iter().any(|(key, value)| !matches!(key.as_str(), "limit" | "before") && !value.is_empty());
    let next = at(list, "next");
    html.raw(r#"<section id="list" aria-label="List">"#);
    if rows.is_empty() && next.is_null() {
        html.raw(match is_filtered {
            true => r#"<p class="empty" id="empty">Nothing like that is stored. <a href="/deliveries">Show all deliveries</a></p>"#,
            false => concat!(
                r#"<p class="empty" id="empty">Nothing has come in yet. Paste a source’s URL from <a href="/setup">Setup</a> into the sender, "#,
                r#"in GitHub under Settings → Webhooks; or try <code>hookbell send github issues</code>.</p>"#,
            ),
        });
    }
    html.raw(r#"<ol id="rows" class="plain rows" data-live="merge">"#);
    for row in rows {
        self::row(&mut html, row);
    }
    html.raw(r#"</ol><p id="older" class="older">"#);
    if !next.is_null() {
        html.fill(r#"<a rel="next" href="{}">Older deliveries</a>"#, &[&address(query, &plain(next))]);
    } else if !rows.is_empty() {
        html.raw(r#"<span class="quiet">That is all.</span>"#);
    }
    if !at(list, "looked_back_to").is_null() && (is_filtered || !next.is_null()) {
        html.of(list, r#" <span class="quiet" id="reach">Looked back to {@looked_back_to}</span>"#);
    }
    html.raw("</p></section>");
    html
}

/// The form whose answer is this page.
fn filters(html: &mut Html, query: &[(String, String)], known: &Value) {
    let asked = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    html.fill(
        concat!(
            r#"<form class="filters" role="search" method="get" action="/deliveries"><p class="wide"><label for="q">Search</label>"#,
            r#"<input id="q" name="q" type="search" value="{}" placeholder="Title, repository, id…"></p>"#,
        ),
        &[asked("q")],
    );
    for (name, list, label) in
        [("status", "statuses", "Status"), ("source", "sources", "Source"), ("kind", "kinds", "Kind")]
    {
        html.fill(r#"<p><label for="f-{}">{}</label><select id="f-{}" name="{}">"#, &[name, label, name, name]);
        let (asked, choices) = (asked(name), items(known, list));
        html.option("", "any", asked);
        if !asked.is_empty() && !choices.iter().any(|choice| choice.as_str() == Some(asked)) {
            html.option(asked, asked, asked);
        }
        for choice in choices.iter().filter_map(Value::as_str) {
            let label = match (name, told(choice).1) {
                ("status", words) if words != "unknown" => words,
                _ => choice,
            };
            html.option(choice, label, asked);
        }
        html.raw("</select></p>");
    }
    // Periods come by links and are kept.
    for name in ["since", "until", "limit"] {
        if !asked(name).is_empty() {
            html.fill(r#"<input type="hidden" name="{}" value="{}">"#, &[name, asked(name)]);
        }
    }
    html.raw(r#"<p><button class="main" type="submit">Show</button></p></form>"#);
    let period: Vec<Value> = ["since", "until"]
        .iter()
        .filter(|name| !asked(name).is_empty())
        .map(|name| Value::from(glue(&[name, " ", asked(name)])))
        .collect();
    if !period.is_empty() {
        html.fill(
            r#"<p class="quiet">Only <bdi>{}</bdi>. <a href="/deliveries">Show all</a></p>"#,
            &[&joined(&period, ", ")],
        );
    }
}

/// The same question about what is older.
fn address(query: &[(String, String)], before: &str) -> String {
    const LIST: &str = "/deliveries?";
    let mut asked = Serializer::for_suffix(String::from(LIST), LIST.len());
    for (key, value) in query.iter().filter(|(key, value)| key != "before" && !value.is_empty()) {
        asked.append_pair(key, value);
    }
    asked.append_pair("before", before);
    asked.finish()
}

/// One of them.
fn row(html: &mut Html, row: &Value) {
    let (tone, words) = told(word(row, "status"));
    html.of(row, r#"<li id="d{id}" data-delivery="{id}" data-status="{status}"><p class="line"><a href="/deliveries/{id}"><bdi>"#);
    html.text(first_of(row, &["title", "event_type"]));
    html.of(row, r#"</bdi></a></p><p class="what"><bdi>{source}</bdi>"#);
    match word(row, "origin") {
        // The usual way is no news.
        "" | "webhook" => {}
        origin => html.fill(r#" <span class="quiet">{}</span>"#, &[origin]),
    }
    let kinds = items(row, "kinds");
    if kinds.is_empty() {
        html.some(" <code>{}</code>", word(row, "event_type"));
    }
    for kind in kinds.iter().filter_map(Value::as_str).take(4) {
        html.fill(" <code>{}</code>", &[kind]);
    }
    html.some(r#" <span class="quiet"><bdi>{}</bdi></span>"#, &joined(items(row, "notes"), "; "));
    html.raw(r#"</p><p class="stand">"#);
    html.mark(tone, words);
    html.of(row, r#"</p><p class="time">{@received_at} <span class="quiet" data-volatile>#{id}</span></p></li>"#);
}
