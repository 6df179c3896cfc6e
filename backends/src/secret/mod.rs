//! What must nobody read? The secret that signs tokens, the secret halves of API keys, registration
//! keys. They are kept by a Vault, or encrypted in the database.
//!
//! A secret is asked for before a transaction begins: a Vault may take its time. Nothing here is
//! printed or logged.

use std::sync::Arc;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::settings::{self, Shared, Wrong};
use crate::store::{self, Store, StoreError, sealed};
use crate::worker::Worker;

mod cache;
mod client;
mod file;
mod seal;
mod trouble;
mod vault;

pub use trouble::Trouble;

/// Why a secret was not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The settings name nobody who keeps secrets.
    #[error("nobody keeps secrets: set secret.key_file or secret.vault_url")]
    Nobody,
    /// The settings do not fit.
    #[error("{0}")]
    Settings(String),
    /// The database holds secrets that no key of the settings opens.
    #[error(
        "the secret `{0}` in the database is not opened by secret.key: name the key it was made with"
    )]
    Closed(String),
    /// The Vault gives none.
    #[error("the Vault: {0}")]
    Vault(#[from] Trouble),
    /// The database gives none.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
}

/// Which secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// What signs tokens.
    TokenSigning,
    /// The secret half of this access key.
    ApiKey(&'a str),
    /// The registration key of this account.
    Registration(&'a str),
}

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Random bytes of the secret that signs tokens; 172 characters.
const SIGNING_BYTES: usize = 129;

impl Name<'_> {
    fn path(self) -> String {
        match self {
            Self::TokenSigning => "token-signing".to_owned(),
            Self::ApiKey(key) => format!("api-key/{}", plain(key)),
            Self::Registration(account) => format!("registration-key/{}", plain(account)),
        }
    }
}

/// A name that stays one segment of a path, whoever decodes it on the way.
fn plain(name: &str) -> String {
    utf8_percent_encode(name, PLAIN)
        .to_string()
        .replace('%', "=")
}

/// What is wrong with what the settings say of who keeps secrets; nobody need.
pub fn check(settings: &Shared) -> Vec<Wrong> {
    let wrong = |key, what| Wrong {
        section: "secret",
        key,
        what,
    };
    match &settings.secret.keeper {
        settings::Keeper::Nobody => Vec::new(),
        settings::Keeper::Database(keys) => {
            let problem = seal::Keys::read(keys.show()).err();
            problem.map(|told| wrong("key", told)).into_iter().collect()
        }
        settings::Keeper::Vault(vault) => {
            let file = vault.ca.as_deref();
            let ca = file.and_then(|file| client::check_authorities(file).err());
            let ca = ca.map(|told| wrong("vault_ca", format!("`vault_ca`: {told}")));
            let url = (!client::is_address(&vault.url)).then(|| {
                let told = "`vault_url` is no address of the form https://vault.example.com:8200";
                wrong("vault_url", told.to_owned())
            });
            ca.into_iter().chain(url).collect()
        }
    }
}

/// What is missing for a service that cannot do without.
pub fn check_kept(settings: &Shared) -> Vec<Wrong> {
    match &settings.secret.keeper {
        settings::Keeper::Nobody => vec![Wrong {
            section: "secret",
            key: "key_file",
            what: SecretError::Nobody.to_string(),
        }],
        _ => Vec::new(),
    }
}

/// Whoever keeps the secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets(Arc<Inner>);

struct Inner {
    store: Store,
    keeper: Keeper,
}

enum Keeper {
    Nobody,
    Database(seal::Keys),
    Vault(Arc<vault::Vault>),
}

impl Secrets {
    /// Begins with whom the settings name; a worker says then how a Vault is, which need not be there.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// Settings that do not fit each other, or do not open what the database holds.
    pub async fn open(
        settings: &settings::Secret,
        store: &Store,
        worker: Option<&Worker>,
    ) -> Result<Self, SecretError> {
        let keeper = match &settings.keeper {
            settings::Keeper::Nobody => Keeper::Nobody,
            settings::Keeper::Database(keys) => {
                Keeper::Database(seal::Keys::read(keys.show()).map_err(SecretError::Settings)?)
            }
            settings::Keeper::Vault(vault) => {
                let vault = vault::Vault::open(vault.clone(), settings.cache, worker.cloned());
                Keeper::Vault(vault.map_err(SecretError::Settings)?)
            }
        };
        let mut connection = store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let one = sealed::any(&tx).await?;
        match (&keeper, one) {
            (Keeper::Nobody, Some((name, _))) => return Err(SecretError::Closed(name)),
            (Keeper::Database(keys), Some((name, sealed)))
                if keys.open(&name, &sealed).is_none() =>
            {
                return Err(SecretError::Closed(name));
            }
            _ => {}
        }
        Ok(Self(Arc::new(Inner {
            store: store.clone(),
            keeper,
        })))
    }

    /// Is there anybody who keeps secrets?
    pub fn kept(&self) -> bool {
        !matches!(self.0.keeper, Keeper::Nobody)
    }

    /// The secret of this name; None where there is none.
    ///
    /// # Errors
    ///
    /// It cannot be told now.
    pub async fn get(&self, name: Name<'_>) -> Result<Option<Arc<str>>, SecretError> {
        let path = name.path();
        match &self.0.keeper {
            Keeper::Nobody => Ok(None),
            Keeper::Vault(vault) => vault.get(&path).await,
            Keeper::Database(keys) => {
                let mut connection = self.0.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                let Some(sealed) = sealed::get(&tx, &path).await? else {
                    return Ok(None);
                };
                match keys.open(&path, &sealed) {
                    Some(value) => Ok(Some(value.into())),
                    None => Err(SecretError::Closed(path)),
                }
            }
        }
    }

    /// Keeps a secret under this name, in place of the one before.
    ///
    /// # Errors
    ///
    /// It is not kept.
    pub async fn put(&self, name: Name<'_>, value: &str) -> Result<(), SecretError> {
        let path = name.path();
        match &self.0.keeper {
            Keeper::Nobody => Err(SecretError::Nobody),
            Keeper::Vault(vault) => vault.put(&path, value).await,
            Keeper::Database(keys) => {
                let sealed = keys.seal(&path, value).ok_or(SecretError::Random)?;
                let mut connection = self.0.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                sealed::put(&tx, &path, &sealed).await?;
                Ok(store::commit(tx).await?)
            }
        }
    }

    /// Forgets the secret of this name.
    ///
    /// # Errors
    ///
    /// It may still be there.
    pub async fn remove(&self, name: Name<'_>) -> Result<(), SecretError> {
        let path = name.path();
        match &self.0.keeper {
            Keeper::Nobody => Ok(()),
            Keeper::Vault(vault) => vault.remove(&path).await,
            Keeper::Database(_) => {
                let mut connection = self.0.store.connection().await?;
                let tx = store::begin(&mut connection).await?;
                sealed::remove(&tx, &path).await?;
                Ok(store::commit(tx).await?)
            }
        }
    }

    /// The registration key of an account; None also where there is no such account, which asks nobody. A
    /// key that still stands readable beside its account is not told.
    ///
    /// # Errors
    ///
    /// It cannot be told now: nobody may be let in or refused.
    pub async fn registration_key(&self, account: &str) -> Result<Option<Arc<str>>, SecretError> {
        if !self.kept() {
            return Ok(None);
        }
        let exists = {
            let mut connection = self.0.store.connection().await?;
            let tx = store::begin(&mut connection).await?;
            store::account::exists(&tx, account).await?
        };
        match exists {
            true => self.get(Name::Registration(account)).await,
            false => Ok(None),
        }
    }

    /// The secret that signs tokens, made at first use; all workers have the same.
    ///
    /// # Errors
    ///
    /// It cannot be told or made now.
    pub async fn token_signing(&self) -> Result<Arc<str>, SecretError> {
        if let Some(value) = self.get(Name::TokenSigning).await? {
            return Ok(value);
        }
        let mut connection = self.0.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        // Another worker may be at the same; a Vault of version 1 would take both.
        sealed::lock(&tx).await?;
        if let Some(value) = self.get(Name::TokenSigning).await? {
            return Ok(value);
        }
        let value = STANDARD.encode(random::<SIGNING_BYTES>()?);
        self.put(Name::TokenSigning, &value).await?;
        store::commit(tx).await?;
        Ok(value.into())
    }
}

/// Random bytes that nobody can guess.
///
/// # Errors
///
/// The system has none.
pub fn random<const COUNT: usize>() -> Result<[u8; COUNT], SecretError> {
    let mut bytes = [0; COUNT];
    rand::fill(&mut bytes).map_err(|_| SecretError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_no_secret_is_told_before_anything_is_connected() {
        let ca = std::env::temp_dir().join(format!("backends-ca-{}", fastrand::u64(..)));
        std::fs::write(&ca, "nothing").expect("a file");
        let ca_told = format!(
            "BACKENDS_SECRET__VAULT_CA: `vault_ca`: {}: no cert",
            ca.display()
        );
        let ca_name = ca.display().to_string();
        let short = &*"0".repeat(63);
        for (set, told) in [
            (vec![], "nobody keeps secrets"),
            (
                vec![("KEY", short)],
                "BACKENDS_SECRET__KEY: secret.key: line 1 is no key of 64 hexadecimal digits",
            ),
            (
                vec![
                    ("VAULT_URL", "https://v"),
                    ("VAULT_TOKEN", "t"),
                    ("VAULT_CA", &ca_name),
                ],
                &ca_told,
            ),
            (
                vec![("VAULT_URL", "http://v:port"), ("VAULT_TOKEN", "t")],
                "`vault_url` is no address",
            ),
            (vec![("VAULT_URL", "http://v")], "needs `vault_token`"),
        ] {
            let set = set.into_iter().map(|(key, value)| {
                let name = format!("BACKENDS_SECRET__{key}");
                (name.into(), value.into())
            });
            let problems = Shared::read(None, set, &[check, check_kept]).expect_err(told);
            assert!(problems.contains(told), "{told}: {problems}");
            assert_eq!(problems.lines().count(), 1, "{problems}");
        }
        std::fs::remove_file(&ca).expect("it is there");
    }

    #[test]
    fn a_name_never_leaves_its_folder() {
        for (name, path) in [
            (Name::TokenSigning, "token-signing"),
            (Name::ApiKey("AB_1-c"), "api-key/AB_1-c"),
            (Name::ApiKey("../x"), "api-key/=2E=2E=2Fx"),
            (Name::Registration("a?b c"), "registration-key/a=3Fb=20c"),
        ] {
            assert_eq!(name.path(), path);
        }
    }
}
