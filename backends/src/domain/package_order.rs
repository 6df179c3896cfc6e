//! Which packages does each computer get or lose? From names, as people write them, to the numbers that
//! an agent understands.
//!
//! A name stands for the newest version that the computer can have. Whatever a computer needs no change
//! for is left out: who has a package installed is not told to install it, and newer versions come by an
//! upgrade. What apt would do beyond the order is bounded by the [`Policy`]. To an agent an upgrade is two
//! changes: the newer version comes and the one that is there goes. It is told both, else it takes the
//! second for one that nobody ordered.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::version;

/// Most names of one order.
pub const NAMES_MAX: usize = 1000;
/// Characters of a list of names that a summary shows.
const SUMMARY_CHARS: usize = 200;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Install what is not there.
    Install,
    /// Remove what is there.
    Remove,
    /// Replace what is there by what is newer.
    Upgrade,
}

/// What an agent may do beyond what it is told, so that dependencies are kept; else it says what it
/// would have to do, and does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing.
    Strict,
    /// Install more.
    AllowInstalls,
    /// Install and remove more.
    AllowAll,
}

impl Policy {
    /// Every policy with its name, in the order of the numbers that agents know them by.
    const ALL: [(Self, &str); 3] = [
        (Self::Strict, "strict"),
        (Self::AllowInstalls, "allow-installs"),
        (Self::AllowAll, "allow-all"),
    ];

    /// The policy of a name.
    pub fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == name);
        found.map(|(policy, _)| *policy)
    }

    /// The number that agents know it by.
    pub fn number(self) -> i64 {
        match self {
            Self::Strict => 0,
            Self::AllowInstalls => 1,
            Self::AllowAll => 2,
        }
    }
}

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What is done.
    pub deed: Deed,
    /// To these packages; to all that can be upgraded where none is named, which only an upgrade may.
    pub names: Vec<String>,
    /// Of upgrades, those that mend a weakness.
    pub security_only: bool,
    /// What may be done besides.
    pub policy: Policy,
}

/// What becomes of the packages of a computer, by their numbers in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// These come.
    pub install: Vec<i64>,
    /// These go.
    pub remove: Vec<i64>,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.install.is_empty() && self.remove.is_empty()
    }

    fn add(&mut self, other: Self) {
        self.install.extend(other.install);
        self.remove.extend(other.remove);
    }

    fn put_in_order(&mut self) {
        for ids in [&mut self.install, &mut self.remove] {
            ids.sort_unstable();
            ids.dedup();
        }
    }
}

/// A package of a name that is meant, as one computer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The computer.
    pub computer: i64,
    /// Number of the package.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// It is there.
    pub installed: bool,
    /// It is there and shall stay in this version.
    pub held: bool,
    /// It would take the place of an older version.
    pub upgrade: bool,
    /// The upgrade mends a weakness.
    pub security: bool,
}

impl Wanted {
    /// Is everything meant that can be upgraded, whichever packages these are?
    pub fn is_everything(&self) -> bool {
        self.names.is_empty() && !self.security_only
    }

    /// What is done to each computer; computers with nothing to do are left out.
    pub fn choose(&self, candidates: &[Candidate]) -> BTreeMap<i64, Change> {
        let mut by_name: BTreeMap<(i64, &str), Vec<&Candidate>> = BTreeMap::new();
        for one in candidates {
            let of = (one.computer, one.name.as_str());
            by_name.entry(of).or_default().push(one);
        }
        let mut chosen: BTreeMap<i64, Change> = BTreeMap::new();
        for ((computer, _), known) in by_name {
            let change = self.of_one_name(&known);
            if !change.is_empty() {
                chosen.entry(computer).or_default().add(change);
            }
        }
        chosen.values_mut().for_each(Change::put_in_order);
        chosen
    }

    fn of_one_name(&self, known: &[&Candidate]) -> Change {
        let installed = known.iter().filter(|one| one.installed);
        let installed: Vec<i64> = installed.map(|one| one.id).collect();
        let (install, remove) = match self.deed {
            Deed::Remove => (None, installed),
            Deed::Install if !installed.is_empty() => (None, Vec::new()),
            Deed::Install => (newest(known.iter().copied()), Vec::new()),
            // An agent that is told to replace what is held does nothing at all. Who names it hears so.
            Deed::Upgrade if self.names.is_empty() && known.iter().any(|one| one.held) => {
                (None, Vec::new())
            }
            Deed::Upgrade => {
                let right = |one: &&Candidate| one.upgrade && (one.security || !self.security_only);
                match newest(known.iter().copied().filter(right)) {
                    None => (None, Vec::new()),
                    newer => (newer, installed),
                }
            }
        };
        Change {
            install: install.into_iter().collect(),
            remove,
        }
    }

    /// In the words of the list of activities.
    pub fn summary(&self) -> String {
        let what = match (self.names.len(), self.security_only) {
            (0, false) => return "Upgrade all packages".to_owned(),
            (0, true) => return "Upgrade all packages with security upgrades".to_owned(),
            (1, _) => "package",
            _ => "packages",
        };
        let deed = match self.deed {
            Deed::Install => "Install",
            Deed::Remove => "Remove",
            Deed::Upgrade => "Upgrade",
        };
        let mut names = String::new();
        for (at, name) in self.names.iter().enumerate() {
            let length = names.chars().count() + name.chars().count();
            if at > 0 && length > SUMMARY_CHARS {
                let more = self.names.len() - at;
                return format!("{deed} {what} {names} and {more} more");
            }
            if at > 0 {
                names.push_str(", ");
            }
            names.push_str(name);
        }
        format!("{deed} {what} {names}")
    }
}

/// Of two that are equally new, the one with the lower number: always the same.
fn newest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<i64> {
    let newer =
        |one: &&Candidate, other: &&Candidate| match version::compare(&one.version, &other.version)
        {
            Ordering::Equal => other.id.cmp(&one.id),
            order => order,
        };
    candidates.max_by(newer).map(|one| one.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages of computer 1 as `id name version state`; `i` installed, `h` installed and held, `a` available, `u` an
    /// upgrade, `s` a security upgrade.
    fn known(lines: &[&str]) -> Vec<Candidate> {
        let read = |line: &&str| {
            let parts: Vec<&str> = line.split(' ').collect();
            let is = |state: &[&str]| state.contains(&parts[3]);
            Candidate {
                computer: 1,
                id: parts[0].parse().expect("a number"),
                name: parts[1].to_owned(),
                version: parts[2].to_owned(),
                installed: is(&["i", "h"]),
                held: is(&["h"]),
                upgrade: is(&["u", "s"]),
                security: is(&["s"]),
            }
        };
        lines.iter().map(read).collect()
    }

    fn wanted(deed: Deed, security_only: bool) -> Wanted {
        Wanted {
            deed,
            names: vec!["hello".to_owned()],
            security_only,
            policy: Policy::AllowInstalls,
        }
    }

    #[test]
    fn a_name_is_the_newest_version_that_a_computer_can_have() {
        let two = known(&["7 hello 1.9 a", "5 hello 1.10 a", "6 hello 1.10 a"]);
        let upgrades = known(&["1 hello 1.0 i", "2 hello 1.2 s", "3 hello 1.3 u"]);
        let kept = known(&["1 hello 1.0 i", "9 hello 0.9 i"]);
        for (deed, security_only, candidates, install, remove) in [
            (Deed::Install, false, &two, vec![5], vec![]),
            (Deed::Upgrade, false, &two, vec![], vec![]),
            (Deed::Remove, false, &two, vec![], vec![]),
            (Deed::Install, false, &upgrades, vec![], vec![]),
            // What is replaced goes.
            (Deed::Upgrade, false, &upgrades, vec![3], vec![1]),
            (Deed::Upgrade, true, &upgrades, vec![2], vec![1]),
            (Deed::Remove, false, &upgrades, vec![], vec![1]),
            (Deed::Remove, false, &kept, vec![], vec![1, 9]),
            (Deed::Upgrade, false, &kept, vec![], vec![]),
        ] {
            let mut chosen = wanted(deed, security_only).choose(candidates);
            let told = chosen.remove(&1).unwrap_or_default();
            let expected = Change { install, remove };
            assert_eq!(told, expected, "{deed:?} {security_only} {candidates:?}");
        }
    }

    #[test]
    fn what_is_held_is_upgraded_only_where_it_is_named() {
        let some = known(&[
            "1 hello 1.0 h",
            "2 hello 1.2 s",
            "4 bye 1.0 i",
            "5 bye 1.2 s",
        ]);
        let mut all = wanted(Deed::Upgrade, true);
        let of = |wanted: &Wanted| wanted.choose(&some).remove(&1).expect("a change");
        let (install, remove) = (vec![2, 5], vec![1, 4]);
        assert_eq!(of(&all), Change { install, remove }, "named");
        all.names.clear();
        let (install, remove) = (vec![5], vec![4]);
        assert_eq!(of(&all), Change { install, remove }, "whatever there is");
    }

    #[test]
    fn each_computer_is_told_its_own_numbers() {
        let mut all = known(&["1 hello 1.0 a", "2 bye 1.0 a"]);
        all.push(Candidate {
            computer: 2,
            id: 9,
            ..all[0].clone()
        });
        let chosen = wanted(Deed::Install, false).choose(&all);
        let installed = |install| Change {
            install,
            remove: Vec::new(),
        };
        let expected = BTreeMap::from([(1, installed(vec![1, 2])), (2, installed(vec![9]))]);
        assert_eq!(chosen, expected);
    }

    #[test]
    fn a_summary_names_what_there_is_room_for() {
        let mut many = wanted(Deed::Install, false);
        assert_eq!(many.summary(), "Install package hello");
        many.names.push("bye".to_owned());
        assert_eq!(many.summary(), "Install packages hello, bye");
        many.names.extend((0..900).map(|n| format!("package-{n}")));
        let told = many.summary();
        assert!(told.ends_with(" more") && told.len() < 300, "{told}");
        many.names.clear();
        many.deed = Deed::Upgrade;
        assert_eq!(many.summary(), "Upgrade all packages");
    }

    #[test]
    fn policies_have_the_names_and_numbers_of_the_protocol() {
        for (number, (policy, name)) in (0..).zip(Policy::ALL) {
            assert_eq!(Policy::named(name), Some(policy));
            assert_eq!(policy.number(), number);
        }
        assert_eq!(Policy::named("any"), None);
    }
}
