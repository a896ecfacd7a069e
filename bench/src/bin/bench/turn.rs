//! One turn of one contender: started in an empty folder, left alone, loaded in every way, counted, stopped. Owns the
//! order and what is read when; every figure gets a name here.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::process::ExitStatusExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    disk,
    load::{self, Arrivals, Outcome, percentile},
    push::Pool,
    service::Service,
};
use rustix::process::Signal;

use crate::{
    contender::{Contender, Programs},
    steady,
};

/// Bodies are of these sizes, bytes.
pub(crate) const BODIES_BYTES: [usize; 2] = [250, 13 * 1024];
/// A body as large as few are, bytes; only with 32 connections.
pub(crate) const LARGE_BYTES: usize = 100 * 1024;
/// All of them.
pub(crate) const ALL_BODIES_BYTES: [usize; 3] = [BODIES_BYTES[0], BODIES_BYTES[1], LARGE_BYTES];
/// Connections at once.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 32, 128];
/// Arrivals by the clock, per second, with the middle body.
pub(crate) const RATES: [u32; 3] = [100, 500, 2000];

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub(crate) warm_up: Duration,
    pub(crate) closed: Duration,
    pub(crate) open: Duration,
    pub(crate) rest: Duration,
    pub(crate) sync: Duration,
    /// Of what only hookbell does.
    pub(crate) alone: Duration,
}

/// What was measured, by name.
pub(crate) type Figures = BTreeMap<String, f64>;

/// The name of a figure of a closed loop.
pub(crate) fn closed(body_bytes: usize, connections: usize, what: &str) -> String {
    format!("closed.{body_bytes}_bytes.{connections}_connections.{what}")
}

/// The name of a figure of an open loop.
pub(crate) fn open(per_second: u32, what: &str) -> String {
    format!("open.{per_second}_per_second.{what}")
}

/// Measures one contender once, in `home`, which is emptied before and removed after.
///
/// # Errors
/// When it does not start, dies, takes no connections any more, or has not stored what it answered with 200.
pub(crate) fn take(
    contender: Contender,
    programs: &Programs,
    spans: Spans,
    home: &Path,
    seed: u64,
) -> io::Result<Figures> {
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::create_dir_all(home)?;
    disk::settle(home)?;
    let named = |error: io::Error| {
        let log = fs::read_to_string(home.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        io::Error::other(format!("{}: {error}\nthe end of its log:\n{last}", contender.name()))
    };
    let start = Instant::now();
    let service = contender.start(programs, home, &home.join("log")).map_err(named)?;
    let mut turn = Turn {
        contender,
        service,
        home,
        pools: ALL_BODIES_BYTES
            .into_iter()
            .map(|bytes| Pool::new(contender.path(), bytes, seed ^ bytes as u64))
            .collect(),
        answers: 0,
        without: 0,
        figures: Figures::new(),
    };
    turn.measure(start, programs, spans).map_err(named)?;
    let Turn { service, figures, .. } = turn;
    let status = service.end().map_err(named)?;
    // Only gunicorn and hookbell have something to finish; the others end by the signal.
    if !(status.success() || status.signal() == Some(Signal::TERM.as_raw()) && !contender.is_hookbell()) {
        return Err(named(io::Error::other(format!("it ended with {status}"))));
    }
    fs::remove_dir_all(home)?;
    Ok(figures)
}

struct Turn<'a> {
    contender: Contender,
    service: Service,
    home: &'a Path,
    pools: Vec<Pool>,
    /// Complete 200s so far.
    answers: u64,
    /// Requests that ended in anything else.
    without: u64,
    figures: Figures,
}

impl Turn<'_> {
    fn measure(&mut self, start: Instant, programs: &Programs, spans: Spans) -> io::Result<()> {
        let Turn { service, pools, .. } = self;
        steady::first_answer(service, &mut pools[0])?;
        self.answers += 1;
        self.note("start_ms", start.elapsed().as_secs_f64() * 1000.0);
        self.note("ready_ms", self.service.ready_after.as_secs_f64() * 1000.0);
        self.note("program_bytes", self.contender.program_bytes(programs)? as f64);
        self.rest(spans.rest)?;
        self.load(0, Arrivals::Closed { connections: 32, is_kept_alive: false }, spans.warm_up)?;
        for body in 0..BODIES_BYTES.len() {
            for connections in CONNECTIONS {
                self.closed(body, connections, spans.closed)?;
            }
        }
        self.note("memory_peak_bytes", self.service.reading_of_tree()?.resident_peak_bytes as f64);
        if self.contender.has_keep_alive_row() {
            let outcome = self.load(1, Arrivals::Closed { connections: 32, is_kept_alive: true }, spans.closed)?;
            self.note("kept_alive.answers_per_second", outcome.per_second());
        }
        self.closed(BODIES_BYTES.len(), 32, spans.closed)?;
        let mut syncs_us = disk::sync_latencies_us(self.home, spans.sync)?;
        for per_second in RATES {
            let outcome = self.load(1, Arrivals::Open { per_second }, spans.open)?;
            self.note_latencies(|what| open(per_second, what), &outcome);
        }
        syncs_us.extend(disk::sync_latencies_us(self.home, spans.sync)?);
        syncs_us.sort_unstable();
        self.note("fsync.p50_ms", percentile(&syncs_us, 0.5) / 1000.0);
        self.note("fsync.p99_ms", percentile(&syncs_us, 0.99) / 1000.0);
        self.count_rows()
    }

    /// So many connections, busy all the time.
    fn closed(&mut self, body: usize, connections: usize, span: Duration) -> io::Result<()> {
        let before = self.service.reading_of_tree()?;
        let outcome = self.load(body, Arrivals::Closed { connections, is_kept_alive: false }, span)?;
        let after = self.service.reading_of_tree()?;
        let name = |what: &str| closed(ALL_BODIES_BYTES[body], connections, what);
        self.note(&name("answers_per_second"), outcome.per_second());
        self.note_latencies(name, &outcome);
        let per_answer = |count: u64| count as f64 / outcome.answers.max(1) as f64;
        let written_bytes = after.written_bytes.saturating_sub(before.written_bytes);
        self.note(&name("written_bytes_per_answer"), per_answer(written_bytes));
        self.note(&name("cpu_us_per_answer"), per_answer(after.cpu_ms.saturating_sub(before.cpu_ms)) * 1000.0);
        Ok(())
    }

    /// Nobody asks it anything.
    fn rest(&mut self, span: Duration) -> io::Result<()> {
        steady::calm_down(&self.service)?;
        let before = self.service.reading_of_tree()?;
        thread::sleep(span);
        let after = self.service.reading_of_tree()?;
        self.note("memory_at_rest_bytes", after.resident_bytes as f64);
        let switches = after.voluntary_switches.saturating_sub(before.voluntary_switches);
        self.note("wake_ups_per_second", switches as f64 / span.as_secs_f64());
        Ok(())
    }

    fn load(&mut self, body: usize, arrivals: Arrivals, span: Duration) -> io::Result<Outcome> {
        let outcome = load::run(self.service.address, &mut self.pools[body], arrivals, span);
        steady::must_live(&mut self.service)?;
        let outcome = outcome?;
        self.answers += outcome.answers;
        self.without += outcome.refused + outcome.failed;
        steady::calm_down(&self.service)?;
        Ok(outcome)
    }

    fn count_rows(&mut self) -> io::Result<()> {
        let (answers, without) = (self.answers, self.without);
        self.note("answers", answers as f64);
        self.note("without_answer", without as f64);
        let Some(rows) = self.contender.rows(self.home)? else { return Ok(()) };
        self.note("rows", rows as f64);
        match is_true(rows, answers, without) {
            true => Ok(()),
            false => Err(io::Error::other(format!(
                "something lied: {rows} rows, {answers} answers with 200, {without} requests without one"
            ))),
        }
    }

    fn note_latencies(&mut self, name: impl Fn(&str) -> String, outcome: &Outcome) {
        self.note(&name("p50_ms"), outcome.percentile_ms(0.5));
        self.note(&name("p99_ms"), outcome.percentile_ms(0.99));
        self.note(&name("without_answer"), (outcome.refused + outcome.failed) as f64);
        self.note(&name("generator_share"), outcome.own_share);
    }

    fn note(&mut self, name: &str, figure: f64) {
        self.figures.insert(name.to_owned(), figure);
    }
}

/// What was answered must be there. What was sent and not answered may be there: nobody was told either way.
fn is_true(rows: u64, answers: u64, without: u64) -> bool {
    (answers..=answers + without).contains(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_200_without_its_row_is_a_lie() {
        assert!(is_true(7, 7, 0) && is_true(7, 7, 2) && is_true(9, 7, 2));
        assert!(!is_true(6, 7, 0) && !is_true(6, 7, 2) && !is_true(8, 7, 0) && !is_true(10, 7, 2));
    }
}
