//! Is this the password? Argon2id, in the usual form of hashes; slow on purpose.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// Longest password, bytes: a hash takes longer the more it is given.
pub const BYTES_MAX: usize = 1024;
/// Shortest password that is taken, characters.
pub const CHARS_MIN: usize = 8;

/// What is kept of a password. None where the system has no randomness.
pub fn hash(password: &str) -> Option<String> {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).ok()?;
    Some(hash.to_string())
}

/// Does this password fit? Takes about as long where there is no hash at all, so that its time does not
/// tell whether somebody is known.
pub fn fits(password: &str, kept: Option<&str>) -> bool {
    if password.len() > BYTES_MAX {
        return false;
    }
    match kept.and_then(|kept| PasswordHash::new(kept).ok()) {
        Some(kept) => Argon2::default()
            .verify_password(password.as_bytes(), &kept)
            .is_ok(),
        None => {
            let _ = hash(password);
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits() {
        let kept = hash("right").expect("a hash");
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        assert_ne!(Some(&kept), hash("right").as_ref(), "salted");
        assert!(fits("right", Some(&kept)));
        for (said, kept) in [("wrong", Some(&*kept)), ("right", None), ("", Some("x"))] {
            assert!(!fits(said, kept), "{said} {kept:?}");
        }
    }
}
