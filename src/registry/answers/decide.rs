//! What to answer with: a pure function of what was found.

use std::collections::{BTreeMap, HashSet};

use super::super::manifests::StoredManifest;
use super::config::Config;
use super::source::{Content, Source};
use crate::buildkit::{Cache, Derived, Document, Healed, IMPORT_LIMIT, LeftOut, Reason, write_into_index};
use crate::oci::{Digest, MediaType};

/// All that is known of a source when it is decided.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub source: Source,
    pub config: Config,
    /// What it needs and the store does not have.
    pub gone: HashSet<Digest>,
}

/// What to answer with, and what was found on the way, for each source in their order.
#[derive(Debug)]
pub(super) struct Decision {
    pub verdict: Verdict,
    pub findings: Vec<Finding>,
}

#[derive(Debug)]
pub(super) enum Verdict {
    /// The first source, as it is.
    AsIs,
    /// What was made of them.
    Made(Box<Made>),
    /// There is nothing that a build could use.
    Nothing,
}

/// What was made of sources.
#[derive(Debug)]
pub(super) struct Made {
    pub derived: Derived,
    /// What else it refers to that was made: of images in an index, their manifests and configs.
    pub more: Vec<Document>,
    /// What it knows.
    pub steps: Steps,
    /// How many sources went into it, the newest.
    pub united: usize,
    /// Whether it is in another form than what was pushed, since that is too large for importers.
    pub is_rescued: bool,
    /// What even that had no room for.
    pub left_out: LeftOut,
}

/// What was found in a source.
#[derive(Clone, Debug, Default)]
pub struct Finding {
    /// How many bytes its config has; none where it was not read.
    pub config_bytes: usize,
    /// What it knows as it was pushed.
    pub steps: Steps,
    /// What is left of that without what is gone.
    pub usable: Steps,
    /// Its layers that are gone, with their sizes in bytes.
    pub missing: BTreeMap<Digest, u64>,
    /// What of it nobody could have used.
    pub left_out: LeftOut,
    /// Why nothing could be made of it.
    pub error: Option<String>,
}

/// How many steps a cache knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// All records, the sources that steps begin with among them.
    pub records: usize,
    /// Those that are made of others.
    pub made: usize,
    /// Those that it has layers of.
    pub results: usize,
}

impl Steps {
    pub(in crate::registry) fn of(cache: &Cache) -> Self {
        let records = cache.config().records();
        let made = records.iter().filter(|record| !record.inputs.is_empty()).count();
        let results = records.iter().filter(|record| !record.results.is_empty()).count();
        Self { records: records.len(), made, results }
    }

    fn and(self, other: Self) -> Self {
        Self { records: self.records + other.records, made: self.made + other.made, results: self.results + other.results }
    }

    /// Whether it is most likely of `mode=min`, and of several stages: it knows how
    /// the last one came about and has layers of no other. With `mode=max` every step that made something has one.
    #[must_use]
    pub fn are_of_last_stage(&self) -> bool {
        self.results * 2 < self.made
    }
}

/// What to answer with, of sources with the newest first, of whose configs `max_bytes` are united at most.
///
/// Where something was found `alone`, the sources are what is in it, and it stays what it is: somebody may want to run it.
pub(super) fn decide(evidence: &[Evidence], max_bytes: usize, alone: Option<&StoredManifest>) -> Decision {
    let (findings, caches): (Vec<_>, Vec<_>) = evidence.iter().map(Evidence::find).unzip();
    let verdict = match (evidence, &findings[..], alone) {
        (_, _, Some(alone)) => mend(alone, evidence, &caches).map_or(Verdict::AsIs, |made| Verdict::Made(Box::new(made))),
        ([only], [finding], None) if only.is_whole(finding) => Verdict::AsIs,
        _ => unite(evidence, caches, max_bytes),
    };
    Decision { verdict, findings }
}

impl Evidence {
    /// What there is in it, and the cache without what is gone, which is empty where there is none.
    fn find(&self) -> (Finding, Cache) {
        let mut finding = Finding::default();
        let Config::Read(config) = &self.config else { return (finding, Cache::default()) };
        finding.config_bytes = config.len();
        let read = match self.source.content.read(config) {
            Ok(read) => read.unwrap_or_default(),
            Err(error) => {
                finding.error = Some(error.to_string());
                return (finding, Cache::default());
            }
        };
        let Healed { cache, missing } = read.cache.heal(|digest| self.gone.contains(digest));
        finding.steps = Steps::of(&read.cache);
        finding.usable = Steps::of(&cache);
        finding.missing = missing.into_iter().map(|(digest, blob)| (digest, blob.size)).collect();
        finding.left_out = read.left_out;
        (finding, cache)
    }

    /// Whether importers get of it as it is what there is to be had.
    pub(super) fn is_whole(&self, finding: &Finding) -> bool {
        let content = &self.source.content;
        if !self.gone.is_empty() {
            return false;
        }
        match (&self.config, content) {
            (Config::Absent, _) | (_, Content::OfS3(_)) => false,
            (Config::Unknown | Config::TooLarge, _) => true,
            // Importers leave out by themselves what has no descriptor; for the rest they refuse all, or the build fails.
            (Config::Read(config), Content::Cache(manifest, _)) => {
                let is_lying = finding.left_out.iter().any(|(reason, _)| reason != Reason::LayerWithoutDescriptor);
                let fits = manifest.bytes.len().max(config.len()) <= IMPORT_LIMIT;
                finding.error.is_some() || fits && !is_lying
            }
            (Config::Read(_), Content::Image(manifest, _)) => manifest.bytes.len() <= IMPORT_LIMIT,
            (Config::Read(_), Content::Images(..) | Content::Other(_)) => true,
        }
    }

    /// An image of which something is gone, with what is left of its cache.
    fn mend(&self, cache: &Cache) -> Option<Derived> {
        let (Content::Image(manifest, image), Config::Read(config)) = (&self.source.content, &self.config) else { return None };
        if self.gone.is_empty() { None } else { cache.write_into(image, &manifest.bytes, config) }
    }
}

/// An image, or an index of images, of which something is gone, with what is left of their caches.
fn mend(alone: &StoredManifest, evidence: &[Evidence], caches: &[Cache]) -> Option<Made> {
    let mended =
        evidence.iter().zip(caches).filter_map(|(image, cache)| Some((image.source.content.digest(), image.mend(cache)?)));
    let mut mended: Vec<_> = mended.collect();
    let is_index = evidence.iter().all(|image| image.source.content.digest() != alone.digest);
    let (derived, more) = if is_index {
        let images: Vec<_> = mended.iter().map(|(digest, image)| (*digest, &image.manifest)).collect();
        let manifest = write_into_index(&alone.bytes, &images)?;
        let mut documents = mended.into_iter().flat_map(|(_, image)| [image.config, image.manifest]);
        (Derived { manifest, config: documents.next()? }, documents.collect())
    } else {
        (mended.pop()?.1, Vec::new())
    };
    let steps = caches.iter().map(Steps::of).fold(Steps::default(), Steps::and);
    Some(Made { derived, more, steps, united: 1, is_rescued: false, left_out: LeftOut::default() })
}

fn unite(evidence: &[Evidence], caches: Vec<Cache>, max_bytes: usize) -> Verdict {
    let sources = evidence.iter().map(|evidence| evidence.source.content.form());
    let (forms, caches): (Vec<_>, Vec<_>) = sources.zip(caches).filter(|(_, cache)| !cache.is_empty()).unzip();
    let united = Cache::newest_within(&caches, max_bytes);
    let (Some(form), caches) = (forms.first(), &caches[..united]) else { return Verdict::Nothing };
    let union = Cache::union(caches);
    let (derived, left_out) = union.rescue(*form);
    let is_rescued = derived.config.media_type != MediaType::CACHE_CONFIG;
    let steps = Steps::of(&union);
    Verdict::Made(Box::new(Made { derived, more: Vec::new(), steps, united, is_rescued, left_out }))
}
