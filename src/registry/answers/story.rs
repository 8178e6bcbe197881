//! How an answer came about: for the log, the metrics, and whoever asks for an explanation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::super::Repository;
use super::decide::{Decision, Evidence, Finding, Verdict};
use super::gather::{Gathered, PassedOver};
use super::look::Looked;
use super::memory::Known;
use super::source::{Content, Source};
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
    /// What it is.
    pub what: What,
    /// Its digest.
    pub digest: Digest,
    /// When it was pushed.
    pub pushed: SystemTime,
    /// Its layers and its config, with their sizes in bytes.
    pub blobs: BTreeMap<Digest, u64>,
    /// Those that are gone.
    pub gone: BTreeSet<Digest>,
    /// What was found in it; `None` where nobody looked: there is no cache in it, or it is known from before.
    pub found: Option<Finding>,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A cache.
    Cache,
    /// An image, which may have a cache in it.
    Image,
    /// A cache that a client of `type=s3` wrote.
    OfS3,
    /// Something else.
    Other,
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

impl Told {
    fn of(source: &Source) -> Self {
        Self {
            name: source.to_string(),
            what: match source.content {
                Content::Cache(..) => What::Cache,
                Content::Image(..) | Content::Images(..) => What::Image,
                Content::OfS3(_) => What::OfS3,
                Content::Other(_) => What::Other,
            },
            digest: source.content.digest(),
            pushed: source.pushed,
            blobs: source.content.blobs().into_iter().map(|wanted| (wanted.digest, wanted.size)).collect(),
            gone: BTreeSet::new(),
            found: None,
        }
    }
}

impl Story {
    pub(super) fn of(gathered: &Gathered, looked: Option<&Looked>) -> Self {
        let mut sources: Vec<_> = gathered.sources.iter().map(Told::of).collect();
        let evidence = looked.iter().flat_map(|looked| looked.evidence.iter());
        for (at, Evidence { source, gone, .. }) in evidence.enumerate() {
            // What is in an index is told as the index's.
            let at = if gathered.is_alone { 0 } else { at };
            let Some(told) = sources.get_mut(at) else { continue };
            told.blobs.extend(source.content.blobs().into_iter().map(|wanted| (wanted.digest, wanted.size)));
            told.gone.extend(gone);
        }
        let (passed_over, stands_in) = (gathered.passed_over.clone(), gathered.stands_in.clone());
        Self { sources, passed_over, stands_in, ..Self::default() }
    }

    /// Takes in what was decided.
    pub(super) fn decided(&mut self, decision: &Decision) {
        match &mut self.sources[..] {
            // Of what is in an index there is mostly one that has a cache in it.
            [only] => only.found = decision.findings.iter().max_by_key(|found| found.steps.records).cloned(),
            sources => sources.iter_mut().zip(&decision.findings).for_each(|(told, found)| told.found = Some(found.clone())),
        }
        self.outcome = match &decision.verdict {
            Verdict::AsIs => Outcome::AsIs,
            Verdict::Nothing => Outcome::Nothing,
            Verdict::Made(made) => {
                self.no_room = made.left_out.clone();
                Outcome::Made { united: made.united, is_rescued: made.is_rescued }
            }
        };
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
