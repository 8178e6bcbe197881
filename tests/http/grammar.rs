//! What is no name, tag, digest, upload or number, wherever it stands.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use longshore::oci::{Digest, MediaType};

use crate::stand::{Stand, code};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Every endpoint of a repository: `NAME`, `DIGEST`, `TAG` and `UPLOAD` stand for one that is right.
const ENDPOINTS: [&str; 21] = [
    "HEAD /v2/NAME/blobs/DIGEST",
    "GET /v2/NAME/blobs/DIGEST",
    "DELETE /v2/NAME/blobs/DIGEST",
    "HEAD /v2/NAME/manifests/TAG",
    "GET /v2/NAME/manifests/TAG",
    "PUT /v2/NAME/manifests/TAG",
    "DELETE /v2/NAME/manifests/TAG",
    "HEAD /v2/NAME/manifests/DIGEST",
    "GET /v2/NAME/manifests/DIGEST",
    "PUT /v2/NAME/manifests/DIGEST",
    "PUT /v2/NAME/manifests/DIGEST?tag=TAG",
    "DELETE /v2/NAME/manifests/DIGEST",
    "POST /v2/NAME/blobs/uploads/",
    "POST /v2/NAME/blobs/uploads/?digest=DIGEST",
    "PATCH /v2/NAME/blobs/uploads/UPLOAD",
    "PUT /v2/NAME/blobs/uploads/UPLOAD?digest=DIGEST",
    "GET /v2/NAME/blobs/uploads/UPLOAD",
    "DELETE /v2/NAME/blobs/uploads/UPLOAD",
    "GET /v2/NAME/tags/list?last=TAG",
    "GET /v2/NAME/referrers/DIGEST",
    "GET /v2/NAME/referrers/DIGEST?last=DIGEST",
];

/// Asks every endpoint that has `word` in it, with `wrong` in its place and all else right;
/// each must refuse it so, and nothing may be stored.
async fn refused(stand: &Stand, word: &str, wrong: &str, status: u16, code_expected: &str) {
    let upload = stand.open_upload("app").await;
    let (_, id) = upload.rsplit_once('/').unwrap();
    let right = [("NAME", "app"), ("DIGEST", &*format!("sha256:{HEX}")), ("TAG", "t"), ("UPLOAD", id)];
    for endpoint in ENDPOINTS.into_iter().filter(|endpoint| endpoint.contains(word)) {
        let line = endpoint.replace(word, wrong);
        let line = right.iter().fold(line, |line, (word, right)| line.replace(word, right));
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path).header("content-type", MediaType::OCI_MANIFEST);

        let answer = stand.send(request.body(Bytes::from("hello")).unwrap()).await;

        assert_eq!(answer.status.as_u16(), status, "{line}: {answer:?}");
        assert!(method == Method::HEAD.as_str() || code(&answer) == code_expected, "{line}: {answer:?}");
    }
    assert!(stand.keys().await.is_empty(), "{wrong}");
}

#[tokio::test]
async fn what_is_no_name_is_refused_by_every_endpoint() {
    let stand = Stand::new();
    let components = vec!["a"; 129].join("/");
    for name in [
        "App",
        "aPP",
        "app/B",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a-",
        ".a",
        "a.",
        "_a",
        "a_",
        "a..b",
        "a___b",
        "a.-b",
        "a-_b",
        "..",
        "a/../b",
        "%2e%2e",
        "a%20b",
        "a:b",
        "%C3%A4",
        "a%00b",
        "a%5Cb",
        &"a".repeat(256),
        &components,
    ] {
        refused(&stand, "NAME", name, 400, "NAME_INVALID").await;
    }
    for longest in ["a".repeat(255), components[2..].to_owned()] {
        assert_eq!(stand.ask(&format!("GET /v2/{longest}/manifests/t")).await.status, StatusCode::NOT_FOUND, "{longest}");
    }
}

#[tokio::test]
async fn what_is_no_digest_is_refused_by_every_endpoint() {
    let stand = Stand::new();
    for digest in [
        "sha256:",
        &format!("sha256:{}", &HEX[1..]),
        &format!("sha256:{HEX}0"),
        &format!("sha256:{}", HEX.to_uppercase()),
        &format!("sha256:{}", HEX.replace('e', "g")),
        &format!("SHA256:{HEX}"),
        &format!("sha512:{HEX}"),
        &format!("sha384:{HEX}{}", &HEX[..32]),
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        &format!(":{HEX}"),
        &format!("sha256::{HEX}"),
        &format!("sha256:{HEX}:"),
        &format!("sha256:%20{HEX}"),
        "blake3:00",
    ] {
        refused(&stand, "DIGEST", digest, 400, "DIGEST_INVALID").await;
    }
    let blob = stand.ask(&format!("GET /v2/app/blobs/{HEX}")).await;
    assert_eq!((blob.status, code(&blob).as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"), "{blob:?}");
}

#[tokio::test]
async fn what_is_no_tag_is_refused_by_every_endpoint() {
    let stand = Stand::new();
    for tag in [".t", "-t", "..", "a%20b", "%C3%A4", "t%00", "a@b", "a+b", "a!b", &"t".repeat(129)] {
        refused(&stand, "TAG", tag, 400, "MANIFEST_INVALID").await;
    }
    assert_eq!(stand.ask(&format!("GET /v2/app/manifests/{}", "t".repeat(128))).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_no_upload_is_unknown_to_every_endpoint() {
    let stand = Stand::new();
    let upload = stand.open_upload("app").await;
    let (_, id) = upload.rsplit_once('/').unwrap();
    let (random, began) = id.split_once('-').unwrap();
    for id in
        ["nonsense", "..", "-", random, began, &id[1..], &id.to_uppercase(), &format!("{id}0"), &format!("{random}--{began}")]
    {
        refused(&stand, "UPLOAD", id, 404, "BLOB_UPLOAD_UNKNOWN").await;
    }
    let digest = Digest::sha256(b"hello");
    for began in ["0000000001", "00ffffffff", "ffffffffffffffff"] {
        for line in ["PATCH ", "GET ", "DELETE ", "PUT "] {
            let answer = stand.ask(&format!("{line}/v2/app/blobs/uploads/{random}-{began}?digest={digest}")).await;

            assert_eq!(
                (answer.status.as_u16(), code(&answer).as_str()),
                (404, "BLOB_UPLOAD_UNKNOWN"),
                "{line}{began}: {answer:?}"
            );
        }
    }
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn what_is_no_number_or_no_entry_is_refused_by_every_listing() {
    let stand = Stand::new();
    let manifest = r#"{"schemaVersion": 2, "manifests": []}"#;
    assert_eq!(stand.put_manifest("/v2/app/manifests/t", MediaType::OCI_INDEX, manifest).await.status, StatusCode::CREATED);
    for listing in ["/v2/app/tags/list", "/v2/_catalog"] {
        for n in ["", "many", "-1", "%2B1", "1.5", "1e3", "0x10", "1%201", "%D9%A1"] {
            let answer = stand.ask(&format!("GET {listing}?n={n}")).await;

            assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (400, "UNSUPPORTED"), "{listing}?n={n}: {answer:?}");
        }
        // More than there could ever be is all there is.
        for n in ["1", "1001", "99999999999999999999999", "%31"] {
            assert_eq!(stand.ask(&format!("GET {listing}?n={n}")).await.status, StatusCode::OK, "{listing}?n={n}");
        }
    }
    for (listing, last, code_expected) in [
        ("/v2/app/tags/list", "-t", "MANIFEST_INVALID"),
        ("/v2/app/tags/list", "a%2Fb", "MANIFEST_INVALID"),
        ("/v2/_catalog", "App", "NAME_INVALID"),
        ("/v2/_catalog", "a%2F%2Fb", "NAME_INVALID"),
        (&format!("/v2/app/referrers/sha256:{HEX}"), "t", "DIGEST_INVALID"),
    ] {
        let answer = stand.ask(&format!("GET {listing}?last={last}")).await;

        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (400, code_expected), "{listing}?last={last}: {answer:?}");
    }
}
