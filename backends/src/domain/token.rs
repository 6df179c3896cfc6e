//! Who shows this token? JSON Web Tokens (RFC 7519), signed by HS256; they say who somebody is and
//! nothing of what they may.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Until when it is good, seconds since 1970.
    pub exp: i64,
    /// When it was made, seconds since 1970.
    pub iat: i64,
    /// The person's e-mail address.
    pub sub: String,
    /// The account's name.
    pub acc: String,
    /// The person's number.
    pub id: i64,
}

/// Signs. None where the secret is none.
pub fn sign(claims: &Claims, secret: &str) -> Option<String> {
    let key = EncodingKey::from_secret(secret.as_bytes()).ok()?;
    encode(&Header::new(Algorithm::HS256), claims, &key).ok()
}

/// What a token of ours says; None for one of others, or one that is over.
pub fn verify(token: &str, secret: &str) -> Option<Claims> {
    let key = DecodingKey::from_secret(secret.as_bytes()).ok()?;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = 0;
    validation.validate_aud = false;
    decode(token, &key, &validation)
        .ok()
        .map(|data| data.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn claims(exp: i64) -> Claims {
        Claims {
            exp,
            iat: 1,
            sub: "a@b".to_owned(),
            acc: "standalone".to_owned(),
            id: 7,
        }
    }

    #[test]
    fn only_our_own_and_only_in_time() {
        let far = 4_000_000_000;
        let token = sign(&claims(far), "secret").expect("signed");
        assert_eq!(verify(&token, "secret"), Some(claims(far)));
        assert_eq!(verify(&token, "other"), None);
        let over = sign(&claims(1_000_000_000), "secret").expect("signed");
        assert_eq!(verify(&over, "secret"), None);
        for wrong in ["", "a", "a.b.c", &token[1..], &token[..token.len() - 1]] {
            assert_eq!(verify(wrong, "secret"), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_that_names_no_algorithm_is_nobodys() {
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let body =
            URL_SAFE_NO_PAD.encode(serde_json::to_string(&claims(4_000_000_000)).expect("JSON"));
        for signature in ["", "AAAA"] {
            assert_eq!(
                verify(&format!("{head}.{body}.{signature}"), "secret"),
                None
            );
        }
    }
}
