//! How far a place was read, and what was found there. Owns what is kept between two starts; refuses to know what is asked.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::time::Timestamp;

/// What is only newer by less than this is not written: a card has so many writes, and a start looks at a little more.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// How far one place was read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reached {
    /// Everything until then is held, by the provider's clock; 0: nothing was looked at yet.
    until_ms: i64,
    /// When that was seen last, by ours; 0: never.
    checked_ms: i64,
    /// Deliveries that were pulled in.
    recovered: u64,
    /// When the last of them was.
    recovered_ms: i64,
    /// Deliveries that were missing, and that the provider does not have any more.
    lost: u64,
    /// Deliveries that are still missing.
    missing: u64,
    /// Requests that went out.
    asked: u64,
    /// Those of them that cost nothing, because nothing had changed.
    free: u64,
    /// For how long they went out, as one asks after the other.
    watched_ms: u64,
    /// Deliveries of which it is known how long they took to get here, and how long they took together.
    delays: u64,
    delays_ms: u64,
    /// What was taken before that was taken by somebody else, by the provider's clock; 0: nothing was looked at yet.
    ours_since_ms: i64,
    /// Between which moments something may have been sent of which nobody can tell any more, the last time.
    gap_ms: Option<(i64, i64)>,
    /// What goes wrong.
    trouble: Option<Wrong>,
    /// What whoever reads this place needs besides; what stands under `polling` is shown.
    pub(super) more: Value,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrong {
    since_ms: i64,
    why: String,
    /// What somebody has to do about it; `None`: it may pass.
    remedy: Option<String>,
}

impl Reached {
    /// What was kept; what cannot be read counts as nothing, and that is said.
    pub fn parse(kept: &str) -> Reached {
        serde_json::from_str(kept).unwrap_or_else(|error| {
            log::warn!("cannot read how far a place was read: {error}; it is begun anew");
            Reached::default()
        })
    }

    /// Everything until then is held; `None`: nothing was looked at yet.
    pub fn until(&self) -> Option<Timestamp> {
        (self.until_ms > 0).then(|| Timestamp::from_ms(self.until_ms))
    }

    /// For `status` and the panel.
    pub fn report(&self) -> Value {
        let moment = |ms: i64| (ms > 0).then(|| Timestamp::from_ms(ms));
        json!({
            "reconciled_until": self.until(),
            "checked_at": moment(self.checked_ms),
            "recovered": self.recovered,
            "recovered_at": moment(self.recovered_ms),
            "missing": self.missing,
            "lost": self.lost,
            "gap": self.gap_ms.map(|(from, to)| json!({ "from": moment(from), "to": moment(to) })),
            "asked": self.asked,
            "free": self.free,
            "watched_s": self.watched_ms / 1000,
            "delays": self.delays,
            "delay_s": self.delays_ms.checked_div(self.delays).map(|ms| ms as f64 / 1000.0),
            "polling": self.more["polling"],
            "trouble": self.trouble.as_ref().map(|wrong| &wrong.why),
            "trouble_since": self.trouble.as_ref().map(|wrong| Timestamp::from_ms(wrong.since_ms)),
            "remedy": self.trouble.as_ref().and_then(|wrong| wrong.remedy.as_ref()),
        })
    }

    /// Everything until then is held. It never goes back.
    pub(super) fn advance(&mut self, until: Timestamp) {
        self.until_ms = self.until_ms.max(until.ms());
    }

    pub(super) fn found(&mut self, now: Timestamp) {
        self.recovered += 1;
        self.recovered_ms = now.ms();
    }

    /// It took so long to get here.
    pub(super) fn delayed(&mut self, delay: Duration) {
        self.delays += 1;
        self.delays_ms = self.delays_ms.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    }

    /// So many requests went out, some of them for nothing, so long after those before.
    pub(super) fn asked(&mut self, asked: u64, free: u64, after: Duration) {
        self.asked += asked;
        self.free += free;
        self.watched_ms += u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    }

    /// When it was seen last that everything is held, by our clock.
    pub(super) fn checked_at(&self) -> Option<Timestamp> {
        (self.checked_ms > 0).then(|| Timestamp::from_ms(self.checked_ms))
    }

    /// Nothing is known any more.
    pub(super) fn begin_anew(&mut self) {
        (self.until_ms, self.ours_since_ms) = (0, 0);
    }

    /// Since when what this place was sent is ours: `first`, when it is looked at for the first time.
    pub(super) fn ours_since(&mut self, first: Timestamp) -> Timestamp {
        if self.ours_since_ms == 0 {
            self.ours_since_ms = first.ms();
        }
        Timestamp::from_ms(self.ours_since_ms)
    }

    /// What was sent between these and did not arrive is not listed any more. Says whether that is news.
    pub(super) fn gap(&mut self, from: Timestamp, to: Timestamp) -> bool {
        let before = self.gap_ms.replace((from.ms(), to.ms()));
        before.is_none_or(|(before, _)| before != from.ms())
    }

    /// How many were pulled in, and how many are still missing.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.recovered, self.missing)
    }

    pub(super) fn gave_up(&mut self) {
        self.lost += 1;
    }

    pub(super) fn still_missing(&mut self, missing: usize) {
        self.missing = missing as u64;
    }

    pub(super) fn checked(&mut self, now: Timestamp) {
        self.checked_ms = now.ms();
    }

    pub(super) fn well(&mut self) {
        self.trouble = None;
    }

    /// What goes wrong goes on: it began when it began.
    pub(super) fn goes_wrong(&mut self, why: String, remedy: Option<String>, now: Timestamp) {
        let since_ms = self.trouble.as_ref().map_or(now.ms(), |wrong| wrong.since_ms);
        self.trouble = Some(Wrong { since_ms, why, remedy });
    }

    /// Whether there is more to keep than the time and what was counted, or that is long ago.
    pub(super) fn is_worth_keeping(&self, kept: &Reached) -> bool {
        let timeless = |reached: &Reached| Reached {
            until_ms: 0,
            checked_ms: 0,
            asked: 0,
            free: 0,
            watched_ms: 0,
            ..reached.clone()
        };
        let is_old = self.checked_ms.abs_diff(kept.checked_ms) >= KEEP_EVERY.as_millis() as u64;
        is_old || timeless(self) != timeless(kept)
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}
