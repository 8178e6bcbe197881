//! What the keys to a bucket may not do: told once each, with what is off for it.
//!
//! Getting, putting, deleting and listing objects is all that is ever needed,
//! and where one of these is refused the rest works on. Whoever asks and is
//! refused is told which permission is missing; a person is told in the log
//! once, and not by everybody who asks in vain.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::store::{Cause, StoreError};

/// What keys may do, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    Get,
    Put,
    Copy,
    Delete,
    List,
    Abort,
    ListUploads,
    Tag,
    SetAcl,
}

impl Right {
    /// What a request of this name needs.
    fn to(operation: &str) -> Self {
        match operation {
            "GetObject" | "HeadObject" => Self::Get,
            "CopyObject" => Self::Copy,
            "DeleteObject" => Self::Delete,
            "ListObjectsV2" => Self::List,
            "AbortMultipartUpload" => Self::Abort,
            "ListMultipartUploads" => Self::ListUploads,
            _ => Self::Put,
        }
    }

    /// The permission by its name (Service Authorization Reference, "Amazon S3"), and what is off without it.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Get => ("s3:GetObject", "nothing can be pulled"),
            Self::Put => ("s3:PutObject", "nothing can be pushed, no manifest deleted by its digest, and no use noted"),
            Self::Copy => ("s3:PutObject or s3:GetObjectTagging", "layers are neither copied nor made young, but sent again"),
            Self::Delete => ("s3:DeleteObject", "nothing can be deleted, and what uploads leave behind stays"),
            Self::List => (
                "s3:ListBucket",
                "images, tags and referrers cannot be listed, nor manifests deleted by digest; each layer is asked \
                 for, and what is refused counts as absent; what uploads leave behind stays",
            ),
            Self::Abort => {
                ("s3:AbortMultipartUpload", "parts of uploads that break off stay, until a lifecycle rule removes them")
            }
            Self::ListUploads => {
                ("s3:ListBucketMultipartUploads", "parts of uploads that were killed stay, until a lifecycle rule removes them")
            }
            Self::Tag => ("s3:PutObjectTagging", "objects are written without object_tags"),
            Self::SetAcl => ("s3:PutObjectAcl", "objects are written without acl"),
        }
    }
}

/// The store has refused what needs a right that the keys lack.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
pub(super) struct Lacking {
    right: Right,
    said: String,
}

impl Lacking {
    /// What it refused, and what it `said`.
    pub(super) fn to(operation: &str, said: String) -> Self {
        Self { right: Right::to(operation), said }
    }
}

/// The permission that keys lack, if it was for that.
pub(in crate::store) fn lacking(cause: &Cause) -> Option<&'static str> {
    cause.downcast_ref().map(|lacking: &Lacking| lacking.right.told().0)
}

/// What a person was told of the keys of one profile.
#[derive(Debug)]
pub(super) struct Rights {
    profile: String,
    bucket: String,
    told: Mutex<BTreeSet<Right>>,
}

impl Rights {
    /// Nothing so far.
    pub(super) fn new(profile: &str, bucket: &str) -> Self {
        Self { profile: profile.to_owned(), bucket: bucket.to_owned(), told: Mutex::default() }
    }

    /// Tells once of the right that was lacking, if it was that.
    pub(super) fn note<T>(&self, outcome: &Result<T, StoreError>) {
        if let Err(StoreError::Denied(cause)) = outcome
            && let Some(Lacking { right, said }) = cause.downcast_ref()
        {
            self.tell(*right, said);
        }
    }

    /// The same, unless the refusal may as well mean that there is no such object.
    pub(super) fn note_unless_absent<T>(&self, outcome: &Result<T, StoreError>) {
        let is_about_getting = |cause: &Cause| cause.downcast_ref().is_some_and(|it: &Lacking| it.right == Right::Get);
        if !matches!(outcome, Err(StoreError::Denied(cause)) if is_about_getting(cause)) {
            self.note(outcome);
        }
    }

    /// Tells once that `right` is lacking, and what the store `said`.
    pub(super) fn tell(&self, right: Right, said: &str) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(right) {
            let (permission, off) = right.told();
            tracing::warn!(profile = self.profile, bucket = self.bucket, permission, off, said, "the keys lack a permission");
        }
    }
}
