//! What the system says about this process.

use std::fs;
use std::time::Duration;

/// Memory and processor time of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// The most that ever were.
    pub resident_bytes_peak: u64,
    /// Processor time in the kernel.
    pub cpu_system: Duration,
    /// Processor time in the program.
    pub cpu_user: Duration,
    /// Memory of the machine.
    pub system_memory_bytes: u64,
    /// Open files and sockets.
    pub descriptors: u64,
}

impl Usage {
    /// Asks the system. What it does not tell (outside Linux) is zero.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (cpu_user, cpu_system) =
            fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_times(&stat)).unwrap_or_default();
        Self {
            resident_bytes: kibibytes(&status, "VmRSS:"),
            resident_bytes_peak: kibibytes(&status, "VmHWM:"),
            cpu_system,
            cpu_user,
            system_memory_bytes: kibibytes(&memory, "MemTotal:"),
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        }
    }
}

/// System, release and machine, as INFO's `os` shows them.
pub fn os() -> String {
    let name = rustix::system::uname();
    [name.sysname(), name.release(), name.machine()].map(|part| part.to_string_lossy().into_owned()).join(" ")
}

fn kibibytes(text: &str, field: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    value.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// User and system time out of `/proc/self/stat`: the 14th and 15th field, in ticks.
fn cpu_times(stat: &str) -> Option<(Duration, Duration)> {
    // The second field is the program's name in brackets, which may hold blanks and brackets.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    let mut next = || -> Option<Duration> {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_micros(ticks * 1_000_000 / ticks_per_second))
    };
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 100 0 0";
        let ticks = rustix::param::clock_ticks_per_second();
        let expected = (Duration::from_secs(250), Duration::from_secs(100));
        assert_eq!(
            cpu_times(stat).map(|(user, system)| (
                user * u32::try_from(ticks).unwrap(),
                system * u32::try_from(ticks).unwrap()
            )),
            Some(expected)
        );
        assert_eq!(cpu_times("no brackets"), None);
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let usage = Usage::now();
        assert!(usage.resident_bytes > 1 << 20);
        assert!(usage.resident_bytes_peak >= usage.resident_bytes / 2);
        assert!(usage.system_memory_bytes > usage.resident_bytes);
        assert!(usage.descriptors >= 3);
        assert!(os().contains("Linux"));
    }
}
