//! Chunked uploads: in order or refused, on any replica, and never wrong bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Request, StatusCode};
use longshore::access::Access;
use longshore::oci::{Algorithm, Digest};
use longshore::registry::Patience;
use longshore::store::MemoryStore;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::broken_store::{BrokenStore, Operation, When, unavailable};
use crate::client::Answer;
use crate::stand::{PATIENCE, Stand, code, message};

fn digest_of(content: &str) -> Digest {
    Digest::sha256(content.as_bytes())
}

/// Where the next chunk goes, and the range held by now.
fn position(answer: &Answer) -> (String, &str) {
    (answer.header("location").to_owned(), answer.header("range"))
}

/// Two servers over one store.
fn replicas() -> [Stand; 2] {
    let one = Stand::new();
    let other = Stand::with(Arc::clone(&one.store), Access::Write, Patience::with_bytes(PATIENCE));
    [one, other]
}

#[tokio::test]
async fn chunks_become_a_blob_whichever_replica_takes_them() {
    let replicas = replicas();
    let mut location = replicas[0].open_upload("app").await;
    for (number, (range, chunk, held)) in
        [("0-4", "hello", "0-4"), ("5-5", " ", "0-5"), ("6-10", "world", "0-10")].into_iter().enumerate()
    {
        let patch = replicas[number % 2].patch(&location, Some(range), chunk).await;

        assert_eq!(patch.status, StatusCode::ACCEPTED, "{patch:?}");
        assert_eq!(position(&patch).1, held);
        location = position(&patch).0;
    }
    let digest = digest_of("hello world");

    let put = replicas[0].put(&location, &digest, "").await;

    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    for stand in &replicas {
        assert_eq!(stand.ask(&format!("GET /v2/app/blobs/{digest}")).await.body, "hello world");
    }
}

#[tokio::test]
async fn the_last_chunk_may_come_with_the_closing_request() {
    let stand = Stand::new();
    for (range, algorithm) in [(Some("5-10"), Algorithm::Sha256), (None, Algorithm::Sha512)] {
        let patch = stand.patch(&stand.open_upload("app").await, None, "hello").await;
        let (location, _) = position(&patch);
        let digest = Digest::of(algorithm, b"hello world");

        let mut put = Request::put(format!("{location}&digest={digest}"));
        if let Some(range) = range {
            put = put.header("content-range", range);
        }
        let put = stand.send(put.body(" world").unwrap()).await;

        assert_eq!(put.status, StatusCode::CREATED, "{range:?}: {put:?}");
        assert_eq!(stand.ask(&format!("GET /v2/app/blobs/{digest}")).await.body, "hello world");
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_told_where_the_upload_stands_and_changes_nothing() {
    let stand = Stand::new();
    let location = position(&stand.patch(&stand.open_upload("app").await, Some("0-4"), "hello").await).0;
    for range in ["0-4", "4-8", "6-10", "99-103"] {
        let patch = stand.patch(&location, Some(range), "world").await;

        assert_eq!(patch.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}: {patch:?}");
        assert_eq!(position(&patch), (location.clone(), "0-4"), "{range}");
    }
    let put = Request::put(format!("{location}&digest={}", digest_of("helloworld"))).header("content-range", "6-10");
    assert_eq!(stand.send(put.body("world").unwrap()).await.status, StatusCode::RANGE_NOT_SATISFIABLE);

    let status = stand.ask(&format!("GET {location}")).await;
    assert_eq!((status.status, position(&status)), (StatusCode::NO_CONTENT, (location.clone(), "0-4")));
    assert_eq!(stand.put(&location, &digest_of("hello"), "").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_content_range_that_lies_is_refused() {
    let stand = Stand::new();
    let location = stand.open_upload("app").await;
    for range in ["0-9", "4-0", "nonsense", "bytes 0-4/5", "-4", "0-"] {
        let patch = stand.patch(&location, Some(range), "hello").await;

        assert_eq!((patch.status, code(&patch).as_str()), (StatusCode::BAD_REQUEST, "SIZE_INVALID"), "{range}: {patch:?}");
        let put = Request::put(format!("{location}?digest={}", digest_of("hello"))).header("content-range", range);
        let put = stand.send(put.body("hello").unwrap()).await;
        assert_eq!((put.status, code(&put).as_str()), (StatusCode::BAD_REQUEST, "SIZE_INVALID"), "{range}: {put:?}");
    }
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn a_chunk_that_breaks_off_is_as_if_it_had_not_been() {
    let stand = Stand::new();
    let location = stand.open_upload("app").await;

    let head = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nhello");
    stand.raw(head.as_bytes()).await;

    let status = stand.ask(&format!("GET {location}")).await;
    assert_eq!((status.status, status.header("range")), (StatusCode::NO_CONTENT, "0-0"));
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn a_chunk_of_unknown_length_is_taken_and_an_empty_one_changes_nothing() {
    let stand = Stand::new();
    let location = stand.open_upload("app").await;
    assert_eq!(stand.patch(&location, None, "").await.status, StatusCode::ACCEPTED);

    let head = format!("PATCH {location} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let answer = stand.raw(format!("{head}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").as_bytes()).await;

    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("range: 0-4"), "{answer}");
    assert_eq!(stand.put(&format!("{location}?holds=5"), &digest_of("hello"), "").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_upload_ends_once_and_its_pieces_go() {
    let stand = Stand::new();
    let location = position(&stand.patch(&stand.open_upload("app").await, None, "hello").await).0;
    let digest = digest_of("hello");
    assert_eq!(stand.put(&location, &digest, "").await.status, StatusCode::CREATED);

    assert_eq!(stand.put(&location, &digest, "").await.status, StatusCode::CREATED, "the answer may have been lost");
    for line in [format!("GET {location}"), format!("PATCH {location}"), format!("DELETE {location}")] {
        let refused = stand.ask(&line).await;
        assert_eq!((refused.status, code(&refused).as_str()), (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"), "{line}");
    }
    let other = stand.put(&location, &digest_of("other"), "").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND, "{other:?}");
}

#[tokio::test]
async fn a_cancelled_upload_is_unknown_and_leaves_no_piece() {
    let stand = Stand::new();
    let empty = stand.open_upload("app").await;
    let location = position(&stand.patch(&stand.open_upload("app").await, None, "hello").await).0;

    for upload in [&empty, &location] {
        assert_eq!(stand.ask(&format!("DELETE {upload}")).await.status, StatusCode::NO_CONTENT, "{upload}");
    }

    assert_eq!(stand.ask(&format!("GET {location}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stand.put(&location, &digest_of("hello"), "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_upload_begun_more_than_a_day_ago_or_ahead_is_unknown() {
    let stand = Stand::new();
    let location = stand.open_upload("app").await;
    let (path, _) = location.rsplit_once('-').unwrap();
    for began in ["0000000001", "ffffffffff", "ffffffffffffffff"] {
        for line in [format!("GET {path}-{began}"), format!("PATCH {path}-{began}"), format!("DELETE {path}-{began}")] {
            let answer = stand.ask(&line).await;

            assert_eq!((answer.status, code(&answer).as_str()), (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"), "{line}");
        }
    }
}

/// Most pieces that an upload may have.
const MAX_PIECES: usize = 10_000;

#[tokio::test]
async fn an_upload_has_so_many_pieces_at_most_and_can_then_only_be_ended() {
    let stand = Stand::new();
    let opened = stand.open_upload("app").await;
    let id = opened.rsplit_once('/').unwrap().1;
    for offset in 0..MAX_PIECES - 1 {
        let piece = format!("app/_oci/uploads/{id}/{offset:020}").parse().unwrap();
        stand.store.put(&piece, "x".into(), "application/octet-stream", PATIENCE).await.unwrap();
    }
    let last = stand.patch(&opened, None, "x").await;
    assert_eq!(position(&last).1, "0-9999", "{last:?}");

    let (location, _) = position(&last);
    let one_more = stand.patch(&location, None, "x").await;

    assert_eq!((one_more.status, code(&one_more).as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"), "{one_more:?}");
    assert!(message(&one_more).contains("at most 10000 chunks"), "{one_more:?}");
    let put = stand.put(&location, &digest_of(&"x".repeat(MAX_PIECES + 1)), "x").await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
}

#[tokio::test]
async fn chunks_of_another_digest_never_become_a_blob() {
    let stand = Stand::new();
    let location = position(&stand.patch(&stand.open_upload("app").await, None, "hello").await).0;
    let wrong = digest_of("goodbye");

    let put = stand.put(&location, &wrong, "").await;

    assert_eq!((put.status, code(&put).as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"), "{put:?}");
    assert_eq!(stand.ask(&format!("HEAD /v2/app/blobs/{wrong}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stand.put(&location, &digest_of("hello"), "").await.status, StatusCode::CREATED, "it goes on");
}

#[tokio::test]
async fn an_old_url_replayed_with_other_bytes_never_ends_in_wrong_bytes() {
    let [one, other] = replicas();
    let opened = one.open_upload("app").await;
    let location = position(&one.patch(&opened, Some("0-4"), "hello").await).0;
    // The other replica has seen nothing of it; the store has.
    let replayed = other.patch(&opened, Some("0-4"), "wrong").await;
    assert_eq!(replayed.status, StatusCode::RANGE_NOT_SATISFIABLE, "{replayed:?}");
    // And had it not looked, or looked too early: the same piece written anew.
    let piece = one.keys().await.into_iter().find(|key| key.contains("/uploads/")).unwrap();
    one.store.put(&piece.parse().unwrap(), "wrong".into(), "application/octet-stream", PATIENCE).await.unwrap();

    let put = one.put(&location, &digest_of("hello"), "").await;

    assert_eq!((put.status, code(&put).as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"), "{put:?}");
    assert_eq!(one.ask(&format!("HEAD /v2/app/blobs/{}", digest_of("hello"))).await.status, StatusCode::NOT_FOUND);
}

/// So many uploads of `hello`, each in one piece, and a replica that has seen nothing of them and so must read them back.
async fn uploads(count: usize) -> (Vec<String>, Stand, Arc<BrokenStore>) {
    let one = Stand::new();
    let store = BrokenStore::around(Arc::clone(&one.store));
    let other = Stand::with(store.clone(), Access::Write, Patience::with_bytes(PATIENCE));
    let mut locations = Vec::new();
    for number in 0..count {
        let opened = one.open_upload(&format!("app{number}")).await;
        locations.push(position(&one.patch(&opened, None, "hello").await).0);
    }
    (locations, other, store)
}

#[tokio::test]
async fn a_chunk_that_the_store_does_not_copy_in_time_is_read_back() {
    let breaks: [fn(When<'_>); 2] = [|copy| copy.stall(), |copy| copy.fail(unavailable)];
    for break_it in breaks {
        let store = BrokenStore::around(Arc::new(MemoryStore::default()));
        let patience = Patience::with_bytes(Duration::from_secs(2));
        let stand = Stand::with(store.clone(), Access::Write, patience);
        break_it(store.when(Operation::Copy));
        let (location, digest) = (stand.open_upload("app").await, digest_of("hello"));
        let (location, _) = position(&stand.patch(&location, None, "hello").await);
        let began = Instant::now();

        let put = stand.put(&location, &digest, "").await;

        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        assert!(began.elapsed() < patience.bytes, "{:?}", began.elapsed());
        assert_eq!((store.calls(Operation::Copy), store.calls_for(Operation::Get, "/uploads/")), (1, 1));
        assert_eq!(stand.ask(&format!("GET /v2/app/blobs/{digest}")).await.body, "hello");
    }
}

#[tokio::test]
async fn no_more_than_eight_uploads_are_read_back_at_once_and_none_is_forgotten() {
    let (locations, other, store) = uploads(12).await;
    let reading = store.when(Operation::Get).key("/uploads/").pause();
    let digest = digest_of("hello");

    let closing = join_all(locations.iter().map(|location| other.put(location, &digest, "")));
    let look = async {
        for _ in 0..8 {
            reading.arrived().await;
        }
        // Time enough for any other to have arrived, too.
        other.ask("GET /v2/app0/tags/list").await;
        assert_eq!(store.calls(Operation::Get), 8);
        drop(reading);
    };
    let (closed, ()) = tokio::join!(closing, look);

    assert!(closed.iter().all(|put| put.status == StatusCode::CREATED), "{closed:?}");
    assert_eq!(store.calls(Operation::Get), 12);
}

#[tokio::test]
async fn who_is_slow_to_send_the_last_chunk_keeps_nobody_from_reading_back() {
    let (locations, other, store) = uploads(9).await;
    let reading = store.when(Operation::Get).key("/uploads/").pause();
    let mut slow = Vec::new();
    for location in &locations[..8] {
        let mut stream = TcpStream::connect(other.address).await.unwrap();
        let put = format!("PUT {location}&digest={} HTTP/1.1", digest_of("hello world"));
        stream.write_all(format!("{put}\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n").as_bytes()).await.unwrap();
        reading.arrived().await;
        slow.push(stream);
    }
    drop(reading);

    let put = tokio::time::timeout(PATIENCE, other.put(&locations[8], &digest_of("hello"), "")).await;

    assert_eq!(put.unwrap().status, StatusCode::CREATED);
}
