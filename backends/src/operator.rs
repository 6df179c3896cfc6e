//! What can an operator do to the database? The program `schema`: make it, and set an account's key.
//!
//! ```text
//! schema migrate
//! schema registration-key KEY [--account NAME]
//! schema registration-key --none
//! schema pocket ACCOUNT/DISTRIBUTION/SERIES/POCKET [--key FILE]... [--allow-unsigned]
//! schema signing-key FILE
//! ```
//!
//! It reads the same settings as the workers, which refuse a schema that is not theirs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_postgres::NoTls;

use crate::settings::Shared;
use crate::store::{self, Store};

mod repository;

#[derive(Debug, Parser)]
#[command(version, about = "Makes and changes the database of the services")]
struct Line {
    /// File of settings; BACKENDS_CONFIG says the same
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the schema to this program's version
    Migrate,
    /// Set the key with which a registration is accepted at once
    RegistrationKey {
        /// The key
        #[arg(required_unless_present = "none")]
        key: Option<String>,
        /// No key: every registration waits for an administrator
        #[arg(long, conflicts_with = "key")]
        none: bool,
        /// The account
        #[arg(long, default_value = "standalone")]
        account: String,
    },
    /// Make a pocket of a repository, or say anew who uploads into it
    Pocket(repository::Pocket),
    /// Make a key that signs repositories; needs no database
    SigningKey {
        /// Where to write it; its certificate is written to FILE.asc
        file: PathBuf,
        /// Whose it is
        #[arg(long, default_value = "Repository")]
        owner: String,
    },
}

/// The whole life of the program. For `main`.
pub fn main() -> ExitCode {
    let line = Line::parse();
    let told = run(line).map(|said| writeln!(io::stdout(), "{said}"));
    match told {
        Ok(_) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "schema: {problem}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(line: Line) -> Result<String, String> {
    if let Verb::SigningKey { file, owner } = &line.verb {
        return repository::signing_key(file, owner);
    }
    let settings = Shared::read(line.config, std::env::vars_os())?.store;
    if settings.url.is_empty() {
        return Err("store.url is not set: give it by BACKENDS_STORE__URL or --config".to_owned());
    }
    match line.verb {
        Verb::Migrate => {
            let connected = tokio_postgres::connect(&settings.url, NoTls).await;
            let (mut client, connection) = connected.map_err(|cause| cause.to_string())?;
            let pump = tokio::spawn(connection);
            let from = store::migrate(&mut client).await;
            drop(client);
            let _ = pump.await;
            let from = from.map_err(|cause| cause.to_string())?;
            Ok(format!("schema: version {from} -> {}", store::VERSION))
        }
        Verb::RegistrationKey { key, account, .. } => set_key(&settings, &account, key.as_deref())
            .await
            .map_err(|cause| cause.to_string())?
            .then(|| format!("schema: account {account} changed"))
            .ok_or_else(|| format!("there is no account {account}")),
        Verb::Pocket(wanted) => repository::pocket(&settings, &wanted).await,
        // Answered above.
        Verb::SigningKey { .. } => Ok(String::new()),
    }
}

async fn set_key(
    settings: &crate::settings::Store,
    account: &str,
    key: Option<&str>,
) -> store::Result<bool> {
    let store = Store::open(settings).await?;
    let mut connection = store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = store::account::set_key(&tx, account, key).await?;
    store::commit(tx).await?;
    Ok(found)
}
