//! A body as a tree that folds. Owns its bounds: whatever a sender made, this many nodes, letters and levels are shown, and
//! what is left out is said.

use serde_json::Value;

use super::html::{Html, cut, size};

/// How many values are shown.
const NODES_MAX: usize = 2000;
/// How many of one object or list.
const MEMBERS_MAX: usize = 250;
/// How deep.
const DEPTH_MAX: usize = 24;
/// How much of a text, and of a name.
const TEXT_CHARS_MAX: usize = 600;
const NAME_CHARS_MAX: usize = 120;
/// How much of a body that is one text.
const LONE_CHARS_MAX: usize = 20_000;
/// Escaped text is up to six times as long: so much markup at most, about.
const MARKUP_BYTES_MAX: usize = 400 * 1024;

struct Left {
    nodes: usize,
    bytes_end: usize,
}

/// The whole of it.
pub(super) fn show(html: &mut Html, payload: &Value) {
    if let Value::String(text) = payload {
        let shown = cut(text, LONE_CHARS_MAX);
        html.fill(
            r#"<pre class="body" dir="auto" tabindex="0" role="region" aria-label="Body as text">{}</pre>"#,
            &[shown],
        );
        rest(html, text, shown);
        return;
    }
    let mut left = Left { nodes: NODES_MAX, bytes_end: html.len() + MARKUP_BYTES_MAX };
    html.raw(r#"<div class="body tree" tabindex="0" role="region" aria-label="Body">"#);
    node(html, None, payload, 0, &mut left);
    html.raw("</div>");
    if left.nodes == 0 || html.len() > left.bytes_end {
        html.raw(r#"<p class="quiet">It is longer than what is shown here; all of it can be had as a file.</p>"#);
    }
}

/// How much of a text is not there.
fn rest(html: &mut Html, text: &str, shown: &str) {
    if shown.len() < text.len() {
        let more = text[shown.len()..].chars().count();
        html.fill(r#" <span class="cut">… {} more characters</span>"#, &[&size(more)]);
    }
}

fn name(html: &mut Html, name: Option<&str>) {
    if let Some(name) = name {
        let shown = cut(name, NAME_CHARS_MAX);
        html.fill(r#"<b><bdi>{}</bdi>{}</b> "#, &[shown, if shown.len() < name.len() { "…" } else { "" }]);
    }
}

fn node(html: &mut Html, named: Option<&str>, value: &Value, depth: usize, left: &mut Left) {
    left.nodes = left.nodes.saturating_sub(1);
    let (members, one, many) = match value {
        Value::Object(map) => (map.len(), "member", "members"),
        Value::Array(list) => (list.len(), "item", "items"),
        _ => {
            name(html, named);
            scalar(html, value);
            return;
        }
    };
    let is_list = value.is_array();
    if members == 0 || depth >= DEPTH_MAX {
        name(html, named);
        html.raw(match (is_list, members) {
            (true, 0) => "<span>[ ]</span>",
            (false, 0) => "<span>{ }</span>",
            _ => r#"<span class="cut">… deeper than is shown</span>"#,
        });
        return;
    }
    // What is short is read at once; the rest opens at a touch.
    html.raw(if depth == 0 || (depth == 1 && members <= 8) { "<details open><summary>" } else { "<details><summary>" });
    name(html, named);
    let number = size(members);
    html.fill("<span>{} {}</span></summary><ul>", &[&number, if members == 1 { one } else { many }]);
    let mut shown = 0;
    let mut member = |html: &mut Html, named: Option<&str>, value: &Value| {
        if shown >= MEMBERS_MAX || left.nodes == 0 || html.len() > left.bytes_end {
            return false;
        }
        shown += 1;
        html.raw("<li>");
        node(html, named, value, depth + 1, left);
        html.raw("</li>");
        true
    };
    match value {
        Value::Object(map) => {
            let _ = map.iter().all(|(key, value)| member(html, Some(key), value));
        }
        Value::Array(list) => {
            let _ = list.iter().all(|value| member(html, None, value));
        }
        _ => {}
    }
    if shown < members {
        let more = size(members - shown);
        html.fill(r#"<li class="cut">… {} more</li>"#, &[&more]);
    }
    html.raw("</ul></details>");
}

fn scalar(html: &mut Html, value: &Value) {
    match value {
        Value::String(text) => {
            let shown = cut(text, TEXT_CHARS_MAX);
            // A line break inside is shown as it stands.
            html.fill(r#"<q><bdi>{}</bdi></q>"#, &[shown]);
            rest(html, text, shown);
        }
        Value::Null => html.raw("<i>null</i>"),
        other => html.fill("<i>{}</i>", &[&other.to_string()]),
    }
}
