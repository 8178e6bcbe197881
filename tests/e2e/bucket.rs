//! What is in the store, and what it took to bring it there.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::stage::{EVERY_STORE, Quay, Store, export, run};
use crate::support::door::S3Operation;
use crate::support::project::Project;
use crate::support::{client, eventually};

#[test]
fn a_store_holds_exactly_what_was_exported_and_every_blob_hashes_to_its_key() {
    run(async {
        for store in EVERY_STORE {
            let (quay, project) = (Quay::on(store).await, Project::new());
            export(&project, &format!("{},mode=max", quay.cache("ghcr.io/org/app:cache"))).await;

            let manifest = client::pull_manifest(quay.front.address, "ghcr.io/org/app", "cache").await;
            let tagged = digest_of(&manifest.body);
            let mut expected: BTreeMap<String, String> =
                blobs_of(&manifest.body).into_iter().map(|digest| (format!("ghcr.io/org/app/blobs/{digest}"), digest)).collect();
            expected.insert(format!("ghcr.io/org/app/_oci/manifests/{tagged}"), tagged.clone());
            let mark = format!("ghcr.io/org/app/_oci/used/{tagged}");
            expected.insert(mark.clone(), digest_of(b""));
            expected.insert("ghcr.io/org/app/_oci/tags/cache".to_owned(), tagged);
            // It is written beside the answer.
            eventually("the use is marked", Duration::from_secs(20), || async {
                quay.objects().await.contains_key(&mark).then_some(())
            })
            .await;

            assert!(expected.len() > 6, "{store:?}: a cache has several layers: {expected:#?}");
            assert_eq!(quay.objects().await, expected, "{store:?}");
        }
    });
}

#[test]
fn a_new_small_layer_costs_two_requests_and_is_never_anywhere_but_at_its_key() {
    run(async {
        let quay = Quay::on(Store::Bucket).await;
        let layer = Bytes::from(vec![7; 200_000]);
        let digest = digest_of(&layer);
        quay.back().forget();

        let answer = client::push_blob(quay.front.address, "org/app", &digest, layer).await;

        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let asked = quay.back().seen();
        assert!(!asked.is_empty() && asked.len() <= 2, "{asked:#?}");
        assert!(asked.iter().all(|seen| seen.operation() != S3Operation::CopyObject), "{asked:#?}");
        for seen in asked.iter().filter(|seen| seen.method != http::Method::GET && seen.method != http::Method::HEAD) {
            assert!(seen.path.contains(HEX_AFTER_BLOBS) && seen.path.ends_with(&digest["sha256:".len()..]), "{seen:#?}");
        }
        assert_eq!(quay.objects().await, BTreeMap::from([(format!("org/app/blobs/{digest}"), digest)]));
    });
}

/// The way from an image to its blobs in a key.
const HEX_AFTER_BLOBS: &str = "/org/app/blobs/sha256";

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

/// The config and the layers that an image manifest names.
fn blobs_of(manifest: &[u8]) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(manifest).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").iter();
    let digest = |descriptor: &Value| descriptor["digest"].as_str().expect("text").to_owned();
    layers.chain([&manifest["config"]]).map(digest).collect()
}
