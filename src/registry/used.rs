//! Marks that say when a manifest was last used, for retention to go by.
//!
//! A mark is an empty object; what it says is its age. It is written beside
//! the answer, never before it, and rather not at all than late: who uses a
//! manifest uses it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{Repository, late};
use crate::oci::Digest;
use crate::store::{Key, OCTET_STREAM};

/// How long a mark is good: retention counts days.
const PACE: Duration = Duration::from_secs(6 * 60 * 60);

/// How long one that could not be written is not tried again.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// How many are written at once; what comes while they are is not written.
const AT_ONCE: usize = 16;

/// How many are remembered to have been written; past it the oldest is written again.
const MOST: usize = 4096;

/// The marks that this process has written lately.
#[derive(Debug)]
pub(super) struct Marks {
    /// When each is due again.
    due: Mutex<HashMap<Key, Instant>>,
    permits: Arc<Semaphore>,
}

impl Repository {
    /// Notes that the manifest `digest`, which is there, is used just now.
    pub(super) fn mark_used(&self, digest: &Digest) {
        let key = self.keys.used(digest);
        let Some(permit) = self.registry.marks.turn(&key) else { return };
        let repository = self.clone();
        self.registry.background.spawn(async move {
            let patience = repository.patience().push;
            let writing = repository.store().put(&key, Bytes::new(), OCTET_STREAM, patience);
            if let Err(error) = tokio::time::timeout(patience, writing).await.unwrap_or_else(|_| Err(late())) {
                tracing::debug!(%key, %error, "use of a manifest not marked");
                repository.registry.marks.put_off(key);
            }
            drop(permit);
        });
    }

    /// Removes the mark of the manifest `digest`, which is gone. One that stays means nothing any more.
    pub(super) async fn unmark(&self, digest: &Digest) {
        let key = self.keys.used(digest);
        self.registry.marks.lock().remove(&key);
        if let Err(error) = self.store().delete(&key, self.patience().push).await {
            tracing::debug!(%key, %error, "mark of a removed manifest not removed");
        }
    }
}

impl Marks {
    /// Permission to write the mark at `key`, if it is due and there is room.
    fn turn(&self, key: &Key) -> Option<OwnedSemaphorePermit> {
        let (mut due, now) = (self.lock(), Instant::now());
        if due.get(key).is_some_and(|due| *due > now) {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        make_room(&mut due, now);
        due.insert(key.clone(), now + PACE);
        Some(permit)
    }

    fn put_off(&self, key: Key) {
        self.lock().insert(key, Instant::now() + PAUSE);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(due: &mut HashMap<Key, Instant>, now: Instant) {
    if due.len() < MOST {
        return;
    }
    due.retain(|_, due| *due > now);
    if due.len() >= MOST
        && let Some(first) = due.iter().min_by_key(|(_, due)| **due).map(|(key, _)| key.clone())
    {
        due.remove(&first);
    }
}

impl Default for Marks {
    fn default() -> Self {
        Self { due: Mutex::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_due_every_six_hours_and_no_more_are_remembered_than_the_bound() {
        let (marks, key) = (Marks::default(), |number: usize| format!("app/_oci/used/{number}").parse::<Key>().unwrap());

        assert!(marks.turn(&key(0)).is_some() && marks.turn(&key(0)).is_none());
        tokio::time::advance(PACE - Duration::from_secs(1)).await;
        assert!(marks.turn(&key(0)).is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(marks.turn(&key(0)).is_some());

        for number in 0..MOST + 10 {
            drop(marks.turn(&key(number)));
        }
        assert_eq!(marks.lock().len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_for_which_there_is_no_room_is_left_out_and_due_still() {
        let (marks, key) = (Marks::default(), |number: usize| format!("app/_oci/used/{number}").parse::<Key>().unwrap());
        let held: Vec<_> = (0..AT_ONCE).map(|number| marks.turn(&key(number))).collect();

        assert!(held.iter().all(Option::is_some) && marks.turn(&key(AT_ONCE)).is_none());
        drop(held);
        assert!(marks.turn(&key(AT_ONCE)).is_some());
    }
}
