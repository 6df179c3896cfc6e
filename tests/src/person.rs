//! Who asks the services? A program with a token, one that signs its calls, and a browser.
//!
//! What is signed is made here anew from the protocol's text; no code is shared with the services.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::message::Message;
use crate::stack::Database;

/// The administrator of tests.
pub const EMAIL: &str = "ada@edge.test";
/// Their password.
pub const PASSWORD: &str = "correct horse";

impl Database {
    /// Makes the administrator of tests.
    pub fn administrator(&self) {
        self.person(EMAIL, "administrator");
    }

    /// Makes somebody with the password of tests.
    pub fn person(&self, email: &str, role: &str) {
        self.person_of("standalone", email, role);
    }

    /// Makes somebody of another account.
    pub fn person_of(&self, account: &str, email: &str, role: &str) {
        let words = [
            "person",
            email,
            "--name",
            "Ada",
            "--role",
            role,
            "--account",
            account,
        ];
        self.schema(&[], &words, PASSWORD);
    }
}

/// The administrator of tests, signed in: for whoever asks a worker itself, without the edge.
pub struct SignedIn {
    /// `Cookie: ...`
    pub cookie: String,
    /// The word that every form holds.
    pub form_token: String,
}

impl Database {
    /// Makes the administrator of tests and a session of theirs.
    pub fn signed_in(&self) -> SignedIn {
        self.administrator();
        let word = format!("{:016x}", fastrand::u64(..));
        self.sql(&format!(
            "insert into web_session (digest, person_id, form_token, expires_at) \
             select sha256('{word}'), id, '{word}', now() + interval '1 hour' from person"
        ));
        SignedIn {
            cookie: format!("Cookie: __Host-session={word}"),
            form_token: word,
        }
    }
}

/// A program with a token.
pub struct Rest<'a> {
    gateway: &'a Gateway,
    /// What it shows.
    pub token: Option<String>,
}

impl<'a> Rest<'a> {
    /// Without a token.
    pub fn stranger(gateway: &'a Gateway) -> Rest<'a> {
        let token = None;
        Rest { gateway, token }
    }

    /// Logs in with the password of tests.
    pub async fn log_in(gateway: &'a Gateway, email: &str) -> Rest<'a> {
        let mut rest = Rest::stranger(gateway);
        let body = json!({"email": email, "password": PASSWORD});
        let (status, answer) = rest.post("/login", &body).await;
        assert_eq!(status, 200, "{answer}");
        rest.token = Some(answer["token"].as_str().expect("a token").to_owned());
        rest
    }

    /// A request below `/api/v2`, with these bytes; status and JSON, null for none.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut fields = Vec::new();
        if let Some(token) = &self.token {
            fields.push(format!("Authorization: Bearer {token}"));
        }
        if body.is_some() {
            fields.push("Content-Type: application/json".to_owned());
        }
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut raw = self.gateway.https().await;
        let path = format!("/api/v2{path}");
        let reply = raw.ask(method, &path, &fields, body.as_bytes()).await;
        (reply.status(), value_of(&reply))
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None).await
    }

    /// A POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, Some(body)).await
    }
}

fn value_of(reply: &Message) -> Value {
    if reply.body.is_empty() {
        return Value::Null;
    }
    assert_eq!(reply.field("content-type"), Some("application/json"));
    serde_json::from_slice(&reply.body).expect("JSON")
}

/// A program that signs its calls.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// Half of its key that it shows.
    pub access: String,
    /// The other half.
    pub secret: String,
}

impl AccessKey {
    /// Makes one for a person.
    pub fn of(database: &Database, settings: &[(&str, &str)], email: &str) -> AccessKey {
        let told = database.schema(settings, &["access-key", email], "");
        let value = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a line of its own").to_owned()
        };
        AccessKey {
            access: value("LANDSCAPE_API_KEY="),
            secret: value("LANDSCAPE_API_SECRET="),
        }
    }

    /// The parameters of a call, signed: sorted, and as they are sent in a form.
    pub fn form(&self, call: &Signed<'_>) -> String {
        let mut parameters: Vec<(String, String)> = call
            .arguments
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        for (name, value) in [
            ("action", call.action),
            ("access_key_id", self.access.as_str()),
            ("signature_method", "HmacSHA256"),
            ("signature_version", "2"),
            ("timestamp", call.timestamp),
            ("version", "2011-08-01"),
        ] {
            parameters.push((name.to_owned(), value.to_owned()));
        }
        parameters.sort();
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        let canonical = pairs.join("&");
        let text = format!("{}\n{}\n{}\n{canonical}", call.method, call.host, call.path);
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        // As the public client sends it: the slash stays as it is.
        let signature = escaped(&signature).replace("%2F", "/");
        format!("{canonical}&signature={signature}")
    }

    /// A signed POST, as the public client makes it.
    pub async fn call(
        &self,
        gateway: &Gateway,
        action: &str,
        arguments: &[(&str, &str)],
    ) -> (u16, Value) {
        let call = Signed::new(gateway, action, arguments);
        call.post(gateway, &self.form(&call)).await
    }
}

/// What is signed.
pub struct Signed<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// As it is signed; sent with the port.
    pub host: String,
    /// The path.
    pub path: &'a str,
    /// The action.
    pub action: &'a str,
    /// Its arguments.
    pub arguments: &'a [(&'a str, &'a str)],
    /// `YYYY-MM-DDTHH:MM:SSZ`
    pub timestamp: &'a str,
}

impl<'a> Signed<'a> {
    /// A POST to `/api/` of this gateway, now.
    pub fn new(
        gateway: &Gateway,
        action: &'a str,
        arguments: &'a [(&'a str, &'a str)],
    ) -> Signed<'a> {
        Signed {
            method: "POST",
            host: format!("edge.test:{}", gateway.port("https")),
            path: "/api/",
            action,
            arguments,
            // Leaked: a few bytes in a test.
            timestamp: Box::leak(now().into_boxed_str()),
        }
    }

    /// Sends a form to `/api/`, byte for byte as the public client does.
    pub async fn post(&self, gateway: &Gateway, form: &str) -> (u16, Value) {
        let port = gateway.port("https");
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: edge.test:{port}\r\nAccept: */*\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            self.path,
            form.len()
        );
        let mut raw = gateway.https().await;
        raw.send(request).await;
        let reply = raw.final_reply_to("POST").await;
        (reply.status(), value_of(&reply))
    }
}

/// The time now, as calls write it.
pub fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    time_of(since.expect("after 1970").as_secs())
}

/// A time, seconds since 1970, as calls write it.
pub fn time_of(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!(
        "{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        day + 1
    )
}

/// RFC 3986: all but the unreserved characters as `%XX`.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What a browser says that opens a page.
pub const LOOKS: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";

/// Somebody in front of the pages.
#[derive(Clone)]
pub struct Browser<'a> {
    gateway: &'a Gateway,
    /// `Cookie: ...`
    pub cookie: String,
}

impl<'a> Browser<'a> {
    /// Signs in with the password of tests.
    pub async fn sign_in(gateway: &'a Gateway, email: &str) -> Browser<'a> {
        let mut browser = Browser {
            gateway,
            cookie: "X-Nothing: 1".to_owned(),
        };
        let form = format!(
            "email={}&password={}&next=/",
            escaped(email),
            escaped(PASSWORD)
        );
        let reply = browser.send("/login", &form, &[]).await;
        assert_eq!(reply.status(), 303, "{}", reply.text());
        let cookie = reply.field("set-cookie").expect("a cookie");
        let (pair, rest) = cookie.split_once(';').expect("with attributes");
        assert!(
            rest.contains("Secure") && rest.contains("HttpOnly"),
            "{cookie}"
        );
        browser.cookie = format!("Cookie: {pair}");
        browser
    }

    /// With another `Cookie: ...`, or any other field in its place.
    pub fn with_cookie(&self, field: &str) -> Browser<'a> {
        Browser {
            gateway: self.gateway,
            cookie: field.to_owned(),
        }
    }

    /// Asks for a page as a program does.
    pub async fn get(&self, path: &str) -> Message {
        let mut raw = self.gateway.https().await;
        raw.ask("GET", path, &[&self.cookie], b"").await
    }

    /// Opens a page, as people do.
    pub async fn open(&self, path: &str) -> Message {
        let mut raw = self.gateway.https().await;
        raw.ask("GET", path, &[&self.cookie, LOOKS], b"").await
    }

    /// Sends a form, as it is.
    pub async fn send(&self, path: &str, form: &str, more: &[&str]) -> Message {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let fields = [&[self.cookie.as_str(), kind][..], more].concat();
        let mut raw = self.gateway.https().await;
        raw.ask("POST", path, &fields, form.as_bytes()).await
    }

    /// Sends a form of a page of this session.
    pub async fn submit(&self, path: &str, form: &str) -> Message {
        let token = self.form_token().await;
        self.send(path, &format!("{form}&form_token={token}"), &[])
            .await
    }

    /// The word that every form of this session holds.
    pub async fn form_token(&self) -> String {
        let page = self.get("/computers").await.text();
        let (_, rest) = page
            .split_once("name=\"form_token\" value=\"")
            .unwrap_or_else(|| panic!("no form in {page}"));
        rest.split_once('"').expect("its end").0.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written() {
        assert_eq!(time_of(0), "1970-01-01T00:00:00Z");
        assert_eq!(time_of(1_795_406_691), "2026-11-23T04:04:51Z");
        assert_eq!(time_of(1_709_164_800), "2024-02-29T00:00:00Z");
    }
}
