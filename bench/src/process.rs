//! What the kernel knows about a process, read from `/proc`.

use std::{fs, io};

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// The most that it ever was, bytes.
    pub resident_peak_bytes: u64,
    /// Of the resident memory what no file stands behind: heap and stacks, and not the program itself, of which more is read in
    /// as more of it runs.
    pub anonymous_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Times that any of its threads gave up the processor to wait: what wakes it up, in other words.
    pub voluntary_switches: u64,
    /// Bytes that it caused to be written to storage.
    pub written_bytes: u64,
    /// Processor time, user and system together, milliseconds.
    pub cpu_ms: u64,
}

/// Reads about a process.
///
/// # Errors
/// When it has ended, or is not ours.
pub fn read(pid: u32) -> io::Result<Reading> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let mut voluntary_switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between its listing and this.
        let Ok(status) = fs::read_to_string(task?.path().join("status")) else { continue };
        voluntary_switches += field(&status, "voluntary_ctxt_switches:");
    }
    // Fields 14 and 15 of proc_pid_stat(5), counted behind the name in parentheses, which may hold anything.
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(|rest| rest.split_whitespace().skip(11).take(2))
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Ok(Reading {
        resident_bytes: field(&status, "VmRSS:") * 1024,
        resident_peak_bytes: field(&status, "VmHWM:") * 1024,
        anonymous_bytes: field(&status, "RssAnon:") * 1024,
        threads: field(&status, "Threads:"),
        voluntary_switches,
        written_bytes: field(&io, "write_bytes:"),
        cpu_ms: ticks * 1000 / rustix::param::clock_ticks_per_second(),
    })
}

/// Reads about a process and all that descend from it, added up. Memory that they share is counted for each of them.
///
/// # Errors
/// When the process itself has ended, or is not ours.
pub fn read_tree(pid: u32) -> io::Result<Reading> {
    let mut sum = read(pid)?;
    for descendant in descendants(pid)? {
        // It may end between its listing and this.
        let Ok(reading) = read(descendant) else { continue };
        sum.resident_bytes += reading.resident_bytes;
        sum.resident_peak_bytes += reading.resident_peak_bytes;
        sum.anonymous_bytes += reading.anonymous_bytes;
        sum.threads += reading.threads;
        sum.voluntary_switches += reading.voluntary_switches;
        sum.written_bytes += reading.written_bytes;
        sum.cpu_ms += reading.cpu_ms;
    }
    Ok(sum)
}

/// The living children of a process, their children, and so on.
fn descendants(pid: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // Field 4 of proc_pid_stat(5).
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (child, parent)));
    }
    let mut found = vec![pid];
    let mut looked_at = 0;
    while let Some(parent) = found.get(looked_at).copied() {
        looked_at += 1;
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
    }
    found.remove(0);
    Ok(found)
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_process_is_readable() {
        let reading = read(std::process::id()).unwrap();
        assert!(reading.resident_bytes > 100_000 && reading.resident_peak_bytes >= reading.resident_bytes);
        assert!(reading.threads >= 1 && reading.voluntary_switches > 0);
    }

    #[test]
    fn a_child_is_counted_in() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(descendants(std::process::id()).unwrap().contains(&child.id()));
        assert!(read_tree(std::process::id()).unwrap().threads >= 2);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
