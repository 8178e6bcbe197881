//! Blobs: pushed as BuildKit pushes them, and read back.

use bytes::Bytes;
use http::{Request, StatusCode};
use longshore::oci::{Algorithm, Digest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stand::{Stand, code};

#[tokio::test]
async fn a_pushed_blob_is_there_with_its_size_and_comes_back() {
    let stand = Stand::new();
    let path = format!("/v2/org/app/blobs/{}", Digest::sha256(b"hello"));
    assert_eq!(stand.ask(&format!("HEAD {path}")).await.status, StatusCode::NOT_FOUND);

    let digest = stand.push("org/app", "hello").await;

    let (head, get) = (stand.ask(&format!("HEAD {path}")).await, stand.ask(&format!("GET {path}")).await);
    assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, "5"), "{head:?}");
    assert_eq!((get.status, &get.body[..]), (StatusCode::OK, &b"hello"[..]), "{get:?}");
    for answer in [head, get] {
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert_eq!(answer.header("content-type"), "application/octet-stream");
    }
    assert_eq!(stand.keys().await, [format!("org/app/blobs/{digest}")], "and nothing else is stored");
}

#[tokio::test]
async fn a_sha512_blob_is_as_good_as_another() {
    let stand = Stand::new();
    let digest = Digest::of(Algorithm::Sha512, b"hello");

    let put = stand.put(&stand.open_upload("app").await, &digest, "hello").await;

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    assert_eq!(&stand.ask(&format!("GET /v2/app/blobs/{digest}")).await.body[..], b"hello");
}

#[tokio::test]
async fn bytes_of_another_digest_are_refused_and_leave_nothing() {
    let stand = Stand::new();
    let digest = Digest::sha256(b"hello");

    let put = stand.put(&stand.open_upload("app").await, &digest, "goodbye").await;

    let post = stand.send(Request::post(format!("/v2/app/blobs/uploads/?digest={digest}")).body("goodbye").unwrap()).await;

    for refused in [put, post] {
        assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"), "{refused:?}");
    }
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn a_body_that_stops_early_leaves_nothing() {
    let stand = Stand::new();
    let digest = Digest::sha256(b"hello world");
    let location = stand.open_upload("app").await;

    let head = format!("PUT {location}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello");
    let answer = stand.raw(head.as_bytes()).await;

    assert!(answer.is_empty() || answer.contains("SIZE_INVALID"), "{answer}");
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn a_body_without_a_length_is_taken_empty_or_not() {
    let stand = Stand::new();
    for (content, chunked) in [("", "0\r\n\r\n"), ("hello", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")] {
        let digest = Digest::sha256(content.as_bytes());
        let location = stand.open_upload("app").await;

        let head = format!("PUT {location}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = stand.raw(format!("{head}{chunked}").as_bytes()).await;

        assert!(answer.starts_with("HTTP/1.1 201"), "{content:?}: {answer}");
        assert_eq!(stand.ask(&format!("GET /v2/app/blobs/{digest}")).await.body, content);
    }
}

#[tokio::test]
async fn the_same_put_on_the_same_url_succeeds_again() {
    let stand = Stand::new();
    let (location, digest) = (stand.open_upload("app").await, Digest::sha256(b"hello"));

    for _ in 0..2 {
        assert_eq!(stand.put(&location, &digest, "hello").await.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn an_upload_that_another_replica_began_ends_here() {
    let (one, other) = (Stand::new(), Stand::new());

    let put = other.put(&one.open_upload("app").await, &Digest::sha256(b"hello"), "hello").await;

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
}

#[tokio::test]
async fn two_pushes_of_one_blob_run_side_by_side_and_a_body_may_come_late() {
    let stand = Stand::new();
    let (location, digest) = (stand.open_upload("app").await, Digest::sha256(b"hello"));
    let mut late = TcpStream::connect(stand.address).await.unwrap();
    let head =
        format!("PUT {location}?digest={digest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
    late.write_all(head.as_bytes()).await.unwrap();

    stand.push("app", "hello").await;
    late.write_all(b"hello").await.unwrap();

    let mut answer = String::new();
    late.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_post_with_a_digest_takes_the_blob_in_one_go() {
    let stand = Stand::new();
    let digest = Digest::sha256(b"hello");

    let uri = format!("/v2/app/blobs/uploads/?digest={}", digest.to_string().replace(':', "%3A"));
    let post = stand.send(Request::post(uri).body("hello").unwrap()).await;

    assert_eq!(post.status, StatusCode::CREATED, "{post:?}");
    assert_eq!(post.header("location"), format!("/v2/app/blobs/{digest}"));
}

#[tokio::test]
async fn a_blob_of_another_image_is_mounted() {
    let stand = Stand::new();
    let digest = stand.push("app", "hello").await;

    let post = stand.ask(&format!("POST /v2/other/blobs/uploads/?mount={digest}&from=app")).await;

    assert_eq!((post.status, post.header("location")), (StatusCode::CREATED, &*format!("/v2/other/blobs/{digest}")), "{post:?}");
    assert_eq!(stand.ask(&format!("GET /v2/other/blobs/{digest}")).await.body, "hello");
}

#[tokio::test]
async fn what_cannot_be_mounted_is_answered_with_an_upload() {
    let stand = Stand::new();
    let digest = stand.push("app", "hello").await;
    let absent = Digest::sha256(b"absent");

    for query in [
        format!("mount={digest}&from=nowhere"),
        format!("mount={digest}"),
        format!("mount={digest}&from=BAD"),
        format!("mount={absent}&from=app"),
        "mount=nonsense&from=app".to_owned(),
    ] {
        let post = stand.ask(&format!("POST /v2/other/blobs/uploads/?{query}")).await;

        assert_eq!(post.status, StatusCode::ACCEPTED, "{query}: {post:?}");
        assert_eq!(stand.put(post.header("location"), &digest, "hello").await.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_deleted_blob_is_gone() {
    let stand = Stand::new();
    let digest = stand.push("app", "hello").await;
    let path = format!("/v2/app/blobs/{digest}");

    assert_eq!(stand.ask(&format!("DELETE {path}")).await.status, StatusCode::ACCEPTED);

    for method in ["HEAD", "GET", "DELETE"] {
        assert_eq!(stand.ask(&format!("{method} {path}")).await.status, StatusCode::NOT_FOUND, "{method}");
    }
}

#[tokio::test]
async fn a_range_brings_its_bytes_and_says_which() {
    let stand = Stand::new();
    let digest = stand.push("app", "0123456789").await;
    let get = async |range: &str, if_range: Option<String>| {
        let mut request = Request::get(format!("/v2/app/blobs/{digest}")).header("range", range);
        if let Some(etag) = if_range {
            request = request.header("if-range", etag);
        }
        stand.send(request.body("").unwrap()).await
    };

    for (range, bytes, content_range) in [
        ("bytes=3-", "3456789", "bytes 3-9/10"),
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
    ] {
        let part = get(range, None).await;

        assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, bytes.as_bytes()), "{range}: {part:?}");
        assert_eq!(part.header("content-range"), content_range, "{range}");
    }
    for range in ["bytes=10-", "bytes=99-100", "bytes=-0", "bytes=4-2"] {
        let refused = get(range, None).await;

        assert_eq!(refused.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}: {refused:?}");
        assert_eq!(refused.header("content-range"), "bytes */10", "{range}");
    }
    for (range, if_range) in [("bytes=0-1,4-5", None), ("lines=1-2", None), ("bytes=1-", Some("\"other\"".to_owned()))] {
        let whole = get(range, if_range).await;

        assert_eq!((whole.status, whole.body.len()), (StatusCode::OK, 10), "{range}: {whole:?}");
    }
    assert_eq!(get("bytes=1-", Some(format!("\"{digest}\""))).await.status, StatusCode::PARTIAL_CONTENT);
}

#[tokio::test]
async fn who_has_a_blob_already_is_not_sent_it() {
    let stand = Stand::new();
    let digest = stand.push("app", "hello").await;

    let request = Request::get(format!("/v2/app/blobs/{digest}")).header("if-none-match", format!("\"{digest}\""));
    let answer = stand.send(request.body("").unwrap()).await;

    assert_eq!((answer.status, answer.body), (StatusCode::NOT_MODIFIED, Bytes::new()));
}
