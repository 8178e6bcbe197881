//! What an import is about to ask for.
//!
//! BuildKit asks what a tag points to, and a moment later for that manifest by
//! its digest, and for its config. They were read for the first answer, so they
//! are kept for the others. Others who read are always answered by the store:
//! they may have been told by another replica that it is gone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::manifests::StoredManifest;
use crate::oci::{Digest, RepoName};

/// How long something is kept.
const AGE: Duration = Duration::from_secs(60);

/// Most bytes kept: two of the largest manifests there are.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Most manifests and configs kept.
const MOST: usize = 1024;

/// What was read a moment ago.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    read: VecDeque<Document>,
    bytes: usize,
    /// How often something was forgotten because it was removed.
    removals: u64,
}

/// Bytes that were read.
#[derive(Debug)]
struct Document {
    image: RepoName,
    digest: Digest,
    /// What a manifest is; `None` of a blob.
    media_type: Option<String>,
    bytes: Bytes,
    since: Instant,
}

impl Recent {
    /// To be called before the store is asked for what may be kept.
    pub(super) fn removals(&self) -> u64 {
        self.lock().removals
    }

    /// Keeps `manifest` of `image` for a while, unless something was removed since it was asked for.
    pub(super) fn keep(&self, image: &RepoName, manifest: &StoredManifest, removals: u64) {
        let StoredManifest { digest, media_type, bytes } = manifest.clone();
        self.keep_document(image, digest, Some(media_type), bytes, removals);
    }

    /// Keeps the blob `digest` of `image` in the same way.
    pub(super) fn keep_blob(&self, image: &RepoName, digest: &Digest, bytes: &Bytes, removals: u64) {
        self.keep_document(image, *digest, None, bytes.clone(), removals);
    }

    fn keep_document(&self, image: &RepoName, digest: Digest, media_type: Option<String>, bytes: Bytes, removals: u64) {
        let mut kept = self.lock();
        // One that is all there is room for would take the place of many.
        if kept.removals != removals || bytes.len() > MOST_BYTES / 2 {
            return;
        }
        kept.take(image, &digest, media_type.is_some());
        kept.bytes += bytes.len();
        kept.read.push_back(Document { image: image.clone(), digest, media_type, bytes, since: Instant::now() });
        kept.tidy();
    }

    /// The manifest `digest` of `image`, if it was kept a moment ago.
    pub(super) fn find(&self, image: &RepoName, digest: &Digest) -> Option<StoredManifest> {
        let mut kept = self.lock();
        let Document { media_type, bytes, .. } = kept.find(image, digest, true)?;
        Some(StoredManifest { digest: *digest, media_type: media_type.clone()?, bytes: bytes.clone() })
    }

    /// The blob `digest` of `image`, if it was kept a moment ago.
    pub(super) fn find_blob(&self, image: &RepoName, digest: &Digest) -> Option<Bytes> {
        let mut kept = self.lock();
        kept.find(image, digest, false).map(|document| document.bytes.clone())
    }

    /// Forgets what `digest` of `image` is, which is being removed.
    pub(super) fn forget(&self, image: &RepoName, digest: &Digest) {
        let mut kept = self.lock();
        kept.removals += 1;
        for is_manifest in [true, false] {
            kept.take(image, digest, is_manifest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Document {
    fn is(&self, image: &RepoName, digest: &Digest, is_manifest: bool) -> bool {
        self.digest == *digest && self.media_type.is_some() == is_manifest && self.image == *image
    }
}

impl Kept {
    fn find(&mut self, image: &RepoName, digest: &Digest, is_manifest: bool) -> Option<&Document> {
        self.tidy();
        self.read.iter().find(|document| document.is(image, digest, is_manifest))
    }

    fn take(&mut self, image: &RepoName, digest: &Digest, is_manifest: bool) {
        self.read.retain(|document| !document.is(image, digest, is_manifest));
        self.bytes = self.read.iter().map(|document| document.bytes.len()).sum();
    }

    fn tidy(&mut self) {
        while self.bytes > MOST_BYTES
            || self.read.len() > MOST
            || self.read.front().is_some_and(|document| document.since.elapsed() >= AGE)
        {
            let Some(document) = self.read.pop_front() else { return };
            self.bytes -= document.bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
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
