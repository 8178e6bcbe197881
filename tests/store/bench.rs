//! A store under test, and short words for what is done to it.

use std::any::Any;
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use longshore::credentials::{Source, Surroundings};
use longshore::metrics::ProfileMetrics;
use longshore::oci::ByteRange;
use longshore::secrets::Template;
use longshore::store::{
    FolderStore, Key, Listed, MemoryBudget, MemoryStore, Object, ObjectMeta, ObjectStore, S3Kind, S3Objects, S3Settings, S3Store,
    StoreError, Upload,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::support::minio::{ACCESS_KEY_ID, Minio, REGION, SECRET_ACCESS_KEY};
use crate::support::s3_server::{self, S3Server};
use crate::support::scratch;
use crate::support::strict::{Kind, Strict};

/// Long enough that only a test that has failed waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const MIB: usize = 1024 * 1024;

pub const BUCKET: &str = "contract";

/// Where `server` listens; it has a [`BUCKET`].
pub async fn address_of(server: S3Server) -> SocketAddrV4 {
    static BUCKETS: [OnceCell<()>; S3Server::ALL.len()] = [const { OnceCell::const_new() }; S3Server::ALL.len()];
    BUCKETS[server as usize].get_or_init(|| server.make_bucket(BUCKET)).await;
    server.address().await
}

/// The one MinIO of this process, with a [`BUCKET`].
pub async fn minio() -> &'static Minio {
    address_of(S3Server::Minio).await;
    s3_server::minio().await
}

/// How to reach [`BUCKET`] through `endpoint`, under a prefix that nobody else has.
pub fn settings(endpoint: impl std::fmt::Display) -> S3Settings {
    S3Settings {
        bucket: BUCKET.to_owned(),
        prefix: Uuid::new_v4().to_string(),
        kind: S3Kind::MINIO,
        region: REGION.to_owned(),
        endpoint: Some(format!("http://{endpoint}")),
        path_style: true,
        credentials: keys(ACCESS_KEY_ID, SECRET_ACCESS_KEY),
        objects: S3Objects::default(),
        ca_bundle: None,
        proxy: None,
    }
}

/// How to reach [`BUCKET`] on `server`.
pub async fn settings_of(server: S3Server) -> S3Settings {
    let kind = match server {
        S3Server::Minio => S3Kind::MINIO,
        S3Server::Versitygw => S3Kind::GENERIC,
        S3Server::Ceph => S3Kind::CEPH,
    };
    S3Settings { kind, ..settings(address_of(server).await) }
}

pub fn keys(access_key_id: &str, secret_access_key: &str) -> Source {
    Source::Static {
        access_key_id: Template::of_text(access_key_id),
        secret_access_key: Template::of_text(secret_access_key),
        session_token: None,
    }
}

/// The bucket of `settings`, for uploads that hold up to `memory` bytes.
pub async fn s3_store(settings: S3Settings, memory: usize) -> S3Store {
    let memory = Arc::new(MemoryBudget::new(memory as u64)).share();
    S3Store::new(settings, &Surroundings::default(), memory, ProfileMetrics::default()).await.unwrap()
}

/// A store of which one test has all that lies under a root.
#[derive(Clone)]
pub struct Bench {
    pub store: Arc<dyn ObjectStore>,
    root: String,
    /// Why nothing can be made young here, where that is so: the store must tell.
    pub keeps_ages: Option<&'static str>,
    /// What the store needs for as long as it is used.
    _under: Option<Arc<dyn Any + Send + Sync>>,
}

impl Bench {
    pub fn over(store: impl ObjectStore + 'static) -> Self {
        Self { store: Arc::new(store), root: "root".to_owned(), keeps_ages: None, _under: None }
    }

    pub async fn memory() -> Self {
        Self::over(MemoryStore::default())
    }

    pub async fn folder() -> Self {
        let folder = scratch("folder");
        let bench = Self::in_folder(folder.path());
        Self { _under: Some(Arc::new(folder)), ..bench }
    }

    /// The store in the folder at `path`.
    pub fn in_folder(path: &Path) -> Self {
        Self::over(FolderStore::open(path).unwrap())
    }

    pub async fn s3() -> Self {
        Self::s3_with_memory(64 * MIB).await
    }

    pub async fn s3_with_memory(memory: usize) -> Self {
        Self::over(s3_store(settings(minio().await.address), memory).await)
    }

    pub async fn versitygw() -> Self {
        let bench = Self::over(s3_store(settings_of(S3Server::Versitygw).await, 64 * MIB).await);
        Self { keeps_ages: Some("versitygw 1.8 changes a file's attributes and not its time (posix, CopyObject)"), ..bench }
    }

    pub async fn ceph() -> Self {
        Self::over(s3_store(settings_of(S3Server::Ceph).await, 64 * MIB).await)
    }

    pub async fn strict_gcs() -> Self {
        Self::strict(Kind::Gcs).await
    }

    pub async fn strict_r2() -> Self {
        Self::strict(Kind::R2).await
    }

    pub async fn strict_b2() -> Self {
        Self::strict(Kind::B2).await
    }

    async fn strict(kind: Kind) -> Self {
        // A second between two writes, shortened: many a promise is about many writes.
        let strict = Strict::over(Arc::new(MemoryStore::default()), kind, kind.pause_between_writes() / 10);
        let bench = Self::over(s3_store(strict.settings(strict.address), 64 * MIB).await);
        Self { _under: Some(Arc::new(strict)), ..bench }
    }

    pub fn key(&self, name: &str) -> Key {
        format!("{}/{name}", self.root).parse().unwrap()
    }

    pub async fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        self.put_as(name, bytes, "text/plain").await;
    }

    pub async fn put_as(&self, name: &str, bytes: impl Into<Bytes>, content_type: &str) {
        self.store.put(&self.key(name), bytes.into(), content_type, PATIENCE).await.unwrap();
    }

    pub async fn head(&self, name: &str) -> Option<ObjectMeta> {
        self.store.head(&self.key(name), PATIENCE).await.unwrap()
    }

    pub async fn get(&self, name: &str, range: Option<ByteRange>) -> Result<Option<Object>, StoreError> {
        self.store.get(&self.key(name), range, PATIENCE).await
    }

    /// All bytes of the object, `None` when there is none.
    pub async fn read(&self, name: &str) -> Option<Vec<u8>> {
        Some(collect(self.get(name, None).await.unwrap()?).await.unwrap())
    }

    pub async fn upload(&self, name: &str, length: Option<usize>) -> Box<dyn Upload> {
        self.store.upload(&self.key(name), length.map(|length| length as u64), PATIENCE).await.unwrap()
    }

    pub async fn delete(&self, name: &str) {
        self.store.delete(&self.key(name), PATIENCE).await.unwrap();
    }

    /// What is listed under `prefix`, all pages of it, by its name.
    pub async fn list(&self, prefix: &str) -> Vec<(String, Listed)> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(&format!("{}/{prefix}", self.root), after.as_ref(), PATIENCE).await.unwrap();
            after = page.objects.last().map(|object| object.key.clone());
            all.extend(page.objects.into_iter().map(|object| (self.name(&object.key), object)));
            if !page.is_truncated {
                return all;
            }
        }
    }

    /// The names of what is listed under `prefix`.
    pub async fn names(&self, prefix: &str) -> Vec<String> {
        self.list(prefix).await.into_iter().map(|(name, _)| name).collect()
    }

    pub fn name(&self, key: &Key) -> String {
        key.as_str().strip_prefix(&format!("{}/", self.root)).expect("a key under the root").to_owned()
    }

    /// Whether nothing at all tells that there is an object.
    pub async fn is_absent(&self, name: &str) -> bool {
        self.head(name).await.is_none() && self.read(name).await.is_none() && !self.names("").await.iter().any(|it| it == name)
    }
}

/// All bytes of `object`, which are as many as it said.
pub async fn collect(object: Object) -> Result<Vec<u8>, StoreError> {
    let length = object.length;
    let bytes = object.body.try_fold(Vec::new(), async |mut all, chunk| {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = bytes.await?;
    assert_eq!(bytes.len() as u64, length, "a body of another length than it said");
    Ok(bytes)
}

/// Writes all of `bytes` in chunks of sizes that fit nothing.
pub async fn write(upload: &mut dyn Upload, mut bytes: Bytes) -> Result<(), StoreError> {
    for size in [1, 65_521, 333_333, 3].into_iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        upload.write(bytes.split_to(size.min(bytes.len()))).await?;
    }
    Ok(())
}

/// `size` bytes in which no two runs of a few bytes are alike.
pub fn content(size: usize) -> Bytes {
    let mut state = size as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 8).to_le_bytes()[..7]);
    }
    bytes.truncate(size);
    bytes.into()
}
