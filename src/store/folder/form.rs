//! What stands in a file: the object's bytes, as they are.
//!
//! An object whose content type is not [`OCTET_STREAM`] has a line in front
//! that tells it, begun with [`MARK`]. So has one whose own bytes begin like
//! such a line: a file that begins with the mark always has the line, and any
//! other file is pure. Bytes and content type are one file, so they are
//! replaced together, and a copy of the folder is a copy of the store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::store::OCTET_STREAM;

/// How the line begins.
pub(super) const MARK: &[u8] = b"#longshore content-type: ";

/// Most bytes the line may have; a media type has up to 255 (RFC 6838, 4.2, "Naming Requirements").
const MAX_LINE: usize = 4096;

/// What would end the line early, and what such a byte is escaped with.
const ESCAPED: AsciiSet = CONTROLS.add(b'%');

/// What a file says of its object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) content_type: String,
    /// Where the object's bytes begin in the file.
    pub(super) start: u64,
}

/// The line that goes before bytes that begin with `first`; empty where none is due.
pub(super) fn line(content_type: &str, first: &[u8]) -> io::Result<Vec<u8>> {
    if content_type == OCTET_STREAM && !first.starts_with(MARK) {
        return Ok(Vec::new());
    }
    let mut line = MARK.to_vec();
    line.extend(utf8_percent_encode(content_type, &ESCAPED).flat_map(str::bytes));
    line.push(b'\n');
    if line.len() > MAX_LINE {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the content type is too long"));
    }
    Ok(line)
}

/// Finds out what stands in `file`.
pub(super) fn read(file: &File) -> io::Result<Form> {
    if !beginning(file, MARK.len())?.starts_with(MARK) {
        return Ok(Form { content_type: OCTET_STREAM.to_owned(), start: 0 });
    }
    let head = beginning(file, MAX_LINE)?;
    parse(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its first line tells no content type"))
}

fn parse(head: &[u8]) -> Option<Form> {
    let end = head.iter().position(|byte| *byte == b'\n')?;
    let told = head.get(MARK.len()..end)?;
    let content_type = percent_decode(told).decode_utf8().ok()?.into_owned();
    Some(Form { content_type, start: end as u64 + 1 })
}

/// Up to `most` bytes from the start of `file`.
fn beginning(file: &File, most: usize) -> io::Result<Vec<u8>> {
    let (mut bytes, mut filled) = (vec![0; most], 0);
    while filled < most {
        match file.read_at(&mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn written(content_type: &str, bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&line(content_type, bytes).unwrap()).unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn octets_lie_pure() {
        for bytes in [&b""[..], b"#", b"#longshore content-type:", b"hello"] {
            assert_eq!(line(OCTET_STREAM, bytes).unwrap(), b"");
            assert_eq!(read(&written(OCTET_STREAM, bytes)).unwrap().start, 0);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let marked = [MARK, b"text/plain\nx"].concat();
        for content_type in [OCTET_STREAM, "application/json", "a/b; c=\"%0A\"", "two\nlines", "", "é"] {
            for bytes in [&b""[..], b"{}", b"\n", &marked] {
                let file = written(content_type, bytes);
                let form = read(&file).unwrap();
                assert_eq!(form.content_type, content_type);
                assert_eq!(beginning(&file, 999).unwrap()[form.start as usize..], *bytes, "{content_type}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_an_error() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(MARK).unwrap();
        assert!(read(&file).is_err());
        assert!(line(&"a".repeat(MAX_LINE), b"").is_err());
    }
}
