//! The cache config: which steps a cache knows, and which layers they made.
//!
//! The JSON is the one of BuildKit's `cache/remotecache/v1/types/spec.go`, the
//! same in v0.12.5, v0.20.2 and v0.32.2:
//!
//! ```json
//! {"layers": [{"blob": "sha256:…", "parent": -1}, {"blob": "sha256:…"}],
//!  "records": [{"digest": "sha256:…"},
//!              {"layers": [{"layer": 1, "createdAt": "2026-11-22T04:02:41.3Z"}], "digest": "sha256:…",
//!               "inputs": [[{"selector": "sha256:…", "link": 0}]]}]}
//! ```
//!
//! A missing `parent` is 0, and none is -1. An importer refuses a whole config
//! for one link that leads nowhere (`v1/parse.go`); here what can be used is.

use std::collections::HashSet;
use std::iter::successors;

use super::json::{RawConfig, WireConfig, WireLayer, WireRecord, to_json};
use super::left_out::LeftOut;
use super::timestamp::Timestamp;
use crate::oci::Digest;

/// Longest config that is read, in bytes: some 20 000 records. Importers stop at
/// 1 MiB, so nobody loses what is longer than this. Reading takes three times as
/// much memory, and twenty times for what was made to take it.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;

/// What a cache knows: everything in it refers only to what stands before it,
/// and equal caches are equal, whoever wrote them and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheConfig {
    pub(super) layers: Vec<Layer>,
    pub(super) records: Vec<Record>,
}

/// A blob on top of others: the last of a chain of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// Its bytes.
    pub blob: Digest,
    /// Where in the config's layers the one below it is.
    pub parent: Option<u32>,
}

/// A step of a build, known by a digest and by what it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What was done.
    pub digest: Digest,
    /// To what: for each input the records that it may come from.
    pub inputs: Vec<Vec<Input>>,
    /// What came of it; nothing for a step that is only a way to others.
    pub results: Vec<CacheResult>,
}

/// A record that an input may come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// Where in the config's records it is.
    pub link: u32,
    /// Which part of it; usually a digest, empty for all.
    pub selector: Box<str>,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheResult {
    /// Where in the config's layers the topmost of its chain is.
    pub layer: u32,
    /// When it was made.
    pub created: Timestamp,
}

/// Why bytes are no cache config.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// Longer than [`MAX_CONFIG_BYTES`].
    #[error("cache config of {0} bytes: at most {MAX_CONFIG_BYTES} are read")]
    TooLarge(usize),
    /// Not JSON, or nothing like a config.
    #[error("cache config invalid: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON perhaps, but not what it has to be at the top.
    #[error("cache config invalid: not {0}")]
    Not(&'static str),
}

impl Record {
    /// What a build finds it by.
    pub(super) fn key(&self) -> (&Digest, &[Vec<Input>]) {
        (&self.digest, &self.inputs)
    }
}

impl CacheConfig {
    /// Reads what can be used of `json`, and tells what can't.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] where nothing can: it is too long, or not a JSON object with lists in it.
    pub fn parse(json: &[u8]) -> Result<(Self, LeftOut), InvalidConfig> {
        let mut left_out = LeftOut::default();
        let draft = RawConfig::read(json)?.draft(&mut left_out);
        Ok((draft.settle(&mut left_out), left_out))
    }

    /// The config as BuildKit reads it, without white space.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let layers = self.layers.iter().map(|layer| WireLayer::of(layer, None::<()>)).collect();
        to_json(&WireConfig { layers, records: self.wire_records(), longshore: None })
    }

    /// Chains of layers; a parent stands before those on top of it.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Steps; what one comes from stands before it.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The blobs of the chain that ends at `layer`, from the lowest.
    #[must_use]
    pub fn chain(&self, layer: u32) -> Vec<Digest> {
        let mut chain: Vec<_> = self.down_from(layer).map(|at| self.layers[at as usize].blob).collect();
        chain.reverse();
        chain
    }

    /// The blobs of all layers.
    pub(super) fn blobs(&self) -> HashSet<Digest> {
        self.layers.iter().map(|layer| layer.blob).collect()
    }

    /// Where the layers of the chain that ends at `top` are, from the topmost.
    pub(super) fn down_from(&self, top: u32) -> impl Iterator<Item = u32> {
        successors(Some(top), |at| self.layers[*at as usize].parent)
    }

    pub(super) fn wire_records(&self) -> Vec<WireRecord<'_>> {
        self.records.iter().map(WireRecord::of).collect()
    }
}
