//! How are packages changed? What somebody wants, as an activity for each computer with something to do.

use std::collections::{BTreeMap, BTreeSet};

use super::refusal::{Answer, Refusal};
use crate::domain::order::{Order, Packages};
use crate::domain::package_order::{Change, Deed, NAMES_MAX, Policy, Wanted};
use crate::domain::person::Person;
use crate::store::group::{self, Timing};
use crate::store::{Tx, package};

/// Computers whose packages are looked at together: what each could have stays in memory meanwhile.
const TOGETHER: usize = 500;
/// Longest spread of deliveries, minutes.
const WINDOW_MAX: i64 = 7 * 24 * 60;
/// Longest name of a package, bytes.
const NAME_BYTES_MAX: usize = 255;

/// What is wanted, of a caller's words.
///
/// # Errors
///
/// A name is none, there are too many, or none where some are needed.
pub fn wanted(
    deed: Deed,
    names: Vec<String>,
    security_only: bool,
    policy: Option<&str>,
) -> Answer<Wanted> {
    if names.is_empty() && deed != Deed::Upgrade {
        return Err(Refusal::missing("packages"));
    }
    if names.len() > NAMES_MAX {
        let message = format!("at most {NAMES_MAX} packages at once");
        return Err(Refusal::argument("InvalidParameter", message));
    }
    let fits = |name: &&String| {
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        visible && (1..=NAME_BYTES_MAX).contains(&name.len())
    };
    if let Some(wrong) = names.iter().find(|name| !fits(name)) {
        return Err(unknown(wrong));
    }
    let everything = names.is_empty() && !security_only;
    let policy = match policy {
        // Which packages are replaced is the agent's choice then: with less it does nothing, and tells what it would do.
        None if everything => Policy::AllowAll,
        // What a package needs comes with it; nothing goes that nobody named.
        None => Policy::AllowInstalls,
        Some(name) => Policy::named(name).ok_or_else(|| {
            let message = format!("`policy` is strict, allow-installs or allow-all, not `{name}`");
            Refusal::argument("InvalidParameter", message)
        })?,
    };
    Ok(Wanted {
        deed,
        names,
        security_only,
        policy,
    })
}

/// Names that packages are looked for by; None where none is given.
///
/// # Errors
///
/// They are too many, or one is too long for a name.
pub fn sought(names: Vec<String>) -> Answer<Option<Vec<String>>> {
    let long = names.iter().any(|name| name.len() > NAME_BYTES_MAX);
    match (names.len(), long) {
        (0, _) => Ok(None),
        (1..=NAMES_MAX, false) => Ok(Some(names)),
        _ => {
            let message =
                format!("`names` is at most {NAMES_MAX} names of at most {NAME_BYTES_MAX} bytes");
            Err(Refusal::argument("InvalidParameter", message))
        }
    }
}

/// Minutes over which deliveries are spread.
///
/// # Errors
///
/// It is out of its range.
pub fn window(told: Option<i64>) -> Answer<i32> {
    let told = told.unwrap_or(0);
    let fits = (0..=WINDOW_MAX).contains(&told);
    let window = i32::try_from(told).ok().filter(|_| fits);
    window.ok_or_else(|| {
        let message =
            format!("`deliver_delay_window` is a number of minutes from 0 to {WINDOW_MAX}");
        Refusal::argument("InvalidParameter", message)
    })
}

/// Orders it of each of these computers that has something to do; the group with these activities.
///
/// # Errors
///
/// No computer knows one of the packages, or none has anything to do; the database's.
pub async fn order(
    tx: &Tx<'_>,
    person: &Person,
    computers: &[i64],
    wanted: &Wanted,
    timing: Timing,
) -> Answer<group::Activity> {
    let chosen = chosen(tx, computers, wanted).await?;
    let summary = wanted.summary();
    let id = group::begin(tx, person, &summary, timing).await?;
    for (change, computers) in chosen {
        let order = Order::Packages(Packages {
            summary: summary.clone(),
            change,
            policy: wanted.policy,
        });
        group::add(tx, person, id, &computers, &order, timing).await?;
    }
    let made = group::get(tx, person.account, id).await?;
    made.ok_or_else(|| Refusal::later("the order was not kept"))
}

/// Computers by what is ordered of them, None for everything that can be upgraded.
type Chosen = BTreeMap<Option<Change>, Vec<i64>>;

async fn chosen(tx: &Tx<'_>, computers: &[i64], wanted: &Wanted) -> Answer<Chosen> {
    let mut chosen = Chosen::new();
    if wanted.is_everything() {
        let upgradable = package::upgradable(tx, computers).await?;
        if !upgradable.is_empty() {
            chosen.insert(None, upgradable);
        }
    }
    let mut missing: BTreeSet<&str> = wanted.names.iter().map(String::as_str).collect();
    for some in computers.chunks(TOGETHER) {
        let candidates = match (wanted.is_everything(), wanted.names.as_slice()) {
            (true, _) => break,
            (false, []) => package::security_upgrades(tx, some).await?,
            (false, names) => package::candidates(tx, some, names).await?,
        };
        for one in &candidates {
            missing.remove(one.name.as_str());
        }
        for (computer, change) in wanted.choose(&candidates) {
            chosen.entry(Some(change)).or_default().push(computer);
        }
    }
    if let Some(name) = missing.first() {
        return Err(unknown(name));
    }
    if chosen.is_empty() {
        let message = match wanted.deed {
            Deed::Install => "the packages are installed already",
            Deed::Remove => "the packages are not installed",
            Deed::Upgrade => "there is nothing to upgrade",
        };
        return Err(Refusal::unknown("UnknownPackages", message));
    }
    Ok(chosen)
}

fn unknown(name: &str) -> Refusal {
    let message = format!("no computer that is meant knows a package `{name}`");
    Refusal::unknown("UnknownPackages", message)
}
