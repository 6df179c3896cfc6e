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

use super::cache::{Cache, Known};
use super::client::{Client, Token};
use super::trouble::Trouble;
use super::{Name, SecretError};
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

    /// Asks with a token, on a thread that may wait.
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
        let asking = tokio::task::spawn_blocking(move || vault.with_token(question));
        let told = asking.await;
        let told = told.unwrap_or_else(|_| Err(Trouble::Away("no thread".to_owned())));
        self.note(told.as_ref().err());
        told
    }

    /// Asks; a token that is refused is replaced once.
    fn with_token<T>(
        &self,
        question: impl Fn(&Client, &Token) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let token = self.token()?;
        match question(&self.client, &token) {
            Err(Trouble::Refused) => {
                let fresh = self.log_in()?;
                question(&self.client, &fresh)
            }
            other => other,
        }
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
        // One that is open and knows us may still tell nothing: trouble is over when it has told something.
        let troubled = lock(&self.condition).trouble.is_some();
        let proven = kept.and_then(|()| match troubled {
            true => self.with_token(|client, token| {
                let name = Name::TokenSigning.path();
                client.read(token, &name).map(drop)
            }),
            false => Ok(()),
        });
        self.note(proven.as_ref().err());
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::settings::{Hidden, Login};

    /// Is open and knows us, and tells values only while it is good; for ever.
    fn standby(good: Arc<AtomicBool>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                let _head = lines.take_while(|line| !line.is_empty()).count();
                let (status, body) = match asked.split(' ').nth(1).unwrap_or_default() {
                    "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
                    "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":0}}"#),
                    path if path.starts_with("/v1/kv/") => match good.load(Ordering::SeqCst) {
                        true => (404, r#"{"errors":[]}"#),
                        false => (307, ""),
                    },
                    _ => (404, ""),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                // Whoever asked may be gone.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        url
    }

    #[tokio::test]
    async fn trouble_lasts_until_something_is_told() {
        let good = Arc::new(AtomicBool::new(true));
        let settings = settings::Vault {
            url: standby(Arc::clone(&good)),
            ca: None,
            mount: "kv".to_owned(),
            version: 2,
            prefix: "p".to_owned(),
            login: Login::Token(Hidden::new("t0ken")),
            timeout: Duration::from_secs(10),
        };
        let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
        let trouble = || lock(&vault.condition).trouble.clone();
        let look = async || {
            let vault = Arc::clone(&vault);
            tokio::task::spawn_blocking(move || vault.look())
                .await
                .expect("it looks");
        };
        assert!(matches!(vault.get("a").await, Ok(None)));
        good.store(false, Ordering::SeqCst);
        assert!(vault.get("a").await.is_err());
        for _ in 0..2 {
            look().await;
            assert_eq!(trouble(), Some(Trouble::Elsewhere(307)));
        }
        good.store(true, Ordering::SeqCst);
        look().await;
        assert_eq!(trouble(), None);
        assert!(matches!(vault.get("a").await, Ok(None)));
    }
}
