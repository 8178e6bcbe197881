//! `longshore explain`: what a person is told of an image, in words and in JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use longshore::oci::{Digest, MediaType};
use serde_json::{Value, json};

use crate::support::client::{put_blob_request, send};
use crate::support::longshore::{Launch, Longshore};
use crate::support::scratch;
use crate::{Outcome, longshore};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn digest(content: &str) -> String {
    Digest::sha256(content.as_bytes()).to_string()
}

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len(),
           "annotations": {"containerd.io/uncompressed": digest(&format!("unpacked {content}"))}})
}

/// Pushes an image of `layers` with `config`, as `app` and `tag`.
async fn push(to: &Longshore, tag: &str, config_type: &str, config: &str, layers: &[&str]) {
    for content in layers.iter().chain([&config]) {
        let put = put_blob_request(to.address, "app", &digest(content)).await;
        let put = put.body(Bytes::from((*content).to_owned())).expect("a request");
        assert_eq!(send(to.address, put).await.status, StatusCode::CREATED);
    }
    let layers: Vec<_> = layers.iter().map(|layer| descriptor(GZIP, layer)).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
                          "config": descriptor(config_type, config), "layers": layers});
    let put = Request::put(format!("/v2/app/manifests/{tag}")).header(header::CONTENT_TYPE, MediaType::OCI_MANIFEST);
    let put = put.body(Bytes::from(manifest.to_string())).expect("a request");
    assert_eq!(send(to.address, put).await.status, StatusCode::CREATED);
}

/// Pushes a cache of a step for each of `layers`.
async fn push_cache(to: &Longshore, tag: &str, layers: &[&str]) {
    let record = |(at, layer): (usize, &&str)| {
        let results = json!([{"layer": at, "createdAt": "2026-11-22T04:02:41.5Z"}]);
        json!({"digest": digest(&format!("step {layer}")), "inputs": [[{"link": 0}]], "layers": results})
    };
    let source = json!({"digest": digest("source")});
    let records: Vec<_> = std::iter::once(source).chain(layers.iter().enumerate().map(record)).collect();
    let chains: Vec<_> = layers.iter().map(|layer| json!({"blob": digest(layer), "parent": -1})).collect();
    let config = json!({"layers": chains, "records": records}).to_string();
    push(to, tag, MediaType::CACHE_CONFIG, &config, layers).await;
}

/// The files below `folder`, and when each was written.
fn files(folder: &Path) -> BTreeMap<String, SystemTime> {
    let (mut files, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("it stays")) {
            match entry.path() {
                path if path.is_dir() => open.push(path),
                path => drop(
                    files.insert(path.display().to_string(), entry.metadata().and_then(|it| it.modified()).expect("it stays")),
                ),
            }
        }
    }
    files
}

fn explain(folder: &Path, words: &[&str]) -> Outcome {
    let store = folder.to_str().expect("plain");
    longshore(&[&["explain"], words, &[store]].concat(), &[])
}

#[tokio::test]
async fn it_says_what_a_build_gets_of_what_and_what_is_gone() {
    let folder = scratch("explain");
    let mut longshore = Launch::on_folder(folder.path()).start().await;
    push_cache(&longshore, "cache--a", &["base", "a"]).await;
    push_cache(&longshore, "cache--b", &["base", "b"]).await;
    // It marks what is used beside its answers.
    longshore.terminate();
    longshore.ended(Duration::from_secs(20)).await;
    fs::remove_file(folder.path().join("app/blobs").join(digest("b"))).unwrap();
    let before = files(folder.path());

    let told = explain(folder.path(), &["localhost:5000/app:cache"]);

    assert_eq!((told.status, told.stderr.as_str()), (Some(0), ""));
    for part in [
        format!("app:cache, profile default, folder {}\n", folder.path().display()),
        "A build that imports it gets the union of 2 caches: 2 steps, 2 of them with layers.\n".to_owned(),
        "1 blob is gone from the store (1 B): 1 step that had layers will run again.\n".to_owned(),
        format!("  {}  1 B    gone\n", digest("b")),
        "Made of\n  app:cache--".to_owned(),
    ] {
        assert!(told.stdout.contains(&part), "{part:?} not in:\n{}", told.stdout);
    }
    assert!(!told.stdout.contains('\x1b'), "{:?}", told.stdout);
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn every_tag_is_told_of_and_an_image_as_that() {
    let folder = scratch("explain");
    let longshore = Launch::on_folder(folder.path()).start().await;
    push(&longshore, "v1", "application/vnd.oci.image.config.v1+json", r#"{"os": "linux"}"#, &["layer"]).await;
    push_cache(&longshore, "cache", &["a"]).await;

    let told = explain(folder.path(), &["app"]);
    let json: Value = serde_json::from_str(&explain(folder.path(), &["--json", "app"]).stdout).unwrap();

    let (cache, image) = told.stdout.split_once("\n\napp:v1, profile default").expect(&told.stdout);
    assert!(cache.contains("gets it as it was pushed: 1 step, 1 of them with layers."), "{cache}");
    assert!(image.contains("It is an ordinary image: there is no cache in it."), "{image}");
    assert_eq!((&json["image"], &json["profile"], &json["moreTags"]), (&json!("app"), &json!("default"), &json!(false)));
    let of = |at: usize, key: &str| json["tags"][at][key].clone();
    assert_eq!((of(0, "tag"), of(0, "served"), of(0, "cache")["steps"].clone()), (json!("cache"), json!("as pushed"), json!(1)));
    assert_eq!((of(1, "tag"), of(1, "served"), of(1, "cache")), (json!("v1"), json!("as pushed"), json!(null)));
    let sizes: u64 = of(0, "blobs").as_array().unwrap().iter().map(|blob| blob["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, of(0, "sources")[0]["bytes"].as_u64().unwrap());
}

#[test]
fn what_is_not_there_is_told_and_what_cannot_be_is_a_mistake() {
    let folder = scratch("explain");
    let named = explain(folder.path(), &["--profile", "default", "app:cache"]);
    assert_eq!(named.stdout, explain(folder.path(), &["app:cache"]).stdout);
    let (nothing, none) = (explain(folder.path(), &["app:cache"]), explain(folder.path(), &["app"]));
    let misspelt = explain(folder.path(), &["App:cache"]);

    assert_eq!(nothing.status, Some(0));
    assert!(nothing.stdout.contains("Nothing is there: a build that imports it begins without a cache."), "{}", nothing.stdout);
    assert!(none.stdout.contains("There are no tags of this image."), "{}", none.stdout);
    assert_eq!((misspelt.status, misspelt.stdout.as_str()), (Some(2), ""));
    assert!(misspelt.stderr.contains("\"App:cache\""), "{}", misspelt.stderr);
}
