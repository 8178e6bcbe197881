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
mod memory;
mod rules;
mod source;
mod story;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::manifests::{ManifestInfo, StoredManifest};
use super::presence::Wanted;
use super::{Asker, Registry, RegistryError, Repository, late};
use crate::buildkit::Derived;
use crate::oci::{Digest, RepoName, Tag};
use crate::store::StoreError;
use config::Config;
use decide::{Decision, Evidence, Made, Verdict, decide};
use gather::Gathered;
use memory::Known;
use source::Source;

pub use decide::{Finding, Steps};
pub use explain::{Explanation, Seen, ServedCache};
pub use gather::{PassedOver, Why};
pub(super) use memory::Memory;
pub use rules::{Answering, Fallback, Kind, Parts, Target};
pub use story::{Outcome, Story, Told};

/// How many caches are worked on at once, by all who ask: it takes a processor, and three times their size in memory.
pub(super) const AT_ONCE: usize = 2;

/// How long each step of an answer may take, in sixteenths of what a pull waits, counted from the beginning of the first.
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
    fn end_of(self, step: Step) -> Instant {
        self.began + self.patience / 16 * step as u32
    }
}

/// What a pull is answered with, and how that came about.
#[derive(Debug)]
pub struct Answer {
    /// `None` where there is nothing.
    pub served: Option<Served>,
    /// How that came about.
    pub story: Story,
}

/// What a pull gets.
#[derive(Clone, Debug)]
pub struct Served {
    /// What it is told.
    pub info: ManifestInfo,
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
        Ok(self.answer(tag, asker).await?.served.map(|served| served.info))
    }

    /// What a pull of `tag` gets, `None` when there is nothing to pull.
    pub(super) async fn read_answer(&self, tag: &Tag, asker: Asker) -> Result<Option<StoredManifest>, RegistryError> {
        match self.answer(tag, asker).await?.served {
            None => Ok(None),
            Some(Served { info: ManifestInfo { digest, media_type, .. }, bytes: Some(bytes) }) => {
                Ok(Some(StoredManifest { digest, media_type, bytes }))
            }
            Some(Served { info, bytes: None }) => self.read_derived(&info.digest).await,
        }
    }

    /// What a pull of `tag` is answered with, and how that came about.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Store`]: the tag could not be read.
    pub async fn answer(&self, tag: &Tag, asker: Asker) -> Result<Answer, RegistryError> {
        let time = Time { began: Instant::now(), patience: self.patience().pull };
        let until = time.end_of(Step::Gathering);
        let removals = self.registry.recent.removals();
        let gathered = self.find(tag, asker, until).await?;
        let Some(first) = gathered.sources.first() else { return Ok(Answer::nothing(gathered)) };
        let looked = self.look_over(&gathered, asker, time.end_of(Step::Looking)).await;
        let (served, story) = match looked {
            None => (first.content.manifest().map(Served::whole), Story::untouched(&gathered)),
            Some(evidence) => {
                let answer = self.answer_with(tag, &gathered, evidence.clone(), time).await;
                self.keep_for_import(&evidence, asker, removals);
                answer
            }
        };
        if let (Some(Served { info, bytes: Some(bytes) }), Asker::Import) = (&served, asker) {
            let manifest = StoredManifest { digest: info.digest, media_type: info.media_type.clone(), bytes: bytes.clone() };
            self.registry.recent.keep(&self.image, &manifest, removals);
        }
        if served.is_some() {
            gathered.sources.iter().for_each(Source::mark_used);
        }
        Ok(Answer { served, story })
    }

    /// What there is to answer with: under the tag and its parts, or where it falls back to.
    async fn find(&self, tag: &Tag, asker: Asker, until: Instant) -> Result<Gathered, RegistryError> {
        let mut gathered = self.gather(tag, asker, until).await?;
        if gathered.sources.is_empty() && self.answering.kind != Some(Kind::Image) {
            let passed_over = gathered.passed_over;
            gathered = self.fall_back(tag, asker, until).await?;
            gathered.passed_over.extend(passed_over);
        }
        Ok(gathered)
    }

    /// Keeps the configs that stand in for this repository's own, which are about to be asked for here.
    fn keep_for_import(&self, evidence: &[Evidence], asker: Asker, removals: u64) {
        for Evidence { source, config, .. } in evidence.iter().filter(|evidence| evidence.source.repository.image != self.image) {
            if let (Config::Read(bytes), Some(descriptor), Asker::Import) = (config, source.content.config(), asker) {
                self.registry.recent.keep_blob(&self.image, &descriptor.digest, bytes, removals);
            }
        }
    }

    /// What is known by `until` of what was gathered; `None` of what is no cache for whoever asks.
    async fn look_over(&self, gathered: &Gathered, asker: Asker, until: Instant) -> Option<Vec<Evidence>> {
        let sources = &gathered.sources;
        if gathered.is_alone && !(asker == Asker::Import && self.may_mend(gathered, until).await) {
            return None;
        }
        let configs = join_all(sources.iter().map(|source| source.read_config(until)));
        let (gone, configs) = join(gone(gathered, until), configs).await;
        let evidence = sources.iter().zip(configs).map(|(source, config)| {
            let here = gone.get(&source.repository.image);
            let is_gone = |wanted: &Wanted| here.is_some_and(|gone| gone.contains(wanted));
            let gone = source.content.blobs().into_iter().filter(is_gone).map(|wanted| wanted.digest).collect();
            Evidence { source: source.clone(), config, gone }
        });
        Some(evidence.collect())
    }

    /// Whether what was found alone is an image that has a cache in it.
    async fn may_mend(&self, gathered: &Gathered, until: Instant) -> bool {
        let only = &gathered.sources[0];
        only.repository.answering.kind != Some(Kind::Image) && self.holds_cache(only, until).await
    }

    /// What comes of the evidence, and the story of it.
    async fn answer_with(&self, tag: &Tag, gathered: &Gathered, evidence: Vec<Evidence>, time: Time) -> (Option<Served>, Story) {
        let max_bytes = self.most_bytes();
        let of = fingerprint(&evidence, max_bytes, gathered.is_alone);
        let known = of.and_then(|of| self.registry.answers.recall(&self.image, &of));
        let mut story = Story::of(gathered, &evidence);
        if let Some(known) = known {
            story.outcome = Outcome::from(&known);
            let served = match known {
                Known::AsIs => evidence[0].source.content.manifest().map(Served::whole),
                Known::Derived { manifest, .. } => Some(Served { info: manifest, bytes: None }),
                Known::Nothing => None,
            };
            self.count(&story);
            return (served, story);
        }
        let deciding = timeout_at(time.end_of(Step::Deciding), self.decide(&evidence, max_bytes, gathered.is_alone));
        let Ok(Decision { verdict, findings }) = deciding.await else {
            tracing::warn!(repository = %self.name, %tag, "a cache was not looked through in time");
            return (whole_by_itself(&evidence), story);
        };
        story.add(findings);
        let (served, known) = self.carry_out(tag, verdict, &evidence, time, &mut story).await;
        if let (Some(of), Some(known)) = (of, known) {
            self.registry.answers.remember(&self.image, of, known);
        }
        self.tell(tag, &story);
        self.count(&story);
        (served, story)
    }

    /// How many bytes of configs are united at most.
    fn most_bytes(&self) -> usize {
        usize::try_from(self.answering.parts.max_bytes).unwrap_or(usize::MAX)
    }

    async fn decide(&self, evidence: &[Evidence], max_bytes: usize, is_image: bool) -> Decision {
        let evidence = evidence.to_vec();
        let deciding = self.registry.work_on_cache(move || decide(&evidence, max_bytes, is_image));
        deciding.await.unwrap_or(Decision { verdict: Verdict::Nothing, findings: Vec::new() })
    }

    /// Does what was decided: what is served, and what of that holds for the next time.
    async fn carry_out(
        &self,
        tag: &Tag,
        verdict: Verdict,
        evidence: &[Evidence],
        time: Time,
        story: &mut Story,
    ) -> (Option<Served>, Option<Known>) {
        let made = match verdict {
            Verdict::AsIs => {
                story.outcome = Outcome::AsIs;
                return (evidence[0].source.content.manifest().map(Served::whole), Some(Known::AsIs));
            }
            Verdict::Nothing => return (None, Some(Known::Nothing)),
            Verdict::Made(made) => made,
        };
        if !self.keep_made(tag, &made, time.end_of(Step::Storing)).await {
            story.outcome = Outcome::NotStored;
            return (whole_by_itself(evidence), None);
        }
        let Made { derived: Derived { manifest, config }, united, is_rescued, left_out, .. } = *made;
        let manifest =
            StoredManifest { digest: manifest.digest, media_type: manifest.media_type.to_owned(), bytes: manifest.bytes };
        let removals = self.registry.recent.removals();
        self.registry.recent.keep_blob(&self.image, &config.digest, &config.bytes, removals);
        let known = Known::Derived { manifest: manifest.info(), united, is_rescued };
        (story.outcome, story.no_room) = (Outcome::from(&known), left_out);
        (Some(Served::whole(&manifest)), Some(known))
    }

    /// Stores what was made; whether that was done.
    async fn keep_made(&self, tag: &Tag, made: &Made, until: Instant) -> bool {
        if self.registry.answers.is_refused() {
            return false;
        }
        let storing = timeout_at(until, self.store_derived(&made.derived));
        let Err(error) = storing.await.unwrap_or_else(|_| Err(late())) else { return true };
        let (cause, is_refused) = (std::error::Error::source(&error), matches!(error, StoreError::Denied(_)));
        if is_refused && self.registry.answers.note_refusal() {
            tracing::warn!(repository = %self.name, %tag, %error, cause, "what a cache would have been served as cannot be stored: caches that are whole are served as they are, others not at all");
        } else if !is_refused {
            tracing::warn!(repository = %self.name, %tag, %error, cause, "what a cache would have been served as was not stored in time");
        }
        false
    }
}

/// What is gone of what was gathered, by image.
async fn gone(gathered: &Gathered, until: Instant) -> HashMap<RepoName, HashSet<Wanted>> {
    let mut wanted: HashMap<&RepoName, (&Repository, HashSet<Wanted>)> = HashMap::new();
    for source in &gathered.sources {
        let (_, of_image) = wanted.entry(&source.repository.image).or_insert((&source.repository, HashSet::new()));
        of_image.extend(source.content.blobs());
    }
    let asked = wanted
        .into_iter()
        .map(|(image, (repository, wanted))| repository.gone(wanted, until).map(move |gone| (image.clone(), gone)));
    join_all(asked).await.into_iter().collect()
}

/// What can be served where nothing can be made: the first source that is whole as far as anybody knows.
fn whole_by_itself(evidence: &[Evidence]) -> Option<Served> {
    let unread = Finding::default();
    let whole = evidence.iter().find(|evidence| evidence.is_whole(&unread));
    whole.and_then(|evidence| evidence.source.content.manifest()).map(Served::whole)
}

/// What the evidence is known by; `None` where not all of it is known.
fn fingerprint(evidence: &[Evidence], max_bytes: usize, is_image: bool) -> Option<Digest> {
    let mut text = format!("{max_bytes} {is_image}");
    for Evidence { source, config, gone } in evidence {
        let is_read = match config {
            Config::Read(_) => true,
            Config::Absent => false,
            Config::Unknown => return None,
        };
        let mut gone: Vec<_> = gone.iter().map(Digest::to_string).collect();
        gone.sort();
        text += &format!("\n{} {is_read} {}", source.content.digest(), gone.join(" "));
    }
    Some(Digest::sha256(text.as_bytes()))
}

/// Permits to work on caches.
pub(super) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(AT_ONCE))
}
