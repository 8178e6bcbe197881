//! Who may: a handle on a repository is the permission to use it.
//!
//! The floors above get a [`Repository`] or [`WritableRepository`] only from a
//! [`Visit`], which is asked before the store is. What it goes by is one pure
//! function, [`Standing::rule`].

mod authenticator;
mod grant;
mod grants;
mod identity;
mod memory;
mod passes;
mod passwords;
mod profiles;
mod slug;
mod standing;
mod text_pattern;
mod tokens;
mod visit;

use std::fmt;
use std::sync::Arc;

use crate::oci::{Pattern, RepoName};
use crate::registry::{Registry, Repository, WritableRepository};

pub use authenticator::{Authenticator, Known, Presented, Unidentified};
pub use grant::{Grant, Part, Verb};
pub use grants::Grants;
pub use identity::{Identity, Who, claims};
pub use passes::{Action, Passes, Scope};
pub use passwords::{InvalidPasswordHash, PasswordHash, User};
pub use profiles::Profiles;
pub use slug::slug;
pub use standing::{PART_SEPARATOR, Rule, Ruling, Standing};
pub use text_pattern::{InvalidTextPattern, TextPattern};
pub use tokens::{Algorithm, Fetch, InvalidAlgorithm, InvalidKeySet, Issuer, KeyRing, KeySet, is_safe_url};
pub use visit::{Denied, Destination, Refused, Visit};

/// What events go by that tell who did what.
pub const AUDIT: &str = "longshore.audit";

/// A store with its credentials, and what everybody may do with it.
#[derive(Debug)]
pub struct Profile {
    name: String,
    registry: Arc<Registry>,
    anonymous: Access,
    images: Vec<Pattern>,
    map: Vec<(Pattern, RepoName)>,
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

impl Profile {
    /// The profile `name` over `registry`, with `anonymous` for everybody, also who does not say who they are.
    #[must_use]
    pub fn new(name: String, registry: Arc<Registry>, anonymous: Access) -> Self {
        Self { name, registry, anonymous, images: Vec::new(), map: Vec::new() }
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

    /// What the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn readable(&self, name: &RepoName) -> Repository {
        self.registry.repository(self.kept_as(name)).called(name.clone())
    }

    fn writable(&self, name: &RepoName) -> WritableRepository {
        self.registry.writable_repository(self.kept_as(name)).called(name.clone())
    }

    /// The image that `name` is kept as.
    fn kept_as(&self, name: &RepoName) -> RepoName {
        let matching = self.map.iter().filter(|(pattern, _)| pattern.matches(name));
        let deciding = matching.max_by(|(left, _), (right, _)| left.specificity(right));
        deciding.map_or(name, |(_, image)| image).clone()
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
