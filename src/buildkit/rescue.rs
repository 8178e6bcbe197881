//! Rescue: a cache in a form that an importer does not refuse for its size.
//!
//! Released BuildKits read manifests and cache configs up to 1 MiB and ignore
//! the whole cache beyond (v0.32.2 `cache/remotecache/import.go`, `readBlob`).
//! A [`Cache`] is already without white space, without what is said twice,
//! records that lead nowhere and layers that nothing uses. What is still too
//! large goes into the inline form, whose config has no limit. Its manifest
//! has, so where there are more than about 6 000 blobs, the oldest results are
//! left out.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use super::cache::{Blob, Cache};
use super::cache_config::CacheConfig;
use super::json::to_json;
use super::left_out::{LeftOut, Reason};
use super::manifest::{Derived, Document, Form, WireDescriptor};
use crate::oci::{Digest, MediaType};

/// Longest manifest and cache config that an importer takes, in bytes.
pub const IMPORT_LIMIT: usize = 1 << 20;

/// What an inline manifest has besides its layers, in bytes; generously.
const AROUND_LAYERS: usize = 1024;

/// Most layers that the chains of an inline form may name: 5 MB of JSON or so.
const MAX_CHAINED: usize = 1_000_000;

impl Cache {
    /// The cache in `form` if importers take that, or else in the inline form;
    /// and what even that has no room for.
    #[must_use]
    pub fn rescue(&self, form: Form) -> (Derived, LeftOut) {
        if let Some(plain) = self.importable(form) {
            return (plain, LeftOut::default());
        }
        let (cache, left_out) = self.newest_results();
        (cache.write_inline(), left_out)
    }

    /// The cache in `form`, if importers take manifest and config as they are.
    fn importable(&self, form: Form) -> Option<Derived> {
        let config = self.config.to_json();
        if config.len() > IMPORT_LIMIT {
            return None;
        }
        let plain = self.write_with(form, Document::new(MediaType::CACHE_CONFIG, config));
        (plain.manifest.bytes.len() <= IMPORT_LIMIT).then_some(plain)
    }

    /// The newest results that an inline form has room for, and what leads to them.
    fn newest_results(&self) -> (Self, LeftOut) {
        let results = self.config.records.iter().enumerate();
        let mut results: Vec<_> =
            results.flat_map(|(at, record)| record.results.iter().map(move |it| (Reverse(it.created), at, it.layer))).collect();
        results.sort_unstable();
        let count = results.len();
        let mut room = Room::of(self);
        results.retain(|(_, _, layer)| room.takes(*layer));
        let kept: HashSet<_> = results.into_iter().map(|(_, at, layer)| (at, layer)).collect();
        let mut left_out = LeftOut::default();
        left_out.add(Reason::TooMuch, count - kept.len());
        (self.with_results(|at, result| kept.contains(&(at, result.layer))), left_out)
    }
}

/// What fits into an inline form.
struct Room<'a> {
    config: &'a CacheConfig,
    /// How many layers each chain has.
    depths: Vec<usize>,
    /// What naming each blob takes in the manifest, in bytes; nothing where it is named already.
    costs: HashMap<Digest, usize>,
    /// The layers whose blobs are all named.
    is_named: Vec<bool>,
    manifest_bytes: usize,
    chained: usize,
}

impl<'a> Room<'a> {
    fn of(cache: &'a Cache) -> Self {
        let layers = &cache.config.layers;
        let mut depths = Vec::with_capacity(layers.len());
        for layer in layers {
            depths.push(layer.parent.map_or(1, |parent| depths[parent as usize] + 1));
        }
        let cost = |(digest, blob): (&Digest, &Blob)| (*digest, to_json(&WireDescriptor::bare(digest, blob)).len() + 1);
        let (costs, is_named) = (cache.blobs.iter().map(cost).collect(), vec![false; layers.len()]);
        Self { config: &cache.config, depths, costs, is_named, manifest_bytes: AROUND_LAYERS, chained: 0 }
    }

    /// Whether the chain that ends at `top` still fits; its blobs then have their place.
    fn takes(&mut self, top: u32) -> bool {
        // Counted for what doesn't fit too, so that looking at chains comes to an end.
        self.chained += self.depths[top as usize];
        if self.chained > MAX_CHAINED {
            return false;
        }
        let new: Vec<_> = self.config.down_from(top).take_while(|at| !self.is_named[*at as usize]).collect();
        let blobs: HashSet<_> = new.iter().map(|at| self.config.layers[*at as usize].blob).collect();
        let bytes: usize = blobs.iter().map(|blob| self.costs[blob]).sum();
        if self.manifest_bytes + bytes > IMPORT_LIMIT {
            return false;
        }
        self.manifest_bytes += bytes;
        new.into_iter().for_each(|at| self.is_named[at as usize] = true);
        self.costs.extend(blobs.into_iter().map(|blob| (blob, 0)));
        true
    }
}
