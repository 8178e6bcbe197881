//! What a pull of a tag would be answered with, and why, for a person to read.
//!
//! It is found out as for a build that imports it, and nothing comes of it: what
//! would be made is not stored, and nothing is remembered, counted or marked.

use std::collections::BTreeMap;
use std::time::SystemTime;

use tokio::time::Instant;

use super::super::index::FRESH;
use super::super::{Asker, RegistryError, Repository};
use super::decide::{Decision, Evidence, Made, Steps, Verdict};
use super::gather::Gathered;
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
        if gathered.sources.is_empty() {
            return Ok(Explanation { story: Story::of(&gathered, &[]), ..Explanation::default() });
        }
        let Some(evidence) = self.look_over(&gathered, Asker::Import, until()).await else {
            let is_left_alone = gathered.sources[0].repository.answering.kind == Some(Kind::Image);
            return Ok(Explanation { story: Story::untouched(&gathered), is_left_alone, ..Explanation::default() });
        };
        let Decision { verdict, findings } = self.decide(&evidence, self.most_bytes(), gathered.is_alone).await;
        let mut story = Story::of(&gathered, &evidence);
        story.add(findings);
        let cache = match verdict {
            Verdict::Nothing => None,
            Verdict::AsIs => {
                story.outcome = Outcome::AsIs;
                let found = story.sources.first().and_then(|told| told.found.as_ref());
                found.map(|found| ServedCache { config_bytes: found.config_bytes, steps: found.usable })
            }
            Verdict::Made(made) => {
                let Made { derived, steps, united, is_rescued, left_out } = *made;
                (story.outcome, story.no_room) = (Outcome::Made { united, is_rescued }, left_out);
                Some(ServedCache { config_bytes: derived.config.bytes.len(), steps })
            }
        };
        Ok(Explanation { story, is_left_alone: false, cache, blobs: seen(&gathered, &evidence) })
    }
}

/// What was seen of the blobs of all sources.
fn seen(gathered: &Gathered, evidence: &[Evidence]) -> BTreeMap<Digest, Seen> {
    let mut blobs = BTreeMap::new();
    for (source, evidence) in gathered.sources.iter().zip(evidence) {
        let repository = &source.repository;
        for wanted in source.content.blobs() {
            let found = repository.index().find_within(&repository.keys.blobs(), &wanted.digest, FRESH);
            let last_modified = found.map(|found| found.last_modified);
            let is_gone = evidence.gone.contains(&wanted.digest);
            blobs.insert(wanted.digest, Seen { size: wanted.size, last_modified, is_gone });
        }
    }
    blobs
}
