//! Where things lie in the store: the one place that knows.
//!
//! ```text
//! <image>/blobs/sha256:<hex>            layers and configs
//! <image>/_oci/tags/<tag>               the whole manifest; its media type is the object's content type
//! <image>/_oci/manifests/sha256:<hex>   the same bytes by digest
//! ```
//!
//! A tag or digest never begins with what `_oci` begins with, and image names
//! nest, so nothing may ever list or delete `<image>/` itself.

use crate::oci::{Digest, RepoName, Tag};
use crate::store::Key;

/// The keys of one image.
#[derive(Clone, Debug)]
pub(super) struct ImageKeys {
    /// The image's place in the store, without a slash at its end.
    image: String,
}

impl ImageKeys {
    /// The keys of the image that is pushed as `name`.
    pub(super) fn of(name: &RepoName) -> Self {
        let image = name.components().map(|component| match component {
            // `a/blobs` must not lie among the blobs of `a`. No component ends in `_`, so nothing else is called so.
            "blobs" => "blobs_",
            "manifests" => "manifests_",
            _ => component,
        });
        Self { image: image.collect::<Vec<_>>().join("/") }
    }

    /// Where a blob is. BuildKit's own `type=s3` puts it there too.
    pub(super) fn blob(&self, digest: &Digest) -> Key {
        self.key(&format!("blobs/{digest}"))
    }

    /// Where the manifest that a tag points to is.
    pub(super) fn tag(&self, tag: &Tag) -> Key {
        self.key(&format!("_oci/tags/{tag}"))
    }

    /// Where a manifest is by its digest.
    pub(super) fn manifest(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/manifests/{digest}"))
    }

    #[allow(clippy::expect_used, reason = "names, tags and digests are made of what a key may hold, and short enough")]
    fn key(&self, rest: &str) -> Key {
        format!("{}/{rest}", self.image).parse().expect("a name and a tag or digest make a key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str) -> ImageKeys {
        ImageKeys::of(&name.parse().unwrap())
    }

    #[test]
    fn keys_are_those_of_the_design() {
        let (keys, digest) = (keys("ghcr.io/org/app"), Digest::sha256(b""));

        assert_eq!(keys.blob(&digest).as_str(), format!("ghcr.io/org/app/blobs/{digest}"));
        assert_eq!(keys.manifest(&digest).as_str(), format!("ghcr.io/org/app/_oci/manifests/{digest}"));
        assert_eq!(keys.tag(&"cache".parse().unwrap()).as_str(), "ghcr.io/org/app/_oci/tags/cache");
    }

    #[test]
    fn an_image_whose_name_looks_like_a_folder_of_another_lies_elsewhere() {
        let tag = "x".parse().unwrap();

        assert_eq!(keys("a/blobs/b").tag(&tag).as_str(), "a/blobs_/b/_oci/tags/x");
        assert_eq!(keys("manifests").tag(&tag).as_str(), "manifests_/_oci/tags/x");
    }

    #[test]
    fn the_longest_names_make_keys() {
        let keys = keys(&"a".repeat(255));

        keys.tag(&"T".repeat(128).parse().unwrap());
        keys.blob(&Digest::of(crate::oci::Algorithm::Sha512, b""));
    }
}
