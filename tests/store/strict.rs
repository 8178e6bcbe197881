//! The stand-ins for stores that cannot be reached: they refuse what those refuse, and Longshore works with them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation, retry::RetryConfig};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, StatusCode};
use longshore::store::{Misconfiguration, StoreError};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, MIB, content, keys, s3_store, write};
use crate::support::client;
use crate::support::longshore::Launch;
use crate::support::minio::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use crate::support::project::digest_of;
use crate::support::strict::{BUCKET, Kind, Strict, refusal};
use Kind::{Aws, B2, Gcs, R2};

/// How long what must fail is tried.
const SHORT: Duration = Duration::from_millis(300);

/// Sends a request of nothing but this head; the status of the answer, and its code.
async fn ask(strict: &Strict, line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(strict.address).await.unwrap();
    let head = format!("{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n", strict.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), code.to_owned())
}

/// Who refuses something, with which status and code.
type Refusal = (Kind, u16, &'static str);

/// What is refused, by whom and how; what is right but for its missing signature gets as far as `AccessDenied`.
const REFUSED: &[(&str, &str, &[Refusal])] = &[
    ("PUT /stand-in/it", "", &[(Gcs, 411, "MissingContentLength")]),
    ("POST /stand-in/it?uploads", "", &[(Gcs, 411, "MissingContentLength")]),
    ("POST /stand-in/it?uploads", "content-length: 0\r\n", &[]),
    ("POST /stand-in?delete", "content-length: 0\r\n", &[(Gcs, 501, "NotImplemented")]),
    (
        "PUT /stand-in/it",
        "content-length: 0\r\nx-amz-checksum-crc32: AAAAAA==\r\n",
        &[(Gcs, 403, "SignatureDoesNotMatch"), (R2, 501, "NotImplemented"), (B2, 400, "InvalidRequest")],
    ),
    (
        "GET /stand-in/it",
        "x-amz-checksum-mode: ENABLED\r\n",
        &[(Gcs, 403, "SignatureDoesNotMatch"), (R2, 501, "NotImplemented"), (B2, 400, "InvalidRequest")],
    ),
    (
        "PUT /stand-in/it",
        "content-length: 0\r\nx-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER\r\n",
        &[(Gcs, 403, "SignatureDoesNotMatch"), (R2, 501, "NotImplemented"), (B2, 400, "InvalidRequest")],
    ),
    (
        "PUT /stand-in/it",
        "content-length: 0\r\nif-none-match: *\r\n",
        &[(Gcs, 400, "InvalidArgument"), (B2, 501, "NotImplemented")],
    ),
    (
        "POST /stand-in/it?uploadId=1",
        "content-length: 0\r\nif-match: \"1\"\r\n",
        &[(Gcs, 400, "InvalidArgument"), (B2, 501, "NotImplemented")],
    ),
    ("GET /stand-in/it", "if-match: \"1\"\r\n", &[]),
    (
        "PUT /stand-in/it?partNumber=1&uploadId=1",
        "content-length: 0\r\nx-amz-copy-source: stand-in/other\r\n",
        &[(Gcs, 501, "NotImplemented")],
    ),
    (
        "GET /stand-in/it",
        "authorization: AWS4-HMAC-SHA256 SignedHeaders=accept-encoding;host\r\n",
        &[(Gcs, 403, "SignatureDoesNotMatch")],
    ),
    (
        "GET /stand-in/it",
        "authorization: AWS4-HMAC-SHA256 Credential=id/20261125/mars-1/s3/aws4_request\r\n",
        &[(Gcs, 400, "AuthorizationHeaderMalformed"), (R2, 400, "InvalidRegionName"), (B2, 403, "SignatureDoesNotMatch")],
    ),
];

#[tokio::test]
async fn each_kind_refuses_what_its_store_refuses() {
    for (line, headers, refusals) in REFUSED {
        for kind in [Aws, Gcs, R2, B2] {
            let strict = Strict::start(kind);

            let (status, code) = ask(&strict, line, headers).await;

            match refusals.iter().find(|(refusing, ..)| *refusing == kind) {
                Some((_, expected, expected_code)) => {
                    assert_eq!((status, &*code), (*expected, *expected_code), "{line} {headers:?} at {kind:?}");
                }
                None => assert!(
                    matches!(&*code, "AccessDenied" | "InvalidRequest"),
                    "{line} {headers:?} at {kind:?}: {status} {code}"
                ),
            }
        }
    }
}

/// A client of `strict` that is not ours, without checksums.
fn other_client(strict: &Strict) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(strict.kind().region()))
        .endpoint_url(format!("http://{}", strict.address))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .credentials_provider(Credentials::new(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None, None, "test"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

/// Uploads parts of `sizes` as `it`; the code of the refusal to complete that, if any.
async fn upload_in_parts(client: &Client, sizes: &[usize]) -> Option<String> {
    let created = client.create_multipart_upload().bucket(BUCKET).key("it").send().await.unwrap();
    let id = created.upload_id().unwrap();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, size) in (1..).zip(sizes) {
        let part = client.upload_part().bucket(BUCKET).key("it").upload_id(id).part_number(number);
        let sent = part.body(ByteStream::from(content(*size))).send().await.unwrap();
        parts = parts.parts(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("it").upload_id(id);
    let completed = complete.multipart_upload(parts.build()).send().await;
    completed.err().map(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn parts_are_of_the_sizes_that_a_store_takes() {
    for (kind, sizes, refused) in [
        (Aws, [5 * MIB, 6 * MIB, 1], None),
        (Aws, [5 * MIB, MIB, 1], Some("EntityTooSmall")),
        (R2, [5 * MIB, 5 * MIB, 1], None),
        (R2, [5 * MIB, 6 * MIB, 1], Some("InvalidPart")),
        (R2, [5 * MIB, 5 * MIB, 6 * MIB], Some("InvalidPart")),
    ] {
        let strict = Strict::start(kind);
        let client = other_client(&strict);

        assert_eq!(upload_in_parts(&client, &sizes).await.as_deref(), refused, "{kind:?} {sizes:?}");
        assert_eq!(client.head_object().bucket(BUCKET).key("it").send().await.is_ok(), refused.is_none(), "{kind:?} {sizes:?}");
    }
}

#[tokio::test]
async fn a_name_of_gcs_is_written_once_a_second_and_longshore_waits_for_it() {
    let strict = Strict::start(Gcs);
    let put = || other_client(&strict).put_object().bucket(BUCKET).key("it").body(ByteStream::from_static(b"hello")).send();
    assert!(put().await.is_ok());
    let refused = put().await.unwrap_err();
    assert_eq!(refused.raw_response().unwrap().status().as_u16(), 429);

    let bench = Bench::over(s3_store(strict.settings(strict.address), 64 * MIB).await);
    let began = Instant::now();
    bench.put("it", "one").await;
    bench.put("it", "two").await;

    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(bench.read("it").await.unwrap(), b"two");
}

#[tokio::test]
async fn what_is_signed_wrongly_or_hashes_to_something_else_is_refused_and_invisible() {
    for kind in [Aws, Gcs, R2, B2] {
        let strict = Strict::start(kind);
        let mut settings = strict.settings(strict.address);
        let bench = Bench::over(s3_store(settings.clone(), 64 * MIB).await);
        settings.credentials = keys(ACCESS_KEY_ID, "another-secret");
        let stranger = Bench::over(s3_store(settings, 64 * MIB).await);

        let probed = stranger.store.probe(SHORT).await;
        let mut upload = bench.store.upload(&bench.key("it"), Some(3), SHORT).await.unwrap();
        write(&mut *upload, content(3)).await.unwrap();
        let finished = upload.finish(Some(Sha256::digest("another").into())).await;

        let is_told = matches!(probed, Err(StoreError::Misconfigured(Misconfiguration::WrongSecret { .. })));
        assert!(is_told, "{kind:?}: {probed:?}");
        assert!(finished.is_err(), "{kind:?}");
        assert!(bench.is_absent("it").await, "{kind:?}");
    }
}

#[tokio::test]
async fn who_visits_before_the_bucket_may_answer_in_its_place() {
    let strict = Strict::start(Aws);
    let completes = AtomicUsize::new(0);
    strict.before(move |head| {
        let is_complete = head.method == Method::POST && head.uri.query().is_some_and(|query| query.contains("uploadId="));
        let is_first = is_complete && completes.fetch_add(1, Ordering::SeqCst) == 0;
        // As Amazon S3 does when it finds out too late (S3 API, CompleteMultipartUpload).
        async move { is_first.then(|| refusal(200, "InternalError", "We encountered an internal error.")) }.boxed()
    });
    let bench = Bench::over(s3_store(strict.settings(strict.address), 64 * MIB).await);

    let mut upload = bench.upload("it", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    upload.finish(None).await.unwrap();

    assert!(bench.read("it").await.unwrap() == content(17 * MIB));
}

#[tokio::test]
async fn an_image_goes_to_google_and_comes_back() {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let strict = Strict::start(Gcs);
    let launch = Launch::on(&format!("gs://{BUCKET}/team/cache"))
        .env("LONGSHORE_ENDPOINT", &format!("http://{}", strict.address))
        .env("LONGSHORE_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("LONGSHORE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    let longshore = launch.start().await;
    let blobs = [Bytes::from_static(b"{}"), content(200_000), content(20 * MIB)];
    let described: Vec<_> = blobs.iter().map(|blob| (digest_of(&blob[..]).unwrap(), blob.len())).collect();
    let descriptor =
        |media_type: &str, (digest, size): &(String, usize)| json!({"mediaType": media_type, "digest": digest, "size": size});
    let layers: Vec<_> = described[1..].iter().map(|it| descriptor("application/vnd.oci.image.layer.v1.tar", it)).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", &described[0]);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).to_string();

    for (blob, (digest, _)) in blobs.iter().zip(&described) {
        let pushed = client::push_blob(longshore.address, "org/app", digest, blob.clone()).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
    }
    // The second within the second in which the name is closed.
    for _ in 0..2 {
        let put = Request::put("/v2/org/app/manifests/latest").header("content-type", MANIFEST);
        let put = client::send(longshore.address, put.body(Bytes::from(manifest.clone())).unwrap()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }

    assert_eq!(client::pull_manifest(longshore.address, "org/app", "latest").await.body, manifest);
    for (blob, (digest, _)) in blobs.iter().zip(&described) {
        let pulled = client::ask(longshore.address, "GET", &format!("/v2/org/app/blobs/{digest}")).await;
        assert!(pulled.body == *blob, "{digest}: {}", pulled.status);
    }
}
