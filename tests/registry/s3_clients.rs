//! Caches that `type=s3` clients have in the same store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use longshore::oci::{Digest, MediaType, Reference};
use longshore::registry::{Answering, Asker, Fallback, FoundByS3, Kind, Registry, RegistryError, S3Clients, Target};
use longshore::store::ObjectStore;
use serde_json::{Value, json};

use crate::broken_store::Operation::{Delete, Get, Head, List, Put};
use crate::broken_store::unavailable;
use crate::caches::{import, import_by, read_blob};
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
async fn it_costs_two_requests_and_none_where_nobody_wants_it() {
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

    assert_eq!(cost(&harbour.arranged(writing)).await, without + 2);
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
    Some(replica.app.stat_manifest(&"cache".parse().unwrap(), Asker::Push).await.unwrap()?.digest)
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
async fn what_is_written_for_them_while_its_tag_is_removed_goes_with_it() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.arranged(writing), harbour.arranged(writing));
    let late = harbour.store.when(Put).key("manifests/app").nth(1).pause();

    tokio::join!(push_cache(&one, "cache", &["layer"]), async {
        late.arrived().await;
        assert!(other.app.delete_manifest(&"cache".parse().unwrap()).await.unwrap());
        late.release();
    });
    one.registry.settle().await;

    assert_eq!((tagged(&one).await, stored(&harbour, "manifests/app").await), (None, None));
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

/// Puts the cache of `layers` there as a `type=s3` client does.
async fn export(harbour: &Harbour, layers: &[&str]) {
    for layer in layers {
        put(harbour, &format!("blobs/{}", digest(layer)), layer).await;
    }
    put(harbour, "manifests/app", &s3_form(layers).to_string()).await;
}

/// The steps that made `layers`.
fn names(layers: &[&str]) -> Vec<Digest> {
    let mut names: Vec<_> = layers.iter().map(|layer| digest(&format!("step {layer}"))).collect();
    names.sort();
    names
}

/// The steps of which an import of `tag` has all layers, `None` when there is no such cache.
async fn imported(replica: &Replica, tag: &str) -> Option<Vec<Digest>> {
    Some(import(&replica.app, tag).await?.names().into_iter().collect())
}

#[tokio::test(start_paused = true)]
async fn what_a_client_exported_is_imported_as_a_tag_on_any_replica_and_nothing_is_copied() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.arranged(writing), harbour.arranged(writing));
    export(&harbour, &["base", "top"]).await;
    let before = harbour.keys().await;

    for _ in 0..3 {
        let found = import_by(&one.app, &other.app, "cache").await.unwrap();

        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), names(&["base", "top"]));
        assert_eq!(found.steps[&digest("step top")], [digest("base"), digest("top")]);
    }
    for replica in [&one, &other] {
        assert_eq!(read_blob(&replica.app, &digest("top")).await.unwrap(), "top");
        replica.registry.settle().await;
    }
    let (made, kept): (Vec<_>, Vec<_>) = harbour.keys().await.into_iter().partition(|key| key.contains("/_oci/derived/"));
    assert_eq!((made.len(), kept), (2, before));
}

#[tokio::test(start_paused = true)]
async fn of_a_push_and_an_export_the_last_one_counts() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.arranged(writing), harbour.arranged(writing));
    for round in 0..2 {
        push_cache(&one, "cache", &["ours"]).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(imported(&one, "cache").await, Some(names(&["ours"])), "{round}");
        assert_eq!(imported(&other, "cache").await, Some(names(&["ours"])), "{round}");

        export(&harbour, &["theirs"]).await;
        assert_eq!(imported(&one, "cache").await, Some(names(&["theirs"])), "{round}");
        assert_eq!(imported(&other, "cache").await, Some(names(&["theirs"])), "{round}");
    }
    assert_eq!(imported(&one, "other").await, None, "no tag of theirs");
}

#[tokio::test(start_paused = true)]
async fn an_export_that_a_push_did_not_write_over_is_older_than_the_push() {
    let harbour = Harbour::new();
    let silent = harbour.arranged(|registry| {
        let clients = S3Clients { name: "{image}".parse().unwrap(), tag: "cache".parse().unwrap(), write: false };
        registry.with_layout(shared()).with_s3_clients(Some(clients))
    });
    export(&harbour, &["theirs"]).await;
    assert_eq!(imported(&silent, "cache").await, Some(names(&["theirs"])));

    push_cache(&silent, "cache", &["ours"]).await;

    assert_eq!(imported(&silent, "cache").await, Some(names(&["ours"])));
}

// What was written here for them says so, and is no second tag: where the tag is gone it is gone.
#[tokio::test(start_paused = true)]
async fn what_was_written_for_clients_is_never_taken_for_theirs() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    push_cache(&one, "cache", &["ours"]).await;
    let form = stored(&harbour, "manifests/app").await.unwrap();
    assert!(one.app.delete_manifest(&"cache".parse().unwrap()).await.unwrap());
    put(&harbour, "manifests/app", &form.to_string()).await;

    assert_eq!(imported(&harbour.arranged(writing), "cache").await, None);

    let digest = push_cache(&one, "cache", &["newer"]).await;
    put(&harbour, "manifests/app", &form.to_string()).await;
    let found = import(&harbour.arranged(writing).app, "cache").await.unwrap();
    assert_eq!(found.info.digest, digest, "as it was pushed");
}

#[tokio::test(start_paused = true)]
async fn a_push_is_told_only_of_what_was_pushed() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    export(&harbour, &["theirs"]).await;
    assert_eq!(tagged(&one).await, None);

    let pushed = push_cache(&one, "cache", &["ours"]).await;
    export(&harbour, &["theirs"]).await;

    assert_eq!(tagged(&one).await, Some(pushed));
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_theirs_that_is_gone_is_left_out() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    export(&harbour, &["base", "top"]).await;
    let top = format!("blobs/{}", digest("top")).parse().unwrap();
    harbour.store.delete(&top, PATIENCE.bytes).await.unwrap();

    assert_eq!(imported(&one, "cache").await, Some(names(&["base"])));
}

#[tokio::test(start_paused = true)]
async fn a_layer_without_what_it_unpacks_to_is_left_out_and_the_others_stay() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    export(&harbour, &["base", "middle", "top"]).await;
    let mut form = s3_form(&["base", "middle", "top"]);
    form["layers"][2]["annotations"].as_object_mut().unwrap().remove("diffID");
    put(&harbour, "manifests/app", &form.to_string()).await;

    assert_eq!(imported(&one, "cache").await, Some(names(&["base", "middle"])));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_cache_is_left_out_and_looked_at_once() {
    let huge = format!("{{\"layers\": [{}]}}", " ".repeat(9 << 20));
    let mut nothing_left = s3_form(&["theirs"]);
    nothing_left["layers"][0]["annotations"] = Value::Null;
    let mut wrong = s3_form(&["theirs"]);
    wrong["records"][0]["layers"][0]["layer"] = json!(9);
    for text in ["", "[]", "{}", "null", "not JSON", &huge, &nothing_left.to_string(), &wrong.to_string()] {
        let harbour = Harbour::new();
        let one = harbour.arranged(writing);
        put(&harbour, "manifests/app", text).await;
        assert_eq!(imported(&one, "cache").await, None, "{text:.40}");

        push_cache(&one, "cache", &["ours"]).await;
        put(&harbour, "manifests/app", text).await;
        assert_eq!(imported(&one, "cache").await, Some(names(&["ours"])), "{text:.40}");
        let read = harbour.store.calls_for(Get, "manifests/app");
        assert_eq!(imported(&one, "cache").await, Some(names(&["ours"])), "{text:.40}");
        assert_eq!(harbour.store.calls_for(Get, "manifests/app"), read, "{text:.40}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_there_to_be_run_is_what_was_pushed() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    one.push("layer").await;
    let pushed = one.push_image("cache", &["layer"]).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    export(&harbour, &["theirs"]).await;

    for asker in [Asker::Import, Asker::Pull] {
        let found = one.app.stat_manifest(&"cache".parse().unwrap(), asker).await.unwrap().unwrap();
        assert_eq!(found.digest, pushed, "{asker:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn where_images_are_all_there_is_nobody_looks_for_caches_and_none_is_written() {
    let harbour = Harbour::new();
    let mut one = harbour.arranged(writing);
    export(&harbour, &["theirs"]).await;
    one.app = one.app.answering(Answering { kind: Some(Kind::Image), ..Answering::default() });

    assert!(import(&one.app, "cache").await.is_none());
    push_cache(&one, "cache", &["ours"]).await;

    assert!(import(&one.app, "cache").await.is_some());
    assert_eq!(tags(&one, 10).await, ["cache"]);
    assert_eq!(harbour.store.calls_for(Get, "manifests/app"), 0);
    assert_eq!(stored(&harbour, "manifests/app").await, Some(s3_form(&["theirs"])));
}

#[tokio::test(start_paused = true)]
async fn what_clients_have_stands_in_for_an_absent_tag() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    export(&harbour, &["theirs"]).await;
    let to = vec![Target { repository: None, tag: "cache".parse().unwrap() }];
    let fallbacks = vec![Fallback { tag: "*".parse().unwrap(), to, is_union: false }];

    let branch = (*one.app).clone().answering(Answering { fallbacks, ..Answering::default() });

    assert_eq!(import(&branch, "branch").await.unwrap().names().into_iter().collect::<Vec<_>>(), names(&["theirs"]));
}

#[tokio::test(start_paused = true)]
async fn a_healthy_tag_costs_one_request_more_and_in_the_same_round() {
    let harbour = Harbour::new();
    let pushing = harbour.arranged(writing);
    push_cache(&pushing, "cache", &["ours"]).await;
    pushing.registry.settle().await;
    let questions = [Get, Head, List];
    let plain = harbour.arranged(|registry| registry.with_layout(shared()));
    let one = harbour.arranged(writing);
    let cost = async |replica: &Replica| {
        let before = harbour.calls(&questions);
        assert_eq!(imported(replica, "cache").await, Some(names(&["ours"])));
        harbour.calls(&questions) - before
    };

    let (without, with) = (cost(&plain).await, cost(&one).await);

    assert_eq!((with, with <= 5), (without + 1, true), "{without}");
    let (read, without) = (harbour.store.calls_for(Get, "manifests/app"), cost(&plain).await);
    assert_eq!((cost(&one).await, without), (3, 2));
    assert_eq!(harbour.store.calls_for(Get, "manifests/app"), read, "it is not read again");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_of_them_keeps_nobody_from_what_was_pushed() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    harbour.store.when(Get).key("manifests/app").fail(unavailable);
    let tag = "cache".parse().unwrap();

    let unknown = one.app.stat_manifest(&tag, Asker::Import).await;
    assert!(matches!(unknown, Err(RegistryError::Store(_))), "{unknown:?}");
    push_cache(&one, "cache", &["ours"]).await;
    assert_eq!(imported(&one, "cache").await, Some(names(&["ours"])));

    harbour.store.mend();
    harbour.store.when(Get).key("manifests/app").hang();
    let began = tokio::time::Instant::now();
    assert_eq!(imported(&one, "cache").await, Some(names(&["ours"])));
    assert!(began.elapsed() < PATIENCE.pull, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn wrong_bytes_that_a_client_left_are_not_served_whole() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    export(&harbour, &["theirs"]).await;
    put(&harbour, &format!("blobs/{}", digest("theirs")), "th3irs").await;

    let blob = one.app.read_blob(&digest("theirs"), None, Asker::Import).await.unwrap().unwrap();

    assert!(blob.body.try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_is_read_of_a_cache_is_not_read_at_all() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    put(&harbour, "manifests/app", &" ".repeat(9 << 20)).await;
    harbour.store.when(Get).key("manifests/app").after(0).fail(unavailable);

    assert_eq!(imported(&one, "cache").await, None);
}

#[tokio::test(start_paused = true)]
async fn what_one_replica_announces_another_has_a_hundred_times_at_random() {
    const LAYERS: [&str; 4] = ["a", "b", "c", "d"];
    let (harbour, mut chance) = (Harbour::new(), fastrand::Rng::with_seed(20_261_126));
    let replicas: Vec<_> = (0..3).map(|_| harbour.arranged(writing)).collect();
    let mut expected: &[&'static str] = &LAYERS[..1];
    export(&harbour, expected).await;
    for round in 0..100 {
        if chance.u8(0..4) == 0 {
            expected = &LAYERS[chance.usize(0..2)..chance.usize(2..5)];
            match chance.bool() {
                true => export(&harbour, expected).await,
                false => drop(push_cache(&replicas[chance.usize(0..3)], "cache", expected).await),
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let (from, next) = (&replicas[chance.usize(0..3)].app, &replicas[chance.usize(0..3)].app);

        let found = import_by(from, next, "cache").await.unwrap_or_else(|| panic!("nothing in round {round}"));

        assert_eq!(found.names().into_iter().collect::<Vec<_>>(), names(expected), "{round}");
        tokio::time::advance(Duration::from_secs(chance.u64(0..90))).await;
    }
}

/// The tags of `app` as a client pages through them, a few at a time.
async fn tags(replica: &Replica, most: usize) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let last = all.last().map(|tag| tag.parse().unwrap());
        let page = replica.app.list_tags(last.as_ref(), most, |_| true).await.unwrap().unwrap();
        all.extend(page.tags);
        if !page.is_truncated {
            return all;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_clients_have_is_listed_among_the_tags() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    assert!(one.app.list_tags(None, 10, |_| true).await.unwrap().is_none());

    export(&harbour, &["theirs"]).await;
    assert_eq!(tags(&one, 10).await, ["cache"]);
    push_cache(&one, "a", &["ours"]).await;
    push_cache(&one, "x", &["ours"]).await;

    assert_eq!(tags(&one, 1).await, ["a", "cache", "x"]);
    push_cache(&one, "cache", &["ours"]).await;
    assert_eq!(tags(&one, 2).await, ["a", "cache", "x"]);
}

#[tokio::test(start_paused = true)]
async fn where_each_tag_has_a_name_all_are_listed_whatever_the_page_of_the_store() {
    let harbour = Harbour::new();
    let one = harbour.arranged(|registry| {
        registry.with_s3_clients(Some(S3Clients { name: "{tag}".parse().unwrap(), tag: "x".parse().unwrap(), write: false }))
    });
    // More than a store lists at once of theirs, and some of ours before, among and after them.
    let mut expected: Vec<_> = (0..1100).map(|number| format!("t{number:04}")).collect();
    for tag in &expected {
        harbour.store.put(&format!("app/manifests/{tag}").parse().unwrap(), "{}".into(), "", PATIENCE.bytes).await.unwrap();
    }
    harbour.store.put(&"app/manifests/t/no-tag".parse().unwrap(), "{}".into(), "", PATIENCE.bytes).await.unwrap();
    for tag in ["a", "t0500", "t1050x", "z"] {
        push_cache(&one, tag, &["ours"]).await;
        expected.push(tag.to_owned());
    }
    expected.sort();
    expected.dedup();

    assert_eq!(tags(&one, 1000).await, expected);
    assert_eq!(tags(&one, 300).await, expected);
}

#[tokio::test(start_paused = true)]
async fn it_is_explained_what_clients_find() {
    let harbour = Harbour::new();
    let one = harbour.arranged(writing);
    let found = async || one.app.explain(&"cache".parse().unwrap()).await.unwrap().of_s3.map(|seen| (seen.key, seen.found));
    let at = |found| Some(("manifests/app".to_owned(), found));

    assert_eq!(found().await, at(FoundByS3::Nothing));
    let pushed = push_cache(&one, "cache", &["ours"]).await;
    assert_eq!(found().await, at(FoundByS3::Pushed(pushed)));
    export(&harbour, &["theirs"]).await;
    let exported = harbour.store.head(&"manifests/app".parse().unwrap(), PATIENCE.bytes).await.unwrap().unwrap().last_modified;
    assert_eq!(found().await, at(FoundByS3::Exported(exported)));
    put(&harbour, "manifests/app", "[]").await;
    assert!(matches!(found().await, Some((_, FoundByS3::NoCache(_)))));
    assert_eq!(one.app.explain(&"other".parse().unwrap()).await.unwrap().of_s3, None);
}
