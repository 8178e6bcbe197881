//! What was made here: stored before it is announced, so that every replica has it.

use futures_util::future::try_join_all;

use super::super::manifests::StoredManifest;
use super::super::{RegistryError, Repository};
use super::decide::Made;
use crate::buildkit::Document;
use crate::oci::Digest;
use crate::store::StoreError;

impl Repository {
    /// Stores what was made.
    pub(super) async fn store_derived(&self, Made { derived, more, .. }: &Made) -> Result<(), StoreError> {
        // Nobody knows any of it before all are there.
        let documents = [&derived.config, &derived.manifest].into_iter().chain(more);
        try_join_all(documents.map(|document| self.store_document(document))).await.map(drop)
    }

    async fn store_document(&self, document: &Document) -> Result<(), StoreError> {
        let key = self.keys.derived(&document.digest);
        self.store().put(&key, document.bytes.clone(), document.media_type, self.patience().pull).await
    }

    /// The manifest `digest` that was made here or by another replica.
    pub(super) async fn read_derived(&self, digest: &Digest) -> Result<Option<StoredManifest>, RegistryError> {
        let found = self.fetch_known(&self.keys.derived(digest), digest, self.patience().pull).await?;
        if found.is_none() {
            self.registry.answers.forget(digest);
        }
        Ok(found)
    }
}
