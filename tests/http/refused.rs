//! What must be refused, and how.

use std::sync::Arc;

use http::{Request, StatusCode};
use longshore::access::Access;
use longshore::registry::Patience;
use longshore::store::MemoryStore;

use crate::stand::{PATIENCE, Stand, code, message};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_with_them() {
    let stand = Stand::new();
    let upload = stand.open_upload("app").await;
    let long_name = format!("GET /v2/{}/manifests/t", "a".repeat(256));
    let long_tag = format!("GET /v2/app/manifests/{}", "t".repeat(129));
    for (line, status, code_expected, why) in [
        ("GET /v2/App/manifests/t", 400, "NAME_INVALID", "lowercase"),
        ("GET /v2/a//b/manifests/t", 400, "NAME_INVALID", "components"),
        ("GET /v2/../../etc/manifests/t", 400, "NAME_INVALID", "components"),
        ("GET /v2/%2e%2e/manifests/t", 400, "NAME_INVALID", "components"),
        ("GET /v2/a%2fb/manifests/t", 404, "UNSUPPORTED", "no such endpoint"),
        ("GET /v2/app/blobs/..%2f..%2fx", 404, "UNSUPPORTED", "no such endpoint"),
        (&long_name, 400, "NAME_INVALID", "255 bytes"),
        (&long_tag, 400, "MANIFEST_INVALID", "128"),
        ("GET /v2/app/manifests/.t", 400, "MANIFEST_INVALID", "a tag has"),
        ("GET /v2/app/manifests/sha256:12", 400, "DIGEST_INVALID", "64 lowercase hex"),
        ("GET /v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID", "sha512"),
        ("GET /v2/app/blobs/latest", 400, "DIGEST_INVALID", "<algorithm>:<hex>"),
        (&format!("GET /v2/app/blobs/{}", DIGEST.to_uppercase()), 400, "DIGEST_INVALID", "unsupported"),
        (&format!("GET /v2/app/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN", DIGEST),
        ("GET /v2/app/manifests/t", 404, "MANIFEST_UNKNOWN", "t"),
        (&format!("GET /v2/app/manifests/{DIGEST}"), 404, "MANIFEST_UNKNOWN", DIGEST),
        (&format!("PUT {upload}"), 400, "DIGEST_INVALID", "?digest="),
        (&format!("PUT {upload}?digest="), 400, "DIGEST_INVALID", "?digest="),
        (&format!("PUT {upload}?digest=sha256:1"), 400, "DIGEST_INVALID", "64"),
        (&format!("PUT /v2/app/blobs/uploads/nonsense?digest={DIGEST}"), 404, "BLOB_UPLOAD_UNKNOWN", "POST"),
        (&format!("POST /v2/app/blobs/{DIGEST}"), 405, "UNSUPPORTED", "GET, HEAD, DELETE"),
        (&format!("DELETE /v2/app/blobs/{DIGEST}"), 404, "BLOB_UNKNOWN", DIGEST),
        ("DELETE /v2/app/manifests/t", 404, "MANIFEST_UNKNOWN", "t"),
        ("GET /v2/app/tags/list", 404, "NAME_UNKNOWN", "app"),
        ("GET /v2/app/tags/list?n=many", 400, "UNSUPPORTED", "many"),
        ("GET /v2/app/tags/list?n=-1", 400, "UNSUPPORTED", "-1"),
        ("GET /v2/app/tags/list?last=.x", 400, "MANIFEST_INVALID", "a tag has"),
        ("GET /v2/_catalog?n=x", 400, "UNSUPPORTED", "x"),
        ("GET /v2/_catalog?last=X", 400, "NAME_INVALID", "lowercase"),
        ("GET /v2/app/referrers/latest", 400, "DIGEST_INVALID", "<algorithm>:<hex>"),
        ("POST /v2/app/blobs/uploads/?digest-algorithm=md5", 400, "DIGEST_INVALID", "sha512"),
        ("POST /v2/", 405, "UNSUPPORTED", "GET, HEAD"),
        ("GET /v3/", 404, "UNSUPPORTED", "no such endpoint"),
    ] {
        let answer = stand.ask(line).await;

        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, code_expected), "{line}: {answer:?}");
        assert!(message(&answer).contains(why), "{line}: {answer:?}");
    }
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn what_hyper_refuses_is_refused_before_anything_is_stored() {
    let stand = Stand::new();
    for (head, status) in [
        ("PUT /v2/app/manifests/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "400"),
        ("PUT /v2/app/manifests/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400"),
        ("GET /v2/ HTTP/1.1\r\n\r\n", "421"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03", "400"),
    ] {
        let answer = stand.raw(head.as_bytes()).await;

        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn more_headers_than_any_client_sends_are_refused() {
    let stand = Stand::new();

    let request = Request::get("/v2/").header("x-long", "x".repeat(40_000));
    let answer = stand.send(request.body("").unwrap()).await;

    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{answer:?}");
    assert!(message(&answer).contains("32768"), "{answer:?}");
}

#[tokio::test]
async fn a_server_called_by_a_name_it_does_not_know_says_which_setting_to_change() {
    let stand = Stand::new();
    let ask = async |path: &str, header: &str, value: &str| {
        stand.send(Request::get(path).header(header, value).body("").unwrap()).await
    };

    let stranger = ask("/v2/", "host", "evil.example").await;
    assert_eq!(stranger.status, StatusCode::MISDIRECTED_REQUEST, "{stranger:?}");
    assert!(message(&stranger).contains("server.hosts"), "{stranger:?}");
    let page = ask("/v2/", "origin", "http://evil.example").await;
    assert_eq!((page.status, code(&page).as_str()), (StatusCode::FORBIDDEN, "DENIED"), "{page:?}");

    assert_eq!(ask("/v2/", "host", "Longshore.test:80").await.status, StatusCode::OK);
    for probe in ["/healthz", "/readyz"] {
        assert_eq!(ask(probe, "host", "10.1.2.3:5000").await.status, StatusCode::OK, "{probe}");
    }
}

#[tokio::test]
async fn anonymous_clients_get_what_the_configuration_says() {
    let blob = format!("HEAD /v2/app/blobs/{DIGEST}");
    for (anonymous, read, write) in [(Access::None, 403, 403), (Access::Read, 404, 403), (Access::Write, 404, 202)] {
        let stand = Stand::with(Arc::new(MemoryStore::default()), anonymous, Patience::with_bytes(PATIENCE));

        assert_eq!(stand.ask(&blob).await.status.as_u16(), read, "{anonymous}");
        let post = stand.ask("POST /v2/app/blobs/uploads/").await;
        assert_eq!(post.status.as_u16(), write, "{anonymous}: {post:?}");
        if write == 403 {
            let put = stand.put_manifest("/v2/app/manifests/t", MANIFEST, "{}").await;
            assert_eq!((put.status.as_u16(), code(&put).as_str()), (403, "DENIED"), "{anonymous}: {put:?}");
            assert!(message(&put).contains(&format!("anonymous = \"{anonymous}\"")), "{put:?}");
        }
    }
}
