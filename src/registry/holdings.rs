//! Which of the blobs that all images share one image has, as far as that can be shown.
//!
//! Where blobs lie in one place, and whoever asks may not read all images, a
//! blob is there for them only if their image has it: a manifest of that image
//! names it, or one who may push to it has sent it. What is not shown is
//! absent, and the store is not asked for it: so what others have is no other
//! than what nobody has.
//!
//! A manifest is evidence since nobody confined can push one that names what
//! their image can't be shown to have. Between a blob and the manifest that
//! names it a claim is the evidence: an empty object in the image, written
//! when all of the blob has come. It is swept after a day like any piece of an
//! upload. What was made here is none, as it may be made of other images.
//!
//! What was shown is remembered, so that mostly nothing is asked. A memory that
//! is late allows what was allowed a moment ago: blobs of a manifest that
//! another replica has removed since, as they would be there in an image that
//! has its blobs for itself. It denies nothing: before a pull is told that a
//! blob is absent the store is looked through once more.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout_at};

use super::manifests::StoredManifest;
use super::presence::wanted;
use super::{Asker, RegistryError, Repository, WritableRepository};
use crate::oci::{Digest, Manifest, ManifestKind, RepoName};
use crate::store::{Listed, OCTET_STREAM, StoreError};

/// Most blobs and manifests that are remembered of all images together, some hundred bytes each; past it the images
/// are forgotten first that were not asked for the longest.
const MOST: usize = 32 * 1024;

/// What an image takes besides, in as many of them.
const OF_AN_IMAGE: usize = 4;

/// How old a look may be for a push to be told that a blob is absent, which it then sends.
const ABSENCE: Duration = Duration::from_secs(60);

/// How many manifests are read at once.
const READS_AT_ONCE: usize = 16;

/// Most pages that are listed of one image, a thousand manifests each.
const MOST_PAGES: usize = 64;

/// Most caches of `type=s3` clients that are read of one image.
const MOST_OF_S3: usize = 64;

/// What this process remembers of what images have.
#[derive(Debug, Default)]
pub(super) struct Holdings(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    images: HashMap<RepoName, Holding>,
    uses: u64,
}

/// What is remembered of one image.
#[derive(Debug, Default)]
struct Holding {
    /// Blobs, and manifests.
    held: HashSet<Digest>,
    /// The manifests that were read, and so need not be again.
    read: HashSet<Digest>,
    /// When the last look began that went through all of the image.
    looked: Option<Instant>,
    /// Whether there was more than is remembered.
    is_cut: bool,
    /// One look at a time.
    turn: Arc<AsyncMutex<()>>,
    last_used: u64,
}

impl Holdings {
    /// Forgets what `image` has: something of it was removed.
    pub(super) fn forget(&self, image: &RepoName) {
        let mut shelf = self.lock();
        let Some(holding) = shelf.images.get_mut(image) else { return };
        *holding = Holding { turn: Arc::clone(&holding.turn), last_used: holding.last_used, ..Holding::default() };
    }

    /// Those of `wanted` that `image` is not known to have.
    fn unknown(&self, image: &RepoName, wanted: &HashSet<Digest>) -> HashSet<Digest> {
        let mut shelf = self.lock();
        let held = &shelf.of(image).held;
        wanted.iter().filter(|digest| !held.contains(digest)).copied().collect()
    }

    /// Notes that `image` has `digests`, and what it has them by, if that is a manifest.
    fn note(&self, image: &RepoName, by: Option<Digest>, digests: impl IntoIterator<Item = Digest>) {
        let digests: HashSet<_> = digests.into_iter().chain(by).collect();
        let mut shelf = self.lock();
        let has_room = shelf.make_room(image, digests.len());
        let holding = shelf.of(image);
        if has_room {
            holding.held.extend(digests);
            holding.read.extend(by);
        } else {
            holding.is_cut = true;
        }
    }

    /// Whether the manifest `digest` of `image` was read.
    fn is_read(&self, image: &RepoName, digest: &Digest) -> bool {
        self.lock().of(image).read.contains(digest)
    }

    /// Those of `listed`, the manifests of `image`, that were not read. Where any has gone that was, all are.
    fn unread(&self, image: &RepoName, listed: Vec<Digest>) -> Vec<Digest> {
        let mut shelf = self.lock();
        let holding = shelf.of(image);
        let are_there: HashSet<&Digest> = listed.iter().collect();
        if !holding.read.iter().all(|digest| are_there.contains(digest)) {
            holding.held.clear();
            holding.read.clear();
        }
        let read = holding.read.clone();
        listed.into_iter().filter(|digest| !read.contains(digest)).collect()
    }

    /// Whether all of `image` was looked through since then.
    fn was_looked_through(&self, image: &RepoName, since: Instant) -> bool {
        self.lock().of(image).looked.is_some_and(|looked| looked >= since)
    }

    /// Notes that all of `image` was looked through, by a look that began then.
    fn note_look(&self, image: &RepoName, began: Instant) {
        let mut shelf = self.lock();
        let holding = shelf.of(image);
        holding.looked = Some(began).filter(|_| !holding.is_cut);
    }

    /// A turn at looking through `image`.
    fn turn(&self, image: &RepoName) -> Arc<AsyncMutex<()>> {
        Arc::clone(&self.lock().of(image).turn)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// What is remembered of `image`, which is used just now.
    fn of(&mut self, image: &RepoName) -> &mut Holding {
        self.uses += 1;
        if !self.images.contains_key(image) {
            // An image of which nothing is known takes room as well.
            self.make_room(image, OF_AN_IMAGE);
        }
        let holding = self.images.entry(image.clone()).or_default();
        holding.last_used = self.uses;
        holding
    }

    /// Forgets other images than `image` until so many more fit; whether they do.
    fn make_room(&mut self, image: &RepoName, more: usize) -> bool {
        let mut size = self.images.values().map(Holding::size).sum::<usize>() + more;
        while size > MOST {
            let others = self.images.iter().filter(|(name, _)| *name != image);
            let Some(oldest) = others.min_by_key(|(_, holding)| holding.last_used).map(|(name, _)| name.clone()) else { break };
            size -= self.images.remove(&oldest).map_or(0, |holding| holding.size());
        }
        size <= MOST
    }
}

impl Holding {
    fn size(&self) -> usize {
        self.held.len() + OF_AN_IMAGE
    }
}

impl Repository {
    /// The same, for one for whom blobs count only that this image can be shown to have, if it `is` for such a one.
    #[must_use]
    pub fn confined(self, is: bool) -> Self {
        Self { is_confined: is, ..self }
    }

    /// Whether the blob `digest`, if it is there, is there for whoever `asker` is.
    pub(super) async fn holds(&self, digest: &Digest, asker: Asker) -> Result<bool, RegistryError> {
        let since = if asker == Asker::Push { recently() } else { Instant::now() };
        Ok(self.unheld(HashSet::from([*digest]), since).await?.is_empty())
    }

    /// Those of `wanted`, blobs or manifests, that this image can't be shown to have by a look that began `since` then.
    async fn unheld(&self, wanted: HashSet<Digest>, since: Instant) -> Result<HashSet<Digest>, RegistryError> {
        if !self.is_confined {
            return Ok(HashSet::new());
        }
        let holdings = &self.registry.holdings;
        let unknown = holdings.unknown(&self.image, &wanted);
        if unknown.is_empty() || holdings.was_looked_through(&self.image, since) {
            return Ok(unknown);
        }
        let turn = holdings.turn(&self.image);
        let _turn = turn.lock().await;
        // Who had the turn before may have looked for all who waited.
        let unknown = holdings.unknown(&self.image, &unknown);
        if unknown.is_empty() || holdings.was_looked_through(&self.image, since) {
            return Ok(unknown);
        }
        self.look_for(unknown).await
    }

    /// Those of `wanted` that this image can't be shown to have by `until`: what is not known by then is not shown.
    pub(super) async fn unshown_by(&self, wanted: HashSet<Digest>, until: Instant) -> HashSet<Digest> {
        if !self.is_confined {
            return HashSet::new();
        }
        let known = self.registry.holdings.unknown(&self.image, &wanted);
        match timeout_at(until, self.unheld(wanted, recently())).await {
            Ok(Ok(unheld)) => unheld,
            Ok(Err(error)) => {
                tracing::warn!(repository = %self.name, %error, "it could not be learnt what an image has; taken as absent");
                known
            }
            Err(_) => known,
        }
    }

    /// Looks through the image until nothing of `missing` is; what is.
    async fn look_for(&self, mut missing: HashSet<Digest>) -> Result<HashSet<Digest>, RegistryError> {
        let (holdings, began) = (&self.registry.holdings, Instant::now());
        let (claims, mut manifests) = (self.list_all(&self.keys.claims()).await?, self.list_all(&self.keys.manifests()).await?);
        // What is empty was deleted, and is announced at most by a tag that was set just then: whoever pulls that learns it.
        manifests.retain(|manifest| manifest.size > 0);
        let (unread, claims) = (holdings.unread(&self.image, digests(manifests)), digests(claims));
        claims.iter().for_each(|digest| _ = missing.remove(digest));
        holdings.note(&self.image, None, claims);
        let reading = stream::iter(unread).map(|digest| async move { self.read_evidence(&digest).await });
        let mut reading = std::pin::pin!(reading.buffered(READS_AT_ONCE));
        while !missing.is_empty()
            && let Some(named) = reading.next().await
        {
            named?.iter().for_each(|digest| _ = missing.remove(digest));
        }
        if missing.is_empty() {
            return Ok(missing);
        }
        self.blobs_of_s3().await?.iter().for_each(|digest| _ = missing.remove(digest));
        holdings.note_look(&self.image, began);
        Ok(missing)
    }

    /// All that is under `prefix`, the newest first; nothing where the keys to the store may not list it.
    async fn list_all(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let (mut found, mut after) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let page = match self.store().list(prefix, after.as_ref(), self.patience().bytes).await {
                Err(error) if error.lacks().is_some() => break,
                page => page?,
            };
            after = page.objects.last().map(|object| object.key.clone());
            found.extend(page.objects);
            if !page.is_truncated {
                break;
            }
        }
        found.sort_by_key(|object: &Listed| Reverse(object.last_modified));
        Ok(found)
    }

    /// What the manifest `digest` of this image names; nothing if it has gone, or is none.
    async fn read_evidence(&self, digest: &Digest) -> Result<HashSet<Digest>, RegistryError> {
        match self.fetch_known(&self.keys.manifest(digest), digest, self.patience().bytes).await {
            Ok(Some(manifest)) => {
                let named = evidence(&manifest);
                self.registry.holdings.note(&self.image, Some(*digest), named.iter().copied());
                Ok(named)
            }
            Ok(None) | Err(RegistryError::Corrupt(_)) => Ok(HashSet::new()),
            Err(error) => Err(error),
        }
    }

    /// Notes that this image has what its `manifest` names, where that counts.
    pub(super) fn note_evidence(&self, manifest: &StoredManifest) {
        if self.is_confined && !self.registry.holdings.is_read(&self.image, &manifest.digest) {
            self.registry.holdings.note(&self.image, Some(manifest.digest), evidence(manifest));
        }
    }

    /// Notes that this image has the `blobs` of a cache that a client of `type=s3` wrote, where that counts.
    pub(super) fn note_evidence_of_s3<'a>(&self, blobs: impl Iterator<Item = &'a Digest>) {
        if self.is_confined {
            self.registry.holdings.note(&self.image, None, blobs.copied());
        }
    }

    /// The blobs of the caches that clients of `type=s3` have of this image now.
    async fn blobs_of_s3(&self) -> Result<HashSet<Digest>, RegistryError> {
        let listed = match self.list_of_s3(None).await {
            Err(error) if error.is_not_allowed() => return Ok(HashSet::new()),
            listed => listed?,
        };
        let mut blobs = HashSet::new();
        for tag in listed.tags.iter().take(MOST_OF_S3).filter_map(|tag| tag.parse().ok()) {
            let cache = self.read_s3_cache(&tag, self.patience().bytes).await?;
            blobs.extend(cache.iter().flat_map(|cache| cache.read.cache.blobs().keys()));
        }
        Ok(blobs)
    }
}

impl WritableRepository {
    /// The same, as [`Repository::confined`].
    #[must_use]
    pub fn confined(self, is: bool) -> Self {
        Self(self.0.confined(is))
    }

    /// Notes that one who may push here has sent all of the blob `digest`, or may read it elsewhere.
    pub(super) async fn claim(&self, digest: &Digest) -> Result<(), RegistryError> {
        if self.is_confined {
            self.store().put(&self.keys.claim(digest), Bytes::new(), OCTET_STREAM, self.patience().bytes).await?;
            self.registry.holdings.note(&self.image, None, [*digest]);
        }
        Ok(())
    }

    /// What `manifest` names and this image can't be shown to have: to whoever pushes it, that is not there.
    pub(super) async fn unshown(&self, manifest: &Manifest) -> Result<Vec<Digest>, RegistryError> {
        let unheld = self.unheld(named(manifest).collect(), Instant::now()).await?;
        let mut unheld: Vec<_> = unheld.into_iter().collect();
        unheld.sort_unstable();
        Ok(unheld)
    }
}

/// When a look may have begun that tells a push what is absent.
fn recently() -> Instant {
    let now = Instant::now();
    now.checked_sub(ABSENCE).unwrap_or(now)
}

/// What an image has that has this manifest.
fn evidence(StoredManifest { digest, media_type, bytes }: &StoredManifest) -> HashSet<Digest> {
    let read = media_type.parse().ok().and_then(|media_type| Manifest::parse(media_type, bytes).ok());
    read.iter().flat_map(named).chain([*digest]).collect()
}

/// What a manifest is made of that must be here. Layers that may not be distributed are named by anybody.
fn named(manifest: &Manifest) -> impl Iterator<Item = Digest> {
    let descriptors = match &manifest.kind {
        ManifestKind::Image { config, layers } => layers.iter().chain([config]).collect(),
        ManifestKind::Index(children) => children.iter().collect(),
        ManifestKind::Opaque => Vec::new(),
    };
    wanted(descriptors).into_iter().map(|wanted| wanted.digest)
}

/// The digests that objects are called by.
fn digests(listed: Vec<Listed>) -> Vec<Digest> {
    listed.iter().filter_map(|object| object.key.components().last()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepoName {
        text.parse().unwrap()
    }

    fn blob(number: usize) -> Digest {
        Digest::sha256(&number.to_le_bytes())
    }

    fn is_known(holdings: &Holdings, image: &str, number: usize) -> bool {
        holdings.unknown(&name(image), &HashSet::from([blob(number)])).is_empty()
    }

    #[test]
    fn what_one_image_has_no_other_does() {
        let holdings = Holdings::default();

        holdings.note(&name("a"), Some(blob(1)), [blob(2)]);

        assert!(is_known(&holdings, "a", 1) && is_known(&holdings, "a", 2) && !is_known(&holdings, "b", 2));
        holdings.forget(&name("a"));
        assert!(!is_known(&holdings, "a", 2));
    }

    #[test]
    fn where_a_manifest_has_gone_all_are_read_anew() {
        let (holdings, image) = (Holdings::default(), name("a"));
        holdings.note(&image, Some(blob(1)), [blob(10)]);
        holdings.note(&image, Some(blob(2)), [blob(20)]);

        assert_eq!(holdings.unread(&image, vec![blob(1), blob(2), blob(3)]), [blob(3)]);
        assert!(is_known(&holdings, "a", 10));
        assert_eq!(holdings.unread(&image, vec![blob(2)]), [blob(2)]);
        assert!(!is_known(&holdings, "a", 10));
    }

    #[tokio::test]
    async fn no_more_is_remembered_than_the_bound_and_no_look_counts_that_saw_more() {
        let (holdings, began) = (Holdings::default(), Instant::now());

        holdings.note(&name("old"), None, [blob(0)]);
        holdings.note(&name("large"), None, (0..MOST - 10).map(blob));
        holdings.note(&name("large"), None, [blob(MOST)]);
        holdings.note_look(&name("large"), began);
        assert!(is_known(&holdings, "large", 0) && is_known(&holdings, "large", MOST));
        assert!(holdings.was_looked_through(&name("large"), began));

        holdings.note(&name("large"), None, (MOST..MOST * 2).map(blob));
        holdings.note_look(&name("large"), began);

        assert!(!is_known(&holdings, "large", MOST * 2 - 1) && !holdings.was_looked_through(&name("large"), began));
        assert!(holdings.lock().images.values().map(|holding| holding.held.len()).sum::<usize>() <= MOST);
        for number in 0..MOST + 10 {
            is_known(&holdings, &format!("image-{number}"), 0);
        }
        assert!(holdings.lock().images.len() <= MOST);
    }
}
