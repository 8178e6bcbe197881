//! Telling what is not there from what is not for us.
//!
//! Whoever may not list a bucket gets 403 for a key that is not there, as for
//! one that may not be read (S3 API, HeadObject and GetObject, "Permissions").
//! So the first 403 is followed by one LIST: where that is refused too, a 403
//! counts as absence for a while.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Shared;
use super::fault::Fault;
use crate::store::StoreError;

/// How long it is believed what one LIST has told: permissions change seldom.
const BELIEVED: Duration = Duration::from_mins(10);

/// What is known of our permission to list.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<Option<Learned>>);

#[derive(Clone, Copy, Debug)]
struct Learned {
    is_allowed: bool,
    at: Instant,
}

impl Shared {
    /// `outcome`, with a refusal turned into absence where that is what it means.
    /// Takes until `deadline` to find out.
    pub(super) async fn absent_if_unlisted<T>(
        &self,
        outcome: Result<Option<T>, StoreError>,
        deadline: Instant,
    ) -> Result<Option<T>, StoreError> {
        if !matches!(outcome, Err(StoreError::Denied(_))) {
            return outcome;
        }
        let learning = tokio::time::timeout_at(deadline, self.may_list(deadline));
        match learning.await {
            Ok(Some(false)) => Ok(None),
            _ => outcome,
        }
    }

    /// Whether we may list; `None` when that cannot be found out now. Many may ask at once: one finds out for all.
    async fn may_list(&self, deadline: Instant) -> Option<bool> {
        let mut learned = self.listing.0.lock().await;
        if let Some(Learned { is_allowed, at }) = *learned
            && at.elapsed() < BELIEVED
        {
            return Some(is_allowed);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let is_allowed = match self.retry(left, |_| self.list_one()).await {
            Ok(()) => true,
            Err(StoreError::Denied(_)) => false,
            Err(_) => return None,
        };
        if !is_allowed && learned.is_none_or(|learned| learned.is_allowed) {
            tracing::warn!(
                bucket = self.bucket,
                "the keys may not list the bucket, so what it refuses counts as absent; give them s3:ListBucket"
            );
        }
        *learned = Some(Learned { is_allowed, at: Instant::now() });
        Some(is_allowed)
    }

    async fn list_one(&self) -> Result<(), Fault> {
        let request = self.client().list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        request.send().await.map(drop).map_err(|error| self.identity.fault("ListObjectsV2", error))
    }
}
