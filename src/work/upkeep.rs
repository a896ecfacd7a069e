//! What the database needs now and then: old deliveries go, and after a crash the file is looked at. Owns when; the store
//! owns how.

use std::time::Duration;

use crate::{
    config,
    store::Store,
    threads::{Stop, Wake},
};

/// How often old deliveries go.
const EVERY: Duration = Duration::from_secs(3600);

/// Keeps the database in shape. [`Upkeep::run`] is the thread.
pub struct Upkeep {
    /// The database.
    pub store: Store,
    /// How much is kept.
    pub settings: config::Store,
    /// Woken when it shall end.
    pub wake: Wake,
    /// Told when to end.
    pub stop: Stop,
    /// Whether the last process ended without saying so.
    pub after_crash: bool,
}

impl Upkeep {
    /// Works until told to stop.
    pub fn run(self) {
        // What was found once is looked for until it is gone.
        if self.after_crash || self.store.damage().is_some() {
            self.check();
        }
        while !self.stop.is_told() {
            match self.store.prune(self.settings.keep, self.settings.size_bytes_max, || self.stop.is_told()) {
                Ok(pruned) if pruned.deliveries > 0 => log::info!("pruned deliveries={}", pruned.deliveries),
                Ok(_) => {}
                Err(error) => log::warn!("cannot remove old deliveries: {error}"),
            }
            if !self.stop.is_told() {
                self.wake.wait(EVERY);
            }
        }
    }

    /// Nobody ends here: what can be written is still written. Where it cannot be, the writer ends the process.
    fn check(&self) {
        let found = match self.store.reader().and_then(|reader| reader.quick_check()) {
            Ok(problems) if problems.is_empty() => {
                log::info!("checked the database after an unclean stop: it is sound");
                None
            }
            Ok(problems) => Some(problems.join("; ")),
            Err(error) if error.is_damage() => Some(error.to_string()),
            Err(error) => {
                log::error!("the database cannot be checked: {error}");
                return;
            }
        };
        if let Some(found) = &found {
            log::error!("the database is damaged: {found}; `hookbell status` says what to do");
        }
        if let Err(error) = self.store.note_damage(found) {
            log::warn!("cannot note what the check of the database has found: {error}");
        }
    }
}
