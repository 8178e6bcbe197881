//! Listings, referrers and deletion.

use std::sync::Arc;

use http::{Request, StatusCode};
use longshore::access::Access;
use longshore::oci::{Digest, MediaType};
use longshore::registry::Patience;
use longshore::store::{MemoryStore, ObjectStore};
use serde_json::{Value, json};

use crate::broken_store::{BrokenStore, Operation};
use crate::client::Answer;
use crate::stand::{PATIENCE, Stand};

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    serde_json::from_slice(&answer.body).unwrap()
}

/// A manifest that needs no blob, told apart by `name`.
fn manifest(name: &str) -> String {
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [], "annotations": {"name": name}}).to_string()
}

async fn push(stand: &Stand, image: &str, tag: &str) -> Digest {
    let manifest = manifest(image);
    let put = stand.put_manifest(&format!("/v2/{image}/manifests/{tag}"), MediaType::OCI_INDEX, manifest.clone()).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    Digest::sha256(manifest.as_bytes())
}

/// The path that a `Link` leads to.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    let (path, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(relation, "; rel=\"next\"");
    Some(path.to_owned())
}

/// All pages from `path` on, each as its field `field`.
async fn pages(stand: &Stand, path: &str, field: &str) -> Vec<Value> {
    let (mut pages, mut path) = (Vec::new(), Some(path.to_owned()));
    while let Some(this) = path {
        let page = stand.ask(&format!("GET {this}")).await;
        pages.push(body(&page)[field].clone());
        path = next(&page);
    }
    pages
}

#[tokio::test]
async fn tags_come_in_the_order_of_their_bytes_a_page_at_a_time() {
    let stand = Stand::new();
    for tag in ["b", "a", "C", "v1.0", "_x", "b-1"] {
        push(&stand, "org/app", tag).await;
    }

    let all = body(&stand.ask("GET /v2/org/app/tags/list").await);
    assert_eq!(all, json!({"name": "org/app", "tags": ["C", "_x", "a", "b", "b-1", "v1.0"]}));
    let paged = pages(&stand, "/v2/org/app/tags/list?n=4", "tags").await;
    assert_eq!(paged, [json!(["C", "_x", "a", "b"]), json!(["b-1", "v1.0"])]);
    assert_eq!(pages(&stand, "/v2/org/app/tags/list?last=b", "tags").await, [json!(["b-1", "v1.0"])]);
    assert_eq!(pages(&stand, "/v2/org/app/tags/list?last=zzz", "tags").await, [json!([])]);
    let none = stand.ask("GET /v2/org/app/tags/list?n=0").await;
    assert_eq!((body(&none)["tags"].clone(), next(&none)), (json!([]), None));
}

#[tokio::test]
async fn a_page_of_tags_costs_one_listing_whichever_it_is() {
    let (shelf, tags) = (MemoryStore::default(), (0..2500).map(|number| format!("v{number:04}")));
    for tag in tags.clone() {
        let key = format!("app/_oci/tags/{tag}").parse().unwrap();
        shelf.put(&key, "{}".into(), MediaType::OCI_INDEX, PATIENCE).await.unwrap();
    }
    let store = BrokenStore::around(Arc::new(shelf));
    let stand = Stand::with(store.clone(), Access::Read, Patience::with_bytes(PATIENCE));
    for (n, expected) in [("", 3), ("?n=1000", 3), ("?n=5000", 3), ("?n=700", 4), ("?n=1250", 3)] {
        let before = store.calls(Operation::List);

        let pages = pages(&stand, &format!("/v2/app/tags/list{n}"), "tags").await;

        assert_eq!((pages.len(), store.calls(Operation::List) - before), (expected, expected), "{n}");
        let listed = pages.iter().flat_map(|page| page.as_array().unwrap()).map(|tag| tag.as_str().unwrap().to_owned());
        assert!(listed.eq(tags.clone()), "{n}");
    }
}

#[tokio::test]
async fn an_image_without_tags_is_told_from_one_that_is_not_there() {
    let stand = Stand::new();
    stand.push("app", "hello").await;

    assert_eq!(body(&stand.ask("GET /v2/app/tags/list").await)["tags"], json!([]));
    assert_eq!(stand.ask("GET /v2/app/below/tags/list").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_catalog_has_every_image_in_the_order_of_its_components() {
    let stand = Stand::new();
    for image in ["b", "a-b/c", "a/b", "a", "blobs/x", "a/manifests", "z/y/x"] {
        push(&stand, image, "t").await;
    }
    let all = json!(["a", "a/b", "a/manifests", "a-b/c", "b", "blobs/x", "z/y/x"]);

    assert_eq!(pages(&stand, "/v2/_catalog", "repositories").await, std::slice::from_ref(&all));
    let mut paged = pages(&stand, "/v2/_catalog?n=2", "repositories").await;
    let joined: Vec<_> = paged.iter_mut().flat_map(|page| page.as_array_mut().unwrap().drain(..)).collect();
    assert_eq!(Value::from(joined), all);
    assert_eq!(pages(&stand, "/v2/_catalog?last=a/b", "repositories").await[0][0], "a/manifests");
}

#[tokio::test]
async fn a_deleted_tag_leaves_its_manifest_and_a_deleted_manifest_takes_its_tags() {
    let stand = Stand::new();
    let digest = push(&stand, "app", "one").await;
    push(&stand, "app", "two").await;
    let other = stand.put_manifest("/v2/app/manifests/other", MediaType::OCI_INDEX, manifest("xyz")).await;
    assert_eq!(other.status, StatusCode::CREATED);

    assert_eq!(stand.ask("DELETE /v2/app/manifests/one").await.status, StatusCode::ACCEPTED);
    assert_eq!(stand.ask("GET /v2/app/manifests/one").await.status, StatusCode::NOT_FOUND);
    assert_eq!(stand.ask(&format!("GET /v2/app/manifests/{digest}")).await.status, StatusCode::OK);

    assert_eq!(stand.ask(&format!("DELETE /v2/app/manifests/{digest}")).await.status, StatusCode::ACCEPTED);
    for reference in [digest.to_string(), "two".to_owned()] {
        assert_eq!(stand.ask(&format!("GET /v2/app/manifests/{reference}")).await.status, StatusCode::NOT_FOUND, "{reference}");
    }
    assert_eq!(stand.ask("GET /v2/app/manifests/other").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_refers_to_a_manifest_is_listed_filtered_and_forgotten() {
    let stand = Stand::new();
    let subject = Digest::sha256(b"subject");
    let config = stand.push("app", "{}").await;
    let referrer = |artifact_type: &str, config_type: &str| {
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "layers": [], "artifactType": artifact_type,
            "config": {"mediaType": config_type, "digest": config.to_string(), "size": 2},
            "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": subject.to_string(), "size": 7},
            "annotations": {"of": artifact_type}})
        .to_string()
    };
    let mut digests = Vec::new();
    for (artifact_type, config_type) in [("a/sbom", "a/config"), ("a/signature", "a/config"), ("", "a/config")] {
        let manifest = referrer(artifact_type, config_type);
        let digest = Digest::sha256(manifest.as_bytes());
        let put = stand.put_manifest(&format!("/v2/app/manifests/{digest}"), MediaType::OCI_MANIFEST, manifest).await;
        assert_eq!((put.status, put.header("oci-subject")), (StatusCode::CREATED, &*subject.to_string()), "{put:?}");
        digests.push(digest);
    }

    let all = stand.ask(&format!("GET /v2/app/referrers/{subject}")).await;
    assert_eq!(all.header("content-type"), MediaType::OCI_INDEX);
    let types = |answer: &Answer| {
        let mut types: Vec<_> = body(answer)["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["artifactType"].as_str().unwrap().to_owned())
            .collect();
        types.sort();
        types
    };
    assert_eq!(types(&all), ["a/config", "a/sbom", "a/signature"]);
    let one = stand.ask(&format!("GET /v2/app/referrers/{subject}?artifactType=a%2Fsbom")).await;
    assert_eq!(one.header("oci-filters-applied"), "artifactType");
    let listed = body(&one);
    let [found] = &listed["manifests"].as_array().unwrap()[..] else { panic!("{one:?}") };
    assert_eq!((found["digest"].as_str(), &found["annotations"]), (Some(&*digests[0].to_string()), &json!({"of": "a/sbom"})));

    assert_eq!(stand.ask(&format!("DELETE /v2/app/manifests/{}", digests[0])).await.status, StatusCode::ACCEPTED);
    assert_eq!(types(&stand.ask(&format!("GET /v2/app/referrers/{subject}")).await), ["a/config", "a/signature"]);
    assert_eq!(types(&stand.ask(&format!("GET /v2/app/referrers/{}", Digest::sha256(b"nothing"))).await), [""; 0]);
}

#[tokio::test]
async fn many_referrers_come_in_pages() {
    let stand = Stand::new();
    let subject = Digest::sha256(b"subject");
    for number in 0..120 {
        let manifest = json!({"schemaVersion": 2, "manifests": [], "annotations": {"n": number.to_string()},
            "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": subject.to_string(), "size": 7}});
        let put = stand.put_manifest(&format!("/v2/app/manifests/t{number}"), MediaType::OCI_INDEX, manifest.to_string()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }

    let pages = pages(&stand, &format!("/v2/app/referrers/{subject}"), "manifests").await;

    assert!(pages.len() > 1);
    let numbers: std::collections::BTreeSet<_> =
        pages.iter().flat_map(|page| page.as_array().unwrap()).map(|d| d["annotations"]["n"].to_string()).collect();
    assert_eq!(numbers.len(), 120);
}

#[tokio::test]
async fn no_page_of_referrers_is_large_whatever_is_said_in_them() {
    let stand = Stand::new();
    let subject = Digest::sha256(b"subject");
    for (number, length) in std::iter::repeat_n(60_000, 40).chain([70_000, 3_000_000]).enumerate() {
        let manifest = json!({"schemaVersion": 2, "manifests": [], "annotations": {"n": "x".repeat(length)}, "number": number,
            "subject": {"mediaType": MediaType::OCI_MANIFEST, "digest": subject.to_string(), "size": 7}});
        let put = stand.put_manifest(&format!("/v2/app/manifests/t{number}"), MediaType::OCI_INDEX, manifest.to_string()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }

    let pages = pages(&stand, &format!("/v2/app/referrers/{subject}"), "manifests").await;

    assert!(pages.iter().all(|page| page.to_string().len() <= 1024 * 1024 + 1024), "{}", pages.len());
    let descriptors: Vec<_> = pages.iter().flat_map(|page| page.as_array().unwrap()).collect();
    assert_eq!(descriptors.len(), 42);
    assert_eq!(descriptors.iter().filter(|descriptor| descriptor["annotations"].is_null()).count(), 2);
}

#[tokio::test]
async fn a_push_by_digest_sets_the_tags_that_it_asks_for() {
    let stand = Stand::new();
    let manifest = manifest("x");
    for digest in [Digest::sha256(manifest.as_bytes()), Digest::of(longshore::oci::Algorithm::Sha512, manifest.as_bytes())] {
        let put =
            Request::put(format!("/v2/app/manifests/{digest}?tag=1.2.3&tag=latest")).header("content-type", MediaType::OCI_INDEX);
        let put = stand.send(put.body(manifest.clone()).unwrap()).await;

        assert_eq!((put.status, put.header("oci-tag")), (StatusCode::CREATED, "1.2.3, latest"), "{put:?}");
        for tag in ["1.2.3", "latest"] {
            let head = stand.ask(&format!("HEAD /v2/app/manifests/{tag}")).await;
            assert_eq!(head.header("docker-content-digest"), digest.to_string(), "{tag}");
            assert_eq!(head.header("content-type"), MediaType::OCI_INDEX, "{tag}");
        }
    }
    let bad = Request::put(format!("/v2/app/manifests/{}?tag=-", Digest::sha256(manifest.as_bytes())));
    let bad = stand.send(bad.header("content-type", MediaType::OCI_INDEX).body(manifest).unwrap()).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST, "{bad:?}");
}
