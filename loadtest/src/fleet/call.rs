//! How does a client of the API ask? By calls that are signed with an access key, as the published one makes them:
//! HMAC-SHA256 over method, host, path and the sorted parameters.

use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::http::{Failure, Target};

const PATH: &str = "/api/";

/// Both halves of an access key.
#[derive(Clone, Debug)]
pub struct Key {
    access: String,
    secret: String,
}

impl Key {
    /// Reads the lines `LANDSCAPE_API_KEY=...` and `LANDSCAPE_API_SECRET=...`, as `schema access-key` prints them.
    ///
    /// # Errors
    ///
    /// There is no such file, or a line is missing.
    pub fn read(file: &Path) -> anyhow::Result<Key> {
        let name = file.display();
        let text = std::fs::read_to_string(file).context(name.to_string())?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(str::to_owned)
        };
        let lines = value("LANDSCAPE_API_KEY=").zip(value("LANDSCAPE_API_SECRET="));
        let (access, secret) = lines.with_context(|| {
            format!(
                "{name}: the lines LANDSCAPE_API_KEY=... and LANDSCAPE_API_SECRET=... are wanted"
            )
        })?;
        Ok(Key { access, secret })
    }

    /// A call as a form: its parameters, sorted and signed.
    fn form(&self, host: &str, action: &str, arguments: &[(&str, &str)], time: &str) -> String {
        let mut parameters = vec![
            ("access_key_id", self.access.as_str()),
            ("action", action),
            ("signature_method", "HmacSHA256"),
            ("signature_version", "2"),
            ("timestamp", time),
            ("version", "2011-08-01"),
        ];
        parameters.extend_from_slice(arguments);
        parameters.sort_unstable();
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
            .collect();
        let canonical = pairs.join("&");
        let text = format!("POST\n{host}\n{PATH}\n{canonical}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        format!("{canonical}&signature={}", escaped(&signature))
    }

    /// A call. What was answered, where the status is 200.
    async fn call(
        &self,
        target: &Target,
        action: &str,
        arguments: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let now = OffsetDateTime::now_utc();
        let now = now.replace_nanosecond(0).unwrap_or(now);
        let now = now.format(&Rfc3339).map_err(|_| "clock")?;
        let form = self.form(&target.host, action, arguments, &now);
        let fields = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = target.post(PATH, fields, form.as_bytes()).await?;
        serde_json::from_slice(&answer).map_err(|_| "malformed".to_owned())
    }

    /// Keeps a script under this title, and returns its number.
    pub async fn script(&self, target: &Target, title: &str) -> Result<i64, Failure> {
        let code = STANDARD.encode("#!/bin/sh\ntrue\n");
        let arguments = [("title", title), ("code", code.as_str())];
        let made = self.call(target, "CreateScript", &arguments).await?;
        made["id"].as_i64().ok_or_else(|| "malformed".to_owned())
    }

    /// Orders a script of the computer of this title, under a name that no other order has.
    pub async fn order(
        &self,
        target: &Target,
        title: &str,
        script: i64,
        username: &str,
    ) -> Result<(), Failure> {
        let (query, script) = (format!("title:{title}"), script.to_string());
        let arguments = [
            ("query", query.as_str()),
            ("script_id", script.as_str()),
            ("username", username),
        ];
        let made = self.call(target, "ExecuteScript", &arguments).await?;
        let id = made["id"].as_i64();
        id.map(drop).ok_or_else(|| "malformed".to_owned())
    }

    /// Asks for the computer of this title, which there must be, once.
    pub async fn look(&self, target: &Target, title: &str) -> Result<(), Failure> {
        let query = format!("title:{title}");
        let arguments = [("query", query.as_str())];
        let found = self.call(target, "GetComputers", &arguments).await?;
        match found.as_array().map(Vec::as_slice) {
            Some([one]) if one["title"] == title => Ok(()),
            _ => Err("wrong".to_owned()),
        }
    }
}

/// RFC 3986: all but the unreserved characters as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte.into());
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_signed_over_its_sorted_parameters() {
        let key = Key {
            access: "ACCESS".to_owned(),
            secret: "secret".to_owned(),
        };
        let time = "2026-11-23T04:04:51Z";
        let form = key.form("localhost", "GetComputers", &[("query", "id:1 b")], time);
        // `openssl dgst -sha256 -hmac secret -binary | base64` of the documented string.
        let wanted = "access_key_id=ACCESS&action=GetComputers&query=id%3A1%20b&\
                      signature_method=HmacSHA256&signature_version=2&\
                      timestamp=2026-11-23T04%3A04%3A51Z&version=2011-08-01&signature=yUBTj9CZFVBXrlsFZxKOS6NoFJoNrC1ZsjO6pndkPZc%3D";
        assert_eq!(form, wanted);
    }

    #[test]
    fn a_key_is_read_from_what_schema_prints() {
        let dir = std::env::temp_dir().join(format!("loadtest-key-{}", std::process::id()));
        std::fs::write(&dir, "LANDSCAPE_API_KEY=a\nLANDSCAPE_API_SECRET=b\n").expect("a file");
        let key = Key::read(&dir).expect("a key");
        assert_eq!((key.access.as_str(), key.secret.as_str()), ("a", "b"));
        std::fs::write(&dir, "LANDSCAPE_API_KEY=a\n").expect("a file");
        assert!(Key::read(&dir).is_err());
        let _ = std::fs::remove_file(&dir);
    }
}
