//! Making blobs young again.
//!
//! A client that is told that a blob is there does not send it, and relies on
//! it for as long as its build takes. What nothing refers to is removed when
//! it is old: so a blob that clients are told of is kept from growing old.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::index::Found;
use super::{Belief, Repository, late};
use crate::oci::Digest;
use crate::store::{Key, StoreError};

/// How many blobs are made young at once; it costs the store a copy of each.
const AT_ONCE: usize = 16;

/// How many wait for that, or are remembered to have failed.
const MOST: usize = 1024;

/// How long a blob is not tried again with which it failed.
const PAUSE: Duration = Duration::from_secs(60);

/// What is being made young in this process.
#[derive(Debug)]
pub(super) struct Refreshes {
    tries: Mutex<HashMap<Key, Try>>,
    permits: Semaphore,
    /// Whether a person was told that it fails.
    is_told: AtomicBool,
}

#[derive(Debug)]
enum Try {
    GoesOn(Outcome),
    Failed(Instant),
}

/// Whether it succeeded, once that is known.
type Outcome = watch::Receiver<Option<bool>>;

/// What to do about a blob that is to be made young.
enum Turn {
    Begin(watch::Sender<Option<bool>>, Outcome),
    Join(Outcome),
    /// It can't be done now.
    None,
}

impl Repository {
    /// `found`, if it is young enough for a client to rely on it, or was made so.
    ///
    /// Costs no time before half of the way to where it could be removed: until then the background has had days.
    pub(super) async fn keep_young(&self, digest: &Digest, found: Found) -> Option<Found> {
        let Belief { touch_after, grace, .. } = self.registry.belief;
        let age = self.age(found.last_modified);
        if age < touch_after {
            return Some(found);
        }
        let outcome = self.refresh(digest, found.size);
        if age < (touch_after + grace) / 2 {
            return Some(found);
        }
        let is_young = outcome?.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true));
        is_young.then_some(found)
    }

    /// Makes a blob young in the background, if it is known to be no longer young.
    pub(super) fn refresh_if_old(&self, digest: &Digest) {
        if let Some(found) = self.index().find(&self.keys.blobs(), digest)
            && !self.is_young(found.last_modified)
        {
            self.refresh(digest, found.size);
        }
    }

    /// Whether a client may be told of what was written then without more ado.
    pub(super) fn is_young(&self, last_modified: SystemTime) -> bool {
        self.age(last_modified) < self.registry.belief.touch_after
    }

    fn age(&self, last_modified: SystemTime) -> Duration {
        self.registry.clock.now().duration_since(last_modified).unwrap_or_default()
    }

    /// Makes a blob young in the background, once for all who ask; `None` when it can't be done now.
    fn refresh(&self, digest: &Digest, size: u64) -> Option<Outcome> {
        let key = self.keys.blob(digest);
        match self.registry.refreshes.turn(&key) {
            Turn::None => None,
            Turn::Join(outcome) => Some(outcome),
            Turn::Begin(tell, outcome) => {
                let (repository, digest) = (self.clone(), *digest);
                self.registry.background.spawn(async move {
                    let is_young = repository.touch(&key, &digest, size).await;
                    repository.registry.refreshes.end(key, is_young);
                    tell.send_replace(Some(is_young));
                });
                Some(outcome)
            }
        }
    }

    async fn touch(&self, key: &Key, digest: &Digest, size: u64) -> bool {
        let refreshes = &self.registry.refreshes;
        let Ok(_permit) = refreshes.permits.acquire().await else { return false };
        let (asked, patience) = (self.index().asking(), self.patience().bytes);
        let touched = tokio::time::timeout(patience, self.store().touch(key, patience)).await;
        let touched = touched.unwrap_or_else(|_| Err(late()));
        match &touched {
            Ok(true) => self.note_written(digest, size, asked),
            Ok(false) => self.index().missed(&self.keys.blobs(), digest, asked),
            Err(error) => refreshes.fail(key, error),
        }
        let is_young = matches!(touched, Ok(true));
        self.registry.metrics.refreshed(is_young);
        is_young
    }
}

impl Refreshes {
    fn turn(&self, key: &Key) -> Turn {
        let mut tries = self.lock();
        match tries.get(key) {
            Some(Try::GoesOn(outcome)) => return Turn::Join(outcome.clone()),
            Some(Try::Failed(when)) if when.elapsed() < PAUSE => return Turn::None,
            _ => {}
        }
        if tries.len() >= MOST {
            tries.retain(|_, a_try| matches!(a_try, Try::GoesOn(_)));
        }
        if tries.len() >= MOST {
            return Turn::None;
        }
        let (tell, outcome) = watch::channel(None);
        tries.insert(key.clone(), Try::GoesOn(outcome.clone()));
        Turn::Begin(tell, outcome)
    }

    fn end(&self, key: Key, is_young: bool) {
        let mut tries = self.lock();
        if is_young {
            tries.remove(&key);
        } else {
            tries.insert(key, Try::Failed(Instant::now()));
        }
    }

    /// What keeps one blob from being refreshed most likely keeps all: a person is told once.
    fn fail(&self, key: &Key, error: &StoreError) {
        let cause = std::error::Error::source(error);
        if error.lacks().is_some() || self.is_told.swap(true, Ordering::Relaxed) {
            tracing::debug!(%key, %error, cause, "blob not refreshed");
        } else {
            tracing::warn!(%key, %error, cause, "blob not refreshed; such blobs are sent again once they are old");
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Try>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Refreshes {
    fn default() -> Self {
        Self { tries: Mutex::default(), permits: Semaphore::new(AT_ONCE), is_told: AtomicBool::new(false) }
    }
}
