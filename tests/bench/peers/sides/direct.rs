//! A client that does nothing but send bytes to the store and get them back, as fast as that goes.

use std::ops::Range;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sdk_s3::{Client, Config};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::task::AbortOnDropHandle;

use crate::bucket::Bucket;
use crate::content::Blob;
use crate::support::minio;
use crate::wire;

/// What a part holds: what S3's own advice and the SDKs' transfer managers take.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// How many parts travel at once: at 90 MB/s each it takes eleven to fill 10 Gbit/s.
const PARTS_AT_ONCE: usize = 12;

/// The client, on one bucket.
#[derive(Clone, Debug)]
pub struct Direct {
    client: Client,
    bucket: String,
}

impl Direct {
    pub fn new(bucket: &Bucket) -> Self {
        let credentials = Credentials::new(minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY, None, None, "bench");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(minio::REGION))
            .endpoint_url(format!("http://{}", bucket.endpoint))
            .force_path_style(true)
            .credentials_provider(credentials)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        Self { client: Client::from_conf(config.build()), bucket: bucket.name.clone() }
    }

    /// One PutObject of all of `blob`.
    pub async fn put(&self, blob: &Blob) {
        let put = self.client.put_object().bucket(&self.bucket).key(&blob.digest);
        let put = put.body(ByteStream::from(blob.bytes(0..blob.length)));
        put.customize().disable_payload_signing().send().await.expect("PutObject");
    }

    /// One HeadObject.
    pub async fn head(&self, blob: &Blob) {
        self.client.head_object().bucket(&self.bucket).key(&blob.digest).send().await.expect("HeadObject");
    }

    /// A multipart upload of `blob`, parts side by side.
    pub async fn push(&self, blob: &Blob) {
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(&blob.digest);
        let upload_id = create.send().await.expect("CreateMultipartUpload").upload_id.expect("an id");
        let parts = side_by_side((1..).zip(parts(blob)), |(number, range)| {
            let (direct, blob, upload_id) = (self.clone(), blob.clone(), upload_id.clone());
            async move { direct.upload_part(&blob, upload_id, number, range).await }
        });
        let uploaded = CompletedMultipartUpload::builder().set_parts(Some(parts.await)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&blob.digest).upload_id(upload_id);
        complete.multipart_upload(uploaded).send().await.expect("CompleteMultipartUpload");
    }

    async fn upload_part(&self, blob: &Blob, upload_id: String, number: i32, range: Range<u64>) -> CompletedPart {
        let part = self.client.upload_part().bucket(&self.bucket).key(&blob.digest).upload_id(upload_id).part_number(number);
        let part = part.body(ByteStream::from(blob.bytes(range)));
        let sent = part.customize().disable_payload_signing().send().await.expect("UploadPart");
        CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build()
    }

    /// Ranged GETs of all of `blob`, side by side.
    pub async fn pull(&self, blob: &Blob) {
        side_by_side(parts(blob), |range| {
            let (direct, blob) = (self.clone(), blob.clone());
            async move { direct.get(&blob, range).await }
        })
        .await;
    }

    async fn get(&self, blob: &Blob, range: Range<u64>) {
        let get = self.client.get_object().bucket(&self.bucket).key(&blob.digest);
        let got = get.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await.expect("GetObject");
        wire::receive(got.body.into_inner(), blob, range).await;
    }
}

fn parts(blob: &Blob) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let length = blob.length;
    (0..length.div_ceil(PART_BYTES)).map(move |part| part * PART_BYTES..((part + 1) * PART_BYTES).min(length))
}

/// What `work` makes of each of `items`, in their order, [`PARTS_AT_ONCE`] at a time and on all processors.
async fn side_by_side<I, T, F>(items: impl Iterator<Item = I>, work: impl Fn(I) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks = stream::iter(items).map(|item| AbortOnDropHandle::new(tokio::spawn(work(item))));
    tasks.buffered(PARTS_AT_ONCE).try_collect().await.expect("a part")
}
