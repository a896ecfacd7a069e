//! The player on a real simulated board with a real trace file. Tests wait on the edges themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, mpsc::Receiver},
    thread::JoinHandle,
};

use super::*;
use crate::{
    bell::{Blink, BoardKind, Cue, Gesture, Keeper, Latch, Mute, Ring, Taken, cue, latch::Changed},
    event::Severity,
    schedule::Schedule,
    threads::{self, lock},
    time::{Clock, ManualClock, SystemClock, Zone},
};

const SOON: Duration = Duration::from_secs(20);

fn settings(trace: Option<PathBuf>) -> Settings {
    let mut cues = cue::default_cues();
    for (name, led, on_ms, priority) in
        [("blip", "green", 20, 1), ("blop", "blue", 20, 1), ("alarm", "red", 20, 9), ("long", "green", 10_000, 5)]
    {
        let blink = Blink::ms(on_ms, 20, 1);
        cues.insert(name.to_owned(), Cue { led: Some(led.to_owned()), blink, priority, ..cue::plain() });
    }
    Settings { trace, cues, ..Settings::default() }
}

/// What time it is matters to nobody here but those who say so.
fn parts() -> Parts {
    Parts { clock: Arc::new(SystemClock), newest: Timestamp::from_ms(0), keeper: None }
}

/// A desk with its trace; the thread starts when a test says so.
struct Rig {
    directory: tempfile::TempDir,
    bell: Bell,
    edges: Receiver<Edge>,
    player: Option<Player>,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let (bell, player) = new(settings(Some(directory.path().join("trace"))), parts());
        let edges = bell.watch();
        Rig { directory, bell, edges, player: Some(player), thread: None }
    }

    fn playing() -> Rig {
        let mut rig = Rig::new();
        rig.start();
        rig
    }

    fn start(&mut self) {
        let player = self.player.take().unwrap();
        self.thread = Some(threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap());
    }

    fn ring(&self, name: &str) -> Taken {
        self.bell.ring(Ring::now(name, Severity::Info))
    }

    /// The next edges as `line level`.
    fn expect(&self, expected: &[&str]) {
        for expected in expected {
            let edge = self.edges.recv_timeout(SOON).unwrap_or_else(|_| panic!("no edge came, expected {expected}"));
            assert_eq!(format!("{} {}", edge.line, edge.level), *expected);
        }
    }

    /// Stops the player, and gives the whole trace as `line level`.
    fn stop(mut self) -> Vec<String> {
        self.bell.stop();
        self.thread.take().unwrap().join().unwrap();
        assert!(self.bell.state().lines.iter().all(|line| !line.lit));
        trace(&self.directory.path().join("trace"))
    }
}

fn trace(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let edges = text.lines().map(|line| serde_json::from_str::<Edge>(line).unwrap());
    edges.map(|edge| format!("{} {}", edge.line, edge.level)).collect()
}

#[test]
fn a_ring_becomes_edges_in_order_and_ends_dark() {
    let rig = Rig::playing();
    let before_ms = SystemClock.wall().ms();
    assert_eq!(rig.ring("pr_merged"), Taken::Queued);
    let first = rig.edges.recv_timeout(SOON).unwrap();
    assert_eq!((first.line.as_str(), first.level), ("green", 1));
    assert!((before_ms..before_ms + 1000).contains(&first.t_ms), "{} ms late", first.t_ms - before_ms);
    let mut seen = vec!["green 1".to_owned()];
    // Four blinks and four notes: sixteen edges.
    for edge in (1..16).map(|_| rig.edges.recv_timeout(SOON).unwrap()) {
        seen.push(format!("{} {}", edge.line, edge.level));
    }
    for line in ["green", "buzzer"] {
        let levels: Vec<&String> = seen.iter().filter(|edge| edge.starts_with(line)).collect();
        assert_eq!(levels.len(), 8);
        assert!(levels.iter().enumerate().all(|(turn, edge)| edge.ends_with(if turn % 2 == 0 { '1' } else { '0' })));
    }
    assert_eq!(rig.stop(), seen);
}

#[test]
fn an_unknown_cue_plays_its_severity() {
    let rig = Rig::playing();
    assert_eq!(rig.bell.ring(Ring::now("order_refused", Severity::Failure)), Taken::Queued);
    rig.expect(&["red 1"]);
    rig.stop();
}

#[test]
fn a_higher_one_interrupts_and_equal_ones_queue() {
    let rig = Rig::playing();
    rig.ring("long");
    rig.expect(&["green 1"]);
    assert_eq!(rig.ring("alarm"), Taken::Queued);
    rig.expect(&["red 1", "green 0", "red 0", "green 1"]);
    assert_eq!(rig.ring("long"), Taken::Merged);
    assert_eq!(rig.bell.state().rings, 2);
    assert_eq!(rig.ring("blip"), Taken::Queued);
    assert_eq!(rig.bell.state().queued, 1);
    rig.stop();
}

#[test]
fn off_darkens_at_once_and_forgets_what_waits() {
    let rig = Rig::playing();
    rig.ring("long");
    rig.expect(&["green 1"]);
    rig.ring("blip");
    let state = rig.bell.state();
    assert_eq!((state.playing.as_deref(), state.queued), (Some("long"), 1));
    assert!(state.lines.iter().any(|line| line.name == "green" && line.lit));
    let asked = Instant::now();
    assert!(rig.bell.acknowledge().is_empty());
    rig.expect(&["green 0"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "it lasts ten by itself");
    // And it plays on.
    rig.ring("blop");
    rig.expect(&["blue 1", "blue 0"]);
    assert_eq!(rig.stop(), ["green 1", "green 0", "blue 1", "blue 0"]);
}

#[test]
fn stop_ends_dark_in_the_middle_of_a_cue() {
    let rig = Rig::playing();
    rig.ring("long");
    rig.expect(&["green 1"]);
    let bell = rig.bell.clone();
    let asked = Instant::now();
    assert_eq!(rig.stop(), ["green 1", "green 0"]);
    assert!(asked.elapsed() < Duration::from_secs(5), "it lasts ten by itself");
    assert_eq!(bell.ring(Ring::now("blip", Severity::Info)), Taken::Skipped("the bell has stopped".to_owned()));
}

#[test]
fn a_player_that_is_lost_leaves_the_bell_answering() {
    let mut rig = Rig::new();
    rig.ring("blip");
    drop(rig.player.take());
    assert!(matches!(rig.ring("blop"), Taken::Skipped(_)));
    assert_eq!(rig.bell.state().queued, 0);
    assert!(rig.edges.recv().is_err(), "a watcher sees the end");
}

#[test]
fn the_test_plays_every_wire() {
    let rig = Rig::playing();
    assert_eq!(rig.bell.test(), Taken::Queued);
    rig.expect(&["red 1", "red 0", "green 1", "green 0", "blue 1", "blue 0", "buzzer 1", "buzzer 0"]);
    rig.stop();
}

#[test]
fn a_broken_board_skips_rings_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("not yet");
    let (bell, player) = with_retry(settings(Some(missing.join("trace"))), parts(), Duration::from_millis(1));
    let state = bell.state();
    assert!(state.error.as_deref().unwrap().contains("not yet"), "{state:?}");
    assert_eq!(state.board, "simulated");
    match bell.ring(Ring::now("blip", Severity::Info)) {
        Taken::Skipped(note) => assert!(note.contains("its directory must exist"), "{note}"),
        taken => panic!("{taken:?}"),
    }

    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    fs::create_dir(&missing).unwrap();
    let until = Instant::now() + SOON;
    while bell.ring(Ring::now("blip", Severity::Info)) != Taken::Queued {
        assert!(Instant::now() < until, "{:?}", bell.state());
        std::thread::yield_now();
    }
    assert_eq!(edges.recv_timeout(SOON).unwrap().level, 1);
    assert_eq!(bell.state().error, None);
    bell.stop();
    thread.join().unwrap();
    assert_eq!(trace(&missing.join("trace")), ["green 1", "green 0"]);
}

#[test]
fn a_board_that_breaks_while_it_plays_stops_nothing() {
    // Opens, but refuses every byte. Where there is no such device there is nothing to break.
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let (bell, player) = new(settings(Some(full.to_owned())), parts());
    assert_eq!(bell.state().error, None);
    bell.ring(Ring::now("blip", Severity::Info));
    bell.ring(Ring::now("blop", Severity::Info));
    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    let until = Instant::now() + SOON;
    while bell.state().error.is_none() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(matches!(bell.ring(Ring::now("blip", Severity::Info)), Taken::Skipped(_)));
    bell.stop();
    thread.join().unwrap();
    assert!(edges.try_recv().is_err(), "no edge was shown that was not made");
}

#[test]
fn a_desk_with_nothing_wired_says_so() {
    let (bell, _player) = new(Settings { board: BoardKind::Pi, ..settings(None) }, parts());
    assert!(bell.state().lines.is_empty());
    assert!(matches!(bell.ring(Ring::now("blip", Severity::Info)), Taken::Skipped(_)));
}

/// A keeper that remembers what it was told.
#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl Keeper for Kept {
    fn forget(&self, latches: &[i64]) {
        lock(&self.0).push(format!("forget {latches:?}"));
    }

    fn keep_mute(&self, mute: Option<Mute>) {
        lock(&self.0).push(format!("mute {:?}", mute.map(|mute| mute.until.ms())));
    }
}

fn latch(id: i64, cue: &str, since: Timestamp) -> Latch {
    let text = str::to_owned;
    Latch { id, cue: text(cue), source: text("github"), subject: text("acme/api@main ci"), what: text("CI"), since }
}

#[test]
fn latches_stay_lit_until_somebody_acknowledges() {
    let (keeper, clock) = (Arc::new(Kept::default()), Arc::new(SystemClock));
    let kept: Arc<dyn Keeper> = keeper.clone();
    let now = clock.wall();
    let (bell, player) = new(settings(None), Parts { clock, newest: Timestamp::from_ms(0), keeper: Some(kept) });
    let edges = bell.watch();
    let week = Duration::from_secs(7 * 24 * 3600);
    bell.show_all(vec![
        latch(1, "ci_failed", now),
        latch(2, "deployment_failed", now.minus(week * 2)),
        latch(3, "not in the configuration", now),
    ]);
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    assert_eq!(edges.recv_timeout(SOON).unwrap().line, "red");
    bell.show(vec![Changed::Began(latch(4, "alert_firing", now)), Changed::Ended(vec![1])]);
    // An edge says that what came before has been shown.
    bell.ring(Ring::now("blip", Severity::Info));
    let seen = [edges.recv_timeout(SOON).unwrap(), edges.recv_timeout(SOON).unwrap()];
    assert!(seen.iter().all(|edge| edge.line == "green"), "red stays: {seen:?}");
    assert_eq!(bell.state().latched, [latch(4, "alert_firing", now)]);
    bell.press(Gesture::Short);
    let dark = edges.recv_timeout(SOON).unwrap();
    assert_eq!((dark.line.as_str(), dark.level), ("red", 0));
    assert!(bell.state().latched.is_empty());
    bell.stop();
    thread.join().unwrap();
    assert_eq!(*lock(&keeper.0), ["forget [3]", "forget [2]", "forget [4]"]);
}

/// After a commit of which nobody knows whether it was written.
#[test]
fn what_was_put_out_stays_out_although_it_is_still_kept() {
    let now = SystemClock.wall();
    let (bell, _player) = new(settings(None), parts());
    let on = |id| Latch { subject: format!("acme/api@{id} ci"), ..latch(id, "ci_failed", now) };
    let lit = || bell.state().latched.iter().map(|latch| latch.id).collect::<Vec<_>>();
    bell.show_all(vec![on(1), on(2)]);
    assert_eq!(lit(), [2, 1]);
    bell.acknowledge();
    bell.show(vec![Changed::Began(on(3))]);
    bell.show_all(vec![on(1), on(2), on(3), on(4)]);
    assert_eq!(lit(), [4, 3]);
    bell.show_all(vec![on(4)]);
    assert_eq!(lit(), [4]);
}

#[test]
fn a_long_press_mutes_and_unmutes() {
    let keeper = Arc::new(Kept::default());
    let (clock, kept): (_, Arc<dyn Keeper>) = (Arc::new(ManualClock::new(Timestamp::from_ms(5))), keeper.clone());
    let (bell, _player) = new(settings(None), Parts { clock, newest: Timestamp::from_ms(0), keeper: Some(kept) });
    bell.press(Gesture::Long);
    assert!(bell.state().muted_until.is_some());
    bell.press(Gesture::Long);
    assert_eq!(bell.state().muted_until, None);
    let minute = Duration::from_secs(60);
    let mute = |until_ms| Some(Mute { until: Timestamp::from_ms(until_ms), asked: minute });
    bell.restore_mute(mute(60_005));
    assert!(bell.state().muted_until.is_some());
    bell.mute(None);
    bell.restore_mute(mute(4));
    assert_eq!(bell.state().muted_until, None);
    // The clock stands in 1970, and the mute ends in 2026.
    bell.restore_mute(mute(1_795_000_000_000));
    let until = bell.state().muted_until.unwrap();
    assert!(until <= Timestamp::from_ms(60_005), "{until}");
    assert_eq!(*lock(&keeper.0), ["mute Some(3600005)", "mute None", "mute None"]);
}

#[test]
fn a_double_press_beeps_how_much_waits() {
    let rig = Rig::playing();
    rig.bell.when_counted(|| 2);
    rig.bell.press(Gesture::Double);
    rig.expect(&["red 1", "buzzer 1", "red 0", "buzzer 0", "red 1", "buzzer 1", "red 0", "buzzer 0"]);
    rig.stop();
}

/// Quiet from 22:00 to 07:30 by the clock in Berlin, over the nights in which it is changed.
#[test]
fn quiet_hours_follow_the_clock_on_the_wall() {
    let Some(zone) = Zone::named("Europe/Berlin") else {
        println!("skipped: this machine has no time zones");
        return;
    };
    let clock = Arc::new(ManualClock::new(Timestamp::from_ms(0)));
    let parts = Parts { clock: clock.clone(), newest: Timestamp::from_ms(0), keeper: None };
    let quiet = Schedule::parse(["22:00-07:30", "sat,sun"]).unwrap();
    let (bell, _player) = new(Settings { quiet, zone, ..settings(None) }, parts);
    for (moment, is_quiet) in [
        // The night to Sunday, 28 March 2027: at 02:00 it becomes 03:00, and UTC+2. Monday begins at 22:00 UTC.
        ("2027-03-26T20:59:59Z", false),
        ("2027-03-26T21:00:00Z", true),
        ("2027-03-28T12:00:00Z", true),
        ("2027-03-28T21:59:59Z", true),
        ("2027-03-29T05:29:59Z", true),
        ("2027-03-29T05:30:00Z", false),
        ("2027-03-29T19:59:59Z", false),
        ("2027-03-29T20:00:00Z", true),
        // The night to Sunday, 31 October 2027: at 03:00 it becomes 02:00, and UTC+1.
        ("2027-10-29T19:59:59Z", false),
        ("2027-10-29T20:00:00Z", true),
        ("2027-10-31T00:30:00Z", true),
        ("2027-10-31T01:30:00Z", true),
        ("2027-11-01T06:29:59Z", true),
        ("2027-11-01T06:30:00Z", false),
        ("2027-11-01T20:59:59Z", false),
        ("2027-11-01T21:00:00Z", true),
    ] {
        clock.step_to(Timestamp::parse(moment).unwrap());
        assert_eq!(bell.state().is_quiet, is_quiet, "{moment}");
    }
    // A Pi that has just been switched on does not know what time it is.
    clock.step_to(Timestamp::parse("1970-01-01T12:00:00Z").unwrap());
    assert!(bell.state().is_quiet);
}

#[test]
fn what_came_in_long_ago_does_not_sound() {
    let (now, directory) = (crate::BUILT.plus(Duration::from_secs(3600)), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::new(now));
    let parts = Parts { clock, newest: Timestamp::from_ms(0), keeper: None };
    let path = directory.path().join("trace");
    let (bell, player) = new(settings(Some(path.clone())), parts);
    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    let ring = |seconds, name, edge_count: usize| {
        let received = Some(now.minus(Duration::from_secs(seconds)));
        assert_eq!(bell.ring(Ring { received, ..Ring::now(name, Severity::Info) }), Taken::Queued);
        let lines: Vec<String> = (0..edge_count).map(|_| edges.recv_timeout(SOON).unwrap().line).collect();
        lines.iter().any(|line| line == "buzzer")
    };
    assert!(!ring(121, "issue_reopened", 6));
    assert!(ring(120, "pr_reopened", 10));
    bell.stop();
    thread.join().unwrap();
    assert_eq!(trace(&path).len(), 16);
}

#[test]
fn the_state_is_plain_json() {
    let rig = Rig::new();
    assert_eq!(
        serde_json::to_string(&rig.bell.state()).unwrap(),
        concat!(
            r#"{"board":"simulated","error":null,"playing":null,"rings":0,"queued":0,"#,
            r#""lines":[{"name":"red","lit":false,"percent":null,"hz":null,"error":null},"#,
            r#"{"name":"green","lit":false,"percent":null,"hz":null,"error":null},"#,
            r#"{"name":"blue","lit":false,"percent":null,"hz":null,"error":null},"#,
            r#"{"name":"buzzer","lit":false,"percent":null,"hz":null,"error":null}],"#,
            r#""latched":[],"muted_until":null,"is_quiet":false,"#,
            r#""vitals":{"storage_fails":false,"sink_down":false,"tunnel_down":false},"button":null}"#
        )
    );
}
