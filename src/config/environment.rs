//! What surrounds the process: variables, the working directory, the system's own configuration file. An argument
//! everywhere, so that a test never touches the real ones; refuses to know which variables matter.

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// The file that is read when none is named.
pub const SYSTEM_FILE: &str = "/etc/hookbell/hookbell.toml";

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The surroundings that a configuration is read in. `Debug` shows no variable: most of them are not ours to show.
pub struct Environment {
    lookup: Box<Lookup>,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// Read when no file is named, if it exists: [`SYSTEM_FILE`].
    pub system_file: PathBuf,
    /// Our address in the world becomes known later, by a quick tunnel: what needs it need not be told it.
    pub has_quick_tunnel: bool,
}

/// One variable.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Variable {
    Unset,
    Empty,
    NotText,
    Set(String),
}

impl Environment {
    /// The process's own. A working directory that is gone counts as `/`.
    pub fn of_process() -> Environment {
        Environment {
            lookup: Box::new(|name| std::env::var_os(name)),
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            system_file: PathBuf::from(SYSTEM_FILE),
            has_quick_tunnel: false,
        }
    }

    /// Surroundings of one's own making. `directory` must be absolute.
    pub fn new(
        directory: PathBuf,
        system_file: PathBuf,
        lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static,
    ) -> Environment {
        Environment { lookup: Box::new(lookup), directory, system_file, has_quick_tunnel: false }
    }

    pub(super) fn get(&self, name: &str) -> Variable {
        // The system refuses such names by panicking or by finding nothing, depending on the platform.
        if name.is_empty() || name.contains(['=', '\0']) {
            return Variable::Unset;
        }
        match (self.lookup)(name).map(OsString::into_string) {
            None => Variable::Unset,
            Some(Ok(value)) if value.is_empty() => Variable::Empty,
            Some(Ok(value)) => Variable::Set(value),
            Some(Err(_)) => Variable::NotText,
        }
    }

    /// Where data lives: systemd's `$STATE_DIRECTORY` (the first, where it names several), else the working directory.
    pub(super) fn data_directory(&self) -> PathBuf {
        match self.get("STATE_DIRECTORY") {
            Variable::Set(list) => {
                let first = list.split(':').next().unwrap_or_default();
                self.absolute(Path::new(first))
            }
            Variable::Unset | Variable::Empty | Variable::NotText => self.directory.clone(),
        }
    }

    /// A path that somebody typed, relative to where they stand.
    pub(super) fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("directory", &self.directory)
            .field("system_file", &self.system_file)
            .finish_non_exhaustive()
    }
}
