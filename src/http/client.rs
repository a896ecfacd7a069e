//! The one HTTP client. Owns its time-outs, its limits and what an error means; refuses to know whom it calls.
//!
//! Nothing of ureq's defaults is relied upon: they have no time-outs, follow redirects, read a proxy from the
//! environment and turn a 429 into an error without its `Retry-After`.

mod reach;

use std::{
    error, fmt,
    io::{self, Read},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::fmt::rfc2822::DateTimeParser;
use ureq::{
    Agent, Timeout,
    http::Uri,
    tls::{RootCerts, TlsConfig},
    unversioned::transport::DefaultConnector,
};

pub use reach::Reach;
use reach::{Forbidden, Guard};

use crate::{headers::Headers, time::Timestamp};

/// Everything together, unless the caller sets another.
const GLOBAL_MAX: Duration = Duration::from_secs(15);
/// The same where much is asked for.
const PATIENT_MAX: Duration = Duration::from_secs(60);
const RESOLVE_MAX: Duration = Duration::from_secs(3);
const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The body of an answer to a POST is cut here. What we read of those is short: Slack's `ok`, an error's text.
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// Longest believed `Retry-After`.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// ureq's own buffers, per connection and direction; its 128 KiB are for downloads.
const BUFFER_BYTES: usize = 16 * 1024;

/// Sends requests. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Agents>,
}

#[derive(Debug)]
struct Agents {
    reach: Reach,
    /// Trusts what the system trusts, so that `apt upgrade` keeps it up to date.
    platform: Agent,
    /// Trusts Mozilla's list as compiled in, for a system without `ca-certificates`. It grows old with the binary.
    bundled: Agent,
    /// Whether the system turned out to have no certificates.
    use_bundled: AtomicBool,
}

/// What the other side answered, whatever the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `Retry-After`, an hour at most. A date is measured against the answer's own `Date`, because this machine's
    /// clock may be wrong.
    pub retry_after: Option<Duration>,
    /// `Date`: what the other side's clock shows.
    pub date: Option<Timestamp>,
    /// The first 64 KiB of the body, or as much as the caller asked for; what is not UTF-8 is replaced.
    pub body: String,
    /// The header's fields, 16 KiB at most.
    pub headers: Headers,
}

#[cfg(test)]
impl Answer {
    /// One without header fields, for tests of those who judge answers.
    pub(crate) fn of(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, date: None, body: body.to_owned(), headers: Headers::new() }
    }
}

/// Why there is no answer. Texts name the host and never the URL's path or query: a Slack webhook's URL is a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name could not be resolved.
    Dns {
        /// Whose.
        host: String,
    },
    /// No connection came about.
    Connect {
        /// With whom.
        host: String,
        /// What the system said.
        cause: String,
    },
    /// No trust came about: a certificate, or the handshake.
    Tls {
        /// With whom.
        host: String,
        /// What was wrong.
        cause: String,
    },
    /// The host has an address that this client must not connect to; nothing was sent.
    Forbidden {
        /// Whose.
        host: String,
        /// The first one that was found.
        address: IpAddr,
        /// Why not, which names the address.
        cause: String,
    },
    /// It took too long.
    Timeout {
        /// Who took so long.
        host: String,
        /// What was being waited for.
        stage: &'static str,
        /// Whether the request may be on the other side all the same.
        sent: bool,
    },
    /// The connection was there, and ended or spoke nonsense before the answer was complete.
    Cut {
        /// By whom.
        host: String,
        /// How.
        cause: String,
    },
    /// The request itself was impossible; nothing was sent, and trying again does not help.
    Other {
        /// Why.
        cause: String,
    },
}

impl Failure {
    /// Whether the other side may have got the request although we have no answer.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Failure::Timeout { sent, .. } => *sent,
            Failure::Cut { .. } => true,
            Failure::Dns { .. }
            | Failure::Connect { .. }
            | Failure::Tls { .. }
            | Failure::Forbidden { .. }
            | Failure::Other { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Dns { host } => write!(f, "cannot find the address of {host}; check the name and this network"),
            Failure::Connect { host, cause } => write!(f, "cannot connect to {host}: {cause}"),
            Failure::Tls { host, cause } => {
                write!(f, "no trusted connection to {host}: {cause}; check this machine's clock and certificates")
            }
            Failure::Forbidden { host, cause, .. } => write!(f, "no connection to {host}: {cause}"),
            Failure::Timeout { host, stage, .. } => write!(f, "{host} took too long {stage}"),
            Failure::Cut { host, cause } => write!(f, "the connection to {host} broke before the answer: {cause}"),
            Failure::Other { cause } => f.write_str(cause),
        }
    }
}

impl error::Error for Failure {}

impl Client {
    /// The client of the sinks: 15 s for everything together.
    pub fn new() -> Client {
        Client::with_timeout(GLOBAL_MAX)
    }

    /// The same with another time for everything together.
    pub fn with_timeout(timeout: Duration) -> Client {
        Client::build(timeout, ANSWER_MAX.min(timeout), Reach::Anybody)
    }

    /// One for answers that may be large: a minute for everything together.
    pub fn patient() -> Client {
        Client::build(PATIENT_MAX, PATIENT_MAX / 2, Reach::Anybody)
    }

    /// The client of the sinks for destinations that are not to be anywhere.
    pub fn within(reach: Reach) -> Client {
        Client::build(GLOBAL_MAX, ANSWER_MAX, reach)
    }

    fn build(timeout: Duration, stage: Duration, reach: Reach) -> Client {
        let platform = agent(timeout, stage, RootCerts::PlatformVerifier, reach);
        let bundled = agent(timeout, stage, RootCerts::WebPki, reach);
        Client { shared: Arc::new(Agents { reach, platform, bundled, use_bundled: AtomicBool::new(false) }) }
    }

    /// Posts a body and reads the answer. Redirects are answers like any other.
    ///
    /// # Errors
    /// When no complete answer came back. A status of 500 is an answer.
    pub fn post(
        &self,
        url: &str,
        content_type: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failure> {
        let method = Method::Post(content_type, body);
        self.call(&Call { method, url, headers, answer_bytes_max: BODY_BYTES_MAX })
    }

    /// Changes what stands there by a body of JSON.
    ///
    /// # Errors
    /// When no complete answer came back. A status of 500 is an answer.
    pub fn patch_json(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, Failure> {
        self.call(&Call { method: Method::Patch(body), url, headers, answer_bytes_max: BODY_BYTES_MAX })
    }

    /// Gets what stands there, up to `answer_bytes_max`.
    ///
    /// # Errors
    /// When no complete answer came back. A status of 500 is an answer.
    pub fn get(&self, url: &str, headers: &[(&str, &str)], answer_bytes_max: u64) -> Result<Answer, Failure> {
        self.call(&Call { method: Method::Get, url, headers, answer_bytes_max })
    }

    /// Asks who is there, and for nothing else.
    ///
    /// # Errors
    /// When no complete answer came back. A status of 500 is an answer.
    pub fn head(&self, url: &str) -> Result<Answer, Failure> {
        self.call(&Call { method: Method::Head, url, headers: &[], answer_bytes_max: 0 })
    }

    fn call(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let url = call.url;
        let Agents { reach, platform, bundled, use_bundled } = &*self.shared;
        check_url(url, *reach).map_err(|cause| Failure::Other { cause })?;
        if !use_bundled.load(Ordering::Relaxed) {
            match attempt(platform, call) {
                // ureq reports a failed handshake as an I/O error. This one is about setting up: the system has no
                // certificates at all. Nothing was sent yet.
                Err(ureq::Error::Rustls(error)) => {
                    if !use_bundled.swap(true, Ordering::Relaxed) {
                        log::warn!("{error}; using Mozilla's as built in, install ca-certificates to keep up to date");
                    }
                }
                attempt => return attempt.map_err(|error| failure(host(url), error)),
            }
        }
        attempt(bundled, call).map_err(|error| failure(host(url), error))
    }
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

/// Judges a URL that is to be posted to: https, or plain http where that is within reach.
///
/// # Errors
/// A text for the configuration's reader; it does not repeat the URL, which may be a secret.
pub fn check_url(url: &str, reach: Reach) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|_| "not a URL; expected https://host/path".to_owned())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("not a whole URL; expected https://host/path".to_owned());
    };
    if authority.as_str().contains('@') {
        return Err("a URL with a user name is not supported".to_owned());
    }
    if authority.host().is_empty() {
        return Err("the URL has no host".to_owned());
    }
    match scheme {
        "https" | "http" => reach.check_host(authority.host(), scheme == "http"),
        _ => Err("the URL must begin with https://".to_owned()),
    }
}

fn agent(timeout: Duration, stage: Duration, roots: RootCerts, reach: Reach) -> Agent {
    let config = Agent::config_builder()
        // Judged by `check_url`, which lets loopback pass.
        .https_only(false)
        .http_status_as_error(false)
        .max_redirects(0)
        // Without this the refused redirect would be an error instead of an answer.
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("hookbell/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_global(Some(timeout))
        .timeout_resolve(Some(RESOLVE_MAX.min(timeout)))
        .timeout_connect(Some(CONNECT_MAX.min(timeout)))
        .timeout_send_request(Some(stage))
        .timeout_send_body(Some(stage))
        .timeout_recv_response(Some(stage))
        .timeout_recv_body(Some(stage))
        .max_response_header_size(BUFFER_BYTES)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .max_idle_connections(4)
        .max_idle_connections_per_host(2)
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Guard { reach })
}

/// One request.
struct Call<'a> {
    method: Method<'a>,
    url: &'a str,
    headers: &'a [(&'a str, &'a str)],
    answer_bytes_max: u64,
}

#[derive(Clone, Copy)]
enum Method<'a> {
    Get,
    Head,
    /// With content type and bytes.
    Post(&'a str, &'a [u8]),
    /// With the bytes of JSON.
    Patch(&'a [u8]),
}

fn attempt(agent: &Agent, call: &Call<'_>) -> Result<Answer, ureq::Error> {
    let Call { method, url, headers, answer_bytes_max } = *call;
    let mut response = match method {
        Method::Post(content_type, body) => {
            let request = agent.post(url).content_type(content_type);
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body)?
        }
        Method::Patch(body) => {
            let request = agent.patch(url).content_type("application/json");
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body)?
        }
        Method::Get | Method::Head => {
            let request = if matches!(method, Method::Head) { agent.head(url) } else { agent.get(url) };
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()?
        }
    };
    let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let date = field("date").and_then(moment);
    let retry_after = field("retry-after").and_then(|wish| retry_after(wish, date));
    let mut bytes = Vec::new();
    response.body_mut().as_reader().take(answer_bytes_max).read_to_end(&mut bytes)?;
    // Without a copy where it is text, as it always is.
    let body = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    let fields = response.headers().iter();
    let headers = fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    Ok(Answer { status: response.status().as_u16(), retry_after, date, body, headers })
}

/// `Retry-After` as seconds or as a date, which only says something together with the answer's `Date`.
fn retry_after(wish: &str, date: Option<Timestamp>) -> Option<Duration> {
    let wish = wish.trim();
    let wait = if !wish.is_empty() && wish.bytes().all(|byte| byte.is_ascii_digit()) {
        // More than fits is more than an hour, too.
        Duration::from_secs(wish.parse().unwrap_or(u64::MAX))
    } else {
        moment(wish)?.since(date?)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_ms(moment.as_millisecond()))
}

/// The host and port of a URL that `check_url` has passed.
fn host(url: &str) -> String {
    url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string)).unwrap_or_default()
}

/// Every variant is named here for what it says about the request, and only texts that cannot contain the URL are
/// taken over.
fn failure(host: String, error: ureq::Error) -> Failure {
    match error {
        ureq::Error::HostNotFound => Failure::Dns { host },
        ureq::Error::ConnectionFailed => Failure::Connect { host, cause: "no address took the connection".to_owned() },
        ureq::Error::Tls(cause) => Failure::Tls { host, cause: cause.to_owned() },
        ureq::Error::Rustls(cause) => Failure::Tls { host, cause: cause.to_string() },
        ureq::Error::Timeout(timeout) => {
            let (stage, sent) = match timeout {
                Timeout::Resolve => ("to be found in the DNS", false),
                Timeout::Connect => ("to accept a connection", false),
                Timeout::SendRequest | Timeout::SendBody => ("to take the request", true),
                Timeout::RecvResponse => ("to answer", true),
                Timeout::RecvBody => ("to finish its answer", true),
                // The time for everything can run out anywhere.
                _ => ("altogether", true),
            };
            Failure::Timeout { host, stage, sent }
        }
        ureq::Error::Io(error) => io_failure(host, &error),
        ureq::Error::Protocol(_) => Failure::Cut { host, cause: "it does not speak HTTP as it should".to_owned() },
        ureq::Error::LargeResponseHeader(..) => Failure::Cut { host, cause: "its header is too large".to_owned() },
        ureq::Error::BodyStalled => Failure::Cut { host, cause: "its body does not go on".to_owned() },
        ureq::Error::Other(ref error) if let Some(forbidden) = error.downcast_ref::<Forbidden>() => {
            Failure::Forbidden { host, address: forbidden.address, cause: forbidden.to_string() }
        }
        ureq::Error::Http(_) => Failure::Other { cause: "a header of the request is not valid".to_owned() },
        _ => Failure::Other { cause: format!("the request to {host} is not possible") },
    }
}

fn io_failure(host: String, error: &io::Error) -> Failure {
    let cause = error.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::PermissionDenied => Failure::Connect { host, cause },
        // rustls wraps its errors so: certificates, alerts, what is no TLS at all.
        io::ErrorKind::InvalidData => Failure::Tls { host, cause },
        // A read or write that timed out below ureq's own time-outs.
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            Failure::Timeout { host, stage: "altogether", sent: true }
        }
        // The resolver's errors have no kind of their own, only std's text.
        _ if error.raw_os_error().is_none() && cause.starts_with("failed to lookup address") => Failure::Dns { host },
        _ => Failure::Cut { host, cause },
    }
}

#[cfg(test)]
mod tests;
