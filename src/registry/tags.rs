//! Listing tags.

use super::{RegistryError, Repository};
use crate::oci::Tag;

/// Most tags on a page: what one request to the store brings.
const PAGE: usize = 1000;

/// A page of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// In the order of their bytes.
    pub tags: Vec<String>,
    /// Whether there are more after the last of them.
    pub is_truncated: bool,
}

impl Repository {
    /// The tags after `last`, `most` of them at most and never more than a
    /// thousand; `None` when there is no such repository.
    ///
    /// Costs one request to the store, whichever page it is.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: they could not be listed.
    pub async fn list_tags(&self, last: Option<&Tag>, most: usize) -> Result<Option<Tags>, RegistryError> {
        let prefix = self.keys.tags();
        let after = last.map(|tag| self.keys.tag(tag));
        let page = self.store().list(&prefix, after.as_ref(), self.patience().bytes).await?;
        let found = page.objects.iter().filter_map(|object| object.key.as_str().strip_prefix(&prefix));
        let mut tags: Vec<_> = found.map(str::to_owned).collect();
        if tags.is_empty() && last.is_none() && !self.exists().await? {
            return Ok(None);
        }
        let most = most.min(PAGE);
        let is_truncated = page.is_truncated || tags.len() > most;
        tags.truncate(most);
        Ok(Some(Tags { tags, is_truncated }))
    }

    /// Whether anything was ever pushed here and is there still.
    async fn exists(&self) -> Result<bool, RegistryError> {
        for prefix in self.keys.signs_of_life() {
            if !self.store().list(&prefix, None, self.patience().bytes).await?.objects.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
