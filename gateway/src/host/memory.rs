//! How much memory does the process use, and how much is there for it? What the kernel tells in /proc and of cgroups (v2).
//!
//! Promises: what cannot be read is no limit. Does not: decide anything.

use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that belong to the process alone: what is resident, without files and what is shared.
pub fn used() -> Option<u64> {
    kibibytes_of(
        &std::fs::read_to_string("/proc/self/status").ok()?,
        "RssAnon:",
    )
}

/// Bytes that the process may use: what the machine has, or the least of its control groups if that is less.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|told| kibibytes_of(&told, "MemTotal:"));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = files_of(&groups)
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(machine).min()
}

/// Bytes of a line of proc(5) `status` or `meminfo`, which tell them in KiB.
fn kibibytes_of(told: &str, name: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix(name))?;
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
    fn the_kernel_tells_kibibytes() {
        let machine = "MemTotal:       24590328 kB\nMemFree:  1 kB\n";
        assert_eq!(kibibytes_of(machine, "MemTotal:"), Some(24_590_328 * 1024));
        let process = "VmRSS:\t    5000 kB\nRssAnon:\t    1200 kB\nRssFile:\t    3800 kB\n";
        assert_eq!(kibibytes_of(process, "RssAnon:"), Some(1200 * 1024));
        for bad in ["", "RssAnon:", "RssAnon: kB", "VmRSS: 3 kB"] {
            assert_eq!(kibibytes_of(bad, "RssAnon:"), None, "{bad:?}");
        }
        assert!(used().is_some_and(|bytes| bytes > 0));
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
