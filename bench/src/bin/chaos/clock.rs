//! A clock that is wrong, and then another: while it runs and across a restart. The program is told the time by
//! libfaketime, which leaves the boot clock alone, as a jump of the real one does.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use hookbell_bench::{
    finding::Finding,
    scene::{Scenario, Scene, Setting},
    slack::Mode,
};

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[("clock jumps", jumps)];

const FAULT: &str = "clock jumps";
const DAY: i64 = 24 * 60 * 60;
/// Nothing waits for the clock: only the restarts are heard.
const DEAF_MAX: Duration = Duration::from_secs(10);
/// Long enough for retries, and for the router, to have seen the new time.
const LOOKED_AT: Duration = Duration::from_millis(1200);

fn jumps(setting: &Setting) -> io::Result<Finding> {
    let Some(library) = library() else {
        return Ok(Finding::skipped(FAULT, "libfaketime is not installed (Debian's package faketime)"));
    };
    let mut file = PathBuf::new();
    let mut scene = Scene::begin(setting, FAULT, |plan, _| {
        file = plan.base.join("faketime");
        // A jump of ten days would take all of it, if it aged anything.
        plan.store = "keep = \"5 days\"".to_owned();
        plan.slack = "[sinks.slack.retry]\nfirst = \"100 ms\"\ncap = \"1 s\"\ngive_up_after = \"1 h\"".to_owned();
        let variables = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        plan.environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
        // Without the file the time is the machine's.
    })?;
    scene.begins_now();
    // Some things wait, which a clock could make old.
    scene.slack.answer(Mode::Status(500));
    let live = setting.pick(vec![10 * DAY, -10 * DAY], vec![10 * DAY, -10 * DAY, 3600, 400 * DAY, -1500 * DAY, 90]);
    for offset_s in &live {
        set(&file, *offset_s)?;
        thread::sleep(LOOKED_AT);
        scene.recover()?;
    }
    // Across a restart: far ahead, before there was such a program (a Pi without a battery), and right again.
    let led = scene.status_led()?;
    let restarts = [400 * DAY, -3000 * DAY, 0];
    for offset_s in restarts {
        scene.stage.hold(true);
        scene.stage.kill(None)?;
        set(&file, offset_s)?;
        scene.stage.hold(false);
        scene.recover()?;
        thread::sleep(LOOKED_AT);
    }
    // It has to have seen them, or nothing was tried.
    let seen = scene.log().matches("the clock has stepped").count();
    let pruned = scene.log().contains("pruned deliveries=");
    let words = format!("{} × running, {} × across a restart, Slack down", live.len(), restarts.len());
    let mut finding = scene.conclude(&words)?;
    finding.desk = format!("{led}; {}", finding.desk);
    finding.expect(seen >= live.len(), || {
        format!("expected that each of {} jumps is noticed while it runs, and {seen} were", live.len())
    });
    finding.expect(!pruned, || "something was pruned".to_owned());
    finding.expect(finding.deaf < DEAF_MAX, || "it was deaf for longer than a restart takes".to_owned());
    Ok(finding)
}

/// In one step, so that nobody reads half of it.
fn set(file: &Path, offset_s: i64) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{offset_s:+}\n"))?;
    fs::rename(new, file)
}

/// For programs with threads, where Debian puts it on any architecture.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok).map(|entry| entry.path());
    folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}
