//! What a text says once its encodings are taken from it, and where each byte of that came from.

use std::ops::Range;

/// How often something is decoded that was decoded before: an URL may stand in JSON, and JSON in JSON, in a line of a log
/// that is JSON itself.
const DEPTH: usize = 3;

/// A text in one of the ways to read it.
pub(super) struct Reading<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    /// Of each byte, the range of the text that it stands for; none where all are their own.
    origins: Option<Vec<Range<usize>>>,
}

impl Reading<'_> {
    /// What is read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The part of the text that these bytes stand for; `range` is not empty.
    pub(super) fn origin(&self, range: Range<usize>) -> Range<usize> {
        match &self.origins {
            None => range,
            Some(origins) => origins[range.start].start..origins[range.end - 1].end,
        }
    }
}

/// A way to write a byte: what the beginning of a text stands for, and how many bytes say so.
type Decoder = fn(&[u8]) -> Option<(Decoded, usize)>;

/// What one escape stands for.
enum Decoded {
    Byte(u8),
    Char(char),
}

/// Shows `see` every reading of `text`, first as it is.
pub(super) fn each(text: &[u8], see: &mut dyn FnMut(&Reading<'_>)) {
    follow(&Reading { bytes: text.into(), origins: None }, DEPTH, see);
}

/// Shows `reading` and, as long as there is `depth`, what comes of decoding it.
fn follow(reading: &Reading<'_>, depth: usize, see: &mut dyn FnMut(&Reading<'_>)) {
    see(reading);
    if depth > 0 {
        let decoders = [percent as Decoder, form, escape];
        decoders.iter().filter_map(|decoder| decoded(reading, *decoder)).for_each(|more| follow(&more, depth - 1, see));
    }
}

/// What `reading` says once what `decoder` knows is decoded; `None` where there is nothing of it.
fn decoded<'a>(reading: &Reading<'_>, decoder: Decoder) -> Option<Reading<'a>> {
    let text = reading.bytes();
    // Most texts have nothing to decode, and cost nothing but a look.
    (0..text.len()).find(|at| decoder(&text[*at..]).is_some())?;
    let (mut bytes, mut origins) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut at = 0;
    while at < text.len() {
        let (decoded, length) = decoder(&text[at..]).unwrap_or((Decoded::Byte(text[at]), 1));
        match decoded {
            Decoded::Byte(byte) => bytes.push(byte),
            Decoded::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        origins.resize(bytes.len(), reading.origin(at..at + length));
        at += length;
    }
    Some(Reading { bytes: bytes.into(), origins: Some(origins) })
}

/// `%2B` is `+`.
fn percent(text: &[u8]) -> Option<(Decoded, usize)> {
    match text {
        [b'%', digits @ ..] => Some((Decoded::Byte(u8::try_from(hex(digits.get(..2)?)?).ok()?), 3)),
        _ => None,
    }
}

/// As forms have it: `+` is a blank.
fn form(text: &[u8]) -> Option<(Decoded, usize)> {
    if text.first() == Some(&b'+') { Some((Decoded::Byte(b' '), 1)) } else { percent(text) }
}

/// An escape of JSON (RFC 8259, section 7) or of Rust's `Debug`.
fn escape(text: &[u8]) -> Option<(Decoded, usize)> {
    let [b'\\', kind, rest @ ..] = text else { return None };
    let byte = match kind {
        b'"' | b'\\' | b'/' | b'\'' => *kind,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'u' => return unicode(rest).map(|(c, length)| (Decoded::Char(c), length + 2)),
        b'x' => return Some((Decoded::Byte(u8::try_from(hex(rest.get(..2)?)?).ok()?), 4)),
        _ => return None,
    };
    Some((Decoded::Byte(byte), 2))
}

/// What follows `\u`: `{e9}`, `00e9`, or a pair of surrogates.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    if let [b'{', rest @ ..] = text {
        let digits = rest.iter().take(7).position(|byte| *byte == b'}')?;
        return Some((char::from_u32(hex(&rest[..digits])?)?, digits + 2));
    }
    let first = hex(text.get(..4)?)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 4));
    }
    let second = hex(text.get(4..)?.strip_prefix(b"\\u")?.get(..4)?)?;
    let pair = [u16::try_from(first).ok()?, u16::try_from(second).ok()?];
    char::decode_utf16(pair).next()?.ok().map(|c| (c, 10))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number: u32, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_with_every_encoding_taken_from_it() {
        for (text, read) in [
            ("plain", "plain"),
            ("a%2Bb%2bc", "a+b+c"),
            ("a+b%20c", "a b c"),
            (r#"\"\\\/\n\u00e9\u{1F980}\ud83e\udd80\x41"#, "\"\\/\n\u{e9}\u{1f980}\u{1f980}A"),
            (r"\u0025\u0032\u0042", "+"),
            (r#"\\\""#, "\""),
        ] {
            let mut told = Vec::new();
            each(text.as_bytes(), &mut |reading| told.push(String::from_utf8_lossy(reading.bytes()).into_owned()));
            assert!(told.iter().any(|told| told == read), "{text}: {told:?}");
        }
    }

    #[test]
    fn what_is_read_is_traced_to_where_it_stands() {
        let ranges = [(0..1, 0..1), (1..2, 1..7), (2..3, 7..13), (2..4, 7..13), (3..5, 7..14)];
        let mut traced = Vec::new();

        each(br"x\u0025\u00e9y", &mut |reading| {
            if reading.bytes() == "x%\u{e9}y".as_bytes() {
                traced.extend(ranges.clone().map(|(range, _)| reading.origin(range)));
            }
        });

        assert_eq!(traced, ranges.map(|(_, origin)| origin));
    }
}
