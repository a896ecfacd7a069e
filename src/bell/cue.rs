//! What the desk does for which event. Owns the default cues and the choice of one; pure: refuses I/O, clocks, pins.
//!
//! The defaults are a small language that a desk's owner learns in a day. Colour says how it went: green well, blue
//! news, red badly. A rising motif is good news, a falling one bad news, a level one just news; the more notes, the more
//! it matters, and what happens all day is one short tick. Failures of something that goes on failing stay lit until it
//! works again. Nothing takes two seconds, so a busy minute remains a desk and not a siren.

use std::{collections::BTreeMap, time::Duration};

use crate::event::{CI_FIXED, CI_PASSED, Severity};

/// What the desk does for an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// The LED's name. One that is not wired is replaced by one that is.
    pub led: Option<String>,
    /// The colour, on an LED that has several.
    pub colour: Option<Colour>,
    /// How it is lit.
    pub pattern: Pattern,
    /// How long, unless it blinks: that has its own count.
    pub lasts: Duration,
    /// How it blinks.
    pub blink: Blink,
    /// What the buzzer plays: a tune in RTTTL; an active buzzer plays its rhythm.
    pub tune: Option<String>,
    /// A higher one interrupts a lower one.
    pub priority: u8,
    /// Whether the LED stays lit, for each subject, until the event that ends it comes or somebody acknowledges it.
    pub latch: bool,
    /// How it stays lit; `None`: as the cue itself.
    pub latch_pattern: Option<Pattern>,
    /// The kinds of events that end it, where they are about the same subject.
    pub clears_on: Vec<String>,
    /// After so long it ends by itself; `None`: after what holds for all.
    pub latch_max: Option<Duration>,
    /// Whether it sounds in quiet hours, too.
    pub even_if_quiet: bool,
}

/// `pattern`: how an LED is lit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Lit.
    Solid,
    /// On and off, as [`Blink`] says.
    Blink,
    /// Brighter and darker, where the pin has PWM; else slowly on and off.
    Breathe,
    /// Two short beats a second.
    Heartbeat,
}

impl Pattern {
    /// Every pattern, by its name in the configuration.
    pub const NAMED: [(&str, Pattern); 4] = [
        ("solid", Pattern::Solid),
        ("blink", Pattern::Blink),
        ("breathe", Pattern::Breathe),
        ("heartbeat", Pattern::Heartbeat),
    ];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        Pattern::NAMED.iter().find(|(_, pattern)| *pattern == self).map_or("blink", |(name, _)| name)
    }
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

impl Blink {
    /// Lit and dark for these times.
    pub const fn ms(on_ms: u64, off_ms: u64, times: u32) -> Blink {
        Blink { on: Duration::from_millis(on_ms), off: Duration::from_millis(off_ms), times }
    }
}

/// A colour by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(usize);

/// Name, and the shares of red, green and blue in percent. Where a pin has no PWM, [`LIT_FROM`] and more is on.
const COLOURS: &[(&str, [u8; 3])] = &[
    ("white", [100, 100, 100]),
    ("red", [100, 0, 0]),
    ("green", [0, 100, 0]),
    ("blue", [0, 0, 100]),
    ("yellow", [100, 80, 0]),
    ("orange", [100, 30, 0]),
    ("cyan", [0, 100, 100]),
    ("purple", [60, 0, 100]),
    ("magenta", [100, 0, 100]),
    ("pink", [100, 20, 40]),
];

/// See [`Colour::share`].
const LIT_FROM: u8 = 30;

impl Colour {
    /// Every part of the LED.
    pub const WHITE: Colour = Colour(0);

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        COLOURS.iter().map(|(name, _)| *name)
    }

    /// The colour of that name.
    pub fn from_name(name: &str) -> Option<Colour> {
        COLOURS.iter().position(|(colour, _)| *colour == name).map(Colour)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        COLOURS[self.0].0
    }

    /// The share of one part (0 red, 1 green, 2 blue) in percent; without PWM it is on or off.
    pub fn share(self, part: usize, has_pwm: bool) -> u8 {
        match (COLOURS[self.0].1[part], has_pwm) {
            (share, true) => share,
            (LIT_FROM.., false) => 100,
            (_, false) => 0,
        }
    }
}

/// After this a latch ends by itself, where nothing else is said: whoever has not looked for a week will not.
pub const LATCH_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What a cue of a name that the house does not know starts from.
pub fn plain() -> Cue {
    Cue {
        led: None,
        colour: None,
        pattern: Pattern::Blink,
        lasts: Duration::from_secs(2),
        blink: Blink::ms(200, 200, 3),
        tune: None,
        priority: 5,
        latch: false,
        latch_pattern: None,
        clears_on: Vec::new(),
        latch_max: None,
        even_if_quiet: false,
    }
}

/// `(name, LED, on_ms, off_ms, times, tune, priority)`
type Row = (&'static str, &'static str, u64, u64, u32, &'static str, u8);

/// Sorted by what they say. README.md shows this table; a test holds the two together.
const DEFAULTS: &[Row] = &[
    // Look now: falling, three notes and more.
    ("security_alert", "red", 90, 70, 11, "d=16,o=6,b=160:b,g,e,8p,b,g,e", 9),
    ("deployment_failed", "red", 120, 80, 9, "d=8,o=5,b=200:a,f,d,a4", 9),
    ("dispute_opened", "red", 150, 100, 7, "d=8,o=5,b=200:g,e,c,g4", 8),
    ("ci_failed", "red", 150, 100, 6, "d=8,o=5,b=200:a,f,d", 8),
    ("alert_firing", "red", 120, 80, 8, "d=8,o=6,b=200:e,c,a5", 8),
    ("failure", "red", 150, 100, 6, "d=8,o=5,b=200:a,d", 8),
    ("sink_down", "red", 600, 200, 2, "d=4,o=5,b=180:e,c", 7),
    ("tunnel_down", "red", 600, 200, 2, "d=4,o=5,b=180:g,c", 7),
    ("payment_failed", "red", 200, 150, 4, "d=8,o=5,b=180:g,e,c", 7),
    ("invoice_failed", "red", 200, 150, 4, "d=8,o=5,b=180:g,e", 7),
    ("payout_failed", "red", 200, 150, 4, "d=8,o=5,b=180:f,c", 7),
    ("sms_failed", "red", 200, 150, 3, "d=8,o=5,b=200:f,d", 7),
    ("email_bounced", "red", 200, 150, 3, "d=8,o=5,b=200:e,d", 7),
    ("email_dropped", "red", 200, 150, 3, "d=8,o=5,b=200:e,c", 7),
    ("email_spam", "red", 200, 150, 3, "d=8,o=5,b=200:d,c", 7),
    // Look some time: falling, two notes.
    ("pr_changes_requested", "red", 300, 200, 3, "d=8,o=5,b=180:g,e", 6),
    ("warning", "red", 300, 200, 3, "d=8,o=5,b=180:f,e", 6),
    ("refund", "red", 300, 200, 2, "d=8,o=5,b=200:e,d", 6),
    ("subscription_cancelled", "red", 300, 200, 2, "d=8,o=5,b=200:g,d", 6),
    ("order_cancelled", "red", 300, 200, 2, "d=8,o=5,b=200:f,d", 6),
    ("call_missed", "red", 300, 200, 2, "d=8,o=5,b=200:a,e", 6),
    // hookbell itself.
    ("hookbell_sink_down", "red", 400, 200, 2, "d=8,o=5,b=180:e,c", 6),
    ("hookbell_tunnel_down", "red", 400, 200, 2, "d=8,o=5,b=180:g,c", 6),
    ("hookbell_disk_trouble", "red", 400, 200, 3, "d=8,o=5,b=180:a,c", 6),
    ("hookbell_database_damaged", "red", 400, 200, 3, "d=8,o=5,b=180:a,d", 6),
    ("hookbell_undelivered", "red", 400, 200, 2, "d=8,o=5,b=180:d,c", 6),
    ("hookbell_sink_failing", "red", 300, 200, 2, "d=8,o=5,b=200:e,c", 5),
    ("hookbell_source_failing", "red", 300, 200, 2, "d=8,o=5,b=200:f,c", 5),
    ("hookbell_source_silent", "red", 300, 200, 2, "d=8,o=5,b=200:g,c", 5),
    ("hookbell_clock_wrong", "red", 300, 200, 2, "d=8,o=5,b=200:a,c", 5),
    ("hookbell_not_reconciled", "red", 300, 200, 2, "d=8,o=5,b=200:d,a4", 5),
    ("hookbell_bell_broken", "red", 300, 200, 2, "d=8,o=5,b=200:b,c", 5),
    // Well done: rising.
    ("hookbell_recovered", "green", 300, 150, 2, "d=8,o=6,b=200:c,f", 4),
    ("release_published", "green", 100, 100, 9, "d=16,o=6,b=150:g5,c,e,8g,e,4g", 6),
    ("pr_merged", "green", 200, 200, 4, "d=16,o=6,b=180:c,e,g,8c7", 5),
    ("pr_approved", "green", 200, 150, 3, "d=16,o=6,b=180:g,8c7", 5),
    ("ci_fixed", "green", 150, 100, 5, "d=16,o=6,b=180:e,g,8b", 5),
    ("deployment_succeeded", "green", 300, 150, 3, "d=8,o=6,b=200:c,g", 5),
    ("alert_resolved", "green", 300, 150, 3, "d=8,o=6,b=200:c,e", 5),
    ("payment_succeeded", "green", 100, 60, 6, "d=32,o=7,b=200:b6,4e", 5),
    ("payment_received", "green", 100, 60, 6, "d=32,o=7,b=200:a6,4e", 5),
    ("order_paid", "green", 100, 60, 6, "d=32,o=7,b=200:b6,4d", 5),
    ("invoice_paid", "green", 100, 60, 5, "d=32,o=7,b=200:g6,4d", 5),
    ("payout_paid", "green", 100, 60, 5, "d=32,o=7,b=200:g6,4c", 5),
    ("checkout_completed", "green", 100, 60, 6, "d=32,o=7,b=200:g6,b6,4d", 5),
    ("subscription_started", "green", 100, 60, 6, "d=16,o=6,b=200:e,a,8b", 5),
    ("ci_passed", "green", 400, 0, 1, "d=16,o=6,b=180:c,e", 3),
    ("success", "green", 200, 200, 3, "d=16,o=6,b=180:c,g", 4),
    // Applause.
    ("repo_starred", "green", 60, 60, 8, "d=32,o=7,b=180:c,e,g", 4),
    ("repo_forked", "green", 60, 60, 8, "d=32,o=7,b=180:c,p,g", 4),
    ("user_signup", "green", 60, 60, 8, "d=32,o=7,b=180:c,f,a", 4),
    // Somebody waits for you: level.
    ("pr_review_requested", "blue", 200, 100, 5, "d=16,o=6,b=150:e,p,e,p,8e", 6),
    ("app_mention", "blue", 200, 100, 4, "d=16,o=6,b=150:g,p,g,p,g", 6),
    ("issue_assigned", "blue", 200, 100, 3, "d=16,o=6,b=150:e,p,e", 4),
    ("command", "blue", 200, 100, 2, "d=16,o=6,b=150:g,p,g", 4),
    // News: level, one note or two.
    ("issue_opened", "blue", 250, 150, 3, "d=16,o=6,b=150:e,8p,e", 4),
    ("issue_reopened", "blue", 250, 150, 3, "d=16,o=6,b=150:e", 4),
    ("pr_opened", "blue", 150, 100, 4, "d=16,o=6,b=150:c,p,c", 4),
    ("pr_reopened", "blue", 150, 100, 4, "d=16,o=6,b=150:c", 4),
    ("pr_ready", "blue", 150, 100, 4, "d=16,o=6,b=150:d,p,d", 4),
    ("pr_closed", "blue", 400, 200, 2, "d=8,o=5,b=150:c", 4),
    ("discussion_opened", "blue", 250, 150, 2, "d=16,o=6,b=150:d", 3),
    ("order_created", "blue", 150, 100, 4, "d=16,o=6,b=150:f,p,f", 4),
    ("order_placed", "blue", 150, 100, 4, "d=16,o=6,b=150:f,8p,f", 4),
    ("sms_received", "blue", 150, 100, 3, "d=32,o=7,b=150:c,p,c", 4),
    ("call_completed", "blue", 250, 150, 2, "d=16,o=6,b=150:f", 3),
    ("incident_acknowledged", "blue", 250, 150, 2, "d=16,o=6,b=150:a", 3),
    ("email_unsubscribed", "blue", 250, 150, 2, "d=16,o=5,b=150:f", 3),
    ("info", "blue", 250, 150, 2, "d=32,o=6,b=150:c", 3),
    // What happens all day: a tick.
    ("issue_closed", "blue", 80, 120, 2, "d=32,o=6,b=200:g", 2),
    ("issue_commented", "blue", 80, 120, 2, "d=32,o=6,b=200:c", 1),
    ("pr_commented", "blue", 80, 120, 2, "d=32,o=6,b=200:d", 1),
    ("repo_watched", "blue", 60, 60, 4, "d=32,o=7,b=200:c", 2),
    ("member_added", "blue", 60, 60, 4, "d=32,o=7,b=200:d", 2),
    ("member_joined", "blue", 60, 60, 4, "d=32,o=7,b=200:e", 2),
    ("push", "blue", 80, 0, 1, "d=32,o=6,b=200:e", 1),
    ("branch_created", "blue", 80, 0, 1, "d=32,o=6,b=200:f", 1),
    ("branch_deleted", "blue", 80, 0, 1, "d=32,o=5,b=200:f", 1),
    ("message", "blue", 80, 120, 2, "d=32,o=6,b=200:a", 1),
    ("message_received", "blue", 80, 120, 2, "d=32,o=6,b=200:a", 1),
    ("interaction", "blue", 80, 120, 2, "d=32,o=6,b=200:b", 1),
    ("reaction_added", "blue", 60, 60, 3, "d=32,o=7,b=200:g", 1),
    ("channel_created", "blue", 80, 120, 2, "d=32,o=6,b=200:f", 1),
    ("email_delivered", "blue", 80, 0, 1, "d=32,o=5,b=200:c", 1),
    ("email_opened", "blue", 80, 0, 1, "d=32,o=5,b=200:d", 1),
    ("email_clicked", "blue", 80, 0, 1, "d=32,o=5,b=200:e", 1),
    ("created", "blue", 80, 120, 2, "d=32,o=6,b=200:c", 1),
    ("updated", "blue", 80, 120, 2, "d=32,o=6,b=200:d", 1),
    ("deleted", "blue", 80, 120, 2, "d=32,o=5,b=200:c", 1),
    ("status_changed", "blue", 80, 120, 2, "d=32,o=6,b=200:e", 1),
    ("custom", "blue", 80, 120, 2, "d=32,o=6,b=200:g", 1),
    // For trying a cue; `hookbell bell test` tries every wire instead.
    ("test", "blue", 200, 200, 2, "d=16,o=6,b=150:c,p,c", 5),
];

/// Of the defaults, those that stay lit, and what ends each.
const LATCHED: &[(&str, &[&str])] = &[
    ("ci_failed", &[CI_PASSED, CI_FIXED]),
    ("deployment_failed", &["deployment_succeeded"]),
    ("alert_firing", &["alert_resolved"]),
];

/// What is played where the configuration says nothing: a cue per kind of event, one per severity for every other
/// name, and hookbell's own `sink_down`, `tunnel_down` and `test`.
pub fn default_cues() -> BTreeMap<String, Cue> {
    DEFAULTS.iter().map(|row| (row.0.to_owned(), from_row(row))).collect()
}

/// The name of the cue for a name that may have none: its own, else that of the severity.
pub fn resolve_name<'a>(cues: &BTreeMap<String, Cue>, name: &'a str, severity: Severity) -> &'a str {
    if cues.contains_key(name) { name } else { severity.name() }
}

/// The cue of that name; for a name that has none, the cue that is named like the severity, which always exists.
pub fn resolve(cues: &BTreeMap<String, Cue>, name: &str, severity: Severity) -> Cue {
    if let Some(cue) = cues.get(resolve_name(cues, name, severity)) {
        return cue.clone();
    }
    // Only a map without the defaults comes here.
    let row = DEFAULTS.iter().find(|row| row.0 == severity.name()).unwrap_or(&DEFAULTS[0]);
    from_row(row)
}

fn from_row(row: &Row) -> Cue {
    let &(name, led, on_ms, off_ms, times, tune, priority) = row;
    let latched = LATCHED.iter().find(|(latched, _)| *latched == name);
    Cue {
        led: Some(led.to_owned()),
        blink: Blink::ms(on_ms, off_ms, times),
        tune: Some(tune.to_owned()),
        priority,
        latch: latched.is_some(),
        // What blinks for days is no longer looked at.
        latch_pattern: latched.map(|_| Pattern::Solid),
        clears_on: latched.map(|(_, kinds)| kinds.iter().map(|kind| (*kind).to_owned()).collect()).unwrap_or_default(),
        ..plain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bell::{DEFAULT_LEDS, tune},
        provider::{KINDS, severity_of_kind},
    };

    /// Names that are no kind of event.
    const OTHERS: [&str; 7] = ["info", "success", "warning", "failure", "sink_down", "tunnel_down", "test"];

    #[test]
    fn every_kind_has_one_default_and_every_default_a_kind() {
        let cues = default_cues();
        for kind in KINDS.iter().chain(&OTHERS) {
            assert!(cues.contains_key(*kind), "{kind}");
        }
        assert_eq!(cues.len(), KINDS.len() + OTHERS.len());
        assert_eq!(cues.len(), DEFAULTS.len(), "a name stands twice");
    }

    #[test]
    fn defaults_are_short_and_playable() {
        for (name, cue) in default_cues() {
            let light = (cue.blink.on + cue.blink.off) * cue.blink.times;
            assert!(light < Duration::from_secs(2), "{name}: {light:?}");
            assert!(DEFAULT_LEDS.contains(&cue.led.as_deref().unwrap()), "{name}");
            let notes = tune::parse(cue.tune.as_deref().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
            let sound: Duration = notes.iter().map(|note| note.duration).sum();
            assert!(sound < Duration::from_secs(2), "{name}: {sound:?}");
        }
    }

    /// Success rises, failure and warning fall, news stays level; and so does the colour differ.
    #[test]
    fn motif_and_colour_say_how_it_went() {
        let cues = default_cues();
        let severity = |name: &str| match Severity::from_name(name) {
            Some(severity) => severity,
            None if name.ends_with("_down") => Severity::Failure,
            None => severity_of_kind(name),
        };
        for (name, cue) in &cues {
            let notes = tune::parse(cue.tune.as_deref().unwrap()).unwrap();
            let pitches: Vec<f64> = notes.iter().filter_map(|note| note.frequency_hz).collect();
            let rises = pitches.is_sorted_by(|a, b| a <= b) && pitches.first() < pitches.last();
            let falls = pitches.first() > pitches.last();
            let (led, motif) = match severity(name) {
                Severity::Success => ("green", rises),
                Severity::Warning | Severity::Failure => ("red", falls),
                // Applause and releases are good news that no provider calls a success.
                Severity::Info if cue.led.as_deref() == Some("green") => ("green", pitches.first() < pitches.last()),
                Severity::Info => ("blue", !rises && !falls),
            };
            assert_eq!(cue.led.as_deref(), Some(led), "{name}");
            assert!(motif, "{name}: {pitches:?}");
        }
    }

    #[test]
    fn failures_come_first() {
        let cues = default_cues();
        let loudest_other = cues.values().filter(|cue| cue.led.as_deref() != Some("red")).map(|cue| cue.priority).max();
        for name in ["ci_failed", "deployment_failed", "security_alert", "failure"] {
            assert!(Some(cues[name].priority) > loudest_other, "{name}");
        }
    }

    /// The table in README.md, from what it describes.
    #[test]
    fn the_readme_shows_this_table() {
        let mut table = String::from("| cue | LED | tune | priority |\n|---|---|---|---|\n");
        for &(name, led, on_ms, off_ms, times, tune, priority) in DEFAULTS {
            let light = match (times, off_ms) {
                (1, 0) => format!("{led}, {on_ms} ms"),
                _ => format!("{led}, {times} × {on_ms}/{off_ms} ms"),
            };
            let ends = LATCHED.iter().find(|(latched, _)| *latched == name).map(|(_, kinds)| {
                let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
                format!("; lit until {}", kinds.join(" or "))
            });
            table += &format!("| `{name}` | {light}{} | `{tune}` | {priority} |\n", ends.unwrap_or_default());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        if readme.contains(&table) {
            return;
        }
        let accepts = std::env::var_os("HOOKBELL_ACCEPT").is_some();
        assert!(
            accepts,
            "README.md shows other cues; HOOKBELL_ACCEPT=1 cargo test --lib readme_shows puts these there"
        );
        let begin = readme.find("| cue | LED |").or_else(|| readme.find("DEFAULT-CUES\n")).unwrap();
        let end = begin + readme[begin..].find("\n\n").unwrap() + 1;
        std::fs::write(path, format!("{}{table}{}", &readme[..begin], &readme[end..])).unwrap();
    }

    #[test]
    fn what_stays_lit_can_end() {
        for (name, cue) in default_cues().iter().filter(|(_, cue)| cue.latch) {
            assert!(!cue.clears_on.is_empty() && cue.clears_on.iter().all(|kind| KINDS.contains(&&**kind)), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_falls_back_by_severity() {
        let cues = default_cues();
        assert_eq!(resolve(&cues, "pr_merged", Severity::Failure), cues["pr_merged"]);
        for severity in [Severity::Info, Severity::Success, Severity::Warning, Severity::Failure] {
            assert_eq!(resolve(&cues, "something_new", severity), cues[severity.name()]);
            assert_eq!(resolve(&BTreeMap::new(), "something_new", severity), cues[severity.name()]);
        }
    }

    #[test]
    fn colours_without_pwm_are_on_or_off() {
        let shares = |name: &str, has_pwm| {
            let colour = Colour::from_name(name).unwrap();
            assert_eq!(colour.name(), name);
            [0, 1, 2].map(|part| colour.share(part, has_pwm))
        };
        assert_eq!(shares("orange", true), [100, 30, 0]);
        assert_eq!(shares("orange", false), [100, 100, 0]);
        assert_eq!(shares("pink", false), [100, 0, 100]);
        assert_eq!(shares("purple", false), [100, 0, 100]);
        assert!(Colour::names().all(|name| shares(name, false).contains(&100)));
        assert_eq!(Colour::from_name("mauve"), None);
    }
}
