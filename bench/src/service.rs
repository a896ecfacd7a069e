//! A service in a process of its own, and hookbell as one.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{process, request::SECRET};

/// Nothing starts or ends as slowly as this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variables that hookbell has where it is installed, for what is measured: those of its unit, names and values.
pub fn unit_environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    variables(include_str!("../../systemd/hookbell.service"))
}

fn variables(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
}

/// A running process with a listener. Killed when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From exec to ready.
    pub ready_after: Duration,
    /// Reads what it says until its end, and keeps the lines about panics.
    reader: Option<JoinHandle<()>>,
    panics: Arc<Mutex<Vec<String>>>,
}

impl Service {
    /// Starts a command and waits until it says on standard error where it listens and that it is ready: `said` looks at
    /// each line and returns the address once it has seen both.
    ///
    /// # Errors
    /// When it does not start, or ends or says nothing within half a minute.
    pub fn start(mut command: Command, mut said: impl FnMut(&str) -> Option<SocketAddr>) -> io::Result<Service> {
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let (lines, log) = channel();
        // Goes on reading after that: a full pipe would stop the service.
        let panics = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&panics);
        let mut reader = Some(thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if line.contains("panicked") {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
                }
                // Nobody listens any more once it is ready.
                let _ = lines.send((Instant::now(), line));
            }
        }));
        let mut seen = Vec::new();
        loop {
            match log.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok((at, line)) => {
                    if let Some(address) = said(&line) {
                        let (ready_after, reader) = (at - start, reader.take());
                        return Ok(Service { child, address, ready_after, reader, panics });
                    }
                    seen.push(line);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    // It is of no use to anybody, ended or not.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(io::Error::other(format!("{command:?} did not get ready:\n{}", seen.join("\n"))));
                }
            }
        }
    }

    /// Starts a command whose standard error goes to the file `log`, so that nobody but the kernel is busy with what it
    /// says, and waits until `said` finds in all of it where it listens.
    ///
    /// # Errors
    /// When it does not start, or ends or says nothing within half a minute.
    pub fn start_logging(
        mut command: Command,
        log: &Path,
        mut said: impl FnMut(&str) -> Option<SocketAddr>,
    ) -> io::Result<Service> {
        /// Fine enough for a start that is told in milliseconds.
        const LOOK_AGAIN: Duration = Duration::from_micros(500);
        let file = File::create(log)?;
        let start = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn()?;
        loop {
            let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
            if let Some(address) = said(&text) {
                return Ok(Service {
                    child,
                    address,
                    ready_after: start.elapsed(),
                    reader: None,
                    panics: Arc::default(),
                });
            }
            if child.try_wait()?.is_some() || start.elapsed() > PATIENCE {
                // It is of no use to anybody, ended or not.
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::Error::other(format!("{command:?} did not get ready:\n{text}")));
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Starts this hookbell with its database and configuration in `home`. `role` is `run` or `receive`; `door` is more
    /// TOML for `[door]`.
    ///
    /// # Errors
    /// See [`start`](Service::start).
    pub fn hookbell(executable: &Path, home: &Path, role: &str, door: &str) -> io::Result<Service> {
        Service::hookbell_by(Command::new(executable), home, role, door)
    }

    /// The same with a command of the caller's, which gets the role as its last argument: a limit or another user may
    /// stand before it.
    ///
    /// # Errors
    /// See [`start`](Service::start).
    pub fn hookbell_by(command: Command, home: &Path, role: &str, door: &str) -> io::Result<Service> {
        let command = Service::hookbell_command(command, home, role, door)?;
        let mut address = None;
        Service::start(command, |line| {
            let listening = line.split("listening address=http://").nth(1);
            address = address.or_else(|| listening?.split_whitespace().next()?.parse().ok());
            address.filter(|_| line.contains("ready version="))
        })
    }

    /// Writes that configuration, and completes the command without starting it.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn hookbell_command(mut command: Command, home: &Path, role: &str, door: &str) -> io::Result<Command> {
        let configuration = home.join("hookbell.toml");
        // Several of them run on one machine.
        let panel = if door.contains("[panel]") { "" } else { "[panel]\nlisten = \"\"\n" };
        fs::write(
            &configuration,
            format!(
                "{panel}[door]\nlisten = \"127.0.0.1:0\"\n{door}\n[store]\nfree_min = 0\n\
                 [sources.github]\nprovider = \"github\"\nsecret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}\n"
            ),
        )?;
        command
            .arg(role)
            .current_dir(home)
            .env_clear()
            .envs(unit_environment())
            .env("HOOKBELL_CONFIG", &configuration)
            .env("GITHUB_WEBHOOK_SECRET", SECRET);
        Ok(command)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the kernel knows about it now.
    ///
    /// # Errors
    /// When it has ended.
    pub fn reading(&self) -> io::Result<process::Reading> {
        process::read(self.child.id())
    }

    /// The same of it and all its children together.
    ///
    /// # Errors
    /// When it has ended.
    pub fn reading_of_tree(&self) -> io::Result<process::Reading> {
        process::read_tree(self.child.id())
    }

    /// What, called after [`stop`](Service::stop), returns the lines in which its log speaks of panics.
    pub fn panics(&mut self) -> impl FnOnce() -> Vec<String> + use<> {
        let (reader, panics) = (self.reader.take(), Arc::clone(&self.panics));
        move || {
            // It ends with the pipe; its own panic has been printed.
            let _ = reader.map(JoinHandle::join);
            panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// When it does not end by itself within half a minute, or has ended badly.
    pub fn stop(self) -> io::Result<()> {
        match self.end()? {
            status if status.success() => Ok(()),
            status => Err(io::Error::other(format!("it ended with {status}"))),
        }
    }

    /// Asks it to end, and says how it did: a program that does not care about SIGTERM ends by it.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn end(mut self) -> io::Result<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() > deadline => return Err(io::Error::other("it does not end")),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_units_set_the_same_variables_and_what_is_measured_has_them() {
        let one: Vec<_> = unit_environment().collect();
        assert_eq!(one, [("MALLOC_ARENA_MAX", "2")]);
        let others = [
            include_str!("../../systemd/hookbell-receive.service"),
            include_str!("../../systemd/hookbell-work.service"),
        ];
        assert!(others.iter().all(|unit| variables(unit).eq(one.iter().copied())));
        let home = tempfile::tempdir().unwrap();
        let command = Service::hookbell_command(Command::new("hookbell"), home.path(), "run", "").unwrap();
        assert!(
            command
                .get_envs()
                .any(|(name, value)| name == "MALLOC_ARENA_MAX" && value.is_some_and(|value| value == "2"))
        );
    }
}
