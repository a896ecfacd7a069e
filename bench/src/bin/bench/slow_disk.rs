//! What is left of all that on a card: each sync takes some milliseconds, and whoever syncs for each request alone waits
//! for each. The disk is one in this process's memory (`hookbell_bench::faulty`), so nothing else of it is slow, and
//! everybody pays the same for the way there.

use std::{fs, io, path::Path, time::Duration};

use hookbell_bench::{
    faulty::{self, Disk},
    load::{self, Arrivals},
    push::Pool,
};

use crate::{
    contender::{Contender, Programs},
    steady,
    turn::{BODIES_BYTES, Figures, Spans},
};

/// What a sync takes. Cards take 2 to 20 ms, and sometimes hundreds.
pub(crate) const SYNC_TAKES: Duration = Duration::from_millis(5);
/// Who is durable at all.
pub(crate) const DURABLE: [Contender; 4] =
    [Contender::Receive, Contender::BareMinimum, Contender::Flask, Contender::NodeRed];

/// Why there is none here, if there is none.
pub(crate) fn is_missing() -> Option<String> {
    faulty::allowed().err()
}

/// Measures one of them, `data` holding the folder beneath the disk and the place where it is mounted.
///
/// # Errors
/// When it does not work there, or has not stored what it answered with 200.
pub(crate) fn take(
    contender: Contender,
    programs: &Programs,
    spans: Spans,
    data: &Path,
    seed: u64,
) -> io::Result<Figures> {
    let (folder, point) = (tempfile::tempdir_in(data)?, tempfile::tempdir_in(data)?);
    let log = tempfile::NamedTempFile::new_in(data)?;
    let disk = Disk::mount(folder.path(), point.path())?;
    disk.sync_takes(SYNC_TAKES);
    let named = |error: io::Error| {
        let log = fs::read_to_string(log.path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        io::Error::other(format!("{} on a slow disk: {error}\nthe end of its log:\n{last}", contender.name()))
    };
    let mut service = contender.start(programs, disk.point(), log.path()).map_err(named)?;
    let mut pool = Pool::new(contender.path(), BODIES_BYTES[1], seed);
    let mut run = || -> io::Result<(u64, u64, Figures)> {
        steady::first_answer(&mut service, &mut pool)?;
        let arrivals = Arrivals::Closed { connections: 32, is_kept_alive: false };
        let outcome = load::run(service.address, &mut pool, arrivals, spans.open)?;
        steady::must_live(&mut service)?;
        steady::calm_down(&service)?;
        let figures = [
            ("answers_per_second", outcome.per_second()),
            ("p50_ms", outcome.percentile_ms(0.5)),
            ("p99_ms", outcome.percentile_ms(0.99)),
        ];
        let figures = figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect();
        Ok((outcome.answers + 1, outcome.refused + outcome.failed, figures))
    };
    let (answers, without, figures) = run().map_err(named)?;
    service.end().map_err(named)?;
    // Counted in the folder beneath: who serves a disk must not map a file of it.
    disk.unmount()?;
    let rows = contender.rows(folder.path())?.unwrap_or(0);
    match (answers..=answers + without).contains(&rows) {
        true => Ok(figures),
        false => Err(named(io::Error::other(format!("{rows} rows, and {answers} answers with 200")))),
    }
}
