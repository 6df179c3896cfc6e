//! What do repositories hold? Pockets, who may upload into them, packages, and which pocket offers what.

use super::{Result, Tx, find, one, rows, run};
use crate::domain::repository::{Digests, Package, Place};

/// A pocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pocket {
    /// Its number.
    pub id: i64,
    /// Where it is.
    pub place: Place,
    /// Of each there is an index.
    pub architectures: Vec<String>,
    /// Unsigned uploads may come in.
    pub unsigned_uploads: bool,
    /// What it is at.
    pub revision: i64,
}

/// A package as it lies in the pool.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The name of its file.
    pub name: String,
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// What an index says of it.
    pub indexed: Package,
}

const POCKET: &str = "select pocket.id, account.name, distribution, series, pocket.name, \
    architectures, unsigned_uploads, revision \
    from repository_pocket pocket join account on account.id = account_id";

fn pocket(row: &tokio_postgres::Row) -> Result<Pocket> {
    Ok(Pocket {
        id: row.try_get(0)?,
        place: Place {
            account: row.try_get(1)?,
            distribution: row.try_get(2)?,
            series: row.try_get(3)?,
            pocket: row.try_get(4)?,
        },
        architectures: row.try_get(5)?,
        unsigned_uploads: row.try_get(6)?,
        revision: row.try_get(7)?,
    })
}

/// All pockets.
///
/// # Errors
///
/// The database's.
pub async fn pockets(tx: &Tx<'_>) -> Result<Vec<Pocket>> {
    let sql = format!("{POCKET} order by pocket.id");
    rows(tx, &sql, &[]).await?.iter().map(pocket).collect()
}

/// The pocket of this place.
///
/// # Errors
///
/// The database's.
pub async fn find_pocket(tx: &Tx<'_>, place: &Place) -> Result<Option<Pocket>> {
    let sql = format!(
        "{POCKET} where account.name = $1 and distribution = $2 and series = $3 \
         and pocket.name = $4"
    );
    let Place {
        account,
        distribution,
        series,
        pocket: name,
    } = place;
    let row = find(tx, &sql, &[account, distribution, series, name]).await?;
    row.as_ref().map(pocket).transpose()
}

/// Makes a pocket, or changes what there is. None where there is no such account.
///
/// # Errors
///
/// The database's.
pub async fn put_pocket(
    tx: &Tx<'_>,
    place: &Place,
    architectures: &[String],
    unsigned_uploads: bool,
) -> Result<Option<i64>> {
    // Its indexes change with its architectures.
    let sql = "insert into repository_pocket as old \
                   (account_id, distribution, series, name, architectures, unsigned_uploads) \
               select id, $2, $3, $4, $5, $6 from account where name = $1 \
               on conflict (account_id, distribution, series, name) do update set \
                   architectures = excluded.architectures, \
                   unsigned_uploads = excluded.unsigned_uploads, revision = old.revision + 1 \
               returning id";
    let row = find(
        tx,
        sql,
        &[
            &place.account,
            &place.distribution,
            &place.series,
            &place.pocket,
            &architectures,
            &unsigned_uploads,
        ],
    )
    .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// These certificates, by fingerprint, and no others may sign uploads into a pocket.
///
/// # Errors
///
/// The database's.
pub async fn set_uploaders(tx: &Tx<'_>, pocket: i64, keys: &[(String, String)]) -> Result<()> {
    let sql = "delete from repository_uploader where pocket_id = $1";
    run(tx, sql, &[&pocket]).await?;
    let (fingerprints, certificates): (Vec<&str>, Vec<&str>) =
        keys.iter().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
    let sql = "insert into repository_uploader select $1, * from unnest($2::text[], $3::text[]) \
               on conflict do nothing";
    run(tx, sql, &[&pocket, &fingerprints, &certificates]).await?;
    Ok(())
}

/// The certificates of those who may sign uploads into a pocket.
///
/// # Errors
///
/// The database's.
pub async fn uploaders(tx: &Tx<'_>, pocket: i64) -> Result<Vec<String>> {
    let sql = "select certificate from repository_uploader where pocket_id = $1 \
               order by fingerprint";
    let rows = rows(tx, sql, &[&pocket]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Locks a pocket and those that share its pool: imports into them come one after the other.
///
/// # Errors
///
/// The database's.
pub async fn lock_pool(tx: &Tx<'_>, place: &Place) -> Result<()> {
    let sql = "select from repository_pocket pocket join account on account.id = account_id \
               where account.name = $1 and distribution = $2 order by pocket.id \
               for no key update of pocket";
    rows(tx, sql, &[&place.account, &place.distribution]).await?;
    Ok(())
}

/// Locks a pocket alone and returns it as it is.
///
/// # Errors
///
/// The database's.
pub async fn lock_pocket(tx: &Tx<'_>, id: i64) -> Result<Option<Pocket>> {
    let sql = format!("{POCKET} where pocket.id = $1 for no key update of pocket");
    let row = find(tx, &sql, &[&id]).await?;
    row.as_ref().map(pocket).transpose()
}

/// Was this `.changes` imported before?
///
/// # Errors
///
/// The database's.
pub async fn is_known(tx: &Tx<'_>, pocket: i64, sha256: &[u8]) -> Result<bool> {
    let sql = "select exists (select from repository_upload where pocket_id = $1 and sha256 = $2)";
    Ok(one(tx, sql, &[&pocket, &sha256]).await?.try_get(0)?)
}

/// The digest of the package that lies at a path of a distribution's pool, and its number.
///
/// # Errors
///
/// The database's.
pub async fn at_path(tx: &Tx<'_>, place: &Place, path: &str) -> Result<Option<(i64, Vec<u8>)>> {
    let sql = "select file.id, sha256 from repository_file file \
               join account on account.id = account_id \
               where account.name = $1 and distribution = $2 and path = $3";
    let row = find(tx, sql, &[&place.account, &place.distribution, &path]).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    Ok(Some((row.try_get(0)?, row.try_get(1)?)))
}

/// The number of the package in a distribution's pool that has this name and digest.
///
/// # Errors
///
/// The database's.
pub async fn with_digest(
    tx: &Tx<'_>,
    place: &Place,
    name: &str,
    sha256: &[u8],
) -> Result<Option<i64>> {
    let sql = "select file.id from repository_file file \
               join account on account.id = account_id \
               where account.name = $1 and distribution = $2 and file.name = $3 and sha256 = $4 \
               order by file.id limit 1";
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&place.account, &place.distribution, &name, &sha256];
    let row = find(tx, sql, &values).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Adds a package to a distribution's pool.
///
/// # Errors
///
/// The database's.
pub async fn add_file(tx: &Tx<'_>, place: &Place, stored: &Stored) -> Result<i64> {
    let Package {
        path,
        architecture,
        component,
        control,
        digests,
    } = &stored.indexed;
    let sql = "insert into repository_file (account_id, distribution, path, name, size, md5, sha1, \
                   sha256, package, version, architecture, component, control) \
               select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 from account \
               where name = $1 returning id";
    let size = i64::try_from(digests.size).unwrap_or(i64::MAX);
    let row = one(
        tx,
        sql,
        &[
            &place.account,
            &place.distribution,
            path,
            &stored.name,
            &size,
            &&digests.md5[..],
            &&digests.sha1[..],
            &&digests.sha256[..],
            &stored.package,
            &stored.version,
            architecture,
            component,
            control,
        ],
    )
    .await?;
    Ok(row.try_get(0)?)
}

/// An upload was imported: its packages are offered from the next revision on.
///
/// # Errors
///
/// The database's.
pub async fn imported(
    tx: &Tx<'_>,
    pocket: i64,
    changes: &str,
    sha256: &[u8],
    signer: Option<&str>,
    files: &[i64],
) -> Result<()> {
    let sql = "insert into repository_upload (pocket_id, changes, sha256, signer) \
               values ($1, $2, $3, $4) returning id";
    let row = one(tx, sql, &[&pocket, &changes, &sha256, &signer]).await?;
    let upload: i64 = row.try_get(0)?;
    let sql = "insert into repository_content select $1, unnest($2::bigint[]), $3 \
               on conflict do nothing";
    run(tx, sql, &[&pocket, &files, &upload]).await?;
    let sql = "update repository_pocket set revision = revision + 1 where id = $1";
    run(tx, sql, &[&pocket]).await?;
    Ok(())
}

/// What a pocket offers.
///
/// # Errors
///
/// The database's.
pub async fn content(tx: &Tx<'_>, pocket: i64) -> Result<Vec<Package>> {
    let sql = "select path, architecture, component, control, size, md5, sha1, sha256 \
               from repository_content join repository_file on id = file_id \
               where pocket_id = $1 order by package, version, architecture, id";
    let mut packages = Vec::new();
    for row in rows(tx, sql, &[&pocket]).await? {
        let size: i64 = row.try_get(4)?;
        packages.push(Package {
            path: row.try_get(0)?,
            architecture: row.try_get(1)?,
            component: row.try_get(2)?,
            control: row.try_get(3)?,
            digests: Digests {
                size: u64::try_from(size).unwrap_or(0),
                md5: digest(row.try_get(5)?),
                sha1: digest(row.try_get(6)?),
                sha256: digest(row.try_get(7)?),
            },
        });
    }
    Ok(packages)
}

/// A digest of another length was never stored; it would match nothing.
fn digest<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}
