//! How a file of sealed secrets is written: four lines of text.
//!
//! ```text
//! longshore sealed secrets, version 1, aes-256-gcm
//! key <Base64: the check of the key>
//! sealed <Base64: the secrets>
//! sha256 <hex: of the lines above>
//! ```
//!
//! Nothing is ciphered or deciphered here. There is one way to write a thing,
//! so whatever is read is written back the same.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest, Sha256};

/// What every version begins with.
const TITLE: &str = "longshore sealed secrets, version ";

/// The first line of this version, with the line end.
pub const FIRST_LINE: &str = "longshore sealed secrets, version 1, aes-256-gcm\n";

/// What stands before the check of the key.
const KEY: &str = "key ";

/// What stands before the secrets.
const SEALED: &str = "sealed ";

/// What stands before the checksum.
const SHA256: &str = "sha256 ";

/// A file of sealed secrets, still sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What only the right key opens.
    pub check: Vec<u8>,
    /// The secrets.
    pub body: Vec<u8>,
}

/// Why a text is no file of sealed secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It never was one, by its first bytes.
    #[error("is not a file of sealed secrets")]
    Other,
    /// A later Longshore wrote it.
    #[error("is of a version that this longshore does not know; use the one that wrote it")]
    Version,
    /// It was cut off or changed on its way.
    #[error("is damaged: it is not what was written; put back a copy of it")]
    Damaged,
}

impl Form {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// It is not, to the last byte, as this module writes it.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        if !text.starts_with(TITLE.as_bytes()) {
            return Err(Malformed::Other);
        }
        let text = std::str::from_utf8(text).map_err(|_| Malformed::Damaged)?;
        if !text.starts_with(FIRST_LINE) {
            return Err(if text.contains('\n') { Malformed::Version } else { Malformed::Damaged });
        }
        Self::lines(text).ok_or(Malformed::Damaged)
    }

    fn lines(text: &str) -> Option<Self> {
        let (key, rest) = text.strip_prefix(FIRST_LINE)?.strip_prefix(KEY)?.split_once('\n')?;
        let (sealed, rest) = rest.strip_prefix(SEALED)?.split_once('\n')?;
        let sum = rest.strip_prefix(SHA256)?.strip_suffix('\n')?;
        let summed = text.strip_suffix(rest)?;
        let decoded = |text: &str| BASE64.decode(text.as_bytes()).ok();
        let form = Self { check: decoded(key)?, body: decoded(sealed)? };
        (sum == checksum(summed)).then_some(form)
    }

    /// The lines before the secrets.
    pub fn header(check: &[u8]) -> String {
        format!("{FIRST_LINE}{KEY}{}\n", BASE64.encode(check))
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = format!("{}{SEALED}{}\n", Self::header(&self.check), BASE64.encode(&self.body));
        writeln!(f, "{lines}{SHA256}{}", checksum(&lines))
    }
}

fn checksum(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_four_lines_that_read_back() {
        let form = Form { check: vec![1, 2], body: vec![3] };

        let text = form.to_string();

        assert_eq!(Form::parse(text.as_bytes()), Ok(form));
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        assert_eq!(lines[..3], [FIRST_LINE, "key AQI=\n", "sealed Aw==\n"]);
        assert_eq!(lines[3].len(), "sha256 \n".len() + 64);
    }

    #[test]
    fn what_is_no_form_is_told_by_what_it_may_be() {
        let text = Form { check: vec![1, 2], body: vec![3] }.to_string();
        for (text, why) in [
            (String::new(), Malformed::Other),
            ("[secrets]\n".into(), Malformed::Other),
            (text.replace("version 1", "version 2"), Malformed::Version),
            (text.replace("aes-256-gcm", "xchacha20"), Malformed::Version),
            (text.replace("AQI=", "AQJ="), Malformed::Damaged),
            (text.replace("AQI=", "AQM="), Malformed::Damaged),
            (text.replace("sealed Aw", "sealed Bw"), Malformed::Damaged),
            (text.replace('\n', "\r\n"), Malformed::Version),
            (text.trim_end().into(), Malformed::Damaged),
            (text.to_uppercase().replacen(&TITLE.to_uppercase(), TITLE, 1), Malformed::Version),
        ] {
            assert_eq!(Form::parse(text.as_bytes()), Err(why), "{text}");
        }
    }
}
