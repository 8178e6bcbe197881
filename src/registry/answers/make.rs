//! Making what a cache is served as, once for all who ask for it.

use tokio::time::{Instant, timeout_at};

use super::super::manifests::StoredManifest;
use super::super::{Repository, late};
use super::decide::{Decision, Made, Verdict, decide};
use super::look::Looked;
use super::memory::Known;
use super::story::{Outcome, Story};
use super::{Served, Step, Time};
use crate::buildkit::Derived;
use crate::oci::Tag;
use crate::store::StoreError;

impl Repository {
    /// What came of just this before, if that is remembered: perhaps that nothing is served.
    pub(super) fn recall(&self, looked: &Looked, story: &mut Story) -> Option<Option<Served>> {
        let known = self.registry.answers.recall(&self.image, &looked.fingerprint()?)?;
        story.outcome = Outcome::from(&known);
        Some(match known {
            Known::AsIs => looked.first(),
            Known::Derived { manifest, .. } => Some(Served { info: manifest, bytes: None }),
            Known::Nothing => None,
        })
    }

    /// Decides what is served, makes it if it is to be made, and tells of it.
    pub(super) async fn make(&self, tag: &Tag, looked: &Looked, story: &mut Story, time: Time) -> Option<Served> {
        // Kept until it is stored, so that nobody else makes the same meanwhile.
        let turn = timeout_at(time.end_of(Step::Deciding), self.registry.answers.turn()).await.ok();
        if let Some(served) = self.recall(looked, story) {
            return served;
        }
        let deciding = timeout_at(time.end_of(Step::Deciding), self.decide(looked));
        let decision = match (&turn, deciding.await) {
            (Some(_), Ok(decision)) => decision,
            _ => {
                tracing::warn!(repository = %self.name, %tag, "a cache was not looked through in time");
                return looked.whole_by_itself();
            }
        };
        story.decided(&decision);
        let (served, known) = self.carry_out(tag, decision, looked, time.end_of(Step::Storing)).await;
        match (looked.fingerprint(), known) {
            (_, None) => story.outcome = Outcome::NotStored,
            (Some(of), Some(known)) => self.registry.answers.remember(&self.image, of, known),
            (None, Some(_)) => {}
        }
        self.tell(tag, story);
        served
    }

    /// What to serve, decided on a thread of its own.
    pub(super) async fn decide(&self, looked: &Looked) -> Decision {
        let Looked { evidence, max_bytes, alone } = looked.clone();
        let deciding = self.registry.work_on_cache(move || decide(&evidence, max_bytes, alone.as_ref()));
        deciding.await.unwrap_or(Decision { verdict: Verdict::Nothing, findings: Vec::new() })
    }

    /// Does what was decided: what is served, and what of that holds for the next time, unless it could not be stored.
    async fn carry_out(&self, tag: &Tag, decision: Decision, looked: &Looked, until: Instant) -> (Option<Served>, Option<Known>) {
        let made = match decision.verdict {
            Verdict::AsIs => return (looked.first(), Some(Known::AsIs)),
            Verdict::Nothing => return (None, Some(Known::Nothing)),
            Verdict::Made(made) => made,
        };
        if !self.keep_made(tag, &made, until).await {
            return (looked.whole_by_itself(), None);
        }
        let Made { derived: Derived { manifest, config }, united, is_rescued, .. } = *made;
        let manifest =
            StoredManifest { digest: manifest.digest, media_type: manifest.media_type.to_owned(), bytes: manifest.bytes };
        let removals = self.registry.recent.removals();
        self.registry.recent.keep_blob(&self.image, &config.digest, &config.bytes, removals);
        (Some(Served::whole(&manifest)), Some(Known::Derived { manifest: manifest.info(), united, is_rescued }))
    }

    /// Stores what was made; whether that was done.
    async fn keep_made(&self, tag: &Tag, made: &Made, until: Instant) -> bool {
        if self.registry.answers.is_refused() {
            return false;
        }
        let storing = timeout_at(until, self.store_derived(made));
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
