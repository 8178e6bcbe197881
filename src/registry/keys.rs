//! Where things lie in the store: the one place that knows.
//!
//! ```text
//! <image>/blobs/sha256:<hex>            layers and configs
//! <image>/_oci/tags/<tag>               the whole manifest; its media type is the object's content type
//! <image>/_oci/manifests/sha256:<hex>   the same bytes by digest
//! <image>/_oci/derived/sha256:<hex>     manifests and configs that were made here
//! <image>/_oci/used/sha256:<hex>        empty; its age is how long that manifest was not used
//! <image>/_oci/referrers/<subject>/<referrer>   a descriptor of the referrer
//! <image>/_oci/uploads/<id>/<offset>    a piece of a chunked upload
//! <image>/_oci/uploads/<id>/ended       what became of it
//! ```
//!
//! A tag or digest never begins with what `_oci` begins with, and image names
//! nest, so nothing may ever list or delete `<image>/` itself.

use crate::oci::{Digest, RepoName, Tag};
use crate::store::Key;

use super::UploadId;

/// The last component of the key that says that an upload has ended.
pub(super) const UPLOAD_END: &str = "ended";

/// The keys of one image.
#[derive(Clone, Debug)]
pub(super) struct ImageKeys {
    /// The image's place in the store, without a slash at its end.
    image: String,
}

impl ImageKeys {
    /// The keys of the image that is pushed as `name`.
    pub(super) fn of(name: &RepoName) -> Self {
        Self { image: name.components().map(stored).collect::<Vec<_>>().join("/") }
    }

    /// Where a blob is. BuildKit's own `type=s3` puts it there too.
    pub(super) fn blob(&self, digest: &Digest) -> Key {
        self.key(&format!("blobs/{digest}"))
    }

    /// What the keys of all blobs begin with.
    pub(super) fn blobs(&self) -> String {
        format!("{}/blobs/", self.image)
    }

    /// Where the manifest that a tag points to is.
    pub(super) fn tag(&self, tag: &Tag) -> Key {
        self.key(&format!("_oci/tags/{tag}"))
    }

    /// Where a manifest is by its digest.
    pub(super) fn manifest(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/manifests/{digest}"))
    }

    /// Where a manifest or config is that was made here.
    pub(super) fn derived(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/derived/{digest}"))
    }

    /// What says when a manifest was last used.
    pub(super) fn used(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/used/{digest}"))
    }

    /// What the keys of all tags begin with.
    pub(super) fn tags(&self) -> String {
        format!("{}/_oci/tags/", self.image)
    }

    /// The descriptor of a manifest that says something about `subject`.
    pub(super) fn referrer(&self, subject: &Digest, referrer: &Digest) -> Key {
        self.key(&format!("_oci/referrers/{subject}/{referrer}"))
    }

    /// What the keys of everything that refers to `subject` begin with.
    pub(super) fn referrers(&self, subject: &Digest) -> String {
        format!("{}/_oci/referrers/{subject}/", self.image)
    }

    /// The piece of an upload that begins at `offset`. Twenty digits hold any
    /// offset, and so the order of the keys is that of the pieces.
    pub(super) fn piece(&self, id: UploadId, offset: u64) -> Key {
        self.key(&format!("_oci/uploads/{id}/{offset:020}"))
    }

    /// What says that an upload has ended.
    pub(super) fn upload_end(&self, id: UploadId) -> Key {
        self.key(&format!("_oci/uploads/{id}/{UPLOAD_END}"))
    }

    /// What the keys of everything of an upload begin with.
    pub(super) fn upload(&self, id: UploadId) -> String {
        format!("{}/_oci/uploads/{id}/", self.image)
    }

    /// What the keys of all uploads begin with.
    pub(super) fn uploads(&self) -> String {
        format!("{}/_oci/uploads/", self.image)
    }

    /// The upload that the key of a piece, or of what says how it ended, belongs to.
    pub(super) fn upload_of(&self, key: &Key) -> Option<UploadId> {
        let (id, _) = key.as_str().strip_prefix(&self.uploads())?.split_once('/')?;
        id.parse().ok()
    }

    /// What the keys begin with that uploads write to.
    pub(super) fn written_by_uploads(&self) -> [String; 2] {
        [format!("{}/blobs/", self.image), self.uploads()]
    }

    /// What keys begin with of which there is one at least if the image has anything.
    pub(super) fn signs_of_life(&self) -> [String; 2] {
        ["_oci/", "blobs/"].map(|folder| format!("{}/{folder}", self.image))
    }

    #[allow(clippy::expect_used, reason = "names, tags and digests are made of what a key may hold, and short enough")]
    fn key(&self, rest: &str) -> Key {
        format!("{}/{rest}", self.image).parse().expect("a name and a tag or digest make a key")
    }
}

/// The folders of an image in the store, which are no images themselves.
const IMAGE_FOLDERS: [&str; 3] = ["_oci", "blobs", "manifests"];

/// What a folder among those of an image, or of the store, is.
pub(super) enum Folder {
    /// Part of the image that it lies in.
    OfImage,
    /// A further component of names.
    Component(String),
}

/// What the folder called `name` is.
pub(super) fn folder(name: String) -> Folder {
    if IMAGE_FOLDERS.contains(&name.as_str()) { Folder::OfImage } else { Folder::Component(called(&name).to_owned()) }
}

/// The image of which `key` is one that uploads write to: of a blob, or of a piece.
pub(super) fn image_of_upload(key: &Key) -> Option<RepoName> {
    let components: Vec<_> = key.components().collect();
    let end = components.iter().position(|component| IMAGE_FOLDERS.contains(component))?;
    let (image, place) = components.split_at(end);
    let name = image.iter().map(|component| called(component)).collect::<Vec<_>>().join("/");
    matches!(place, ["blobs", _] | ["_oci", "uploads", _, _]).then(|| name.parse().ok())?
}

/// The key prefix of what lies under the image names that begin with `components`.
pub(super) fn below(components: &[String]) -> String {
    components.iter().map(|component| format!("{}/", stored(component))).collect()
}

/// A component of a name as it stands in keys.
fn stored(component: &str) -> &str {
    match component {
        // `a/blobs` must not lie among the blobs of `a`. No component ends in `_`, so nothing else is called so.
        "blobs" => "blobs_",
        "manifests" => "manifests_",
        _ => component,
    }
}

/// A component of a name, from how it stands in keys.
fn called(stored: &str) -> &str {
    match stored {
        "blobs_" => "blobs",
        "manifests_" => "manifests",
        _ => stored,
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
        assert_eq!(keys.derived(&digest).as_str(), format!("ghcr.io/org/app/_oci/derived/{digest}"));
        assert_eq!(keys.used(&digest).as_str(), format!("ghcr.io/org/app/_oci/used/{digest}"));
        assert_eq!(keys.tag(&"cache".parse().unwrap()).as_str(), "ghcr.io/org/app/_oci/tags/cache");
    }

    #[test]
    fn an_image_whose_name_looks_like_a_folder_of_another_lies_elsewhere() {
        let tag = "x".parse().unwrap();

        assert_eq!(keys("a/blobs/b").tag(&tag).as_str(), "a/blobs_/b/_oci/tags/x");
        assert_eq!(keys("manifests").tag(&tag).as_str(), "manifests_/_oci/tags/x");
    }

    #[test]
    fn only_where_uploads_write_is_a_key_swept() {
        for (key, image) in [
            ("org/app/blobs/sha256:00", Some("org/app")),
            ("org/app/_oci/uploads/id/00", Some("org/app")),
            ("a/blobs_/b/blobs/sha256:00", Some("a/blobs/b")),
            ("manifests_/_oci/uploads/id/00", Some("manifests")),
            ("org/app/_oci/tags/blobs", None),
            ("org/app/manifests/blobs/x", None),
            ("org/app/_oci/uploads/00", None),
            ("org/app/blobs/a/b", None),
            ("org/app/other", None),
            ("Org/blobs/sha256:00", None),
            ("blobs/sha256:00", None),
        ] {
            assert_eq!(image_of_upload(&key.parse().unwrap()).as_ref().map(RepoName::as_str), image, "{key}");
        }
    }

    #[test]
    fn the_longest_names_make_keys() {
        let keys = keys(&"a".repeat(255));

        keys.tag(&"T".repeat(128).parse().unwrap());
        keys.blob(&Digest::of(crate::oci::Algorithm::Sha512, b""));
    }
}
