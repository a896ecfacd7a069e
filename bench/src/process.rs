//! What the kernel knows about a process, read from `/proc`.

use std::{fs, io};

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// The most that it ever was, bytes.
    pub resident_peak_bytes: u64,
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
        threads: field(&status, "Threads:"),
        voluntary_switches,
        written_bytes: field(&io, "write_bytes:"),
        cpu_ms: ticks * 1000 / rustix::param::clock_ticks_per_second(),
    })
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
}
