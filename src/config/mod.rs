//! The configuration, checked. Owns reading, defaults and every complaint; what leaves this module is valid.
//!
//! In reading order: [`load`] reads the file, `raw` makes tables of it that know their lines, `check` makes
//! [`Settings`] of those with the help of `value`, `address` and `secret`, and every complaint becomes a [`Problem`].
//! Only `rotation` outlives that: what it has of a source's secrets is read anew while the service runs.
//!
//! # What relative paths are relative to
//!
//! Secrets stand beside the configuration file, so that the two move together. Data (`store.path`, `bell.trace`, the
//! path of a `unix:` socket) stands beneath `$STATE_DIRECTORY` where systemd sets it, else beneath the working directory
//! at the time of loading; `path = "hookbell.db"` thus means the same as saying nothing. All paths in [`Settings`] are
//! absolute.

mod address;
mod check;
mod effective;
mod environment;
mod problem;
mod raw;
mod rotation;
mod secret;
mod template;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    effective::{HIDDEN, effective, effective_json, notes, rule_json},
    environment::{Environment, SYSTEM_FILE},
    problem::{Failure, Level, Problem},
    rotation::{Fresh, Marks, Origins, Rotation, check_list},
    template::{SECRET_FILE, TEMPLATE},
    value::show_duration,
};
pub use crate::rule::Order;
use crate::{
    bell,
    provider::Terms,
    remote::Pass,
    rule::Rule,
    secret::Secret,
    sink::{discord, email, exec, forward, ntfy},
    time::Zone,
};

/// A configuration is a page of text; what is larger is some other file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it decides.
    pub settings: Settings,
    /// What is worth saying once, in the order of the file.
    pub warnings: Vec<Problem>,
}

/// The file to read: the one that `--config` or `HOOKBELL_CONFIG` names, whether or not it exists, else the system's if
/// it does, else none. Always absolute.
pub fn locate(flag: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    if let Some(file) = flag {
        return Some(environment.absolute(file));
    }
    match environment.get("HOOKBELL_CONFIG") {
        environment::Variable::Set(file) => Some(environment.absolute(Path::new(&file))),
        _ => environment.system_file.exists().then(|| environment.system_file.clone()),
    }
}

/// Reads `file`, or with `None` takes the built-in defaults, and reports every problem at once.
///
/// # Errors
///
/// When the file cannot be read, or when any problem is an error; the warnings are in there as well.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Loaded, Failure> {
    load_with(file, environment, Secrets::Needed)
}

/// The same for a command that only looks: where the database is, how the desk is wired and what the rules say, without any
/// secret. Sources have none then. Sinks that need one are left out; rules name them all the same, and are taken at their
/// word that these can do what they ask of them.
///
/// # Errors
///
/// As [`load`].
pub fn load_without_secrets(file: Option<&Path>, environment: &Environment) -> Result<Loaded, Failure> {
    load_with(file, environment, Secrets::Unneeded)
}

/// Whether secrets are fetched and must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrets {
    Needed,
    Unneeded,
}

fn load_with(file: Option<&Path>, environment: &Environment, secrets: Secrets) -> Result<Loaded, Failure> {
    let file = file.map(|file| environment.absolute(file));
    let text = match &file {
        Some(path) => read(path).map_err(|problem| Failure { file: file.clone(), problems: vec![problem] })?,
        None => String::new(),
    };
    let (settings, problems) = check::check(file.as_deref(), &text, environment, secrets);
    match settings {
        Some(settings) if problems.iter().all(|problem| problem.level == Level::Warning) => {
            Ok(Loaded { settings, warnings: problems })
        }
        _ => Err(Failure { file, problems }),
    }
}

fn read(path: &Path) -> Result<String, Problem> {
    let problem = |what: String, hint: Option<&str>| Problem {
        key: String::new(),
        line: None,
        what,
        hint: hint.map(str::to_owned),
        level: Level::Error,
    };
    let failed = |cause: std::io::Error| {
        let is_absent = cause.kind() == std::io::ErrorKind::NotFound;
        let hint = is_absent.then_some("`hookbell init` writes a commented one");
        problem(format!("cannot read {}: {cause}", path.display()), hint)
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(problem(format!("{} is too large for a configuration", path.display()), None));
    }
    String::from_utf8(bytes).map_err(|_| problem(format!("{} is not valid UTF-8", path.display()), None))
}

/// Everything that the configuration decides. Built by one pass that reports all problems at once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it was read from; `None` when the built-in defaults hold.
    pub file: Option<PathBuf>,
    /// The public listener.
    pub door: Door,
    /// The database.
    pub store: Store,
    /// GitHub's interface.
    pub github: GitHub,
    /// The page for people.
    pub panel: Panel,
    /// When something is not well.
    pub health: Health,
    /// How the tunnel is watched.
    pub tunnel: Tunnel,
    /// The endpoints, by name.
    pub sources: BTreeMap<String, Source>,
    /// The destinations, by name.
    pub sinks: BTreeMap<String, Sink>,
    /// Where the clock on the wall stands that rules are muted by.
    pub zone: Zone,
    /// The rules in order. Never empty: without `[[rules]]` the default set stands here.
    pub rules: Vec<Rule>,
    /// The desk.
    pub bell: bell::Settings,
}

/// `[tunnel]`
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Where cloudflared says how it is; `None`: it is not asked.
    pub metrics: Option<SocketAddr>,
    /// `None`: there is none.
    pub canary: Option<Canary>,
}

/// `[tunnel] canary`
#[derive(Clone, Debug)]
pub struct Canary {
    /// How often one is sent.
    pub every: Duration,
    /// Where to: `[door] public_url`. `None`: where the quick tunnel is reached, once that is known.
    pub public_url: Option<String>,
}

/// `[door]`
#[derive(Clone, Debug)]
pub struct Door {
    /// Where to listen.
    pub listen: Listen,
    /// The address under which the tunnel publishes us, without a trailing slash.
    pub public_url: Option<String>,
    /// Largest accepted body.
    pub body_bytes_max: usize,
    /// Largest accepted head: request line and header fields.
    pub head_bytes_max: usize,
    /// From accept to the end of the head.
    pub head_deadline: Duration,
    /// From accept to the end of the body.
    pub request_deadline: Duration,
    /// Connections at once.
    pub connections_max: usize,
    /// Bytes of bodies at once, those waiting for the disk included.
    pub bodies_in_flight_bytes_max: usize,
    /// Peers whose `CF-Connecting-IP` is believed. A Unix socket's peer always is.
    pub trusted_proxies: Vec<IpAddr>,
}

/// Where a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`
    Tcp(std::net::SocketAddr),
    /// `unix:/path`, created with mode 0660.
    Unix(PathBuf),
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct Store {
    /// The database file.
    pub path: PathBuf,
    /// Settled deliveries older than this go; `None` keeps them for ever.
    pub keep: Option<Duration>,
    /// The oldest settled deliveries go when the file grows over this.
    pub size_bytes_max: u64,
    /// Below this much free disk the door answers 503.
    pub free_bytes_min: u64,
}

/// `[github]`
#[derive(Clone, Debug)]
pub struct GitHub {
    /// Where its interface for programs stands, without a trailing slash: `https://api.github.com`, or a server's own.
    pub api: String,
    /// Who we are to it, where a source does not say.
    pub token: Option<Secret>,
}

/// `[panel]`
#[derive(Clone, Debug)]
pub struct Panel {
    /// Where to listen; `None`: there is none.
    pub listen: Option<Listen>,
    /// What whoever comes from beyond this machine has to know; there is one when it listens there.
    pub token: Option<Secret>,
    /// Names besides this machine's own by which a proxy is called that leads here, in lower case.
    pub hosts: Vec<String>,
}

/// `[health]`
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// A source that usually speaks is silent when nothing came for so long.
    pub silence_after: Duration,
    /// A source or sink fails when more than this share of what it had to do did.
    pub failing_ratio: f64,
    /// What is owed for longer than this is late.
    pub undelivered_after: Duration,
    /// What is not well for so long becomes an event; `None`: it is shown and not told.
    pub tell_after: Option<Duration>,
}

impl Health {
    /// What holds where the file says nothing.
    pub const DEFAULT: Health = Health {
        silence_after: Duration::from_secs(60 * 60),
        failing_ratio: 0.1,
        undelivered_after: Duration::from_secs(15 * 60),
        tell_after: Some(Duration::from_secs(60)),
    };
}

/// `[sources.NAME]`
#[derive(Clone, Debug)]
pub struct Source {
    /// Whose rules its requests follow, and what proves them; there is a secret, unless none was asked for.
    pub terms: Terms,
    /// Where its secrets are found, and how they are changed.
    pub origins: Origins,
    /// Addresses that may call.
    pub allow_from: AllowFrom,
    /// What to do with one body under many ids.
    pub repeats: Repeats,
    /// Without any id, equal bytes within this time are a retry.
    pub repeat_window: Duration,
    /// Its own `silence_after`, in place of `[health]`'s.
    pub silence_after: Option<Duration>,
    /// What did not reach us is asked for; `None`: it is not.
    pub recover: Option<Recover>,
    /// Repositories that are watched without a webhook.
    pub poll: Vec<String>,
    /// How often they are asked for; `None`: as often as GitHub allows.
    pub poll_every: Option<Duration>,
}

impl Source {
    /// Whether anything can be proven that comes to it: what is only watched has no secret, and nobody may call it.
    pub fn has_door(&self) -> bool {
        !self.terms.secrets.is_empty()
    }
}

/// `[sources.NAME.recover]`
#[derive(Clone, Debug)]
pub struct Recover {
    /// Who we are to the provider.
    pub pass: Pass,
    /// Where its webhooks hang: repositories, organisations, projects. Empty where there is only one place.
    pub hooks: Vec<String>,
    /// How what is missing comes in.
    pub mode: Mode,
    /// How often it is asked.
    pub every: Duration,
    /// How long the provider keeps what it has sent.
    pub window: Duration,
    /// Where its interface stands, in place of the usual one; without a trailing slash.
    pub api: Option<String>,
}

/// `mode`: how what is missing comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is read, and nothing is changed at the provider.
    #[default]
    Read,
    /// The provider is asked to send it again.
    Redeliver,
}

/// `allow_from`: who may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowFrom {
    /// Networks that the file names.
    pub networks: Vec<ipnet::IpNet>,
    /// `"github"`: those that GitHub publishes as its own.
    pub published: bool,
}

impl AllowFrom {
    /// Nothing is said: all may call.
    pub fn is_everybody(&self) -> bool {
        self.networks.is_empty() && !self.published
    }
}

/// `repeats`: what to do with the same signed body under another (unsigned) id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeats {
    /// Handle it, from the fourth within an hour on store it as skipped.
    #[default]
    Limit,
    /// Handle every one.
    Process,
    /// Store every repeat as skipped.
    Skip,
}

/// `[sinks.NAME]`
#[derive(Clone, Debug)]
pub struct Sink {
    /// What it is.
    pub kind: SinkKind,
    /// How it is tried again.
    pub retry: Retry,
    /// What is kept in order.
    pub order: Order,
    /// Threads that deliver to it at once.
    pub concurrency: usize,
    /// When more than this many are due, they are told in one message. Only where [`SinkKind::bundles`].
    pub backlog_digest_at: Option<usize>,
}

/// The kinds of destination.
#[derive(Clone, Debug)]
pub enum SinkKind {
    /// A Slack incoming webhook.
    Slack {
        /// The URL, which is a secret: who has it can post.
        webhook_url: Secret,
        /// Between two messages, after a short burst.
        interval: Duration,
    },
    /// Slack by the token of an app's bot.
    SlackBot {
        /// The token, `xoxb-…`.
        token: Secret,
        /// Where to post: `#name`, or an id.
        channel: String,
        /// Whether what belongs to one subject is told in one thread.
        threads: bool,
        /// Where the web API stands, without a trailing slash.
        api: String,
        /// Between two messages of one channel, after a short burst.
        interval: Duration,
    },
    /// A Discord webhook.
    Discord(discord::Settings),
    /// A topic of ntfy.
    Ntfy(ntfy::Settings),
    /// A mail server.
    Email(email::Settings),
    /// Another program, by signed POST.
    Forward(forward::Settings),
    /// A program on this machine.
    Exec(exec::Settings),
    /// The desk.
    Bell,
}

impl SinkKind {
    /// Whether it can tell many events in one message.
    pub fn bundles(&self) -> bool {
        match self {
            SinkKind::Slack { .. } | SinkKind::SlackBot { .. } => true,
            SinkKind::Discord(_) | SinkKind::Ntfy(_) | SinkKind::Email(_) => true,
            SinkKind::Forward(_) | SinkKind::Exec(_) | SinkKind::Bell => false,
        }
    }

    /// Whether a rule may choose the channel in it.
    pub fn has_channels(&self) -> bool {
        matches!(self, SinkKind::SlackBot { .. })
    }

    /// Its own channel, which a rule need not choose.
    pub fn channel(&self) -> Option<&str> {
        match self {
            SinkKind::SlackBot { channel, .. } => Some(channel),
            _ => None,
        }
    }

    /// Whether it begins a conversation about each subject, so that one message is about one subject.
    pub fn converses(&self) -> bool {
        matches!(self, SinkKind::SlackBot { threads: true, .. })
    }
}

/// `[retry]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// The wait after the first failure.
    pub first: Duration,
    /// What each further wait is multiplied by, at least 1.
    pub factor: f64,
    /// The longest wait.
    pub cap: Duration,
    /// Each wait is spread by up to this share of itself, 0 to 1.
    pub jitter: f64,
    /// Trying ends after this much time spent trying.
    pub give_up_after: Duration,
}
