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

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;
    use serde_json::json;

    use super::*;

    /// A public key on Ed25519 (RFC 8037, "A.2. Ed25519 Public Key"), with `more` beside it.
    fn key(more: Value) -> Value {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn set(keys: &[Value]) -> Result<KeySet, InvalidKeySet> {
        KeySet::parse(json!({"keys": keys}).to_string().as_bytes())
    }

    /// The place of the key that a token with this header says it is signed with.
    fn found(set: &KeySet, header: &Value) -> Option<usize> {
        let text = format!("{}.e30.AA", BASE64URL_NOPAD.encode(header.to_string().as_bytes()));
        let key = set.find(&Token::parse(&text).unwrap())?;
        set.0.iter().position(|own| std::ptr::eq(own, key))
    }

    #[test]
    fn a_key_is_for_what_it_says_and_its_kind_can_do() {
        let rsa = |more: Value| {
            let mut rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"});
            rsa.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rsa
        };
        for (key, expected) in [
            (key(json!({})), "EdDSA"),
            (key(json!({"alg": "EdDSA", "use": "sig"})), "EdDSA"),
            (key(json!({"alg": "ES256"})), ""),
            (key(json!({"alg": "HS256"})), ""),
            (key(json!({"use": "enc"})), ""),
            (key(json!({"kid": 1})), ""),
            (key(json!({"crv": "P-256"})), ""),
            (json!({"kty": "oct", "k": "AAAA"}), ""),
            (json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "ES256"),
            (json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}), "ES384"),
            (json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}), ""),
            (json!({"kty": "EC", "crv": "P-256", "x": "AA"}), ""),
            (rsa(json!({})), "RS256 RS384 RS512 PS256 PS384 PS512"),
            (rsa(json!({"alg": "PS256"})), "PS256"),
            (rsa(json!({"alg": "RSA-OAEP"})), ""),
            (rsa(json!({"n": "?"})), ""),
        ] {
            let read = Key::read(&key).map_or(Vec::new(), |key| key.algorithms);
            let algorithms: Vec<_> = read.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            assert_eq!(algorithms.join(" "), expected, "{key}");
        }
        assert_eq!(set(&[json!({"kty": "oct", "k": "AAAA"})]), Err(InvalidKeySet::Unusable));
        assert_eq!(set(&vec![key(json!({})); MAX_KEYS + 1]), Err(InvalidKeySet::Form));
    }

    #[test]
    fn a_token_is_signed_with_the_key_that_it_names_or_the_only_one_that_fits() {
        let ec = |kid: &str| json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": kid});
        let of_one = set(&[key(json!({"kid": "a"})), ec("b")]).unwrap();
        let of_two = set(&[key(json!({"kid": "a"})), ec("b"), ec("c")]).unwrap();
        for (keys, header, expected) in [
            (&of_one, json!({"alg": "ES256", "kid": "b"}), Some(1)),
            (&of_one, json!({"alg": "ES256", "kid": "a"}), None),
            (&of_one, json!({"alg": "ES384", "kid": "b"}), None),
            (&of_one, json!({"alg": "ES256", "kid": "x"}), None),
            (&of_one, json!({"alg": "ES256"}), Some(1)),
            (&of_two, json!({"alg": "ES256", "kid": "c"}), Some(2)),
            (&of_two, json!({"alg": "ES256"}), None),
        ] {
            assert_eq!(found(keys, &header), expected, "{header}");
        }
    }

    #[test]
    fn what_is_signed_with_a_shared_secret_is_not_even_looked_up() {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let text = format!("{}.e30.AA", BASE64URL_NOPAD.encode(json!({"alg": algorithm}).to_string().as_bytes()));
            assert_eq!(Token::parse(&text).err(), Some(Refusal::Algorithm), "{algorithm}");
        }
    }
}
