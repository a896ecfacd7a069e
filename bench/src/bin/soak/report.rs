//! What a soak has shown, judged and printed. Owns the expectations beyond [`gauge`]'s; refuses to ask anybody.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    faults::Fault,
    gauge::{self, Flatness, Growth, Sample, mb},
    traffic::Outcome,
    visitor::Visits,
};

/// What a leak has to be for the usual form to notice it, and for the long one; bytes per request.
const NOTICED_BYTES: [(Duration, u64); 2] = [(Duration::from_secs(60 * 60), 150), (Duration::from_secs(10 * 60), 1024)];
/// The log beside the database is emptied by itself, long before this.
const WAL_BYTES_MAX: u64 = 64 << 20;
/// Of the service's own log, for each request: a line or two for those that are refused.
const LOG_BYTES_PER_REQUEST_MAX: f64 = 400.0;
/// Of each that went wrong so many are shown.
const SHOWN_MAX: usize = 8;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    seed: u64,
    lasted: Duration,
    pub(crate) lost: Vec<String>,
    /// Expectations that were missed, in words.
    missed: Vec<String>,
    pub(crate) restarts: u32,
    pub(crate) stored: usize,
    pub(crate) pruned: i64,
    pub(crate) unseen: usize,
    pub(crate) told: usize,
    pub(crate) faults: BTreeMap<Fault, u32>,
    promised: usize,
    answers: Vec<(String, BTreeMap<String, u64>)>,
    samples: Vec<Sample>,
    flatness: Option<Flatness>,
}

impl Report {
    /// Of a soak that could not go on for these reasons, if there are any.
    pub(crate) fn new(seed: u64, lasted: Duration, missed: Vec<String>) -> Report {
        Report { seed, lasted, missed, ..Report::default() }
    }

    /// Notes an expectation that was missed.
    pub(crate) fn expect(&mut self, is_met: bool, words: impl FnOnce() -> String) {
        if !is_met {
            self.missed.push(words());
        }
    }

    /// What everybody was answered.
    pub(crate) fn take(&mut self, outcome: Outcome, visits: Visits) {
        self.promised = outcome.promised.len();
        self.answers = outcome.answers.into_iter().map(|(kind, answers)| (kind.name().to_owned(), answers)).collect();
        self.answers.extend(visits.answers.into_iter().map(|(kind, answers)| (kind.to_owned(), answers)));
        for (who, count, surprises) in [
            ("door", outcome.surprises_count, outcome.surprises),
            ("panel or command", visits.surprises_count, visits.surprises),
        ] {
            self.expect(count == 0, || {
                let first = surprises.into_iter().take(SHOWN_MAX).collect::<Vec<_>>().join("; ");
                format!("{who}: {count} answers while nothing was done to it were not as they should be: {first}")
            });
        }
    }

    /// What the service itself said.
    pub(crate) fn judge_log(&mut self, log: &str) {
        // That Slack is ill is an error, too, and said as one; what was refused for lack of a disk was told to its sender.
        let is_known = |line: &str| ["sink=slack", " unavailable "].iter().any(|known| line.contains(known));
        for bad in ["panicked", " ERROR ", "damaged"] {
            let line = log.lines().find(|line| line.contains(bad) && !is_known(line));
            self.expect(line.is_none(), || format!("in the log: {}", line.unwrap_or_default()));
        }
    }

    /// How long each life was and whether the last one was flat.
    pub(crate) fn judge_lives(&mut self, samples: Vec<Sample>) {
        self.samples = samples;
        let life = self.last_life();
        self.flatness = Flatness::of(&life);
        match self.flatness {
            Some(flatness) => self.missed.extend(flatness.missed()),
            None => self.missed.push(format!("the last life was too short to be judged: {} s", life.len())),
        }
        // A harness that could not fail would be of no use. Shorter ones are tried out with, and notice only more.
        let needed = NOTICED_BYTES.iter().find(|(lasted, _)| self.lasted >= *lasted);
        if let Some((_, bytes)) = needed {
            let noticed = gauge::leak_noticed_bytes(&life);
            self.expect(noticed.is_some_and(|noticed| noticed <= *bytes), || {
                format!(
                    "a leak of {bytes} bytes per request would have gone unnoticed: too few requests, or too much noise"
                )
            });
        }
        let wal = self.peak(|sample| sample.wal_bytes);
        self.expect(wal <= WAL_BYTES_MAX, || format!("the WAL grew to {:.1} MB", mb(wal as f64)));
        let log = self.log_bytes_per_request();
        self.expect(log <= LOG_BYTES_PER_REQUEST_MAX, || format!("the log has {log:.0} bytes for each request"));
    }

    fn last_life(&self) -> Vec<Sample> {
        let last = self.samples.last().map_or(0, |sample| sample.life);
        self.samples.iter().filter(|sample| sample.life == last).copied().collect()
    }

    fn peak(&self, what: fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(what).max().unwrap_or(0)
    }

    fn log_bytes_per_request(&self) -> f64 {
        self.samples.last().map_or(0.0, |last| last.log_bytes as f64 / last.requests.max(1) as f64)
    }

    /// Prints it, and says whether all holds.
    pub(crate) fn print(&self) -> bool {
        println!("\n{:<26}answers", "requests");
        for (kind, answers) in &self.answers {
            let answers: Vec<String> = answers.iter().map(|(answer, count)| format!("{count} × {answer}")).collect();
            println!("{kind:<26}{}", answers.join(", "));
        }
        println!("\n{:<26}times", "faults");
        for (fault, count) in &self.faults {
            println!("{:<26}{count}", fault.name());
        }
        self.print_lives();
        self.print_growth();
        let requests = self.samples.last().map_or(0, |sample| sample.requests);
        let seconds = self.lasted.as_secs_f64();
        println!();
        println!(
            "{:.1} minutes, seed {}, {requests} requests ({:.0}/s); log {:.0} bytes per request, WAL peak {:.1} MB, database peak {:.1} MB",
            seconds / 60.0,
            self.seed,
            requests as f64 / seconds.max(1.0),
            self.log_bytes_per_request(),
            mb(self.peak(|sample| sample.wal_bytes) as f64),
            mb(self.peak(|sample| sample.database_bytes) as f64),
        );
        println!(
            "promised {}, stored {}, pruned up to {}, not seen before they were pruned {}, told to Slack {}, lost {}",
            self.promised,
            self.stored,
            self.pruned,
            self.unseen,
            self.told,
            self.lost.len()
        );
        self.lost.iter().take(SHOWN_MAX).for_each(|lost| println!("LOST {lost}"));
        self.missed.iter().for_each(|missed| println!("FAILED {missed}"));
        self.lost.is_empty() && self.missed.is_empty()
    }

    fn print_lives(&self) {
        println!(
            "\n{:<6}{:>8}{:>10}{:>10}{:>9}{:>9}{:>14}{:>12}{:>8}",
            "life", "seconds", "requests", "first MB", "last MB", "peak MB", "descriptors", "threads", "core %"
        );
        for life in 0..=self.restarts {
            let samples: Vec<&Sample> = self.samples.iter().filter(|sample| sample.life == life).collect();
            let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
                println!("{life:<6}{:>8}", "< 1");
                continue;
            };
            let peak = |what: fn(&Sample) -> u64| samples.iter().map(|sample| what(sample)).max().unwrap_or(0);
            let seconds = samples.len() as f64;
            println!(
                "{life:<6}{seconds:>8}{:>10}{:>10.1}{:>9.1}{:>9.1}{:>14}{:>12}{:>8.1}",
                last.requests - first.requests,
                mb(first.anonymous_bytes as f64),
                mb(last.anonymous_bytes as f64),
                mb(peak(|sample| sample.anonymous_bytes) as f64),
                format!("{} (≤ {})", last.descriptors, peak(|sample| sample.descriptors)),
                format!("{} (≤ {})", last.threads, peak(|sample| sample.threads)),
                last.cpu_ms as f64 / 10.0 / seconds,
            );
        }
    }

    fn print_growth(&self) {
        let Some(flatness) = self.flatness else { return };
        println!("\n{:<26}{:>10}{:>10}{:>10}{:>10}", "last life", "quarter 2", "quarter 4", "growth", "allowed");
        let row = |name: &str, growth: Growth, by: f64, most: f64, digits: usize| {
            println!(
                "{name:<26}{:>10.digits$}{:>10.digits$}{:>+10.digits$}{:>10.digits$}",
                growth.before / by,
                growth.after / by,
                growth.by() / by,
                most / by
            );
        };
        row("memory, MB, median", flatness.memory, 1e6, flatness.memory.memory_max(), 2);
        row("descriptors, low tenth", flatness.descriptors, 1.0, gauge::COUNT_MAX, 0);
        row("threads, low tenth", flatness.threads, 1.0, gauge::COUNT_MAX, 0);
        if !flatness.is_warm {
            println!("memory is not judged: the last life was too short for that");
            return;
        }
        let noticed = gauge::leak_noticed_bytes(&self.last_life());
        let noticed = noticed.map_or("no leak".to_owned(), |bytes| format!("a leak of {bytes} bytes per request"));
        println!("{noticed} would have been noticed ({:.0} requests in between)", flatness.requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(seconds: u64, leak: u64) -> Vec<Sample> {
        let one = |at: u64| Sample {
            life: u32::from(at >= 30),
            requests: at * 40,
            anonymous_bytes: 20_000_000 + at * 40 * leak,
            descriptors: 30,
            threads: 12,
            ..Sample::default()
        };
        (0..seconds).map(one).collect()
    }

    #[test]
    fn only_the_last_life_is_judged_and_a_leak_in_it_fails() {
        let mut report = Report { lasted: Duration::from_secs(600), restarts: 1, ..Report::default() };
        report.judge_lives(samples(390, 0));
        assert!(report.missed.is_empty(), "{:?}", report.missed);
        assert!(report.print());
        let mut report = Report { lasted: Duration::from_secs(600), ..Report::default() };
        report.judge_lives(samples(390, 1024));
        assert!(report.missed.iter().any(|missed| missed.starts_with("memory grew")), "{:?}", report.missed);
        assert!(!report.print());
    }

    #[test]
    fn one_that_could_not_fail_fails() {
        let mut report = Report { lasted: Duration::from_secs(600), ..Report::default() };
        report.judge_lives(samples(75, 0));
        assert!(report.missed.iter().any(|missed| missed.contains("unnoticed")), "{:?}", report.missed);
    }
}
