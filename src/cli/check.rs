//! `check`: the configuration, read with the very code that `run` uses.

use std::path::Path;

use serde_json::json;

use super::{Failure, Global, explain, print_json, print_line, surroundings, verify};
use crate::{config, provider, time::Timestamp, work::control};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  hookbell check
  hookbell check --config hookbell.toml --json
  hookbell check --explain 17                       why did delivery 17 go where it went?
  hookbell check --explain 17 --at 2026-11-22T23:00:00Z
  hookbell check --explain requests/1.json --source github

--explain lays today's rules over a delivery: each rule with the first reason why it does not match. It reads no secret, so
a sink whose secret is not set counts as one that is. `hookbell catch --record` and `verify` know recorded requests.")]
pub(super) struct Arguments {
    /// Where this goes by the rules, and why: a stored delivery's number, or a recorded request's file (`-`: standard input)
    #[arg(long, value_name = "DELIVERY")]
    explain: Option<String>,
    /// The recorded request's source, where its `url` does not name it
    #[arg(long, value_name = "NAME", requires = "explain")]
    source: Option<String>,
    /// As of this time (RFC 3339 or Unix seconds), for rules that are muted [default: when it was received, else now]
    #[arg(long, value_name = "TIME", requires = "explain", value_parser = verify::parse_time)]
    at: Option<Timestamp>,
    /// One JSON object: `problems` and, when there is no error, `notes` and `settings`; of --explain, `events`
    #[arg(long)]
    json: bool,
}

pub(super) fn check(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    if let Some(what) = &arguments.explain {
        return explain::explain(global, what, arguments.source.as_deref(), arguments.at, arguments.json);
    }
    match global.load_in(surroundings::of_the_service(global), config::load) {
        Ok(loaded) if arguments.json => print_json(&json!({
            "problems": loaded.warnings,
            "notes": config::notes(&loaded.settings),
            "settings": config::effective_json(&loaded.settings),
        })),
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            for (name, source) in &loaded.settings.sources {
                unaccepted(&loaded.settings.store.path, name, source)
                    .into_iter()
                    .for_each(|what| eprintln!("warning: {what}"));
            }
            print_line(config::effective(&loaded.settings).trim_end())
        }
        Err(Failure::Configuration(failure)) if arguments.json => {
            print_json(&json!({ "problems": failure.problems }))?;
            Err(Failure::Configuration(failure))
        }
        Err(failure) => Err(failure),
    }
}

/// What is wrong with a secret that waits to follow another, as the running service sees it: what we may read it may not, and
/// what systemd has handed to it does not change.
fn unaccepted(database: &Path, name: &str, source: &config::Source) -> Option<String> {
    if source.origins.waiting().is_empty() {
        return None;
    }
    let request = control::Request::Secrets { source: name.to_owned(), accept: None };
    let answer = control::ask_door(database, &request).ok().flatten()?;
    let accepted = answer["secrets"].as_array()?;
    let missing =
        source.terms.secrets.iter().filter(|secret| !accepted.contains(&json!(provider::fingerprint(secret)))).count();
    let faults: Vec<&str> =
        answer["faults"].as_array().into_iter().flatten().filter_map(|fault| fault.as_str()).collect();
    let why = if faults.is_empty() { "restart it".to_owned() } else { faults.join("; ") };
    (missing > 0).then(|| format!("source {name}: the running service does not accept the secret that waits: {why}"))
}
