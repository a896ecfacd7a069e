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
        if self.after_crash {
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

    fn check(&self) {
        let found = self.store.reader().and_then(|reader| reader.quick_check());
        match found {
            Ok(problems) if problems.is_empty() => {
                log::info!("checked the database after an unclean stop: it is sound")
            }
            Ok(problems) => log::error!(
                "the database is damaged: {}; stop hookbell and bring back a backup by `hookbell restore FILE`, which \
                 keeps this one (without a backup, move the file away: hookbell makes a new one)",
                problems.join("; ")
            ),
            Err(error) => log::error!("the database cannot be checked: {error}"),
        }
    }
}
