//! The providers' own interfaces, which we ask: who we are to them, how often we may ask, and what an answer means that is
//! none. Owns calling; refuses to know why we ask.

pub mod github;
pub mod gitlab;
pub mod stripe;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, value::RawValue};

use crate::{
    headers::Headers,
    http::{Answer, Client, Failure},
    logfmt,
    secret::Secret,
    threads::{self, lock},
    time::{Clock, SystemClock, Timestamp},
};

/// A page of a list.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Where a limit is told without saying for how long.
const LIMITED_FOR: Duration = Duration::from_secs(60);
/// No limit holds longer: GitHub's is counted by the hour.
const LIMITED_MAX: Duration = Duration::from_secs(3600 + 60);
/// Requests of an hour that are left to whoever else uses the same token.
const LEFT_TO_OTHERS: u64 = 50;
/// Of a refusal's own words.
const QUOTE_CHARS_MAX: usize = 160;

/// Who we are to an interface.
#[derive(Clone, Debug)]
pub enum Pass {
    /// Anybody, who may see what all may see, and not often.
    Nobody,
    /// The holder of a token.
    Token(Secret),
    /// An app of GitHub's.
    App {
        /// Its id, or client id.
        id: String,
        /// Its private key, PEM.
        key: Secret,
    },
}

/// An attempt to deliver, as a provider's list has it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The provider's number of the attempt: those of the same moment stand in its order.
    pub id: i64,
    /// The delivery, the same for each attempt.
    pub guid: String,
    /// What it tells, in the provider's words; empty where its list does not say.
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// What it was answered; 0 where there was no answer, or the provider does not say.
    pub status: i64,
    /// Whether somebody asked for it.
    pub is_again: bool,
    /// Whether the provider goes on trying by itself, so that it may come any moment.
    pub is_trying: bool,
    /// What was sent, where the list itself has it.
    pub sent: Option<Sent>,
}

impl Attempt {
    /// Whether the answer was a good one.
    pub fn is_well(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A page of attempts, newest first.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// What is on it.
    pub attempts: Vec<Attempt>,
    /// Entries that cannot be read, besides.
    pub unread: usize,
    /// What leads to the next, older one.
    pub next: Option<String>,
    /// By which the provider knows what we have seen.
    pub etag: Option<String>,
    /// The provider's clock.
    pub now: Option<Timestamp>,
}

/// A request that a provider has sent, as it hands it out again.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its header fields.
    pub headers: Headers,
    /// Its payload: JSON, in the provider's own bytes but for blanks between them.
    pub payload: Vec<u8>,
}

/// Why there is nothing to go on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There was no answer; later there may be.
    Unreachable(String),
    /// We have asked too often.
    Limited {
        /// After this we may ask again.
        wait: Duration,
        /// Who says so.
        why: String,
    },
    /// Somebody has to do something about it.
    Refused {
        /// The status code.
        status: u16,
        /// What was refused, and in which words.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The other side is not well.
    Ill(String),
}

impl Trouble {
    /// How long to leave the other side alone at least.
    pub fn wait(&self) -> Duration {
        match self {
            Trouble::Limited { wait, .. } => *wait,
            _ => Duration::ZERO,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unreachable(why) | Trouble::Ill(why) => f.write_str(why),
            Trouble::Limited { wait, why } => write!(f, "{why}: asking again in {} s", wait.as_secs()),
            Trouble::Refused { what, remedy, .. } => write!(f, "{what}; {remedy}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// Asks one interface as somebody. Shared by all who ask it in that name, because they share its limits.
#[derive(Debug)]
pub struct Caller {
    client: Client,
    base: String,
    /// Nobody asks before this.
    not_before: Mutex<Option<(Instant, String)>>,
    requests: AtomicU64,
    unchanged: AtomicU64,
    /// What the other side's clock showed last, milliseconds; 0: it has not said.
    date_ms: AtomicI64,
}

impl Caller {
    /// For the interface whose paths begin at `base`, which has no slash at its end.
    pub fn new(client: Client, base: &str) -> Caller {
        let (requests, unchanged) = (AtomicU64::new(0), AtomicU64::new(0));
        let date_ms = AtomicI64::new(0);
        Caller { client, base: base.to_owned(), not_before: Mutex::default(), requests, unchanged, date_ms }
    }

    /// Its host, for people.
    pub fn host(&self) -> &str {
        let rest = self.base.split_once("://").map_or(self.base.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// Requests that went out and that the other side counts: one whose answer is that nothing has changed is free.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// What the other side's clock showed in its last answer.
    pub fn date(&self) -> Option<Timestamp> {
        let ms = self.date_ms.load(Ordering::Relaxed);
        (ms > 0).then(|| Timestamp::from_ms(ms))
    }

    /// Those whose answer was that nothing has changed.
    pub fn unchanged(&self) -> u64 {
        self.unchanged.load(Ordering::Relaxed)
    }

    /// What the path leads to, or `None` where nothing has changed since the answer with this `etag`.
    fn get(&self, path: &str, fields: &[(&str, &str)], etag: Option<&str>) -> Result<Option<Answer>, Trouble> {
        self.get_within(path, fields, etag, ANSWER_BYTES_MAX)
    }

    fn get_within(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        etag: Option<&str>,
        answer_bytes_max: u64,
    ) -> Result<Option<Answer>, Trouble> {
        let answer = self.get_whatever(path, fields, etag, answer_bytes_max)?;
        Ok((answer.status != 304).then_some(answer))
    }

    /// The same with the answer of 304, whose header may say something.
    fn get_whatever(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        etag: Option<&str>,
        answer_bytes_max: u64,
    ) -> Result<Answer, Trouble> {
        let mut fields = fields.to_vec();
        fields.extend(etag.map(|etag| ("If-None-Match", etag)));
        let url = self.url(path)?;
        let answer = self.call(|| self.client.get(&url, &fields, answer_bytes_max))?;
        // It was cut there.
        match answer.body.len() as u64 >= answer_bytes_max {
            true => Err(Trouble::Ill(format!("{} answers more than {} MiB", self.host(), answer_bytes_max >> 20))),
            false => Ok(answer),
        }
    }

    fn post(&self, path: &str, fields: &[(&str, &str)], body: &Value) -> Result<Answer, Trouble> {
        // What asks for nothing but that it is done has no body.
        let (url, body) = (self.url(path)?, if body.is_null() { String::new() } else { body.to_string() });
        self.call(|| self.client.post(&url, "application/json", fields, body.as_bytes()))
    }

    fn patch(&self, path: &str, fields: &[(&str, &str)], body: &Value) -> Result<Answer, Trouble> {
        let (url, body) = (self.url(path)?, body.to_string());
        self.call(|| self.client.patch_json(&url, fields, body.as_bytes()))
    }

    /// A path of ours, or a link that the interface gave. Nothing but the interface itself may see who we are.
    fn url(&self, path: &str) -> Result<String, Trouble> {
        if path.starts_with('/') {
            return Ok(format!("{}{path}", self.base));
        }
        match path.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/')) {
            true => Ok(path.to_owned()),
            false => Err(Trouble::Ill(format!("{} leads to another server; it is not followed", self.host()))),
        }
    }

    fn call(&self, send: impl FnOnce() -> Result<Answer, Failure>) -> Result<Answer, Trouble> {
        if let Some((until, why)) = &*lock(&self.not_before)
            && let Some(wait) = until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
        {
            return Err(Trouble::Limited { wait, why: why.clone() });
        }
        // Large deliveries take their time.
        let _busy = threads::busy(threads::BUSY_MAX * 2);
        let answer = send().map_err(|failure| Trouble::Unreachable(failure.to_string()))?;
        let counter = if answer.status == 304 { &self.unchanged } else { &self.requests };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(date) = answer.date {
            self.date_ms.store(date.ms(), Ordering::Relaxed);
        }
        let judged = judge(answer, self.host());
        let rest = match &judged {
            Ok(answer) => spent(answer).map(|wait| (wait, format!("{} is asked by others, too", self.host()))),
            Err(Trouble::Limited { wait, why }) => Some((*wait, why.clone())),
            Err(_) => None,
        };
        *lock(&self.not_before) = rest.map(|(wait, why)| (Instant::now() + wait, why));
        judged
    }
}

/// An answer that can be used, or why there is none.
fn judge(answer: Answer, host: &str) -> Result<Answer, Trouble> {
    let status = answer.status;
    match status {
        200..=299 | 304 => return Ok(answer),
        // GitHub answers its second limit by either, and its first by 403 with nothing remaining (docs.github.com, "Rate
        // limits for the REST API").
        403 | 429 => {
            let is_spent = limit(&answer, "remaining") == Some(0);
            let until = is_spent.then(|| until_reset(&answer)).flatten();
            let wait = answer.retry_after.or(until).or((status == 429 || is_spent).then_some(LIMITED_FOR));
            // Its words, where it sends no number.
            let wait = wait.or_else(|| message(&answer).contains("rate limit").then_some(LIMITED_FOR));
            if let Some(wait) = wait {
                let wait = wait.clamp(Duration::from_secs(1), LIMITED_MAX);
                return Err(Trouble::Limited { wait, why: format!("{host} says that it is asked too often") });
            }
        }
        500..=599 if answer.retry_after.is_some() => {
            let wait = answer.retry_after.unwrap_or(LIMITED_FOR).max(Duration::from_secs(1));
            return Err(Trouble::Limited { wait, why: format!("{host} answers {status}") });
        }
        _ => {}
    }
    let words = match message(&answer).as_str() {
        "" => String::new(),
        words => format!(": {}", quoted(words)),
    };
    let what = format!("{host} answers {status}{words}");
    Err(match status {
        300..=499 => Trouble::Refused { status, what, remedy: remedy(&answer) },
        _ => Trouble::Ill(what),
    })
}

/// Before the other side's own names of what a token lacks.
const NEEDS: &str = "the token needs ";

/// What can be done about a refusal in general; whoever knows what was asked for knows better.
fn remedy(answer: &Answer) -> String {
    let names = answer.headers.text("x-accepted-github-permissions").filter(|names| !names.is_empty());
    if let Some(names) = names.filter(|_| answer.status == 403) {
        return format!("{NEEDS}{names}");
    }
    match answer.status {
        // GitHub leads from a former name to the new one.
        300..=399 => "it was renamed or moved: write its new name".to_owned(),
        401 => "the token is wrong, has expired, or was taken back: make a new one".to_owned(),
        403 => "the token may not do this".to_owned(),
        404 => "it is not there, or the token may not see it".to_owned(),
        _ => "see what it says".to_owned(),
    }
}

/// How long to rest because the hour's requests are nearly spent.
fn spent(answer: &Answer) -> Option<Duration> {
    let (remaining, limit) = (limit(answer, "remaining")?, limit(answer, "limit")?);
    // Of a small limit a small part: without a token there are 60 in all.
    let is_spent = remaining < LEFT_TO_OTHERS.min(limit / 20);
    is_spent.then(|| until_reset(answer)).flatten()
}

/// `ratelimit-reset` against the answer's own `Date`, where it has one: this machine's clock may be wrong.
fn until_reset(answer: &Answer) -> Option<Duration> {
    let reset = i64::try_from(limit(answer, "reset")?).ok()?.checked_mul(1000)?;
    let now = answer.date.unwrap_or_else(|| SystemClock.wall());
    Some(Timestamp::from_ms(reset).since(now).saturating_add(Duration::from_secs(1)).min(LIMITED_MAX))
}

/// GitHub's `X-RateLimit-…`, or GitLab's `RateLimit-…`.
fn limit(answer: &Answer, what: &str) -> Option<u64> {
    ["x-ratelimit-", "ratelimit-"].into_iter().find_map(|family| number(answer, &format!("{family}{what}")))
}

fn number(answer: &Answer, field: &str) -> Option<u64> {
    answer.headers.text(field)?.trim().parse().ok()
}

/// What the other side says about a refusal: `message`, or as Stripe and GitLab say it; with GitHub's list of what is wrong.
fn message(answer: &Answer) -> String {
    let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let words = [&said["message"], &said["error"]["message"], &said["error"]].into_iter().find_map(Value::as_str);
    let wrong = said["errors"].as_array().into_iter().flatten().filter_map(|wrong| wrong["message"].as_str());
    words.into_iter().chain(wrong).collect::<Vec<_>>().join(": ")
}

fn quoted(words: &str) -> String {
    let words: String = words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(QUOTE_CHARS_MAX).collect();
    logfmt::value(&words).to_string()
}

/// Those that can be read, and how many cannot; an error where that is all.
fn readable<E, T>(
    entries: impl IntoIterator<Item = E>,
    read: impl Fn(E) -> Result<T, String>,
) -> Result<(Vec<T>, usize), String> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for entry in entries {
        match read(entry) {
            Ok(entry) => found.push(entry),
            Err(why) => wrong.push(why),
        }
    }
    match wrong.first() {
        Some(why) if found.is_empty() => Err(why.clone()),
        _ => Ok((found, wrong.len())),
    }
}

/// The value of an answer's body.
fn json(answer: &Answer, host: &str) -> Result<Value, Trouble> {
    serde_json::from_str(&answer.body)
        .map_err(|error| Trouble::Ill(format!("{host} answers what is not JSON: {error}")))
}

/// The fields of an object, each as it stands there: lists have payloads that are not to be read, or not to be changed.
fn fields(json: &str) -> Result<BTreeMap<String, &RawValue>, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// The entries of a list, likewise.
fn entries(json: &str) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// One field, `null` where it is missing.
fn field(fields: &BTreeMap<String, &RawValue>, name: &str) -> Value {
    fields.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The link of an answer's `Link` field that is called so (RFC 8288).
fn link<'a>(answer: &'a Answer, relation: &str) -> Option<&'a str> {
    let relation = format!("rel=\"{relation}\"");
    answer.headers.text("link")?.split(',').find_map(|part| {
        let (target, parameters) = part.split_once('>')?;
        parameters.contains(&relation).then(|| target.trim_start().strip_prefix('<')).flatten()
    })
}

/// A secret as a field of a request: what is not visible ASCII cannot be one.
fn bearer(token: &Secret) -> String {
    format!("Bearer {}", token.expose().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Answer {
        let headers = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        Answer { headers, ..Answer::of(status, body) }
    }

    #[test]
    fn a_limit_is_told_from_a_refusal() {
        const NOW_S: i64 = 1_763_805_600;
        let waits = |status: u16, fields: &[(&str, &str)], retry_after: Option<u64>, body: &str| {
            let answer = Answer {
                retry_after: retry_after.map(Duration::from_secs),
                date: Some(Timestamp::from_ms(NOW_S * 1000)),
                ..answer(status, fields, body)
            };
            match judge(answer, "api.example").unwrap_err() {
                Trouble::Limited { wait, .. } => Some(wait.as_secs()),
                Trouble::Refused { .. } => None,
                other => panic!("{other:?}"),
            }
        };
        let reset = (NOW_S + 90).to_string();
        assert_eq!(waits(429, &[], Some(7), ""), Some(7));
        assert_eq!(waits(403, &[], Some(7), ""), Some(7), "GitHub's second limit");
        assert_eq!(waits(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)], None, ""), Some(91));
        assert_eq!(waits(429, &[("RateLimit-Remaining", "0"), ("RateLimit-Reset", &reset)], None, ""), Some(91));
        assert_eq!(waits(429, &[], None, ""), Some(60));
        assert_eq!(waits(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "soon")], None, ""), Some(60));
        assert_eq!(waits(403, &[], None, r#"{"message":"You have exceeded a secondary rate limit."}"#), Some(60));
        assert_eq!(waits(429, &[], Some(0), ""), Some(1), "never at once");
        let far = (NOW_S + 1_000_000).to_string();
        assert_eq!(waits(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &far)], None, ""), Some(3660));
        assert_eq!(waits(403, &[("x-ratelimit-remaining", "17")], None, r#"{"message":"Forbidden"}"#), None);
        assert_eq!(waits(404, &[], None, ""), None);
    }

    #[test]
    fn a_refusal_quotes_what_was_said_and_a_sick_server_is_no_refusal() {
        let said =
            |status, fields: &[(&str, &str)], body| judge(answer(status, fields, body), "api.example").unwrap_err();
        let refused = said(401, &[], r#"{"message":"Bad\ncredentials \"x\""}"#).to_string();
        assert!(refused.starts_with(r#"api.example answers 401: "Bad credentials \"x\"""#), "{refused}");
        assert!(
            said(403, &[], r#"{"error":{"message":"key lacks rak_event_read"}}"#)
                .to_string()
                .contains("rak_event_read")
        );
        let names = said(403, &[("X-Accepted-GitHub-Permissions", "repository_hooks=read")], "").to_string();
        assert!(names.contains("repository_hooks=read"), "{names}");
        assert!(said(301, &[], "").to_string().contains("new name"));
        assert!(matches!(said(502, &[], "<html>"), Trouble::Ill(_)));
        assert!(said(400, &[], &format!(r#"{{"message":"{}"}}"#, "x".repeat(9000))).to_string().len() < 400);
        for status in [200, 201, 202, 204, 304] {
            assert!(judge(answer(status, &[], ""), "api.example").is_ok());
        }
    }

    #[test]
    fn who_we_are_is_shown_to_nobody_else() {
        let caller = Caller::new(Client::new(), "https://api.example/v3");
        assert_eq!(
            (caller.host(), caller.url("/hooks").unwrap().as_str()),
            ("api.example", "https://api.example/v3/hooks")
        );
        assert_eq!(caller.url("https://api.example/v3/hooks?page=2").unwrap(), "https://api.example/v3/hooks?page=2");
        for elsewhere in ["https://api.example.evil/v3/hooks", "https://api.example/v3.evil/", "https://evil/", "evil"]
        {
            assert!(matches!(caller.url(elsewhere), Err(Trouble::Ill(_))), "{elsewhere}");
        }
    }

    #[test]
    fn the_next_page_is_the_one_that_is_called_so() {
        let links = r#"<https://a/1?cursor=x>; rel="prev", <https://a/2?cursor=y>; rel="next""#;
        let answer = answer(200, &[("Link", links)], "");
        assert_eq!((link(&answer, "next"), link(&answer, "last")), (Some("https://a/2?cursor=y"), None));
    }

    #[test]
    fn whoever_shares_the_token_is_left_some_requests() {
        let rest = |remaining: &str, limit: &str| {
            let fields =
                [("x-ratelimit-remaining", remaining), ("x-ratelimit-limit", limit), ("x-ratelimit-reset", "60")];
            let answer = Answer { date: Some(Timestamp::from_ms(0)), ..answer(200, &fields, "") };
            spent(&answer).map(|rest| rest.as_secs())
        };
        assert_eq!((rest("50", "5000"), rest("49", "5000")), (None, Some(61)));
        assert_eq!((rest("3", "60"), rest("2", "60")), (None, Some(61)));
    }
}
