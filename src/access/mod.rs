//! Who may: a handle on a repository is the permission to use it.
//!
//! The floors above get a [`Repository`] or [`WritableRepository`] only from
//! [`Profile`], which is asked before the store is.

mod profiles;
mod rules;

use std::fmt;
use std::sync::Arc;

use crate::oci::{Pattern, RepoName};
use crate::registry::{Catalog, Registry, RegistryError, Repository, WritableRepository};

pub use profiles::Profiles;
pub use rules::{FallbackRule, ImageRule, Rules};

/// A store with its credentials, and who may use it.
#[derive(Debug)]
pub struct Profile {
    name: String,
    registry: Arc<Registry>,
    anonymous: Access,
    images: Vec<Pattern>,
    map: Vec<(Pattern, RepoName)>,
    rules: Rules,
}

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// Something that may not be done. The message says what to change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "anonymous clients may not {} {name}; this server is set to anonymous = \"{allowed}\"",
    if *.wanted == Access::Write { "push to" } else { "pull from" }
)]
pub struct Denied {
    /// The repository.
    pub name: RepoName,
    /// What was to be done with it.
    pub wanted: Access,
    /// What may be done with it.
    pub allowed: Access,
}

impl Profile {
    /// The profile `name` over `registry`, with `anonymous` for whoever does not say who they are.
    #[must_use]
    pub fn new(name: String, registry: Arc<Registry>, anonymous: Access) -> Self {
        Self { name, registry, anonymous, images: Vec::new(), map: Vec::new(), rules: Rules::default() }
    }

    /// The same, with all images that one of `images` means for its own.
    #[must_use]
    pub fn with_images(self, images: Vec<Pattern>) -> Self {
        Self { images, ..self }
    }

    /// The same, with the images that a pattern of `map` means kept as what stands beside it; the most specific decides.
    #[must_use]
    pub fn with_map(self, map: Vec<(Pattern, RepoName)>) -> Self {
        Self { map, ..self }
    }

    /// The same, with pulls answered as `rules` say.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// What the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository `name`, to read from.
    ///
    /// # Errors
    ///
    /// [`Denied`] when the client may not.
    pub fn read(&self, name: RepoName) -> Result<Repository, Denied> {
        let name = self.allow(name, Access::Read)?;
        let answering = self.rules.answering(&name, |other| self.read_alone(other.clone()).ok());
        Ok(self.repository(name).answering(answering))
    }

    /// The repository `name`, which stands in for another one. A client gets no more of it than by its own name.
    fn read_alone(&self, name: RepoName) -> Result<Repository, Denied> {
        let name = self.allow(name, Access::Read)?;
        let answering = self.rules.alone(&name);
        Ok(self.repository(name).answering(answering))
    }

    fn repository(&self, name: RepoName) -> Repository {
        self.registry.repository(self.kept_as(&name)).called(name)
    }

    /// The repository `name`, to read from and write to.
    ///
    /// # Errors
    ///
    /// [`Denied`] when the client may not.
    pub fn write(&self, name: RepoName) -> Result<WritableRepository, Denied> {
        let name = self.allow(name, Access::Write)?;
        Ok(self.registry.writable_repository(self.kept_as(&name)).called(name))
    }

    /// The repositories after `last` that the client may read from, `most` of them at most.
    ///
    /// # Errors
    ///
    /// [`RegistryError`]: they could not be listed.
    pub async fn catalog(&self, last: Option<&RepoName>, most: usize) -> Result<Catalog, RegistryError> {
        match self.anonymous {
            Access::None => Ok(Catalog { names: Vec::new(), is_truncated: false }),
            Access::Read | Access::Write => self.registry.catalog(last, most).await,
        }
    }

    /// The image that `name` is kept as.
    fn kept_as(&self, name: &RepoName) -> RepoName {
        let matching = self.map.iter().filter(|(pattern, _)| pattern.matches(name));
        let deciding = matching.max_by(|(left, _), (right, _)| left.specificity(right));
        deciding.map_or(name, |(_, image)| image).clone()
    }

    fn allow(&self, name: RepoName, wanted: Access) -> Result<RepoName, Denied> {
        let allowed = self.anonymous;
        if wanted <= allowed { Ok(name) } else { Err(Denied { name, wanted, allowed }) }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}
