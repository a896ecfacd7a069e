//! The `hookbell` program: arguments → logger → command → one error chain → exit code.

use std::process::ExitCode;

use hookbell::cli::{self, Arguments};

fn main() -> ExitCode {
    let arguments = Arguments::from_command_line();
    cli::start_logging(&arguments);
    match cli::execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("hookbell: {failure}");
            failure.exit_code()
        }
    }
}
