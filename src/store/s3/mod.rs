//! Objects in a bucket, through the S3 API.
//!
//! Every request goes through [`retry`], which knows how long to wait for what;
//! the SDK's own retries and timeouts are off.

mod absence;
mod bearer;
mod client;
mod copy;
mod counting;
mod extras;
mod fault;
mod get;
mod health;
mod kind;
mod leftovers;
mod load;
mod objects;
mod retry;
mod rights;
mod signed;
mod upload;
mod wire;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use bytes::Bytes;
use secrecy::SecretString;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::budget::Share;
use super::{Key, Listed, Misconfiguration, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload};
use crate::credentials::{Source, Surroundings};
use crate::metrics::ProfileMetrics;
use crate::oci::ByteRange;
use absence::Listing;
use client::Connections;
use copy::Turns;
use extras::Extras;
use fault::{Fault, Identity, is_absent, is_absent_to_head};
use retry::{Attempt, Endpoint, retry};
use rights::Rights;

pub use kind::{KIND_NAMES, S3Endpoint, S3Kind};
pub use objects::{S3Encryption, S3Objects};
pub(super) use rights::lacking;

/// How to reach a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct S3Settings {
    /// The bucket, by a well-formed name.
    pub bucket: String,
    /// What all keys begin with: components with `/` between, or empty; at most 400 bytes.
    pub prefix: String,
    /// Whose interpretation of S3 it is.
    pub kind: S3Kind,
    /// The region that requests are signed for.
    pub region: String,
    /// `scheme://host[:port]`; `None` where the SDK finds it by the region.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path rather than in the host name.
    pub path_style: bool,
    /// Where the keys come from.
    pub credentials: Source,
    /// What is asked for every object.
    pub objects: S3Objects,
    /// A file of certificates in PEM to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// The `scheme://host[:port]` of a proxy; without it none is used, whatever the environment says.
    pub proxy: Option<String>,
}

impl S3Settings {
    /// The secrets that stand in it as they are, and are not referred to.
    #[must_use]
    pub fn literals(&self) -> Vec<SecretString> {
        let customer_key = self.objects.encryption.as_ref().and_then(S3Encryption::customer_key);
        self.credentials.literals().into_iter().chain(customer_key).collect()
    }
}

impl fmt::Display for S3Settings {
    /// The place in a few words, without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.kind == S3Kind::GCS { "gs" } else { "s3" };
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{scheme}://{}{slash}{}, region {}", self.bucket, self.prefix, self.region)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, ", at {endpoint}"))
    }
}

/// A bucket, or what lies under a prefix of one.
#[derive(Clone)]
pub struct S3Store {
    shared: Arc<Shared>,
}

/// What a store and the uploads it began have in common.
struct Shared {
    connections: Connections,
    endpoint: Endpoint,
    listing: Listing,
    rights: Rights,
    extras: Extras,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    identity: Identity,
    memory: Share,
    copies: Turns,
    /// Aborts, and whatever else outlives the call that began it.
    background: TaskTracker,
}

impl S3Store {
    /// The bucket that `settings` name, whose credentials' source finds `surroundings`, with what is sent to it counted
    /// in `metrics`. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// The certificates or the proxy that they name cannot be used.
    pub async fn new(
        settings: S3Settings,
        surroundings: &Surroundings,
        memory: Share,
        metrics: ProfileMetrics,
    ) -> Result<Self, Misconfiguration> {
        let connections = Connections::to(&settings, surroundings, metrics.clone()).await?;
        let prefix = if settings.prefix.is_empty() { String::new() } else { format!("{}/", settings.prefix) };
        let identity = Identity::of(&settings, connections.credentials().clone());
        let shared = Shared {
            connections,
            endpoint: Endpoint::new(metrics),
            listing: Listing::default(),
            rights: Rights::new(&surroundings.profile, &settings.bucket),
            extras: Extras::of(&settings.objects),
            bucket: settings.bucket,
            prefix,
            identity,
            memory,
            copies: Turns::default(),
            background: TaskTracker::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same, with at most so many requests on their way at once.
    #[must_use]
    pub fn with_max_requests(self, most: usize) -> Self {
        self.shared.endpoint.allow(most);
        self
    }
}

/// How long before its end patience with credentials is over: one in so many of it.
const LAST_SHARE: u32 = 20;

impl Shared {
    fn client(&self) -> Client {
        self.connections.client()
    }

    /// Makes attempts until one succeeds, one fails for good, or `patience` is over. What the keys may not do is told.
    async fn retry<T, F>(&self, patience: Duration, request: impl FnMut(Attempt) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let outcome = self.attempts(patience, request).await;
        self.rights.note_unless_absent(&outcome);
        outcome
    }

    /// The same for what may be refused and is asked otherwise then.
    async fn attempts<T, F>(&self, patience: Duration, mut request: impl FnMut(Attempt) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        // Who asks waits no longer either, and is to hear which it was that did not come.
        let deadline = Instant::now() + patience - patience / LAST_SHARE;
        let request = |attempt: Attempt| self.with_keys(attempt.clone(), deadline, request(attempt));
        retry(patience, &self.endpoint, |remedy, began| self.connections.apply(remedy, began), request).await
    }

    /// Makes `request` once there are keys to make it with: waiting for them is no silence of the store's.
    async fn with_keys<T>(
        &self,
        attempt: Attempt,
        deadline: Instant,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        attempt.gives_time(deadline);
        self.connections.credentials().ready(deadline).await.map_err(Fault::without_keys)?;
        attempt.moves();
        request.await
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
            Ok(head) if is_archived(&head) => Ok(None),
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

    /// A page of objects, and the last of the bucket's own keys on it.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<(Page, Option<String>), Fault> {
        let request = self.client().list_objects_v2().bucket(&self.bucket).prefix(format!("{}{prefix}", self.prefix));
        let listing = request
            .set_start_after(after.map(str::to_owned))
            .send()
            .await
            .map_err(|error| self.identity.fault("ListObjectsV2", error))?;
        let last = listing.contents().last().and_then(|object| object.key()).map(str::to_owned);
        let readable =
            listing.contents().iter().filter(|object| !object.storage_class().is_some_and(|it| is_archive(it.as_str())));
        let objects = readable.filter_map(|object| {
            let key = self.own_key(object.key()?)?;
            let last_modified = SystemTime::try_from(*object.last_modified()?).ok()?;
            let etag = object.e_tag().unwrap_or_default().to_owned();
            Some(Listed { key, size: u64::try_from(object.size()?).ok()?, last_modified, etag })
        });
        Ok((Page { objects: objects.collect(), is_truncated: listing.is_truncated().unwrap_or_default() }, last))
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        self.shared.look(patience, |left| self.shared.retry(left, |_| self.shared.head(key))).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError> {
        self.shared.look(patience, |left| get::get(Arc::clone(&self.shared), key, range, left)).await
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, patience: Duration) -> Result<(), StoreError> {
        upload::put(&self.shared, key, &bytes, content_type, None, patience).await.map(drop)
    }

    async fn upload(&self, key: &Key, length: Option<u64>, patience: Duration) -> Result<Box<dyn Upload>, StoreError> {
        let upload = upload::S3Upload::new(Arc::clone(&self.shared), key.clone(), length, patience)?;
        Ok(Box::new(upload))
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.shared.copy(from, etag, to, patience).await
    }

    async fn touch(&self, key: &Key, patience: Duration) -> Result<bool, StoreError> {
        self.shared.touch(key, patience).await
    }

    async fn delete(&self, key: &Key, patience: Duration) -> Result<(), StoreError> {
        self.shared.retry(patience, |_| self.shared.delete(key)).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError> {
        // Garage lists nothing after a key that comes before the prefix, where there is all of it.
        let begin = format!("{}{prefix}", self.shared.prefix);
        let mut after = after.map(|key| self.shared.object_key(key)).filter(|after| *after > begin);
        loop {
            let (page, last) = self.shared.retry(patience, |_| self.shared.list(prefix, after.as_deref())).await?;
            // Who asks goes on after the last object of a page, so one that has none of ours must not look like the middle.
            if !page.objects.is_empty() || !page.is_truncated || last <= after {
                return Ok(page);
            }
            after = last;
        }
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
        let (key, deadline) = (format!("{}_longshore/probe", self.shared.prefix), Instant::now() + patience);
        let ask = || async {
            match self.shared.client().get_object().bucket(&self.shared.bucket).key(&key).send().await {
                Ok(_) => Ok(()),
                Err(error) if is_absent(&error) => Ok(()),
                Err(error) => Err(self.shared.identity.fault("GetObject", error)),
            }
        };
        match self.shared.retry(patience, |_| ask()).await {
            // Nothing but a person can mend that.
            Err(StoreError::NoCredentials(missing)) if !missing.is_passing => {
                Err(StoreError::Misconfigured(Misconfiguration::NoCredentials { reason: missing.to_string() }))
            }
            refused @ Err(StoreError::Denied(_)) => {
                // It may be so for any key that is not there.
                if self.shared.may_list(deadline).await == Some(true) {
                    self.shared.rights.note(&refused);
                }
                refused
            }
            outcome => outcome,
        }
    }

    fn reconnect(&self) {
        self.shared.connections.renew();
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

/// Whether an object would have to be restored before it could be read (S3 API, HeadObject, `x-amz-restore`, `x-amz-archive-status`).
fn is_archived(head: &HeadObjectOutput) -> bool {
    let is_restored = head.restore().is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
    let is_in_archive = head.storage_class().is_some_and(|class| is_archive(class.as_str())) || head.archive_status().is_some();
    is_in_archive && !is_restored
}

/// Whether what has this storage class cannot be read at once (S3 User Guide, "Storage classes").
fn is_archive(storage_class: &str) -> bool {
    matches!(storage_class, "GLACIER" | "DEEP_ARCHIVE")
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
