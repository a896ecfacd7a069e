//! `[sources]`: where deliveries come from. And what `[sources]` and `[sinks]` have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use toml::de::DeValue;

use super::{Around, recover};
use crate::{
    config::{
        AllowFrom, Origins, Repeats, Secrets, Source, address,
        problem::{Fault, Place as At, Report},
        raw::{Node, Section},
        rotation,
        secret::{self, Found, Origin},
        value::{self, DAY, SECOND},
    },
    provider::{Algorithm, Encoding, Flaw, Options, Place, Proof, Provider, Terms},
    secret::Secret,
};

/// `repeat_window` when the file says nothing.
const REPEAT_WINDOW: Duration = Duration::from_secs(60);

/// What the store looks back over.
const REPEAT_WINDOW_MAX: Duration = Duration::from_secs(60 * 60);

const ALGORITHMS: &[(&str, Proof)] = &[
    ("sha1", Proof::Hmac(Algorithm::Sha1)),
    ("sha256", Proof::Hmac(Algorithm::Sha256)),
    ("sha512", Proof::Hmac(Algorithm::Sha512)),
    ("token", Proof::Token),
];

/// No source can be called so: the door answers there itself.
const OWN_NAME: &str = "_self";

/// A name ends up in paths, file names and tables.
const NAME_CHARS_MAX: usize = 64;

/// Sources or sinks.
pub(super) struct Ends<T> {
    /// The ones that can be used.
    pub(super) by_name: BTreeMap<String, T>,
    /// All names that the file gives, so that one with a problem does not make its rules complain as well.
    pub(super) names: BTreeSet<String>,
}

/// `[door] public_url`, as the sources need it.
#[derive(Clone, Copy)]
pub(super) struct PublicUrl<'a> {
    /// What can be used.
    pub(super) url: Option<&'a str>,
    /// Whether the file names one, so that one with a problem does not make the sources complain as well.
    pub(super) is_named: bool,
}

/// What the sources need of other sections.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) public_url: PublicUrl<'a>,
    /// `[github] token`.
    pub(super) github_token: Option<&'a Secret>,
}

/// `[sources]`; without it `github` by the environment.
pub(super) fn sources(
    section: Section<'_>,
    asked: Asked<'_>,
    around: &Around<'_>,
    report: &mut Report,
) -> Ends<Source> {
    if section.is_present() && section.names().is_empty() {
        let fault = Fault::new("no source, so nothing could ever arrive");
        report.error(&section.place, fault.hint("add [sources.github]"));
    }
    ends(section, &["github"], report, |name, section, report| source(name, section, asked, around, report))
}

/// Reads the section's tables, or as many empty ones as there are `defaults` when there is no section.
pub(super) fn ends<'a, T>(
    section: Section<'a>,
    defaults: &[&'static str],
    report: &mut Report,
    read: impl Fn(&str, Section<'a>, &mut Report) -> Option<T>,
) -> Ends<T> {
    let (names, tables) = match section.is_present() {
        true => (section.names(), tables(section, report)),
        false => {
            let absent = |name: &&'static str| (*name, Section::absent(format!("{}.{name}", section.place.key)));
            (defaults.to_vec(), defaults.iter().map(absent).collect())
        }
    };
    let mut ends = Ends { by_name: BTreeMap::new(), names: names.into_iter().map(str::to_owned).collect() };
    for (name, section) in tables {
        ends.by_name.extend(read(name, section, report).map(|end| (name.to_owned(), end)));
    }
    ends
}

/// The named tables of a section.
fn tables<'a>(section: Section<'a>, report: &mut Report) -> Vec<(&'a str, Section<'a>)> {
    let mut tables = Vec::new();
    for (name, node) in section.entries() {
        let place = node.place.clone();
        let read = check_name(name).and_then(|()| node.section());
        match read {
            Ok(section) => tables.push((name, section)),
            Err(fault) => report.error(&place, fault),
        }
    }
    tables
}

fn check_name(name: &str) -> Result<(), Fault> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.starts_with('_') {
        return Err(Fault::new(format!("`{name}`: names that begin with `_` are hookbell's own")));
    }
    if name.is_empty() || !name.chars().all(is_plain) || name.len() > NAME_CHARS_MAX {
        let what = format!("`{name}` will not do as a name");
        return Err(Fault::new(what).hint(format!("use up to {NAME_CHARS_MAX} of a-z, A-Z, 0-9, `-` and `_`")));
    }
    Ok(())
}

fn source(
    name: &str,
    mut section: Section<'_>,
    Asked { public_url, github_token }: Asked<'_>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Source> {
    let names = || Provider::ALL.iter().map(|provider| provider.name());
    let place = section.place.clone();
    if name == OWN_NAME {
        let fault = Fault::new(format!("`{name}` is what hookbell calls itself by, at /webhooks/{name}"));
        report.error(&place, fault.hint("choose another name"));
    }
    let provider = match section.get("provider") {
        None => {
            // A source that is called like a provider need not say it twice.
            let provider = Provider::from_name(name);
            if provider.is_none() {
                let fault = Provider::why_unsupported(name).map(Fault::new).unwrap_or_else(|| {
                    let hint = format!("add provider = \"…\", one of: {}", names().collect::<Vec<_>>().join(", "));
                    Fault::new(format!("`{name}` does not say whose webhooks it takes")).hint(hint)
                });
                report.error(&place, fault);
            }
            provider
        }
        Some(_) => section.read("provider", report, |node| {
            let name = node.text()?;
            let unknown = || Fault::new(format!("no provider is called `{name}`")).hint_nearest(name, names());
            Provider::from_name(name)
                .ok_or_else(|| Provider::why_unsupported(name).map(Fault::new).unwrap_or_else(unknown))
        }),
    };

    let (poll, poll_every) = recover::poll(&mut section, provider, report);
    let origins = match section.get("secret") {
        Some(node) => secret::origins(&node, &around.beside, report),
        // What is only watched needs none, and has no door then.
        None if !poll.is_empty() => Vec::new(),
        None => provider.map(|provider| Some(default_origin(provider))).into_iter().collect(),
    };
    let place_of_secret = section.place_of("secret");
    let Required { positions, secrets, origins: found } =
        required(&place_of_secret, &origins, provider, around, report);
    let allow_from = allow_from(&mut section, report);
    let repeats = section.read("repeats", report, |node| {
        value::choice(node, &[("limit", Repeats::Limit), ("process", Repeats::Process), ("skip", Repeats::Skip)])
    });
    let repeat_window = section.read("repeat_window", report, |node| value::duration(node, SECOND..=REPEAT_WINDOW_MAX));
    let silence_after = section.read("silence_after", report, |node| value::duration(node, 60 * SECOND..=366 * DAY));
    let options = options(&mut section, provider, report);
    let recover = section.section("recover", report);
    let recover = provider.and_then(|provider| recover::recover(recover, provider, github_token, around, report));
    recover::check_told_once(&poll, recover.as_ref(), &section, report);
    section.finish(report);

    let provider = provider?;
    let (repeats, repeat_window) = (repeats.unwrap_or_default(), repeat_window.unwrap_or(REPEAT_WINDOW));
    let terms = Terms { provider, secrets, public_url: public_url.url.map(str::to_owned), options };
    if around.secrets == Secrets::Unneeded {
        return Some(Source {
            terms,
            origins: found,
            allow_from,
            repeats,
            repeat_window,
            silence_after,
            recover,
            poll,
            poll_every,
        });
    }
    for flaw in provider.check(&terms) {
        match flaw {
            Flaw::Secret { index, what } if origins.len() > 1 => {
                let what = format!("secret {} of {}: {what}", positions[index] + 1, origins.len());
                report.error(&place_of_secret, Fault::new(what));
            }
            Flaw::Secret { what, .. } => report.error(&place_of_secret, Fault::new(what)),
            Flaw::Options(what) => report.error(&place, Fault::new(what)),
        }
    }
    if provider.needs_public_url() && !public_url.is_named && !around.environment.has_quick_tunnel {
        let fault =
            Fault::new(format!("{provider} signs the address that it calls, and `public_url` does not tell it"));
        report.error(&place, fault.hint("set public_url in [door] to https:// and the name that the sender calls"));
    }
    if terms.secrets.is_empty() && poll.is_empty() {
        return None;
    }
    Some(Source { terms, origins: found, allow_from, repeats, repeat_window, silence_after, recover, poll, poll_every })
}

/// Fetches a secret that may be missing: one whose variable is not set is `None`, with a word where something is skipped for
/// it. So is every one that nobody asks for.
pub(super) fn fetched(
    section: &Section<'_>,
    key: &str,
    (origin, skipping): (&Origin, Option<&str>),
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Secret> {
    if around.secrets == Secrets::Unneeded {
        return None;
    }
    let place = section.place_of(key);
    match secret::fetch(origin, around.environment) {
        Ok(Found::Value(secret)) => {
            if let Some(fault) = secret::exposure(origin) {
                report.warn(&place, fault);
            }
            return Some(secret);
        }
        Ok(Found::Unset { variable, .. }) => {
            if let Some(skipping) = skipping {
                report.warn(&place, Fault::new(format!("{variable} is not set. Skipping {skipping}.")));
            }
        }
        Err(fault) => report.error(&place, fault),
    }
    None
}

/// Networks, and `"github"` for those that GitHub publishes.
fn allow_from(section: &mut Section<'_>, report: &mut Report) -> AllowFrom {
    let is_github = |node: &Node<'_>| node.text().is_ok_and(|text| text == "github");
    match section.get("allow_from") {
        Some(node) if is_github(&node) => AllowFrom { networks: Vec::new(), published: true },
        Some(node) if !matches!(node.value, DeValue::Array(_)) => {
            report.error(&node.place, node.expected("a list of networks, or \"github\""));
            AllowFrom::default()
        }
        _ => {
            let read = |node: &Node<'_>| match is_github(node) {
                true => Ok(None),
                false => address::network(node).map(Some),
            };
            let entries = section.read_list("allow_from", report, read).unwrap_or_default();
            let published = entries.iter().any(Option::is_none);
            AllowFrom { networks: entries.into_iter().flatten().collect(), published }
        }
    }
}

/// The keys that only some providers read. One that this provider does not read is an error: it would prove nothing.
fn options(section: &mut Section<'_>, provider: Option<Provider>, report: &mut Report) -> Options {
    let text = |node: &Node<'_>| node.text().map(str::to_owned);
    let place = |node: &Node<'_>| node.text().map(Place::parse);
    let options = Options {
        allow_sha1: section.read("allow_sha1", report, Node::flag).unwrap_or_default(),
        tolerance: section.read("tolerance", report, |node| value::duration(node, Duration::ZERO..=DAY)),
        header: section.read("header", report, text),
        prefix: section.read("prefix", report, text),
        algorithm: section.read("algorithm", report, |node| value::choice(node, ALGORITHMS)),
        encoding: section.read("encoding", report, |node| {
            value::choice(node, &[("hex", Encoding::Hex), ("base64", Encoding::Base64)])
        }),
        timestamp_header: section.read("timestamp_header", report, text),
        signed: section.read("signed", report, text),
        id: section.read("id", report, place),
        event: section.read("event", report, place),
        title: section.read("title", report, text),
        actor: section.read("actor", report, place),
        about: section.read("about", report, place),
        link: section.read("link", report, place),
        subject: section.read("subject", report, place),
    };
    let Some(provider) = provider else { return options };
    for key in Options::KEYS.iter().filter(|key| !provider.options().contains(key)) {
        if section.get(key).is_some() {
            let fault = Fault::new(format!("`{key}` means nothing to {provider}"));
            report.error(&section.place_of(key), fault.hint("remove it"));
        }
    }
    options
}

/// `GITHUB_WEBHOOK_SECRET` and its kin.
fn default_origin(provider: Provider) -> Origin {
    Origin::Variable(format!("{}_WEBHOOK_SECRET", provider.name().to_uppercase()))
}

/// A source's secrets, each once.
struct Required {
    secrets: Vec<Secret>,
    /// Where each stands among the configured origins.
    positions: Vec<usize>,
    origins: Origins,
}

impl Required {
    /// Whether it was not there yet.
    fn take(&mut self, secret: Secret, position: usize) -> bool {
        let is_new = !self.secrets.contains(&secret);
        if is_new {
            self.positions.push(position);
            self.secrets.push(secret);
        }
        is_new
    }
}

/// Fetches what cannot be done without, and what is to follow it.
fn required(
    place: &At,
    origins: &[Option<Origin>],
    provider: Option<Provider>,
    around: &Around<'_>,
    report: &mut Report,
) -> Required {
    let mut required = Required { secrets: Vec::new(), positions: Vec::new(), origins: Origins::new(origins) };
    if around.secrets == Secrets::Unneeded {
        return required;
    }
    for (position, origin) in origins.iter().enumerate() {
        let Some(origin) = origin else { continue };
        // Why there is none is told by fetching it.
        let file = secret::file(origin, around.environment).ok().flatten().filter(|path| path.is_file());
        let next = file.as_deref().and_then(|path| {
            required.origins.add_file(path);
            rotation::next_in(path, provider?)
        });
        match secret::fetch(origin, around.environment) {
            Ok(Found::Value(secret)) => {
                if let Some(fault) = secret::exposure(origin) {
                    report.warn(place, fault);
                }
                if file.is_none() {
                    required.origins.add_given(&secret);
                }
                required.take(secret, position);
            }
            Ok(Found::Unset { variable, is_empty }) => {
                let state = if is_empty { "empty" } else { "not set" };
                let hint = format!(
                    "set {variable} to the secret that the webhook signs with (`hookbell secret` prints a new one), \
                     or let `hookbell init` write a configuration"
                );
                let what = format!("{variable} is {state}, so no request could be verified");
                report.error(place, Fault::new(what).hint(hint));
            }
            Err(fault) => report.error(place, fault),
        }
        match (next, file) {
            (Some(Ok(secret)), Some(path)) => {
                let is_open = matches!(origin, Origin::File(_));
                if is_open && let Some(fault) = secret::exposure_of(&secret::next(&path)) {
                    report.warn(place, fault);
                }
                if required.take(secret, position) {
                    required.origins.add_waiting(&path);
                }
            }
            // A service that did not start for it would refuse what the present one signs.
            (Some(Err(fault)), _) => {
                required.origins.add_fault(&fault);
                report.warn(place, fault);
            }
            _ => {}
        }
    }
    required
}
