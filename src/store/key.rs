//! Where an object is.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most bytes a key may have (S3 User Guide, "Naming Amazon S3 objects").
const MAX_BYTES: usize = 1024;

/// The place of an object: components joined by `/`, none of them empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

/// A text that is no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is components joined by /, none of them empty, . or .., without control characters, at most {MAX_BYTES} bytes")]
pub struct InvalidKey;

impl Key {
    /// The key as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the slashes, at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_plain = |component: &str| !matches!(component, "" | "." | "..") && !component.contains(char::is_control);
        if text.len() <= MAX_BYTES && text.split('/').all(is_plain) { Ok(Self(text.into())) } else { Err(InvalidKey) }
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_store() {
        for text in ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", "a\nb", &"a".repeat(1025)] {
            assert_eq!(text.parse::<Key>(), Err(InvalidKey), "{text:?}");
        }
        assert!("ghcr.io/org/app/blobs/sha256:00".parse::<Key>().is_ok());
    }
}
