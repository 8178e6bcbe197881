//! Replicas of a registry over one store in memory. Time stands still unless a test advances it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore::metrics::Metrics;
use longshore::oci::{Digest, MediaType};
use longshore::registry::{Answering, Asker, Belief, Patience, Registry, RegistryError, Repository, WritableRepository};
use longshore::store::{Clock, Key, MemoryStore, ObjectStore};
use serde_json::json;

use crate::broken_store::{BrokenStore, Operation};

pub const PATIENCE: Patience =
    Patience { pull: Duration::from_secs(2), push: Duration::from_secs(5), bytes: Duration::from_secs(180) };

/// A store, and what time it is there.
pub struct Harbour {
    pub store: Arc<BrokenStore>,
    pub clock: Clock,
}

/// A server among several, as far as the image `app` goes.
pub struct Replica {
    pub registry: Arc<Registry>,
    pub metrics: Metrics,
    pub app: WritableRepository,
}

impl Harbour {
    pub fn new() -> Self {
        let (start, began) = (SystemTime::now(), tokio::time::Instant::now());
        let clock = Clock::new(move || start + began.elapsed());
        let memory = MemoryStore::with_clock(clock.clone());
        Self { store: BrokenStore::around(Arc::new(memory)), clock }
    }

    pub fn replica(&self) -> Replica {
        self.believing(Belief::default())
    }

    pub fn believing(&self, belief: Belief) -> Replica {
        replica_over(Arc::clone(&self.store) as Arc<dyn ObjectStore>, belief, &self.clock)
    }

    /// A replica that `arrange` makes another one than those are.
    pub fn arranged(&self, arrange: impl FnOnce(Registry) -> Registry) -> Replica {
        arranged_over(Arc::clone(&self.store) as Arc<dyn ObjectStore>, Belief::default(), &self.clock, arrange)
    }

    /// The keys of everything that is stored.
    pub async fn keys(&self) -> Vec<String> {
        let page = self.store.list("", None, PATIENCE.bytes).await.unwrap();
        page.objects.iter().map(|object| object.key.to_string()).collect()
    }

    /// How often the store was asked anything that `operations` name, sweeps apart.
    pub fn calls(&self, operations: &[Operation]) -> usize {
        let swept = |operation| self.store.calls_for(operation, "_oci/uploads/");
        operations.iter().map(|operation| self.store.calls(*operation) - swept(*operation)).sum()
    }

    /// How old the blob `content` is, `None` when it is not there.
    pub async fn age(&self, content: &str) -> Option<Duration> {
        let meta = self.store.head(&key(content), PATIENCE.bytes).await.unwrap()?;
        Some(self.clock.now().duration_since(meta.last_modified).unwrap())
    }
}

pub fn replica_over(store: Arc<dyn ObjectStore>, belief: Belief, clock: &Clock) -> Replica {
    arranged_over(store, belief, clock, |registry| registry)
}

fn arranged_over(
    store: Arc<dyn ObjectStore>,
    belief: Belief,
    clock: &Clock,
    arrange: impl FnOnce(Registry) -> Registry,
) -> Replica {
    let metrics = Metrics::new(0);
    let registry = arrange(Registry::new(store, PATIENCE).with_metrics(metrics.profile("app")));
    let registry = Arc::new(registry.with_belief(belief).with_clock(clock.clone()));
    let app = registry.writable_repository("app".parse().unwrap());
    Replica { registry, metrics, app }
}

impl Replica {
    /// The image `app`, as it is pulled where these rules hold.
    pub fn answering(&self, rules: Answering) -> Repository {
        self.registry.repository("app".parse().unwrap()).answering(rules)
    }

    /// Whether somebody who would push the blob `content` is told that it is there.
    pub async fn has(&self, content: &str) -> bool {
        self.app.stat_blob(&digest(content), Asker::Push).await.is_some()
    }

    /// Whether somebody else is told so.
    pub async fn has_for_others(&self, content: &str) -> bool {
        self.app.stat_blob(&digest(content), Asker::Pull).await.is_some()
    }

    pub async fn push(&self, content: &'static str) {
        let body = stream::iter([Ok(Bytes::from(content))]).boxed();
        self.app.write_blob(&digest(content), Some(content.len() as u64), body).await.unwrap();
    }

    /// Reads the blob `content`; whether it was there.
    pub async fn reads(&self, content: &str) -> bool {
        let Some(blob) = self.app.read_blob(&digest(content), None, Asker::Pull).await.unwrap() else { return false };
        blob.body.try_collect::<Vec<_>>().await.unwrap().concat() == content.as_bytes()
    }

    pub async fn remove(&self, content: &str) -> bool {
        self.app.delete_blob(&digest(content)).await.unwrap()
    }

    /// Pushes an image of `layers` and a config that is among them, by `tag`.
    pub async fn push_image(&self, tag: &str, layers: &[&str]) -> Result<Digest, RegistryError> {
        let manifest = image(layers);
        let media_type: MediaType = MediaType::OCI_MANIFEST.parse().unwrap();
        let written = self.app.write_manifest(&tag.parse().unwrap(), &[], media_type, manifest.into()).await?;
        Ok(written.digest)
    }
}

/// An image of `layers`, the first of which is the config too.
pub fn image(layers: &[&str]) -> String {
    let descriptor = |media_type: &str, content: &str| json!({"mediaType": media_type, "digest": digest(content).to_string(), "size": content.len()});
    let gzip = "application/vnd.oci.image.layer.v1.tar+gzip";
    json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", layers[0]),
        "layers": layers.iter().map(|layer| descriptor(gzip, layer)).collect::<Vec<_>>(),
    })
    .to_string()
}

pub fn digest(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

/// Where the blob `content` of `app` is.
pub fn key(content: &str) -> Key {
    format!("app/blobs/{}", digest(content)).parse().unwrap()
}
