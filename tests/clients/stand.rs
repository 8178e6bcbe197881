//! What the clients talk to: Longshore on each kind of store, and two replicas of it.

use std::future::Future;
use std::net::SocketAddrV4;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;

use futures_util::FutureExt;
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::support::client::{self, ask};
use crate::support::door::Door;
use crate::support::image::{Contents, digest_unpacked};
use crate::support::longshore::{Launch, Longshore};
use crate::support::minio::Minio;
use crate::support::project::digest_of;
use crate::support::scratch;

/// One runtime for all tests: what they share outlives each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Runs one test, on the runtime of all.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

pub async fn minio() -> &'static Minio {
    static MINIO: OnceCell<Minio> = OnceCell::const_new();
    MINIO.get_or_init(Minio::start).await
}

/// Where Longshore keeps things, and how many of it there are.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Folder,
    Bucket,
    /// Two replicas over one bucket; each request goes to the other one.
    TwoReplicas,
}

pub const PLACES: [Place; 3] = [Place::Folder, Place::Bucket, Place::TwoReplicas];

/// A registry with nothing in it.
#[derive(Debug)]
pub struct Stand {
    /// Where clients find it.
    pub registry: SocketAddrV4,
    _longshores: Vec<Longshore>,
    _door: Option<Door>,
    _folder: Option<TempDir>,
}

impl Stand {
    pub async fn on(place: Place) -> Self {
        match place {
            Place::Folder => {
                let folder = scratch("store");
                let longshore = Launch::on_folder(folder.path()).start().await;
                let registry = longshore.address;
                Self { registry, _longshores: vec![longshore], _door: None, _folder: Some(folder) }
            }
            Place::Bucket => {
                let longshore = on_bucket(minio().await.address, &new_bucket().await).start().await;
                Self { registry: longshore.address, _longshores: vec![longshore], _door: None, _folder: None }
            }
            Place::TwoReplicas => {
                let bucket = new_bucket().await;
                let minio = minio().await.address;
                let launches = [on_bucket(minio, &bucket), on_bucket(minio, &bucket)];
                let mut longshores = Vec::new();
                for launch in &launches {
                    longshores.push(launch.start().await);
                }
                let door = Door::open_in_turn(&[launches[0].address, launches[1].address]);
                Self { registry: door.address, _longshores: longshores, _door: Some(door), _folder: None }
            }
        }
    }

    /// How a client calls an image here.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.registry)
    }

    /// The digest of the manifest that `tag` of `image` names, as the registry tells it; `None` when there is none.
    pub async fn digest(&self, image: &str, tag: &str) -> Option<String> {
        let answer = ask(self.registry, "HEAD", &format!("/v2/{image}/manifests/{tag}")).await;
        (answer.status != StatusCode::NOT_FOUND).then(|| answer.header("docker-content-digest").to_owned())
    }

    /// What the registry holds as `image`, every byte of it hashed here.
    pub async fn contents(&self, image: &str, tag: &str) -> Contents {
        let manifest = client::pull_manifest(self.registry, image, tag).await;
        let manifest: Value = serde_json::from_slice(&manifest.body).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let parsed = serde_json::from_slice(&self.blob(image, config).await).unwrap();
        let mut layers = Vec::new();
        for layer in manifest["layers"].as_array().unwrap() {
            layers.push(digest_unpacked(&self.blob(image, layer["digest"].as_str().unwrap()).await));
        }
        let contents = Contents::of_config(config, &parsed);
        assert_eq!(contents.layers, layers, "the config of {image}:{tag} knows its layers");
        contents
    }

    /// A blob, which is what its digest says.
    pub async fn blob(&self, image: &str, digest: &str) -> bytes::Bytes {
        let answer = ask(self.registry, "GET", &format!("/v2/{image}/blobs/{digest}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{digest} of {image}");
        assert_eq!(digest_of(&answer.body[..]).unwrap(), digest, "of {image}");
        answer.body
    }
}

/// An empty bucket's name.
pub async fn new_bucket() -> String {
    let name = format!("test-{}", Uuid::new_v4());
    minio().await.make_bucket(&name);
    name
}

/// Longshore in `bucket` of the S3 server at `server`.
pub fn on_bucket(server: SocketAddrV4, bucket: &str) -> Launch {
    Launch::on_bucket_at(server, bucket, "registry")
}

/// Tries `row` on every place; panics with what failed on each one where it did.
pub async fn everywhere<F: Future<Output = ()>>(who: &str, row: impl Fn(Stand) -> F) {
    let mut failed = Vec::new();
    for place in PLACES {
        let stand = Stand::on(place).await;
        if let Err(panic) = AssertUnwindSafe(row(stand)).catch_unwind().await {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned()));
            failed.push(format!("{who} on {place:?}: {}", said.unwrap_or_default()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
