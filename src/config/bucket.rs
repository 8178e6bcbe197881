//! The settings of a bucket.

use super::credentials::{self, Purpose};
use super::host;
use super::layers::{Layers, Source};
use super::objects;
use super::setting::{BUCKET, CA_BUNDLE, ENDPOINT, KIND, PATH_STYLE, PREFIX, PROXY, REGION, REQUEST_PAYER};
use super::store::{self, Scheme};
use crate::credentials::Source as Keys;
use crate::store::{S3Endpoint, S3Kind, S3Objects, S3Settings};

/// Most bytes a prefix may have: a key has 1024, of which names, tags and digests may take 600.
const MAX_PREFIX_BYTES: usize = 400;

/// What a prefix looks like.
pub const PREFIX_GRAMMAR: &str =
    "a prefix is components joined by /, none of them empty, . or .., without control characters, at most 400 bytes";

/// The bucket that is stated.
pub fn s3(layers: &mut Layers, scheme: Scheme) -> Option<S3Settings> {
    let prefix = layers.read(&PREFIX, prefix);
    let (kind, endpoint) = kind(layers, scheme);
    let bucket = bucket(layers, kind);
    let region = region(layers, kind, endpoint.as_deref());
    let path_style = layers.choose(&PATH_STYLE, |word| word.parse().ok());
    let objects = objects::objects(layers, kind, endpoint.as_deref());
    let kms_key = objects.as_ref().and_then(S3Objects::kms_key);
    let also = objects.as_ref().map(S3Objects::permissions).unwrap_or_default();
    let (name, below) = (bucket.as_deref().unwrap_or_default(), prefix.as_deref().unwrap_or_default());
    let credentials = credentials::credentials(layers, Purpose { kind, bucket: name, prefix: below, kms_key, also: &also });
    if credentials.as_ref().is_some_and(Keys::has_tokens) && objects.as_ref().is_some_and(|objects| objects.requester_pays) {
        layers.refuse(&REQUEST_PAYER, "has no meaning where requests carry a token of Google's");
    }
    Some(S3Settings {
        bucket: bucket?,
        prefix: prefix?,
        kind,
        region: region?,
        path_style: path_style.unwrap_or(kind.path_style),
        endpoint,
        credentials: credentials?,
        objects: objects?,
        ca_bundle: layers.read(&CA_BUNDLE, store::path),
        proxy: layers.read(&PROXY, host::endpoint),
    })
}

/// Whose S3 it is, and where it answers: as stated, as the store's word says, or as one of the two tells of the other.
fn kind(layers: &mut Layers, scheme: Scheme) -> (S3Kind, Option<String>) {
    let by_scheme = (scheme == Scheme::Gs).then_some(S3Kind::GCS);
    let stated = layers.choose(&KIND, S3Kind::named);
    if by_scheme.is_some() && stated.is_some_and(|kind| Some(kind) != by_scheme) {
        layers.refuse(&KIND, "a gs:// store is of kind gcs");
    }
    let stated = stated.or(by_scheme);
    if let Some(S3Kind { endpoint: S3Endpoint::At(_), .. }) = stated {
        // What Amazon's tools are told of a region and an endpoint is not about somebody else's.
        layers.forget(Source::Aws, &[REGION, ENDPOINT]);
    }
    let endpoint = layers.read(&ENDPOINT, host::endpoint);
    let kind = stated.unwrap_or_else(|| S3Kind::of(endpoint.as_deref()));
    match kind.endpoint {
        S3Endpoint::At(own) => (kind, endpoint.or_else(|| Some(own.to_owned()))),
        S3Endpoint::Stated if layers.words(&ENDPOINT).is_none() => {
            layers.refuse(&ENDPOINT, format!("a store of kind {} can be anywhere: state where it answers", kind.name));
            (kind, None)
        }
        S3Endpoint::ByRegion | S3Endpoint::Stated => (kind, endpoint),
    }
}

/// The bucket's name, which must be stated.
fn bucket(layers: &mut Layers, kind: S3Kind) -> Option<String> {
    if layers.words(&BUCKET).is_none() {
        layers.refuse(&BUCKET, "the store is a bucket, so its name must be stated");
    }
    layers.read(&BUCKET, |text| bucket_name(text, kind))
}

/// A bucket's name, of as many characters and as many sorts of them as its kind of store takes.
fn bucket_name(text: &str, kind: S3Kind) -> Result<String, String> {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_plain = |c: char| is_end(c) || matches!(c, '-' | '.') || (kind.has_underscores && c == '_');
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if (3..=kind.longest_bucket).contains(&text.len())
        && text.chars().all(is_plain)
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && !text.contains("..")
        && !is_address
    {
        return Ok(text.into());
    }
    let signs = if kind.has_underscores { "dashes, dots and _" } else { "dashes and dots" };
    let longest = kind.longest_bucket;
    Err(format!("a bucket's name is 3 to {longest} small letters, digits, {signs}, with a letter or digit at both ends"))
}

/// A prefix, without the one slash that may stand at either end.
fn prefix(text: &str) -> Result<String, &'static str> {
    let inner = text.strip_suffix('/').unwrap_or(text);
    let inner = inner.strip_prefix('/').unwrap_or(inner);
    let is_plain = |component: &str| !matches!(component, "" | "." | "..") && !component.contains(char::is_control);
    if matches!(text, "" | "/") || (inner.len() <= MAX_PREFIX_BYTES && inner.split('/').all(is_plain)) {
        return Ok(inner.into());
    }
    Err(PREFIX_GRAMMAR)
}

/// The bucket's region. Amazon's are in small letters; other stores' may not be.
fn region(layers: &mut Layers, kind: S3Kind, endpoint: Option<&str>) -> Option<String> {
    let is_amazon = kind == S3Kind::AWS;
    let is_plain = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (!is_amazon && (c.is_ascii_uppercase() || c == '_'))
    };
    if layers.words(&REGION).is_none() {
        return Some(kind.region_at(endpoint));
    }
    layers.read(&REGION, |text| {
        let is_region =
            (1..=64).contains(&text.len()) && text.chars().all(is_plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if is_region {
            Ok(text.to_owned())
        } else {
            Err("a region is a name such as eu-central-1: small letters, digits and dashes")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_their_store() {
        let (long, longer) = ("a".repeat(63), "a".repeat(222));
        for (text, aws, gcs) in [
            ("ci-cache", true, true),
            ("a.b-c.3", true, true),
            (&long, true, true),
            (&longer, false, true),
            ("a_b", false, true),
            ("ab", false, false),
            ("", false, false),
            ("Bucket", false, false),
            ("-abc", false, false),
            ("abc.", false, false),
            ("a..b", false, false),
            ("127.0.0.1", false, false),
            ("a b", false, false),
            ("büro", false, false),
            ("arn:aws:s3", false, false),
        ] {
            assert_eq!(bucket_name(text, S3Kind::AWS).is_ok(), aws, "{text}");
            assert_eq!(bucket_name(text, S3Kind::GCS).is_ok(), gcs, "{text}");
        }
    }

    #[test]
    fn a_prefix_loses_one_slash_at_either_end() {
        let long = "a".repeat(400);
        for (text, expected) in [
            ("", ""),
            ("/", ""),
            ("a", "a"),
            ("a/b/", "a/b"),
            ("/a/b", "a/b"),
            ("a b/ä", "a b/ä"),
            ("..a", "..a"),
            (&long, long.as_str()),
        ] {
            assert_eq!(prefix(text).as_deref(), Ok(expected), "{text}");
        }
        let longer = "a".repeat(401);
        for text in ["//", "a//b", "a//", "//a", "a/./b", "a/..", "../a", ".", "a\nb", "a\0", &longer] {
            assert_eq!(prefix(text), Err(PREFIX_GRAMMAR), "{text:?}");
        }
    }
}
