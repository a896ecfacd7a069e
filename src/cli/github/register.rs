//! `github register`: makes the webhooks of repositories and organisations, or repairs those that there are. Owns the
//! arguments, and what has to be known before anybody is asked; the work is `registrar`'s, and `rotate`'s.

use std::time::Duration;

use super::{ping::Pinger, registrar::Registrar, rotate};
use crate::{
    cli::{Failure, Global, secret_in, short_duration, surroundings},
    config::{self, Settings},
    http::Client,
    provider::Provider,
    remote::{
        Caller, Pass,
        github::{GitHub, Place},
    },
    secret::Secret,
    store::Reader,
};

/// What `--settle` may be: less proves nothing, and after a day nobody waits any more.
const SETTLES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
/// A token is a line.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

pub(super) const EXAMPLES: &str = "\
Examples:
  hookbell github register acme/api acme/web --dry-run    what would change
  hookbell github register acme/api acme                  a repository's webhook and an organisation's
  GH=… hookbell github register acme/api --token-env GH
  sudo hookbell github register acme/api --rotate         a new secret, and no delivery refused

The webhook gets the events that the rules can use and no others, the secret of the source, and the address public_url of
[door]. Then GitHub is asked for a ping, which has to arrive. The token needs, of a fine-grained one, the repository permission
\"Webhooks: read and write\", of an organisation the organisation permission of the same name; a classic one admin:repo_hook,
of an organisation admin:org_hook. Exit codes: 0 all are as they shall be, 1 one is not.";

#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// Where the webhooks hang: OWNER/REPOSITORY, or the name of an organisation
    #[arg(required = true, value_name = "OWNER/REPO | ORG", value_parser = place)]
    pub(super) places: Vec<Place>,
    /// For this source, where the configuration has several of GitHub's
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// The environment variable with the token [default: that of [github] in the configuration]
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// The file with the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
    /// Take this webhook for ours, whatever its address is; may be repeated
    #[arg(long, value_name = "ID")]
    pub(super) hook: Vec<i64>,
    /// Make another beside one that looks like ours under another address
    #[arg(long, conflicts_with = "hook")]
    pub(super) new: bool,
    /// Change the secret, for all webhooks that sign with it, without refusing a delivery; those that the source's `recover`
    /// names are changed as well
    #[arg(long, conflicts_with_all = ["hook", "new"])]
    pub(super) rotate: bool,
    /// With --rotate: nothing signed with the old secret may come for so long before it is dropped (`60s`, `5m`, a day at
    /// most). GitHub signs when something happens and may deliver minutes later; what comes after that is refused
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = settle, requires = "rotate")]
    pub(super) settle: Duration,
    /// With --rotate: this webhook is gone, or may be refused afterwards; may be repeated
    #[arg(long, value_name = "ID", requires = "rotate")]
    pub(super) without: Vec<i64>,
    /// One JSON object: `ok`, `url`, and `places`, each with `action`, `events`, `changes`, `ping`, `notes` and `error`; with
    /// --rotate also `rotation`
    #[arg(long)]
    pub(super) json: bool,
}

fn place(text: &str) -> Result<Place, String> {
    Place::parse(text)
}

fn settle(text: &str) -> Result<Duration, String> {
    let time = short_duration(text).filter(|time| SETTLES.contains(time));
    time.ok_or_else(|| "seconds (60s), minutes (5m) or hours (1h); from 1s to 1d".to_owned())
}

pub(super) fn register(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let settings = global.load_in(surroundings::of_the_service(global), config::load)?.settings;
    let source = source(&settings, arguments.source.as_deref())?;
    let Some(public_url) = &settings.door.public_url else {
        let what =
            "where shall GitHub deliver to? Add to [door] in hookbell.toml: public_url = \"https://YOUR-HOST-NAME\"";
        return Err(Failure::Failed(what.to_owned()));
    };
    let token = token(arguments, &settings, source)?;
    let github = GitHub::new(Caller::new(Client::new(), api(&settings, source)), Pass::Token(token));
    let url = format!("{}/webhooks/{source}", public_url.trim_end_matches('/'));
    if arguments.rotate {
        return rotate::rotate(global, arguments, &settings, source, &github, url);
    }
    let places = distinct(arguments.places.iter().cloned());
    find_named(&github, &places, &arguments.hook)?;
    let waits = !settings.sources[source].origins.waiting().is_empty();
    let secret = secret_to_set(arguments, &settings, source, waits)?;
    let reader = Reader::open(&settings.store.path);
    let pinger = Pinger { github: &github, settings: &settings, source, reader: reader.as_ref().ok() };
    let registrar = Registrar { arguments, pinger, url, secret, rotates_to: None };
    if waits {
        registrar.say("note: a new secret waits to follow the present one; --rotate goes on with that")?;
    }
    if let Err(why) = &reader
        && !arguments.dry_run
    {
        registrar
            .say(&format!("note: whether a ping is stored cannot be seen here, GitHub's word has to do: {why}"))?;
    }
    let outcomes: Result<Vec<_>, Failure> =
        places.iter().map(|place| registrar.place(place).map(|outcome| (place, outcome))).collect();
    registrar.end(&outcomes?, None, None)
}

/// Whether each webhook that `--hook` names hangs somewhere: with a slip of the pen another would be made.
fn find_named(github: &GitHub, places: &[Place], named: &[i64]) -> Result<(), Failure> {
    if named.is_empty() {
        return Ok(());
    }
    // A place that cannot be asked says so in its turn.
    let hooks: Vec<_> = places.iter().filter_map(|place| github.hooks(place).ok()).flatten().collect();
    match named.iter().find(|id| hooks.iter().all(|hook| hook.id != **id)) {
        None => Ok(()),
        Some(id) => Err(Failure::Failed(format!(
            "none of these places has a webhook {id}, as far as they can be asked; its number is the last part of its address \
             at GitHub, under Settings → Webhooks"
        ))),
    }
}

/// The secret that webhooks get: one that the running service accepts, or what they send would be refused. While another
/// waits to follow, that is the one that stays.
fn secret_to_set<'s>(
    arguments: &Arguments,
    settings: &'s Settings,
    source: &str,
    waits: bool,
) -> Result<&'s Secret, Failure> {
    let secrets = &settings.sources[source].terms.secrets;
    let mut wanted: Vec<&Secret> = secrets.iter().rev().collect();
    if !waits {
        wanted = secrets.iter().take(1).collect();
    }
    let Some(first) = wanted.first().copied() else {
        let what = format!("source {source} has no secret, so nobody may deliver to it; give it one: secret = {{ … }}");
        return Err(Failure::Failed(what));
    };
    if arguments.dry_run {
        return Ok(first);
    }
    let Some(door) = rotate::ask(&settings.store.path, source, None)? else { return Ok(first) };
    wanted.into_iter().find(|secret| door.accepts(secret)).ok_or_else(|| {
        Failure::Failed(format!(
            "the running service does not accept this configuration's secret of source {source}, so it would refuse what the \
             webhook sends: restart hookbell{}",
            door.faults()
        ))
    })
}

/// The source that is meant.
fn source<'s>(settings: &'s Settings, named: Option<&str>) -> Result<&'s str, Failure> {
    let mut all = settings.sources.iter().filter(|(_, source)| source.terms.provider == Provider::GitHub);
    let names: Vec<&str> = all.by_ref().map(|(name, _)| name.as_str()).collect();
    match (named, names.as_slice()) {
        (Some(name), _) => names.iter().copied().find(|known| *known == name).ok_or_else(|| {
            Failure::Usage(format!("the configuration has no source {name:?} of GitHub's; it has {}", names.join(", ")))
        }),
        (None, [name]) => Ok(name),
        (None, []) => Err(Failure::Failed(
            "the configuration has no source of GitHub's; add [sources.github] with a secret".to_owned(),
        )),
        (None, _) => Err(Failure::Usage(format!("which source? Say --source: {}", names.join(", ")))),
    }
}

/// Where GitHub's interface stands.
fn api<'s>(settings: &'s Settings, source: &str) -> &'s str {
    let own = settings.sources[source].recover.as_ref().and_then(|recover| recover.api.as_deref());
    own.unwrap_or(&settings.github.api)
}

fn token(arguments: &Arguments, settings: &Settings, source: &str) -> Result<Secret, Failure> {
    if let Some(variable) = &arguments.token_env {
        return secret_in(variable).map_err(Failure::Failed);
    }
    if let Some(file) = &arguments.token_file {
        let failed = |why: &dyn std::fmt::Display| {
            Failure::Failed(format!("cannot read the token in {}: {why}", file.display()))
        };
        let mut text = String::new();
        let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
        std::io::Read::read_to_string(&mut std::io::Read::take(opened, TOKEN_BYTES_MAX), &mut text)
            .map_err(|error| failed(&error))?;
        return Secret::new(text.trim().to_owned()).ok_or_else(|| failed(&"it is empty"));
    }
    let (recover, usual) = (settings.sources[source].recover.as_ref(), settings.github.token.as_ref());
    let own = recover.and_then(|recover| match &recover.pass {
        Pass::Token(token) => Some(token),
        Pass::Nobody | Pass::App { .. } => None,
    });
    // What is for one server is shown to no other.
    let usual = usual.filter(|_| api(settings, source) == settings.github.api);
    own.or(usual).cloned().ok_or_else(|| {
        Failure::Failed(
            "no token: make one at https://github.com/settings/personal-access-tokens/new that may, for these repositories, \
             \"Webhooks: read and write\" (of an organisation the organisation permission \"Webhooks: read and write\"; a \
             classic token: admin:repo_hook, of an organisation admin:org_hook); then name it by --token-env NAME or \
             --token-file FILE, or in the configuration: [github] token = { env = \"GITHUB_TOKEN\" }"
                .to_owned(),
        )
    })
}

/// Each once.
pub(super) fn distinct(places: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut distinct: Vec<Place> = Vec::new();
    for place in places {
        // Names are the same in any case of letters.
        if !distinct.iter().any(|other| other.to_string().eq_ignore_ascii_case(&place.to_string())) {
            distinct.push(place);
        }
    }
    distinct
}
