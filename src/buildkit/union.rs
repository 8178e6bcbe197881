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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buildkit::cache_config::{CacheResult, Layer, Record};
    use crate::buildkit::{LeftOut, Timestamp};
    use crate::oci::Digest;

    fn cache(blob: Blob) -> Cache {
        let digest = Digest::sha256(b"layer");
        let record = Record { digest, inputs: vec![], results: vec![CacheResult { layer: 0, created: Timestamp::ZERO }] };
        let draft = Draft { layers: vec![Some(Layer { blob: digest, parent: None })], records: vec![Some(record)] };
        Cache::of(draft, [(digest, blob)].into(), &mut LeftOut::default())
    }

    #[test]
    fn of_two_descriptions_the_newer_counts_and_the_older_adds_to_it() {
        let describe = |size, created: Option<&str>, more: &[(&str, &str)]| Blob {
            media_type: "a/b".into(),
            size,
            diff_id: Digest::sha256(b"unpacked"),
            created: created.map(|text| text.parse().unwrap()),
            more: more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        };
        let (first, second) = ("2026-11-22T04:02:41Z", "2026-11-22T04:02:42Z");
        let newest = describe(1, None, &[("toc", "new")]);
        let newer = describe(2, Some(second), &[]);
        let oldest = describe(3, Some(first), &[("toc", "old"), ("description", "COPY")]);

        let union = Cache::union(&[cache(newest), cache(newer), cache(oldest)]);

        let expected = describe(1, Some(second), &[("toc", "new"), ("description", "COPY")]);
        assert_eq!(union.blobs().values().collect::<Vec<_>>(), [&expected]);
    }
}
