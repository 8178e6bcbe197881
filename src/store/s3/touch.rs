//! Making an object young: a copy of it onto itself.
//!
//! Such a copy must replace what is said of the object, or S3 refuses it as
//! changing nothing (S3 API, CopyObject, `x-amz-metadata-directive`); and what
//! is replaced must be said again, so it is asked for first.

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{MetadataDirective, StorageClass};

use super::Shared;
use super::fault::{Fault, has_changed, is_absent, is_absent_to_head};
use crate::store::{Key, StoreError};

/// Most bytes that one CopyObject copies: 5 GiB (S3 API, CopyObject). What is
/// larger would have to be copied part by part, which not every store can; who
/// needs it young can send it again.
const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;

impl Shared {
    /// Makes the object at `key` young; `false` when there is none.
    pub(super) async fn touch(&self, key: &Key) -> Result<bool, Fault> {
        match self.client().head_object().bucket(&self.bucket).key(self.object_key(key)).send().await {
            Ok(head) => self.copy_onto_itself(key, head).await,
            Err(error) if is_absent_to_head(&error) => Ok(false),
            Err(error) => Err(self.identity.fault("HeadObject", error)),
        }
    }

    async fn copy_onto_itself(&self, key: &Key, head: HeadObjectOutput) -> Result<bool, Fault> {
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
        match request.set_storage_class(head.storage_class.filter(is_stated)).send().await {
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
