//! How does the schema come to be? By migrations that only go forward, each in its own transaction.
//!
//! Several programs may try at once: one does the work, the others wait for it. A migration that was
//! applied never changes; a schema of a later program is left alone and told.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, GenericClient, NoTls};

use super::Result;
use crate::settings;

/// Every migration: its number, its name and what it does. In the order of their numbers, which may
/// leave gaps.
const MIGRATIONS: &[(i32, &str, &str)] = &[
    (
        1,
        "computers",
        include_str!("../../migrations/0001_computers.sql"),
    ),
    (
        2,
        "reports",
        include_str!("../../migrations/0002_reports.sql"),
    ),
    (
        3,
        "accepted_lately",
        include_str!("../../migrations/0003_accepted_lately.sql"),
    ),
    (
        10,
        "outbox",
        include_str!("../../migrations/0010_outbox.sql"),
    ),
    (11, "wsl", include_str!("../../migrations/0011_wsl.sql")),
    (
        20,
        "persons",
        include_str!("../../migrations/0020_persons.sql"),
    ),
    (
        30,
        "repositories",
        include_str!("../../migrations/0030_repositories.sql"),
    ),
    (
        31,
        "packages",
        include_str!("../../migrations/0031_packages.sql"),
    ),
    (
        32,
        "accounts",
        include_str!("../../migrations/0032_accounts.sql"),
    ),
    (
        40,
        "told_by_agents",
        include_str!("../../migrations/0040_told_by_agents.sql"),
    ),
    (
        50,
        "wsl_numbers",
        include_str!("../../migrations/0050_wsl_numbers.sql"),
    ),
    (
        55,
        "wsl_child",
        include_str!("../../migrations/0055_wsl_child.sql"),
    ),
    (
        56,
        "primary_gid",
        include_str!("../../migrations/0056_primary_gid.sql"),
    ),
    (
        65,
        "activities_of_accounts",
        include_str!("../../migrations/0065_activities_of_accounts.sql"),
    ),
    (
        66,
        "found_by_index",
        include_str!("../../migrations/0066_found_by_index.sql"),
    ),
    (
        67,
        "removed_computers",
        include_str!("../../migrations/0067_removed_computers.sql"),
    ),
];

/// The version of the schema that this program works with: the number of the last migration.
pub const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].0;

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
    /// It does not answer.
    #[error("the database did not answer within {0:?}")]
    Late(Duration),
}

/// Connects, brings the schema to [`VERSION`] and returns the version that was there. A step takes as
/// long as it takes.
///
/// # Errors
///
/// See [`MigrationError`]. What was applied before the error stays.
pub async fn migrate(settings: &settings::Store) -> std::result::Result<i32, MigrationError> {
    let patience = settings.connect_timeout;
    let connecting = tokio_postgres::connect(&settings.url, NoTls);
    let connected = timeout(patience, connecting).await;
    let (mut client, connection) = connected.map_err(|_| MigrationError::Late(patience))??;
    let pump = tokio::spawn(connection);
    let done = locked(&mut client).await;
    drop(client);
    // It ends with its client; what it met was told by what was asked.
    let _ = pump.await;
    done
}

async fn locked(client: &mut Client) -> std::result::Result<i32, MigrationError> {
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
    let applied = numbers(client).await?;
    let found = applied.last().copied().unwrap_or(0);
    if found > VERSION {
        return Err(MigrationError::Later { found });
    }
    for &(number, name, sql) in MIGRATIONS {
        // Not by the last number alone: one that was written beside a later one may come after it.
        if applied.contains(&number) {
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

/// The numbers of what was applied, in order.
async fn numbers(
    client: &impl GenericClient,
) -> std::result::Result<Vec<i32>, tokio_postgres::Error> {
    let rows = client
        .query("select number from schema_migration order by number", &[])
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// The version of a database's schema, 0 for an empty database: the last number up to which nothing
/// is missing.
pub(super) async fn version(client: &impl GenericClient) -> Result<i32> {
    let row = client
        .query_one("select to_regclass('schema_migration') is not null", &[])
        .await?;
    if !row.try_get(0)? {
        return Ok(0);
    }
    Ok(complete(&numbers(client).await?))
}

fn complete(applied: &[i32]) -> i32 {
    let known = MIGRATIONS.iter().map(|(number, ..)| *number);
    let mut before = 0;
    for number in known {
        if !applied.contains(&number) {
            return before;
        }
        before = number;
    }
    applied.last().copied().unwrap_or(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_go_up() {
        assert!(MIGRATIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_schema_is_complete_up_to_the_first_gap() {
        let all: Vec<i32> = MIGRATIONS.iter().map(|(number, ..)| *number).collect();
        assert_eq!(complete(&all), VERSION);
        assert_eq!(complete(&[]), 0);
        assert_eq!(complete(&all[1..]), 0);
        let gap: Vec<i32> = all.iter().copied().filter(|number| *number != 3).collect();
        assert_eq!(complete(&gap), 2);
        let later = [&all[..], &[VERSION + 1]].concat();
        assert_eq!(complete(&later), VERSION + 1);
    }
}
