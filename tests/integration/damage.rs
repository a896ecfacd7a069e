//! A damaged database under the real executable: it is set aside at a start, and when it shows while the service runs; people are
//! told; and what was in it comes back.

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    process::{Output, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Home, Service, slack::Slack};

const PAGE: usize = 1024;
const HEALTH: &str = "[health]\ntell_after = \"1 s\"\n";

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Runs a service to its end, which must be a bad one.
fn ends(home: &Home, command: &str) -> String {
    let child = home.command(&[command]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output).expect("it starts and ends");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    said(&output)
}

/// Writes over the page on which this index or table begins.
fn spoil(home: &Home, name: &str) {
    let page: i64 = Connection::open(home.database())
        .and_then(|database| {
            database.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0))
        })
        .expect("it is there");
    let from = (usize::try_from(page).expect("a page") - 1) * PAGE;
    let mut bytes = fs::read(home.database()).expect("readable");
    bytes[from..from + PAGE].fill(0xa5);
    fs::write(home.database(), bytes).expect("writable");
}

fn aside(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.path("")).expect("readable").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.to_string_lossy().contains(".damaged-") && path.extension().is_some()).collect();
    found.retain(|path| path.to_string_lossy().ends_with('Z'));
    found.sort();
    found
}

fn import(home: &Home, file: &std::path::Path) -> Value {
    home.json(&["deliveries", "import", file.to_str().expect("a path"), "--json"]).remove(0)
}

/// What Slack is told next that has this in it.
fn told(slack: &Slack, part: &str) -> String {
    loop {
        let message = slack.next();
        if message.text().contains(part) {
            return message.text().to_owned();
        }
    }
}

/// A service that has told five deliveries and ended.
fn with_five_told() -> (Home, Slack) {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, HEALTH);
    let service = home.start(&["run"]);
    for salt in 1..=5 {
        assert_eq!(service.post_sample("pr_opened", salt).0, 200);
        slack.next();
    }
    assert!(service.terminate().success());
    (home, slack)
}

#[test]
fn a_file_that_is_damaged_at_the_start_makes_way_and_everybody_is_told() {
    let (home, slack) = with_five_told();
    let whole = fs::read(home.database()).expect("readable");
    let mut bytes = whole.clone();
    bytes[..100].fill(0);
    fs::write(home.database(), &bytes).expect("writable");

    // No command touches it.
    for command in [&["status"][..], &["deliveries", "list"], &["sql", "SELECT 1"], &["deliveries", "requeue", "1"]] {
        let output = home.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(said(&output).contains("the service sets it aside"), "{command:?}: {}", said(&output));
    }
    assert!(aside(&home).is_empty() && fs::read(home.database()).expect("readable") == bytes);

    let mut service = home.start(&["run"]);
    service.wait_for_log("the damaged database is kept as ");
    let [file] = &aside(&home)[..] else { panic!("{:?}", aside(&home)) };
    assert!(fs::read(file).expect("readable") == bytes, "kept byte for byte");
    let (status, answer) = service.post_sample("pr_opened", 9);
    assert_eq!((status, &answer["status"]), (200, &"accepted".into()), "the door is open: {answer}");
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let text = told(&slack, &name);
    assert!(text.contains("deliveries import"), "{text}");
    let shown = said(&home.run(&["status"]));
    assert!(shown.contains(&name) && shown.contains("hookbell deliveries import"), "{shown}");
    let health = crate::harness::http::get(&service.door, "/health").expect("an answer");
    assert_eq!(health.status, 200, "the public side is well: {}", health.body);

    // A header that was put back: the rest of the file is sound.
    fs::write(file, &whole).expect("writable");
    let imported = import(&home, file);
    assert_eq!(imported["imported"], 5, "{imported}");
    assert_eq!(import(&home, file)["imported"], 0);
    assert_eq!(service.post_sample("pr_opened", 3).1["status"], "duplicate", "it is known again");
    fs::remove_file(file).expect("moved away");
    let text = told(&slack, "well again");
    assert!(text.contains(&name), "{text}");
    assert!(service.terminate().success());
}

#[test]
fn damage_under_a_running_service_ends_it_in_order_and_nothing_readable_is_lost() {
    let (home, _slack) = with_five_told();
    // The index that each delivery is looked for in: the start does not need it.
    spoil(&home, "delivery_identity");
    let mut service = home.start(&["run"]);
    let (status, answer) = service.post_sample("pr_opened", 8);
    assert_eq!(status, 503, "{answer}");
    service.wait_for_log("this process ends, and the next one keeps the file as ");
    service.wait_for_log("the database is damaged: the next start sets it aside");
    assert!(home.path("hookbell.db.damaged").exists(), "it is marked");
    let refused = home.run(&["deliveries", "requeue", "1"]);
    assert!(said(&refused).contains("marked as damaged"), "{}", said(&refused));
    drop(service);

    // Somebody looks at it: who has it open would take the new one's log for its own.
    let other = Connection::open(home.database()).expect("it opens");
    other.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, i64>(0)).expect("readable");
    let refused = ends(&home, "run");
    assert!(refused.contains("another program has it open"), "{refused}");
    drop(other);

    let service = home.start(&["run"]);
    assert!(!home.path("hookbell.db.damaged").exists());
    let [file] = &aside(&home)[..] else { panic!("{:?}", aside(&home)) };
    let (_, answer) = service.post_sample("pr_opened", 8);
    assert_eq!((&answer["status"], &answer["event_id"]), (&"accepted".into(), &1.into()));
    let imported = import(&home, file);
    assert_eq!((&imported["imported"], &imported["to_route"]), (&5.into(), &0.into()), "{imported}");
    let again = home.run(&["deliveries", "import", file.to_str().expect("a path")]);
    assert_eq!(said(&again).trim(), "5 read: 0 imported, of which 0 are handled now; 5 were here already");
    assert!(service.terminate().success());
}

#[test]
fn both_halves_end_and_one_of_them_sets_it_aside() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, HEALTH);
    let (worker, door) = (home.start(&["work"]), home.start(&["receive"]));
    assert_eq!(door.post_sample("pr_opened", 1).0, 200);
    slack.next();
    assert!(door.terminate().success() && worker.terminate().success());
    spoil(&home, "delivery_identity");

    let (mut worker, mut door) = (home.start(&["work"]), home.start(&["receive"]));
    assert_eq!(door.post_sample("pr_opened", 2).0, 503);
    door.wait_for_log("the database is damaged: the next start sets it aside");
    drop(door);
    // The manager starts it again: the worker has the file open, and is asked to end.
    let door = Service::start(home.command(&["receive"]));
    worker.wait_for_log("the database is damaged: the next start sets it aside");
    assert_eq!(aside(&home).len(), 1);
    drop(worker);
    let worker = home.start(&["work"]);
    assert_eq!(door.post_sample("pr_opened", 2).0, 200);
    told(&slack, "hookbell deliveries import");
    assert!(worker.terminate().success());

    // The other way round: the worker asks the door and does not wait for it long, so that it may have to be started again,
    // as its manager would.
    let mut door = door;
    fs::write(home.path("hookbell.db.damaged"), "").expect("a mark by hand");
    let start = || {
        let log = fs::File::create(home.path("work.log")).expect("a new file");
        home.command(&["work"]).stdout(Stdio::null()).stderr(log).spawn().expect("it starts")
    };
    let worker = RefCell::new(start());
    home.wait_for("the worker's half being ready", |home| {
        let log = fs::read_to_string(home.path("work.log")).ok()?;
        let has_ended = worker.borrow_mut().try_wait().expect("our own child").is_some();
        if has_ended {
            assert!(log.contains("already does `receive`"), "{log}");
            worker.replace(start()).wait().expect("it has ended");
        }
        log.contains("ready version=").then_some(())
    });
    door.wait_for_log("the database is damaged: the next start sets it aside");
    drop(door);
    assert_eq!(aside(&home).len(), 2);
    let door = home.start(&["receive"]);
    assert_eq!(door.post_sample("pr_opened", 2).0, 200);
    let mut worker = worker.into_inner();
    worker.kill().and_then(|()| worker.wait()).expect("it was running");
    assert!(door.terminate().success());
}
