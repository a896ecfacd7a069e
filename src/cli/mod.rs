//! The command line: one file per command. Owns arguments, help, exit codes and what is printed; every command is thin
//! over the modules that do the work.

mod backup;
mod bell;
mod catch;
mod check;
mod deliveries;
mod demo;
mod desk_screen;
mod doctor;
mod explain;
mod github;
mod import;
mod init;
mod run;
mod secret;
mod send;
mod sql;
mod status;
mod storage;
mod story;
mod surroundings;
mod table;
mod try_desk;
mod verify;
mod versions;
mod wiring;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    config::{self, Environment, Loaded, Settings, Source},
    provider::Provider,
    secret::Secret,
    store::StoreError,
};

/// Receives webhooks, keeps every one of them, and turns them into Slack messages and into light and sound.
#[derive(Debug, Parser)]
#[command(
    name = "hookbell",
    version = crate::VERSION_LINE,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  hookbell demo                               see everything work, without any configuration
  GITHUB_WEBHOOK_SECRET=… hookbell run        receive on 127.0.0.1:5000
  hookbell init                               write a commented configuration and a secret
  hookbell deliveries list --status dead_letter

Exit codes: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration."
)]
pub struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Debug)]
struct Global {
    /// Configuration file [default: $HOOKBELL_CONFIG, else /etc/hookbell/hookbell.toml if it exists, else built in]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Log more; twice for everything (RUST_LOG says it in detail)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive, keep, route, send, ring: the normal way on a Pi
    #[command(after_help = run::EXAMPLES)]
    Run(run::Arguments),
    /// The door alone; `hookbell work` on the same database does the rest
    #[command(after_help = run::EXAMPLES_SPLIT)]
    Receive,
    /// Everything behind the door; `hookbell receive` on the same database is the door
    #[command(after_help = run::EXAMPLES_SPLIT)]
    Work,
    /// Show the whole thing in this terminal: no configuration, no Pi, no network
    Demo(demo::Arguments),
    /// Write a commented configuration and a generated secret; never overwrites
    Init(init::Arguments),
    /// Read the configuration as `run` would and print every problem, or what it comes to
    Check(check::Arguments),
    /// Sign a sample as a provider would and send it
    Send(send::Arguments),
    /// A local request bin: print every request; can play Slack
    Catch(catch::Arguments),
    /// Would this recorded request be accepted, and if not, exactly why?
    Verify(verify::Arguments),
    /// Print a new random secret (32 bytes, hex)
    Secret(secret::Arguments),
    /// Ask the database, read-only; without a query, what can be asked
    Sql(sql::Arguments),
    /// How the service is; works from the database alone when it is down
    Status(status::Arguments),
    /// Copy the database into one file while the service runs
    Backup(backup::Backup),
    /// Put a backup in the database's place; what was there is kept
    Restore(backup::Restore),
    /// Try the real things: disk, pins, Slack, clock, tunnel, public URL; one line each, with the remedy
    Doctor(doctor::Arguments),
    /// Set GitHub up, and pull in what was missed
    #[command(subcommand, name = "github")]
    GitHub(github::Command),
    /// Look at what came in
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Play or silence the real bell
    #[command(subcommand)]
    Bell(bell::Command),
}

/// `90s`, `15m`, `2h`, `3d`.
fn short_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// Why a command ended without doing what was asked.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and did not work.
    Failed(String),
    /// The arguments make no sense; nothing was tried.
    Usage(String),
    /// The configuration is wrong; nothing was tried.
    Configuration(config::Failure),
}

impl Failure {
    /// 1, 2 for wrong usage (most of it ends in the argument parser already), or 78 (sysexits' EX_CONFIG).
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Failed(_) => ExitCode::from(1),
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Configuration(_) => ExitCode::from(78),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Failed(why) | Failure::Usage(why) => f.write_str(why),
            Failure::Configuration(failure) => failure.fmt(f),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Failed(error.to_string())
    }
}

impl Arguments {
    /// Parses the process's arguments; prints help or a usage error and exits by itself.
    pub fn from_command_line() -> Arguments {
        Arguments::parse()
    }
}

impl Global {
    /// Reads the configuration with the very code that `run` uses.
    fn load(&self) -> Result<Loaded, Failure> {
        self.load_in(Environment::of_process(), config::load)
    }

    /// The configuration for a command that only looks: no secret has to be set in this shell.
    fn load_for_reading(&self) -> Result<Settings, Failure> {
        self.load_in(Environment::of_process(), config::load_without_secrets).map(|loaded| loaded.settings)
    }

    fn load_in(
        &self,
        environment: Environment,
        load: fn(Option<&Path>, &Environment) -> Result<Loaded, config::Failure>,
    ) -> Result<Loaded, Failure> {
        let file = config::locate(self.config.as_deref(), &environment);
        load(file.as_deref(), &environment).map_err(Failure::Configuration)
    }
}

/// The provider that an argument names.
fn provider_named(name: &str) -> Result<Provider, Failure> {
    Provider::from_name(name).ok_or_else(|| {
        let unknown = || {
            let known: Vec<&str> = Provider::ALL.iter().map(|provider| provider.name()).collect();
            format!("there is no provider {name:?}; there are {}", known.join(", "))
        };
        Failure::Usage(Provider::why_unsupported(name).map_or_else(unknown, str::to_owned))
    })
}

/// The source that an argument names.
fn source_named<'s>(settings: &'s Settings, name: &str) -> Result<&'s Source, Failure> {
    settings.sources.get(name).ok_or_else(|| {
        let known: Vec<&str> = settings.sources.keys().map(String::as_str).collect();
        Failure::Usage(format!("the configuration has no source {name:?}; it has {}", known.join(", ")))
    })
}

/// The secret in the variable that an argument names, or a few words about why there is none.
fn secret_in(variable: &str) -> Result<Secret, String> {
    let value = std::env::var(variable).map_err(|error| match error {
        std::env::VarError::NotPresent => format!("{variable} is not set"),
        std::env::VarError::NotUnicode(_) => format!("{variable} is not valid UTF-8"),
    })?;
    Secret::new(value).ok_or_else(|| format!("{variable} is empty"))
}

/// Runs the command.
///
/// # Errors
/// When it did not do what was asked, in words for people.
pub fn execute(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Run(arguments) if arguments.quick_tunnel => run::with_quick_tunnel(&global),
        Command::Run(_) => run::run(&global, crate::daemon::Roles::All),
        Command::Receive => run::run(&global, crate::daemon::Roles::Receive),
        Command::Work => run::run(&global, crate::daemon::Roles::Work),
        Command::Demo(arguments) => demo::demo(&arguments),
        Command::Init(arguments) => init::init(&arguments),
        Command::Check(arguments) => check::check(&global, &arguments),
        Command::Send(arguments) => send::send(&global, &arguments),
        Command::Catch(arguments) => catch::catch(&arguments),
        Command::Verify(arguments) => verify::verify(&global, &arguments),
        Command::Secret(arguments) => secret::secret(&arguments),
        Command::Sql(arguments) => sql::sql(&global, &arguments),
        Command::Status(arguments) => status::status(&global, &arguments),
        Command::Backup(arguments) => backup::backup(&global, &arguments),
        Command::Restore(arguments) => backup::restore(&global, &arguments),
        Command::Doctor(arguments) => doctor::doctor(&global, &arguments),
        Command::Deliveries(command) => deliveries::deliveries(&global, &command),
        Command::Bell(command) => bell::bell(&global, &command),
        Command::GitHub(command) => github::github(&global, &command),
    }
}

/// Starts the logger: to standard error, info for the services and warnings for everything else. Under systemd each
/// line carries its priority instead of a time, which the journal has anyway.
pub fn start_logging(arguments: &Arguments) {
    let is_service = matches!(arguments.command, Command::Run(_) | Command::Receive | Command::Work);
    let level = match (arguments.global.verbose, is_service) {
        (0, false) => "warn",
        (0, true) | (1, false) => "info",
        (1, true) => "debug",
        _ => "trace",
    };
    // Other crates' debug output is for those who ask for it by RUST_LOG.
    let filter = format!("warn,hookbell={level}");
    let mut builder = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(filter));
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    builder.format(move |out, record| write_line(out, record, in_journal));
    let logger = builder.build();
    let level = logger.filter();
    match log::set_boxed_logger(Box::new(Discreet(logger))) {
        Ok(()) => log::set_max_level(level),
        Err(error) => eprintln!("hookbell: no log: {error}"),
    }
}

/// A logger that is not enabled for what may show secrets, whatever `RUST_LOG` asks for. It must be `enabled` that says
/// so: ureq asks it before it decides whether to write a URL in full.
struct Discreet(env_logger::Logger);

impl log::Log for Discreet {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        !crate::http::may_show_secrets(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn write_line(out: &mut env_logger::fmt::Formatter, record: &log::Record<'_>, in_journal: bool) -> io::Result<()> {
    use io::Write;
    // One fact, one line: what a sender chose cannot begin another.
    let text: String = record.args().to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if in_journal {
        let priority = match record.level() {
            log::Level::Error => 3,
            log::Level::Warn => 4,
            log::Level::Info => 6,
            log::Level::Debug | log::Level::Trace => 7,
        };
        return writeln!(out, "<{priority}>{text}");
    }
    let now = crate::time::Clock::wall(&crate::time::SystemClock);
    writeln!(out, "{now} {:5} {text}", record.level())
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
///
/// # Errors
/// When the output cannot be written for another reason.
fn print_line(text: &str) -> Result<(), Failure> {
    use io::Write;
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("cannot write the output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Prints one JSON value on one line.
///
/// # Errors
/// When it cannot be written.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::Failed(format!("cannot make JSON: {error}")))?;
    print_line(&text)
}
