//! A signed token, as far as it can be read before anything in it is believed (RFC 7519).
//!
//! Only signatures with a key pair are known: with `none` or a shared secret,
//! what is public would be enough to sign. Keys that a token brings, or says
//! where to find, are not looked at.

use std::fmt;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Algorithm, AlgorithmFamily, Header, TokenData};
use serde_json::{Map, Value};

use super::Refusal;

/// Most bytes of a token: more than any CI system puts into one.
const MAX_BYTES: usize = 16 * 1024;

/// Most bytes of the name of a key.
const MAX_KEY_ID: usize = 256;

/// A token that can be read.
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// Whether `text` looks like a token rather than a password.
pub(in crate::access) fn is_token(text: &str) -> bool {
    // The JSON of a header begins with `{"`.
    text.starts_with("eyJ") && text.matches('.').count() == 2
}

/// Whether tokens that are signed so can be believed at all: by who holds a key that nobody else has.
#[must_use]
pub fn is_of_a_key_pair(algorithm: Algorithm) -> bool {
    algorithm.family() != AlgorithmFamily::Hmac
}

impl<'a> Token<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_BYTES {
            return Err(Refusal::Form("it is too long"));
        }
        let TokenData { header, claims } = insecure_decode(text).map_err(|_| Refusal::Form("its parts make no sense"))?;
        let Header { alg: algorithm, kid: key_id, crit, .. } = header;
        // Who marks something as critical wants nobody to pass over it (RFC 7515, "crit").
        if crit.is_some() {
            return Err(Refusal::Form("its header has something critical"));
        }
        if key_id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return Err(Refusal::Form("the name of its key makes no sense"));
        }
        if !is_of_a_key_pair(algorithm) {
            return Err(Refusal::Algorithm);
        }
        Ok(Self { text, algorithm, key_id, claims })
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

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
