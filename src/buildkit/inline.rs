//! The inline form: a cache in the config of an image.
//!
//! BuildKit puts it there with `type=inline` (`moby.buildkit.cache.v0`, the JSON
//! of the records in Base64; v0.32.2 `cache/remotecache/inline/inline.go`), and
//! reads it without the limit of 1 MiB that other configs have
//! (`cache/remotecache/import.go`, `importInlineCache`). There the layers are
//! those of the image, in its order: result `layer: 2` is layers 0, 1 and 2;
//! any other chain is written as such: `chains: [{"layers": [0, 5]}]`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::cache::{Blob, Cache, Read};
use super::cache_config::{InvalidConfig, Layer};
use super::json::{Each, RawRecord, WireChain, draft, read_json, to_json};
use super::left_out::{LeftOut, Reason};
use super::manifest::{DESCRIPTION, Derived, Document, Form, ImageManifest, WireDescriptor};
use super::timestamp::Timestamp;
use crate::oci::{Digest, MediaType};

/// The field of an image's config that has the cache in it.
const CACHE_FIELD: &str = "moby.buildkit.cache.v0";

/// What an image's config is.
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Deserialize)]
struct RawImage {
    #[serde(default)]
    rootfs: RawRootFs,
    #[serde(rename = "moby.buildkit.cache.v0")]
    cache: Option<String>,
    #[serde(default)]
    history: Option<Vec<RawHistory>>,
}

#[derive(Default, Deserialize)]
struct RawRootFs {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawHistory {
    created: Option<String>,
    created_by: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

impl ImageManifest {
    /// The cache in the image's `config`; `None` if it has none.
    ///
    /// # Errors
    ///
    /// When it has one, and nothing can be made of it.
    pub fn read(&self, config: &[u8]) -> Result<Option<Read>, InvalidConfig> {
        let image: RawImage = read_json(config, b'{', "an object")?;
        let Some(records) = &image.cache else { return Ok(None) };
        let records = BASE64.decode(records.as_bytes()).map_err(|_| InvalidConfig::Not("Base64"))?;
        let records: Each<RawRecord<'_>> = read_json(&records, b'[', "a list")?;

        let mut left_out = LeftOut::default();
        let blobs = image.blobs(self).ok_or(InvalidConfig::Not("of as many layers as the image"))?;
        left_out.add(Reason::DescriptorUnusable, blobs.iter().filter(|blob| blob.is_none()).count());
        let layer = |(at, layer): (u32, &super::LayerDescriptor)| {
            Some(Layer { blob: layer.descriptor.digest, parent: at.checked_sub(1) })
        };
        let draft = draft((0..).zip(&self.layers).map(layer).collect(), records, &mut left_out);
        let digests = self.layers.iter().map(|layer| layer.descriptor.digest);
        let blobs = digests.zip(blobs).filter_map(|(digest, blob)| Some((digest, blob?))).collect();
        Ok(Some(Read { cache: Cache::of(draft, blobs, &mut left_out), left_out }))
    }
}

impl RawImage {
    /// The image's layers, as its config describes them too; `None` for one that it doesn't.
    fn blobs(&self, manifest: &ImageManifest) -> Option<Vec<Option<Blob>>> {
        let diff_ids = self.rootfs.diff_ids.as_deref().unwrap_or_default();
        if diff_ids.len() != manifest.layers.len() {
            return None;
        }
        let mut history = self.history.iter().flatten().filter(|entry| !entry.empty_layer);
        let layers = manifest.layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
            let mut blob = layer.blob_with(diff_id.parse().ok()?);
            if let Some(entry) = history.next() {
                entry.describe(&mut blob);
            }
            Some(blob)
        });
        // `map` above must see every layer, so that the history keeps its place.
        Some(layers.collect())
    }
}

impl RawHistory {
    fn describe(&self, blob: &mut Blob) {
        blob.created = self.created.as_deref().and_then(|text| text.parse().ok()).or(blob.created);
        let description = self.created_by.iter().filter(|text| !text.is_empty());
        blob.more.extend(description.map(|text| (DESCRIPTION.to_owned(), text.clone())));
    }
}

#[derive(Serialize)]
struct WireImage<'a> {
    architecture: &'a str,
    os: &'a str,
    config: BTreeMap<&'a str, &'a str>,
    rootfs: WireRootFs<'a>,
    history: Vec<WireHistory<'a>>,
    #[serde(rename = "moby.buildkit.cache.v0")]
    cache: String,
}

#[derive(Serialize)]
struct WireRootFs<'a> {
    r#type: &'a str,
    diff_ids: Vec<String>,
}

#[derive(Serialize)]
struct WireHistory<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
}

impl Cache {
    /// An image that nobody can run and that has the cache in its config.
    #[must_use]
    pub fn write_inline(&self) -> Derived {
        let config = Document::new(IMAGE_CONFIG, to_json(&self.inline_config()));
        let layers = self.blobs.iter().map(|(digest, blob)| WireDescriptor::bare(digest, blob)).collect();
        Derived { manifest: Form::Image.write(&config, layers), config }
    }

    fn inline_config(&self) -> WireImage<'_> {
        WireImage {
            architecture: "unknown",
            os: "unknown",
            config: BTreeMap::new(),
            rootfs: WireRootFs { r#type: "layers", diff_ids: self.blobs.values().map(|blob| blob.diff_id.to_string()).collect() },
            // One for each layer: an importer counts on it.
            history: self.blobs.values().map(WireHistory::of).collect(),
            cache: BASE64.encode(&self.inline_records(&self.blobs.keys().zip(0..).collect())),
        }
    }

    /// `image`, of which the manifest and the config are these bytes, with this cache in place of the one that it has:
    /// whoever could run it still can. `None` if the cache is not one of layers of the image.
    #[must_use]
    pub fn write_into(&self, image: &ImageManifest, manifest: &[u8], config: &[u8]) -> Option<Derived> {
        let mut places = BTreeMap::new();
        for (layer, place) in image.layers.iter().zip(0..) {
            places.entry(&layer.descriptor.digest).or_insert(place);
        }
        if !self.blobs.keys().all(|blob| places.contains_key(blob)) {
            return None;
        }
        let records = BASE64.encode(&self.inline_records(&places));
        let config = Document::new(IMAGE_CONFIG, with(config, &[(CACHE_FIELD, to_raw_value(&records).ok()?)])?);
        let named: BTreeMap<String, &RawValue> = serde_json::from_slice(manifest).ok()?;
        let descriptor = described_as(named.get("config")?, &config)?;
        let is_docker = named.get("mediaType").is_some_and(|stated| stated.get().contains(MediaType::DOCKER_MANIFEST));
        let media_type = if is_docker { MediaType::DOCKER_MANIFEST } else { MediaType::OCI_MANIFEST };
        Some(Derived { manifest: Document::new(media_type, with(manifest, &[("config", descriptor)])?), config })
    }

    /// The records, each result a chain of its own: the order of `places` is no chain of ours.
    fn inline_records(&self, places: &BTreeMap<&Digest, u32>) -> Vec<u8> {
        let places: Vec<u32> = self.config.layers.iter().map(|layer| places[&layer.blob]).collect();
        let mut records = self.config.wire_records();
        for (wire, record) in records.iter_mut().zip(&self.config.records) {
            wire.results.clear();
            wire.chains.extend(record.results.iter().map(|result| {
                let mut layers: Vec<_> = self.config.down_from(result.layer).map(|at| places[at as usize]).collect();
                layers.reverse();
                WireChain { layers, created: result.created }
            }));
        }
        to_json(&records)
    }
}

/// The index of images `index` with `images` in place of those children that have these digests; `None` if it has none of them.
#[must_use]
pub fn write_into_index(index: &[u8], images: &[(Digest, &Document)]) -> Option<Document> {
    let named: BTreeMap<String, &RawValue> = serde_json::from_slice(index).ok()?;
    let children: Vec<&RawValue> = serde_json::from_str(named.get("manifests")?.get()).ok()?;
    let mut is_other = false;
    let children: Option<Vec<Box<RawValue>>> = children
        .into_iter()
        .map(|child| {
            let said: Child<'_> = serde_json::from_str(child.get()).ok()?;
            let Some((_, image)) = images.iter().find(|(digest, _)| digest.to_string() == said.digest) else {
                return Some(child.to_owned());
            };
            is_other = true;
            described_as(child, image)
        })
        .collect();
    let children = to_raw_value(&children?).ok().filter(|_| is_other)?;
    let is_docker = named.get("mediaType").is_some_and(|stated| stated.get().contains(MediaType::DOCKER_LIST));
    let media_type = if is_docker { MediaType::DOCKER_LIST } else { MediaType::OCI_INDEX };
    Some(Document::new(media_type, with(index, &[("manifests", children)])?))
}

#[derive(Deserialize)]
struct Child<'a> {
    #[serde(borrow)]
    digest: Cow<'a, str>,
}

/// A descriptor with the digest and the size of `document` in place of its own.
fn described_as(descriptor: &RawValue, document: &Document) -> Option<Box<RawValue>> {
    let digest = to_raw_value(&document.digest.to_string()).ok()?;
    let size = to_raw_value(&document.bytes.len()).ok()?;
    let descriptor = with(descriptor.get().as_bytes(), &[("digest", digest), ("size", size)])?;
    RawValue::from_string(String::from_utf8(descriptor).ok()?).ok()
}

/// The JSON object `json` with `fields` in place of those that it has; the others stay to the letter.
fn with(json: &[u8], fields: &[(&str, Box<RawValue>)]) -> Option<Vec<u8>> {
    let mut object: BTreeMap<String, &RawValue> = serde_json::from_slice(json).ok()?;
    object.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), &**value)));
    // A copy of what is described, which is no longer that.
    object.remove("data");
    Some(to_json(&object))
}

impl<'a> WireHistory<'a> {
    fn of(blob: &'a Blob) -> Self {
        Self { created: blob.created, created_by: blob.more.get(DESCRIPTION).map(String::as_str) }
    }
}
