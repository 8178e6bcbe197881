//! Manifests that an import is about to ask for.
//!
//! BuildKit asks what a tag points to, and a moment later for that manifest by
//! its digest. It was read for the first answer, so it is kept for the second.
//! Others who read are always answered by the store: they may have been told
//! by another replica that it is gone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::manifests::StoredManifest;
use crate::oci::{Digest, RepoName};

/// How long a manifest is kept.
const AGE: Duration = Duration::from_secs(60);

/// Most bytes kept: two of the largest manifests there are.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Most manifests kept.
const MOST: usize = 1024;

/// Manifests that were read a moment ago.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    manifests: VecDeque<(RepoName, StoredManifest, Instant)>,
    bytes: usize,
    /// How often something was forgotten because it was removed.
    removals: u64,
}

impl Recent {
    /// To be called before the store is asked for what may be kept.
    pub(super) fn removals(&self) -> u64 {
        self.lock().removals
    }

    /// Keeps `manifest` of `name` for a while, unless something was removed since it was asked for.
    pub(super) fn keep(&self, name: &RepoName, manifest: &StoredManifest, removals: u64) {
        let mut kept = self.lock();
        if kept.removals != removals {
            return;
        }
        kept.take(name, &manifest.digest);
        kept.bytes += manifest.bytes.len();
        kept.manifests.push_back((name.clone(), manifest.clone(), Instant::now()));
        kept.tidy();
    }

    /// The manifest `digest` of `name`, if it was kept a moment ago.
    pub(super) fn find(&self, name: &RepoName, digest: &Digest) -> Option<StoredManifest> {
        let mut kept = self.lock();
        kept.tidy();
        let found = kept.manifests.iter().find(|(of, manifest, _)| of == name && manifest.digest == *digest);
        found.map(|(_, manifest, _)| manifest.clone())
    }

    /// Forgets the manifest `digest` of `name`, which is being removed.
    pub(super) fn forget(&self, name: &RepoName, digest: &Digest) {
        let mut kept = self.lock();
        kept.removals += 1;
        kept.take(name, digest);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self, name: &RepoName, digest: &Digest) {
        self.manifests.retain(|(of, manifest, _)| of != name || manifest.digest != *digest);
        self.bytes = self.manifests.iter().map(|(_, manifest, _)| manifest.bytes.len()).sum();
    }

    fn tidy(&mut self) {
        while self.bytes > MOST_BYTES
            || self.manifests.len() > MOST
            || self.manifests.front().is_some_and(|(_, _, since)| since.elapsed() >= AGE)
        {
            let Some((_, manifest, _)) = self.manifests.pop_front() else { return };
            self.bytes -= manifest.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn manifest(number: u8, size: usize) -> StoredManifest {
        let bytes = Bytes::from(vec![number; size]);
        StoredManifest { digest: Digest::sha256(&bytes), media_type: String::new(), bytes }
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_is_kept_for_a_minute_under_its_own_name() {
        let (recent, app, one) = (Recent::default(), "app".parse().unwrap(), manifest(1, 10));

        recent.keep(&app, &one, recent.removals());

        assert!(recent.find(&app, &one.digest).is_some());
        assert!(recent.find(&"other".parse().unwrap(), &one.digest).is_none());
        tokio::time::advance(AGE).await;
        assert!(recent.find(&app, &one.digest).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_is_kept_than_the_bound_and_the_oldest_goes_first() {
        let (recent, app) = (Recent::default(), "app".parse().unwrap());
        let manifests: Vec<_> = (1..=3).map(|number| manifest(number, 4 * 1024 * 1024)).collect();

        for manifest in manifests.iter().chain([&manifests[2]]) {
            recent.keep(&app, manifest, recent.removals());
        }

        let kept: Vec<_> = manifests.iter().map(|manifest| recent.find(&app, &manifest.digest).is_some()).collect();
        assert_eq!(kept, [false, true, true]);
        assert_eq!(recent.lock().bytes, MOST_BYTES);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_for_before_a_removal_is_not_kept_after_it() {
        let (recent, app, one) = (Recent::default(), "app".parse().unwrap(), manifest(1, 10));
        let asked = recent.removals();
        recent.keep(&app, &one, asked);

        recent.forget(&app, &one.digest);
        recent.keep(&app, &one, asked);

        assert!(recent.find(&app, &one.digest).is_none());
    }
}
