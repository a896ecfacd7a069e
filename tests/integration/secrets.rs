//! A secret is changed while deliveries come in: none is refused, and at every moment the files say what is accepted.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    provider::fingerprint,
    secret::Secret,
    work::control::{self, Request},
};
use serde_json::{Value, json};

use crate::harness::{Home, PATIENCE, Service, http, signed_by, slack::Slack};

const OLD: &str = "the-old-secret-of-the-test";
const NEW: &str = "the-new-secret-of-the-test";

/// Deliveries a second.
const RATE: u64 = 50;
/// So many come in at each stage.
const PORTION: usize = 30;

/// Its name, what is done, and what the door then says to either secret.
type Stage<'a> = (&'a str, &'a dyn Fn(), (u16, u16));

/// One process or two.
const FORMS: [&[&str]; 2] = [&["run"], &["receive", "work"]];

/// A home whose source has its secret there.
fn home(slack: &Slack, secret: &str) -> Home {
    let home = Home::new();
    home.configure(&slack.url, "");
    let file = home.path("hookbell.toml");
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(file, text.replace("{ env = \"GITHUB_WEBHOOK_SECRET\" }", secret)).expect("written");
    home
}

/// The processes, the one with the door first.
fn start(home: &Home, form: &[&str], credentials: bool) -> Vec<Service> {
    let start = |role: &&str| {
        let mut command = home.command(&[role]);
        if credentials {
            command.env("CREDENTIALS_DIRECTORY", home.path("run"));
        }
        Service::start(command)
    };
    form.iter().map(start).collect()
}

/// As a rotation writes it: it appears whole.
fn write(home: &Home, name: &str, text: &str) {
    fs::write(home.path("draft"), text).expect("written");
    fs::rename(home.path("draft"), home.path(name)).expect("renamed");
}

fn ask(home: &Home, accept: Option<&[&str]>) -> Value {
    let accept = accept.map(|secrets| secrets.iter().map(|text| secret(text)).collect());
    let request = Request::Secrets { source: "github".to_owned(), accept };
    assert!(!format!("{request:?}").contains("-secret-"), "{request:?}");
    control::ask_door(&home.database(), &request).expect("an answer").expect("the door listens")
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).expect("not empty")
}

fn accepts(secrets: &[&str]) -> Value {
    let secrets: Vec<String> = secrets.iter().map(|text| fingerprint(&secret(text))).collect();
    json!({ "source": "github", "secrets": secrets, "faults": [] })
}

fn post(door: &str, key: &str, name: &str) -> u16 {
    let body = format!(r#"{{"action":"labeled","issue":{{"number":1}},"name":"{name}"}}"#);
    let headers = signed_by(key, "issues", name, body.as_bytes());
    http::post(door, "/webhooks/github", &headers, body.as_bytes()).expect("an answer").status
}

/// What the door says to either secret.
fn verdicts(door: &str, stage: &str) -> (u16, u16) {
    (post(door, OLD, &format!("{stage}-old")), post(door, NEW, &format!("{stage}-new")))
}

/// A request by the old secret whose head is in and whose body is not.
struct Begun {
    socket: Box<dyn http::Socket>,
    body: &'static [u8],
}

impl Begun {
    fn start(door: &str) -> Begun {
        let body = br#"{"action":"labeled","issue":{"number":1},"name":"begun"}"#;
        let mut headers = signed_by(OLD, "issues", "begun", body);
        headers.push(("Expect".to_owned(), "100-continue".to_owned()));
        let bytes = http::request("POST", "/webhooks/github", &headers, body);
        let mut socket = http::connect(door).expect("the door is open");
        socket.write_all(&bytes[..bytes.len() - body.len()]).expect("a head is taken");
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).expect("the head is admitted");
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        Begun { socket, body }
    }

    fn finish(mut self) -> u16 {
        self.socket.write_all(self.body).expect("a body is taken");
        http::read_answer(&mut *self.socket).expect("an answer").status
    }
}

/// Signs with one secret after the other, at a steady rate.
struct Sender {
    key: Arc<Mutex<&'static str>>,
    answered: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    refused: thread::JoinHandle<Vec<String>>,
}

impl Sender {
    fn start(door: &str) -> Sender {
        let (key, answered, is_over) =
            (Arc::new(Mutex::new(OLD)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (door, chosen, count, over) = (door.to_owned(), key.clone(), answered.clone(), is_over.clone());
        let refused = thread::spawn(move || {
            let (mut refused, mut due) = (Vec::new(), Instant::now());
            for number in 0.. {
                if over.load(Ordering::Acquire) {
                    break;
                }
                due += Duration::from_millis(1000 / RATE);
                // A load generator's pacing.
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let key = *chosen.lock().expect("nobody panics");
                let status = post(&door, key, &format!("load-{number}"));
                if status != 200 {
                    refused.push(format!("{number} by {key}: {status}"));
                }
                count.fetch_add(1, Ordering::AcqRel);
            }
            refused
        });
        Sender { key, answered, is_over, refused }
    }

    /// Until as many more have been answered.
    fn wait(&self) {
        let (from, deadline) = (self.answered.load(Ordering::Acquire), Instant::now() + PATIENCE);
        while self.answered.load(Ordering::Acquire) < from + PORTION {
            assert!(Instant::now() < deadline, "the sender has come to a halt");
            thread::yield_now();
        }
    }

    fn sign_with(&self, key: &'static str) {
        *self.key.lock().expect("nobody panics") = key;
    }

    fn finish(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Release);
        self.refused.join().expect("a sender does not panic")
    }
}

fn end(services: Vec<Service>) {
    for mut service in services {
        let log = service.log().join("\n");
        assert!(!log.contains(OLD) && !log.contains(NEW), "{log}");
        assert!(service.terminate().success());
    }
}

#[test]
fn a_secret_in_a_file_is_changed_under_load() {
    for form in FORMS {
        let slack = Slack::start();
        let home = home(&slack, "{ file = \"github.secret\" }");
        write(&home, "github.secret", OLD);
        let mut services = start(&home, form, false);
        let sender = Sender::start(&services[0].door);
        sender.wait();
        assert_eq!(ask(&home, None), accepts(&[OLD]));

        // Nobody tells the door: the first that is signed with the new one makes it look.
        write(&home, "github.secret.next", NEW);
        sender.sign_with(NEW);
        sender.wait();
        assert_eq!(ask(&home, None), accepts(&[OLD, NEW]));
        services[0].wait_for_log("secrets changed source=github secrets=2 by=files");
        // Other hooks go on with the old one for a while.
        sender.sign_with(OLD);
        sender.wait();
        sender.sign_with(NEW);
        sender.wait();

        let begun = Begun::start(&services[0].door);
        fs::rename(home.path("github.secret.next"), home.path("github.secret")).expect("renamed");
        sender.wait();
        assert_eq!(begun.finish(), 200, "{form:?}: it began while the old one counted");
        assert_eq!(sender.finish(), Vec::<String>::new(), "{form:?}: refused");
        assert_eq!(verdicts(&services[0].door, "after"), (401, 200));
        assert_eq!(ask(&home, None), accepts(&[NEW]));
        services[0].wait_for_log("secrets changed source=github secrets=1 by=files");

        // Each is told by which of the secrets it was accepted, as they were numbered then.
        let by: Vec<Value> =
            home.json(&["sql", "--json", "SELECT verified_by, count(*) AS n FROM delivery GROUP BY 1"]);
        assert_eq!(by.iter().map(|row| &row["verified_by"]).collect::<Vec<_>>(), [&json!(1), &json!(2)], "{by:?}");
        end(services);
    }
}

#[test]
fn whoever_starts_after_a_crash_accepts_what_the_files_say() {
    for form in FORMS {
        let slack = Slack::start();
        let home = home(&slack, "{ file = \"github.secret\" }");
        write(&home, "github.secret", OLD);
        let mut services = start(&home, form, false);
        let stages: [Stage<'_>; 3] = [
            ("begun", &|| fs::write(home.path("github.secret.next"), "").expect("written"), (200, 401)),
            ("both", &|| write(&home, "github.secret.next", NEW), (200, 200)),
            (
                "over",
                &|| fs::rename(home.path("github.secret.next"), home.path("github.secret")).expect("renamed"),
                (401, 200),
            ),
        ];
        for (stage, act, expected) in stages {
            act();
            assert_eq!(verdicts(&services[0].door, stage), expected, "{form:?} {stage}");
            services.into_iter().for_each(Service::kill);
            services = start(&home, form, false);
            assert_eq!(verdicts(&services[0].door, stage), expected, "{form:?} {stage}, after a kill");
        }
        end(services);
    }
}

#[test]
fn a_credential_is_handed_over_by_the_control_socket() {
    for form in FORMS {
        let slack = Slack::start();
        let home = home(&slack, "{ credential = \"github\" }");
        fs::create_dir(home.path("run")).expect("a directory");
        write(&home, "run/secrets_github", OLD);
        let mut services = start(&home, form, true);
        let sender = Sender::start(&services[0].door);
        sender.wait();
        assert_eq!(ask(&home, Some(&[OLD, NEW])), accepts(&[OLD, NEW]));
        services[0].wait_for_log("secrets changed source=github secrets=2 by=control");
        sender.sign_with(NEW);
        sender.wait();
        assert_eq!(ask(&home, None), accepts(&[OLD, NEW]), "asking changes nothing");
        assert_eq!(ask(&home, Some(&[NEW])), accepts(&[NEW]));
        sender.wait();
        assert_eq!(sender.finish(), Vec::<String>::new(), "{form:?}: refused");
        assert_eq!(verdicts(&services[0].door, "handed"), (401, 200));
        let error =
            control::ask_door(&home.database(), &Request::Secrets { source: "gitlab".to_owned(), accept: None });
        assert!(error.expect("an answer").expect("the door")["error"].as_str().is_some_and(|it| it.contains("github")));
        services.into_iter().for_each(Service::kill);

        // Nothing of it is left; what systemd provides holds, also in the midst of a rotation.
        write(&home, "run/secrets_github.next", NEW);
        let mut services = start(&home, form, true);
        services[0].wait_for_log("a new secret waits in");
        assert_eq!(verdicts(&services[0].door, "again"), (200, 200));
        if form.len() > 1 {
            // What only the worker or only the door can be asked is answered by the other with a remedy.
            services.remove(0).kill();
            let answer = ask(&home, None);
            assert!(answer["error"].as_str().is_some_and(|error| error.contains("hookbell receive")), "{answer}");
        }
        end(services);
    }
}
