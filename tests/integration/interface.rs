//! A provider's interface on loopback for tests that say themselves what it answers, and what those have in common who ask
//! it: a service that reconciles, and what it holds afterwards.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use hookbell::time::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::Home;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A request for something.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    headers: HashMap<String, String>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// What it is answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// Indented, as Stripe writes it; to the others it is the same.
    pub(crate) fn json(status: u16, body: &Value) -> Reply {
        let body = serde_json::to_string_pretty(body).expect("JSON");
        Reply { status, fields: Vec::new(), body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Reply {
        self.fields.push((name, value.to_string()));
        self
    }
}

type Answer<S> = fn(&mut S, &Asked) -> Reply;

/// Something that answers; `S` is all that it knows.
pub(crate) struct Interface<S> {
    pub(crate) url: String,
    state: Arc<Mutex<(S, Vec<Asked>)>>,
}

impl<S: Send + 'static> Interface<S> {
    pub(crate) fn start(state: S, answer: Answer<S>) -> Interface<S> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::new(Mutex::new((state, Vec::new())));
        let of_thread = Arc::clone(&state);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The other end may have left.
                let _ = serve(&stream, &of_thread, answer);
            }
        });
        Interface { url, state }
    }

    /// Looks at everything, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.state.lock().expect("no test fails in it").0)
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().expect("no test fails in it").1.clone()
    }

    /// How often something beneath this path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path.starts_with(path)).count()
    }
}

fn serve<S>(stream: &TcpStream, state: &Mutex<(S, Vec<Asked>)>, answer: Answer<S>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
    let mut words = first.split(' ');
    assert_eq!(words.next(), Some("GET"), "nothing is ever changed there: {first}");
    let (path, query) = words.next().map_or(("", ""), |target| target.split_once('?').unwrap_or((target, "")));
    let mut headers = HashMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let asked = Asked { path: path.to_owned(), query, headers };
    let reply = {
        let mut state = state.lock().expect("no test fails in it");
        state.1.push(asked.clone());
        answer(&mut state.0, &asked)
    };
    let date = jiff::fmt::rfc2822::DateTimePrinter::new();
    let date = date.timestamp_to_rfc9110_string(&jiff::Timestamp::now()).expect("a date");
    let mut head = format!(
        "HTTP/1.1 {} X\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes())
}

/// So long ago.
pub(crate) fn ago(duration: Duration) -> Timestamp {
    SystemClock.wall().minus(duration)
}

/// What `status` says about the first place.
pub(crate) fn report(home: &Home) -> Value {
    home.json(&["status", "--json"])[0]["reconciled"][0].clone()
}

/// The same as soon as that was looked at more often than this, and well.
fn reconciled_after(home: &Home, passes: u64) -> Value {
    home.wait_for("a look at the provider", |home| {
        let report = report(home);
        (report["passes"].as_u64()? > passes && report["trouble"].is_null()).then_some(report)
    })
}

/// The same at the first look.
pub(crate) fn reconciled(home: &Home) -> Value {
    reconciled_after(home, 0)
}

/// Has the service ask now.
pub(crate) fn ask(home: &Home) {
    let mut socket = UnixStream::connect(home.path("hookbell.db.sock")).expect("the control socket");
    socket.write_all(b"{\"do\":\"reconcile\"}\n").expect("asked");
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer).expect("an answer");
    assert_eq!(serde_json::from_str::<Value>(&answer).expect("JSON"), json!({ "ok": true }));
}

/// The same, and waits until it has.
pub(crate) fn reconcile(home: &Home) -> Value {
    let before = report(home)["passes"].as_u64().expect("a number");
    ask(home);
    reconciled_after(home, before)
}

/// What goes wrong and what to do about it, as soon as it is this.
pub(crate) fn trouble(home: &Home, part: &str) -> String {
    home.wait_for(part, |home| {
        let report = report(home);
        let said = format!("{}; {}", report["trouble"].as_str()?, report["remedy"].as_str().unwrap_or_default());
        said.contains(part).then_some(said)
    })
}

/// The ids of what is stored in this way, in the order in which it was.
pub(crate) fn stored(home: &Home, origin: &str) -> Vec<String> {
    let mut rows = home.json(&["deliveries", "list", "--json", "--limit", "10000"]);
    rows.reverse();
    let rows = rows.iter().filter(|row| row["origin"] == origin);
    rows.map(|row| row["delivery_id"].as_str().expect("an id").to_owned()).collect()
}
