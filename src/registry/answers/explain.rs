//! What a pull of a tag would be answered with, and why, for a person to read.
//!
//! It is found out as for a build that imports it, and nothing comes of it: what
//! would be made is not stored, and nothing is remembered, counted or marked.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::index::FRESH;
use super::super::{Asker, RegistryError, Repository};
use super::decide::{Made, Steps, Verdict};
use super::look::Looked;
use super::rules::Kind;
use super::story::{Outcome, Story};
use super::{Step, Time};
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
    /// All blobs that the sources refer to, where there is a cache in them.
    pub blobs: BTreeMap<Digest, Seen>,
    /// What clients of `type=s3` find in place of the tag, where they have it at all.
    pub of_s3: Option<SeenByS3>,
}

/// What clients of `type=s3` find in place of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenByS3 {
    /// Where they look.
    pub key: String,
    /// What is there.
    pub found: FoundByS3,
}

/// What is there where clients of `type=s3` look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundByS3 {
    /// Nothing.
    Nothing,
    /// What was written for them when this manifest was pushed.
    Pushed(Digest),
    /// What one of them exported then.
    Exported(SystemTime),
    /// No cache, and why.
    NoCache(String),
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
    /// When it was written or made young last; `None` where nobody has looked, or nothing is there.
    pub last_modified: Option<SystemTime>,
    /// Whether it is gone from the store.
    pub is_gone: bool,
}

impl Repository {
    /// What a build that imports `tag` would get, and why. It takes its time.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: the tag could not be read.
    pub async fn explain(&self, tag: &Tag) -> Result<Explanation, RegistryError> {
        let explanation = self.explain_answer(tag).await?;
        Ok(Explanation { of_s3: self.seen_by_s3(tag).await?, ..explanation })
    }

    async fn seen_by_s3(&self, tag: &Tag) -> Result<Option<SeenByS3>, RegistryError> {
        let Some(key) = self.s3_key(tag) else { return Ok(None) };
        let found = match self.find_s3(&key, self.patience().bytes).await? {
            None => FoundByS3::Nothing,
            Some((_, Err(error))) => FoundByS3::NoCache(error.to_string()),
            Some((meta, Ok((_, read)))) => read.written_for.map_or(FoundByS3::Exported(meta.last_modified), FoundByS3::Pushed),
        };
        Ok(Some(SeenByS3 { key: key.to_string(), found }))
    }

    async fn explain_answer(&self, tag: &Tag) -> Result<Explanation, RegistryError> {
        let time = Time::of(self.patience().bytes);
        let gathered = self.gather_answer(tag, Asker::Import, time).await?;
        let looked = self.look_over(&gathered, Asker::Import, time.end_of(Step::Looking)).await;
        let mut story = Story::of(&gathered, looked.as_ref());
        let Some(looked) = looked else {
            let of_image = |kind| gathered.sources.first().is_some_and(|source| source.repository.answering.kind == Some(kind));
            if !gathered.sources.is_empty() {
                story.outcome = Outcome::AsIs;
            }
            return Ok(Explanation { story, is_left_alone: of_image(Kind::Image), ..Explanation::default() });
        };
        let decision = self.decide(&looked).await;
        story.decided(&decision);
        let cache = served(&decision.verdict, &story);
        Ok(Explanation { story, cache, blobs: looked.seen(), ..Explanation::default() })
    }
}

/// The cache that a build gets by a verdict.
fn served(verdict: &Verdict, story: &Story) -> Option<ServedCache> {
    match verdict {
        Verdict::Nothing => None,
        Verdict::AsIs => {
            let found = story.sources.first()?.found.as_ref()?;
            Some(ServedCache { config_bytes: found.config_bytes, steps: found.usable })
        }
        Verdict::Made(made) => {
            let Made { derived, steps, .. } = &**made;
            Some(ServedCache { config_bytes: derived.config.bytes.len(), steps: *steps })
        }
    }
}

impl Looked {
    /// What was seen of the blobs of all sources.
    fn seen(&self) -> BTreeMap<Digest, Seen> {
        let mut blobs = BTreeMap::new();
        for evidence in self.evidence.iter() {
            let repository = &evidence.source.repository;
            for wanted in evidence.source.content.blobs() {
                let found = repository.index().find_within(&repository.keys.blobs(), &wanted.digest, FRESH);
                let last_modified = found.map(|found| found.last_modified);
                let is_gone = evidence.gone.contains(&wanted.digest);
                blobs.insert(wanted.digest, Seen { size: wanted.size, last_modified, is_gone });
            }
        }
        blobs
    }
}
