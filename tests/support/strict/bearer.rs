//! Google's XML API by OAuth, as far as it differs: a token lets in, and headers are in Google's words alone.

use http::request::Parts;
use http::{HeaderMap, HeaderName, Response};
use s3s::Body;

use super::refusal;

/// What Google's words are in Amazon's, for the bucket behind (Cloud Storage, "XML API headers"). What is not here is
/// passed over by it.
const WORDS: &[(&str, &str)] = &[
    ("x-goog-copy-source", "x-amz-copy-source"),
    ("x-goog-copy-source-if-match", "x-amz-copy-source-if-match"),
    ("x-goog-metadata-directive", "x-amz-metadata-directive"),
];

/// All that a request may say in Google's words: those, and what an object is to be.
const KNOWN: &[&str] = &[
    "x-goog-storage-class",
    "x-goog-acl",
    "x-goog-encryption-algorithm",
    "x-goog-encryption-key",
    "x-goog-encryption-key-sha256",
    "x-goog-encryption-kms-key-name",
    "x-goog-copy-source-encryption-algorithm",
    "x-goog-copy-source-encryption-key",
    "x-goog-copy-source-encryption-key-sha256",
];

/// What is answered to who shows no token that is taken, or speaks of Amazon beside one.
pub fn refuse(head: &Parts, tokens: &dyn Fn(&str) -> bool) -> Option<Response<Body>> {
    let authorization = head.headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let has_signature = authorization.starts_with("AWS4-") || head.uri.query().unwrap_or_default().contains("X-Amz-");
    let names = || head.headers.keys().map(HeaderName::as_str);
    if has_signature || names().any(|name| name.starts_with("x-amz-")) {
        return Some(refusal(400, "InvalidArgument", "headers of Amazon's have no place beside a token"));
    }
    let is_known =
        |name: &str| KNOWN.contains(&name) || name.starts_with("x-goog-meta-") || WORDS.iter().any(|(word, _)| *word == name);
    if names().any(|name| name.starts_with("x-goog-") && !is_known(name)) {
        return Some(refusal(400, "InvalidArgument", "there is no such header"));
    }
    let is_taken = authorization.strip_prefix("Bearer ").is_some_and(tokens);
    (!is_taken).then(|| refusal(401, "AuthenticationRequired", "Authentication required."))
}

/// Puts what the bucket has to know into its words.
pub fn translate(headers: &mut HeaderMap) {
    headers.remove("authorization");
    for (theirs, ours) in WORDS {
        if let Some(value) = headers.remove(*theirs) {
            headers.insert(*ours, value);
        }
    }
}
