//! Manifests: by tag and digest, in every form that BuildKit and docker push.

use http::{Request, StatusCode};
use longshore::oci::{Digest, MediaType};
use serde_json::{Value, json};

use crate::stand::{Stand, code, message};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()).to_string(), "size": content.len()})
}

fn image(config: &str) -> String {
    json!({"schemaVersion": 2, "config": descriptor(config, "config"), "layers": [descriptor(GZIP, "layer")]}).to_string()
}

fn cache_index() -> String {
    json!({"schemaVersion": 2, "manifests": [descriptor(GZIP, "layer"), descriptor(MediaType::CACHE_CONFIG, "config")]})
        .to_string()
}

/// A server with what [`image`] and [`cache_index`] refer to.
async fn stand_with_blobs() -> Stand {
    let stand = Stand::new();
    for content in ["config", "layer"] {
        stand.push("app", content).await;
    }
    stand
}

#[tokio::test]
async fn a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let stand = stand_with_blobs().await;
    for (tag, media_type, manifest) in [
        ("image", MediaType::OCI_MANIFEST, image(IMAGE_CONFIG)),
        ("docker", MediaType::DOCKER_MANIFEST, image("application/vnd.docker.container.image.v1+json")),
        ("cache", MediaType::OCI_MANIFEST, image(MediaType::CACHE_CONFIG)),
        ("index", MediaType::OCI_INDEX, cache_index()),
        ("list", MediaType::DOCKER_LIST, cache_index()),
        ("spaced", MediaType::OCI_INDEX, format!("\n {}\n\n", cache_index())),
        ("unknown", "application/vnd.example.thing+json", "{\"a\": 1}".to_owned()),
    ] {
        let digest = Digest::sha256(manifest.as_bytes());

        let put = stand.put_manifest(&format!("/v2/app/manifests/{tag}"), media_type, manifest.clone()).await;

        assert_eq!(put.status, StatusCode::CREATED, "{tag}: {put:?}");
        assert_eq!(put.header("docker-content-digest"), digest.to_string(), "{tag}");
        for reference in [tag.to_owned(), digest.to_string()] {
            let get = stand.ask(&format!("GET /v2/app/manifests/{reference}")).await;
            let head = stand.ask(&format!("HEAD /v2/app/manifests/{reference}")).await;
            assert_eq!((get.status, &get.body[..]), (StatusCode::OK, manifest.as_bytes()), "{reference}: {get:?}");
            for answer in [get, head] {
                assert_eq!(answer.status, StatusCode::OK, "{reference}: {answer:?}");
                assert_eq!(answer.header("content-type"), media_type, "{reference}");
                assert_eq!(answer.header("content-length"), manifest.len().to_string(), "{reference}");
                assert_eq!(answer.header("docker-content-digest"), digest.to_string(), "{reference}");
            }
        }
    }
}

#[tokio::test]
async fn a_tag_moves_and_what_it_left_is_still_there_by_digest() {
    let stand = stand_with_blobs().await;
    let (old, new) = (image(IMAGE_CONFIG), cache_index());
    stand.put_manifest("/v2/app/manifests/t", MediaType::OCI_MANIFEST, old.clone()).await;

    stand.put_manifest("/v2/app/manifests/t", MediaType::OCI_INDEX, new.clone()).await;

    assert_eq!(stand.ask("GET /v2/app/manifests/t").await.body, new);
    assert_eq!(stand.ask(&format!("GET /v2/app/manifests/{}", Digest::sha256(old.as_bytes()))).await.body, old);
}

#[tokio::test]
async fn tags_that_differ_in_case_only_are_two() {
    let stand = stand_with_blobs().await;
    stand.put_manifest("/v2/app/manifests/v1", MediaType::OCI_MANIFEST, image(IMAGE_CONFIG)).await;

    assert_eq!(stand.ask("GET /v2/app/manifests/V1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_cache_with_holes_is_taken_and_an_image_with_holes_is_not() {
    let stand = Stand::new();
    for (media_type, manifest) in
        [(MediaType::OCI_MANIFEST, image(MediaType::CACHE_CONFIG)), (MediaType::OCI_INDEX, cache_index())]
    {
        let put = stand.put_manifest("/v2/app/manifests/cache", media_type, manifest).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }
    let index = json!({"schemaVersion": 2, "manifests": [descriptor(MediaType::OCI_MANIFEST, "child")]}).to_string();
    for (media_type, manifest, missing) in
        [(MediaType::OCI_MANIFEST, image(IMAGE_CONFIG), "layer"), (MediaType::OCI_INDEX, index, "child")]
    {
        let put = stand.put_manifest("/v2/app/manifests/image", media_type, manifest).await;

        assert_eq!((put.status, code(&put).as_str()), (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"), "{put:?}");
        assert!(message(&put).contains(&Digest::sha256(missing.as_bytes()).to_string()), "{put:?}");
    }
    assert_eq!(stand.ask("HEAD /v2/app/manifests/image").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_index_may_name_manifests_and_blobs() {
    let stand = stand_with_blobs().await;
    let child = image(IMAGE_CONFIG);
    let pushed = stand
        .put_manifest(&format!("/v2/app/manifests/{}", Digest::sha256(child.as_bytes())), MediaType::OCI_MANIFEST, child.clone())
        .await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");

    let index =
        json!({"schemaVersion": 2, "manifests": [descriptor(MediaType::OCI_MANIFEST, &child), descriptor(GZIP, "layer")]});
    let put = stand.put_manifest("/v2/app/manifests/both", MediaType::OCI_INDEX, index.to_string()).await;

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
}

#[tokio::test]
async fn what_is_no_manifest_is_refused_and_told_why() {
    let stand = stand_with_blobs().await;
    let other = Digest::sha256(b"other");
    let stated = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": []}).to_string();
    let deep = image(IMAGE_CONFIG).replacen('{', &format!("{{\"x\":{}{},", "[".repeat(10_000), "]".repeat(10_000)), 1);
    let twice = image(IMAGE_CONFIG).replacen('{', "{\"layers\":[],", 1);
    let many = |layers| {
        let layers: Vec<_> = (0..layers).map(|number: u32| descriptor("a/b", &number.to_string())).collect();
        json!({"schemaVersion": 2, "config": descriptor(IMAGE_CONFIG, "config"), "layers": layers}).to_string()
    };
    let itself = json!({"schemaVersion": 2, "manifests": [descriptor(MediaType::OCI_INDEX, "other")]}).to_string();
    for (reference, media_type, manifest, status, code_expected, why) in [
        ("t", MediaType::OCI_MANIFEST, "no json".to_owned(), 400, "MANIFEST_INVALID", "not a JSON object"),
        ("t", MediaType::OCI_MANIFEST, "{".to_owned(), 400, "MANIFEST_INVALID", "EOF"),
        ("t", MediaType::OCI_MANIFEST, "[]".to_owned(), 400, "MANIFEST_INVALID", "not a JSON object"),
        ("t", MediaType::OCI_MANIFEST, deep, 400, "MANIFEST_INVALID", "recursion limit"),
        ("t", MediaType::OCI_MANIFEST, twice, 400, "MANIFEST_INVALID", "duplicate field"),
        ("t", MediaType::OCI_MANIFEST, many(100_000), 413, "MANIFEST_INVALID", "4194304"),
        ("t", MediaType::OCI_MANIFEST, many(25_000), 400, "MANIFEST_BLOB_UNKNOWN", "24997 more"),
        (&other.to_string(), MediaType::OCI_INDEX, itself, 400, "DIGEST_INVALID", "received"),
        ("t", MediaType::OCI_MANIFEST, stated, 400, "MANIFEST_INVALID", "mediaType"),
        ("t", "", image(IMAGE_CONFIG), 400, "MANIFEST_INVALID", "Content-Type"),
        ("t", "json", image(IMAGE_CONFIG), 400, "MANIFEST_INVALID", "Content-Type"),
        (&other.to_string(), MediaType::OCI_MANIFEST, image(IMAGE_CONFIG), 400, "DIGEST_INVALID", "received"),
        ("t", MediaType::OCI_MANIFEST, " ".repeat(4 * 1024 * 1024 + 1), 413, "MANIFEST_INVALID", "4194304"),
    ] {
        let put = stand.put_manifest(&format!("/v2/app/manifests/{reference}"), media_type, manifest).await;

        assert_eq!((put.status.as_u16(), code(&put).as_str()), (status, code_expected), "{why}: {put:?}");
        assert!(message(&put).contains(why), "{why}: {put:?}");
    }
    assert!(!stand.keys().await.iter().any(|key| key.contains("_oci")));
}

#[tokio::test]
async fn a_manifest_that_lies_about_sizes_is_refused_unless_it_is_a_cache() {
    let stand = stand_with_blobs().await;
    let child = image(IMAGE_CONFIG);
    stand.put_manifest("/v2/app/manifests/child", MediaType::OCI_MANIFEST, child.clone()).await;
    let lying = |media_type: &str, content: &str| {
        let mut lie = descriptor(media_type, content);
        lie["size"] = json!(content.len() + 1);
        lie
    };
    let image = |config: Value, layer: Value| json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let index = |child: Value| json!({"schemaVersion": 2, "manifests": [child]});
    for (media_type, manifest, liar) in [
        (MediaType::OCI_MANIFEST, image(descriptor(IMAGE_CONFIG, "config"), lying(GZIP, "layer")), "layer"),
        (MediaType::OCI_MANIFEST, image(lying(IMAGE_CONFIG, "config"), descriptor(GZIP, "layer")), "config"),
        (MediaType::OCI_INDEX, index(lying(MediaType::OCI_MANIFEST, &child)), &child),
        (MediaType::OCI_INDEX, index(lying(GZIP, "layer")), "layer"),
    ] {
        let put = stand.put_manifest("/v2/app/manifests/t", media_type, manifest.to_string()).await;

        assert_eq!((put.status.as_u16(), code(&put).as_str()), (400, "MANIFEST_BLOB_UNKNOWN"), "{manifest}: {put:?}");
        assert!(message(&put).contains(&Digest::sha256(liar.as_bytes()).to_string()), "{manifest}: {put:?}");
    }
    let cache = image(lying(MediaType::CACHE_CONFIG, "config"), lying(GZIP, "layer")).to_string();
    assert_eq!(stand.put_manifest("/v2/app/manifests/t", MediaType::OCI_MANIFEST, cache).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_largest_manifest_is_taken() {
    let stand = stand_with_blobs().await;
    let mut manifest = cache_index();
    manifest.push_str(&" ".repeat(4 * 1024 * 1024 - manifest.len()));

    let put = stand.put_manifest("/v2/app/manifests/large", MediaType::OCI_INDEX, manifest.clone()).await;

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    assert_eq!(stand.ask("GET /v2/app/manifests/large").await.body, manifest);
}

#[tokio::test]
async fn who_has_a_manifest_already_is_not_sent_it() {
    let stand = stand_with_blobs().await;
    let put = stand.put_manifest("/v2/app/manifests/t", MediaType::OCI_INDEX, cache_index()).await;

    let request = Request::get("/v2/app/manifests/t").header("if-none-match", put.header("etag"));
    let get = stand.send(request.body("").unwrap()).await;

    assert_eq!((get.status, get.body.len()), (StatusCode::NOT_MODIFIED, 0), "{get:?}");
}
