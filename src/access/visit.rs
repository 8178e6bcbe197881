//! One image, for one who asks: permission is what a handle on it is given out by.

use std::sync::Arc;

use super::grant::{Part, Verb};
use super::standing::{Ruling, Standing};
use super::{Access, Grants, Identity, Profile};
use crate::oci::{Reference, RepoName, Tag};
use crate::registry::{RegistryError, Repository, WritableRepository};

/// An image, as far as the one who asks may use it.
#[derive(Debug)]
pub struct Visit<'a> {
    profile: &'a Arc<Profile>,
    grants: &'a Grants,
    image: RepoName,
    standing: Standing<'a>,
}

/// Where something that is pushed goes.
#[derive(Debug)]
pub enum Destination {
    /// It is kept.
    Kept(WritableRepository),
    /// It is taken and not kept, so that the build of one who may not push goes on. What is no cache is refused so.
    Discarded(Denied),
}

/// Something that may not be done. Each message is fit for the one who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// By somebody who did not say who they are.
    #[error(
        "anonymous clients may not {} {image}; this server is set to anonymous = \"{allowed}\"",
        if *.verb == Verb::Read { "pull from" } else { "push to" }
    )]
    Anonymous {
        /// The image.
        image: RepoName,
        /// What was to be done with it.
        verb: Verb,
        /// What everybody may.
        allowed: Access,
    },
    /// By one who has some part in the image.
    #[error("{identity} may not {verb} {object}")]
    Known {
        /// Who it is.
        identity: String,
        /// What was to be done.
        verb: Verb,
        /// With what.
        object: String,
    },
    /// A change, by one who is to learn nothing of the image.
    #[error("denied")]
    Stranger,
    /// A look, by one who is to learn nothing of the image.
    #[error("no such repository: {0}")]
    Unseen(RepoName),
    /// By one whom two profiles serve, so that there is no telling whose images are meant.
    #[error("{0} is served by two profiles of this server, so neither is used; whoever runs it must say which")]
    Torn(String),
    /// A look, by one who is to be told that nothing is there.
    #[error("unknown: {0}")]
    Absent(String),
}

impl Denied {
    /// What was to be done, where the one who asked is told.
    #[must_use]
    pub fn verb(&self) -> Option<Verb> {
        match self {
            Self::Anonymous { verb, .. } | Self::Known { verb, .. } => Some(*verb),
            Self::Stranger | Self::Unseen(_) | Self::Absent(_) | Self::Torn(_) => None,
        }
    }
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It may not be.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Whether it may be depends on what is there, and that could not be learnt.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl<'a> Visit<'a> {
    pub(super) fn new(profile: &'a Arc<Profile>, grants: &'a Grants, image: RepoName, identity: &'a Identity) -> Self {
        let standing = profile.standing(grants, &image, identity);
        Self { profile, grants, image, standing }
    }

    /// The profile that the image belongs to.
    #[must_use]
    pub fn profile(&self) -> &'a Arc<Profile> {
        self.profile
    }

    /// The image, as the client calls it.
    #[must_use]
    pub fn image(&self) -> &RepoName {
        &self.image
    }

    /// The image, to read what all its tags share: blobs, and manifests by digest.
    ///
    /// # Errors
    ///
    /// The client may read none of its tags.
    pub fn read(&self) -> Result<Repository, Denied> {
        self.look(Part::Shared, Verb::Read, || self.image.to_string())
    }

    /// The image, to read the manifest at `reference`, for the sake of doing `verb`: who pushes looks first.
    ///
    /// # Errors
    ///
    /// The client may not.
    pub fn read_at(&self, reference: &Reference, verb: Verb) -> Result<Repository, Denied> {
        self.look(part(reference, Part::Shared), verb, || format!("{reference} of {}", self.image))
    }

    /// Whether the client may do `verb` with any part of the image, or is not told that it may not.
    #[must_use]
    pub fn may(&self, verb: Verb) -> bool {
        self.standing.rule(verb, Part::Shared) != Ruling::Denied
    }

    /// The ruling on doing `verb` with what `reference` names and with `tags`; without either, with what all tags share. It
    /// is for the log alone.
    #[must_use]
    pub fn ruling(&self, verb: Verb, reference: Option<&Reference>, tags: &[Tag]) -> Ruling<'a> {
        match reference {
            Some(reference) if verb == Verb::Delete => self.standing.rule(verb, part(reference, Part::Whole)),
            Some(reference) => self.rule_of_all(verb, reference, tags),
            None if verb == Verb::Delete => self.standing.rule(verb, Part::Whole),
            None => self.standing.rule(verb, Part::Shared),
        }
    }

    /// Whether the client may read `tag`.
    #[must_use]
    pub fn may_read(&self, tag: &Tag) -> bool {
        self.standing.rule(Verb::Read, Part::Tag(tag)).is_allowed()
    }

    /// Whether the client may read `tag` of `image`, which is of the same profile.
    fn may_read_of(&self, image: &RepoName, tag: &Tag) -> bool {
        if *image == self.image {
            return self.may_read(tag);
        }
        let standing = self.profile.standing(self.grants, image, self.standing.identity());
        standing.rule(Verb::Read, Part::Tag(tag)).is_allowed()
    }

    /// Where blobs of the image go.
    ///
    /// # Errors
    ///
    /// The client may write none of its tags.
    pub fn upload(&self) -> Result<Destination, Denied> {
        let ruling = self.standing.rule(Verb::Write, Part::Shared);
        self.destination(ruling, Verb::Write, || self.image.to_string())
    }

    /// The image, to store blobs in pieces.
    ///
    /// # Errors
    ///
    /// The client may write none of its tags.
    pub fn keep(&self) -> Result<WritableRepository, Denied> {
        match self.upload()? {
            Destination::Kept(repository) => Ok(repository),
            Destination::Discarded(denied) => Err(denied),
        }
    }

    /// Where a manifest goes that is pushed as `reference`, and with `tags` besides.
    ///
    /// # Errors
    ///
    /// The client may not write all of them; or there are no tags yet, and the client may not set the first.
    pub async fn write_at(&self, reference: &Reference, tags: &[Tag]) -> Result<Destination, Refused> {
        let object = || format!("{reference} of {}", self.image);
        let destination = self.destination(self.rule_of_all(Verb::Write, reference, tags), Verb::Write, object)?;
        let sets_tags = matches!(reference, Reference::Tag(_)) || !tags.is_empty();
        let may_create = self.rule_of_all(Verb::Create, reference, tags);
        match destination {
            Destination::Kept(repository) if sets_tags && !may_create.is_allowed() && !repository.has_tags().await? => {
                Ok(self.destination(may_create, Verb::Create, object)?)
            }
            destination => Ok(destination),
        }
    }

    /// The image, to remove what is at `reference`; by its digest that takes every tag with it which names it.
    ///
    /// # Errors
    ///
    /// The client may not.
    pub fn delete_at(&self, reference: &Reference) -> Result<WritableRepository, Denied> {
        self.delete(part(reference, Part::Whole), || format!("{reference} of {}", self.image))
    }

    /// The image, to remove a blob, which any tag may refer to.
    ///
    /// # Errors
    ///
    /// The client may not remove every tag.
    pub fn delete_blobs(&self) -> Result<WritableRepository, Denied> {
        self.delete(Part::Whole, || format!("blobs of {}", self.image))
    }

    fn delete(&self, part: Part<'_>, object: impl Fn() -> String) -> Result<WritableRepository, Denied> {
        match self.standing.rule(Verb::Delete, part) {
            Ruling::Allowed(_) => Ok(self.profile.writable(&self.image, self.is_confined())),
            Ruling::Instead(_) | Ruling::Denied => Err(self.denied(Verb::Delete, object())),
        }
    }

    /// The image, to look at `part`, which is called so, for the sake of doing `verb`.
    ///
    /// Who may push asks first what is there: a refusal would fail a push that is allowed.
    fn look(&self, part: Part<'_>, verb: Verb, object: impl Fn() -> String) -> Result<Repository, Denied> {
        match self.standing.rule(Verb::Read, part) {
            Ruling::Allowed(_) => {
                Ok(self.profile.readable(&self.image, self.is_confined(), |image, tag| self.may_read_of(image, tag)))
            }
            Ruling::Instead(_) => Err(Denied::Absent(object())),
            Ruling::Denied if self.standing.rule(Verb::Write, part) != Ruling::Denied => Err(Denied::Absent(object())),
            Ruling::Denied if self.standing.is_known() => Err(self.denied(verb, object())),
            Ruling::Denied => Err(self.denied(Verb::Read, object())),
        }
    }

    /// Whether blobs of other images are none of the client's business, and lie where those of this one do.
    fn is_confined(&self) -> bool {
        self.profile.registry.shares_blobs() && !self.standing.reads_all()
    }

    /// What comes of doing `verb` with all that a push names.
    fn rule_of_all(&self, verb: Verb, reference: &Reference, tags: &[Tag]) -> Ruling<'a> {
        let own = match reference {
            Reference::Digest(_) if !tags.is_empty() => None,
            reference => Some(part(reference, Part::Shared)),
        };
        let parts = own.into_iter().chain(tags.iter().map(Part::Tag));
        parts.map(|part| self.standing.rule(verb, part)).reduce(Ruling::worse).unwrap_or(Ruling::Denied)
    }

    fn destination(&self, ruling: Ruling<'_>, verb: Verb, object: impl Fn() -> String) -> Result<Destination, Denied> {
        match ruling {
            Ruling::Allowed(_) => Ok(Destination::Kept(self.profile.writable(&self.image, self.is_confined()))),
            Ruling::Instead(_) => Ok(Destination::Discarded(self.denied(verb, object()))),
            Ruling::Denied => Err(self.denied(verb, object())),
        }
    }

    fn denied(&self, verb: Verb, object: String) -> Denied {
        let identity = self.standing.identity();
        match identity {
            Identity::Anonymous => Denied::Anonymous { image: self.image.clone(), verb, allowed: self.profile.anonymous },
            identity if self.standing.is_known() => Denied::Known { identity: identity.to_string(), verb, object },
            _ if verb == Verb::Read => Denied::Unseen(self.image.clone()),
            _ => Denied::Stranger,
        }
    }
}

/// The tag that is meant, or what is meant by a digest.
fn part<'a>(reference: &'a Reference, by_digest: Part<'a>) -> Part<'a> {
    match reference {
        Reference::Tag(tag) => Part::Tag(tag),
        Reference::Digest(_) => by_digest,
    }
}
