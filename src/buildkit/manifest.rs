//! The manifests that caches come in.
//!
//! Three kinds, told apart as an importer does (v0.32.2
//! `cache/remotecache/import.go`, `Resolve`; `util/imageutil/config.go`,
//! `DetectManifestBlobMediaType`):
//!
//! - a cache in the form of an image: its `config` is of type `application/vnd.buildkit.cacheconfig.v0`;
//! - a cache in the form of an index: one of `manifests[]` is of that type, the others are layers, which are blobs;
//! - an image, or an index of images, whose own configs may have a cache in them: see [`super::inline`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::cache::{Blob, Cache, Read};
use super::cache_config::InvalidConfig;
use super::json::{Each, RawConfig, to_json};
use super::left_out::{LeftOut, Reason};
use crate::oci::{Descriptor, Digest, MediaType};

/// Annotation: what the layer unpacks to (containerd `pkg/labels`, `LabelUncompressed`).
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Annotation: when the layer was made (BuildKit `cache/remote.go`).
const CREATED: &str = "buildkit/createdat";
/// Annotation: the step that made the layer.
pub(super) const DESCRIPTION: &str = "buildkit/description";
/// Begins annotations that say where somebody else once got the layer.
const SOURCE: &str = "containerd.io/distribution.source.";

/// What a manifest is to somebody who looks for a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A cache.
    Cache(CacheManifest),
    /// An image, whose config may hold a cache.
    Image(ImageManifest),
    /// An index of manifests, each of which may be such an image.
    Images(Vec<Descriptor>),
}

/// In which form a cache's manifest is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An image manifest: `image-manifest=true`, the default since v0.21.
    Image,
    /// An index of blobs: `image-manifest=false`.
    Index,
    /// The same with Docker's media type: `oci-mediatypes=false`.
    DockerList,
}

/// The manifest of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheManifest {
    /// How it is written.
    pub form: Form,
    /// Its cache config.
    pub config: Descriptor,
    /// Its layers, as it has them: a blob may be there more than once.
    pub layers: Vec<LayerDescriptor>,
    /// What of it is no descriptor.
    pub left_out: LeftOut,
}

/// The manifest of an image, or of something else that has a config and layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageManifest {
    /// What describes it, and may hold a cache.
    pub config: Descriptor,
    /// Its layers, from the lowest.
    pub layers: Vec<LayerDescriptor>,
}

/// A descriptor with what is said about the layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerDescriptor {
    /// The descriptor itself.
    pub descriptor: Descriptor,
    /// What is said, by key.
    pub annotations: BTreeMap<String, String>,
}

/// Bytes that were made here, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Their media type.
    pub media_type: &'static str,
    /// Their address.
    pub digest: Digest,
    /// They themselves.
    pub bytes: Bytes,
}

/// A cache as it is put into a registry. Depends on nothing but the cache and the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The manifest.
    pub manifest: Document,
    /// What the manifest calls its config.
    pub config: Document,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest<'a> {
    #[serde(borrow)]
    media_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    config: Option<RawDescriptor<'a>>,
    #[serde(borrow)]
    layers: Option<Each<RawDescriptor<'a>>>,
    #[serde(borrow)]
    manifests: Option<Each<RawDescriptor<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor<'a> {
    #[serde(borrow)]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
}

impl Contents {
    /// What the manifest `json` is; `None` if an importer could make nothing of it.
    #[must_use]
    pub fn of(json: &[u8]) -> Option<Self> {
        let raw: RawManifest<'_> = serde_json::from_slice(json).ok().filter(|_| json.trim_ascii_start().starts_with(b"{"))?;
        let stated = raw.media_type.as_deref();
        match (raw.config, raw.layers, raw.manifests) {
            (None, None, manifests) if !is_stated(stated, [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST]) => {
                let form = if stated == Some(MediaType::OCI_INDEX) { Form::Index } else { Form::DockerList };
                Some(index(form, manifests.unwrap_or_default()))
            }
            (Some(config), layers, None) if !is_stated(stated, [MediaType::OCI_INDEX, MediaType::DOCKER_LIST]) => {
                image(config, layers.unwrap_or_default())
            }
            _ => None,
        }
    }
}

fn is_stated(stated: Option<&str>, types: [&str; 2]) -> bool {
    stated.is_some_and(|stated| types.contains(&stated))
}

fn image(config: RawDescriptor<'_>, layers: Each<RawDescriptor<'_>>) -> Option<Contents> {
    let config = config.read()?.descriptor;
    let mut left_out = LeftOut::default();
    if config.media_type != MediaType::CACHE_CONFIG {
        let layers: Option<_> = layers.take(&mut left_out).into_iter().map(|layer| layer?.read()).collect();
        return Some(Contents::Image(ImageManifest { config, layers: layers? }));
    }
    let layers = read_all(layers, &mut left_out);
    Some(Contents::Cache(CacheManifest { form: Form::Image, config, layers, left_out }))
}

fn index(form: Form, manifests: Each<RawDescriptor<'_>>) -> Contents {
    let mut left_out = LeftOut::default();
    let children = read_all(manifests, &mut left_out);
    let (configs, layers): (Vec<_>, _) =
        children.into_iter().partition(|child| child.descriptor.media_type == MediaType::CACHE_CONFIG);
    match configs.into_iter().next_back() {
        Some(config) => Contents::Cache(CacheManifest { form, config: config.descriptor, layers, left_out }),
        None => Contents::Images(layers.into_iter().map(|child| child.descriptor).collect()),
    }
}

fn read_all(descriptors: Each<RawDescriptor<'_>>, left_out: &mut LeftOut) -> Vec<LayerDescriptor> {
    let descriptors = descriptors.take(left_out);
    let count = descriptors.len();
    let read: Vec<_> = descriptors.into_iter().filter_map(|descriptor| descriptor?.read()).collect();
    left_out.add(Reason::DescriptorUnusable, count - read.len());
    read
}

impl RawDescriptor<'_> {
    fn read(self) -> Option<LayerDescriptor> {
        let descriptor = Descriptor { media_type: self.media_type.into(), digest: self.digest.parse().ok()?, size: self.size };
        Some(LayerDescriptor { descriptor, annotations: self.annotations.unwrap_or_default() })
    }
}

impl LayerDescriptor {
    /// The blob as this describes it, unless it doesn't say what it unpacks to.
    fn blob(&self) -> Option<Blob> {
        let diff_id = self.annotations.get(UNCOMPRESSED)?.parse().ok()?;
        Some(self.blob_with(diff_id))
    }

    /// The blob as this describes it, which unpacks to `diff_id`.
    pub(super) fn blob_with(&self, diff_id: Digest) -> Blob {
        let is_more = |key: &String| key != UNCOMPRESSED && key != CREATED && !key.starts_with(SOURCE);
        let more = self.annotations.iter().filter(|(key, _)| is_more(key));
        Blob {
            media_type: self.descriptor.media_type.clone(),
            size: self.descriptor.size,
            diff_id,
            created: self.annotations.get(CREATED).and_then(|text| text.parse().ok()),
            more: more.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }
}

impl CacheManifest {
    /// The cache, of which `config` is what this names as its config.
    ///
    /// # Errors
    ///
    /// When nothing can be made of `config`.
    pub fn read(&self, config: &[u8]) -> Result<Read, InvalidConfig> {
        let mut left_out = self.left_out.clone();
        let draft = RawConfig::read(config)?.draft(&mut left_out);
        let blobs: BTreeMap<_, _> =
            self.layers.iter().filter_map(|layer| Some((layer.descriptor.digest, layer.blob()?))).collect();
        left_out.add(Reason::DescriptorUnusable, self.layers.iter().filter(|layer| layer.blob().is_none()).count());
        Ok(Read { cache: Cache::of(draft, blobs, &mut left_out), left_out })
    }
}

/// A manifest of either form, as it is written: `config` and `layers`, or `manifests`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<WireDescriptor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<WireDescriptor<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<Vec<WireDescriptor<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDescriptor<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, Cow<'a, str>>,
}

impl<'a> WireDescriptor<'a> {
    /// A descriptor of `blob` with everything that is known of it.
    fn of(digest: &Digest, blob: &'a Blob) -> Self {
        let mut descriptor = Self::bare(digest, blob);
        descriptor.annotations.extend(blob.more.iter().map(|(key, value)| (key.as_str(), Cow::from(value))));
        descriptor.annotations.insert(UNCOMPRESSED, blob.diff_id.to_string().into());
        descriptor.annotations.extend(blob.created.map(|created| (CREATED, created.to_string().into())));
        descriptor
    }

    /// A descriptor of `blob` that says only where and how its bytes are.
    pub fn bare(digest: &Digest, blob: &'a Blob) -> Self {
        let (media_type, size) = (blob.media_type.as_str(), blob.size);
        Self { media_type, digest: digest.to_string(), size, annotations: BTreeMap::new() }
    }

    fn of_document(document: &'a Document) -> Self {
        let size = document.bytes.len() as u64;
        Self { media_type: document.media_type, digest: document.digest.to_string(), size, annotations: BTreeMap::new() }
    }
}

impl Form {
    /// What a manifest of this form is.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Image => MediaType::OCI_MANIFEST,
            Self::Index => MediaType::OCI_INDEX,
            Self::DockerList => MediaType::DOCKER_LIST,
        }
    }

    /// A manifest of this form with these parts.
    pub(super) fn write(self, config: &Document, layers: Vec<WireDescriptor<'_>>) -> Document {
        let (media_type, mut layers) = (self.media_type(), layers);
        let config = WireDescriptor::of_document(config);
        let manifest = match self {
            Self::Image => {
                WireManifest { schema_version: 2, media_type, config: Some(config), layers: Some(layers), manifests: None }
            }
            Self::Index | Self::DockerList => {
                layers.push(config);
                WireManifest { schema_version: 2, media_type, config: None, layers: None, manifests: Some(layers) }
            }
        };
        Document::new(media_type, to_json(&manifest))
    }
}

impl Document {
    pub(super) fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { media_type, digest: Digest::sha256(&bytes), bytes: bytes.into() }
    }
}

impl Cache {
    /// A cache config and a manifest in `form`, as BuildKit exports them, each blob named once.
    #[must_use]
    pub fn write(&self, form: Form) -> Derived {
        self.write_with(form, Document::new(MediaType::CACHE_CONFIG, self.config.to_json()))
    }

    /// The same, with the cache config that was written.
    pub(super) fn write_with(&self, form: Form, config: Document) -> Derived {
        let layers = self.blobs.iter().map(|(digest, blob)| WireDescriptor::of(digest, blob)).collect();
        Derived { manifest: form.write(&config, layers), config }
    }
}
