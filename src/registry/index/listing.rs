//! Listing an image's blobs, so that nobody needs to ask for each.
//!
//! One request brings up to a thousand, which is all of most images. Of a
//! larger one the rest is listed in the background, by the first digits of the
//! hashes side by side, while those who ask get their answers blob by blob.

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::{Advice, Asked, Found, Index, PAUSE_AFTER_FAILURE, Walk};
use crate::metrics::AnsweredBy;
use crate::oci::Digest;
use crate::registry::{Asker, Repository, late};
use crate::store::{Key, Listed, ObjectMeta, Page, StoreError};

/// How many pages of large images are asked for at once, of all together.
pub(super) const PAGES_AT_ONCE: usize = 16;

/// How many of one image.
const WALKS_AT_ONCE: usize = 8;

/// What of its patience a push spends on a listing before it asks for its blob alone: one in so many.
const SHARE_OF_LISTING: u32 = 2;

/// What the names of blobs begin with: each of these is listed by itself.
const STARTS: [&str; 17] = [
    "sha256:0", "sha256:1", "sha256:2", "sha256:3", "sha256:4", "sha256:5", "sha256:6", "sha256:7", "sha256:8", "sha256:9",
    "sha256:a", "sha256:b", "sha256:c", "sha256:d", "sha256:e", "sha256:f", "sha512:",
];

impl Repository {
    /// The blob `digest` as somebody who pushes or pulls is to be told of it, `None` when it is not there.
    pub(in crate::registry) async fn find_blob(&self, digest: &Digest, asker: Asker) -> Result<Option<Found>, StoreError> {
        let blobs = self.keys.blobs();
        // A listing shows what is wrong like anything else.
        if self.registry.corrupt.is_known_of(&self.keys.blob(digest)) {
            return self.ask_for_blob(digest).await;
        }
        let mut advice = self.index().advise(&blobs, digest, asker);
        if self.wait_for_listing(&advice).await {
            advice = self.index().advise_again(&blobs, digest);
        }
        self.index().metrics.blob_asked(match advice {
            Advice::There(_) => AnsweredBy::IndexPresent,
            Advice::NotThere => AnsweredBy::IndexAbsent,
            Advice::Ask | Advice::Wait(_) | Advice::List(_) => AnsweredBy::Store,
        });
        match advice {
            Advice::There(found) => Ok(Some(found)),
            Advice::NotThere => Ok(None),
            Advice::Ask | Advice::Wait(_) | Advice::List(_) => self.ask_for_blob(digest).await,
        }
    }

    /// Has the index know what is there as of a moment ago, where a listing tells that soon.
    pub(in crate::registry) async fn list_blobs_soon(&self) {
        let advice = self.index().advise_listing(&self.keys.blobs());
        self.wait_for_listing(&advice).await;
    }

    /// Waits for the listing that `advice` is about, if it is about one; then, whether it came or not, what is known
    /// by now decides.
    async fn wait_for_listing(&self, advice: &Advice) -> bool {
        let listing = match advice {
            Advice::Wait(listing) => listing.clone(),
            Advice::List(walk) => self.begin_listing(walk.clone()),
            Advice::There(_) | Advice::NotThere | Advice::Ask => return false,
        };
        let _ = tokio::time::timeout(self.patience().push / SHARE_OF_LISTING, listing.cancelled()).await;
        true
    }

    /// What the store says of the blob `digest` as long as a push waits for it.
    pub(in crate::registry) async fn ask_for_blob(&self, digest: &Digest) -> Result<Option<Found>, StoreError> {
        let asking = async {
            let _permit = self.index().questions.acquire().await.map_err(|_| late())?;
            let asked = self.index().asking();
            let meta = self.head_for_push(&self.keys.blob(digest)).await?;
            Ok(self.note_answer(digest, meta.as_ref(), asked))
        };
        tokio::time::timeout(self.patience().push, asking).await.unwrap_or_else(|_| Err(late()))
    }

    /// Notes what the store said of the blob `digest`, asked at `asked`.
    pub(in crate::registry) fn note_answer(&self, digest: &Digest, meta: Option<&ObjectMeta>, asked: Asked) -> Option<Found> {
        let found = meta.map(|meta| Found::new(meta.size, meta.last_modified));
        match found {
            Some(found) => self.index().told(&self.keys.blobs(), digest, found, asked),
            None => self.index().missed(&self.keys.blobs(), digest, asked),
        }
        found
    }

    /// Makes the listing `walk` in the background, so that it does not end with the client that was first to need
    /// it; what is cancelled as soon as nobody needs to wait for it any more.
    fn begin_listing(&self, walk: Walk) -> CancellationToken {
        let (repository, first_page) = (self.clone(), walk.first_page.clone());
        self.registry.background.spawn(async move {
            let _waiting = walk.first_page.clone().drop_guard();
            let outcome = repository.list_blobs(&walk).await;
            if let Err(error) = &outcome
                && error.lacks().is_none()
            {
                let cause = std::error::Error::source(error);
                tracing::warn!(repository = %repository.name, error = cause, "blobs not listed; each is asked for");
            }
            repository.index().end(&repository.keys.blobs(), &walk, outcome);
        });
        first_page
    }

    /// Lists all blobs; whether that was done, and not given up.
    async fn list_blobs(&self, walk: &Walk) -> Result<bool, StoreError> {
        let Some((_, is_all)) = self.list_page(walk, "", None).await? else { return Ok(false) };
        self.index().note_extent(&self.keys.blobs(), !is_all);
        if is_all {
            return Ok(true);
        }
        walk.first_page.cancel();
        let lists = stream::iter(STARTS.map(|start| self.list_from(walk, start))).buffer_unordered(WALKS_AT_ONCE);
        lists.try_fold(true, |all, this| std::future::ready(Ok(all && this))).await
    }

    /// Lists all blobs whose names begin with `start`; whether that was done, and not given up.
    async fn list_from(&self, walk: &Walk, start: &str) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let permit = self.index().pages.acquire().await;
            let page = self.list_page(walk, start, after.as_ref()).await?;
            drop(permit);
            match page {
                None => return Ok(false),
                Some((_, true)) => return Ok(true),
                Some((last, false)) => after = last,
            }
        }
    }

    /// Lists and notes one page: its last key, and whether it is the last one. `None` when nobody wants it any more.
    async fn list_page(&self, walk: &Walk, start: &str, after: Option<&Key>) -> Result<Option<(Option<Key>, bool)>, StoreError> {
        let (blobs, patience, asked) = (self.keys.blobs(), self.patience().push, self.index().asking());
        if !self.index().is_wanted(&blobs, walk) {
            return Ok(None);
        }
        let prefix = format!("{blobs}{start}");
        let listing = tokio::time::timeout(patience, self.store().list(&prefix, after, patience));
        let page = listing.await.unwrap_or_else(|_| Err(late()))?;
        let is_wanted = self.index().merge(&blobs, walk, asked, &page);
        Ok(is_wanted.then(|| (page.objects.into_iter().last().map(|object| object.key), !page.is_truncated)))
    }
}

impl Index {
    fn advise_listing(&self, blobs: &str) -> Advice {
        let now = self.now();
        self.lock().advise_listing(blobs, now)
    }

    /// What to say after the listing that was advised, or was waited for in vain.
    fn advise_again(&self, blobs: &str, digest: &Digest) -> Advice {
        let now = self.now();
        let shelf = self.lock();
        let Some(image) = shelf.images.get(blobs) else { return Advice::Ask };
        match image.find(digest, now, shelf.ttl) {
            Some(found) => Advice::There(found),
            None if image.is_absence_known(now, shelf.ttl) => Advice::NotThere,
            None => Advice::Ask,
        }
    }

    /// Notes a page of the listing `walk`, asked for at `asked`; whether the listing is still wanted.
    fn merge(&self, blobs: &str, walk: &Walk, asked: Asked, page: &Page) -> bool {
        let mut shelf = self.lock();
        // What lies deeper, or is called otherwise, is no blob.
        let name = |object: &Listed| object.key.as_str().strip_prefix(blobs)?.parse().ok();
        let mut found = page.objects.iter().filter_map(|object| Some((name(object)?, object)));
        shelf.is_wanted(blobs, walk)
            && found.all(|(digest, object)| {
                let found = Found::new(object.size, object.last_modified);
                shelf.learn(blobs, &digest, found, asked, asked.at)
            })
    }

    fn is_wanted(&self, blobs: &str, walk: &Walk) -> bool {
        self.lock().is_wanted(blobs, walk)
    }

    /// Notes whether it takes more than one page to list an image.
    fn note_extent(&self, blobs: &str, is_large: bool) {
        self.lock().image(blobs).is_large = is_large;
    }

    /// Notes what the listing `walk` came to. What it did not show, and nobody has seen since it began, is not there.
    fn end(&self, blobs: &str, walk: &Walk, outcome: Result<bool, StoreError>) {
        let now = self.now();
        let mut shelf = self.lock();
        if !shelf.is_wanted(blobs, walk) {
            return;
        }
        let ttl = shelf.ttl;
        let image = shelf.image(blobs);
        image.walk = None;
        match outcome {
            Ok(true) => {
                image.listed = Some(walk.began);
                shelf.change(blobs, |entries| entries.retain(|known| known.as_of >= walk.began));
            }
            Ok(false) => {}
            // Nor will it be allowed soon.
            Err(StoreError::Denied(_)) => image.unlisted_until = Some(now.later(ttl)),
            Err(_) => image.unlisted_until = Some(now.later(PAUSE_AFTER_FAILURE)),
        }
    }

    /// Lets listings end that are going on.
    pub(in crate::registry) fn stop_listing(&self) {
        self.lock().images.values_mut().for_each(|image| image.walk = None);
    }
}
