//! What the machine gives a process: the facts that some defaults are computed from.

use std::fs;

/// Memory, processors and descriptors. A value, so that a test can name a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory: the machine's, or less if a control group says so.
    pub memory_bytes: u64,
    /// Threads that run at one time.
    pub processors: usize,
    /// Files and sockets the process may have open.
    pub descriptors_max: u64,
}

impl Machine {
    /// Asks the machine. Raises the limit of open files as far as it may.
    pub fn detect() -> Self {
        Self {
            memory_bytes: memory_bytes(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            descriptors_max: raise_descriptors(),
        }
    }
}

impl Machine {
    /// The most clients that descriptors allow: a part of them is kept for tables, the log and listeners.
    pub fn clients_max(&self) -> u64 {
        let reserved = (self.descriptors_max / 4).clamp(32, 1 << 14);
        self.descriptors_max.saturating_sub(reserved).max(1)
    }
}

fn memory_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let limits = cgroup_limit_files().into_iter().filter_map(|path| {
        // "max" (v2) does not parse; v1 says "no limit" by a number near 2^63, which the minimum drops.
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    });
    // Where there is no /proc, one GiB is assumed: too small a cache is a smaller fault than too large a one.
    limits.chain(total).min().unwrap_or(1 << 30)
}

fn meminfo_total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit this process: its control group's and those of all groups above it.
fn cgroup_limit_files() -> Vec<String> {
    cgroup_files(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

fn cgroup_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        // `hierarchy:controllers:path`; version 2 has the hierarchy 0 and no controllers.
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Inside a container the path may be the host's while the mount shows only the own group: try its root too.
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{path}/{name}"));
            match path.rfind('/') {
                Some(end) => path = &path[..end],
                None => break,
            }
        }
    }
    files
}

fn raise_descriptors() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // macOS reports "no limit" and then refuses it; what was there before still holds.
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.unwrap_or(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_above_limit_too() {
        assert_eq!(
            cgroup_files("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            cgroup_files("7:cpu,cpuacct:/x\n4:memory:/docker/1\n"),
            [
                "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(meminfo_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        assert_eq!(meminfo_total("nonsense"), None);
    }

    #[test]
    fn this_machine_has_memory_processors_and_descriptors() {
        let machine = Machine::detect();
        assert!(machine.memory_bytes > 1 << 20);
        assert!(machine.processors >= 1);
        assert!(machine.descriptors_max >= 64);
    }
}
