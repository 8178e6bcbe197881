//! What `ObjectStore` and `Upload` promise, each promise a sentence that every store is held to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore::oci::ByteRange;
use longshore::store::{Key, OCTET_STREAM, Object, StoreError};
use tokio::task::{JoinHandle, JoinSet};

use crate::bench::{Bench, MIB, PATIENCE, collect, content, write};

macro_rules! hold_every_store_to {
    ($($promise:ident)*) => {
        hold_every_store_to! { memory { $($promise)* } }
        hold_every_store_to! { folder { $($promise)* } }
        hold_every_store_to! { s3 { $($promise)* } }
        hold_every_store_to! { versitygw { $($promise)* } }
        hold_every_store_to! { ceph { $($promise)* } }
        hold_every_store_to! { strict_gcs { $($promise)* } }
        hold_every_store_to! { strict_r2 { $($promise)* } }
        hold_every_store_to! { strict_b2 { $($promise)* } }
    };
    ($store:ident { $($promise:ident)* }) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                super::$promise(crate::bench::Bench::$store().await).await;
            })*
        }
    };
}

hold_every_store_to! {
    what_was_never_written_is_not_there
    what_is_put_comes_back_with_its_size_and_type
    what_is_put_again_replaces_bytes_and_type
    a_range_brings_its_bytes_and_says_where_they_are
    a_range_without_a_byte_is_out_of_range
    nothing_is_visible_before_an_upload_is_finished
    an_upload_that_is_aborted_or_dropped_leaves_what_was_there
    a_small_upload_comes_back
    an_upload_at_the_edge_of_one_request_comes_back
    a_large_upload_comes_back
    an_upload_takes_the_place_of_any_object
    whoever_reads_while_uploads_finish_reads_one_of_them_whole
    who_began_to_read_before_an_overwrite_never_gets_other_bytes
    who_began_to_read_before_a_delete_never_gets_other_bytes
    two_uploads_of_one_key_at_once_both_succeed_and_one_of_them_stays
    what_is_deleted_is_gone_and_may_be_deleted_again
    a_listing_is_in_the_order_of_the_keys_bytes
    a_listing_tells_size_age_and_etag
    more_than_a_page_is_listed_page_by_page
    the_folders_under_a_prefix_are_named_once_each
    a_copy_is_the_object_at_another_key_too
    a_copy_of_something_else_or_nothing_is_none
    the_etag_changes_with_the_bytes
    last_modified_is_near_now_and_never_goes_back
    what_is_touched_is_young_and_otherwise_as_it_was
    what_was_just_begun_or_is_over_is_no_old_unfinished_upload
}

async fn what_was_never_written_is_not_there(bench: Bench) {
    bench.put("there", "hello").await;

    for name in ["absent", "the", "there-too", "folder/absent"] {
        assert!(bench.is_absent(name).await, "{name}");
        assert!(bench.get(name, Some(ByteRange::From(0))).await.unwrap().is_none(), "{name}");
    }
}

async fn what_is_put_comes_back_with_its_size_and_type(bench: Bench) {
    for (name, bytes, content_type) in [
        ("empty", content(0), OCTET_STREAM),
        ("empty-typed", content(0), "application/json"),
        ("octets", content(5), OCTET_STREAM),
        ("typed", content(5), "application/vnd.oci.image.manifest.v1+json; digest=sha512"),
        ("larger", content(3 * MIB), "text/plain"),
    ] {
        bench.put_as(name, bytes.clone(), content_type).await;

        let object = bench.get(name, None).await.unwrap().unwrap();
        assert_eq!(Some(&object.meta), bench.head(name).await.as_ref(), "{name}");
        assert_eq!((object.meta.size, &*object.meta.content_type), (bytes.len() as u64, content_type), "{name}");
        assert_eq!((object.offset, object.length), (0, bytes.len() as u64), "{name}");
        assert!(collect(object).await.unwrap() == bytes, "{name} comes back as it is");
    }
}

async fn what_is_put_again_replaces_bytes_and_type(bench: Bench) {
    for (bytes, content_type) in
        [("one", "text/plain"), ("a longer one", "text/plain"), ("one", "application/json"), ("", OCTET_STREAM), ("1", "a/b")]
    {
        bench.put_as("it", bytes, content_type).await;

        let meta = bench.head("it").await.unwrap();
        assert_eq!((meta.size, &*meta.content_type), (bytes.len() as u64, content_type));
        assert_eq!(bench.read("it").await.unwrap(), bytes.as_bytes());
    }
}

async fn a_range_brings_its_bytes_and_says_where_they_are(bench: Bench) {
    let (ten, large) = (Bytes::from("0123456789"), content(3 * MIB));
    bench.put("ten", ten.clone()).await;
    bench.put_as("large", large.clone(), OCTET_STREAM).await;

    for (name, all, range, offset, length) in [
        ("ten", &ten, ByteRange::From(0), 0, 10),
        ("ten", &ten, ByteRange::From(9), 9, 1),
        ("ten", &ten, ByteRange::Within(0, 0), 0, 1),
        ("ten", &ten, ByteRange::Within(2, 4), 2, 3),
        ("ten", &ten, ByteRange::Within(8, 99), 8, 2),
        ("ten", &ten, ByteRange::Within(0, u64::MAX), 0, 10),
        ("ten", &ten, ByteRange::Last(3), 7, 3),
        ("ten", &ten, ByteRange::Last(99), 0, 10),
        ("large", &large, ByteRange::From(1_000_000), 1_000_000, 3 * MIB - 1_000_000),
        ("large", &large, ByteRange::Within(1_000_000, 2_499_999), 1_000_000, 1_500_000),
    ] {
        let object = bench.get(name, Some(range)).await.unwrap().unwrap();

        assert_eq!((object.offset, object.length), (offset as u64, length as u64), "{name} {range:?}");
        assert_eq!(Some(&object.meta), bench.head(name).await.as_ref(), "{name} {range:?}");
        assert!(collect(object).await.unwrap() == all[offset..offset + length], "{name} {range:?}");
    }
}

async fn a_range_without_a_byte_is_out_of_range(bench: Bench) {
    bench.put("ten", "0123456789").await;
    bench.put("empty", "").await;
    bench.put_as("empty-octets", "", OCTET_STREAM).await;

    for (name, range) in [
        ("ten", ByteRange::From(10)),
        ("ten", ByteRange::From(u64::MAX)),
        ("ten", ByteRange::Within(10, 99)),
        ("ten", ByteRange::Last(0)),
        ("empty", ByteRange::From(0)),
        ("empty", ByteRange::Within(0, 5)),
        ("empty", ByteRange::Last(5)),
        ("empty-octets", ByteRange::From(0)),
        ("empty-octets", ByteRange::Last(1)),
    ] {
        let outcome = bench.get(name, Some(range)).await;

        assert!(matches!(outcome, Err(StoreError::OutOfRange)), "{name} {range:?}: {outcome:?}");
    }
}

async fn nothing_is_visible_before_an_upload_is_finished(bench: Bench) {
    for (name, size, length) in [
        ("small", 3, Some(3)),
        ("small-unknown", 3, None),
        ("large", 17 * MIB, Some(17 * MIB)),
        ("large-unknown", 17 * MIB, None),
    ] {
        let mut upload = bench.upload(name, length).await;
        assert!(bench.is_absent(name).await, "{name} before its first byte");
        write(&mut *upload, content(size)).await.unwrap();
        assert!(bench.is_absent(name).await, "{name} before it is finished");

        upload.finish(None).await.unwrap();

        assert_eq!(bench.head(name).await.map(|meta| meta.size), Some(size as u64), "{name}");
    }
}

async fn an_upload_that_is_aborted_or_dropped_leaves_what_was_there(bench: Bench) {
    bench.put("there", "hello").await;
    for size in [0, 3, 17 * MIB] {
        for length in [Some(size), None] {
            for name in ["there", "new"] {
                let mut aborted = bench.upload(name, length).await;
                write(&mut *aborted, content(size)).await.unwrap();
                aborted.abort().await;
                let mut dropped = bench.upload(name, length).await;
                write(&mut *dropped, content(size)).await.unwrap();
                drop(dropped);
            }
        }
    }
    bench.store.settle().await;

    assert_eq!(bench.names("").await, ["there"]);
    assert!(bench.is_absent("new").await);
    assert_eq!(bench.read("there").await.unwrap(), b"hello");
}

async fn a_small_upload_comes_back(bench: Bench) {
    for size in [0, 1, 3 * MIB] {
        an_upload_comes_back(&bench, size).await;
    }
}

async fn an_upload_at_the_edge_of_one_request_comes_back(bench: Bench) {
    for size in [16 * MIB, 16 * MIB + 1] {
        an_upload_comes_back(&bench, size).await;
    }
}

async fn a_large_upload_comes_back(bench: Bench) {
    an_upload_comes_back(&bench, 40 * MIB).await;
}

async fn an_upload_comes_back(bench: &Bench, size: usize) {
    let bytes = content(size);
    for length in [Some(size), None] {
        let name = format!("{size}-{length:?}");

        let mut upload = bench.upload(&name, length).await;
        write(&mut *upload, bytes.clone()).await.unwrap();
        let etag = upload.finish(None).await.unwrap();

        let meta = bench.head(&name).await.unwrap();
        assert_eq!(etag, meta.etag, "{name}");
        assert_eq!((meta.size, &*meta.content_type), (size as u64, OCTET_STREAM), "{name}");
        assert!(bench.read(&name).await.unwrap() == bytes, "{name} comes back as it is");
    }
}

async fn an_upload_takes_the_place_of_any_object(bench: Bench) {
    for size in [0, 3, 17 * MIB] {
        bench.put_as("it", "hello", "text/plain").await;

        let mut upload = bench.upload("it", Some(size)).await;
        write(&mut *upload, content(size)).await.unwrap();
        upload.finish(None).await.unwrap();

        let meta = bench.head("it").await.unwrap();
        assert_eq!((meta.size, &*meta.content_type), (size as u64, OCTET_STREAM));
        assert!(bench.read("it").await.unwrap() == content(size), "{size} bytes");
    }
}

async fn whoever_reads_while_uploads_finish_reads_one_of_them_whole(bench: Bench) {
    const LETTERS: &[u8] = b"abcdefgh";
    let (has_ended, mut readers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    bench.put("it", letters(b'a')).await;
    for _ in 0..2 {
        let (bench, has_ended) = (bench.clone(), Arc::clone(&has_ended));
        readers.spawn(async move {
            while !has_ended.load(Ordering::Relaxed) {
                let object = bench.get("it", None).await.unwrap().expect("always one of them");
                let Ok(read) = collect(object).await else { continue };
                assert!(LETTERS.contains(&read[0]) && read == letters(read[0]), "two objects in one");
            }
        });
    }

    for letter in LETTERS {
        let mut upload = bench.upload("it", None).await;
        write(&mut *upload, letters(*letter)).await.unwrap();
        upload.finish(None).await.unwrap();
        assert!(bench.read("it").await.unwrap() == letters(*letter), "who is told that it is done sees it");
    }

    has_ended.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
}

/// More than one request's worth of one letter.
fn letters(letter: u8) -> Bytes {
    vec![letter; 9 * MIB + usize::from(letter)].into()
}

async fn who_began_to_read_before_an_overwrite_never_gets_other_bytes(bench: Bench) {
    let old = content(24 * MIB);
    bench.put("it", old.clone()).await;
    let (began, object) = first_chunk(&bench).await;

    let overwriting = bench.clone();
    let overwrite = tokio::spawn(async move { overwriting.put("it", vec![b'x'; 24 * MIB]).await });

    rest_is_no_other(&old, began, object, overwrite).await;
    assert!(bench.read("it").await.unwrap() == vec![b'x'; 24 * MIB]);
}

async fn who_began_to_read_before_a_delete_never_gets_other_bytes(bench: Bench) {
    let old = content(24 * MIB);
    bench.put("it", old.clone()).await;
    let (began, object) = first_chunk(&bench).await;

    let deleting = bench.clone();
    let delete = tokio::spawn(async move { deleting.delete("it").await });

    rest_is_no_other(&old, began, object, delete).await;
    assert!(bench.is_absent("it").await);
}

async fn first_chunk(bench: &Bench) -> (Vec<u8>, Object) {
    let mut object = bench.get("it", None).await.unwrap().unwrap();
    let first = object.body.try_next().await.unwrap().unwrap();
    (first.to_vec(), object)
}

/// Reads on once `change` is done, or waits for the reader, as it does in MinIO.
async fn rest_is_no_other(old: &[u8], mut read: Vec<u8>, mut object: Object, mut change: JoinHandle<()>) {
    let done = tokio::time::timeout(Duration::from_secs(1), &mut change).await;
    while let Some(chunk) = object.body.next().await {
        match chunk {
            Ok(bytes) => read.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    assert!(old.starts_with(&read), "other bytes");
    drop(object);
    match done {
        Ok(done) => done.unwrap(),
        Err(_) => change.await.unwrap(),
    }
}

async fn two_uploads_of_one_key_at_once_both_succeed_and_one_of_them_stays(bench: Bench) {
    for size in [3, 17 * MIB] {
        let (one, other) = (Bytes::from(vec![b'1'; size]), Bytes::from(vec![b'2'; size]));
        let mut uploads = [bench.upload("it", Some(size)).await, bench.upload("it", Some(size)).await];
        for (upload, bytes) in uploads.iter_mut().zip([&one, &other]) {
            write(&mut **upload, bytes.clone()).await.unwrap();
        }

        let [first, second] = uploads;
        let (first, second) = tokio::join!(first.finish(None), second.finish(None));

        assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
        let stays = bench.read("it").await.unwrap();
        assert!(stays == one || stays == other, "neither of them");
    }
}

/// 320 MiB, so that uploads wait for each other's memory where it is bounded.
pub async fn sixteen_uploads_at_once_all_succeed(bench: Bench) {
    let (bytes, mut uploads) = (content(20 * MIB), JoinSet::new());
    for number in 0..16 {
        let (bench, bytes) = (bench.clone(), bytes.clone());
        let length = (number % 2 == 0).then_some(bytes.len());
        uploads.spawn(async move {
            let mut upload = bench.upload(&number.to_string(), length).await;
            write(&mut *upload, bytes).await?;
            upload.finish(None).await
        });
    }

    while let Some(upload) = uploads.join_next().await {
        upload.unwrap().unwrap();
    }

    let sizes: Vec<_> = bench.list("").await.into_iter().map(|(_, object)| object.size).collect();
    assert_eq!(sizes, [20 * MIB as u64; 16]);
}

async fn what_is_deleted_is_gone_and_may_be_deleted_again(bench: Bench) {
    bench.put("folder/one", "1").await;
    bench.put("folder/other", "2").await;
    bench.delete("folder/absent").await;
    bench.delete("absent/absent").await;
    assert_eq!(bench.names("").await, ["folder/one", "folder/other"]);

    bench.delete("folder/one").await;
    bench.delete("folder/one").await;

    assert!(bench.is_absent("folder/one").await);
    assert_eq!(bench.names("").await, ["folder/other"]);

    bench.delete("folder/other").await;
    bench.put("folder", "a folder that is empty is none").await;

    assert_eq!(bench.names("").await, ["folder"]);
}

async fn a_listing_is_in_the_order_of_the_keys_bytes(bench: Bench) {
    let ordered = ["A", "B/c", "a!c", "a%2f", "a-b", "a.b", "a/b", "a/b-c", "a/b.d", "a/c/d", "a/é", "a0", "aa", "b/a", "é"];
    assert!(ordered.is_sorted());
    for name in ordered.iter().rev() {
        bench.put(name, *name).await;
    }

    for (prefix, after) in [
        ("", ""),
        ("a", ""),
        ("a/", ""),
        ("a/b", ""),
        ("B/c", ""),
        ("c", ""),
        ("a/b/", ""),
        ("", "a-b"),
        ("", "a/b"),
        ("", "a/b0"),
        ("", "a/zz"),
        ("", "é"),
        ("a", "A"),
        ("a/", "a/b"),
        ("a/", "b"),
    ] {
        let listed = page(&bench, prefix, (!after.is_empty()).then(|| bench.key(after))).await;

        let expected: Vec<_> = ordered.into_iter().filter(|name| name.starts_with(prefix) && *name > after).collect();
        assert_eq!(listed, expected, "{prefix:?} after {after:?}");
    }
    assert_eq!(page(&bench, "", Some("before".parse().unwrap())).await, ordered, "after a key before the root");
    assert!(bench.store.list("roo", None, PATIENCE).await.unwrap().objects.len() >= ordered.len());
}

async fn page(bench: &Bench, prefix: &str, after: Option<Key>) -> Vec<String> {
    let prefix = format!("root/{prefix}");
    let page = bench.store.list(&prefix, after.as_ref(), PATIENCE).await.unwrap();
    assert!(!page.is_truncated, "{prefix}");
    page.objects.iter().map(|object| bench.name(&object.key)).collect()
}

async fn a_listing_tells_size_age_and_etag(bench: Bench) {
    for (name, size, content_type) in
        [("empty", 0, OCTET_STREAM), ("larger", 70_000, OCTET_STREAM), ("typed", 5, "application/json")]
    {
        bench.put_as(name, content(size), content_type).await;
    }

    for (name, listed) in bench.list("").await {
        let meta = bench.head(&name).await.unwrap();
        assert_eq!(listed.size, meta.size, "{name}");
        assert_eq!(listed.etag, meta.etag, "{name}");
        // A listing of S3 tells milliseconds, a HEAD seconds.
        assert_eq!(seconds(listed.last_modified), seconds(meta.last_modified), "{name}");
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

async fn more_than_a_page_is_listed_page_by_page(bench: Bench) {
    let mut names: Vec<_> = (0..1050).map(|number| format!("{number:04}/it")).collect();
    stream::iter(&names).for_each_concurrent(64, |name| bench.put_as(name, "1", OCTET_STREAM)).await;

    let page = bench.store.list("root/", None, PATIENCE).await.unwrap();

    assert!(page.is_truncated && page.objects.len() <= 1000, "{} objects", page.objects.len());
    assert_eq!(bench.names("").await, names);
    let mut folders = bench.store.folders("root/", PATIENCE).await.unwrap();
    folders.sort();
    assert!(folders.len() == names.len() && folders.iter().zip(&names).all(|(folder, name)| *name == format!("{folder}/it")));

    stream::iter(names.split_off(1000)).for_each_concurrent(64, async |name| bench.delete(&name).await).await;
    assert_eq!(bench.names("").await, names, "1000 are listed too, and no page more than there is");
}

async fn the_folders_under_a_prefix_are_named_once_each(bench: Bench) {
    for name in ["a/b/1", "a/b/2", "a/c/d/3", "a-b/4", "a/5", "A/6", "é/7", "8"] {
        bench.put(name, name).await;
    }

    for (prefix, expected) in
        [("", &["A", "a", "a-b", "é"][..]), ("a/", &["b", "c"]), ("a/c/", &["d"]), ("a/b/", &[]), ("absent/", &[])]
    {
        let mut folders = bench.store.folders(&format!("root/{prefix}"), PATIENCE).await.unwrap();
        folders.sort();

        assert_eq!(folders, expected, "{prefix:?}");
    }
    assert_eq!(bench.store.folders("", PATIENCE).await.unwrap(), ["root"]);
}

async fn a_copy_is_the_object_at_another_key_too(bench: Bench) {
    for (from, bytes, content_type) in [
        ("octets", content(5), OCTET_STREAM),
        ("typed", content(5), "application/json"),
        ("a/b c+%2f&é", content(5), "text/plain"),
        ("empty", content(0), OCTET_STREAM),
        ("large", content(17 * MIB), OCTET_STREAM),
    ] {
        bench.put_as(from, bytes.clone(), content_type).await;
        bench.put("taken", "hello").await;
        let etag = bench.head(from).await.unwrap().etag;
        for to in ["taken", &format!("new/{from}")] {
            assert!(bench.store.copy(&bench.key(from), &etag, &bench.key(to), PATIENCE).await.unwrap(), "{from}");

            let meta = bench.head(to).await.unwrap();
            assert_eq!((meta.size, &*meta.content_type), (bytes.len() as u64, content_type), "{from}");
            assert!(bench.read(to).await.unwrap() == bytes, "{from}");
        }
        bench.delete(from).await;
        assert!(bench.read("taken").await.unwrap() == bytes, "{from} is gone, its copy is not");
    }
}

async fn a_copy_of_something_else_or_nothing_is_none(bench: Bench) {
    bench.put("it", "one").await;
    bench.put("taken", "hello").await;
    let etag = bench.head("it").await.unwrap().etag;
    bench.put("it", "two").await;

    for from in ["it", "absent"] {
        for to in ["new", "taken"] {
            let copied = bench.store.copy(&bench.key(from), &etag, &bench.key(to), PATIENCE).await;
            assert!(matches!(copied, Ok(false)), "{from}: {copied:?}");
        }
    }

    assert!(bench.is_absent("new").await);
    assert_eq!(bench.read("taken").await.unwrap(), b"hello");
}

async fn the_etag_changes_with_the_bytes(bench: Bench) {
    let mut etags = Vec::new();
    for bytes in ["one", "two", "", "longer"] {
        bench.put("it", bytes).await;
        etags.push(bench.head("it").await.unwrap().etag);
    }
    for letter in [b'a', b'b'] {
        let mut upload = bench.upload("it", None).await;
        upload.write(vec![letter; 17 * MIB].into()).await.unwrap();
        upload.finish(None).await.unwrap();
        etags.push(bench.head("it").await.unwrap().etag);
    }

    let mut different = etags.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), etags.len(), "{etags:?}");
    assert_eq!(bench.head("it").await.map(|meta| meta.etag).as_ref(), etags.last(), "it changes with nothing else");
}

async fn last_modified_is_near_now_and_never_goes_back(bench: Bench) {
    let mut last = SystemTime::UNIX_EPOCH;
    for round in 0..5_u8 {
        let before = SystemTime::now();
        bench.put("it", vec![round]).await;
        let after = SystemTime::now();

        let modified = bench.head("it").await.unwrap().last_modified;

        // By the store's clock, in whole seconds.
        let slack = Duration::from_secs(1);
        assert!(before - slack <= modified && modified <= after + slack, "{before:?} {modified:?} {after:?}");
        assert!(modified >= last, "{modified:?} after {last:?}");
        last = modified;
    }
}

async fn what_is_touched_is_young_and_otherwise_as_it_was(bench: Bench) {
    assert!(!bench.store.touch(&bench.key("absent"), PATIENCE).await.unwrap());
    let objects = [
        ("octets", content(5), OCTET_STREAM),
        ("a/typed +%2f&é", content(5), "application/vnd.oci.image.manifest.v1+json; digest=sha512"),
        ("large", content(17 * MIB), OCTET_STREAM),
    ];
    for (name, bytes, content_type) in &objects {
        bench.put_as(name, bytes.clone(), content_type).await;
    }
    // Stores tell whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let before = SystemTime::now() - Duration::from_secs(1);

    for (name, bytes, content_type) in objects {
        let written = bench.head(name).await.unwrap().last_modified;
        let touched = bench.store.touch(&bench.key(name), PATIENCE).await;

        let meta = bench.head(name).await.unwrap();
        if let Some(why) = bench.keeps_ages {
            assert!(matches!(touched, Err(StoreError::Unavailable(_))), "{name}, though {why}: {touched:?}");
        } else {
            assert!(touched.unwrap(), "{name}");
            assert!(meta.last_modified > written && meta.last_modified >= before, "{name}: {written:?} {meta:?}");
        }
        assert_eq!((meta.size, &*meta.content_type), (bytes.len() as u64, content_type), "{name}");
        assert!(bench.read(name).await.unwrap() == bytes, "{name}");
    }
    assert!(bench.is_absent("absent").await);
}

async fn what_was_just_begun_or_is_over_is_no_old_unfinished_upload(bench: Bench) {
    for size in [3, 17 * MIB] {
        for name in ["finished", "aborted"] {
            let mut upload = bench.upload(name, Some(size)).await;
            write(&mut *upload, content(size)).await.unwrap();
            if name == "finished" { drop(upload.finish(None).await.unwrap()) } else { upload.abort().await }
        }
    }
    let mut begun = bench.upload("begun", Some(17 * MIB)).await;
    write(&mut *begun, content(9 * MIB)).await.unwrap();
    let (an_hour, now) = (Duration::from_secs(3600), SystemTime::now());

    for prefix in ["root/", "root/begun", "root/finished", "root/aborted", ""] {
        let told = bench.store.unfinished(prefix, now - an_hour, PATIENCE).await.unwrap();
        assert!(told.is_none_or(|told| told.is_empty()), "{prefix:?}: it was begun just now");
    }
    for prefix in ["root/finished", "root/aborted"] {
        let told = bench.store.unfinished(prefix, now + an_hour, PATIENCE).await.unwrap();
        assert!(told.is_none_or(|told| told.is_empty()), "{prefix:?}: it is over");
    }
    write(&mut *begun, content(8 * MIB)).await.unwrap();
    begun.finish(None).await.unwrap();
    assert_eq!(bench.head("begun").await.unwrap().size, 17 * MIB as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_uploads_at_once_all_succeed_in_memory() {
    sixteen_uploads_at_once_all_succeed(Bench::memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_uploads_at_once_all_succeed_in_a_folder() {
    sixteen_uploads_at_once_all_succeed(Bench::folder().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_uploads_at_once_all_succeed_in_a_bucket_within_32_mib() {
    sixteen_uploads_at_once_all_succeed(Bench::s3_with_memory(32 * MIB).await).await;
}
