//! Where was it measured? What a reader has to know to judge figures.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::peer::{Proxy, version_of};

/// Facts of the machine and the programs, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// Seconds since 1970.
    pub time: u64,
    /// Commit of the working tree, with `+` where it was changed.
    pub commit: String,
    /// Name and value.
    pub facts: Vec<(String, String)>,
}

impl Machine {
    /// As lines.
    pub fn text(&self) -> String {
        let lines = self
            .facts
            .iter()
            .map(|(name, value)| format!("* {name}: {value}\n"));
        lines.collect()
    }
}

/// Gathers them.
pub fn facts(proxies: &[Proxy]) -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let git = |arguments: &[&str]| {
        std::process::Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map_or_else(String::new, |output| {
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            })
    };
    let changed = if git(&["status", "--porcelain", "-uno"]).is_empty() {
        ""
    } else {
        "+"
    };
    let commit = format!("{}{changed}", git(&["rev-parse", "--short", "HEAD"]));
    let mut facts: Vec<(String, String)> = [
        ("CPU", format!("{model}, {cores} cores")),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("commit", commit.clone()),
        (
            "compiler",
            version_of(Path::new("rustc"), "--version").unwrap_or_default(),
        ),
        (
            "load of the machine before",
            read("/proc/loadavg").trim().to_owned(),
        ),
        (
            "placement",
            "the proxy alone on core 0; load and origins on core 1; loopback; logs in memory"
                .to_owned(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for proxy in proxies {
        facts.push((
            proxy.name().to_owned(),
            proxy.version().unwrap_or_else(|| "unknown".to_owned()),
        ));
    }
    Machine {
        time: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        commit,
        facts,
    }
}
