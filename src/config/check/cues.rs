//! `[cues.*]`: what the bell plays. The file's fields are laid over the cue of the same name that the house has.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    bell::{Blink, Cue, cue, tune},
    config::{
        problem::{Fault, Report},
        raw::{Node, Section},
        value,
    },
};

/// A cue is a signal; what goes on for longer is in the way of the next.
const CUE_MS_MAX: u64 = 10_000;
const BLINK_TIMES_MAX: u32 = 50;
const TUNE_CHARS_MAX: usize = 2000;

/// What a cue that the house does not have starts from.
const PLAIN: Cue = Cue {
    led: None,
    blink: Blink { on: Duration::from_millis(200), off: Duration::from_millis(200), times: 3 },
    tune: None,
    priority: 5,
};

/// The house's cues with the file's laid over them. The house's colours are a proposal, for which the player takes
/// another LED where the colour is not wired; the file's own must be wired.
pub(super) fn cues(section: Section<'_>, leds: &[&str], report: &mut Report) -> BTreeMap<String, Cue> {
    let mut cues = cue::default_cues();
    let place = section.place.clone();
    for (name, node) in section.entries() {
        if name.is_empty() {
            report.error(&place, Fault::new("a cue needs a name"));
        }
        let place = node.place.clone();
        match node.section() {
            Ok(section) => {
                let base = cues.remove(name).unwrap_or(PLAIN);
                cues.insert(name.to_owned(), cue(section, base, leds, report));
            }
            Err(fault) => report.error(&place, fault),
        }
    }
    cues
}

fn cue(mut section: Section<'_>, base: Cue, leds: &[&str], report: &mut Report) -> Cue {
    let led = section.read("led", report, |node| match node.text()? {
        // Takes the light from a cue that the house has.
        "" => Ok(None),
        led if leds.contains(&led) => Ok(Some(led.to_owned())),
        led => Err(Fault::new(format!("no LED is called `{led}` in [bell]")).hint_nearest(led, leds.iter().copied())),
    });
    let blink = blink(section.section("blink", report), base.blink, report);
    let tune = section.read("tune", report, |node| match node.text()? {
        "" => Ok(None),
        tune if tune.chars().count() > TUNE_CHARS_MAX => {
            Err(Fault::new(format!("the tune is longer than {TUNE_CHARS_MAX} characters")))
        }
        text => match tune::parse(text) {
            Ok(_) => Ok(Some(text.to_owned())),
            Err(error) => Err(Fault::new(format!("not a tune: {error}")).hint("write \"d=16,o=6,b=180:c,e,g\"")),
        },
    });
    let priority = section.read("priority", report, |node| value::whole(node, 0..=255));
    if section.read("latch", report, Node::flag) == Some(true) {
        report.no_effect(&section.place_of("latch"));
    }
    if section.read_list("clears_on", report, |node| node.text()).is_some() {
        report.no_effect(&section.place_of("clears_on"));
    }

    let mentions = section.get("led").is_some() || section.get("tune").is_some();
    let cue = Cue {
        led: led.unwrap_or(base.led),
        blink,
        tune: tune.unwrap_or(base.tune),
        priority: priority.and_then(|priority| u8::try_from(priority).ok()).unwrap_or(base.priority),
    };
    if cue.led.is_none() && cue.tune.is_none() && !mentions {
        report.warn(&section.place, Fault::new("this cue plays nothing").hint("give it an `led` or a `tune`"));
    }
    section.finish(report);
    cue
}

fn blink(mut section: Section<'_>, base: Blink, report: &mut Report) -> Blink {
    let ms_max = u32::try_from(CUE_MS_MAX).unwrap_or(u32::MAX);
    let mut ms = |section: &mut Section<'_>, key, least: u32, base: Duration| {
        let ms = section.read(key, report, |node| value::whole(node, least..=ms_max));
        ms.map_or(base, |ms| Duration::from_millis(ms.into()))
    };
    let on = ms(&mut section, "on_ms", 1, base.on);
    let off = ms(&mut section, "off_ms", 0, base.off);
    let times = section.read("times", report, |node| value::whole(node, 1..=BLINK_TIMES_MAX)).unwrap_or(base.times);
    let total = (on + off) * times;
    if total > Duration::from_millis(CUE_MS_MAX) {
        let what = format!("blinks for {} in all; the longest is 10 s", value::show_duration(total));
        report.error(&section.place, Fault::new(what).hint("blink less often or faster"));
    }
    section.finish(report);
    Blink { on, off, times }
}
