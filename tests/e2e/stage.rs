//! What all scenarios share: two daemons, an S3 server, and Longshore on a store of its own for each.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io::{self, BufRead as _};
use std::net::SocketAddrV4;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::support::buildkit::{Build, Buildkit};
use crate::support::client::pull_manifest;
use crate::support::door::Door;
use crate::support::longshore::{Launch, Longshore};
use crate::support::project::{Project, Tree, digest_of};
use crate::support::s3_server::S3Server;
use crate::support::scratch;

/// One runtime for all tests: what they share outlives each of them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// Runs one test, on the runtime of all.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.block_on(test)
}

/// Starts `scenario` beside others, on the runtime of all.
pub fn spawn(scenario: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    RUNTIME.spawn(scenario)
}

/// Waits for scenarios that run side by side; panics with the names of those that failed.
pub fn assert_all(scenarios: Vec<(String, JoinHandle<()>)>) {
    let mut failures = Vec::new();
    for (name, scenario) in scenarios {
        if let Err(error) = run(scenario) {
            let panic = error.into_panic();
            let why = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            failures.push(format!("== {name}\n{why}"));
        }
    }
    assert!(failures.is_empty(), "{} failed\n{}", failures.len(), failures.join("\n"));
}

/// A version of BuildKit, as `tests/tools` calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// Pushes layers one after the other, and caches as an index unless told otherwise.
    V0_12,
    /// The last that does so.
    V0_20,
    Newest,
}

impl Version {
    pub const ALL: [Self; 3] = [Self::Newest, Self::V0_20, Self::V0_12];

    fn tool(self) -> &'static str {
        match self {
            Self::V0_12 => "buildkit-0.12",
            Self::V0_20 => "buildkit-0.20",
            Self::Newest => "buildkit",
        }
    }

    /// The daemon that builds first.
    pub async fn exporter(self) -> &'static Buildkit {
        static EXPORTERS: [OnceCell<Buildkit>; 3] = [const { OnceCell::const_new() }; 3];
        EXPORTERS[self as usize].get_or_init(|| Buildkit::start_version("the exporting daemon", self.tool())).await
    }

    /// The daemon that has built nothing of the project at hand: it has only what it imports.
    pub async fn cold(self) -> &'static Buildkit {
        static COLD: [OnceCell<Buildkit>; 3] = [const { OnceCell::const_new() }; 3];
        COLD[self as usize].get_or_init(|| Buildkit::start_version("the cold daemon", self.tool())).await
    }
}

/// The daemon that builds first.
pub async fn exporter() -> &'static Buildkit {
    Version::Newest.exporter().await
}

/// The daemon that has built nothing of the project at hand: it has only what it imports.
pub async fn cold() -> &'static Buildkit {
    Version::Newest.cold().await
}

/// Where Longshore keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Folder,
    /// Of MinIO.
    Bucket,
    BucketOfVersitygw,
    BucketOfCeph,
}

/// The stores that every scenario runs on.
pub const STORES: [Store; 2] = [Store::Folder, Store::Bucket];

/// All there are, for what depends on the server most.
pub const EVERY_STORE: [Store; 4] = [Store::Folder, Store::Bucket, Store::BucketOfVersitygw, Store::BucketOfCeph];

/// Where the objects lie in the bucket of a [`Quay`].
pub const PREFIX: &str = "team/cache";

/// Longshore on an empty store, with a door on either side. Whatever a test does with it, at the most talkative level of
/// the log, no secret shows in what it says and answers: dropping it looks.
#[derive(Debug)]
pub struct Quay {
    pub launch: Launch,
    pub longshore: Longshore,
    /// Before Longshore: what its clients ask.
    pub front: Arc<Door>,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Folder(TempDir),
    Bucket { server: S3Server, name: String, prefix: &'static str, back: Door },
}

impl Quay {
    pub async fn on(store: Store) -> Self {
        let (launch, hold) = match store {
            Store::Folder => {
                let folder = scratch("store");
                (Launch::on_folder(folder.path()), Hold::Folder(folder))
            }
            Store::Bucket => Self::in_bucket_of(S3Server::Minio).await,
            Store::BucketOfVersitygw => Self::in_bucket_of(S3Server::Versitygw).await,
            Store::BucketOfCeph => Self::in_bucket_of(S3Server::Ceph).await,
        };
        Self::begin(launch, hold).await
    }

    /// On a bucket of MinIO, as `launch` starts it once it knows the door before MinIO and the bucket. Its objects lie
    /// below `prefix`.
    pub async fn launched(prefix: &'static str, launch: impl FnOnce(&Door, &str) -> Launch) -> Self {
        let (name, back) = bucket_of(S3Server::Minio).await;
        Self::begin(launch(&back, &name), Hold::Bucket { server: S3Server::Minio, name, prefix, back }).await
    }

    async fn begin(launch: Launch, hold: Hold) -> Self {
        let launch = launch.env("LONGSHORE_LOG_LEVEL", "trace");
        let longshore = launch.start().await;
        let front = Arc::new(Door::open(longshore.address));
        Self { launch, longshore, front, hold }
    }

    async fn in_bucket_of(server: S3Server) -> (Launch, Hold) {
        let (name, back) = bucket_of(server).await;
        (Launch::on_bucket(&back, &name, PREFIX), Hold::Bucket { server, name, prefix: PREFIX, back })
    }

    /// The door before the S3 server: what Longshore asks of it.
    pub fn back(&self) -> &Door {
        match &self.hold {
            Hold::Bucket { back, .. } => back,
            Hold::Folder(_) => panic!("a folder has no door"),
        }
    }

    /// Another Longshore on the same store, which knows nothing yet.
    pub async fn replica(&self) -> Longshore {
        self.launch.beside().start().await
    }

    /// What `longshore explain` says of `image`. The pages of `docker/explain.md` are kept from here, in the folder
    /// `LONGSHORE_TEST_PAGES`.
    pub fn explained(&self, image: &str) -> String {
        let told = self.launch.call(&["explain", image], "");
        let page = String::from_utf8(told.stdout).expect("text");
        assert!(told.status.success(), "{page}{}", String::from_utf8_lossy(&told.stderr));
        if let Some(folder) = std::env::var_os("LONGSHORE_TEST_PAGES") {
            let name = format!("{}-{}", image.replace(['/', ':'], "-"), Uuid::new_v4());
            fs::write(Path::new(&folder).join(name), &page).expect("it is ours");
        }
        page
    }

    /// Removes an object behind Longshore's back.
    pub async fn lose(&self, key: &str) {
        match &self.hold {
            Hold::Folder(folder) => fs::remove_file(folder.path().join(key)).expect("it was there"),
            Hold::Bucket { server, name, prefix, .. } => server.rclone().await.remove(name, &format!("{prefix}/{key}")),
        }
    }

    /// Removes the layer of the cache or image `tag` of `image` that has some of `sizes` bytes.
    pub async fn lose_layer(&self, image: &str, tag: &str, sizes: Range<u64>) {
        let pull = async |reference: &str| {
            let manifest = pull_manifest(self.longshore.address, image, reference).await.body;
            serde_json::from_slice::<Value>(&manifest).expect("a manifest")
        };
        let mut manifest = pull(tag).await;
        if let Some(child) =
            manifest["manifests"][0]["digest"].as_str().filter(|_| manifest["manifests"][0]["platform"].is_object())
        {
            manifest = pull(child).await;
        }
        let layers = manifest["layers"].as_array().or(manifest["manifests"].as_array()).expect("layers");
        let found: Vec<_> =
            layers.iter().filter(|layer| layer["size"].as_u64().is_some_and(|size| sizes.contains(&size))).collect();
        let [layer] = &found[..] else { panic!("one layer of {sizes:?} bytes in {manifest:#}") };
        self.lose(&format!("{image}/blobs/{}", layer["digest"].as_str().expect("a digest"))).await;
    }

    /// How a build names `image`, which may carry a tag.
    pub fn reference(&self, image: &str) -> String {
        format!("{}/{image}", self.front.address)
    }

    /// Attributes that import the cache `image`, or export it to there.
    pub fn cache(&self, image: &str) -> String {
        format!("type=registry,ref={}", self.reference(image))
    }

    /// Every object below the store's prefix with the digest of its bytes, as read by a client that is not ours.
    pub async fn objects(&self) -> BTreeMap<String, String> {
        match &self.hold {
            Hold::Folder(folder) => files_below(folder.path()),
            Hold::Bucket { server, name, prefix, .. } => {
                let below = |(key, digest): (String, String)| {
                    let key = key.strip_prefix(prefix).map(|key| key.trim_start_matches('/'));
                    (key.expect("nothing lies outside the prefix").to_owned(), digest)
                };
                server.rclone().await.digests(name).into_iter().map(below).collect()
            }
        }
    }
}

impl Drop for Quay {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for seen in self.front.seen() {
                self.launch.assert_hides(&seen.path, &seen.refusal());
            }
        }
    }
}

/// An empty bucket of `server`, and a door before that.
pub async fn bucket_of(server: S3Server) -> (String, Door) {
    let (name, back) = (format!("test-{}", Uuid::new_v4()), Door::open(server.address().await));
    server.make_bucket(&name).await;
    (name, back)
}

fn files_below(root: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path.strip_prefix(root).expect("below the root").to_str().expect("text").to_owned();
                files.insert(key, digest_of_object(&path).expect("a file"));
            }
        }
    }
    files
}

/// The digest of the object in the file at `path`: what is not plain bytes has its content type in a line before it.
fn digest_of_object(path: &Path) -> io::Result<String> {
    let mut file = io::BufReader::new(fs::File::open(path)?);
    if file.fill_buf()?.starts_with(b"#longshore content-type: ") {
        file.skip_until(b'\n')?;
    }
    digest_of(file)
}

/// Builds `project` on `daemon` with what `with` adds; its result.
pub async fn result_of(daemon: &Buildkit, project: &Project, with: impl FnOnce(Build) -> Build) -> Tree {
    let folder = scratch("output");
    daemon.must_build(&with(Build::of(project.path()).output_to(folder.path()))).await;
    Tree::read(folder.path())
}

/// Attributes that import the cache `image` from the registry at `address`, or export it to there.
pub fn cache_at(address: SocketAddrV4, image: &str) -> String {
    format!("type=registry,ref={address}/{image}")
}

/// Builds `project` on the exporting daemon and exports its cache with `attributes`; its result.
pub async fn export(project: &Project, attributes: &str) -> Tree {
    result_of(exporter().await, project, |build| build.export_cache(attributes)).await
}

/// Builds `project` on the cold daemon, which imports the cache `attributes`; its result.
pub async fn import(project: &Project, attributes: &str) -> Tree {
    result_of(cold().await, project, |build| build.import_cache(attributes)).await
}
