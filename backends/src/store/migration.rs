//! How does the schema come to be? By migrations that only go forward, each in its own transaction.
//!
//! Several programs may try at once: one does the work, the others wait for it. A migration that was
//! applied never changes; a schema of a later program is left alone and told.

use tokio_postgres::{Client, GenericClient};

use super::Result;

/// Every migration in order; the number of the first is 1. Numbers are places in this list; those in the
/// files' names only keep them in order.
const MIGRATIONS: [(&str, &str); 5] = [
    (
        "computers",
        include_str!("../../migrations/0001_computers.sql"),
    ),
    ("reports", include_str!("../../migrations/0002_reports.sql")),
    (
        "accepted_lately",
        include_str!("../../migrations/0003_accepted_lately.sql"),
    ),
    ("outbox", include_str!("../../migrations/0010_outbox.sql")),
    ("wsl", include_str!("../../migrations/0011_wsl.sql")),
];

/// The version of the schema that this program works with.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// Held while the schema changes: "the schema of the backends", as a number of our own.
const LOCK: i64 = 0x7363_6865_6d61;

/// Why the schema was not changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The schema belongs to a later program.
    #[error(
        "the schema has version {found}, this program only knows {VERSION}: run the later program"
    )]
    Later {
        /// What is there.
        found: i32,
    },
    /// The database refused one of them; nothing of it was kept.
    #[error("migration {number} ({name}): {}", super::told(cause))]
    Refused {
        /// Which one.
        number: i32,
        /// Its name.
        name: &'static str,
        /// What the database said.
        cause: tokio_postgres::Error,
    },
    /// The database is away.
    #[error("the database: {}", super::told(.0))]
    Database(#[from] tokio_postgres::Error),
}

/// Brings the schema to [`VERSION`] and returns the version that was there.
///
/// # Errors
///
/// See [`MigrationError`]. What was applied before the error stays.
pub async fn migrate(client: &mut Client) -> std::result::Result<i32, MigrationError> {
    // Held by the session, so that it ends with the process however that ends.
    client
        .execute("select pg_advisory_lock($1)", &[&LOCK])
        .await?;
    let done = apply(client).await;
    client
        .execute("select pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    done
}

async fn apply(client: &mut Client) -> std::result::Result<i32, MigrationError> {
    client
        .batch_execute(
            "create table if not exists schema_migration (
                 number integer primary key,
                 name text not null,
                 applied_at timestamptz not null default now()
             )",
        )
        .await?;
    let found = number(client).await?;
    if found > VERSION {
        return Err(MigrationError::Later { found });
    }
    for (number, (name, sql)) in (1..).zip(MIGRATIONS) {
        if number <= found {
            continue;
        }
        let refused = |cause| MigrationError::Refused {
            number,
            name,
            cause,
        };
        let tx = client.transaction().await?;
        tx.batch_execute(sql).await.map_err(refused)?;
        tx.execute(
            "insert into schema_migration (number, name) values ($1, $2)",
            &[&number, &name],
        )
        .await
        .map_err(refused)?;
        tx.commit().await.map_err(refused)?;
    }
    Ok(found)
}

async fn number(client: &impl GenericClient) -> std::result::Result<i32, tokio_postgres::Error> {
    let row = client
        .query_one("select coalesce(max(number), 0) from schema_migration", &[])
        .await?;
    row.try_get(0)
}

/// The version of a database's schema; 0 for an empty database.
pub(super) async fn version(client: &impl GenericClient) -> Result<i32> {
    let row = client
        .query_one("select to_regclass('schema_migration') is not null", &[])
        .await?;
    match row.try_get(0)? {
        true => Ok(number(client).await?),
        false => Ok(0),
    }
}
