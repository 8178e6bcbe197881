//! Uploads: blobs that arrive in chunks.
//!
//! An upload is a name and nothing else until a piece of it arrives, and a
//! blob that is sent in one PUT has no pieces: so such a PUT is good on any
//! well-formed name, on any replica, and again after an answer was lost.
//!
//! A piece is an object, and what an upload holds is what the store lists: so
//! any replica can take the next chunk. The end reads the pieces back through
//! the same hash-and-write path as a blob that comes whole, so whatever lies
//! there, only bytes of the right digest become a blob. Who wrote every piece
//! knows their hash, and has the store copy instead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};

use super::blobs::{Chunks, pour, sent};
use super::keys::UPLOAD_END;
use super::sessions::{Session, WrittenPiece};
use super::sweep::remove;
use super::{Body, RegistryError, Repository, UploadId, WritableRepository};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::store::{Key, Listed, ObjectStore, StoreError};

/// Largest piece that the store is asked to copy, in bytes: S3 copies no more
/// in one request (S3 API, CopyObject). A larger one is read back.
const LARGEST_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// How many uploads are read back at once: more than the memory for uploads
/// lets through, and few enough to hold next to nothing while they wait for it.
pub(super) const READ_BACKS_AT_ONCE: usize = 8;

/// Most pieces that an upload may have, as many as S3 takes parts. Each is an
/// object, and whoever takes the next one lists them all.
const MAX_PIECES: usize = 10_000;

/// What an upload holds, as the store lists it.
#[derive(Debug, Default)]
struct Pieces {
    /// The pieces that follow one another from the beginning.
    run: Vec<Piece>,
    /// Everything else of the upload: chunks that two replicas took at once.
    strays: Vec<Key>,
    has_ended: bool,
}

#[derive(Debug)]
struct Piece {
    key: Key,
    offset: u64,
    size: u64,
    etag: String,
}

impl Pieces {
    fn received(&self) -> u64 {
        self.run.last().map_or(0, |piece| piece.offset + piece.size)
    }

    /// Adds what a listing shows, in its order.
    fn add(&mut self, object: Listed) {
        let name = object.key.components().last().unwrap_or_default();
        let (is_end, offset) = (name == UPLOAD_END, name.parse::<u64>());
        match offset {
            _ if is_end => self.has_ended = true,
            Ok(offset) if offset == self.received() && object.size > 0 => {
                self.run.push(Piece { key: object.key, offset, size: object.size, etag: object.etag });
            }
            _ => self.strays.push(object.key),
        }
    }

    /// Fine if one more may come.
    fn has_room(&self) -> Result<(), RegistryError> {
        let pieces = self.run.len() + self.strays.len();
        if pieces < MAX_PIECES { Ok(()) } else { Err(RegistryError::TooManyChunks { limit: MAX_PIECES }) }
    }

    fn keys(&self) -> Vec<Key> {
        self.run.iter().map(|piece| &piece.key).chain(&self.strays).cloned().collect()
    }

    /// The one piece that all of it is, if this process wrote it, it is still the same, it hashes to `digest`,
    /// and a store can copy so much.
    fn copyable(&self, session: &Session, digest: &Digest) -> Option<&Piece> {
        let [piece] = &self.run[..] else { return None };
        let written = WrittenPiece { offset: piece.offset, etag: piece.etag.clone() };
        let is_ours = session.pieces == [written];
        let hash = session.hasher.clone()?.finish();
        (is_ours && hash == *digest && piece.size <= LARGEST_COPY).then_some(piece)
    }
}

/// The part of a blob that a closing request may carry.
pub struct LastChunk {
    /// Where it begins, if the client says so.
    pub start: Option<u64>,
    /// How long it is, in bytes, if the client says so.
    pub length: Option<u64>,
    /// Its bytes, perhaps none.
    pub body: Body,
}

impl Repository {
    /// What the upload `id` holds by now, in bytes.
    ///
    /// # Errors
    ///
    /// - [`RegistryError::UploadUnknown`]: it has ended or is too old.
    /// - [`RegistryError::Store`]: the store could not tell.
    pub async fn upload_status(&self, id: UploadId) -> Result<u64, RegistryError> {
        Ok(self.open_pieces(id).await?.received())
    }

    async fn pieces(&self, id: UploadId) -> Result<Pieces, RegistryError> {
        let prefix = self.keys.upload(id);
        let (mut pieces, mut after) = (Pieces::default(), None);
        loop {
            let page = match self.store().list(&prefix, after.as_ref(), self.patience().bytes).await {
                Err(StoreError::Denied(_)) => return self.pieces_by_their_places(id).await,
                page => page?,
            };
            after = page.objects.last().map(|object| object.key.clone());
            page.objects.into_iter().for_each(|object| pieces.add(object));
            if !page.is_truncated {
                return Ok(pieces);
            }
        }
    }

    /// The same where nothing may be listed: a piece is called by where it begins, so each tells where the next one is.
    async fn pieces_by_their_places(&self, id: UploadId) -> Result<Pieces, RegistryError> {
        let patience = self.patience().bytes;
        let has_ended = self.store().head(&self.keys.upload_end(id), patience).await?.is_some();
        let mut pieces = Pieces { has_ended, ..Pieces::default() };
        while pieces.run.len() < MAX_PIECES {
            let (offset, key) = (pieces.received(), self.keys.piece(id, pieces.received()));
            let Some(meta) = self.store().head(&key, patience).await?.filter(|meta| meta.size > 0) else { break };
            pieces.run.push(Piece { key, offset, size: meta.size, etag: meta.etag });
        }
        Ok(pieces)
    }

    async fn open_pieces(&self, id: UploadId) -> Result<Pieces, RegistryError> {
        if id.is_over() {
            return Err(RegistryError::UploadUnknown);
        }
        let pieces = self.pieces(id).await?;
        if pieces.has_ended { Err(RegistryError::UploadUnknown) } else { Ok(pieces) }
    }
}

impl WritableRepository {
    /// Begins an upload: a name for it, and nothing else.
    #[must_use]
    pub fn begin_upload(&self) -> UploadId {
        self.registry.exports.open(&self.image);
        UploadId::begin()
    }

    /// Adds one chunk to the upload `id`; how much it holds then, in bytes.
    ///
    /// `start` is where the client believes the chunk goes, counted from 0;
    /// `None` when the request had no `Content-Range`.
    ///
    /// Source: distribution-spec v1.1.1, "Pushing a blob in chunks" (end-5).
    ///
    /// # Errors
    ///
    /// - [`RegistryError::UploadUnknown`]: it has ended or is too old.
    /// - [`RegistryError::ChunkOutOfOrder`]: `start` is not the bytes held; the upload lives on.
    /// - [`RegistryError::TooManyChunks`]: the upload can only be ended.
    /// - [`RegistryError::LengthMismatch`], [`RegistryError::BodyBroken`], [`RegistryError::BodyStalled`]: none of it was kept.
    /// - [`RegistryError::Store`]: it could not be stored.
    pub async fn append_upload(
        &self,
        id: UploadId,
        start: Option<u64>,
        length: Option<u64>,
        body: Body,
    ) -> Result<u64, RegistryError> {
        let _uploading = self.registry.exports.upload(&self.image);
        self.note_use();
        let mut session = self.registry.sessions.enter(id).await;
        let pieces = self.open_pieces(id).await?;
        let received = in_order(&pieces, start)?;
        pieces.has_room()?;
        let mut hasher = session.hasher.take().filter(|_| received > 0).unwrap_or_else(|| Hasher::new(Algorithm::Sha256));
        let mut upload = self.store().upload(&self.keys.piece(id, received), length, self.patience().bytes).await?;
        let poured = match pour(sent(body), &mut *upload, &mut hasher, length).await {
            // Nothing came, and an empty piece would stand in the way of the next.
            Ok(0) => Ok(0),
            Ok(poured) => {
                let etag = upload.finish(None).await?;
                session.wrote(received, etag, hasher);
                return Ok(received + poured);
            }
            Err(error) => Err(error),
        };
        upload.abort().await;
        Ok(received + poured?)
    }

    /// Ends the upload `id`: all of its pieces and `last` become the blob `digest`.
    ///
    /// Source: distribution-spec v1.1.1, "Pushing a blob in chunks" (end-6).
    ///
    /// # Errors
    ///
    /// As [`append_upload`](Self::append_upload), and
    /// [`RegistryError::DigestMismatch`]: what it holds is something else; it is kept.
    pub async fn finish_upload(&self, id: UploadId, digest: &Digest, last: LastChunk) -> Result<(), RegistryError> {
        let session = self.registry.sessions.enter(id).await;
        match self.assemble(id, digest, last, &session).await {
            // The answer to an earlier request may have been lost, or another one have been quicker.
            Err(RegistryError::UploadUnknown) if self.has_become(id, digest).await? => Ok(()),
            outcome => outcome,
        }
    }

    async fn assemble(&self, id: UploadId, digest: &Digest, last: LastChunk, session: &Session) -> Result<(), RegistryError> {
        let pieces = self.open_pieces(id).await?;
        let received = in_order(&pieces, last.start)?;
        let copyable = pieces.copyable(session, digest).filter(|_| last.length == Some(0));
        let is_copied = match copyable {
            Some(piece) => self.copy_piece(piece, digest).await,
            None => false,
        };
        if !is_copied {
            let length = last.length.map(|length| received + length);
            let body = self.read_back(&pieces).chain(sent(last.body)).boxed();
            self.write_chunks(digest, length, body).await?;
        }
        if !pieces.run.is_empty() {
            self.end(id, &pieces, digest.to_string()).await?;
        }
        Ok(())
    }

    /// Has the store make `piece` the blob `digest`; `false` where it does not, or takes too long: it can be read back.
    async fn copy_piece(&self, piece: &Piece, digest: &Digest) -> bool {
        // The other half of the client's patience is for reading back.
        let patience = self.patience().bytes / 2;
        let copied = self.copy_blob(&piece.key, &piece.etag, digest, piece.size, patience).await;
        copied.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error);
            tracing::warn!(repository = %self.name, %digest, error = cause, "chunk not copied in the store, reading it back");
            false
        })
    }

    /// Ends the upload `id` without keeping anything of it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::UploadUnknown`], [`RegistryError::Store`]
    pub async fn cancel_upload(&self, id: UploadId) -> Result<(), RegistryError> {
        let _session = self.registry.sessions.enter(id).await;
        let pieces = self.open_pieces(id).await?;
        if pieces.keys().is_empty() { Ok(()) } else { self.end(id, &pieces, String::new()).await }
    }

    /// Whether the upload `id` ended as the blob `digest`, and that is there.
    async fn has_become(&self, id: UploadId, digest: &Digest) -> Result<bool, RegistryError> {
        let Some(object) = self.store().get(&self.keys.upload_end(id), None, self.patience().bytes).await? else {
            return Ok(false);
        };
        let became: Vec<Bytes> = object.body.try_collect().await?;
        let is_it = became.concat() == digest.to_string().into_bytes();
        Ok(is_it && self.store().head(&self.keys.blob(digest), self.patience().bytes).await?.is_some())
    }

    /// Notes that the upload `id` ended as `what`, and removes its pieces in the background.
    async fn end(&self, id: UploadId, pieces: &Pieces, what: String) -> Result<(), RegistryError> {
        let end = self.keys.upload_end(id);
        self.store().put(&end, what.into(), "text/plain", self.patience().bytes).await?;
        self.registry.sessions.forget(id);
        let (store, keys, patience) = (Arc::clone(&self.registry.store), pieces.keys(), self.patience().bytes);
        self.registry.background.spawn(async move {
            if let Err(error) = remove(&store, keys, patience).await
                && error.lacks().is_none()
            {
                tracing::warn!(%id, %error, "pieces of an upload not removed; they will be swept");
            }
        });
        Ok(())
    }

    fn read_back(&self, pieces: &Pieces) -> Chunks {
        let (store, patience) = (Arc::clone(&self.registry.store), self.patience().bytes);
        let keys: Vec<_> = pieces.run.iter().map(|piece| (piece.key.clone(), piece.size)).collect();
        let opened = stream::iter(keys).then(move |(key, size)| {
            let store = Arc::clone(&store);
            async move { read_piece(&*store, &key, size, patience).await }
        });
        let turns = Arc::clone(&self.registry.read_backs);
        let in_turn = async move {
            // It is never closed, so this is a turn; it ends with the pieces, not with what the client may still send.
            let turn = turns.acquire_owned().await;
            opened.try_flatten().inspect(move |_| {
                let _held = &turn;
            })
        };
        in_turn.flatten_stream().boxed()
    }
}

async fn read_piece(store: &dyn ObjectStore, key: &Key, size: u64, patience: Duration) -> Result<Chunks, RegistryError> {
    // Pieces go when their upload has ended.
    let object = store.get(key, None, patience).await?.ok_or(RegistryError::UploadUnknown)?;
    if object.length != size {
        return Err(StoreError::Unavailable("another replica took a chunk for the same place".into()).into());
    }
    Ok(object.body.map_err(RegistryError::from).boxed())
}

/// How much `pieces` hold, if a chunk that begins at `start` follows them.
fn in_order(pieces: &Pieces, start: Option<u64>) -> Result<u64, RegistryError> {
    let received = pieces.received();
    if start.is_some_and(|start| start != received) { Err(RegistryError::ChunkOutOfOrder { received }) } else { Ok(received) }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// What the store lists of an upload that came in one piece, and what its writer knows.
    fn one_piece(size: u64) -> (Pieces, Session) {
        let (key, etag) = ("app/_oci/uploads/id/00000000000000000000".parse().unwrap(), "etag".to_owned());
        let mut session = Session::default();
        session.wrote(0, etag.clone(), Hasher::new(Algorithm::Sha256));
        let mut pieces = Pieces::default();
        pieces.add(Listed { key, size, last_modified: UNIX_EPOCH, etag });
        (pieces, session)
    }

    #[test]
    fn a_piece_is_copied_if_it_is_what_was_written_here_and_no_larger_than_stores_copy() {
        let (digest, other) = (Digest::sha256(b""), Digest::sha256(b"other"));
        let (pieces, session) = one_piece(LARGEST_COPY);
        assert!(pieces.copyable(&session, &digest).is_some());
        assert!(pieces.copyable(&session, &other).is_none(), "not what was asked for");
        assert!(pieces.copyable(&Session::default(), &digest).is_none(), "written by somebody else");

        let (pieces, session) = one_piece(LARGEST_COPY + 1);
        assert!(pieces.copyable(&session, &digest).is_none(), "too large");
    }
}
