//! The desk, line by line.

use super::*;
use crate::{
    bell::{Buzzer, Cue, Latch, Led, Parts, Pin, player},
    time::{ManualClock, Timestamp},
};

const PWM: Pin = Pin { pwm: true, ..Pin::plain(0) };

/// The desk of the README, and one with all there is.
fn small() -> bell::Settings {
    let leds = ["red", "green", "blue"].map(|name| (name.to_owned(), Led::Plain(Pin::plain(0))));
    let buzzer = Some(Buzzer { pin: Pin::plain(0), kind: BuzzerKind::Active, volume: 100 });
    bell::Settings { leds: leds.into(), buzzer, ..bell::Settings::default() }
}

fn large() -> bell::Settings {
    let leds = [
        ("desk", Led::Rgb([PWM; 3])),
        ("left_white", Led::Plain(Pin::plain(0))),
        ("lounge", Led::Plain(PWM)),
        ("orange", Led::Plain(PWM)),
    ];
    let buzzer = Some(Buzzer { pin: PWM, kind: BuzzerKind::Passive, volume: 100 });
    let leds = leds.map(|(name, led)| (name.to_owned(), led)).into();
    bell::Settings { leds, buzzer, status: Some(PWM), ..bell::Settings::default() }
}

fn state(settings: &bell::Settings) -> State {
    let now = Timestamp::from_ms(0);
    let parts = Parts { clock: std::sync::Arc::new(ManualClock::new(now)), newest: now, keeper: None };
    // The clock of a test is plainly wrong.
    State { is_quiet: false, ..player::new(settings.clone(), parts).0.state() }
}

fn edge(line: &str, level: u8, percent: Option<u8>, hz: Option<u32>) -> Edge {
    Edge { t_ms: 0, line: line.to_owned(), level, percent, hz, late_us: 0 }
}

fn latch(id: i64, cue: &str, subject: &str) -> Latch {
    let (cue, subject) = (cue.to_owned(), subject.to_owned());
    Latch { id, cue, source: "github".to_owned(), subject, what: "CI".to_owned(), since: Timestamp::from_ms(0) }
}

fn plain(desk: &DeskScreen, state: &State, width: usize) -> String {
    desk.draw(state, width, Ink::Plain).join("\n")
}

#[test]
fn a_dark_desk_says_that_nothing_happens() {
    let settings = small();
    let desk = DeskScreen::new(&settings);
    assert_eq!(
        plain(&desk, &state(&settings), 79),
        "\
desk   [  ] blue   [  ] green   [  ] red   [  ] buzzer
plays  nothing
lit    nothing"
    );
}

#[test]
fn what_plays_waits_and_stays_lit_is_told() {
    let settings = small();
    let mut desk = DeskScreen::new(&settings);
    desk.note(&edge("red", 1, None, None));
    desk.note(&edge("buzzer", 1, None, None));
    desk.note(&edge("nobody's", 1, None, None));
    let state = State {
        playing: Some("ci_failed".to_owned()),
        rings: 3,
        queued: 2,
        muted_until: Some(Timestamp::from_ms(1)),
        is_quiet: true,
        latched: vec![latch(2, "ci_failed", "acme/api@main ci"), latch(1, "alert_firing", "")],
        ..state(&settings)
    };
    assert_eq!(
        plain(&desk, &state, 79),
        "\
desk   [  ] blue   [  ] green   [##] red   [))] buzzer
plays  ci_failed ×3 · 2 wait · muted · quiet
lit    red: ci_failed acme/api@main ci and 1 more"
    );
    assert_eq!(
        plain(&desk, &state, 39),
        "\
desk   [  ] blue   [  ] green
       [##] red   [))] buzzer
plays  ci_failed ×3 · 2 wait · muted ·…
lit    red: ci_failed acme/… and 1 more"
    );
    let alone = State { latched: vec![latch(1, "alert_firing", "")], queued: 1, rings: 1, ..state };
    let told = plain(&desk, &State { muted_until: None, is_quiet: false, ..alone }, 79);
    assert!(told.ends_with("plays  ci_failed · 1 waits\nlit    red: alert_firing"), "{told}");
}

#[test]
fn dim_light_mixed_colours_and_pitches_are_told() {
    let settings = large();
    let mut desk = DeskScreen::new(&settings);
    let dark = plain(&desk, &state(&settings), 79);
    assert_eq!(
        dark,
        "\
desk   [  ] desk               [  ] left_white   [  ] lounge
       [  ] orange       [  ] status       [  ] buzzer
plays  nothing
lit    nothing"
    );
    for (line, percent, hz) in [
        ("desk.red", Some(30), None),
        ("desk.blue", Some(50), None),
        ("left_white", None, None),
        ("lounge", Some(1), None),
        ("orange", None, None),
        ("status", Some(12), None),
        ("buzzer", None, Some(1047)),
    ] {
        desk.note(&edge(line, 1, percent, hz));
    }
    let lit = plain(&desk, &state(&settings), 79);
    assert_eq!(
        lit,
        "\
desk   [##] desk purple 50%    [##] left_white   [##] lounge 1%
       [##] orange       [##] status 12%   [))] buzzer 1047 Hz
plays  nothing
lit    nothing"
    );
}

#[test]
fn colours_are_those_of_the_names() {
    let settings = small();
    let mut desk = DeskScreen::new(&settings);
    desk.note(&edge("red", 1, None, None));
    let lines = desk.draw(&state(&settings), 79, Ink::Colour);
    let dark = |name: &str| format!("\x1b[2m[\x1b[0m\x1b[2m  \x1b[0m\x1b[2m] {name}\x1b[0m");
    let lit = "\x1b[1m[\x1b[0m\x1b[38;5;124;48;5;196m##\x1b[0m\x1b[1m] red\x1b[0m";
    let row = [dark("blue"), dark("green"), lit.to_owned(), dark("buzzer")].join("   ");
    assert_eq!(lines[0], format!("\x1b[1mdesk\x1b[0m   {row}"));
    assert_eq!(lines[1], "\x1b[1mplays\x1b[0m  \x1b[2mnothing\x1b[0m");

    let ground =
        |name: &str, light| match Look::lamp(hue(name).map(|hue| [0, 1, 2].map(|part| hue.share(part, true))), light) {
            Look::Lamp { grain, ground } => (grain, ground),
            other => panic!("{other:?}"),
        };
    let table = [
        ("red", 100, (124, 196)),
        ("green", 100, (34, 46)),
        ("blue", 100, (19, 21)),
        ("white", 100, (145, 231)),
        ("yellow", 100, (136, 220)),
        ("top-orange", 100, (124, 208)),
        ("red", 1, (16, 88)),
        ("desk", 100, (240, 250)),
    ];
    for (name, light, expected) in table {
        assert_eq!(ground(name, light), expected, "{name} {light}");
    }
}

/// Whatever the desk does, it takes the same room, and never more than there is.
#[test]
fn every_line_fits_and_their_number_stays() {
    for settings in [small(), large(), bell::Settings::default()] {
        let dark = DeskScreen::new(&settings);
        let mut lit = DeskScreen::new(&settings);
        for wire in Wires::new(&settings).lines {
            let (percent, hz) = match wire.part {
                bell::Part::Led => (wire.pin.pwm.then_some(99), None),
                bell::Part::Buzzer(kind) => (None, (kind == BuzzerKind::Passive).then_some(2093)),
            };
            lit.note(&edge(&wire.name, 1, percent, hz));
        }
        let calm = state(&settings);
        let busy = State {
            playing: Some("pr_changes_requested".to_owned()),
            rings: 1000,
            queued: 8,
            error: Some("no chip\u{1b}[2J is called 🔔🔔🔔🔔 like that, and there is no other".to_owned()),
            latched: (0..3)
                .map(|id| latch(id, "deployment_failed", "acme/東京東京東京東京東京東京@main deployment"))
                .collect(),
            ..calm.clone()
        };
        for width in 0..100 {
            for ink in [Ink::Plain, Ink::Colour] {
                let (before, after) = (dark.draw(&calm, width, ink), lit.draw(&busy, width, ink));
                assert_eq!(before.len(), after.len(), "{width}");
                for line in before.iter().chain(&after) {
                    assert!(columns(line) <= width.max(LABEL), "{width}: {line}");
                    assert!(!line.contains("\x1b[2J"), "{line}");
                }
            }
        }
    }
}

#[test]
fn lost_edges_are_made_good() {
    let settings = small();
    let mut desk = DeskScreen::new(&settings);
    desk.note(&edge("red", 1, None, None));
    desk.correct(&state(&settings));
    assert!(plain(&desk, &state(&settings), 79).contains("[  ] red"));
}

#[test]
fn an_edge_in_words() {
    let words = |level, percent, hz| DeskScreen::edge(&edge("red", level, percent, hz));
    assert_eq!(words(1, None, None), "red on");
    assert_eq!(words(1, Some(40), None), "red on 40%");
    assert_eq!(words(1, None, Some(440)), "red on 440 Hz");
    assert_eq!(words(0, None, None), "red off");
}

#[test]
fn a_latch_is_told_where_it_is_seen() {
    let settings = bell::Settings { leds: large().leds, cues: BTreeMap::new(), ..small() };
    let cue = |led: Option<&str>| Cue { latch: true, led: led.map(str::to_owned), ..bell::cue::plain() };
    let cues = [("a", cue(Some("orange"))), ("b", cue(Some("red"))), ("c", cue(None))];
    let cues = cues.map(|(name, cue)| (name.to_owned(), cue)).into();
    let desk = DeskScreen::new(&bell::Settings { cues, ..settings });
    assert_eq!(["a", "b", "c"].map(|cue| desk.place(cue)), ["orange", "desk", "first"]);
}

#[test]
fn a_story_is_folded_between_words() {
    assert_eq!(fold("one two three", 7 + 7), ["one two", "three"]);
    assert_eq!(fold("a https://example.com/long b", 7 + 10), ["a https://example.com/long", "b"]);
    assert_eq!(fold("🔀 ab", 7 + 4), ["🔀", "ab"]);
    assert_eq!(fold("", 0), [""]);
}
