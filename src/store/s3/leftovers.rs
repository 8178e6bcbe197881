//! Multipart uploads that nobody will finish: a process that is killed in the
//! middle of one leaves its parts in the bucket, out of sight and paid for.
//!
//! Many keys may not list them, and some look-alikes cannot: MinIO shows only
//! those of the very key that is asked for, and clears them away itself after a
//! day. So listing them is an offer, and a bucket that does not make it is none
//! the worse.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::MultipartUpload;

use super::Shared;
use super::fault::{Fault, Remedy, is_absent};
use crate::store::{Key, StoreError, Unfinished};

/// Most that are told at once, about 3 MB of them; the rest are told once these are gone.
const MOST: usize = 10_000;

/// Where a page of the listing begins: the markers that the page before it ended with.
#[derive(Clone, Default, PartialEq)]
struct Marker {
    key: Option<String>,
    id: Option<String>,
}

/// The uploads to keys that begin with `prefix`, of those that were begun before `before`.
pub(super) async fn unfinished(
    shared: &Shared,
    prefix: &str,
    before: SystemTime,
    patience: Duration,
) -> Result<Option<Vec<Unfinished>>, StoreError> {
    let (mut found, mut marker) = (Vec::new(), Some(Marker::default()));
    while let Some(from) = marker.take().filter(|_| found.len() < MOST) {
        let (uploads, next) = match shared.retry(patience, |_| page(shared, prefix, from.clone())).await {
            // What it refuses us it does not tell us, whatever keys we have; that it does has been told.
            Ok(None) | Err(StoreError::Denied(_)) => return Ok(None),
            told => told?.unwrap_or_default(),
        };
        let old = uploads.iter().filter(|upload| is_before(upload, before));
        // What was not asked for is not passed on: who asked is going to abort it.
        found.extend(old.filter_map(|upload| own(shared, upload)).filter(|(key, _)| key.as_str().starts_with(prefix)));
        marker = next;
    }
    Ok(Some(found.into_iter().map(|(key, id)| Unfinished { key: Some(key), id }).collect()))
}

/// A page of them and where the next one begins; `None` where they are not told.
async fn page(shared: &Shared, prefix: &str, from: Marker) -> Result<Option<(Vec<MultipartUpload>, Option<Marker>)>, Fault> {
    let request = shared.client().list_multipart_uploads().bucket(&shared.bucket).prefix(format!("{}{prefix}", shared.prefix));
    let page = match request.set_key_marker(from.key.clone()).set_upload_id_marker(from.id.clone()).send().await {
        Ok(page) => page,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return not_told(shared.identity.fault("ListMultipartUploads", error)),
    };
    let next = Marker { key: page.next_key_marker, id: page.next_upload_id_marker };
    // A page that leads to itself would never end.
    let next = (page.is_truncated == Some(true) && next != from).then_some(next);
    Ok(Some((page.uploads.unwrap_or_default(), next)))
}

/// What a bucket does not know it does not tell; all else is a failure.
fn not_told<T>(fault: Fault) -> Result<Option<T>, Fault> {
    match fault.error {
        StoreError::Unavailable(_) if fault.remedy == Remedy::None => Ok(None),
        _ => Err(fault),
    }
}

/// Whether it was begun before `before`. One that does not say when it was begun may have been just now.
fn is_before(upload: &MultipartUpload, before: SystemTime) -> bool {
    upload.initiated().and_then(|began| SystemTime::try_from(*began).ok()).is_some_and(|began| began < before)
}

/// The key of ours that it is an upload to, if it is one.
fn own(shared: &Shared, upload: &MultipartUpload) -> Option<(Key, String)> {
    Some((shared.own_key(upload.key()?)?, upload.upload_id()?.to_owned()))
}

/// Aborts the upload `id` to `key`; it may be over.
pub(super) async fn abort(shared: &Shared, key: &Key, id: &str) -> Result<(), Fault> {
    let request = shared.client().abort_multipart_upload().bucket(&shared.bucket).key(shared.object_key(key));
    match request.upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(error) if is_absent(&error) => Ok(()),
        Err(error) => Err(shared.identity.fault("AbortMultipartUpload", error)),
    }
}
