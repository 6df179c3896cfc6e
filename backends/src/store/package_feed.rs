//! What is new among packages and computers? For a copy in memory that follows the database.
//!
//! Whoever follows takes a [`horizon`] first and then what was written since the horizon before. A
//! transaction that was under way at a horizon is younger than it, so what it commits later is found the
//! next time; what was found twice is the same.

use super::{Result, Tx, one, rows};

/// Where a follower stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The oldest transaction that was under way.
    oldest: String,
    /// The database's time, milliseconds since 1970.
    pub as_of: i64,
}

/// A package, as it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line for people.
    pub summary: String,
}

/// Spans of numbers, each from the first to before the second, in order and apart.
pub type Spans = Box<[(i64, i64)]>;

/// What a computer has: installed, available, upgrades, held, security.
pub type Holdings = [Spans; 5];

/// Where a follower stands now.
///
/// # Errors
///
/// The database's.
pub async fn horizon(tx: &Tx<'_>) -> Result<Horizon> {
    let sql = "select pg_snapshot_xmin(pg_current_snapshot())::text, \
               (extract(epoch from clock_timestamp()) * 1000)::bigint";
    let row = one(tx, sql, &[]).await?;
    Ok(Horizon {
        oldest: row.try_get(0)?,
        as_of: row.try_get(1)?,
    })
}

/// The oldest transaction whose work a follower may not have seen; everything where it begins.
fn oldest(since: Option<&Horizon>) -> &str {
    since.map_or("0", |horizon| &horizon.oldest)
}

/// Packages that were added since.
///
/// # Errors
///
/// The database's.
pub async fn packages(tx: &Tx<'_>, since: Option<&Horizon>) -> Result<Vec<Named>> {
    let sql = "select id, name, version, summary from package \
               where written_by >= $1::text::xid8";
    let mut packages = Vec::new();
    for row in rows(tx, sql, &[&oldest(since)]).await? {
        packages.push(Named {
            id: row.try_get(0)?,
            name: row.try_get(1)?,
            version: row.try_get(2)?,
            summary: row.try_get(3)?,
        });
    }
    Ok(packages)
}

/// What computers have whose packages changed since.
///
/// # Errors
///
/// The database's.
pub async fn holdings(tx: &Tx<'_>, since: Option<&Horizon>) -> Result<Vec<(i64, Holdings)>> {
    let sql = "select computer_id, installed::text, available::text, upgrades::text, held::text, \
               security::text from computer_packages where written_by >= $1::text::xid8";
    let mut all = Vec::new();
    for row in rows(tx, sql, &[&oldest(since)]).await? {
        let mut holdings = Holdings::default();
        for (at, spans) in holdings.iter_mut().enumerate() {
            *spans = read(row.try_get(at + 1)?);
        }
        all.push((row.try_get(0)?, holdings));
    }
    Ok(all)
}

/// Every accepted computer and its account.
///
/// # Errors
///
/// The database's.
pub async fn roll(tx: &Tx<'_>) -> Result<Vec<(i64, i64)>> {
    let sql = "select id, account_id from computer where accepted";
    let rows = rows(tx, sql, &[]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// A multirange as the database writes it: `{[1,4),[7,8)}`.
fn read(written: &str) -> Spans {
    let spans = written.trim_matches(['{', '}']).split(['[', ')']);
    let spans = spans.filter_map(|span| {
        let (first, end) = span.split_once(',')?;
        Some((first.parse().ok()?, end.parse().ok()?))
    });
    spans.collect()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn multiranges_are_read_as_they_are_written() {
        assert_eq!(*read("{}"), []);
        assert_eq!(*read("{[1,4)}"), [(1, 4)]);
        assert_eq!(*read("{[1,4),[7,8),[10,99)}"), [(1, 4), (7, 8), (10, 99)]);
    }
}
