//! A service in a process of its own, and hookbell as one.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{process, request::SECRET};

/// Nothing starts or ends as slowly as this unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running process with a listener. Killed when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From exec to ready.
    pub ready_after: Duration,
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
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // Nobody listens any more once it is ready.
                let _ = lines.send((Instant::now(), line));
            }
        });
        let mut seen = Vec::new();
        loop {
            match log.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok((at, line)) => {
                    if let Some(address) = said(&line) {
                        return Ok(Service { child, address, ready_after: at - start });
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
                return Ok(Service { child, address, ready_after: start.elapsed() });
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
        let command = Service::hookbell_command(executable, home, role, door)?;
        let mut address = None;
        Service::start(command, |line| {
            let listening = line.split("listening address=http://").nth(1);
            address = address.or_else(|| listening?.split_whitespace().next()?.parse().ok());
            address.filter(|_| line.contains("ready version="))
        })
    }

    /// Writes that configuration, and makes the command of [`hookbell`](Service::hookbell) without starting it.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn hookbell_command(executable: &Path, home: &Path, role: &str, door: &str) -> io::Result<Command> {
        let configuration = home.join("hookbell.toml");
        fs::write(
            &configuration,
            format!(
                "[door]\nlisten = \"127.0.0.1:0\"\n{door}\n[store]\nfree_min = 0\n\
                 [sources.github]\nprovider = \"github\"\nsecret = {{ env = \"GITHUB_WEBHOOK_SECRET\" }}\n"
            ),
        )?;
        let mut command = Command::new(executable);
        command
            .arg(role)
            .current_dir(home)
            .env_clear()
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
