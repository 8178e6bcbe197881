//! Secrets in a file that only the key opens.
//!
//! All of them are sealed as one, with AES-256-GCM, so that nobody without the
//! key can exchange, rename, remove or bring back one of them; only a whole
//! earlier file can be put back. What stands before them, their key's check
//! included, is authenticated with them. The nonce is random and new with
//! every writing. A check of the key, sealed apart, tells a wrong key from
//! what was tampered with, and a plain checksum tells both from what was
//! damaged on its way.

mod contents;
mod file;
mod form;
mod key;

use std::io;
use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::ExposeSecret;
use secrecy::zeroize::Zeroizing;

pub use contents::{SealedSecret, SealedSecrets};
pub use file::{SealedFile, Was};
pub use form::Malformed;
use form::{FIRST_LINE, Form};
pub(super) use key::GOCDNEXT_KEY;
pub use key::{KeyError, SealKey};

use super::SecretName;

/// Most bytes of a file of sealed secrets: Kubernetes keeps no larger one.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What the cipher adds to a text to tell whether it was tampered with (NIST SP 800-38D, 5.2.1.2).
const TAG_BYTES: usize = 16;

/// Why sealed secrets cannot be read or written. The messages hold nothing of them.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// There is no file.
    #[error("there is no such file; longshore secret set NAME makes it")]
    Absent,
    /// The system does not let us read it.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It was never one, or is one no longer.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Another key was used when it was written.
    #[error("is sealed with another key than {origin} has")]
    WrongKey {
        /// The variable that the key comes from.
        origin: &'static str,
    },
    /// The key is right and what it seals is not what was written with it.
    #[error("was changed by somebody who did not have the key")]
    TamperedWith,
    /// There is no secret of this name to remove.
    #[error("has no secret {0}")]
    Unknown(SecretName),
    /// All secrets together are more than a file may hold.
    #[error("would be larger than 1 MiB")]
    TooLarge,
    /// The file belongs to somebody whose it could not be any more.
    #[error("belongs to another user, who would lose it; do this as that user, or as root")]
    Foreign,
    /// The system does not let us write it; what was there is there still.
    #[error("cannot be written: {0}")]
    Unwritable(#[source] io::Error),
    /// Somebody else is about to write it, and does not.
    #[error("cannot be written: somebody holds a lock on {}; lslocks or fuser says who", folder.display())]
    Locked {
        /// What is locked.
        folder: PathBuf,
    },
    /// The cipher or the source of randomness gave up.
    #[error("cannot be sealed: the cipher failed")]
    Cipher,
}

/// The text of a file with `secrets` in it.
fn seal(secrets: &SealedSecrets, key: &SealKey) -> Result<String, SealedError> {
    let check = close(Zeroizing::new(Vec::with_capacity(TAG_BYTES)), FIRST_LINE.as_bytes(), key)?;
    let header = Form::header(&check);
    let body = close(contents::written(secrets, TAG_BYTES), header.as_bytes(), key)?;
    let text = Form { check, body }.to_string();
    if text.len() > MAX_BYTES { Err(SealedError::TooLarge) } else { Ok(text) }
}

/// The secrets in the text of a file.
fn unseal(text: &[u8], key: &SealKey) -> Result<SealedSecrets, SealedError> {
    let form = Form::parse(text)?;
    open(&form.check, FIRST_LINE.as_bytes(), key).ok_or(SealedError::WrongKey { origin: key.origin() })?;
    let plain = open(&form.body, Form::header(&form.check).as_bytes(), key).ok_or(SealedError::TamperedWith)?;
    Ok(contents::parse(&plain).ok_or(Malformed::Damaged)?)
}

/// The nonce, `plain` enciphered, and the tag that holds it and `beside` together.
fn close(mut plain: Zeroizing<Vec<u8>>, beside: &[u8], key: &SealKey) -> Result<Vec<u8>, SealedError> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key.expose_secret()).map_err(|_| SealedError::Cipher)?;
    let nonce = cipher.seal_in_place_append_tag(Aad::from(beside), &mut *plain).map_err(|_| SealedError::Cipher)?;
    Ok([&nonce.as_ref()[..], &plain].concat())
}

/// What [`close`] has closed; `None` for another key, or if anything of it has changed.
fn open(closed: &[u8], beside: &[u8], key: &SealKey) -> Option<Zeroizing<Vec<u8>>> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key.expose_secret()).ok()?;
    let (nonce, rest) = closed.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = Zeroizing::new(rest.to_vec());
    let length = cipher.open_in_place(Nonce::from(nonce), Aad::from(beside), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::value::value;

    const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn key(hex: &str) -> SealKey {
        SealKey::from_environment(&[("LONGSHORE_SECRET_KEY", hex)].into_iter().collect()).unwrap()
    }

    fn secrets(values: &[(&str, &str)]) -> SealedSecrets {
        let secret = |value: &str| SealedSecret { value: self::value(value.as_bytes()).unwrap(), set_at: 1_764_102_600 };
        values.iter().map(|(name, text)| (name.parse().unwrap(), secret(text))).collect()
    }

    fn told(secrets: &SealedSecrets) -> Vec<(String, String, u64)> {
        secrets.iter().map(|(name, it)| (name.to_string(), it.value.expose_secret().to_owned(), it.set_at)).collect()
    }

    /// What is wrong with a text, as its reader is told.
    fn refusal(text: &[u8]) -> String {
        unseal(text, &key(HEX)).expect_err("it is not whole").to_string()
    }

    #[test]
    fn what_is_sealed_is_read_back_and_shows_nowhere() {
        let sealed = secrets(&[("TEAM_A", "MARKED value"), ("team-b.key", "MARKED é")]);

        let text = seal(&sealed, &key(HEX)).unwrap();

        assert_eq!(told(&unseal(text.as_bytes(), &key(HEX)).unwrap()), told(&sealed));
        assert!(!text.contains("MARKED") && !text.contains("TEAM") && !text.contains("team"), "{text}");
        assert_eq!(told(&unseal(seal(&secrets(&[]), &key(HEX)).unwrap().as_bytes(), &key(HEX)).unwrap()), []);
    }

    #[test]
    fn no_two_writings_are_alike() {
        let sealed = secrets(&[("A", "a")]);
        let (one, other) = (seal(&sealed, &key(HEX)).unwrap(), seal(&sealed, &key(HEX)).unwrap());

        for (a, b) in one.lines().zip(other.lines()).skip(1) {
            assert_ne!(a, b);
        }
    }

    #[test]
    fn a_wrong_key_is_called_so() {
        let text = seal(&secrets(&[("A", "a")]), &key(HEX)).unwrap();

        let refused = unseal(text.as_bytes(), &key(&"0".repeat(64))).unwrap_err().to_string();

        assert_eq!(refused, "is sealed with another key than LONGSHORE_SECRET_KEY has");
    }

    #[test]
    fn a_text_that_is_cut_off_anywhere_or_goes_on_is_refused() {
        let text = seal(&secrets(&[("A", "a"), ("B", "b")]), &key(HEX)).unwrap();

        for length in 0..text.len() {
            let refused = refusal(&text.as_bytes()[..length]);
            assert!(refused.starts_with("is damaged") || refused.starts_with("is not a file of"), "{length}: {refused}");
        }
        assert!(refusal(format!("{text}\n").as_bytes()).starts_with("is damaged"));
        assert!(refusal(format!("{text}{text}").as_bytes()).starts_with("is damaged"));
    }

    #[test]
    fn a_text_with_any_bit_turned_is_refused() {
        let text = seal(&secrets(&[("A", "a"), ("B", "b")]), &key(HEX)).unwrap();

        for bit in 0..text.len() * 8 {
            let mut turned = text.clone().into_bytes();
            turned[bit / 8] ^= 1 << (bit % 8);
            refusal(&turned);
        }
    }

    /// The text of `form`, with a checksum that agrees with it.
    fn forged(check: &[u8], body: &[u8]) -> String {
        Form { check: check.to_vec(), body: body.to_vec() }.to_string()
    }

    #[test]
    fn who_has_no_key_can_change_nothing_though_the_checksum_agrees() {
        let parse = |text: String| Form::parse(text.as_bytes()).unwrap();
        let one = parse(seal(&secrets(&[("A", "a"), ("B", "b")]), &key(HEX)).unwrap());
        let other = parse(seal(&secrets(&[("A", "old"), ("B", "b")]), &key(HEX)).unwrap());

        for bit in 0..one.body.len() * 8 {
            let mut body = one.body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(refusal(forged(&one.check, &body).as_bytes()), "was changed by somebody who did not have the key");
        }
        for bit in 0..one.check.len() * 8 {
            let mut check = one.check.clone();
            check[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(refusal(forged(&check, &one.body).as_bytes()), "is sealed with another key than LONGSHORE_SECRET_KEY has");
        }
        // The check of one writing does not go with the secrets of another.
        assert_eq!(refusal(forged(&other.check, &one.body).as_bytes()), "was changed by somebody who did not have the key");
        // Neither is the check good for the secrets, nor the other way round.
        assert!(unseal(forged(&one.check, &one.check).as_bytes(), &key(HEX)).is_err());
        assert!(unseal(forged(&one.body, &one.body).as_bytes(), &key(HEX)).is_err());
    }

    #[test]
    fn no_more_is_sealed_than_can_be_read() {
        let large = "x".repeat(60_000);
        let names: Vec<String> = (0..14).map(|index| format!("N{index}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), large.as_str())).collect();

        assert!(matches!(seal(&secrets(&many), &key(HEX)), Err(SealedError::TooLarge)));
        let most = seal(&secrets(&many[..13]), &key(HEX)).unwrap();
        assert_eq!(told(&unseal(most.as_bytes(), &key(HEX)).unwrap()).len(), 13);
    }
}
