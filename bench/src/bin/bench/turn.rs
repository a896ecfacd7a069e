//! One turn of one contender: started in an empty folder, left alone, loaded in every way, counted, stopped. Owns the
//! order and what is read when; every figure gets a name here.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::process::ExitStatusExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    answer::{Progress, progress},
    disk,
    load::{self, Arrivals, Outcome, percentile},
    push::Pool,
    service::Service,
};
use rustix::process::Signal;

use crate::contender::{Contender, Programs};

/// Bodies are of these sizes, bytes.
pub(crate) const BODIES_BYTES: [usize; 2] = [250, 13 * 1024];
/// Connections at once.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 32, 128];
/// Arrivals by the clock, per second, with the larger body.
pub(crate) const RATES: [u32; 2] = [100, 500];

/// A start that takes this long is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that still works on what it has answered gets this long, so that the next measurement does not pay for it.
const CALM_WITHIN: Duration = Duration::from_secs(10);
/// Without processor time for this long it is calm. More than the kernel's tick.
const CALM_FOR: Duration = Duration::from_millis(100);

/// How long each part takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub(crate) warm_up: Duration,
    pub(crate) closed: Duration,
    pub(crate) open: Duration,
    pub(crate) rest: Duration,
    pub(crate) sync: Duration,
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
    let service = contender.start(programs, home).map_err(named)?;
    let mut turn = Turn {
        contender,
        service,
        home,
        pools: BODIES_BYTES.into_iter().map(|bytes| Pool::new(contender.path(), bytes, seed ^ bytes as u64)).collect(),
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
        self.first_answer()?;
        self.note("start_ms", start.elapsed().as_secs_f64() * 1000.0);
        self.note("ready_ms", self.service.ready_after.as_secs_f64() * 1000.0);
        self.note("program_bytes", self.contender.program_bytes(programs)? as f64);
        self.rest(spans.rest)?;
        let closed_loop = |connections| Arrivals::Closed { connections, is_kept_alive: false };
        self.load(0, closed_loop(32), spans.warm_up)?;
        for (body, body_bytes) in BODIES_BYTES.into_iter().enumerate() {
            for connections in CONNECTIONS {
                let before = self.service.reading_of_tree()?;
                let outcome = self.load(body, closed_loop(connections), spans.closed)?;
                let after = self.service.reading_of_tree()?;
                let name = |what: &str| closed(body_bytes, connections, what);
                self.note(&name("answers_per_second"), outcome.per_second());
                self.note_latencies(name, &outcome);
                let per_answer = |count: u64| count as f64 / outcome.answers.max(1) as f64;
                self.note(
                    &name("written_bytes_per_answer"),
                    per_answer(after.written_bytes.saturating_sub(before.written_bytes)),
                );
                self.note(&name("cpu_us_per_answer"), per_answer(after.cpu_ms.saturating_sub(before.cpu_ms)) * 1000.0);
            }
        }
        self.note("memory_peak_bytes", self.service.reading_of_tree()?.resident_peak_bytes as f64);
        if self.contender.has_keep_alive_row() {
            let outcome = self.load(1, Arrivals::Closed { connections: 32, is_kept_alive: true }, spans.closed)?;
            self.note("kept_alive.answers_per_second", outcome.per_second());
        }
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

    /// Asks until there is an answer: connections are refused until it listens.
    fn first_answer(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut request = Vec::new();
        self.pools[0].write(&mut request);
        loop {
            match TcpStream::connect(self.service.address) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.write_all(&request)?;
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer)?;
                    if !matches!(progress(&answer, true), Progress::Whole { status: 200, .. }) {
                        let answer = String::from_utf8_lossy(&answer);
                        return Err(io::Error::other(format!("the first answer is not a 200 but {answer:?}")));
                    }
                    self.answers += 1;
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => self.must_live()?,
            }
            thread::sleep(Duration::from_micros(500));
        }
    }

    fn must_live(&mut self) -> io::Result<()> {
        match self.service.ended() {
            None => Ok(()),
            Some(how) => Err(io::Error::other(format!("it died: {how}"))),
        }
    }

    /// Nobody asks it anything.
    fn rest(&mut self, span: Duration) -> io::Result<()> {
        self.calm_down()?;
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
        self.must_live()?;
        let outcome = outcome?;
        self.answers += outcome.answers;
        self.without += outcome.refused + outcome.failed;
        self.calm_down()?;
        Ok(outcome)
    }

    /// Waits until it has finished what it put off. Never an error: what is never calm is measured as it is.
    fn calm_down(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + CALM_WITHIN;
        let mut before_ms = self.service.reading_of_tree()?.cpu_ms;
        loop {
            thread::sleep(CALM_FOR);
            let now_ms = self.service.reading_of_tree()?.cpu_ms;
            if now_ms == before_ms || Instant::now() > deadline {
                return Ok(());
            }
            before_ms = now_ms;
        }
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
