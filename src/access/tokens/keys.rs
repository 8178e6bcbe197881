//! Public keys that tokens are signed with (RFC 7517, "JWK Set Format").

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode};
use serde_json::{Map, Value};

use super::Refusal;
use super::jwt::Token;

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

/// One of them, and the algorithms that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    algorithms: Vec<Algorithm>,
    jwk: Jwk,
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
        let mut fit = self.0.iter().filter(|key| key.algorithms.contains(&token.algorithm));
        match &token.key_id {
            Some(id) => fit.find(|key| key.jwk.common.key_id.as_ref() == Some(id)),
            None => fit.next().filter(|_| fit.next().is_none()),
        }
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let of_its_kind: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return None,
        };
        let is_its_own = |algorithm: &&Algorithm| jwk.common.key_algorithm.is_none_or(|own| own == (**algorithm).into());
        let algorithms: Vec<_> = of_its_kind.iter().filter(is_its_own).copied().collect();
        let is_usable = !algorithms.is_empty() && DecodingKey::from_jwk(&jwk).is_ok();
        is_usable.then_some(Self { algorithms, jwk })
    }

    /// Whether it has signed `token`, and for one of `audiences`.
    pub(super) fn verify(&self, token: &Token<'_>, audiences: &[String]) -> Result<(), Refusal> {
        let key = DecodingKey::from_jwk(&self.jwk).map_err(|_| Refusal::Key)?;
        let mut rules = Validation::new(token.algorithm);
        rules.set_audience(audiences);
        rules.set_required_spec_claims(&["aud"]);
        // How long a token is good for is not only its own word.
        rules.validate_exp = false;
        decode::<Map<String, Value>>(token.text, &key, &rules).map(drop).map_err(|error| match error.kind() {
            ErrorKind::InvalidAudience | ErrorKind::MissingRequiredClaim(_) => Refusal::Audience,
            _ => Refusal::Signature,
        })
    }
}
