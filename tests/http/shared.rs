//! What is told of blobs that all images share.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use longshore::access::{Access, Authenticator, FallbackRule, Grant, Grants, Profile, Rules, TextPattern, Verb, Who};
use longshore::buildkit::S3Name;
use longshore::oci::Digest;
use longshore::registry::{Layout, Patience, Registry, S3Clients};
use longshore::store::{MemoryStore, ObjectStore};
use serde_json::{Value, json};

use crate::broken_store::Operation::{Get, Head, List, Put};
use crate::broken_store::{BrokenStore, Operation};
use crate::client::Answer;
use crate::identities::{ALL, READ, as_user, grant, user};
use crate::stand::{PATIENCE, Stand, code, message};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

fn layout() -> Layout {
    Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() }
}

fn stand() -> Stand {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::default());
    let registry = Registry::new(Arc::clone(&store), Patience::with_bytes(PATIENCE)).with_layout(layout());
    Stand::of(registry, store, Access::Write)
}

#[tokio::test]
async fn a_blob_is_mounted_where_it_is_and_deleted_for_nobody() {
    let stand = stand();
    let digest = stand.push("org/app", "layer").await;

    let mounted = stand.ask(&format!("POST /v2/other/blobs/uploads/?mount={digest}&from=org/app")).await;
    let deleted = stand.ask(&format!("DELETE /v2/org/app/blobs/{digest}")).await;

    assert_eq!(mounted.status, StatusCode::CREATED, "{mounted:?}");
    assert_eq!((deleted.status, deleted.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"), "{deleted:?}");
    assert_eq!(code(&deleted), "UNSUPPORTED");
    assert_eq!(stand.keys().await, [format!("blobs/{digest}")]);
    assert_eq!(stand.ask(&format!("GET /v2/other/blobs/{digest}")).await.body, "layer");
}

/// A bucket that alice has `a/**` in, mallory `m/**`, ops everything; bob reads `m/**`.
struct Bucket(Arc<BrokenStore>);

/// A server over it.
struct Replica {
    stand: Stand,
    store: Arc<BrokenStore>,
}

impl Bucket {
    fn new() -> Self {
        Self(BrokenStore::around(Arc::new(MemoryStore::default())))
    }

    fn replica(&self) -> Replica {
        self.replica_of(Access::None, |registry| registry)
    }

    /// A server of what `arrange` makes of the registry, with what everybody may.
    fn replica_of(&self, everybody: Access, arrange: impl Fn(Registry) -> Registry) -> Replica {
        self.replica_with(everybody, arrange, Rules::default(), Vec::new())
    }

    /// The same, where pulls are answered by `rules`, and with `more` grants.
    fn replica_with(&self, everybody: Access, arrange: impl Fn(Registry) -> Registry, rules: Rules, more: Vec<Grant>) -> Replica {
        let Self(store) = self;
        let registry = Registry::new(Arc::clone(store) as _, Patience::with_bytes(PATIENCE)).with_layout(layout());
        let registry = Arc::new(arrange(registry));
        let profile = Profile::new("default".to_owned(), Arc::clone(&registry), everybody).with_rules(rules);
        let grants = vec![
            grant("alice", "a/**", "*", ALL),
            grant("mallory", "m/**", "*", ALL),
            grant("bob", "m/**", "*", READ),
            grant("ops", "**", "*", ALL),
        ];
        let grants = Grants::new([grants, more].concat());
        let authenticator = Authenticator::new(["alice", "mallory", "bob", "ops", "carol"].map(user).into());
        let stand = Stand::among(vec![profile], registry, Arc::clone(store) as _, grants, authenticator);
        Replica { stand, store: Arc::clone(store) }
    }

    /// Removes what says that blobs were sent, as a sweep does after a day.
    async fn sweep_claims(&self, replica: &Replica) {
        for key in replica.stand.keys().await.into_iter().filter(|key| key.contains("/_oci/claims/")) {
            self.0.delete(&key.parse().unwrap(), PATIENCE).await.unwrap();
        }
    }
}

impl Replica {
    async fn ask_with(&self, name: &str, line: &str, media_type: &str, body: impl Into<Bytes>) -> Answer {
        let body: Bytes = body.into();
        self.stand.send(as_user(name, line).header("content-type", media_type).body(body).unwrap()).await
    }

    async fn ask(&self, name: &str, line: &str) -> Answer {
        self.ask_with(name, line, IMAGE, "").await
    }

    async fn status(&self, name: &str, line: &str) -> u16 {
        self.ask(name, line).await.status.as_u16()
    }

    async fn push_blob(&self, name: &str, image: &str, content: &'static str) -> Digest {
        let digest = Digest::sha256(content.as_bytes());
        let pushed = self.ask_with(name, &format!("POST /v2/{image}/blobs/uploads/?digest={digest}"), IMAGE, content).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
        digest
    }

    async fn put(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let media_type = manifest["mediaType"].as_str().unwrap();
        self.ask_with(name, &format!("PUT /v2/{reference}"), media_type, manifest.to_string()).await
    }

    /// Pushes an image of one layer, as `t`; the digests of the layer and of the manifest.
    async fn push(&self, name: &str, image: &str, layer: &'static str) -> (Digest, String) {
        self.push_blob(name, image, "{}").await;
        let digest = self.push_blob(name, image, layer).await;
        let put = self.put(name, &format!("{image}/manifests/t"), &manifest(IMAGE_CONFIG, "{}", &[layer])).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        (digest, put.header("docker-content-digest").to_owned())
    }

    /// How many calls there were to the store, once nothing runs in the background.
    async fn calls(&self) -> usize {
        self.stand.registry.settle().await;
        self.store.all_calls()
    }

    fn calls_of(&self, operations: &[Operation]) -> usize {
        operations.iter().map(|operation| self.store.calls(*operation)).sum()
    }
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()).to_string(), "size": content.len()})
}

fn manifest(config_type: &str, config: &str, layers: &[&str]) -> Value {
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(GZIP, layer)).collect();
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config_type, config), "layers": layers})
}

/// What describes a cache of one step, whose result is `layer`.
pub fn cache_config(layer: &str) -> &'static str {
    let digest = |content: &str| Digest::sha256(content.as_bytes()).to_string();
    let step = json!({"digest": digest("step"), "inputs": [[{"link": 0}]], "layers": [{"layer": 0, "createdAt": "2026-11-22T04:02:41.5Z"}]});
    let config = json!({"layers": [{"blob": digest(layer), "parent": -1}], "records": [{"digest": digest("source")}, step]});
    Box::leak(config.to_string().into_boxed_str())
}

fn get(image: &str, digest: &Digest) -> String {
    format!("GET /v2/{image}/blobs/{digest}")
}

#[tokio::test]
async fn a_blob_is_there_for_those_whose_image_has_it_and_for_those_who_read_all() {
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let (layer, _) = replica.push("alice", "a/app", "layer").await;
    replica.push("mallory", "m/app", "another layer").await;

    for replica in [replica, bucket.replica()] {
        for (name, image, status) in [
            ("alice", "a/app", 200),
            ("alice", "a/other", 404),
            ("mallory", "m/app", 404),
            ("mallory", "m/other", 404),
            ("bob", "m/app", 404),
            ("ops", "a/app", 200),
            ("ops", "m/app", 200),
            ("ops", "other", 200),
        ] {
            for method in ["GET", "HEAD"] {
                let found = replica.status(name, &get(image, &layer).replace("GET", method)).await;
                assert_eq!(found, status, "{name} {method} {image}");
            }
        }
    }
}

#[tokio::test]
async fn what_another_image_has_is_told_as_what_nobody_has_and_costs_the_same() {
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let (theirs, _) = replica.push("alice", "a/app", "layer").await;
    replica.push("mallory", "m/app", "own layer").await;
    replica.ask("mallory", &get("m/app", &Digest::sha256(b"whatever"))).await;
    let nobodys = Digest::sha256(b"laier");
    let lines = |digest: &Digest, layer: &str| {
        let cache = manifest(CACHE_CONFIG, "{}", &[layer]);
        let image = manifest(IMAGE_CONFIG, "{}", &[layer]);
        let of_config = manifest(IMAGE_CONFIG, layer, &["own layer"]);
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(IMAGE, layer)]});
        let cache_index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(GZIP, layer), descriptor(CACHE_CONFIG, "{}")]});
        let blob = |method: &str| (format!("{method} /v2/m/app/blobs/{digest}"), String::new(), IMAGE);
        let put = |manifest: Value| {
            let media_type = if manifest["mediaType"] == INDEX { INDEX } else { IMAGE };
            ("PUT /v2/m/app/manifests/x".to_owned(), manifest.to_string(), media_type)
        };
        [
            blob("HEAD"),
            blob("GET"),
            (format!("POST /v2/m/other/blobs/uploads/?mount={digest}&from=m/app"), String::new(), IMAGE),
            (format!("POST /v2/m/app/blobs/uploads/?mount={digest}&from=a/app"), String::new(), IMAGE),
            (format!("POST /v2/m/app/blobs/uploads/?mount={digest}"), String::new(), IMAGE),
            put(cache),
            put(image),
            put(of_config),
            put(index),
            put(cache_index),
            ("GET /v2/m/app/manifests/x".to_owned(), String::new(), IMAGE),
            blob("GET"),
        ]
    };
    for (one, other) in lines(&theirs, "layer").into_iter().zip(lines(&nobodys, "laier")) {
        let before = replica.calls().await;
        let answer = replica.ask_with("mallory", &one.0, one.2, one.1).await;
        let between = replica.calls().await;
        let of_nothing = replica.ask_with("mallory", &other.0, other.2, other.1).await;

        let told = |answer: &Answer| {
            let body = String::from_utf8_lossy(&answer.body).replace(&theirs.to_string(), "D").replace(&nobodys.to_string(), "D");
            (answer.status, body)
        };
        assert_eq!(told(&answer), told(&of_nothing), "{}", one.0);
        assert_ne!(answer.status, StatusCode::OK, "{}", one.0);
        assert_ne!(answer.status, StatusCode::CREATED, "{}", one.0);
        assert_eq!(between - before, replica.calls().await - between, "calls of {}", one.0);
    }
}

// What is JSON of another type is kept as it is, and looked into for a cache when it is pulled.
#[tokio::test]
async fn a_manifest_that_can_be_read_in_two_ways_opens_nothing() {
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let config = cache_config("layer");
    replica.push("alice", "a/app", "layer").await;
    replica.push_blob("alice", "a/app", config).await;
    let opaque = "application/vnd.example.v1+json";
    // Her own config beside a layer that is not hers: whether that is there, the cache that is served would tell.
    let own = cache_config("laier");
    replica.push_blob("mallory", "m/own", config).await;
    replica.push_blob("mallory", "m/own", own).await;
    for (config, layer) in [(config, "layer"), (own, "laier")] {
        let mut cache = manifest(CACHE_CONFIG, config, &[layer]);
        cache["mediaType"] = opaque.into();
        cache["layers"][0]["annotations"] = json!({"containerd.io/uncompressed": Digest::sha256(b"diff").to_string()});
        assert_eq!(replica.put("mallory", "m/own/manifests/x", &cache).await.status, StatusCode::CREATED, "{layer}");
        let pull = as_user("mallory", "GET /v2/m/own/manifests/x").header("user-agent", "buildkit/v0.32.2").body("").unwrap();
        assert_eq!(replica.stand.send(pull).await.status, StatusCode::NOT_FOUND, "{layer}");
    }
    for (config, is_theirs) in [(config, true), ("{\"no\":\"bodys\"}", false)] {
        let mut cache = manifest(CACHE_CONFIG, config, &["layer"]);
        cache["mediaType"] = opaque.into();
        assert_eq!(replica.put("mallory", "m/app/manifests/x", &cache).await.status, StatusCode::CREATED, "{is_theirs}");
        for agent in ["crane", "buildkit/v0.32.2"] {
            let pull = as_user("mallory", "GET /v2/m/app/manifests/x").header("user-agent", agent).body("").unwrap();
            let pulled = replica.stand.send(pull).await;
            assert_eq!(pulled.status, StatusCode::NOT_FOUND, "{is_theirs} {agent}: {pulled:?}");
            let read = as_user("mallory", &get("m/app", &Digest::sha256(config.as_bytes()))).header("user-agent", agent);
            let read = replica.stand.send(read.body("").unwrap()).await;
            assert_eq!(read.status, StatusCode::NOT_FOUND, "{is_theirs} {agent}: {read:?}");
        }
    }
    // A layer that may not be distributed is named by anybody, and there for nobody by that.
    replica.push_blob("mallory", "m/app", "{}").await;
    let mut foreign = manifest(IMAGE_CONFIG, "{}", &["layer"]);
    foreign["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".into();
    assert_eq!(replica.put("mallory", "m/app/manifests/y", &foreign).await.status, StatusCode::CREATED);
    let layer = Digest::sha256(b"layer");
    for replica in [&replica, &bucket.replica()] {
        assert_eq!(replica.status("mallory", &get("m/app", &layer)).await, 404);
    }
}

#[tokio::test]
async fn a_push_is_told_the_truth_of_what_it_sent_on_every_replica() {
    let bucket = Bucket::new();
    let (one, other) = (bucket.replica(), bucket.replica());
    // One that has looked in vain looks once more.
    assert_eq!(other.status("alice", &get("a/app", &Digest::sha256(b"layer"))).await, 404);
    for content in ["{}", "layer"] {
        one.push_blob("alice", "a/app", content).await;
    }
    let layer = Digest::sha256(b"layer");

    for replica in [&one, &other] {
        assert_eq!(replica.status("alice", &format!("HEAD /v2/a/app/blobs/{layer}")).await, 200);
    }
    let mut pushed = other.put("alice", "a/app/manifests/t", &manifest(IMAGE_CONFIG, "{}", &["layer"])).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
    // One that knows nothing yet, and one from chunks.
    let opened = one.ask("alice", "POST /v2/a/app/blobs/uploads/").await;
    let sent = one.ask_with("alice", &format!("PATCH {}", opened.header("location")), IMAGE, "chunk").await;
    let chunk = Digest::sha256(b"chunk");
    let closed = one.ask("alice", &format!("PUT {}&digest={chunk}", sent.header("location"))).await;
    assert_eq!(closed.status, StatusCode::CREATED, "{closed:?}");
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": IMAGE, "digest": pushed.header("docker-content-digest"), "size": manifest(IMAGE_CONFIG, "{}", &["layer"]).to_string().len()},
    ]});
    for (reference, manifest) in [("u", manifest(CACHE_CONFIG, "{}", &["chunk"])), ("v", index)] {
        pushed = bucket.replica().put("alice", &format!("a/app/manifests/{reference}"), &manifest).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{reference}: {pushed:?}");
    }
    // What is named by a manifest needs nothing else to be shown.
    bucket.sweep_claims(&one).await;
    for digest in [layer, chunk] {
        let found = bucket.replica().ask("alice", &get("a/app", &digest)).await;
        assert_eq!(found.status, StatusCode::OK, "{digest}: {found:?} {:?}", one.stand.keys().await);
    }
}

#[tokio::test]
async fn what_may_be_read_is_mounted_and_is_the_other_images_then() {
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let (layer, _) = replica.push("alice", "a/app", "layer").await;
    let mount = format!("POST /v2/a/other/blobs/uploads/?mount={layer}&from=a/app");

    assert_eq!(replica.status("alice", &mount).await, 201);

    assert_eq!(bucket.replica().status("alice", &get("a/other", &layer)).await, 200);
}

#[tokio::test]
async fn who_reads_all_pays_for_nothing_and_who_does_not_pays_little() {
    // Whoever reads all, in whatever way: as it is without grants.
    for (everybody, name) in [(Access::None, "ops"), (Access::Read, "alice")] {
        let bucket = Bucket::new();
        let replica = bucket.replica_of(everybody, |registry| registry);
        let (layer, _) = replica.push(name, "a/app", "layer").await;
        replica.status(name, &get("a/app", &layer)).await;
        replica.status(name, &get("a/other", &layer)).await;
        assert_eq!(replica.store.calls_for(Put, "/_oci/claims/"), 0, "{name}");
        assert_eq!(
            replica.store.calls_for(List, "/_oci/claims/") + replica.store.calls_for(List, "/_oci/manifests/"),
            0,
            "{name}"
        );
    }
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let (layer, _) = replica.push("alice", "a/app", "layer").await;
    // A claim for each blob, and nothing else: what was pushed here needs no look.
    assert_eq!(replica.store.calls_for(Put, "/_oci/claims/"), 2);
    let look =
        |replica: &Replica| replica.store.calls_for(List, "/_oci/claims/") + replica.store.calls_for(List, "/_oci/manifests/");
    assert_eq!(look(&replica), 0);
    let before = replica.calls().await;
    assert_eq!(replica.status("alice", &get("a/app", &layer)).await, 200);
    assert_eq!(replica.calls().await - before, 1);
    // Of many new layers a push asks about it looks once.
    for number in 0..20 {
        let digest = Digest::sha256(format!("layer {number}").as_bytes());
        let head = as_user("alice", &format!("HEAD /v2/a/app/blobs/{digest}")).header("user-agent", "buildkit/v0.32.2");
        assert_eq!(
            replica.stand.send(head.header("accept", format!("{GZIP}, */*")).body("").unwrap()).await.status.as_u16(),
            404
        );
    }
    assert!(look(&replica) <= 2, "{}", look(&replica));
    // Who has pulled the manifest here needs no look at another replica.
    let other = bucket.replica();
    let before = look(&other);
    assert_eq!(other.status("alice", "GET /v2/a/app/manifests/t").await, 200);
    let reads = other.calls_of(&[Get, Head]);
    assert_eq!(other.status("alice", &get("a/app", &layer)).await, 200);
    assert_eq!((other.calls_of(&[Get, Head]) - reads, look(&other)), (1, before));
}

#[tokio::test]
async fn what_a_manifest_named_that_is_gone_is_gone_where_nothing_else_names_it() {
    let bucket = Bucket::new();
    let (one, other) = (bucket.replica(), bucket.replica());
    let (layer, digest) = one.push("alice", "a/app", "layer").await;
    let kept = one.push_blob("alice", "a/app", "kept").await;
    assert_eq!(
        one.put("alice", "a/app/manifests/kept", &manifest(IMAGE_CONFIG, "{}", &["kept"])).await.status,
        StatusCode::CREATED
    );
    bucket.sweep_claims(&one).await;
    for digest in [&layer, &kept] {
        assert_eq!(other.status("alice", &get("a/app", digest)).await, 200);
    }

    assert_eq!(one.status("alice", &format!("DELETE /v2/a/app/manifests/{digest}")).await, 202);

    assert_eq!((one.status("alice", &get("a/app", &layer)).await, one.status("alice", &get("a/app", &kept)).await), (404, 200));
    // Another replica learns it with its next look, which the first blob that it does not know takes.
    assert_eq!(other.status("alice", &get("a/app", &Digest::sha256(b"unknown"))).await, 404);
    assert_eq!(
        (other.status("alice", &get("a/app", &layer)).await, other.status("alice", &get("a/app", &kept)).await),
        (404, 200)
    );
}

#[tokio::test]
async fn a_layer_of_what_stands_in_is_there_for_those_who_may_read_that() {
    let bucket = Bucket::new();
    let stands_in = || FallbackRule {
        image: "m/**".parse().unwrap(),
        tag: "*".parse().unwrap(),
        to: vec![(Some("a/app".parse().unwrap()), "cache".parse().unwrap())],
        is_union: false,
    };
    let make = || {
        let rules = Rules { fallbacks: vec![stands_in()], ..Rules::default() };
        bucket.replica_with(
            Access::None,
            |registry| registry,
            rules,
            vec![grant("carol", "a/app", "*", READ), grant("carol", "m/**", "*", READ)],
        )
    };
    let replica = make();
    let config = cache_config("layer");
    let layer = replica.push_blob("alice", "a/app", "layer").await;
    let config_digest = replica.push_blob("alice", "a/app", config).await;
    let mut cache = manifest(CACHE_CONFIG, config, &["layer"]);
    cache["layers"][0]["annotations"] = json!({"containerd.io/uncompressed": Digest::sha256(b"diff").to_string()});
    let put = replica.put("alice", "a/app/manifests/cache", &cache).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    let import = async |replica: &Replica, name: &str, line: &str| {
        let request = as_user(name, line).header("user-agent", "buildkit/v0.32.2").body("").unwrap();
        replica.stand.send(request).await.status.as_u16()
    };
    let manifest = put.header("docker-content-digest");
    let (hidden, _) = replica.push("alice", "a/secret", "hidden").await;
    for replica in [&replica, &make()] {
        // She has just read it, and so it is in memory.
        assert_eq!(import(replica, "carol", "GET /v2/m/app/manifests/none").await, 200);
        for line in [format!("GET /v2/m/app/manifests/{manifest}"), get("m/app", &config_digest), get("m/app", &layer)] {
            assert_eq!(import(replica, "carol", &line).await, 200, "{line}");
            for name in ["mallory", "bob"] {
                assert_eq!(import(replica, name, &line).await, 404, "{name} {line}");
            }
        }
        assert_eq!(import(replica, "mallory", "GET /v2/m/app/manifests/none").await, 404);
        // Of the image that stands in, and no other.
        assert_eq!(import(replica, "carol", &get("m/app", &hidden)).await, 404);
    }
}

#[tokio::test]
async fn what_clients_of_s3_have_of_an_image_is_that_images() {
    let bucket = Bucket::new();
    let clients = S3Clients { name: "{image}".parse::<S3Name>().unwrap(), tag: "cache".parse().unwrap(), write: false };
    let make = || bucket.replica_of(Access::None, |registry| registry.with_s3_clients(Some(clients.clone())));
    let layer = Digest::sha256(b"layer");
    bucket.0.put(&format!("blobs/{layer}").parse().unwrap(), "layer".into(), "text/plain", PATIENCE).await.unwrap();
    let cache = json!({
        "layers": [{"blob": layer.to_string(), "parent": -1, "annotations": {"mediaType": GZIP, "diffID": Digest::sha256(b"diff").to_string(),
            "size": 5, "createdAt": "2026-11-22T04:02:41.5Z"}}],
        "records": [{"digest": Digest::sha256(b"source").to_string()}, {"digest": Digest::sha256(b"step").to_string(),
            "inputs": [[{"link": 0}]], "layers": [{"layer": 0, "createdAt": "2026-11-22T04:02:41.5Z"}]}],
    });
    bucket.0.put(&"manifests/a/app".parse().unwrap(), cache.to_string().into(), "application/json", PATIENCE).await.unwrap();
    let puller = make();

    let pulled = puller.ask("alice", "GET /v2/a/app/manifests/cache").await;

    assert_eq!(pulled.status, StatusCode::OK, "{pulled:?}");
    assert!(String::from_utf8_lossy(&pulled.body).contains(&layer.to_string()), "{pulled:?}");
    for replica in [puller, make()] {
        assert_eq!(replica.status("alice", &get("a/app", &layer)).await, 200);
        assert_eq!(replica.status("mallory", &get("m/app", &layer)).await, 404);
    }
}

#[tokio::test]
async fn what_everybody_may_read_by_a_grant_is_no_more_than_that() {
    let bucket = Bucket::new();
    let replica = bucket.replica();
    let (layer, _) = replica.push("alice", "a/app", "layer").await;
    let registry = Registry::new(Arc::clone(&bucket.0) as _, Patience::with_bytes(PATIENCE)).with_layout(layout());
    let registry = Arc::new(registry);
    let profile = Profile::new("default".to_owned(), Arc::clone(&registry), Access::None);
    let everybody = |image: &str, verbs: &[Verb]| Grant { who: Who::Anyone, ..grant("x", image, "*", verbs) };
    let grants = Grants::new(vec![everybody("open", READ), everybody("**", &[Verb::Write])]);
    assert!(TextPattern::on_image("**").unwrap().is_whatever());
    let stand = Stand::among(vec![profile], registry, Arc::clone(&bucket.0) as _, grants, Authenticator::default());

    let found = stand.ask(&get("open", &layer)).await;

    assert_eq!((found.status.as_u16(), code(&found).as_str()), (404, "BLOB_UNKNOWN"));
    assert_eq!(message(&found), format!("blob unknown: {layer}"));
}
