//! Public keys that tokens are signed with (RFC 7517, "JWK Set Format").

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RsaParameters, UnparsedPublicKey, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::jwt::{Algorithm, Token};

/// Most keys that a set may have.
const MAX_KEYS: usize = 100;

/// Public keys of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// A text that is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// Not the form.
    #[error("is no set of keys in JSON: {{\"keys\": [...]}} with 1 to {MAX_KEYS}")]
    Form,
    /// None that can be used.
    #[error("has no public key that a token could be signed with")]
    Unusable,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    id: Option<String>,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// The keys in a text; those that no token could be signed with are left out.
    ///
    /// # Errors
    ///
    /// It is no set of keys, or there are none of use.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKeySet> {
        let set: Map<String, Value> = serde_json::from_slice(text).map_err(|_| InvalidKeySet::Form)?;
        let keys = set.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= MAX_KEYS);
        let keys: Vec<Key> = keys.ok_or(InvalidKeySet::Form)?.iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(InvalidKeySet::Unusable) } else { Ok(Self(keys)) }
    }

    /// The key that `token` says it is signed with; where it does not say, the only one that it could be.
    pub(super) fn find(&self, token: &Token<'_>) -> Option<&Key> {
        let mut fit = self.0.iter().filter(|key| key.is_for(token.algorithm));
        match &token.key_id {
            Some(id) => fit.find(|key| key.id.as_ref() == Some(id)),
            None => fit.next().filter(|_| fit.next().is_none()),
        }
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64URL_NOPAD.decode(text(name)?.trim_end_matches('=').as_bytes()).ok();
        if text("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        // An uncompressed point (SEC 1, 2.3.3).
        let point = |length: usize| {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == length && y.len() == length).then(|| [&[4][..], &x, &y].concat())
        };
        let public = match (text("kty")?, text("crv")) {
            ("RSA", _) => Public::Rsa { n: bytes("n")?, e: bytes("e")? },
            ("EC", Some("P-256")) => Public::P256(point(32)?),
            ("EC", Some("P-384")) => Public::P384(point(48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let algorithm = match text("alg") {
            Some(name) => Some(name.parse().ok()?),
            None => None,
        };
        Some(Self { id: text("kid").map(str::to_owned), algorithm, public })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Rs256, Rs384, Rs512};
        let is_kind = matches!(
            (&self.public, algorithm),
            (Public::Rsa { .. }, Rs256 | Rs384 | Rs512)
                | (Public::P256(_), Es256)
                | (Public::P384(_), Es384)
                | (Public::Ed25519(_), EdDsa)
        );
        is_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether it has signed `token`.
    pub(super) fn has_signed(&self, token: &Token<'_>) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(token.signed.as_bytes(), &token.signature).is_ok()
        };
        match &self.public {
            Public::Rsa { n, e } => rsa(token.algorithm).is_some_and(|parameters| {
                let key = PublicKeyComponents { n, e };
                key.verify(parameters, token.signed.as_bytes(), &token.signature).is_ok()
            }),
            Public::P256(point) => by(&ECDSA_P256_SHA256_FIXED, point),
            Public::P384(point) => by(&ECDSA_P384_SHA384_FIXED, point),
            Public::Ed25519(key) => by(&ED25519, key),
        }
    }
}

/// What RSA is used with; keys of less than 2048 bits are not taken.
fn rsa(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::EdDsa => None,
    }
}
