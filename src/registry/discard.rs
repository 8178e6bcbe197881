//! What is pushed and not kept: it must be right all the same, or who pushes it would only learn so elsewhere.

use async_trait::async_trait;
use bytes::Bytes;

use super::blobs::{receive, sent};
use super::manifests::{Written, digest_of};
use super::{Body, RegistryError};
use crate::oci::{Digest, Manifest, MediaType, Reference};
use crate::store::{StoreError, Upload};

/// Reads the blob `digest`, of which nothing is kept.
///
/// # Errors
///
/// What is wrong with it, as where it is kept.
pub async fn discard_blob(digest: &Digest, length: Option<u64>, body: Body) -> Result<(), RegistryError> {
    receive(sent(body), &mut Nowhere, digest, length).await.map(drop)
}

/// Looks at a manifest, of which nothing is kept; `None` for one that is no cache of BuildKit's, whose loss would be noticed.
///
/// # Errors
///
/// What is wrong with it, as where it is kept.
pub fn discard_manifest(reference: &Reference, media_type: MediaType, bytes: &[u8]) -> Result<Option<Written>, RegistryError> {
    let digest = digest_of(reference, bytes)?;
    let is_cache = Manifest::parse(media_type, bytes)?.is_cache();
    Ok(is_cache.then_some(Written { digest, subject: None }))
}

/// An upload that keeps nothing.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl Upload for Nowhere {
    async fn write(&mut self, _chunk: Bytes) -> Result<(), StoreError> {
        Ok(())
    }

    async fn finish(self: Box<Self>, _sha256: Option<[u8; 32]>) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn abort(self: Box<Self>) {}
}
