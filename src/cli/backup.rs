//! `backup` and `restore`: the database as one file, and back.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use super::{Failure, Global, print_json, print_line, storage::size};
use crate::{
    store::{self, Contents, StoreError},
    time::{Clock, SystemClock},
};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo hookbell backup /media/usb/hookbell-$(date +%F).db
  hookbell backup --force last.db

The service goes on meanwhile. The copy is one file that only its owner can read, and has its name only when it is whole and
checked. `hookbell restore FILE` puts it in the database's place.")]
pub(super) struct Backup {
    /// The file to write
    file: PathBuf,
    /// Replace a file of that name
    #[arg(long)]
    force: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  sudo systemctl stop 'hookbell*' && sudo hookbell restore hookbell-2026-11-22.db && sudo systemctl start hookbell

The backup is checked before anything is touched. The database that is there is kept beside it, under a name with the time:
restoring that one goes back. Deliveries that came after the backup are not in it; what it still owes is sent, although it
may have been sent since, under the same id as then.")]
pub(super) struct Restore {
    /// A file that `hookbell backup` has written, or a database that was set aside
    file: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn backup(global: &Global, arguments: &Backup) -> Result<(), Failure> {
    let settings = global.load_for_reading()?.store;
    let Backup { file, force, json } = arguments;
    let is_stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, is_stopping.clone())
            .map_err(|error| Failure::Failed(format!("cannot wait for signals: {error}")))?;
    }
    let begun = Instant::now();
    let is_told = move || is_stopping.load(Ordering::Relaxed);
    let contents = store::backup(&settings.path, file, *force, settings.free_bytes_min, is_told)?;
    let took = begun.elapsed();
    if *json {
        let mut facts = facts(&contents);
        facts["file"] = json!(file);
        facts["took_ms"] = json!(took.as_millis() as u64);
        return print_json(&facts);
    }
    let (file, took_s) = (file.display(), took.as_secs_f64());
    print_line(&format!("{file}: {}, checked, in {took_s:.1} s", words(&contents)))
}

pub(super) fn restore(global: &Global, arguments: &Restore) -> Result<(), Failure> {
    let path = global.load_for_reading()?.store.path;
    let Restore { file, json } = arguments;
    let restored = store::restore(&path, file, SystemClock.wall()).map_err(|error| match error {
        StoreError::Held { .. } => Failure::Failed(format!("{error} (under systemd: sudo systemctl stop 'hookbell*')")),
        error => error.into(),
    })?;
    if *json {
        let mut facts = facts(&restored.contents);
        facts["set_aside"] = json!(restored.set_aside);
        return print_json(&facts);
    }
    print_line(&format!("restored {}: {}", path.display(), words(&restored.contents)))?;
    match restored.set_aside {
        Some(aside) => print_line(&format!(
            "what was there is now {aside}; to go back: hookbell restore {aside}",
            aside = aside.display()
        )),
        None => Ok(()),
    }
}

fn facts(contents: &Contents) -> Value {
    let Contents { bytes, deliveries, newest } = contents;
    json!({ "bytes": bytes, "deliveries": deliveries, "newest_at": newest })
}

fn words(contents: &Contents) -> String {
    let Contents { bytes, deliveries, newest } = contents;
    let newest = newest.map(|newest| format!(", the last of {newest}")).unwrap_or_default();
    format!("{deliveries} deliveries{newest}, {}", size(*bytes as f64))
}
