//! What a registry may say went wrong.

/// A code in the `errors` of a failed response.
///
/// distribution-spec v1.1.1, "Error Codes" (code-1 to code-14), and the ones
/// of the Docker registry API that BuildKit prints by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// code-1: the registry does not have the blob.
    BlobUnknown,
    /// code-2: an upload cannot go on.
    BlobUploadInvalid,
    /// code-3: there is no such upload.
    BlobUploadUnknown,
    /// code-4: content does not match its digest.
    DigestInvalid,
    /// code-5: a manifest refers to a manifest or blob that is not there.
    ManifestBlobUnknown,
    /// code-6: a manifest makes no sense.
    ManifestInvalid,
    /// code-7: the registry does not have the manifest.
    ManifestUnknown,
    /// code-8: a repository name is malformed.
    NameInvalid,
    /// code-9: there is no such repository.
    NameUnknown,
    /// code-10: content has not the length it claims.
    SizeInvalid,
    /// code-11: who is asking must say so first.
    Unauthorized,
    /// code-12: who is asking may not.
    Denied,
    /// code-13: the operation is not offered.
    Unsupported,
    /// Docker registry API: the service cannot answer now; asking again may work.
    Unavailable,
    /// Docker registry API: anything else.
    Unknown,
}

impl ErrorCode {
    /// The code as the wire has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}
