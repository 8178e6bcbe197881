//! Google's XML API by OAuth: requests carry a token instead of a signature.
//!
//! The SDK writes the requests as Amazon has them, unsigned, and they are put
//! into Google's words on their way out: every `x-amz-` header becomes its
//! `x-goog-` twin or goes, since Google mixes the two with no token (Cloud
//! Storage, "Fully migrate from Amazon S3" and "XML API headers").

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::Headers;
use data_encoding::BASE64;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;

/// What Amazon's headers begin with, and Google's.
const AMAZONS: &str = "x-amz-";
const GOOGLES: &str = "x-goog-";

/// What a header is called there, by how its name goes on after `x-amz-`. The longer ones stand before what they begin with.
const NAMES: &[(&str, &str)] = &[
    ("copy-source-server-side-encryption-customer-", "copy-source-encryption-"),
    ("server-side-encryption-customer-", "encryption-"),
    ("server-side-encryption-aws-kms-key-id", "encryption-kms-key-name"),
    ("copy-source", "copy-source"),
    ("metadata-directive", "metadata-directive"),
    ("meta-", "meta-"),
    ("acl", "acl"),
    ("storage-class", "storage-class"),
];

/// What an answer tells that the SDK is to read.
const TOLD: &[&str] = &["meta-", "storage-class"];

/// How names end that tell the hash of a customer's key: Amazon wants another hash than Google.
const KEY_HASHES: (&str, &str) = ("key-md5", "key-sha256");

/// A client like `inner` whose requests carry the token of `credentials`.
pub(super) fn carrying(credentials: Credentials, inner: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Carrying { credentials, inner })
}

#[derive(Clone, Debug)]
struct Carrying<T> {
    credentials: Credentials,
    inner: T,
}

impl HttpClient for Carrying<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Carrying { credentials: self.credentials.clone(), inner })
    }
}

impl HttpConnector for Carrying<SharedHttpConnector> {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let Self { credentials, inner } = self.clone();
        HttpConnectorFuture::new(async move {
            put_into_googles_words(request.headers_mut());
            let token = credentials.token().await.map_err(|error| ConnectorError::user(error.into()))?;
            let bearer = format!("Bearer {}", token.expose_secret());
            let carried = request.headers_mut().try_insert("authorization", bearer);
            carried.map_err(|error| ConnectorError::user(error.into()))?;
            inner.call(request).await.map(in_amazons_words)
        })
    }
}

/// Renames what has another name at Google, and takes out what has none.
fn put_into_googles_words(headers: &mut Headers) {
    for name in names(headers, AMAZONS) {
        let Some(value) = headers.remove(&name) else { continue };
        if let Some(twin) = twin(&name) {
            headers.insert(twin, value);
        }
    }
    // The hash is of the key, which stands beside it.
    for name in names(headers, GOOGLES).into_iter().filter(|name| name.ends_with(KEY_HASHES.1)) {
        let key = headers.get(name.trim_end_matches("-sha256")).and_then(|key| BASE64.decode(key.as_bytes()).ok());
        headers.insert(name, BASE64.encode(&Sha256::digest(key.unwrap_or_default())));
    }
}

/// The answer with the names that the SDK knows.
fn in_amazons_words(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    for name in names(headers, GOOGLES) {
        let Some(rest) = name.strip_prefix(GOOGLES).filter(|rest| TOLD.iter().any(|told| rest.starts_with(told))) else {
            continue;
        };
        if let Some(value) = headers.get(&name).map(str::to_owned) {
            headers.insert(format!("{AMAZONS}{rest}"), value);
        }
    }
    response
}

fn names(headers: &Headers, prefix: &str) -> Vec<String> {
    headers.iter().map(|(name, _)| name.to_owned()).filter(|name| name.starts_with(prefix)).collect()
}

/// What an `x-amz-` header is called at Google, where there is such a thing.
fn twin(name: &str) -> Option<String> {
    let rest = name.strip_prefix(AMAZONS)?;
    let (begins, theirs) = NAMES.iter().find(|(begins, _)| rest.starts_with(begins))?;
    let renamed = format!("{GOOGLES}{theirs}{}", &rest[begins.len()..]);
    Some(match renamed.strip_suffix(KEY_HASHES.0) {
        Some(key) => format!("{key}{}", KEY_HASHES.1),
        None => renamed,
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::SdkBody;
    use aws_smithy_runtime_api::http::StatusCode;

    use super::*;

    fn translated(headers: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut all = Headers::new();
        for (name, value) in headers {
            all.insert(*name, *value);
        }
        put_into_googles_words(&mut all);
        let mut all: Vec<_> = all.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        all.sort();
        all
    }

    #[test]
    fn amazons_headers_become_googles_or_go() {
        for (name, expected) in [
            ("x-amz-copy-source", Some("x-goog-copy-source")),
            ("x-amz-copy-source-if-match", Some("x-goog-copy-source-if-match")),
            ("x-amz-metadata-directive", Some("x-goog-metadata-directive")),
            ("x-amz-meta-mtime", Some("x-goog-meta-mtime")),
            ("x-amz-acl", Some("x-goog-acl")),
            ("x-amz-storage-class", Some("x-goog-storage-class")),
            ("x-amz-server-side-encryption-aws-kms-key-id", Some("x-goog-encryption-kms-key-name")),
            ("x-amz-server-side-encryption-customer-algorithm", Some("x-goog-encryption-algorithm")),
            ("x-amz-copy-source-server-side-encryption-customer-key", Some("x-goog-copy-source-encryption-key")),
            ("x-amz-server-side-encryption", None),
            ("x-amz-user-agent", None),
            ("x-amz-request-payer", None),
            ("x-amz-content-sha256", None),
            ("x-amz-date", None),
            ("content-type", Some("content-type")),
        ] {
            let expected: Vec<_> = expected.map(|name| (name.to_owned(), "value".to_owned())).into_iter().collect();
            assert_eq!(translated(&[(name, "value")]), expected, "{name}");
        }
    }

    #[test]
    fn an_answer_tells_in_amazons_words_what_a_copy_must_say_again() {
        let status = StatusCode::try_from(200).unwrap();
        let mut answer = HttpResponse::new(status, SdkBody::empty());
        for (name, value) in [("x-goog-meta-mtime", "1"), ("x-goog-storage-class", "NEARLINE"), ("x-goog-hash", "md5=x")] {
            answer.headers_mut().insert(name, value);
        }

        let answer = in_amazons_words(answer);

        let told = ["x-amz-meta-mtime", "x-amz-storage-class", "x-amz-hash"].map(|name| answer.headers().get(name));
        assert_eq!(told, [Some("1"), Some("NEARLINE"), None]);
    }

    #[test]
    fn the_hash_of_a_customers_key_is_the_one_that_google_takes() {
        const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let hash = BASE64.encode(&Sha256::digest(b"01234567890123456789012345678901"));
        for (amazons, googles) in [
            ("x-amz-server-side-encryption-customer-key", "x-goog-encryption-key"),
            ("x-amz-copy-source-server-side-encryption-customer-key", "x-goog-copy-source-encryption-key"),
        ] {
            let md5: &'static str = Box::leak(format!("{amazons}-md5").into_boxed_str());

            let translated = translated(&[(amazons, KEY), (md5, "md5")]);

            assert_eq!(translated, [(googles.to_owned(), KEY.to_owned()), (format!("{googles}-sha256"), hash.clone())]);
        }
    }
}
