//! Objects in a bucket, through the S3 API.
//!
//! Every request goes through [`retry`], which knows how long to wait for what;
//! the SDK's own retries and timeouts are off.

mod client;
mod fault;
mod get;
mod leftovers;
mod retry;
mod upload;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::DateTime;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::budget::MemoryBudget;
use super::{Key, Listed, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload};
use crate::oci::ByteRange;
use client::Connections;
use fault::{Fault, Identity, has_changed, is_absent, is_absent_to_head};
use retry::{Attempt, retry};

/// What must be escaped in the path of a copy's source (S3 API, CopyObject, `x-amz-copy-source`).
const NOT_IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// How many objects the store copies for us at once. It reads and writes all
/// their bytes, and more at once only take longer, each of them, until they are given up.
const COPIES_AT_ONCE: usize = 8;

/// How to reach a bucket.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What all keys begin with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Where the service is; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path rather than in the host name.
    pub path_style: bool,
    /// Where the keys come from.
    pub credentials: S3Credentials,
}

/// Where the keys to a bucket come from.
#[derive(Clone, Debug)]
pub enum S3Credentials {
    /// A key pair.
    Static {
        /// Names the key; no secret.
        access_key_id: String,
        /// Signs for it.
        secret_access_key: SecretString,
        /// Comes with temporary keys.
        session_token: Option<SecretString>,
    },
    /// The SDK's own chain: environment, shared files, web identity, container, instance.
    Default,
}

/// A bucket, or what lies under a prefix of one.
#[derive(Clone)]
pub struct S3Store {
    shared: Arc<Shared>,
}

/// What a store and the uploads it began have in common.
struct Shared {
    connections: Connections,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    identity: Identity,
    memory: Arc<MemoryBudget>,
    copies: Semaphore,
    /// Aborts, and whatever else outlives the call that began it.
    background: TaskTracker,
}

impl S3Store {
    /// The bucket that `settings` name. Nothing is sent yet.
    pub async fn new(settings: S3Settings, memory: Arc<MemoryBudget>) -> Self {
        let connections = Connections::to(&settings).await;
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        let identity = Identity::of(&settings);
        let (copies, background) = (Semaphore::new(COPIES_AT_ONCE), TaskTracker::new());
        let shared = Shared { connections, bucket: settings.bucket, prefix, identity, memory, copies, background };
        Self { shared: Arc::new(shared) }
    }
}

impl Shared {
    fn client(&self) -> Client {
        self.connections.client()
    }

    /// Makes attempts until one succeeds, one fails for good, or `patience` is over.
    async fn retry<T, F>(&self, patience: Duration, request: impl FnMut(Attempt) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        retry(patience, || self.connections.renew(), request).await
    }

    fn object_key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The key of ours that the bucket's `object_key` is, if it is one.
    fn own_key(&self, object_key: &str) -> Option<Key> {
        object_key.strip_prefix(&self.prefix)?.parse().ok()
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>, Fault> {
        match self.client().head_object().bucket(&self.bucket).key(self.object_key(key)).send().await {
            Ok(head) => meta(head.content_length, head.content_type, head.last_modified, head.e_tag).map(Some),
            Err(error) if is_absent_to_head(&error) => Ok(None),
            Err(error) => Err(self.identity.fault("HeadObject", error)),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Fault> {
        match self.client().delete_object().bucket(&self.bucket).key(self.object_key(key)).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(self.identity.fault("DeleteObject", error)),
        }
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key) -> Result<bool, Fault> {
        let source = format!("{}/{}", self.bucket, self.object_key(from));
        let request = self.client().copy_object().bucket(&self.bucket).key(self.object_key(to));
        let source = percent_encoding::utf8_percent_encode(&source, NOT_IN_A_PATH).to_string();
        match request.copy_source(source).copy_source_if_match(etag).send().await {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) || has_changed(&error) => Ok(false),
            Err(error) => Err(self.identity.fault("CopyObject", error)),
        }
    }

    /// A page of the names between `prefix` and the next `/`, and what to ask for the next page with.
    async fn folders(&self, prefix: &str, token: Option<String>) -> Result<(Vec<String>, Option<String>), Fault> {
        let prefix = format!("{}{prefix}", self.prefix);
        let request = self.client().list_objects_v2().bucket(&self.bucket).prefix(&prefix).delimiter("/");
        let listing = request.set_continuation_token(token).send().await;
        let listing = listing.map_err(|error| self.identity.fault("ListObjectsV2", error))?;
        let folders = listing.common_prefixes().iter().filter_map(|folder| folder.prefix());
        let names = folders.filter_map(|folder| Some(folder.strip_prefix(&prefix)?.strip_suffix('/')?.to_owned()));
        Ok((names.collect(), listing.next_continuation_token.clone()))
    }

    async fn list(&self, prefix: &str, after: Option<&Key>) -> Result<Page, Fault> {
        let request = self.client().list_objects_v2().bucket(&self.bucket).prefix(format!("{}{prefix}", self.prefix));
        let listing = request
            .set_start_after(after.map(|key| self.object_key(key)))
            .send()
            .await
            .map_err(|error| self.identity.fault("ListObjectsV2", error))?;
        let objects = listing.contents().iter().filter_map(|object| {
            let key = self.own_key(object.key()?)?;
            let last_modified = SystemTime::try_from(*object.last_modified()?).ok()?;
            let etag = object.e_tag().unwrap_or_default().to_owned();
            Some(Listed { key, size: u64::try_from(object.size()?).ok()?, last_modified, etag })
        });
        Ok(Page { objects: objects.collect(), is_truncated: listing.is_truncated().unwrap_or_default() })
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        self.shared.retry(patience, |_| self.shared.head(key)).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError> {
        get::get(Arc::clone(&self.shared), key, range, patience).await
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, patience: Duration) -> Result<(), StoreError> {
        upload::put(&self.shared, key, &bytes, content_type, None, patience).await.map(drop)
    }

    async fn upload(&self, key: &Key, length: Option<u64>, patience: Duration) -> Result<Box<dyn Upload>, StoreError> {
        let upload = upload::S3Upload::new(Arc::clone(&self.shared), key.clone(), length, patience)?;
        Ok(Box::new(upload))
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError> {
        // It is never closed, so this is a turn.
        let _turn = self.shared.copies.acquire().await;
        let copy = |attempt: Attempt| async move {
            // The answer comes when all bytes are copied, and who gives up before has them copied once more.
            attempt.gives_time(patience / 2);
            self.shared.copy(from, etag, to).await
        };
        self.shared.retry(patience, copy).await
    }

    async fn delete(&self, key: &Key, patience: Duration) -> Result<(), StoreError> {
        self.shared.retry(patience, |_| self.shared.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError> {
        self.shared.retry(patience, |_| self.shared.list(prefix, after)).await
    }

    async fn folders(&self, prefix: &str, patience: Duration) -> Result<Vec<String>, StoreError> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let (page, next) = self.shared.retry(patience, |_| self.shared.folders(prefix, token.clone())).await?;
            names.extend(page);
            match next {
                Some(next) => token = Some(next),
                None => return Ok(names),
            }
        }
    }

    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
        patience: Duration,
    ) -> Result<Option<Vec<Unfinished>>, StoreError> {
        leftovers::unfinished(&self.shared, prefix, before, patience).await
    }

    async fn discard(&self, upload: &Unfinished, patience: Duration) -> Result<(), StoreError> {
        // All that are told here are for a key.
        let Some(key) = &upload.key else { return Ok(()) };
        self.shared.retry(patience, |_| leftovers::abort(&self.shared, key, &upload.id)).await
    }

    /// Asks for a key that cannot be there: a GET, since the answer to a HEAD does not say why.
    async fn probe(&self, patience: Duration) -> Result<(), StoreError> {
        let key = format!("{}_longshore/probe", self.shared.prefix);
        let ask = || async {
            match self.shared.client().get_object().bucket(&self.shared.bucket).key(&key).send().await {
                Ok(_) => Ok(()),
                Err(error) if is_absent(&error) => Ok(()),
                Err(error) => Err(self.shared.identity.fault("GetObject", error)),
            }
        };
        self.shared.retry(patience, |_| ask()).await
    }

    async fn settle(&self) {
        self.shared.background.close();
        self.shared.background.wait().await;
        self.shared.background.reopen();
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({}/{})", self.shared.bucket, self.shared.prefix)
    }
}

/// What a response says of an object, all of which a store must say.
fn meta(
    length: Option<i64>,
    content_type: Option<String>,
    last_modified: Option<DateTime>,
    etag: Option<String>,
) -> Result<ObjectMeta, Fault> {
    let size = length.and_then(|length| u64::try_from(length).ok()).ok_or_else(|| Fault::incomplete("Content-Length"))?;
    let last_modified = last_modified.and_then(|time| SystemTime::try_from(time).ok());
    Ok(ObjectMeta {
        size,
        content_type: content_type.unwrap_or_else(|| super::OCTET_STREAM.to_owned()),
        last_modified: last_modified.ok_or_else(|| Fault::incomplete("Last-Modified"))?,
        etag: etag.ok_or_else(|| Fault::incomplete("ETag"))?,
    })
}
