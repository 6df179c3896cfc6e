//! How do we live with a Vault that may be sealed or away? By what it told before.
//!
//! A value is asked for again when it is no longer fresh. While the Vault gives none, the old value
//! serves on, nobody waits for it more than once in [`REST`], and `/health` says so. A task keeps the
//! token alive, sees when the Vault is back, and when the files of our login and of its authority were replaced.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::cache::{Cache, Known};
use super::client::{Client, Engine, Token};
use super::trouble::Trouble;
use super::{Name, SecretError};
use crate::settings;
use crate::worker::Worker;

/// After trouble nobody asks again for so long.
const REST: Duration = Duration::from_secs(2);
/// Time between two looks at the Vault.
const LOOK: Duration = Duration::from_secs(2);
/// Least time between two logins because of tokens that were refused; and of good ones, whose policy denies.
const ANEW: Duration = Duration::from_secs(10);
const ANEW_POLICY: Duration = Duration::from_secs(60);
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
    /// The last login because of a token that was refused.
    anew: Mutex<Option<Instant>>,
    /// What the Vault told of its engine's version: to whoever is logged in where it hides it, else for good.
    engine: Mutex<Option<Engine>>,
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
            anew: Mutex::new(None),
            engine: Mutex::new(None),
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
                // Of a good token it is the policy's doing; another login may have other policies.
                let holds = self.client.holds(&token)?;
                let refused = || match holds {
                    true => self.client.denied(),
                    false => Trouble::Refused,
                };
                if !self.log_in_anew(&token, holds)? {
                    return Err(refused());
                }
                let told = question(&self.client, &self.token()?);
                told.map_err(|trouble| match trouble {
                    Trouble::Refused => refused(),
                    other => other,
                })
            }
            other => other,
        }
    }

    /// Is there another token than the one that was refused? Logs in for it, but not again and again: where no token mends it,
    /// each would be one more in the Vault. One that is good and of no use is given back.
    fn log_in_anew(&self, refused: &Token, holds: bool) -> Result<bool, Trouble> {
        let mut last = lock(&self.anew);
        let held = lock(&self.token).clone();
        if held.is_some_and(|(held, _)| held.text != refused.text) {
            return Ok(true);
        }
        let rest = if holds { ANEW_POLICY } else { ANEW };
        if last.is_some_and(|last| last.elapsed() < rest) {
            return Ok(false);
        }
        let done = self.log_in();
        if matches!(done, Ok(_) | Err(Trouble::Refused)) {
            *last = Some(Instant::now());
        }
        let token = done?;
        if holds && token.text != refused.text {
            self.client.revoke(refused);
        }
        Ok(true)
    }

    fn token(&self) -> Result<Token, Trouble> {
        let held = lock(&self.token).clone();
        let token = match held {
            Some((token, _)) => token,
            None => self.log_in()?,
        };
        if lock(&self.engine).is_none() {
            let told = self.client.fits(&token)?;
            *lock(&self.engine) = Some(told);
        }
        Ok(token)
    }

    fn log_in(&self) -> Result<Token, Trouble> {
        let token = self.client.log_in()?;
        *lock(&self.token) = Some((token.clone(), Instant::now()));
        // Another login may be told what was hidden from the one before, which may have been revoked.
        let mut engine = lock(&self.engine);
        if *engine == Some(Engine::Hidden) {
            *engine = None;
        }
        drop(engine);
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

    /// Keeps the token alive, or gets one.
    fn keep_token(&self) -> Result<(), Trouble> {
        let held = lock(&self.token).clone();
        let Some((token, since)) = held else {
            return self.token().map(drop);
        };
        if self.client.has_another_login() {
            match self.log_in() {
                Ok(_) => info!("logged in to the Vault anew: the file of our login was replaced"),
                // It may be half written. The one before serves as long as it is good.
                Err(trouble) => warn!(%trouble, "the new login to the Vault was not taken"),
            }
            return self.token().map(drop);
        }
        match token.lifetime {
            Some(lifetime) if since.elapsed() > lifetime / 2 => match self.client.renew(&token) {
                Ok(token) => {
                    *lock(&self.token) = Some((token, Instant::now()));
                    Ok(())
                }
                // One that may not be renewed comes to its end: a new login takes its place.
                Err(_) => self.log_in().map(drop),
            },
            _ => self.token().map(drop),
        }
    }

    /// Sees how it is, and keeps the token alive.
    fn look(&self) {
        self.client.refresh();
        if let Err(trouble) = self.client.check() {
            self.note(Some(&trouble));
            return;
        }
        let kept = self.keep_token();
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

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::settings::{Hidden, Login, Source};

    fn settings(url: String, token: Source) -> settings::Vault {
        settings::Vault {
            url,
            ca: None,
            mount: "kv".to_owned(),
            version: 2,
            prefix: "p".to_owned(),
            login: Login::Token(token),
            timeout: Duration::from_secs(10),
        }
    }

    /// Answers each request, told its path and token, for ever.
    fn vault(
        answer: impl Fn(&str, &str) -> (u16, &'static str) + Send + 'static,
    ) -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let token = head.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("x-vault-token").then_some(value)
                });
                let token = token.unwrap_or_default();
                lock(&heard).push(format!("{path} {token}"));
                let (status, body) = answer(&path, token);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                // Whoever asked may be gone.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        (url, asked)
    }

    /// Is open and knows us, and tells values only while it is good.
    fn standby(good: Arc<AtomicBool>) -> String {
        let answer = move |path: &str, _: &str| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":0}}"#),
            path if path.starts_with("/v1/kv/") => match good.load(Ordering::SeqCst) {
                true => (404, r#"{"errors":[]}"#),
                false => (307, ""),
            },
            _ => (404, ""),
        };
        vault(answer).0
    }

    /// Knows the one token that is good now, and tells those who show it that the engine is of version 1.
    fn of_version_1(good: Arc<Mutex<&'static str>>) -> (String, Arc<Mutex<Vec<String>>>) {
        vault(move |path, token| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            _ if token != *lock(&good) => (403, r#"{"errors":["permission denied"]}"#),
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":0}}"#),
            "/v1/sys/internal/ui/mounts/kv" => {
                (200, r#"{"data":{"type":"kv","options":{"version":"1"}}}"#)
            }
            _ => (404, r#"{"errors":[]}"#),
        })
    }

    /// Looks once. The token that is held then, and since when.
    async fn looked(vault: &Arc<Vault>) -> (String, Instant) {
        let looking = Arc::clone(vault);
        let look = tokio::task::spawn_blocking(move || looking.look());
        look.await.expect("it looks");
        let held = lock(&vault.token).clone();
        let (token, since) = held.expect("it is logged in");
        (token.text.to_string(), since)
    }

    #[tokio::test]
    async fn trouble_lasts_until_something_is_told() {
        let good = Arc::new(AtomicBool::new(true));
        let token = Source::Text(Hidden::new("t0ken"));
        let settings = settings(standby(Arc::clone(&good)), token);
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

    #[tokio::test]
    async fn a_token_that_was_revoked_hides_nothing_for_good() {
        let file = std::env::temp_dir().join(format!("backends-vault-{}", fastrand::u64(..)));
        std::fs::write(&file, "second").expect("a file");
        let good = Arc::new(Mutex::new("second"));
        let (url, _) = of_version_1(Arc::clone(&good));
        let vault = Vault::open(
            settings(url, Source::File(file.clone())),
            Duration::ZERO,
            None,
        );
        let vault = vault.expect("a vault");
        // As if it had been given before, and was revoked since.
        let revoked = Token {
            text: "first".into(),
            lifetime: None,
        };
        *lock(&vault.token) = Some((revoked, Instant::now()));
        let asked = Arc::clone(&vault);
        let told = tokio::task::spawn_blocking(move || {
            asked.with_token(|client, token| client.read(token, "a"))
        });
        let told = told.await.expect("it asks");
        std::fs::remove_file(&file).expect("it is there");
        // A look of the task may have been faster; either way the version was asked by whoever is known.
        assert!(matches!(told, Err(Trouble::Settings(_))), "{told:?}");
    }

    #[tokio::test]
    async fn a_login_whose_file_is_replaced_is_made_anew() {
        let file = std::env::temp_dir().join(format!("backends-vault-{}", fastrand::u64(..)));
        std::fs::write(&file, "first").expect("a file");
        let good = Arc::new(Mutex::new("first"));
        let known = Arc::clone(&good);
        let (url, asked) = vault(move |path, token| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            _ if token != *lock(&known) => (403, r#"{"errors":["permission denied"]}"#),
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":0}}"#),
            _ => (404, r#"{"errors":[]}"#),
        });
        let settings = settings(url, Source::File(file.clone()));
        let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
        let look = async || {
            let looked_at = Arc::clone(&vault);
            tokio::task::spawn_blocking(move || looked_at.look())
                .await
                .expect("it looks");
            let held = lock(&vault.token).clone();
            held.map(|(token, _)| token.text.to_string())
        };
        assert_eq!(look().await.as_deref(), Some("first"));
        // One that is not good, as half of one is not, takes no place.
        std::fs::write(&file, "sec").expect("a file");
        assert_eq!(look().await.as_deref(), Some("first"));
        *lock(&good) = "second";
        std::fs::write(&file, "second").expect("a file");
        // The task looks, too, and may be about to take it.
        let mut looks = 0;
        while look().await.as_deref() != Some("second") {
            looks += 1;
            assert!(looks < 1000, "it is never taken");
        }
        std::fs::remove_file(&file).expect("it is there");
        assert!(matches!(vault.get("a").await, Ok(None)));
        // The task asks, too.
        let asked = lock(&asked).clone();
        let read = asked.iter().any(|one| one == "/v1/kv/data/p/a second");
        assert!(read, "{asked:?}");
    }

    #[tokio::test]
    async fn a_new_login_that_nobody_has_judged_is_tried_again_while_the_old_one_serves() {
        let file = std::env::temp_dir().join(format!("backends-vault-{}", fastrand::u64(..)));
        std::fs::write(&file, "first").expect("a file");
        let busy = Arc::new(AtomicBool::new(true));
        let now = Arc::clone(&busy);
        let (url, asked) = vault(move |path, token| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            _ if token == "second" && now.load(Ordering::SeqCst) => (429, ""),
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":0}}"#),
            _ => (404, r#"{"errors":[]}"#),
        });
        let settings = settings(url, Source::File(file.clone()));
        let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
        assert_eq!(looked(&vault).await.0, "first");
        std::fs::write(&file, "second").expect("a file");
        let tried = "/v1/auth/token/lookup-self second";
        let mut looks = 0;
        while !lock(&asked).iter().any(|one| one == tried) {
            assert_eq!(looked(&vault).await.0, "first");
            looks += 1;
            assert!(looks < 1000, "it is never tried");
        }
        busy.store(false, Ordering::SeqCst);
        let mut looks = 0;
        while looked(&vault).await.0 != "second" {
            looks += 1;
            assert!(looks < 1000, "it is never tried again");
        }
        std::fs::remove_file(&file).expect("it is there");
    }

    #[tokio::test]
    async fn a_token_is_renewed_at_half_of_its_life_and_not_before() {
        let (url, asked) = vault(|path, _| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":3600}}"#),
            "/v1/auth/token/renew-self" => (
                200,
                r#"{"auth":{"client_token":"t0ken","lease_duration":3600}}"#,
            ),
            _ => (404, r#"{"errors":[]}"#),
        });
        let settings = settings(url, Source::Text(Hidden::new("t0ken")));
        let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
        let renewals = || {
            let asked = lock(&asked).clone();
            asked
                .iter()
                .filter(|one| *one == "/v1/auth/token/renew-self t0ken")
                .count()
        };
        // As if it had been given so many seconds ago.
        let age = |seconds| {
            let given = Instant::now().checked_sub(Duration::from_secs(seconds));
            let mut held = lock(&vault.token);
            held.as_mut().expect("it is held").1 = given.expect("such a time");
        };
        looked(&vault).await;
        age(1000);
        looked(&vault).await;
        assert_eq!(renewals(), 0);
        let mut looks = 0;
        let since = loop {
            // The task looks, too: it may have done it first, or have been about to log in.
            age(1801);
            let (text, since) = looked(&vault).await;
            assert_eq!(text, "t0ken");
            if renewals() > 0 {
                break since;
            }
            looks += 1;
            assert!(looks < 1000, "it is never renewed");
        };
        assert!(
            since.elapsed() < Duration::from_secs(1800),
            "it begins anew"
        );
    }

    /// Lets in whoever logs in by AppRole, with a token that is good or not, and tells nothing.
    fn of_a_policy_that_denies(good: bool) -> (String, Arc<Mutex<Vec<String>>>) {
        vault(move |path, _| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            "/v1/auth/approle/login" => (
                200,
                r#"{"auth":{"client_token":"t0ken","lease_duration":3600}}"#,
            ),
            "/v1/auth/token/lookup-self" if good => (200, r#"{"data":{"ttl":3600}}"#),
            _ => (403, r#"{"errors":["1 error occurred: permission denied"]}"#),
        })
    }

    #[tokio::test]
    async fn a_policy_that_denies_makes_no_logins_again_and_again() {
        // Two may begin at once: the task looks, too.
        for (good, logins_max) in [(true, 3), (false, 3)] {
            let (url, asked) = of_a_policy_that_denies(good);
            let token = Source::Text(Hidden::new(""));
            let mut settings = settings(url, token);
            settings.login = Login::AppRole {
                mount: "approle".to_owned(),
                role: "r0le".to_owned(),
                secret: Source::Text(Hidden::new("s3cret")),
            };
            let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
            for _ in 0..10 {
                looked(&vault).await;
                let name = "a".to_owned();
                let asking = Arc::clone(&vault);
                let told = tokio::task::spawn_blocking(move || {
                    asking.with_token(|client, token| client.read(token, &name))
                });
                let trouble = told.await.expect("it asks").expect_err("denied");
                let told = trouble.to_string();
                let said = match good {
                    true => "its policy does not let our login at `kv/data/p/*`",
                    false => "refuses us",
                };
                assert!(told.contains(said), "{told}");
            }
            let logins = lock(&asked)
                .iter()
                .filter(|one| one.starts_with("/v1/auth/approle/login"))
                .count();
            assert!(logins <= logins_max, "{logins} logins");
        }
    }

    #[tokio::test]
    async fn a_login_whose_role_is_given_the_policy_is_let_in() {
        let (let_in, given) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (widened, first) = (Arc::clone(&let_in), Arc::clone(&given));
        // A token has the policies that its role had when it was given.
        let (url, asked) = vault(move |path, token| match path {
            "/v1/sys/seal-status" => (200, r#"{"sealed":false}"#),
            "/v1/auth/approle/login" if widened.load(Ordering::SeqCst) => (
                200,
                r#"{"auth":{"client_token":"wide","lease_duration":3600}}"#,
            ),
            "/v1/auth/approle/login" => {
                first.store(true, Ordering::SeqCst);
                (
                    200,
                    r#"{"auth":{"client_token":"narrow","lease_duration":3600}}"#,
                )
            }
            "/v1/auth/token/lookup-self" => (200, r#"{"data":{"ttl":3600}}"#),
            "/v1/auth/token/revoke-self" => (204, ""),
            _ if token == "wide" => (404, r#"{"errors":[]}"#),
            _ => (403, r#"{"errors":["1 error occurred: permission denied"]}"#),
        });
        let mut settings = settings(url, Source::Text(Hidden::new("")));
        settings.login = Login::AppRole {
            mount: "approle".to_owned(),
            role: "r0le".to_owned(),
            secret: Source::Text(Hidden::new("s3cret")),
        };
        let vault = Vault::open(settings, Duration::ZERO, None).expect("a vault");
        assert_eq!(looked(&vault).await.0, "narrow");
        assert!(given.load(Ordering::SeqCst));
        let_in.store(true, Ordering::SeqCst);
        let mut asks = 0;
        while vault.get("a").await.is_err() {
            // As if a minute had passed.
            let before = Instant::now().checked_sub(ANEW_POLICY);
            *lock(&vault.anew) = Some(before.expect("such a time"));
            lock(&vault.condition).trouble = None;
            asks += 1;
            assert!(asks < 1000, "it is never let in");
        }
        assert_eq!(looked(&vault).await.0, "wide");
        // The task may have been faster, and be about to.
        let revoked = "/v1/auth/token/revoke-self narrow";
        let mut looks = 0;
        while !lock(&asked).iter().any(|one| one == revoked) {
            looked(&vault).await;
            looks += 1;
            assert!(looks < 1000, "it is never given back");
        }
    }
}
