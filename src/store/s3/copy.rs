//! Copies within the store: to another key, and of an object onto itself, which makes it young.
//!
//! The answer comes when all bytes are copied, and silence before it means
//! nothing: who gives a copy up only has it made once more. So an attempt may
//! take all the patience there is, and few are made at once.

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{MetadataDirective, StorageClass};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use tokio::sync::Semaphore;
use tokio::time::{Duration, Instant};

use super::Shared;
use super::extras::Without;
use super::fault::{Fault, has_changed, is_absent, is_absent_to_head};
use super::retry::Attempt;
use crate::store::{Key, StoreError};

/// Most bytes that one CopyObject copies: 5 GiB (S3 API, CopyObject). What is
/// larger would have to be copied part by part, which not every store can; who
/// needs it young can send it again.
const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;

/// How many objects the store copies for us at once. It reads and writes all
/// their bytes, and more at once only take longer, each of them, until they are given up.
const AT_ONCE: usize = 8;

/// What must be escaped in the path of a copy's source (S3 API, CopyObject, `x-amz-copy-source`).
const NOT_IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Turns at having something copied.
#[derive(Debug)]
pub(super) struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Shared {
    /// Makes what is at `from`, if it has `etag`, the object at `to` too; whether it has.
    pub(super) async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.in_turn(patience, |attempt, deadline, without| async move {
            attempt.gives_time(deadline);
            let request = self.client().copy_object().bucket(&self.bucket).key(self.object_key(to));
            let request = request.copy_source(self.copy_source(from)).copy_source_if_match(etag);
            match request.customize().interceptor(without).send().await {
                Ok(_) => Ok(true),
                Err(error) if is_absent(&error) || has_changed(&error) => Ok(false),
                Err(error) => Err(self.identity.fault("CopyObject", error)),
            }
        })
        .await
    }

    /// Makes the object at `key` young; `false` when there is none.
    ///
    /// A copy onto itself must replace what is said of the object, or S3
    /// refuses it as changing nothing (S3 API, CopyObject,
    /// `x-amz-metadata-directive`); and what is replaced must be said again, so
    /// it is asked for first.
    pub(super) async fn touch(&self, key: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.in_turn(patience, |attempt, deadline, without| async move {
            match self.client().head_object().bucket(&self.bucket).key(self.object_key(key)).send().await {
                Ok(head) => {
                    attempt.gives_time(deadline);
                    self.copy_onto_itself(key, head, without).await
                }
                Err(error) if is_absent_to_head(&error) => Ok(false),
                Err(error) => Err(self.identity.fault("HeadObject", error)),
            }
        })
        .await
    }

    /// Makes attempts at a copy when it is its turn; each is told until when it may take.
    async fn in_turn<F>(&self, patience: Duration, copy: impl Fn(Attempt, Instant, Without) -> F) -> Result<bool, StoreError>
    where
        F: Future<Output = Result<bool, Fault>>,
    {
        let deadline = Instant::now() + patience;
        let turn = tokio::time::timeout_at(deadline, self.copies.0.acquire()).await;
        let _turn = turn.map_err(|_| StoreError::Unavailable("the store has too much to copy".into()))?;
        let left = deadline.saturating_duration_since(Instant::now());
        self.write(left, |attempt, without| copy(attempt, deadline, without)).await
    }

    /// `key` as the source of a copy.
    fn copy_source(&self, key: &Key) -> String {
        let source = format!("{}/{}", self.bucket, self.object_key(key));
        percent_encoding::utf8_percent_encode(&source, NOT_IN_A_PATH).to_string()
    }

    async fn copy_onto_itself(&self, key: &Key, head: HeadObjectOutput, without: Without) -> Result<bool, Fault> {
        if head.content_length.is_some_and(|length| length.unsigned_abs() > MAX_COPY) {
            return Err(Fault::lasting(StoreError::TooLarge { limit: MAX_COPY }));
        }
        let request = self.client().copy_object().bucket(&self.bucket).key(self.object_key(key));
        let written = head.last_modified;
        let request = request.copy_source(self.copy_source(key)).set_copy_source_if_match(head.e_tag);
        let request = request.metadata_directive(MetadataDirective::Replace).set_content_type(head.content_type);
        // None of these is ours, but another client of the bucket may have meant something by them.
        let request = request.set_metadata(head.metadata).set_cache_control(head.cache_control);
        let request = request.set_content_encoding(head.content_encoding).set_content_disposition(head.content_disposition);
        let request = request.set_storage_class(head.storage_class.filter(is_stated));
        match request.customize().interceptor(without).send().await {
            Ok(copied) => check_is_younger(&copied, written).map(|()| true),
            Err(error) if is_absent(&error) => Ok(false),
            // Somebody else has just written it.
            Err(error) if has_changed(&error) => Ok(true),
            Err(error) => Err(self.identity.fault("CopyObject", error)),
        }
    }
}

/// Makes sure that `copied` is younger than what was `written` before: versitygw
/// changes what is said of an object that is copied onto itself, but not its age.
fn check_is_younger(copied: &CopyObjectOutput, written: Option<DateTime>) -> Result<(), Fault> {
    let copied = copied.copy_object_result().and_then(|result| result.last_modified());
    let copied = copied.ok_or_else(|| Fault::incomplete("LastModified"))?;
    // The copy's is told in milliseconds, the other in seconds. What is no second old needs no touching.
    if written.is_none_or(|written| copied.secs() > written.secs()) {
        return Ok(());
    }
    let cause = "what is copied onto itself keeps its age in this store";
    Err(Fault::lasting(StoreError::Unavailable(cause.into())))
}

/// Whether a class needs to be said: the standard one is what holds otherwise, and some stores know no other.
fn is_stated(class: &StorageClass) -> bool {
    *class != StorageClass::Standard
}
