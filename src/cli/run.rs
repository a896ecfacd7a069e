//! `run`, `receive` and `work`: the services.

use super::{Failure, Global};
use crate::{
    daemon::{Daemon, Ending, Roles},
    systemd,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export GITHUB_WEBHOOK_SECRET=$(hookbell secret)
  export SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…
  hookbell run                                 everything in one process
  hookbell run --config hookbell.toml -v       with a file, and a talkative log

SIGTERM and SIGINT stop cleanly: what was accepted is answered, the bell goes dark.";

pub(super) const EXAMPLES_SPLIT: &str = "\
Examples:
  hookbell receive --config hookbell.toml &    the door; keeps what comes in even while nobody works
  hookbell work --config hookbell.toml         routes, sends, rings; told by the door through the control socket

Both read the same configuration and share the database file. Either may be restarted alone.";

pub(super) fn run(global: &Global, roles: Roles) -> Result<(), Failure> {
    let loaded = global.load()?;
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    let passed = systemd::take_sockets()
        .map_err(|error| Failure::Failed(format!("cannot use a socket that systemd passes: {error}")))?;
    let daemon = Daemon::start(&loaded.settings, roles, passed).map_err(|error| Failure::Failed(error.to_string()))?;
    log::info!("ready version={} revision={} pid={}", crate::VERSION, crate::REVISION, std::process::id());
    let ending = daemon.wait();
    if let Ending::Signal(signal) = &ending {
        log::info!("stopping signal={signal}");
    }
    daemon.stop();
    match ending {
        Ending::Signal(_) | Ending::Asked => {
            log::info!("stopped");
            Ok(())
        }
        Ending::Thread(name) => Err(Failure::Failed(format!("the thread {name} has ended unexpectedly"))),
    }
}
