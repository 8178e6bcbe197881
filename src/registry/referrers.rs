//! Referrers: manifests that say something about another one.
//!
//! Each has a small object beside its subject's others, with the descriptor
//! that a listing shows: so a list is never read, changed and written back.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Map, Value, json};

use super::manifests::MAX_MANIFEST_BYTES;
use super::reading::whole;
use super::{RegistryError, Repository, WritableRepository};
use crate::oci::{Digest, Manifest};
use crate::store::{Key, Listed};

/// Most referrers on a page.
const PAGE: usize = 100;

/// Most bytes of descriptors on a page, unless one alone has more.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Most bytes of annotations that a listing shows of a manifest; what has more shows none.
const MAX_ANNOTATIONS: usize = 64 * 1024;

/// How many of them are read at once.
const READS_AT_ONCE: usize = 16;

/// What a descriptor's object is.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// A page of what refers to a manifest.
#[derive(Clone, Debug)]
pub struct Referrers {
    /// Descriptors; image-spec v1.1.0, "Descriptor".
    pub descriptors: Vec<Value>,
    /// The referrer after which the next page begins, if there is one.
    pub next_after: Option<Digest>,
}

impl Repository {
    /// What refers to `subject`, after `last`.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: it could not be read.
    pub async fn list_referrers(&self, subject: &Digest, last: Option<&Digest>) -> Result<Referrers, RegistryError> {
        let after = last.map(|last| self.keys.referrer(subject, last));
        let prefix = self.keys.referrers(subject);
        let page = self.store().list(&prefix, after.as_ref(), self.patience().bytes).await?;
        let mut bytes = 0;
        let has_room = |object: &&Listed| {
            let has_room = bytes == 0 || bytes + object.size <= PAGE_BYTES;
            bytes += object.size;
            has_room
        };
        let on_page = page.objects.iter().take(PAGE).take_while(has_room);
        let keys: Vec<_> = on_page.map(|object| object.key.clone()).collect();
        let more = page.is_truncated || page.objects.len() > keys.len();
        let last_key = keys.last().filter(|_| more);
        let next_after = last_key.and_then(|key| key.as_str().strip_prefix(&prefix)?.parse().ok());
        let read = stream::iter(keys).map(|key| async move { self.read_descriptor(&key).await }).buffered(READS_AT_ONCE);
        let descriptors = read.try_filter_map(|descriptor| std::future::ready(Ok(descriptor))).try_collect().await?;
        Ok(Referrers { descriptors, next_after })
    }

    /// The descriptor at `key`, `None` when it has gone or is none.
    async fn read_descriptor(&self, key: &Key) -> Result<Option<Value>, RegistryError> {
        let Some(object) = self.store().get(key, None, self.patience().bytes).await? else { return Ok(None) };
        let bytes = whole(object, MAX_MANIFEST_BYTES).await?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

impl WritableRepository {
    /// Notes that the manifest `digest`, which is `bytes`, refers to its subject, if it has one; the subject.
    pub(super) async fn write_referrer(
        &self,
        manifest: &Manifest,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<Option<Digest>, RegistryError> {
        let Some(subject) = &manifest.subject else { return Ok(None) };
        let descriptor = Bytes::from(describe(manifest, digest, bytes).to_string());
        let key = self.keys.referrer(&subject.digest, digest);
        self.store().put(&key, descriptor, DESCRIPTOR, self.patience().bytes).await?;
        Ok(Some(subject.digest))
    }
}

/// The descriptor under which a listing shows a manifest; distribution-spec v1.1.1, "Listing Referrers".
fn describe(manifest: &Manifest, digest: &Digest, bytes: &[u8]) -> Value {
    let fields: Map<String, Value> = serde_json::from_slice(bytes).unwrap_or_default();
    let stated = fields.get("artifactType").and_then(Value::as_str).filter(|artifact_type| !artifact_type.is_empty());
    let of_config = fields.get("config").and_then(|config| config["mediaType"].as_str());
    let mut descriptor = json!({"mediaType": manifest.media_type.as_str(), "size": bytes.len(), "digest": digest.to_string()});
    if let Some(artifact_type) = stated.or(of_config) {
        descriptor["artifactType"] = artifact_type.into();
    }
    let is_shown = |annotations: &&Value| annotations.is_object() && annotations.to_string().len() <= MAX_ANNOTATIONS;
    if let Some(annotations) = fields.get("annotations").filter(is_shown) {
        descriptor["annotations"] = annotations.clone();
    }
    descriptor
}
