//! The player on a real simulated board with a real trace file. Tests wait on the edges themselves.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use super::*;
use crate::{
    bell::{Blink, BoardKind},
    threads,
};

const SOON: Duration = Duration::from_secs(20);

fn settings(trace: Option<PathBuf>) -> Settings {
    let mut cues = cue::default_cues();
    for (name, led, on_ms, priority) in
        [("blip", "green", 20, 1), ("blop", "blue", 20, 1), ("alarm", "red", 20, 9), ("long", "green", 10_000, 5)]
    {
        let blink = Blink { on: Duration::from_millis(on_ms), off: Duration::from_millis(20), times: 1 };
        cues.insert(name.to_owned(), Cue { led: Some(led.to_owned()), blink, tune: None, priority });
    }
    Settings { board: BoardKind::Simulated, leds: BTreeMap::new(), buzzer: None, trace, cues }
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
        let (bell, player) = new(settings(Some(directory.path().join("trace"))));
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
        self.bell.ring(name, Severity::Info)
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
    assert_eq!(rig.bell.ring("order_refused", Severity::Failure), Taken::Queued);
    rig.expect(&["red 1"]);
    rig.stop();
}

#[test]
fn higher_priority_first_then_arrival() {
    let mut rig = Rig::new();
    for name in ["blip", "blop", "alarm"] {
        assert_eq!(rig.ring(name), Taken::Queued);
    }
    assert_eq!(rig.bell.state().queued, 3);
    rig.start();
    rig.expect(&["red 1", "red 0", "green 1", "green 0", "blue 1", "blue 0"]);
    assert_eq!(rig.stop().len(), 6);
}

#[test]
fn the_same_cue_waits_once() {
    let mut rig = Rig::new();
    assert_eq!(rig.ring("blip"), Taken::Queued);
    assert_eq!(rig.ring("blip"), Taken::Merged);
    assert_eq!(rig.ring("blop"), Taken::Queued);
    rig.start();
    rig.expect(&["green 1", "green 0", "blue 1", "blue 0"]);
    // While it plays it no longer waits, so a new ring is heard.
    assert_eq!(rig.ring("blip"), Taken::Queued);
    rig.expect(&["green 1", "green 0"]);
    rig.stop();
}

#[test]
fn the_ninth_is_skipped() {
    let rig = Rig::new();
    for number in 0..QUEUE_MAX {
        assert_eq!(rig.ring(&format!("cue {number}")), Taken::Queued);
    }
    assert_eq!(rig.ring("one more"), Taken::Skipped("8 other cues are waiting".to_owned()));
    assert_eq!(rig.ring("cue 3"), Taken::Merged);
    assert_eq!(rig.ring("alarm"), Taken::Queued, "the loudest is not lost to a queue of trifles");
    assert_eq!(rig.bell.state().queued, QUEUE_MAX);
    assert_eq!(rig.ring("cue 7"), Taken::Skipped("8 other cues are waiting".to_owned()), "the last had to give way");
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
    rig.bell.off();
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
    assert_eq!(bell.ring("blip", Severity::Info), Taken::Skipped("the bell has stopped".to_owned()));
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
    let (bell, player) = with_retry(settings(Some(missing.join("trace"))), Duration::from_millis(1));
    let state = bell.state();
    assert!(state.error.as_deref().unwrap().contains("not yet"), "{state:?}");
    assert_eq!(state.board, "simulated");
    match bell.ring("blip", Severity::Info) {
        Taken::Skipped(note) => assert!(note.contains("its directory must exist"), "{note}"),
        taken => panic!("{taken:?}"),
    }

    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    fs::create_dir(&missing).unwrap();
    let until = Instant::now() + SOON;
    while bell.ring("blip", Severity::Info) != Taken::Queued {
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
    let (bell, player) = new(settings(Some(full.to_owned())));
    assert_eq!(bell.state().error, None);
    bell.ring("blip", Severity::Info);
    bell.ring("blop", Severity::Info);
    let edges = bell.watch();
    let thread = threads::spawn("player", threads::STACK_BYTES, || player.run()).unwrap();
    let until = Instant::now() + SOON;
    while bell.state().error.is_none() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(matches!(bell.ring("blip", Severity::Info), Taken::Skipped(_)));
    assert_eq!(bell.state().queued, 0);
    bell.stop();
    thread.join().unwrap();
    assert!(edges.try_recv().is_err(), "no edge was shown that was not made");
}

#[test]
fn a_desk_with_nothing_wired_says_so() {
    let (bell, _player) = new(Settings { leds: BTreeMap::new(), buzzer: None, board: BoardKind::Pi, ..settings(None) });
    assert!(bell.state().lines.is_empty());
    assert!(matches!(bell.ring("blip", Severity::Info), Taken::Skipped(_)));
}

#[test]
fn the_state_is_plain_json() {
    let rig = Rig::new();
    assert_eq!(
        serde_json::to_string(&rig.bell.state()).unwrap(),
        r#"{"board":"simulated","error":null,"playing":null,"queued":0,"lines":[{"name":"red","lit":false},{"name":"green","lit":false},{"name":"blue","lit":false},{"name":"buzzer","lit":false}]}"#
    );
}
