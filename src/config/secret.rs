//! Where secrets come from: a variable, a file, a systemd credential. Owns the fetching; refuses to take a secret that
//! is written into the configuration, and never puts one into a message.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use toml::de::DeValue;

use super::{
    environment::{Environment, Variable},
    problem::{Fault, Report},
    raw::{Node, Section},
};
use crate::secret::Secret;

/// No key, token or URL comes near this; a file that does is not a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// While rotating there are two; more than a few is a list that nobody prunes.
const SECRETS_MAX: usize = 8;

const HINT: &str = "write { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";

/// Where one secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A variable of the process.
    Variable(String),
    /// A file, absolute.
    File(PathBuf),
    /// A file below `$CREDENTIALS_DIRECTORY`, which systemd fills.
    Credential(String),
}

/// What an [`Origin`] gave.
pub(super) enum Found {
    Value(Secret),
    /// This variable is not set, or set to nothing: the caller knows whether it can do without.
    Unset {
        variable: String,
        is_empty: bool,
    },
}

/// Reads `{ env = … }`, `{ file = … }` or `{ credential = … }`. A relative file stands beside the configuration, so
/// that the two can be moved together.
pub(super) fn origin(node: &Node<'_>, beside: &Path, report: &mut Report) -> Option<Origin> {
    let fault = match node.value {
        DeValue::Table(_) => match node.clone().section() {
            Ok(section) => return origin_in(section, beside, report),
            Err(fault) => fault,
        },
        DeValue::String(_) => Fault::new("secrets are never values in this file").hint(HINT),
        _ => node.expected("where to find the secret").hint(HINT),
    };
    report.error(&node.place, fault);
    None
}

fn origin_in(mut section: Section<'_>, beside: &Path, report: &mut Report) -> Option<Origin> {
    let place = section.place.clone();
    let mut given = 0;
    let mut origins = Vec::new();
    for name in ["env", "file", "credential"] {
        given += usize::from(section.get(name).is_some());
        origins.extend(section.read(name, report, |node| match (name, node.text()?) {
            (_, "") => Err(Fault::new("the name is empty")),
            ("env", variable) => Ok(Origin::Variable(variable.to_owned())),
            ("file", path) => Ok(Origin::File(beside.join(path))),
            (_, name) if name.contains('/') || name == ".." => {
                Err(Fault::new("a credential is a name, not a path").hint("for a path write { file = \"…\" }"))
            }
            (_, name) => Ok(Origin::Credential(name.to_owned())),
        }));
    }
    section.finish(report);
    if given != 1 {
        report.error(&place, Fault::new("exactly one of `env`, `file` and `credential` says where it is").hint(HINT));
        return None;
    }
    origins.pop()
}

/// Reads one origin, or a list of them: each in its place, `None` where it has a problem.
pub(super) fn origins(node: &Node<'_>, beside: &Path, report: &mut Report) -> Vec<Option<Origin>> {
    let DeValue::Array(_) = node.value else { return vec![origin(node, beside, report)] };
    match node.list() {
        Ok(nodes) if nodes.is_empty() || nodes.len() > SECRETS_MAX => {
            let what = format!("{} secrets; there must be 1 to {SECRETS_MAX}", nodes.len());
            report.error(&node.place, Fault::new(what));
            Vec::new()
        }
        Ok(nodes) => nodes.iter().map(|node| origin(node, beside, report)).collect(),
        Err(fault) => {
            report.error(&node.place, fault);
            Vec::new()
        }
    }
}

/// Fetches the secret.
pub(super) fn fetch(origin: &Origin, environment: &Environment) -> Result<Found, Fault> {
    let (value, whence) = match origin {
        Origin::Variable(name) => match environment.get(name) {
            Variable::Set(value) => (value, name.clone()),
            Variable::Empty => return Ok(Found::Unset { variable: name.clone(), is_empty: true }),
            Variable::Unset => return Ok(Found::Unset { variable: name.clone(), is_empty: false }),
            Variable::NotText => return Err(Fault::new(format!("{name} is not valid UTF-8"))),
        },
        Origin::File(path) => (read(path)?, path.display().to_string()),
        Origin::Credential(name) => match environment.get("CREDENTIALS_DIRECTORY") {
            Variable::Set(directory) => {
                let path = Path::new(&directory).join(name);
                (read(&path)?, path.display().to_string())
            }
            Variable::Unset | Variable::Empty | Variable::NotText => {
                return Err(Fault::new(format!("there is no $CREDENTIALS_DIRECTORY to hold the credential `{name}`"))
                    .hint("systemd sets it for a unit with LoadCredential="));
            }
        },
    };
    // A key of blanks is a slip, and as good as published.
    let secret = (!value.trim().is_empty()).then(|| Secret::new(value)).flatten();
    match secret {
        Some(secret) => Ok(Found::Value(secret)),
        None => Err(Fault::new(format!("the secret in {whence} is empty"))),
    }
}

/// Says aloud when others on this machine can read the secret.
pub(super) fn exposure(origin: &Origin) -> Option<Fault> {
    let Origin::File(path) = origin else { return None };
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        Fault::new(format!("everybody on this machine can read {}", path.display()))
            .hint(format!("chmod 600 {}", path.display()))
    })
}

/// The file's text without its last newline, which editors add and no secret ends in.
fn read(path: &Path) -> Result<String, Fault> {
    let failed = |cause: std::io::Error| Fault::new(format!("cannot read the secret in {}: {cause}", path.display()));
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(Fault::new(format!("{} is too large for a secret", path.display())));
    }
    let mut text = String::from_utf8(bytes)
        .map_err(|_| Fault::new(format!("the secret in {} is not valid UTF-8", path.display())))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
