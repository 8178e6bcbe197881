//! Where secrets come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::sealed::{SealKey, SealedFile};
use super::value::{self, Found};
use super::{Environment, InvalidSecretName, Mistake, SecretName, directory};

/// A place that secrets come from, written in one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `sealed:/path`: a file that only the key opens.
    Sealed(PathBuf),
    /// `env`: variables, each `LONGSHORE_SECRET_` and a name.
    Environment,
    /// `dir:/path`: a directory with a file for each, by its name.
    Directory(PathBuf),
    /// `file:NAME=/path`: a file with one of them.
    File {
        /// Which one.
        name: SecretName,
        /// Where it is.
        path: PathBuf,
    },
}

/// A word that names no source of secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// None of those there are.
    #[error("a source of secrets is sealed:/path, env, dir:/path or file:NAME=/path")]
    Unknown,
    /// No path where one belongs.
    #[error("a path is missing")]
    NoPath,
    /// Nobody but a shell knows whose home is meant.
    #[error("~ means nothing here; write the whole path")]
    Home,
    /// `file:` without a name.
    #[error("{0}, as in file:CACHE_KEY=/run/cache-key")]
    Name(#[from] InvalidSecretName),
}

/// What a source has, and what it was read from.
#[derive(Default)]
pub(super) struct Reading {
    pub values: BTreeMap<SecretName, Found>,
    /// Files that show nothing by themselves, and directories.
    pub places: Vec<PathBuf>,
    /// Files that whoever reads them has secrets from.
    pub plain_files: Vec<PathBuf>,
}

impl Source {
    /// All it has now.
    pub(super) fn read(&self, environment: &Environment) -> Result<Reading, Mistake> {
        let mistake = |why: String| Mistake::Source { origin: self.clone(), why };
        match self {
            Self::Environment => Ok(Reading { values: environment.secrets().collect(), ..Reading::default() }),
            Self::Sealed(path) => sealed(path, environment).map_err(mistake),
            Self::Directory(path) => directory::read(path).map_err(|error| mistake(error.to_string())),
            Self::File { name, path } => {
                let found = value::of_file(path).map_err(|error| mistake(error.to_string()))?;
                Ok(Reading { values: [(name.clone(), found)].into(), plain_files: vec![path.clone()], ..Reading::default() })
            }
        }
    }
}

/// The files and folders that `sources` would be read from, also where they cannot.
#[must_use]
pub fn places(sources: &[Source], environment: &Environment) -> Vec<PathBuf> {
    let of = |source: &Source| match source {
        Source::Environment => Vec::new(),
        Source::Sealed(path) => [Some(path.clone()), SealKey::stated_file(environment)].into_iter().flatten().collect(),
        Source::Directory(path) => directory::places(path),
        Source::File { path, .. } => vec![path.clone()],
    };
    sources.iter().flat_map(of).collect()
}

fn sealed(path: &Path, environment: &Environment) -> Result<Reading, String> {
    let key = SealKey::from_environment(environment).map_err(|error| error.to_string())?;
    let secrets = SealedFile::new(path).read(&key).map_err(|error| error.to_string())?;
    let values = secrets.into_iter().map(|(name, secret)| (name, Ok(secret.value))).collect();
    Ok(Reading { values, places: vec![path.to_owned()], plain_files: key.file().map(Path::to_owned).into_iter().collect() })
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "env" => Ok(Self::Environment),
            Some(("sealed", rest)) => Ok(Self::Sealed(path(rest)?)),
            Some(("dir", rest)) => Ok(Self::Directory(path(rest)?)),
            Some(("file", rest)) => {
                let (name, rest) = rest.split_once('=').ok_or(InvalidSource::Unknown)?;
                Ok(Self::File { name: name.parse()?, path: path(rest)? })
            }
            _ => Err(InvalidSource::Unknown),
        }
    }
}

fn path(text: &str) -> Result<PathBuf, InvalidSource> {
    match text {
        "" => Err(InvalidSource::NoPath),
        _ if text.starts_with('~') => Err(InvalidSource::Home),
        _ => Ok(text.into()),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(path) => write!(f, "sealed:{}", path.display()),
            Self::Environment => f.write_str("env"),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::File { name, path } => write!(f, "file:{name}={}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_reads_back_as_it_was_written() {
        for text in ["env", "sealed:/etc/longshore/secrets", "dir:/run/secrets", "file:A=/run/a=b:c", "sealed:here"] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_source_is_told_what_does() {
        for (text, why) in [
            ("", "a source of secrets is"),
            ("environment", "a source of secrets is"),
            ("env:X", "a source of secrets is"),
            ("/run/secrets", "a source of secrets is"),
            ("vault:x", "a source of secrets is"),
            ("file:/run/a", "a source of secrets is"),
            ("sealed:", "a path is missing"),
            ("file:A=", "a path is missing"),
            ("dir:~/secrets", "~ means nothing here"),
            ("file:=/run/a", "a secret's name is 1 to 128"),
        ] {
            let told = text.parse::<Source>().unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
