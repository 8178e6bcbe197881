//! The settings of a bucket.

use super::credentials;
use super::host;
use super::layers::Layers;
use super::setting::{BUCKET, ENDPOINT, PATH_STYLE, PREFIX, REGION};
use super::{S3, S3Dialect};

/// Where Google Cloud Storage answers (Cloud Storage, "Interoperability", "Request endpoints").
const GCS_ENDPOINT: &str = "https://storage.googleapis.com";

/// Most bytes a prefix may have: a key has 1024, of which names, tags and digests may take 600.
const MAX_PREFIX_BYTES: usize = 400;

/// What a prefix looks like.
pub const PREFIX_GRAMMAR: &str =
    "a prefix is components joined by /, none of them empty, . or .., without control characters, at most 400 bytes";

/// The bucket that is stated.
pub fn s3(layers: &mut Layers, dialect: S3Dialect) -> Option<S3> {
    let prefix = layers.read(&PREFIX, prefix);
    let endpoint = layers.read(&ENDPOINT, host::endpoint);
    // Google's endpoint is Google's, by whatever name the store was stated.
    let dialect = if endpoint.as_deref() == Some(GCS_ENDPOINT) { S3Dialect::Gcs } else { dialect };
    let bucket = bucket(layers, dialect);
    let region = region(layers, dialect, endpoint.as_deref());
    let path_style = layers.choose(&PATH_STYLE, |word| word.parse().ok());
    let credentials = credentials::credentials(layers, dialect);
    let endpoint = match dialect {
        S3Dialect::Aws => endpoint,
        S3Dialect::Gcs => endpoint.or(Some(GCS_ENDPOINT.into())),
    };
    Some(S3 {
        bucket: bucket?,
        prefix: prefix?,
        region: region?,
        path_style: path_style.unwrap_or(endpoint.is_some()),
        endpoint,
        dialect,
        credentials: credentials?,
    })
}

/// The bucket's name, which must be stated.
fn bucket(layers: &mut Layers, dialect: S3Dialect) -> Option<String> {
    if layers.words(&BUCKET).is_none() {
        layers.refuse(&BUCKET, "the store is a bucket, so its name must be stated");
    }
    layers.read(&BUCKET, |text| bucket_name(text, dialect))
}

/// A bucket's name (S3 User Guide, "General purpose bucket naming rules"; Cloud Storage, "Bucket names").
fn bucket_name(text: &str, dialect: S3Dialect) -> Result<String, &'static str> {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let (most, more) = match dialect {
        S3Dialect::Aws => (63, ""),
        S3Dialect::Gcs => (222, "_"),
    };
    let is_plain = text.chars().all(|c| is_end(c) || "-.".contains(c) || more.contains(c));
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    if (3..=most).contains(&text.len())
        && is_plain
        && text.starts_with(is_end)
        && text.ends_with(is_end)
        && !text.contains("..")
        && !is_address
    {
        return Ok(text.into());
    }
    Err(match dialect {
        S3Dialect::Aws => {
            "a bucket's name is 3 to 63 small letters, digits, dashes and dots, with a letter or digit at both ends"
        }
        S3Dialect::Gcs => {
            "a bucket's name is 3 to 222 small letters, digits, dashes, dots and _, with a letter or digit at both ends"
        }
    })
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
fn region(layers: &mut Layers, dialect: S3Dialect, endpoint: Option<&str>) -> Option<String> {
    let is_amazon = dialect == S3Dialect::Aws && endpoint.is_none();
    let is_plain = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (!is_amazon && (c.is_ascii_uppercase() || c == '_'))
    };
    if layers.words(&REGION).is_none() {
        return Some(if dialect == S3Dialect::Gcs { "auto" } else { "us-east-1" }.into());
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
            assert_eq!(bucket_name(text, S3Dialect::Aws).is_ok(), aws, "{text}");
            assert_eq!(bucket_name(text, S3Dialect::Gcs).is_ok(), gcs, "{text}");
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
