//! Directories and files below the root, reached one component at a time from
//! a handle on the root, so that no symbolic link is ever followed.

use std::borrow::Cow;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags, fsync, mkdirat, open, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::name;
use super::problem::{At, Problem};
use crate::store::Key;

/// How a directory is opened: never through a symbolic link.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How a file is opened: never through a symbolic link, and never waiting for the other end of a pipe.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// For files that the owner writes and others may read; the umask decides.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

/// The same for directories.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// How often a directory is made again that another process removes, being empty, before anything is in it.
const TRIES: usize = 100;

/// What lies below one folder, which is opened anew each time: someone may have cleared the cache.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
}

/// Something in a directory.
pub(super) struct Entry<'a> {
    /// What it is called as a component of a key.
    pub(super) component: Cow<'a, str>,
    pub(super) is_directory: bool,
}

impl Tree {
    /// What lies below `path`, which may itself be a symbolic link.
    pub(super) fn at(path: &Path) -> Result<Self, Problem> {
        Ok(Self { path: std::path::absolute(path).at(path)? })
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that holds the object at `key`, `None` when there is none.
    pub(super) fn file(&self, key: &Key) -> Result<Option<File>, Problem> {
        let (folders, file) = file_names(key);
        let opened =
            self.directory(&folders).and_then(|folder| openat(&folder, &file, FILE, Mode::empty()).at(self.path_of(key)));
        let opened = match opened {
            Ok(opened) => File::from(opened),
            Err(problem) if problem.is_absence() => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let kind = opened.metadata().at(self.path_of(key))?.file_type();
        match () {
            () if kind.is_file() => Ok(Some(opened)),
            // The objects in a folder say nothing of one that is called like it.
            () if kind.is_dir() => Ok(None),
            () => Err(Problem::not(self.path_of(key), "not a file")),
        }
    }

    /// Makes a file called `file` in `folder` right under the root, which is made if it is not there.
    pub(super) fn create(&self, folder: &str, file: &str) -> Result<File, Problem> {
        let path = self.path.join(folder).join(file);
        let folder = self.directory_made(&[folder.to_owned()])?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&folder, file, flags, FILE_MODE).map(File::from).at(path)
    }

    /// Moves what [`create`](Self::create) made to `key`, at once and for good.
    pub(super) fn publish(&self, folder: &str, file: &str, key: &Key) -> Result<(), Problem> {
        for _ in 1..TRIES {
            match self.try_publish(folder, file, key) {
                Err(problem) if problem.is_not_found() => {}
                outcome => return outcome,
            }
        }
        self.try_publish(folder, file, key)
    }

    fn try_publish(&self, folder: &str, file: &str, key: &Key) -> Result<(), Problem> {
        let (folders, name) = file_names(key);
        let (from, to) = (self.directory(&[folder.to_owned()])?, self.directory_made(&folders)?);
        renameat(&from, file, &to, &name).and_then(|()| fsync(&to)).at(self.path_of(key))
    }

    /// Removes the file at `key` for good, and the directories that are empty then.
    pub(super) fn remove(&self, key: &Key) -> Result<(), Problem> {
        let (mut folders, file) = file_names(key);
        let removed = self
            .directory(&folders)
            .and_then(|folder| unlinkat(&folder, &file, AtFlags::empty()).and_then(|()| fsync(&folder)).at(self.path_of(key)));
        match removed {
            Err(problem) if problem.is_absence() => return Ok(()),
            removed => removed?,
        }
        while let Some(empty) = folders.pop() {
            let removed = self.directory(&folders).map(|folder| unlinkat(&folder, &empty, AtFlags::REMOVEDIR));
            if !matches!(removed, Ok(Ok(()))) {
                break;
            }
        }
        Ok(())
    }

    /// Removes a file called `file` in `folder` right under the root.
    pub(super) fn discard(&self, folder: &str, file: &str) -> Result<(), Problem> {
        let path = self.path.join(folder).join(file);
        unlinkat(&self.directory(&[folder.to_owned()])?, file, AtFlags::empty()).at(path)
    }

    /// Opens a file called `file` in `folder` right under the root.
    pub(super) fn reopen(&self, folder: &str, file: &str) -> Result<File, Problem> {
        let path = self.path.join(folder).join(file);
        openat(self.directory(&[folder.to_owned()])?, file, FILE, Mode::empty()).map(File::from).at(path)
    }

    /// The names of everything in `folder` right under the root.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>, Problem> {
        let path = self.path.join(folder);
        let entries = Dir::read_from(self.directory(&[folder.to_owned()])?).at(&path)?;
        let names = entries.filter_map(|entry| entry.map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).transpose());
        let names = names.collect::<Result<Vec<_>, _>>().at(&path)?;
        Ok(names.into_iter().filter(|name| !matches!(name.as_str(), "." | "..")).collect())
    }

    /// Shows what is in the directory of `components`, in no order; nothing when there is none. Leaves out what is not ours.
    pub(super) fn visit(&self, components: &[&str], mut show: impl FnMut(Entry<'_>)) -> Result<(), Problem> {
        let folders: Vec<_> = components.iter().map(|component| name::encode(component)).collect();
        let path = folders.iter().fold(self.path.clone(), |path, folder| path.join(folder));
        let folder = match self.directory(&folders) {
            Ok(folder) => folder,
            Err(problem) if problem.is_absence() => return Ok(()),
            Err(problem) => return Err(problem),
        };
        for entry in Dir::read_from(&folder).at(&path)? {
            let entry = entry.at(&path)?;
            let Some(component) = entry.file_name().to_str().ok().and_then(name::decode) else { continue };
            match kind(&folder, &entry) {
                FileType::Directory => show(Entry { component, is_directory: true }),
                FileType::RegularFile => show(Entry { component, is_directory: false }),
                _ => {}
            }
        }
        Ok(())
    }

    fn root(&self) -> Result<OwnedFd, Problem> {
        open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).at(&self.path)
    }

    fn directory(&self, folders: &[String]) -> Result<OwnedFd, Problem> {
        let (mut directory, mut path) = (self.root()?, self.path.clone());
        for folder in folders {
            path.push(folder);
            directory = openat(&directory, folder, DIRECTORY, Mode::empty()).at(&path)?;
        }
        Ok(directory)
    }

    /// The directory of `folders`, made where it is not there. What is made is there for good.
    ///
    /// It is not found when another process removes it, being empty, meanwhile.
    fn directory_made(&self, folders: &[String]) -> Result<OwnedFd, Problem> {
        let (mut directory, mut path) = (self.root_made()?, self.path.clone());
        for folder in folders {
            path.push(folder);
            directory = enter_or_make(&directory, folder).at(&path)?;
        }
        Ok(directory)
    }

    fn root_made(&self) -> Result<OwnedFd, Problem> {
        match self.root() {
            Err(problem) if problem.is_not_found() => {
                make_with_parents(&self.path)?;
                self.root()
            }
            opened => opened,
        }
    }

    fn path_of(&self, key: &Key) -> PathBuf {
        key.components().fold(self.path.clone(), |path, component| path.join(name::encode(component)))
    }
}

/// The names of the directories that `key` lies in, and of its file.
fn file_names(key: &Key) -> (Vec<String>, String) {
    let mut names: Vec<_> = key.components().map(name::encode).collect();
    let file = names.pop().unwrap_or_default();
    (names, file)
}

/// What `entry` of `folder` is. Some file systems tell that only when asked for it.
fn kind(folder: &OwnedFd, entry: &DirEntry) -> FileType {
    match entry.file_type() {
        FileType::Unknown => statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode)),
        told => told,
    }
}

fn enter_or_make(parent: &OwnedFd, folder: &str) -> Result<OwnedFd, Errno> {
    match openat(parent, folder, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match mkdirat(parent, folder, DIRECTORY_MODE) {
        // Who made it meanwhile may not have synced it yet; a file system that
        // keeps a journal does so with the first thing that is synced inside.
        Err(Errno::EXIST) => {}
        made => made.and_then(|()| fsync(parent))?,
    }
    openat(parent, folder, DIRECTORY, Mode::empty())
}

/// Makes the directory `path` for good, and those above it.
fn make_with_parents(path: &Path) -> Result<(), Problem> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if !parent.exists() {
        make_with_parents(parent)?;
    }
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.at(path),
    }?;
    // One that may be written but not read can't be synced.
    let _ = File::open(parent).and_then(|parent| parent.sync_all());
    Ok(())
}
