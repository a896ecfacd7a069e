//! `github register --rotate`: a new secret for a source, without a delivery that is refused. Owns the order: the new one
//! is written beside the old one, the door accepts both, every webhook gets it, and when nothing signed with the old one
//! comes any more, it takes its place.
//!
//! Each step leaves files that say how far it went (`config::rotation`), so that the same command goes on after a crash at
//! any of them. Nothing is dropped that somebody is known to sign with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    ping::{HOOK, LOOKED_AT, Pinger},
    register::{Arguments, distinct},
    registrar::{Outcome, Registrar, Survey},
};
use crate::{
    cli::{Failure, Global, secret::random_hex, surroundings},
    config::{self, Rotation, Settings, SinkKind},
    provider,
    remote::github::{GitHub, Place},
    secret::Secret,
    store::{Proven, Reader, Role, RoleLock, StoreError},
    threads::Wake,
    time::Timestamp,
    work::control::{self, Request},
};

/// Of those that come, at once.
const BATCH: u32 = 1000;
/// Our own webhooks sign with the old secret no longer than so many times what was to be quiet.
const SETTLES_MAX: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where the webhook hangs that GitHub sent it for.
const TARGET_TYPE: &str = "X-GitHub-Hook-Installation-Target-Type";
const TARGET: &str = "X-GitHub-Hook-Installation-Target-ID";

/// Where the secrets are.
struct Files {
    path: PathBuf,
    next: PathBuf,
    /// Whether the running service has to be handed them.
    is_handed: bool,
}

/// A rotation with all that it needs.
struct Wheel<'a> {
    global: &'a Global,
    source: &'a str,
    database: PathBuf,
    files: Files,
}

pub(super) fn rotate(
    global: &Global,
    arguments: &Arguments,
    settings: &Settings,
    source: &str,
    github: &GitHub,
    url: String,
) -> Result<(), Failure> {
    let files = files(settings, source)?;
    let secrets = &settings.sources[source].terms.secrets;
    let Some(present) = secrets.first() else {
        return Err(Failure::Failed(format!("source {source} has no secret that could be changed")));
    };
    alone(settings, source, present, &files.path)?;
    let reader = Reader::open(&settings.store.path)?;
    let _lock = match arguments.dry_run {
        true => None,
        false => Some(RoleLock::take(&settings.store.path, Role::Rotate)?),
    };
    let wheel = Wheel { global, source, database: settings.store.path.clone(), files };
    let pinger = Pinger { github, settings, source, reader: Some(&reader) };
    let before = Registrar { arguments, pinger, url: url.clone(), secret: present, rotates_to: None };
    if !arguments.dry_run && wheel.is_nearly_done(present)? {
        before.say("the last rotation was done but for one step: the service accepts the new secret alone now")?;
        return before.end(&[], Some(json!({ "state": "done", "resumed": true })), None);
    }

    let signs = |sink: &config::Sink| matches!(&sink.kind, SinkKind::Forward(to) if to.secrets.contains(present));
    for (name, _) in settings.sinks.iter().filter(|(_, sink)| signs(sink)) {
        before.say(&format!(
            "note: sink {name} signs with the same secret; where that is from the same file, it signs with the new one from its \
             next start on, and its receiver has to know that one by then"
        ))?;
    }

    // What there is, before anything changes.
    let named = settings.sources[source].recover.iter().flat_map(|recover| &recover.hooks);
    let named = named.filter_map(|name| Place::parse(name).ok());
    let places = distinct(arguments.places.iter().cloned().chain(named));
    let mut found: Vec<(&Place, Outcome, Option<Survey>)> = Vec::new();
    for place in &places {
        let mut outcome = Outcome::default();
        let (done, survey) = match before.survey(place, &mut outcome) {
            Ok(survey) => {
                before.show(place, survey.hook.as_ref(), &outcome)?;
                (Ok(()), Some(survey))
            }
            Err(stopped) => (Err(stopped), None),
        };
        before.settle(place, done, &mut outcome)?;
        found.push((place, outcome, survey));
    }
    let known = Known::of(&found, &arguments.without);
    let callers: Vec<Proven> = before.pinger.callers()?.into_values().collect();
    let others = known.others(&callers);
    before.say(&format!(
        "webhooks that sign with the secret were looked for among the last {LOOKED_AT} deliveries of source {source}; one \
         that has sent nothing for longer, and is not named, is refused afterwards"
    ))?;
    let is_complete = found.iter().all(|(_, outcome, _)| outcome.error.is_none());
    if !is_complete || !others.is_empty() || arguments.dry_run {
        let state = if arguments.dry_run { "would begin" } else { "not begun" };
        before.say(&match arguments.dry_run {
            true => {
                format!("a new secret would be written to {} and set at these webhooks", wheel.files.next.display())
            }
            false => format!("nothing was changed: the secret in {} stays", wheel.files.path.display()),
        })?;
        others.values().try_for_each(|other| before.say(&other.said()))?;
        let outcomes: Vec<(&Place, Outcome)> = found.into_iter().map(|(place, outcome, _)| (place, outcome)).collect();
        let rotation = json!({ "state": state, "others": others.values().map(Other::said).collect::<Vec<_>>() });
        return before.end(&outcomes, Some(rotation), (!others.is_empty()).then(|| refusable(&others)));
    }

    // Both are accepted.
    let begun_at = reader.newest_id()?;
    let is_resumed = wheel.prepare()?;
    before.say(&match is_resumed {
        true => format!("goes on with the new secret in {}", wheel.files.next.display()),
        false => format!("a new secret is in {}", wheel.files.next.display()),
    })?;
    let both = wheel.read()?;
    let secrets = &both.sources[source].terms.secrets;
    let (Some(new), 2) = (secrets.last(), secrets.len()) else {
        let what = format!("{} holds no secret that differs; remove it, and begin anew", wheel.files.next.display());
        return Err(Failure::Failed(what));
    };
    let accepted = wheel.tell(secrets)?;
    let (Some(position), true) = (accepted.position(new), secrets.iter().all(|secret| accepted.accepts(secret))) else {
        return Err(Failure::Failed(format!(
            "the running service does not accept both secrets{}; {}, and type the same command again",
            accepted.faults(),
            if accepted.faults.is_empty() { "restart it" } else { "mend that" }
        )));
    };
    before.say("the service accepts both")?;

    // Every webhook gets it.
    let pinger = Pinger { github, settings: &both, source, reader: Some(&reader) };
    let registrar = Registrar { arguments, pinger, url, secret: new, rotates_to: Some(1) };
    let mut outcomes = Vec::new();
    for (place, mut outcome, survey) in found {
        registrar.say(&format!("{place}:"))?;
        let hook = survey.and_then(|survey| survey.hook);
        let done = registrar.apply(place, hook.as_ref(), &mut outcome);
        registrar.settle(place, done, &mut outcome)?;
        outcomes.push((place, outcome));
    }
    let known = known.with(&outcomes);
    let both = || json!({ "state": "both", "resumed": is_resumed });
    if outcomes.iter().any(|(_, outcome)| outcome.error.is_some()) {
        registrar.say("both secrets stay accepted; the same command goes on")?;
        return registrar.end(&outcomes, Some(both()), None);
    }

    // Nothing comes any more that the old one signed.
    let settle = arguments.settle;
    registrar.say(&format!(
        "waiting until nothing signed with the old secret came for {} s; what comes later is refused, GitHub lists it as failed, \
         and [sources.{source}.recover] pulls it in where there is one",
        settle.as_secs()
    ))?;
    let mut late = Late { known: &known, position, count: 0, others: BTreeMap::new() };
    let is_quiet = match late.wait(&reader, source, begun_at, settle) {
        Ok(is_quiet) => is_quiet,
        Err(error) => return registrar.end(&outcomes, Some(both()), Some(error.to_string())),
    };
    if !is_quiet {
        let others = &late.others;
        registrar.say("both secrets stay accepted: there are deliveries that the old one signed")?;
        others.values().try_for_each(|other| registrar.say(&other.said()))?;
        let mut rotation = both();
        rotation["others"] = others.values().map(Other::said).collect::<Vec<_>>().into();
        let why = match others.is_empty() {
            true => "GitHub still signs with the old secret; type the same command again".to_owned(),
            false => refusable(others),
        };
        return registrar.end(&outcomes, Some(rotation), Some(why));
    }

    // The new one alone.
    if let Err(failure) = wheel.finish() {
        return registrar.end(&outcomes, Some(both()), Some(failure.to_string()));
    }
    let rotation = json!({ "state": "done", "resumed": is_resumed, "signed_with_old": late.count });
    registrar.say(&format!(
        "done: the old secret is not accepted any more; {} holds the new one",
        wheel.files.path.display()
    ))?;
    registrar.end(&outcomes, Some(rotation), None)
}

/// What to do about webhooks that nobody named.
fn refusable(others: &BTreeMap<i64, Other>) -> String {
    let ids: Vec<String> = others.keys().map(|id| format!("--without {id}")).collect();
    format!(
        "these would be refused without the old secret: name where they hang in the same command as well; or, where they are \
         gone or may be refused, {}",
        ids.join(" ")
    )
}

fn files(settings: &Settings, source: &str) -> Result<Files, Failure> {
    let how = "put the secret into a file, secret = { file = \"github.secret\" } or { credential = \"github\" } in \
               hookbell.toml, restart, and type this again";
    let (path, next, is_handed) = match settings.sources[source].origins.rotation() {
        Rotation::File { path, next } => (path, next, false),
        Rotation::Credential { stored, next } => (stored, next, true),
        Rotation::Variable(variable) => {
            let what = format!(
                "the secret of source {source} is in the environment variable {variable}, which only a restart \
                                changes; {how}"
            );
            return Err(Failure::Failed(what));
        }
        Rotation::Several => {
            let what =
                format!("source {source} lists several secrets, so that it is not clear which one is to go; leave one");
            return Err(Failure::Failed(what));
        }
    };
    match path.symlink_metadata() {
        // The new one gets the same mode.
        Ok(found) if found.is_file() && found.mode() & 0o007 != 0 => {
            let path = path.display();
            Err(Failure::Failed(format!(
                "everybody on this machine can use {path}; chmod o= {path}, and type this again"
            )))
        }
        Ok(found) if found.is_file() => Ok(Files { path: path.clone(), next: next.clone(), is_handed }),
        Ok(_) => {
            Err(Failure::Failed(format!("{} is no plain file, so no other can take its place; {how}", path.display())))
        }
        Err(error) => Err(Failure::Failed(format!("cannot look at {}: {error}", path.display()))),
    }
}

/// Whether nobody else has the secret in this file: the webhooks of the others would not get the new one.
fn alone(settings: &Settings, source: &str, present: &Secret, path: &Path) -> Result<(), Failure> {
    let number = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    let shares = |other: &config::Source| match other.origins.rotation() {
        Rotation::File { path: other, .. } | Rotation::Credential { stored: other, .. } => {
            number(other) == number(path)
        }
        Rotation::Variable(_) => false,
        Rotation::Several => other.terms.secrets.contains(present),
    };
    match settings.sources.iter().find(|(name, other)| name.as_str() != source && shares(other)) {
        None => Ok(()),
        Some((other, _)) => Err(Failure::Failed(format!(
            "source {other} has the secret in {} as well, and its senders would be refused; give it a file of its own, restart, \
             and type this again",
            path.display()
        ))),
    }
}

impl Wheel<'_> {
    fn read(&self) -> Result<Settings, Failure> {
        Ok(self.global.load_in(surroundings::of_the_service(self.global), config::load)?.settings)
    }

    /// Whether all was done but for the one step that the last rotation ends with: the service was not told. It is then.
    fn is_nearly_done(&self, present: &Secret) -> Result<bool, Failure> {
        let accepted = self.ask(None)?;
        if !accepted.accepts(present) {
            return Err(Failure::Failed(format!(
                "the running service accepts other secrets than this configuration says{}; restart it",
                accepted.faults()
            )));
        }
        if !self.files.is_handed || self.files.next.exists() || accepted.secrets.len() == 1 {
            return Ok(false);
        }
        self.ask(Some(vec![present.clone()])).map(|_| true)
    }

    /// Writes the new secret, unless one waits already. Says whether one did.
    fn prepare(&self) -> Result<bool, Failure> {
        let Files { path, next, .. } = &self.files;
        match fs::read_to_string(next) {
            // One without anything in it was about to be written.
            Ok(text) if text.trim().is_empty() => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return Ok(true),
            // A webhook may have it already.
            Err(error) => return Err(Failure::Failed(format!("cannot read {}: {error}", next.display()))),
        }
        let secret = random_hex()?;
        let write = || -> io::Result<()> {
            let like = path.metadata()?;
            let half = next.with_extension("half");
            match fs::remove_file(&half) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
            // Whoever may read the present one has to read this one, and nobody else.
            let made = file.metadata()?;
            if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
                fchown(&file, Some(like.uid()), Some(like.gid()))?;
            }
            file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o770))?;
            writeln!(file, "{secret}")?;
            file.sync_all()?;
            fs::rename(&half, next)?;
            sync_folder(next)
        };
        write().map(|()| false).map_err(|error| {
            Failure::Failed(format!("cannot write the new secret to {}: {error}; type it with sudo", next.display()))
        })
    }

    /// What the running service accepts, now that it knows both.
    fn tell(&self, secrets: &[Secret]) -> Result<Accepted, Failure> {
        self.ask(self.files.is_handed.then(|| secrets.to_vec()))
    }

    fn ask(&self, accept: Option<Vec<Secret>>) -> Result<Accepted, Failure> {
        ask(&self.database, self.source, accept)?.ok_or_else(|| {
            Failure::Failed(
                "hookbell does not run here, so that nobody would accept what the new secret signs; start it, and type the \
                 same command again"
                    .to_owned(),
            )
        })
    }

    /// The new one takes the old one's place, and the service is told.
    fn finish(&self) -> Result<(), Failure> {
        let Files { path, next, .. } = &self.files;
        fs::rename(next, path).and_then(|()| sync_folder(path)).map_err(|error| {
            Failure::Failed(format!("cannot put {} in the place of {}: {error}", next.display(), path.display()))
        })?;
        let settings = self.read()?;
        let secrets = &settings.sources[self.source].terms.secrets;
        let wanted: Vec<String> = secrets.iter().map(provider::fingerprint).collect();
        let accepted = self.tell(secrets)?;
        match accepted.secrets == wanted {
            true => Ok(()),
            false => Err(Failure::Failed(format!(
                "the new secret is in its place, and the service accepts the old one still{}; restart it",
                accepted.faults()
            ))),
        }
    }
}

/// What the running service says of a source's secrets.
pub(super) struct Accepted {
    /// What tells them apart, in their order.
    secrets: Vec<String>,
    faults: Vec<String>,
}

impl Accepted {
    fn position(&self, secret: &Secret) -> Option<usize> {
        let digits = provider::fingerprint(secret);
        self.secrets.iter().position(|one| *one == digits)
    }

    pub(super) fn accepts(&self, secret: &Secret) -> bool {
        self.position(secret).is_some()
    }

    /// What it cannot take and how that is mended, to follow what goes wrong by it.
    pub(super) fn faults(&self) -> String {
        self.faults.iter().map(|fault| format!("; it says: {fault}")).collect()
    }
}

/// Asks the running service, or hands it these secrets first; `None` where none runs here.
pub(super) fn ask(database: &Path, source: &str, accept: Option<Vec<Secret>>) -> Result<Option<Accepted>, Failure> {
    let request = Request::Secrets { source: source.to_owned(), accept };
    let Some(answer) = control::ask_door(database, &request).map_err(|error| {
        Failure::Failed(format!("cannot ask the running service which secrets it accepts: {error}; type it with sudo"))
    })?
    else {
        return Ok(None);
    };
    if let Some(why) = answer["error"].as_str() {
        return Err(Failure::Failed(format!("the running service says: {why}")));
    }
    let list = |name: &str| {
        answer[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Ok(Some(Accepted { secrets: list("secrets"), faults: list("faults") }))
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The webhooks that get the new secret, and those that need not.
struct Known {
    ours: BTreeSet<i64>,
    /// All that hang at the places: one that does not is gone.
    there: BTreeSet<i64>,
    without: BTreeSet<i64>,
    /// `owner/name`, or an organisation, in lower case.
    places: BTreeSet<String>,
}

/// A webhook that signs with the secret and was not named.
struct Other {
    id: i64,
    place: String,
    last: Timestamp,
}

impl Other {
    fn said(&self) -> String {
        format!("hook {} of {} delivered on {} and does not get the new secret", self.id, self.place, self.last)
    }
}

impl Known {
    fn of(found: &[(&Place, Outcome, Option<Survey>)], without: &[i64]) -> Known {
        let surveys = || found.iter().filter_map(|(_, _, survey)| survey.as_ref());
        Known {
            ours: surveys().filter_map(|survey| survey.hook.as_ref()).map(|hook| hook.id).collect(),
            there: surveys().flat_map(|survey| survey.ids.iter().copied()).collect(),
            without: without.iter().copied().collect(),
            places: found.iter().map(|(place, ..)| place.to_string().to_ascii_lowercase()).collect(),
        }
    }

    /// With those that have been made meanwhile.
    fn with(mut self, outcomes: &[(&Place, Outcome)]) -> Known {
        self.ours.extend(outcomes.iter().filter_map(|(_, outcome)| outcome.hook));
        self
    }

    /// The webhooks of these deliveries that nobody named.
    fn others(&self, rows: &[Proven]) -> BTreeMap<i64, Other> {
        // What hangs at the same place as ours did: its repository may not be told.
        let target =
            |row: &Proven| Some((row.headers.text(TARGET_TYPE)?.to_owned(), row.headers.text(TARGET)?.to_owned()));
        let is_ours = |row: &&Proven| hook_of(row).is_some_and(|id| self.ours.contains(&id));
        let targets: BTreeSet<(String, String)> = rows.iter().filter(is_ours).filter_map(target).collect();
        let mut others = BTreeMap::new();
        for row in rows {
            let Some(id) = hook_of(row) else { continue };
            // Webhooks of apps and enterprises hang elsewhere, whatever they tell of.
            let hangs_there = matches!(row.headers.text(TARGET_TYPE), Some("repository" | "organization"));
            let is_here = target(row).is_some_and(|target| targets.contains(&target)) || self.is_place_of(row);
            let is_gone = hangs_there && is_here && !self.there.contains(&id);
            if self.ours.contains(&id) || self.without.contains(&id) || is_gone {
                continue;
            }
            let target = target(row).map(|(kind, id)| format!("{kind} {id}"));
            let place = row.repository.clone().or(target).unwrap_or_else(|| "a place that it does not tell".to_owned());
            others.insert(id, Other { id, place, last: row.received_at });
        }
        others
    }

    fn is_place_of(&self, row: &Proven) -> bool {
        let Some(repository) = row.repository.as_deref().map(str::to_ascii_lowercase) else { return false };
        match row.headers.text(TARGET_TYPE) {
            Some("organization") => repository.split('/').next().is_some_and(|owner| self.places.contains(owner)),
            _ => self.places.contains(&repository),
        }
    }
}

fn hook_of(row: &Proven) -> Option<i64> {
    row.headers.text(HOOK)?.parse().ok()
}

/// What still comes that the old secret signed.
struct Late<'k> {
    known: &'k Known,
    /// Where the new one stands in the service's list.
    position: usize,
    count: u64,
    others: BTreeMap<i64, Other>,
}

impl Late<'_> {
    /// Whether nothing came for so long. Ends early where one comes of a webhook that was not named.
    fn wait(&mut self, reader: &Reader, source: &str, begun_at: i64, settle: Duration) -> Result<bool, StoreError> {
        let (begun, pauses) = (Instant::now(), Wake::new());
        let (mut quiet_since, mut after) = (Instant::now(), begun_at);
        loop {
            let looked = Instant::now();
            let rows = reader.proven_after(source, after, BATCH)?;
            after = rows.last().map_or(after, |row| row.id);
            let is_full = rows.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
            let old: Vec<Proven> = rows.into_iter().filter(|row| !self.is_new(row)).collect();
            if !old.is_empty() {
                quiet_since = looked;
                self.count += u64::try_from(old.len()).unwrap_or(u64::MAX);
                self.others = self.known.others(&old);
            }
            if !self.others.is_empty() || begun.elapsed() > settle * SETTLES_MAX {
                return Ok(false);
            }
            if !is_full && looked.duration_since(quiet_since) >= settle {
                return Ok(true);
            }
            if !is_full {
                pauses.wait(LOOK_EVERY.min(settle / 4));
            }
        }
    }

    fn is_new(&self, row: &Proven) -> bool {
        usize::try_from(row.verified_by).is_ok_and(|by| by == self.position + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;

    fn row(hook: &str, target: &str, repository: Option<&str>) -> Proven {
        let (kind, id) = target.split_once(' ').unwrap();
        let fields = [(HOOK, hook), (TARGET_TYPE, kind), (TARGET, id)];
        let headers: Headers = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let received_at = Timestamp::from_ms(0);
        Proven { id: 1, verified_by: 1, received_at, headers, repository: repository.map(str::to_owned) }
    }

    #[test]
    fn who_was_not_named_is_known_by_its_webhook() {
        let known = Known {
            ours: BTreeSet::from([1, 2]),
            there: BTreeSet::from([1, 2, 3]),
            without: BTreeSet::from([9]),
            places: ["acme/api", "acme"].map(str::to_owned).into(),
        };
        let check = |rows: &[Proven], expected: &[i64]| {
            assert_eq!(known.others(rows).into_keys().collect::<Vec<_>>(), expected, "{rows:?}");
        };
        let ours = row("1", "repository 7", Some("acme/api"));
        check(std::slice::from_ref(&ours), &[]);
        check(&[row("4", "repository 8", Some("acme/web"))], &[4]);
        check(&[row("9", "repository 8", Some("acme/web"))], &[]);
        // At a place that was named, what is not there any more is gone, and what is there is another.
        check(&[row("5", "repository 7", Some("Acme/API"))], &[]);
        check(&[ours, row("5", "repository 7", None)], &[]);
        check(&[row("5", "repository 7", None)], &[5]);
        check(&[row("3", "repository 7", Some("acme/api"))], &[3]);
        check(&[row("6", "organization 70", Some("acme/else"))], &[]);
        check(&[row("6", "organization 71", Some("other/else"))], &[6]);
        check(&[row("", "repository 7", None)], &[]);
        // An app's and an enterprise's webhook tell of repositories where they do not hang.
        check(&[row("7", "integration 9", Some("acme/api"))], &[7]);
        check(&[row("8", "business 9", Some("acme/api")), row("1", "repository 7", None)], &[8]);
    }
}
