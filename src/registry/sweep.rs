//! Sweeping: what uploads left behind that nobody will finish.
//!
//! That is the pieces of chunked uploads that are over, and whatever a process
//! that was killed in the middle of an upload left on the key of a blob or a
//! piece. Only what is older than a day goes, and only where uploads write: a
//! name may go on below the image's own, so nothing is sought under that.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::keys::Owner;
use super::upload_id::MAX_AGE;
use super::{Layout, Registry, RegistryError, Repository};
use crate::oci::RepoName;
use crate::store::{Key, ObjectStore, StoreError, Unfinished};

/// How long after the end of its day an upload is left alone: what closes it may be reading its pieces still.
const LAST_CALL: Duration = Duration::from_secs(60 * 60);

/// How long an image is in use before it is swept: until then there is more urgent work, such as the push that has begun.
const SETTLED: Duration = Duration::from_secs(30);

/// How long an image is not swept again.
const PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Most images remembered, about 100 bytes each; while there are so many that
/// were swept within a day, further ones wait for their turn.
const MAX_IMAGES: usize = 16 * 1024;

/// How many objects are removed at once.
const REMOVALS_AT_ONCE: usize = 8;

/// How many names of images are read at a time.
const NAMES: usize = 1000;

/// What to do about what was left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Remove it.
    Remove,
    /// Only say what there is.
    Look,
}

/// What was left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Pieces of chunked uploads, the notes on how they ended, and on what came.
    pub pieces: usize,
    /// Uploads to the store that were begun and never finished.
    pub uploads: usize,
}

/// What was seen of a whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What was left behind.
    pub leftovers: Leftovers,
    /// How many images it was left behind in.
    pub untidy: usize,
    /// How many images there are.
    pub images: usize,
    /// Whether the store tells of unfinished uploads at all.
    pub tells_uploads: bool,
}

impl Swept {
    /// What was seen of this store and of another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            leftovers: Leftovers {
                pieces: self.leftovers.pieces + other.leftovers.pieces,
                uploads: self.leftovers.uploads + other.leftovers.uploads,
            },
            untidy: self.untidy + other.untidy,
            images: self.images + other.images,
            tells_uploads: self.tells_uploads && other.tells_uploads,
        }
    }
}

impl Leftovers {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// The images that this process has seen used, and when they are swept.
#[derive(Debug)]
pub(super) struct Sweeps {
    /// When an image was last due.
    due: Mutex<HashMap<RepoName, Instant>>,
    /// One image at a time: there is no hurry.
    turn: Semaphore,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { due: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl Sweeps {
    /// Whether `name` was never used before, or is swept again today.
    fn is_due(&self, name: &RepoName) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.get(name).is_some_and(|last| last.elapsed() < PAUSE) {
            return false;
        }
        if due.len() >= MAX_IMAGES {
            due.retain(|_, last| last.elapsed() < PAUSE);
        }
        let has_room = due.len() < MAX_IMAGES;
        if has_room {
            due.insert(name.clone(), Instant::now());
        }
        has_room
    }
}

impl Repository {
    /// Has what was left behind here swept, if that is due: soon after the image
    /// is first used in this process, and then daily while it is.
    ///
    /// Used is what was found or written; a name that anybody may ask for in
    /// vain is not. In the background and not at once, so that neither the time
    /// that a push takes nor the requests that it is promised to cost grow by
    /// it. And where nobody comes any more, nothing is asked any more.
    pub(super) fn note_use(&self) {
        if self.registry.sweeps.is_due(&self.image) {
            tokio::spawn(self.clone().sweep_later());
        }
    }

    async fn sweep_later(self) {
        tokio::time::sleep(SETTLED).await;
        let Ok(_turn) = self.registry.sweeps.turn.acquire().await else { return };
        // Who is about to end waits for what has begun, and need not wait for this.
        if self.registry.background.is_closed() {
            return;
        }
        let _running = self.registry.background.token();
        match self.sweep(Sweep::Remove).await {
            Ok(swept) if swept.is_empty() => {}
            Err(error) if error.is_not_allowed() => {}
            Ok(Leftovers { pieces, uploads }) => tracing::info!(repository = %self.name, pieces, uploads, "leftovers swept"),
            Err(error) => {
                let cause = std::error::Error::source(&error);
                tracing::warn!(repository = %self.name, %error, cause, "leftovers not swept; tried again in a day");
            }
        }
    }

    /// What uploads to this image left behind that nobody will finish, and removes it if it is to be.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: some of it could not be listed or removed.
    pub async fn sweep(&self, sweep: Sweep) -> Result<Leftovers, RegistryError> {
        let pieces = self.sweep_pieces(sweep).await?;
        let mut uploads = 0;
        for prefix in self.keys.written_by_uploads() {
            let found = self.store().unfinished(&prefix, a_day_ago(), self.patience().bytes).await?.unwrap_or_default();
            uploads += self.registry.discard(found, sweep).await?;
        }
        Ok(Leftovers { pieces, uploads })
    }

    /// The pieces of uploads that are over, and what says so of them.
    async fn sweep_pieces(&self, sweep: Sweep) -> Result<usize, RegistryError> {
        let uploads = self.sweep_under(&self.keys.uploads(), sweep).await?;
        // Where blobs lie apart nobody needs to claim any.
        let claims = if self.registry.shares_blobs() { self.sweep_under(&self.keys.claims(), sweep).await? } else { 0 };
        Ok(uploads + claims)
    }

    /// What lies under `prefix` and is over.
    async fn sweep_under(&self, prefix: &str, sweep: Sweep) -> Result<usize, RegistryError> {
        let patience = self.patience().bytes;
        let (mut swept, mut after) = (0, None);
        loop {
            let page = self.store().list(prefix, after.as_ref(), patience).await?;
            after = page.objects.last().map(|object| object.key.clone());
            let over = page.objects.into_iter().filter(|object| {
                // Who names an upload says when it began, and may say anything.
                let is_old = object.last_modified < a_day_ago();
                match self.keys.upload_of(&object.key) {
                    Some(id) => is_old || id.is_over_for(LAST_CALL),
                    None => is_old && self.keys.is_claim(&object.key),
                }
            });
            let keys: Vec<_> = over.map(|object| object.key).collect();
            swept += keys.len();
            if sweep == Sweep::Remove {
                remove(&self.registry.store, keys, patience).await?;
            }
            if !page.is_truncated {
                return Ok(swept);
            }
        }
    }
}

impl Registry {
    /// Sweeps every image of the store, and tells of each in which something
    /// was left behind, and (`None`) of what was left behind in no image.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: something could not be listed or removed; what was told until then holds.
    pub async fn sweep(
        self: &Arc<Self>,
        sweep: Sweep,
        mut tell: impl FnMut(Option<&RepoName>, Leftovers),
    ) -> Result<Swept, RegistryError> {
        let unfinished = self.store.unfinished("", a_day_ago(), self.patience.bytes).await?;
        let mut swept = Swept { tells_uploads: unfinished.is_some(), ..Swept::default() };
        let mut unfinished = by_image(&self.layout, unfinished.unwrap_or_default());
        let mut last = None;
        loop {
            let page = self.catalog(last.as_ref(), NAMES).await?;
            for name in &page.names {
                let pieces = self.repository(name.clone()).sweep_pieces(sweep).await?;
                let uploads = self.discard(unfinished.remove(&Some(name.clone())).unwrap_or_default(), sweep).await?;
                swept.saw(Some(name), Leftovers { pieces, uploads }, &mut tell);
            }
            last = page.names.into_iter().next_back();
            if !page.is_truncated {
                break;
            }
        }
        // Where an upload is all that ever was of an image, nothing else shows it.
        for (name, unfinished) in unfinished {
            let uploads = self.discard(unfinished, sweep).await?;
            swept.saw(name.as_ref(), Leftovers { pieces: 0, uploads }, &mut tell);
        }
        Ok(swept)
    }

    async fn discard(&self, unfinished: Vec<Unfinished>, sweep: Sweep) -> Result<usize, RegistryError> {
        let swept = unfinished.len();
        if sweep == Sweep::Remove {
            let discarded = stream::iter(unfinished).map(Ok).try_for_each_concurrent(REMOVALS_AT_ONCE, |upload| async move {
                self.store.discard(&upload, self.patience.bytes).await
            });
            discarded.await?;
        }
        Ok(swept)
    }
}

impl Swept {
    fn saw(&mut self, name: Option<&RepoName>, found: Leftovers, tell: &mut impl FnMut(Option<&RepoName>, Leftovers)) {
        self.images += usize::from(name.is_some());
        if found.is_empty() {
            return;
        }
        self.untidy += usize::from(name.is_some());
        self.leftovers.pieces += found.pieces;
        self.leftovers.uploads += found.uploads;
        tell(name, found);
    }
}

/// The uploads whose keys are an image's, by image, and those that are all
/// images' or that the store knows no key of. What else there is in a bucket is none of our business.
fn by_image(layout: &Layout, unfinished: Vec<Unfinished>) -> BTreeMap<Option<RepoName>, Vec<Unfinished>> {
    let mut images: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for upload in unfinished {
        let owner = upload.key.as_ref().map_or(Some(Owner::All), |key| layout.owner_of_upload(key));
        let image = match owner {
            Some(Owner::Image(name)) => Some(name),
            Some(Owner::All) => None,
            None => continue,
        };
        images.entry(image).or_default().push(upload);
    }
    images
}

fn a_day_ago() -> SystemTime {
    SystemTime::now() - MAX_AGE
}

/// Removes the objects at `keys`, several at once, until one can't be.
pub(super) async fn remove(store: &Arc<dyn ObjectStore>, keys: Vec<Key>, patience: Duration) -> Result<(), StoreError> {
    let keys = stream::iter(keys).map(Ok);
    keys.try_for_each_concurrent(REMOVALS_AT_ONCE, |key| async move { store.delete(&key, patience).await }).await
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::oci::Digest;
    use crate::registry::{Asker, Body, Patience, WritableRepository};
    use crate::store::MemoryStore;

    /// Begun in 1970.
    const OLD: &str = "00000000000000000000000000000000-0000000001";

    const PATIENCE: Duration = Duration::from_secs(1);

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(Arc::new(MemoryStore::default()), Patience::with_bytes(PATIENCE)))
    }

    fn writable(registry: &Arc<Registry>, name: &str) -> WritableRepository {
        registry.writable_repository(name.parse().unwrap())
    }

    async fn put(registry: &Registry, key: &str) {
        registry.store.put(&key.parse().unwrap(), "piece".into(), "text/plain", PATIENCE).await.unwrap();
    }

    async fn has(registry: &Registry, key: &str) -> bool {
        registry.store.head(&key.parse().unwrap(), PATIENCE).await.unwrap().is_some()
    }

    fn piece(image: &str, id: &str) -> String {
        format!("{image}/_oci/uploads/{id}/00000000000000000000")
    }

    /// Uses `image` by writing to it.
    async fn write(image: &WritableRepository) {
        let body: Body = stream::iter([Ok("hello".into())]).boxed();
        image.write_blob(&Digest::sha256(b"hello"), Some(5), body).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_is_swept_soon_after_its_first_use_and_then_daily_while_it_is_used() {
        let (registry, old) = (registry(), piece("app", OLD));
        let app = writable(&registry, "app");
        let (soon, day) = (SETTLED + Duration::from_secs(1), PAUSE + Duration::from_secs(1));
        for (use_it, wait, is_left, when) in [
            (false, day, true, "nobody has used it"),
            (true, SETTLED / 2, true, "its push may still be going on"),
            (true, soon, false, "used for the first time"),
            (true, day, true, "swept within a day"),
            (false, day, true, "nobody uses it any more"),
            (true, soon, false, "used on another day"),
        ] {
            put(&registry, &old).await;
            if use_it {
                write(&app).await;
            }
            tokio::time::sleep(wait).await;

            assert_eq!(has(&registry, &old).await, is_left, "{when}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reading_is_use_and_asking_in_vain_is_not() {
        let (registry, old) = (registry(), piece("app", OLD));
        put(&registry, &old).await;
        let app = writable(&registry, "app");
        let tag = "v1".parse().unwrap();

        assert!(app.read_manifest(&tag, Asker::Pull).await.unwrap().is_none());
        tokio::time::sleep(SETTLED * 2).await;
        assert!(has(&registry, &old).await);

        registry.store.put(&app.keys.tag(&"v1".parse().unwrap()), "{}".into(), "text/plain", PATIENCE).await.unwrap();
        assert!(app.read_manifest(&tag, Asker::Pull).await.unwrap().is_some());
        tokio::time::sleep(SETTLED * 2).await;
        assert!(!has(&registry, &old).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_does_not_wait_for_a_sweep_that_has_not_begun() {
        let registry = registry();
        write(&writable(&registry, "app")).await;
        let began = Instant::now();

        registry.settle().await;

        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_sweep_begins_while_what_runs_is_waited_for() {
        let (registry, old) = (registry(), piece("app", OLD));
        put(&registry, &old).await;
        write(&writable(&registry, "app")).await;
        let (running, stopping) = (registry.background.token(), Arc::clone(&registry));

        let settled = tokio::spawn(async move { stopping.settle().await });
        tokio::time::sleep(SETTLED * 2).await;
        drop(running);
        settled.await.unwrap();

        assert!(has(&registry, &old).await);
    }

    #[tokio::test]
    async fn only_what_uploads_that_are_over_left_in_this_very_image_goes() {
        let registry = registry();
        let young = crate::registry::UploadId::begin().to_string();
        let far_ahead = format!("{}-ffffffffffffffff", &OLD[..32]);
        let stays = [
            piece("app", &young),
            piece("app", &far_ahead),
            piece("app/worker", OLD),
            piece("other", OLD),
            format!("app/_oci/uploads/{OLD}"),
            "app/_oci/uploads/foreign/00000000000000000000".to_owned(),
            format!("app/_oci/tags/{OLD}"),
            format!("app/blobs/{OLD}"),
        ];
        let goes = [piece("app", OLD), format!("app/_oci/uploads/{OLD}/ended")];
        for key in stays.iter().chain(&goes) {
            put(&registry, key).await;
        }
        let app = writable(&registry, "app");

        assert_eq!(app.sweep(Sweep::Look).await.unwrap(), Leftovers { pieces: 2, uploads: 0 });
        assert!(has(&registry, &goes[0]).await && has(&registry, &goes[1]).await, "only looked at");
        assert_eq!(app.sweep(Sweep::Remove).await.unwrap(), Leftovers { pieces: 2, uploads: 0 });

        for key in &goes {
            assert!(!has(&registry, key).await, "{key}");
        }
        for key in &stays {
            assert!(has(&registry, key).await, "{key}");
        }
    }

    #[tokio::test]
    async fn what_says_that_a_blob_was_sent_goes_after_a_day() {
        let late = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_late = Arc::clone(&late);
        let then = move || {
            SystemTime::now() - if is_late.load(std::sync::atomic::Ordering::Relaxed) { MAX_AGE / 2 } else { MAX_AGE * 2 }
        };
        let store = Arc::new(MemoryStore::with_clock(crate::store::Clock::new(then)));
        let layout = Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() };
        let registry = Arc::new(Registry::new(store, Patience::with_bytes(PATIENCE)).with_layout(layout));
        let app = writable(&registry, "app");
        let [old, young] = [b"old", b"new"].map(|content| app.keys.claim(&Digest::sha256(content)).to_string());
        let other = "app/_oci/claims/other".to_owned();
        for key in [&old, &other] {
            put(&registry, key).await;
        }
        late.store(true, std::sync::atomic::Ordering::Relaxed);
        put(&registry, &young).await;

        assert_eq!(app.sweep(Sweep::Remove).await.unwrap(), Leftovers { pieces: 1, uploads: 0 });

        assert!(!has(&registry, &old).await && has(&registry, &young).await && has(&registry, &other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_images_are_remembered_than_the_bound_and_none_is_swept_twice_a_day() {
        let (sweeps, name) = (Sweeps::default(), |number: usize| format!("app{number}").parse::<RepoName>().unwrap());
        for number in 0..MAX_IMAGES {
            assert!(sweeps.is_due(&name(number)));
        }

        assert!(!sweeps.is_due(&name(MAX_IMAGES)), "no room");
        assert!(!sweeps.is_due(&name(0)), "swept today");

        tokio::time::advance(PAUSE).await;
        assert!(sweeps.is_due(&name(MAX_IMAGES)) && sweeps.is_due(&name(0)));
    }
}
