//! One bucket, as S3 has it: objects in a store of ours, and multipart uploads that are nothing until they are completed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use longshore::oci::ByteRange;
use longshore::store::{Key, Listed, OCTET_STREAM, ObjectMeta, ObjectStore, StoreError};
use s3s::dto::*;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::{BUCKET, Kind};

/// How long the store behind may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Smallest part, except the last (S3 User Guide, "Multipart upload limits").
const MIN_PART: usize = 5 * 1024 * 1024;

/// Most names in one page of a listing (S3 API, ListObjectsV2).
const PAGE: usize = 1000;

#[derive(Debug)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    kind: Kind,
    /// A write and the look at what it has become are one.
    writing: tokio::sync::Mutex<()>,
    begun: Mutex<BTreeMap<String, Begun>>,
    next: AtomicU64,
}

/// Names in a listing.
#[derive(Default)]
struct Page {
    objects: Vec<Listed>,
    folders: Vec<String>,
    last: Option<String>,
    is_truncated: bool,
}

/// A multipart upload on its way.
#[derive(Debug)]
struct Begun {
    key: String,
    content_type: String,
    since: SystemTime,
    parts: BTreeMap<i32, Part>,
}

#[derive(Debug)]
struct Part {
    etag: String,
    bytes: Bytes,
}

impl Begun {
    /// The bytes of the parts that are `wanted`, which must be there, and in order.
    fn chosen(&self, wanted: &[CompletedPart]) -> S3Result<Vec<Bytes>> {
        if wanted.is_empty() || !wanted.is_sorted_by_key(|part| part.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let chosen = wanted.iter().map(|part| {
            let kept = self.parts.get(&part.part_number?)?;
            (part.e_tag.as_ref()?.value() == kept.etag).then(|| kept.bytes.clone())
        });
        chosen.collect::<Option<_>>().ok_or_else(|| s3_error!(InvalidPart))
    }
}

/// An object, and as much of it as was asked for.
struct Found {
    meta: ObjectMeta,
    offset: u64,
    bytes: Bytes,
}

impl Bucket {
    pub fn new(store: Arc<dyn ObjectStore>, kind: Kind) -> Self {
        Self { store, kind, writing: tokio::sync::Mutex::default(), begun: Mutex::default(), next: AtomicU64::new(1) }
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Begun>> {
        self.begun.lock().expect("no panic")
    }

    async fn meta(&self, key: &Key) -> S3Result<ObjectMeta> {
        self.store.head(key, PATIENCE).await.map_err(failed)?.ok_or_else(|| s3_error!(NoSuchKey))
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: Option<String>) -> S3Result<ObjectMeta> {
        let _alone = self.writing.lock().await;
        let content_type = content_type.unwrap_or_else(|| OCTET_STREAM.to_owned());
        self.store.put(key, bytes, &content_type, PATIENCE).await.map_err(failed)?;
        self.meta(key).await
    }

    async fn find(&self, key: &Key, range: Option<ByteRange>) -> S3Result<Found> {
        let object = self.store.get(key, range, PATIENCE).await.map_err(failed)?.ok_or_else(|| s3_error!(NoSuchKey))?;
        let bytes = object.body.try_fold(BytesMut::new(), async |mut all, chunk| {
            all.extend_from_slice(&chunk);
            Ok(all)
        });
        Ok(Found { meta: object.meta, offset: object.offset, bytes: bytes.await.map_err(failed)?.freeze() })
    }

    /// A page of the names after `after` that begin with `prefix`; those that `delimiter` cuts short are folders, each once.
    async fn page(&self, prefix: &str, delimiter: Option<&str>, after: &str) -> S3Result<Page> {
        let (mut page, mut last) = (Page::default(), after.parse::<Key>().ok());
        loop {
            let found = self.store.list(prefix, last.as_ref(), PATIENCE).await.map_err(failed)?;
            last = found.objects.last().map(|object| object.key.clone());
            for object in found.objects {
                let key = object.key.as_str();
                let end =
                    delimiter.and_then(|delimiter| Some(prefix.len() + key[prefix.len()..].find(delimiter)? + delimiter.len()));
                let name = &key[..end.unwrap_or(key.len())];
                if name <= after || page.last.as_deref() == Some(name) {
                    continue;
                }
                if page.objects.len() + page.folders.len() == PAGE {
                    return Ok(Page { is_truncated: true, ..page });
                }
                page.last = Some(name.to_owned());
                if end.is_some() { page.folders.push(name.to_owned()) } else { page.objects.push(object) }
            }
            if !found.is_truncated {
                return Ok(page);
            }
        }
    }

    /// Ends the upload `id` with the parts that are `wanted`; what they make, and its content type.
    fn complete(&self, id: &str, wanted: &[CompletedPart]) -> S3Result<(Bytes, String)> {
        let mut begun = self.begun();
        let parts = begun.get(id).ok_or_else(|| s3_error!(NoSuchUpload))?.chosen(wanted)?;
        self.check_sizes(&parts.iter().map(Bytes::len).collect::<Vec<_>>())?;
        let upload = begun.remove(id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let whole = parts.iter().fold(BytesMut::new(), |mut whole, part| {
            whole.extend_from_slice(part);
            whole
        });
        Ok((whole.freeze(), upload.content_type))
    }

    fn check_sizes(&self, sizes: &[usize]) -> S3Result<()> {
        let Some((last, others)) = sizes.split_last() else { return Ok(()) };
        if others.iter().any(|size| *size < MIN_PART) {
            return Err(s3_error!(EntityTooSmall));
        }
        let are_equal = others.iter().all(|size| *size == others[0]) && others.first().is_none_or(|size| last <= size);
        if self.kind.wants_equal_parts() && !are_equal {
            return Err(s3_error!(InvalidPart, "All non-trailing parts must have the same length."));
        }
        Ok(())
    }
}

#[async_trait]
impl S3 for Bucket {
    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let HeadObjectInput { bucket, key, if_match, .. } = request.input;
        let meta = self.meta(&own(&bucket, &key)?).await?;
        check(if_match.as_ref(), &meta)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: i64::try_from(meta.size).ok(),
            last_modified: Some(meta.last_modified.into()),
            e_tag: Some(ETag::Strong(meta.etag)),
            content_type: Some(meta.content_type),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { bucket, key, if_match, range, .. } = request.input;
        let range = range.map(|range| match range {
            Range::Int { first, last } => last.map_or(ByteRange::From(first), |last| ByteRange::Within(first, last)),
            Range::Suffix { length } => ByteRange::Last(length),
        });
        let Found { meta, offset, bytes } = self.find(&own(&bucket, &key)?, range).await?;
        check(if_match.as_ref(), &meta)?;
        Ok(S3Response::new(GetObjectOutput {
            content_length: i64::try_from(bytes.len()).ok(),
            content_range: range.map(|_| format!("bytes {offset}-{}/{}", offset + bytes.len() as u64 - 1, meta.size)),
            body: Some(Body::from(bytes).into()),
            last_modified: Some(meta.last_modified.into()),
            e_tag: Some(ETag::Strong(meta.etag)),
            content_type: Some(meta.content_type),
            ..Default::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, content_length, content_type, if_match, if_none_match, .. } = request.input;
        if if_match.is_some() || if_none_match.is_some() {
            return Err(s3_error!(NotImplemented, "the stand-in writes without conditions"));
        }
        let bytes = received(body, content_length).await?;
        let meta = self.put(&own(&bucket, &key)?, bytes, content_type).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(ETag::Strong(meta.etag)), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopyObjectInput { bucket, key, copy_source, copy_source_if_match, metadata_directive, content_type, .. } =
            request.input;
        let CopySource::Bucket { bucket: source_bucket, key: source, .. } = copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let is_replaced = metadata_directive.is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if *source == *key && !is_replaced {
            return Err(s3_error!(InvalidRequest, "a copy onto itself must change something"));
        }
        let Found { meta, bytes, .. } = self.find(&own(&source_bucket, &source)?, None).await?;
        check(copy_source_if_match.as_ref(), &meta)?;
        let content_type = if is_replaced { content_type } else { Some(meta.content_type) };
        let meta = self.put(&own(&bucket, &key)?, bytes, content_type).await?;
        let result = CopyObjectResult {
            last_modified: Some(meta.last_modified.into()),
            e_tag: Some(ETag::Strong(meta.etag)),
            ..Default::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let key = own(&request.input.bucket, &request.input.key)?;
        self.store.delete(&key, PATIENCE).await.map_err(failed)?;
        Ok(S3Response::with_status(DeleteObjectOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, delimiter, continuation_token, start_after, .. } = request.input;
        is_ours(&bucket)?;
        let after = continuation_token.or(start_after).unwrap_or_default();
        let page = self.page(prefix.as_deref().unwrap_or_default(), delimiter.as_deref(), &after).await?;
        let object = |listed: Listed| Object {
            key: Some(listed.key.to_string()),
            size: i64::try_from(listed.size).ok(),
            last_modified: Some(listed.last_modified.into()),
            e_tag: Some(ETag::Strong(listed.etag)),
            ..Default::default()
        };
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix,
            key_count: i32::try_from(page.objects.len() + page.folders.len()).ok(),
            is_truncated: Some(page.is_truncated),
            next_continuation_token: page.last.filter(|_| page.is_truncated),
            contents: Some(page.objects.into_iter().map(object).collect()),
            common_prefixes: Some(page.folders.into_iter().map(|folder| CommonPrefix { prefix: Some(folder) }).collect()),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, content_type, .. } = request.input;
        own(&bucket, &key)?;
        let id = format!("upload-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let content_type = content_type.unwrap_or_else(|| OCTET_STREAM.to_owned());
        let begun = Begun { key: key.clone(), content_type, since: SystemTime::now(), parts: BTreeMap::new() };
        self.begun().insert(id.clone(), begun);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(id),
            ..Default::default()
        }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { bucket, key, upload_id, part_number, body, content_length, .. } = request.input;
        own(&bucket, &key)?;
        let bytes = received(body, content_length).await?;
        let etag = format!("part-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let mut begun = self.begun();
        let upload = begun.get_mut(&upload_id).filter(|upload| upload.key == key).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(part_number, Part { etag: etag.clone(), bytes });
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = request.input;
        let target = own(&bucket, &key)?;
        let wanted = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let (bytes, content_type) = self.complete(&upload_id, &wanted)?;
        let meta = self.put(&target, bytes, Some(content_type)).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(ETag::Strong(meta.etag)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let aborted = self.begun().remove(&request.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload));
        aborted.map(|_| S3Response::with_status(AbortMultipartUploadOutput::default(), http::StatusCode::NO_CONTENT))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        is_ours(&request.input.bucket)?;
        let prefix = request.input.prefix.unwrap_or_default();
        let begun = self.begun();
        let under = begun.iter().filter(|(_, upload)| upload.key.starts_with(&prefix));
        let mut uploads: Vec<_> = under
            .map(|(id, upload)| MultipartUpload {
                key: Some(upload.key.clone()),
                upload_id: Some(id.clone()),
                initiated: Some(upload.since.into()),
                ..Default::default()
            })
            .collect();
        uploads.sort_by(|one, other| one.key.cmp(&other.key));
        let listing = ListMultipartUploadsOutput {
            bucket: Some(request.input.bucket),
            is_truncated: Some(false),
            uploads: Some(uploads),
            ..Default::default()
        };
        Ok(S3Response::new(listing))
    }
}

fn is_ours(bucket: &str) -> S3Result<()> {
    if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

fn own(bucket: &str, key: &str) -> S3Result<Key> {
    is_ours(bucket)?;
    key.parse().map_err(|error| s3_error!(error, InvalidArgument, "no key of ours: {key}"))
}

fn check(if_match: Option<&ETagCondition>, meta: &ObjectMeta) -> S3Result<()> {
    let is_it = match if_match {
        Some(ETagCondition::ETag(etag)) => etag.value() == meta.etag,
        Some(ETagCondition::Any) | None => true,
    };
    if is_it { Ok(()) } else { Err(s3_error!(PreconditionFailed)) }
}

/// The whole of a request's body, which was as long as it said and hashed to what was signed.
async fn received(body: Option<StreamingBlob>, length: Option<i64>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let bytes = body.try_fold(BytesMut::new(), async |mut all, chunk| {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = bytes.await.map_err(|error| {
        let is_other_hash = error.to_string().contains("Sha256Mismatch");
        let code = if is_other_hash { "XAmzContentSHA256Mismatch" } else { "IncompleteBody" };
        let mut refusal = S3Error::new(S3ErrorCode::from_bytes(code.as_bytes()).expect("text"));
        refusal.set_status_code(http::StatusCode::BAD_REQUEST);
        refusal
    })?;
    if length.is_some_and(|length| length as usize != bytes.len()) {
        return Err(s3_error!(IncompleteBody));
    }
    Ok(bytes.freeze())
}

fn failed(error: StoreError) -> S3Error {
    match error {
        StoreError::OutOfRange => s3_error!(InvalidRange),
        error => s3_error!(error, InternalError),
    }
}
