//! Whether the service runs, and whether it is this program.

use std::{fs, path::Path};

use serde_json::Value;

use super::Check;
use crate::{
    config::Settings,
    store::{Role, RoleLock},
    work::control,
};

const NAME: &str = "service";
const RESTART: &str = "sudo systemctl restart hookbell";
/// In two halves it must be these: starting the whole would stop both.
const RESTART_HALVES: &str = "sudo systemctl restart hookbell-receive hookbell-work";

/// What the other checks want to know of it.
pub(super) struct Service {
    /// Its own word; null where it has none.
    pub(super) status: Value,
    pub(super) is_running: bool,
}

pub(super) fn look(settings: &Settings, tell: &mut dyn FnMut(Check)) -> Service {
    let path = &settings.store.path;
    let [receive, work] = [Role::Receive, Role::Work].map(|role| RoleLock::holder(path, role));
    let asked = control::ask(path, &control::Request::Status);
    let silence = asked.as_ref().err().map(ToString::to_string);
    let status = asked.ok().flatten().unwrap_or(Value::Null);
    let is_running = receive.is_some() || work.is_some();
    let pids: Vec<u32> = [receive, work].into_iter().flatten().collect();
    tell(match judge(receive, work, is_enabled(Path::new("/etc/systemd/system"))) {
        check if check.remedy.is_some() => check,
        _ if silence.is_some() => {
            let said =
                format!("running ({}), but it does not answer: {}", named(receive, work), silence.unwrap_or_default());
            Check::warn(NAME, said, "type it as the service's user or as root: sudo hookbell doctor")
        }
        check => match stale(&status, &pids) {
            Some(said) => Check::warn(NAME, said, if receive == work { RESTART } else { RESTART_HALVES }),
            None => check,
        },
    });
    Service { status, is_running }
}

fn judge(receive: Option<u32>, work: Option<u32>, is_enabled: bool) -> Check {
    match (receive, work) {
        (Some(_), Some(_)) => {
            let handed = if receive.is_some_and(is_handed) { ", its socket held by systemd" } else { "" };
            Check::ok(NAME, format!("running ({}{handed})", named(receive, work)))
        }
        (None, None) if is_enabled => {
            Check::fail(NAME, "not running, although it is enabled", "`journalctl -u hookbell -n 50` says why")
        }
        (None, None) => {
            Check::warn(NAME, "not running", "sudo systemctl enable --now hookbell; or, by hand, hookbell run")
        }
        (Some(_), None) => {
            let said = format!("only half of it runs ({}): deliveries are kept and go nowhere", named(receive, work));
            Check::fail(NAME, said, "sudo systemctl start hookbell-work; or, by hand, hookbell work")
        }
        (None, Some(_)) => {
            let said = format!("only half of it runs ({}): nothing is received", named(receive, work));
            Check::fail(NAME, said, "sudo systemctl start hookbell-receive; or, by hand, hookbell receive")
        }
    }
}

fn named(receive: Option<u32>, work: Option<u32>) -> String {
    match (receive, work) {
        (Some(receive), Some(work)) if receive == work => format!("pid {receive}"),
        _ => {
            let part = |name: &str, pid: Option<u32>| pid.map(|pid| format!("{name} pid {pid}"));
            let parts: Vec<String> = [part("receive", receive), part("work", work)].into_iter().flatten().collect();
            parts.join(", ")
        }
    }
}

/// Whether what runs is another program than this.
fn stale(status: &Value, pids: &[u32]) -> Option<String> {
    match status["version"].as_str() {
        Some(version) if version != crate::VERSION => {
            return Some(format!("version {version} is running, and this is {}", crate::VERSION));
        }
        _ => {}
    }
    // The kernel marks a program whose file is gone or was replaced.
    let is_replaced = |pid: &u32| {
        let program = fs::read_link(format!("/proc/{pid}/exe"));
        program.is_ok_and(|program| program.to_string_lossy().ends_with(" (deleted)"))
    };
    pids.iter().find(|pid| is_replaced(pid)).map(|pid| format!("its program was replaced since pid {pid} was started"))
}

/// Whether systemd handed it sockets: only root and its own user may look.
fn is_handed(pid: u32) -> bool {
    let variables = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    variables.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"LISTEN_FDS="))
}

/// Whether systemd starts any unit of ours by itself.
fn is_enabled(units: &Path) -> bool {
    ["multi-user.target.wants", "sockets.target.wants"].iter().any(|target| {
        let entries = fs::read_dir(units.join(target)).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("hookbell"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn halves_and_absence_are_told_apart() {
        let (one, other) = (Some(u32::MAX), Some(u32::MAX - 1));
        for (receive, work, is_enabled, result, says) in [
            (one, one, true, Verdict::Ok, "running (pid 4294967295)"),
            (one, other, false, Verdict::Ok, "running (receive pid 4294967295, work pid 4294967294)"),
            (one, None, true, Verdict::Fail, "go nowhere"),
            (None, one, true, Verdict::Fail, "nothing is received"),
            (None, None, true, Verdict::Fail, "although it is enabled"),
            (None, None, false, Verdict::Warn, "not running"),
        ] {
            let check = judge(receive, work, is_enabled);
            assert!(check.result == result && check.said.contains(says), "{check:?}");
            assert_eq!(check.remedy.is_none(), result == Verdict::Ok);
        }
    }

    #[test]
    fn another_program_is_stale() {
        assert_eq!(stale(&json!({ "version": crate::VERSION }), &[std::process::id()]), None);
        assert_eq!(stale(&Value::Null, &[]), None);
        assert!(stale(&json!({ "version": "0.0.1" }), &[]).is_some_and(|said| said.contains("0.0.1")));
    }

    #[test]
    fn a_unit_of_ours_is_enabled_by_its_link() {
        let units = tempfile::tempdir().unwrap();
        assert!(!is_enabled(units.path()));
        let wants = units.path().join("sockets.target.wants");
        fs::create_dir(&wants).unwrap();
        fs::write(wants.join("other.socket"), "").unwrap();
        assert!(!is_enabled(units.path()));
        fs::write(wants.join("hookbell.socket"), "").unwrap();
        assert!(is_enabled(units.path()));
    }
}
