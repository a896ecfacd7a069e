//! `run`, `receive` and `work`: the services.

use std::{io::Write as _, net::Ipv4Addr};

use super::{Failure, Global};
use crate::{
    config::{self, Environment, Listen, Loaded, Settings},
    daemon::{Daemon, Ending, Roles},
    panel::Address,
    systemd,
    tunnel::{self, quick},
};

#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Let the world in for a first try: starts cloudflared and prints the webhook URLs; they are new at each start
    #[arg(long)]
    pub(super) quick_tunnel: bool,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  export GITHUB_WEBHOOK_SECRET=$(hookbell secret)
  export SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…
  hookbell run                                 everything in one process
  hookbell run --config hookbell.toml -v       with a file, and a talkative log
  hookbell run --quick-tunnel                  with a public address for a first try

SIGTERM and SIGINT stop cleanly: what was accepted is answered, the bell goes dark.";

pub(super) const EXAMPLES_SPLIT: &str = "\
Examples:
  hookbell receive --config hookbell.toml &    the door; keeps what comes in even while nobody works
  hookbell work --config hookbell.toml         routes, sends, rings; told by the door through the control socket

Both read the same configuration and share the database file. Either may be restarted alone.";

pub(super) fn run(global: &Global, roles: Roles) -> Result<(), Failure> {
    let settings = settled(global.load()?);
    until_the_end(start(&settings, roles)?)
}

/// The same with a tunnel that is a child of ours.
pub(super) fn with_quick_tunnel(global: &Global) -> Result<(), Failure> {
    let program = tunnel::program().ok_or_else(|| {
        Failure::Failed(format!("--quick-tunnel starts cloudflared, which is not installed; {}", tunnel::INSTALL))
    })?;
    let mut environment = Environment::of_process();
    environment.has_quick_tunnel = true;
    let mut settings = settled(global.load_in(environment, config::load)?);
    if let Listen::Unix(path) = &settings.door.listen {
        log::warn!("quick tunnels know no sockets: listening on this machine's own network, not at {}", path.display());
        settings.door.listen = Listen::Tcp((Ipv4Addr::LOCALHOST, 0).into());
    }
    let metrics = quick::free_address().map_err(|error| Failure::Failed(format!("no free port: {error}")))?;
    settings.tunnel.metrics.get_or_insert(metrics);
    // A name that the configuration has leads elsewhere.
    settings.tunnel.canary.iter_mut().for_each(|canary| canary.public_url = None);
    let mut daemon = start(&settings, Roles::All)?;
    let sources: Vec<String> = settings.sources.keys().cloned().collect();
    let started = daemon.start_quick_tunnel(program, metrics, move |url| announce(url, &sources));
    match started {
        Ok(()) => until_the_end(daemon),
        Err(error) => {
            daemon.stop();
            Err(Failure::Failed(error.to_string()))
        }
    }
}

fn announce(url: &str, sources: &[String]) {
    log::info!("quick tunnel: connected url={url}");
    let mut text = format!("\nThe world reaches this door at {url}\nTo paste where the webhooks are set up:\n\n");
    for source in sources {
        text += &format!("    {source:<12} {url}/webhooks/{source}\n");
    }
    text += "\nFor a first try: the name is new at each start, and `hookbell-tunnel` makes one that stays.\n";
    // Where nobody is left to read it, the log has it.
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        log::debug!("cannot write the output: {error}");
    }
}

fn settled(loaded: Loaded) -> Settings {
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    for note in config::notes(&loaded.settings) {
        log::info!("{note}");
    }
    loaded.settings
}

fn start(settings: &Settings, roles: Roles) -> Result<Daemon, Failure> {
    let passed = systemd::take_sockets()
        .map_err(|error| Failure::Failed(format!("cannot use a socket that systemd passes: {error}")))?;
    let is_first = !settings.store.path.exists();
    let daemon = Daemon::start(settings, roles, passed).map_err(|error| Failure::Failed(error.to_string()))?;
    log::info!("ready version={} revision={} pid={}", crate::VERSION, crate::REVISION, std::process::id());
    if is_first
        && let Some(address) = daemon.panel_address().and_then(Address::of)
        && let Err(error) = super::status::panel(&address)
    {
        // Where nobody is left to read it, the log has it.
        log::debug!("{error:?}");
    }
    Ok(daemon)
}

fn until_the_end(daemon: Daemon) -> Result<(), Failure> {
    let ending = daemon.wait();
    if let Ending::Signal(signal) = &ending {
        log::info!("stopping signal={signal}");
    }
    daemon.stop();
    ending.judged().map_err(Failure::Failed)?;
    log::info!("stopped");
    Ok(())
}
