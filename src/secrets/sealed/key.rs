//! The key to sealed secrets: 32 bytes, from a variable or a file that one names.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};

use crate::files::read;
use crate::secrets::Environment;

/// Where gocdnext has its key, which is taken where there is none of ours.
pub(crate) const GOCDNEXT_KEY: &str = "GOCDNEXT_SECRET_KEY";

const KEY: &str = "LONGSHORE_SECRET_KEY";
const KEY_FILE: &str = "LONGSHORE_SECRET_KEY_FILE";
const NEW_KEY: &str = "LONGSHORE_SECRET_NEW_KEY";
const NEW_KEY_FILE: &str = "LONGSHORE_SECRET_NEW_KEY_FILE";

/// Bytes of a key in hexadecimal digits, and of the line end behind them.
const MAX_FILE_BYTES: usize = 64 + 2;

/// The key to sealed secrets. Its `Debug` shows only where it comes from.
pub struct SealKey {
    bytes: SecretBox<[u8; 32]>,
    origin: &'static str,
    file: Option<PathBuf>,
}

/// Why there is no key. Nothing of what stands in its place is repeated.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No variable has one.
    #[error("there is no key: set {variable} or {variable}_FILE to 64 hexadecimal digits, such as openssl rand -hex 32 makes")]
    Absent {
        /// The variable that it may stand in.
        variable: &'static str,
    },
    /// Two are stated.
    #[error("{variable} and {variable}_FILE are both set; one of the two is enough")]
    Both {
        /// The first of them.
        variable: &'static str,
    },
    /// Most likely never filled in.
    #[error("{variable} is empty; give it a value or take it away")]
    Empty {
        /// Which one.
        variable: &'static str,
    },
    /// Something else than a key.
    #[error("{variable}: a key is 64 hexadecimal digits, such as openssl rand -hex 32 makes")]
    Malformed {
        /// Where it stands.
        variable: &'static str,
    },
    /// The file that a variable names.
    #[error("{variable}: {path:?} cannot be read: {cause}")]
    Unreadable {
        /// Which variable.
        variable: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl SealKey {
    /// The key that `environment` has; ours goes before gocdnext's.
    ///
    /// # Errors
    ///
    /// It has none, two, or something else in its place.
    pub fn from_environment(environment: &Environment) -> Result<Self, KeyError> {
        // An empty variable of somebody else's counts as unset.
        let theirs = environment.get(GOCDNEXT_KEY).filter(|text| !text.is_empty());
        match (stated(environment, KEY, KEY_FILE)?, theirs) {
            (Some(key), _) => Ok(key),
            (None, Some(text)) => of_text(GOCDNEXT_KEY, text),
            (None, None) => Err(KeyError::Absent { variable: KEY }),
        }
    }

    /// The key that is to take the other one's place.
    ///
    /// # Errors
    ///
    /// As [`from_environment`](Self::from_environment).
    pub fn new_from_environment(environment: &Environment) -> Result<Self, KeyError> {
        stated(environment, NEW_KEY, NEW_KEY_FILE)?.ok_or(KeyError::Absent { variable: NEW_KEY })
    }

    /// The file that `environment` names as that of the key, whatever is in it.
    pub(crate) fn stated_file(environment: &Environment) -> Option<PathBuf> {
        environment.get(KEY_FILE).map(PathBuf::from)
    }

    /// The variable it comes from.
    #[must_use]
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// The file it comes from, if it does.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

/// The key that stands in `variable`, or in the file that `file_variable` names.
fn stated(environment: &Environment, variable: &'static str, file_variable: &'static str) -> Result<Option<SealKey>, KeyError> {
    match (environment.get(variable), environment.get(file_variable)) {
        (Some(_), Some(_)) => Err(KeyError::Both { variable }),
        (Some(text), None) => of_text(variable, text).map(Some),
        (None, Some(path)) => of_file(file_variable, path).map(Some),
        (None, None) => Ok(None),
    }
}

fn of_text(variable: &'static str, text: &OsStr) -> Result<SealKey, KeyError> {
    match text.as_encoded_bytes() {
        [] => Err(KeyError::Empty { variable }),
        digits => of_digits(variable, digits, None),
    }
}

fn of_file(variable: &'static str, path: &OsStr) -> Result<SealKey, KeyError> {
    if path.is_empty() {
        return Err(KeyError::Empty { variable });
    }
    match read(path.as_ref(), MAX_FILE_BYTES) {
        Ok(digits) => of_digits(variable, &digits, Some(path.into())),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(KeyError::Malformed { variable }),
        Err(cause) => Err(KeyError::Unreadable { variable, path: path.into(), cause }),
    }
}

fn of_digits(origin: &'static str, digits: &[u8], file: Option<PathBuf>) -> Result<SealKey, KeyError> {
    let digits = digits.trim_ascii_end();
    let mut bytes = SecretBox::<[u8; 32]>::default();
    let is_key = digits.len() == 64 && HEXLOWER_PERMISSIVE.decode_mut(digits, bytes.expose_secret_mut()).is_ok();
    if is_key { Ok(SealKey { bytes, origin, file }) } else { Err(KeyError::Malformed { variable: origin }) }
}

impl ExposeSecret<[u8; 32]> for SealKey {
    fn expose_secret(&self) -> &[u8; 32] {
        self.bytes.expose_secret()
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const AS: &str = "AAAAAAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn first_byte(variables: &[(&str, &str)]) -> Result<u8, String> {
        let key = SealKey::from_environment(&variables.iter().copied().collect());
        key.map(|key| key.expose_secret()[0]).map_err(|error| error.to_string())
    }

    #[test]
    fn our_key_goes_before_gocdnexts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, format!("{ONES}\n")).unwrap();
        let path = path.to_str().unwrap();
        for (variables, byte) in [
            (&[(KEY, ONES), (GOCDNEXT_KEY, AS)][..], 0x11),
            (&[(KEY_FILE, path), (GOCDNEXT_KEY, AS)], 0x11),
            (&[(GOCDNEXT_KEY, AS)], 0xaa),
        ] {
            assert_eq!(first_byte(variables), Ok(byte), "{variables:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_told_by_its_variable_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "MARK".repeat(100)).unwrap();
        let path = path.to_str().unwrap();
        let short = &ONES[1..];
        for (variables, expected) in [
            (&[][..], "set LONGSHORE_SECRET_KEY or LONGSHORE_SECRET_KEY_FILE to 64 hexadecimal digits"),
            (&[(GOCDNEXT_KEY, "")], "there is no key"),
            (&[(KEY, ONES), (KEY_FILE, "/x")], "LONGSHORE_SECRET_KEY and LONGSHORE_SECRET_KEY_FILE are both set"),
            (&[(KEY, "")], "LONGSHORE_SECRET_KEY is empty"),
            (&[(KEY_FILE, "")], "LONGSHORE_SECRET_KEY_FILE is empty"),
            (&[(KEY, short)], "LONGSHORE_SECRET_KEY: a key is 64 hexadecimal digits"),
            (&[(KEY, "MARK"), (GOCDNEXT_KEY, AS)], "LONGSHORE_SECRET_KEY: a key is 64 hexadecimal digits"),
            (&[(GOCDNEXT_KEY, "MARK")], "GOCDNEXT_SECRET_KEY: a key is 64 hexadecimal digits"),
            (&[(KEY_FILE, path)], "LONGSHORE_SECRET_KEY_FILE: a key is 64 hexadecimal digits"),
            (&[(KEY_FILE, "/no/such/file")], "LONGSHORE_SECRET_KEY_FILE: \"/no/such/file\" cannot be read: No such file"),
        ] {
            let told = first_byte(variables).unwrap_err();
            assert!(told.contains(expected) && !told.contains("MARK") && !told.contains(short), "{told}");
        }
    }
}
