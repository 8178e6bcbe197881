//! Where things lie in the store: the one place that knows.
//!
//! ```text
//! <image>/blobs/sha256:<hex>            layers and configs
//! <image>/_oci/tags/<tag>               the whole manifest; its media type is the object's content type
//! <image>/_oci/manifests/sha256:<hex>   the same bytes by digest; nothing where it was deleted
//! <image>/_oci/derived/sha256:<hex>     manifests and configs that were made here
//! <image>/_oci/used/sha256:<hex>        empty; its age is how long that manifest was not used
//! <image>/_oci/referrers/<subject>/<referrer>   a descriptor of the referrer
//! <image>/_oci/uploads/<id>/<offset>    a piece of a chunked upload
//! <image>/_oci/uploads/<id>/ended       what became of it
//! <image>/_oci/claims/sha256:<hex>      empty: a blob was sent to this image (only where blobs lie in one place, see below)
//! ```
//!
//! That is [`Layout::Image`]. In [`Layout::Shared`] the blobs of all images lie
//! in one place, as they do where clients of `type=s3` have one prefix:
//!
//! ```text
//! blobs/sha256:<hex>                    layers and configs of all images
//! manifests/<name>                      what such clients know of a cache; the other layout has it under <image>/
//! ```
//!
//! A tag or digest never begins with what `_oci` begins with, and image names
//! nest, so nothing may ever list or delete `<image>/` itself.

use crate::oci::{Digest, RepoName, Tag};
use crate::store::Key;

use super::UploadId;

/// The last component of the key that says that an upload has ended.
pub(super) const UPLOAD_END: &str = "ended";

/// What images have each for itself, and what all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Everything of an image lies under its name.
    #[default]
    Image,
    /// The blobs of all images lie in one place, and what `type=s3` clients know of caches in another.
    Shared {
        /// What the keys of blobs begin with, such as `blobs/`; the digest follows as it is.
        blobs: String,
        /// What the keys of such caches begin with, such as `manifests/`; their name follows.
        manifests: String,
    },
}

/// The keys of one image.
#[derive(Clone, Debug)]
pub(super) struct ImageKeys {
    /// The image's place in the store, without a slash at its end.
    image: String,
    /// What the keys of its blobs begin with.
    blobs: String,
    /// What the keys of caches of `type=s3` begin with.
    s3_manifests: String,
}

impl ImageKeys {
    /// The keys of the image that is pushed as `name`.
    pub(super) fn of(name: &RepoName, layout: &Layout) -> Self {
        let image = name.components().map(stored).collect::<Vec<_>>().join("/");
        let (blobs, s3_manifests) = match layout {
            Layout::Image => (format!("{image}/blobs/"), format!("{image}/manifests/")),
            Layout::Shared { blobs, manifests } => (blobs.clone(), manifests.clone()),
        };
        Self { image, blobs, s3_manifests }
    }

    /// Where a blob is. BuildKit's own `type=s3` puts it there too.
    #[allow(clippy::expect_used, reason = "what stands before a digest is made of what a key may hold, and short enough")]
    pub(super) fn blob(&self, digest: &Digest) -> Key {
        format!("{}{digest}", self.blobs).parse().expect("a prefix and a digest make a key")
    }

    /// What the keys of all blobs begin with.
    pub(super) fn blobs(&self) -> String {
        self.blobs.clone()
    }

    /// What the keys begin with of caches of `type=s3` whose names begin with `before`.
    pub(super) fn s3_manifests(&self, before: &str) -> String {
        format!("{}{before}", self.s3_manifests)
    }

    /// Where `type=s3` has what it knows of the cache `name`; `None` where no key can be called so.
    pub(super) fn s3_manifest(&self, name: &str) -> Option<Key> {
        self.s3_manifests(name).parse().ok()
    }

    /// Where the manifest that a tag points to is.
    pub(super) fn tag(&self, tag: &Tag) -> Key {
        self.key(&format!("_oci/tags/{tag}"))
    }

    /// Where a manifest is by its digest.
    pub(super) fn manifest(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/manifests/{digest}"))
    }

    /// What the keys of all manifests by digest begin with.
    pub(super) fn manifests(&self) -> String {
        format!("{}/_oci/manifests/", self.image)
    }

    /// What says that a blob that others may have too was sent to this image.
    pub(super) fn claim(&self, digest: &Digest) -> Key {
        self.key(&format!("_oci/claims/{digest}"))
    }

    /// What the keys of all that say so begin with.
    pub(super) fn claims(&self) -> String {
        format!("{}/_oci/claims/", self.image)
    }

    /// Whether `key` is one of those.
    pub(super) fn is_claim(&self, key: &Key) -> bool {
        key.as_str().strip_prefix(&self.claims()).is_some_and(|digest| digest.parse::<Digest>().is_ok())
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
        [self.blobs.clone(), self.uploads()]
    }

    /// What keys begin with of which there is one at least if the image has anything. Blobs that others have too are no sign.
    pub(super) fn signs_of_life(&self) -> impl Iterator<Item = String> {
        let own = format!("{}/", self.image);
        let blobs = self.blobs.starts_with(&own).then(|| self.blobs.clone());
        [format!("{own}_oci/")].into_iter().chain(blobs)
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
    /// Part of all images.
    OfAll,
    /// A further component of names.
    Component(String),
}

/// Whose something is that an upload writes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// That image's.
    Image(RepoName),
    /// All images'.
    All,
}

impl Layout {
    /// Whether images that know nothing of each other have blobs in common.
    pub(super) fn shares_blobs(&self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// What the folder called `name` is.
    pub(super) fn folder(&self, name: String) -> Folder {
        match name.as_str() {
            "blobs" | "manifests" if self.shares_blobs() => Folder::OfAll,
            folder if IMAGE_FOLDERS.contains(&folder) => Folder::OfImage,
            component => Folder::Component(called(component).to_owned()),
        }
    }

    /// Whose `key` is, if it is one that uploads write to: of a blob, or of a piece.
    pub(super) fn owner_of_upload(&self, key: &Key) -> Option<Owner> {
        let in_blobs = |blobs| key.as_str().strip_prefix(blobs)?.parse::<Digest>().ok();
        if let Self::Shared { blobs, .. } = self
            && in_blobs(blobs.as_str()).is_some()
        {
            return Some(Owner::All);
        }
        let components: Vec<_> = key.components().collect();
        let end = components.iter().position(|component| IMAGE_FOLDERS.contains(component))?;
        let (image, place) = components.split_at(end);
        let is_written = match place {
            ["blobs", _] => !self.shares_blobs(),
            ["_oci", "uploads", _, _] => true,
            _ => false,
        };
        let name = image.iter().map(|component| called(component)).collect::<Vec<_>>().join("/");
        is_written.then(|| name.parse().ok())?.map(Owner::Image)
    }
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
        ImageKeys::of(&name.parse().unwrap(), &Layout::Image)
    }

    fn shared() -> Layout {
        Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() }
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
    fn images_that_share_a_place_for_blobs_have_all_else_for_themselves() {
        let (keys, digest) = (ImageKeys::of(&"ghcr.io/org/app".parse().unwrap(), &shared()), Digest::sha256(b""));

        assert_eq!(keys.blob(&digest).as_str(), format!("blobs/{digest}"));
        assert_eq!(keys.s3_manifest("ghcr.io/org/app").unwrap().as_str(), "manifests/ghcr.io/org/app");
        assert_eq!(keys.tag(&"cache".parse().unwrap()).as_str(), "ghcr.io/org/app/_oci/tags/cache");
        assert_eq!(keys.signs_of_life().collect::<Vec<_>>(), ["ghcr.io/org/app/_oci/"]);
        assert_eq!(keys.written_by_uploads(), ["blobs/", "ghcr.io/org/app/_oci/uploads/"]);
    }

    #[test]
    fn what_type_s3_may_call_a_cache_is_no_way_out_of_its_place() {
        let keys = keys("app");

        assert_eq!(keys.s3_manifest("cache").unwrap().as_str(), "app/manifests/cache");
        for name in ["", "../x", "a//b", "a/", &"x".repeat(1024)] {
            assert_eq!(keys.s3_manifest(name), None, "{name}");
        }
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
            let owner = image.map(|image| Owner::Image(image.parse().unwrap()));
            assert_eq!(Layout::Image.owner_of_upload(&key.parse().unwrap()), owner, "{key}");
        }
    }

    #[test]
    fn where_all_write_a_key_is_everybodys_and_what_looks_like_an_images_is_nobodys() {
        let (blob, digest) = (Digest::sha256(b"").to_string(), Digest::sha256(b""));
        let far = Layout::Shared { blobs: "cache/blobs/b-".into(), manifests: "m/".into() };
        for (layout, key, owner) in [
            (shared(), format!("blobs/{blob}"), Some(Owner::All)),
            (shared(), "blobs/other".into(), None),
            (shared(), format!("org/app/blobs/{blob}"), None),
            (shared(), "org/app/_oci/uploads/id/00".into(), Some(Owner::Image("org/app".parse().unwrap()))),
            (far.clone(), format!("cache/blobs/b-{digest}"), Some(Owner::All)),
            (far, format!("blobs/{blob}"), None),
        ] {
            assert_eq!(layout.owner_of_upload(&key.parse().unwrap()), owner, "{key}");
        }
    }

    #[test]
    fn the_longest_names_make_keys() {
        let keys = keys(&"a".repeat(255));

        keys.tag(&"T".repeat(128).parse().unwrap());
        keys.blob(&Digest::of(crate::oci::Algorithm::Sha512, b""));
    }
}
