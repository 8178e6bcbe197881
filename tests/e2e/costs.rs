//! What a push and a pull cost, counted at the door of the S3 server. The marks of use are counted apart: they are best effort.
//! So is the daily sweep, which begins half a minute after an image was first used.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use longshore::oci::{Digest, MediaType};
use serde_json::json;

use crate::stage::{Quay, Store, run};
use crate::support::client::{self, ANY_MANIFEST, Answer};
use crate::support::door::{Door, S3Operation, S3Operation::*, Seen};
use crate::support::eventually;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const MIB: usize = 1024 * 1024;

/// What was asked of the server behind `door` since this was last asked, and how often, without marks and sweeps.
fn spent(door: &Door) -> BTreeMap<S3Operation, usize> {
    let mut requests = BTreeMap::new();
    let is_sweep = |seen: &Seen| seen.operation() == ListMultipartUploads || seen.query.contains("_oci%2Fuploads");
    for seen in door.seen().iter().filter(|seen| !seen.path.contains("/_oci/used/") && !is_sweep(seen)) {
        *requests.entry(seen.operation()).or_default() += 1;
    }
    door.forget();
    requests
}

fn requests(counts: &[(S3Operation, usize)]) -> BTreeMap<S3Operation, usize> {
    counts.iter().copied().collect()
}

/// Asks for the blob `content` of `image` as a push does.
async fn head(quay: &Quay, image: &str, content: &Bytes) -> StatusCode {
    let path = format!("/v2/{image}/blobs/{}", Digest::sha256(content));
    client::ask_as_buildkit(quay.front.address, "HEAD", &path, &format!("{GZIP}, */*")).await.status
}

/// Pushes the blob `content` as BuildKit does: HEAD, POST, PUT.
async fn push(quay: &Quay, image: &str, content: &Bytes) {
    assert_eq!(head(quay, image, content).await, StatusCode::NOT_FOUND);
    let digest = Digest::sha256(content).to_string();
    let put = client::put_blob_request(quay.front.address, image, &digest).await;
    let answer = client::send(quay.front.address, put.body(content.clone()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
}

async fn put_manifest(quay: &Quay, path: &str, manifest: String) -> Answer {
    let put = Request::put(path).header(header::CONTENT_TYPE, MediaType::OCI_MANIFEST);
    let answer = client::send(quay.front.address, put.body(manifest.into()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    answer
}

/// A manifest whose config is of `config_type`, and the first of `blobs`; the others are its layers.
fn manifest(config_type: &str, blobs: &[Bytes]) -> String {
    let descriptor = |media_type: &str, content: &Bytes| json!({"mediaType": media_type, "digest": Digest::sha256(content).to_string(), "size": content.len()});
    let layers: Vec<_> = blobs[1..].iter().map(|layer| descriptor(GZIP, layer)).collect();
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": descriptor(config_type, &blobs[0]), "layers": layers})
        .to_string()
}

fn blobs(count: u8) -> Vec<Bytes> {
    (0..count).map(|number| Bytes::from(vec![number; 1000])).collect()
}

#[test]
fn a_new_layer_costs_its_upload_and_the_first_of_an_image_one_listing_more() {
    run(async {
        let quay = Quay::on(Store::Bucket).await;
        let (first, second, large) = (Bytes::from("first"), vec![2; 16 * MIB].into(), vec![3; 16 * MIB + 1].into());
        spent(quay.back());

        push(&quay, "org/app", &first).await;
        assert_eq!(spent(quay.back()), requests(&[(ListObjectsV2, 1), (PutObject, 1)]), "cold");
        push(&quay, "org/app", &second).await;
        assert_eq!(spent(quay.back()), requests(&[(PutObject, 1)]), "warm");
        push(&quay, "org/app", &large).await;
        assert_eq!(spent(quay.back()).remove(&ListObjectsV2), None, "warm, in parts");
    });
}

#[test]
fn a_known_layer_costs_nothing_and_after_a_restart_all_of_an_image_one_listing() {
    run(async {
        let mut quay = Quay::on(Store::Bucket).await;
        let layers = blobs(50);
        for layer in &layers {
            push(&quay, "org/app", layer).await;
        }
        spent(quay.back());

        for layer in &layers {
            assert_eq!(head(&quay, "org/app", layer).await, StatusCode::OK);
        }
        assert_eq!(spent(quay.back()), requests(&[]), "known");

        quay.longshore.kill().await;
        quay.longshore = quay.launch.start().await;
        spent(quay.back());
        for layer in &layers {
            assert_eq!(head(&quay, "org/app", layer).await, StatusCode::OK);
        }
        assert_eq!(spent(quay.back()), requests(&[(ListObjectsV2, 1)]), "after a restart");
    });
}

#[test]
fn a_manifest_costs_its_two_objects_and_one_mark() {
    run(async {
        let quay = Quay::on(Store::Bucket).await;
        let blobs = blobs(6);
        for blob in &blobs {
            push(&quay, "org/app", blob).await;
        }
        for config_type in ["application/vnd.oci.image.config.v1+json", MediaType::CACHE_CONFIG] {
            quay.back().forget();

            put_manifest(&quay, "/v2/org/app/manifests/it", manifest(config_type, &blobs)).await;

            let marks = || quay.back().seen().iter().filter(|seen| seen.path.contains("/_oci/used/")).count();
            eventually("the use is marked", Duration::from_secs(20), || async { (marks() > 0).then_some(()) }).await;
            assert_eq!(marks(), 1, "{config_type}");
            assert_eq!(spent(quay.back()), requests(&[(PutObject, 2)]), "{config_type}");
        }
    });
}

#[test]
fn an_import_of_an_unchanged_tag_costs_a_look_for_its_parts_and_two_requests_and_then_one() {
    run(async {
        let quay = Quay::on(Store::Bucket).await;
        let blobs = blobs(6);
        for blob in &blobs {
            push(&quay, "org/app", blob).await;
        }
        put_manifest(&quay, "/v2/org/app/manifests/cache", manifest(MediaType::CACHE_CONFIG, &blobs)).await;
        spent(quay.back());
        let ask = async |method: &str, path: &str, accept: &str| {
            let answer = client::ask_as_buildkit(quay.front.address, method, &format!("/v2/org/app/{path}"), accept).await;
            assert_eq!(answer.status, StatusCode::OK, "{method} {path}: {answer:?}");
            answer
        };

        for gets in [2, 1] {
            let tag = ask("HEAD", "manifests/cache", ANY_MANIFEST).await;
            let (digest, one_type) = (tag.header("docker-content-digest"), format!("{}, */*", MediaType::OCI_MANIFEST));
            let read = ask("GET", &format!("manifests/{digest}"), &one_type).await;
            let config = ask("GET", &format!("blobs/{}", Digest::sha256(&blobs[0])), "*/*").await;

            assert_eq!((Digest::sha256(&read.body).to_string().as_str(), &config.body), (digest, &blobs[0]));
            assert_eq!(spent(quay.back()), requests(&[(GetObject, gets), (ListObjectsV2, 1)]));
        }
    });
}
