//! A fault from its beginning to its end: a stage, a Slack and a sender together, and the judgement that is the same for
//! all. Owns what has to hold after any fault; refuses to know which it was.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use hookbell::bell::Edge;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    finding::{self, Finding},
    sender::{self, Load, Promise, SUBJECTS, Sender},
    slack::{Mode, Slack},
    stage::{Plan, Stage},
};

/// How long all that was owed may take when the fault is over.
pub const SETTLING_MAX: Duration = Duration::from_secs(60);
/// How long the service may take to answer again.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// Deliveries that must be answered 200 before a fault, and after it.
const GOOD_MIN: usize = 25;
/// Ways of telling that fit a cell.
const TOLD_MAX: usize = 3;

/// What all scenarios are given.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The program.
    pub executable: PathBuf,
    /// Where the folders are made.
    pub data: PathBuf,
    /// More, and for longer.
    pub is_long: bool,
    /// Equal seeds choose equally.
    pub seed: u64,
}

impl Setting {
    /// One of two, by the form.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }

    /// A number below `below` that depends on the seed and on `what`.
    pub fn choose(&self, what: u64, below: u64) -> u64 {
        // SplitMix64.
        let mut bits = self.seed.wrapping_add(what.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(1);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % below.max(1)
    }
}

/// A scenario: does its harm and says what came of it.
///
/// # Errors
/// When it could not be done; that is no finding about the program unless the text says so.
pub type Scenario = fn(&Setting) -> io::Result<Finding>;

/// Everything that a fault happens to.
pub struct Scene {
    /// The fault's name.
    pub fault: String,
    /// The service.
    pub stage: Stage,
    /// Where its messages go.
    pub slack: Slack,
    /// Who sends.
    pub sender: Sender,
    /// When the fault began, as far as the judgement is concerned.
    pub from: Instant,
    edges_before: usize,
    log_before: usize,
    /// What others have been promised besides.
    pub also_promised: Vec<Promise>,
    /// Whether messages of one subject have to come in the order in which they were accepted.
    pub keeps_order: bool,
    _folder: TempDir,
}

impl Scene {
    /// Starts all of it, `change` having the last word about the plan, and waits until deliveries are answered.
    ///
    /// # Errors
    /// When it does not start.
    pub fn begin(setting: &Setting, fault: &str, change: impl FnOnce(&mut Plan, &Slack)) -> io::Result<Scene> {
        let folder = tempfile::Builder::new().prefix("chaos-").tempdir_in(&setting.data)?;
        // Where the program runs as somebody else, it has to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let slack = Slack::start()?;
        let mut plan = Plan::new(&setting.executable, folder.path(), slack.url());
        change(&mut plan, &slack);
        let stage = Stage::start(plan)?;
        let name: String =
            fault.chars().map(|c| if c.is_ascii_alphabetic() { c.to_ascii_lowercase() } else { '-' }).collect();
        let sender = Sender::start(Load::new(stage.address, &format!("{}-s", name.trim_matches('-'))))?;
        let begun = Instant::now();
        if !sender.wait_for_200s(GOOD_MIN, begun, RECOVERY_MAX)? {
            return Err(io::Error::other(format!("{fault}: nothing is answered 200 before anything was done")));
        }
        let mut scene = Scene {
            fault: fault.to_owned(),
            stage,
            slack,
            sender,
            from: begun,
            edges_before: 0,
            log_before: 0,
            also_promised: Vec::new(),
            keeps_order: true,
            _folder: folder,
        };
        scene.begins_now();
        Ok(scene)
    }

    /// From now on is what is judged.
    pub fn begins_now(&mut self) {
        (self.from, self.edges_before, self.log_before) =
            (Instant::now(), self.stage.trace().len(), self.stage.log().len());
    }

    /// The desk's edges since the fault began.
    pub fn edges(&self) -> Vec<Edge> {
        self.stage.trace().split_off(self.edges_before.min(self.stage.trace().len()))
    }

    /// What was logged since the fault began.
    pub fn log(&self) -> String {
        let log = self.stage.log();
        log.get(self.log_before.min(log.len())..).unwrap_or_default().to_owned()
    }

    /// Waits until the door answers again: so many 200s to what is sent from now on.
    ///
    /// # Errors
    /// When it does not.
    pub fn recover(&self) -> io::Result<()> {
        match self.sender.wait_for_200s(GOOD_MIN, Instant::now(), RECOVERY_MAX)? {
            true => Ok(()),
            false => {
                let last = self.sender.sent().last().map(|sent| sent.said.clone()).unwrap_or_default();
                let seconds = RECOVERY_MAX.as_secs();
                self.stage.wait_until("readiness", Duration::ZERO, || Ok(false)).map_err(|error| {
                    io::Error::other(format!(
                        "{}: no answers {seconds} s after the fault was over; the last was: {last}; {error}",
                        self.fault
                    ))
                })
            }
        }
    }

    /// What has to hold after every fault, which must be over: the service answers, nothing is left unsettled, it ends well,
    /// its file is sound, and everything that it promised is there and was told.
    ///
    /// # Errors
    /// When it could not be found out; what does not hold is in the finding.
    pub fn conclude(self, did: &str) -> io::Result<Finding> {
        self.conclude_after(did, |_| Ok(()))
    }

    /// The same; `last` is called when the service has ended, before anything is judged.
    ///
    /// # Errors
    /// See [`conclude`](Scene::conclude), and those of `last`.
    pub fn conclude_after(mut self, did: &str, last: impl FnOnce(&Scene) -> io::Result<()>) -> io::Result<Finding> {
        self.slack.answer(Mode::Ok);
        let mut finding = Finding { fault: self.fault.clone(), did: did.to_owned(), ..Finding::default() };
        let recovered = self.recover();
        finding.expect(recovered.is_ok(), || recovered.err().map(|error| error.to_string()).unwrap_or_default());
        let to = Instant::now();
        finding.deaf = self.sender.deaf(self.from, to);
        self.sender.stop()?;
        let over = Instant::now();
        (finding.refused, finding.reasons) =
            (self.sender.refused(self.from, over), self.sender.reasons(self.from, over));
        let begun = Instant::now();
        let settled = self.stage.wait_until("the settling of everything", SETTLING_MAX, || {
            let look_again = Duration::from_millis(150);
            let is_settled = self.unsettled()? == 0;
            if !is_settled {
                // Each question is a process of its own on a small machine.
                std::thread::sleep(look_again);
            }
            Ok(is_settled)
        });
        finding.expect(settled.is_ok(), || {
            format!("after {:.0} s: {}", begun.elapsed().as_secs_f64(), settled.err().map_or(String::new(), said))
        });
        finding.desk = desk(&self.edges());
        finding.told = self.told();
        finding.restarts = self.stage.restarts();
        let stopped = self.stage.stop();
        finding.expect(stopped.is_ok(), || {
            format!("expected an orderly stop: {}", stopped.err().map_or(String::new(), said))
        });
        last(&self)?;
        let unsound = self.stage.unsoundness()?;
        finding.expect(unsound.is_none(), || format!("the file is unsound: {}", unsound.unwrap_or_default()));
        self.judge(&mut finding)?;
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        finding.expect(panic.is_none(), || format!("a panic in the log: {}", panic.unwrap_or_default()));
        Ok(finding)
    }

    fn judge(&self, finding: &mut Finding) -> io::Result<()> {
        let mut promised = self.sender.promised();
        promised.extend(self.also_promised.iter().cloned());
        finding.promised = promised.len();
        let marks: Vec<(String, u64)> = self.slack.texts().iter().flat_map(|text| sender::marks(text)).collect();
        let told: HashSet<String> = marks.iter().map(|(name, number)| sender::mark(name, *number)).collect();
        finding.lost = finding::lost(&promised, &self.rows()?, &told);
        // What is not accepted in order cannot be told in it: answers that overlap are accepted in any order.
        if self.keeps_order {
            let by_acceptance = self.ranks()?;
            let ranked: Vec<(u64, u64)> = marks
                .iter()
                .filter_map(|(name, number)| {
                    Some((number % SUBJECTS, *by_acceptance.get(&format!("{name}-{number}"))?))
                })
                .collect();
            let wrong = finding::out_of_order(&ranked);
            finding.expect(wrong.is_empty(), || {
                format!("{} messages out of their subject's order: {}", wrong.len(), wrong.join(", "))
            });
        }
        let dead = self.stage.count("SELECT count(*) FROM dispatch WHERE state = 'dead'")?;
        finding.expect(dead == 0, || format!("{dead} dispatches are dead letters"));
        Ok(())
    }

    /// What the status LED shows now, as the service says it.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn status_led(&self) -> io::Result<String> {
        let status = self.stage.status_json()?;
        let vitals = &status["service"]["bell"]["vitals"];
        let shown = [("storage_fails", "storage fails"), ("sink_down", "sink down"), ("tunnel_down", "tunnel down")];
        let shown: Vec<&str> = shown.iter().filter(|(key, _)| vitals[key] == true).map(|(_, words)| *words).collect();
        Ok(match (vitals.is_object(), shown.is_empty()) {
            (false, _) => "status LED unknown".to_owned(),
            (true, true) => "status LED: well".to_owned(),
            (true, false) => format!("status LED: {}", shown.join(", ")),
        })
    }

    /// Deliveries and dispatches that somebody still has to do something about.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn unsettled(&self) -> io::Result<u64> {
        self.stage.count(
            "SELECT (SELECT count(*) FROM delivery WHERE status IN ('unprocessed', 'retrying')) \
             + (SELECT count(*) FROM dispatch WHERE state IN ('due', 'leased')) AS unsettled",
        )
    }

    /// The hash of each stored body, by the sender's id.
    fn rows(&self) -> io::Result<HashMap<String, [u8; 32]>> {
        let rows = self.stage.sql(
            "SELECT delivery_id, hookbell_text(codec, bytes) AS text FROM delivery JOIN body ON body.delivery = delivery.id \
             WHERE source = 'github'",
        )?;
        let pair = |row: &serde_json::Value| {
            Some((row["delivery_id"].as_str()?.to_owned(), Sha256::digest(row["text"].as_str()?).into()))
        };
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// The place of each delivery in the order of acceptance, by the sender's id.
    fn ranks(&self) -> io::Result<HashMap<String, u64>> {
        let rows = self.stage.sql("SELECT id, delivery_id FROM delivery WHERE source = 'github'")?;
        let pair = |row: &serde_json::Value| Some((row["delivery_id"].as_str()?.to_owned(), row["id"].as_u64()?));
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// What a person could have learned it from: events of hookbell's own, and the kinds of warnings and errors in the log.
    pub fn told(&self) -> String {
        let own = self.stage.sql("SELECT DISTINCT kind FROM event WHERE kind LIKE 'hookbell_%' ORDER BY id");
        let own = own.unwrap_or_default();
        let mut told: Vec<String> =
            own.iter().filter_map(|row| row["kind"].as_str()).map(|kind| format!("event {kind}")).collect();
        told.extend(complaints(&self.log()));
        told.truncate(TOLD_MAX);
        if told.is_empty() { "–".to_owned() } else { told.join("; ") }
    }
}

fn said(error: io::Error) -> String {
    error.to_string()
}

/// The kinds of warnings and errors in a log, the most frequent first: `12 × WARN refused`.
pub fn complaints(log: &str) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines() {
        let Some(level) = ["WARN", "ERROR"].into_iter().find(|level| line.contains(level)) else { continue };
        let Some((_, rest)) = line.split_once(level) else { continue };
        let rest = rest.split_once(']').map_or(rest, |(_, rest)| rest);
        let words: Vec<&str> = rest.split_whitespace().take_while(|word| !word.contains('=')).take(6).collect();
        *counts.entry(format!("{level} {}", words.join(" "))).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.into_iter().map(|(what, count)| format!("{count} × {what}")).collect()
}

/// What the desk did: how often each line was lit.
pub fn desk(edges: &[Edge]) -> String {
    let mut lit: BTreeMap<&str, usize> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.level == 1) {
        *lit.entry(&edge.line).or_default() += 1;
    }
    let lit: Vec<String> = lit.into_iter().map(|(line, count)| format!("{line} {count} ×")).collect();
    if lit.is_empty() { "dark".to_owned() } else { lit.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_counted_by_their_words() {
        let log = "[2026-01-01T00:00:00Z INFO  hookbell] ready version=1\n\
                   [2026-01-01T00:00:00Z WARN  hookbell::work] sink failed sink=slack why=\"x\"\n\
                   [2026-01-01T00:00:01Z WARN  hookbell::work] sink failed sink=slack why=\"y\"\n\
                   [2026-01-01T00:00:01Z ERROR hookbell] storage: no space\n";
        assert_eq!(complaints(log), ["2 × WARN sink failed", "1 × ERROR storage: no space"]);
    }

    #[test]
    fn the_desk_in_words() {
        let edge = |line: &str, level| -> Edge {
            serde_json::from_str(&format!("{{\"t_ms\":1,\"line\":\"{line}\",\"level\":{level},\"late_us\":0}}"))
                .unwrap()
        };
        assert_eq!(
            desk(&[edge("green", 1), edge("green", 0), edge("buzzer", 1), edge("green", 1)]),
            "buzzer 1 ×, green 2 ×"
        );
        assert_eq!(desk(&[]), "dark");
    }

    #[test]
    fn equal_seeds_choose_equally() {
        let setting = |seed| Setting { executable: PathBuf::new(), data: PathBuf::new(), is_long: false, seed };
        assert_eq!(setting(1).choose(3, 1000), setting(1).choose(3, 1000));
        assert_ne!(setting(1).choose(3, 1 << 40), setting(2).choose(3, 1 << 40));
    }
}
