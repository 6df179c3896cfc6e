//! What packages are there, and what does a computer tell of its own? Numbers, spans and digests.
//!
//! Agents know a package by a digest until they are told its number, and then speak of numbers, whole
//! spans of them at once.

use sha1::{Digest, Sha1};

use super::fields::{Fields, Invalid, Rows, int, invalid, name, pair, text, time};
use crate::bpickle::Value;

/// Most packages or digests of one message.
const ENTRIES_MAX: usize = 10_000;
/// Most spans of one field.
const SPANS_MAX: usize = 100_000;
/// Most relations of one package.
const RELATIONS_MAX: usize = 10_000;
/// Numbers of packages lie below.
const ID_END: i64 = 1 << 53;

/// A package, as an agent that has it describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// 65537 for a Debian package.
    pub kind: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its section.
    pub section: String,
    /// One line for people.
    pub summary: String,
    /// More for people.
    pub description: String,
    /// Bytes to fetch.
    pub size: Option<i64>,
    /// Bytes on the disk.
    pub installed_size: Option<i64>,
    /// What it provides, needs, replaces or stands against.
    pub relations: Vec<(i64, String)>,
}

impl Package {
    /// What agents know it by.
    pub fn hash(&self) -> [u8; 20] {
        let mut relations: Vec<&(i64, String)> = self.relations.iter().collect();
        relations.sort_unstable();
        let mut digest = Sha1::new();
        digest.update(format!("[{} {} {}]", self.kind, self.name, self.version));
        for (kind, expression) in relations {
            digest.update(format!("[{kind} {expression}]"));
        }
        digest.finalize().into()
    }
}

/// A digest by which an agent asks for a number.
pub type Hash = [u8; 20];

/// Digests whose numbers an agent wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownHashes {
    /// Its number for this question.
    pub request: i64,
    /// In the order of the answer.
    pub hashes: Vec<Hash>,
}

/// Packages that an agent describes, because we did not know their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPackages {
    /// Its number for this question.
    pub request: i64,
    /// In the order of the answer; None in the place of one that does not fit, whose number is not told.
    pub packages: Vec<Option<Package>>,
}

/// A set of numbers of packages, as spans (first, last) in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(Vec<(i64, i64)>);

impl Ids {
    /// As a multirange of the database: `{[1,3],[7,7]}`.
    pub fn written(&self) -> String {
        let spans: Vec<String> = self
            .0
            .iter()
            .map(|(first, last)| format!("[{first},{last}]"))
            .collect();
        format!("{{{}}}", spans.join(","))
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// In which states a package can be, in the order of [`Reported`].
pub const STATES: [&str; 6] = [
    "installed",
    "available",
    "available-upgrades",
    "locked",
    "autoremovable",
    "security",
];

/// What changed among the packages of a computer, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Packages that are in a state now.
    pub added: [Ids; 6],
    /// Packages that are in it no more.
    pub removed: [Ids; 6],
}

/// How an agent's look at its packages ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReporterResult {
    /// 0 where all is well.
    pub code: i64,
    /// What went wrong.
    pub error: String,
    /// When, where it is told.
    pub at: Option<std::time::SystemTime>,
}

pub(super) fn reported(fields: Fields<'_>, rows: &mut Rows) -> Result<Reported, Invalid> {
    let mut reported = Reported::default();
    for (at, state) in STATES.into_iter().enumerate() {
        reported.added[at] = ids(fields, state, rows)?;
        reported.removed[at] = ids(fields, &format!("not-{state}"), rows)?;
    }
    Ok(reported)
}

fn ids(fields: Fields<'_>, field: &str, rows: &mut Rows) -> Result<Ids, Invalid> {
    let spans = fields.some(field, span, rows)?;
    match spans.len() > SPANS_MAX {
        true => Err(invalid(field, "fewer spans")),
        false => Ok(Ids(spans)),
    }
}

fn span(value: &Value) -> Result<(i64, i64), &'static str> {
    let (first, last) = match value {
        Value::Int(id) => (*id, *id),
        _ => pair(int, int)(value)?,
    };
    match first >= 0 && first <= last && last < ID_END {
        true => Ok((first, last)),
        false => Err("a number of a package, or a first and a last"),
    }
}

pub(super) fn unknown_hashes(fields: Fields<'_>) -> Result<UnknownHashes, Invalid> {
    Ok(UnknownHashes {
        request: fields.get("request-id", int)?,
        hashes: few("hashes", fields.list("hashes", hash)?)?,
    })
}

fn hash(value: &Value) -> Result<Hash, &'static str> {
    let bytes = value.as_bytes().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or("a digest of 20 bytes")
}

pub(super) fn add_packages(fields: Fields<'_>, rows: &mut Rows) -> Result<AddPackages, Invalid> {
    let mut packages = Vec::new();
    for row in few("packages", fields.rows("packages")?.iter().collect())? {
        packages.push(rows.keep(Fields::of(row).and_then(package)));
    }
    Ok(AddPackages {
        request: fields.get("request-id", int)?,
        packages,
    })
}

fn few<T>(field: &str, entries: Vec<T>) -> Result<Vec<T>, Invalid> {
    match entries.len() > ENTRIES_MAX {
        true => Err(invalid(field, "at most 10000 entries")),
        false => Ok(entries),
    }
}

fn package(row: Fields<'_>) -> Result<Package, Invalid> {
    let relations = row.list("relations", pair(int, text))?;
    if relations.len() > RELATIONS_MAX {
        return Err(invalid("relations", "at most 10000 entries"));
    }
    Ok(Package {
        kind: row.get("type", int)?,
        name: row.get("name", name)?,
        version: row.get("version", name)?,
        section: row.optional("section", text)?.unwrap_or_default(),
        summary: row.optional("summary", text)?.unwrap_or_default(),
        description: row.optional("description", text)?.unwrap_or_default(),
        size: row.optional("size", int)?,
        installed_size: row.optional("installed-size", int)?,
        relations,
    })
}

pub(super) fn reporter_result(fields: Fields<'_>) -> Result<ReporterResult, Invalid> {
    Ok(ReporterResult {
        code: fields.get("code", int)?,
        error: fields.optional("err", text)?.unwrap_or_default(),
        at: fields.optional("report-timestamp", time)?,
    })
}

/// The answer to a question for numbers, in its order; null for what is not known.
pub fn package_ids(request: i64, ids: &[Option<i64>]) -> Value {
    let ids = ids
        .iter()
        .map(|id| id.map_or(Value::Null, Value::Int))
        .collect();
    Value::dict([
        ("type", "package-ids".into()),
        ("request-id", request.into()),
        ("ids", Value::List(ids)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(entries: [(&str, Value); 1]) -> Value {
        Value::dict(entries)
    }

    #[test]
    fn numbers_come_alone_and_in_spans() {
        let list = Value::List(vec![
            Value::Int(7),
            Value::Tuple(vec![Value::Int(1), Value::Int(3)]),
        ]);
        let value = fields([("not-locked", list)]);
        let mut rows = Rows::default();
        let told = reported(Fields::of(&value).expect("fields"), &mut rows).expect("right");
        assert_eq!(told.removed[3].written(), "{[7,7],[1,3]}");
        assert!(told.added.iter().all(Ids::is_empty));
        assert_eq!(Ids::default().written(), "{}");
        for (first, last) in [(3, 1), (-1, 4), (0, i64::MAX)] {
            let span = Value::Tuple(vec![Value::Int(first), Value::Int(last)]);
            let list = Value::List(vec![span, Value::Int(7)]);
            let value = fields([("installed", list)]);
            let mut rows = Rows::default();
            let told = reported(Fields::of(&value).expect("fields"), &mut rows).expect("a list");
            assert_eq!(told.added[0].written(), "{[7,7]}");
            assert_eq!(rows.left_out(), 1, "{first} {last}");
        }
    }

    #[test]
    fn a_package_that_does_not_fit_leaves_the_others_in_their_places() {
        let package = |name: &str| {
            Value::dict([
                ("name", name.into()),
                ("type", Value::Int(65537)),
                ("version", "1.0".into()),
            ])
        };
        let list = Value::List(vec![package("a"), package(&"b".repeat(256)), package("c")]);
        let value = Value::dict([("packages", list), ("request-id", Value::Int(1))]);
        let mut rows = Rows::default();
        let told = add_packages(Fields::of(&value).expect("fields"), &mut rows).expect("a list");
        let names = told
            .packages
            .iter()
            .map(|one| one.as_ref().map(|one| one.name.as_str()));
        assert_eq!(names.collect::<Vec<_>>(), [Some("a"), None, Some("c")]);
        assert_eq!(rows.left_out(), 1);
    }

    #[test]
    fn the_digest_is_over_relations_in_order() {
        // SHA-1 of `[65537 hello 1.0][262148 libc6][458759 hello-old]`, by another program.
        let package = Package {
            kind: 65537,
            name: "hello".to_owned(),
            version: "1.0".to_owned(),
            section: String::new(),
            summary: String::new(),
            description: String::new(),
            size: None,
            installed_size: None,
            relations: vec![
                (458_759, "hello-old".to_owned()),
                (262_148, "libc6".to_owned()),
            ],
        };
        let hex: String = package.hash().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "43a30b71739e13082f32e73692133a3377333410");
    }
}
