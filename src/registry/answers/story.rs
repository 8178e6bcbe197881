//! How an answer came about: for the log, the metrics, and whoever asks for an explanation.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::super::Repository;
use super::Gathered;
use super::decide::{Evidence, Finding};
use super::gather::PassedOver;
use super::memory::Known;
use super::source::Source;
use crate::buildkit::LeftOut;
use crate::metrics::CacheWork;
use crate::oci::{Digest, Tag};

/// Most layers that a line of the log names.
const MOST_NAMED: usize = 8;

/// How an answer came about.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// What it was made of, the newest first.
    pub sources: Vec<Told>,
    /// What could have been part of it.
    pub passed_over: Vec<PassedOver>,
    /// What stands in for the tag, which is absent.
    pub stands_in: Vec<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// What there was no room for, even in the form that may be large.
    pub no_room: LeftOut,
}

/// What there is to tell of a source.
#[derive(Clone, Debug)]
pub struct Told {
    /// As a client would ask for it.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
    /// When it was pushed.
    pub pushed: SystemTime,
    /// Its layers and its config, with their sizes in bytes.
    pub blobs: BTreeMap<Digest, u64>,
    /// Those that are gone.
    pub gone: Vec<Digest>,
    /// What was found in it; `None` where that was known from before.
    pub found: Option<Finding>,
}

/// What came of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing, or nothing that a build could use.
    #[default]
    Nothing,
    /// It is served as it was pushed.
    AsIs,
    /// It is served as something that was made here.
    Made {
        /// How many sources went into it, the newest.
        united: usize,
        /// Whether it is in the form that may be large.
        is_rescued: bool,
    },
    /// What it would have been served as could not be stored.
    NotStored,
}

impl From<&Known> for Outcome {
    fn from(known: &Known) -> Self {
        match known {
            Known::AsIs => Self::AsIs,
            Known::Derived { united, is_rescued, .. } => Self::Made { united: *united, is_rescued: *is_rescued },
            Known::Nothing => Self::Nothing,
        }
    }
}

impl super::Answer {
    /// Nothing was found to answer with.
    pub(super) fn nothing(gathered: Gathered) -> Self {
        Self { served: None, story: Story::of(&gathered, &[]) }
    }
}

impl Told {
    fn of(source: &Source, gone: Vec<Digest>) -> Self {
        let blobs = source.content.blobs().into_iter().map(|wanted| (wanted.digest, wanted.size)).collect();
        Self { name: source.to_string(), digest: source.content.digest(), pushed: source.pushed, blobs, gone, found: None }
    }
}

impl Story {
    pub(super) fn of(gathered: &Gathered, evidence: &[Evidence]) -> Self {
        let told = evidence.iter().map(|Evidence { source, gone, .. }| Told::of(source, gone.iter().copied().collect()));
        let (passed_over, stands_in) = (gathered.passed_over.clone(), gathered.stands_in.clone());
        Self { sources: told.collect(), passed_over, stands_in, ..Self::default() }
    }

    /// Of what is no cache for whoever asks.
    pub(super) fn untouched(gathered: &Gathered) -> Self {
        let sources = gathered.sources.iter().map(|source| Told::of(source, Vec::new())).collect();
        Self { outcome: Outcome::AsIs, sources, ..Self::of(gathered, &[]) }
    }

    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        for (told, found) in self.sources.iter_mut().zip(findings) {
            told.found = Some(found);
        }
    }

    /// Whether something was left out since it is gone.
    fn is_healed(&self) -> bool {
        self.sources.iter().any(|told| !told.gone.is_empty())
    }
}

impl Repository {
    /// Tells a person what was done about a cache that is new.
    pub(super) fn tell(&self, tag: &Tag, story: &Story) {
        for Told { name, gone, blobs, found, .. } in &story.sources {
            let (image, found) = (&self.name, found.as_ref());
            if !gone.is_empty() {
                let bytes: u64 = gone.iter().filter_map(|digest| blobs.get(digest)).sum();
                let named = gone.iter().take(MOST_NAMED).map(|digest| format!("{digest} ({})", blobs.get(digest).unwrap_or(&0)));
                let layers = named.collect::<Vec<_>>().join(", ");
                tracing::warn!(%image, %tag, cache = name, gone = gone.len(), bytes, layers, "layers of a cache are gone; what needs them is left out");
            }
            if let Some(error) = found.and_then(|found| found.error.as_ref()) {
                tracing::warn!(%image, %tag, cache = name, error, "a cache can't be read");
            }
            if let Some(left_out) = found.map(|found| &found.left_out).filter(|left_out| !left_out.is_empty()) {
                tracing::info!(%image, %tag, cache = name, %left_out, "a cache has in it what no build could use");
            }
        }
        if let Outcome::Made { united, is_rescued } = story.outcome {
            let stands_in = story.stands_in.join(", ");
            tracing::info!(image = %self.name, %tag, united, is_rescued, stands_in, "cache served in a form of its own");
        }
        if !story.no_room.is_empty() {
            tracing::warn!(image = %self.name, %tag, left_out = %story.no_room, "a cache is larger than importers take in any form");
        }
    }

    pub(super) fn count(&self, story: &Story) {
        let metrics = &self.registry.metrics;
        let is_made = matches!(story.outcome, Outcome::Made { .. });
        for (work, is_done) in [
            (CacheWork::Healed, is_made && story.is_healed()),
            (CacheWork::United, matches!(story.outcome, Outcome::Made { united, .. } if united > 1)),
            (CacheWork::Rescued, matches!(story.outcome, Outcome::Made { is_rescued: true, .. })),
            (CacheWork::FellBack, !story.stands_in.is_empty()),
            (CacheWork::NotStored, story.outcome == Outcome::NotStored),
        ] {
            if is_done {
                metrics.cache_answered(work);
            }
        }
    }
}
