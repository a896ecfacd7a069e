//! A stand-in for GitHub on loopback: the hooks of repositories, organisations and an app, what was delivered to them, and the
//! events of repositories, answered as docs.github.com says, with its limits, its permissions and its bad days.
//!
//! It keeps what the real one would keep and no test has to play a script: a limit is used up by asking, a hook's secret
//! signs what is sent, a listing shows what was sent. What goes wrong is scripted: [`GitHub::script`]. `scripts/test-github`
//! holds every exchange against GitHub's published description; the variable [`LOG`] names the file they are written to.

mod answer;
mod deliveries;
mod hooks;
mod rights;
mod sending;
mod state;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    thread,
    time::Duration,
};

use hookbell::time::Timestamp;
use serde_json::{Value, json};

use self::{
    answer::{Answer, Request},
    state::now,
};
pub(crate) use self::{
    rights::Rights,
    state::{Delivery, Hook, State},
};

/// A token that may do everything everywhere.
pub(crate) const TOKEN: &str = "github_pat_full";
/// The hook's address in tests that do not care: what the service is reached at when GitHub asks for it, see
/// [`GitHub::reach`].
pub(crate) const HOOK_URL: &str = "https://hooks.example.com/webhooks/github";
/// Names the file to which each exchange is appended as one line of JSON.
const LOG: &str = "HOOKBELL_GITHUB_LOG";

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// 403 of the secondary limit: it was too fast.
    TooFast { retry_after_s: u32 },
    /// The same with its other status, 429.
    TooMany { retry_after_s: u32 },
    /// A status of 500 and above with a body that is no JSON where GitHub's proxies answer.
    Fails(u16),
    /// Reads the request and hangs up without a word.
    Cut,
    /// Says how long the body is, gives half of it and hangs up.
    CutShort,
    /// Reads the request and says nothing for ever.
    Hang,
}

/// What was asked, and the status that it got; 0 when there was no answer.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) authorization: Option<String>,
    pub(crate) if_none_match: Option<String>,
    pub(crate) body: Value,
    pub(crate) status: u16,
}

type OnListing = Box<dyn FnMut(&mut State, usize) + Send>;

struct Shared {
    state: Mutex<State>,
    /// Something was asked or delivered.
    moved: Condvar,
    on_listing: Mutex<Option<OnListing>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed with it in hand has said so itself.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(crate) struct GitHub {
    /// Where it listens: `api` in hookbell's configuration.
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl GitHub {
    /// An empty GitHub that knows [`TOKEN`] and nothing else.
    pub(crate) fn start() -> GitHub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(&url)),
            moved: Condvar::new(),
            on_listing: Mutex::new(None),
        });
        let of_thread = Arc::clone(&shared);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_thread);
                // Each on its own: one that hangs must not keep the others waiting.
                thread::spawn(move || serve(stream, &shared));
            }
        });
        GitHub { url, shared }
    }

    /// Looks at everything, or changes it. Whoever holds it stops GitHub.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.state())
    }

    /// Makes it known: `acme/api` is a repository, `acme` an organisation. [`GitHub::add_hook`] does it by itself.
    pub(crate) fn add_owner(&self, owner: &str) {
        self.with(|state| state.add_owner(owner));
    }

    /// A hook that somebody has set up, to be sent everything: of a repository, an organisation, or of the app when the
    /// owner is `app`. Its id.
    pub(crate) fn add_hook(&self, owner: &str, url: &str, secret: Option<&str>) -> i64 {
        self.with(|state| state.add_hook(owner, url, secret))
    }

    /// The hook as it is now, with its secret.
    pub(crate) fn hook(&self, id: i64) -> Hook {
        self.with(|state| state.hook(id).clone())
    }

    /// Gives a token these rights; it may have had others.
    pub(crate) fn token(&self, token: &str, rights: Rights) {
        self.with(|state| state.tokens.insert(token.to_owned(), rights));
    }

    /// Where its deliveries really go, whatever address a hook has: the service's door. `None`: nobody is there.
    pub(crate) fn reach(&self, door: Option<&str>) {
        self.with(|state| state.reach = door.map(str::to_owned));
    }

    /// Delivers an event that the hook wants, signed, and keeps how that went. Returns its GUID when the answer is there.
    pub(crate) fn send(&self, hook: i64, event: &str, body: &Value) -> String {
        let (guid, delivery) = self.with(|state| {
            let wanted = &state.hook(hook).events;
            let is_wanted = state.hook(hook).active && wanted.iter().any(|one| one == "*" || one == event);
            assert!(is_wanted, "GitHub sends no {event} to this hook: {:?}", state.hook(hook));
            let guid = state.new_guid();
            (guid.clone(), state.prepare(hook, event, body, &guid, false))
        });
        sending::deliver(&self.shared, delivery);
        guid
    }

    /// Only the record of a delivery, as if it had been made then and answered so (0: failed to connect). Records are made
    /// from the oldest to the newest: listings are in the order of the ids. Returns its GUID.
    pub(crate) fn record(&self, hook: i64, event: &str, body: &Value, at: Timestamp, status_code: u16) -> String {
        self.with(|state| state.record(hook, event, body, at, status_code))
    }

    /// Something that happened in a repository, for those who ask for its events. Its id.
    pub(crate) fn push_event(&self, repository: &str, kind: &str, payload: &Value, at: Timestamp) -> String {
        self.with(|state| state.push_event(repository, kind, payload, at))
    }

    /// Every delivery to this hook, oldest first.
    pub(crate) fn deliveries(&self, hook: i64) -> Vec<Delivery> {
        self.with(|state| state.deliveries_of(hook))
    }

    /// The same as soon as there are so many: pings and what is delivered again come after the answer.
    pub(crate) fn wait_for_deliveries(&self, hook: i64, count: usize) -> Vec<Delivery> {
        self.wait_until("so many deliveries", |state| state.deliveries_of(hook).len() >= count);
        self.deliveries(hook)
    }

    /// Waits until it was asked so often, see [`GitHub::count`].
    pub(crate) fn wait_for_calls(&self, part: &str, count: usize) {
        self.wait_until(part, |state| state.calls.iter().filter(|call| call.is(part)).count() >= count);
    }

    fn wait_until(&self, what: &str, mut is_so: impl FnMut(&State) -> bool) {
        let waited = self.shared.moved.wait_timeout_while(self.shared.state(), super::PATIENCE, |state| !is_so(state));
        let (state, timeout) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(!timeout.timed_out(), "no {what}; asked: {:#?}, delivered: {:#?}", state.calls, state.deliveries);
    }

    /// The next requests whose `METHOD path` has this in it go wrong like this, one after the other.
    pub(crate) fn script(&self, part: &str, acts: impl IntoIterator<Item = Act>) {
        self.with(|state| state.acts.extend(acts.into_iter().map(|act| (part.to_owned(), act))));
    }

    /// What a token (`app`: the app) has left until then; what is asked afterwards is refused with 403, and at that moment all is well again.
    pub(crate) fn leave(&self, token: &str, remaining: u32, reset: Timestamp) {
        self.with(|state| state.budget(token).leave(remaining, reset));
    }

    /// Called after each page of a listing of deliveries was made and before it is sent, with how many there were (from 1):
    /// what it adds comes during the listing.
    pub(crate) fn on_listing(&self, called: impl FnMut(&mut State, usize) + Send + 'static) {
        *self.shared.on_listing.lock().expect("no test fails in it") = Some(Box::new(called));
    }

    /// Everything that was asked so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.with(|state| state.calls.clone())
    }

    /// How often something was asked whose `METHOD path` has this in it.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.with(|state| state.calls.iter().filter(|call| call.is(part)).count())
    }
}

impl Call {
    fn is(&self, part: &str) -> bool {
        format!("{} {}", self.method, self.path).contains(part)
    }
}

fn serve(stream: TcpStream, shared: &Arc<Shared>) {
    let Some(request) = read(&stream) else { return };
    let (answer, act, pending) = {
        let mut state = shared.state();
        let act = state.next_act(&request);
        let answer = match act {
            Some(Act::Cut | Act::Hang) => None,
            Some(act @ (Act::TooFast { .. } | Act::TooMany { .. } | Act::Fails(_))) => {
                Some(state.misfortune(&request, act))
            }
            Some(Act::CutShort) | None => Some(state.answer(&request)),
        };
        state.calls.push(Call {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            authorization: request.header("authorization").map(str::to_owned),
            if_none_match: request.header("if-none-match").map(str::to_owned),
            body: request.json().unwrap_or_default(),
            status: answer.as_ref().map_or(0, |answer| answer.status),
        });
        (answer, act, std::mem::take(&mut state.pending))
    };
    shared.moved.notify_all();
    let Some(answer) = answer else {
        if matches!(act, Some(Act::Hang)) {
            // The other end leaves when it has had enough.
            let _ = (&stream).read(&mut [0]);
        }
        return;
    };
    if request.is_listing() && answer.status == 200 {
        call_on_listing(shared);
    }
    log(&request, &answer);
    let bytes = answer.bytes();
    let end = if matches!(act, Some(Act::CutShort)) { bytes.len() - answer.body_bytes() / 2 } else { bytes.len() };
    // The test may have ended meanwhile.
    let _ = (&stream).write_all(&bytes[..end]);
    drop(stream);
    // What was asked for is done afterwards, as there.
    for delivery in pending {
        sending::deliver(shared, delivery);
    }
}

fn call_on_listing(shared: &Shared) {
    let mut on_listing = shared.on_listing.lock().expect("no test fails in it");
    if let Some(called) = on_listing.as_mut() {
        let mut state = shared.state();
        state.listings += 1;
        let number = state.listings;
        called(&mut state, number);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(super::PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        lines.push(line.to_owned());
    }
    let mut request = Request::from_head(&lines)?;
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    request.body = vec![0; length];
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// One line, in one write to a file that only grows: those of several tests stay apart.
fn log(request: &Request, answer: &Answer) {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let path = std::env::var_os(LOG)?;
        Some(File::options().create(true).append(true).open(path).expect("a file for the exchanges"))
    });
    let Some(mut file) = file.as_ref() else { return };
    if answer.is_from_a_proxy() {
        // The API never saw it; its description does not speak of it.
        return;
    }
    let line = json!({
        "method": request.method, "path": request.path, "query": request.raw_query, "request": request.logged(),
        "agent": request.header("user-agent"), "status": answer.status, "headers": answer.headers_json(), "response": answer.body,
    });
    file.write_all(format!("{line}\n").as_bytes()).expect("the exchange is written");
}

/// So long ago.
pub(crate) fn ago(duration: Duration) -> Timestamp {
    now().minus(duration)
}
