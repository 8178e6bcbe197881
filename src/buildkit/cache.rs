//! A cache: what it knows, and the blobs that it is kept in.

use std::collections::BTreeMap;

use super::cache_config::{CacheConfig, CacheResult};
use super::draft::Draft;
use super::left_out::{LeftOut, Reason};
use super::timestamp::Timestamp;
use crate::oci::Digest;

/// Everything an importer needs of a cache, and nothing that it couldn't use:
/// every layer has its blob, every blob a layer, every layer a result, and every
/// record leads to one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    pub(super) config: CacheConfig,
    pub(super) blobs: BTreeMap<Digest, Blob>,
}

/// A cache that was read, and what could not be used of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// What could.
    pub cache: Cache,
    /// What couldn't.
    pub left_out: LeftOut,
}

/// A layer's bytes, as somebody describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// How they are packed.
    pub media_type: String,
    /// How many they are, packed.
    pub size: u64,
    /// The digest of what they unpack to. Without it BuildKit fails the build
    /// that wants to use the layer (`cache/manager.go`, `diffIDFromDescriptor`).
    pub diff_id: Digest,
    /// When they were made.
    pub created: Option<Timestamp>,
    /// What else is said of them, by key; only what has to do with reading them.
    pub more: BTreeMap<String, String>,
}

impl Cache {
    /// What of `draft` can be used with `blobs`.
    pub(super) fn of(mut draft: Draft, mut blobs: BTreeMap<Digest, Blob>, left_out: &mut LeftOut) -> Self {
        let mut missing = 0;
        for place in &mut draft.layers {
            missing += usize::from(place.take_if(|layer| !blobs.contains_key(&layer.blob)).is_some());
        }
        left_out.add(Reason::LayerWithoutDescriptor, missing);
        let config = draft.settle(left_out).strip();
        let used = config.blobs();
        blobs.retain(|digest, _| used.contains(digest));
        Self { config, blobs }
    }

    /// The cache with only those results that `keeps`, each of the record at a place.
    pub(super) fn with_results(&self, keeps: impl Fn(usize, &CacheResult) -> bool) -> Self {
        let mut config = self.config.clone();
        for (at, record) in config.records.iter_mut().enumerate() {
            record.results.retain(|result| keeps(at, result));
        }
        let config = config.strip();
        let used = config.blobs();
        let blobs = self.blobs.iter().filter(|(digest, _)| used.contains(digest));
        Self { blobs: blobs.map(|(digest, blob)| (*digest, blob.clone())).collect(), config }
    }

    /// What it knows.
    #[must_use]
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    /// The blobs it is kept in, in order.
    #[must_use]
    pub fn blobs(&self) -> &BTreeMap<Digest, Blob> {
        &self.blobs
    }

    /// Whether no build could use anything of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }
}
