//! `secret`: a new random secret.

use super::{Failure, print_json, print_line};

#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  export GITHUB_WEBHOOK_SECRET=$(hookbell secret)")]
pub(super) struct Arguments {
    /// Print {"secret": …}
    #[arg(long)]
    json: bool,
}

pub(super) fn secret(arguments: &Arguments) -> Result<(), Failure> {
    let secret = random_hex()?;
    match arguments.json {
        true => print_json(&serde_json::json!({ "secret": secret })),
        false => print_line(&secret),
    }
}

/// 32 random bytes in hex: as much as SHA-256 can use, and plain ASCII for every form field.
pub(super) fn random_hex() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Failed(format!("the system has no randomness to give: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
