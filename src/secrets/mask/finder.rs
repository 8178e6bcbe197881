//! Looks for many values at once, as they are and in Base64.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding};

/// Bytes of a pattern that are looked for at once; the rest is compared where they are found, since it would only cost memory.
const HEAD_BYTES: usize = 32;

/// Finds values, as they are and in Base64.
pub(super) struct Finder {
    patterns: Vec<Pattern>,
    /// None where they are too many to look for, and nothing may be shown at all.
    heads: Option<AhoCorasick>,
}

/// Bytes that stand for a value.
struct Pattern {
    bytes: Vec<u8>,
    reach: Reach,
}

/// How many characters of Base64 beside a pattern also hold bits of the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reach {
    before: usize,
    after: usize,
}

impl Finder {
    /// One for `values`; `None` where there is nothing to find.
    pub(super) fn new(values: &[&str]) -> Option<Self> {
        let patterns: Vec<Pattern> = values.iter().flat_map(|value| patterns(value.as_bytes())).collect();
        let heads = patterns.iter().map(|pattern| &pattern.bytes[..pattern.bytes.len().min(HEAD_BYTES)]);
        // Of the kinds there are, the one of least memory.
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let heads = AhoCorasick::builder().kind(kind).match_kind(MatchKind::Standard).build(heads).ok();
        (!patterns.is_empty()).then_some(Self { patterns, heads })
    }

    /// Where values are in `text`; ranges may overlap.
    pub(super) fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let heads = self.heads.iter().flat_map(move |heads| heads.find_overlapping_iter(text));
        let found = heads.filter_map(move |head| self.patterns[head.pattern()].at(head.start(), text));
        let all = self.heads.is_none().then_some(0..text.len());
        found.chain(all)
    }
}

impl Pattern {
    /// What of `text` holds bits of the value, if this begins at `start`.
    fn at(&self, start: usize, text: &[u8]) -> Option<Range<usize>> {
        let is_here = text[start..].starts_with(&self.bytes);
        is_here.then(|| self.reach.around(start..start + self.bytes.len(), text))
    }
}

impl Reach {
    /// What holds bits of a value whose pattern was found at `range`, with the padding behind it.
    fn around(self, range: Range<usize>, text: &[u8]) -> Range<usize> {
        let (before, rest) = (&text[..range.start], &text[range.end..]);
        let is_base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        let start = before.iter().rev().take(self.before).take_while(is_base64).count();
        let end = rest.iter().take(self.after).take_while(is_base64).count();
        let padding = rest[end..].iter().take(2 * self.after).take_while(|byte| **byte == b'=').count();
        range.start - start..range.end + end + padding
    }
}

/// `value` as it is, and as it may stand in Base64.
fn patterns(value: &[u8]) -> Vec<Pattern> {
    let mut patterns = vec![Pattern { bytes: value.to_vec(), reach: Reach::default() }];
    for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
        patterns.extend((0..3).map(|before| within_base64(value, before, encoding)));
    }
    patterns.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes));
    patterns.dedup_by(|a, b| (&a.bytes, a.reach) == (&b.bytes, b.reach));
    patterns
}

/// The characters that hold bits of `value` and nothing else, where as many
/// bytes as `before` stand between it and the last one at which characters begin.
fn within_base64(value: &[u8], before: usize, encoding: &Encoding) -> Pattern {
    let padded: Vec<u8> = [&[0; 2][..before], value].concat();
    let encoded = encoding.encode(&padded).into_bytes();
    // A character holds 6 bits: the first that begins within the value, and the last that ends within it.
    let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    let reach = Reach { before: usize::from(before > 0), after: usize::from(!padded.len().is_multiple_of(3)) };
    Pattern { bytes: encoded[first..last].to_vec(), reach }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_begin_alike_are_told_apart_where_they_end() {
        let (one, other) = ("x".repeat(HEAD_BYTES) + "-one", "x".repeat(HEAD_BYTES) + "-other");
        let finder = Finder::new(&[&one, &other]).unwrap();

        for (text, found) in [(&one, 1), (&other, 1), (&format!("{one}{other}"), 2), (&"x".repeat(HEAD_BYTES + 9), 0)] {
            assert_eq!(finder.find(text.as_bytes()).count(), found, "{text}");
        }
    }

    // A server with a few tokens of some kilobytes must not grow by more than those.
    #[test]
    fn large_values_take_little_more_memory_than_they_have_bytes() {
        let values: Vec<String> = (0..10).map(|index: usize| index.to_string().repeat(2000)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();

        let finder = Finder::new(&values).unwrap();

        assert!(finder.heads.unwrap().memory_usage() < 100_000);
    }

    #[test]
    fn a_value_is_known_in_base64_by_the_characters_that_are_only_its_own() {
        for (before, core, reach) in [
            (0, "c2VjcmV0", Reach { before: 0, after: 0 }),
            (1, "NlY3Jld", Reach { before: 1, after: 1 }),
            (2, "zZWNyZX", Reach { before: 1, after: 1 }),
        ] {
            let pattern = within_base64(b"secret", before, &BASE64_NOPAD);
            assert_eq!((std::str::from_utf8(&pattern.bytes), pattern.reach), (Ok(core), reach), "{before}");
        }
    }
}
