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
mod reach;
mod rules;
mod slug;
mod standing;
mod text_pattern;
mod tokens;
mod turns;
mod visit;

use std::fmt;
use std::sync::Arc;

use crate::oci::{Pattern, RepoName, Tag};
use crate::registry::{Registry, Repository, WritableRepository};

pub use authenticator::{Authenticator, Known, Presented, Unidentified};
pub use grant::{Grant, Part, Verb};
pub use grants::Grants;
pub use identity::{Certificate, Identity, Who, claims};
pub use passes::{Action, Passes, Scope};
pub use passwords::{InvalidPasswordHash, PasswordHash, User};
pub use profiles::Profiles;
pub use reach::{Reach, Unplaced, reached};
pub use rules::{FallbackRule, ImageRule, Rules};
pub use slug::slug;
pub use standing::{PART_SEPARATOR, Rule, Ruling, Standing};
pub use text_pattern::{InvalidTextPattern, TextPattern};
pub use tokens::{Algorithm, Fetch, InvalidKeySet, Issuer, KeyRing, KeySet, Refusal, Trust, is_of_a_key_pair, is_safe_url};
pub use visit::{Denied, Destination, Refused, Visit};

/// A store with its credentials, and what everybody may do with it.
#[derive(Debug)]
pub struct Profile {
    name: String,
    registry: Arc<Registry>,
    anonymous: Access,
    images: Vec<Pattern>,
    who: Vec<Who>,
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

impl Profile {
    /// The profile `name` over `registry`, with `anonymous` for everybody, also who does not say who they are.
    #[must_use]
    pub fn new(name: String, registry: Arc<Registry>, anonymous: Access) -> Self {
        Self { name, registry, anonymous, images: Vec::new(), who: Vec::new(), map: Vec::new(), rules: Rules::default() }
    }

    /// The same, with all images that one of `images` means for its own.
    #[must_use]
    pub fn with_images(self, images: Vec<Pattern>) -> Self {
        Self { images, ..self }
    }

    /// The same, with all images of those whom `who` means for its own that no pattern of any profile does.
    #[must_use]
    pub fn with_who(self, who: Vec<Who>) -> Self {
        Self { who, ..self }
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

    /// The repository `name`, to read from; `may_read` says which tags of which images may stand in for others.
    fn readable(&self, name: &RepoName, is_confined: bool, may_read: impl Fn(&RepoName, &Tag) -> bool) -> Repository {
        let repository = |name: &RepoName| self.repository(name).confined(is_confined);
        let stands_in = |other: &RepoName| repository(other).answering(self.rules.alone(other));
        repository(name).answering(self.rules.answering(name, may_read, stands_in))
    }

    fn repository(&self, name: &RepoName) -> Repository {
        self.registry.repository(self.kept_as(name)).called(name.clone())
    }

    /// What `identity` may do with `image`, by `grants`.
    fn standing<'a>(&'a self, grants: &'a Grants, image: &RepoName, identity: &'a Identity) -> Standing<'a> {
        Standing::new(grants, self.anonymous, identity, image).with_separator(self.rules.separator(image))
    }

    fn writable(&self, name: &RepoName, is_confined: bool) -> WritableRepository {
        let repository = self.registry.writable_repository(self.kept_as(name)).called(name.clone());
        repository.answering(self.rules.alone(name)).confined(is_confined)
    }

    /// The image that `name` is kept as.
    fn kept_as(&self, name: &RepoName) -> RepoName {
        Pattern::deciding(name, self.map.iter().map(|(pattern, image)| (pattern, image))).unwrap_or(name).clone()
    }
}

impl Reach for Profile {
    fn name(&self) -> &str {
        &self.name
    }

    fn images(&self) -> &[Pattern] {
        &self.images
    }

    fn who(&self) -> &[Who] {
        &self.who
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
