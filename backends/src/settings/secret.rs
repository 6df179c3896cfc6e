//! Where are secrets kept? `[secret]`: a key for those in the database, or a Vault.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;

const SECTION: &str = "secret";

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

/// Where a secret of ours stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the settings.
    Text(Hidden),
    /// In a file, which somebody may replace while we run.
    File(PathBuf),
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
    /// `vault_ca`: PEM file of the authority that https trusts. One that is replaced is read again.
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
    Token(Source),
    /// `vault_role_id`, `vault_secret_id` or `vault_secret_id_file`, and `vault_approle`, where that way
    /// is mounted. Default `approle`.
    AppRole {
        /// Where it is mounted.
        mount: String,
        /// The role.
        role: String,
        /// Its secret.
        secret: Source,
    },
}

/// Reads the section.
pub fn read(keys: &mut Keys) -> Secret {
    let key = one_of(keys, "key", "key_file").map(|(text, _)| text);
    let vault = vault(keys);
    let keeper = match (key, vault) {
        (None, None) => Keeper::Nobody,
        (Some(key), None) => Keeper::Database(key),
        (None, Some(vault)) => Keeper::Vault(vault),
        (Some(_), Some(_)) => {
            let key = keys.place(SECTION, "key");
            let what = format!(
                "`vault_url` and `key` or `key_file` ({key}) exclude each other: remove one"
            );
            wrong(keys, "vault_url", &what);
            Keeper::Nobody
        }
    };
    Secret {
        keeper,
        cache: keys.duration(SECTION, "cache", Duration::from_secs(30)),
    }
}

/// A mistake in here. Whoever is missing for it is not told besides.
fn wrong(keys: &mut Keys, key: &'static str, what: &str) {
    keys.wrong(SECTION, key, what);
    keys.blame(SECTION, "key_file");
}

fn vault(keys: &mut Keys) -> Option<Vault> {
    let url = keys.text(SECTION, "vault_url", "");
    let ca = keys.text(SECTION, "vault_ca", "");
    let login = login(keys, !url.is_empty());
    let mount = keys.text(SECTION, "vault_mount", "secret");
    let version = keys.count(SECTION, "vault_kv", 1..=2, 2);
    let prefix = keys.text(SECTION, "vault_prefix", "landscape");
    let timeout = keys.duration(SECTION, "vault_timeout", Duration::from_secs(3));
    if url.is_empty() {
        return None;
    }
    let problem = match url.split_once("://").map_or("", |(scheme, _)| scheme) {
        "https" if ca.is_empty() => {
            "`vault_url` is https: name its authority by `vault_ca`, a PEM file (those of the system: \
             /etc/ssl/certs/ca-certificates.crt)"
        }
        "http" if !ca.is_empty() => {
            "`vault_ca` is of no use to a `vault_url` of http://: begin it with https://"
        }
        "http" | "https" => {
            return Some(Vault {
                url: url.trim_end_matches('/').to_owned(),
                ca: (!ca.is_empty()).then(|| ca.into()),
                mount,
                version,
                prefix,
                login: login?,
                timeout,
            });
        }
        _ => "`vault_url` begins with http:// or https://",
    };
    wrong(keys, "vault_url", problem);
    None
}

/// How to log in; something also where nobody has to, and None where that is told wrongly.
fn login(keys: &mut Keys, needed: bool) -> Option<Login> {
    let mount = keys.text(SECTION, "vault_approle", "approle");
    let role = keys.text(SECTION, "vault_role_id", "");
    let source = |(_, source)| source;
    let token = one_of(keys, "vault_token", "vault_token_file").map(source);
    let secret = one_of(keys, "vault_secret_id", "vault_secret_id_file").map(source);
    let none = || Source::Text(Hidden::new(""));
    match (token, secret) {
        (Some(_), _) if !role.is_empty() => {
            let what = "`vault_token` and `vault_role_id` exclude each other: remove one";
            wrong(keys, "vault_role_id", what);
            None
        }
        (Some(token), _) => Some(Login::Token(token)),
        (None, Some(secret)) if !role.is_empty() => Some(Login::AppRole {
            mount,
            role,
            secret,
        }),
        _ if needed => {
            let what = "`vault_url` needs `vault_token`, or `vault_role_id` and `vault_secret_id`";
            // Beside what is wrong about its address; and none where that of a file is told already.
            if keys.blame(SECTION, "vault_token") && keys.blame(SECTION, "vault_secret_id") {
                let place = keys.place(SECTION, "vault_url");
                keys.problem(&place, what);
                keys.blame(SECTION, "key_file");
            }
            None
        }
        _ => Some(Login::Token(none())),
    }
}

/// A key, or the file that another key names, which can be read and is not empty: what it says, and where that stands. What
/// can be read once only, as a pipe, says what it said.
fn one_of(keys: &mut Keys, text: &'static str, file: &'static str) -> Option<(Hidden, Source)> {
    let (told, path) = (keys.text(SECTION, text, ""), keys.text(SECTION, file, ""));
    if path.is_empty() {
        let told = (!told.is_empty()).then(|| Hidden::new(told));
        return told.map(|told| (told.clone(), Source::Text(told)));
    }
    let problem = if !told.is_empty() {
        format!("`{text}` and `{file}` exclude each other: remove one")
    } else {
        match std::fs::read_to_string(&path) {
            Ok(content) if !content.trim().is_empty() => {
                let is_file = std::fs::metadata(&path).is_ok_and(|told| told.is_file());
                let source = match is_file {
                    true => Source::File(path.into()),
                    false => Source::Text(Hidden::new(content.trim())),
                };
                return Some((Hidden::new(content), source));
            }
            Ok(_) => format!("`{file}`: {path}: it is empty"),
            Err(cause) => format!("`{file}`: {path}: {cause}"),
        }
    };
    wrong(keys, file, &problem);
    keys.blame(SECTION, text);
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

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
        assert!(printed.contains("secret: Text((hidden))"), "{printed}");
    }

    #[test]
    fn what_can_be_read_once_only_is_read_once() {
        let pipe = || {
            let (reader, mut writer) = std::io::pipe().expect("a pipe");
            writer.write_all(b"s3cret\n").expect("there is room");
            let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
            (reader, path)
        };
        let (_kept, path) = pipe();
        let own = read_text(&format!("key_file = {path}\n")).expect("right");
        assert_eq!(own.keeper, Keeper::Database(Hidden::new("s3cret\n")));
        let (_kept, path) = pipe();
        let text = format!("vault_url = http://127.0.0.1\nvault_token_file = {path}\n");
        let Keeper::Vault(vault) = read_text(&text).expect("right").keeper else {
            panic!("a vault was named");
        };
        let once = Source::Text(Hidden::new("s3cret"));
        assert_eq!(vault.login, Login::Token(once));
        // What stands in a file is read when it is needed: somebody may replace it.
        let path = std::env::temp_dir().join(format!("backends-secret-{}", fastrand::u64(..)));
        std::fs::write(&path, "s3cret").expect("a file");
        let shown = path.display();
        let text = format!("vault_url = http://127.0.0.1\nvault_token_file = {shown}\n");
        let read = read_text(&text);
        std::fs::remove_file(&path).expect("it is there");
        let Keeper::Vault(vault) = read.expect("right").keeper else {
            panic!("a vault was named");
        };
        assert_eq!(vault.login, Login::Token(Source::File(path)));
    }

    #[test]
    fn every_mistake_is_told_where_it_stands_and_what_follows_from_one_is_not() {
        let text = "vault_url = v:8200\nvault_kv = 3\nvault_secret_id_file = /nowhere/x\n\
                    vault_role_id = r\nkey = 00\nkey_file = /x\n";
        let problems = read_text(text).expect_err("wrong");
        for told in [
            "f:2: `vault_url` begins with http",
            "f:3: `vault_kv` is a number",
            "f:4: `vault_secret_id_file`: /nowhere/x: ",
            "f:7: `key` and `key_file` exclude each other",
        ] {
            assert!(problems.contains(told), "{told}\n{problems}");
        }
        assert_eq!(problems.lines().count(), 4, "{problems}");
        let problems = read_text("vault_url = https://v\n").expect_err("wrong");
        assert!(problems.contains("needs `vault_token`"), "{problems}");
        assert!(problems.contains("`vault_ca`"), "{problems}");
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
