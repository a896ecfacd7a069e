//! `deliveries import`: what another database holds and this one does not.

use std::{path::PathBuf, sync::Arc};

use serde_json::json;

use super::{Failure, deliveries::STOP_WITHIN, print_json, print_line};
use crate::{
    config::Settings,
    store::{Imported, Store},
    time::SystemClock,
    work::control,
};

/// Ranges of ids that are shown; `--json` has all.
const RANGES_SHOWN: usize = 10;

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The other database
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn import(settings: &Settings, arguments: &Arguments) -> Result<(), Failure> {
    let path = &settings.store.path;
    let (store, threads) = Store::open(path, settings.store.free_bytes_min, Arc::new(SystemClock))?;
    let imported = store.import(&arguments.file, &|| {
        // A service that runs begins with the first of many while the rest is still written.
        if let Err(error) = control::ask(path, &control::Request::Wake) {
            log::debug!("cannot tell the service, it will look for itself: {error}");
        }
    });
    threads.stop(STOP_WITHIN);
    let Imported { read, stored, to_route, unreadable } = imported?;
    if arguments.json {
        let held = read - stored;
        return print_json(&json!({
            "read": read, "imported": stored, "to_route": to_route, "held": held, "unreadable": unreadable,
        }));
    }
    print_line(&format!(
        "{read} read: {stored} imported, of which {to_route} are handled now; {} were here already",
        read - stored
    ))?;
    if unreadable.is_empty() {
        return Ok(());
    }
    let count: i64 = unreadable.iter().map(|(from, to)| to - from + 1).sum();
    let shown = unreadable.iter().take(RANGES_SHOWN);
    let mut ranges: Vec<String> =
        shown.map(|(from, to)| if from == to { from.to_string() } else { format!("{from}–{to}") }).collect();
    if unreadable.len() > RANGES_SHOWN {
        ranges.push("…".to_owned());
    }
    print_line(&format!("{count} cannot be read, by their ids there: {}", ranges.join(", ")))
}
