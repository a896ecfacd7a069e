//! How a source's secrets change while it runs. Owns where they are read anew, whether a file has changed since, and what
//! a rotation has to do; refuses to decide when to look.
//!
//! For a secret in a file `X` (or a credential), `X.next` beside it holds the one that is to follow. While it is there,
//! both are accepted. The files alone say what is accepted: each step of a rotation is one file that appears or one
//! rename, so whoever starts after a crash, at any moment of it, accepts what the one before did.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    problem::Fault,
    secret::{self, Origin, SECRETS_MAX},
};
use crate::{
    provider::{Flaw, Provider, Terms},
    secret::Secret,
};

/// How the secret of a source is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It stands in a file. The new one is written to `next`, which in the end takes the place of `path`; a door sees
    /// both by itself.
    File {
        /// Where it is.
        path: PathBuf,
        /// Where the one to come waits.
        next: PathBuf,
    },
    /// It is a credential. The same with the file from which systemd takes it, for the next start; but systemd hands it
    /// over once, so a door that runs has to be told.
    Credential {
        /// The file from which the packaged unit takes it.
        stored: PathBuf,
        /// Where the one to come waits.
        next: PathBuf,
    },
    /// It is in this variable, which only a restart changes.
    Variable(String),
    /// There are several already, or they could not be made out: which of them is to follow is for people to say.
    Several,
}

/// What was changed within this time can change once more and look the same: the kernel counts ticks, and a card in FAT
/// two seconds.
const UNSETTLED: Duration = Duration::from_secs(3);

/// Where a source's secrets are read, at the start and when a file has changed.
#[derive(Clone, Debug)]
pub struct Origins {
    /// In the order of the configuration.
    places: Vec<Place>,
    rotation: Rotation,
    /// The files as they were just before they were read for the first time.
    seen: Marks,
    is_settled: bool,
    /// Those with a secret to come that is accepted, as of then.
    waiting: Vec<PathBuf>,
    /// What waits and will not do, in words.
    faults: Vec<String>,
}

#[derive(Clone, Debug)]
enum Place {
    /// What can be read only once: a variable, a pipe.
    Given(Secret),
    /// A file that stays, and perhaps one beside it.
    File(PathBuf),
}

/// How the files stood at one moment: with other contents the marks are others. Looking asks the kernel two questions for
/// each secret and reads nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<Option<Mark>>);

/// A renamed file has another number, a written one another time, and the second of them nobody can set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    file: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

/// What the files say now.
#[derive(Debug)]
pub struct Fresh {
    /// Each secret once; `None` while one that must be there cannot be had.
    pub secrets: Option<Vec<Secret>>,
    /// What could not be taken, in words.
    pub faults: Vec<String>,
}

impl Origins {
    /// Of a source whose secrets are found so. They are added as they are read.
    pub(super) fn new(origins: &[Option<Origin>]) -> Origins {
        let rotation = match origins {
            [Some(Origin::Variable(variable))] => Rotation::Variable(variable.clone()),
            [Some(Origin::File(path))] => Rotation::File { path: path.clone(), next: secret::next(path) },
            [Some(Origin::Credential { name: _, stored })] => {
                Rotation::Credential { stored: stored.clone(), next: secret::next(stored) }
            }
            _ => Rotation::Several,
        };
        Origins {
            places: Vec::new(),
            rotation,
            seen: Marks::default(),
            is_settled: true,
            waiting: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What this secret was found as cannot be read anew.
    pub(super) fn add_given(&mut self, secret: &Secret) {
        self.places.push(Place::Given(secret.clone()));
    }

    /// A file is about to be read.
    pub(super) fn add_file(&mut self, path: &Path) {
        self.places.push(Place::File(path.to_owned()));
        self.seen.0.extend(marks_of(path));
        self.is_settled = self.seen.are_settled();
    }

    /// What waits beside this file is accepted.
    pub(super) fn add_waiting(&mut self, path: &Path) {
        self.waiting.push(secret::next(path));
    }

    /// What waits is not accepted.
    pub(super) fn add_fault(&mut self, fault: &Fault) {
        self.faults.push(fault.to_string());
    }

    /// How the secret is changed.
    pub fn rotation(&self) -> &Rotation {
        &self.rotation
    }

    /// In which files secrets to come were found that are accepted already.
    pub fn waiting(&self) -> &[PathBuf] {
        &self.waiting
    }

    /// Why others of them are not, in words.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The files as they were just before the configuration read them; `None` where that does not tell enough.
    pub fn seen(&self) -> Option<Marks> {
        self.is_settled.then(|| self.seen.clone())
    }

    /// The files as they are now.
    pub fn marks(&self) -> Marks {
        let files = self.places.iter().filter_map(|place| match place {
            Place::Given(_) => None,
            Place::File(path) => Some(marks_of(path)),
        });
        Marks(files.flatten().collect())
    }

    /// Reads anew what can be.
    pub fn read(&self, provider: Provider) -> Fresh {
        let (mut secrets, mut faults, mut is_whole) = (Vec::new(), Vec::new(), true);
        let mut take = |secret: Secret| {
            if !secrets.contains(&secret) {
                secrets.push(secret);
            }
        };
        for place in &self.places {
            let path = match place {
                Place::Given(secret) => {
                    take(secret.clone());
                    continue;
                }
                Place::File(path) => path,
            };
            let next = next_in(path, provider);
            match secret::read_file(path).and_then(|secret| sound(secret, path, provider)) {
                Ok(secret) => take(secret),
                Err(fault) => {
                    is_whole = false;
                    faults.push(fault.to_string());
                }
            }
            match next {
                Some(Ok(secret)) => take(secret),
                Some(Err(fault)) => faults.push(fault.to_string()),
                None => {}
            }
        }
        Fresh { secrets: is_whole.then_some(secrets), faults }
    }
}

impl Marks {
    /// Whether the same marks will mean the same contents.
    pub fn are_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut changed = self.0.iter().flatten().map(|mark| u64::try_from(mark.changed.0).unwrap_or_default());
        changed.all(|changed| now.abs_diff(changed) > UNSETTLED.as_secs())
    }
}

/// The secret that is to follow the one in this file, where one waits. One that will not do is left out, and nothing else
/// is: the present one is what the sender signs with.
pub(super) fn next_in(path: &Path, provider: Provider) -> Option<Result<Secret, Fault>> {
    let next = secret::next(path);
    Some(secret::read_next(path)?.and_then(|secret| sound(secret, &next, provider)))
}

/// A secret that can be one of the provider's.
fn sound(secret: Secret, path: &Path, provider: Provider) -> Result<Secret, Fault> {
    match flaw(provider, std::slice::from_ref(&secret)) {
        Some((_, what)) => Err(Fault::new(format!("the secret in {} will not do: {what}", path.display()))),
        None => Ok(secret),
    }
}

/// The first of the secrets that cannot be one of the provider's, and why.
fn flaw(provider: Provider, secrets: &[Secret]) -> Option<(usize, &'static str)> {
    let flaws = provider.check(&Terms::new(provider, secrets.to_vec()));
    flaws.into_iter().find_map(|flaw| match flaw {
        Flaw::Secret { index, what } => Some((index, what)),
        Flaw::Options(_) => None,
    })
}

/// What is wrong with a list of secrets that somebody hands over.
pub fn check_list(provider: Provider, secrets: &[Secret]) -> Result<(), String> {
    if secrets.is_empty() || secrets.len() > SECRETS_MAX {
        return Err(format!("{} secrets; there must be 1 to {SECRETS_MAX}", secrets.len()));
    }
    match flaw(provider, secrets) {
        Some((index, what)) => Err(format!("secret {} of {}: {what}", index + 1, secrets.len())),
        None => Ok(()),
    }
}

/// Of the secret to come and of the present one, in the order in which they are read.
fn marks_of(path: &Path) -> [Option<Mark>; 2] {
    [mark(&secret::next(path)), mark(path)]
}

fn mark(path: &Path) -> Option<Mark> {
    let found = path.metadata().ok()?;
    Some(Mark {
        file: (found.dev(), found.ino()),
        bytes: found.len(),
        written: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
