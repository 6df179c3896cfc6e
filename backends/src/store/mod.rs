//! What is remembered? The only SQL: one file per noun, functions over a transaction.
//!
//! A service opens a transaction, calls what it needs in the order that matters, and commits. Nothing
//! here decides anything that a pure function in `domain` could decide, and nothing here talks to
//! anybody but PostgreSQL. Every statement is bounded in time by the server (`statement_timeout`).

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

use crate::settings::{self, Shared, Wrong};

pub mod account;
pub mod activity;
pub mod computer;
pub mod exchange;
pub mod group;
pub mod listing;
mod migration;
pub mod network;
pub mod outbox;
pub mod package;
pub mod package_feed;
pub mod page;
pub mod person;
pub mod ping;
pub mod removed;
pub mod report;
pub mod repository;
pub mod script;
pub mod sealed;
pub mod search;
pub mod wsl;
pub mod wsl_page;

pub use migration::{MigrationError, VERSION, migrate};

/// A connection is looked at after so long a silence, and given up after twice as long without a sign.
const SILENCE: Duration = Duration::from_secs(30);
/// Longest wait for the answer of a database that is asked whether it is there.
const ANSWER: Duration = Duration::from_secs(5);

/// What stands between us and the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection in time, or none at all.
    #[error("no connection to the database: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// The database refused.
    #[error("the database refused: {}", told(.0))]
    Database(#[from] tokio_postgres::Error),
    /// It is there and says nothing.
    #[error("the database does not answer")]
    Late,
    /// The schema is not the one that this program was written for.
    #[error("the schema has version {found}, this program needs {VERSION}: run `schema migrate`")]
    Schema {
        /// What is there.
        found: i32,
    },
    /// The address is none.
    #[error("store.url is no address of a database: {0}")]
    Address(tokio_postgres::Error),
    /// The pool could not be made.
    #[error("the pool of connections: {0}")]
    Build(#[from] deadpool_postgres::BuildError),
}

impl StoreError {
    /// Is the database away, or not up yet? Waiting helps then; it does not where the database said no.
    pub fn is_away(&self) -> bool {
        let cause = match self {
            Self::Pool(PoolError::Timeout(_)) => return true,
            Self::Pool(
                PoolError::Backend(cause) | PoolError::PostCreateHook(HookError::Backend(cause)),
            )
            | Self::Database(cause) => cause,
            _ => return false,
        };
        match cause.code() {
            // It starts, stops, or has no connection left.
            Some(code) => [
                SqlState::CANNOT_CONNECT_NOW,
                SqlState::ADMIN_SHUTDOWN,
                SqlState::CRASH_SHUTDOWN,
                SqlState::TOO_MANY_CONNECTIONS,
            ]
            .contains(code),
            // Its own words would have a code: this came from the network.
            None => true,
        }
    }
}

/// The database's own words, which its error type keeps to itself.
fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(refusal) => format!("{}: {}", refusal.code().code(), refusal.message()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A running transaction. Dropped without a commit, it leaves nothing behind.
pub type Tx<'a> = deadpool_postgres::Transaction<'a>;

/// A connection out of the pool, to begin a transaction on.
pub type Connection = deadpool_postgres::Client;

/// What is wrong with the address of the database.
pub fn check(settings: &Shared) -> Vec<Wrong> {
    let url = &settings.store.url;
    if url.is_empty() {
        let why = "; a worker with --stub needs none";
        return vec![Wrong::missing("store", "url", why)];
    }
    // Without the address, which may hold a password.
    let wrong = |why: &str| Wrong {
        section: "store",
        key: "url",
        what: format!(
            "`url` is no address of a database, postgres://user:password@host:port/database: {why}"
        ),
    };
    let config: tokio_postgres::Config = match url.parse() {
        Ok(config) => config,
        Err(problem) => return vec![wrong(&told(&problem))],
    };
    let mut found = Vec::new();
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        found.push(wrong("it names no host"));
    }
    if config.get_ssl_mode() == SslMode::Require {
        found.push(wrong(
            "`sslmode=require`, and TLS is not spoken: leave it out",
        ));
    }
    found
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
}

impl Store {
    /// Connects and compares the schema.
    ///
    /// # Errors
    ///
    /// No database there, or another schema.
    pub async fn open(settings: &settings::Store) -> Result<Self> {
        let mut config: tokio_postgres::Config =
            settings.url.parse().map_err(StoreError::Address)?;
        // A machine that vanished says nothing; the kernel's own bounds are hours.
        config
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE / 3)
            .keepalives_retries(3)
            .tcp_user_timeout(2 * SILENCE);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(config, NoTls, recycling);
        // To compile a statement takes the server longer than to carry out any of ours.
        let prepare = format!(
            "set statement_timeout = {0}; set idle_in_transaction_session_timeout = {0}; \
             set jit = off; set application_name = 'backends'",
            settings.statement_timeout.as_millis()
        );
        let pool = Pool::builder(manager)
            .runtime(Runtime::Tokio1)
            .max_size(settings.connections_max)
            .wait_timeout(Some(settings.connect_timeout))
            .create_timeout(Some(settings.connect_timeout))
            .recycle_timeout(Some(Duration::from_secs(5)))
            .post_create(Hook::async_fn(move |client, _| {
                let prepare = prepare.clone();
                Box::pin(async move {
                    client
                        .batch_execute(&prepare)
                        .await
                        .map_err(HookError::Backend)
                })
            }))
            .build()?;
        let store = Self { pool };
        let found = migration::version(&**store.connection().await?).await?;
        match found == VERSION {
            true => Ok(store),
            false => Err(StoreError::Schema { found }),
        }
    }

    /// A connection out of the pool.
    ///
    /// # Errors
    ///
    /// None was free in time, or the database is away.
    pub async fn connection(&self) -> Result<Connection> {
        Ok(self.pool.get().await?)
    }

    /// Is the database there, and does it answer within 5 s?
    ///
    /// # Errors
    ///
    /// It is not.
    pub async fn check(&self) -> Result<()> {
        let answer = async {
            let connection = self.connection().await?;
            Ok(connection.batch_execute("select 1").await?)
        };
        let late = |_| StoreError::Late;
        tokio::time::timeout(ANSWER, answer).await.map_err(late)?
    }
}

/// Begins a transaction.
///
/// # Errors
///
/// The database is away.
pub async fn begin(connection: &mut Connection) -> Result<Tx<'_>> {
    Ok(connection.transaction().await?)
}

/// Commits. Only after this may anybody be told.
///
/// # Errors
///
/// Nothing was stored.
pub async fn commit(tx: Tx<'_>) -> Result<()> {
    Ok(tx.commit().await?)
}

type Values<'a> = &'a [&'a (dyn ToSql + Sync)];

async fn rows(tx: &Tx<'_>, sql: &str, values: Values<'_>) -> Result<Vec<Row>> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query(&statement, values).await?)
}

/// As [`rows`], of a statement that is made for the occasion: kept ones have no bound.
async fn rows_once(tx: &Tx<'_>, sql: &str, values: Values<'_>) -> Result<Vec<Row>> {
    Ok(tx.query(sql, values).await?)
}

async fn find(tx: &Tx<'_>, sql: &str, values: Values<'_>) -> Result<Option<Row>> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query_opt(&statement, values).await?)
}

async fn one(tx: &Tx<'_>, sql: &str, values: Values<'_>) -> Result<Row> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.query_one(&statement, values).await?)
}

async fn run(tx: &Tx<'_>, sql: &str, values: Values<'_>) -> Result<u64> {
    let statement = tx.prepare_cached(sql).await?;
    Ok(tx.execute(&statement, values).await?)
}

/// A time as programs read it, `2026-11-30T11:34:45Z`.
fn iso(column: &str) -> String {
    format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
}

/// A time as people read it, `2026-11-30 11:34:45`, in UTC.
fn shown(column: &str) -> String {
    format!("to_char({column} at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_none_is_told_without_the_password_in_it() {
        for (url, told) in [
            ("", "store.url is not set"),
            ("postgres://u:s3cret@h:port/d", "`url` is no address"),
            ("s3cret", "`url` is no address"),
            ("http://u:s3cret@h/d", "`url` is no address"),
            ("postgres:///d", "names no host"),
            (
                "postgres://u:s3cret@h/d?sslmode=require",
                "TLS is not spoken",
            ),
            ("postgres://u:s3cret@h/d?colour=red", "colour"),
        ] {
            let file = std::env::temp_dir().join(format!("backends-store-{}", fastrand::u64(..)));
            std::fs::write(&file, format!("[store]\nurl = {url}\n")).expect("a file");
            let problems = Shared::read(Some(file.clone()), [], &[check]).expect_err(url);
            std::fs::remove_file(&file).expect("it is there");
            assert!(problems.contains(told), "{url}: {problems}");
            assert!(problems.contains(":2: "), "its place: {problems}");
            assert!(!problems.contains("s3cret"), "{problems}");
        }
        let url = "postgres://u:p@127.0.0.1:5432/d?connect_timeout=3";
        let set = [("BACKENDS_STORE__URL".into(), url.into())];
        assert!(Shared::read(None, set, &[check]).is_ok());
    }
}
