//! Which profile a request is about: the listener's, else that of the most
//! specific pattern that means its image, else the one called `default`.

use std::sync::Arc;

use super::Profile;
use crate::oci::{Pattern, RepoName};
use crate::registry::{Catalog, RegistryError};

/// The profile of the images that are no other's.
const DEFAULT: &str = "default";

/// The profiles that are in force together.
#[derive(Debug)]
pub struct Profiles(Vec<Arc<Profile>>);

impl Profiles {
    /// These, each of another name; no two with patterns that mean the same image and are equally specific.
    #[must_use]
    pub fn new(profiles: impl IntoIterator<Item = Arc<Profile>>) -> Self {
        Self(profiles.into_iter().collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.iter()
    }

    /// The one that is called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Profile>> {
        self.0.iter().find(|profile| profile.name == name)
    }

    /// The one that `image` belongs to, for a client of a listener that is `listener`'s, if it is anybody's.
    #[must_use]
    pub fn of(&self, listener: Option<&str>, image: &RepoName) -> Option<&Arc<Profile>> {
        if let Some(name) = listener {
            return self.named(name);
        }
        let matching = self.0.iter().flat_map(|profile| profile.images.iter().map(move |pattern| (pattern, profile)));
        let deciding = matching
            .filter(|(pattern, _)| pattern.matches(image))
            .max_by(|(left, _): &(&Pattern, _), (right, _)| left.specificity(right));
        deciding.map(|(_, profile)| profile).or_else(|| self.named(DEFAULT))
    }

    /// The images after `last` that a client of that listener may read from, `most` of them at most.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: they could not be listed.
    pub async fn catalog(&self, listener: Option<&str>, last: Option<&RepoName>, most: usize) -> Result<Catalog, RegistryError> {
        let mut last = last.cloned();
        loop {
            let page = self.page(listener, last.as_ref(), most).await?;
            let end = page.end;
            // Names that are another's in every profile make a page of nothing, which is not the last.
            if !page.catalog.names.is_empty() || end.is_none() {
                return Ok(page.catalog);
            }
            last = end;
        }
    }

    async fn page(&self, listener: Option<&str>, last: Option<&RepoName>, most: usize) -> Result<Page, RegistryError> {
        let (mut names, mut end) = (Vec::new(), None::<RepoName>);
        for profile in self.0.iter().filter(|profile| listener.is_none_or(|name| profile.name == name)) {
            let page = profile.catalog(last, most).await?;
            if page.is_truncated
                && let Some(its_end) = page.names.last()
            {
                end = match end {
                    Some(end) if !is_after(&end, its_end) => Some(end),
                    _ => Some(its_end.clone()),
                };
            }
            let is_its = |name: &RepoName| self.of(listener, name).is_some_and(|owner| Arc::ptr_eq(owner, profile));
            names.extend(page.names.into_iter().filter(is_its));
        }
        names.sort_by(|left: &RepoName, right| left.components().cmp(right.components()));
        names.retain(|name| end.as_ref().is_none_or(|end| !is_after(name, end)));
        let is_cut = names.len() > most;
        names.truncate(most);
        Ok(Page { catalog: Catalog { names, is_truncated: is_cut || end.is_some() }, end })
    }
}

/// What all profiles have up to `end`, where one of them has more.
struct Page {
    catalog: Catalog,
    end: Option<RepoName>,
}

/// Whether `name` comes after `other` in the order of a catalog.
fn is_after(name: &RepoName, other: &RepoName) -> bool {
    name.components().gt(other.components())
}
