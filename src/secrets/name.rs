//! What a secret is called.

use std::fmt;
use std::str::FromStr;

/// Most bytes of a name: it may become part of a file's name.
const MAX_BYTES: usize = 128;

/// The name of a secret: letters, digits, `_`, `-` and `.`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretName(String);

/// A text that names no secret. It is not repeated, since it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret's name is 1 to {MAX_BYTES} letters, digits, _, - and ., with a letter or digit first")]
pub struct InvalidSecretName;

impl SecretName {
    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let is_name =
            text.len() <= MAX_BYTES && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain);
        if is_name { Ok(Self(text.to_owned())) } else { Err(InvalidSecretName) }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
