//! Which files can we still reach? Landlock: the kernel holds us to a list of folders, whoever we are.
//!
//! Promises: what was enforced is told in words; files that are open stay open. A process that replaces one with the same
//! list is held to it already, because the list is inherited: another layer would gain nothing, and there are 16 of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};

use super::ConfineError;
use crate::config::model::Landlock;

/// File accesses as of Linux 6.2: opening, making, removing, truncating.
const VERSION: ABI = ABI::V3;

/// What every program on this machine needs to start and to look names up.
const SYSTEM_PROGRAMS: [&str; 6] = ["/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin"];
const SYSTEM_FILES: [&str; 17] = [
    "/proc",
    "/sys",
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    // The authorities that come with the system, for TLS to workers: see `tls::roots`.
    "/etc/ssl/certs",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
];
const SYSTEM_WRITABLE: [&str; 1] = ["/dev/null"];

/// Files and folders that we need. What does not exist is left out.
#[derive(Debug, Default)]
pub struct Reach {
    /// To read; in folders, everything below.
    pub readable: BTreeSet<PathBuf>,
    /// To read and write.
    pub writable: BTreeSet<PathBuf>,
    /// To start.
    pub programs: BTreeSet<PathBuf>,
}

impl Reach {
    /// In words.
    fn text(&self) -> String {
        let list = |paths: &BTreeSet<PathBuf>| {
            let paths: Vec<_> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            paths.join(" ")
        };
        format!(
            "read {}; write {}; start {}",
            list(&self.readable),
            list(&self.writable),
            list(&self.programs)
        )
    }
}

/// The folder in which a file lies: a file that is replaced is another file.
pub fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Holds the process to what it needs; says to what.
pub(super) fn confine(
    wanted: Landlock,
    reach: &Reach,
    before: Option<&str>,
) -> Result<Option<String>, ConfineError> {
    if wanted == Landlock::Off {
        return Ok(None);
    }
    let text = reach.text();
    if before == Some(&text) {
        return Ok(Some(text));
    }
    let level = match wanted {
        Landlock::Require => CompatLevel::HardRequirement,
        Landlock::Off | Landlock::Try => CompatLevel::BestEffort,
    };
    let status = match restrict(level, reach) {
        Ok(status) => status.ruleset,
        Err(error) if wanted == Landlock::Require => {
            return Err(ConfineError::Landlock(error.to_string()));
        }
        Err(error) => {
            tracing::warn!(%error, "landlock: no file is out of reach");
            return Ok(None);
        }
    };
    match status {
        RulesetStatus::FullyEnforced => {}
        RulesetStatus::PartiallyEnforced => {
            tracing::warn!("landlock: this kernel enforces a part of it only");
        }
        RulesetStatus::NotEnforced => {
            tracing::warn!("landlock: this kernel does not enforce it, no file is out of reach");
            return Ok(None);
        }
    }
    Ok(Some(text))
}

fn restrict(level: CompatLevel, reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let run = read | AccessFs::Execute;
    let write = AccessFs::from_all(VERSION) & !BitFlags::from(AccessFs::Execute);
    let rules = Ruleset::default()
        .set_compatibility(level)
        .handle_access(AccessFs::from_all(VERSION))?
        .create()?;
    rules
        // A file cannot have the rights of a folder; that is no loss.
        .set_compatibility(CompatLevel::BestEffort)
        .add_rules(path_beneath_rules(SYSTEM_PROGRAMS, run))?
        .add_rules(path_beneath_rules(&reach.programs, run))?
        .add_rules(path_beneath_rules(SYSTEM_FILES, read))?
        .add_rules(path_beneath_rules(&reach.readable, read))?
        .add_rules(path_beneath_rules(SYSTEM_WRITABLE, write))?
        .add_rules(path_beneath_rules(&reach.writable, write))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_reached_by_its_folder() {
        assert_eq!(folder_of(Path::new("/etc/x/a.pem")), Path::new("/etc/x"));
        assert_eq!(folder_of(Path::new("a.pem")), Path::new("."));
    }

    #[test]
    fn who_is_confined_like_that_already_is_not_again() {
        let reach = Reach {
            readable: BTreeSet::from([PathBuf::from("/a")]),
            ..Reach::default()
        };
        let before = reach.text();
        // This would confine the test otherwise.
        let told = confine(Landlock::Require, &reach, Some(&before)).unwrap();
        assert_eq!(told, Some(before));
        assert_eq!(confine(Landlock::Off, &reach, None).unwrap(), None);
    }
}
