//! What may be the value of a secret.

use std::io;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use crate::files::read;

/// Most bytes of a value: more than any key or token has, a service account's among them.
pub const MAX_BYTES: usize = 64 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Why a value that a source has cannot be used. Nothing of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing, or nothing but line ends.
    #[error("is empty")]
    Empty,
    /// No text.
    #[error("is not UTF-8")]
    NotText,
    /// A line break, a zero byte or the like: a header cannot carry it, and it is most likely the wrong file.
    #[error("has a control character in it, such as a line break")]
    ControlCharacter,
    /// What some editors put before a text. It shows nowhere, and is no part of any key.
    #[error("has a byte order mark in it; save it as UTF-8 without one")]
    ByteOrderMark,
    /// Past what is read.
    #[error("is larger than 64 KiB")]
    TooLarge,
    /// What the system said.
    #[error("cannot be read: {0}")]
    Unreadable(Arc<str>),
    /// docker makes one where what it should mount is missing.
    #[error("is a directory, such as docker makes where what it should mount is missing")]
    Directory,
    /// Links within a directory of secrets are followed, others are not.
    #[error("is a link that leads out of the directory")]
    LeadsOut,
}

/// What a source has under a name.
pub(super) type Found = Result<SecretString, Flaw>;

/// The value that `bytes` are, without the line ends that editors and `echo` leave behind it.
///
/// # Errors
///
/// It cannot be used.
pub fn value(bytes: &[u8]) -> Result<SecretString, Flaw> {
    let text = std::str::from_utf8(bytes).map_err(|_| Flaw::NotText)?.trim_end_matches(['\r', '\n']);
    if text.len() > MAX_BYTES {
        Err(Flaw::TooLarge)
    } else if text.is_empty() {
        Err(Flaw::Empty)
    } else if text.contains(char::is_control) {
        Err(Flaw::ControlCharacter)
    } else if text.contains(BYTE_ORDER_MARK) {
        Err(Flaw::ByteOrderMark)
    } else {
        Ok(text.into())
    }
}

/// The value in the file at `path`; an error only where the file cannot be read.
pub(super) fn of_file(path: &Path) -> io::Result<Found> {
    // A byte more than a value may have, and the line end behind it.
    match read(path, MAX_BYTES + 2) {
        Ok(bytes) => Ok(value(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Err(Flaw::TooLarge)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn line_ends_behind_a_value_are_no_part_of_it() {
        for text in ["key", "key\n", "key\r\n", "key\n\n"] {
            assert_eq!(value(text.as_bytes()).unwrap().expose_secret(), "key", "{text:?}");
        }
        assert_eq!(value("two words, é".as_bytes()).unwrap().expose_secret(), "two words, é");
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_kind() {
        for (bytes, flaw) in [
            (&b""[..], Flaw::Empty),
            (b"\r\n", Flaw::Empty),
            (b"\nkey", Flaw::ControlCharacter),
            (b"one\ntwo", Flaw::ControlCharacter),
            (b"key\0", Flaw::ControlCharacter),
            ("key\u{85}".as_bytes(), Flaw::ControlCharacter),
            (b"\xff\xfe", Flaw::NotText),
            (b"\xef\xbb\xbfkey", Flaw::ByteOrderMark),
            (&[b'a'; MAX_BYTES + 1], Flaw::TooLarge),
        ] {
            assert_eq!(value(bytes).unwrap_err(), flaw);
        }
    }

    #[test]
    fn a_value_as_large_as_may_be_is_read_from_a_file_and_no_larger_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");

        std::fs::write(&path, [&[b'a'; MAX_BYTES][..], b"\r\n"].concat()).unwrap();
        assert_eq!(of_file(&path).unwrap().unwrap().expose_secret().len(), MAX_BYTES);
        for too_many in [MAX_BYTES + 1, MAX_BYTES * 100] {
            std::fs::write(&path, vec![b'a'; too_many]).unwrap();
            assert_eq!(of_file(&path).unwrap().unwrap_err(), Flaw::TooLarge, "{too_many}");
        }
    }
}
