//! Caches that nobody built.

use std::fmt;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oci::{Digest, MediaType};

/// The config and the manifest of a cache, as somebody might have pushed them.
#[derive(Clone)]
pub struct Pushed {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
}

/// Few enough that caches have some in common.
const BLOBS: u8 = 6;
const STEPS: u8 = 4;

pub fn blob(number: u8) -> Digest {
    Digest::sha256(&[b'b', number])
}

/// Pushes that every importer takes: all links lead to something, and never in a circle.
pub fn honest() -> impl Strategy<Value = Pushed> {
    pushed(
        |at| if at == 0 { (-1..=-1_i64).boxed() } else { (-1..at as i64).boxed() },
        |at| if at == 0 { vec(vec(link(0..1), 1..=1), 0..=0).boxed() } else { vec(vec(link(0..at as i64), 1..3), 0..3).boxed() },
        |layers| if layers == 0 { vec(0..1_i64, 0..=0).boxed() } else { vec(0..layers as i64, 0..3).boxed() },
    )
}

/// Pushes that lie: links, parents and results are anywhere.
pub fn lying() -> impl Strategy<Value = Pushed> {
    pushed(|_| (-2..8_i64).boxed(), |_| vec(vec(link(-2..8), 0..3), 0..3).boxed(), |_| vec(-1..8_i64, 0..3).boxed())
}

fn link(to: std::ops::Range<i64>) -> impl Strategy<Value = Value> {
    (prop::sample::select(vec!["", "sha256:a", "<b>"]), to).prop_map(|(selector, link)| match selector {
        "" => json!({"link": link}),
        selector => json!({"selector": selector, "link": link}),
    })
}

fn time() -> impl Strategy<Value = String> {
    (1..8_u8).prop_map(|second| format!("2026-11-22T04:02:4{second}.5Z"))
}

fn pushed(
    parent: impl Fn(usize) -> BoxedStrategy<i64> + Clone + 'static,
    inputs: impl Fn(usize) -> BoxedStrategy<Vec<Vec<Value>>> + Clone + 'static,
    results: impl Fn(usize) -> BoxedStrategy<Vec<i64>> + Clone + 'static,
) -> impl Strategy<Value = Pushed> {
    (0..7_usize, 0..7_usize).prop_flat_map(move |(layer_count, record_count)| {
        let layer = |at| {
            (0..BLOBS, parent(at)).prop_map(|(number, parent)| match parent {
                0 => json!({"blob": blob(number).to_string()}),
                parent => json!({"blob": blob(number).to_string(), "parent": parent}),
            })
        };
        let layers = (0..layer_count).map(layer).collect::<Vec<_>>();
        let records = (0..record_count).map(|at| record(inputs(at), results(layer_count))).collect::<Vec<_>>();
        let described = vec(option::weighted(0.9, prop::bool::weighted(0.9)), usize::from(BLOBS));
        (layers, records, described, any::<bool>()).prop_map(|(layers, records, described, is_index)| {
            let config = json!({"layers": layers, "records": records}).to_string().into_bytes();
            Pushed { manifest: manifest(&config, described, is_index), config }
        })
    })
}

fn record(inputs: BoxedStrategy<Vec<Vec<Value>>>, layers: BoxedStrategy<Vec<i64>>) -> impl Strategy<Value = Value> {
    let results = (layers.clone(), vec(time(), 3)).prop_map(|(layers, times)| {
        layers.iter().zip(times).map(|(layer, time)| json!({"layer": layer, "createdAt": time})).collect::<Vec<_>>()
    });
    let chain = (layers, time()).prop_map(|(layers, time)| json!({"layers": layers, "createdAt": time}));
    let chains = option::weighted(0.3, chain);
    (0..STEPS, inputs, results, chains).prop_map(|(step, inputs, results, chains)| {
        let digest = Digest::sha256(&[b's', step]).to_string();
        json!({"digest": digest, "inputs": inputs, "layers": results, "chains": chains.into_iter().filter(|chain| chain["layers"] != json!([])).collect::<Vec<_>>()})
    })
}

/// A manifest of `config` and those blobs that have anything here: whether it says what they unpack to.
fn manifest(config: &[u8], blobs: Vec<Option<bool>>, is_index: bool) -> Vec<u8> {
    let layer = |(number, has_diff_id): (u8, Option<bool>)| {
        let has_diff_id = has_diff_id?;
        let mut annotations = json!({"containerd.io/distribution.source.localhost": "app"});
        if has_diff_id {
            annotations["containerd.io/uncompressed"] = json!(Digest::sha256(&[b'd', number]).to_string());
            annotations["buildkit/createdat"] = json!(format!("2026-11-22T04:02:3{number}.5Z"));
        }
        Some(
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": blob(number).to_string(), "size": number, "annotations": annotations}),
        )
    };
    let mut layers: Vec<_> = (0..).zip(blobs).filter_map(layer).collect();
    let config =
        json!({"mediaType": MediaType::CACHE_CONFIG, "digest": Digest::sha256(config).to_string(), "size": config.len()});
    let manifest = if is_index {
        layers.push(config);
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": layers})
    } else {
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": layers})
    };
    manifest.to_string().into_bytes()
}

impl fmt::Debug for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", String::from_utf8_lossy(&self.manifest), String::from_utf8_lossy(&self.config))
    }
}

impl Pushed {
    pub fn read(&self) -> Read {
        read(&self.manifest, &self.config)
    }
}

/// Caches as they are read of pushes.
pub fn cache() -> impl Strategy<Value = Cache> {
    prop_oneof![honest(), lying()].prop_map(|pushed| pushed.read().cache)
}
