//! Tokens as a CI system signs them, and as somebody who is none would like to.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Signs with a key on P-256, or with RSA.
pub struct Signer {
    pub key_id: String,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// One on P-256, whose key is called so.
    pub fn new(key_id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { key_id: key_id.to_owned(), pair: Pair::P256(pair) }
    }

    /// One with RSA, whose key is called so.
    pub fn rsa(key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key")) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// Its public key, as it is published.
    pub fn jwk(&self) -> Value {
        let public = self.public();
        let encoded = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        match self.pair {
            Pair::P256(_) => {
                let (x, y) = (encoded(&public[1..33]), encoded(&public[33..]));
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.key_id, "x": x, "y": y})
            }
            Pair::Rsa(_) => {
                let (n, e) = rsa_parts(&public);
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.key_id, "n": encoded(&n), "e": encoded(&e)})
            }
        }
    }

    /// Its public key, as bytes that anybody has.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.key_id}), claims)
    }

    /// A token with this header, whatever that says.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
                signature
            }
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

/// A token that is signed with what two share, which is no secret.
pub fn shared(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", BASE64URL_NOPAD.encode(tag.as_ref()))
}

/// A token that nobody has signed.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", encoded(header), encoded(claims))
}

pub fn encoded(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

/// Seconds after 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// `claims` with `more` in place of what they say.
pub fn with(claims: &Value, more: Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// Modulus and exponent of an RSA key in DER (RFC 8017, "RSA Public Key Syntax").
fn rsa_parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (sequence, _) = element(der);
    let (modulus, rest) = element(sequence);
    let (exponent, _) = element(rest);
    let positive = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    (positive(modulus), positive(exponent))
}

/// What an element in DER holds, and what comes behind it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, start) = match der[1] {
        short @ 0..=127 => (usize::from(short), 2),
        long => {
            let count = usize::from(long & 0x7f);
            (der[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + count)
        }
    };
    der[start..].split_at(length)
}
