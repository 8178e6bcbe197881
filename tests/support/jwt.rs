//! Tokens as a CI system signs them, and as somebody who is none would like to.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

/// Signs with a key of its own.
pub struct Signer {
    pub key_id: String,
    pair: Pair,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    Pss(RsaKeyPair),
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

    /// One that signs by `algorithm`, and whose key is called so too.
    pub fn by(algorithm: &str) -> Self {
        let rsa = || RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let pair = match algorithm {
            "ES256" => Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
            "ES384" => Pair::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key")),
            "EdDSA" => Pair::Ed25519(Ed25519KeyPair::generate().expect("a key")),
            "RS256" => Pair::Rsa(rsa()),
            "PS256" => Pair::Pss(rsa()),
            other => panic!("{other}"),
        };
        Self { key_id: algorithm.to_owned(), pair }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
            Pair::Pss(_) => "PS256",
        }
    }

    /// Its public key, as it is published.
    pub fn jwk(&self) -> Value {
        let public = self.public();
        let encoded = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let of_curve = |curve: &str| {
            let (x, y) = public[1..].split_at(public.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)})
        };
        let key = match self.pair {
            Pair::P256(_) => of_curve("P-256"),
            Pair::P384(_) => of_curve("P-384"),
            Pair::Ed25519(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&public)}),
            Pair::Rsa(_) | Pair::Pss(_) => {
                let (n, e) = rsa_parts(&public);
                json!({"kty": "RSA", "n": encoded(&n), "e": encoded(&e)})
            }
        };
        with(&key, json!({"use": "sig", "alg": self.algorithm(), "kid": self.key_id}))
    }

    /// Its public key, as bytes that anybody has.
    pub fn public(&self) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Rsa(pair) | Pair::Pss(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.key_id}), claims)
    }

    /// A token with this header, whatever that says.
    pub fn signed(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encoded(header), encoded(claims));
        let of_rsa = |pair: &RsaKeyPair, encoding| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
            signature
        };
        let signature = match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(signed.as_bytes()).as_ref().to_vec(),
            Pair::Rsa(pair) => of_rsa(pair, &RSA_PKCS1_SHA256),
            Pair::Pss(pair) => of_rsa(pair, &RSA_PSS_SHA256),
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
