//! A home of its own for each test: a temporary directory, the real executable, a stand-in for Slack.

pub(crate) mod github;
pub(crate) mod http;
pub(crate) mod slack;

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use hookbell::{
    provider::{
        Provider, Signing,
        sample::{self, Sample},
    },
    secret::Secret,
    time::Timestamp,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing here takes this long unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The secret of every test's source.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";

/// A directory that is gone after the test.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        Home { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("hookbell.db")
    }

    /// A configuration with a free port, a traced simulated desk and Slack at `slack`.
    pub(crate) fn configure(&self, slack: &str, more: &str) {
        let panel = if more.contains("[panel]") { "" } else { "[panel]\nlisten = \"localhost:0\"\n" };
        let text = format!(
            "{panel}[door]\nlisten = \"127.0.0.1:0\"\n\
             [store]\nfree_min = 0\n\
             [sources.github]\nprovider = \"github\"\nsecret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}\n\
             [sinks.slack]\nkind = \"slack\"\nwebhook_url = {{ env = \"SLACK_WEBHOOK_URL\" }}\n\
             interval = \"0 s\"\n\
             [sinks.bell]\nkind = \"bell\"\n\
             [retry]\nfirst = \"100 ms\"\ncap = \"1 s\"\n\
             [bell]\nboard = \"simulated\"\nleds = {{ red = 17, green = 27, blue = 22 }}\n\
             buzzer = {{ pin = 18, type = \"active\" }}\ntrace = {:?}\n{more}\n",
            self.path("trace.jsonl")
        );
        std::fs::write(self.path("hookbell.toml"), text).expect("the configuration is written");
        std::fs::write(self.path("slack.url"), slack).expect("the URL is written");
    }

    /// The executable in this home, with nothing of the outside environment but what it needs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookbell"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        measured(&mut command);
        command.env("HOOKBELL_CONFIG", self.path("hookbell.toml"));
        command.env("GITHUB_WEBHOOK_SECRET", SECRET);
        if let Ok(url) = std::fs::read_to_string(self.path("slack.url")) {
            command.env("SLACK_WEBHOOK_URL", url);
        }
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the executable starts")
    }

    /// Runs to the end, which must be a good one, and reads one JSON value per line.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout)
            .expect("UTF-8")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
            .collect()
    }

    /// Starts a service and waits until it is ready.
    pub(crate) fn start(&self, arguments: &[&str]) -> Service {
        Service::start(self.command(arguments))
    }

    /// Asks until the answer is right; what is asked changes by other processes' work.
    pub(crate) fn wait_for<T>(&self, what: &str, ask: impl Fn(&Home) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
            // Each question is a process of its own or a look into a file: it paces itself.
            thread::yield_now();
        }
    }

    /// The edges in the trace so far.
    pub(crate) fn trace(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("trace.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("an edge is one JSON line")).collect()
    }
}

/// Under `scripts/coverage`, says where what this process runs through is counted.
pub(crate) fn measured(command: &mut Command) {
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", profile);
    }
}

/// A running executable with its log.
pub(crate) struct Service {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    /// Where the door listens, `http://…` or `unix:…`; empty when there is no door.
    pub(crate) door: String,
    /// Where the panel does.
    pub(crate) panel: String,
}

impl Service {
    pub(crate) fn start(mut command: Command) -> Service {
        Service::begin(command.stdout(Stdio::null()))
    }

    /// The same with what it prints in a file.
    pub(crate) fn start_printing(command: &mut Command, into: &Path) -> Service {
        Service::begin(command.stdout(std::fs::File::create(into).expect("a new file")))
    }

    fn begin(command: &mut Command) -> Service {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the executable starts");
        let stderr = child.stderr.take().expect("a pipe");
        let (lines, log) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Service { child, log, seen: Vec::new(), door: String::new(), panel: String::new() };
        service.wait_for_log("ready version=");
        let listening = service.seen.iter().find_map(|line| line.split("listening address=").nth(1));
        service.door = listening.unwrap_or_default().to_owned();
        let panel = service.seen.iter().find_map(|line| line.split("panel address=").nth(1));
        service.panel =
            panel.and_then(|rest| rest.split(' ').next()).unwrap_or_default().trim_end_matches('/').to_owned();
        service
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that contains this, and returns it.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no log line with {part:?} in:\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// Every log line so far.
    pub(crate) fn log(&mut self) -> &[String] {
        while let Ok(line) = self.log.try_recv() {
            self.seen.push(line);
        }
        &self.seen
    }

    /// SIGTERM, and the end. A bad end shows the log.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let status = self.wait();
        if !status.success() {
            println!("{status}; log:\n{}", self.log().join("\n"));
        }
        status
    }

    /// SIGKILL: no chance to do anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.wait();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it was running");
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; log:\n{}", self.log().join("\n"));
            thread::yield_now();
        }
    }

    /// See [`post_sample`].
    /// Posts how a run of a workflow on main of acme/api ended; its delivery's id.
    pub(crate) fn post_run(&self, workflow: &str, number: i64, conclusion: &str) -> i64 {
        let body = serde_json::json!({ "action": "completed",
            "workflow_run": { "name": workflow, "run_number": number, "run_attempt": 1, "conclusion": conclusion,
                "head_branch": "main", "head_repository": { "full_name": "acme/api" } },
            "repository": { "full_name": "acme/api" }, "sender": { "login": "otto" } });
        let guid = format!("{workflow}-{number}-{conclusion}");
        let (status, answer) = self.post("workflow_run", &guid, body.to_string().as_bytes());
        assert_eq!(status, 200, "{answer}");
        answer["event_id"].as_i64().expect("an id")
    }

    pub(crate) fn post_sample(&self, name: &str, salt: u64) -> (u16, Value) {
        post_sample(&self.door, name, salt)
    }

    /// Signs and POSTs a body of the test's own.
    pub(crate) fn post(&self, event: &str, guid: &str, body: &[u8]) -> (u16, Value) {
        let answer = http::post(&self.door, "/webhooks/github", &signed(event, guid, body), body).expect("an answer");
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }
}

/// Signs a sample and POSTs it. Returns the status and the answer.
pub(crate) fn post_sample(door: &str, name: &str, salt: u64) -> (u16, Value) {
    let sample = sign(sample::build(Provider::GitHub, name, salt).expect("a known sample"));
    let answer = http::post(door, "/webhooks/github", &sample.headers, &sample.body).expect("an answer");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

/// The headers that GitHub would send with this body.
pub(crate) fn signed(event: &str, guid: &str, body: &[u8]) -> Vec<(String, String)> {
    signed_by(SECRET, event, guid, body)
}

/// The same by another secret.
pub(crate) fn signed_by(secret: &str, event: &str, guid: &str, body: &[u8]) -> Vec<(String, String)> {
    let sample = Sample::json(event, body).with("X-GitHub-Event", event).with("X-GitHub-Delivery", guid);
    sign_by(secret, sample).headers
}

fn sign(sample: Sample) -> Sample {
    sign_by(SECRET, sample)
}

fn sign_by(secret: &str, mut sample: Sample) -> Sample {
    let secret = Secret::new(secret.to_owned()).expect("not empty");
    sample.sign(Provider::GitHub, &Signing::new(&secret, "", Timestamp::from_ms(0))).expect("GitHub takes any secret");
    sample
}

impl Drop for Service {
    fn drop(&mut self) {
        // A failed test must not leave its service behind; one that has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder of recorded requests, when this machine has it; says so when not.
pub(crate) fn vectors() -> Option<PathBuf> {
    let folder = match std::env::var_os("HOOKBELL_VECTORS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors"),
    };
    if folder.join("payloads/manifest.json").is_file() {
        return Some(folder);
    }
    println!("skipped: no recorded requests at {}; set HOOKBELL_VECTORS", folder.display());
    None
}
