//! Large objects, whose parts are read side by side.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use longshore::credentials::Surroundings;
use longshore::metrics::ProfileMetrics;
use longshore::oci::ByteRange;
use longshore::store::{MemoryBudget, Object, S3Store, Share, StoreError};

use super::{Doorway, SOON};
use crate::bench::{Bench, MIB, collect, content, settings, write};
use crate::support::door::{Action, Mode, S3Operation, Seen};
use crate::support::eventually;

/// What a large object is read in.
const PART: usize = 8 * MIB;

/// A bucket behind a door, and the memory that those who read it share.
struct Library {
    doorway: Doorway,
    memory: Arc<MemoryBudget>,
    share: Share,
}

impl Library {
    /// One with an object of `size` bytes, and so much memory.
    async fn with(size: usize, memory: usize) -> Self {
        let mut doorway = Doorway::open().await;
        let memory = Arc::new(MemoryBudget::new(memory as u64));
        let share = memory.share();
        let store =
            S3Store::new(settings(doorway.door.address), &Surroundings::default(), share.clone(), ProfileMetrics::default())
                .await
                .unwrap();
        doorway.bench = Bench::over(store);
        doorway.bench.put("it", content(size)).await;
        doorway.door.forget();
        Self { doorway, memory, share }
    }

    async fn open(&self, range: Option<ByteRange>) -> Object {
        self.doorway.bench.get("it", range).await.unwrap().unwrap()
    }

    /// How many requests for a part have come.
    fn asked(&self) -> usize {
        self.doorway.door.seen_operations(S3Operation::GetObject).len()
    }

    /// Waits until nobody holds more than `bytes`.
    async fn holds_at_most(&self, bytes: u64) {
        let held = || async { (self.memory.held() <= bytes).then_some(()) };
        eventually(&format!("no more than {bytes} bytes held"), SOON, held).await;
    }
}

fn is_part(seen: &Seen, nth: usize) -> bool {
    seen.operation() == S3Operation::GetObject && seen.header("range").starts_with(&format!("bytes={}-", nth * PART))
}

/// Reads from `object` until `bytes` have come.
async fn read_some(object: &mut Object, bytes: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < bytes {
        read.extend_from_slice(&object.body.next().await.unwrap().unwrap());
    }
    read
}

#[tokio::test]
async fn parts_that_arrive_in_any_order_are_handed_on_in_theirs() {
    let library = Library::with(6 * PART + 5, 64 * MIB).await;
    let held: Vec<_> = [1, 3].map(|nth| library.doorway.door.trip(1, Action::Hold, move |seen| is_part(seen, nth))).into();
    let mut object = library.open(None).await;
    let reading = tokio::spawn(async move {
        let mut read = Vec::new();
        while let Some(chunk) = object.body.next().await {
            read.extend_from_slice(&chunk.unwrap());
        }
        read
    });

    for (part, last) in held.iter().zip([2, 4]) {
        part.sprung(SOON).await;
        let came = || async {
            library
                .doorway
                .door
                .seen()
                .iter()
                .any(|seen| is_part(seen, last) && seen.downloaded_bytes() == PART as u64)
                .then_some(())
        };
        eventually("the part after it", SOON, came).await;
        part.release();
    }

    assert!(reading.await.unwrap() == content(6 * PART + 5), "other bytes");
    library.holds_at_most(0).await;
}

#[tokio::test]
async fn the_first_bytes_come_before_anything_else_is_asked_for() {
    let library = Library::with(3 * PART, 64 * MIB).await;
    let mut object = library.open(None).await;

    object.body.next().await.unwrap().unwrap();

    assert_eq!((library.asked(), library.memory.held()), (1, 0));
}

#[tokio::test]
async fn who_looks_and_leaves_costs_one_request_and_frees_what_was_held_at_once() {
    let library = Library::with(12 * PART, 64 * MIB).await;
    drop(library.open(None).await);
    assert_eq!(library.asked(), 1);

    let mut object = library.open(None).await;
    read_some(&mut object, 2 * MIB).await;
    eventually("something is read ahead", SOON, || async { (library.memory.held() > 0).then_some(()) }).await;
    drop(object);

    library.holds_at_most(0).await;
}

#[tokio::test]
async fn a_download_for_which_there_is_no_memory_gets_on_all_the_same() {
    let library = Library::with(3 * PART + 1, 64 * MIB).await;
    let taken: Vec<_> = std::iter::from_fn(|| library.share.reserve(PART as u64)).collect();
    let held = library.memory.held();

    let read = collect(library.open(None).await).await.unwrap();

    assert!(read == content(3 * PART + 1), "other bytes");
    assert_eq!((library.asked(), library.memory.held()), (4, held));
    drop(taken);
}

#[tokio::test]
async fn a_reader_that_stands_still_holds_nothing_after_a_while_and_may_go_on() {
    let library = Library::with(12 * PART, 64 * MIB).await;
    let mut object = library.open(None).await;
    // Into the second part, which was read ahead.
    let mut read = read_some(&mut object, PART + 2 * MIB).await;
    eventually("it is read ahead", SOON, || async { (library.memory.held() > 2 * PART as u64).then_some(()) }).await;

    library.holds_at_most(0).await;

    while let Some(chunk) = object.body.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }
    assert!(read == content(12 * PART), "other bytes");
    assert!(library.asked() <= 12 + 7, "what was given back is asked for once more: {}", library.asked());
    library.holds_at_most(0).await;
}

#[tokio::test]
async fn no_more_is_read_ahead_than_leaves_two_parts_to_uploads() {
    let library = Library::with(20 * PART, 64 * MIB).await;
    let mut object = library.open(None).await;
    read_some(&mut object, 2 * MIB).await;
    eventually("all that may be", SOON, || async { (library.memory.held() == 5 * PART as u64).then_some(()) }).await;

    let mut upload = library.doorway.bench.upload("new", Some(40 * MIB)).await;
    let writing = async { write(&mut *upload, content(40 * MIB)).await.unwrap() };
    tokio::time::timeout(SOON, writing).await.expect("memory for an upload");

    assert!(library.asked() <= 6);
}

#[tokio::test]
async fn who_asks_for_the_rest_of_an_object_and_soon_leaves_was_not_read_far_ahead_for() {
    let library = Library::with(20 * PART, 64 * MIB).await;
    let mut object = library.open(Some(ByteRange::From(PART as u64 / 2))).await;
    assert_eq!((object.offset, object.length), (PART as u64 / 2, 20 * PART as u64 - PART as u64 / 2));

    read_some(&mut object, 6 * MIB).await;
    eventually("one part ahead", SOON, || async { (library.asked() == 2).then_some(()) }).await;
    drop(object);

    library.holds_at_most(0).await;
    assert_eq!(library.asked(), 2);
}

#[tokio::test]
async fn a_part_that_breaks_is_resumed_where_it_broke() {
    let library = Library::with(4 * PART, 64 * MIB).await;
    let broken = library.doorway.door.trip(1, Action::Become(Mode::Refuse), |seen| is_part(seen, 2));
    let mut object = library.open(None).await;
    let reopened = async {
        broken.sprung(SOON).await;
        library.doorway.door.become_(Mode::Open).await;
    };
    let (mut read, ()) = tokio::join!(read_some(&mut object, 2 * MIB), reopened);

    while let Some(chunk) = object.body.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }

    assert!(read == content(4 * PART), "other bytes");
    let etag = &object.meta.etag;
    let rest = library.doorway.door.seen_operations(S3Operation::GetObject);
    assert!(rest.len() > 4 && rest[1..].iter().all(|seen| seen.header("if-match") == etag), "{rest:?}");
}

#[tokio::test]
async fn parts_of_another_object_are_never_put_together() {
    let library = Library::with(4 * PART, 64 * MIB).await;
    let second = library.doorway.door.trip(1, Action::Hold, |seen| is_part(seen, 1));
    let mut object = library.open(None).await;
    let mut read = read_some(&mut object, 2 * MIB).await;
    second.sprung(SOON).await;
    library.doorway.bench.put("it", vec![b'x'; 4 * PART]).await;
    second.release();

    let end = loop {
        match object.body.next().await {
            Some(Ok(chunk)) => read.extend_from_slice(&chunk),
            end => break end,
        }
    };

    assert!(matches!(end, Some(Err(StoreError::Changed))), "{end:?}");
    assert!(content(4 * PART).starts_with(&read), "other bytes");
    tokio::time::timeout(Duration::from_secs(5), library.holds_at_most(0)).await.unwrap();
}
