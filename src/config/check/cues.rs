//! `[cues.*]`: what the bell plays. The file's fields are laid over the cue of the same name that the house has.

use std::{collections::BTreeMap, time::Duration};

use super::bell::{LATCH_MIN, LATCH_MOST};
use crate::{
    bell::{Blink, Colour, Cue, Pattern, cue, tune},
    config::{
        problem::{Fault, Report},
        raw::{Node, Section},
        value,
    },
    provider::KINDS,
};

/// A cue is a signal; what goes on for longer is in the way of the next.
const CUE_MS_MAX: u64 = 10_000;
const BLINK_TIMES_MAX: u32 = 50;
const TUNE_CHARS_MAX: usize = 2000;
const PRIORITY_MAX: u32 = 255;

/// The house's cues with the file's laid over them. The house's colours are a proposal, for which the player takes
/// another LED where the colour is not wired; the file's own must be wired.
pub(super) fn cues(section: Section<'_>, leds: &[(&str, bool)], report: &mut Report) -> BTreeMap<String, Cue> {
    let mut cues = cue::default_cues();
    let place = section.place.clone();
    for (name, node) in section.entries() {
        if name.is_empty() {
            report.error(&place, Fault::new("a cue needs a name"));
        }
        let place = node.place.clone();
        match node.section() {
            Ok(section) => {
                let base = cues.remove(name).unwrap_or_else(cue::plain);
                cues.insert(name.to_owned(), cue(section, base, leds, report));
            }
            Err(fault) => report.error(&place, fault),
        }
    }
    cues
}

fn cue(mut section: Section<'_>, base: Cue, leds: &[(&str, bool)], report: &mut Report) -> Cue {
    let led = section.read("led", report, |node| match node.text()? {
        // Takes the light from a cue that the house has.
        "" => Ok(None),
        led if leds.iter().any(|(name, _)| *name == led) => Ok(Some(led.to_owned())),
        led => Err(Fault::new(format!("no LED is called `{led}` in [bell]"))
            .hint_nearest(led, leds.iter().map(|(name, _)| *name))),
    });
    let led = led.unwrap_or(base.led);
    let colour = section.read("colour", report, |node| {
        let name = node.text()?;
        let fault = || Fault::new(format!("no colour is called `{name}`")).hint_nearest(name, Colour::names());
        Colour::from_name(name).ok_or_else(fault)
    });
    let is_plain = |name: &str| leds.iter().any(|(led, has_colours)| *led == name && !has_colours);
    if colour.is_some() && led.as_deref().is_some_and(is_plain) {
        let fault = Fault::new("this LED has one colour");
        report.warn(&section.place_of("colour"), fault.hint("{ red = 17, green = 27, blue = 22 } in `leds` has three"));
    }

    let names_blink = section.get("blink").is_some();
    let blink = blink(section.section("blink", report), base.blink, report);
    let pattern = section.read("pattern", report, |node| value::choice(node, &Pattern::NAMED));
    let pattern = pattern.unwrap_or(if names_blink { Pattern::Blink } else { base.pattern });
    if names_blink && pattern != Pattern::Blink {
        let fault = Fault::new(format!("`blink` says how an LED blinks, and the pattern is `{}`", pattern.name()));
        report.error(&section.place_of("blink"), fault.hint("leave one of them out; `lasts` says for how long"));
    }
    let lasts_range = Duration::from_millis(10)..=Duration::from_millis(CUE_MS_MAX);
    let lasts = section.read("lasts", report, |node| value::duration(node, lasts_range));
    if lasts.is_some() && pattern == Pattern::Blink {
        let fault = Fault::new("how long it blinks is said by `blink`");
        report.error(&section.place_of("lasts"), fault.hint("write blink = { on_ms = …, off_ms = …, times = … }"));
    }

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
    let priority = section.read("priority", report, |node| value::whole(node, 0..=PRIORITY_MAX));
    let even_if_quiet = section.read("even_if_quiet", report, Node::flag);

    let latch = section.read("latch", report, Node::flag).unwrap_or(base.latch);
    let latch_pattern = section.read("latch_pattern", report, |node| value::choice(node, &Pattern::NAMED));
    let clears_on = section.read_list("clears_on", report, |node| match node.text()? {
        kind if KINDS.contains(&kind) => Ok(kind.to_owned()),
        kind => Err(Fault::new(format!("no event is of the kind `{kind}`")).hint_nearest(kind, KINDS.iter().copied())),
    });
    let latch_max = section.read("latch_max", report, |node| value::duration(node, LATCH_MIN..=LATCH_MOST));
    for key in ["latch_pattern", "clears_on", "latch_max"] {
        if !latch && section.get(key).is_some() {
            let fault = Fault::new(format!("`{key}` is about what stays lit, and this cue does not"));
            report.warn(&section.place_of(key), fault.hint("add latch = true"));
        }
    }
    if latch && led.is_none() {
        report.error(&section.place_of("latch"), Fault::new("nothing stays lit without an LED").hint("add led ="));
    }

    let mentions = section.get("led").is_some() || section.get("tune").is_some();
    let cue = Cue {
        led,
        colour: colour.or(base.colour),
        pattern,
        lasts: lasts.unwrap_or(base.lasts),
        blink,
        tune: tune.unwrap_or(base.tune),
        priority: priority.and_then(|priority| u8::try_from(priority).ok()).unwrap_or(base.priority),
        latch,
        latch_pattern: latch_pattern.or(base.latch_pattern),
        clears_on: clears_on.unwrap_or(base.clears_on),
        latch_max: latch_max.or(base.latch_max),
        even_if_quiet: even_if_quiet.unwrap_or(base.even_if_quiet),
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
    let on = ms(&mut section, "on_ms", 5, base.on);
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
