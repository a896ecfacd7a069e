//! A program of the user's own, started for each event. Owns one run: what it is told, how long it may take, what it
//! answered; refuses to know shells, and when to try again.
//!
//! The event stands as JSON on its standard input; its surroundings are empty but for what is listed here. It leads a
//! process group of its own, so that what it has started ends with it when its time is over. What it leaves behind when it
//! ends by itself is its own affair: its end is the end of the run, whoever still holds its output.

use std::{
    io::{self, ErrorKind, PipeReader, Read, Write},
    os::{
        fd::AsFd,
        unix::{
            fs::PermissionsExt,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, retry_on_intr},
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

use super::{
    Outcome, Parcel, Sink,
    answers::{configuration, harmless, transient},
    told::{self, Original},
};
use crate::threads::{STACK_BYTES, spawn};

/// What it finds as PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What is kept of its output.
const OUTPUT_BYTES_MAX: usize = 2048;
/// What is read at its end of what it has left in the pipes; who goes on writing is not waited for.
const LAST_BYTES_MAX: usize = 64 * 1024;
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// From SIGKILL until it is left to the kernel, which may hold it in a system call.
const DEATH_MAX: Duration = Duration::from_secs(1);

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const TRY_AGAIN: i32 = 75;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program's path, absolute, and its arguments; never empty.
    pub command: Vec<String>,
    /// How long it may take.
    pub time_limit: Duration,
    /// Where it stands.
    pub directory: PathBuf,
}

/// A program as a sink.
pub struct Exec {
    settings: Settings,
}

/// How a run ended.
enum End {
    /// By itself, or by a signal that was not ours.
    Status(ExitStatus),
    /// Its time was over.
    TooLong,
}

impl Exec {
    /// Runs as `settings` say.
    pub fn new(settings: Settings) -> Exec {
        Exec { settings }
    }

    /// Whether there is something to run. Nothing is.
    pub fn probe(&self) -> Outcome {
        let Settings { command, directory, .. } = &self.settings;
        let program = command.first().map_or("", String::as_str);
        if !directory.is_dir() {
            return configuration(format!("its directory {} is not there; make it", directory.display()));
        }
        match std::fs::metadata(program) {
            Ok(found) if !found.is_file() => configuration(format!("{program} is no file; mend `command`")),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => {
                cannot_start(program, &ErrorKind::PermissionDenied.into())
            }
            Ok(_) => Outcome::Done { receipt: Some(format!("{program} is there and executable")) },
            Err(error) => cannot_start(program, &error),
        }
    }

    fn command(&self, program: &str, parcel: &Parcel) -> Command {
        let Settings { command, directory, .. } = &self.settings;
        let mut made = Command::new(program);
        made.args(command.iter().skip(1))
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("HOOKBELL_KIND", &parcel.event.kind)
            .env("HOOKBELL_SEVERITY", parcel.event.severity.name())
            .env("HOOKBELL_REFERENCE", &parcel.reference)
            .current_dir(directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        made
    }

    fn run(&self, parcel: &Parcel) -> Outcome {
        let program = self.settings.command.first().map_or("", String::as_str);
        let run = match Run::begin(self.command(program, parcel)) {
            Ok(run) => run,
            Err(error) => return cannot_start(program, &error),
        };
        let mut input = told::data(parcel, Original::Unasked);
        input.push(b'\n');
        match run.finish(&input, self.settings.time_limit) {
            Ok((end, output)) => judge(program, &end, &harmless(&output, OUTPUT_BYTES_MAX), self.settings.time_limit),
            Err(error) => transient(format!("cannot watch {program}: {error}")),
        }
    }
}

impl Sink for Exec {
    /// Within the time limit and the few seconds that dying takes.
    fn deliver(&mut self, parcel: &Parcel) -> Outcome {
        self.run(parcel)
    }
}

/// What its end says. Programs that know sysexits.h can tell what never helps (64 to 78) from what comes right; of all
/// others a failure may be anything, so they get another chance.
fn judge(program: &str, end: &End, output: &str, time_limit: Duration) -> Outcome {
    let said = if output.is_empty() { String::new() } else { format!(": {output}") };
    let status = match end {
        End::TooLong => {
            let limit = time_limit.as_secs_f64();
            return transient(format!("{program} was stopped after {limit} s{said}"));
        }
        End::Status(status) => status,
    };
    match status.code() {
        Some(0) => Outcome::Done { receipt: Some(output.to_owned()).filter(|output| !output.is_empty()) },
        Some(code) if (64..=78).contains(&code) && code != TRY_AGAIN => {
            Outcome::Dead { reason: format!("{program} ended with {code}{said}") }
        }
        Some(code) => transient(format!("{program} ended with {code}{said}")),
        None => {
            let signal = status.signal().map_or("a signal".to_owned(), |signal| format!("signal {signal}"));
            transient(format!("{program} was ended by {signal}{said}"))
        }
    }
}

/// Nothing has run.
fn cannot_start(program: &str, error: &io::Error) -> Outcome {
    let reason = format!("cannot start {program}: {error}");
    match error.kind() {
        ErrorKind::NotFound => {
            configuration(format!("{reason}; install it, or mend `command` (or its first line, #!)"))
        }
        ErrorKind::PermissionDenied => configuration(format!("{reason}; chmod +x it, for the user hookbell runs as")),
        // A NUL in what the event says.
        ErrorKind::InvalidInput => Outcome::Dead { reason },
        _ => transient(reason),
    }
}

/// A program that runs. Its leader is not reaped before all is over: as long as it is there, be it as a zombie, no other
/// group can have its number.
struct Run {
    child: Child,
    group: Pid,
    /// Readable, at its end, when the leader has ended.
    ended: PipeReader,
    output: Vec<u8>,
}

impl Run {
    /// Starts it, and a thread that waits for its end.
    fn begin(mut command: Command) -> io::Result<Run> {
        let (ended, ends) = io::pipe()?;
        let child = command.spawn()?;
        let group = Pid::from_child(&child);
        let run = Run { child, group, ended, output: Vec::new() };
        let waiting = spawn("exec", STACK_BYTES, move || {
            // Its end, or that there is nothing to wait for: either way the pipe says that it is time to look.
            if let Err(error) =
                retry_on_intr(|| waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))
            {
                log::warn!("cannot wait for process {}: {error}", group.as_raw_nonzero());
            }
            drop(ends);
        });
        match waiting.map(drop).and_then(|()| run.set_nonblocking()) {
            Ok(()) => Ok(run),
            Err(error) => {
                run.send(Signal::KILL);
                run.reap_some_time();
                Err(error)
            }
        }
    }

    /// Where nobody can wait for a death that is near: by a thread of its own, or not at all. A zombie costs a number.
    fn reap_some_time(mut self) {
        let group = self.group.as_raw_nonzero();
        let reaping = spawn("exec", STACK_BYTES, move || drop(self.child.wait()));
        if let Err(error) = reaping {
            log::warn!("nobody reaps process {group}: {error}");
        }
    }

    /// Each end of a pipe has flags of its own: the program's is not touched.
    fn set_nonblocking(&self) -> io::Result<()> {
        let Child { stdin, stdout, stderr, .. } = &self.child;
        let fds = [stdin.as_ref().map(AsFd::as_fd), stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        for fd in fds.into_iter().flatten() {
            fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        }
        Ok(())
    }

    /// Sends everybody in the group a signal. That nobody is left is as good.
    fn send(&self, signal: Signal) {
        match kill_process_group(self.group, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                log::warn!("cannot end the process group {}: {error}", self.group.as_raw_nonzero());
            }
        }
    }

    /// Feeds it and listens until it ends or its time is over.
    fn finish(mut self, input: &[u8], time_limit: Duration) -> io::Result<(End, String)> {
        match self.until(Instant::now() + time_limit, input) {
            Ok(true) => {
                let output = self.said();
                Ok((End::Status(self.child.wait()?), output))
            }
            Ok(false) => {
                self.send(Signal::TERM);
                let waited = self.until(Instant::now() + GRACE, &[]);
                // Also when the leader has ended: who else is in the group may not have.
                self.send(Signal::KILL);
                let is_dead = waited? || self.until(Instant::now() + DEATH_MAX, &[])?;
                let output = self.said();
                match is_dead {
                    true => drop(self.child.wait()?),
                    false => self.reap_some_time(),
                }
                Ok((End::TooLong, output))
            }
            Err(error) => {
                self.send(Signal::KILL);
                self.reap_some_time();
                Err(error)
            }
        }
    }

    /// What it has said, with what is still in the pipes.
    fn said(&mut self) -> String {
        let mut rest = LAST_BYTES_MAX;
        while let heard @ 1.. = self.listen() {
            rest = rest.saturating_sub(heard);
            if rest == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Passes on and takes in until the leader has ended, which it says, or until the deadline.
    fn until(&mut self, deadline: Instant, mut input: &[u8]) -> io::Result<bool> {
        loop {
            if input.is_empty() {
                // So it reads the end.
                self.child.stdin = None;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
            let Child { stdin, stdout, stderr, .. } = &self.child;
            let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
            fds.extend(stdin.as_ref().map(|fd| PollFd::new(fd, PollFlags::OUT)));
            fds.extend(stdout.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            fds.extend(stderr.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
            let count = match poll(&mut fds, Some(&time)) {
                Err(Errno::INTR) => continue,
                count => count?,
            };
            let ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
            // The deadline counts also while there is always something to hear.
            if ended || count == 0 || left.is_zero() {
                return Ok(ended);
            }
            if let Some(stdin) = &mut self.child.stdin {
                match stdin.write(input) {
                    Ok(written) => input = &input[written..],
                    Err(error) if is_not_ready(&error) => {}
                    // It does not want to know any more, which is no failure of its.
                    Err(_) => input = &[],
                }
            }
            self.listen();
        }
    }

    /// Takes in what is there, a piece of each; says how many bytes.
    fn listen(&mut self) -> usize {
        take_in(&mut self.child.stdout, &mut self.output) + take_in(&mut self.child.stderr, &mut self.output)
    }
}

/// Reads once and keeps the first bytes of all; a pipe at its end is put away.
fn take_in<R: Read>(pipe: &mut Option<R>, output: &mut Vec<u8>) -> usize {
    let Some(reader) = pipe else { return 0 };
    let mut buffer = [0; 4096];
    match reader.read(&mut buffer) {
        Ok(count @ 1..) => {
            let room = OUTPUT_BYTES_MAX - output.len();
            output.extend(&buffer[..count.min(room)]);
            count
        }
        Err(error) if is_not_ready(&error) => 0,
        // Its end; or what it says is lost, and how it ends is not.
        Ok(0) | Err(_) => {
            *pipe = None;
            0
        }
    }
}

fn is_not_ready(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use serde_json::Value;

    use super::*;
    use crate::{event::Event, sink::Fault};

    const LONG: Duration = Duration::from_secs(60);

    fn exec(command: &[&str], time_limit: Duration, directory: &Path) -> Exec {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Exec::new(Settings { command, time_limit, directory: directory.to_owned() })
    }

    /// Runs a shell script as the program.
    fn script(text: &str, time_limit: Duration, directory: &Path) -> Outcome {
        // Given to a shell that is there already: a file that was just written may still be open in a fork of ours.
        exec(&["/bin/sh", "-c", text, "script", "an argument"], time_limit, directory)
            .deliver(&Parcel::of(Event::of("ci_failed")))
    }

    fn done(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        match script(text, LONG, directory.path()) {
            Outcome::Done { receipt } => receipt.unwrap_or_default(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn it_is_told_by_input_and_finds_nothing_of_ours_around() {
        let event: Value = serde_json::from_str(&done("cat")).unwrap();
        assert_eq!((&event["kind"], &event["reference"]), (&"ci_failed".into(), &"ref-1".into()));
        let around = done("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= | sort");
        assert_eq!(
            around,
            "HOOKBELL_KIND=ci_failed HOOKBELL_REFERENCE=ref-1 HOOKBELL_SEVERITY=info LANG=C.UTF-8 \
             PATH=/usr/local/bin:/usr/bin:/bin"
        );
        assert_eq!(done("echo \"$1\"; echo two >&2"), "an argument two");
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().canonicalize().unwrap();
        assert_eq!(script("pwd", LONG, &place), Outcome::Done { receipt: Some(place.display().to_string()) });
        // It need not listen, and need not say anything.
        assert_eq!(script("exec <&-; exit 0", LONG, &place), Outcome::Done { receipt: None });
    }

    #[test]
    fn what_it_says_is_kept_in_part_and_harmless() {
        let said = done("printf 'a\\033[31mb\\n'; head -c 3000000 /dev/zero | tr '\\0' x");
        assert!(said.starts_with("a [31mb xxx") && said.len() <= OUTPUT_BYTES_MAX, "{} {said:.20}", said.len());
    }

    #[test]
    fn the_end_decides() {
        let directory = tempfile::tempdir().unwrap();
        let ended = |text: &str| script(text, LONG, directory.path());
        assert_eq!(ended("echo no; exit 1"), transient("/bin/sh ended with 1: no".to_owned()));
        assert_eq!(ended("exit 75"), transient("/bin/sh ended with 75".to_owned()));
        assert_eq!(ended("exit 79"), transient("/bin/sh ended with 79".to_owned()));
        assert_eq!(ended("exit 63"), transient("/bin/sh ended with 63".to_owned()));
        for code in [64, 74, 76, 78] {
            let reason = format!("/bin/sh ended with {code}: bad");
            assert_eq!(ended(&format!("echo bad >&2; exit {code}")), Outcome::Dead { reason });
        }
        assert_eq!(ended("kill -9 $$"), transient("/bin/sh was ended by signal 9".to_owned()));
    }

    #[test]
    fn what_cannot_be_started_waits_for_repair() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("program");
        let deliver =
            || exec(&[file.to_str().unwrap()], LONG, directory.path()).deliver(&Parcel::of(Event::of("push")));
        let repair = |outcome: Outcome, remedy: &str| match outcome {
            Outcome::Retry { reason, fault: Fault::Configuration, .. } => assert!(reason.contains(remedy), "{reason}"),
            other => panic!("{other:?}"),
        };
        repair(deliver(), "install it");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        repair(deliver(), "chmod +x");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&file, "#!/no/such/interpreter\n").unwrap();
        repair(deliver(), "its first line");
    }

    /// Whether the process that wrote its number there is gone, or at least dead.
    fn is_gone(file: &Path) -> bool {
        let pid = fs::read_to_string(file).unwrap();
        match fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        }
    }

    #[test]
    fn when_its_time_is_over_all_of_its_group_end() {
        let directory = tempfile::tempdir().unwrap();
        // A grandchild that does not heed TERM and keeps the pipes; the leader waits for it.
        let text = "echo begun; sh -c 'trap \"\" TERM; echo $$ >grandchild; while :; do sleep 0.1; done' & wait";
        let begun = Instant::now();
        let outcome = script(text, Duration::from_millis(700), directory.path());
        assert_eq!(outcome, transient("/bin/sh was stopped after 0.7 s: begun".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(20));
        let grandchild = directory.path().join("grandchild");
        while !is_gone(&grandchild) {
            assert!(begun.elapsed() < LONG, "the grandchild lives on");
            std::thread::yield_now();
        }
        // A leader that does not heed it either.
        let outcome = script("trap '' TERM; while :; do sleep 0.1; done", Duration::from_millis(300), directory.path());
        assert_eq!(outcome, transient("/bin/sh was stopped after 0.3 s".to_owned()));
    }

    #[test]
    fn nobody_who_keeps_its_output_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let outcome = script("sleep 50 & echo $! >left; echo begun", LONG, directory.path());
        assert_eq!(outcome, Outcome::Done { receipt: Some("begun".to_owned()) });
        assert!(begun.elapsed() < Duration::from_secs(40));
        // It is not in the way of others, but it need not outlive this test.
        let left = fs::read_to_string(directory.path().join("left")).unwrap();
        assert!(Command::new("/bin/kill").arg(left.trim()).status().unwrap().success(), "it was left alone");
    }
}
