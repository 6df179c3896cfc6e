//! How much CPU time has a process used? So far this crate is one measurement, the one that every
//! comparison of gateways needs: the kernel's own account in `/proc/<pid>/stat`.
//!
//! It counts whole clock ticks (10 ms on the usual kernel) of all threads, so differences are
//! taken over seconds, not over single requests. Nothing here sends load.

use std::time::Duration;

/// Clock ticks per second in `/proc`: fixed to 100 for user space on every Linux that Rust targets
/// with the exception of two retired architectures.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// In user space.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

impl CpuTime {
    /// CPU time of a living process.
    ///
    /// # Errors
    ///
    /// The process is gone, or its account cannot be read.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let line =
            std::fs::read_to_string(&path).map_err(|cause| anyhow::anyhow!("{path}: {cause}"))?;
        Self::from_stat(&line).ok_or_else(|| anyhow::anyhow!("{path}: not as proc(5) says"))
    }

    /// Reads the line of `/proc/<pid>/stat` (proc(5), fields 14 and 15).
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

    /// User and system together.
    pub fn total(&self) -> Duration {
        self.user + self.system
    }
}

fn time_of(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAIL: &str = "S 1 2 3 0 -1 4194304 10 0 0 0 250 30 0 0 20 0 4 0 100 0 0";

    #[test]
    fn the_name_of_a_program_cannot_shift_the_fields() {
        for name in ["(edge)", "(a b)", "(x) R 1 (y)", "()"] {
            let time = CpuTime::from_stat(&format!("77 {name} {TAIL}")).expect(name);
            assert_eq!(time.user, Duration::from_millis(2500), "{name}");
            assert_eq!(time.system, Duration::from_millis(300), "{name}");
            assert_eq!(time.total(), Duration::from_millis(2800), "{name}");
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
    fn this_process_has_an_account_and_a_missing_one_has_none() {
        assert!(CpuTime::of(std::process::id()).is_ok());
        let problem = CpuTime::of(0).expect_err("there is no process 0 in /proc");
        assert!(problem.to_string().contains("/proc/0/stat"));
    }
}
