//! Attacks hookbell while a polite sender posts fifty signed deliveries a second, and judges: every polite delivery gets
//! its 200 in time and is in the database, memory stays bounded, nothing dies. Then shows what the same does to
//! tiny_http.
//!
//! `hostile EXECUTABLE [--long] [--ours]`; `scripts/test-hostile` is how it is run.

mod catalogue;
mod crowd;
mod peer;
mod polite;
mod report;
mod siege;
mod tiny;

use std::{io, path::PathBuf, process::ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{crowd::Form, report::Report};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<bool> {
    let mut executable = None;
    let (mut form, mut compare) = (Form::Short, true);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            tiny::ARGUMENT => return tiny::serve().map(|()| true),
            "--long" => form = Form::Long,
            "--ours" => compare = false,
            _ if executable.is_none() => executable = Some(PathBuf::from(argument)),
            _ => return Err(io::Error::other(format!("unknown argument {argument}; see scripts/test-hostile --help"))),
        }
    }
    let Some(executable) = executable else {
        return Err(io::Error::other("name the executable to attack, as scripts/test-hostile does"));
    };
    let executable = executable
        .canonicalize()
        .map_err(|error| io::Error::other(format!("{}: {error}; build it first", executable.display())))?;
    need_descriptors(form.pick(4000, 14_000))?;
    let mut report = Report::default();
    siege::run(&executable, form, &mut report)?;
    if compare {
        peer::run(form, &mut report)?;
    }
    Ok(report.print())
}

/// Raises the limit on descriptors to what the attackers need.
fn need_descriptors(wanted: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
    setrlimit(Resource::Nofile, raised).map_err(|error| {
        io::Error::other(format!(
            "{wanted} descriptors are needed and cannot be had ({error}); raise the hard limit: ulimit -Hn {wanted}"
        ))
    })
}
