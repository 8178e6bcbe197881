//! The file of sealed secrets: read whole, and written so that it is always
//! either the old or the new one.
//!
//! Who writes locks the folder, so that two do not lose each other's change;
//! who reads needs no lock, since a file is put in place only when it is
//! whole and on the disk.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use secrecy::SecretString;

use super::{MAX_BYTES, SealKey, SealedError, SealedSecret, SealedSecrets, seal, unseal};
use crate::files::read;
use crate::secrets::SecretName;

/// Who may read a file that is new: nobody else needs it.
const NEW_MODE: u32 = 0o600;

/// How long we wait for whoever else writes in the folder: that takes no time at all.
const LOCK_PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// How often we look whether the folder is free.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A file of sealed secrets, which need not exist yet.
#[derive(Clone, Debug)]
pub struct SealedFile(PathBuf);

/// What there was under a name before it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Was {
    /// Nothing.
    Absent,
    /// Another value, or the same.
    Present,
}

impl SealedFile {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// All that is in it.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, or is not what this key has sealed.
    pub fn read(&self, key: &SealKey) -> Result<SealedSecrets, SealedError> {
        match read(&self.0, MAX_BYTES) {
            Ok(text) => unseal(&text, key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SealedError::Absent),
            Err(error) => Err(SealedError::Unreadable(error)),
        }
    }

    /// Sets `secrets`, all in one go, in a new file if there is none; what there was under each name.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), or it cannot be written; then nothing has changed.
    pub fn set(&self, key: &SealKey, secrets: Vec<(SecretName, SecretString)>) -> Result<Vec<Was>, SealedError> {
        let set_at = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        self.rewrite(key, |file| {
            let mut all = match file.read(key) {
                Err(SealedError::Absent) => SealedSecrets::new(),
                outcome => outcome?,
            };
            let set = |(name, value)| all.insert(name, SealedSecret { value, set_at }).map_or(Was::Absent, |_| Was::Present);
            let were = secrets.into_iter().map(set).collect();
            Ok((all, were))
        })
    }

    /// Removes the secret `name`.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), or there is none of this name.
    pub fn remove(&self, key: &SealKey, name: &SecretName) -> Result<(), SealedError> {
        self.rewrite(key, |file| {
            let mut secrets = file.read(key)?;
            secrets.remove(name).map(|_| (secrets, ())).ok_or_else(|| SealedError::Unknown(name.clone()))
        })
    }

    /// Seals all of it with `new` in place of `key`; how many secrets those are.
    /// Where that was done already, it is well too: whoever was broken off does it again.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn rekey(&self, key: &SealKey, new: &SealKey) -> Result<usize, SealedError> {
        self.rewrite(new, |file| {
            let secrets = match (file.read(key), file.read(new)) {
                (Err(SealedError::WrongKey { .. }), Ok(secrets)) => secrets,
                (outcome, _) => outcome?,
            };
            let count = secrets.len();
            Ok((secrets, count))
        })
    }

    /// Puts what `change` makes in place, sealed with `key`, while nobody else does so.
    fn rewrite<T>(
        &self,
        key: &SealKey,
        change: impl FnOnce(&Self) -> Result<(SealedSecrets, T), SealedError>,
    ) -> Result<T, SealedError> {
        let target = self.target().map_err(SealedError::Unwritable)?;
        let folder = locked(folder(&target.0))?;
        let (secrets, outcome) = change(&target)?;
        target.replace(&seal(&secrets, key)?, &folder)?;
        Ok(outcome)
    }

    /// The file itself, where the path leads to it through links: those stay.
    fn target(&self) -> io::Result<Self> {
        match self.0.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.0.is_symlink() => Ok(self.clone()),
            outcome => outcome.map(Self),
        }
    }

    /// Puts a file with `text` in place of this one, in `folder`.
    fn replace(&self, text: &str, folder: &File) -> Result<(), SealedError> {
        let name = self.0.file_name().ok_or_else(|| SealedError::Unwritable(io::ErrorKind::InvalidFilename.into()))?;
        let new = self.0.with_file_name(format!(".{}.new", name.display()));
        let outcome = self
            .write(&new, text)
            .and_then(|()| fs::rename(&new, &self.0).and_then(|()| folder.sync_all()).map_err(SealedError::Unwritable));
        if outcome.is_err() {
            // What is left is gone with the next writing.
            let _ = fs::remove_file(&new);
        }
        outcome
    }

    /// Writes `text` to a file of its own at `new`, which those may read who may read this one.
    fn write(&self, new: &Path, text: &str) -> Result<(), SealedError> {
        let write = || -> io::Result<File> {
            // What somebody left who was killed while writing; nobody is now.
            match fs::remove_file(new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io::Error::new(error.kind(), format!("{} is in the way: {error}", new.display())));
                }
                _ => (),
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(NEW_MODE).open(new)?;
            file.write_all(text.as_bytes())?;
            Ok(file)
        };
        let file = write().map_err(SealedError::Unwritable)?;
        if let Ok(old) = fs::metadata(&self.0) {
            keep(&file, &old)?;
        }
        file.sync_all().map_err(SealedError::Unwritable)
    }
}

/// Gives `file` the owner, the group and the mode of `old`.
fn keep(file: &File, old: &Metadata) -> Result<(), SealedError> {
    let own = file.metadata().map_err(SealedError::Unwritable)?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid())).map_err(|_| SealedError::Foreign)?;
    }
    file.set_permissions(Permissions::from_mode(old.mode() & 0o777)).map_err(SealedError::Unwritable)
}

/// The folder at `path`, which nobody else writes in until it is dropped.
fn locked(path: &Path) -> Result<File, SealedError> {
    let folder = File::open(path).map_err(SealedError::Unwritable)?;
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(SealedError::Locked { folder: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(SealedError::Unwritable(error)),
        }
    }
}

/// The folder that the file at `path` is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::value::value;

    #[test]
    fn whoever_holds_the_folder_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let key = "0".repeat(64);
        let key = SealKey::from_environment(&[("LONGSHORE_SECRET_KEY", key)].into_iter().collect()).unwrap();
        let file = SealedFile::new(folder.path().join("secrets"));
        let set = || file.set(&key, vec![("A".parse().unwrap(), value(b"a").unwrap())]);

        let held = locked(folder.path()).unwrap();
        let told = set().unwrap_err().to_string();
        drop(held);

        assert!(told.contains(&format!("somebody holds a lock on {}", folder.path().display())), "{told}");
        assert!(set().is_ok());
    }
}
