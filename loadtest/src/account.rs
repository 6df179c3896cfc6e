//! What has a program used? CPU time and memory of a process and all its descendants, from the
//! kernel's own account.
//!
//! CPU time comes from `/proc/<pid>/task/*/schedstat`, in nanoseconds; how it divides into user and
//! system comes from the ticks (10 ms) of `/proc/<pid>/stat`. Memory is the proportional set size of
//! `/proc/<pid>/smaps_rollup`, so pages that processes share are counted once. The kernel's socket
//! buffers are in neither. Time of threads that ended before a reading is not seen.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Clock ticks per second in `/proc`: fixed to 100 for user space on every Linux that Rust targets
/// with the exception of two retired architectures.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time since the start of what was asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// In user space.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl CpuTime {
    /// User and system together.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }

    /// Reads the ticks of `/proc/<pid>/stat` (proc(5), fields 14 and 15).
    pub fn from_stat(line: &str) -> Option<Self> {
        // The name of the program (field 2) stands in brackets and may hold spaces and brackets.
        let (_, after_name) = line.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse().ok().map(time_of);
        Some(Self {
            user: ticks()?,
            system: ticks()?,
        })
    }
}

fn time_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

/// A reading of the account; the difference of two is what was used between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    exact: Duration,
    ticks: CpuTime,
}

impl Reading {
    /// What was used from `before` until this reading: the exact sum, divided into user and system
    /// in the proportion of the ticks.
    pub fn since(&self, before: &Reading) -> CpuTime {
        let exact = self.exact.saturating_sub(before.exact);
        let user = self.ticks.user.saturating_sub(before.ticks.user);
        let system = self.ticks.system.saturating_sub(before.ticks.system);
        let ticks = (user + system).as_secs_f64();
        if ticks == 0.0 {
            return CpuTime {
                user: exact,
                system: Duration::ZERO,
            };
        }
        let user = exact.mul_f64(user.as_secs_f64() / ticks);
        CpuTime {
            user,
            system: exact.saturating_sub(user),
        }
    }
}

/// A process and its descendants, as they were found once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processes(Vec<u32>);

impl Processes {
    /// The living descendants of these processes and the processes themselves.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read, or one of `roots` does not live.
    pub fn below(roots: &[u32]) -> anyhow::Result<Processes> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc").context("/proc")? {
            let name = entry.context("/proc")?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process that ended meanwhile is no child of anybody.
            if let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat"))
                && let Some(parent) = parent_of(&line)
            {
                parents.push((pid, parent));
            }
        }
        if let Some(gone) = roots
            .iter()
            .find(|root| !parents.iter().any(|(pid, _)| pid == *root))
        {
            bail!("there is no process {gone}");
        }
        Ok(Processes(descendants(roots, &parents)))
    }

    /// Their ids.
    pub fn ids(&self) -> &[u32] {
        &self.0
    }

    /// Reads the account now.
    ///
    /// # Errors
    ///
    /// One of the processes is gone, or its account cannot be read.
    pub fn read(&self) -> anyhow::Result<Reading> {
        let mut sum = Reading::default();
        for pid in &self.0 {
            let path = format!("/proc/{pid}/stat");
            let line = fs::read_to_string(&path).context(path.clone())?;
            let Some(ticks) = CpuTime::from_stat(&line) else {
                bail!("{path}: not as proc(5) says");
            };
            sum.ticks.user += ticks.user;
            sum.ticks.system += ticks.system;
            sum.exact += exact(*pid).unwrap_or_else(|| ticks.total());
        }
        Ok(sum)
    }

    /// Proportional set size of all of them, in bytes.
    ///
    /// # Errors
    ///
    /// One of the processes is gone, or it belongs to somebody else.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for pid in &self.0 {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).context(path.clone())?;
            sum += pss_of(&text).with_context(|| format!("{path}: no line `Pss:`"))?;
        }
        Ok(sum)
    }
}

/// The sum over the threads of a process.
fn exact(pid: u32) -> Option<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else {
            continue;
        };
        sum += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(sum))
}

fn parent_of(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn descendants(roots: &[u32], parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(of) = found.get(next).copied() {
        for (pid, parent) in parents {
            if *parent == of && !found.contains(pid) {
                found.push(*pid);
            }
        }
        next += 1;
    }
    found
}

fn pss_of(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Time that a core was busy with anything, since the start of the machine.
///
/// # Errors
///
/// `/proc/stat` cannot be read or does not know the core.
pub fn core_busy(core: usize) -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    busy_of(&text, core).with_context(|| format!("/proc/stat: no line for core {core}"))
}

fn busy_of(stat: &str, core: usize) -> Option<Duration> {
    let name = format!("cpu{core}");
    let line = stat
        .lines()
        .find(|line| line.split_ascii_whitespace().next() == Some(name.as_str()))?;
    let ticks: Vec<u64> = line
        .split_ascii_whitespace()
        .skip(1)
        .map_while(|field| field.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
    let busy = ticks.iter().take(8).sum::<u64>() - ticks.get(3)? - ticks.get(4)?;
    Some(time_of(busy))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 1 2 3 0 -1 4194304 10 0 0 0 250 30 0 0 20 0 4 0 100 0 0";

    #[test]
    fn the_name_of_a_program_cannot_shift_the_fields() {
        for name in ["(edge)", "(a b)", "(x) R 1 (y)", "()"] {
            let line = format!("77 {name} {TAIL}");
            let time = CpuTime::from_stat(&line).expect(name);
            assert_eq!(time.user, Duration::from_millis(2500), "{name}");
            assert_eq!(time.system, Duration::from_millis(300), "{name}");
            assert_eq!(time.total(), Duration::from_millis(2800), "{name}");
            assert_eq!(parent_of(&line), Some(1), "{name}");
        }
    }

    #[test]
    fn a_broken_line_is_not_a_time() {
        for line in [
            "",
            "1",
            "1 (x) S 1 2",
            "1 (x) S 1 2 3 4 5 6 7 8 9 10 user system",
        ] {
            assert_eq!(CpuTime::from_stat(line), None, "{line}");
        }
    }

    #[test]
    fn the_exact_sum_is_divided_as_the_ticks_are() {
        let before = Reading::default();
        let after = Reading {
            exact: Duration::from_millis(400),
            ticks: CpuTime {
                user: Duration::from_millis(100),
                system: Duration::from_millis(300),
            },
        };
        let used = after.since(&before);
        assert_eq!(used.user, Duration::from_millis(100));
        assert_eq!(used.system, Duration::from_millis(300));
        assert_eq!(after.since(&after).total(), Duration::ZERO);
    }

    #[test]
    fn descendants_are_found_over_generations_and_strangers_are_not() {
        let parents = [(10, 1), (11, 10), (12, 11), (20, 1), (21, 20)];
        assert_eq!(descendants(&[10], &parents), [10, 11, 12]);
        assert_eq!(descendants(&[12], &parents), [12]);
    }

    #[test]
    fn this_process_has_an_account_and_a_missing_one_has_none() {
        let me = Processes::below(&[std::process::id()]).unwrap();
        assert!(me.ids().contains(&std::process::id()));
        assert!(me.memory().unwrap() > 0);
        let before = me.read().unwrap();
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
        }
        let used = me.read().unwrap().since(&before);
        assert!(used.total() > Duration::ZERO);
        assert!(Processes::below(&[0]).is_err());
    }

    #[test]
    fn proportional_memory_is_read_in_bytes() {
        let text = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:    900 kB\nPss:     123 kB\nPss_Anon: 4 kB\n";
        assert_eq!(pss_of(text), Some(123 * 1024));
        assert_eq!(pss_of("Rss: 9 kB\n"), None);
    }

    #[test]
    fn a_core_is_busy_with_everything_but_idling() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 400 50 6 7 8 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\n";
        assert_eq!(busy_of(text, 0), Some(Duration::from_millis(270)));
        assert_eq!(busy_of(text, 1), Some(Duration::from_millis(10)));
        assert_eq!(busy_of(text, 2), None);
    }
}
