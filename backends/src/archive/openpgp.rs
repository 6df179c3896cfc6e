//! Who signed an upload, and how do we sign a repository? OpenPGP (RFC 9580), by rPGP.
//!
//! The library checks signatures; whether a key may sign at all, today, is decided here: it must be
//! bound to its certificate, not revoked, not expired, meant for signing, and use a digest that is
//! not broken.

use std::time::{Duration, SystemTime};

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, Deserializable, DetachedSignature, KeyType,
    SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Password, SigningKey, Timestamp, VerifyingKey};
use rand::rngs::OsRng;

/// How far the clock of a signer may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";

/// A certificate: who may sign.
#[derive(Clone, Debug)]
pub struct Certificate(SignedPublicKey);

impl Certificate {
    /// Reads an armored certificate.
    ///
    /// # Errors
    ///
    /// It is none, it does not hold together, or no key of it may sign now.
    pub fn read(armored: &str, now: SystemTime) -> Result<Self, String> {
        let (key, _) = SignedPublicKey::from_string(armored)
            .map_err(|problem| format!("no OpenPGP certificate: {problem}"))?;
        key.verify_bindings().map_err(|problem| {
            format!(
                "the certificate does not hold together (export it with \
                 --export-options export-minimal): {problem}"
            )
        })?;
        let certificate = Self(key);
        let may_sign = certificate.signers(now).next().is_some();
        match may_sign {
            true => Ok(certificate),
            false => Err("no key of the certificate may sign now".to_owned()),
        }
    }

    /// The fingerprint of its primary key, lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_string()
    }

    /// The keys that may sign now.
    fn signers(&self, now: SystemTime) -> impl Iterator<Item = &dyn Verify> {
        let key = &self.0;
        let own = key.details.direct_signatures.iter();
        let own = own.chain(key.details.users.iter().flat_map(|user| &user.signatures));
        let latest = own
            .filter(|one| one.typ() != Some(SignatureType::CertRevocation))
            .max_by_key(|one| one.created().map(Timestamp::as_secs));
        let alive = key.details.revocation_signatures.is_empty()
            && latest.is_some_and(|latest| lives(latest, key.created_at(), now));
        let primary = latest.filter(|latest| latest.key_flags().sign());
        let primary = primary.map(|_| &key.primary_key as &dyn Verify);
        let subkeys = key.public_subkeys.iter().filter_map(move |subkey| {
            let revoked = |one: &Signature| one.typ() == Some(SignatureType::SubkeyRevocation);
            if subkey.signatures.iter().any(revoked) {
                return None;
            }
            let bindings = subkey.signatures.iter();
            let latest = bindings.max_by_key(|one| one.created().map(Timestamp::as_secs))?;
            let good = latest.key_flags().sign() && lives(latest, subkey.key.created_at(), now);
            good.then_some(&subkey.key as &dyn Verify)
        });
        primary.into_iter().chain(subkeys).filter(move |_| alive)
    }
}

/// Has a key whose latest signature of itself this is begun and not expired?
fn lives(latest: &Signature, created: Timestamp, now: SystemTime) -> bool {
    let begun = SystemTime::from(created);
    let within = |from: SystemTime, span: Option<pgp::types::Duration>| match span {
        // Zero means without an end.
        Some(span) if span.as_secs() > 0 => from + Duration::from(span) > now,
        _ => true,
    };
    let signed = latest.created().map(SystemTime::from);
    begun <= now + AHEAD_MAX
        && within(begun, latest.key_expiration_time())
        && signed.is_some_and(|signed| within(signed, latest.signature_expiration_time()))
}

/// A key that can tell whether a signature is its own.
trait Verify {
    fn made(&self, signature: &Signature, text: &[u8]) -> bool;
}

impl<K: VerifyingKey> Verify for K {
    fn made(&self, signature: &Signature, text: &[u8]) -> bool {
        signature.verify(self, text).is_ok()
    }
}

/// A text that was signed in clear.
pub struct Signed {
    message: CleartextSignedMessage,
}

impl Signed {
    /// Reads a text that may be signed; None where it is not.
    ///
    /// # Errors
    ///
    /// It begins as a signed text and is none, or something stands around it.
    pub fn read(text: &str) -> Result<Option<Self>, String> {
        if !text.trim_start().starts_with(BEGIN) {
            // What is signed further down would be read with what stands above it.
            return match text.contains(BEGIN) {
                true => Err("something stands before what was signed".to_owned()),
                false => Ok(None),
            };
        }
        let (message, _) = CleartextSignedMessage::from_string(text.trim_start())
            .map_err(|problem| format!("the signed text cannot be read: {problem}"))?;
        Ok(Some(Self { message }))
    }

    /// What was signed.
    pub fn text(&self) -> String {
        self.message.signed_text()
    }

    /// The fingerprint of the certificate whose key signed it, if one of them did.
    pub fn signer(&self, certificates: &[Certificate], now: SystemTime) -> Option<String> {
        let text = self.text();
        let good: Vec<&Signature> = self
            .message
            .signatures()
            .iter()
            .filter(|one| counts(one, now))
            .collect();
        let signed = |certificate: &&Certificate| {
            certificate
                .signers(now)
                .any(|key| good.iter().any(|one| key.made(one, text.as_bytes())))
        };
        certificates
            .iter()
            .find(signed)
            .map(Certificate::fingerprint)
    }
}

/// May a signature count, if it is right? Its kind, its digest and its time.
fn counts(signature: &Signature, now: SystemTime) -> bool {
    let kind = matches!(
        signature.typ(),
        Some(SignatureType::Text | SignatureType::Binary)
    );
    let digest = matches!(
        signature.hash_alg(),
        Some(
            HashAlgorithm::Sha256
                | HashAlgorithm::Sha384
                | HashAlgorithm::Sha512
                | HashAlgorithm::Sha3_256
                | HashAlgorithm::Sha3_512
        )
    );
    let Some(made) = signature.created().map(SystemTime::from) else {
        return false;
    };
    let span = signature.signature_expiration_time();
    let span = span.filter(|span| span.as_secs() > 0);
    let expired = span.is_some_and(|span| made + Duration::from(span) <= now);
    kind && digest && made <= now + AHEAD_MAX && !expired
}

/// A key that signs repositories.
pub struct Signer {
    key: SignedSecretKey,
}

impl Signer {
    /// Reads an armored secret key without a passphrase.
    ///
    /// # Errors
    ///
    /// It is none, or it cannot sign.
    pub fn read(armored: &str) -> Result<Self, String> {
        let (key, _) = SignedSecretKey::from_string(armored)
            .map_err(|problem| format!("no OpenPGP secret key: {problem}"))?;
        let signer = Self { key };
        match signer.clear("x") {
            Ok(_) => Ok(signer),
            Err(problem) => Err(format!(
                "the key cannot sign (a key with a passphrase cannot): {problem}"
            )),
        }
    }

    /// A new one.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn generate(owner: &str) -> Result<Self, String> {
        // The form that every gpgv in use knows.
        let key = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(owner.into())
            .build()
            .map_err(|problem| problem.to_string())?
            .generate(OsRng)
            .map_err(|problem| problem.to_string())?;
        Ok(Self { key })
    }

    /// The fingerprint, lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint().to_string()
    }

    /// The secret key, armored.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn secret(&self) -> Result<String, String> {
        let armored = self.key.to_armored_string(ArmorOptions::default());
        armored.map_err(|problem| problem.to_string())
    }

    /// The certificate, armored: what apt's `Signed-By` names.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn certificate(&self) -> Result<String, String> {
        let public = self.key.to_public_key();
        let armored = public.to_armored_string(ArmorOptions::default());
        armored.map_err(|problem| problem.to_string())
    }

    /// The text with its signature around it.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn clear(&self, text: &str) -> Result<String, String> {
        fn sign(text: &str, key: &impl SigningKey) -> Result<String, pgp::errors::Error> {
            let message = CleartextSignedMessage::sign(OsRng, text, key, &Password::empty())?;
            message.to_armored_string(ArmorOptions::default())
        }
        // Neither space at the end of a line nor the last line end is signed (RFC 9580 section 7).
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
        let text = lines.join("\n");
        let signed = match self.subkey() {
            Some(subkey) => sign(&text, subkey),
            None => sign(&text, &self.key.primary_key),
        };
        signed.map_err(|problem| problem.to_string())
    }

    /// A signature over these bytes that stands apart.
    ///
    /// # Errors
    ///
    /// The library's.
    pub fn detached(&self, bytes: &[u8]) -> Result<String, String> {
        fn sign(bytes: &[u8], key: &impl SigningKey) -> Result<String, pgp::errors::Error> {
            let (password, digest) = (Password::empty(), HashAlgorithm::Sha512);
            DetachedSignature::sign_binary_data(OsRng, key, &password, digest, bytes)?
                .to_armored_string(ArmorOptions::default())
        }
        let signed = match self.subkey() {
            Some(subkey) => sign(bytes, subkey),
            None => sign(bytes, &self.key.primary_key),
        };
        signed.map_err(|problem| problem.to_string())
    }

    /// The last key below the primary one that is there for signing.
    fn subkey(&self) -> Option<&pgp::packet::SecretSubkey> {
        let signs = |signatures: &[Signature]| signatures.iter().any(|one| one.key_flags().sign());
        let mut subkeys = self.key.secret_subkeys.iter().rev();
        let subkey = subkeys.find(|subkey| signs(&subkey.signatures))?;
        Some(&subkey.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(signer: &Signer) -> Certificate {
        let armored = signer.certificate().expect("armored");
        Certificate::read(&armored, SystemTime::now()).expect("its own")
    }

    #[test]
    fn what_was_signed_is_known_by_its_signer() {
        let now = SystemTime::now();
        let ours = Signer::generate("Ours <a@b>").expect("a key");
        let other = Signer::generate("Other").expect("a key");
        let again = Signer::read(&ours.secret().expect("armored")).expect("what we wrote");
        let certificates = [certificate(&other), certificate(&ours)];
        let text = "Origin: x\n- dashes \nlast\n";
        for signer in [&ours, &again] {
            let clear = signer.clear(text).expect("signed");
            let signed = Signed::read(&clear).expect("readable").expect("signed");
            let fingerprint = signed.signer(&certificates, now);
            assert_eq!(fingerprint.as_deref(), Some(ours.fingerprint().as_str()));
            let lines = signed.text().replace("\r\n", "\n");
            assert_eq!(lines, "Origin: x\n- dashes\nlast");
            assert_eq!(signed.signer(&certificates[..1], now), None);
            let forged = clear.replace("last", "lost");
            let forged = Signed::read(&forged).expect("readable").expect("signed");
            assert_eq!(forged.signer(&certificates, now), None);
            // From the future.
            let before = now - AHEAD_MAX * 2;
            assert_eq!(signed.signer(&certificates, before), None);
        }
    }

    #[test]
    fn what_stands_around_a_signed_text_is_not_read_with_it() {
        let ours = Signer::generate("Ours").expect("a key");
        let clear = ours.clear("Good: yes\n").expect("signed");
        assert!(Signed::read(&format!("Evil: yes\n{clear}")).is_err());
        assert!(Signed::read(&format!("{clear}Evil: yes\n")).is_err());
        assert!(Signed::read(BEGIN).is_err());
        assert!(matches!(Signed::read("Plain: yes\n"), Ok(None)));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let now = SystemTime::now();
        let secret = Signer::generate("x")
            .expect("a key")
            .secret()
            .expect("armored");
        assert!(Certificate::read(&secret, now).is_err());
        assert!(Certificate::read("", now).is_err());
        assert!(Signer::read("nonsense").is_err());
    }
}
