//! How is a secret encrypted? AES-256-GCM under one of the keys of the settings, bound to its name.
//!
//! What is sealed is one byte of form, 12 of nonce, then the ciphertext with its tag. The name is
//! authenticated along, so that nothing can be moved under another name.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

/// The form of what is sealed.
const FORM: u8 = 1;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Most keys: one, and those it replaced.
const KEYS_MAX: usize = 16;

/// The keys: the first seals, each opens.
pub struct Keys(Vec<RandomizedNonceKey>);

impl Keys {
    /// Reads keys of 64 hexadecimal digits, one a line.
    ///
    /// # Errors
    ///
    /// Which line is none.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.split_whitespace()) {
            let key = hex(line)
                .filter(|key| key.len() == KEY_BYTES)
                .and_then(|key| RandomizedNonceKey::new(&AES_256_GCM, &key).ok());
            keys.push(key.ok_or_else(|| {
                format!(
                    "secret.key: line {number} is no key of 64 hexadecimal digits; \
                     `openssl rand -hex 32` makes one"
                )
            })?);
        }
        match keys.len() {
            0 => Err("secret.key: there is no key in it".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            _ => Err(format!("secret.key: more than {KEYS_MAX} keys")),
        }
    }

    /// Encrypts. None only where the system has no randomness.
    pub fn seal(&self, name: &str, value: &str) -> Option<Vec<u8>> {
        let mut sealed = value.as_bytes().to_vec();
        let nonce = self
            .0
            .first()?
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .ok()?;
        Some([&[FORM], nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what was sealed under this name; None where no key fits.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<String> {
        let (form, rest) = sealed.split_first()?;
        let (nonce, rest) = rest.split_at_checked(NONCE_LEN)?;
        if *form != FORM {
            return None;
        }
        self.0.iter().find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut opened = rest.to_vec();
            let opened = key
                .open_in_place(nonce, Aad::from(name.as_bytes()), &mut opened)
                .ok()?;
            String::from_utf8(opened.to_vec()).ok()
        })
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_key_under_its_name_alone() {
        let (old, new) = ("00".repeat(32), "1f".repeat(32));
        let keys = Keys::read(&old).expect("a key");
        let sealed = keys.seal("a", "secret").expect("sealed");
        assert_ne!(sealed, keys.seal("a", "secret").expect("sealed"), "a nonce");
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(keys.open("a", &sealed).as_deref(), Some("secret"));
        assert_eq!(keys.open("b", &sealed), None);
        let both = Keys::read(&format!("{new}\n{old}\n")).expect("two keys");
        assert_eq!(both.open("a", &sealed).as_deref(), Some("secret"));
        let again = both.seal("a", "secret").expect("sealed");
        assert_eq!(keys.open("a", &again), None);
        for cut in 0..sealed.len() {
            assert_eq!(keys.open("a", &sealed[..cut]), None);
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        for (text, told) in [
            ("", "no key"),
            ("00", "line 1"),
            (&*format!("{}\nxy", "00".repeat(32)), "line 2"),
            (&*"0".repeat(63), "line 1"),
            (&*"zz".repeat(32), "line 1"),
        ] {
            let problem = Keys::read(text).err().expect("no key");
            assert!(problem.contains(told), "{text}: {problem}");
        }
    }
}
