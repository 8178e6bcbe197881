//! Which profile a request is about: the listener's, else the one that its image and whoever asks lead to.

use std::sync::Arc;

use super::reach::{self, Unplaced};
use super::{Access, Denied, Grants, Identity, Part, Profile, Refused, Verb, Visit};
use crate::oci::RepoName;
use crate::registry::Catalog;

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

    /// What `identity`, a client of a listener that is `listener`'s, may do with `image`.
    ///
    /// # Errors
    ///
    /// The image is of no profile, or there is no telling of which.
    pub fn visit<'a>(&'a self, listener: Option<&str>, image: RepoName, identity: &'a Identity) -> Result<Visit<'a>, Unplaced> {
        let profile = self.of(listener, &image, identity)?;
        Ok(Visit::new(profile, &self.grants, image, identity))
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

    /// The one that `image` belongs to, for `identity`, a client of a listener that is `listener`'s.
    ///
    /// # Errors
    ///
    /// It is nobody's, or there is no telling whose.
    pub fn of(&self, listener: Option<&str>, image: &RepoName, identity: &Identity) -> Result<&Arc<Profile>, Unplaced> {
        match listener {
            Some(name) => self.named(name).ok_or(Unplaced::Nobodys),
            None => reach::reached(&self.all, image, identity),
        }
    }

    /// The images after `last` that `identity`, a client of that listener, may read from, `most` of them at most.
    ///
    /// # Errors
    ///
    /// [`Refused`]: they could not be listed, or there is no telling which profile serves whoever asks.
    pub async fn catalog(
        &self,
        listener: Option<&str>,
        identity: &Identity,
        last: Option<&RepoName>,
        most: usize,
    ) -> Result<Catalog, Refused> {
        let listed = self.listed(listener, identity)?;
        let mut last = last.cloned();
        loop {
            let page = self.page(&listed, (listener, identity), last.as_ref(), most).await?;
            let end = page.end;
            // Names that are another's in every profile, or may not be seen, make a page of nothing, which is not the last.
            if !page.catalog.names.is_empty() || end.is_none() {
                return Ok(page.catalog);
            }
            last = end;
        }
    }

    /// The profiles that may have images for `identity` to see. No other's store is asked: even how long that takes would tell.
    fn listed(&self, listener: Option<&str>, identity: &Identity) -> Result<Vec<&Arc<Profile>>, Denied> {
        let home = match listener {
            Some(name) => self.named(name),
            None => match reach::home(&self.all, identity) {
                Ok(home) => Some(home),
                Err(Unplaced::Nobodys) => None,
                Err(Unplaced::Torn(_)) => return Err(Denied::Torn(identity.to_string())),
            },
        };
        let is_home = |profile: &Arc<Profile>| home.is_some_and(|home| Arc::ptr_eq(home, profile));
        let mut granted = self.grants.iter().filter(|grant| grant.who.means(identity)).flat_map(|grant| &grant.images);
        let granted: Vec<_> = granted.by_ref().collect();
        let is_seen = |profile: &&Arc<Profile>| {
            let of_its = |names| granted.iter().any(|pattern| pattern.overlaps_names(names, identity));
            let may_have = match is_home(profile) {
                true => !granted.is_empty(),
                false => profile.images.iter().any(of_its),
            };
            let is_its = is_home(profile) || listener.is_none() && !profile.images.is_empty();
            is_its && (profile.anonymous > Access::None || may_have)
        };
        Ok(self.all.iter().filter(is_seen).collect())
    }

    async fn page(
        &self,
        listed: &[&Arc<Profile>],
        (listener, identity): (Option<&str>, &Identity),
        last: Option<&RepoName>,
        most: usize,
    ) -> Result<Page, Refused> {
        let (mut names, mut end) = (Vec::new(), None::<RepoName>);
        for &profile in listed {
            let page = profile.registry.catalog(last, most).await?;
            if page.is_truncated
                && let Some(its_end) = page.names.last()
            {
                end = match end {
                    Some(end) if !is_after(&end, its_end) => Some(end),
                    _ => Some(its_end.clone()),
                };
            }
            let is_its = |name: &RepoName| self.of(listener, name, identity).is_ok_and(|owner| Arc::ptr_eq(owner, profile));
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
