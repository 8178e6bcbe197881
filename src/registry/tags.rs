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
    /// The tags after `last` that are `wanted`, `most` of them at most and never
    /// more than a thousand; `None` when there is no such repository.
    ///
    /// Costs one request to the store, whichever page it is, and another for every thousand in a row that nobody wants.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: they could not be listed.
    pub async fn list_tags(
        &self,
        last: Option<&Tag>,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Option<Tags>, RegistryError> {
        let (prefix, most) = (self.keys.tags(), most.min(PAGE));
        let mut after = last.map(|tag| self.keys.tag(tag));
        loop {
            let page = self.store().list(&prefix, after.as_ref(), self.patience().bytes).await?;
            if page.objects.is_empty() && after.is_none() && !self.exists().await? {
                return Ok(None);
            }
            let found = page.objects.iter().filter_map(|object| object.key.as_str().strip_prefix(&prefix));
            let mut tags: Vec<_> = found.filter(|tag| wanted(tag)).map(str::to_owned).collect();
            let is_truncated = page.is_truncated || tags.len() > most;
            tags.truncate(most);
            if !tags.is_empty() || !page.is_truncated || most == 0 {
                return Ok(Some(Tags { tags, is_truncated }));
            }
            after = page.objects.into_iter().last().map(|object| object.key);
        }
    }

    /// Whether there is any tag.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: they could not be listed.
    pub async fn has_tags(&self) -> Result<bool, RegistryError> {
        Ok(!self.store().list(&self.keys.tags(), None, self.patience().bytes).await?.objects.is_empty())
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
