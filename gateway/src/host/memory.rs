//! How much memory does the process use, and how much is there for it? What the kernel tells in /proc and of cgroups (v2).
//!
//! Promises: what cannot be read is no limit. Does not: decide anything.

use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that belong to the process alone: what is resident, without files and what is shared.
pub fn used() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    used_of(&pages, rustix::param::page_size() as u64)
}

/// Bytes that the process may use: what the machine has, or the least of its control groups if that is less.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|told| total_of(&told));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files_of(&groups)
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min()
}

/// From proc(5) `statm`: resident pages without shared ones.
fn used_of(told: &str, page: u64) -> Option<u64> {
    let mut fields = told.split_ascii_whitespace().skip(1);
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (resident, shared) = (next()?, next()?);
    Some(resident.saturating_sub(shared).saturating_mul(page))
}

/// From proc(5) `meminfo`.
fn total_of(told: &str) -> Option<u64> {
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The files with the limits of a group and of those that it is in: the least of them holds.
fn files_of(told: &str) -> Vec<PathBuf> {
    let Some(group) = told.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    // Within a namespace of its own a group may seem to lie above its root.
    let plain = |group: &&Path| {
        group
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)))
    };
    Path::new(group)
        .ancestors()
        .filter(plain)
        .map(|group| Path::new(CGROUPS).join(group).join("memory.max"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_resident_and_not_shared() {
        assert_eq!(used_of("4000 300 100 50 0 200 0\n", 4096), Some(200 * 4096));
        assert_eq!(used_of("4000 100 300 50 0 200 0\n", 4096), Some(0));
        for bad in ["", "4000", "4000 300", "a b c"] {
            assert_eq!(used_of(bad, 4096), None, "{bad:?}");
        }
    }

    #[test]
    fn the_machine_tells_kibibytes() {
        let told = "MemTotal:       24590328 kB\nMemFree:  1 kB\n";
        assert_eq!(total_of(told), Some(24_590_328 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn every_group_that_the_process_is_in_can_limit_it() {
        let told = "1:name=systemd:/x\n0::/system.slice/portcullis.service\n";
        assert_eq!(
            files_of(told),
            [
                "/sys/fs/cgroup/system.slice/portcullis.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
            .map(PathBuf::from)
        );
        assert_eq!(
            files_of("0::/\n"),
            [PathBuf::from("/sys/fs/cgroup/memory.max")]
        );
        assert_eq!(files_of("4:memory:/docker/x\n"), Vec::<PathBuf>::new());
        assert_eq!(
            files_of("0::/../x\n"),
            [PathBuf::from("/sys/fs/cgroup/memory.max")]
        );
    }

    #[test]
    fn this_process_uses_memory_and_there_is_more() {
        let (used, available) = (used().unwrap(), available().unwrap());
        assert!(0 < used && used < available, "{used} of {available}");
    }
}
