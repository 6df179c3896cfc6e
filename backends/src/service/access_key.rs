//! How does an access key come to be? Two random halves: one is shown and noted, the other is a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::secret::{Name, SecretError, Secrets, random};
use crate::store::{self, Store, person};

/// Letters of the half that is shown; 32 of them, so that five bits choose one.
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Both halves.
pub struct Made {
    /// What is shown.
    pub access_key: String,
    /// What signs.
    pub secret_key: String,
}

/// Makes an access key for a person; None where there are too many already.
///
/// # Errors
///
/// It cannot be kept.
pub async fn make(
    store: &Store,
    secrets: &Secrets,
    person: i64,
    title: &str,
) -> Result<Option<Made>, SecretError> {
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte % 32)]);
    let made = Made {
        access_key: random::<20>()?.into_iter().map(letter).collect(),
        secret_key: STANDARD.encode(random::<30>()?),
    };
    {
        let mut connection = store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let count = person::credentials(&tx, person).await?.len();
        if i64::try_from(count).unwrap_or(i64::MAX) >= person::CREDENTIALS_MAX {
            return Ok(None);
        }
    }
    // The secret first: a key that is noted works.
    secrets
        .put(Name::ApiKey(&made.access_key), &made.secret_key)
        .await?;
    let mut connection = store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    person::add_credential(&tx, person, &made.access_key, title).await?;
    store::commit(tx).await?;
    Ok(Some(made))
}

/// Forgets an access key of a person. True where it was one.
///
/// # Errors
///
/// The database's. A secret half that cannot be removed stays behind and opens nothing.
pub async fn remove(
    store: &Store,
    secrets: &Secrets,
    person: i64,
    key: &str,
) -> Result<bool, SecretError> {
    let mut connection = store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let found = person::remove_credential(&tx, person, key).await?;
    store::commit(tx).await?;
    drop(connection);
    if found && let Err(problem) = secrets.remove(Name::ApiKey(key)).await {
        tracing::warn!(%problem, "the secret half of a removed access key stays behind");
    }
    Ok(found)
}
