//! Tags, and what a manifest may be asked for by.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, InvalidDigest};

/// Most characters a tag may have; distribution-spec v1.1.1, "Pulling manifests".
const MAX_CHARS: usize = 128;

/// A name that somebody gave a manifest.
///
/// distribution-spec v1.1.1, "Pulling manifests": `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// A text that is no tag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag has 1 to {MAX_CHARS} letters, digits, dots, dashes and underscores, and begins with none of . and -")]
pub struct InvalidTag;

/// What names a manifest: a tag, or the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// The manifest that the tag points to now.
    Tag(Tag),
    /// One manifest for ever.
    Digest(Digest),
}

/// Why a text is neither a tag nor a digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has a `:` and so must be a digest.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// It has none and so must be a tag.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
}

impl Tag {
    /// The tag as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, InvalidTag> {
        let is_tag_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let is_tag = (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(is_tag_byte) && !text.starts_with(['.', '-']);
        if is_tag { Ok(Self(text.into())) } else { Err(InvalidTag) }
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        // A tag never holds a colon and a digest always does.
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => fmt::Display::fmt(digest, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_that_clients_use_are_taken() {
        for text in ["latest", "v1.0", "_", "A", "cache--amd64", "a..b", "0"] {
            assert!(text.parse::<Tag>().is_ok(), "{text}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", ".", "..", ".a", "-a", "a/b", "a:b", "a b", "ä", "a%2e", "a\0", &"a".repeat(129)] {
            assert_eq!(text.parse::<Tag>(), Err(InvalidTag), "{text}");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest_or_nothing() {
        let digest = Digest::sha256(b"");

        assert_eq!(digest.to_string().parse(), Ok(Reference::Digest(digest)));
        assert_eq!(
            "sha256:12".parse::<Reference>().map_err(|e| e.to_string()),
            Err("a sha256 digest has 64 lowercase hex digits".into())
        );
        assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
    }

    proptest! {
        #[test]
        fn whatever_is_a_tag_is_written_just_so(text in "[A-Za-z0-9._:/%-]{0,140}") {
            if let Ok(tag) = text.parse::<Tag>() {
                prop_assert_eq!(tag.as_str(), &text);
                prop_assert!(text.len() <= MAX_CHARS && !text.starts_with(['.', '-']) && !text.contains([':', '/', '%']));
            }
        }
    }
}
