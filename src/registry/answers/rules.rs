//! What the settings say of how pulls of a repository are answered.

use std::time::Duration;

use super::super::Repository;
use crate::oci::{Tag, TagPattern};

/// How pulls of a repository are answered.
#[derive(Clone, Debug, Default)]
pub struct Answering {
    /// What the repository is for, where that is stated.
    pub kind: Option<Kind>,
    /// What of a tag's parts counts.
    pub parts: Parts,
    /// Where tags that are absent are answered from; the first that means a tag decides.
    pub fallbacks: Vec<Fallback>,
}

/// What a repository is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Builds alone: an image with a cache in it is a cache like any other, whoever asks.
    Cache,
    /// Images alone: every tag is what was pushed, as it was pushed.
    Image,
}

/// Which parts of a tag count, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Whether tags have parts at all.
    pub are_on: bool,
    /// What stands between a tag and the name of its part.
    pub separator: String,
    /// How much older than the newest a part may be.
    pub window: Duration,
    /// How many there may be, the newest.
    pub most: usize,
    /// How many bytes of configs are united, of the newest.
    pub max_bytes: u64,
}

/// Where tags that are absent are answered from.
#[derive(Clone, Debug)]
pub struct Fallback {
    /// Which tags.
    pub tag: TagPattern,
    /// What stands in for them.
    pub to: Vec<Target>,
    /// Whether all that there are do, and not only the first.
    pub is_union: bool,
}

/// What stands in for a tag that is absent.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is, if that is another image. What the asker may not read is never here.
    pub repository: Option<Repository>,
    /// Its tag.
    pub tag: Tag,
}

impl Default for Parts {
    fn default() -> Self {
        let window = Duration::from_secs(24 * 60 * 60);
        Self { are_on: true, separator: "--".to_owned(), window, most: 32, max_bytes: 8 << 20 }
    }
}

impl Parts {
    /// The tag of which `tag` is a part.
    pub(super) fn whole_of<'a>(&self, tag: &'a Tag) -> Option<&'a str> {
        let (whole, part) = tag.as_str().split_once(&self.separator)?;
        (self.are_on && !whole.is_empty() && !part.is_empty()).then_some(whole)
    }
}

impl Answering {
    /// What decides about an absent `tag`.
    pub(super) fn fallback_of(&self, tag: &Tag) -> Option<&Fallback> {
        self.fallbacks.iter().find(|fallback| fallback.tag.matches(tag))
    }

    /// The other images that any tag may be answered from, each once.
    pub(in crate::registry) fn others(&self) -> Vec<&Repository> {
        let mut others: Vec<&Repository> = Vec::new();
        for other in self.fallbacks.iter().flat_map(|fallback| &fallback.to).filter_map(|target| target.repository.as_ref()) {
            if others.iter().all(|known| known.image != other.image) {
                others.push(other);
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_split_at_the_first_separator() {
        let parts = Parts::default();
        for (tag, whole) in [
            ("cache--a", Some("cache")),
            ("cache--a--b", Some("cache")),
            ("a---b", Some("a")),
            ("cache", None),
            ("cache-a", None),
            ("cache--", None),
        ] {
            assert_eq!(parts.whole_of(&tag.parse().unwrap()), whole, "{tag}");
        }
        let off = Parts { are_on: false, ..parts };
        assert_eq!(off.whole_of(&"cache--a".parse().unwrap()), None);
    }
}
