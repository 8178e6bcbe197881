//! Short questions over HTTP.

use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

use super::error::{Failure, chain};

/// Largest answer that is read.
const MAX_ANSWER: usize = 256 * 1024;

/// Who has not taken a connection by then is not there.
const CONNECT: Duration = Duration::from_secs(3);

/// What stands for itself in a form (URL Standard, "application/x-www-form-urlencoded percent-encode set").
const NOT_IN_A_FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// How those are reached who issue credentials.
#[derive(Clone, Debug)]
pub struct Http {
    /// For the SDK, which states how long each of its questions may take.
    pub client: SharedHttpClient,
    /// For our own questions, which are given up as a whole.
    pub connector: SharedHttpConnector,
}

/// What is asked of whom.
pub(super) struct Question(HttpRequest);

/// What came back, whole.
pub(super) struct Answer {
    pub(super) status: u16,
    body: Bytes,
}

impl Http {
    /// Connections of no profile's: with trust in whom the system trusts, and past every proxy.
    #[must_use]
    pub fn plain() -> Self {
        Self::of(TlsContext::default())
    }

    /// The same, with trust in these certificates in PEM besides, which must be usable.
    ///
    /// # Errors
    ///
    /// They are not.
    pub fn trusting(pem: &[u8]) -> Result<Self, String> {
        let trust = TrustStore::default().with_pem_certificate(pem);
        TlsContext::builder().with_trust_store(trust).build().map(Self::of).map_err(|error| error.to_string())
    }

    fn of(trust: TlsContext) -> Self {
        let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).build();
        let provider = || Provider::Rustls(CryptoMode::AwsLc);
        let connector = Connector::builder().proxy_config(ProxyConfig::disabled()).connector_settings(settings);
        let connector = SharedHttpConnector::new(connector.tls_provider(provider()).tls_context(trust.clone()).build());
        Self { client: Builder::new().tls_provider(provider()).tls_context(trust).build_https(), connector }
    }

    /// What is at `url`, no more than 256 KiB of it. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, in words that repeat nothing of an answer but what an error says of itself.
    pub async fn get(&self, url: &str) -> Result<Bytes, String> {
        let asked = async { self.ask(Question::new("GET", url)?.with("accept", "application/json")?).await?.good() };
        asked.await.map(|answer| answer.body).map_err(|failure| failure.reason)
    }

    /// Asks `question`; any answer that came whole.
    pub(super) async fn ask(&self, Question(request): Question) -> Result<Answer, Failure> {
        let response = self.connector.call(request).await.map_err(|error| Failure::passing(chain(&error)))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| Failure::passing("its answer broke off, or is far too long"))?.to_bytes();
        Ok(Answer { status, body })
    }
}

impl Question {
    /// A question without a body.
    pub(super) fn new(method: &str, url: &str) -> Result<Self, Failure> {
        let mut request = HttpRequest::new(SdkBody::empty());
        let is_url = request.set_uri(url.to_owned()).is_ok() && (url.starts_with("https://") || url.starts_with("http://"));
        if !is_url || request.set_method(method).is_err() {
            return Err(Failure::lasting(format!("{url:?} is no URL that could be asked")));
        }
        Ok(Self(request))
    }

    /// A POST of these fields.
    pub(super) fn form(url: &str, fields: &[(&str, &str)]) -> Result<Self, Failure> {
        let encoded = |text| utf8_percent_encode(text, NOT_IN_A_FORM);
        let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        Self::new("POST", url)?.with_body("application/x-www-form-urlencoded", pairs.join("&"))
    }

    /// The question with a body.
    pub(super) fn with_body(mut self, content_type: &'static str, body: String) -> Result<Self, Failure> {
        let length = body.len().to_string();
        *self.0.body_mut() = SdkBody::from(body);
        self.with("content-type", content_type)?.with("content-length", &length)
    }

    /// The question with a header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Result<Self, Failure> {
        let set = self.0.headers_mut().try_insert(name.to_owned(), value.to_owned());
        set.map_err(|_| Failure::lasting(format!("what is to be sent as {name} has characters in it that no header has")))?;
        Ok(self)
    }
}

impl Answer {
    /// The answer, if it is one to go by. An error says why in a few words of its own, and nothing else of it is told.
    pub(super) fn good(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let why = self.why().unwrap_or_default();
        let reason = format!("it answered {}{why}", self.status);
        let is_passing = matches!(self.status, 408 | 425 | 429 | 500..);
        Err(Failure { reason, is_passing })
    }

    /// What an error says of itself: OAuth's two fields (RFC 6749, "Error Response"), or Google's or Amazon's own.
    fn why(&self) -> Option<String> {
        let json: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        let texts = ["/error", "/error_description", "/error/status", "/error/message", "/code", "/message"];
        let said: Vec<_> = texts.iter().filter_map(|path| json.pointer(path)?.as_str()).map(printable).collect();
        (!said.is_empty()).then(|| format!(": {}", said.join(": ")))
    }

    /// The answer as text.
    pub(super) fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_| Failure::lasting("its answer is not UTF-8"))
    }

    /// What it says in JSON. Where that is something else, the text is not repeated: most likely it is a secret.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| Failure::lasting("its answer is not of the form that it should have"))
    }
}

/// Most characters of somebody else's words that are repeated.
const MAX_WORDS: usize = 200;

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
