//! `check`: the configuration, read with the very code that `run` uses.

use serde_json::json;

use super::{Failure, Global, print_json, print_line};
use crate::config;

#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  hookbell check\n  hookbell check --config hookbell.toml --json")]
pub(super) struct Arguments {
    /// One JSON object with `problems` and, when there is no error, `settings`
    #[arg(long)]
    json: bool,
}

pub(super) fn check(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    match global.load() {
        Ok(loaded) if arguments.json => print_json(&json!({
            "problems": loaded.warnings,
            "settings": config::effective_json(&loaded.settings),
        })),
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
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
