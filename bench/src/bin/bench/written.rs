//! How many bytes reach the storage for each byte of a body, with all that was put off: counted when the process has ended,
//! its log moved into the file. Beside it the same with bodies that do not compress, which is what it would cost to store
//! them as they came: the program keeps such bytes as they are.

use std::{fs, io, path::Path, process::Command, time::Duration};

use hookbell_bench::{
    disk,
    load::{self, Arrivals},
    process,
    push::Pool,
    service::Service,
};

use crate::{
    contender::{Contender, Programs, address_after},
    turn::{BODIES_BYTES, Figures},
};

/// Arrivals by the clock.
pub(crate) const PER_SECOND: u32 = 500;
/// Their sizes.
const BODY_BYTES: usize = BODIES_BYTES[1];

/// What the bodies are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Like GitHub's.
    Pushes,
    /// Random bytes.
    Noise,
}

/// Bytes written for each of a body, so many a second for `span`, from the start of the process to its end.
///
/// # Errors
/// When it does not run, refuses a request, or lacks a row in the end.
pub(crate) fn take(programs: &Programs, bodies: Bodies, span: Duration, home: &Path, seed: u64) -> io::Result<Figures> {
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    let command = Service::hookbell_command(Command::new(&programs.hookbell), home, "receive", "")?;
    disk::settle(home)?;
    let before_bytes = written_by_ended_children()?;
    let service = Service::start_logging(command, &home.join("log"), |text| {
        address_after(text, "listening address=http://").filter(|_| text.contains("ready version="))
    })?;
    let mut pool = match bodies {
        Bodies::Pushes => Pool::new("/webhooks/github", BODY_BYTES, seed),
        Bodies::Noise => Pool::of_noise("/webhooks/github", BODY_BYTES, seed),
    };
    let outcome = load::run(service.address, &mut pool, Arrivals::Open { per_second: PER_SECOND }, span)?;
    if outcome.refused + outcome.failed > 0 {
        return Err(io::Error::other(format!("{} requests had no 200", outcome.refused + outcome.failed)));
    }
    service.stop()?;
    let written_bytes = written_by_ended_children()?.saturating_sub(before_bytes);
    match Contender::Receive.rows(home)? {
        Some(rows) if rows == outcome.answers => {}
        rows => return Err(io::Error::other(format!("{rows:?} rows, and {} answers with 200", outcome.answers))),
    }
    // What was put off is in the file now, or it would not have been counted.
    if fs::metadata(home.join("hookbell.db-wal")).is_ok_and(|log| log.len() > 0) {
        return Err(io::Error::other("it ended with a log that is not empty"));
    }
    fs::remove_dir_all(home)?;
    let payload_bytes = outcome.answers * BODY_BYTES as u64;
    Ok(Figures::from([("written_bytes_per_payload_byte".to_owned(), written_bytes as f64 / payload_bytes as f64)]))
}

/// The kernel adds what a child has written to its parent's count when the child's end is taken notice of. Nothing is
/// written by this process itself meanwhile.
fn written_by_ended_children() -> io::Result<u64> {
    Ok(process::read(std::process::id())?.written_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_has_written_is_counted_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        if disk::file_system(folder.path()).is_err() {
            // In memory nothing is written, and nothing is counted.
            return;
        }
        let before_bytes = written_by_ended_children().unwrap();
        let status = Command::new("dd")
            .args(["if=/dev/zero", "bs=64k", "count=32", "conv=fsync", "status=none"])
            .arg(format!("of={}", folder.path().join("zeros").display()))
            .status()
            .unwrap();
        assert!(status.success());
        assert!(written_by_ended_children().unwrap() - before_bytes >= 32 * 64 * 1024);
    }
}
