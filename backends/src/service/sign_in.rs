//! Who signs in? Passwords are judged here for the API and for the pages; slowly, and few at once.
//!
//! Guesses are counted by address, whether anybody has it or not: neither what is answered nor when tells a stranger
//! which addresses are known.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::domain::password;
use crate::domain::person::Person;
use crate::store::{self, Store, StoreError};

/// Passwords that are judged at once: each takes a core and 19 MiB for a moment.
const AT_ONCE: usize = 2;
/// Longest wait for a place.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Nobody of that name, or another password.
    #[error("wrong e-mail address or password")]
    Wrong,
    /// Too many wrong passwords for this address, whosever it is, the last of them within a minute.
    #[error("too many wrong passwords: wait a minute")]
    Locked,
    /// Too many sign in at once.
    #[error("too many sign in at once: try again")]
    Busy,
    /// The database's part is not done.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges passwords. Cheap to clone.
#[derive(Clone)]
pub struct Judge {
    store: Store,
    places: Arc<Semaphore>,
}

impl Judge {
    /// Over this database.
    pub fn new(store: Store) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Self { store, places }
    }

    /// Who has this e-mail address and password?
    ///
    /// # Errors
    ///
    /// Nobody, or it cannot be told now.
    pub async fn person(&self, email: &str, said: &str) -> Result<Person, Denied> {
        let place = timeout(PATIENCE, self.places.acquire());
        let Ok(Ok(_place)) = place.await else {
            return Err(Denied::Busy);
        };
        // A database knows no character 0, and nobody's address has one.
        let email = &email.replace('\0', "\u{fffd}");
        let (known, locked) = {
            let mut connection = self.store.connection().await?;
            let tx = store::begin(&mut connection).await?;
            let known = store::person::by_email(&tx, email).await?;
            (known, store::person::is_locked(&tx, email).await?)
        };
        // For the log; 0 is nobody. What somebody typed may be their password.
        let person = known.as_ref().map_or(0, |known| known.person.id);
        // From here on all is the same whether somebody has this address or not, but for what nobody sees who does not
        // know the password.
        if locked {
            tracing::warn!(person, "too many wrong passwords");
            return Err(Denied::Locked);
        }
        let hash = known.as_ref().and_then(|known| known.hash.clone());
        let said = said.to_owned();
        // Beside the other requests: it takes a while.
        let judged = tokio::task::spawn_blocking(move || password::fits(&said, hash.as_deref()));
        let right = judged.await.unwrap_or(false);
        let admitted = known.map(|known| known.person).filter(|_| right);
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        match &admitted {
            Some(admitted) => store::person::let_in(&tx, admitted).await?,
            None => store::person::guessed_wrong(&tx, email).await?,
        }
        store::commit(tx).await?;
        admitted.ok_or_else(|| {
            tracing::warn!(person, "a wrong e-mail address or password");
            Denied::Wrong
        })
    }
}
