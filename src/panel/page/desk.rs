//! The desk as it is wired: a lamp for each LED, the buzzer, what plays, what stays lit, and the hand on it. Owns the
//! drawing; refuses to know what lit a lamp.
//!
//! The lamps stand outside of what is replaced: between two pages they follow the edges alone.

use serde_json::Value;

use super::html::{Html, at, count, counted, glue, is, items, whole, word};

/// The lamps.
pub(super) fn lamps(html: &mut Html, desk: &Value) {
    html.raw(r#"<ul class="lamps" id="lamps">"#);
    let lines = items(desk, "lines");
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        let name = word(line, "name");
        // The three lines of one coloured LED stand together, and shine through one lens.
        let lens = name.rsplit_once('.').map_or(name, |(lens, _)| lens);
        let is_of = |other: &&Value| word(other, "name").rsplit_once('.').is_some_and(|(before, _)| before == lens);
        let several = if lens == name { 1 } else { lines[index..].iter().take_while(is_of).count().max(1) };
        html.raw("<li>");
        if word(line, "kind") == "buzzer" {
            html.raw(
                r#"<svg class="buzzer" viewBox="0 0 64 64" role="none"><circle class="socket" cx="32" cy="32" r="17"/><circle class="hole" cx="32" cy="32" r="4"/>"#,
            );
            light(html, line);
            html.raw(
                r#"<path d="M12 20a22 22 0 0 0 0 24M5 14a31 31 0 0 0 0 36M52 20a22 22 0 0 1 0 24M59 14a31 31 0 0 1 0 36" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/></g></svg>"#,
            );
        } else {
            html.raw(
                r#"<svg class="lamp" viewBox="0 0 64 64" role="none"><circle class="socket" cx="32" cy="32" r="17"/>"#,
            );
            for line in &lines[index..index + several] {
                light(html, line);
                html.raw(
                    r##"<circle class="halo" cx="32" cy="32" r="25"/><circle cx="32" cy="32" r="14"/><circle class="core" cx="29" cy="28" r="5" fill="#fff"/></g>"##,
                );
            }
            html.raw("</svg>");
        }
        html.fill(r#"<span aria-hidden="true"><bdi>{}</bdi>"#, &[lens]);
        for line in &lines[index..index + several] {
            let name = word(line, "name");
            let part = if several > 1 { name.rsplit_once('.').map_or("", |(_, part)| part) } else { "" };
            html.fill(r#" <small>{} <span data-says="{}">{}</span></small>"#, &[part, name, &says(line)]);
        }
        html.raw("</span>");
        for line in &lines[index..index + several] {
            html.some(r#"<small class="trouble"><bdi>{}</bdi></small>"#, word(line, "error"));
        }
        html.raw("</li>");
        index += several;
    }
    html.raw("</ul>");
}

/// What shines of one line, and what a reader hears of it.
fn light(html: &mut Html, line: &Value) {
    let (name, is_buzzer, lit) = (word(line, "name"), word(line, "kind") == "buzzer", is(line, "lit"));
    let state = match (lit, is_buzzer) {
        (true, true) => "sounding",
        (true, false) => "lit",
        (false, true) => "silent",
        (false, false) => "dark",
    };
    let percent = at(line, "percent").as_i64().unwrap_or(100).clamp(0, 100);
    let opacity = match (lit, percent) {
        (false, _) => "0".to_owned(),
        (true, 100) => "1".to_owned(),
        (true, percent) => glue(&["0.", if percent < 10 { "0" } else { "" }, &percent.to_string()]),
    };
    // What is not a colour is none, and the style sheet's stands.
    let colour = word(line, "colour");
    let colour = if colour.starts_with('#') { colour } else { "#f5c542" };
    html.fill(
        r#"<g role="img" aria-label="{}, {}" data-lamp="{}" data-level="{}" data-kind="{}" opacity="{}" fill="{}">"#,
        &[name, state, name, if lit { "1" } else { "0" }, word(line, "kind"), &opacity, colour],
    );
}

/// What stands behind its name: the pitch, how bright, else the pin.
fn says(line: &Value) -> String {
    let with = |number: i64, unit: &str| glue(&[&count(number), unit]);
    match (is(line, "lit"), at(line, "hz").as_i64(), at(line, "percent").as_i64()) {
        (true, Some(hz), _) => with(hz, " Hz"),
        (true, None, Some(percent)) if percent < 100 => with(percent, " %"),
        (true, ..) => "on".to_owned(),
        _ => String::new(),
    }
}

/// What plays, and why it may be silent.
pub(super) fn plays(html: &mut Html, desk: &Value) {
    html.raw(r#"<p id="plays" data-live class="plays">"#);
    match word(desk, "playing") {
        "" => html.raw("Nothing plays."),
        cue => {
            html.fill("Plays <code>{}</code>", &[cue]);
            if whole(desk, "rings") > 1 {
                html.fill(" ×{}", &[&count(whole(desk, "rings"))]);
            }
            html.raw(".");
        }
    }
    if whole(desk, "queued") > 0 {
        html.fill(" {}.", &[&counted(whole(desk, "queued"), "cue waits", "cues wait")]);
    }
    if !at(desk, "muted_until").is_null() {
        html.of(desk, " The buzzer is muted; it sounds again {@muted_until}.");
    } else if is(desk, "is_quiet") {
        html.raw(" The buzzer keeps quiet at this time of the day.");
    }
    html.some(r#" <strong class="trouble"><bdi>{}</bdi></strong>"#, word(desk, "error"));
    html.some(r#" <strong class="trouble"><bdi>{}</bdi></strong>"#, word(at(desk, "button"), "error"));
    if word(desk, "board") == "simulated" {
        html.raw(r#" <span class="quiet">The board is simulated: no pin is driven.</span>"#);
    }
    html.raw("</p>");
}

/// The hand on it.
pub(super) fn actions(html: &mut Html, desk: &Value, back: &str) {
    html.raw(r#"<div class="actions" id="actions" data-live>"#);
    html.post("/api/bell/ack", back, ("", ""), "Acknowledge");
    if at(desk, "muted_until").is_null() {
        html.post("/api/bell/mute", back, ("minutes", "60"), "Mute for 1 h");
    } else {
        html.post("/api/bell/unmute", back, ("", ""), "Unmute");
    }
    html.post("/api/bell/off", back, ("", ""), "Silence");
    html.raw("</div>");
}

/// What stays lit until somebody has seen it.
pub(super) fn latched(html: &mut Html, desk: &Value) {
    html.raw(r#"<section id="lit" data-live><h2>Stays lit</h2>"#);
    let latched = items(desk, "latched");
    if latched.is_empty() {
        html.raw(r#"<p class="quiet">Nothing. What fails stays lit here until it works again or somebody acknowledges it.</p>"#);
    } else {
        html.raw(r#"<ul class="plain lit">"#);
        for latch in latched {
            html.of(latch, r#"<li><span><code>{cue}</code> <bdi>{subject}</bdi></span> <span class="quiet">"#);
            html.some("<bdi>{}</bdi> · ", word(latch, "what"));
            html.of(latch, "{@since}</span></li>");
        }
        html.raw("</ul>");
    }
    html.raw("</section>");
}
