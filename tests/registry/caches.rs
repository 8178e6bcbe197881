//! Caches that nobody built: what pushes them, and what an import makes of an answer.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore::oci::{Digest, MediaType, Reference};
use longshore::registry::{Asker, ManifestInfo, Repository, WritableRepository};
use serde_json::{Value, json};

use crate::harbour::digest;

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A cache of one step for each of `layers`, all of them made from one source. What a step is called, and what its
/// layer unpacks to, is known by its content.
#[derive(Clone, Debug)]
pub struct Cache {
    pub media_type: &'static str,
    pub manifest: String,
    pub config: String,
    pub layers: Vec<String>,
}

impl Cache {
    /// In the form of an image.
    pub fn of(layers: &[&str]) -> Self {
        Self::with(
            MediaType::OCI_MANIFEST,
            layers,
            |config, layers| json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": layers}),
        )
    }

    /// In the form of an index.
    pub fn index(layers: &[&str]) -> Self {
        Self::with(MediaType::OCI_INDEX, layers, |config, mut layers| {
            layers.push(config);
            json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": layers})
        })
    }

    fn with(media_type: &'static str, layers: &[&str], manifest: impl Fn(Value, Vec<Value>) -> Value) -> Self {
        let results = |at: usize| json!([{"layer": at, "createdAt": "2026-11-22T04:02:41.5Z"}]);
        let chains: Vec<_> = layers.iter().map(|layer| json!({"blob": digest(layer).to_string(), "parent": -1})).collect();
        let config = json!({"layers": chains, "records": records(layers, "layers", results)}).to_string();
        let descriptors = layers.iter().map(|layer| described(layer)).collect();
        let manifest = manifest(descriptor(MediaType::CACHE_CONFIG, &config), descriptors).to_string();
        Self { media_type, manifest, config, layers: layers.iter().map(|&layer| layer.to_owned()).collect() }
    }

    /// In an image that can be run: every layer stands on those before it.
    pub fn inline(layers: &[&str]) -> Self {
        let results = |at: usize| json!([{"layer": at, "createdAt": "2026-11-22T04:02:41.5Z"}]);
        let records = Value::from(records(layers, "layers", results)).to_string();
        let diff_ids: Vec<_> = layers.iter().map(|layer| unpacked(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/app"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "moby.buildkit.cache.v0": BASE64.encode(records.as_bytes()),
        });
        Self::image(layers, &config.to_string())
    }

    /// An image without a cache in it.
    pub fn none(layers: &[&str]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|layer| unpacked(layer)).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        Self::image(layers, &config.to_string())
    }

    fn image(layers: &[&str], config: &str) -> Self {
        let descriptors: Vec<_> = layers.iter().map(|layer| descriptor(GZIP, layer)).collect();
        let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
            "config": descriptor(IMAGE_CONFIG, config), "layers": descriptors});
        let (manifest, config) = (manifest.to_string(), config.to_owned());
        let layers = layers.iter().map(|&layer| layer.to_owned()).collect();
        Self { media_type: MediaType::OCI_MANIFEST, manifest, config, layers }
    }

    /// An index of this image, and of one that attests to something, as buildx pushes it; all of it but the tag is pushed.
    pub async fn attested(&self, to: &WritableRepository) -> Self {
        let attest = Self::image(&["attestation"], r#"{"architecture":"unknown","os":"unknown","rootfs":{"type":"layers"}}"#);
        let mut children = Vec::new();
        for (image, os) in [(self, "linux"), (&attest, "unknown")] {
            for blob in image.layers.iter().chain([&image.config]) {
                push_blob(to, blob.clone()).await;
            }
            let (reference, media_type) = (Reference::Digest(image.digest()), image.media_type.parse().unwrap());
            to.write_manifest(&reference, &[], media_type, image.manifest.clone().into()).await.unwrap();
            let mut child = descriptor(MediaType::OCI_MANIFEST, &image.manifest);
            child["platform"] = json!({"architecture": "amd64", "os": os});
            children.push(child);
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": children}).to_string();
        Self { media_type: MediaType::OCI_INDEX, manifest, ..self.clone() }
    }

    pub fn digest(&self) -> Digest {
        digest(&self.manifest)
    }

    /// Pushes it whole.
    pub async fn push(&self, to: &WritableRepository, tag: &str) {
        for layer in self.layers.iter().chain([&self.config]) {
            push_blob(to, layer.clone()).await;
        }
        self.push_manifest(to, tag).await;
    }

    /// Pushes only what the tag points to.
    pub async fn push_manifest(&self, to: &WritableRepository, tag: &str) {
        let media_type = self.media_type.parse().unwrap();
        to.write_manifest(&tag.parse().unwrap(), &[], media_type, self.manifest.clone().into()).await.unwrap();
    }

    /// The steps that it has layers of.
    pub fn steps(&self) -> BTreeSet<Digest> {
        steps(&self.layers)
    }
}

/// The steps that made `layers`.
pub fn steps(layers: &[impl AsRef<str>]) -> BTreeSet<Digest> {
    layers.iter().map(|layer| step(layer.as_ref())).collect()
}

fn step(layer: &str) -> Digest {
    digest(&format!("step {layer}"))
}

fn unpacked(layer: &str) -> String {
    digest(&format!("unpacked {layer}")).to_string()
}

fn records(layers: &[&str], results_field: &str, results: impl Fn(usize) -> Value) -> Vec<Value> {
    let source = json!({"digest": digest("source").to_string()});
    let record = |(at, layer): (usize, &&str)| json!({"digest": step(layer).to_string(), "inputs": [[{"link": 0}]], results_field: results(at)});
    std::iter::once(source).chain(layers.iter().enumerate().map(record)).collect()
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(content).to_string(), "size": content.len()})
}

fn described(layer: &str) -> Value {
    let mut descriptor = descriptor(GZIP, layer);
    descriptor["annotations"] = json!({"containerd.io/uncompressed": unpacked(layer)});
    descriptor
}

pub async fn push_blob(to: &WritableRepository, content: String) {
    let (digest, length) = (digest(&content), content.len() as u64);
    let body = stream::iter([Ok(Bytes::from(content))]).boxed();
    to.write_blob(&digest, Some(length), body).await.unwrap();
}

/// What an import learned.
#[derive(Clone, Debug)]
pub struct Imported {
    pub info: ManifestInfo,
    pub manifest: Value,
    /// The steps of which it has all layers, with those.
    pub steps: BTreeMap<Digest, Vec<Digest>>,
}

impl Imported {
    pub fn names(&self) -> BTreeSet<Digest> {
        self.steps.keys().copied().collect()
    }
}

/// Imports `tag` as BuildKit does: HEAD by tag at `from`, then the manifest and its config by their digests at `next`.
/// `None` when there is nothing.
pub async fn import_by(from: &Repository, next: &Repository, tag: &str) -> Option<Imported> {
    let info = from.stat_manifest(&tag.parse().unwrap(), Asker::Import).await.unwrap()?;
    let manifest = next.read_manifest(&Reference::Digest(info.digest), Asker::Import).await.unwrap();
    let manifest = manifest.unwrap_or_else(|| panic!("{tag} was announced as {} and is not there", info.digest));
    assert_eq!((&manifest.media_type, manifest.bytes.len() as u64), (&info.media_type, info.size));
    let json: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    let children = json["manifests"].as_array().cloned().unwrap_or_default();
    let config_of_index = children.iter().rfind(|child| child["mediaType"] == MediaType::CACHE_CONFIG);
    let config: Digest = config_of_index.unwrap_or(&json["config"])["digest"].as_str().unwrap().parse().unwrap();
    let config: Value = serde_json::from_slice(&read_blob(next, &config).await.expect("its config")).unwrap();
    let layers = json["layers"].as_array().cloned().unwrap_or(children);
    let steps = steps_of(&config, &layers);
    Some(Imported { info, manifest: json, steps })
}

pub async fn import(from: &Repository, tag: &str) -> Option<Imported> {
    import_by(from, from, tag).await
}

pub async fn read_blob(from: &Repository, digest: &Digest) -> Option<Bytes> {
    let blob = from.read_blob(digest, None, Asker::Import).await.unwrap()?;
    Some(blob.body.try_collect::<Vec<_>>().await.unwrap().concat().into())
}

/// What an importer makes of a config of either form: the plain reading of `v1/parse.go`.
pub fn steps_of(config: &Value, layers: &[Value]) -> BTreeMap<Digest, Vec<Digest>> {
    let there: BTreeSet<Digest> = layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect();
    let inline = config["moby.buildkit.cache.v0"].as_str();
    let in_order: Vec<Digest> = layers.iter().map(|layer| layer["digest"].as_str().unwrap().parse().unwrap()).collect();
    let records: Value = match inline {
        Some(inline) => serde_json::from_slice(&BASE64.decode(inline.as_bytes()).unwrap()).unwrap(),
        None => config["records"].clone(),
    };
    let place = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let chain = |result: &Value| -> Vec<Digest> {
        if let Some(layers) = result["layers"].as_array() {
            return layers.iter().map(|layer| in_order[place(layer)]).collect();
        }
        if inline.is_some() {
            return in_order[..=place(&result["layer"])].to_vec();
        }
        let (mut chain, mut at) = (Vec::new(), i64::try_from(place(&result["layer"])).unwrap());
        while let Ok(layer) = usize::try_from(at) {
            let layer = &config["layers"][layer];
            chain.insert(0, layer["blob"].as_str().unwrap().parse().unwrap());
            at = layer["parent"].as_i64().unwrap_or(0);
        }
        chain
    };
    let mut steps = BTreeMap::new();
    for record in records.as_array().into_iter().flatten() {
        for results in [&record["layers"], &record["chains"]] {
            for result in results.as_array().into_iter().flatten() {
                let chain = chain(result);
                if chain.iter().all(|layer| there.contains(layer)) {
                    steps.insert(record["digest"].as_str().unwrap().parse().unwrap(), chain);
                }
            }
        }
    }
    steps
}
