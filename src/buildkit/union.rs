//! The union of several caches: what any of them knows, said once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::cache::{Blob, Cache};
use super::draft::Draft;
use super::left_out::LeftOut;

impl Cache {
    /// What any of `caches` knows, the newest first.
    ///
    /// The order decides only whose word counts where they describe one blob
    /// differently. So the union of unions is the union of all, to the byte.
    #[must_use]
    pub fn union(caches: &[Self]) -> Self {
        if let [cache] = caches {
            return cache.clone();
        }
        let mut draft = Draft::default();
        let mut blobs = BTreeMap::new();
        for cache in caches {
            draft.append(&cache.config);
            for (digest, blob) in &cache.blobs {
                match blobs.entry(*digest) {
                    Entry::Vacant(place) => drop(place.insert(blob.clone())),
                    Entry::Occupied(mut newer) => Blob::add(newer.get_mut(), blob),
                }
            }
        }
        Self::of(draft, blobs, &mut LeftOut::default())
    }

    /// How many of `caches`, the newest first, have configs of `max_bytes` at most together.
    ///
    /// The first one always counts: it is what is there without the others.
    #[must_use]
    pub fn newest_within(caches: &[Self], max_bytes: usize) -> usize {
        let mut bytes = 0_usize;
        let fits = |cache: &&Self| {
            bytes = bytes.saturating_add(cache.config.to_json().len());
            bytes <= max_bytes
        };
        caches.iter().take_while(fits).count().max(usize::from(!caches.is_empty()))
    }
}

impl Blob {
    /// Adds what an older description says and this one doesn't.
    fn add(&mut self, older: &Self) {
        self.created = self.created.or(older.created);
        for (key, value) in &older.more {
            self.more.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}
