//! The clock: signatures carry times, and a Pi has no battery.

use std::{path::Path, time::Duration};

use super::Check;
use crate::time::{self, Timestamp};

const NAME: &str = "clock";
/// `Date` is in whole seconds, and an answer takes its time.
const APART_MAX: Duration = Duration::from_secs(30);
/// What senders and receivers of signed times tolerate.
const APART_FATAL: Duration = Duration::from_secs(4 * 60);
/// systemd-timesyncd leaves this once a time server has answered.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
const REMEDY: &str = "`timedatectl` shows whether a time server is asked; sudo timedatectl set-ntp true";

/// What another clock has shown.
pub(super) struct Shown {
    who: String,
    theirs: Timestamp,
    ours: Timestamp,
}

impl Shown {
    /// This moment.
    pub(super) fn now(who: &str, theirs: Timestamp) -> Shown {
        Shown { who: who.to_owned(), theirs, ours: super::now() }
    }

    fn apart(&self) -> Duration {
        self.theirs.since(self.ours).max(self.ours.since(self.theirs))
    }
}

pub(super) fn look(newest: Timestamp, shown: &[Shown]) -> Check {
    judge(super::now(), newest, Path::new(SYNCHRONISED).exists(), shown)
}

fn judge(now: Timestamp, newest: Timestamp, is_synchronised: bool, shown: &[Shown]) -> Check {
    if time::is_plainly_wrong(now, newest) {
        let said = format!("it says {now}, which cannot be: signed times are refused with 503");
        return Check::fail(NAME, said, REMEDY);
    }
    // One of them may be wrong itself.
    let nearest = shown.iter().min_by_key(|shown| shown.apart());
    match (nearest, is_synchronised) {
        (Some(shown), _) if shown.apart() > APART_MAX => {
            let said = format!("it says {now}, {} s off {}'s", shown.apart().as_secs(), shown.who);
            match shown.apart() > APART_FATAL {
                true => Check::fail(NAME, said + ": signatures are refused for their time", REMEDY),
                false => Check::warn(NAME, said, REMEDY),
            }
        }
        (Some(shown), true) => Check::ok(NAME, format!("synchronised, and agrees with {}'s", shown.who)),
        (Some(shown), false) => Check::ok(NAME, format!("agrees with {}'s", shown.who)),
        (None, true) => Check::ok(NAME, "synchronised"),
        (None, false) => Check::warn(NAME, format!("it says {now}; nobody has confirmed that"), REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn clocks_are_compared() {
        let now = crate::BUILT.plus(Duration::from_secs(3600));
        let shown = |seconds: u64| Shown {
            who: "slack".to_owned(),
            theirs: now.minus(Duration::from_secs(seconds)),
            ours: now,
        };
        let judged = |is_synchronised, shown: &[Shown]| judge(now, Timestamp::from_ms(0), is_synchronised, shown);
        for (check, result, says) in [
            (judged(true, &[]), Verdict::Ok, "synchronised"),
            (judged(false, &[]), Verdict::Warn, "nobody has confirmed"),
            (judged(true, &[shown(1)]), Verdict::Ok, "agrees with slack's"),
            (judged(false, &[shown(0)]), Verdict::Ok, "agrees with slack's"),
            (judged(false, &[shown(3600), shown(2)]), Verdict::Ok, "agrees"),
            (judged(true, &[shown(60)]), Verdict::Warn, "60 s off slack's"),
            (judged(true, &[shown(3600)]), Verdict::Fail, "3600 s off"),
        ] {
            assert!(check.result == result && check.said.contains(says), "{check:?}");
            assert_eq!(check.remedy.is_none(), result == Verdict::Ok);
        }
        let yesterday = judge(crate::BUILT.minus(Duration::from_secs(1)), Timestamp::from_ms(0), true, &[]);
        assert_eq!(yesterday.result, Verdict::Fail, "before this program was built");
        let behind = judge(now, now.plus(Duration::from_secs(2 * 24 * 3600)), true, &[]);
        assert_eq!(behind.result, Verdict::Fail, "behind what was stored");
    }
}
