//! Listing tags.

use futures_util::future::try_join;

use super::{RegistryError, Repository};
use crate::oci::Tag;

/// Most tags on a page: what one request to the store brings.
const PAGE: usize = 1000;

/// A page of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// In the order of their bytes.
    pub tags: Vec<String>,
    /// Whether there are more after the last of them.
    pub is_truncated: bool,
}

impl Tags {
    /// These and the `other` ones, as far as both tell.
    fn and(mut self, other: Self) -> Self {
        let ends = [&self, &other].into_iter().filter(|tags| tags.is_truncated).filter_map(|tags| tags.tags.last().cloned());
        let end = ends.min();
        self.is_truncated |= other.is_truncated;
        self.tags.extend(other.tags);
        self.tags.sort();
        self.tags.dedup();
        self.tags.retain(|tag| end.as_ref().is_none_or(|end| tag <= end));
        self
    }
}

impl Repository {
    /// The tags after `last` that are `wanted`, `most` of them at most and never
    /// more than a thousand; `None` when there is no such repository.
    ///
    /// Costs one request to the store, whichever page it is, one more where `type=s3` clients have caches there, and the
    /// same for every thousand in a row that nobody wants.
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
        let (mut last, most) = (last.cloned(), most.min(PAGE));
        loop {
            let (pushed, of_s3) = try_join(self.list_pushed(last.as_ref()), self.list_of_s3(last.as_ref())).await?;
            let mut page = pushed.and(of_s3);
            if page.tags.is_empty() && last.is_none() && !self.exists().await? {
                return Ok(None);
            }
            last = page.tags.last().and_then(|tag| tag.parse().ok());
            page.tags.retain(|tag| wanted(tag));
            let is_last = !page.is_truncated || last.is_none();
            page.is_truncated |= page.tags.len() > most;
            page.tags.truncate(most);
            if !page.tags.is_empty() || is_last || most == 0 {
                return Ok(Some(page));
            }
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

    async fn list_pushed(&self, last: Option<&Tag>) -> Result<Tags, RegistryError> {
        let prefix = self.keys.tags();
        let after = last.map(|tag| self.keys.tag(tag));
        let page = self.store().list(&prefix, after.as_ref(), self.patience().bytes).await?;
        let found = page.objects.iter().filter_map(|object| object.key.as_str().strip_prefix(&prefix));
        Ok(Tags { tags: found.map(str::to_owned).collect(), is_truncated: page.is_truncated })
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
