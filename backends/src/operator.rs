//! What can an operator do to the database? The program `schema`: make it, set an account's key, let
//! somebody in.
//!
//! ```text
//! schema migrate
//! schema registration-key KEY [--account NAME]
//! schema registration-key --none
//! schema account NAME [--title TITLE] [--auto-accept on|off] [--pending-max COUNT]
//! schema person EMAIL [--name NAME] [--role administrator] < password
//! schema access-key EMAIL [--title TITLE]
//! schema pocket ACCOUNT/DISTRIBUTION/SERIES/POCKET [--key FILE]... [--allow-unsigned]
//! schema signing-key FILE
//! ```
//!
//! It reads the same settings as the workers, which refuse a schema that is not theirs. A password comes
//! from standard input or a file, never from the command line, which others can see.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::broker;
use crate::secret::{self, Name, Secrets};
use crate::settings::{Check, Shared};
use crate::store::{self, Store};

mod persons;
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
    /// Make an account, whose computers and persons are apart from those of others; or change what is said of one
    Account(persons::Account),
    /// Make somebody who may sign in, or set their password; it is read from standard input
    Person(persons::Person),
    /// Make an access key for the API; both halves are printed, the secret one only this time
    AccessKey {
        /// Whose
        email: String,
        /// For people
        #[arg(long, default_value = "")]
        title: String,
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

/// Who looks at the settings before anything is connected.
const CHECKS: [Check; 3] = [store::check, broker::check, secret::check];

/// The database and who keeps its secrets.
struct Ground {
    store: Store,
    secrets: Secrets,
}

impl Ground {
    async fn open(settings: &Shared) -> Result<Self, String> {
        let store = Store::open(&settings.store).await.map_err(told)?;
        let secrets = Secrets::open(&settings.secret, &store, None)
            .await
            .map_err(told)?;
        Ok(Self { store, secrets })
    }
}

fn told(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}

#[tokio::main(flavor = "current_thread")]
async fn run(line: Line) -> Result<String, String> {
    if let Verb::SigningKey { file, owner } = &line.verb {
        return repository::signing_key(file, owner);
    }
    let settings = Shared::read(line.config, std::env::vars_os(), &CHECKS)?;
    match line.verb {
        Verb::Migrate => migrate(&settings).await,
        Verb::RegistrationKey { key, account, .. } => {
            let ground = Ground::open(&settings).await?;
            set_key(&ground, &account, key.as_deref()).await
        }
        Verb::Account(account) => persons::account(&Ground::open(&settings).await?, &account).await,
        Verb::Person(person) => {
            let password = person.password()?;
            persons::make(&Ground::open(&settings).await?, &person, &password).await
        }
        Verb::AccessKey { email, title } => {
            persons::access_key(&Ground::open(&settings).await?, &email, &title).await
        }
        Verb::Pocket(wanted) => repository::pocket(&settings.store, &wanted).await,
        // Answered above.
        Verb::SigningKey { .. } => Ok(String::new()),
    }
}

async fn migrate(settings: &Shared) -> Result<String, String> {
    let from = store::migrate(&settings.store).await.map_err(told)?;
    let mut said = format!("schema: version {from} -> {}", store::VERSION);
    let ground = Ground::open(settings).await?;
    if let Some(more) = hide_keys(&ground).await? {
        said.push('\n');
        said.push_str(&more);
    }
    Ok(said)
}

/// Registration keys that still stand readable beside their accounts are moved behind the secrets. One
/// is taken away only when it is kept there; where nobody keeps secrets all stay as they are, and count.
async fn hide_keys(ground: &Ground) -> Result<Option<String>, String> {
    let mut connection = ground.store.connection().await.map_err(told)?;
    let tx = store::begin(&mut connection).await.map_err(told)?;
    let keys = store::account::readable_keys(&tx).await.map_err(told)?;
    if keys.is_empty() {
        return Ok(None);
    }
    if !ground.secrets.kept() {
        return Ok(Some(format!(
            "schema: {} registration keys stand readable in the database: set secret.key_file or \
             secret.vault_url and run `schema migrate` again",
            keys.len()
        )));
    }
    for (account, key) in &keys {
        let name = Name::Registration(account);
        // What is kept already was set later.
        if ground.secrets.get(name).await.map_err(told)?.is_none() {
            ground.secrets.put(name, key).await.map_err(told)?;
        }
        store::account::hide_key(&tx, account).await.map_err(told)?;
    }
    store::commit(tx).await.map_err(told)?;
    Ok(Some(format!(
        "schema: {} registration keys moved",
        keys.len()
    )))
}

async fn set_key(ground: &Ground, account: &str, key: Option<&str>) -> Result<String, String> {
    let mut connection = ground.store.connection().await.map_err(told)?;
    let tx = store::begin(&mut connection).await.map_err(told)?;
    // Locks the account, so that two who set a key come one after the other.
    if !store::account::hide_key(&tx, account).await.map_err(told)? {
        return Err(format!("there is no account {account}"));
    }
    let name = Name::Registration(account);
    match key {
        Some("") => return Err("the key is empty: --none takes it away".to_owned()),
        Some(key) => ground.secrets.put(name, key).await.map_err(told)?,
        None => ground.secrets.remove(name).await.map_err(told)?,
    }
    store::commit(tx).await.map_err(told)?;
    Ok(format!("schema: account {account} changed"))
}
