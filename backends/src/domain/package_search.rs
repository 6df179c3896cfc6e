//! Which packages does somebody look for? The question and its answer, whoever gives it.
//!
//! The same is answered by SQL (`store::package`) and from memory (`service::package_search`); this file
//! says what it means. A computer counts when it is accepted, of the account, and named where computers
//! are named. A package is found when its name is among `names` and its name or summary holds `text`
//! (upper and lower case of ASCII are the same), each where it is given; when at least one of these
//! computers has it installed, available, as an upgrade or held; and when, for every state that is asked
//! for, at least one of them (`true`) or none (`false`) has it in that state. Packages come by name, then
//! version, both by their bytes, then number. Each tells its computers, all of them or `computers_max` for each state with their counts.

use serde::{Deserialize, Serialize};

/// Most packages of one answer.
pub const LIMIT_MAX: i64 = 10_000;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Whose computers.
    pub account_id: i64,
    /// Which of them; none named: all.
    #[serde(default)]
    pub computer_ids: Option<Vec<i64>>,
    /// A part of the name or the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The whole name, one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Installed somewhere, or nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<bool>,
    /// Available somewhere, or nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<bool>,
    /// An upgrade somewhere, or nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<bool>,
    /// Held somewhere, or nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<bool>,
    /// A security upgrade somewhere, or nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<bool>,
    /// So many of them, up to [`LIMIT_MAX`].
    pub limit: i64,
    /// From this one on.
    pub offset: i64,
    /// So many numbers of computers of each state, the lowest, beside how many there are; not given: all, and no counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computers_max: Option<i64>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// How many there are, beyond those that are shown.
    pub count: i64,
    /// Those from `offset` on.
    pub packages: Vec<Found>,
    /// The database as of this time, milliseconds since 1970.
    pub as_of: i64,
}

/// A package that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// Where it is what, by numbers of computers in order.
    pub computers: Computers,
    /// On how many it is what, where not all of them were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// Numbers of computers by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computers {
    /// Where it is installed.
    pub installed: Vec<i64>,
    /// Where it can be installed.
    pub available: Vec<i64>,
    /// Where it would take the place of an older version.
    pub upgrades: Vec<i64>,
    /// Where it is to stay as it is.
    pub held: Vec<i64>,
}

/// How many computers by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Where it is installed.
    pub installed: i64,
    /// Where it can be installed.
    pub available: i64,
    /// Where it would take the place of an older version.
    pub upgrades: i64,
    /// Where it is to stay as it is.
    pub held: i64,
}

impl Question {
    /// How many, and from which one on, within their bounds.
    pub fn page(&self) -> (i64, i64) {
        (self.limit.clamp(0, LIMIT_MAX), self.offset.max(0))
    }

    /// How many numbers of computers of each state; None: all.
    pub fn computers(&self) -> Option<i64> {
        self.computers_max.map(|most| most.max(0))
    }

    /// What is asked of each state: installed, available, upgrade, held, security.
    pub fn states(&self) -> [Option<bool>; 5] {
        [
            self.installed,
            self.available,
            self.upgrade,
            self.held,
            self.security,
        ]
    }
}

impl Found {
    /// On how many computers it is what; where nobody counted, all of them are told.
    pub fn counts(&self) -> Counts {
        let Computers {
            installed,
            available,
            upgrades,
            held,
        } = &self.computers;
        let count = |computers: &[i64]| i64::try_from(computers.len()).unwrap_or(i64::MAX);
        self.counts.unwrap_or_else(|| Counts {
            installed: count(installed),
            available: count(available),
            upgrades: count(upgrades),
            held: count(held),
        })
    }
}
