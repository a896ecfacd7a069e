//! `kill -9` at random moments: what was answered 200 is there, and the file is sound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::harness::{Home, http, signed, slack::Slack};

/// Kills of one run; `HOOKBELL_KILLS` asks for more.
const KILLS: u64 = 20;
/// Deliveries a second while the kill comes.
const RATE: u64 = 200;

#[test]
fn what_was_answered_200_survives_kill_9() {
    let kills = std::env::var("HOOKBELL_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let mut kept: Vec<i64> = Vec::new();
    for kill in 0..kills {
        let service = home.start(&["run"]);
        let killed = Arc::new(AtomicBool::new(false));
        // From 20 to 400 ms after the first answer, spread over the kills without being regular.
        let kill_after = Duration::from_millis(20 + (kill * 7919 + u64::from(service.pid())) % 380);
        let senders: Vec<_> =
            (0..4).map(|sender| send_until_killed(service.door.clone(), killed.clone(), kill, sender)).collect();
        let deadline = Instant::now() + kill_after;
        while Instant::now() < deadline {
            thread::yield_now();
        }
        service.signal(rustix::process::Signal::KILL);
        killed.store(true, Ordering::Release);
        for sender in senders {
            kept.extend(sender.join().expect("a sender does not panic"));
        }
        drop(service);

        let database = Connection::open(home.database()).expect("the file opens");
        let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
        assert_eq!(check, "ok", "after kill {kill}");
        for id in &kept {
            let found: bool = database
                .query_row("SELECT EXISTS (SELECT 1 FROM body WHERE delivery = ?1)", [id], |row| row.get(0))
                .expect("a look");
            assert!(found, "delivery {id} was answered 200 and is gone after kill {kill}");
        }
    }
    assert!(kept.len() as u64 > kills, "only {} deliveries in {kills} runs", kept.len());
    println!("{} deliveries answered 200 over {kills} kills, all there", kept.len());

    // And none is stuck: a last start settles everything.
    let service = home.start(&["run"]);
    home.wait_for("the settling of everything", |home| {
        let database = Connection::open(home.database()).ok()?;
        let open: i64 = database
            .query_row("SELECT count(*) FROM delivery WHERE status IN ('unprocessed', 'retrying')", [], |row| {
                row.get(0)
            })
            .ok()?;
        (open == 0).then_some(())
    });
    assert!(service.terminate().success());
}

/// Sends at a steady rate until the answers stop, and returns the ids that were answered 200.
fn send_until_killed(door: String, killed: Arc<AtomicBool>, kill: u64, sender: u64) -> thread::JoinHandle<Vec<i64>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut due = Instant::now();
        for number in 0.. {
            if killed.load(Ordering::Acquire) {
                break;
            }
            due += Duration::from_millis(4 * 1000 / RATE);
            // A load generator's pacing.
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let guid = format!("kill-{kill}-{sender}-{number}");
            let body = format!(r#"{{"action":"labeled","issue":{{"number":{number}}},"pad":"{}"}}"#, "x".repeat(300));
            let headers = signed("issues", &guid, body.as_bytes());
            // Once it is killed, connecting and reading fail; what counts is what was answered.
            if let Ok(answer) = http::post(&door, "/webhooks/github", &headers, body.as_bytes())
                && answer.status == 200
            {
                let answer: serde_json::Value = serde_json::from_str(&answer.body).expect("an answer is JSON");
                kept.push(answer["event_id"].as_i64().expect("an id"));
            }
        }
        kept
    })
}
