//! What of the blobs that a manifest names is there.
//!
//! Absence is the store's own word on that very key, asked after the manifest
//! was written: neither the index nor a listing proves it, and a question that
//! failed, or was not answered in time, makes nothing absent. A blob of another
//! size than its descriptor says is none, since who pulls it would refuse it.

use std::collections::HashSet;

use futures_util::{FutureExt, StreamExt, stream};
use tokio::time::Instant;

use super::Repository;
use super::index::{FRESH, Found};
use crate::oci::{Descriptor, Digest};

/// How many questions about what a push needs are asked at once.
const QUESTIONS_AT_ONCE: usize = 16;

/// How many about what a pull needs; the index has a bound for all together.
const PULLS_QUESTIONS_AT_ONCE: usize = 64;

/// Most such questions for one pull: more layers than builds have, and fewer than a manifest can name.
const PULLS_QUESTIONS: usize = 4096;

/// What a manifest says of something that it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub digest: Digest,
    pub size: u64,
}

impl From<&Descriptor> for Wanted {
    fn from(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest, size: descriptor.size }
    }
}

/// What must be here, each once. Layers that may not be distributed stay where their `urls` say.
pub(super) fn wanted<'a>(descriptors: impl IntoIterator<Item = &'a Descriptor>) -> HashSet<Wanted> {
    let is_kept_here = |descriptor: &&Descriptor| {
        !descriptor.media_type.contains(".nondistributable.") && !descriptor.media_type.contains(".foreign.")
    };
    descriptors.into_iter().filter(is_kept_here).map(Wanted::from).collect()
}

impl Repository {
    /// Which of `wanted` the store says soon that it does not have, as a blob or, if `or_manifest`, as a manifest.
    pub(super) async fn missing(&self, wanted: HashSet<Wanted>, or_manifest: bool) -> Vec<Digest> {
        let mut missing = Vec::new();
        let lacks = move |wanted: Wanted| async move {
            self.lacks_blob(&wanted).await && (!or_manifest || self.lacks_manifest(&wanted).await)
        };
        let asking = ask(wanted, QUESTIONS_AT_ONCE, lacks, &mut missing);
        if tokio::time::timeout(self.patience().push, asking).await.is_err() {
            tracing::warn!(repository = %self.name, "the store did not say in time whether an image is complete; taken as complete");
        }
        let mut missing: Vec<_> = missing.into_iter().map(|wanted| wanted.digest).collect();
        // The order in which the store answered is nobody's business.
        missing.sort_unstable();
        missing
    }

    /// Which of `wanted` the store says by `until` that it does not have as a blob; and those that are none of this image's.
    ///
    /// What was seen within the last minute is there. Where there is more to ask
    /// about than one blob a listing is looked at first, so that only what that
    /// does not show is asked for.
    pub(super) async fn gone(&self, wanted: HashSet<Wanted>, until: Instant) -> HashSet<Wanted> {
        let unshown = self.unshown_by(wanted.iter().map(|wanted| wanted.digest).collect(), until).await;
        let (unshown, wanted): (HashSet<_>, _) = wanted.into_iter().partition(|wanted| unshown.contains(&wanted.digest));
        let mut gone = unshown.into_iter().collect();
        let looking = async {
            let mut unseen = self.unseen(wanted.clone());
            if unseen.len() > 1 {
                self.list_blobs_soon().await;
                unseen = self.unseen(unseen);
            }
            let lacks = move |wanted: Wanted| async move { self.is_other(&wanted).await };
            let asked = unseen.into_iter().take(PULLS_QUESTIONS).collect();
            ask(asked, PULLS_QUESTIONS_AT_ONCE, lacks, &mut gone).await;
        };
        if tokio::time::timeout_at(until, looking).await.is_err() {
            tracing::warn!(repository = %self.name, "the store did not say in time whether a cache is complete; taken as complete");
        }
        let gone: HashSet<_> = gone.into_iter().collect();
        // Who is told of a layer relies on it until its build is over.
        for Wanted { digest, .. } in wanted.difference(&gone) {
            self.refresh_if_old(digest);
        }
        gone
    }

    /// Those of `wanted` that nobody has seen in the last minute, or with another size.
    fn unseen(&self, mut wanted: HashSet<Wanted>) -> HashSet<Wanted> {
        let blobs = self.keys.blobs();
        wanted.retain(|wanted| {
            let seen = self.index().find_within(&blobs, &wanted.digest, FRESH);
            let is_known_wrong = self.registry.corrupt.is_known_of(&self.keys.blob(&wanted.digest));
            is_known_wrong || seen.is_none_or(|seen| seen.size != wanted.size)
        });
        wanted
    }

    /// Whether the store says that it has no blob such as a manifest that is pushed wants.
    ///
    /// What the index says is there is not asked for: its client was told so
    /// too, by the answer to its HEAD or its PUT, and has nothing to send. What
    /// the index does not know the store must be asked for: it proves no absence.
    async fn lacks_blob(&self, wanted: &Wanted) -> bool {
        let known = self.index().find(&self.keys.blobs(), &wanted.digest);
        let is_known = known.is_some_and(|known| known.size == wanted.size);
        !is_known && self.is_other(wanted).await
    }

    /// Whether the store says that what it has in place of a blob is nothing, or of another size.
    async fn is_other(&self, wanted: &Wanted) -> bool {
        let is_other = |found: Option<Found>| found.is_none_or(|found| found.size != wanted.size);
        self.ask_for_blob(&wanted.digest).await.is_ok_and(is_other)
    }

    async fn lacks_manifest(&self, wanted: &Wanted) -> bool {
        let key = self.keys.manifest(&wanted.digest);
        let asked = self.head_manifest(&key, &wanted.digest, self.patience().push).await;
        asked.is_ok_and(|found| found.is_none_or(|found| found.size != wanted.size))
    }
}

/// Puts into `missing` what is told to be so, as it is told: who gives up waiting has what is known by then.
async fn ask<F: Future<Output = bool>>(
    wanted: HashSet<Wanted>,
    at_once: usize,
    is_missing: impl Fn(Wanted) -> F,
    missing: &mut Vec<Wanted>,
) {
    let asked = stream::iter(wanted).map(|wanted| is_missing(wanted).map(move |is_missing| is_missing.then_some(wanted)));
    let mut answers = std::pin::pin!(asked.buffer_unordered(at_once));
    while let Some(answer) = answers.next().await {
        missing.extend(answer);
    }
}
