//! What a pull of a tag would be answered with, and why, for a person to read.
//!
//! It is found out as for a build that imports it, and nothing comes of it: what
//! would be made is not stored, and nothing is remembered, counted or marked.

use std::collections::BTreeMap;
use std::time::SystemTime;

use tokio::time::Instant;

use super::super::index::FRESH;
use super::super::{Asker, RegistryError, Repository};
use super::decide::{Evidence, Finding, Steps, Verdict};
use super::look::Looked;
use super::rules::Kind;
use super::story::{Outcome, Story};
use crate::oci::{Digest, Tag};

/// What a build that imports a tag would get.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// What it is made of, and what comes of it.
    pub story: Story,
    /// Whether it is left alone since a rule says that it is an image to be run.
    pub is_left_alone: bool,
    /// The cache that the build gets, if it gets one.
    pub cache: Option<ServedCache>,
    /// All blobs that the sources refer to.
    pub blobs: BTreeMap<Digest, Seen>,
}

/// A cache as a build gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedCache {
    /// How many bytes its config has: BuildKit takes no more than [`IMPORT_LIMIT`](crate::buildkit::IMPORT_LIMIT).
    pub config_bytes: usize,
    /// What it knows.
    pub steps: Steps,
}

/// A blob that a source refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many bytes it has, as the sources say.
    pub size: u64,
    /// When it was written or used last; `None` where nobody has looked, or nothing is there.
    pub last_modified: Option<SystemTime>,
    /// Whether it is gone from the store.
    pub is_gone: bool,
}

impl Repository {
    /// What a build that imports `tag` would get, and why. It takes as long as the pull's patience for each step.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: the tag could not be read.
    pub async fn explain(&self, tag: &Tag) -> Result<Explanation, RegistryError> {
        let until = || Instant::now() + self.patience().pull;
        let gathered = self.find(tag, Asker::Import, until()).await?;
        let looked = self.look_over(&gathered, Asker::Import, until()).await;
        let mut story = Story::of(&gathered, looked.as_ref());
        let Some(looked) = looked else {
            let first = gathered.sources.first();
            story.outcome = first.map_or(Outcome::Nothing, |_| Outcome::AsIs);
            let is_left_alone = first.is_some_and(|first| first.repository.answering.kind == Some(Kind::Image));
            return Ok(Explanation { story, is_left_alone, ..Explanation::default() });
        };
        let decision = self.decide(&looked).await;
        story.decided(&decision);
        let cache = match decision.verdict {
            Verdict::Nothing => None,
            Verdict::AsIs => story.sources.first().and_then(|told| told.found.as_ref()).map(ServedCache::of),
            Verdict::Made(made) => Some(ServedCache { config_bytes: made.derived.config.bytes.len(), steps: made.steps }),
        };
        Ok(Explanation { story, is_left_alone: false, cache, blobs: seen(&looked) })
    }
}

impl ServedCache {
    fn of(found: &Finding) -> Self {
        Self { config_bytes: found.config_bytes, steps: found.usable }
    }
}

/// What was seen of the blobs of all sources.
fn seen(looked: &Looked) -> BTreeMap<Digest, Seen> {
    let mut blobs = BTreeMap::new();
    for Evidence { source, gone, .. } in looked.evidence.iter() {
        let repository = &source.repository;
        for wanted in source.content.blobs() {
            let found = repository.index().find_within(&repository.keys.blobs(), &wanted.digest, FRESH);
            let last_modified = found.map(|found| found.last_modified);
            let is_gone = gone.contains(&wanted.digest);
            blobs.insert(wanted.digest, Seen { size: wanted.size, last_modified, is_gone });
        }
    }
    blobs
}
