//! Patterns that names are matched against: `*` is any run without `/`, a
//! component `**` is any number of components, nothing else is special.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::RepoName;

/// Most bytes of a pattern: more than any name has.
const MAX_BYTES: usize = 512;

/// Most stars in one, so that matching takes a bounded time.
const MAX_STARS: usize = 16;

/// A component that stands for any number of them, none included.
const ANY_COMPONENTS: &str = "**";

/// A pattern on repository names, such as `ghcr.io/org/*` or `team-a/**`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    /// A component that no name could match.
    #[error(
        "a pattern is components with / between: lowercase letters, digits, . _ - and *, which is any run without /; \
         a component ** is any number of components"
    )]
    Grammar,
    /// Longer than anything it could match.
    #[error("a pattern has at most {MAX_BYTES} bytes and {MAX_STARS} stars")]
    TooLong,
}

impl Pattern {
    /// The pattern as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one name and no other.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `name` is one of those that it means.
    #[must_use]
    pub fn matches(&self, name: &RepoName) -> bool {
        meet(&self.components(), &name.components().collect::<Vec<_>>())
    }

    /// Whether there can be a name that both mean.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        meet(&self.components(), &other.components())
    }

    /// What stands beside the most specific of those patterns that mean `name`, if any does.
    pub fn deciding<'a, T>(name: &RepoName, rules: impl IntoIterator<Item = (&'a Self, T)>) -> Option<T> {
        let meaning = rules.into_iter().filter(|(pattern, _)| pattern.matches(name));
        meaning.max_by(|(left, _), (right, _)| left.specificity(right)).map(|(_, beside)| beside)
    }

    /// Which of the two decides about a name that both mean: the greater. An exact one is
    /// more specific than any other, else the one with the longer text before its first star is.
    #[must_use]
    pub fn specificity(&self, other: &Self) -> Ordering {
        let rank = |pattern: &Self| (pattern.is_exact(), pattern.literal().len());
        rank(self).cmp(&rank(other))
    }

    /// The text before its first star, with which all names begin that it means.
    #[must_use]
    pub fn literal(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    fn components(&self) -> Vec<&str> {
        self.0.split('/').collect()
    }
}

/// Whether two rows of components can be the same name.
fn meet(left: &[&str], right: &[&str]) -> bool {
    let within = |left: &&str, right: &&str| meets(left.as_bytes(), right.as_bytes(), |byte| *byte == b'*', u8::eq);
    meets(left, right, |component| *component == ANY_COMPONENTS, within)
}

/// Whether two rows can be the same, where a star in either is any number of
/// others. Each pair of ends is looked at once, so stars cost no more than their number.
pub fn meets<T>(left: &[T], right: &[T], is_star: impl Fn(&T) -> bool, are_alike: impl Fn(&T, &T) -> bool) -> bool {
    // Whether what is left of the left one meets each end of the right one.
    let mut below = vec![false; right.len() + 1];
    for at in (0..=left.len()).rev() {
        let mut row = vec![false; right.len() + 1];
        for other in (0..=right.len()).rev() {
            let skip_right = row.get(other + 1).copied().unwrap_or_default();
            let skip_left = below[other];
            let skip_both = below.get(other + 1).copied().unwrap_or_default();
            row[other] = match (left.get(at), right.get(other)) {
                (None, None) => true,
                (Some(a), Some(b)) if is_star(a) || is_star(b) => skip_left || skip_right,
                (Some(a), None) => is_star(a) && skip_left,
                (None, Some(b)) => is_star(b) && skip_right,
                (Some(a), Some(b)) => skip_both && are_alike(a, b),
            };
        }
        below = row;
    }
    below[0]
}

impl FromStr for Pattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES || text.matches('*').count() > MAX_STARS {
            return Err(InvalidPattern::TooLong);
        }
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '*');
        let is_component = |text: &str| text == ANY_COMPONENTS || (!text.contains(ANY_COMPONENTS) && can_be_a_component(text));
        if !text.chars().all(|c| is_plain(c) || c == '/') || !text.split('/').all(is_component) {
            return Err(InvalidPattern::Grammar);
        }
        Ok(Self(text.into()))
    }
}

/// Whether a component of a name can be like `text`: as it is with a letter for each star.
fn can_be_a_component(text: &str) -> bool {
    text == "*" || text.replace('*', "a").parse::<RepoName>().is_ok()
}

impl From<&RepoName> for Pattern {
    /// The pattern that means `name` alone.
    fn from(name: &RepoName) -> Self {
        Self(name.as_str().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().expect(text)
    }

    #[test]
    fn a_star_stays_within_its_component_and_two_go_beyond() {
        for (text, name, expected) in [
            ("org/app", "org/app", true),
            ("org/app", "org/apps", false),
            ("org/*", "org/app", true),
            ("org/*", "org/app/x", false),
            ("org/*", "org", false),
            ("org/**", "org/app/x", true),
            ("org/**", "org", true),
            ("org/**", "organ/app", false),
            ("**", "a/b/c", true),
            ("*", "a", true),
            ("*", "a/b", false),
            ("**/app", "app", true),
            ("**/app", "x/y/app", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("web-*", "web-1", true),
            ("*-web", "a-web", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(pattern(text).matches(&name.parse().unwrap()), expected, "{text} {name}");
        }
    }

    #[test]
    fn what_no_name_could_match_is_no_pattern() {
        let long = "a".repeat(513);
        for (text, why) in [
            ("", InvalidPattern::Grammar),
            ("/", InvalidPattern::Grammar),
            ("a//b", InvalidPattern::Grammar),
            ("a**", InvalidPattern::Grammar),
            ("***", InvalidPattern::Grammar),
            ("A*", InvalidPattern::Grammar),
            ("-*", InvalidPattern::Grammar),
            ("a?", InvalidPattern::Grammar),
            ("a:b", InvalidPattern::Grammar),
            (&long, InvalidPattern::TooLong),
            ("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a", InvalidPattern::TooLong),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(why), "{text}");
        }
    }

    #[test]
    fn an_exact_one_decides_and_then_the_longer_text_before_a_star() {
        for (more, less) in [("a/b", "a/*"), ("a/b", "a/bcd*"), ("a/b*", "a/*"), ("a/*", "**"), ("a/*", "a*/x")] {
            assert_eq!(pattern(more).specificity(&pattern(less)), Ordering::Greater, "{more} {less}");
        }
        assert_eq!(pattern("a/*").specificity(&pattern("a/**")), Ordering::Equal);
    }

    #[test]
    fn patterns_that_can_mean_one_name_overlap() {
        for (left, right, expected) in [
            ("a/*", "a/**", true),
            ("a/*-x", "a/y-*", true),
            ("a/*x", "a/*y", false),
            ("a/*/c", "a/b/*", true),
            ("a/*", "a/*/*", false),
            ("**/a", "b/**", true),
            ("**/a", "**/b", false),
        ] {
            assert_eq!(pattern(left).overlaps(&pattern(right)), expected, "{left} {right}");
            assert_eq!(pattern(right).overlaps(&pattern(left)), expected, "{right} {left}");
        }
    }

    /// The plain reading of the grammar, a character at a time.
    fn means(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', '*', '/', rest @ ..] => {
                means(rest, name) || name.iter().position(|&c| c == '/').is_some_and(|slash| means(pattern, &name[slash + 1..]))
            }
            ['*', '*'] => true,
            ['/', '*', '*', rest @ ..] if name.is_empty() => means(rest, name),
            ['*', rest @ ..] => means(rest, name) || matches!(name, [c, more @ ..] if *c != '/' && means(pattern, more)),
            [c, rest @ ..] => matches!(name, [d, more @ ..] if c == d && means(rest, more)),
        }
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #[test]
        fn matching_is_the_plain_reading_of_the_grammar(
            text in r"((\*\*|[ab*]{1,3})/){0,3}(\*\*|[ab*]{1,3})", name in r"[ab]{1,3}(/[ab]{1,3}){0,3}"
        ) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                // A star may be nothing, but a component is never empty.
                let expected = means(&chars(&text), &chars(&name));
                prop_assert_eq!(pattern.matches(&name.parse().unwrap()), expected);
            }
        }

        #[test]
        fn whatever_two_match_they_overlap_on(
            left in r"((\*\*|[ab*]{1,3})/){0,2}(\*\*|[ab*]{1,3})",
            right in r"((\*\*|[ab*]{1,3})/){0,2}(\*\*|[ab*]{1,3})",
            name in r"[ab]{1,3}(/[ab]{1,3}){0,2}",
        ) {
            if let (Ok(left), Ok(right)) = (left.parse::<Pattern>(), right.parse::<Pattern>()) {
                let name = name.parse().unwrap();
                prop_assert!(!(left.matches(&name) && right.matches(&name)) || left.overlaps(&right));
                prop_assert_eq!(left.overlaps(&right), right.overlaps(&left));
                prop_assert!(left.overlaps(&left));
            }
        }
    }
}
