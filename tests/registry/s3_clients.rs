//! Caches that `type=s3` clients have in the same store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use longshore::oci::{Digest, MediaType, Reference};
use longshore::registry::{Registry, S3Clients};
use longshore::store::ObjectStore;
use serde_json::{Value, json};

use crate::broken_store::Operation::{Delete, Get, Head, List, Put};
use crate::broken_store::unavailable;
use crate::harbour::{Harbour, PATIENCE, Replica, digest};
use crate::shared::shared;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A replica that writes for such clients, who call a cache as its image.
fn writing(registry: Registry) -> Registry {
    let clients = S3Clients { name: "{image}".parse().unwrap(), tag: "cache".parse().unwrap(), write: true };
    registry.with_layout(shared()).with_s3_clients(Some(clients))
}

/// What `layer` unpacks to.
fn unpacked(layer: &str) -> String {
    digest(&format!("unpacked {layer}")).to_string()
}

const MADE: &str = "2026-11-22T04:02:41.344977119Z";

/// Steps, each of which made one of `layers` on top of those before it.
fn steps(layers: &[&str]) -> Vec<Value> {
    let step = |at: usize, layer: &str| {
        let inputs = if at == 0 { json!([]) } else { json!([[{"link": at - 1}]]) };
        json!({"layers": [{"layer": at, "createdAt": MADE}], "digest": digest(&format!("step {layer}")).to_string(), "inputs": inputs})
    };
    layers.iter().enumerate().map(|(at, layer)| step(at, layer)).collect()
}

/// The cache config of those steps, as a registry has it.
fn config(layers: &[&str]) -> String {
    let chain = |(at, layer): (usize, &&str)| json!({"blob": digest(layer).to_string(), "parent": at as i64 - 1});
    let layers_of = layers.iter().enumerate().map(chain).collect::<Vec<_>>();
    json!({"layers": layers_of, "records": steps(layers)}).to_string()
}

/// The same as `type=s3` has it.
fn s3_form(layers: &[&str]) -> Value {
    let chain = |(at, layer): (usize, &&str)| {
        json!({"blob": digest(layer).to_string(), "parent": at as i64 - 1, "annotations":
            {"mediaType": GZIP, "diffID": unpacked(layer), "size": layer.len(), "createdAt": MADE}})
    };
    json!({"layers": layers.iter().enumerate().map(chain).collect::<Vec<_>>(), "records": steps(layers)})
}

/// Pushes the cache of `layers` by `tag`; the digest of its manifest.
async fn push_cache(replica: &Replica, tag: &str, layers: &[&'static str]) -> Digest {
    for layer in layers {
        replica.push(layer).await;
    }
    let config: &'static str = config(layers).leak();
    replica.push(config).await;
    write(replica, tag, &manifest(layers)).await
}

fn manifest(layers: &[&str]) -> String {
    let descriptor = |layer: &&str| {
        json!({"mediaType": GZIP, "digest": digest(layer).to_string(), "size": layer.len(), "annotations":
            {"containerd.io/uncompressed": unpacked(layer), "buildkit/createdat": MADE}})
    };
    let config = config(layers);
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": MediaType::CACHE_CONFIG, "digest": digest(&config).to_string(), "size": config.len()},
        "layers": layers.iter().map(descriptor).collect::<Vec<_>>(),
    })
    .to_string()
}

async fn write(replica: &Replica, tag: &str, manifest: &str) -> Digest {
    let media_type: MediaType = MediaType::OCI_MANIFEST.parse().unwrap();
    let bytes = Bytes::from(manifest.to_owned());
    replica.app.write_manifest(&tag.parse().unwrap(), &[], media_type, bytes).await.unwrap().digest
}

/// What is at `key`, `None` when nothing is.
async fn stored(harbour: &Harbour, key: &str) -> Option<Value> {
    let object = harbour.store.get(&key.parse().unwrap(), None, PATIENCE.bytes).await.unwrap()?;
    let bytes = object.body.try_collect::<Vec<_>>().await.unwrap().concat();
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// The form of `layers` that was made of `manifest`.
fn marked(layers: &[&str], manifest: Digest) -> Value {
    let mut form = s3_form(layers);
    form["longshore"] = manifest.to_string().into();
    // What BuildKit leaves out where it says nothing.
    for layer in form["layers"].as_array_mut().unwrap() {
        let is_first = layer["parent"] == 0;
        if is_first {
            layer.as_object_mut().unwrap().remove("parent");
        }
    }
    form["records"][0].as_object_mut().unwrap().remove("inputs");
    form
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_pushed_is_there_for_type_s3_when_the_push_is_over() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);

    let pushed = push_cache(&one, "cache", &["base", "top"]).await;

    let written = stored(&harbour, "manifests/app").await.unwrap();
    assert_eq!(sorted(written), sorted(marked(&["base", "top"], pushed)));
}

/// `form` with its layers and records in the order of their text.
fn sorted(mut form: Value) -> Value {
    for list in ["layers", "records"] {
        form[list].as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    form
}

#[tokio::test(start_paused = true)]
async fn only_caches_are_written_under_the_tag_that_is_theirs_and_only_where_that_is_wanted() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    push_cache(&one, "other", &["base"]).await;
    one.push_image("cache", &["base"]).await.unwrap();
    assert_eq!(stored(&harbour, "manifests/app").await, None);

    let silent = harbour.arranged(|registry| {
        let clients = S3Clients { name: "{image}".parse().unwrap(), tag: "cache".parse().unwrap(), write: false };
        registry.with_layout(shared()).with_s3_clients(Some(clients))
    });
    push_cache(&silent, "cache", &["base"]).await;

    assert_eq!(stored(&harbour, "manifests/app").await, None);
}

#[tokio::test(start_paused = true)]
async fn each_tag_is_a_name_of_its_own_beside_the_blobs_of_its_image() {
    let harbour = Harbour::new();
    let one = harbour.arranged(|registry| {
        registry.with_s3_clients(Some(S3Clients { name: "{tag}".parse().unwrap(), tag: "x".parse().unwrap(), write: true }))
    });

    let (first, second) = (push_cache(&one, "cache", &["base"]).await, push_cache(&one, "main", &["other"]).await);

    assert_eq!(stored(&harbour, "app/manifests/cache").await, Some(marked(&["base"], first)));
    assert_eq!(stored(&harbour, "app/manifests/main").await, Some(marked(&["other"], second)));
}

#[tokio::test(start_paused = true)]
async fn it_costs_three_requests_and_none_where_nobody_wants_it() {
    let harbour = Harbour::new();
    let cost = async |replica: &Replica| {
        // Marks are written once.
        push_cache(replica, "cache", &["base"]).await;
        replica.registry.settle().await;
        let before = harbour.calls(&[Get, Head, List, Put]);
        push_cache(replica, "cache", &["base"]).await;
        replica.registry.settle().await;
        harbour.calls(&[Get, Head, List, Put]) - before
    };
    let plain = harbour.arranged(|registry| registry.with_layout(shared()));

    let without = cost(&plain).await;

    assert_eq!(cost(&harbour.arranged(writing)).await, without + 3);
}

#[tokio::test(start_paused = true)]
async fn whatever_keeps_it_from_being_written_the_push_succeeds() {
    let fail = |harbour: &Harbour| {
        harbour.store.when(Put).key("manifests/app").fail(unavailable);
        harbour.store.when(Get).key("blobs/").fail(unavailable);
    };
    let hang = |harbour: &Harbour| harbour.store.when(Put).key("manifests/app").hang();
    for strike in [&fail as &dyn Fn(&Harbour), &hang] {
        let harbour = Harbour::new();
        let one = harbour.arranged(writing);
        strike(&harbour);
        let began = tokio::time::Instant::now();

        let pushed = push_cache(&one, "cache", &["base"]).await;

        assert!(began.elapsed() <= PATIENCE.push, "{:?}", began.elapsed());
        assert_eq!(tagged(&one).await, Some(pushed));
        assert_eq!(stored(&harbour, "manifests/app").await, None);
    }
}

/// What the tag points to as it was pushed.
async fn tagged(replica: &Replica) -> Option<Digest> {
    let asker = longshore::registry::Asker::Push;
    Some(replica.app.stat_manifest(&"cache".parse().unwrap(), asker).await.unwrap()?.digest)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_translated_is_not_written() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    push_cache(&one, "cache", &["base"]).await;
    let before = stored(&harbour, "manifests/app").await;

    // Its config is not there.
    write(&one, "cache", &manifest(&["lost"])).await;
    // Its config is none.
    one.push("no config").await;
    let mut nonsense: Value = serde_json::from_str(&manifest(&["base"])).unwrap();
    nonsense["config"]["digest"] = digest("no config").to_string().into();
    write(&one, "cache", &nonsense.to_string()).await;
    // Nothing can be made of it: no layer says what it unpacks to.
    let bare = manifest(&["base"]).replace("containerd.io/uncompressed", "x");
    write(&one, "cache", &bare).await;

    assert_eq!(stored(&harbour, "manifests/app").await, before);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_move_a_tag_the_one_that_is_late_writes_what_the_tag_is() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.arranged(writing), harbour.arranged(writing));
    let late = harbour.store.when(Put).key("manifests/app").nth(1).pause();

    let first = push_cache(&one, "cache", &["first"]);
    let (_, last) = tokio::join!(first, async {
        late.arrived().await;
        let last = push_cache(&other, "cache", &["last"]).await;
        late.release();
        last
    });
    one.registry.settle().await;

    assert_eq!(tagged(&one).await, Some(last));
    assert_eq!(stored(&harbour, "manifests/app").await, Some(marked(&["last"], last)));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_for_them_goes_with_the_tag_and_what_they_wrote_stays() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    for by_digest in [false, true] {
        let pushed = push_cache(&one, "cache", &["base"]).await;
        let reference = if by_digest { Reference::Digest(pushed) } else { "cache".parse().unwrap() };
        assert!(one.app.delete_manifest(&reference).await.unwrap());
        assert_eq!(stored(&harbour, "manifests/app").await, None, "{reference}");
    }

    push_cache(&one, "cache", &["base"]).await;
    put(&harbour, "manifests/app", &s3_form(&["theirs"]).to_string()).await;
    assert!(one.app.delete_manifest(&"cache".parse().unwrap()).await.unwrap());

    assert_eq!(stored(&harbour, "manifests/app").await, Some(s3_form(&["theirs"])));
    assert_eq!(harbour.store.calls_for(Delete, "manifests/app"), 2);
}

async fn put(harbour: &Harbour, key: &str, text: &str) {
    harbour.store.put(&key.parse().unwrap(), text.to_owned().into(), "application/json", PATIENCE.bytes).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
}
