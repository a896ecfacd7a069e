//! A whole hookbell to do harm to: a folder of its own, a configuration, the executable, and a keeper that starts it again
//! when it ends, as systemd would. Owns its processes; refuses to know what harm is done.

use std::{
    fs::{self, OpenOptions},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hookbell::bell::Edge;
use rusqlite::Connection;
use rustix::process::{Pid, Resource, Signal, WaitId, WaitIdOptions, getrlimit, kill_process, waitid};
use serde_json::Value;

use crate::request::SECRET;

/// Nothing here takes as long as this unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A wrong configuration: systemd would try it again, too, but here it is a mistake of the scenario.
const EXIT_CONFIGURATION: i32 = 78;
/// Ports in which the kernel takes none for who only calls; a caller that gets the door's own port would connect to itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What to start, where and how.
pub struct Plan {
    /// The program.
    pub executable: PathBuf,
    /// Where configuration, log and trace are, which no fault reaches.
    pub base: PathBuf,
    /// Where the database is: beneath `base`, or on a file system that is ill.
    pub home: PathBuf,
    /// `run`, or `receive` and `work`.
    pub roles: Vec<&'static str>,
    /// Slack's webhook.
    pub slack_url: String,
    /// Where the panel listens, when there is one.
    pub panel: Option<SocketAddr>,
    /// Whether every edge of the desk is written down, which grows for as long as it runs.
    pub is_traced: bool,
    /// More keys for `[door]`.
    pub door: String,
    /// More keys for `[store]`.
    pub store: String,
    /// More keys for `[sinks.slack]`.
    pub slack: String,
    /// More sections.
    pub more: String,
    /// More variables.
    pub environment: Vec<(String, String)>,
    /// The user who runs it, when it is not the one who asks.
    pub user: Option<u32>,
    /// What stands before the executable: a limit, a namespace. It has to end in `exec`, so that the pid is the program's.
    pub wrapper: Vec<String>,
    /// How long after its end it is started again.
    pub restart_after: Duration,
    /// More restarts than this are a loop, and end it.
    pub restarts_max: u32,
}

impl Plan {
    /// The ordinary one in this folder, which exists.
    pub fn new(executable: &Path, base: &Path, slack_url: String) -> Plan {
        Plan {
            executable: executable.to_owned(),
            base: base.to_owned(),
            home: base.join("home"),
            roles: vec!["run"],
            slack_url,
            panel: None,
            is_traced: true,
            door: String::new(),
            store: String::new(),
            slack: String::new(),
            more: String::new(),
            environment: Vec::new(),
            user: None,
            wrapper: Vec::new(),
            restart_after: Duration::from_millis(100),
            restarts_max: 50,
        }
    }

    /// Beside which the control socket and the locks are, too.
    pub fn database(&self) -> PathBuf {
        self.home.join("hookbell.db")
    }

    fn trace(&self) -> PathBuf {
        self.base.join("trace.jsonl")
    }

    /// Each process has its own.
    pub fn log(&self, role: &str) -> PathBuf {
        self.base.join(format!("log-{role}"))
    }

    fn configure(&self, address: SocketAddr) -> io::Result<()> {
        let panel = self.panel.map_or_else(String::new, |address| address.to_string());
        let trace = if self.is_traced { self.trace() } else { PathBuf::new() };
        // One message for each event: a digest names a few of many, and every mark has to be found.
        let text = format!(
            "[door]\nlisten = \"{address}\"\n{}\n[panel]\nlisten = \"{panel}\"\n\
             [store]\npath = {:?}\nfree_min = 0\n{}\n\
             [health]\ntell_after = \"1 s\"\n\
             [sources.github]\nprovider = \"github\"\nsecret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}\n\
             [sinks.slack]\nkind = \"slack\"\nwebhook_url = {{ env = \"SLACK_WEBHOOK_URL\" }}\n\
             interval = \"0 s\"\nbacklog_digest_at = 0\n{}\n\
             [sinks.bell]\nkind = \"bell\"\n\
             [retry]\nfirst = \"100 ms\"\ncap = \"1 s\"\n\
             [bell]\nboard = \"simulated\"\nleds = {{ red = 17, green = 27, blue = 22 }}\nstatus = 24\n\
             buzzer = {{ pin = 18, type = \"active\" }}\ntrace = {trace:?}\n{}\n",
            self.door,
            self.database(),
            self.store,
            self.slack,
            self.more
        );
        fs::write(self.base.join("hookbell.toml"), text)
    }

    /// The program with these arguments in this place.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.complete(Command::new(&self.executable), arguments)
    }

    fn wrapped(&self, role: &str) -> Command {
        let Some((first, others)) = self.wrapper.split_first() else { return self.command(&[role]) };
        let mut command = Command::new(first);
        command.args(others).arg(&self.executable);
        self.complete(command, &[role])
    }

    fn complete(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(&self.base)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOOKBELL_CONFIG", self.base.join("hookbell.toml"))
            .env("GITHUB_WEBHOOK_SECRET", SECRET)
            .env("SLACK_WEBHOOK_URL", &self.slack_url)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

#[derive(Debug)]
struct Process {
    role: &'static str,
    pid: Option<Pid>,
    /// Where its own part of its role's log begins.
    log_from: u64,
    starts: u32,
    ends: Vec<String>,
    is_good_end: bool,
    /// The keeper keeps nothing any more, and why when it was not asked for.
    over: Option<Option<String>>,
}

#[derive(Debug)]
struct State {
    processes: Vec<Process>,
    /// To be started again when it ends.
    is_wanted: bool,
    /// Nothing is started for now; what has ended waits.
    is_held: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hookbell with its keeper. Both are gone when it is dropped.
pub struct Stage {
    /// What was asked for.
    pub plan: Arc<Plan>,
    /// The door's, the same after each restart.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    keepers: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Writes the configuration, starts everything, and waits until it is ready.
    ///
    /// # Errors
    /// When a file cannot be written, or it does not get ready.
    pub fn start(plan: Plan) -> io::Result<Stage> {
        let address = free_address()?;
        fs::create_dir_all(&plan.home)?;
        plan.configure(address)?;
        if let Some(user) = plan.user {
            for path in [&plan.base, &plan.home] {
                std::os::unix::fs::chown(path, Some(user), Some(user))?;
            }
        }
        let process = |role: &&'static str| Process {
            role,
            pid: None,
            log_from: 0,
            starts: 0,
            ends: Vec::new(),
            is_good_end: false,
            over: None,
        };
        let processes = plan.roles.iter().map(process).collect();
        let state = State { processes, is_wanted: true, is_held: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let plan = Arc::new(plan);
        let mut stage = Stage { plan: Arc::clone(&plan), address, shared, keepers: Vec::new() };
        for index in 0..plan.roles.len() {
            let (plan, shared) = (Arc::clone(&plan), Arc::clone(&stage.shared));
            let keeper = thread::Builder::new().name("keeper".to_owned()).spawn(move || keep(&plan, &shared, index))?;
            stage.keepers.push(keeper);
        }
        stage.wait_until_ready(PATIENCE)?;
        Ok(stage)
    }

    /// Waits until every process runs and has said that it is ready.
    ///
    /// # Errors
    /// When that does not happen in time; the end of the log is in the text.
    pub fn wait_until_ready(&self, patience: Duration) -> io::Result<()> {
        self.wait_until("readiness", patience, || {
            let said = |process: &Process| {
                let log = fs::read(self.plan.log(process.role)).unwrap_or_default();
                let from = usize::try_from(process.log_from).unwrap_or(usize::MAX).min(log.len());
                process.pid.is_some() && String::from_utf8_lossy(&log[from..]).contains("ready version=")
            };
            let state = self.shared.lock();
            if let Some(why) = state.processes.iter().find_map(|process| process.over.clone()) {
                return Err(io::Error::other(why.unwrap_or_else(|| "it was stopped".to_owned())));
            }
            Ok(state.processes.iter().all(said))
        })
    }

    /// Asks until it is so.
    ///
    /// # Errors
    /// When it is not in time, or it cannot be asked; the end of the log is in the text.
    pub fn wait_until(
        &self,
        what: &str,
        patience: Duration,
        mut is_so: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let error = match is_so() {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() < deadline => {
                    thread::sleep(LOOK_AGAIN);
                    continue;
                }
                Ok(false) => format!("{what} did not come within {} s", patience.as_secs()),
                Err(error) => format!("{what}: {error}"),
            };
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n  ");
            return Err(io::Error::other(format!("{error}; the log ends with\n  {end}")));
        }
    }

    /// Sends a signal to each process that runs, or to that of one role.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub fn signal(&self, role: Option<&str>, signal: Signal) -> io::Result<()> {
        // The keeper forgets a pid before it is free for others: under this lock it is still that process's.
        let state = self.shared.lock();
        for process in state.processes.iter().filter(|process| role.is_none_or(|role| process.role == role)) {
            if let Some(pid) = process.pid {
                kill_process(pid, signal)?;
            }
        }
        Ok(())
    }

    /// `kill -9`, of all or of one role, and their end. The keeper starts them again.
    ///
    /// # Errors
    /// See [`signal`](Stage::signal).
    pub fn kill(&self, role: Option<&str>) -> io::Result<()> {
        let of = |state: &State| -> Vec<(usize, u32)> {
            let chosen = state.processes.iter().enumerate();
            let chosen = chosen.filter(|(_, process)| role.is_none_or(|role| process.role == role));
            chosen.filter(|(_, process)| process.pid.is_some()).map(|(at, process)| (at, process.starts)).collect()
        };
        let killed = of(&self.shared.lock());
        self.signal(role, Signal::KILL)?;
        self.wait_until("the death of what was killed", PATIENCE, || {
            let now = of(&self.shared.lock());
            Ok(!killed.iter().any(|process| now.contains(process)))
        })
    }

    /// Whether what has ended stays so: while it is held, the keeper starts nothing.
    pub fn hold(&self, is_held: bool) {
        self.shared.lock().is_held = is_held;
        self.shared.changed.notify_all();
    }

    /// The pid of each process that runs now.
    pub fn pids(&self) -> Vec<Pid> {
        self.shared.lock().processes.iter().filter_map(|process| process.pid).collect()
    }

    /// So many resources at most from now on, for each process that runs. `None` is as many as they
    /// had.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub fn limit(&self, resource: Resource, most: Option<u64>) -> io::Result<()> {
        let name = match resource {
            Resource::Nofile => "nofile",
            Resource::Nproc => "nproc",
            Resource::Data => "data",
            other => return Err(io::Error::other(format!("no scenario has needed {other:?} so far"))),
        };
        // The hard limit stays as it was inherited: what is taken can be given back.
        let most = most.or(getrlimit(resource).maximum).map_or("unlimited".to_owned(), |most| most.to_string());
        for pid in self.pids() {
            // A program, because root in a container may not do this to another user's process, and that user may.
            let mut command = Command::new("prlimit");
            command.arg(format!("--pid={}", pid.as_raw_nonzero())).arg(format!("--{name}={most}:"));
            if let Some(user) = self.plan.user {
                command.uid(user).gid(user);
            }
            let output = command.output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(io::Error::other(format!("{command:?}: {said}")));
            }
        }
        Ok(())
    }

    /// How often the keeper had to start one again.
    pub fn restarts(&self) -> u32 {
        self.shared.lock().processes.iter().map(|process| process.starts.saturating_sub(1)).sum()
    }

    /// How the processes have ended so far, in words.
    pub fn ends(&self) -> Vec<String> {
        self.shared.lock().processes.iter().flat_map(|process| process.ends.clone()).collect()
    }

    /// Asks all to end, and waits for that.
    ///
    /// # Errors
    /// When one does not end within half a minute, has ended badly, or the keeper had given up before.
    pub fn stop(&mut self) -> io::Result<()> {
        self.shared.lock().is_wanted = false;
        self.shared.changed.notify_all();
        self.signal(None, Signal::TERM)?;
        self.wait_until("the orderly end", PATIENCE, || {
            Ok(self.shared.lock().processes.iter().all(|process| process.over.is_some()))
        })?;
        let state = self.shared.lock();
        if let Some(why) = state.processes.iter().find_map(|process| process.over.clone().flatten()) {
            return Err(io::Error::other(why));
        }
        match state.processes.iter().find(|process| !process.is_good_end) {
            Some(process) => {
                let last = process.ends.last().cloned().unwrap_or_default();
                Err(io::Error::other(format!("`{}` ended with {last}", process.role)))
            }
            None => Ok(()),
        }
    }

    /// All that was said so far, by each process.
    pub fn log(&self) -> String {
        let logs = self.plan.roles.iter().map(|role| fs::read(self.plan.log(role)).unwrap_or_default());
        logs.map(|log| String::from_utf8_lossy(&log).into_owned()).collect()
    }

    /// The edges of the desk so far. What a killed process has written half is left out.
    pub fn trace(&self) -> Vec<Edge> {
        let text = fs::read_to_string(self.plan.trace()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// `hookbell status --json`.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn status_json(&self) -> io::Result<Value> {
        let text = self.ask(&["status", "--json"])?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }

    /// `hookbell sql --json`: one object for each row.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn sql(&self, query: &str) -> io::Result<Vec<Value>> {
        let text = self.ask(&["sql", "--json", query])?;
        text.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
    }

    /// The one number that a query asks for.
    ///
    /// # Errors
    /// When it fails, or the answer is another.
    pub fn count(&self, query: &str) -> io::Result<u64> {
        let rows = self.sql(query)?;
        let first = rows.first().and_then(|row| row.as_object()?.values().next()?.as_u64());
        first.ok_or_else(|| io::Error::other(format!("expected one number, and got {rows:?} from {query}")))
    }

    fn ask(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.plan.command(arguments).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("hookbell {}: {}", arguments.join(" "), said.trim())));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }

    /// What SQLite finds wrong with the file; nothing must run.
    ///
    /// # Errors
    /// When it cannot be opened at all.
    pub fn unsoundness(&self) -> io::Result<Option<String>> {
        let check =
            |database: Connection| database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
        let said = Connection::open(self.plan.database()).and_then(check).map_err(io::Error::other)?;
        Ok((said != "ok").then_some(said))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shared.lock().is_wanted = false;
        self.shared.changed.notify_all();
        // Gone already is as good. A stopped process dies by this, too.
        let _ = self.signal(None, Signal::KILL);
        for keeper in self.keepers.drain(..) {
            // A panic there has been printed already.
            let _ = keeper.join();
        }
    }
}

/// An address at which nobody listens, and which no caller is given as its own.
///
/// # Errors
/// When there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    // Several look at the same time, also in other processes; each begins somewhere else.
    let begin = u16::try_from(std::process::id().wrapping_mul(7919) % 12_000).unwrap_or(0);
    static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for step in 0..PORTS.end - PORTS.start {
        let port = PORTS.start + (begin + step) % (PORTS.end - PORTS.start);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.push(port);
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
    }
    Err(io::Error::other("no port is free"))
}

fn keep(plan: &Plan, shared: &Shared, index: usize) {
    let why = match keep_one(plan, shared, index) {
        Ok(()) => None,
        Err(error) => Some(format!("the keeper of `{}` gives up: {error}", plan.roles[index])),
    };
    shared.lock().processes[index].over = Some(why);
    shared.changed.notify_all();
}

fn keep_one(plan: &Plan, shared: &Shared, index: usize) -> io::Result<()> {
    loop {
        let mut child = {
            let mut state = shared.lock();
            while state.is_held && state.is_wanted {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if !state.is_wanted {
                return Ok(());
            }
            let log = OpenOptions::new().create(true).append(true).open(plan.log(plan.roles[index]))?;
            let log_from = log.metadata()?.len();
            let child = wrapped(plan, index, log)?;
            let process = &mut state.processes[index];
            process.pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            (process.log_from, process.starts) = (log_from, process.starts + 1);
            child
        };
        let status = wait(&mut child, shared, index)?;
        let mut state = shared.lock();
        let process = &mut state.processes[index];
        process.ends.push(status.to_string());
        process.is_good_end = status.success();
        let starts = process.starts;
        if !state.is_wanted {
            return Ok(());
        }
        if status.code() == Some(EXIT_CONFIGURATION) {
            return Err(io::Error::other("the configuration is wrong"));
        }
        if starts > plan.restarts_max {
            return Err(io::Error::other(format!("it was started {starts} times, and ended last with {status}")));
        }
        // Woken sooner when nobody wants it any more.
        drop(shared.changed.wait_timeout_while(state, plan.restart_after, |state| state.is_wanted));
    }
}

fn wrapped(plan: &Plan, index: usize, log: fs::File) -> io::Result<Child> {
    plan.wrapped(plan.roles[index]).stdout(Stdio::null()).stderr(log).spawn()
}

/// Waits for the end without giving the pid back to the kernel before it is forgotten here.
fn wait(child: &mut Child, shared: &Shared, index: usize) -> io::Result<ExitStatus> {
    let pid = shared.lock().processes[index].pid;
    if let Some(pid) = pid {
        while let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            if error != rustix::io::Errno::INTR {
                return Err(error.into());
            }
        }
    }
    shared.lock().processes[index].pid = None;
    shared.changed.notify_all();
    child.wait()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that says it is ready and ends well when it is asked to; or whatever else `script` is.
    fn plan(folder: &Path, script: &str) -> Plan {
        let mut plan = Plan::new(Path::new("/nonexistent"), folder, String::new());
        plan.wrapper = ["sh", "-c", script].map(str::to_owned).to_vec();
        plan
    }

    const WELL: &str = "trap 'exit 0' TERM; echo 'ready version=0' >&2; while :; do sleep 0.02; done";

    #[test]
    fn what_was_killed_is_started_again_and_what_was_stopped_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut stage = Stage::start(plan(folder.path(), WELL)).unwrap();
        let before = stage.pids();
        stage.kill(None).unwrap();
        stage.wait_until_ready(PATIENCE).unwrap();
        assert_ne!(stage.pids(), before);
        assert_eq!(stage.restarts(), 1);
        stage.stop().unwrap();
        assert!(stage.pids().is_empty());
        assert_eq!((stage.restarts(), stage.ends().len()), (1, 2));
    }

    #[test]
    fn what_is_held_stays_dead_until_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::start(plan(folder.path(), WELL)).unwrap();
        stage.hold(true);
        stage.kill(None).unwrap();
        assert!(stage.wait_until_ready(Duration::from_millis(300)).is_err());
        stage.hold(false);
        stage.wait_until_ready(PATIENCE).unwrap();
    }

    #[test]
    fn a_bad_end_and_a_loop_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let bad = WELL.replace("exit 0", "exit 3");
        let mut stage = Stage::start(plan(folder.path(), &bad)).unwrap();
        assert!(stage.stop().unwrap_err().to_string().contains("exit status: 3"));

        let mut plan = plan(folder.path(), "exit 1");
        (plan.restarts_max, plan.restart_after) = (2, Duration::ZERO);
        let Err(error) = Stage::start(plan) else { panic!("it never got ready") };
        assert!(error.to_string().contains("started 3 times"), "{error}");
    }
}
