//! What a pull of a tag is answered with.
//!
//! A tag that is a cache is answered with what a build can use of it: without
//! layers that are gone, together with its parts, from somewhere else where it is
//! absent, and in a form that importers take. Three steps: [`gather`] what there
//! is, look into what of it is there still, and [`decide`]. What is made in
//! the last depends on nothing but what was found in the first two, so that
//! replicas agree to the byte; it is stored before it is announced.
//!
//! Most tags are whole, alone, and served as they were pushed. An image is there
//! to be run, so its parts are none of its business; but BuildKit looks into it for
//! a cache, and then it says no more than what is there: see [`Cache::write_into`].
//! Pushes see tags as they were pushed.
//!
//! All of it happens within what a pull waits. What is not known in time counts as
//! if it were there, and a part that can't be read in time is left out.
//!
//! [`Cache::write_into`]: crate::buildkit::Cache::write_into

mod config;
mod decide;
mod derived;
mod explain;
mod gather;
mod images;
mod look;
mod make;
mod memory;
mod notice;
mod rules;
mod source;
mod story;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::manifests::{ManifestInfo, StoredManifest};
use super::{Asker, Registry, RegistryError, Repository};
use crate::oci::Tag;
use gather::Gathered;
use look::Looked;
use source::Source;

pub(super) use config::Config;
pub use decide::{Finding, Steps};
pub use explain::{Explanation, FoundByS3, Seen, SeenByS3, ServedCache};
pub use gather::{PassedOver, Why};
pub(super) use memory::Memory;
pub use rules::{Answering, Fallback, Kind, Parts, Target};
pub use story::{Outcome, Story, Told, What};

/// How many caches are worked on at once, by all who ask: it takes a processor, and three times their size in memory.
const AT_ONCE: usize = 2;

/// How long each step of an answer may take, in sixteenths of what is waited for all, counted from the beginning of the first.
#[derive(Clone, Copy, Debug)]
enum Step {
    Gathering = 8,
    Looking = 11,
    Deciding = 13,
    Storing = 15,
}

/// The end of each step of an answer.
#[derive(Clone, Copy, Debug)]
struct Time {
    began: Instant,
    patience: Duration,
}

impl Time {
    fn of(patience: Duration) -> Self {
        Self { began: Instant::now(), patience }
    }

    fn end_of(self, step: Step) -> Instant {
        self.began + self.patience / 16 * step as u32
    }
}

/// What a pull gets.
#[derive(Clone, Debug)]
struct Served {
    /// What it is told.
    info: ManifestInfo,
    /// The bytes, unless they are still to be read under their digest.
    bytes: Option<Bytes>,
}

impl Served {
    fn whole(manifest: &StoredManifest) -> Self {
        Self { info: manifest.info(), bytes: Some(manifest.bytes.clone()) }
    }
}

impl Registry {
    /// What `work` on a cache comes to, on a thread of its own, when it is its turn; `None` where it is lost with the runtime.
    pub(super) async fn work_on_cache<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        // It is never closed; were it, work would only not be limited.
        let turn = Arc::clone(&self.answering).acquire_owned().await.ok();
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        working.await.ok()
    }
}

impl Repository {
    /// What a pull of `tag` is told, `None` when there is nothing to pull.
    pub(super) async fn stat_answer(&self, tag: &Tag, asker: Asker) -> Result<Option<ManifestInfo>, RegistryError> {
        Ok(self.answer(tag, asker).await?.map(|served| served.info))
    }

    /// What a pull of `tag` gets, `None` when there is nothing to pull.
    pub(super) async fn read_answer(&self, tag: &Tag, asker: Asker) -> Result<Option<StoredManifest>, RegistryError> {
        match self.answer(tag, asker).await? {
            None => Ok(None),
            Some(Served { info: ManifestInfo { digest, media_type, .. }, bytes: Some(bytes) }) => {
                Ok(Some(StoredManifest { digest, media_type, bytes }))
            }
            Some(Served { info, bytes: None }) => self.read_derived(&info.digest).await,
        }
    }

    async fn answer(&self, tag: &Tag, asker: Asker) -> Result<Option<Served>, RegistryError> {
        let (time, removals) = (Time::of(self.patience().pull), self.registry.recent.removals());
        let gathered = self.gather_answer(tag, asker, time).await?;
        let Some(first) = gathered.sources.first() else { return Ok(None) };
        let served = match self.look_over(&gathered, asker, time.end_of(Step::Looking)).await {
            None => first.content.manifest().map(Served::whole),
            Some(looked) => self.answer_with(tag, &gathered, &looked, time).await,
        };
        if served.is_some() {
            gathered.sources.iter().for_each(Source::mark_used);
        }
        if let (Some(Served { info, bytes: Some(bytes) }), Asker::Import) = (&served, asker) {
            let manifest = StoredManifest { digest: info.digest, media_type: info.media_type.clone(), bytes: bytes.clone() };
            // Of another image it is kept as that one's: who may read this one may not read that.
            let is_it = |source: &&Source| source.content.digest() == info.digest;
            let image = gathered.sources.iter().find(is_it).map_or(&self.image, |source| &source.repository.image);
            self.registry.recent.keep(image, &manifest, removals);
        }
        Ok(served)
    }

    /// What `tag` can be answered with, or what stands in for it.
    async fn gather_answer(&self, tag: &Tag, asker: Asker, time: Time) -> Result<Gathered, RegistryError> {
        let until = time.end_of(Step::Gathering);
        let gathered = self.gather(tag, asker, until).await?;
        if !gathered.sources.is_empty() || self.answering.kind == Some(Kind::Image) {
            return Ok(gathered);
        }
        let mut stand_in = self.fall_back(tag, asker, until).await?;
        stand_in.passed_over.extend(gathered.passed_over);
        Ok(stand_in)
    }

    /// What comes of what was looked over.
    async fn answer_with(&self, tag: &Tag, gathered: &Gathered, looked: &Looked, time: Time) -> Option<Served> {
        let mut story = Story::of(gathered, Some(looked));
        let served = match self.recall(looked, &mut story) {
            Some(served) => served,
            None => self.make(tag, looked, &mut story, time).await,
        };
        self.count(&story);
        served
    }
}

/// Permits to make new forms of caches.
pub(super) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}
