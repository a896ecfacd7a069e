//! The panel's pages: what the API answers, as HTML. Owns the words and the markup; pure: refuses I/O, and any clock but
//! the one that it is given.
//!
//! Every page is complete without JavaScript. What `panel.js` may replace while the page stands has `data-live` and an
//! id; what people type stands outside of that.

mod body;
mod chart;
mod deliveries;
mod delivery;
mod desk;
mod flow;
mod html;
mod login;
mod now;
mod setup;
mod slack;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::html::Html;
use crate::time::Timestamp;

/// What every page knows besides its subject.
pub(super) struct Context<'a> {
    /// As of when it is told.
    pub now: Timestamp,
    /// Of this program.
    pub version: &'a str,
    /// The machine's name.
    pub host: &'a str,
    /// Whether one can log out.
    pub needs_login: bool,
    /// Said once, about what was just done.
    pub notice: Option<&'a str>,
    /// Behind the addresses of style and script, so that a new version is never drawn in an old one's style.
    pub asset_tag: &'a str,
}

/// What was tried in the tester, to show it again.
pub(super) struct Pasted<'a> {
    /// The source's name.
    pub source: &'a str,
    /// What the provider calls it.
    pub event_type: &'a str,
    /// As it was pasted.
    pub payload: &'a str,
}

/// Whether all is well, the desk, and the last events.
pub(super) fn now(health: &Value, desk: &Value, events: &Value, context: &Context<'_>) -> String {
    framed("now", "Now", context, now::page(health, desk, events, context))
}

/// The list, as it was asked for.
pub(super) fn deliveries(query: &[(String, String)], list: &Value, known: &Value, context: &Context<'_>) -> String {
    framed("deliveries", "Deliveries", context, deliveries::page(query, list, known, context))
}

/// One delivery's whole story.
pub(super) fn delivery(story: &Value, context: &Context<'_>) -> String {
    let mut title = String::from("Delivery ");
    title.push_str(&html::whole(story, "id").to_string());
    framed("delivery", &title, context, delivery::page(story, context))
}

/// How much comes through, and how fast.
pub(super) fn flow(stats: &Value, health: &Value, context: &Context<'_>) -> String {
    framed("flow", "Flow", context, flow::page(stats, health, context))
}

/// What is configured, and what tries it.
pub(super) fn setup(
    sources: &Value,
    rules: &Value,
    desk: &Value,
    doctor: &Value,
    tested: Option<&Value>,
    pasted: Option<&Pasted<'_>>,
    context: &Context<'_>,
) -> String {
    framed("setup", "Setup", context, setup::page([sources, rules, desk, doctor], tested, pasted, context))
}

/// Asks for the token.
pub(super) fn login(message: Option<&str>, next: &str, context: &Context<'_>) -> String {
    framed("login", "Log in", context, login::page(message, next, context))
}

/// What did not work, and what to do.
pub(super) fn failed(status: u16, error: &str, hint: &str, context: &Context<'_>) -> String {
    framed("failed", login::meaning(status), context, login::failed(status, error, hint, context))
}

/// The views that the navigation names, and the addresses of them.
const VIEWS: &[(&str, &str, &str)] = &[
    ("now", "/", "Now"),
    ("deliveries", "/deliveries", "Deliveries"),
    ("flow", "/flow", "Flow"),
    ("setup", "/setup", "Setup"),
];

/// Around every page.
fn framed(view: &str, title: &str, context: &Context<'_>, body: Html) -> String {
    let Context { now, version, host, needs_login, notice, asset_tag } = context;
    let mut html = Html::new(*now);
    // The script stands in the head and blocks: it sets the theme that was chosen before anything is painted.
    html.fill(
        concat!(
            r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{} · hookbell on {}</title>"#,
            r#"<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">"#,
            r#"<link rel="icon" href="/assets/icon.svg?v={}" type="image/svg+xml"><link rel="stylesheet" href="/assets/panel.css?v={}">"#,
            r#"<script src="/assets/panel.js?v={}"></script></head><body data-view="{}">"#,
            r##"<a class="skip" href="#main">Skip to the content</a><header class="top">"##,
            r#"<a class="brand" href="/"><img src="/assets/icon.svg?v={}" alt="" width="28" height="28">hookbell</a>"#,
            r#"<nav aria-label="Views"><ul>"#,
        ),
        &[title, host, asset_tag, asset_tag, asset_tag, view, asset_tag],
    );
    // A list of deliveries is open above one of them.
    let present = if view == "delivery" { "" } else { view };
    for (name, path, label) in VIEWS {
        html.fill(r#"<li><a href="{}""#, &[path]);
        if *name == present {
            html.raw(r#" aria-current="page""#);
        } else if view == "delivery" && *name == "deliveries" {
            html.raw(r#" aria-current="true""#);
        }
        html.fill(">{}</a></li>", &[label]);
    }
    html.fill(
        concat!(
            r#"</ul></nav></header><p id="lost" hidden>Not connected: what you see may be old. Trying again…</p>"#,
            r#"<p id="notice" role="status">{}</p><main id="main" tabindex="-1">"#,
        ),
        &[notice.unwrap_or_default()],
    );
    html.append(body);
    html.fill(
        concat!(
            r#"</main><footer><p>hookbell <span data-volatile>{}</span> on <bdi>{}</bdi></p>"#,
            r#"<p><a href="/api/health">API</a> · <a href="/api/openapi.json">OpenAPI</a> · <a href="/metrics">Metrics</a></p>"#,
            r#"<div class="tools"><button type="button" id="theme" hidden>Theme: system</button>"#,
        ),
        &[version, host],
    );
    if *needs_login && view != "login" {
        html.raw(r#"<form method="post" action="/logout" data-plain><button type="submit">Log out</button></form>"#);
    }
    html.raw("</div></footer></body></html>");
    html.finish()
}
