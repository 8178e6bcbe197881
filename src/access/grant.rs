//! Grants: who may do what with which images and tags.

use std::fmt;

use super::identity::{Identity, Who};
use super::text_pattern::TextPattern;
use crate::oci::{RepoName, Tag};

/// What can be done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read tags, manifests and blobs.
    Read,
    /// Set tags, and store what they refer to.
    Write,
    /// Remove tags, manifests and blobs.
    Delete,
    /// Set the first tag of an image.
    Create,
}

/// One line of who may do what. All of it must be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whom it means.
    pub who: Who,
    /// Which images; one is enough.
    pub images: Vec<TextPattern>,
    /// Which of their tags; one is enough.
    pub tags: Vec<TextPattern>,
    /// What may be done.
    pub allow: Vec<Verb>,
    /// Whether what is pushed and not allowed is taken and not kept.
    pub discards: bool,
    /// Whether what is pulled and not allowed is told to be absent.
    pub skips: bool,
}

/// What of an image something is to be done with.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// This tag.
    Tag(&'a Tag),
    /// What all tags share, which is anybody's who may do it with one of them.
    Shared,
    /// All tags, whichever there are.
    Whole,
}

impl Grant {
    /// Whether it is about `identity` and `image`.
    #[must_use]
    pub fn is_about(&self, identity: &Identity, image: &RepoName) -> bool {
        self.who.means(identity) && self.images.iter().any(|pattern| pattern.matches(image.as_str(), identity))
    }

    /// Whether it is about that part of an image, for `identity`.
    #[must_use]
    pub fn covers(&self, part: Part<'_>, identity: &Identity) -> bool {
        match part {
            Part::Tag(tag) => self.tags.iter().any(|pattern| pattern.matches(tag.as_str(), identity)),
            Part::Shared => true,
            Part::Whole => self.tags.iter().any(TextPattern::is_everything),
        }
    }

    /// Whether it has another answer than a refusal for who may not.
    pub(super) fn has_instead(&self, verb: Verb) -> bool {
        match verb {
            Verb::Read => self.skips,
            Verb::Write | Verb::Create => self.discards,
            Verb::Delete => false,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Create => "create",
        })
    }
}

impl fmt::Display for Grant {
    /// In a line, much as it is written in a file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = |patterns: &[TextPattern]| patterns.iter().map(TextPattern::as_str).collect::<Vec<_>>().join(" ");
        let verbs = self.allow.iter().map(Verb::to_string).collect::<Vec<_>>().join(" ");
        write!(f, "who {}, images {}, tags {}, allow {verbs}", self.who, patterns(&self.images), patterns(&self.tags))?;
        f.write_str(if self.discards { ", push discard" } else { "" })?;
        f.write_str(if self.skips { ", pull skip" } else { "" })
    }
}
