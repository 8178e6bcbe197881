//! A signed token, taken apart (RFC 7519; RFC 7515, "JWS Compact Serialization"). Nothing in it is believed yet.
//!
//! Only signatures with a key pair are known: with `none` or a shared secret,
//! what is public would be enough to sign. Keys that a token brings, or says
//! where to find, are not looked at.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::Refusal;

/// Most bytes of a token: more than any CI system puts into one.
const MAX_BYTES: usize = 16 * 1024;

/// Most bytes of the name of a key.
const MAX_KEY_ID: usize = 256;

/// How a token can be signed (RFC 7518, "Digital Signatures and MACs"; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rs256,
    /// RSA with SHA-384.
    Rs384,
    /// RSA with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// Not the name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be one of RS256, RS384, RS512, ES256, ES384, EdDSA")]
pub struct InvalidAlgorithm;

/// A token, taken apart.
pub(super) struct Token<'a> {
    /// What is signed.
    pub(super) signed: &'a str,
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// Whether `text` looks like a token rather than a password.
pub(in crate::access) fn is_token(text: &str) -> bool {
    // The JSON of a header begins with `{"`.
    text.starts_with("eyJ") && text.matches('.').count() == 2
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(Refusal::Form("it is too long"));
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [header, claims, signature] = parts[..] else { return Err(Refusal::Form("it has not three parts")) };
        let signed = &text[..header.len() + 1 + claims.len()];
        let header = object(header).ok_or(Refusal::Form("its header makes no sense"))?;
        let claims = object(claims).ok_or(Refusal::Form("its claims make no sense"))?;
        let signature = decoded(signature).ok_or(Refusal::Form("its signature makes no sense"))?;
        // Who marks something as critical wants nobody to pass over it (RFC 7515, "crit").
        if header.contains_key("crit") {
            return Err(Refusal::Form("its header has something critical"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(|name| name.parse().ok());
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.clone()),
            Some(_) => return Err(Refusal::Form("the name of its key makes no sense")),
        };
        Ok(Self { signed, signature, algorithm: algorithm.ok_or(Refusal::Algorithm)?, key_id, claims })
    }

    /// A claim that is a text.
    pub(super) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    /// A claim that is a time, in seconds after 1970; an error if it is something else.
    pub(super) fn time(&self, claim: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        let seconds = value.as_u64().or_else(|| value.as_f64().filter(|it| (0.0..1e12).contains(it)).map(whole));
        seconds.map(Some).ok_or(Refusal::Form("a time in it makes no sense"))
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is known to lie between")]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&decoded(part)?).ok()
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(part.as_bytes()).ok()
}

impl FromStr for Algorithm {
    type Err = InvalidAlgorithm;

    fn from_str(text: &str) -> Result<Self, InvalidAlgorithm> {
        match text {
            "RS256" => Ok(Self::Rs256),
            "RS384" => Ok(Self::Rs384),
            "RS512" => Ok(Self::Rs512),
            "ES256" => Ok(Self::Es256),
            "ES384" => Ok(Self::Es384),
            "EdDSA" => Ok(Self::EdDsa),
            _ => Err(InvalidAlgorithm),
        }
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
