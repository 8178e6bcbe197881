//! Writing an object: one PutObject if it is small, parts side by side if not.
//!
//! Bytes are gathered in memory that was reserved for them, so every request
//! can be repeated. A multipart upload writes to the final key and is invisible
//! until it is completed; whatever ends it otherwise aborts it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::Shared;
use super::fault::{Fault, is_absent};
use super::leftovers;
use super::retry::{Attempt, Slices};
use crate::store::budget::{Buffer, PART};
use crate::store::{Key, OCTET_STREAM, StoreError, Upload};

const MIB: u64 = 1024 * 1024;

/// Most bytes that one PutObject carries.
const SINGLE_PUT: u64 = 16 * MIB;

/// Most parts an object may have (S3 User Guide, "Multipart upload limits").
const MAX_PARTS: u64 = 10_000;

/// Most parts of one upload that are on their way at once, where memory is plenty.
const PARTS_IN_FLIGHT: usize = 16;

/// How long an abort is tried: what it leaves costs money but harms nobody.
const ABORT_PATIENCE: Duration = Duration::from_secs(30);

/// Writes `bytes` with one request, repeated as `patience` allows; the object's etag.
pub(super) async fn put(
    shared: &Shared,
    key: &Key,
    bytes: &Bytes,
    content_type: &str,
    sha256: Option<[u8; 32]>,
    patience: Duration,
) -> Result<String, StoreError> {
    let sha256 = HEXLOWER.encode(&sha256.unwrap_or_else(|| Sha256::digest(bytes).into()));
    shared
        .write(patience, |attempt, without| {
            let request = shared.client().put_object().bucket(&shared.bucket).key(shared.object_key(key));
            let request = request.content_type(content_type).set_content_length(i64::try_from(bytes.len()).ok());
            let request = request.body(body(bytes, attempt)).customize().interceptor(PayloadHash(sha256.clone()));
            let request = request.interceptor(without);
            async move {
                let put = request.send().await.map_err(|error| shared.identity.fault("PutObject", error))?;
                put.e_tag.ok_or_else(|| Fault::incomplete("ETag"))
            }
        })
        .await
}

fn body(bytes: &Bytes, attempt: Attempt) -> ByteStream {
    ByteStream::new(SdkBody::from_body_1_x(Slices::new(bytes.clone(), attempt)))
}

/// Signs a payload by a hash that is known already. The store refuses what
/// arrives with another one, and nothing is hashed twice.
#[derive(Debug)]
struct PayloadHash(String);

#[dyn_dispatch_hint]
impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "PayloadHash"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}

/// An object on its way into the bucket.
pub(super) struct S3Upload {
    target: Arc<Target>,
    length: Option<u64>,
    part_size: u64,
    written: u64,
    filling: Option<Buffer>,
    multipart: Option<Multipart>,
}

/// What an upload and the tasks that it began have in common.
struct Target {
    shared: Arc<Shared>,
    key: Key,
    patience: Duration,
}

/// A multipart upload that has begun.
struct Multipart {
    id: UploadId,
    sending: JoinSet<Result<CompletedPart, StoreError>>,
    sent: Vec<CompletedPart>,
    parts: i32,
}

/// What names the multipart upload, once the store has said so.
enum UploadId {
    Creating(JoinHandle<Result<String, StoreError>>),
    Created(String),
    Failed,
}

impl S3Upload {
    pub(super) fn new(shared: Arc<Shared>, key: Key, length: Option<u64>, patience: Duration) -> Result<Self, StoreError> {
        let largest_part = shared.memory.largest();
        let part_size = match length {
            Some(length) if length <= SINGLE_PUT.min(largest_part) => length,
            Some(length) => PART.max(length.div_ceil(MAX_PARTS).next_multiple_of(MIB)),
            None => PART,
        };
        if part_size > largest_part {
            return Err(StoreError::TooLarge { limit: largest_part / MIB * MIB * MAX_PARTS });
        }
        let target = Arc::new(Target { shared, key, patience });
        Ok(Self { target, length, part_size, written: 0, filling: None, multipart: None })
    }

    /// Whether everything was to fit into one request.
    fn is_single(&self) -> bool {
        self.length.is_some_and(|length| length <= self.part_size)
    }

    /// The part being gathered, which is not full.
    async fn part(&mut self) -> Result<&mut Buffer, StoreError> {
        if self.filling.as_ref().is_some_and(Buffer::is_full) {
            self.send_part().await?;
        }
        if !self.is_single() && self.length.is_some() {
            self.begin_multipart();
        }
        Ok(self.filling.get_or_insert_with(|| self.target.shared.memory.buffer(self.part_size)))
    }

    fn begin_multipart(&mut self) -> &mut Multipart {
        let target = &self.target;
        self.multipart.get_or_insert_with(|| {
            // In a task of its own: who gives up while it runs must still learn what to abort.
            let creating = target.shared.background.spawn(create(Arc::clone(target)));
            Multipart { id: UploadId::Creating(creating), sending: JoinSet::new(), sent: Vec::new(), parts: 0 }
        })
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let Some(part) = self.filling.take() else { return Ok(()) };
        if self.is_single() {
            return Err(StoreError::Unavailable("more bytes than were announced".into()));
        }
        let target = Arc::clone(&self.target);
        self.begin_multipart().send(target, part).await
    }

    /// Lets go of a multipart upload; the returned task ends when it is aborted.
    fn abandon(&mut self) -> Option<JoinHandle<()>> {
        let multipart = self.multipart.take()?;
        // Without a runtime nothing can be sent any more, and the process is about to end.
        let runtime = Handle::try_current().ok()?;
        let target = Arc::clone(&self.target);
        let background = target.shared.background.clone();
        Some(background.spawn_on(multipart.abort(target), &runtime))
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<(), StoreError> {
        self.written += chunk.len() as u64;
        while !chunk.is_empty() {
            let part = self.part().await?;
            part.fill(&mut chunk).await;
            if part.must_give_way() {
                return Err(StoreError::Unavailable("the client sends next to nothing, and others wait for its memory".into()));
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, sha256: Option<[u8; 32]>) -> Result<String, StoreError> {
        if self.multipart.is_some() {
            self.send_part().await?;
        }
        let Some(multipart) = &mut self.multipart else {
            let bytes = self.filling.take().map_or_else(Bytes::new, Bytes::from_owner);
            return put(&self.target.shared, &self.target.key, &bytes, OCTET_STREAM, sha256, self.target.patience).await;
        };
        let etag = multipart.complete(&self.target, self.written).await?;
        // Complete now: there is nothing left to abort.
        self.multipart = None;
        Ok(etag)
    }

    async fn abort(mut self: Box<Self>) {
        if let Some(aborting) = self.abandon() {
            // It fails only by panicking, which the runtime reports.
            let _ = aborting.await;
        }
    }
}

impl Drop for S3Upload {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for S3Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Upload").field("key", &self.target.key).field("written", &self.written).finish_non_exhaustive()
    }
}

impl Multipart {
    async fn send(&mut self, target: Arc<Target>, part: Buffer) -> Result<(), StoreError> {
        if self.parts as u64 == MAX_PARTS {
            return Err(StoreError::TooLarge { limit: MAX_PARTS * PART });
        }
        let id = self.id.get().await?;
        while let Some(sent) = self.sending.try_join_next() {
            self.note(sent)?;
        }
        while self.sending.len() >= PARTS_IN_FLIGHT {
            self.collect().await?;
        }
        self.parts += 1;
        self.sending.spawn(send(target, id, self.parts, part));
        Ok(())
    }

    /// Waits for one part to have arrived; whether there was one.
    async fn collect(&mut self) -> Result<bool, StoreError> {
        let Some(sent) = self.sending.join_next().await else { return Ok(false) };
        self.note(sent).map(|()| true)
    }

    fn note(&mut self, sent: Result<Result<CompletedPart, StoreError>, JoinError>) -> Result<(), StoreError> {
        self.sent.push(sent.map_err(|panic| StoreError::Unavailable(panic.into()))??);
        Ok(())
    }

    async fn complete(&mut self, target: &Target, size: u64) -> Result<String, StoreError> {
        while self.collect().await? {}
        self.sent.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.sent))).build();
        let id = self.id.get().await?;
        let mut is_first = true;
        target
            .shared
            .retry(target.patience, |_| {
                let is_first = std::mem::replace(&mut is_first, false);
                complete(target, &id, parts.clone(), size, is_first)
            })
            .await
    }

    async fn abort(mut self, target: Arc<Target>) {
        // A part that arrives after the abort would stay in the bucket.
        self.sending.shutdown().await;
        let Ok(id) = self.id.get().await else { return };
        let outcome = target.shared.retry(ABORT_PATIENCE, |_| leftovers::abort(&target.shared, &target.key, &id)).await;
        if let Err(error) = outcome
            && error.lacks().is_none()
        {
            let cause = std::error::Error::source(&error);
            tracing::warn!(key = %target.key, error = cause, "multipart upload not aborted; its parts stay in the bucket");
        }
    }
}

impl UploadId {
    async fn get(&mut self) -> Result<String, StoreError> {
        if let Self::Creating(creating) = self {
            let created = creating.await.map_err(|panic| StoreError::Unavailable(panic.into()));
            // A task tells its outcome once.
            *self = Self::Failed;
            *self = Self::Created(created??);
        }
        match self {
            Self::Created(id) => Ok(id.clone()),
            Self::Creating(_) | Self::Failed => Err(StoreError::Unavailable("no upload id".into())),
        }
    }
}

async fn create(target: Arc<Target>) -> Result<String, StoreError> {
    let Target { shared, key, patience } = &*target;
    shared
        .write(*patience, |_, without| {
            let request = shared.client().create_multipart_upload().bucket(&shared.bucket).key(shared.object_key(key));
            async move {
                let created = request.content_type(OCTET_STREAM).customize().interceptor(without).send().await;
                let created = created.map_err(|error| shared.identity.fault("CreateMultipartUpload", error))?;
                created.upload_id.ok_or_else(|| Fault::incomplete("UploadId"))
            }
        })
        .await
}

async fn send(target: Arc<Target>, id: String, number: i32, part: Buffer) -> Result<CompletedPart, StoreError> {
    let Target { shared, key, patience } = &*target;
    // The memory is held until the last slice of it has left.
    let bytes = Bytes::from_owner(part);
    shared
        .retry(*patience, |attempt| {
            let request = shared.client().upload_part().bucket(&shared.bucket).key(shared.object_key(key)).upload_id(&id);
            let request =
                request.part_number(number).set_content_length(i64::try_from(bytes.len()).ok()).body(body(&bytes, attempt));
            async move {
                let sent = request.send().await.map_err(|error| shared.identity.fault("UploadPart", error))?;
                let etag = sent.e_tag.ok_or_else(|| Fault::incomplete("ETag"))?;
                Ok(CompletedPart::builder().part_number(number).e_tag(etag).build())
            }
        })
        .await
}

async fn complete(
    target: &Target,
    id: &str,
    parts: CompletedMultipartUpload,
    size: u64,
    is_first: bool,
) -> Result<String, Fault> {
    let Target { shared, key, .. } = target;
    let request = shared.client().complete_multipart_upload().bucket(&shared.bucket).key(shared.object_key(key)).upload_id(id);
    let error = match request.multipart_upload(parts).send().await {
        Ok(completed) => return etag_of_completed(target, completed.e_tag).await,
        Err(error) => error,
    };
    if !is_absent(&error) {
        return Err(shared.identity.fault("CompleteMultipartUpload", error));
    }
    // The answer to an earlier attempt may have been lost, and then the upload is gone because it succeeded.
    match shared.head(key).await?.filter(|meta| meta.size == size) {
        Some(meta) => Ok(meta.etag),
        // Somebody else aborted it, such as a lifecycle rule: it does not come back.
        None if is_first => {
            Err(Fault::lasting(StoreError::Unavailable("the multipart upload was aborted by somebody else".into())))
        }
        // What an earlier attempt began may still be going on.
        None => Err(shared.identity.fault("CompleteMultipartUpload", error)),
    }
}

/// The etag of what was completed: Ceph 16 leaves it empty in its answer.
async fn etag_of_completed(target: &Target, told: Option<String>) -> Result<String, Fault> {
    match told.filter(|etag| !etag.is_empty()) {
        Some(etag) => Ok(etag),
        None => target.shared.head(&target.key).await?.map(|meta| meta.etag).ok_or_else(|| Fault::incomplete("ETag")),
    }
}
