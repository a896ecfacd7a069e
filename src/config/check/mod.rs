//! From the file's tables to [`Settings`], in one pass that reports every problem it meets. Owns the order of sections
//! and what one section must know of another; each section's own rules stand in a file beside.
//!
//! A value with a problem reads as its default, so that the pass always reaches the end. The settings are worth nothing
//! then, and `load` drops them.

mod bell;
mod cues;
mod door;
mod ends;
mod kinds;
mod recover;
mod rules;
mod sinks;

use std::path::{Path, PathBuf};

use super::{
    Secrets, Settings,
    environment::Environment,
    problem::{Problem, Report},
    raw::{self, Section},
};

/// What paths and secrets are relative to.
struct Around<'a> {
    environment: &'a Environment,
    /// The configuration file's directory: secrets stand beside it.
    beside: PathBuf,
    /// Where data lives.
    data: PathBuf,
    secrets: Secrets,
}

/// Checks `text`, the contents of `file`; without a file, the text is empty and the environment has to be enough.
pub(super) fn check(
    file: Option<&Path>,
    text: &str,
    environment: &Environment,
    secrets: Secrets,
) -> (Option<Settings>, Vec<Problem>) {
    let mut report = Report::new(text);
    let settings = match raw::parse(text, &mut report) {
        Ok(table) => {
            let beside = file.and_then(Path::parent).unwrap_or(&environment.directory).to_owned();
            let around = Around { environment, beside, data: environment.data_directory(), secrets };
            Some(settings(file, Section::root(table.get_ref()), &around, &mut report))
        }
        Err(()) => None,
    };
    (settings, report.into_problems())
}

fn settings(file: Option<&Path>, mut root: Section<'_>, around: &Around<'_>, report: &mut Report) -> Settings {
    let mut door = root.section("door", report);
    let names_public_url = door.get("public_url").is_some_and(|node| node.text() != Ok(""));
    let door = door::door(door, around, report);
    let store = door::store(root.section("store", report), around, report);
    let panel = door::panel(root.section("panel", report), around, report);
    let health = door::health(root.section("health", report), report);
    let github = door::github(root.section("github", report), around, report);
    let public_url = ends::PublicUrl { url: door.public_url.as_deref(), is_named: names_public_url };
    let tunnel = door::tunnel(root.section("tunnel", report), public_url, around, report);
    let asked = ends::Asked { public_url, github_token: github.token.as_ref() };
    let sources = ends::sources(root.section("sources", report), asked, around, report);
    let retry = sinks::retry(root.section("retry", report), sinks::RETRY, report);
    let sinks = sinks::sinks(root.section("sinks", report), retry, around, report);
    let mut bell = bell::bell(root.section("bell", report), around, report);
    bell.cues = cues::cues(root.section("cues", report), &bell::led_names(&bell), report);
    let zone = rules::zone(root.section("schedule", report), report);
    bell.zone = zone.clone();
    let known = rules::Known { sources: &sources.names, sinks: &sinks, cues: &bell.cues, secrets: around.secrets };
    let mut rules = rules::rules(root.get("rules"), &known, report);
    for target in rules.iter_mut().flat_map(|rule| &mut rule.to) {
        target.order = sinks.by_name.get(&target.sink).map(|sink| sink.order).unwrap_or_default();
    }
    root.finish(report);

    Settings {
        file: file.map(Path::to_owned),
        door,
        store,
        github,
        panel,
        health,
        tunnel,
        sources: sources.by_name,
        sinks: sinks.by_name,
        zone,
        rules,
        bell,
    }
}
