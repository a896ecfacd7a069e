//! The database as a file: counted, copied while the service runs, and brought back.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::harness::{Home, http, signed, slack::Slack};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn count(path: &std::path::Path, table: &str) -> i64 {
    let database = Connection::open(path).expect("the file opens");
    let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("a check");
    assert_eq!(check, "ok");
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
}

#[test]
fn a_backup_under_load_is_whole_and_holds_nobody_up() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 1).0, 200);
    let is_done = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let (door, is_done) = (service.door.clone(), is_done.clone());
            thread::spawn(move || {
                let (mut sent, mut slowest) = (0, Duration::ZERO);
                while !is_done.load(Ordering::Acquire) {
                    let body = format!(r#"{{"action":"labeled","issue":{{"number":{sent}}},"pad":"{sender}"}}"#);
                    let headers = signed("issues", &format!("load-{sender}-{sent}"), body.as_bytes());
                    let begun = Instant::now();
                    let answer = http::post(&door, "/webhooks/github", &headers, body.as_bytes()).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    slowest = slowest.max(begun.elapsed());
                    sent += 1;
                }
                (sent, slowest)
            })
        })
        .collect();
    let mut copied = Vec::new();
    for round in 0..4 {
        let name = format!("copy-{round}.db");
        let facts = home.json(&["backup", &name, "--json"]).remove(0);
        assert_eq!(count(&home.path(&name), "delivery"), facts["deliveries"].as_i64().expect("a number"), "{facts}");
        assert_eq!(count(&home.path(&name), "body"), facts["deliveries"].as_i64().expect("a number"));
        let mode = home.path(&name).metadata().expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for beside in ["-wal", "-shm", "-journal"] {
            assert!(!home.path(&format!("{name}{beside}")).exists(), "{beside}");
        }
        copied.push(facts["deliveries"].as_i64().expect("a number"));
    }
    is_done.store(true, Ordering::Release);
    let ends: Vec<(i64, Duration)> = senders.into_iter().map(|sender| sender.join().expect("no panic")).collect();
    let sent: i64 = ends.iter().map(|(sent, _)| sent).sum();
    let slowest = ends.iter().map(|(_, slowest)| *slowest).max().unwrap_or_default();
    println!("{copied:?} deliveries in the copies of {sent}; the slowest answer took {slowest:?}");
    assert!(copied.is_sorted() && copied[0] >= 1 && copied[3] <= sent + 1, "{copied:?} of {sent}");
    assert!(service.terminate().success());
    assert_eq!(count(&home.database(), "delivery"), sent + 1);
}

#[test]
fn a_restore_waits_for_the_service_to_stop_and_can_be_taken_back() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 1).0, 200);
    slack.next();
    let said = home.run(&["backup", "copy.db"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert!(text(&said.stdout).starts_with("copy.db: 1 deliveries, the last of 2"), "{}", text(&said.stdout));
    let again = home.run(&["backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert!(home.run(&["backup", "copy.db", "--force"]).status.success());
    assert_eq!(service.post_sample("pr_opened", 2).0, 200);
    slack.next();

    let refused = home.run(&["restore", "copy.db"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains(&format!("process {}", service.pid())) && told.contains("systemctl stop"), "{told}");
    assert!(service.terminate().success());

    std::fs::write(home.path("text.db"), "this is no database, and long enough to be seen as none").expect("written");
    let refused = home.run(&["restore", "text.db"]);
    assert!(text(&refused.stderr).contains("not a database"), "{}", text(&refused.stderr));
    std::fs::copy(home.path("copy.db"), home.path("newer.db")).expect("copied");
    let newer = Connection::open(home.path("newer.db")).expect("it opens");
    newer.pragma_update(None, "user_version", 99).expect("a pragma");
    drop(newer);
    let refused = home.run(&["restore", "newer.db"]);
    assert!(text(&refused.stderr).contains("newer hookbell"), "{}", text(&refused.stderr));
    assert_eq!(count(&home.database(), "delivery"), 2);

    let restored = home.json(&["restore", "copy.db", "--json"]).remove(0);
    assert_eq!(restored["deliveries"], 1);
    assert_eq!(count(&home.database(), "delivery"), 1);
    let aside = restored["set_aside"].as_str().expect("a path").to_owned();
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 1).1["status"], "duplicate");
    let (_, answer) = service.post_sample("pr_opened", 2);
    assert_eq!((&answer["status"], &answer["event_id"]), (&"accepted".into(), &2.into()), "it is not known any more");
    slack.next();
    assert!(service.terminate().success());

    let back = home.run(&["restore", &aside]);
    assert!(text(&back.stdout).contains("to go back: hookbell restore "), "{}", text(&back.stdout));
    let service = home.start(&["run"]);
    assert_eq!(service.post_sample("pr_opened", 2).1["status"], "duplicate");
    assert!(service.terminate().success());
}

#[test]
fn status_says_what_is_kept_and_what_is_written() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let service = home.start(&["run"]);
    service.post_sample("pr_opened", 1);
    slack.next();
    let facts = |home: &Home| home.json(&["status", "--json"]).remove(0)["store"].clone();
    let running = facts(&home);
    assert_eq!(running["flash"]["today"]["deliveries"], 1, "{running}");
    assert!(running["used_bytes"].as_u64() > Some(4096) && running["log_bytes"].as_u64() > Some(0), "{running}");
    assert_eq!((&running["size_bytes_max"], &running["shrinks"]), (&(1 << 30).into(), &true.into()));
    assert!(running["oldest_at"].is_string() && running["keep_s"].is_null(), "{running}");
    assert!(service.terminate().success());

    let stopped = facts(&home);
    assert_eq!(stopped["flash"]["today"]["deliveries"], 1, "{stopped}");
    assert!(stopped["flash"]["today"]["payload_bytes"].as_u64() > Some(100), "{stopped}");
    assert!(stopped["flash"]["written_bytes_a_year"].is_null(), "a few seconds say nothing about a year");
    let shown = text(&home.run(&["status"]).stdout);
    assert!(shown.contains("database: ") && shown.contains(" of 1.1 GB at most, "), "{shown}");
    match stopped["flash"]["today"]["written_bytes"].as_u64() {
        // Where temporary files are in memory nothing is written.
        Some(0) => println!("skipped: nothing is written to a disk here"),
        Some(bytes) => {
            assert!(bytes > 4096, "{stopped}");
            assert!(stopped["flash"]["written_bytes_per_delivery"].as_f64() > Some(4096.0), "{stopped}");
            assert!(shown.contains("written today (UTC), 1 deliveries; lately "), "{shown}");
        }
        None => println!("skipped: this kernel does not count what a process writes"),
    }

    // Another month: what it comes to in a year goes by what was counted.
    let database = Connection::open(home.database()).expect("the file opens");
    database
        .execute("UPDATE flash SET from_ms = from_ms - 864000000, written_bytes = 10000000", [])
        .expect("ten days of a megabyte");
    drop(database);
    let year = facts(&home)["flash"]["written_bytes_a_year"].as_f64().expect("a number");
    assert!((364e6..366e6).contains(&year), "{year}");
    let shown = text(&home.run(&["status"]).stdout);
    assert!(shown.contains("about 365.0 MB a year, if it goes on as in the last 10 days"), "{shown}");
}

#[test]
fn both_processes_of_the_split_form_count() {
    let (home, slack) = (Home::new(), Slack::start());
    home.configure(&slack.url, "");
    let (worker, door) = (home.start(&["work"]), home.start(&["receive"]));
    assert_eq!(door.post_sample("pr_opened", 1).0, 200);
    slack.next();
    let written = || -> (i64, Option<i64>) {
        let database = Connection::open(home.database()).expect("the file opens");
        let sql = "SELECT sum(deliveries), sum(written_bytes) FROM flash";
        database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("a sum")
    };
    assert!(door.terminate().success());
    let (deliveries, by_door) = written();
    assert_eq!(deliveries, 1);
    assert!(worker.terminate().success());
    let (deliveries, by_both) = written();
    assert_eq!(deliveries, 1);
    assert!(by_both >= by_door, "{by_door:?} {by_both:?}");
}

#[test]
fn a_restore_by_root_follows_nobody_s_links_and_leaves_no_key() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can restore into somebody else's folder");
        return;
    }
    let home = Home::new();
    home.configure("http://127.0.0.1:9/", "");
    assert!(home.start(&["run"]).terminate().success());
    assert!(home.run(&["backup", "copy.db"]).status.success());
    let key = |path: &std::path::Path| -> Option<String> {
        let database = Connection::open(path).expect("the file opens");
        database.query_row("SELECT value FROM meta WHERE key = 'own_key'", [], |row| row.get(0)).ok()
    };
    assert!(key(&home.path("copy.db")).is_some());

    // A folder like the service's, whose owner (nobody) wants a file of root's.
    let (folder, victim) = (home.path("theirs"), home.path("victim"));
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(&victim, "precious").expect("a file");
    let text = std::fs::read_to_string(home.path("hookbell.toml")).expect("the configuration");
    let database = folder.join("hookbell.db");
    let text = text.replace("[store]\n", &format!("[store]\npath = {database:?}\n"));
    std::fs::write(home.path("hookbell.toml"), text).expect("written");
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534)).expect("root may");
    // The way there is open to others.
    std::fs::set_permissions(home.path(""), std::fs::Permissions::from_mode(0o755)).expect("its owner may");
    for name in ["hookbell.db.receive.lock", "hookbell.db"] {
        std::os::unix::fs::symlink(&victim, folder.join(name)).expect("a link");
        let output = home.run(&["restore", "copy.db"]);
        assert!(!output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
        let found = victim.metadata().expect("it is there");
        assert_eq!(std::fs::read_to_string(&victim).expect("readable"), "precious", "{name}");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&found), 0, "{name} was given away");
        std::fs::remove_file(folder.join(name)).expect("removed");
    }
    let output = home.run(&["restore", "copy.db"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&database.metadata().expect("restored")), 65_534);
    assert_eq!(key(&database), None, "where the backup comes from may go on running");
}
