//! What the desk does for which event. Owns the default cues and the choice of one; pure: refuses I/O, clocks, pins.
//!
//! The defaults are a small language that a desk's owner learns in a day. Colour says how it went: green well, blue
//! news, red badly. Sound says whether to look up: rising notes are good news, a long low note is trouble of our own,
//! short ones hammered on one pitch are a failure; what happens all day lights up and stays silent. Nothing takes two
//! seconds, so a busy minute remains a desk and not a siren.

use std::{collections::BTreeMap, time::Duration};

use crate::event::Severity;

/// What the desk does for an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// The LED's name. One that is not wired is replaced by the first that is.
    pub led: Option<String>,
    /// How it blinks.
    pub blink: Blink,
    /// What the buzzer plays: an RTTTL tune; an active buzzer plays its rhythm.
    pub tune: Option<String>,
    /// Higher goes first in the queue.
    pub priority: u8,
}

/// `blink`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blink {
    /// Lit this long.
    pub on: Duration,
    /// Dark this long.
    pub off: Duration,
    /// This many times.
    pub times: u32,
}

/// `(name, LED, on_ms, off_ms, times, tune, priority)`; an empty tune is silence.
type Row = (&'static str, &'static str, u64, u64, u32, &'static str, u8);

/// Sorted by what they say; each group has a light and a rhythm of its own.
const DEFAULTS: &[Row] = &[
    // Look now.
    ("security_alert", "red", 90, 70, 11, "d=16,o=6,b=160:b,e,b,e,b,e,8p,b,e,b,e,b,e", 9),
    ("deployment_failed", "red", 120, 80, 9, "d=8,o=5,b=200:a,16p,a,16p,a,4p,a,16p,a", 9),
    ("ci_failed", "red", 150, 100, 6, "d=8,o=5,b=200:a,16p,a,16p,a", 8),
    ("failure", "red", 150, 100, 6, "d=8,o=5,b=200:a,16p,a", 8),
    ("sink_down", "red", 600, 200, 2, "d=2,o=4,b=180:c", 7),
    ("alert_firing", "red", 120, 80, 8, "d=8,o=5,b=200:a,16p,e,16p,a", 8),
    ("payment_failed", "red", 200, 150, 4, "d=8,o=4,b=180:g,c", 7),
    // Somebody waits for you.
    ("pr_changes_requested", "red", 300, 200, 3, "d=8,o=5,b=180:g,e", 6),
    ("warning", "red", 300, 200, 3, "d=8,o=5,b=180:e", 6),
    ("pr_review_requested", "blue", 200, 100, 5, "d=16,o=6,b=150:e,p,e,8g", 6),
    ("issue_assigned", "blue", 200, 100, 3, "", 4),
    // Well done.
    ("pr_merged", "green", 200, 200, 4, "d=16,o=6,b=180:c,e,g,8c7", 5),
    ("release_published", "green", 100, 100, 9, "d=16,o=6,b=150:g5,c,e,8g,e,4g", 6),
    ("pr_approved", "green", 200, 150, 3, "d=16,o=6,b=180:g,8c7", 5),
    ("deployment_succeeded", "green", 300, 150, 3, "d=8,o=6,b=200:c,g", 5),
    ("payment_succeeded", "green", 100, 60, 6, "d=32,o=7,b=200:b6,4e", 5),
    ("order_paid", "green", 100, 60, 6, "d=32,o=7,b=200:b6,4e", 5),
    ("alert_resolved", "green", 300, 150, 3, "d=8,o=6,b=200:e,c", 5),
    ("ci_fixed", "green", 150, 100, 5, "d=16,o=6,b=180:e,g,8b", 5),
    ("ci_passed", "green", 400, 0, 1, "", 3),
    ("issue_closed", "green", 200, 200, 2, "", 3),
    ("success", "green", 200, 200, 3, "d=16,o=6,b=180:c,g", 4),
    // Applause.
    ("repo_starred", "green", 60, 60, 8, "d=32,o=7,b=180:c,e,g", 4),
    ("repo_forked", "green", 60, 60, 8, "d=32,o=7,b=180:c,p,g", 4),
    ("repo_watched", "blue", 60, 60, 4, "", 2),
    ("member_added", "green", 60, 60, 4, "", 2),
    // News.
    ("issue_opened", "blue", 250, 150, 3, "d=16,o=6,b=150:e,8p,e", 4),
    ("issue_reopened", "blue", 250, 150, 3, "d=16,o=6,b=150:e", 4),
    ("pr_opened", "blue", 150, 100, 4, "d=16,o=6,b=150:c,e", 4),
    ("pr_reopened", "blue", 150, 100, 4, "d=16,o=6,b=150:c", 4),
    ("pr_ready", "blue", 150, 100, 4, "d=16,o=6,b=150:e,8c", 4),
    ("pr_closed", "blue", 400, 200, 2, "d=16,o=5,b=150:e,c", 4),
    ("info", "blue", 250, 150, 2, "", 3),
    // What happens all day: seen, not heard.
    ("issue_commented", "blue", 80, 120, 2, "", 1),
    ("pr_commented", "blue", 80, 120, 2, "", 1),
    ("discussion_opened", "blue", 80, 120, 3, "", 2),
    ("push", "blue", 80, 0, 1, "", 1),
    ("branch_created", "blue", 80, 0, 1, "", 1),
    ("branch_deleted", "blue", 80, 0, 1, "", 1),
    // For trying a cue; `hookbell bell test` plays every wire instead.
    ("test", "blue", 200, 200, 2, "d=16,o=6,b=150:c,p,c", 5),
];

/// What is played where the configuration says nothing: a cue per kind of event, one per severity for every other
/// name, and hookbell's own `sink_down` and `test`.
pub fn default_cues() -> BTreeMap<String, Cue> {
    DEFAULTS.iter().map(|row| (row.0.to_owned(), from_row(row))).collect()
}

/// The cue of that name; for a name that has none, the cue that is named like the severity, which always exists.
pub fn resolve(cues: &BTreeMap<String, Cue>, name: &str, severity: Severity) -> Cue {
    if let Some(cue) = cues.get(name).or_else(|| cues.get(severity.name())) {
        return cue.clone();
    }
    // Only a map without the defaults comes here.
    let row = DEFAULTS.iter().find(|row| row.0 == severity.name()).unwrap_or(&DEFAULTS[0]);
    from_row(row)
}

fn from_row(row: &Row) -> Cue {
    let &(_, led, on_ms, off_ms, times, tune, priority) = row;
    Cue {
        led: Some(led.to_owned()),
        blink: Blink { on: Duration::from_millis(on_ms), off: Duration::from_millis(off_ms), times },
        tune: (!tune.is_empty()).then(|| tune.to_owned()),
        priority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bell::{DEFAULT_LEDS, tune};

    const KINDS: &str = "issue_opened issue_closed issue_reopened issue_assigned issue_commented pr_opened pr_ready \
        pr_closed pr_merged pr_reopened pr_review_requested pr_approved pr_changes_requested pr_commented repo_starred \
        repo_forked repo_watched push branch_created branch_deleted release_published ci_failed ci_passed ci_fixed \
        deployment_failed deployment_succeeded discussion_opened security_alert member_added sink_down test \
        alert_firing alert_resolved payment_succeeded payment_failed order_paid info success warning failure";

    #[test]
    fn every_kind_has_one_default_and_every_default_a_kind() {
        let cues = default_cues();
        for kind in KINDS.split_whitespace() {
            assert!(cues.contains_key(kind), "{kind}");
        }
        assert_eq!(cues.len(), KINDS.split_whitespace().count());
        assert_eq!(cues.len(), DEFAULTS.len(), "a name stands twice");
    }

    #[test]
    fn defaults_are_short_and_playable() {
        for (name, cue) in default_cues() {
            let light = (cue.blink.on + cue.blink.off) * cue.blink.times;
            assert!(light < Duration::from_secs(2), "{name}: {light:?}");
            assert!(DEFAULT_LEDS.contains(&cue.led.as_deref().unwrap()), "{name}");
            if let Some(body) = cue.tune {
                let notes = tune::parse(&body).unwrap_or_else(|error| panic!("{name}: {error}"));
                let sound: Duration = notes.iter().map(|note| note.duration).sum();
                assert!(sound < Duration::from_secs(2), "{name}: {sound:?}");
            }
        }
    }

    #[test]
    fn failures_come_first_and_in_red() {
        let cues = default_cues();
        let loudest_other = cues.values().filter(|cue| cue.led.as_deref() != Some("red")).map(|cue| cue.priority).max();
        for name in ["ci_failed", "deployment_failed", "security_alert", "failure"] {
            let cue = &cues[name];
            assert_eq!(cue.led.as_deref(), Some("red"), "{name}");
            assert!(Some(cue.priority) > loudest_other, "{name}");
            assert!(cue.tune.is_some(), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_falls_back_by_severity() {
        let cues = default_cues();
        assert_eq!(resolve(&cues, "pr_merged", Severity::Failure), cues["pr_merged"]);
        for severity in [Severity::Info, Severity::Success, Severity::Warning, Severity::Failure] {
            assert_eq!(resolve(&cues, "order_created", severity), cues[severity.name()]);
            assert_eq!(resolve(&BTreeMap::new(), "order_created", severity), cues[severity.name()]);
        }
    }
}
