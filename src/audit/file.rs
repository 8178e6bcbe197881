//! A file that is only ever added to, and that others may move away to begin a new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::queue::Target;

/// The file.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether what was written last is no whole line.
    is_torn: bool,
    /// Whether it was told that a new one cannot be begun.
    is_stuck: bool,
}

impl LogFile {
    /// The file at `path`, which is made where it is not there: nobody else may read it then.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        // A process that died may have left half a line.
        let mut last = [b'\n'];
        if let Some(end) = file.metadata()?.len().checked_sub(1) {
            file.read_exact_at(&mut last, end)?;
        }
        Ok(Self { path: path.to_owned(), file, is_torn: last != *b"\n", is_stuck: false })
    }

    /// Goes on in a new file where the one that was opened is no longer at its path, as after logrotate.
    fn follow(&mut self) {
        let here = self.file.metadata().map(|it| (it.dev(), it.ino())).ok();
        let there = fs::metadata(&self.path).map(|it| (it.dev(), it.ino())).ok();
        if here == there {
            return;
        }
        match Self::open(&self.path) {
            Ok(next) => *self = next,
            Err(cause) if !self.is_stuck => {
                let path = self.path.display();
                tracing::error!(%path, %cause, "the audit file was moved away and no new one can be made; the old one goes on");
                self.is_stuck = true;
            }
            Err(_) => {}
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    self.is_torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Target for LogFile {
    fn keep(&mut self, line: &str) -> io::Result<()> {
        self.follow();
        if self.is_torn {
            self.write_all(b"\n")?;
        }
        self.write_all(line.as_bytes())
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe in place of a file must not hold us up; of a file it means nothing.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(nonblocking).open(path)
}
