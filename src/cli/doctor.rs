//! `doctor`: tries the real things, one line each.

use serde_json::{Value, json};

use super::{Failure, Global, print_json, print_line, surroundings, table, wiring};
use crate::{
    config::{self, Level, Loaded, Problem},
    doctor::{self, Check, Patient, Verdict},
};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  sudo hookbell doctor                  everything that the service needs, one line each
  sudo hookbell doctor --fsync-test     also how fast this card promises, and what rate that allows
  sudo hookbell doctor --json | jq -r '.checks[] | select(.result != \"ok\") | .said'

It posts nothing, drives no pin, and leaves nothing behind. What the environment lacks it takes from hookbell.env beside the
configuration file, as the service does. Exit codes: 0 nothing failed, 1 something failed, 78 wrong configuration.")]
pub(super) struct Arguments {
    /// Measure the card for longer: 200 synced writes, 20 s at most
    #[arg(long)]
    fsync_test: bool,
    /// One JSON object: `ok`, `version` and `checks`, each with `name`, `result` (ok, warn, fail), `said` and `remedy`
    #[arg(long)]
    json: bool,
}

pub(super) fn doctor(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let loaded = match global.load_in(surroundings::of_the_service(global), config::load) {
        Ok(loaded) => loaded,
        Err(Failure::Configuration(failure)) => {
            let checks: Vec<Check> = failure.problems.iter().map(problem).collect();
            match arguments.json {
                true => print_json(&report(&checks))?,
                // What is wrong with it stands in the failure.
                false => print_line("fail  configuration: it cannot be used, so nothing else was tried")?,
            }
            return Err(Failure::Configuration(failure));
        }
        Err(failure) => return Err(failure),
    };
    let (checks, printed) = look(&loaded, arguments);
    printed?;
    if arguments.json {
        print_json(&report(&checks))?;
    }
    match checks.iter().filter(|check| check.result == Verdict::Fail).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("one check failed".to_owned())),
        many => Err(Failure::Failed(format!("{many} checks failed"))),
    }
}

fn look(loaded: &Loaded, arguments: &Arguments) -> (Vec<Check>, Result<(), Failure>) {
    let conflicts = wiring::conflicts(&loaded.settings.bell);
    let patient = Patient { loaded, conflicts: &conflicts, fsync_test: arguments.fsync_test };
    let (mut checks, mut printed) = (Vec::new(), Ok(()));
    doctor::run(&patient, &mut |check| {
        // Shown as it is found: some take their time.
        if !arguments.json && printed.is_ok() {
            printed = print_line(&line(&check));
        }
        checks.push(check);
    });
    (checks, printed)
}

fn line(check: &Check) -> String {
    let Check { name, result, said, remedy, facts: _ } = check;
    let remedy = remedy.as_ref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
    format!("{:<4}  {}", result.name(), table::printable(&format!("{name}: {said}{remedy}")))
}

fn report(checks: &[Check]) -> Value {
    json!({
        "ok": checks.iter().all(|check| check.result != Verdict::Fail),
        "version": crate::VERSION,
        "checks": checks.iter().map(Check::json).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Check {
    let result = match problem.level {
        Level::Error => Verdict::Fail,
        Level::Warning => Verdict::Warn,
    };
    let said = Problem { hint: None, ..problem.clone() }.to_string();
    Check::new("configuration", result, said, problem.hint.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_one_line() {
        let check = Check::new("sink slack", Verdict::Fail, "no\u{1b}\nanswer", Some("mend it"));
        assert_eq!(line(&check), "fail  sink slack: no\u{fffd}\u{fffd}answer; mend it");
        assert_eq!(line(&Check::new("bell", Verdict::Ok, "well", None)), "ok    bell: well");
    }
}
