//! How is a Vault spoken to? Its HTTP interface, as far as we need it; blocking, within a deadline.
//!
//! Keys and values of engine version 1 and 2, which of them it is, login by AppRole, renewal of a token, and whether it is
//! sealed. Redirects are not followed: our token is for the server that was named. The files of the authority and of the
//! login may be replaced: that is looked for, and what stands in them then counts.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::RootCertStore;
use serde_json::{Value, json};
use tracing::{debug, info, warn};
use ureq::Agent;
use ureq::http::{Request, Uri};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::file::Watched;
use super::trouble::{Trouble, said};
use crate::settings::{Login, Source, Vault as Settings};

/// Largest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Tries to write where others write the same at the same time. One that is late means that another one is done: so many
/// who write once come one after the other.
const WRITES_MAX: usize = 16;
/// What version 2 says when a value is not of the version that we had seen.
const MISMATCH: &str = "did not match the current version";

/// A token, and for how long it is good.
#[derive(Clone)]
pub struct Token {
    /// What is shown.
    pub text: Arc<str>,
    /// None: for ever.
    pub lifetime: Option<Duration>,
}

/// One Vault.
pub struct Client {
    /// What speaks, with the authorities that were read last.
    agent: Mutex<Agent>,
    authorities: Option<Watched>,
    secret: LoginSecret,
    settings: Settings,
}

/// The secret by which we log in.
enum LoginSecret {
    Text(Arc<str>),
    File(Watched),
}

type Answer<T> = Result<T, Trouble>;

/// What of a Vault tells whether its engine is of the version that the settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// It is, or the server knows no way to tell.
    Fits,
    /// Not to us: the policy hides it, or the login is no longer good.
    Hidden,
}

/// The certificates of authorities in a PEM text.
fn authorities(pem: &[u8]) -> Result<Vec<Certificate<'static>>, String> {
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(root) = item.map_err(|cause| cause.to_string())? {
            roots.push(root);
        }
    }
    let ders = roots.iter().map(|root| root.der().to_vec().into());
    let (usable, _) = RootCertStore::empty().add_parsable_certificates(ders);
    match usable {
        0 => Err("no certificate of an authority in it (PEM)".to_owned()),
        _ => Ok(roots),
    }
}

/// What is wrong with the file of the authorities.
pub fn check_authorities(file: &Path) -> Result<(), String> {
    read_authorities(&Watched::new(file)).map(drop)
}

/// Can requests be made to this address?
pub fn is_address(url: &str) -> bool {
    let Ok(uri) = format!("{url}/v1/sys").parse::<Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    // What stands behind the host is a port; the brackets of IPv6 belong to the host.
    let host = authority.host();
    let ends = authority.as_str().ends_with(host);
    !host.is_empty() && (ends || authority.port_u16().is_some())
}

impl Client {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// The authority's file is none.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let watched = settings.ca.as_deref().map(Watched::new);
        let secret = match &settings.login {
            Login::Token(source) | Login::AppRole { secret: source, .. } => match source {
                Source::Text(text) => LoginSecret::Text(text.show().into()),
                Source::File(path) => LoginSecret::File(Watched::new(path)),
            },
        };
        let agent = match &watched {
            None => agent(&settings, None),
            Some(file) => {
                let told = read_authorities(file);
                let roots = told.map_err(|problem| format!("secret.vault_ca: {problem}"))?;
                agent(&settings, Some(roots))
            }
        };
        Ok(Self {
            agent: Mutex::new(agent),
            authorities: watched,
            secret,
            settings,
        })
    }

    /// Sees whether the file of the authorities was replaced, and takes what is new. One that is broken or
    /// half written is told; those before serve on.
    pub fn refresh(&self) {
        let Some(file) = self.authorities.as_ref().filter(|file| file.is_changed()) else {
            return;
        };
        match read_authorities(file) {
            Ok(roots) => {
                let fresh = agent(&self.settings, Some(roots));
                *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                info!("the authorities of the Vault were read again");
            }
            Err(problem) => warn!(
                problem,
                "`secret.vault_ca` was not taken: those before serve on"
            ),
        }
    }

    /// Was the file by which we log in replaced since we did?
    pub fn has_another_login(&self) -> bool {
        matches!(&self.secret, LoginSecret::File(file) if file.is_changed())
    }

    /// The secret by which we log in, as it stands now.
    fn login_secret(&self) -> Answer<Arc<str>> {
        let file = match &self.secret {
            LoginSecret::Text(text) => return Ok(Arc::clone(text)),
            LoginSecret::File(file) => file,
        };
        let wrong = |what: &str| {
            let path = file.path().display();
            Trouble::Settings(format!("the file of our login, {path}: {what}"))
        };
        let bytes = file.read().map_err(|cause| wrong(&cause.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8"))?;
        match text.trim() {
            "" => Err(wrong("it is empty")),
            text => Ok(text.into()),
        }
    }

    /// Asks; the status, and the body as text.
    fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&Token>,
        body: Option<&Value>,
    ) -> Answer<(u16, String)> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.settings.url));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", &*token.text);
        }
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = request
            .header("Content-Type", "application/json")
            .body(body)
            .map_err(|cause| Trouble::Away(cause.to_string()))?;
        let agent = self
            .agent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut response = agent.run(request)?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()?;
        Ok((status, text))
    }

    /// Asks, and tells the statuses apart that mean trouble. None for 404, where that is all that is said: a path that
    /// nobody serves is no secret that is not there.
    fn told(
        &self,
        method: &str,
        path: &str,
        token: Option<&Token>,
        body: Option<&Value>,
    ) -> Answer<Option<Value>> {
        match self.ask(method, path, token, body)? {
            (200..=299, text) => Ok(Some(serde_json::from_str(&text).unwrap_or(Value::Null))),
            (404, text) if said(&text).is_none() => Ok(None),
            (status, text) => Err(Trouble::of(status, &text)),
        }
    }

    /// Is it there and open?
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn check(&self) -> Answer<()> {
        match self.told("GET", "sys/seal-status", None, None)? {
            Some(answer) if answer["sealed"] == Value::Bool(false) => Ok(()),
            Some(_) => Err(Trouble::Sealed),
            None => Err(nobody()),
        }
    }

    /// Logs in as the settings say, or looks at the token that they give.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn log_in(&self) -> Answer<Token> {
        let told = self.try_log_in();
        if let (Err(trouble), LoginSecret::File(file)) = (&told, &self.secret)
            && !matches!(trouble, Trouble::Refused | Trouble::Settings(_))
        {
            // Nobody has said whether it is any good: it is tried again.
            file.forget();
        }
        told
    }

    fn try_log_in(&self) -> Answer<Token> {
        match &self.settings.login {
            Login::Token(_) => {
                let mut token = Token {
                    text: self.login_secret()?,
                    lifetime: None,
                };
                let answer = self.told("GET", "auth/token/lookup-self", Some(&token), None)?;
                let answer = answer.ok_or_else(nobody)?;
                token.lifetime = seconds(&answer["data"]["ttl"]);
                Ok(token)
            }
            Login::AppRole { mount, role, .. } => {
                let secret = self.login_secret()?;
                let body = json!({"role_id": role, "secret_id": &*secret});
                let path = format!("auth/{mount}/login");
                // What is wrong with the login is told as 400, too.
                let answer = match self.told("POST", &path, None, Some(&body)) {
                    Err(Trouble::Odd(400, _)) => Err(Trouble::Refused),
                    other => other,
                };
                token(&answer?.ok_or_else(nobody)?)
            }
        }
    }

    /// Is a token that was refused something still a good one? A policy refuses with the same status.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn holds(&self, token: &Token) -> Answer<bool> {
        match self.told("GET", "auth/token/lookup-self", Some(token), None) {
            Ok(answer) => Ok(answer.is_some()),
            Err(Trouble::Refused) => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    /// Gives a token back that is not needed any more, if that can be.
    pub fn revoke(&self, token: &Token) {
        let path = "auth/token/revoke-self";
        if let Err(trouble) = self.told("POST", path, Some(token), Some(&json!({}))) {
            debug!(%trouble, "a token that is not needed any more stays until it ends");
        }
    }

    /// What it means that a good token is refused.
    pub fn denied(&self) -> Trouble {
        Trouble::Denied(self.path("data", "*"))
    }

    /// Makes a token last longer.
    ///
    /// # Errors
    ///
    /// What is in the way; this one may have come to its end.
    pub fn renew(&self, old: &Token) -> Answer<Token> {
        let path = "auth/token/renew-self";
        let answer = self.told("POST", path, Some(old), Some(&json!({})))?;
        token(&answer.ok_or_else(nobody)?)
    }

    /// Is the engine of keys and values of the version that the settings say? With the other one, secrets would seem not
    /// to be there, or be left when they are removed. A server that does not tell is taken at the settings' word.
    ///
    /// # Errors
    ///
    /// It is of the other, or there is trouble.
    pub fn fits(&self, token: &Token) -> Answer<Engine> {
        let Settings { mount, version, .. } = &self.settings;
        let path = format!("sys/internal/ui/mounts/{mount}");
        let answer = match self.told("GET", &path, Some(token), None) {
            Ok(Some(answer)) => answer,
            // Older servers do not know it.
            Ok(None) | Err(Trouble::Odd(..)) => return Ok(Engine::Fits),
            // A policy may hide it; but that is also the answer to a token that was revoked.
            Err(Trouble::Refused) => return Ok(Engine::Hidden),
            Err(trouble) => return Err(trouble),
        };
        let engine = &answer["data"];
        let there = match (engine["type"].as_str(), &engine["options"]["version"]) {
            (Some("kv" | "generic"), Value::Null) => "1",
            (Some("kv" | "generic"), told) => told.as_str().unwrap_or_default(),
            _ => return Ok(Engine::Fits),
        };
        match there.parse() {
            Ok(there @ 1..=2) if there != *version => Err(Trouble::Settings(format!(
                "the engine at `{mount}` is of version {there}: set `secret.vault_kv` to {there}"
            ))),
            _ => Ok(Engine::Fits),
        }
    }

    /// The value under a name; None where there is none, or its latest version is deleted.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn read(&self, token: &Token, name: &str) -> Answer<Option<String>> {
        let Some(answer) = self.told("GET", &self.path("data", name), Some(token), None)? else {
            return Ok(None);
        };
        let data = match self.settings.version {
            1 => &answer["data"],
            _ => &answer["data"]["data"],
        };
        Ok(data["value"].as_str().map(str::to_owned))
    }

    /// Puts a value under a name, in place of what is there. With version 2 it says which version it takes
    /// the place of, as a mount may require (`cas_required`); where somebody else was faster, ours comes
    /// after theirs.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn write(&self, token: &Token, name: &str, value: &str) -> Answer<()> {
        let (path, value) = (self.path("data", name), json!({"value": value}));
        if self.settings.version == 1 {
            return self.post(token, &path, &value);
        }
        let mut tries = 0;
        loop {
            let version = self.version(token, &path)?;
            let body = json!({"data": value, "options": {"cas": version}});
            let done = self.post(token, &path, &body);
            tries += 1;
            let late = matches!(&done, Err(Trouble::Odd(400, said)) if said.contains(MISMATCH));
            if !late || tries == WRITES_MAX {
                return done;
            }
        }
    }

    fn post(&self, token: &Token, path: &str, body: &Value) -> Answer<()> {
        let done = self.told("POST", path, Some(token), Some(body))?;
        done.map(drop).ok_or_else(nobody)
    }

    /// The version of what lies there, deleted or not; 0 where nothing ever did.
    fn version(&self, token: &Token, path: &str) -> Answer<u64> {
        let answer = match self.ask("GET", path, Some(token), None)? {
            (200..=299, text) => text,
            (404, text) if said(&text).is_none() => text,
            (status, text) => return Err(Trouble::of(status, &text)),
        };
        let answer: Value = serde_json::from_str(&answer).unwrap_or(Value::Null);
        Ok(answer["data"]["metadata"]["version"].as_u64().unwrap_or(0))
    }

    /// Forgets what is under a name, all its versions.
    ///
    /// # Errors
    ///
    /// What is in the way.
    pub fn remove(&self, token: &Token, name: &str) -> Answer<()> {
        let path = self.path("metadata", name);
        self.told("DELETE", &path, Some(token), None).map(drop)
    }

    /// Where a name lies; `part` is of version 2 alone.
    fn path(&self, part: &str, name: &str) -> String {
        let Settings { mount, prefix, .. } = &self.settings;
        match self.settings.version {
            1 => format!("{mount}/{prefix}/{name}"),
            _ => format!("{mount}/{part}/{prefix}/{name}"),
        }
    }
}

fn agent(settings: &Settings, authorities: Option<Vec<Certificate<'static>>>) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(settings.timeout))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None);
    if let Some(roots) = authorities {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider);
        config = config.tls_config(tls.build());
    }
    config.build().into()
}

fn read_authorities(file: &Watched) -> Result<Vec<Certificate<'static>>, String> {
    let at = |problem: String| format!("{}: {problem}", file.path().display());
    let pem = file.read().map_err(|cause| at(cause.to_string()))?;
    authorities(&pem).map_err(at)
}

/// Nobody serves what we asked for.
fn nobody() -> Trouble {
    Trouble::Odd(404, String::new())
}

fn token(answer: &Value) -> Answer<Token> {
    let auth = &answer["auth"];
    let text = auth["client_token"]
        .as_str()
        .ok_or(Trouble::Odd(200, String::new()))?;
    Ok(Token {
        text: text.into(),
        lifetime: seconds(&auth["lease_duration"]),
    })
}

/// A number of seconds; 0 is no end.
fn seconds(value: &Value) -> Option<Duration> {
    let seconds = value.as_u64().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::settings::Hidden;

    // Answers of a Vault 1.8, as it gave them.
    const NEVER_THERE: &str = concat!(r#"404 {"errors":[]}"#, "\n");
    const WRITTEN: &str = concat!(
        r#"200 {"request_id":"38fd141c-0d1e-a9e1-6b87-9e75a2a87c37","lease_id":"","renewable":false,"#,
        r#""lease_duration":0,"data":{"created_time":"2026-11-30T22:53:59.516463998Z","#,
        r#""deletion_time":"","destroyed":false,"version":1},"wrap_info":null,"warnings":null,"#,
        r#""auth":null}"#,
        "\n",
    );
    const THERE: &str = concat!(
        r#"200 {"request_id":"7529c385-6c49-c2c7-899b-f80cc6a20888","lease_id":"","renewable":false,"#,
        r#""lease_duration":0,"data":{"data":{"value":"a"},"metadata":{"created_time":"#,
        r#""2026-11-30T22:53:59.516463998Z","deletion_time":"","destroyed":false,"version":1}},"#,
        r#""wrap_info":null,"warnings":null,"auth":null}"#,
        "\n",
    );
    const DELETED: &str = concat!(
        r#"404 {"request_id":"021d117a-0de0-3db9-a3a3-190c1f1107f8","lease_id":"","renewable":false,"#,
        r#""lease_duration":0,"data":{"data":null,"metadata":{"created_time":"#,
        r#""2026-11-30T22:53:59.555518816Z","deletion_time":"2026-11-30T22:53:59.571375611Z","#,
        r#""destroyed":false,"version":2}},"wrap_info":null,"warnings":null,"auth":null}"#,
        "\n",
    );
    const DESTROYED: &str = concat!(
        r#"404 {"request_id":"db9fcacc-018b-d481-3340-5cc7d3953bb4","lease_id":"","renewable":false,"#,
        r#""lease_duration":0,"data":{"data":null,"metadata":{"created_time":"#,
        r#""2026-11-30T22:53:59.598934104Z","deletion_time":"","destroyed":true,"version":3}},"#,
        r#""wrap_info":null,"warnings":null,"auth":null}"#,
        "\n",
    );
    const MISMATCHED: &str = concat!(
        r#"400 {"errors":["check-and-set parameter did not match the current version"]}"#,
        "\n",
    );
    const FORBIDDEN: &str = concat!(
        r#"403 {"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
        "\n",
    );
    const NO_ENGINE: &str = concat!(
        r#"404 {"errors":["no handler for route 'other/data/x'"]}"#,
        "\n",
    );
    const OTHER_ENGINE: &str = concat!(
        r#"404 {"request_id":"1a5f75bb-7bde-b16c-718b-ccd2544c43f3","lease_id":"","renewable":false,"#,
        r#""lease_duration":0,"data":null,"wrap_info":null,"warnings":["Invalid path for a versioned K/V "#,
        r#"secrets engine. See the API docs for the appropriate API endpoints to use. If using the Vault "#,
        r#"CLI, use 'vault kv get' for this operation."],"auth":null}"#,
        "\n",
    );

    fn held() -> Token {
        Token {
            text: "t0ken".into(),
            lifetime: None,
        }
    }

    /// The bodies of what was written.
    fn written(heard: JoinHandle<Vec<String>>) -> Vec<String> {
        let heard = heard.join().expect("it answered all");
        let writes = heard.iter().filter(|asked| asked.starts_with("POST "));
        let bodies = writes.filter_map(|asked| asked.rsplit("\r\n").next());
        bodies.map(str::to_owned).collect()
    }

    /// Answers one request after the other as a Vault does, and gives back what was asked.
    fn spoken(answers: &'static [&'static str]) -> (Client, JoinHandle<Vec<String>>) {
        spoken_by(Source::Text(Hidden::new("t0ken")), answers)
    }

    fn spoken_by(
        token: Source,
        answers: &'static [&'static str],
    ) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let (mut text, mut part) = (String::new(), [0; 4096]);
                let whole = |text: &str| {
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length = head.lines().find_map(|line| {
                        let (name, value) = line.split_once(": ")?;
                        name.eq_ignore_ascii_case("content-length")
                            .then(|| value.parse().ok())?
                    });
                    (body.len() >= length.unwrap_or(0)).then_some(())
                };
                while whole(&text).is_none() {
                    let count = stream.read(&mut part).expect("a request");
                    text.push_str(&String::from_utf8_lossy(&part[..count]));
                }
                heard.push(text);
                let (status, body) = answer.split_once(' ').expect("status and body");
                let reply = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nLocation: /elsewhere\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(reply.as_bytes()).expect("it is taken");
            }
            heard
        });
        let settings = Settings {
            url: format!("http://127.0.0.1:{port}"),
            ca: None,
            mount: "kv".to_owned(),
            version: 2,
            prefix: "p".to_owned(),
            login: Login::Token(token),
            timeout: Duration::from_secs(10),
        };
        (Client::new(settings).expect("a client"), heard)
    }

    #[test]
    fn version_2_has_its_values_one_level_deeper() {
        let (client, heard) = spoken(&[
            r#"200 {"data":{"ttl":3600,"renewable":true}}"#,
            r#"200 {"data":{"data":{"value":"v"},"metadata":{"version":1}}}"#,
            r#"404 {"errors":[]}"#,
            r#"200 {"data":{"data":{"value":"v"},"metadata":{"version":7}}}"#,
            r#"200 {"data":{"version":8}}"#,
            "204 ",
            r#"200 {"auth":{"client_token":"t0ken","lease_duration":60}}"#,
        ]);
        let token = client.log_in().expect("a token");
        assert_eq!(token.lifetime, Some(Duration::from_secs(3600)));
        assert_eq!(client.read(&token, "a/b"), Ok(Some("v".to_owned())));
        assert_eq!(client.read(&token, "a/c"), Ok(None));
        assert_eq!(client.write(&token, "a/b", "w"), Ok(()));
        assert_eq!(client.remove(&token, "a/b"), Ok(()));
        let renewed = client.renew(&token).expect("renewed");
        assert_eq!(renewed.lifetime, Some(Duration::from_secs(60)));
        let heard = heard.join().expect("it answered all");
        for (asked, (line, body)) in heard.iter().zip([
            ("GET /v1/auth/token/lookup-self HTTP/1.1", ""),
            ("GET /v1/kv/data/p/a/b HTTP/1.1", ""),
            ("GET /v1/kv/data/p/a/c HTTP/1.1", ""),
            ("GET /v1/kv/data/p/a/b HTTP/1.1", ""),
            (
                "POST /v1/kv/data/p/a/b HTTP/1.1",
                r#"{"data":{"value":"w"},"options":{"cas":7}}"#,
            ),
            ("DELETE /v1/kv/metadata/p/a/b HTTP/1.1", ""),
            ("POST /v1/auth/token/renew-self HTTP/1.1", "{}"),
        ]) {
            assert!(asked.starts_with(line) && asked.ends_with(body), "{asked}");
            assert!(
                asked.to_lowercase().contains("x-vault-token: t0ken"),
                "{asked}"
            );
        }
    }

    #[test]
    fn a_write_says_which_version_it_takes_the_place_of_and_comes_after_who_was_faster() {
        let (client, heard) = spoken(&[
            NEVER_THERE,
            WRITTEN,
            // Somebody forgets it meanwhile, and writes it anew.
            DELETED,
            MISMATCHED,
            THERE,
            WRITTEN,
            DESTROYED,
            WRITTEN,
            // No right to look.
            FORBIDDEN,
            NO_ENGINE,
        ]);
        let token = held();
        assert_eq!(client.write(&token, "a", "w"), Ok(()));
        assert_eq!(client.write(&token, "b", "w"), Ok(()));
        assert_eq!(client.write(&token, "b", "w"), Ok(()));
        assert_eq!(client.write(&token, "c", "w"), Err(Trouble::Refused));
        let nobody = client.write(&token, "d", "w").expect_err("no engine");
        assert!(nobody.to_string().contains("no handler"), "{nobody}");
        let wanted = [0, 2, 1, 3];
        let wanted = wanted
            .map(|version| format!(r#"{{"data":{{"value":"w"}},"options":{{"cas":{version}}}}}"#));
        assert_eq!(written(heard), wanted);
    }

    #[test]
    fn the_last_of_sixteen_who_write_at_once_comes_to_its_turn_and_whoever_never_does_is_told() {
        let late = [THERE, MISMATCHED].repeat(15);
        let answers = [late.clone(), vec![THERE, WRITTEN]].concat();
        let (client, heard) = spoken(answers.leak());
        assert_eq!(client.write(&held(), "a", "w"), Ok(()));
        assert_eq!(written(heard).len(), 16);
        let (client, heard) = spoken([late, vec![THERE, MISMATCHED]].concat().leak());
        let told = client.write(&held(), "a", "w").expect_err("for ever late");
        assert!(told.to_string().contains(MISMATCH), "{told}");
        assert_eq!(written(heard).len(), 16);
    }

    #[test]
    fn a_token_is_read_again_from_its_file_at_each_login() {
        let file = std::env::temp_dir().join(format!("backends-token-{}", fastrand::u64(..)));
        std::fs::write(&file, "first\n").expect("a file");
        let (client, heard) = spoken_by(
            Source::File(file.clone()),
            &[r#"200 {"data":{"ttl":60}}"#, r#"200 {"data":{"ttl":60}}"#],
        );
        client.log_in().expect("a token");
        assert!(!client.has_another_login());
        std::fs::write(&file, "second\n").expect("a file");
        assert!(client.has_another_login());
        let token = client.log_in().expect("a token");
        assert_eq!(&*token.text, "second");
        assert!(!client.has_another_login());
        std::fs::write(&file, "").expect("a file");
        let told = client.log_in().err().expect("nothing in it").to_string();
        assert!(told.contains("it is empty"), "{told}");
        std::fs::remove_file(&file).expect("it is there");
        let told = client.log_in().err().expect("no file").to_string();
        assert!(told.contains(&file.display().to_string()), "{told}");
        let heard = heard.join().expect("it answered all");
        assert!(heard[1].to_lowercase().contains("x-vault-token: second"));
    }

    #[test]
    fn a_file_without_an_authority_is_refused() {
        let dir = std::env::temp_dir();
        let file = dir.join(format!("portcullis-vault-ca-{}.pem", std::process::id()));
        for (text, told) in [
            ("", "no certificate of an authority"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "no certificate of an authority",
            ),
            ("-----BEGIN CERTIFICATE-----\nAA", "secret.vault_ca: "),
        ] {
            std::fs::write(&file, text).expect("a file");
            let told_now = Client::new(Settings {
                url: "https://127.0.0.1".to_owned(),
                ca: Some(file.clone()),
                mount: "kv".to_owned(),
                version: 2,
                prefix: "p".to_owned(),
                login: Login::Token(Source::Text(Hidden::new("t0ken"))),
                timeout: Duration::from_secs(10),
            });
            let problem = told_now.err().expect("refused");
            assert!(problem.contains(told), "{problem}");
        }
        std::fs::remove_file(&file).expect("it was there");
    }

    #[test]
    fn what_is_not_there_is_told_apart_from_what_nobody_serves() {
        let (client, heard) = spoken(&[NEVER_THERE, DELETED, DESTROYED, NO_ENGINE, OTHER_ENGINE]);
        let token = held();
        for _ in 0..3 {
            assert_eq!(client.read(&token, "a"), Ok(None));
        }
        for part in ["no handler", "Invalid path"] {
            let trouble = client.read(&token, "a").expect_err(part);
            assert!(trouble.to_string().contains(part), "{trouble}");
        }
        assert_eq!(heard.join().expect("it answered all").len(), 5);
    }

    #[test]
    fn an_engine_of_the_other_version_is_told() {
        let (client, heard) = spoken(&[
            concat!(
                r#"200 {"request_id":"b155cd5b-c97c-0b17-0d5a-8ecceca4d498","lease_id":"","renewable":false,"#,
                r#""lease_duration":0,"data":{"accessor":"kv_08b970f8","config":{"default_lease_ttl":0,"#,
                r#""force_no_cache":false,"max_lease_ttl":0},"description":"","external_entropy_access":"#,
                r#"false,"local":false,"options":{"version":"2"},"path":"services/","seal_wrap":false,"#,
                r#""type":"kv","uuid":"be21aa2b-e1ad-13dc-725f-e4218e284afb"},"wrap_info":null,"#,
                r#""warnings":null,"auth":null}"#,
            ),
            r#"200 {"data":{"type":"kv","options":null}}"#,
            r#"200 {"data":{"type":"kv","options":{"version":"1"}}}"#,
            r#"200 {"data":{"type":"of a plugin","options":null}}"#,
            r#"403 {"errors":["preflight capability check returned 403"]}"#,
            "404 {}",
            r#"503 {"errors":["error performing token check: Vault is sealed"]}"#,
        ]);
        let token = held();
        let other = Err(Trouble::Settings(
            "the engine at `kv` is of version 1: set `secret.vault_kv` to 1".to_owned(),
        ));
        for told in [
            Ok(Engine::Fits),
            other.clone(),
            other,
            Ok(Engine::Fits),
            Ok(Engine::Hidden),
            Ok(Engine::Fits),
            Err(Trouble::Sealed),
        ] {
            assert_eq!(client.fits(&token), told);
        }
        let heard = heard.join().expect("it answered all");
        assert!(heard[0].starts_with("GET /v1/sys/internal/ui/mounts/kv HTTP/1.1"));
    }

    #[test]
    fn trouble_is_told_apart_and_nothing_is_followed() {
        let (client, heard) = spoken(&["503 {}", "403 {}", "500 {}", "307 {}"]);
        let token = held();
        for trouble in [
            Trouble::Sealed,
            Trouble::Refused,
            Trouble::Odd(500, String::new()),
            Trouble::Elsewhere(307),
        ] {
            assert_eq!(client.read(&token, "a"), Err(trouble));
        }
        assert_eq!(heard.join().expect("it answered all").len(), 4);
        let gone = client.read(&token, "a");
        assert!(matches!(gone, Err(Trouble::Away(_))), "{gone:?}");
    }
}
