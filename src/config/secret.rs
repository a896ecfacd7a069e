//! Where secrets come from: a variable, a file, a systemd credential; and the one to come, in a file beside. Owns the
//! fetching; refuses to take a secret that is written into the configuration, and never puts one into a message.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
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
pub(super) const SECRETS_MAX: usize = 8;

/// The folder beside the configuration that the packaged unit loads as credentials.
const CREDENTIALS: &str = "secrets";

/// Ends the name of the file in which the secret to come waits, beside that of the present one.
const NEXT: &str = ".next";

const HINT: &str = "write { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";

/// Where one secret is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A variable of the process.
    Variable(String),
    /// A file, absolute.
    File(PathBuf),
    /// What systemd provides under this name in `$CREDENTIALS_DIRECTORY`. Where it has not started us, the file from which
    /// the packaged unit takes it: that of the same name in [`CREDENTIALS`] beside the configuration.
    Credential { name: String, stored: PathBuf },
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
            (_, name) => {
                let stored = beside.join(CREDENTIALS).join(name);
                Ok(Origin::Credential { name: name.to_owned(), stored })
            }
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
    let name = match origin {
        Origin::Variable(name) => name,
        Origin::File(path) => return read_secret(path).map(Found::Value),
        Origin::Credential { name, stored } => {
            return read_secret(&credential(name, stored, environment)?).map(Found::Value);
        }
    };
    match environment.get(name) {
        Variable::Set(value) => secret(value, name).map(Found::Value),
        Variable::Empty => Ok(Found::Unset { variable: name.clone(), is_empty: true }),
        Variable::Unset => Ok(Found::Unset { variable: name.clone(), is_empty: false }),
        Variable::NotText => Err(Fault::new(format!("{name} is not valid UTF-8"))),
    }
}

/// The file that holds it; `None` where a variable does.
pub(super) fn file(origin: &Origin, environment: &Environment) -> Result<Option<PathBuf>, Fault> {
    match origin {
        Origin::Variable(_) => Ok(None),
        Origin::File(path) => Ok(Some(path.clone())),
        Origin::Credential { name, stored } => credential(name, stored, environment).map(Some),
    }
}

/// Reads the secret that a file holds.
pub(super) fn read_secret(path: &Path) -> Result<Secret, Fault> {
    let text = read(path).map_err(|cause| cannot_read(path, &cause))?;
    secret(text, &path.display().to_string())
}

fn secret(value: String, whence: &str) -> Result<Secret, Fault> {
    // A key of blanks is a slip, and as good as published.
    let secret = (!value.trim().is_empty()).then(|| Secret::new(value)).flatten();
    secret.ok_or_else(|| Fault::new(format!("the secret in {whence} is empty")))
}

fn cannot_read(path: &Path, cause: &io::Error) -> Fault {
    Fault::new(format!("cannot read the secret in {}: {cause}", path.display()))
}

/// The same of what must be a file.
pub(super) fn read_file(path: &Path) -> Result<Secret, Fault> {
    let text = text_of(path).map_err(|cause| cannot_read(path, &cause))?;
    secret(text, &path.display().to_string())
}

/// Where the secret that is to follow this one waits.
pub(super) fn next(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(NEXT);
    PathBuf::from(path)
}

/// Reads the secret that is to follow the one in `path`. `None` where none waits: a file without anything in it is one
/// that is about to be written. Whoever reads both reads this one first: one that takes the other's place meanwhile is
/// then read twice, and not missed.
pub(super) fn read_next(path: &Path) -> Option<Result<Secret, Fault>> {
    let next = next(path);
    match text_of(&next) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => None,
        Err(cause) => {
            let hint =
                format!("give it to the service's user: chown --reference={} {}", path.display(), next.display());
            Some(Err(cannot_read(&next, &cause).hint(hint)))
        }
        Ok(text) if text.trim().is_empty() => None,
        Ok(text) => Some(secret(text, &next.display().to_string())),
    }
}

/// A file's text; reading anything else might wait for ever.
fn text_of(path: &Path) -> io::Result<String> {
    match path.metadata()?.is_file() {
        true => read(path),
        false => Err(io::Error::other("it is no file")),
    }
}

/// Where a credential is. Of a whole folder (`LoadCredential=secrets:/etc/hookbell/secrets`) systemd makes names that begin
/// with the folder's.
fn credential(name: &str, stored: &Path, environment: &Environment) -> Result<PathBuf, Fault> {
    let put = || format!("put it into {} and restart the service", stored.display());
    let Variable::Set(directory) = environment.get("CREDENTIALS_DIRECTORY") else {
        return match stored.try_exists() {
            Ok(true) => Ok(stored.to_owned()),
            Ok(false) => {
                Err(Fault::new(format!("there is no credential `{name}`: no {}", stored.display())).hint(put()))
            }
            Err(cause) => Err(Fault::new(format!("cannot look for the credential `{name}`: {cause}"))
                .hint("root may read it: type the command with sudo")),
        };
    };
    let directory = Path::new(&directory);
    let candidates = [directory.join(name), directory.join(format!("{CREDENTIALS}_{name}"))];
    candidates.into_iter().find(|path| path.exists()).ok_or_else(|| {
        Fault::new(format!("systemd provides no credential `{name}` in {}", directory.display())).hint(put())
    })
}

/// Says aloud when others on this machine can read the secret.
pub(super) fn exposure(origin: &Origin) -> Option<Fault> {
    let Origin::File(path) = origin else { return None };
    exposure_of(path)
}

/// The same of one file.
pub(super) fn exposure_of(path: &Path) -> Option<Fault> {
    let mode = path.metadata().ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        Fault::new(format!("everybody on this machine can read {}", path.display()))
            .hint(format!("chmod 600 {}", path.display()))
    })
}

/// The file's text without its last newline, which editors add and no secret ends in.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(io::Error::other("it is too large for a secret"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not valid UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}
