//! Where are secrets kept? `[secret]`: a key for those in the database, or a Vault.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;

/// A text that is never printed with the rest of the settings.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn show(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// `[secret]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Who keeps them.
    pub keeper: Keeper,
    /// `cache`: how long a value from a Vault is taken without asking again. Default 30s. While the
    /// Vault is away it is taken for as long as that lasts.
    pub cache: Duration,
}

/// Who keeps secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody was named.
    Nobody,
    /// PostgreSQL, encrypted. `key` or `key_file`: keys of 64 hexadecimal digits, one a line; the
    /// first encrypts, each of them decrypts.
    Database(Hidden),
    /// A Vault.
    Vault(Vault),
}

/// A Vault, or what speaks like one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// `vault_url`: `http://host:8200` or `https://`.
    pub url: String,
    /// `vault_ca`: PEM file of the authority that https trusts.
    pub ca: Option<PathBuf>,
    /// `vault_mount`: where the engine of keys and values is mounted. Default `secret`.
    pub mount: String,
    /// `vault_kv`: its version, 1 or 2. Default 2.
    pub version: usize,
    /// `vault_prefix`: before the names of our secrets. Default `landscape`.
    pub prefix: String,
    /// How to log in.
    pub login: Login,
    /// `vault_timeout`: longest request. Default 3s.
    pub timeout: Duration,
}

impl Vault {
    /// Can others on the way read what is said? Plain HTTP to anybody but this machine.
    pub fn in_the_open(&self) -> bool {
        let Some(rest) = self.url.strip_prefix("http://") else {
            return false;
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let here = match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => {
                let name = host.trim_end_matches('.').to_ascii_lowercase();
                name == "localhost" || name.ends_with(".localhost")
            }
        };
        !here
    }
}

/// How a Vault knows us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// `vault_token` or `vault_token_file`.
    Token(Hidden),
    /// `vault_role_id`, `vault_secret_id` or `vault_secret_id_file`, and `vault_approle`, where that way
    /// is mounted. Default `approle`.
    AppRole {
        /// Where it is mounted.
        mount: String,
        /// The role.
        role: String,
        /// Its secret.
        secret: Hidden,
    },
}

/// Reads the section.
pub fn read(keys: &mut Keys) -> Secret {
    let key = text_or_file(keys, "key", "key_file");
    let vault = vault(keys);
    let keeper = match (key.is_empty(), vault) {
        (true, None) => Keeper::Nobody,
        (false, None) => Keeper::Database(Hidden::new(key)),
        (true, Some(vault)) => Keeper::Vault(vault),
        (false, Some(_)) => {
            let what = "`key` (or `key_file`) and `vault_url` exclude each other: remove one";
            keys.problem("[secret]", what);
            Keeper::Nobody
        }
    };
    Secret {
        keeper,
        cache: keys.duration("secret", "cache", Duration::from_secs(30)),
    }
}

fn vault(keys: &mut Keys) -> Option<Vault> {
    let url = keys.text("secret", "vault_url", "");
    let ca = keys.text("secret", "vault_ca", "");
    let token = text_or_file(keys, "vault_token", "vault_token_file");
    let role = keys.text("secret", "vault_role_id", "");
    let secret = text_or_file(keys, "vault_secret_id", "vault_secret_id_file");
    let mount = keys.text("secret", "vault_approle", "approle");
    let login = match (token.is_empty(), role.is_empty()) {
        (false, _) => Login::Token(Hidden::new(token)),
        (true, _) => Login::AppRole {
            mount,
            role: role.clone(),
            secret: Hidden::new(secret.clone()),
        },
    };
    let vault = Vault {
        ca: (!ca.is_empty()).then(|| ca.into()),
        mount: keys.text("secret", "vault_mount", "secret"),
        version: keys.count("secret", "vault_kv", 1..=2, 2),
        prefix: keys.text("secret", "vault_prefix", "landscape"),
        timeout: keys.duration("secret", "vault_timeout", Duration::from_secs(3)),
        url: url.trim_end_matches('/').to_owned(),
        login,
    };
    if url.is_empty() {
        return None;
    }
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    let problem = match (&vault.login, scheme) {
        (_, "https") if vault.ca.is_none() => {
            "`vault_url` is https: name its authority by `vault_ca`, a PEM file (those of the system: \
             /etc/ssl/certs/ca-certificates.crt)"
        }
        (_, "http") if vault.ca.is_some() => {
            "`vault_ca` is of no use to a `vault_url` of http://: begin it with https://"
        }
        (_, "http" | "https") => match &vault.login {
            Login::AppRole { .. } if role.is_empty() || secret.is_empty() => {
                "`vault_url` needs `vault_token`, or `vault_role_id` and `vault_secret_id`"
            }
            Login::Token(_) if !role.is_empty() => {
                "`vault_token` and `vault_role_id` exclude each other: remove one"
            }
            _ => return Some(vault),
        },
        _ => "`vault_url` begins with http:// or https://",
    };
    keys.problem("[secret]", problem);
    None
}

/// A key, or what stands in the file that another key names.
fn text_or_file(keys: &mut Keys, text: &'static str, file: &'static str) -> String {
    let (told, path) = (keys.text("secret", text, ""), keys.text("secret", file, ""));
    if path.is_empty() {
        return told;
    }
    if !told.is_empty() {
        let what = format!("`{text}` and `{file}` exclude each other: remove one");
        keys.problem("[secret]", &what);
        return String::new();
    }
    match std::fs::read_to_string(&path) {
        Ok(content) if !content.trim().is_empty() => content.trim().to_owned(),
        Ok(_) => {
            keys.problem(&path, &format!("the file of `{file}` is empty"));
            String::new()
        }
        Err(cause) => {
            keys.problem(&path, &format!("the file of `{file}`: {cause}"));
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Secret, String> {
        let mut keys = Keys::default();
        keys.add_file("f", &format!("[secret]\n{text}"));
        let secret = read(&mut keys);
        keys.finish().map(|()| secret)
    }

    #[test]
    fn a_key_or_a_vault_keeps_secrets() {
        let none = read_text("").expect("right");
        assert_eq!(none.keeper, Keeper::Nobody);
        let own = read_text("key = 00ff\n").expect("right");
        assert_eq!(own.keeper, Keeper::Database(Hidden::new("00ff")));
        let text = "vault_url = http://127.0.0.1:8200/\nvault_role_id = r\nvault_secret_id = s\n";
        let Keeper::Vault(vault) = read_text(text).expect("right").keeper else {
            panic!("a vault was named");
        };
        assert_eq!(vault.url, "http://127.0.0.1:8200");
        let printed = format!("{vault:?}");
        assert!(printed.contains("secret: (hidden)"), "{printed}");
    }

    #[test]
    fn plain_http_is_for_this_machine() {
        for (url, open) in [
            ("http://127.0.0.1:8200", false),
            ("http://127.9.9.9", false),
            ("http://localhost:8200", false),
            ("http://vault.LOCALHOST./v", false),
            ("http://[::1]:8200", false),
            ("http://[::ffff:127.0.0.1]:8200/", false),
            ("http://10.0.0.9:8200", true),
            ("http://0.0.0.0:8200", true),
            ("http://[2001:db8::1]", true),
            ("http://vault.example.com", true),
            ("http://localhost@vault.example.com", true),
            ("http://localhost.example.com", true),
        ] {
            let Keeper::Vault(vault) = read_text(&format!("vault_url = {url}\nvault_token = t\n"))
                .expect("right")
                .keeper
            else {
                panic!("a vault was named");
            };
            assert_eq!(vault.in_the_open(), open, "{url}");
        }
        let text = "vault_url = https://10.0.0.9\nvault_ca = /x\nvault_token = t\n";
        let Keeper::Vault(vault) = read_text(text).expect("right").keeper else {
            panic!("a vault was named");
        };
        assert!(!vault.in_the_open());
    }

    #[test]
    fn contradictions_are_told() {
        for (text, told) in [
            (
                "key = 00\nvault_url = http://v\nvault_token = t\n",
                "exclude each other",
            ),
            ("key = 00\nkey_file = /x\n", "exclude each other"),
            ("key_file = /nowhere/x\n", "/nowhere/x: "),
            ("vault_url = http://v\n", "needs `vault_token`"),
            (
                "vault_url = http://v\nvault_role_id = r\n",
                "needs `vault_token`",
            ),
            (
                "vault_url = http://v\nvault_token = t\nvault_role_id = r\n",
                "exclude each other",
            ),
            ("vault_url = https://v\nvault_token = t\n", "`vault_ca`"),
            (
                "vault_url = http://v\nvault_ca = /x\nvault_token = t\n",
                "begin it with https://",
            ),
            ("vault_url = v:8200\nvault_token = t\n", "begins with http"),
            (
                "vault_url = http://v\nvault_token = t\nvault_kv = 3\n",
                "`vault_kv` is a number",
            ),
        ] {
            let problem = read_text(text).expect_err(text);
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }
}
