//! Healing: a cache without what is gone.
//!
//! A layer that is missing when BuildKit wants it fails the build; a layer that
//! the manifest does not name is a step that runs again (`v1/parse.go`,
//! `getRemoteChain`: no descriptor, no result).

use std::collections::BTreeMap;

use super::cache::{Blob, Cache};
use crate::oci::Digest;

/// A cache that was looked over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// What is left: nothing in it needs a blob that is gone.
    pub cache: Cache,
    /// The blobs that are gone.
    pub missing: BTreeMap<Digest, Blob>,
}

impl Cache {
    /// The cache without the blobs that `is_missing`, layers that stand on them, results that are
    /// these layers, and whatever then leads nowhere. What leads to other results stays.
    #[must_use]
    pub fn heal(&self, is_missing: impl Fn(&Digest) -> bool) -> Healed {
        let gone = |(digest, blob): (&Digest, &Blob)| is_missing(digest).then(|| (*digest, blob.clone()));
        let missing: BTreeMap<_, _> = self.blobs.iter().filter_map(gone).collect();
        let mut stands: Vec<bool> = Vec::with_capacity(self.config.layers.len());
        for layer in &self.config.layers {
            let is_held = layer.parent.is_none_or(|parent| stands[parent as usize]);
            stands.push(is_held && !missing.contains_key(&layer.blob));
        }
        Healed { cache: self.with_results(|_, result| stands[result.layer as usize]), missing }
    }
}
