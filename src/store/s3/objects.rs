//! What is asked of the store for every object besides keeping its bytes:
//! encryption, storage class, ACL, tags, and who pays.
//!
//! All of it is headers, and which request takes which is one table. An
//! interceptor adds them to whatever the SDK sends, so no call can forget one.

use std::fmt;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use data_encoding::BASE64;
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::extras::Without;
use super::rights::Right;

/// What every object that is written is to be, and what must be said to read it again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct S3Objects {
    /// How they are encrypted; `None` leaves it to the bucket.
    pub encryption: Option<S3Encryption>,
    /// Such as `STANDARD_IA`; `None` leaves it to the bucket.
    pub storage_class: Option<String>,
    /// A canned ACL.
    pub acl: Option<String>,
    /// Keys and values.
    pub tags: Vec<(String, String)>,
    /// Whether we pay for requests, in a bucket whose owner does not.
    pub requester_pays: bool,
}

/// How a store encrypts objects.
#[derive(Clone, Debug)]
pub enum S3Encryption {
    /// With keys of its own.
    Own,
    /// With a key of its key management: the one named, or its default one.
    Kms(Option<String>),
    /// With a key that every request brings: 32 bytes, which the store forgets.
    Customer(SecretSlice<u8>),
}

impl S3Encryption {
    /// The key that every request brings, as it is written: in Base64.
    pub(super) fn customer_key(&self) -> Option<SecretString> {
        match self {
            Self::Customer(key) => Some(BASE64.encode(key.expose_secret()).into()),
            Self::Own | Self::Kms(_) => None,
        }
    }
}

impl PartialEq for S3Encryption {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Own, Self::Own) => true,
            (Self::Kms(key), Self::Kms(other)) => key == other,
            (Self::Customer(key), Self::Customer(other)) => key.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

impl S3Objects {
    /// The key of the key management that they are encrypted with, `*` for the default one; `None` for no such key.
    #[must_use]
    pub fn kms_key(&self) -> Option<&str> {
        match &self.encryption {
            Some(S3Encryption::Kms(key)) => Some(key.as_deref().unwrap_or("*")),
            _ => None,
        }
    }

    /// The permissions that writing them needs besides `s3:PutObject`.
    #[must_use]
    pub fn permissions(&self) -> Vec<&'static str> {
        let stated = [(self.acl.is_some(), "s3:PutObjectAcl"), (!self.tags.is_empty(), "s3:PutObjectTagging")];
        stated.into_iter().filter(|(is_stated, _)| *is_stated).map(|(_, permission)| permission).collect()
    }
}

/// What makes a new object.
const WRITES: &[&str] = &["PutObject", "CreateMultipartUpload", "CopyObject"];

/// What passes an object's bytes, or something made of them, through the store's encryption (S3 User Guide, "Using
/// server-side encryption with customer-provided keys").
const READS_AND_WRITES: &[&str] =
    &["PutObject", "CreateMultipartUpload", "CopyObject", "UploadPart", "UploadPartCopy", "GetObject", "HeadObject"];

/// What reads an object in the store, to make another of it.
const COPIES: &[&str] = &["CopyObject", "UploadPartCopy"];

/// Every request.
const ALL: &[&str] = &[];

/// Adds to each request the headers that it takes.
pub(super) struct ObjectHeaders(Vec<Header>);

/// A header, and the operations that take it.
struct Header {
    of: &'static [&'static str],
    name: &'static str,
    value: String,
    /// What the keys must be allowed besides, for a header that can be left out.
    needs: Option<Right>,
}

impl ObjectHeaders {
    /// The headers that make objects what `objects` says.
    pub(super) fn of(objects: &S3Objects) -> Self {
        let mut headers = Self(Vec::new());
        headers.add_encryption(objects.encryption.as_ref());
        if let Some(class) = &objects.storage_class {
            headers.add(WRITES, "x-amz-storage-class", class);
        }
        if let Some(acl) = &objects.acl {
            headers.add_if_allowed(Right::SetAcl, WRITES, "x-amz-acl", acl);
        }
        if !objects.tags.is_empty() {
            headers.add_if_allowed(Right::Tag, WRITES, "x-amz-tagging", tagging(&objects.tags));
            // Else a copy takes over what the source has.
            headers.add_if_allowed(Right::Tag, &["CopyObject"], "x-amz-tagging-directive", "REPLACE");
        }
        if objects.requester_pays {
            headers.add(ALL, "x-amz-request-payer", "requester");
        }
        headers
    }

    fn add_encryption(&mut self, encryption: Option<&S3Encryption>) {
        match encryption {
            None => {}
            Some(S3Encryption::Own) => self.add(WRITES, "x-amz-server-side-encryption", "AES256"),
            Some(S3Encryption::Kms(key)) => {
                self.add(WRITES, "x-amz-server-side-encryption", "aws:kms");
                if let Some(key) = key {
                    self.add(WRITES, "x-amz-server-side-encryption-aws-kms-key-id", key);
                }
            }
            Some(S3Encryption::Customer(key)) => {
                let key = key.expose_secret();
                let (text, md5) = (BASE64.encode(key), BASE64.encode(&Md5::digest(key)));
                self.add(READS_AND_WRITES, "x-amz-server-side-encryption-customer-algorithm", "AES256");
                self.add(READS_AND_WRITES, "x-amz-server-side-encryption-customer-key", &text);
                self.add(READS_AND_WRITES, "x-amz-server-side-encryption-customer-key-md5", &md5);
                self.add(COPIES, "x-amz-copy-source-server-side-encryption-customer-algorithm", "AES256");
                self.add(COPIES, "x-amz-copy-source-server-side-encryption-customer-key", &text);
                self.add(COPIES, "x-amz-copy-source-server-side-encryption-customer-key-md5", &md5);
            }
        }
    }

    fn add(&mut self, of: &'static [&'static str], name: &'static str, value: impl Into<String>) {
        self.0.push(Header { of, name, value: value.into(), needs: None });
    }

    fn add_if_allowed(&mut self, needs: Right, of: &'static [&'static str], name: &'static str, value: impl Into<String>) {
        self.0.push(Header { of, name, value: value.into(), needs: Some(needs) });
    }
}

/// Tags as a header has them (S3 API, PutObject, `x-amz-tagging`).
fn tagging(tags: &[(String, String)]) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    let pairs = tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[dyn_dispatch_hint]
impl Intercept for ObjectHeaders {
    fn name(&self) -> &'static str {
        "ObjectHeaders"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(|metadata| metadata.name().to_owned()).unwrap_or_default();
        let takes = |header: &&Header| header.of.is_empty() || header.of.contains(&operation.as_str());
        let without = config.load::<Without>().copied();
        let is_left_out = |header: &Header| header.needs.is_some_and(|right| without.is_some_and(|it| it.leaves_out(right)));
        for header in self.0.iter().filter(takes).filter(|header| !is_left_out(header)) {
            context.request_mut().headers_mut().insert(header.name, header.value.clone());
        }
        Ok(())
    }
}

impl fmt::Debug for ObjectHeaders {
    /// Without values: a customer key is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|header| header.name)).finish()
    }
}
