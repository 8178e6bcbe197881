//! Telling what is not there from what is not for us.
//!
//! Whoever may not list a bucket gets 403 for a key that is not there, as for
//! one that may not be read (S3 API, HeadObject and GetObject, "Permissions").
//! So the first 403 is followed by one LIST: where that is refused too, a 403
//! counts as absence for a while.
//!
//! Nor does a HEAD's 403 say when keys are no longer good. The LIST does, and
//! what was refused is asked once more with those that took their place.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Shared;
use super::fault::{Fault, Remedy};
use crate::store::StoreError;

/// How long it is believed that we may not list: permissions change seldom.
pub(super) const FORBIDDEN: Duration = Duration::from_mins(10);

/// How long that we may: what is refused all the same may be so for its keys.
const ALLOWED: Duration = Duration::from_secs(3);

/// What is known of our permission to list.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<Option<Learned>>);

#[derive(Clone, Copy, Debug)]
struct Learned {
    is_allowed: bool,
    at: Instant,
}

impl Shared {
    /// What `ask` comes to, which has so much patience, with a refusal turned into absence where that is what it means.
    pub(super) async fn look<T, F>(&self, patience: Duration, ask: impl Fn(Duration) -> F) -> Result<Option<T>, StoreError>
    where
        F: Future<Output = Result<Option<T>, StoreError>>,
    {
        let began = Instant::now();
        let outcome = ask(patience).await;
        if !matches!(outcome, Err(StoreError::Denied(_))) {
            return outcome;
        }
        let deadline = began + patience;
        match tokio::time::timeout_at(deadline, self.may_list(deadline)).await {
            Ok(Some(false)) => Ok(None),
            Ok(_) if self.connections.credentials().changed_since(began) => {
                ask(deadline.saturating_duration_since(Instant::now())).await
            }
            Ok(Some(true)) => {
                self.rights.note(&outcome);
                outcome
            }
            _ => outcome,
        }
    }

    /// Whether we may list; `None` when that cannot be found out now. Many may ask at once: one finds out for all.
    pub(super) async fn may_list(&self, deadline: Instant) -> Option<bool> {
        let mut learned = self.listing.0.lock().await;
        if let Some(Learned { is_allowed, at }) = *learned
            && at.elapsed() < if is_allowed { ALLOWED } else { FORBIDDEN }
        {
            return Some(is_allowed);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let is_allowed = match self.retry(left, |_| self.list_one()).await {
            Ok(()) => true,
            Err(StoreError::Denied(_)) => false,
            Err(_) => return None,
        };
        *learned = Some(Learned { is_allowed, at: Instant::now() });
        Some(is_allowed)
    }

    async fn list_one(&self) -> Result<(), Fault> {
        let request = self.client().list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        match request.send().await.map_err(|error| self.identity.fault("ListObjectsV2", error)) {
            Ok(_) => Ok(()),
            // Whom it does not know it has told nothing about what he may.
            Err(Fault { error: StoreError::Denied(cause), remedy: remedy @ Remedy::OtherKeys { .. } }) => {
                Err(Fault { error: StoreError::Unavailable(cause), remedy })
            }
            Err(fault) => Err(fault),
        }
    }
}
