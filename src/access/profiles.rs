//! Which profile a request is about: the listener's, else that of the most
//! specific pattern that means its image, else the one called `default`.

use std::sync::Arc;

use super::{Access, Grants, Identity, Part, Profile, Verb, Visit};
use crate::oci::{Pattern, RepoName};
use crate::registry::{Catalog, RegistryError};

/// The profile of the images that are no other's.
const DEFAULT: &str = "default";

/// The profiles that are in force together, and who may do what with their images.
#[derive(Debug)]
pub struct Profiles {
    all: Vec<Arc<Profile>>,
    grants: Grants,
}

impl Profiles {
    /// These, each of another name; no two with patterns that mean the same image and are equally specific.
    #[must_use]
    pub fn new(profiles: impl IntoIterator<Item = Arc<Profile>>) -> Self {
        Self { all: profiles.into_iter().collect(), grants: Grants::default() }
    }

    /// The same, with `grants` for those who say who they are.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { grants, ..self }
    }

    /// What `identity`, a client of a listener that is `listener`'s, may do with `image`, if that is anybody's.
    #[must_use]
    pub fn visit<'a>(&'a self, listener: Option<&str>, image: RepoName, identity: &'a Identity) -> Option<Visit<'a>> {
        let profile = self.of(listener, &image)?;
        Some(Visit::new(profile, &self.grants, image, identity))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.all.iter()
    }

    /// The one that is called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Profile>> {
        self.all.iter().find(|profile| profile.name == name)
    }

    /// The one that `image` belongs to, for a client of a listener that is `listener`'s, if it is anybody's.
    #[must_use]
    pub fn of(&self, listener: Option<&str>, image: &RepoName) -> Option<&Arc<Profile>> {
        if let Some(name) = listener {
            return self.named(name);
        }
        let images = self.all.iter().flat_map(|profile| profile.images.iter().map(move |pattern| (pattern, profile)));
        Pattern::deciding(image, images).or_else(|| self.named(DEFAULT))
    }

    /// The images after `last` that `identity`, a client of that listener, may read from, `most` of them at most.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: they could not be listed.
    pub async fn catalog(
        &self,
        listener: Option<&str>,
        identity: &Identity,
        last: Option<&RepoName>,
        most: usize,
    ) -> Result<Catalog, RegistryError> {
        let mut last = last.cloned();
        loop {
            let page = self.page(listener, identity, last.as_ref(), most).await?;
            let end = page.end;
            // Names that are another's in every profile, or may not be seen, make a page of nothing, which is not the last.
            if !page.catalog.names.is_empty() || end.is_none() {
                return Ok(page.catalog);
            }
            last = end;
        }
    }

    async fn page(
        &self,
        listener: Option<&str>,
        identity: &Identity,
        last: Option<&RepoName>,
        most: usize,
    ) -> Result<Page, RegistryError> {
        let (mut names, mut end) = (Vec::new(), None::<RepoName>);
        let has_grants = self.grants.iter().any(|grant| grant.who.means(identity));
        let is_seen = |profile: &&Arc<Profile>| has_grants || profile.anonymous > Access::None;
        let of_listener = self.all.iter().filter(|profile| listener.is_none_or(|name| profile.name == name));
        for profile in of_listener.filter(is_seen) {
            let page = profile.registry.catalog(last, most).await?;
            if page.is_truncated
                && let Some(its_end) = page.names.last()
            {
                end = match end {
                    Some(end) if !is_after(&end, its_end) => Some(end),
                    _ => Some(its_end.clone()),
                };
            }
            let is_its = |name: &RepoName| self.of(listener, name).is_some_and(|owner| Arc::ptr_eq(owner, profile));
            let may_read =
                |name: &RepoName| profile.standing(&self.grants, name, identity).rule(Verb::Read, Part::Shared).is_allowed();
            names.extend(page.names.into_iter().filter(|name| is_its(name) && may_read(name)));
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
