//! The HTTP under the SDK: whom it trusts, through whom it goes, how long it keeps connections.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector, tls};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::S3Settings;
use crate::credentials::Http;
use crate::files;
use crate::store::Misconfiguration;

/// Stores close an idle connection after 5 to 20 s; a request sent into the closing is lost.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// Where Amazon's and Google's machines and containers get their keys from, which no proxy can reach for them.
const PAST_THE_PROXY: &str = "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// Who issues credentials and has not taken a connection by then is not there.
const CONNECT_TO_ISSUER: Duration = Duration::from_secs(3);

/// Largest file of certificates; the system's own has a quarter of that.
const MAX_CA_BYTES: usize = 1024 * 1024;

/// A way to a store, over which any number of clients can be made.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    tls: TlsContext,
    proxy: ProxyConfig,
}

impl Wire {
    /// As `settings` have it. Only a proxy that is stated is used: one from the
    /// environment was hardly meant for the bucket of a cache beside it.
    pub(super) async fn of(settings: &S3Settings) -> Result<Self, Misconfiguration> {
        let tls = match &settings.ca_bundle {
            Some(path) => trusting(path).await?,
            None => TlsContext::default(),
        };
        let proxy = match &settings.proxy {
            Some(url) => ProxyConfig::all(url.as_str())
                .map_err(|error| Misconfiguration::Proxy { url: url.clone(), reason: error.to_string() })?
                .no_proxy(PAST_THE_PROXY),
            None => ProxyConfig::disabled(),
        };
        Ok(Self { tls, proxy })
    }

    /// A client with connections of its own.
    pub(super) fn client(&self) -> SharedHttpClient {
        let wire = self.clone();
        Builder::new().build_with_connector_fn(move |settings, components| wire.connector(settings.cloned(), components))
    }

    /// Connections to those who issue credentials: the store's own are made anew when it stands still.
    pub(super) fn to_issuers(&self) -> Http {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TO_ISSUER).build();
        Http { client: self.client(), connector: SharedHttpConnector::new(self.connector(Some(settings), None)) }
    }

    fn connector(&self, settings: Option<HttpConnectorSettings>, components: Option<&RuntimeComponents>) -> Connector {
        let mut connector = Connector::builder().pool_idle_timeout(POOL_IDLE).proxy_config(self.proxy.clone());
        connector.set_connector_settings(settings);
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).tls_context(self.tls.clone()).build()
    }
}

/// Trust in whom the system trusts, and in the certificates in the file at `path`.
///
/// The SDK panics at a file that it can't use, so it only gets what was found to be usable.
async fn trusting(path: &Path) -> Result<TlsContext, Misconfiguration> {
    let bad = |reason: String| Misconfiguration::CaBundle { path: path.display().to_string(), reason };
    let pem = files::read_beside(path, MAX_CA_BYTES).await.map_err(|error| bad(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| bad(error.to_string()))?;
    if certificates.is_empty() {
        return Err(bad("it has no certificate in PEM".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    let trusted = TlsContext::builder().with_trust_store(TrustStore::default().with_pem_certificate(pem.as_slice())).build();
    trusted.map_err(|error| bad(error.to_string()))
}
