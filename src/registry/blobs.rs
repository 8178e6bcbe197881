//! Blobs: bytes that are named by their hash, hashed on the way in and out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::index::{Asked, Found};
use super::reading::to_its_end;
use super::verified::verified;
use super::{Asker, Body, RegistryError, Repository, WritableRepository, late};
use crate::buildkit::IMPORT_LIMIT;
use crate::oci::{ByteRange, Digest, Hasher};
use crate::store::{ByteStream, Key, Object, ObjectMeta, StoreError, Upload};

/// How long a client that has begun to send a body may pause. Not counted
/// before the first byte: BuildKit sends the headers of a layer that it has
/// yet to download itself, minutes ahead (docker/buildx#4057).
const BODY_PAUSE: Duration = Duration::from_secs(300);

/// Largest blob that is mounted, in bytes. Copying a larger one in the store
/// may take longer than a client waits, and it can send the blob itself.
const LARGEST_MOUNT: u64 = 512 * 1024 * 1024;

/// Largest config that is remembered as it comes, in bytes: importers take no larger one.
const LARGEST_CONFIG: u64 = IMPORT_LIMIT as u64;

/// A blob being read.
pub struct Blob {
    /// How many bytes the whole blob has.
    pub size: u64,
    /// Where in the blob `body` begins.
    pub offset: u64,
    /// How many bytes `body` has.
    pub length: u64,
    /// The bytes. Where they are the whole blob, the last of them come only if all of them are right.
    pub body: stream::BoxStream<'static, Result<Bytes, RegistryError>>,
}

impl Repository {
    /// How many bytes the blob `digest` has, `None` when it is not there.
    ///
    /// Mostly pushes ask this, to learn what they need not send: so what the
    /// store does not say in time is not there, and never an error. Nor is a
    /// blob that could be removed before the push has come to its end.
    pub async fn stat_blob(&self, digest: &Digest, asker: Asker) -> Option<u64> {
        let finding = async {
            let found = if self.holds(digest, asker).await? { self.find_blob(digest, asker).await? } else { None };
            match found.filter(|found| can_be(digest, found.size)) {
                Some(found) => Ok::<_, RegistryError>(self.keep_young(digest, found).await.map(|found| found.size)),
                // Who is no importer asks before a push, more often than not, and reads what was made here without asking.
                None if asker != Asker::Import => Ok(None),
                None => {
                    let derived = self.store().head(&self.keys.derived(digest), self.patience().push).await?;
                    Ok(derived.map(|meta| meta.size))
                }
            }
        };
        match tokio::time::timeout(self.patience().push, finding).await.unwrap_or_else(|_| Err(late().into())) {
            Ok(size) => size,
            Err(error) => {
                let cause = std::error::Error::source(&error);
                tracing::warn!(repository = %self.name, %digest, error = cause, "blob not found in time, taken as absent");
                None
            }
        }
    }

    /// The blob `digest`, or the part of it in `range`; `None` when it is not there. That may be a config which was made
    /// here for a cache, or a blob of another image that a tag of this one is answered from.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::OutOfRange`]: no byte lies in `range`.
    /// - [`RegistryError::Store`]: it could not be asked for.
    pub async fn read_blob(
        &self,
        digest: &Digest,
        range: Option<ByteRange>,
        asker: Asker,
    ) -> Result<Option<Blob>, RegistryError> {
        let recent = &self.registry.recent;
        let mut kept = self.with_others().filter_map(|repository| recent.find_blob(&repository.image, digest));
        if let Some(bytes) = kept.next().filter(|_| asker == Asker::Import) {
            return Blob::of(bytes, range).map(Some);
        }
        if self.holds(digest, asker).await? {
            let key = self.keys.blob(digest);
            let asked = self.index().asking();
            let object = self.open_blob(&key, range).await?;
            self.note_answer(digest, object.as_ref().map(|object| &object.meta), asked);
            let own = self.blob(digest, key, object);
            if own.is_some() {
                return Ok(own);
            }
        }
        let derived = self.read_blob_at(self.keys.derived(digest), digest, range).await?;
        if derived.is_some() {
            return Ok(derived);
        }
        for other in self.answering.others() {
            if other.holds(digest, asker).await?
                && let Some(found) = other.read_blob_at(other.keys.blob(digest), digest, range).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The blob `digest`, or the part of it in `range`, if it is at `key`.
    async fn read_blob_at(&self, key: Key, digest: &Digest, range: Option<ByteRange>) -> Result<Option<Blob>, RegistryError> {
        let object = self.open_blob(&key, range).await?;
        Ok(self.blob(digest, key, object))
    }

    /// What is at `key`, or the part of it in `range`.
    async fn open_blob(&self, key: &Key, range: Option<ByteRange>) -> Result<Option<Object>, RegistryError> {
        // Stores take such a range for a mistake, and answer with everything.
        let opened = match range.filter(|range| range.is_empty()) {
            Some(_) => Err(StoreError::OutOfRange),
            None => self.store().get(key, range, self.patience().bytes).await,
        };
        match opened {
            Err(StoreError::OutOfRange) => {
                let meta = self.store().head(key, self.patience().bytes).await?;
                meta.map_or(Ok(None), |meta| Err(RegistryError::OutOfRange { size: meta.size }))
            }
            opened => Ok(opened?),
        }
    }

    /// The blob `digest`, which `object` at `key` is if it can be.
    fn blob(&self, digest: &Digest, key: Key, object: Option<Object>) -> Option<Blob> {
        let is_bad = |object: &Object| self.registry.corrupt.is_bad(&key, &object.meta.etag);
        let object = object.filter(|object| can_be(digest, object.meta.size) && !is_bad(object))?;
        let (size, offset, length, etag) = (object.meta.size, object.offset, object.length, object.meta.etag.clone());
        let body = to_its_end(Arc::clone(&self.registry.store), key, object, self.patience().bytes);
        let body = if length == size { self.verified(*digest, etag, length, body) } else { as_it_comes(body) };
        Some(Blob { size, offset, length, body })
    }

    /// Notes that the blob `digest` was written here, by a request begun at `asked`.
    pub(super) fn note_written(&self, digest: &Digest, size: u64, asked: Asked) {
        let found = Found::new(size, self.registry.clock.now());
        self.index().wrote(&self.keys.blobs(), digest, found, asked);
    }

    /// `body`, which is all of the object with `etag`, and is looked into where it is wrong.
    fn verified(
        &self,
        digest: Digest,
        etag: String,
        length: u64,
        body: ByteStream,
    ) -> stream::BoxStream<'static, Result<Bytes, RegistryError>> {
        let repository = self.clone();
        let look_into = move |error: &RegistryError| {
            if let RegistryError::Corrupt(digest) = error {
                repository.suspect(*digest, etag.clone());
            }
        };
        verified(digest, length, body).inspect_err(look_into).boxed()
    }
}

impl Blob {
    /// The part of `bytes` in `range`, or all of them.
    fn of(bytes: Bytes, range: Option<ByteRange>) -> Result<Self, RegistryError> {
        let size = bytes.len() as u64;
        let within = range.map_or(Some((0, size)), |range| range.within(size).filter(|_| !range.is_empty()));
        let (offset, length) = within.ok_or(RegistryError::OutOfRange { size })?;
        // What is in memory is no longer than memory.
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let body = stream::iter([Ok(bytes.slice(at(offset)..at(offset + length)))]).boxed();
        Ok(Self { size, offset, length, body })
    }
}

impl WritableRepository {
    /// Stores the blob `digest`. Nothing is visible before all of it has come and is right.
    ///
    /// `length` is what the client announced, in bytes.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::DigestMismatch`], [`RegistryError::LengthMismatch`]: not what was announced.
    /// - [`RegistryError::BodyBroken`], [`RegistryError::BodyStalled`]: the client went away.
    /// - [`RegistryError::TooLarge`]: more than the store can keep.
    /// - [`RegistryError::Store`]: it could not be stored.
    pub async fn write_blob(&self, digest: &Digest, length: Option<u64>, body: Body) -> Result<(), RegistryError> {
        self.write_chunks(digest, length, sent(body)).await
    }

    pub(super) async fn write_chunks(&self, digest: &Digest, length: Option<u64>, body: Chunks) -> Result<(), RegistryError> {
        let _uploading = self.registry.exports.upload(&self.image);
        self.note_use();
        let key = self.keys.blob(digest);
        let mut upload = self.store().upload(&key, length, self.patience().bytes).await?;
        let removals = self.registry.recent.removals();
        let (body, overheard) = overhear(body, length);
        // Where it fails the upload is dropped: who sent something wrong need not wait until that is cleared away.
        let size = receive(body, &mut *upload, digest, length).await?;
        let writing = self.registry.corrupt.writing(&key).await;
        let asked = self.index().asking();
        upload.finish(sha256(digest)).await?;
        writing.succeeded();
        self.note_written(digest, size, asked);
        self.claim(digest).await?;
        if let Some(config) = overheard.config() {
            self.registry.recent.keep_blob(&self.image, digest, &config, removals);
        }
        self.registry.exports.received(&self.image, *digest);
        Ok(())
    }
}

impl WritableRepository {
    /// Makes the blob `digest` of `from` this repository's too, if it is there and small enough to be copied soon.
    /// Where both have their blobs in one place it is so already.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: the store could not do it.
    pub async fn mount_blob(&self, digest: &Digest, from: &Repository) -> Result<bool, RegistryError> {
        let source = from.keys.blob(digest);
        if source == self.keys.blob(digest) {
            let is_there = from.stat_blob(digest, Asker::Push).await.is_some();
            if is_there {
                self.claim(digest).await?;
            }
            return Ok(is_there);
        }
        let found = self.store().head(&source, self.patience().push).await?;
        let is_fit = |meta: &ObjectMeta| meta.size <= LARGEST_MOUNT && !self.registry.corrupt.is_bad(&source, &meta.etag);
        let Some(meta) = found.filter(is_fit) else { return Ok(false) };
        self.copy_blob(&source, &meta.etag, digest, meta.size, self.patience().bytes).await
    }

    /// Makes what is at `from` the blob `digest`, of `size` bytes, if it still has `etag`; whether it has.
    pub(super) async fn copy_blob(
        &self,
        from: &Key,
        etag: &str,
        digest: &Digest,
        size: u64,
        patience: Duration,
    ) -> Result<bool, RegistryError> {
        let key = self.keys.blob(digest);
        let writing = self.registry.corrupt.writing(&key).await;
        let asked = self.index().asking();
        let is_copied = self.store().copy(from, etag, &key, patience).await?;
        if is_copied {
            writing.succeeded();
            self.note_written(digest, size, asked);
            self.claim(digest).await?;
        }
        Ok(is_copied)
    }

    /// Removes the blob `digest`; whether it was there.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::BlobShared`]: it may be another image's too.
    /// - [`RegistryError::Store`]: the store could not do it.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        if self.registry.layout.shares_blobs() {
            return Err(RegistryError::BlobShared);
        }
        let (key, asked) = (self.keys.blob(digest), self.index().asking());
        let meta = self.store().head(&key, self.patience().bytes).await?;
        let was_there = self.note_answer(digest, meta.as_ref(), asked).is_some();
        if was_there {
            // Whatever comes of it: what may be gone is not believed to be there.
            self.registry.recent.forget(&self.image, digest);
            self.index().removed(&self.keys.blobs(), digest);
            self.store().delete(&key, self.patience().bytes).await?;
            self.index().removed(&self.keys.blobs(), digest);
        }
        Ok(was_there)
    }
}

fn sha256(digest: &Digest) -> Option<[u8; 32]> {
    match digest {
        Digest::Sha256(hash) => Some(*hash),
        Digest::Sha512(_) => None,
    }
}

/// The bytes of a blob on their way in, wherever they come from.
pub(super) type Chunks = stream::BoxStream<'static, Result<Bytes, RegistryError>>;

/// What a client sends. Where it breaks off, the client has gone.
pub(super) fn sent(body: Body) -> Chunks {
    let mut received = 0;
    body.map(move |chunk| match chunk {
        Ok(bytes) => {
            received += bytes.len() as u64;
            Ok(bytes)
        }
        Err(cause) => Err(RegistryError::BodyBroken { received, cause }),
    })
    .boxed()
}

/// What was heard of a body on its way, if it is JSON: a config, which is soon asked for, by the push of its manifest or by a pull.
#[derive(Clone, Default)]
struct Overheard(Arc<Mutex<Heard>>);

#[derive(Default)]
enum Heard {
    #[default]
    Nothing,
    Config(BytesMut),
    /// A layer, packed or not, or whatever else is no JSON.
    Other,
}

/// `body`, which is listened to if it is short enough.
fn overhear(body: Chunks, length: Option<u64>) -> (Chunks, Overheard) {
    let overheard = Overheard::default();
    if length.is_none_or(|length| length > LARGEST_CONFIG) {
        return (body, overheard);
    }
    let listening = overheard.clone();
    (body.inspect_ok(move |chunk| listening.hear(chunk)).boxed(), overheard)
}

impl Overheard {
    fn hear(&self, chunk: &Bytes) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *heard {
            Heard::Nothing if chunk.is_empty() => {}
            Heard::Nothing if chunk.starts_with(b"{") => *heard = Heard::Config(BytesMut::from(&chunk[..])),
            Heard::Nothing => *heard = Heard::Other,
            Heard::Config(config) => config.extend_from_slice(chunk),
            Heard::Other => {}
        }
    }

    /// All of it, when it has come whole.
    fn config(self) -> Option<Bytes> {
        match std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            Heard::Config(config) => Some(config.freeze()),
            Heard::Nothing | Heard::Other => None,
        }
    }
}

/// Pours `body` into `upload`; fine only if it is what was announced. The number of bytes poured.
pub(super) async fn receive(
    body: Chunks,
    upload: &mut dyn Upload,
    expected: &Digest,
    length: Option<u64>,
) -> Result<u64, RegistryError> {
    let mut hasher = Hasher::new(expected.algorithm());
    let received = pour(body, upload, &mut hasher, length).await?;
    match hasher.finish() {
        digest if digest == *expected => Ok(received),
        received => Err(RegistryError::DigestMismatch { received }),
    }
}

/// Pours `body`, of `length` bytes if that is known, into `upload`, hashing as it goes; the number of bytes poured.
pub(super) async fn pour(
    mut body: Chunks,
    upload: &mut dyn Upload,
    hasher: &mut Hasher,
    length: Option<u64>,
) -> Result<u64, RegistryError> {
    let mut received = 0;
    let mut next = body.next().await;
    while let Some(chunk) = next {
        let chunk = chunk?;
        received += chunk.len() as u64;
        hasher.update(&chunk);
        upload.write(chunk).await?;
        next =
            tokio::time::timeout(BODY_PAUSE, body.next()).await.map_err(|_| RegistryError::BodyStalled(BODY_PAUSE, received))?;
    }
    match length {
        Some(expected) if expected != received => Err(RegistryError::LengthMismatch { expected, received }),
        _ => Ok(received),
    }
}

fn as_it_comes(body: ByteStream) -> stream::BoxStream<'static, Result<Bytes, RegistryError>> {
    body.map_err(RegistryError::from).boxed()
}

/// Whether an object of `size` bytes can be what `digest` names: nothing at all is one digest only,
/// and of a body without bytes none could be held back.
fn can_be(digest: &Digest, size: u64) -> bool {
    size > 0 || Digest::of(digest.algorithm(), b"") == *digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_not_taken_for_something() {
        assert!(can_be(&Digest::sha256(b""), 0) && !can_be(&Digest::sha256(b"hello"), 0));
    }

    #[tokio::test]
    async fn a_short_body_that_is_json_is_overheard_whole_and_no_other() {
        for (chunks, length, expected) in [
            (&["{\"layers\":", "[]}"][..], 13, Some("{\"layers\":[]}")),
            (&["", "{}"], 2, Some("{}")),
            (&["layer", "{}"], 7, None),
            (&["{}"], LARGEST_CONFIG + 1, None),
            (&[], 0, None),
        ] {
            let body = stream::iter(chunks.iter().map(|&chunk| Ok(Bytes::from(chunk)))).boxed();
            let (body, overheard) = overhear(body, Some(length));

            assert_eq!(body.try_collect::<Vec<_>>().await.unwrap().concat(), chunks.concat().as_bytes());
            assert_eq!(overheard.config().as_deref(), expected.map(str::as_bytes), "{chunks:?}");
        }
    }
}
