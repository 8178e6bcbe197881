//! Reading to the end: what is small at once, and a blob though it be written anew meanwhile.
//!
//! A store never mixes two objects. But what a digest names is the same bytes
//! whoever writes it and whenever: so another push of a blob, or its being made
//! young, cuts nobody off who is reading it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{TryStreamExt, stream};

use crate::oci::ByteRange;
use crate::store::{ByteStream, Key, Object, ObjectStore, StoreError};

/// The rest of a blob.
struct Reading {
    store: Arc<dyn ObjectStore>,
    key: Key,
    patience: Duration,
    size: u64,
    at: u64,
    end: u64,
    body: ByteStream,
    /// Whether anything came since it was opened: where nothing ever does, there is no end to opening it.
    has_moved: bool,
}

/// The bytes of `object`, a blob that is at `key`, or of what is there in its place by then.
pub(super) fn to_its_end(store: Arc<dyn ObjectStore>, key: Key, object: Object, patience: Duration) -> ByteStream {
    let Object { meta, offset, length, body } = object;
    let reading = Reading { store, key, patience, size: meta.size, at: offset, end: offset + length, body, has_moved: true };
    Box::pin(stream::try_unfold(reading, Reading::next))
}

/// All bytes of `object`, `None` when they are more than `most`.
pub(super) async fn whole(object: Object, most: u64) -> Result<Option<Bytes>, StoreError> {
    if object.length > most {
        return Ok(None);
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(object.length).unwrap_or_default());
    let mut body = object.body;
    while let Some(chunk) = body.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes.freeze()))
}

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        loop {
            match self.body.try_next().await {
                Err(StoreError::Changed) if self.has_moved => self.reopen().await?,
                Err(error) => return Err(error),
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) => {
                    self.at += chunk.len() as u64;
                    self.has_moved = true;
                    return Ok(Some((chunk, self)));
                }
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), StoreError> {
        tracing::debug!(key = %self.key, at = self.at, "blob written anew while it was read, reading on");
        let rest = ByteRange::Within(self.at, self.end - 1);
        let object = self.store.get(&self.key, Some(rest), self.patience).await?;
        let same = object.filter(|object| object.meta.size == self.size).ok_or(StoreError::Changed)?;
        (self.body, self.has_moved) = (same.body, false);
        Ok(())
    }
}
