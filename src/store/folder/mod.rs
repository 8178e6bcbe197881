//! Objects as files in a local folder.
//!
//! An object is the file at its key's path, put there by a rename of what was
//! written and synced beside it: so it is there whole or not at all, and what
//! was acknowledged survives a power cut.

mod form;
mod list;
mod name;
mod problem;
mod temporary;
mod tree;

use std::fmt;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::TaskTracker;

use super::{
    ByteStream, Key, Misconfiguration, OCTET_STREAM, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload, span,
};
use crate::oci::ByteRange;
use problem::{At, Problem};
use temporary::Temporary;
use tree::Tree;

/// What is read from a file at a time.
const READ_BLOCK: u64 = 256 * 1024;

/// Most bytes a file can have: offsets are signed (POSIX, `off_t`).
const MAX_FILE: u64 = i64::MAX.unsigned_abs();

/// What is gathered before it is written to a file: as much as comes from a
/// socket at once, so that a client which stalls holds hardly any memory.
const WRITE_BLOCK: usize = 64 * 1024;

/// A folder. `patience` means nothing here: a local disk does not come back after a while.
pub struct FolderStore {
    tree: Arc<Tree>,
    /// Writes that outlive the call that began them.
    background: TaskTracker,
}

impl FolderStore {
    /// The folder at `path`, made if it is not there. Removes what an earlier process left unfinished.
    ///
    /// # Errors
    ///
    /// [`Misconfiguration::FolderNotWritable`]
    pub fn open(path: &Path) -> Result<Self, Misconfiguration> {
        let store = Self::at(path)?;
        let prepared = Temporary::create(Arc::clone(&store.tree)).and_then(|_| temporary::sweep(&store.tree));
        prepared.map_err(|problem| not_writable(path, &problem))?;
        Ok(store)
    }

    /// The folder at `path` as it is: nothing is made or removed there before it is asked for.
    ///
    /// # Errors
    ///
    /// [`Misconfiguration::FolderNotWritable`]: `path` leads nowhere.
    pub fn at(path: &Path) -> Result<Self, Misconfiguration> {
        let tree = Tree::at(path).map_err(|problem| not_writable(path, &problem))?;
        Ok(Self { tree: Arc::new(tree), background: TaskTracker::new() })
    }

    /// Runs `work` where it may block.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Tree>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(&self.tree);
        joined(self.background.spawn_blocking(move || work(tree))).await
    }
}

fn not_writable(path: &Path, problem: &Problem) -> Misconfiguration {
    Misconfiguration::FolderNotWritable { path: path.display().to_string(), reason: problem.error.to_string() }
}

async fn joined<T>(work: impl Future<Output = Result<Result<T, Problem>, JoinError>>) -> Result<T, StoreError> {
    Ok(work.await.map_err(|panic| StoreError::Unavailable(panic.into()))??)
}

/// An object's file, opened, and what there is to tell of it.
struct Opened {
    file: File,
    /// Where in the file the object begins.
    start: u64,
    meta: ObjectMeta,
}

fn open(tree: &Tree, key: &Key) -> Result<Option<Opened>, Problem> {
    let Some(file) = tree.file(key)? else { return Ok(None) };
    let about = || tree.path().join(key.as_str());
    let (form, metadata) = (form::read(&file).at(about())?, file.metadata().at(about())?);
    let last_modified = metadata.modified().at(about())?;
    let etag = etag(&metadata);
    let size = metadata.len() - form.start;
    let meta = ObjectMeta { size, content_type: form.content_type, last_modified, etag };
    Ok(Some(Opened { file, start: form.start, meta }))
}

/// Tells a file from any other that had or will have its name.
fn etag(metadata: &Metadata) -> String {
    format!("{:x}-{:x}-{:x}.{:x}", metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn head(&self, key: &Key, _: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        let key = key.clone();
        self.run(move |tree| Ok(open(&tree, &key)?.map(|opened| opened.meta))).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, _: Duration) -> Result<Option<Object>, StoreError> {
        let wanted = key.clone();
        let Some(Opened { file, start, meta }) = self.run(move |tree| open(&tree, &wanted)).await? else { return Ok(None) };
        let (offset, length) = span(range, meta.size)?;
        let first = start + offset;
        let path = self.tree.path().join(key.as_str()).display().to_string();
        Ok(Some(Object { meta, offset, length, body: blocks(file, first, first + length, path) }))
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, _: Duration) -> Result<(), StoreError> {
        let (key, content_type) = (key.clone(), content_type.to_owned());
        self.run(move |tree| Temporary::begin(tree, &content_type, &bytes)?.publish(&key).map(drop)).await
    }

    async fn upload(&self, key: &Key, length: Option<u64>, _: Duration) -> Result<Box<dyn Upload>, StoreError> {
        if length.is_some_and(|length| length > MAX_FILE) {
            return Err(StoreError::TooLarge { limit: MAX_FILE });
        }
        Ok(Box::new(FolderUpload {
            tree: Arc::clone(&self.tree),
            background: self.background.clone(),
            runtime: Handle::current(),
            key: key.clone(),
            gathered: BytesMut::new(),
            file: Writing::NotBegun,
        }))
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, _: Duration) -> Result<bool, StoreError> {
        let (from, etag, to) = (from.clone(), etag.to_owned(), to.clone());
        self.run(move |tree| {
            let found = open(&tree, &from)?.filter(|opened| opened.meta.etag == etag);
            let Some(Opened { mut file, .. }) = found else { return Ok(false) };
            let mut copy = Temporary::create(tree)?;
            // What stands in the file says what it is, too.
            copy.write_from(&mut file)?;
            copy.publish(&to).map(|_| true)
        })
        .await
    }

    async fn touch(&self, key: &Key, _: Duration) -> Result<bool, StoreError> {
        let key = key.clone();
        self.run(move |tree| {
            let Some(file) = tree.file(&key)? else { return Ok(false) };
            file.set_modified(SystemTime::now()).at(tree.path().join(key.as_str())).map(|()| true)
        })
        .await
    }

    async fn delete(&self, key: &Key, _: Duration) -> Result<(), StoreError> {
        let key = key.clone();
        self.run(move |tree| tree.remove(&key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, _: Duration) -> Result<Page, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.run(move |tree| list::page(&tree, &prefix, after.as_ref())).await
    }

    async fn folders(&self, prefix: &str, _: Duration) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.run(move |tree| list::folders(&tree, &prefix)).await
    }

    /// A file that is being written says nothing of its key.
    async fn unfinished(&self, prefix: &str, before: SystemTime, _: Duration) -> Result<Option<Vec<Unfinished>>, StoreError> {
        if !prefix.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let names = self.run(move |tree| temporary::left_over(&tree, before)).await?;
        Ok(Some(names.into_iter().map(|id| Unfinished { key: None, id }).collect()))
    }

    async fn discard(&self, upload: &Unfinished, _: Duration) -> Result<(), StoreError> {
        let name = upload.id.clone();
        self.run(move |tree| temporary::discard(&tree, &name)).await
    }

    async fn probe(&self, _: Duration) -> Result<(), StoreError> {
        let probed = self.run(|tree| {
            Ok(Temporary::create(Arc::clone(&tree)).map(drop).map_err(|problem| not_writable(tree.path(), &problem)))
        });
        probed.await?.map_err(StoreError::Misconfigured)
    }

    async fn settle(&self) {
        self.background.close();
        self.background.wait().await;
        self.background.reopen();
    }
}

impl fmt::Debug for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderStore({})", self.tree.path().display())
    }
}

/// The bytes of `file` from `first` up to `end`. The open file stays what it is, whatever becomes of its name.
fn blocks(file: File, first: u64, end: u64, path: String) -> ByteStream {
    Box::pin(stream::try_unfold((file, first, path), move |(file, at, path)| async move {
        if at == end {
            return Ok(None);
        }
        let reading = tokio::task::spawn_blocking(move || {
            // No more than a block at a time, which any machine can hold.
            let mut block = vec![0; usize::try_from(READ_BLOCK.min(end - at)).unwrap_or_default()];
            file.read_exact_at(&mut block, at).at(&path)?;
            Ok((Bytes::from(block), file, path))
        });
        let (block, file, path) = joined(reading).await?;
        let next = at + block.len() as u64;
        Ok(Some((block, (file, next, path))))
    }))
}

/// An object on its way into a folder.
struct FolderUpload {
    tree: Arc<Tree>,
    background: TaskTracker,
    runtime: Handle,
    key: Key,
    gathered: BytesMut,
    file: Writing,
}

/// Where an upload's file is. Whoever drops it removes the file.
enum Writing {
    NotBegun,
    /// Being written to, while more is gathered.
    Busy(JoinHandle<Result<Temporary, Problem>>),
    /// An earlier write failed, or the file is in other hands.
    Gone,
}

impl FolderUpload {
    /// Waits until what went out before is written; then how to write what is gathered by now.
    async fn next_write(&mut self) -> Result<impl FnOnce() -> Result<Temporary, Problem> + Send + 'static, StoreError> {
        let written = match &mut self.file {
            Writing::NotBegun => None,
            Writing::Busy(writing) => {
                let written = joined(writing).await;
                self.file = Writing::Gone;
                Some(written?)
            }
            Writing::Gone => return Err(StoreError::Unavailable("an earlier write failed".into())),
        };
        let (tree, block) = (Arc::clone(&self.tree), self.gathered.split().freeze());
        Ok(move || match written {
            None => Temporary::begin(tree, OCTET_STREAM, &block),
            Some(mut file) => file.write(&block).map(|()| file),
        })
    }

    /// Has the file removed, if there is one; in the background, since a large one takes a while.
    fn give_up(&mut self) -> Option<JoinHandle<()>> {
        let Writing::Busy(writing) = std::mem::replace(&mut self.file, Writing::Gone) else { return None };
        let remove = async move {
            // A write that failed has dropped its file already.
            if let Ok(file) = joined(writing).await {
                let _ = tokio::task::spawn_blocking(move || drop(file)).await;
            }
        };
        Some(self.background.spawn_on(remove, &self.runtime))
    }
}

#[async_trait]
impl Upload for FolderUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.gathered.extend_from_slice(&chunk);
        if self.gathered.len() >= WRITE_BLOCK {
            let write = self.next_write().await?;
            self.file = Writing::Busy(self.background.spawn_blocking(write));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, _: Option<[u8; 32]>) -> Result<String, StoreError> {
        let (write, key) = (self.next_write().await?, self.key.clone());
        joined(self.background.spawn_blocking(move || write()?.publish(&key))).await
    }

    async fn abort(mut self: Box<Self>) {
        if let Some(removed) = self.give_up() {
            // A task that panicked has dropped its file, too.
            let _ = removed.await;
        }
    }
}

impl Drop for FolderUpload {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

impl fmt::Debug for FolderUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FolderUpload({})", self.key)
    }
}
