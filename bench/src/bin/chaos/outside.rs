//! What is outside is ill: Slack hangs, or its name cannot be found. The door must not notice.

use std::{
    fs, io,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    finding::Finding,
    scene::{Scenario, Scene, Setting},
    slack::Mode,
};

use crate::{limits::shell, name_server::NameServer, process::UNAFFECTED_MAX};

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[("Slack hangs", hang), ("DNS dead", names)];

/// The one name to which a webhook may be called in the clear. In the namespace no file knows it.
const HOST: &str = "localhost";
/// Five failures in a row, each as long as an answer is waited for, and a look every five seconds.
const HANG_SHOWN_WITHIN: Duration = Duration::from_secs(80);
/// The same where each failure is quick.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

fn hang(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "Slack hangs", |_, _| {})?;
    scene.slack.answer(Mode::Hang);
    let begun = Instant::now();
    let mut led = String::new();
    scene.stage.wait_until("the sign of it at the desk", HANG_SHOWN_WITHIN, || {
        thread::sleep(Duration::from_millis(500));
        led = scene.status_led()?;
        Ok(led.contains("sink down"))
    })?;
    let shown_after = begun.elapsed();
    thread::sleep(Duration::from_secs(setting.pick(1, 60)));
    let (lasts, waiting) = (begun.elapsed(), scene.unsettled()?);
    scene.slack.answer(Mode::Ok);
    let mut finding = scene.conclude(&format!("{:.0} s, {waiting} waited", lasts.as_secs_f64()))?;
    finding.desk = format!("{led} after {:.0} s; {}", shown_after.as_secs_f64(), finding.desk);
    finding.expect(waiting > 0, || "expected that something waits for Slack, and nothing did".to_owned());
    door_unaffected(&mut finding);
    Ok(finding)
}

fn names(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "DNS dead";
    let may = Command::new("unshare").args(["--mount", "true"]).output();
    if !may.as_ref().is_ok_and(|output| output.status.success()) {
        return Ok(Finding::skipped(FAULT, "this machine does not let us make a mount namespace"));
    }
    let server = match NameServer::start() {
        Ok(server) => server,
        Err(error) => return Ok(Finding::skipped(FAULT, format!("no name server on loopback: {error}"))),
    };
    let mut written = Ok(());
    let scene = Scene::begin(setting, FAULT, |plan, slack| {
        plan.slack_url = slack.url_at(HOST);
        written = resolve_by(&server, &plan.base);
        let bind = "mount --bind resolv.conf /etc/resolv.conf && mount --bind nsswitch.conf /etc/nsswitch.conf";
        plan.wrapper = ["unshare", "--mount"].map(str::to_owned).into_iter().chain(shell(bind)).collect();
    })?;
    written?;
    scene.stage.wait_until("a first message by name", SHOWN_WITHIN, || Ok(!scene.slack.texts().is_empty()))?;
    let (asked, told) = (server.asked(), scene.slack.texts().len());
    server.live(false);
    let mut led = String::new();
    scene.stage.wait_until("the sign of it at the desk", SHOWN_WITHIN, || {
        thread::sleep(Duration::from_millis(500));
        led = scene.status_led()?;
        Ok(led.contains("sink down"))
    })?;
    thread::sleep(Duration::from_secs(setting.pick(2, 60)));
    let (asked, told) = (server.asked() - asked, scene.slack.texts().len() - told);
    let waiting = scene.unsettled()?;
    server.live(true);
    let mut finding = scene.conclude(&format!("{waiting} waited"))?;
    finding.desk = format!("{led}; {}", finding.desk);
    // Some may have been under way with an address that was known.
    finding.expect(asked > 0 && told < 10, || {
        format!("{told} messages came through a dead name server, {asked} questions: the harness is wrong")
    });
    finding.expect(waiting > 0, || "expected that something waits for Slack, and nothing did".to_owned());
    door_unaffected(&mut finding);
    Ok(finding)
}

fn door_unaffected(finding: &mut Finding) {
    finding.expect(finding.deaf < UNAFFECTED_MAX, || "the door was deaf".to_owned());
    finding.expect(finding.refused.is_empty(), || "the door has refused deliveries".to_owned());
    finding.expect(finding.restarts == 0, || "it was started again".to_owned());
}

/// What the C library is told in the namespace.
fn resolve_by(server: &NameServer, base: &Path) -> io::Result<()> {
    let resolv = format!("nameserver {}\noptions timeout:1 attempts:1\n", server.address());
    fs::write(base.join("resolv.conf"), resolv)?;
    fs::write(base.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: dns\n")
}
