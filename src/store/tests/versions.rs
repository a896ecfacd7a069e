//! Files of other versions, and files that are not ours.

use std::path::Path;

use super::*;

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date_with_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../schema.sql")).unwrap();
    old.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(old);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_ms(NEW_YEAR_MS)));
    let (store, threads) = Store::open(&path, 0, clock.clone()).unwrap();
    let accepted = store.accept(delivery("a", "{}"), arrival(Repeats::Limit)).unwrap();
    assert_eq!(accepted, Accepted::New { id: 1, notes: vec![], is_skipped: false });
    threads.stop(Duration::from_secs(10));
    // Back to the first version, with a delivery in it.
    let old = Connection::open(&path).unwrap();
    old.execute_batch(
        "DROP INDEX delivery_body; CREATE INDEX delivery_body ON delivery (body_hash, received_ms);
         DROP INDEX event_own_id; ALTER TABLE event DROP COLUMN own_id; ALTER TABLE body DROP COLUMN target;
         DROP TABLE refusal; DROP TABLE outage;
         DROP INDEX dispatch_subject; DROP INDEX dispatch_digest; DROP INDEX dispatch_identity;
         CREATE UNIQUE INDEX dispatch_identity ON dispatch (event, sink);
         ALTER TABLE delivery DROP COLUMN handled_by; ALTER TABLE delivery DROP COLUMN durable_us;
         ALTER TABLE dispatch DROP COLUMN channel; ALTER TABLE dispatch DROP COLUMN subject;
         DROP INDEX dispatch_due; CREATE INDEX dispatch_due ON dispatch (sink, id, next_ms) WHERE state = 'due';
         ALTER TABLE dispatch DROP COLUMN digest; ALTER TABLE dispatch DROP COLUMN behind; ALTER TABLE dispatch DROP COLUMN edge_ms;
         DROP TABLE attempt; DROP TABLE conversation; DROP TABLE run; DROP TABLE branch; DROP TABLE latch; DROP TABLE flash; DROP TABLE reached;
         ALTER TABLE delivery DROP COLUMN origin; ALTER TABLE delivery DROP COLUMN sent_ms;
         PRAGMA user_version = 1",
    )
    .unwrap();
    drop(old);
    let (store, threads) = Store::open(&path, 0, clock).unwrap();
    let again = store.accept(delivery("a", "{}"), arrival(Repeats::Limit)).unwrap();
    assert_eq!(again, Accepted::Duplicate { id: 1 });
    let other = store.accept(delivery("b", "{}"), arrival(Repeats::Limit)).unwrap();
    assert_eq!(other, Accepted::New { id: 2, notes: vec!["possible_replay".to_owned()], is_skipped: false });
    threads.stop(Duration::from_secs(10));
    let database = Connection::open(&path).unwrap();
    let read = |query: &str| database.query_row(query, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(read("SELECT CAST(user_version AS TEXT) FROM pragma_user_version"), migrate::VERSION.to_string());
    assert_eq!(read("SELECT target FROM body WHERE delivery = 1"), "");
    assert_eq!(read("SELECT target FROM body WHERE delivery = 2"), "/webhooks/github");
    assert!(read("SELECT sql FROM sqlite_schema WHERE name = 'delivery_body'").contains("3600000"));
}

#[test]
fn a_file_that_is_not_ours_is_refused_with_its_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_ms(NEW_YEAR_MS)));
    let refused = |path: &Path| match Store::open(path, 0, clock.clone()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    };
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is no database, and long enough to be seen as none").unwrap();
    assert!(refused(&text).contains("move it aside"), "{}", refused(&text));
    assert!(refused(&directory.path().join("none/x.db")).contains("does not exist"));
    let newer = directory.path().join("newer.db");
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    assert!(refused(&newer).contains("newer hookbell"), "{}", refused(&newer));
    assert!(
        Reader::open(&directory.path().join("absent.db"))
            .is_err_and(|error| error.to_string().contains("no such file"))
    );
}
