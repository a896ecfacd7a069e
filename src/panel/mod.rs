//! The page for people, and the API beneath it. Owns what is asked for and how it is answered; refuses to change anything
//! but by the verbs that `hookbell deliveries` and `hookbell bell` have, and to show a secret.
//!
//! In reading order: `access` decides who may, `api` and `stats` make the answers, `page` draws the very same for
//! people, `live` tells what happens, `metrics` what was counted; `watch` looks for news.

mod access;
mod address;
mod api;
mod live;
mod metrics;
mod page;
mod stats;
mod watch;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use self::{
    access::{Access, Denied, Keeper},
    api::{Api, Fields, Problem, field},
};
pub use self::{
    address::{Address, hostname},
    api::Parts,
    live::Live,
    watch::{Watch, edges},
};
use crate::{
    config,
    http::{Admitted, Head, Limits, Peer, Request, Response, Service},
    threads,
    time::{Clock, SystemClock},
};

/// Where a form or a question may be so large; a payload to be tried larger.
const BODY_BYTES_MAX: usize = 64 * 1024;
const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
/// Events on the page that says how all is.
const EVENTS_SHOWN: &str = "25";

/// What every answer may not be: framed, guessed at, kept by a proxy, or the origin of anything else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const HTML: &str = "text/html; charset=utf-8";

const STYLE: &str = include_str!("assets/panel.css");
const SCRIPT: &str = include_str!("assets/panel.js");
const ICON: &str = include_str!("assets/icon.svg");
const OPENAPI: &str = include_str!("openapi.json");

/// Behind the addresses of style and script: with a new program they are others.
const ASSET_TAG: &str = concat!(env!("CARGO_PKG_VERSION"), "-", env!("HOOKBELL_BUILT_S"));

/// The panel's service.
pub struct Panel {
    api: Arc<Api>,
    live: Live,
    keeper: Keeper,
    hostname: String,
}

/// What is asked for, and by whom.
pub struct Asked {
    route: Route,
    access: Access,
    query: Fields,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Page(View),
    Asset(&'static str, &'static str),
    Read(Thing),
    Live,
    Metrics,
    LogIn,
    LogOut,
    Act(Verb),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum View {
    Now,
    Deliveries,
    Delivery(i64),
    Flow,
    Setup,
    LogIn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Health,
    Deliveries,
    Delivery(i64),
    Body(i64),
    Events,
    Stats,
    Sources,
    Rules,
    Desk,
    Doctor,
    OpenApi,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verb {
    Replay(i64),
    Requeue(i64),
    TestRules,
    Bell(String),
    Doctor,
}

impl Panel {
    /// A panel over these; `live` is where its news come from.
    pub fn new(settings: &config::Panel, parts: Parts, live: Live, hostname: &str) -> Panel {
        let keeper = Keeper::new(settings, parts.store.own_key().clone(), hostname);
        Panel { api: Arc::new(Api::new(parts)), live, keeper, hostname: hostname.to_owned() }
    }

    /// The work of the thread that examines when somebody asks for the doctor; it ends when the process stops.
    pub fn examiner(&self) -> impl FnOnce() + Send + 'static {
        let api = Arc::clone(&self.api);
        move || api.examine()
    }

    /// What a listener for it grants.
    pub fn limits() -> Limits {
        Limits {
            body_bytes_max: PAYLOAD_BYTES_MAX,
            connections_max: 96,
            stack_bytes: threads::STACK_BYTES,
            bodies_in_flight_bytes_max: 8 * PAYLOAD_BYTES_MAX,
            ..Limits::default()
        }
    }
}

/// Path and query.
fn parts_of(target: &str) -> (&str, Fields) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query =
        form_urlencoded::parse(query.as_bytes()).take(FIELDS_MAX).map(|(name, value)| (name.into(), value.into()));
    (path, query.collect())
}

/// Fields of one query or form.
const FIELDS_MAX: usize = 64;

/// Where a path leads by this method; the methods that it knows where it knows others, else nothing.
fn route(method: &str, path: &str) -> Result<Route, Option<&'static str>> {
    const READ: &str = "GET, HEAD";
    let is_read = matches!(method, "GET" | "HEAD");
    let id =
        |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or(None);
    let segments: Vec<&str> = path.strip_prefix('/').ok_or(None)?.split('/').collect();
    if let ["login"] = segments.as_slice() {
        return match method {
            "GET" | "HEAD" => Ok(Route::Page(View::LogIn)),
            "POST" => Ok(Route::LogIn),
            _ => Err(Some("GET, HEAD, POST")),
        };
    }
    if let ["api", "doctor"] = segments.as_slice() {
        return match method {
            "GET" | "HEAD" => Ok(Route::Read(Thing::Doctor)),
            "POST" => Ok(Route::Act(Verb::Doctor)),
            _ => Err(Some("GET, HEAD, POST")),
        };
    }
    let act = match segments.as_slice() {
        ["api", "deliveries", number, "replay"] => Some(Verb::Replay(id(number)?)),
        ["api", "deliveries", number, "requeue"] => Some(Verb::Requeue(id(number)?)),
        ["api", "rules", "test"] => Some(Verb::TestRules),
        ["api", "bell", what @ ("ring" | "test" | "ack" | "off" | "mute" | "unmute")] => {
            Some(Verb::Bell((*what).to_owned()))
        }
        _ => None,
    };
    if let Some(verb) = act {
        return if method == "POST" { Ok(Route::Act(verb)) } else { Err(Some("POST")) };
    }
    if let ["logout"] = segments.as_slice() {
        return if method == "POST" { Ok(Route::LogOut) } else { Err(Some("POST")) };
    }
    let read = match segments.as_slice() {
        [""] => Route::Page(View::Now),
        ["deliveries"] => Route::Page(View::Deliveries),
        ["deliveries", number] => Route::Page(View::Delivery(id(number)?)),
        ["flow"] => Route::Page(View::Flow),
        ["setup"] => Route::Page(View::Setup),
        ["assets", "panel.css"] => Route::Asset("text/css; charset=utf-8", STYLE),
        ["assets", "panel.js"] => Route::Asset("text/javascript; charset=utf-8", SCRIPT),
        ["assets", "icon.svg"] | ["favicon.ico"] => Route::Asset("image/svg+xml", ICON),
        ["metrics"] => Route::Metrics,
        ["api", "live"] => Route::Live,
        ["api", "health"] => Route::Read(Thing::Health),
        ["api", "deliveries"] => Route::Read(Thing::Deliveries),
        ["api", "deliveries", number] => Route::Read(Thing::Delivery(id(number)?)),
        ["api", "deliveries", number, "body"] => Route::Read(Thing::Body(id(number)?)),
        ["api", "events"] => Route::Read(Thing::Events),
        ["api", "stats"] => Route::Read(Thing::Stats),
        ["api", "sources"] => Route::Read(Thing::Sources),
        ["api", "rules"] => Route::Read(Thing::Rules),
        ["api", "desk"] => Route::Read(Thing::Desk),
        ["api", "openapi.json"] => Route::Read(Thing::OpenApi),
        _ => return Err(None),
    };
    if is_read { Ok(read) } else { Err(Some(READ)) }
}

impl Service for Panel {
    type Admitted = Asked;

    fn admit(&self, head: &Head, peer: &Peer) -> Result<Admitted<Asked>, Response> {
        let (path, query) = parts_of(&head.target);
        let wants_page = !path.starts_with("/api/") && path != "/metrics";
        let is_welcome = if wants_page { Ok(()) } else { Keeper::check_site(head) };
        let access = is_welcome
            .and_then(|()| self.keeper.judge(head, peer, self.api.now()))
            .map_err(|denied| self.denied(&denied, wants_page))?;
        let route = route(&head.method, path).map_err(|allowed| match allowed {
            Some(methods) => self
                .problem(&Problem::new(405, "that is not done here", format!("only {methods}")), wants_page)
                .allow(methods),
            None => {
                let problem = Problem::new(404, "nothing is here", "/api/openapi.json lists what there is");
                self.problem(&problem, wants_page && access != Access::Stranger)
            }
        })?;
        let is_open = matches!(route, Route::Asset(..) | Route::Page(View::LogIn) | Route::LogIn);
        if access == Access::Stranger && !is_open {
            return Err(self.stranger(&head.target, wants_page));
        }
        let body_bytes_max = match route {
            Route::Act(Verb::TestRules) => PAYLOAD_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        };
        Ok(Admitted { value: Asked { route, access, query }, body_bytes_max: Some(body_bytes_max) })
    }

    fn handle(&self, request: Request<Asked>) -> Response {
        let Request { head, body, peer, accepted: _, admitted: Asked { route, access, query } } = request;
        match route {
            Route::Page(view) => self.page(view, &query, access),
            Route::Asset(content_type, text) => {
                // Its address changes with the program.
                guarded(Response::new(200, content_type, text), "public, max-age=31536000, immutable")
            }
            Route::Read(thing) => self.read(thing, &query, &head),
            Route::Live => {
                let last = head.headers.text("Last-Event-ID").or_else(|| field(&query, "last"));
                self.live.watch(last).map(|stream| guarded(stream, "no-store")).unwrap_or_else(|| {
                    let problem = Problem::new(503, "too many pages are open", "close some, or wait a moment");
                    self.problem(&problem, false).retry_after(Duration::from_secs(10))
                })
            }
            Route::Metrics => match metrics::metrics(&self.api, &self.live) {
                Ok(text) => guarded(Response::new(200, metrics::CONTENT_TYPE, text), "no-store"),
                Err(problem) => self.problem(&problem, false),
            },
            Route::LogIn => self.log_in(&body, &peer),
            Route::LogOut => see("/login").field("Set-Cookie", &Keeper::no_session()),
            Route::Act(verb) => self.act(&verb, &head, &body, access),
        }
    }
}

impl Panel {
    fn read(&self, thing: Thing, query: &Fields, head: &Head) -> Response {
        let api = &self.api;
        let found = match thing {
            Thing::Health => Ok(api.health()),
            Thing::Deliveries => api.deliveries(query),
            Thing::Delivery(id) => api.delivery(id),
            Thing::Body(id) => {
                return match api.body(id) {
                    // A file to keep, whatever it says it is: it is a stranger's.
                    Ok((bytes, more)) => {
                        guarded(Response::portions("application/octet-stream", bytes, more), "no-store")
                            .field("Content-Disposition", &format!("attachment; filename=\"delivery-{id}.body\""))
                    }
                    Err(problem) => self.problem(&problem, false),
                };
            }
            Thing::Events => api.events(query),
            Thing::Stats => api.stats(),
            Thing::Sources => api.sources(),
            Thing::Rules => api.rules(),
            Thing::Desk => Ok(api.desk()),
            Thing::Doctor => Ok(api.doctor()),
            Thing::OpenApi => {
                return guarded(Response::new(200, "application/json", OPENAPI), "no-cache");
            }
        };
        match found {
            Ok(value) => tagged(&value, head),
            Err(problem) => self.problem(&problem, false),
        }
    }

    fn page(&self, view: View, query: &Fields, access: Access) -> Response {
        let notice = field(query, "done").map(|done| done.chars().take(NOTICE_CHARS_MAX).collect::<String>());
        match self.draw(view, query, access, notice.as_deref(), None) {
            Ok(html) => guarded(Response::new(200, HTML, html), "no-store"),
            Err(problem) => self.problem(&problem, true),
        }
    }

    fn draw(
        &self,
        view: View,
        query: &Fields,
        access: Access,
        notice: Option<&str>,
        tried: Option<(&Value, &page::Pasted<'_>)>,
    ) -> Result<String, Problem> {
        let api = &self.api;
        let context = self.context(access, notice);
        Ok(match view {
            View::Now => {
                let events = api.events(&vec![("limit".to_owned(), EVENTS_SHOWN.to_owned())])?;
                page::now(&api.health(), &api.desk(), &events, &context)
            }
            View::Deliveries => page::deliveries(query, &api.deliveries(query)?, &api.known()?, &context),
            View::Delivery(id) => page::delivery(&api.delivery(id)?, &context),
            View::Flow => page::flow(&api.stats()?, &api.health(), &context),
            View::Setup => {
                let (tested, pasted) = tried.unzip();
                let (sources, rules, doctor) = (api.sources()?, api.rules()?, api.doctor());
                page::setup(&sources, &rules, &api.desk(), &doctor, tested, pasted, &context)
            }
            View::LogIn => page::login(None, &local_path(field(query, "next").unwrap_or("/")), &context),
        })
    }

    fn context<'a>(&'a self, access: Access, notice: Option<&'a str>) -> page::Context<'a> {
        page::Context {
            now: self.api.now(),
            version: crate::VERSION,
            host: &self.hostname,
            needs_login: access == Access::LoggedIn,
            notice,
            asset_tag: ASSET_TAG,
        }
    }

    fn log_in(&self, body: &[u8], peer: &Peer) -> Response {
        let form = form(body);
        let next = local_path(field(&form, "next").unwrap_or("/"));
        let denied = match (self.keeper.has_token(), field(&form, "token")) {
            (false, _) => no_token(),
            (true, token) => match self.keeper.check_token(token.unwrap_or_default(), peer) {
                Ok(()) => return see(&next).field("Set-Cookie", &self.keeper.session(self.api.now())),
                Err(denied) => denied,
            },
        };
        let message = format!("{}: {}", denied.error, denied.hint);
        let html = page::login(Some(&message), &next, &self.context(Access::Stranger, None));
        let response = guarded(Response::new(denied.status, HTML, html), "no-store");
        match denied.retry_after {
            Some(wait) => response.retry_after(wait),
            None => response,
        }
    }

    fn act(&self, verb: &Verb, head: &Head, body: &[u8], access: Access) -> Response {
        let content_type = head.headers.text("Content-Type").unwrap_or_default().to_ascii_lowercase();
        let fields = content_type.starts_with("application/x-www-form-urlencoded").then(|| form(body));
        let asked = match &fields {
            Some(fields) => fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect(),
            None if body.is_empty() => json!({}),
            None => match serde_json::from_slice::<Value>(body) {
                Ok(asked) => asked,
                Err(error) => {
                    let hint = "send JSON, or nothing at all";
                    return self.problem(&Problem::new(400, format!("not JSON: {error}"), hint), false);
                }
            },
        };
        let api = &self.api;
        let done = match verb {
            Verb::Replay(id) => api.replay(*id),
            Verb::Requeue(id) => api.requeue(*id),
            Verb::Bell(what) => api.at_desk(what, &asked),
            Verb::Doctor => Ok(api.run_doctor()),
            Verb::TestRules => api.test_rules(&asked),
        };
        let Some(fields) = fields else {
            return match done {
                Ok(value) => guarded(Response::json(200, &value), "no-store"),
                Err(problem) => self.problem(&problem, false),
            };
        };
        // A form of a page without JavaScript.
        match (done, verb) {
            (Err(problem), _) => self.problem(&problem, true),
            (Ok(tested), Verb::TestRules) => {
                let text = |name: &str| field(&fields, name).unwrap_or_default();
                let pasted =
                    page::Pasted { source: text("source"), event_type: text("event_type"), payload: text("payload") };
                match self.draw(View::Setup, &Vec::new(), access, None, Some((&tested, &pasted))) {
                    Ok(html) => guarded(Response::new(200, HTML, html), "no-store"),
                    Err(problem) => self.problem(&problem, true),
                }
            }
            (Ok(value), _) => {
                let done = value["done"].as_str().unwrap_or("done");
                let back = local_path(field(&fields, "return").unwrap_or("/"));
                let (path, fragment) = back
                    .split_once('#')
                    .map_or((&*back, String::new()), |(path, fragment)| (path, format!("#{fragment}")));
                let separator = if path.contains('?') { '&' } else { '?' };
                let done: String = form_urlencoded::byte_serialize(done.as_bytes()).collect();
                see(&format!("{path}{separator}done={done}{fragment}"))
            }
        }
    }

    /// What somebody is told who is not known.
    fn stranger(&self, target: &str, wants_page: bool) -> Response {
        if !self.keeper.has_token() {
            return self.denied(&no_token(), wants_page);
        }
        if wants_page {
            let next: String = form_urlencoded::byte_serialize(target.as_bytes()).collect();
            return see(&format!("/login?next={next}"));
        }
        let hint = "send Authorization: Bearer and the token of [panel], or log in at /login";
        self.problem(&Problem::new(401, "who are you?", hint), false).field("WWW-Authenticate", "Bearer")
    }

    fn denied(&self, denied: &Denied, wants_page: bool) -> Response {
        let Denied { status, error, hint, retry_after } = denied;
        let response = self.problem(&Problem::new(*status, *error, hint.clone()), wants_page);
        match retry_after {
            Some(wait) => response.retry_after(*wait),
            None => response,
        }
    }

    fn problem(&self, problem: &Problem, wants_page: bool) -> Response {
        let Problem { status, error, hint } = problem;
        let response = match wants_page {
            true => {
                let html = page::failed(*status, error, hint, &self.context(Access::Stranger, None));
                Response::new(*status, HTML, html)
            }
            false => Response::json(*status, &json!({ "error": error, "hint": hint })),
        };
        guarded(response, "no-store")
    }
}

/// A notice is a few words, whoever wrote the address that it stands in.
const NOTICE_CHARS_MAX: usize = 120;

fn no_token() -> Denied {
    Denied {
        status: 403,
        error: "nobody can log in from elsewhere",
        hint: "set token in [panel], and give it to hookbell; `hookbell secret` makes one".to_owned(),
        retry_after: None,
    }
}

fn form(body: &[u8]) -> Fields {
    form_urlencoded::parse(body).take(FIELDS_MAX).map(|(name, value)| (name.into(), value.into())).collect()
}

/// A path of ours: what leads elsewhere, or might in some browser's eyes, leads to the beginning.
fn local_path(path: &str) -> String {
    let is_ours =
        path.starts_with('/') && !path.starts_with("//") && !path.contains(|c: char| c == '\\' || c.is_control());
    if is_ours { path.to_owned() } else { "/".to_owned() }
}

fn see(path: &str) -> Response {
    guarded(Response::text(303, ""), "no-store").field("Location", path)
}

/// With everything that keeps an answer to itself.
fn guarded(response: Response, cache: &str) -> Response {
    response
        .field("Cache-Control", cache)
        .field("Content-Security-Policy", POLICY)
        .field("X-Frame-Options", "DENY")
        .field("Referrer-Policy", "same-origin")
        .field("Cross-Origin-Resource-Policy", "same-origin")
        .field("Cross-Origin-Opener-Policy", "same-origin")
}

/// JSON that is not sent again to who has it.
fn tagged(value: &Value, head: &Head) -> Response {
    let body = value.to_string();
    // That time passes changes nothing.
    let mut lasting = value.clone();
    if let Some(map) = lasting.as_object_mut() {
        map.remove("uptime_s");
    }
    let sha256 = crate::provider::body_sha256(lasting.to_string().as_bytes());
    let tag: String = sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let has_it = head
        .headers
        .text("If-None-Match")
        .is_some_and(|tags| tags.split(',').any(|has| has.trim().trim_start_matches("W/") == tag));
    let response = match has_it {
        true => Response::new(304, "application/json", ""),
        false => Response::new(200, "application/json", body),
    };
    guarded(response, "no-cache").field("ETag", &tag)
}

/// A name that no other process of this installation had.
pub fn process_name() -> String {
    let mut bytes = [0; 6];
    // Without randomness the time tells two processes apart.
    if getrandom::fill(&mut bytes).is_err() {
        bytes = SystemClock.wall().ms().to_le_bytes()[..6].try_into().unwrap_or_default();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
