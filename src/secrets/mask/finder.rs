//! Looks for many values at once, as they are and in Base64.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding};

/// Finds values, as they are and in Base64.
pub(super) struct Finder {
    /// None where they are too many to look for, and nothing may be shown at all.
    patterns: Option<AhoCorasick>,
    /// Of each pattern, how far what it stands for may reach beyond it.
    reaches: Vec<Reach>,
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
        let (patterns, reaches): (Vec<_>, Vec<_>) = values.iter().flat_map(|value| patterns(value.as_bytes())).unzip();
        let found = || AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns).ok();
        (!patterns.is_empty()).then(|| Self { patterns: found(), reaches })
    }

    /// Where values are in `text`; ranges may overlap.
    pub(super) fn find<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
        let found = self.patterns.iter().flat_map(move |patterns| patterns.find_overlapping_iter(text));
        let all = self.patterns.is_none().then_some(0..text.len());
        found.map(move |found| self.reaches[found.pattern()].around(found.range(), text)).chain(all)
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
fn patterns(value: &[u8]) -> Vec<(Vec<u8>, Reach)> {
    let mut patterns = vec![(value.to_vec(), Reach::default())];
    for encoding in [&BASE64_NOPAD, &BASE64URL_NOPAD] {
        patterns.extend((0..3).map(|before| within_base64(value, before, encoding)));
    }
    patterns.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    patterns.dedup();
    patterns
}

/// The characters that hold bits of `value` and nothing else, where as many
/// bytes as `before` stand between it and the last one at which characters begin.
fn within_base64(value: &[u8], before: usize, encoding: &Encoding) -> (Vec<u8>, Reach) {
    let padded: Vec<u8> = [&[0; 2][..before], value].concat();
    let encoded = encoding.encode(&padded).into_bytes();
    // A character holds 6 bits: the first that begins within the value, and the last that ends within it.
    let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
    let reach = Reach { before: usize::from(before > 0), after: usize::from(!padded.len().is_multiple_of(3)) };
    (encoded[first..last].to_vec(), reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_in_base64_by_the_characters_that_are_only_its_own() {
        for (before, core, reach) in [
            (0, "c2VjcmV0", Reach { before: 0, after: 0 }),
            (1, "NlY3Jld", Reach { before: 1, after: 1 }),
            (2, "zZWNyZX", Reach { before: 1, after: 1 }),
        ] {
            let (found, reaches) = within_base64(b"secret", before, &BASE64_NOPAD);
            assert_eq!((String::from_utf8(found).unwrap().as_str(), reaches), (core, reach), "{before}");
        }
    }
}
