//! Repository names.

use std::fmt;
use std::str::FromStr;

/// Most bytes a name may have: many clients limit host and name together to 255
/// (distribution-spec v1.1.1, "Pulling manifests").
const MAX_BYTES: usize = 255;

/// The name of a repository: lowercase components joined by `/`.
///
/// distribution-spec v1.1.1, "Pulling manifests":
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName(Box<str>);

/// Why a text is not a repository name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// A component is empty or breaks the grammar.
    #[error(
        "a repository name is components of lowercase letters and digits, joined by one of . _ __ or dashes, with / between them"
    )]
    Grammar,
    /// Longer than any client would take.
    #[error("a repository name has at most {MAX_BYTES} bytes")]
    TooLong,
}

impl RepoName {
    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components between the slashes, at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for RepoName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.len() > MAX_BYTES {
            return Err(InvalidName::TooLong);
        }
        if !text.split('/').all(is_component) {
            return Err(InvalidName::Grammar);
        }
        Ok(Self(text.into()))
    }
}

/// Whether `text` is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |s: &str| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-');
    text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.split(is_word).filter(|between| !between.is_empty()).all(is_separator)
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_clients_use_are_taken() {
        for text in ["a", "0", "app", "ghcr.io/org/app", "a-b", "a---b", "a_b", "a__b", "a.b", "a/b/c", "x/blobs/uploads"] {
            assert!(text.parse::<RepoName>().is_ok(), "{text}");
        }
        assert!("a".repeat(255).parse::<RepoName>().is_ok());
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "", "/", "a/", "/a", "a//b", "A", "aA", "-a", "a-", ".a", "a.", "_a", "a_", "a..b", "a___b", "a.-b", "a-_b", "..",
            "a/../b", "a b", "a%2fb", "a:b", "ä", "a\0", "a\n",
        ] {
            assert_eq!(text.parse::<RepoName>(), Err(InvalidName::Grammar), "{text}");
        }
        assert_eq!("a".repeat(256).parse::<RepoName>(), Err(InvalidName::TooLong));
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_a_name(
            text in r"[a-z0-9]{1,5}((\.|_|__|-{1,4})[a-z0-9]{1,5}){0,3}(/[a-z0-9]{1,5}((\.|_|__|-{1,4})[a-z0-9]{1,5}){0,3}){0,4}"
        ) {
            let name = text.parse::<RepoName>();
            prop_assert_eq!(name.as_ref().map(RepoName::as_str), Ok(&*text));
        }

        #[test]
        fn whatever_is_a_name_leads_nowhere_else(text in r"[a-z0-9A./_%\\-]{0,40}") {
            if let Ok(name) = text.parse::<RepoName>() {
                prop_assert!(name.components().all(|component| !component.is_empty() && !component.starts_with(['.', '_', '-'])));
                prop_assert_eq!(name.components().collect::<Vec<_>>().join("/"), text);
            }
        }
    }
}
