//! The worst night, in small: a full disk, a locked database, a stalled process, a missing desk.

use std::{
    io::Write,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::harness::{Home, http, signed, slack::Slack};

/// A file system of its own that is soon full; `None` when this machine does not let us mount one, which is said.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a megabyte, and configures the database to stand there.
    fn mount(home: &Home, slack: &Slack, free_min: &str) -> Option<SmallDisk> {
        let path = home.path("small");
        std::fs::create_dir_all(&path).expect("a directory");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("skipped: mounting a small file system needs root");
            return None;
        }
        home.configure(&slack.url, "");
        let file = home.path("hookbell.toml");
        let text = std::fs::read_to_string(&file).expect("written");
        let store = format!("free_min = {free_min:?}\npath = {:?}", path.join("hookbell.db"));
        std::fs::write(&file, text.replace("free_min = 0", &store)).expect("written");
        Some(SmallDisk(path))
    }

    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&self.0).status();
        assert!(grown.is_ok_and(|status| status.success()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

/// Bytes that do not compress, so that the disk fills quickly.
fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'a' + (state % 26) as u8)
        })
        .collect()
}

#[test]
fn a_full_disk_is_503_and_heals_by_itself() {
    let (home, slack) = (Home::new(), Slack::start());
    let Some(disk) = SmallDisk::mount(&home, &slack, "0 B") else { return };
    let service = home.start(&["run"]);

    let mut kept = Vec::new();
    let refused = (0..200).find(|number| {
        let body = format!("{{\"noise\":\"{}\"}}", noise(*number, 20_000));
        let (status, answer) = service.post("status", &format!("fill-{number}"), body.as_bytes());
        match status {
            200 => {
                kept.push(answer["event_id"].as_i64().expect("an id"));
                false
            }
            503 => true,
            other => panic!("{other} {answer}"),
        }
    });
    let refused = refused.expect("a megabyte is full after 4 MB");

    // The cause goes away: the disk grows.
    disk.grow();
    let body = format!("{{\"noise\":\"{}\"}}", noise(refused, 20_000));
    assert_eq!(service.post("status", &format!("fill-{refused}"), body.as_bytes()).0, 200);
    for id in kept {
        home.json(&["deliveries", "show", &id.to_string(), "--json"]);
    }
    assert!(service.terminate().success());
}

#[test]
fn a_disk_below_free_min_is_503_before_it_is_full() {
    let (home, slack) = (Home::new(), Slack::start());
    let Some(disk) = SmallDisk::mount(&home, &slack, "2 MiB") else { return };
    let service = home.start(&["run"]);
    let refused = http::post(&service.door, "/webhooks/github", &signed("push", "1", b"{}"), b"{}").expect("an answer");
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("\r\nRetry-After: "), "{}", refused.head);
    let health = http::get(&service.door, "/health").expect("an answer");
    assert_eq!((health.status, health.body.as_str()), (503, r#"{"status":"unhealthy"}"#));
    disk.grow();
    home.wait_for("health", |_| http::get(&service.door, "/health").ok().filter(|answer| answer.status == 200));
    assert_eq!(service.post("push", "1", b"{}").0, 200);
    assert!(service.terminate().success());
}

#[test]
fn a_card_without_room_is_not_filled_by_the_log_that_says_so() {
    let (home, slack) = (Home::new(), Slack::start());
    let Some(_disk) = SmallDisk::mount(&home, &slack, "2 MiB") else { return };
    let mut service = home.start(&["run"]);
    let (begun, mut posts) = (Instant::now(), 0);
    let untold = loop {
        posts += 1;
        assert_eq!(service.post_sample("push", posts).0, 503);
        let line = service.log().iter().find_map(|line| line.split_once(" untold=").map(|(_, count)| count.to_owned()));
        match line {
            Some(count) => break count.parse::<u64>().expect("a number"),
            None => assert!(begun.elapsed() < Duration::from_secs(30), "{posts} posts, and no line counts any"),
        }
    };
    let lines: Vec<&String> = service.log().iter().filter(|line| line.contains("unavailable source=github")).collect();
    assert!(lines[0].contains("delivery=") && lines[0].contains("free_min"), "{}", lines[0]);
    let told = u64::try_from(lines.len()).expect("few");
    assert!((21..=21 + begun.elapsed().as_secs()).contains(&told), "{told} lines");
    assert!(untold > 0 && told + untold <= posts, "{told} told and {untold} untold of {posts}");
    assert!(service.terminate().success());
}

#[test]
fn a_locked_database_is_503_in_time_and_heals_by_itself() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 1).0, 200);
    slack.next();
    let other = rusqlite::Connection::open(home.database()).expect("the file opens");
    other.busy_timeout(Duration::from_secs(10)).expect("a pragma");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let start = Instant::now();
    assert_eq!(service.post_sample("pr_opened", 2).0, 503);
    assert!(start.elapsed() < Duration::from_secs(10), "GitHub would have hung up: {:?}", start.elapsed());
    other.execute_batch("ROLLBACK").expect("unlocked");
    assert_eq!(service.post_sample("pr_opened", 2).0, 200);
    slack.next();
    assert!(service.terminate().success());
}

#[test]
fn a_stopped_process_goes_on_where_it_was() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    let body = br#"{"action":"created","sender":{"login":"a"},"repository":{"full_name":"acme/api"}}"#;
    service.signal(Signal::STOP);
    // The kernel takes the connection and the request; the answer comes when the process goes on.
    let mut socket = http::connect(&service.door).expect("the kernel accepts");
    let request = http::request("POST", "/webhooks/github", &signed("star", "1", body), body);
    socket.write_all(&request).expect("the kernel takes it");
    service.signal(Signal::CONT);
    assert_eq!(http::read_answer(&mut *socket).expect("an answer").status, 200);
    slack.next();
    assert!(service.terminate().success());
}

#[test]
fn a_broken_desk_stops_neither_the_door_nor_slack() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let file = home.path("hookbell.toml");
    let text = std::fs::read_to_string(&file).expect("written");
    std::fs::write(&file, text.replace("trace.jsonl", "no/such/directory/trace.jsonl")).expect("written");
    let mut service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_merged", 1).0, 200);
    slack.next();
    let status = home.json(&["status", "--json"]).remove(0);
    assert!(status["service"]["bell"]["error"].is_string(), "{status}");
    service.wait_for_log("skipped id=1 kind=pr_merged sink=bell");
    assert!(service.terminate().success());
}

#[test]
fn an_idle_process_sleeps() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    service.post_sample("pr_merged", 1);
    slack.next();
    home.wait_for("the end of the cue", |home| {
        let bell = home.json(&["status", "--json"]).remove(0)["service"]["bell"].take();
        (bell["playing"].is_null() && bell["queued"] == 0 && !home.trace().is_empty()).then_some(())
    });
    if !cfg!(target_os = "linux") {
        println!("skipped: wake-ups are counted in /proc");
        return;
    }
    let switches = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).expect("it runs");
        tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter_map(|status| {
                let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            })
            .sum()
    };
    // Idle is a span of time and nothing else: it is measured over one.
    let before = switches();
    std::thread::sleep(Duration::from_secs(5));
    let woken = switches() - before;
    assert!(woken < 5, "{woken} wake-ups in 5 idle seconds");
    assert!(service.terminate().success());
}
