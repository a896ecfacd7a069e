//! Every page, full, empty and of hostile texts: complete, well-formed, and with nothing in it that is not ours.

mod fixtures;

use std::time::Instant;

use serde_json::{Value, json};

use self::fixtures as full;
use super::*;

fn context<'a>() -> Context<'a> {
    Context { now: full::now(), version: "0.1.0", host: "desk-pi", needs_login: true, notice: None, asset_tag: "1" }
}

fn query(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Every page by its name: as it is in use, on a fresh installation, and of hostile texts.
fn pages() -> Vec<(&'static str, String)> {
    let context = context();
    let noticed = Context { notice: Some("delivery 17 is replayed as it came"), ..context };
    let none = json!(null);
    let filtered = query(&[("q", "pin & <b>"), ("status", "error"), ("before", "900"), ("since", "2h")]);
    let pasted = Pasted { source: "github", event_type: "pull_request", payload: "{ \"action\": \"closed\" }" };
    let fresh_health = json!({ "status": "ok", "sentence": "All is well.", "problems": [], "sources": [{ "source": "github", "last_received": null, "is_healthy": true }],
        "sinks": [], "queue_size": 0, "window": { "deliveries": 0 }, "tunnel": { "state": "not watched" } });
    let fresh_sources = json!({ "public_url": null, "sources": [{ "source": "github", "provider": "github", "path": "/webhooks/github", "url": null, "secrets": 1,
        "allow_from": [], "last_received": null, "last_refusal": null }] });
    let fresh_desk = json!({ "board": "simulated", "lines": full::desk()["lines"], "latched": [], "cues": [] });
    let evil = |value: Value| full::hostile(&value);
    let bad = Pasted { source: full::HOSTILE, event_type: full::HOSTILE, payload: full::HOSTILE };
    let bad_query = query(&[("q", full::HOSTILE), (full::HOSTILE, full::HOSTILE), ("status", full::HOSTILE)]);
    let bad_context = Context { host: full::HOSTILE, notice: Some(full::HOSTILE), ..self::context() };
    vec![
        ("now", now(&full::health(true), &full::desk(), &full::events(), &context)),
        ("now-failing", now(&full::health(false), &full::desk(), &full::events(), &noticed)),
        ("now-fresh", now(&fresh_health, &fresh_desk, &json!({ "events": [] }), &context)),
        ("now-empty", now(&none, &none, &none, &context)),
        ("now-hostile", now(&evil(full::health(false)), &evil(full::desk()), &evil(full::events()), &bad_context)),
        ("deliveries", deliveries(&[], &full::list(), &full::known(), &context)),
        (
            "deliveries-filtered",
            deliveries(
                &filtered,
                &json!({ "deliveries": [], "next": null, "looked_back_to": "2026-11-01T00:00:00Z" }),
                &full::known(),
                &context,
            ),
        ),
        ("deliveries-empty", deliveries(&[], &none, &none, &context)),
        ("deliveries-hostile", deliveries(&bad_query, &evil(full::list()), &evil(full::known()), &bad_context)),
        ("delivery", delivery(&full::story(), &noticed)),
        ("delivery-empty", delivery(&none, &context)),
        ("delivery-hostile", delivery(&evil(full::story()), &bad_context)),
        ("flow", flow(&full::stats(), &full::health(true), &context)),
        ("flow-empty", flow(&none, &none, &context)),
        ("flow-hostile", flow(&evil(full::stats()), &evil(full::health(false)), &bad_context)),
        (
            "setup",
            setup(
                &full::sources(),
                &full::rules(),
                &full::desk(),
                &full::doctor(),
                Some(&full::tested()),
                Some(&pasted),
                &context,
            ),
        ),
        (
            "setup-fresh",
            setup(
                &fresh_sources,
                &none,
                &fresh_desk,
                &none,
                Some(&json!({ "problem": "not JSON: expected value at line 1", "events": [] })),
                None,
                &context,
            ),
        ),
        ("setup-empty", setup(&none, &none, &none, &none, None, None, &context)),
        (
            "setup-hostile",
            setup(
                &evil(full::sources()),
                &evil(full::rules()),
                &evil(full::desk()),
                &evil(full::doctor()),
                Some(&evil(full::tested())),
                Some(&bad),
                &bad_context,
            ),
        ),
        ("login", login(Some("that is not the token"), "/deliveries/17", &context)),
        ("login-hostile", login(Some(full::HOSTILE), full::HOSTILE, &bad_context)),
        ("failed", failed(404, "no delivery 999999", "the list has those that are kept", &context)),
        ("failed-hostile", failed(999, full::HOSTILE, full::HOSTILE, &bad_context)),
    ]
}

/// The tags and their attributes, in order; text is left out. Fails at a tag that is not closed or nested wrongly, and at
/// an attribute without quotes.
fn tags(page: &str) -> Vec<(String, Vec<(String, String)>)> {
    const VOID: &[&str] = &["meta", "link", "img", "input", "br", "hr"];
    let (mut tags, mut open) = (Vec::new(), Vec::<String>::new());
    let mut rest = page.strip_prefix("<!doctype html>").expect("a doctype");
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "a stray > in {text:?}");
        rest = &rest[start + 1..];
        let mut in_quotes = false;
        let end = rest.find(|c| {
            in_quotes ^= c == '"';
            c == '>' && !in_quotes
        });
        let tag = &rest[..end.expect("a tag ends")];
        rest = &rest[tag.len() + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "in …{}", &rest[..rest.len().min(80)]);
            continue;
        }
        let is_closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "<{name}");
        let mut found = Vec::new();
        while !attributes.trim().is_empty() {
            attributes = attributes.trim_start();
            let end = attributes.find(['=', ' ']).unwrap_or(attributes.len());
            let (key, after) = attributes.split_at(end);
            let mut value = "";
            attributes = after;
            if let Some(quoted) = after.strip_prefix("=\"") {
                let end = quoted.find('"').expect("a quote ends");
                (value, attributes) = (&quoted[..end], &quoted[end + 1..]);
            } else {
                assert!(!after.starts_with('='), "{key} of <{name}> has no quotes");
            }
            found.push((key.to_owned(), value.to_owned()));
        }
        if !is_closed && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        tags.push((name.to_owned(), found));
    }
    assert!(open.is_empty(), "{open:?} stay open");
    tags
}

#[test]
fn every_page_is_well_formed_and_has_its_landmarks() {
    for (name, page) in pages() {
        let tags = tags(&page);
        let number = |wanted: &str| tags.iter().filter(|(tag, _)| tag == wanted).count();
        for single in ["main", "h1", "nav", "header", "footer", "title"] {
            // The title of a hover in a chart is another one.
            let times = if single == "title" {
                page.matches("<head><meta charset=\"utf-8\"><title>").count()
            } else {
                number(single)
            };
            assert_eq!(times, 1, "{single} in {name}");
        }
        let values = |wanted: &str| -> Vec<&str> {
            let all = tags.iter().flat_map(|(_, attributes)| attributes);
            all.filter(|(key, _)| key == wanted).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(values("role").iter().filter(|role| **role == "status").count(), 1, "{name}");
        let mut ids = values("id");
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        if !name.contains("hostile") {
            assert_eq!(ids.len(), count, "an id stands twice in {name}");
        }
        for (tag, attributes) in &tags {
            let has = |wanted: &str| attributes.iter().any(|(key, _)| key == wanted);
            assert!(!has("data-live") || has("id"), "<{tag}> of {name} cannot be found again");
        }
        for label in values("for") {
            assert!(ids.contains(&label), "a label of {name} names no {label}");
        }
    }
}

#[test]
fn nothing_in_a_page_is_another_s() {
    const ATTRIBUTES: &[&str] = &[
        "action",
        "alt",
        "aria-busy",
        "aria-current",
        "aria-hidden",
        "aria-label",
        "aria-labelledby",
        "aria-pressed",
        "autocapitalize",
        "autocomplete",
        "charset",
        "class",
        "content",
        "cx",
        "cy",
        "d",
        "datetime",
        "dir",
        "fill",
        "for",
        "height",
        "hidden",
        "href",
        "id",
        "lang",
        "method",
        "name",
        "opacity",
        "open",
        "placeholder",
        "preserveAspectRatio",
        "r",
        "rel",
        "required",
        "role",
        "rows",
        "scope",
        "selected",
        "spellcheck",
        "src",
        "stroke",
        "stroke-linecap",
        "stroke-width",
        "tabindex",
        "title",
        "type",
        "value",
        "viewBox",
        "width",
        "x",
        "y",
    ];
    for (name, page) in pages() {
        for (tag, attributes) in tags(&page) {
            assert!(tag != "style" && tag != "iframe" && tag != "object", "<{tag}> in {name}");
            if tag == "script" {
                assert_eq!(attributes, [("src".to_owned(), "/assets/panel.js?v=1".to_owned())], "{name}");
            }
            for (key, value) in attributes {
                assert!(ATTRIBUTES.contains(&key.as_str()) || key.starts_with("data-"), "{key} of <{tag}> in {name}");
                if ["href", "src", "action"].contains(&key.as_str()) {
                    let is_ours = (value.starts_with('/') && !value.starts_with("//")) || value.starts_with('#');
                    assert!(is_ours || (tag == "a" && html::is_web(&value)), "{key}={value} in {name}");
                }
            }
        }
        assert_eq!(page.matches("<script").count(), 1, "{name}");
        let steering = |c: char| {
            matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') || (c.is_control() && c != '\n' && c != '\t')
        };
        assert!(!page.contains(steering), "{name}");
    }
}

#[test]
fn a_story_is_told_in_the_order_in_which_it_happened() {
    let page = delivery(&full::story(), &context());
    let told = [
        "Received from 140.82.115.1",
        "On the disk, and answered",
        "after 3.1",
        "Routed as pr_merged",
        "by high signal, the api team",
        "bell: done",
        "slack #dev: failed",
        "archive: gave up",
        "bell: the desk shows it",
        "+15",
        "slack #dev: failed",
        "slack #dev: next attempt",
    ];
    let mut rest = page.split_once("What happened").expect("a ledger").1;
    for words in told {
        rest = rest.split_once(words).unwrap_or_else(|| panic!("{words} is not next in {rest}")).1;
    }
}

#[test]
fn a_story_offers_what_can_be_done() {
    let page = delivery(&full::story(), &context());
    for form in [
        "action=\"/api/deliveries/17/replay\"",
        "action=\"/api/deliveries/17/requeue\"",
        ">Requeue what was given up<",
        "name=\"return\" value=\"/deliveries/17\"",
    ] {
        assert!(page.contains(form), "{form}");
    }
    assert!(page.contains("make a new incoming webhook"), "the remedy stands apart");
    let skipped = json!({ "id": 3, "status": "skipped", "received_at": "2026-11-27T10:00:00Z" });
    let page = delivery(&skipped, &context());
    assert!(page.contains("No rule sends this anywhere") && !page.contains("requeue"));
}

#[test]
fn what_is_to_be_typed_stands_out_and_is_text() {
    let problem = json!({ "kind": "hookbell_x", "about": "x", "severity": "warning", "what": "it fails", "since": null,
        "remedy": "type `hookbell <doctor>` & look" });
    let health = json!({ "status": "warning", "sentence": "It fails.", "problems": [problem] });
    let page = now(&health, &full::desk(), &json!({ "events": [] }), &context());
    assert!(page.contains("type <code>hookbell &lt;doctor&gt;</code> &amp; look"), "{page}");
}

#[test]
fn a_body_is_bounded_however_it_was_made() {
    let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    let wide: Value = (0..10_000)
        .map(|index| (format!("key {index}"), json!("x".repeat(300))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let bushy: Value = (0..300).map(|_| (0..300).map(|_| json!({ "a": [1, 2, 3] })).collect::<Value>()).collect();
    let evil: Value = (0..2000).map(|_| json!("<\u{202e}".repeat(2000))).collect();
    let cases = [
        ("deep", deep, "deeper than is shown"),
        ("wide", wide, "9\u{202f}750 more"),
        ("bushy", bushy, "It is longer than what is shown here"),
        ("evil", evil, "more"),
        ("one text", json!("\u{202e}<".repeat(12_500_000)), "more characters"),
        ("one long member", json!({ "a": "<".repeat(25_000_000) }), "more characters"),
    ];
    for (name, payload, said) in cases {
        let begun = Instant::now();
        let page = delivery(&json!({ "id": 1, "payload": payload }), &context());
        let took = begun.elapsed();
        assert!(page.len() < 600 * 1024, "{name}: {} bytes", page.len());
        assert!(page.contains(said), "{name}");
        assert!(took.as_secs() < 5, "{name} takes {took:?}");
        tags(&page);
    }
}

#[test]
fn a_body_reads_like_json() {
    let page =
        delivery(&json!({ "id": 1, "payload": { "a": [], "b": { "c": "x\ny", "d": null, "e": 1.5 } } }), &context());
    for part in [
        "<b><bdi>a</bdi></b> <span>[ ]</span>",
        "<details open><summary><b><bdi>b</bdi></b> <span>3 members</span></summary>",
        "<q><bdi>x\ny</bdi></q>",
        "<b><bdi>d</bdi></b> <i>null</i>",
        "<i>1.5</i>",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_list_is_asked_for_again_with_its_filters() {
    let asked = query(&[("q", "a&b"), ("status", "error"), ("status", "pending"), ("kind", ""), ("before", "900")]);
    let page = deliveries(&asked, &full::list(), &full::known(), &context());
    assert!(page.contains("href=\"/deliveries?q=a%26b&amp;status=error&amp;status=pending&amp;before=216\""), "{page}");
    assert!(page.contains("<option selected value=\"error\">"));
    assert!(page.contains("data-delivery=\"240\" data-status=\"processed\""));
    // A page may be empty although there is more.
    let short = deliveries(
        &asked,
        &json!({ "deliveries": [], "next": 5, "looked_back_to": "2026-11-01T00:00:00Z" }),
        &full::known(),
        &context(),
    );
    assert!(short.contains("before=5") && short.contains("Looked back to") && !short.contains("id=\"empty\""));
}

#[test]
fn lamps_say_what_they_show() {
    let page = now(&full::health(true), &full::desk(), &full::events(), &context());
    for part in [
        "aria-label=\"red, lit\" data-lamp=\"red\" data-level=\"1\" data-kind=\"led\" opacity=\"1\" fill=\"#ff3b30\"",
        "aria-label=\"green, dark\" data-lamp=\"green\" data-level=\"0\"",
        "data-lamp=\"blue\" data-level=\"1\" data-kind=\"led\" opacity=\"0.40\"",
        "data-lamp=\"mood.green\"",
        "aria-label=\"buzzer, sounding\"",
        "880 Hz",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_is_empty_says_what_to_do_next() {
    let pages = pages();
    let page = |wanted: &str| &pages.iter().find(|(name, _)| *name == wanted).expect("a page").1;
    assert!(page("now-fresh").contains("hookbell send github issues"));
    assert!(page("now-empty").contains("hookbell init"));
    assert!(page("deliveries-empty").contains("Settings → Webhooks"));
    assert!(page("setup-empty").contains("hookbell init"));
    assert!(page("setup-fresh").contains("public_url"));
}

#[test]
fn the_canary_stands_beside_the_tunnel() {
    let said = |tunnel: Value| {
        let health = json!({ "status": "ok", "sentence": "All is well.", "tunnel": tunnel });
        let page = now(&health, &json!({}), &json!({}), &context());
        page.split("<li>Tunnel: ").nth(1).and_then(|rest| rest.split("</li>").next()).unwrap_or_default().to_owned()
    };
    assert_eq!(said(json!({})), "");
    assert_eq!(said(json!({ "state": "connected", "canary": null })), "connected");
    let with = |ms: Value, missing: u32| {
        said(json!({ "state": "connected", "canary": { "round_trip_ms": ms, "missing": missing } }))
    };
    assert_eq!(with(json!(84), 0), "connected, there and back in <span data-volatile>84\u{a0}ms</span>");
    assert_eq!(with(json!(84), 1), "connected, <span data-volatile>1 canary</span> missing");
    assert_eq!(with(json!(null), 2), "connected, <span data-volatile>2 canaries</span> missing");
    assert_eq!(with(json!(null), 0), "connected");
}

/// For people who change the pages: `HOOKBELL_PAGES=DIRECTORY cargo test --lib panel::page::tests::write -- --ignored`.
#[test]
#[ignore = "writes every page into the directory that HOOKBELL_PAGES names, to look at them"]
fn write() {
    let directory =
        std::path::PathBuf::from(std::env::var_os("HOOKBELL_PAGES").expect("HOOKBELL_PAGES names a directory"));
    std::fs::create_dir_all(&directory).expect("a directory");
    for (name, page) in pages() {
        std::fs::write(directory.join(name).with_extension("html"), page).expect("a page");
    }
}
