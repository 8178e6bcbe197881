//! Patterns that tags are matched against: `*` is any run of characters, nothing else is special.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::Tag;
use super::pattern::meets;

/// Most bytes of a pattern: more than any tag has.
const MAX_BYTES: usize = 256;

/// Most stars in one, so that matching takes a bounded time.
const MAX_STARS: usize = 16;

/// A pattern on tags, such as `cache-*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagPattern(Box<str>);

/// A text that is no pattern on tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a pattern on tags has letters, digits, . _ - and *, which is any run of these; at most {MAX_BYTES} bytes and {MAX_STARS} stars"
)]
pub struct InvalidTagPattern;

impl TagPattern {
    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `tag` is one of those that it means.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        meet(self.as_str(), tag.as_str())
    }

    /// Whether there can be a tag that both mean.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        meet(self.as_str(), other.as_str())
    }

    /// Which of the two decides about a tag that both mean: the greater. One without a star
    /// does before any other, else the one with the longer text before its first star.
    #[must_use]
    pub fn specificity(&self, other: &Self) -> Ordering {
        let rank = |pattern: &Self| (!pattern.0.contains('*'), pattern.0.find('*').unwrap_or(pattern.0.len()));
        rank(self).cmp(&rank(other))
    }
}

fn meet(left: &str, right: &str) -> bool {
    meets(left.as_bytes(), right.as_bytes(), |byte| *byte == b'*', u8::eq)
}

impl FromStr for TagPattern {
    type Err = InvalidTagPattern;

    fn from_str(text: &str) -> Result<Self, InvalidTagPattern> {
        let is_short = text.len() <= MAX_BYTES && text.matches('*').count() <= MAX_STARS;
        // With a letter for each star it is a tag: so there are tags that it means.
        let is_like_a_tag = text.replace('*', "a").parse::<Tag>().is_ok();
        if is_short && is_like_a_tag { Ok(Self(text.into())) } else { Err(InvalidTagPattern) }
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TagPattern {
        text.parse().expect(text)
    }

    #[test]
    fn a_star_is_any_run() {
        for (text, tag, expected) in [
            ("cache-*", "cache-main", true),
            ("cache-*", "cache-", true),
            ("cache-*", "cache", false),
            ("*", "Any.thing_1", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("Cache", "cache", false),
        ] {
            assert_eq!(pattern(text).matches(&tag.parse().unwrap()), expected, "{text} {tag}");
        }
    }

    #[test]
    fn what_no_tag_could_match_is_no_pattern() {
        for text in ["", "a/b", "a:b", "-*", ".*", "a b", "ä", &"a".repeat(129), &"*a".repeat(17)] {
            assert_eq!(text.parse::<TagPattern>(), Err(InvalidTagPattern), "{text}");
        }
    }

    #[test]
    fn one_without_a_star_decides_and_then_the_longer_text_before_it() {
        for (more, less) in [("cache", "cache*"), ("cache-*", "c*"), ("a*", "*")] {
            assert_eq!(pattern(more).specificity(&pattern(less)), Ordering::Greater, "{more} {less}");
        }
        assert!(pattern("a*").overlaps(&pattern("*b")) && !pattern("a*").overlaps(&pattern("b*")));
    }
}
