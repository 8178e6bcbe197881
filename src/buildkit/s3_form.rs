//! The form of `type=s3`: a cache config that says about each layer what a
//! manifest would, under `manifests/<name>`.
//!
//! The words are in v0.32.2 `cache/remotecache/v1/types/spec.go`
//! (`LayerAnnotations`), their use in `cache/remotecache/s3/s3.go`: one layer
//! without `diffID` and an importer refuses all. `type=azblob` and `type=gha`
//! have the same form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cache::{Blob, Cache, Read};
use super::cache_config::InvalidConfig;
use super::json::{RawConfig, RawLayer, WireConfig, WireLayer, object, to_json};
use super::left_out::{LeftOut, Reason};
use super::timestamp::Timestamp;
use crate::oci::Digest;

/// A manifest of `type=s3` that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Read {
    /// The cache, and what could not be used of it.
    pub read: Read,
    /// The manifest that it was translated from, if Longshore wrote it; see [`Cache::write_s3`].
    pub written_for: Option<Digest>,
}

#[derive(Deserialize)]
struct RawAnnotations<'a> {
    #[serde(borrow, default, rename = "mediaType")]
    media_type: Cow<'a, str>,
    #[serde(borrow, rename = "diffID")]
    diff_id: Cow<'a, str>,
    #[serde(default)]
    size: u64,
    #[serde(borrow, default, rename = "createdAt")]
    created: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct WireAnnotations<'a> {
    #[serde(rename = "mediaType", skip_serializing_if = "str::is_empty")]
    media_type: &'a str,
    #[serde(rename = "diffID")]
    diff_id: String,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(rename = "createdAt")]
    created: Timestamp,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Cache {
    /// Reads a manifest of `type=s3`. Layers without `diffID` are left out.
    ///
    /// # Errors
    ///
    /// When nothing can be made of `json`.
    pub fn read_s3(json: &[u8]) -> Result<S3Read, InvalidConfig> {
        let raw = RawConfig::read(json)?;
        let written_for = raw.longshore.and_then(|mark| serde_json::from_str::<&str>(mark.get()).ok()?.parse().ok());
        let mut left_out = LeftOut::default();
        let described: Vec<_> = raw.layers.iter().map(describe).collect();
        left_out.add(Reason::DescriptorUnusable, described.iter().filter(|blob| blob.is_none()).count());
        let blobs: BTreeMap<_, _> = described.into_iter().flatten().collect();
        let draft = raw.draft(&mut left_out);
        Ok(S3Read { read: Read { cache: Self::of(draft, blobs, &mut left_out), left_out }, written_for })
    }

    /// A manifest of `type=s3`, with the mark that says it was made from `source`:
    /// no importer minds it, and whoever writes the manifest anew leaves it out.
    ///
    /// What has no place in it is how stargz finds files in a layer, and the step that made one.
    #[must_use]
    pub fn write_s3(&self, source: &Digest) -> Vec<u8> {
        let annotations = |layer: &Digest| self.blobs.get(layer).map(WireAnnotations::of);
        let layers = self.config.layers.iter().map(|layer| WireLayer::of(layer, annotations(&layer.blob))).collect();
        to_json(&WireConfig { layers, records: self.config.wire_records(), longshore: Some(source.to_string()) })
    }
}

fn describe(layer: &RawLayer<'_>) -> Option<(Digest, Blob)> {
    let said: RawAnnotations<'_> = object(layer.annotations?.get())?;
    let created = said.created.and_then(|text| text.parse::<Timestamp>().ok()?.known());
    let blob = Blob {
        media_type: said.media_type.into(),
        size: said.size,
        diff_id: said.diff_id.parse().ok()?,
        created,
        more: BTreeMap::new(),
    };
    Some((layer.blob.parse().ok()?, blob))
}

impl<'a> WireAnnotations<'a> {
    fn of(blob: &'a Blob) -> Self {
        let created = blob.created.unwrap_or(Timestamp::ZERO);
        Self { media_type: &blob.media_type, diff_id: blob.diff_id.to_string(), size: blob.size, created }
    }
}
