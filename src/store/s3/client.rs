//! The SDK, set so that it works with every store that speaks S3.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation, RuntimeComponents,
    SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::{Client, Config};
use aws_smithy_runtime_api::client::interceptors::{SharedInterceptor, dyn_dispatch_hint};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::counting::Counting;
use super::fault::Remedy;
use super::objects::ObjectHeaders;
use super::signed::Signing;
use super::wire::Wire;
use super::{S3Credentials, S3Settings};
use crate::metrics::ProfileMetrics;
use crate::store::Misconfiguration;

/// A host that has not taken a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(3);

/// How often all connections may be made anew.
const RENEWAL_PAUSE: Duration = Duration::from_millis(250);

/// The connections to a store, which can be made anew.
///
/// What stands between us and a store, such as a NAT, may forget connections
/// without a word, and then all the idle ones of the pool at once.
pub(super) struct Connections {
    wire: Wire,
    pool: RwLock<Pool>,
}

struct Pool {
    client: Client,
    since: Instant,
    /// When they were found to lead to the wrong region, which is mended once.
    moved: Option<Instant>,
}

impl Connections {
    /// Connections for `settings`; nothing is sent yet.
    pub(super) async fn to(settings: &S3Settings, metrics: ProfileMetrics) -> Result<Self, Misconfiguration> {
        let wire = Wire::of(settings).await?;
        let client = client(settings, wire.client(), metrics).await;
        Ok(Self { wire, pool: RwLock::new(Pool { client, since: Instant::now(), moved: None }) })
    }

    /// A client that uses them.
    pub(super) fn client(&self) -> Client {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// Does what is to be done here for a request that began then to succeed; whether another attempt makes sense.
    pub(super) fn apply(&self, remedy: &Remedy, began: Instant) -> bool {
        match remedy {
            Remedy::None => return false,
            Remedy::Region(region) => return self.move_to(region, began),
            Remedy::NewConnections => self.renew(),
            Remedy::Time | Remedy::Recovery | Remedy::LessLoad => {}
        }
        true
    }

    /// Uses new connections from now on; running requests end on theirs.
    pub(super) fn renew(&self) {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        // Requests that stood still side by side need only one renewal.
        if pool.since.elapsed() >= RENEWAL_PAUSE {
            let config = pool.client.config().to_builder().http_client(self.wire.client()).build();
            *pool = Pool { client: Client::from_conf(config), since: Instant::now(), ..*pool };
        }
    }

    /// Signs for `region` from now on, which the store has told to a request that began then.
    fn move_to(&self, region: &str, began: Instant) -> bool {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(moved) = pool.moved {
            // It may have been on its way when another one learned the same.
            return began < moved && pool.region() == Some(region);
        }
        let stated = pool.region().unwrap_or_default().to_owned();
        tracing::warn!(stated, region, "the bucket is in another region, which is used; correct `region`");
        let config = pool.client.config().to_builder().region(Region::new(region.to_owned())).build();
        pool.client = Client::from_conf(config);
        pool.moved = Some(Instant::now());
        true
    }
}

impl Pool {
    fn region(&self) -> Option<&str> {
        self.client.config().region().map(Region::as_ref)
    }
}

/// A client for `settings`.
async fn client(settings: &S3Settings, http: SharedHttpClient, metrics: ProfileMetrics) -> Client {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .force_path_style(settings.path_style)
        .credentials_provider(credentials(settings, &http).await)
        .http_client(http)
        // Waiting and asking again is ours to decide, by route: see `retry`.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Checksum headers and trailers are refused by GCS, R2, B2, Ceph 16 and Garage in one way or another.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(ObjectHeaders::of(&settings.objects))
        .interceptor(ContentLengthOfNothing)
        .interceptor(Signing)
        .interceptor(Counting(metrics));
    if settings.kind.copies_as_ceph {
        config.push_interceptor(SharedInterceptor::new(CopyConditionOfCeph));
    }
    config.set_endpoint_url(settings.endpoint.clone());
    Client::from_conf(config.build())
}

async fn credentials(settings: &S3Settings, http: &SharedHttpClient) -> SharedCredentialsProvider {
    match &settings.credentials {
        S3Credentials::Static { access_key_id, secret_access_key, session_token } => {
            let token = session_token.as_ref().map(|token| token.expose_secret().to_owned());
            SharedCredentialsProvider::new(Credentials::new(
                access_key_id,
                secret_access_key.expose_secret(),
                token,
                None,
                "longshore",
            ))
        }
        S3Credentials::Default => {
            let region = Region::new(settings.region.clone());
            let provider = aws_config::default_provider::credentials::Builder::default()
                .region(region.clone())
                .configure(
                    aws_config::provider_config::ProviderConfig::empty().with_http_client(http.clone()).with_region(Some(region)),
                )
                .build()
                .await;
            SharedCredentialsProvider::new(provider)
        }
    }
}

/// Says `Content-Length: 0` where a request has no body: without it GCS answers
/// 411 to CreateMultipartUpload (awslabs/aws-sdk-rust#1008), and Ceph 16 to copies.
#[derive(Debug)]
struct ContentLengthOfNothing;

#[dyn_dispatch_hint]
impl Intercept for ContentLengthOfNothing {
    fn name(&self) -> &'static str {
        "ContentLengthOfNothing"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let is_silent = request.headers().get("content-length").is_none() && request.body().content_length() == Some(0);
        if matches!(request.method(), "PUT" | "POST") && is_silent {
            request.headers_mut().insert("content-length", "0");
        }
        Ok(())
    }
}

/// Says the condition of a copy in Ceph's words too: it does not know Amazon's
/// and copies whatever it finds (ceph/ceph#30866).
#[derive(Debug)]
struct CopyConditionOfCeph;

#[dyn_dispatch_hint]
impl Intercept for CopyConditionOfCeph {
    fn name(&self) -> &'static str {
        "CopyConditionOfCeph"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        if let Some(etag) = headers.get("x-amz-copy-source-if-match").map(str::to_owned) {
            headers.try_insert("x-amz-copy-if-match", etag)?;
        }
        Ok(())
    }
}
