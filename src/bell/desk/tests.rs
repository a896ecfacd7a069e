//! The desk by a clock that is told to move: what is done when, and every edge that comes of it.

use proptest::prelude::*;

use super::*;
use crate::{
    bell::{BuzzerKind, Cue, Led, Pattern, Pin, Settings, cue},
    time::Timestamp,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn wired() -> Settings {
    let pin = |bcm| Pin { bcm, active_low: false, pwm: false };
    Settings {
        leds: [("red", 17), ("green", 27), ("blue", 22)]
            .map(|(name, bcm)| (name.to_owned(), Led::Plain(pin(bcm))))
            .into(),
        buzzer: Some(crate::bell::Buzzer { pin: pin(18), kind: BuzzerKind::Active, volume: 100 }),
        ..Settings::default()
    }
}

/// A desk, and what it did so far.
struct Rig {
    desk: Desk,
    wires: Arc<Wires>,
    at: Duration,
    shown: Vec<Level>,
    edges: Vec<String>,
    is_hushed: bool,
}

impl Rig {
    fn of(settings: &Settings) -> Rig {
        let wires = Arc::new(Wires::new(settings));
        let shown = vec![Level::Off; wires.lines.len()];
        let desk = Desk::new(Arc::clone(&wires));
        Rig { desk, wires, at: Duration::ZERO, shown, edges: Vec::new(), is_hushed: false }
    }

    fn new() -> Rig {
        Rig::of(&wired())
    }

    fn look(&mut self, at: Duration) {
        let hushed = self.is_hushed;
        self.desk.advance(at, &|| hushed);
        for (line, level) in self.desk.levels(at).into_iter().enumerate() {
            if self.shown[line] != level {
                self.shown[line] = level;
                let lit = match level {
                    Level::Off => "0".to_owned(),
                    Level::On | Level::Tone { .. } => "1".to_owned(),
                    Level::Dim(percent) => format!("{percent}%"),
                };
                self.edges.push(format!("{} {} {lit}", at.as_millis(), self.wires.lines[line].name));
            }
        }
        self.at = at;
    }

    /// Every edge up to this moment.
    fn run(&mut self, to_ms: u64) {
        while let Some(next) = self.desk.next(self.at).filter(|next| *next <= ms(to_ms)) {
            self.look(next);
        }
        self.look(ms(to_ms));
    }

    fn ring_as(&mut self, at_ms: u64, name: &str, cue: &Cue, is_fresh: bool) -> Taken {
        self.run(at_ms);
        let request = Request {
            name: name.to_owned(),
            priority: cue.priority.into(),
            score: Score::of(cue, &self.wires),
            is_fresh,
            even_if_quiet: cue.even_if_quiet,
            even_if_muted: false,
            mark: Some(i64::try_from(at_ms).unwrap()),
        };
        let hushed = self.is_hushed;
        let taken = self.desk.ring(ms(at_ms), request, &|| hushed);
        self.look(ms(at_ms));
        taken
    }

    /// `low` is green for 400 ms, `mid` blue, `high` red, each with a tone of about 100 ms.
    fn ring(&mut self, at_ms: u64, name: &str) -> Taken {
        let cue = plain(name);
        self.ring_as(at_ms, name, &cue, true)
    }

    fn latch(&mut self, at_ms: u64, id: i64, name: &str, subject: &str, left_ms: u64) {
        self.run(at_ms);
        let cue = plain(name);
        let lights = Score::latched(&Cue { latch_pattern: Some(Pattern::Solid), ..cue.clone() }, &self.wires);
        self.desk.latch(ms(at_ms), latch(id, name, subject), cue.priority.into(), lights, ms(left_ms));
        self.look(ms(at_ms));
    }

    /// Something is done to the desk now.
    fn act<T>(&mut self, act: impl FnOnce(&mut Desk) -> T) -> T {
        let done = act(&mut self.desk);
        self.look(self.at);
        done
    }

    fn check(mut self, to_ms: u64, expected: &[&str]) {
        self.run(to_ms);
        assert_eq!(self.edges, expected);
    }
}

fn latch(id: i64, cue: &str, subject: &str) -> Latch {
    Latch {
        id,
        cue: cue.to_owned(),
        source: "github".to_owned(),
        subject: subject.to_owned(),
        what: String::new(),
        since: Timestamp::from_ms(0),
    }
}

fn plain(name: &str) -> Cue {
    let (led, priority) = match name.split(' ').next() {
        Some("high") => ("red", 9),
        Some("mid") => ("blue", 5),
        _ => ("green", 1),
    };
    Cue {
        led: Some(led.to_owned()),
        pattern: Pattern::Solid,
        lasts: ms(400),
        tune: Some("d=8,b=240:c".to_owned()),
        priority,
        ..cue::plain()
    }
}

#[test]
fn light_and_sound_begin_together() {
    let mut rig = Rig::new();
    assert_eq!(rig.ring(100, "low"), Taken::Queued);
    rig.check(1000, &["100 green 1", "100 buzzer 1", "209 buzzer 0", "500 green 0"]);
}

#[test]
fn a_higher_one_interrupts_and_the_lower_one_s_light_returns() {
    let mut rig = Rig::new();
    rig.ring(0, "low");
    assert_eq!(rig.ring(50, "high"), Taken::Queued);
    assert_eq!(rig.desk.playing(), Some(("high", 1)));
    // The lower one is over at 400; it has nothing to return to at 450.
    rig.check(1000, &["0 green 1", "0 buzzer 1", "50 green 0", "50 red 1", "159 buzzer 0", "450 red 0"]);
    let mut rig = Rig::new();
    rig.ring_as(0, "long", &Cue { lasts: ms(5000), tune: None, ..plain("low") }, true);
    rig.ring(1000, "high");
    assert_eq!(rig.ring(1100, "mid"), Taken::Queued, "waits");
    rig.check(
        8000,
        &[
            "0 green 1",
            "1000 green 0",
            "1000 red 1",
            "1000 buzzer 1",
            "1109 buzzer 0",
            "1400 red 0",
            // A rest, and then what is higher than what was interrupted.
            "1650 blue 1",
            "1650 buzzer 1",
            "1759 buzzer 0",
            "2050 blue 0",
            "2050 green 1",
            "5000 green 0",
        ],
    );
}

#[test]
fn what_returns_is_where_it_would_be_by_now() {
    let mut rig = Rig::new();
    let blinking = Cue {
        pattern: Pattern::Blink,
        blink: crate::bell::Blink::ms(300, 300, 4),
        tune: Some("d=1,b=120:c,c".to_owned()),
        ..plain("low")
    };
    rig.ring_as(0, "low", &blinking, true);
    rig.ring_as(100, "high", &Cue { tune: None, lasts: ms(600), ..plain("high") }, true);
    rig.check(
        3000,
        &[
            "0 green 1",
            "0 buzzer 1",
            "100 green 0",
            "100 red 1",
            "100 buzzer 0",
            // Its third blink began at 600; its tune does not go on.
            "700 green 1",
            "700 red 0",
            "900 green 0",
            "1200 green 1",
            "1500 green 0",
            "1800 green 1",
            "2100 green 0",
        ],
    );
}

#[test]
fn equal_ones_queue_with_a_rest_between() {
    let mut rig = Rig::new();
    rig.ring_as(0, "a", &Cue { tune: None, ..plain("low") }, true);
    rig.ring_as(10, "b", &Cue { tune: None, ..plain("low") }, true);
    rig.check(2000, &["0 green 1", "400 green 0", "650 green 1", "1050 green 0"]);
}

#[test]
fn the_ninth_is_skipped_and_the_loudest_is_not() {
    let mut rig = Rig::new();
    rig.ring(0, "low");
    for number in 0..QUEUE_MAX {
        assert_eq!(rig.ring(1, &format!("low {number}")), Taken::Queued);
    }
    assert_eq!(rig.ring(2, "low more"), Taken::Skipped("8 other cues are waiting".to_owned()));
    assert_eq!(rig.ring(2, "low 3"), Taken::Merged);
    assert_eq!(rig.ring(3, "high"), Taken::Queued, "it interrupts and needs no place");
    assert_eq!(rig.ring(4, "mid"), Taken::Queued, "the last of the low ones gives way");
    assert_eq!(rig.desk.waiting(), QUEUE_MAX);
    assert_eq!(rig.ring(5, "low 7"), Taken::Skipped("8 other cues are waiting".to_owned()));
}

#[test]
fn a_burst_within_a_cue_s_own_length_counts() {
    let mut rig = Rig::new();
    assert_eq!(rig.ring(0, "low"), Taken::Queued);
    for number in 1..20 {
        assert_eq!(rig.ring(number * 20, "low"), Taken::Merged);
    }
    assert_eq!(rig.desk.playing(), Some(("low", 20)));
    assert_eq!(rig.ring(400, "low"), Taken::Queued, "its length is over");
    let edges = [
        "0 green 1",
        "0 buzzer 1",
        "109 buzzer 0",
        "400 green 0",
        "400 green 1",
        "400 buzzer 1",
        "509 buzzer 0",
        "800 green 0",
    ];
    rig.check(2000, &edges);
}

#[test]
fn a_burst_counts_also_while_it_waits_or_is_interrupted() {
    let mut rig = Rig::new();
    rig.ring(0, "low");
    rig.ring(1, "low again");
    rig.ring_as(2, "high", &Cue { lasts: ms(100), tune: None, ..plain("high") }, true);
    assert_eq!((rig.ring(3, "low"), rig.ring(3, "low again")), (Taken::Merged, Taken::Merged));
}

#[test]
fn what_was_interrupted_and_is_over_stands_for_nothing() {
    let mut rig = Rig::new();
    rig.ring(0, "low");
    rig.ring_as(50, "high", &Cue { lasts: ms(5000), tune: None, ..plain("high") }, true);
    assert_eq!(rig.ring(300, "low"), Taken::Queued, "it is over at 400, and red goes on until 5050");
    rig.run(6000);
    let green: Vec<&String> = rig.edges.iter().filter(|edge| edge.contains("green")).collect();
    assert_eq!(green, ["0 green 1", "50 green 0", "5300 green 1", "5700 green 0"]);
    assert_eq!(rig.desk.take_begun(), [0, 50, 300]);
}

#[test]
fn what_returns_tells_of_those_that_came_meanwhile() {
    let mut rig = Rig::new();
    rig.ring_as(0, "low", &Cue { lasts: ms(5000), tune: None, ..plain("low") }, true);
    rig.ring(100, "high");
    assert_eq!(rig.ring(200, "low"), Taken::Merged);
    assert_eq!(rig.desk.take_begun(), [0, 100]);
    assert_eq!(rig.ring(201, "high"), Taken::Merged);
    assert_eq!(rig.desk.take_begun(), [201], "it is being shown");
    rig.run(600);
    assert_eq!(rig.desk.take_begun(), [200]);
}

#[test]
fn what_is_new_sounds_although_the_same_came_late_before_it() {
    let mut rig = Rig::new();
    rig.ring(0, "mid");
    assert_eq!(rig.ring_as(1, "low", &plain("low"), false), Taken::Queued);
    assert_eq!(rig.ring_as(2, "low", &plain("low"), true), Taken::Merged);
    rig.run(2000);
    assert!(rig.edges.contains(&"650 buzzer 1".to_owned()), "{:?}", rig.edges);
    let mut rig = Rig::new();
    rig.ring_as(0, "low", &plain("low"), false);
    assert_eq!(rig.ring_as(100, "low", &plain("low"), false), Taken::Merged);
    assert_eq!(
        rig.ring_as(200, "low", &plain("low"), true),
        Taken::Queued,
        "what plays in silence does not stand for it"
    );
    rig.run(2000);
    assert!(rig.edges.contains(&"650 buzzer 1".to_owned()), "{:?}", rig.edges);
}

#[test]
fn a_moment_before_a_latch_is_no_end_of_it() {
    let mut rig = Rig::new();
    rig.run(10);
    let cue = Cue { pattern: Pattern::Blink, blink: crate::bell::Blink::ms(100, 100, 1), ..plain("high") };
    let lights = Score::latched(&cue, &rig.wires);
    rig.desk.latch(ms(11), latch(1, "high", "main"), 9, lights, ms(1_000_000));
    assert_eq!(rig.desk.next(ms(10)), Some(ms(11)));
    assert_eq!(rig.desk.next(ms(11)), Some(ms(111)));
}

#[test]
fn marks_are_told_once_their_cue_begins() {
    let mut rig = Rig::new();
    rig.ring(0, "low");
    assert_eq!(rig.desk.take_begun(), [0]);
    rig.ring(1, "low more");
    rig.ring(2, "low more");
    assert!(rig.desk.take_begun().is_empty());
    rig.run(1000);
    assert_eq!(rig.desk.take_begun(), [1, 2]);
}

#[test]
fn what_is_stale_lights_and_does_not_sound() {
    let mut rig = Rig::new();
    rig.ring_as(0, "low", &plain("low"), false);
    rig.check(1000, &["0 green 1", "400 green 0"]);
}

#[test]
fn quiet_and_mute_silence_the_buzzer_alone() {
    let mut rig = Rig::new();
    rig.is_hushed = true;
    rig.ring(0, "low");
    rig.ring_as(1000, "high", &Cue { even_if_quiet: true, ..plain("high") }, true);
    rig.is_hushed = false;
    rig.run(2000);
    rig.act(|desk| desk.mute(Some(ms(5000))));
    rig.ring_as(2000, "mid", &Cue { even_if_quiet: true, ..plain("mid") }, true);
    rig.check(
        2500,
        &[
            "0 green 1",
            "400 green 0",
            "1000 red 1",
            "1000 buzzer 1",
            "1109 buzzer 0",
            "1400 red 0",
            "2000 blue 1",
            "2400 blue 0",
        ],
    );
}

#[test]
fn muting_ends_the_sound_at_once_and_by_itself() {
    let mut rig = Rig::new();
    rig.ring_as(0, "low", &Cue { tune: Some("d=1,b=60:c,c".to_owned()), lasts: ms(100), ..plain("low") }, true);
    rig.run(200);
    rig.act(|desk| desk.mute(Some(ms(1000))));
    rig.run(6000);
    let buzzer: Vec<&String> = rig.edges.iter().filter(|edge| edge.contains("buzzer")).collect();
    assert_eq!(buzzer, ["0 buzzer 1", "200 buzzer 0", "1000 buzzer 1", "3960 buzzer 0", "4000 buzzer 1"]);
    assert_eq!(rig.desk.muted_until(), None);
}

#[test]
fn being_muted_is_a_slow_dim_pulse() {
    let mut rig = Rig::new();
    rig.act(|desk| desk.mute(Some(ms(9000))));
    rig.check(10_000, &["0 blue 1", "15 blue 0", "4000 blue 1", "4015 blue 0", "8000 blue 1", "8015 blue 0"]);
}

#[test]
fn a_latch_stays_until_it_is_cleared() {
    let mut rig = Rig::new();
    rig.latch(0, 1, "high", "acme/api@main ci", 1_000_000);
    rig.run(50_000);
    assert_eq!(rig.edges, ["0 red 1"]);
    rig.act(|desk| desk.clear(&[2]));
    rig.run(60_000);
    assert_eq!(rig.edges.len(), 1, "another one");
    rig.act(|desk| desk.clear(&[1]));
    rig.check(70_000, &["0 red 1", "60000 red 0"]);
}

#[test]
fn several_latches_on_one_led_are_on_while_any_is() {
    let mut rig = Rig::new();
    rig.latch(0, 1, "high", "main", 1_000_000);
    rig.latch(10, 2, "high", "dev", 1_000_000);
    rig.act(|desk| desk.clear(&[1]));
    rig.run(100);
    assert_eq!(rig.edges, ["0 red 1"]);
    rig.latch(200, 3, "high", "dev", 1_000_000);
    assert_eq!(rig.desk.latches().iter().map(|latch| latch.id).collect::<Vec<_>>(), [3], "in place of the one before");
    let acknowledged = rig.act(|desk| desk.acknowledge());
    assert_eq!(acknowledged, [latch(3, "high", "dev")]);
    rig.check(300, &["0 red 1", "200 red 0"]);
}

#[test]
fn a_latch_ends_by_itself_and_says_so() {
    let mut rig = Rig::new();
    rig.latch(0, 7, "high", "main", 5000);
    rig.run(4999);
    assert!(rig.desk.take_expired().is_empty());
    rig.run(6000);
    assert_eq!(rig.desk.take_expired(), [7]);
    rig.check(7000, &["0 red 1", "5000 red 0"]);
}

#[test]
fn a_cue_covers_what_stays_lit_only_where_it_shines() {
    let mut rig = Rig::new();
    rig.latch(0, 1, "high", "main", 1_000_000);
    rig.ring_as(100, "mid", &Cue { tune: None, ..plain("mid") }, true);
    let blinks =
        Cue { pattern: Pattern::Blink, blink: crate::bell::Blink::ms(100, 100, 2), tune: None, ..plain("high") };
    rig.ring_as(1000, "high", &blinks, true);
    rig.check(
        2000,
        &[
            "0 red 1",
            "100 blue 1",
            "500 blue 0",
            "1100 red 0",
            "1200 red 1",
            "1300 red 0",
            // The latch again.
            "1400 red 1",
        ],
    );
}

#[test]
fn the_most_important_latch_is_the_one_that_is_seen() {
    let mut rig = Rig::new();
    rig.run(0);
    let blinking = Cue { pattern: Pattern::Blink, blink: crate::bell::Blink::ms(100, 100, 1), ..plain("mid") };
    let lights = Score::latched(&Cue { led: Some("red".to_owned()), ..blinking }, &rig.wires);
    rig.latch(0, 1, "high", "main", 1_000_000);
    rig.desk.latch(ms(0), latch(2, "mid", "dev"), 5, lights, ms(1_000_000));
    rig.run(1000);
    rig.act(|desk| desk.clear(&[1]));
    rig.check(1250, &["0 red 1", "1100 red 0", "1200 red 1"]);
}

#[test]
fn latches_are_bounded_and_the_oldest_goes() {
    let mut rig = Rig::new();
    for id in 0..=i64::try_from(LATCHES_MAX).unwrap() {
        rig.latch(0, id, "high", &id.to_string(), 1_000_000);
    }
    assert_eq!(rig.desk.take_expired(), [0]);
    assert_eq!(rig.desk.latches().len(), LATCHES_MAX);
}

#[test]
fn silence_forgets_cues_and_keeps_latches() {
    let mut rig = Rig::new();
    rig.latch(0, 1, "high", "main", 1_000_000);
    rig.ring(100, "low");
    rig.ring(110, "low more");
    rig.run(120);
    rig.act(|desk| desk.silence());
    rig.check(2000, &["0 red 1", "100 green 1", "100 buzzer 1", "120 green 0", "120 buzzer 0"]);
}

#[test]
fn the_status_led_shows_how_it_is() {
    let status = Some(Pin::plain(24));
    let mut rig = Rig::of(&Settings { status, ..wired() });
    rig.look(ms(0));
    rig.run(5500);
    let vitals = |storage_fails, sink_down, tunnel_down| Vitals { storage_fails, sink_down, tunnel_down };
    rig.act(|desk| desk.set_vitals(ms(5500), vitals(false, true, true)));
    rig.run(7600);
    rig.act(|desk| desk.set_vitals(ms(7600), vitals(false, false, true)));
    rig.run(9000);
    rig.act(|desk| desk.set_vitals(ms(9000), vitals(true, false, true)));
    rig.run(9350);
    rig.act(|desk| desk.set_vitals(ms(9350), vitals(false, false, false)));
    rig.act(|desk| desk.mute(Some(ms(100_000))));
    rig.run(12_100);
    let at: Vec<&str> =
        rig.edges.iter().map(|edge| edge.strip_suffix(" status 1").unwrap_or("-")).filter(|at| *at != "-").collect();
    // A heartbeat every 5 s; double; triple; fast; and at 12 s the pulse of being muted.
    assert_eq!(at, ["0", "5000", "5500", "5850", "7600", "7950", "8300", "9000", "9200", "9350", "12000"]);
}

#[test]
fn an_rgb_led_has_colours_and_breathes_by_pwm() {
    let pin = |bcm, pwm| Pin { bcm, active_low: false, pwm };
    let with = |pwm| Settings {
        leds: [("desk".to_owned(), Led::Rgb([pin(5, pwm), pin(6, pwm), pin(13, pwm)]))].into(),
        ..wired()
    };
    let cue = |colour: &str| Cue {
        led: Some("desk".to_owned()),
        colour: crate::bell::Colour::from_name(colour),
        lasts: ms(100),
        tune: None,
        ..plain("low")
    };
    let mut rig = Rig::of(&with(false));
    rig.ring_as(0, "a", &cue("orange"), true);
    rig.check(50, &["0 desk.red 1", "0 desk.green 1"]);
    let mut rig = Rig::of(&with(true));
    rig.ring_as(0, "a", &cue("orange"), true);
    rig.check(50, &["0 desk.red 1", "0 desk.green 30%"]);
    // The defaults name single colours.
    let mut rig = Rig::of(&with(false));
    rig.ring_as(0, "a", &Cue { led: Some("blue".to_owned()), ..cue("white") }, true);
    rig.check(50, &["0 desk.red 1", "0 desk.green 1", "0 desk.blue 1"]);
    let mut rig = Rig::of(&with(false));
    rig.ring_as(0, "a", &Cue { led: Some("blue".to_owned()), colour: None, ..cue("white") }, true);
    rig.check(50, &["0 desk.blue 1"]);
    let breathing = Cue { pattern: Pattern::Breathe, lasts: ms(3000), ..cue("red") };
    let mut rig = Rig::of(&with(true));
    rig.ring_as(0, "a", &breathing, true);
    rig.run(3000);
    assert!(rig.edges.contains(&"1470 desk.red 1".to_owned()), "{:?}", rig.edges);
    assert!(rig.edges.len() > 60 && rig.edges.iter().any(|edge| edge.ends_with(" 52%")), "{:?}", rig.edges);
    let mut rig = Rig::of(&with(false));
    rig.ring_as(0, "a", &breathing, true);
    rig.check(4000, &["0 desk.red 1", "1500 desk.red 0"]);
}

/// Anything that somebody may do.
#[derive(Clone, Debug)]
enum Act {
    Ring(u8, u8),
    Latch(u8),
    Clear(u8),
    Mute(u16),
    Silence,
    Wait,
}

fn acts() -> impl Strategy<Value = Vec<(u16, Act)>> {
    let act = prop_oneof![
        4 => (0u8..6, 0u8..4).prop_map(|(name, priority)| Act::Ring(name, priority)),
        2 => (0u8..5).prop_map(Act::Latch),
        2 => (0u8..5).prop_map(Act::Clear),
        1 => any::<u16>().prop_map(Act::Mute),
        1 => Just(Act::Silence),
        2 => Just(Act::Wait),
    ];
    prop::collection::vec((0u16..2000, act), 1..60)
}

proptest! {
    /// Whatever is done: nothing waits for ever, no moment is named twice, and without a latch it ends dark.
    #[test]
    fn it_always_ends_dark(acts in acts()) {
        let mut rig = Rig::new();
        let mut now = 0u64;
        for (wait, act) in acts {
            now += u64::from(wait);
            rig.run(now);
            match act {
                Act::Ring(name, priority) => {
                    let cue = Cue { priority, lasts: ms(50 + u64::from(name) * 300), ..plain("low") };
                    rig.ring_as(now, &name.to_string(), &cue, true);
                }
                Act::Latch(id) => rig.latch(now, id.into(), "high", &id.to_string(), 1_000_000_000),
                Act::Clear(id) => rig.act(|desk| desk.clear(&[id.into()])),
                Act::Mute(for_ms) => rig.act(|desk| desk.mute(Some(ms(now + u64::from(for_ms))))),
                Act::Silence => rig.act(Desk::silence),
                Act::Wait => {}
            }
            prop_assert!(rig.desk.waiting() <= QUEUE_MAX);
            // Red is what is latched; blue is the sign of being muted.
            prop_assert_eq!(rig.shown[2].is_lit(), !rig.desk.latches().is_empty());
        }
        rig.act(|desk| desk.acknowledge());
        rig.run(now + 200_000);
        prop_assert!(rig.shown.iter().all(|level| !level.is_lit()), "{:?}", rig.shown);
        prop_assert_eq!(rig.desk.next(ms(now + 200_000)), None);
    }
}
