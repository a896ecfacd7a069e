//! What happens to a process: killed, stopped and continued, in one part or in two.

use std::{
    fs, io,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    finding::Finding,
    scene::{Scenario, Scene, Setting},
    sender::{Promise, mark},
    stage::PATIENCE,
};
use rusqlite::Connection;
use rustix::process::Signal;

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[
    ("planted loss", planted),
    ("kill -9", kill),
    ("SIGSTOP and SIGCONT", stop),
    ("kill -9 of each half", kill_halves),
    ("two instances", second),
];

/// Longer than any pause of a door that nothing has happened to, on a busy machine.
pub(crate) const UNAFFECTED_MAX: Duration = Duration::from_secs(1);

/// A restart of a debug build on a small machine, with the database's opening.
const DEAF_MAX: Duration = Duration::from_secs(10);

/// No fault of the program's: what is judged by must be able to fail. A row is taken away, a body is changed, and a message is
/// counted as told that was not.
fn planted(setting: &Setting) -> io::Result<Finding> {
    let mut scene = Scene::begin(setting, "planted loss", |_, _| {})?;
    // Sent to nobody: as if it had been answered 200.
    scene.also_promised.push(Promise { id: "nobody-0".to_owned(), mark: mark("nobody", 0), sha256: [0; 32] });
    let mut finding = scene.conclude_after("two rows and one that was never sent", |scene| {
        let promised = scene.sender.promised();
        let [first, second, ..] = &promised[..] else { return Err(io::Error::other("too little was promised")) };
        let database = Connection::open(scene.stage.plan.database()).map_err(io::Error::other)?;
        let gone = "DELETE FROM body WHERE delivery = (SELECT id FROM delivery WHERE delivery_id = ?1)";
        let changed = "UPDATE body SET codec = 'raw', bytes = CAST('{}' AS BLOB) \
                       WHERE delivery = (SELECT id FROM delivery WHERE delivery_id = ?1)";
        for (statement, id) in [(gone, &first.id), (changed, &second.id)] {
            match database.execute(statement, [id]).map_err(io::Error::other)? {
                1 => {}
                count => return Err(io::Error::other(format!("{count} rows of {id} were changed"))),
            }
        }
        Ok(())
    })?;
    let lost = std::mem::take(&mut finding.lost);
    finding.expect(lost.len() == 3, || format!("expected that 3 losses are noticed, and these were: {lost:?}"));
    finding.told = format!("the harness noticed {} of 3", lost.len());
    Ok(finding)
}

fn kill(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "kill -9", |_, _| {})?;
    let kills = setting.pick(4, 40);
    for kill in 0..kills {
        // Not at a moment that anything else chooses.
        thread::sleep(Duration::from_millis(150 + setting.choose(kill, 700)));
        scene.stage.kill(None)?;
        scene.recover()?;
    }
    let restarts = scene.stage.restarts();
    let mut finding = scene.conclude(&format!("{kills} × under load"))?;
    finding.expect(u64::from(restarts) == kills, || format!("expected {kills} restarts, and there were {restarts}"));
    finding.expect(finding.deaf < DEAF_MAX, || "it was deaf for longer than a restart takes".to_owned());
    Ok(finding)
}

fn stop(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "SIGSTOP and SIGCONT", |_, _| {})?;
    // Shorter than a sender's patience, and longer.
    let spans = setting.pick(vec![3], vec![3, 30, 5]);
    for seconds in &spans {
        let begun = Instant::now();
        scene.stage.signal(None, Signal::STOP)?;
        thread::sleep(Duration::from_secs(*seconds));
        scene.stage.signal(None, Signal::CONT)?;
        scene.recover()?;
        let heard = scene.sender.deaf(begun, begun + Duration::from_secs(*seconds));
        if heard + Duration::from_millis(500) < Duration::from_secs(*seconds) {
            return Err(io::Error::other("a stopped process answered: the harness is wrong"));
        }
    }
    let longest = spans.iter().copied().max().unwrap_or(0);
    let words: Vec<String> = spans.iter().map(|seconds| format!("{seconds} s")).collect();
    let mut finding = scene.conclude(&words.join(", "))?;
    finding.expect(finding.restarts == 0, || "expected that it goes on, and it was started again".to_owned());
    finding.expect(finding.deaf < Duration::from_secs(longest + 3), || {
        "it was deaf for longer than it was stopped".to_owned()
    });
    Ok(finding)
}

/// The split form: the door goes on while what is behind it is dead, and the other way round.
fn kill_halves(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "kill -9 of each half", |plan, _| plan.roles = vec!["receive", "work"])?;
    let rounds = setting.pick(2, 15);
    let mut deaf_behind = Duration::ZERO;
    for round in 0..rounds {
        thread::sleep(Duration::from_millis(100 + setting.choose(round, 400)));
        let begun = Instant::now();
        scene.stage.kill(Some("work"))?;
        scene.recover()?;
        scene.stage.wait_until_ready(PATIENCE)?;
        deaf_behind = deaf_behind.max(scene.sender.deaf(begun, Instant::now()));
        thread::sleep(Duration::from_millis(100 + setting.choose(round + 1000, 400)));
        scene.stage.kill(Some("receive"))?;
        scene.recover()?;
    }
    let restarts = scene.stage.restarts();
    let mut finding = scene.conclude(&format!("{rounds} × work, {rounds} × receive"))?;
    let expected = 2 * rounds;
    finding
        .expect(u64::from(restarts) == expected, || format!("expected {expected} restarts, and there were {restarts}"));
    finding.expect(deaf_behind < UNAFFECTED_MAX, || {
        format!("the door was deaf for {:.2} s while only `work` was dead", deaf_behind.as_secs_f64())
    });
    Ok(finding)
}

/// Others want the same database, each form of them at another address.
fn second(setting: &Setting) -> io::Result<Finding> {
    let mut scene = Scene::begin(setting, "two instances", |_, _| {})?;
    let (plan, first) = (Arc::clone(&scene.stage.plan), scene.stage.pids());
    let Some(first) = first.first().map(|pid| pid.as_raw_nonzero().to_string()) else {
        return Err(io::Error::other("the first one does not run"));
    };
    // Not the port is what is to be in the way.
    let text = fs::read_to_string(plan.base.join("hookbell.toml"))?;
    let configuration = plan.base.join("second.toml");
    fs::write(&configuration, text.replace(&scene.stage.address.to_string(), "127.0.0.1:0"))?;
    scene.begins_now();
    let mut said = Vec::new();
    for role in ["run", "receive", "work"] {
        let log = plan.base.join(format!("second-{role}"));
        let mut command = plan.command(&[role]);
        command.env("HOOKBELL_CONFIG", &configuration).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() > deadline => break None,
                None => thread::sleep(Duration::from_millis(20)),
            }
        };
        if status.is_none() {
            child.kill()?;
            child.wait()?;
        }
        said.push((role, status, fs::read_to_string(&log)?));
    }
    let mut finding = scene.conclude("run, receive, work beside it")?;
    for (role, status, text) in &said {
        let ended = status.map_or("it goes on".to_owned(), |status| status.to_string());
        finding.expect(status.is_some_and(|status| !status.success()), || {
            format!("expected that a second `{role}` refuses to start: {ended}")
        });
        finding.expect(text.contains(&format!("process {first} already")), || {
            format!("expected that a second `{role}` names process {first}, and it said: {}", text.trim())
        });
    }
    finding.told = said.first().map_or(String::new(), |(.., text)| {
        text.lines().last().unwrap_or_default().replace(&plan.base.display().to_string(), "…")
    });
    finding.expect(finding.restarts == 0, || "the first one was started again".to_owned());
    finding.expect(finding.deaf < UNAFFECTED_MAX, || "the first one was deaf".to_owned());
    finding.expect(finding.refused.is_empty(), || "the first one has refused deliveries".to_owned());
    Ok(finding)
}
