//! The environment in which the service would read its configuration, for whoever types a command. Owns what of it stands in a
//! file; sets no variable.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use super::Global;
use crate::config::{self, Environment};

/// The process's own, and beneath it what the service's unit reads: whoever types `sudo` has none of its variables.
pub(super) fn of_the_service(global: &Global) -> Environment {
    let own = Environment::of_process();
    let file = config::locate(global.config.as_deref(), &own).map(|file| file.with_file_name("hookbell.env"));
    let more = file.map_or_else(BTreeMap::new, |file| variables(&file));
    Environment::new(own.directory, own.system_file, move |name| {
        std::env::var_os(name).or_else(|| more.get(name).map(OsString::from))
    })
}

/// Of a file in systemd's form. One that is not there or not ours to read says nothing; the configuration then tells what
/// is missing.
fn variables(file: &Path) -> BTreeMap<String, String> {
    const BYTES_MAX: u64 = 64 * 1024;
    let is_small = fs::metadata(file).is_ok_and(|found| found.len() <= BYTES_MAX);
    let text = if is_small { fs::read_to_string(file).unwrap_or_default() } else { String::new() };
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim())))
        .collect()
}

fn unquoted(value: &str) -> String {
    let inner = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    inner('"').or_else(|| inner('\'')).unwrap_or(value).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_systemd_reads_them() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("hookbell.env");
        fs::write(&file, "# of the service\nA=one\n; B=no\n C = \"two words\" \nD='x=y'\nnonsense\nE=\n").unwrap();
        let expected = [("A", "one"), ("C", "two words"), ("D", "x=y"), ("E", "")];
        assert_eq!(variables(&file), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(variables(&home.path().join("absent")).is_empty());
    }
}
