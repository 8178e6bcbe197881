//! What must be true of anything that a client or an operator may write where Longshore reads it.
//!
//! A rule for each parser; `fuzz_targets` has the programs that hold it to
//! whatever libFuzzer thinks of. The parsers are the package's own sources and
//! not its library, which would bring along the whole SDK of S3.

#![allow(dead_code, reason = "of the package's own sources only the parsers are used")]

#[path = "../../../src/buildkit/mod.rs"]
pub mod buildkit;
mod caches;
#[path = "../../../src/buildkit/importer.rs"]
mod importer;
#[path = "../../../src/oci/mod.rs"]
pub mod oci;
#[path = "../../../src/api/query.rs"]
pub mod query;
pub mod secrets;
#[path = "../../../src/registry/upload_id.rs"]
pub mod upload_id;

pub use caches::{cache_config, cache_inline, cache_s3, cache_union};
use oci::{ByteRange, ChunkRange, Digest, Manifest, MediaType, Reference, RepoName, Tag};
use secrecy::ExposeSecret;
use secrets::{Form, Secrets, Template};
use upload_id::UploadId;

/// A name is written just so, in 255 bytes, and none of its components leads anywhere else.
pub fn name(text: &str) {
    let Ok(name) = text.parse::<RepoName>() else { return };
    assert!(name.as_str() == text && text.len() <= 255);
    assert!(name.components().all(|component| !component.is_empty() && !component.starts_with('.') && !component.ends_with('_')));
}

/// A digest is written just so.
pub fn digest(text: &str) {
    let Ok(digest) = text.parse::<Digest>() else { return };
    assert_eq!(digest.to_string(), text);
}

/// A reference is a digest or a tag, is written just so, and a tag leads nowhere else.
pub fn reference(text: &str) {
    let Ok(reference) = text.parse::<Reference>() else { return };
    assert_eq!(reference.to_string(), text);
    if let Reference::Tag(tag) = reference {
        assert!(text.len() <= 128 && !text.contains(['/', '%', ':']) && !text.starts_with('.'));
        assert_eq!(text.parse::<Tag>(), Ok(tag));
    }
}

/// A range of bytes never leaves the blob, however large that is.
pub fn range(text: &str) {
    let Ok(range) = text.parse::<ByteRange>() else { return };
    for size in [0, 1, 10, u64::MAX] {
        let Some((first, length)) = range.within(size) else { continue };
        assert!(!range.is_empty() && length > 0 && first.checked_add(length).is_some_and(|end| end <= size));
    }
}

/// A chunk has a byte at least, and its last one a number.
pub fn content_range(text: &str) {
    let Ok(ChunkRange { first, length }) = text.parse() else { return };
    let last = length.checked_sub(1).and_then(|more| first.checked_add(more));
    assert_eq!(last.map(|last| format!("{first}-{last}").parse()), Some(Ok(ChunkRange { first, length })));
}

/// A media type reads back as itself, fits into a header, and is of one kind.
pub fn media_type(text: &str) {
    let Ok(media_type) = text.parse::<MediaType>() else { return };
    assert!(media_type.as_str().bytes().all(|byte| byte.is_ascii_graphic()) && media_type.as_str().len() <= 255);
    assert_eq!(media_type.as_str().parse(), Ok(media_type.clone()));
    assert!(!(media_type.is_index() && media_type.is_image()));
}

/// A manifest is read to the end or refused with a message, whatever it was sent as.
pub fn manifest(bytes: &[u8]) {
    for sent in [MediaType::OCI_MANIFEST, MediaType::OCI_INDEX, MediaType::DOCKER_LIST, "application/vnd.example+json"] {
        match Manifest::parse(sent.parse().expect("a media type"), bytes) {
            Ok(manifest) => {
                let written = manifest.digests().map(Digest::to_string);
                assert!(written.into_iter().all(|digest| digest.parse::<Digest>().is_ok()));
                assert!(serde_json::from_slice::<serde_json::Map<_, _>>(bytes).is_ok(), "what is kept is JSON");
                let _ = manifest.is_cache();
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// An upload has one spelling, and an age.
pub fn upload_id(text: &str) {
    let Ok(id) = text.parse::<UploadId>() else { return };
    assert_eq!(id.to_string(), text);
    let _ = id.is_over();
}

/// A `Link` leads to what comes after the last entry, whatever that is called; and any query can be read.
pub fn link(text: &str) {
    let link = query::next_page("/v2/app/tags/list?n=7", text);
    let target = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link");
    let (_, asked) = target.split_once('?').expect("a query");
    assert_eq!(query::query_value(asked, "last").as_deref(), Some(text));
    assert_eq!(query::query_value(asked, "n").as_deref(), Some("7"));
    assert!(link.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));

    assert!(query::query_values(text, "last").count() <= text.split('&').count());
}

/// A value is its text with the secrets in their places, and nothing of it is printed but their names.
pub fn template(text: &str) {
    let Ok(template) = text.parse::<Template>() else { return };
    let value = template.resolve(&Secrets).expect("there is every secret");
    let value = value.expose_secret();
    let count = template.names().count();
    assert!(value.matches(secrets::VALUE).count() >= count);
    match template.text() {
        Some(plain) => assert!(count == 0 && plain.expose_secret() == text && value == text),
        None => assert!(count > 0 && text.contains("{{")),
    }
    let _ = format!("{template:?}");
}

/// A file of sealed secrets is written just so, or refused with a message.
pub fn sealed(text: &[u8]) {
    match Form::parse(text) {
        Ok(form) => assert_eq!(form.to_string().as_bytes(), text),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    // With a checksum that agrees, which nobody finds by chance.
    let (check, body) = text.split_at(text.len() / 2);
    let form = Form { check: check.to_vec(), body: body.to_vec() };
    assert_eq!(Form::parse(form.to_string().as_bytes()), Ok(form));
}
