//! `deliveries`: look at what came in, and have it handled again.

use std::{sync::Arc, time::Duration};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Global, import, print_json, print_line, source_named, story,
    table::{self, printable},
    versions,
};
use crate::{
    config::Settings,
    provider::{self, Unverified},
    store::{AGAIN_BATCH, DeliveryRow, Filter, Reader, Status, Store, StoreError, StoredRequest},
    time::{Clock, SystemClock, Timestamp},
    work::control,
};

/// The last writes of a command get this long.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What `recheck` says of a delivery whose source is gone from the configuration.
const NOT_CONFIGURED: &str = "not configured any more";

/// And of what did not come signed.
const ASKED_FOR: &str = "asked for, not signed";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Deliveries, newest first
    #[command(after_help = "\
Examples:
  hookbell deliveries list
  hookbell deliveries list --status failed --since 2h
  hookbell deliveries list --kind pr_merged --json --limit 1000")]
    List(List),
    /// One delivery with everything that is known about it
    #[command(after_help = "Example:\n  hookbell deliveries show 42")]
    Show(Show),
    /// Would today's secrets accept what is stored? Before a rotation ends, and after a leak
    #[command(after_help = "\
Examples:
  hookbell deliveries recheck
  hookbell deliveries recheck --source stripe --since 3d

Each delivery is judged as of the moment when it came. Exit code 1 when one would be refused. Those of a source that is
not configured any more are counted and not judged, and so is what was asked for and came without a signature.")]
    Recheck(Recheck),
    /// Handle deliveries once more, by today's configuration: read, match the rules, send
    #[command(after_help = "\
Examples:
  hookbell deliveries replay 17 18
  hookbell deliveries replay --kind ci_failed --since 2h --dry-run
  hookbell deliveries replay --handled-by '<0.3'

What was given up before is put aside; what is still under way is left alone. Everything a replay sends keeps to the same
limits as the rest.")]
    Replay(Again),
    /// Try once more what was given up, as it was
    #[command(after_help = "\
Examples:
  hookbell deliveries requeue 17
  hookbell deliveries requeue --status dead_letter --since 3d")]
    Requeue(Again),
    /// Take in the deliveries of another database: of a damaged one that was set aside, or of a backup
    #[command(after_help = "\
Example:
  hookbell deliveries import /var/lib/hookbell/hookbell.db.damaged-20261127T191502123Z

The service may run. What is here already is left alone, so a second time brings nothing. What was done with there is
stored and not told again; what was still under way is handled now, and where several were to hear of it some may hear
of it twice. What cannot be read is passed over, and said. FILE is never changed.")]
    Import(import::Arguments),
}

#[derive(clap::Args, Debug)]
pub(super) struct Again {
    /// These; otherwise those that the filters find
    #[arg(conflicts_with_all = ["status", "source", "kind", "since", "until", "handled_by"])]
    ids: Vec<i64>,
    #[command(flatten)]
    which: Which,
    /// The newest so many at most
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// Only show which they are
    #[arg(long)]
    dry_run: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct Recheck {
    #[command(flatten)]
    which: Which,
    /// The newest so many at most
    #[arg(long, default_value_t = 1000)]
    limit: u32,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// Which deliveries; all filters have to hold.
#[derive(clap::Args, Debug)]
struct Which {
    /// unprocessed, retrying, processed, skipped, dead_letter; also error or failed (retrying or dead), pending, processing
    #[arg(long, value_parser = statuses)]
    status: Vec<Statuses>,
    /// Only from this source
    #[arg(long)]
    source: Option<String>,
    /// Only with an event of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Received at or after: a date, RFC 3339, Unix seconds, or how long ago (`90s`, `15m`, `2h`, `3d`)
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Received before: the same forms
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
    /// Handled by this version of hookbell: `0.3.1`, `0.3` (any 0.3.x), `<0.3`, `>=0.2`
    #[arg(long, value_name = "VERSION", value_parser = versions::wanted)]
    handled_by: Option<versions::Wanted>,
}

impl Which {
    fn filter(&self, reader: &Reader, limit: u32) -> Result<Filter, StoreError> {
        let Which { status, source, kind, since, until, handled_by } = self;
        let handled_by = match handled_by {
            Some(wanted) => Some(reader.versions()?.into_iter().filter(|version| wanted.matches(version)).collect()),
            None => None,
        };
        Ok(Filter {
            statuses: status.iter().flat_map(|statuses| statuses.0.clone()).collect(),
            source: source.clone(),
            kind: kind.clone(),
            since: *since,
            until: *until,
            handled_by,
            limit,
        })
    }

    fn is_everything(&self) -> bool {
        let Which { status, source, kind, since, until, handled_by } = self;
        let names_none = source.is_none() && kind.is_none() && handled_by.is_none();
        status.is_empty() && names_none && since.is_none() && until.is_none()
    }
}

#[derive(clap::Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// This many at most
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
pub(super) struct Show {
    /// The id that `deliveries list` shows and that the answer 200 carried as `event_id`
    id: i64,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What one `--status` means.
#[derive(Clone, Debug)]
struct Statuses(Vec<Status>);

fn statuses(text: &str) -> Result<Statuses, &'static str> {
    Status::called(text).map(Statuses)
}

fn moment(text: &str) -> Result<Timestamp, String> {
    if let Some(moment) = Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z"))) {
        return Ok(moment);
    }
    super::short_duration(text).map(|ago| SystemClock.wall().minus(ago)).ok_or_else(|| {
        "a time: 2026-11-22, 2026-11-22T10:00:00Z, Unix seconds, or how long ago: 90s, 15m, 2h, 3d".to_owned()
    })
}

pub(super) fn deliveries(global: &Global, command: &Command) -> Result<(), Failure> {
    if let Command::Recheck(arguments) = command {
        // The only one that needs secrets.
        return recheck(&global.load()?.settings, arguments);
    }
    let settings = global.load_for_reading()?;
    if let Command::Import(arguments) = command {
        return import::import(&settings, arguments);
    }
    let reader = Reader::open(&settings.store.path)?;
    match command {
        Command::Recheck(_) | Command::Import(_) => Ok(()),
        Command::Replay(arguments) => again(&settings, &reader, arguments, "replayed", Store::replay),
        Command::Requeue(arguments) => again(&settings, &reader, arguments, "requeued", Store::requeue),
        Command::List(arguments) => list(&reader, arguments),
        Command::Show(arguments) => show(&reader, arguments),
    }
}

fn list(reader: &Reader, arguments: &List) -> Result<(), Failure> {
    let rows = reader.list(&arguments.which.filter(reader, arguments.limit)?)?;
    if arguments.json {
        return rows.iter().try_for_each(print_json);
    }
    match rows.is_empty() {
        true => print_line("no deliveries"),
        false => as_table(&rows).iter().try_for_each(|line| print_line(line)),
    }
}

fn recheck(settings: &Settings, arguments: &Recheck) -> Result<(), Failure> {
    if let Some(name) = &arguments.which.source {
        source_named(settings, name)?;
    }
    let reader = Reader::open(&settings.store.path)?;
    let filter = arguments.which.filter(&reader, arguments.limit)?;
    // What became of how many, by source and verdict.
    let mut tally = std::collections::BTreeMap::<(String, String), usize>::new();
    let mut refused = 0;
    // Where nothing is wrong with any secret, which is no failure.
    let not_judged = |tally: &mut std::collections::BTreeMap<(String, String), usize>, row: DeliveryRow, why: &str| {
        *tally.entry((row.source.clone(), why.to_owned())).or_default() += 1;
        match arguments.json {
            true => print_json(&json!({
                "id": row.id,
                "source": row.source,
                "received_at": row.received_at,
                "valid": null,
                "verified_by": null,
                "why": why,
            })),
            false => Ok(()),
        }
    };
    for row in reader.list(&filter)? {
        let Some(source) = settings.sources.get(&row.source) else {
            not_judged(&mut tally, row, NOT_CONFIGURED)?;
            continue;
        };
        let verdict = match reader.request(row.id)? {
            None => Err("its body is not stored any more".to_owned()),
            Some(StoredRequest { target, headers, body }) => {
                let request = Unverified { target, headers, body };
                provider::judge(&source.terms, &request, row.received_at).map_err(|rejection| {
                    let bytes_max = provider::BY_HAND_BYTES_MAX;
                    let hint = provider::diagnose(&source.terms, &request, row.received_at, bytes_max);
                    hint.map_or_else(|| rejection.to_string(), |hint| format!("{rejection}; most likely: {hint}"))
                })
            }
        };
        // What we have asked for need not have come in the bytes that were signed, or signed at all: no secret is wrong.
        let is_unsigned = verdict.is_err() && row.origin != provider::Origin::Webhook.name();
        if is_unsigned {
            not_judged(&mut tally, row, ASKED_FOR)?;
            continue;
        }
        refused += usize::from(verdict.is_err());
        if arguments.json {
            print_json(&json!({
                "id": row.id,
                "source": row.source,
                "received_at": row.received_at,
                "valid": verdict.is_ok(),
                "verified_by": verdict.as_ref().ok().map(|index| index + 1),
                "why": verdict.as_ref().err(),
            }))?;
        } else if let Err(why) = &verdict {
            print_line(&format!("{}  {}  would be refused: {}", row.id, printable(&row.source), printable(why)))?;
        }
        let words = verdict.map_or_else(|_| "would be refused".to_owned(), |index| format!("by secret {}", index + 1));
        *tally.entry((row.source, words)).or_default() += 1;
    }
    if !arguments.json {
        for ((source, words), count) in &tally {
            print_line(&format!("{}: {count} {words}", printable(source)))?;
        }
        let count: usize = tally.values().sum();
        match count {
            0 => print_line("no deliveries")?,
            _ if count == arguments.limit as usize => {
                print_line(&format!("the newest {count}; there may be more: --limit says how many to judge"))?;
            }
            _ => {}
        }
    }
    match refused {
        0 => Ok(()),
        count => Err(Failure::Failed(format!("{count} would be refused"))),
    }
}

/// Has the deliveries that are meant handled again, oldest first, and tells the running service.
fn again(
    settings: &Settings,
    reader: &Reader,
    arguments: &Again,
    done: &str,
    act: impl Fn(&Store, &[i64]) -> Result<Vec<i64>, StoreError>,
) -> Result<(), Failure> {
    let meant = meant(reader, arguments)?;
    if arguments.dry_run {
        let ids: Vec<i64> = meant.iter().map(|row| row.id).collect();
        if arguments.json {
            return print_json(&json!({ "selected": ids.len(), "done": 0, "ids": ids }));
        }
        as_table(&meant).iter().try_for_each(|line| print_line(line))?;
        return print_line(&format!("{} would be {done}", ids.len()));
    }
    let path = &settings.store.path;
    let (store, threads) = Store::open(path, settings.store.free_bytes_min, Arc::new(SystemClock))?;
    let ids: Vec<i64> = meant.iter().map(|row| row.id).collect();
    let mut handled = Vec::new();
    let written = ids.chunks(AGAIN_BATCH).try_for_each(|batch| {
        handled.extend(act(&store, batch)?);
        // A service that runs begins with the first of many while the rest is still written.
        if let Err(error) = control::ask(path, &control::Request::Wake) {
            log::debug!("cannot tell the service, it will look for itself: {error}");
        }
        if ids.len() > AGAIN_BATCH && !arguments.json {
            eprintln!("{} of {} {done}", handled.len(), ids.len());
        }
        Ok::<(), StoreError>(())
    });
    threads.stop(STOP_WITHIN);
    written?;
    if arguments.json {
        return print_json(&json!({ "selected": ids.len(), "done": handled.len(), "ids": handled }));
    }
    let left = ids.len() - handled.len();
    let rest = match (left, done) {
        (0, _) => String::new(),
        (left, "requeued") => format!("; {left} had nothing that was given up"),
        (left, _) => format!("; {left} are still under way, or have no body any more"),
    };
    print_line(&format!("{} {done}{rest}", handled.len()))
}

/// Those that are named, or that the filters find.
fn meant(reader: &Reader, arguments: &Again) -> Result<Vec<DeliveryRow>, Failure> {
    let Again { ids, which, limit, dry_run: _, json: _ } = arguments;
    if !ids.is_empty() {
        let find = |id: &i64| match reader.show(*id)? {
            Some(story) => Ok(story.row),
            None => Err(Failure::Failed(format!("there is no delivery {id}"))),
        };
        return ids.iter().map(find).collect();
    }
    if which.is_everything() {
        let what = "which ones? Name their ids, or filter: --status, --source, --kind, --since, --until, --handled-by";
        return Err(Failure::Usage(what.to_owned()));
    }
    let mut rows = reader.list(&which.filter(reader, *limit)?)?;
    rows.reverse();
    Ok(rows)
}

/// Deliveries as lines for people.
pub(super) fn as_table(rows: &[DeliveryRow]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let what = match (row.kinds.is_empty(), &row.title) {
                (false, Some(title)) => format!("{}: {title}", row.kinds.join(", ")),
                _ => notes(&row.notes).join("; "),
            };
            vec![
                row.id.to_string(),
                row.received_at.to_string(),
                row.status.clone(),
                row.source.clone(),
                row.event_type.clone(),
                // The usual way is no news.
                if row.origin == "webhook" { String::new() } else { row.origin.clone() },
                what.chars().take(80).collect(),
            ]
        })
        .collect();
    table::lines(&["id", "received", "status", "source", "event", "origin", "what"], &cells)
}

fn show(reader: &Reader, arguments: &Show) -> Result<(), Failure> {
    let Some(story) = reader.show(arguments.id)? else {
        return Err(Failure::Failed(format!(
            "there is no delivery {}; `hookbell deliveries list` shows those there are",
            arguments.id
        )));
    };
    match arguments.json {
        true => print_json(&story),
        false => story::print(&story),
    }
}

pub(super) fn notes(notes: &Value) -> Vec<String> {
    let list = notes.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|note| note.as_str().map_or_else(|| note.to_string(), str::to_owned)).collect()
}
