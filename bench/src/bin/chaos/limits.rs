//! Too little of something: descriptors, threads, memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hookbell_bench::{
    finding::Finding,
    process,
    scene::{Scenario, Scene, Setting},
    sender::{Load, PATH, Sender},
    stage::Plan,
    wire::{Script, Step, Swarm},
};
use rustix::process::Resource;

/// In the order of the table.
pub(crate) const SCENARIOS: &[(&str, Scenario)] =
    &[("no descriptors", descriptors), ("no threads", threads), ("no memory", memory)];

/// More than the lack itself, and what it takes to notice that it is over.
const AFTERMATH_MAX: Duration = Duration::from_secs(10);

/// Below GitHub's own limit and hookbell's.
const LARGE_BODY_BYTES: usize = 24_000_000;

fn descriptors(setting: &Setting) -> io::Result<Finding> {
    let scene = Scene::begin(setting, "no descriptors", |_, _| {})?;
    let lasts = Duration::from_secs(setting.pick(2, 20));
    for spare in [2, 0] {
        let Some(pid) = scene.stage.pids().first().copied() else { return Err(io::Error::other("it does not run")) };
        // Numbers below the limit that are free now stay usable: none is, but those that connections have just left.
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count() as u64;
        scene.stage.limit(Resource::Nofile, Some(if spare == 0 { 4 } else { open + spare }))?;
        thread::sleep(lasts);
        scene.stage.limit(Resource::Nofile, None)?;
        scene.recover()?;
    }
    let led = scene.status_led()?;
    let seconds = lasts.as_secs();
    let mut finding = scene.conclude(&format!("2 spare for {seconds} s, none for {seconds} s"))?;
    finding.desk = format!("afterwards {led}; {}", finding.desk);
    finding.expect(finding.restarts == 0, || "expected that it goes on, and it was started again".to_owned());
    finding.expect(finding.deaf < lasts + AFTERMATH_MAX, || "it was deaf long after it had them again".to_owned());
    Ok(finding)
}

/// As a user who has no other processes: a limit on threads counts those of a user, and does not bind root.
fn threads(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "no threads";
    if !rustix::process::geteuid().is_root() {
        return Ok(Finding::skipped(FAULT, "only root can start a process as another user"));
    }
    let mut limit = PathBuf::new();
    let mut copied = Ok(0);
    let mut scene = Scene::begin(setting, FAULT, |plan, _| {
        plan.user = Some(40_000 + std::process::id() % 10_000);
        // Its own folders may be closed to others.
        let copy = plan.base.join("hookbell");
        copied = fs::copy(&plan.executable, &copy);
        plan.executable = copy;
        limit = plan.base.join("threads");
        // Set by the shell, because here it would bind this program too. The keeper tries until it can start.
        plan.wrapper = shell("if [ -e threads ]; then ulimit -u \"$(cat threads)\"; fi");
        plan.restarts_max = 500;
    })?;
    copied?;
    scene.begins_now();
    let lasts = Duration::from_secs(setting.pick(3, 20));
    // No more than there are.
    let pids = scene.stage.pids();
    let Some(pid) = pids.first().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) else {
        return Err(io::Error::other("it does not run"));
    };
    let most = process::read(pid)?.threads;
    scene.stage.limit(Resource::Nproc, Some(most))?;
    let heard = slow_clients(&scene, 60, lasts)?;
    let led = scene.status_led()?;
    scene.stage.limit(Resource::Nproc, None)?;
    scene.recover()?;
    let lived = scene.stage.restarts() == 0;
    // And one that is started with too few.
    fs::write(&limit, "6\n")?;
    scene.stage.kill(None)?;
    thread::sleep(lasts);
    fs::remove_file(&limit)?;
    scene.recover()?;
    let seconds = lasts.as_secs();
    let mut finding =
        scene.conclude(&format!("{most} and 60 slow clients for {seconds} s, started with 6 for {seconds} s"))?;
    finding.desk = format!("{led}; {}", finding.desk);
    finding.expect(lived, || "expected that it goes on without more threads, and it was started again".to_owned());
    finding.expect(heard < lasts, || "it was deaf as long as it had no more threads".to_owned());
    finding.expect(finding.deaf < lasts + AFTERMATH_MAX, || "it was deaf long after it had them again".to_owned());
    Ok(finding)
}

/// So many clients at once that take their time for a body, each for a thread; how long the door was deaf to others.
fn slow_clients(scene: &Scene, count: u64, lasts: Duration) -> io::Result<Duration> {
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    let script = Script::new(
        [
            Step::Send(Arc::from(head.into_bytes()), 1),
            Step::Drip(Arc::from(vec![b' '; 1000]), Duration::from_millis(50)),
        ],
        lasts,
    );
    let begun = Instant::now();
    let mut swarm = Swarm::new(scene.stage.address)?;
    (0..count).for_each(|tag| swarm.begin(tag, &script));
    while begun.elapsed() < lasts {
        swarm.turn(begun + lasts)?;
    }
    Ok(scene.sender.deaf(begun, Instant::now()))
}

/// The kernel kills who exceeds a limit, and the keeper starts it again: until what is too large has gone.
fn memory(setting: &Setting) -> io::Result<Finding> {
    const FAULT: &str = "no memory";
    let group = Group::make();
    let mut scene = Scene::begin(setting, FAULT, |plan, _| {
        plan.restarts_max = 500;
        if let Some(group) = &group {
            enter(plan, &group.folder);
        }
    })?;
    scene.begins_now();
    let Some(pid) = scene.stage.pids().first().map(|pid| pid.as_raw_nonzero().get().unsigned_abs()) else {
        return Err(io::Error::other("it does not run"));
    };
    // Enough for all that it does but for a body of the largest kind.
    let how = match &group {
        Some(group) => {
            let most = process::read(pid)?.resident_bytes + (16 << 20);
            group.limit(Some(most))?;
            format!("{} of {} MB", group.name, most >> 20)
        }
        None => {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let data =
                status.lines().find_map(|line| line.strip_prefix("VmData:")?.split_whitespace().next()?.parse().ok());
            let data: u64 = data.ok_or_else(|| io::Error::other("the kernel does not say how much data there is"))?;
            scene.stage.limit(Resource::Data, Some((data << 10) + (16 << 20)))?;
            "RLIMIT_DATA".to_owned()
        }
    };
    let lasts = Duration::from_secs(setting.pick(4, 30));
    let (every, patience) = (Duration::from_millis(400), Duration::from_secs(30));
    let (address, name) = (scene.stage.address, "large-s".to_owned());
    let mut large = Sender::start(Load { address, name, every, body_bytes: LARGE_BODY_BYTES, patience })?;
    thread::sleep(lasts);
    let deaths = scene.stage.ends();
    if let Some(group) = &group {
        group.limit(None)?;
    }
    // Two of the large ones must be taken now.
    let taken = large.wait_for_200s(2, Instant::now(), Duration::from_secs(40))?;
    large.stop()?;
    scene.recover()?;
    scene.also_promised.extend(large.promised());
    let large_ones = large.promised().len();
    let mut finding =
        scene.conclude(&format!("{how}, bodies of {} MB for {} s", LARGE_BODY_BYTES / 1_000_000, lasts.as_secs()))?;
    let first = deaths.first().cloned().unwrap_or_default();
    finding.told = format!("{} ends, {first}; {}", deaths.len(), finding.told.trim_start_matches('–'));
    finding.told = finding.told.trim_end_matches("; ").to_owned();
    finding.expect(!deaths.is_empty(), || "expected that the limit is exceeded, and it never was".to_owned());
    finding.expect(taken, || "expected that large bodies are taken again, and they were not".to_owned());
    finding.did = format!("{}, {large_ones} of them promised", finding.did);
    finding.expect(finding.deaf < lasts + AFTERMATH_MAX, || "it was deaf long after it had memory again".to_owned());
    Ok(finding)
}

/// What a shell does before it becomes the program.
pub(crate) fn shell(first: &str) -> Vec<String> {
    ["bash", "-c", &format!("{first} && exec \"$0\" \"$@\"")].map(str::to_owned).to_vec()
}

fn enter(plan: &mut Plan, group: &Path) {
    plan.wrapper = shell(&format!("echo $$ > '{}/cgroup.procs'", group.display()));
}

/// A control group with a limit on memory, of either version. Removed when it is dropped.
struct Group {
    folder: PathBuf,
    file: &'static str,
    name: &'static str,
}

impl Group {
    /// `None` where this machine has none that we may make.
    fn make() -> Option<Group> {
        let places = [
            ("/sys/fs/cgroup", "memory.max", "cgroup v2"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "cgroup v1"),
        ];
        for (parent, file, name) in places {
            let folder = Path::new(parent).join(format!("hookbell-chaos-{}", std::process::id()));
            if !Path::new(parent).join("cgroup.procs").exists() || fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Group { folder, file, name };
            if group.limit(None).is_ok() {
                return Some(group);
            }
        }
        None
    }

    fn limit(&self, bytes: Option<u64>) -> io::Result<()> {
        let none = if self.file == "memory.max" { "max" } else { "-1" };
        let text = bytes.map_or(none.to_owned(), |bytes| bytes.to_string());
        if bytes.is_some() {
            // What could be swapped out would only be slow. Not every kernel counts that.
            let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        }
        fs::write(self.folder.join(self.file), text)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("chaos: {} stays: {error}", self.folder.display());
        }
    }
}
