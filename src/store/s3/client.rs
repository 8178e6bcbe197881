//! The SDK, set so that it works with every store that speaks S3.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, IdentityCache, Intercept, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::{Client, Config};
use aws_smithy_runtime_api::client::interceptors::{SharedInterceptor, dyn_dispatch_hint};
use tokio::time::Instant;

use super::S3Settings;
use super::bearer;
use super::counting::Counting;
use super::fault::Remedy;
use super::objects::ObjectHeaders;
use super::retry::Again;
use super::signed::Signing;
use super::wire::Wire;
use crate::credentials::{Credentials, Surroundings};
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
    credentials: Credentials,
    /// Whether requests carry a token rather than a signature.
    has_tokens: bool,
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
    pub(super) async fn to(
        settings: &S3Settings,
        surroundings: &Surroundings,
        metrics: ProfileMetrics,
    ) -> Result<Self, Misconfiguration> {
        let (source, wire) = (&settings.credentials, Wire::of(settings).await?);
        let credentials = Credentials::new(source, &settings.region, surroundings, &wire.to_issuers());
        let mut config = config(settings, metrics);
        config = if source.has_tokens() { config.allow_no_auth() } else { config.credentials_provider(credentials.clone()) };
        let http = http(&wire, &credentials, source.has_tokens());
        let client = Client::from_conf(config.http_client(http).build());
        let pool = RwLock::new(Pool { client, since: Instant::now(), moved: None });
        Ok(Self { wire, credentials, has_tokens: source.has_tokens(), pool })
    }

    /// What requests are let in with.
    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// A client that uses them.
    pub(super) fn client(&self) -> Client {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    /// Does what is to be done here for a request that began then to succeed; when another attempt makes sense.
    pub(super) async fn apply(&self, remedy: Remedy, began: Instant) -> Again {
        match remedy {
            Remedy::None => return Again::Never,
            Remedy::Region(region) if self.move_to(&region, began) => return Again::Now,
            Remedy::Region(_) => return Again::Never,
            Remedy::OtherKeys { .. } if self.credentials.refused(began).await => return Again::Now,
            Remedy::OtherKeys { are_expired: false } => return Again::Never,
            Remedy::NewConnections => self.renew(),
            Remedy::OtherKeys { are_expired: true } | Remedy::Keys | Remedy::Time | Remedy::Recovery | Remedy::LessLoad => {}
        }
        Again::Later
    }

    /// Uses new connections from now on; running requests end on theirs.
    pub(super) fn renew(&self) {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        // Requests that stood still side by side need only one renewal.
        if pool.since.elapsed() >= RENEWAL_PAUSE {
            let config = pool.client.config().to_builder().http_client(self.http()).build();
            *pool = Pool { client: Client::from_conf(config), since: Instant::now(), ..*pool };
        }
    }

    fn http(&self) -> SharedHttpClient {
        http(&self.wire, &self.credentials, self.has_tokens)
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

/// New connections on `wire`, over which requests carry a token where they are not signed.
fn http(wire: &Wire, credentials: &Credentials, has_tokens: bool) -> SharedHttpClient {
    if has_tokens { bearer::carrying(credentials.clone(), wire.client()) } else { wire.client() }
}

/// What is set for `settings`, but for who we are and how requests are sent.
fn config(settings: &S3Settings, metrics: ProfileMetrics) -> aws_sdk_s3::config::Builder {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .force_path_style(settings.path_style)
        // Ours are held already, and change while a request is on its way.
        .identity_cache(IdentityCache::no_cache())
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
    config
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
