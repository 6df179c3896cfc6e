//! Who signed this call? The signatures of the legacy API: HMAC-SHA256 over method, host, path and
//! parameters.
//!
//! Parameters are decoded, sorted by name in byte order and encoded again by RFC 3986, so that it does
//! not matter how a client escaped them on the way. A `+` is a plus sign. The host is that of the
//! `Host` field with its port, as it was sent; clients that lower it before they sign are understood.

use std::collections::BTreeMap;
use std::fmt::Write;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
/// Most parameters of a call.
const PARAMETERS_MAX: usize = 20_000;

/// The parameters of a call, each once.
pub type Parameters = BTreeMap<String, String>;

/// Reads `a=b&c=d`.
///
/// # Errors
///
/// Which parameter is none.
pub fn parameters(text: &str) -> Result<Parameters, String> {
    let mut parameters = Parameters::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        if parameters.len() == PARAMETERS_MAX {
            return Err(format!("a call has at most {PARAMETERS_MAX} parameters"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if let Some(before) = parameters.insert(name.clone(), value.clone())
            && before != value
        {
            return Err(format!("the parameter `{name}` stands there twice"));
        }
    }
    Ok(parameters)
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = percent_decode_str(text).decode_utf8();
    let text = bytes.map_err(|_| "a parameter is not UTF-8".to_owned())?;
    match text.contains('\0') {
        true => Err("a parameter has a character 0".to_owned()),
        false => Ok(text.into_owned()),
    }
}

/// A call as it was signed.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// The `Host` field.
    pub host: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// All parameters.
    pub parameters: &'a Parameters,
}

impl Call<'_> {
    /// The string to sign, for this spelling of the host.
    fn text(&self, host: &str) -> String {
        let path = if self.path.is_empty() { "/" } else { self.path };
        let mut text = format!("{}\n{host}\n{path}\n", self.method);
        let signed = self.parameters.iter();
        let signed = signed.filter(|(name, _)| *name != "signature");
        for (number, (name, value)) in signed.enumerate() {
            let join = if number == 0 { "" } else { "&" };
            let name = utf8_percent_encode(name, RESERVED);
            let value = utf8_percent_encode(value, RESERVED);
            let _ = write!(text, "{join}{name}={value}");
        }
        text
    }

    /// Is this signature (base64, padded) made with this secret? Compared in constant time.
    pub fn is_signed(&self, secret: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let lower = self.host.to_ascii_lowercase();
        let right = |host: &str| hmac::verify(&key, self.text(host).as_bytes(), &signature).is_ok();
        right(&lower) || (lower != self.host && right(self.host))
    }
}

/// The time of a call, `2026-11-23T04:04:51Z`, in seconds since 1970.
pub fn seconds(timestamp: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(timestamp, &Rfc3339).ok()?;
    Some(time.unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_it(
            text in "(a|b\\.1|=|&|%[0-9a-fA-F]{0,2}|\\+|é|\\PC|\\x00){0,60}",
            signature in "\\PC{0,60}|[A-Za-z0-9+/=]{0,60}",
            host in "\\PC{0,20}",
            time in "\\PC{0,30}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{0,12}Z?",
        ) {
            let _ = seconds(&time);
            if let Ok(parameters) = parameters(&text) {
                let call = Call { method: "GET", host: &host, path: &text, parameters: &parameters };
                prop_assert!(!call.is_signed("secret", &signature), "nobody guesses it");
                let right = sign("secret", &call.text(&host));
                prop_assert!(call.is_signed("secret", &right));
            }
        }

        #[test]
        fn parameters_are_read_as_they_were_meant(
            pairs in prop::collection::btree_map("[^\\x00]{1,10}", "[^\\x00]{0,20}", 0..8)
        ) {
            let coded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
            let joined: Vec<String> = pairs
                .iter()
                .map(|(name, value)| format!("{}={}", coded(name), coded(value)))
                .collect();
            prop_assert_eq!(parameters(&joined.join("&")), Ok(pairs));
        }
    }

    fn call(parameters: &Parameters) -> Call<'_> {
        Call {
            method: "POST",
            host: "Localhost:38443",
            path: "/api/",
            parameters,
        }
    }

    fn sign(secret: &str, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        STANDARD.encode(hmac::sign(&key, text.as_bytes()))
    }

    #[test]
    fn the_string_to_sign_is_the_documented_one() {
        let query = "b=x%2fy+z%20%C3%A9~&a=&tags.10=1&tags.2=2&signature=zzz&B=q*";
        let parameters = parameters(query).expect("parameters");
        assert_eq!(parameters["b"], "x/y+z \u{e9}~");
        assert_eq!(
            call(&parameters).text("localhost:38443"),
            "POST\nlocalhost:38443\n/api/\n\
             B=q%2A&a=&b=x%2Fy%2Bz%20%C3%A9~&tags.10=1&tags.2=2"
        );
    }

    #[test]
    fn both_spellings_of_the_host_count_and_nothing_else() {
        let parameters = parameters("action=GetComputers").expect("parameters");
        let call = call(&parameters);
        for host in ["localhost:38443", "Localhost:38443"] {
            let right = sign("secret", &call.text(host));
            assert!(call.is_signed("secret", &right), "{host}");
            assert!(!call.is_signed("Secret", &right), "{host}");
        }
        let without_port = sign("secret", &call.text("localhost"));
        assert!(!call.is_signed("secret", &without_port));
        for wrong in ["", "x", "AAAA", "\u{e9}"] {
            assert!(!call.is_signed("secret", wrong), "{wrong}");
        }
        let bare = Call { path: "", ..call };
        assert!(bare.text("h").starts_with("POST\nh\n/\n"));
    }

    #[test]
    fn parameters_that_contradict_each_other_are_refused() {
        assert!(parameters("a=1&a=2").is_err());
        assert_eq!(parameters("a=1&a=1").expect("the same").len(), 1);
        assert!(parameters("a=%ff").is_err());
        assert!(parameters("a=%00").is_err());
        assert_eq!(parameters("a&=&b=c=d").expect("lax")["b"], "c=d");
        assert!(parameters("").expect("nothing").is_empty());
    }

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:01:00Z"), Some(60));
        assert_eq!(seconds("2026-11-23T04:04:51Z"), Some(1_795_406_691));
        for wrong in [
            "",
            "2026-11-23",
            "2026-11-23T04:04:51",
            "2026-13-01T00:00:00Z",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
