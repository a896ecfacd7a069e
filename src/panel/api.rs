//! Every answer in JSON. Owns its shape, which `openapi.json` describes; the pages are made of the very same values. Refuses
//! to know who asks, and shows no secret: it is not given any.

use std::{
    io::Read,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{
    bell::{Bell, Line, Part, Ring, Settings as Desk, State, Taken},
    config::{self, Loaded, Settings},
    doctor,
    door::{Counters, PublicUrl, Sources},
    event::Severity,
    headers::Headers,
    http::More,
    meters::Meters,
    provider::{self, Normalised},
    rule::{self, Explained},
    sink::{Parcel, slack::message::Message},
    store::{Choice, Reader, RefusalCount, RuleHits, Status, Store, StoreError, Story},
    threads::{self, Stop, Wake, lock},
    time::{Clock, Timestamp},
    tunnel::Tunnel,
    work::watch::{self, Findings},
};

/// Rows of a list that nobody asked for more of, and the most.
const LIMIT: u32 = 50;
const LIMIT_MAX: u32 = 500;
/// Of whom a source has refused, so many are looked through for the last.
const REFUSALS_MAX: u32 = 1000;
/// The desk is muted so long at most.
const MUTE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The doctor asks the world, each with its own limit.
const DOCTOR_MAX: Duration = Duration::from_secs(5 * 60);
/// So much of a body is read and shown; all of it can be had as a file.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;
/// While nobody asks for the doctor.
const NOBODY_ASKS: Duration = Duration::from_secs(3600);
/// Messages of one delivery that are drawn.
const MESSAGES_MAX: usize = 20;

/// Larger bodies are read one at a time.
const LARGE_BYTES: i64 = 1024 * 1024;
/// A download goes out in portions.
const PORTION_BYTES: usize = 64 * 1024;
/// And does not keep others from theirs for longer than this.
const DOWNLOAD_MAX: Duration = Duration::from_secs(120);
/// Questions to the database at once, so that a crowd takes turns and not all the memory.
const TURNS: usize = 4;
/// How long one waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);
/// How long whoever asks for the doctor waits for him; the page shows later what he found later.
const DOCTOR_WITHIN: Duration = Duration::from_secs(8);
/// A commit that takes longer is not waited for by whoever asked for it here.
const ACT_WITHIN: Duration = Duration::from_secs(5);

/// What the answers are made from.
pub struct Parts {
    /// The configuration.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// How all is.
    pub findings: Findings,
    /// The desk.
    pub bell: Bell,
    /// What cloudflared says.
    pub tunnel: Tunnel,
    /// What is counted.
    pub meters: Arc<Meters>,
    /// What this process's own door has answered, where it has one.
    pub counters: Option<Arc<Counters>>,
    /// That door's sources, whose secrets may be others than the settings' by now.
    pub sources: Option<Sources>,
    /// Our address in the world, where only a quick tunnel knows it.
    pub public_url: PublicUrl,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The router's and the senders': there is something to do.
    pub wakes: Vec<Wake>,
    /// When the process began.
    pub started: Instant,
    /// Told when the process ends.
    pub stop: Stop,
    /// Wakes the doctor.
    pub examine: Wake,
}

/// What is wrong with what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: u16,
    pub(super) error: String,
    pub(super) hint: String,
}

impl Problem {
    pub(super) fn new(status: u16, error: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { status, error: error.into(), hint: hint.into() }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        // Its text is for who reads the log: it names paths of this machine.
        log::warn!("panel: {error}");
        Problem::new(503, "the database cannot be read or written right now", "`hookbell doctor` looks for the reason")
    }
}

/// A query or a form: names and values in their order.
pub(super) type Fields = Vec<(String, String)>;

pub(super) fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

/// What the doctor has found.
#[derive(Default)]
struct Diagnosis {
    ran_at: Option<Timestamp>,
    is_running: bool,
    checks: Vec<Value>,
}

/// Makes the answers.
pub(super) struct Api {
    pub(super) parts: Parts,
    /// Readers that are not in use: opening one costs a millisecond.
    readers: Mutex<Vec<Reader>>,
    pub(super) stats: super::stats::Stats,
    /// The questions that are being asked, and who waits.
    turns: (Mutex<usize>, Condvar),
    diagnosis: (Mutex<Diagnosis>, Condvar),
    /// Held while a large body is in memory for a page: one at a time, however many look.
    large: Mutex<()>,
    /// The same for a download, which takes as long as its reader.
    is_downloading: Arc<AtomicBool>,
}

impl Api {
    pub(super) fn new(parts: Parts) -> Api {
        Api {
            parts,
            readers: Mutex::default(),
            stats: super::stats::Stats::default(),
            turns: (Mutex::default(), Condvar::new()),
            diagnosis: (Mutex::default(), Condvar::new()),
            large: Mutex::default(),
            is_downloading: Arc::default(),
        }
    }

    /// Asks the database on a connection that somebody else has left, where there is one.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Reader) -> Result<T, StoreError>) -> Result<T, Problem> {
        /// Passes the turn on, however it ends.
        struct Turn<'a>(&'a (Mutex<usize>, Condvar));
        impl Drop for Turn<'_> {
            fn drop(&mut self) {
                *lock(&self.0.0) -= 1;
                self.0.1.notify_one();
            }
        }
        let (taken, freed) = &self.turns;
        let (mut taken, _) = freed
            .wait_timeout_while(lock(taken), TURN_WITHIN, |taken| *taken >= TURNS)
            .unwrap_or_else(PoisonError::into_inner);
        if *taken >= TURNS {
            return Err(Problem::new(503, "too many questions at once", "wait a moment, then ask again"));
        }
        *taken += 1;
        drop(taken);
        let _turn = Turn(&self.turns);
        let kept = lock(&self.readers).pop();
        let reader = match kept {
            Some(reader) => reader,
            None => self.parts.store.reader()?,
        };
        let answer = ask(&reader);
        let mut readers = lock(&self.readers);
        if answer.is_ok() && readers.len() < TURNS {
            readers.push(reader);
        }
        Ok(answer?)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.clock.wall()
    }

    pub(super) fn health(&self) -> Value {
        let mut value = watch::json(&self.parts.findings.latest());
        value["version"] = crate::VERSION.into();
        value["uptime_s"] = self.parts.started.elapsed().as_secs().into();
        value
    }

    pub(super) fn deliveries(&self, query: &Fields) -> Result<Value, Problem> {
        let choice = choice(query)?;
        let page = self.read(|reader| reader.page(&choice))?;
        Ok(to_value(&page))
    }

    /// What the list can be filtered by.
    pub(super) fn known(&self) -> Result<Value, Problem> {
        let (mut sources, kinds) = self.read(|reader| Ok((reader.sources_lately()?, reader.kinds_lately()?)))?;
        sources.extend(self.parts.settings.sources.keys().cloned());
        sources.sort();
        sources.dedup();
        let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.name()).collect();
        Ok(json!({ "sources": sources, "kinds": kinds, "statuses": statuses }))
    }

    pub(super) fn delivery(&self, id: i64) -> Result<Value, Problem> {
        let is_large = self.read(|reader| reader.body_bytes(id))?.is_some_and(|bytes| bytes > LARGE_BYTES);
        let one = is_large.then(|| lock(&self.large));
        let story = self.read(|reader| reader.show_within(id, PAYLOAD_BYTES_MAX))?.ok_or_else(|| no_such(id))?;
        drop(one);
        let messages = self.messages(&story);
        let mut value = to_value(&story);
        self.hide_secrets(&story.row.source, &mut value["headers"]);
        value["messages"] = messages;
        Ok(value)
    }

    /// Some senders prove themselves by saying the secret itself in a header.
    fn hide_secrets(&self, source: &str, headers: &mut Value) {
        let own = self.parts.settings.sources.get(source).and_then(|source| source.terms.options.header.as_deref());
        for (name, value) in headers.as_object_mut().into_iter().flatten() {
            let lower = name.to_ascii_lowercase();
            let is_known = matches!(lower.as_str(), "authorization" | "proxy-authorization" | "cookie");
            let is_called_so = ["token", "secret", "password", "api-key"].iter().any(|word| lower.contains(word));
            if is_known || is_called_so || own.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
                *value = config::HIDDEN.into();
            }
        }
    }

    /// The body as it came, in portions, and its length.
    pub(super) fn body(&self, id: i64) -> Result<(u64, More), Problem> {
        /// Makes room for the next one, however this one ends.
        struct Downloading(Arc<AtomicBool>);
        impl Drop for Downloading {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let is_large = self.read(|reader| reader.body_bytes(id))?.is_some_and(|bytes| bytes > LARGE_BYTES);
        if is_large && self.is_downloading.swap(true, Ordering::AcqRel) {
            return Err(Problem::new(503, "another large body is being sent", "try again in a moment"));
        }
        let downloading = is_large.then(|| Downloading(Arc::clone(&self.is_downloading)));
        let request = self.read(|reader| reader.request(id))?;
        let body = request.ok_or_else(|| no_such(id))?.body;
        let (bytes, mut body) = (body.len() as u64, std::io::Cursor::new(body));
        let until = Instant::now() + DOWNLOAD_MAX;
        let more = move || {
            let _held = &downloading;
            if Instant::now() > until {
                return None;
            }
            let mut portion = Vec::new();
            // Reading from memory cannot fail.
            let count = (&mut body).take(PORTION_BYTES as u64).read_to_end(&mut portion).unwrap_or(0);
            (count > 0).then_some(portion)
        };
        Ok((bytes, Box::new(more)))
    }

    /// What its events look like in Slack.
    fn messages(&self, story: &Story) -> Value {
        let is_slack = |sink: &str| {
            let kind = self.parts.settings.sinks.get(sink).map(|sink| &sink.kind);
            matches!(kind, Some(config::SinkKind::Slack { .. } | config::SinkKind::SlackBot { .. }))
        };
        let drawn = story.dispatches.iter().filter(|dispatch| is_slack(&dispatch.sink)).take(MESSAGES_MAX);
        let message = drawn.filter_map(|dispatch| {
            let event = story.events.get(usize::try_from(dispatch.event).ok()?)?;
            let parcel = Parcel {
                dispatch: 0,
                delivery: story.row.id,
                received: story.row.received_at,
                sent: story.row.sent_at,
                subject: dispatch.subject.clone(),
                event: event.event.clone(),
                cue: None,
                channel: dispatch.channel.clone(),
                reference: format!("{}-{}", story.row.id, dispatch.event),
                tried: 0,
            };
            let message = Message::of(std::slice::from_ref(&parcel)).blocks();
            Some(json!({ "sink": dispatch.sink, "text": message["text"], "blocks": message["blocks"], "color": null }))
        });
        message.collect()
    }

    pub(super) fn events(&self, query: &Fields) -> Result<Value, Problem> {
        let limit = limit(query, 100)?;
        let before = number(query, "before")?;
        let events = self.read(|reader| reader.newest_events(before, limit + 1))?;
        let has_more = events.len() > limit as usize;
        let events = &events[..events.len().min(limit as usize)];
        let next = if has_more { events.last().map(|event| event.id) } else { None };
        Ok(json!({ "events": to_value(&events), "next": next }))
    }

    pub(super) fn desk(&self) -> Value {
        desk(&self.parts.bell.state(), self.parts.bell.settings())
    }

    pub(super) fn sources(&self) -> Result<Value, Problem> {
        let refusals = self.read(|reader| reader.refusals(REFUSALS_MAX))?;
        let public_url = self.parts.settings.door.public_url.clone().or_else(|| self.parts.public_url.get());
        let report = self.parts.findings.latest();
        let sources = self.parts.settings.sources.iter().map(|(name, source)| {
            let path = format!("/webhooks/{name}");
            let config::AllowFrom { networks, published } = &source.allow_from;
            let allowed = published.then(|| "github".to_owned()).into_iter();
            let allow_from: Vec<String> = allowed.chain(networks.iter().map(ToString::to_string)).collect();
            let health = report.sources.iter().find(|health| health.source == *name);
            let live = self.parts.sources.as_ref().and_then(|sources| sources.count(name));
            let secrets = live.unwrap_or(source.terms.secrets.len());
            json!({
                "source": name,
                "provider": source.terms.provider.name(),
                "url": public_url.as_ref().map(|url| format!("{url}{path}")),
                "path": path,
                "secrets": secrets,
                "allow_from": allow_from,
                "last_received": health.and_then(|health| health.last_received),
                "last_refusal": refusals.iter().find(|refusal| refusal.source == *name).map(refusal),
            })
        });
        let sources: Vec<Value> = sources.collect();
        Ok(json!({ "public_url": public_url, "sources": sources }))
    }

    pub(super) fn rules(&self) -> Result<Value, Problem> {
        let RuleHits { events, hits } = self.read(|reader| reader.rule_hits())?;
        let rules = self.parts.settings.rules.iter().enumerate().map(|(index, rule)| {
            let name = rule.label(index);
            let said = config::rule_json(rule);
            let hit = hits.get(&name);
            json!({
                "name": name,
                "when": condition(&said["when"]),
                "unless": condition(&said["unless"]),
                "to": rule.to.iter().map(target).collect::<Vec<_>>(),
                "cue": rule.cue,
                "stop": rule.stop,
                "hits": hit.map_or(0, |(count, _)| *count),
                "last_hit": hit.map(|(_, last)| *last),
            })
        });
        let rules: Vec<Value> = rules.collect();
        Ok(json!({ "over_events": events, "rules": rules }))
    }

    /// What would become of this payload. Nothing is proven, and nothing is stored.
    pub(super) fn test_rules(&self, asked: &Value) -> Result<Value, Problem> {
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let (name, event_type, payload) = (text("source"), text("event_type").trim(), text("payload"));
        let Some(source) = self.parts.settings.sources.get(name) else {
            return Err(Problem::new(422, format!("no source is called {name:?}"), "choose one of those in the list"));
        };
        let mut headers = Headers::new();
        headers.push("Content-Type", b"application/json");
        let body = payload.as_bytes().to_vec();
        let request = provider::Unverified { target: format!("/webhooks/{name}"), headers, body };
        let event_type = match event_type {
            // Most say it in a header, which nobody has pasted.
            "" => provider::event_type(&source.terms, &request).unwrap_or_default(),
            said => said.to_owned(),
        };
        let context =
            provider::Context { provider: source.terms.provider, source: name, options: &source.terms.options };
        let found = provider::normalise(&context, &event_type, &request.headers, &request.body);
        let (events, problem) = match found {
            Normalised::Events(events) => (events, None),
            Normalised::Partly { events, unread } => {
                (events, Some(format!("{unread} entries of its list are not read")))
            }
            Normalised::Skipped(why) => (Vec::new(), Some(format!("skipped: {why}"))),
            Normalised::Undecodable(why) => (Vec::new(), Some(format!("cannot be read: {why}"))),
        };
        let local = self.parts.settings.zone.local(self.now());
        let rules = &self.parts.settings.rules;
        let tested = events.into_iter().take(provider::EVENTS_MAX).map(|event| {
            let route = rule::route(rules, &event, local);
            let why = rule::explain(rules, &event, local).into_iter().map(|explained| {
                let Explained { rule, is_matched, why } = explained;
                let is_unasked = why.as_ref().is_some_and(|why| why.starts_with("not looked at"));
                let verdict = if is_matched {
                    "matches"
                } else if is_unasked {
                    "not asked"
                } else {
                    "does not match"
                };
                json!({ "name": rule, "verdict": verdict, "why": why.unwrap_or_default() })
            });
            let why: Vec<Value> = why.collect();
            let mut value = to_value(&event);
            value["to"] = route.to.iter().map(target).collect();
            value["rules"] = Value::Array(why);
            value
        });
        let tested: Vec<Value> = tested.collect();
        Ok(json!({ "problem": problem, "event_type": event_type, "events": tested }))
    }

    pub(super) fn doctor(&self) -> Value {
        let Diagnosis { ran_at, is_running, checks } = &*lock(&self.diagnosis.0);
        json!({ "ran_at": ran_at, "is_running": is_running, "checks": checks })
    }

    /// Sends for the doctor, unless he is at it already, and waits for him a while.
    pub(super) fn run_doctor(&self) -> Value {
        lock(&self.diagnosis.0).is_running = true;
        self.parts.examine.wake();
        let until = Instant::now() + DOCTOR_WITHIN;
        let mut diagnosis = lock(&self.diagnosis.0);
        while diagnosis.is_running && Instant::now() < until && !self.parts.stop.is_told() {
            // Short, because nobody wakes this one at the end.
            let waited = self.diagnosis.1.wait_timeout(diagnosis, Duration::from_millis(100));
            diagnosis = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(diagnosis);
        self.doctor()
    }

    /// The doctor's thread: he asks the world, which may take its time and needs a stack for it.
    pub(super) fn examine(&self) {
        while !self.parts.stop.is_told() {
            self.parts.examine.wait(NOBODY_ASKS);
            if !lock(&self.diagnosis.0).is_running || self.parts.stop.is_told() {
                continue;
            }
            let _busy = threads::busy(DOCTOR_MAX);
            let loaded = Loaded { settings: self.parts.settings.clone(), warnings: Vec::new() };
            let patient = doctor::Patient { loaded: &loaded, conflicts: &[], fsync_test: false };
            let mut checks = Vec::new();
            doctor::run(&patient, &mut |check| {
                let doctor::Check { name, result, said, remedy, facts: _ } = check;
                checks.push(json!({ "name": name, "verdict": result.name(), "said": said, "remedy": remedy }));
            });
            let ran_at = Some(self.now());
            *lock(&self.diagnosis.0) = Diagnosis { ran_at, is_running: false, checks };
            self.diagnosis.1.notify_all();
        }
    }

    /// Has the delivery handled anew by today's rules.
    pub(super) fn replay(&self, id: i64) -> Result<Value, Problem> {
        self.read(|reader| reader.show_row(id))?.ok_or_else(|| no_such(id))?;
        let done = self.parts.store.replay_within(&[id], ACT_WITHIN)?;
        if done.is_empty() {
            let hint = "wait until it is settled; `retrying` is settled once it is given up";
            return Err(Problem::new(409, format!("delivery {id} is still under way, or has no body any more"), hint));
        }
        self.wake();
        Ok(json!({ "id": id, "status": "unprocessed", "done": "replayed" }))
    }

    /// Tries what was given up once more.
    pub(super) fn requeue(&self, id: i64) -> Result<Value, Problem> {
        self.read(|reader| reader.show_row(id))?.ok_or_else(|| no_such(id))?;
        let done = self.parts.store.requeue_within(&[id], ACT_WITHIN)?;
        if done.is_empty() {
            let hint = "replay handles it anew by today's rules";
            return Err(Problem::new(409, format!("nothing of delivery {id} was given up"), hint));
        }
        self.wake();
        Ok(json!({ "id": id, "status": "unprocessed", "done": "requeued" }))
    }

    fn wake(&self) {
        self.parts.wakes.iter().for_each(Wake::wake);
    }

    /// Does something at the desk: `what` as in the path.
    pub(super) fn at_desk(&self, what: &str, asked: &Value) -> Result<Value, Problem> {
        let bell = &self.parts.bell;
        match what {
            "ring" => {
                let cue = asked["cue"].as_str().unwrap_or_default();
                if !bell.settings().cues.contains_key(cue) {
                    let hint = "say {\"cue\": \"pr_merged\"}; /api/desk lists all of them";
                    return Err(Problem::new(422, format!("there is no cue {cue:?}"), hint));
                }
                taken(bell.ring(Ring { by_hand: true, ..Ring::now(cue, Severity::Info) }), "rung")
            }
            "test" => taken(bell.test(), "testing every line"),
            "ack" | "off" => {
                let latches = bell.acknowledge();
                Ok(json!({ "done": "acknowledged", "acknowledged": to_value(&latches) }))
            }
            "mute" => {
                // A form says it as text.
                let minutes = match &asked["minutes"] {
                    Value::Null => Some(60),
                    Value::String(text) => text.parse().ok(),
                    value => value.as_u64(),
                };
                let wrong = || Problem::new(422, "minutes is no whole number", "say {\"minutes\": 60}");
                let time = Duration::from_secs(minutes.ok_or_else(wrong)?.saturating_mul(60)).min(MUTE_MAX);
                bell.mute(Some(time));
                Ok(json!({ "done": "muted", "muted_until": bell.state().muted_until }))
            }
            "unmute" => {
                bell.mute(None);
                Ok(json!({ "done": "not muted any more", "muted_until": null }))
            }
            _ => Err(Problem::new(404, "nothing is here", "the desk knows ring, test, ack, off, mute and unmute")),
        }
    }
}

/// The desk as people see it.
pub(super) fn desk(state: &State, settings: &Desk) -> Value {
    let mut value = to_value(state);
    let wires = crate::bell::Wires::new(settings);
    let lines = wires.lines.iter().zip(&state.lines).map(|(line, shown)| {
        json!({
            "name": shown.name,
            "kind": match line.part { Part::Buzzer(_) => "buzzer", _ => "led" },
            "colour": colour(line),
            "pin": line.pin.bcm,
            "lit": shown.lit,
            "percent": shown.percent,
            "hz": shown.hz,
            "error": shown.error,
        })
    });
    value["lines"] = lines.collect();
    value["cues"] = settings.cues.keys().cloned().collect();
    value
}

/// The colour that a lamp's name says.
fn colour(line: &Line) -> &'static str {
    const COLOURS: [(&str, &str); 8] = [
        ("red", "#ff453a"),
        ("green", "#30d158"),
        ("blue", "#0a84ff"),
        ("yellow", "#ffd60a"),
        ("orange", "#ff9f0a"),
        ("amber", "#ffbf00"),
        ("white", "#f5f5f7"),
        ("violet", "#bf5af2"),
    ];
    COLOURS.iter().find(|(name, _)| line.name.contains(name)).map_or("#ffd9a0", |(_, colour)| colour)
}

fn taken(taken: Taken, done: &str) -> Result<Value, Problem> {
    match taken {
        Taken::Queued | Taken::Merged => Ok(json!({ "done": done })),
        Taken::Skipped(why) => Err(Problem::new(409, why, "`hookbell doctor` looks at every pin")),
    }
}

fn refusal(refusal: &RefusalCount) -> Value {
    let RefusalCount { source: _, peer, status, why, count, first_at: _, last_at } = refusal;
    json!({ "at": last_at, "status": status, "why": why, "peer": peer, "count": count })
}

fn target(target: &rule::Target) -> String {
    match &target.channel {
        Some(channel) => format!("{}:{channel}", target.sink),
        None => target.sink.clone(),
    }
}

/// `source = github, actor = *[bot] or dependabot`.
fn condition(fields: &Value) -> String {
    let one = |(name, patterns): (&String, &Value)| {
        let patterns: Vec<&str> = match patterns {
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            single => single.as_str().into_iter().collect(),
        };
        format!("{name} = {}", patterns.join(" or "))
    };
    fields.as_object().map(|fields| fields.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

pub(super) fn no_such(id: i64) -> Problem {
    Problem::new(404, format!("there is no delivery {id}"), "the list shows those that there are; old ones are pruned")
}

pub(super) fn to_value(value: &impl serde::Serialize) -> Value {
    // What we made ourselves is never of a kind that JSON cannot say.
    serde_json::to_value(value).unwrap_or(Value::Object(Map::new()))
}

fn number(query: &Fields, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = field(query, name) else { return Ok(None) };
    let wrong = || Problem::new(422, format!("{name} is no number"), format!("write {name}=17"));
    text.parse().map(Some).map_err(|_| wrong())
}

fn limit(query: &Fields, usual: u32) -> Result<u32, Problem> {
    let limit = number(query, "limit")?.unwrap_or(usual.into());
    Ok(u32::try_from(limit.clamp(1, LIMIT_MAX.into())).unwrap_or(LIMIT_MAX))
}

fn choice(query: &Fields) -> Result<Choice, Problem> {
    let mut statuses = Vec::new();
    for (_, name) in query.iter().filter(|(key, value)| key == "status" && !value.is_empty()) {
        let called = Status::called(name);
        statuses.extend(called.map_err(|known| Problem::new(422, format!("no status is called {name:?}"), known))?);
    }
    statuses.sort_by_key(|status| status.name());
    statuses.dedup();
    let moment = |name: &str| {
        let Some(text) = field(query, name) else { return Ok(None) };
        let moment = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")));
        let hint = format!("write {name}=2026-11-22 or {name}=2026-11-22T10:00:00Z");
        moment.map(Some).ok_or_else(|| Problem::new(422, format!("{name} is no time"), hint))
    };
    let text = |name: &str| field(query, name).map(str::to_owned);
    Ok(Choice {
        statuses,
        source: text("source"),
        kind: text("kind"),
        words: text("q"),
        since: moment("since")?,
        until: moment("until")?,
        before: number(query, "before")?,
        limit: limit(query, LIMIT)?,
    })
}
