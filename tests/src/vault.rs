//! Who keeps the secrets of the services under test? A real Vault of the test's own
//! (`scripts/vault.sh`): killed, sealed and brought back as a test likes.
//!
//! It is the first of `vault`, `bao` and `rvault` that there is; tests pass with Vault 1.8 and `rvault` 0.2.1. The first two keep
//! versions (KV version 2). To test with another than the one that `scripts/setup.sh` has built, put its program into `PATH`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::dir::TempDir;
use crate::eventually::{eventually, patience};
use crate::ports::free_range;
use crate::raw::Raw;

/// A Vault, unsealed; it ends with the value.
pub struct Vault {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Vault {
    /// A fresh one.
    pub async fn start() -> Vault {
        let mut vault = Vault {
            dir: TempDir::new(),
            port: free_range(1),
            child: None,
        };
        vault.up().await;
        vault
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps all of it.
    pub fn directory(&self) -> PathBuf {
        self.dir.path().join("vault")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    fn read(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.file(name)).expect("the script wrote it");
        text.trim().to_owned()
    }

    /// Starts it, as it was, and waits until it is unsealed.
    pub async fn up(&mut self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = root.parent().expect("a workspace").join("scripts/vault.sh");
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a log");
        // It says by this file that it is ready; there is none before the first time.
        let _ = std::fs::remove_file(self.file("url"));
        let child = Command::new(script)
            .arg(self.directory())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("one more handle"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("scripts/vault.sh can be started"));
        let end = Instant::now() + patience();
        while !self.file("url").exists() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            let ended = self.child.as_mut().expect("started").try_wait();
            assert!(
                Instant::now() < end && matches!(ended, Ok(None)),
                "the Vault does not start (scripts/setup.sh test installs one):\n{log}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Kills it: no goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Settings of services that use it, `("SECRET__VAULT_URL", "http://...")` and so on.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SECRET__VAULT_URL", self.read("url")),
            ("SECRET__VAULT_MOUNT", "services".to_owned()),
            ("SECRET__VAULT_KV", self.read("kv")),
            ("SECRET__VAULT_ROLE_ID", self.read("role-id")),
            (
                "SECRET__VAULT_SECRET_ID_FILE",
                self.file("secret-id").display().to_string(),
            ),
        ]
    }

    /// Asks it as its root.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = self.read("root-token");
        self.ask_by(&token, method, path, body).await
    }

    /// Asks it with a token.
    async fn ask_by(&self, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = format!("X-Vault-Token: {token}");
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let mut raw = Raw::tcp(self.port).await;
        let path = format!("/v1/{path}");
        let reply = raw.ask(method, &path, &[&token], body.as_bytes()).await;
        let value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        (reply.status(), value)
    }

    /// Seals it.
    pub async fn seal(&self) {
        let (status, answer) = self.ask("PUT", "sys/seal", &json!({})).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Unseals it.
    pub async fn unseal(&self) {
        let body = json!({"key": self.read("unseal-key")});
        eventually("the Vault is unsealed", || async {
            let (_, answer) = self.ask("PUT", "sys/unseal", &body).await;
            (answer["sealed"] == json!(false)).then_some(())
        })
        .await;
    }

    /// Where the services' secret of this name lies.
    fn path(&self, name: &str) -> String {
        let part = if self.versioned() { "data/" } else { "" };
        format!("services/{part}landscape/{name}")
    }

    /// Does it keep versions of what it keeps (KV version 2)?
    fn versioned(&self) -> bool {
        self.read("kv") == "2"
    }

    /// What it keeps under a name of the services.
    pub async fn secret(&self, name: &str) -> Option<String> {
        let (_, answer) = self.ask("GET", &self.path(name), &Value::Null).await;
        let data = match self.versioned() {
            true => &answer["data"]["data"],
            false => &answer["data"],
        };
        data["value"].as_str().map(str::to_owned)
    }

    /// Somebody else puts a secret of the services there.
    pub async fn put(&self, name: &str, value: &str) {
        let body = match self.versioned() {
            true => json!({"data": {"value": value}}),
            false => json!({"value": value}),
        };
        let (status, answer) = self.ask("POST", &self.path(name), &body).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Somebody else deletes a secret of the services; where there are versions, the latest one, and all are left to see.
    pub async fn delete(&self, name: &str) {
        let (status, answer) = self.ask("DELETE", &self.path(name), &Value::Null).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Somebody else destroys the latest version of a secret of the services, which is version `latest`: what it was is
    /// gone, and that there was one is left to see. Where there are no versions it is deleted.
    pub async fn destroy(&self, name: &str, latest: u64) {
        if !self.versioned() {
            return self.delete(name).await;
        }
        let path = format!("services/destroy/landscape/{name}");
        let body = json!({"versions": [latest]});
        let (status, answer) = self.ask("PUT", &path, &body).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Somebody else deletes a secret of the services with all that there is to see of it.
    pub async fn forget(&self, name: &str) {
        if !self.versioned() {
            return self.delete(name).await;
        }
        let path = format!("services/metadata/landscape/{name}");
        let (status, answer) = self.ask("DELETE", &path, &Value::Null).await;
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// How often a secret of the services was written since it was first there or forgotten; None where versions are not kept.
    pub async fn version(&self, name: &str) -> Option<u64> {
        if !self.versioned() {
            return None;
        }
        let path = format!("services/metadata/landscape/{name}");
        let (status, answer) = self.ask("GET", &path, &Value::Null).await;
        let version = answer["data"]["current_version"].as_u64();
        Some(version.unwrap_or_else(|| panic!("{status} {answer}")))
    }

    /// Makes it as strict as it can be: whoever writes says which version that takes the place of, and only the latest is kept.
    /// Nothing changes where versions are not kept.
    pub async fn be_strict(&self) {
        if !self.versioned() {
            return;
        }
        let strict = json!({"cas_required": true, "max_versions": 1});
        let (status, answer) = self.ask("POST", "services/config", &strict).await;
        assert!((200..300).contains(&status), "{status} {answer}");
        let path = self.path("written-by-nobody");
        let body = json!({"data": {"value": "x"}});
        let (status, answer) = self.ask("POST", &path, &body).await;
        assert_eq!(status, 400, "it takes what says nothing: {answer}");
    }

    /// A token for the services that ends after so many seconds, and may or may not be renewed.
    pub async fn token(&self, seconds: u32, renewable: bool) -> String {
        let ttl = format!("{seconds}s");
        let body = json!({"policies": ["services"], "ttl": ttl, "renewable": renewable});
        let (status, answer) = self.ask("POST", "auth/token/create", &body).await;
        let token = answer["auth"]["client_token"].as_str();
        token
            .unwrap_or_else(|| panic!("{status} {answer}"))
            .to_owned()
    }

    /// Is a token good?
    pub async fn knows(&self, token: &str) -> bool {
        let path = "auth/token/lookup-self";
        let (status, _) = self.ask_by(token, "GET", path, &Value::Null).await;
        status == 200
    }

    /// Can a token ask for a longer life? Not of `rvault`.
    pub async fn renews(&self) -> bool {
        let token = self.token(60, true).await;
        let path = "auth/token/renew-self";
        let (status, _) = self.ask_by(&token, "POST", path, &json!({})).await;
        status == 200
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.kill();
    }
}
