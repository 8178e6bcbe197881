//! What the operating system said, and of which path.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// Something that went wrong with a file or directory. For the log.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub(super) struct Problem {
    path: PathBuf,
    pub(super) error: io::Error,
}

/// Tells which path an error is about.
pub(super) trait At<T> {
    fn at(self, path: impl AsRef<Path>) -> Result<T, Problem>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, path: impl AsRef<Path>) -> Result<T, Problem> {
        self.map_err(|error| Problem { path: path.as_ref().to_owned(), error: error.into() })
    }
}

impl Problem {
    /// A path that is there and should be something else.
    pub(super) fn not(path: impl AsRef<Path>, what: &'static str) -> Self {
        Self { path: path.as_ref().to_owned(), error: io::Error::other(what) }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.error.kind() == io::ErrorKind::NotFound
    }

    /// Whether there is no file: nothing, a directory, or a name that no file can have.
    pub(super) fn is_absence(&self) -> bool {
        use io::ErrorKind::{InvalidFilename, IsADirectory, NotFound};
        matches!(self.error.kind(), NotFound | IsADirectory | InvalidFilename)
    }
}

impl From<Problem> for StoreError {
    fn from(problem: Problem) -> Self {
        use io::ErrorKind as Kind;
        match problem.error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => Self::Full(problem.into()),
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Denied(problem.into()),
            _ => Self::Unavailable(problem.into()),
        }
    }
}
