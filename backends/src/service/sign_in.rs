//! Who signs in? Passwords are judged here for the API and for the pages; slowly, and few at once.

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
    /// Too many wrong passwords in the last minute.
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
        let known = {
            let mut connection = self.store.connection().await?;
            let tx = store::begin(&mut connection).await?;
            store::person::by_email(&tx, email).await?
        };
        if known.as_ref().is_some_and(|known| known.locked) {
            tracing::warn!(email, "too many wrong passwords");
            return Err(Denied::Locked);
        }
        let (said, hash) = (
            said.to_owned(),
            known.as_ref().and_then(|known| known.hash.clone()),
        );
        // Beside the other requests: it takes a while.
        let judged = tokio::task::spawn_blocking(move || password::fits(&said, hash.as_deref()));
        let right = judged.await.unwrap_or(false);
        let Some(known) = known else {
            tracing::warn!("a wrong e-mail address");
            return Err(Denied::Wrong);
        };
        let mut connection = self.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        store::person::judged(&tx, known.person.id, right).await?;
        store::commit(tx).await?;
        match right {
            true => Ok(known.person),
            false => {
                tracing::warn!(person = known.person.id, "a wrong password");
                Err(Denied::Wrong)
            }
        }
    }
}
