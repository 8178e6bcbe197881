//! Files that somebody else keeps, such as settings, secrets, keys and
//! certificates: read so that nothing in their place can hold us up or fill
//! the memory.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::fs::OFlags;
use secrecy::zeroize::Zeroizing;
use tokio::sync::Mutex as AsyncMutex;

/// What the file at `path` holds, if that is at most `most` bytes.
///
/// # Errors
///
/// It is no file, it is larger, or the system does not let us read it.
pub fn read(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe in place of a file must not hold us up; of a file it means nothing.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    // Room for all of it, so that no copies are left behind where the buffer grows.
    let room = usize::try_from(metadata.len()).unwrap_or(most).min(most) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// The same, beside whatever else goes on. Where the file system hangs, so does one thread for each path, however often it
/// is asked for.
///
/// # Errors
///
/// As [`read`].
pub async fn read_beside(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let turn = turn(path).lock_owned().await;
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read(&path, most)
    });
    reading.await.map_err(io::Error::other)?
}

/// Whose turn it is to read the file at `path`.
fn turn(path: &Path) -> Arc<AsyncMutex<()>> {
    static TURNS: Mutex<BTreeMap<PathBuf, Weak<AsyncMutex<()>>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    turns.get(path).and_then(Weak::upgrade).unwrap_or_else(|| {
        let turn = Arc::default();
        turns.insert(path.to_owned(), Arc::downgrade(&turn));
        turn
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_is_read_and_no_larger_one() {
        let folder = tempfile::tempdir().unwrap();
        let [pipe, file] = ["pipe", "file"].map(|name| folder.path().join(name));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        std::fs::write(&file, [b'a'; 11]).unwrap();

        for path in [folder.path(), &pipe, &folder.path().join("absent"), Path::new("/dev/zero")] {
            assert!(read(path, 10).is_err(), "{}", path.display());
        }
        assert_eq!(read(&file, 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read(&file, 11).unwrap().len(), 11);
    }

    #[tokio::test]
    async fn a_file_is_read_by_one_at_a_time() {
        let (one, other) = (Path::new("/no/such/one"), Path::new("/no/such/other"));
        let hangs = turn(one).lock_owned().await;
        let mut waiting = Box::pin(read_beside(one, 10));

        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(read_beside(other, 10).await.is_err());
        drop(hangs);
        assert_eq!(waiting.await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
