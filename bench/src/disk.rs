//! The disk by itself: which file system a folder is on, and how long it takes to sync 4 KiB there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// The name of the file system that holds `folder`, such as `ext4`.
///
/// # Errors
/// When it cannot be told, or when the file system is memory, where syncing costs nothing and every figure would lie.
pub fn file_system(folder: &Path) -> io::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let name = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, name) = (fields.next()?, fields.next()?);
            folder.starts_with(point).then_some((point.len(), name))
        })
        // Of two mounts at one place the later hides the earlier, and the last of equals is what this keeps.
        .max_by_key(|(length, _)| *length)
        .map(|(_, name)| name.to_owned())
        .ok_or_else(|| io::Error::other(format!("/proc/self/mounts has no place for {}", folder.display())))?;
    if name == "tmpfs" || name == "ramfs" {
        return Err(io::Error::other(format!(
            "{} is in memory ({name}), where nothing is ever durable; name a folder on a disk with --data",
            folder.display()
        )));
    }
    Ok(name)
}

/// Appends 4 KiB and syncs them, again and again for `span`; how long each took, microseconds.
///
/// # Errors
/// When the disk does not take it.
pub fn sync_latencies_us(folder: &Path, span: Duration) -> io::Result<Vec<u64>> {
    let path = folder.join("fsync");
    let mut file = File::create(&path)?;
    let mut latencies_us = Vec::new();
    let end = Instant::now() + span;
    while Instant::now() < end {
        let start = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        latencies_us.push(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    drop(file);
    fs::remove_file(&path)?;
    Ok(latencies_us)
}

/// Writes out what earlier measurements have left, so that nobody pays for his predecessor.
///
/// # Errors
/// When the folder cannot be opened, or the disk reports an error.
pub fn settle(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}
