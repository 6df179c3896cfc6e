//! How do we live with a Vault that may be sealed or away? By what it told before.
//!
//! A value is asked for again when it is no longer fresh. While the Vault gives none, the old value
//! serves on, nobody waits for it more than once in [`REST`], and `/health` says so. A task keeps the
//! token alive and sees when the Vault is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::SecretError;
use super::cache::{Cache, Known};
use super::client::{Client, Token};
use super::trouble::Trouble;
use crate::settings;
use crate::worker::Worker;

/// After trouble nobody asks again for so long.
const REST: Duration = Duration::from_secs(2);
/// Time between two looks at the Vault.
const LOOK: Duration = Duration::from_secs(2);
/// Questions at once.
const QUESTIONS_MAX: usize = 8;
/// Longest name, bytes.
const NAME_BYTES_MAX: usize = 512;

/// A Vault, and what it told.
pub struct Vault {
    client: Client,
    questions: Semaphore,
    cache: Mutex<Cache>,
    token: Mutex<Option<(Token, Instant)>>,
    /// The engine is of the version that the settings say, as far as it tells.
    fits: AtomicBool,
    condition: Mutex<Condition>,
    worker: Option<Worker>,
}

#[derive(Clone, Debug)]
struct Condition {
    trouble: Option<Trouble>,
    /// When that was met last.
    at: Instant,
}

impl Vault {
    /// Begins to live with a Vault; it need not be there. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The file of the authority is none.
    pub fn open(
        settings: settings::Vault,
        fresh: Duration,
        worker: Option<Worker>,
    ) -> Result<Arc<Self>, String> {
        if settings.in_the_open() {
            warn!(
                "secrets and the login to the Vault cross the network readable: begin \
                 `secret.vault_url` with https:// and name its authority by `secret.vault_ca`"
            );
        }
        let vault = Arc::new(Self {
            client: Client::new(settings)?,
            questions: Semaphore::new(QUESTIONS_MAX),
            cache: Mutex::new(Cache::new(fresh)),
            token: Mutex::new(None),
            fits: AtomicBool::new(false),
            condition: Mutex::new(Condition {
                trouble: None,
                at: Instant::now(),
            }),
            worker,
        });
        tokio::spawn(look_after(Arc::downgrade(&vault)));
        Ok(vault)
    }

    /// The value under a name.
    ///
    /// # Errors
    ///
    /// The Vault gives none and never did.
    pub async fn get(self: &Arc<Self>, name: &str) -> Result<Option<Arc<str>>, SecretError> {
        if name.len() > NAME_BYTES_MAX {
            return Ok(None);
        }
        let old = match lock(&self.cache).look(name, Instant::now()) {
            Known::Fresh(value) => return Ok(Some(value)),
            Known::Stale(value) => Some(value),
            Known::Unknown => None,
        };
        if let Some(trouble) = self.rests() {
            return old.map(Some).ok_or(SecretError::Vault(trouble));
        }
        let owned = name.to_owned();
        let told = self
            .ask(move |client, token| client.read(token, &owned))
            .await;
        match told {
            Ok(Some(value)) => {
                let value: Arc<str> = value.into();
                lock(&self.cache).put(name, Arc::clone(&value), Instant::now());
                Ok(Some(value))
            }
            Ok(None) => {
                lock(&self.cache).remove(name);
                Ok(None)
            }
            Err(trouble) => old.map(Some).ok_or(SecretError::Vault(trouble)),
        }
    }

    /// Puts a value under a name.
    ///
    /// # Errors
    ///
    /// The Vault did not take it.
    pub async fn put(self: &Arc<Self>, name: &str, value: &str) -> Result<(), SecretError> {
        let owned = (name.to_owned(), value.to_owned());
        let asked = self.ask(move |client, token| client.write(token, &owned.0, &owned.1));
        asked.await.map_err(SecretError::Vault)?;
        lock(&self.cache).put(name, value.into(), Instant::now());
        Ok(())
    }

    /// Nothing under a name.
    ///
    /// # Errors
    ///
    /// The Vault did not do it.
    pub async fn remove(self: &Arc<Self>, name: &str) -> Result<(), SecretError> {
        let owned = name.to_owned();
        let asked = self.ask(move |client, token| client.remove(token, &owned));
        asked.await.map_err(SecretError::Vault)?;
        lock(&self.cache).remove(name);
        Ok(())
    }

    /// The trouble, where it was met a moment ago.
    fn rests(&self) -> Option<Trouble> {
        let condition = lock(&self.condition);
        let trouble = condition.trouble.clone()?;
        (condition.at.elapsed() < REST).then_some(trouble)
    }

    /// Asks with a token, on a thread that may wait; a token that is refused is replaced once.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl Fn(&Client, &Token) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let Ok(_place) = self.questions.acquire().await else {
            return Err(Trouble::Away("closed".to_owned()));
        };
        // Whoever had the place before may have met trouble just now.
        if let Some(trouble) = self.rests() {
            return Err(trouble);
        }
        let vault = Arc::clone(self);
        let asking = tokio::task::spawn_blocking(move || {
            let token = vault.token()?;
            match question(&vault.client, &token) {
                Err(Trouble::Refused) => {
                    let fresh = vault.log_in()?;
                    question(&vault.client, &fresh)
                }
                other => other,
            }
        });
        let told = asking.await;
        let told = told.unwrap_or_else(|_| Err(Trouble::Away("no thread".to_owned())));
        self.note(told.as_ref().err());
        told
    }

    fn token(&self) -> Result<Token, Trouble> {
        let held = lock(&self.token).clone();
        let token = match held {
            Some((token, _)) => token,
            None => self.log_in()?,
        };
        if !self.fits.load(Ordering::Relaxed) {
            self.client.fits(&token)?;
            self.fits.store(true, Ordering::Relaxed);
        }
        Ok(token)
    }

    fn log_in(&self) -> Result<Token, Trouble> {
        let token = self.client.log_in()?;
        *lock(&self.token) = Some((token.clone(), Instant::now()));
        Ok(token)
    }

    /// Notes how it is, and says so.
    fn note(&self, trouble: Option<&Trouble>) {
        let mut condition = lock(&self.condition);
        if condition.trouble.as_ref() != trouble {
            match trouble {
                Some(trouble) => warn!(%trouble, "the Vault gives nothing: cached values are used"),
                None => info!("the Vault is back"),
            }
            condition.trouble = trouble.cloned();
        }
        condition.at = Instant::now();
        drop(condition);
        if let Some(worker) = &self.worker {
            let state = trouble.map_or_else(
                || "ok".to_owned(),
                |trouble| {
                    let values = lock(&self.cache).len();
                    format!("{trouble}; {values} cached values are used on")
                },
            );
            worker.says("vault", &state);
        }
    }

    /// Sees how it is, and keeps the token alive.
    fn look(&self) {
        if let Err(trouble) = self.client.check() {
            self.note(Some(&trouble));
            return;
        }
        let held = lock(&self.token).clone();
        let kept = match held {
            None => self.token().map(drop),
            Some((token, since)) => match token.lifetime {
                Some(lifetime) if since.elapsed() > lifetime / 2 => {
                    let renewed = self.client.renew(&token);
                    // One that may not be renewed comes to its end: a new login takes its place.
                    match renewed {
                        Ok(token) => {
                            *lock(&self.token) = Some((token, Instant::now()));
                            Ok(())
                        }
                        Err(_) => self.log_in().map(drop),
                    }
                }
                _ => self.token().map(drop),
            },
        };
        self.note(kept.as_ref().err());
    }
}

/// Ends when the last user of the Vault is gone.
async fn look_after(vault: Weak<Vault>) {
    loop {
        let Some(held) = vault.upgrade() else { return };
        let _ = tokio::task::spawn_blocking(move || held.look()).await;
        tokio::time::sleep(LOOK).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What another thread left behind in a panic is whole: each is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
