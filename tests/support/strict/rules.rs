//! What each kind of store refuses, and where that is known from.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;

use super::Kind;

/// A kind of request that is refused, and how.
pub struct Rule {
    pub is_broken_by: fn(&Parts) -> bool,
    pub status: u16,
    pub code: &'static str,
    pub why: &'static str,
}

const fn rule(is_broken_by: fn(&Parts) -> bool, status: u16, code: &'static str, why: &'static str) -> Rule {
    Rule { is_broken_by, status, code, why }
}

const GCS: &[Rule] = &[
    rule(has_no_length, 411, "MissingContentLength", "say Content-Length: 0 too (awslabs/aws-sdk-rust#1008)"),
    rule(signs_accept_encoding, 403, "SignatureDoesNotMatch", "a proxy rewrites Accept-Encoding (versity/versitygw#2045)"),
    rule(has_checksum, 403, "SignatureDoesNotMatch", "it knows no x-amz-checksum (aws/aws-sdk-java-v2#5987)"),
    rule(is_chunked, 403, "SignatureDoesNotMatch", "it knows no aws-chunked bodies (aws/aws-sdk-java-v2#5987)"),
    rule(deletes_many, 501, "NotImplemented", "it did not always have it (XML API, \"Delete multiple objects\")"),
    rule(writes_on_condition, 400, "InvalidArgument", "If-Match is for reading (XML API, \"Multipart uploads\")"),
    rule(copies_part, 501, "NotImplemented", "it promises no UploadPartCopy (XML API reference)"),
    rule(|head| !is_signed_for(head, &["auto", "us-east-1"]), 400, "AuthorizationHeaderMalformed", "the region is auto"),
];

const R2: &[Rule] = &[
    rule(has_checksum, 501, "NotImplemented", "it has no trailing or default checksums (aws/aws-sdk-js-v3#6810)"),
    rule(is_chunked, 501, "NotImplemented", "it knows no STREAMING payloads (aws/aws-sdk-js-v3#6810)"),
    rule(|head| !is_signed_for(head, &["auto", "us-east-1"]), 400, "InvalidRegionName", "the region is auto"),
];

const B2: &[Rule] = &[
    rule(has_checksum, 400, "InvalidRequest", "unsupported header x-amz-checksum (iterate-ch/cyberduck#16107)"),
    rule(is_chunked, 400, "InvalidRequest", "unsupported x-amz-content-sha256 (iterate-ch/cyberduck#16107)"),
    rule(writes_on_condition, 501, "NotImplemented", "it writes without conditions"),
    rule(|head| !is_signed_for(head, &["us-west-004"]), 403, "SignatureDoesNotMatch", "the region is in the endpoint's name"),
];

impl Kind {
    /// What it refuses, the first that fits.
    pub fn rules(self) -> &'static [Rule] {
        match self {
            Self::Aws => &[],
            Self::Gcs => GCS,
            Self::R2 => R2,
            Self::B2 => B2,
        }
    }

    /// The region that its requests are signed for.
    pub fn region(self) -> &'static str {
        match self {
            Self::Aws => "us-east-1",
            Self::Gcs | Self::R2 => "auto",
            Self::B2 => "us-west-004",
        }
    }

    /// How long one name must be left alone between two writes (Cloud Storage, "Object immutability").
    pub fn pause_between_writes(self) -> Duration {
        if self == Self::Gcs { Duration::from_secs(1) } else { Duration::ZERO }
    }

    /// Whether all parts but the last must have one size (R2, "Multipart upload limitations").
    pub fn wants_equal_parts(self) -> bool {
        self == Self::R2
    }
}

/// Whether this changes the object of its name.
pub fn is_write(head: &Parts) -> bool {
    match head.method {
        Method::PUT | Method::DELETE => !has_parameter(head, "uploadId"),
        Method::POST => has_parameter(head, "uploadId"),
        _ => false,
    }
}

/// When each name was last written.
pub struct Pace {
    pause: Duration,
    written: Mutex<HashMap<String, Instant>>,
}

impl Pace {
    pub fn new(pause: Duration) -> Self {
        Self { pause, written: Mutex::default() }
    }

    /// Whether `path` was written a moment ago; it is written now, if not.
    pub fn is_too_fast_for(&self, path: &str) -> bool {
        let mut written = self.written.lock().expect("no panic");
        let is_too_fast = written.get(path).is_some_and(|last| last.elapsed() < self.pause);
        if !is_too_fast {
            written.insert(path.to_owned(), Instant::now());
        }
        is_too_fast
    }
}

fn has_no_length(head: &Parts) -> bool {
    matches!(head.method, Method::PUT | Method::POST) && !head.headers.contains_key("content-length")
}

fn signs_accept_encoding(head: &Parts) -> bool {
    let signed = authorization(head, "SignedHeaders=").unwrap_or_default();
    signed.split(';').any(|name| name == "accept-encoding")
}

fn has_checksum(head: &Parts) -> bool {
    let tells =
        |name: &str| name.starts_with("x-amz-checksum-") || matches!(name, "x-amz-trailer" | "x-amz-sdk-checksum-algorithm");
    head.headers.keys().any(|name| tells(name.as_str()))
}

fn is_chunked(head: &Parts) -> bool {
    let starts =
        |name: &str, with: &str| head.headers.get(name).is_some_and(|value| value.as_bytes().starts_with(with.as_bytes()));
    starts("content-encoding", "aws-chunked") || starts("x-amz-content-sha256", "STREAMING-")
}

fn deletes_many(head: &Parts) -> bool {
    head.method == Method::POST && has_parameter(head, "delete")
}

fn writes_on_condition(head: &Parts) -> bool {
    let is_conditional = head.headers.contains_key("if-match") || head.headers.contains_key("if-none-match");
    is_conditional && !matches!(head.method, Method::GET | Method::HEAD)
}

fn copies_part(head: &Parts) -> bool {
    has_parameter(head, "uploadId") && head.headers.contains_key("x-amz-copy-source")
}

/// Whether the signature, if there is one, is for one of `regions`.
fn is_signed_for(head: &Parts, regions: &[&str]) -> bool {
    // The key's id, the day, the region, the service and a constant (SigV4, "Authorization header").
    let scope = authorization(head, "Credential=").map(|scope| scope.split('/').nth(2).unwrap_or_default());
    scope.is_none_or(|region| regions.contains(&region))
}

/// A field of the `Authorization` header.
fn authorization<'a>(head: &'a Parts, field: &str) -> Option<&'a str> {
    let header = head.headers.get("authorization")?.to_str().ok()?;
    header.split([' ', ',']).find_map(|part| part.strip_prefix(field))
}

fn has_parameter(head: &Parts, name: &str) -> bool {
    let query = head.uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair.split('=').next() == Some(name))
}
