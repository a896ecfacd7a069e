//! What all of it ran on.

use std::{fs, io, path::Path};

use crate::disk;

/// The machine, one line for each of its facts: name and value.
pub type Machine = Vec<(&'static str, String)>;

/// Looks at this machine; `data` is where the contenders keep their files.
///
/// # Errors
/// When `data` is not on a disk.
pub fn describe(data: &Path, revision: &str, date: &str) -> io::Result<Machine> {
    let kernel = rustix::system::uname();
    let cores = std::thread::available_parallelism()?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // `Model` is the board on a Pi, where the processor has no name.
    let model = ["model name", "Model"].iter().find_map(|name| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == *name).then(|| value.trim().to_owned())
        })
    });
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    Ok(vec![
        ("processor", format!("{}, {cores} cores", model.unwrap_or_else(|| "unnamed".to_owned()))),
        ("memory", format!("{:.1} GB", memory_kib as f64 * 1024.0 / 1e9)),
        (
            "kernel",
            format!(
                "{} {} {}",
                kernel.sysname().to_string_lossy(),
                kernel.release().to_string_lossy(),
                kernel.machine().to_string_lossy()
            ),
        ),
        ("file system", disk::file_system(data)?),
        ("revision", revision.to_owned()),
        ("date", date.to_owned()),
    ])
}
