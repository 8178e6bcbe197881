//! Pushes and pulls for a while, through a store that fails in every way, each time over before patience is.
//!
//! `LONGSHORE_TEST_SOAK` says for how many seconds, and has the server tell what it sees; `LONGSHORE_TEST_SOAK_SEED`
//! says by what chance. A failure tells its seed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use longshore::access::Access;
use longshore::credentials::Surroundings;
use longshore::metrics::ProfileMetrics;
use longshore::oci::{Digest, MediaType};
use longshore::registry::Patience;
use longshore::store::{MemoryBudget, MemoryStore, ObjectStore, S3Store};
use serde_json::json;

use crate::client;
use crate::stand::{self, Stand};
use crate::support::door::Door;
use crate::support::strict::{Kind, Strict};
use crate::support::weather::{self, Climate, Weather};

/// How long the store is waited for.
const PATIENCE: Duration = Duration::from_secs(18);

const CLIMATE: Climate =
    Climate { one_in: 8, longest: Duration::from_secs(6), limit: Duration::from_secs(5), storm: Duration::from_secs(3) };

/// How many clients there are.
const CLIENTS: u64 = 8;

/// How many images there are at a time; older ones are deleted.
const IMAGES: usize = 24;

/// How many blobs of one image a client sends or fetches at once, as BuildKit does.
const AT_ONCE: usize = 4;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The sizes of the layers that all images share; the last two are sent in parts.
const SHARED: [usize; 5] = [1, 100 * KIB, 3 * MIB, 17 * MIB, 33 * MIB];

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes by chance, which are made anew whenever they are wanted.
#[derive(Clone, Debug)]
struct Blob {
    seed: u64,
    size: usize,
    digest: Digest,
}

/// What one client pushes at once.
#[derive(Debug)]
struct Image {
    tag: String,
    media_type: &'static str,
    manifest: String,
    blobs: Vec<Blob>,
    own: usize,
}

struct Soak {
    stand: Stand,
    weather: Arc<Weather>,
    seed: u64,
    ends: Instant,
    shared: Vec<Blob>,
    /// What was acknowledged, and not yet deleted.
    acknowledged: Mutex<Vec<Arc<Image>>>,
    /// What is in the bucket.
    objects: MemoryStore,
    _door: Door,
    _bucket: Strict,
}

impl Blob {
    fn of(seed: u64, size: usize) -> Self {
        let digest = Digest::sha256(&random(seed, size));
        Self { seed, size, digest }
    }

    fn bytes(&self) -> Bytes {
        random(self.seed, self.size)
    }

    /// Some bytes of it.
    fn stretch(&self, chance: &mut Rng) -> RangeInclusive<usize> {
        let first = chance.usize(0..self.size);
        first..=chance.usize(first..self.size)
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": self.digest.to_string(), "size": self.size})
    }
}

fn random(seed: u64, size: usize) -> Bytes {
    let mut bytes = vec![0; size];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes.into()
}

impl Image {
    /// One that nobody has made before, with some of the layers that are `shared`.
    fn new(tag: String, chance: &mut Rng, shared: &[Blob]) -> Self {
        let mut blobs: Vec<_> = (0..chance.usize(2..5))
            .map(|_| {
                let most = [KIB, 200 * KIB, 200 * KIB, 2 * MIB, 2 * MIB, 20 * MIB][chance.usize(0..6)];
                Blob::of(chance.u64(..), chance.usize(1..=most))
            })
            .collect();
        let own = blobs.len();
        blobs.extend(shared.iter().filter(|_| chance.u8(0..3) == 0).cloned());
        let (config, layers) = blobs.split_first().unwrap();
        let config_type = [MediaType::CACHE_CONFIG, "application/vnd.oci.image.config.v1+json"][chance.usize(0..2)];
        let layers: Vec<_> = layers.iter().map(|layer| layer.descriptor(LAYER)).collect();
        let media_type = MediaType::OCI_MANIFEST;
        let manifest =
            json!({"schemaVersion": 2, "mediaType": media_type, "config": config.descriptor(config_type), "layers": layers});
        Self { tag, media_type, manifest: manifest.to_string(), blobs, own }
    }

    fn digest(&self) -> Digest {
        Digest::sha256(self.manifest.as_bytes())
    }
}

impl Soak {
    async fn begin(seed: u64, length: Duration) -> Arc<Self> {
        let objects = MemoryStore::default();
        let bucket = Strict::over(Arc::new(objects.clone()), Kind::Aws, Duration::ZERO);
        let door = Door::open(bucket.address);
        let memory = Arc::new(MemoryBudget::new(64 * MIB as u64)).share();
        let store = S3Store::new(bucket.settings(door.address), &Surroundings::default(), memory, ProfileMetrics::default())
            .await
            .unwrap();
        let stand = Stand::with(Arc::new(store), Access::Write, Patience::with_bytes(PATIENCE));
        let shared = SHARED.iter().map(|&size| Blob::of(seed, size)).collect();
        let weather = Weather::at(&door, seed, CLIMATE);
        let ends = Instant::now() + length;
        Arc::new(Self {
            stand,
            weather,
            seed,
            ends,
            shared,
            acknowledged: Mutex::default(),
            objects,
            _door: door,
            _bucket: bucket,
        })
    }

    fn acknowledged(&self) -> MutexGuard<'_, Vec<Arc<Image>>> {
        self.acknowledged.lock().unwrap()
    }

    /// All that one client does.
    async fn visit(&self, client: u64) {
        let mut chance = Rng::with_seed(self.seed.wrapping_add(client));
        for round in 0.. {
            if Instant::now() >= self.ends {
                return;
            }
            let image = Image::new(format!("{client}-{round}"), &mut chance, &self.shared);
            self.push(&image, &mut chance).await;
            self.acknowledged().push(Arc::new(image));
            let pulled = {
                let acknowledged = self.acknowledged();
                Arc::clone(&acknowledged[chance.usize(0..acknowledged.len())])
            };
            self.pull(&pulled, &mut chance).await;
            drop(pulled);
            self.make_room().await;
        }
    }

    async fn push(&self, image: &Image, chance: &mut Rng) {
        let blobs: Vec<_> = image.blobs.iter().map(|blob| (blob, chance.fork())).collect();
        stream::iter(blobs).for_each_concurrent(AT_ONCE, |(blob, chance)| self.push_blob(blob, chance)).await;
        let path = format!("/v2/app/manifests/{}", image.tag);
        let put = self.stand.put_manifest(&path, image.media_type, image.manifest.clone()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}: {put:?}", image.tag);
    }

    /// Pushes a blob: mostly as BuildKit does, sometimes without a question, sometimes in chunks.
    async fn push_blob(&self, blob: &Blob, mut chance: Rng) {
        if chance.u8(0..4) > 0 && self.has_for_push(blob).await {
            return;
        }
        let (mut location, mut left) = (self.stand.open_upload("app").await, blob.bytes());
        for chunks in (1..=[0, 0, 0, 1, 1, 2][chance.usize(0..6)]).rev() {
            let chunk = left.split_to(left.len() / chunks);
            if !chunk.is_empty() {
                let patch = self.stand.send(Request::patch(&location).body(chunk).unwrap()).await;
                assert_eq!(patch.status, StatusCode::ACCEPTED, "{}: {patch:?}", blob.digest);
                location = patch.header("location").to_owned();
            }
        }
        let put = self.stand.put(&location, &blob.digest, left).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}: {put:?}", blob.digest);
    }

    async fn has_for_push(&self, blob: &Blob) -> bool {
        let path = format!("/v2/app/blobs/{}", blob.digest);
        let head = client::ask_as_buildkit(self.stand.address, "HEAD", &path, &format!("{LAYER}, */*")).await;
        stand::check(&head, true);
        assert!([StatusCode::OK, StatusCode::NOT_FOUND].contains(&head.status), "{}: {head:?}", blob.digest);
        head.status == StatusCode::OK
    }

    async fn pull(&self, image: &Image, chance: &mut Rng) {
        self.pull_manifests(image).await;
        let blobs: Vec<_> = image.blobs.iter().map(|blob| (blob, chance.bool().then(|| blob.stretch(chance)))).collect();
        stream::iter(blobs).for_each_concurrent(AT_ONCE, |(blob, stretch)| self.pull_blob(blob, stretch)).await;
    }

    async fn pull_manifests(&self, image: &Image) {
        for reference in [&image.tag, &image.digest().to_string()] {
            self.pull_manifest(image, reference).await;
        }
    }

    /// Pulls a manifest, as often as it takes: an import that gets none within 2 s builds without it.
    async fn pull_manifest(&self, image: &Image, reference: &str) {
        let began = Instant::now();
        loop {
            let get = self.stand.ask(&format!("GET /v2/app/manifests/{reference}")).await;
            if get.status == StatusCode::OK {
                assert_eq!(get.body, image.manifest, "{reference}");
                return;
            }
            assert_eq!(get.status, StatusCode::SERVICE_UNAVAILABLE, "{reference}: {get:?}");
            assert!(began.elapsed() < PATIENCE, "{reference}: never");
        }
    }

    /// Pulls a blob, or what of it lies in `stretch`.
    async fn pull_blob(&self, blob: &Blob, stretch: Option<RangeInclusive<usize>>) {
        let (get, bytes) = (Request::get(format!("/v2/app/blobs/{}", blob.digest)), blob.bytes());
        let (get, status, expected) = match stretch {
            None => (get, StatusCode::OK, bytes),
            Some(part) => {
                let range = format!("bytes={}-{}", part.start(), part.end());
                (get.header("range", range), StatusCode::PARTIAL_CONTENT, bytes.slice(part))
            }
        };
        let get = self.stand.send(get.body("").unwrap()).await;
        assert!(get.status == status && get.body == expected, "{}: {}", blob.digest, get.status);
    }

    /// Deletes what is oldest, if there is too much; not while somebody pulls it.
    async fn make_room(&self) {
        let oldest = {
            let mut acknowledged = self.acknowledged();
            let unused = acknowledged.iter().position(|image| Arc::strong_count(image) == 1);
            unused.filter(|_| acknowledged.len() > IMAGES).map(|oldest| acknowledged.remove(oldest))
        };
        let Some(image) = oldest else { return };
        let mut gone = vec![format!("manifests/{}", image.digest())];
        gone.extend(image.blobs[..image.own].iter().map(|blob| format!("blobs/{}", blob.digest)));
        for path in gone {
            let delete = self.stand.ask(&format!("DELETE /v2/app/{path}")).await;
            assert_eq!(delete.status, StatusCode::ACCEPTED, "{path}: {delete:?}");
        }
    }

    /// Asserts that all is there that was acknowledged, for clients and in the bucket.
    async fn assert_kept(&self) {
        let images = self.acknowledged().clone();
        let blobs: BTreeMap<_, _> =
            images.iter().flat_map(|image| &image.blobs).map(|blob| (blob.digest.to_string(), blob)).collect();
        for image in &images {
            self.pull_manifests(image).await;
        }
        stream::iter(blobs.into_values())
            .for_each_concurrent(AT_ONCE, async |blob| {
                self.pull_blob(blob, None).await;
                let key = format!("app/blobs/{}", blob.digest).parse().unwrap();
                let object = self.objects.get(&key, None, PATIENCE).await.unwrap().expect("acknowledged");
                let stored: Vec<Bytes> = object.body.try_collect().await.unwrap();
                assert!(stored.concat() == blob.bytes(), "wrong bytes at {key}");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_for_less_than_patience_loses_nothing_and_fails_nobody() {
    let (length, seed) = (weather::number("LONGSHORE_TEST_SOAK"), weather::seed());
    if length.is_some() {
        // Somebody is looking. Otherwise it would be told between other tests.
        let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).try_init();
    }
    let soak = Soak::begin(seed, Duration::from_secs(length.unwrap_or(12))).await;

    let visits = (0..CLIENTS).map(|client| {
        let soak = Arc::clone(&soak);
        tokio::spawn(async move { soak.visit(client).await })
    });
    let failed = join_all(visits).await.into_iter().filter_map(Result::err).count();
    soak.weather.end();

    println!("{} images at the end; {}", soak.acknowledged().len(), soak.weather);
    assert!(failed == 0, "{failed} of {CLIENTS} failed: LONGSHORE_TEST_SOAK_SEED={seed}; {:?}", soak.weather);
    assert!(soak.weather.struck() > 50, "the weather was too good: {}", soak.weather);
    soak.assert_kept().await;
}
