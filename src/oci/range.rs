//! Which bytes of a blob are asked for, and which are sent.

use std::str::FromStr;

/// The bytes of a representation that are wanted, counted from 0.
///
/// RFC 9110, 14.1.2, "Byte Ranges".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-`: everything from there.
    From(u64),
    /// `first-last`, both included. Where `last` comes before `first` it means no byte at all:
    /// such a range may be ignored or refused, and refusing tells the client.
    Within(u64, u64),
    /// `-length`: that many at the end.
    Last(u64),
}

/// A `Range` that asks for no single run of bytes, which a server may ignore
/// (RFC 9110, 14.2, "Range").
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a range is written bytes=<first>-<last>, bytes=<first>- or bytes=-<length>")]
pub struct InvalidRange;

impl ByteRange {
    /// Whether this means no byte, however many there are.
    #[must_use]
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Within(first, last) if last < first) || self == Self::Last(0)
    }

    /// The first byte and the number of bytes that this means in `size` bytes;
    /// `None` when it lies past the end.
    #[must_use]
    pub fn within(self, size: u64) -> Option<(u64, u64)> {
        let (first, end) = match self {
            Self::From(first) => (first, size),
            Self::Within(first, last) => (first, size.min(last.saturating_add(1))),
            Self::Last(length) => (size.saturating_sub(length), size),
        };
        (first < end).then(|| (first, end - first))
    }
}

impl FromStr for ByteRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (first, last) = text.strip_prefix("bytes=").and_then(|set| set.trim().split_once('-')).ok_or(InvalidRange)?;
        match (first.is_empty(), last.is_empty()) {
            (false, true) => Ok(Self::From(number(first)?)),
            (true, false) => Ok(Self::Last(number(last)?)),
            (false, false) => Ok(Self::Within(number(first)?, number(last)?)),
            (true, true) => Err(InvalidRange),
        }
    }
}

/// The bytes of a blob that a chunk says it is: `<first>-<last>`, both included.
///
/// distribution-spec v1.1.1, "Pushing a blob in chunks"; not the `Content-Range` of RFC 9110.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Where the chunk begins, counted from 0.
    pub first: u64,
    /// How many bytes it has, at least one.
    pub length: u64,
}

/// A `Content-Range` that is not a chunk's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk says <first>-<last>, and has that many bytes")]
pub struct InvalidChunkRange;

impl FromStr for ChunkRange {
    type Err = InvalidChunkRange;

    fn from_str(text: &str) -> Result<Self, InvalidChunkRange> {
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let (first, last) = text.split_once('-').ok_or(InvalidChunkRange)?;
        let (first, last) = number(first).zip(number(last)).ok_or(InvalidChunkRange)?;
        let length = last.checked_sub(first).and_then(|more| more.checked_add(1)).ok_or(InvalidChunkRange)?;
        Ok(Self { first, length })
    }
}

/// A decimal number without a sign; what does not fit is as good as endless.
fn number(digits: &str) -> Result<u64, InvalidRange> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidRange);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_means_these_bytes_of_ten() {
        for (text, bytes) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=3-", Some((3, 7))),
            ("bytes=9-", Some((9, 1))),
            ("bytes=10-", None),
            ("bytes=0-0", Some((0, 1))),
            ("bytes=2-4", Some((2, 3))),
            ("bytes=8-99", Some((8, 2))),
            ("bytes=10-99", None),
            ("bytes=-3", Some((7, 3))),
            ("bytes=-99", Some((0, 10))),
            ("bytes=-0", None),
            ("bytes=4-2", None),
            ("bytes=99999999999999999999-", None),
            ("bytes=0-99999999999999999999", Some((0, 10))),
        ] {
            assert_eq!(text.parse::<ByteRange>().map(|range| range.within(10)), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_range_of_bytes_is_refused() {
        for text in ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "bytes=+1-2", "items=0-1", "bytes=0--1"] {
            assert_eq!(text.parse::<ByteRange>(), Err(InvalidRange), "{text}");
        }
    }

    #[test]
    fn a_chunk_says_its_first_and_last_byte() {
        for (text, read) in [
            ("0-0", Some((0, 1))),
            ("5-9", Some((5, 5))),
            ("9-5", None),
            ("0-18446744073709551615", None),
            ("0-18446744073709551616", None),
            ("5-", None),
            ("-5", None),
            ("-", None),
            ("+1-2", None),
            ("0-1-2", None),
            ("bytes 0-4/5", None),
            ("", None),
        ] {
            let chunk = text.parse::<ChunkRange>().map(|chunk| (chunk.first, chunk.length));

            assert_eq!(chunk.ok(), read, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_blob(text in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in any::<u64>()) {
            if let Some((first, length)) = text.parse::<ByteRange>().ok().and_then(|range| range.within(size)) {
                prop_assert!(length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
            }
        }

        #[test]
        fn a_range_means_the_bytes_that_it_counts(first in 0u64..30, last in 0u64..30, size in 0u64..30) {
            for (range, bytes) in [
                (ByteRange::Within(first, last), first..size.min(last + 1)),
                (ByteRange::From(first), first..size),
                (ByteRange::Last(last), size.saturating_sub(last)..size),
            ] {
                let expected = (!bytes.is_empty()).then(|| (bytes.start, bytes.end - bytes.start));

                prop_assert_eq!(range.within(size), expected, "{:?} of {}", range, size);
            }
        }

        #[test]
        fn a_range_is_read_as_it_is_written(first in any::<u64>(), last in any::<u64>()) {
            prop_assert_eq!(format!("bytes={first}-{last}").parse(), Ok(ByteRange::Within(first, last)));
            prop_assert_eq!(format!("bytes={first}-").parse(), Ok(ByteRange::From(first)));
            prop_assert_eq!(format!("bytes=-{last}").parse(), Ok(ByteRange::Last(last)));
        }

        #[test]
        fn a_chunk_is_read_as_it_is_written(first in any::<u64>(), more in any::<u64>()) {
            if let Some((last, length)) = first.checked_add(more).zip(more.checked_add(1)) {
                prop_assert_eq!(format!("{first}-{last}").parse(), Ok(ChunkRange { first, length }));
            }
        }

        #[test]
        fn a_chunk_never_ends_past_the_last_number(text in "[0-9]{0,21}-?[0-9]{0,21}") {
            if let Ok(ChunkRange { first, length }) = text.parse() {
                prop_assert!(length > 0 && first.checked_add(length - 1).is_some());
            }
        }
    }
}
