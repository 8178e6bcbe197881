use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Short enough that only who did not have to wait is done by then.
const SOON: std::time::Duration = std::time::Duration::from_millis(100);

fn budget() -> Arc<MemoryBudget> {
    Arc::new(MemoryBudget::new(64 * MIB))
}

fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn bytes(size: u64) -> Bytes {
    Bytes::from(vec![7; size as usize])
}

/// A buffer for `size` bytes into which `sent` were put; `None` where memory for them must be waited for.
fn gathered(share: &Share, size: u64, sent: u64) -> Option<Buffer> {
    let (mut buffer, mut sent) = (share.buffer(size), bytes(sent));
    while !sent.is_empty() {
        if poll(buffer.fill(&mut sent)).is_pending() {
            return None;
        }
    }
    Some(buffer)
}

/// A buffer for `size` bytes into which `sent` were put.
async fn gather(share: Share, size: u64, sent: u64) -> Buffer {
    let (mut buffer, mut sent) = (share.buffer(size), bytes(sent));
    while !sent.is_empty() {
        buffer.fill(&mut sent).await;
    }
    buffer
}

/// As many full parts as there is memory for.
fn all_parts(share: &Share) -> Vec<Buffer> {
    std::iter::from_fn(|| gathered(share, PART, PART)).collect()
}

#[test]
fn parts_have_five_eighths_and_what_is_dropped_may_be_held_again() {
    let share = budget().share();

    let parts = all_parts(&share);

    assert_eq!(parts.len(), 5);
    drop(parts);
    assert_eq!(all_parts(&share).len(), 5);
    assert_eq!(share.budget().held(), 0);
}

#[test]
fn what_is_gathered_is_what_was_sent() {
    let share = budget().share();
    let sent: Bytes = (0..2_000_000_u32).map(|at| (at * 7 / 3) as u8).collect();
    let (mut buffer, mut rest) = (share.buffer(1_500_000), sent.clone());

    for size in [1, 16_383, 1, 70_000, 2_000_000] {
        let mut chunk = rest.split_to(size.min(rest.len()));
        let mut rounds = 0;
        while !chunk.is_empty() && !buffer.is_full() {
            assert!(poll(buffer.fill(&mut chunk)).is_ready());
            rounds += 1;
        }
        assert!(rounds <= 2, "{size}");
    }

    assert!(buffer.is_full());
    assert!(buffer.as_ref() == &sent[..1_500_000]);
}

#[test]
fn who_sends_one_byte_of_a_part_holds_little_and_keeps_nobody_from_theirs() {
    let share = budget().share();

    let stalled: Vec<_> = (0..64).map(|_| gathered(&share, PART, 1).unwrap()).collect();

    assert!(share.budget().held() <= 64 * HEAD, "{}", share.budget().held());
    assert_eq!(all_parts(&share).len(), 5);
    drop(stalled);
}

#[test]
fn a_small_body_waits_neither_behind_parts_nor_behind_those_that_begin_and_stop() {
    let share = budget().share();
    let _parts = all_parts(&share);
    let _begun: Vec<_> = std::iter::from_fn(|| gathered(&share, PART, 1)).collect();
    let _small: Vec<_> = std::iter::from_fn(|| gathered(&share, SMALL, HEAD + 1)).collect();
    let _stalled: Vec<_> = (0..8).map(|_| gathered(&share, SMALL, 1).unwrap()).collect();

    assert!(gathered(&share, 3 * KIB, 3 * KIB).is_some());
}

#[test]
fn a_small_body_that_grows_past_its_head_has_memory_for_all_of_it() {
    let share = budget().share();

    let grown: Vec<_> = std::iter::from_fn(|| gathered(&share, SMALL, HEAD + 1)).collect();

    assert_eq!(grown.len(), 4);
    assert_eq!(share.budget().held(), 4 * SMALL, "and none for its head any more");
}

#[test]
fn of_two_profiles_neither_keeps_the_other_from_two_parts() {
    let budget = budget();
    let (one, other) = (budget.share(), budget.share());
    let stalled: Vec<_> = (0..64).map_while(|_| gathered(&one, PART, MIB)).collect();
    let small: Vec<_> = std::iter::from_fn(|| gathered(&one, SMALL, HEAD + 1)).collect();
    let heads: Vec<_> = std::iter::from_fn(|| gathered(&one, PART, 1)).collect();

    assert_eq!(stalled.len(), 3);
    assert_eq!(all_parts(&other).len(), 2);
    assert!(gathered(&other, SMALL, SMALL).is_some());
    drop((stalled, small, heads));
}

#[tokio::test(start_paused = true)]
async fn sixty_four_stalled_uploads_of_one_profile_do_not_stop_anothers() {
    for sent in [1, HEAD + 1, MIB] {
        let budget = budget();
        let (one, other) = (budget.share(), budget.share());
        let stalled: Vec<_> = (0..64)
            .map(|_| {
                let gathering = gather(one.clone(), PART, sent);
                tokio::spawn(async move {
                    let _stalled = gathering.await;
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        tokio::time::sleep(SOON).await;

        for _ in 0..100 {
            let gathering = gather(other.clone(), PART, PART);
            tokio::time::timeout(SOON, gathering).await.unwrap_or_else(|_| panic!("{sent} bytes sent"));
        }
        stalled.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_next_to_nothing_gives_way_when_others_wait() {
    let share = budget().share();
    let mut crawling = gathered(&share, PART, HEAD + 1).unwrap();
    let _others: Vec<_> = all_parts(&share);
    tokio::time::sleep(std::time::Duration::from_secs(301)).await;
    assert!(!crawling.must_give_way(), "nobody waits");

    let waiting = tokio::spawn(gather(share.clone(), PART, PART));
    tokio::time::sleep(std::time::Duration::from_secs(200)).await;
    assert!(!crawling.must_give_way(), "not yet");
    crawling.take(&mut bytes(64 * KIB));
    tokio::time::sleep(std::time::Duration::from_secs(101)).await;
    assert!(!crawling.must_give_way(), "something came");
    tokio::time::sleep(std::time::Duration::from_secs(301)).await;
    assert!(crawling.must_give_way());

    drop(crawling);
    waiting.await.unwrap();
}

#[test]
fn downloads_read_ahead_in_what_is_free_and_leave_two_parts_to_uploads() {
    let share = budget().share();

    let ahead: Vec<_> = std::iter::from_fn(|| share.reserve(PART)).collect();

    assert_eq!(ahead.len(), 2 + 3);
    assert_eq!(all_parts(&share).len(), 2);
    drop(ahead);
    let _parts = all_parts(&share);
    let own: Vec<_> = std::iter::from_fn(|| share.reserve(PART)).collect();
    assert_eq!(own.len(), 2, "their own, uploads or not");
}

#[test]
fn a_reserve_gives_back_what_was_handed_on() {
    let share = budget().share();
    let mut reserve = share.reserve(CHUNK + 3).unwrap();
    let mut chunks = reserve.chunks();

    let nothing_yet = chunks.put(bytes(CHUNK - 1));
    let full = chunks.put(bytes(4));
    assert!(nothing_yet.is_empty());
    assert_eq!(full.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK as usize, 3]);
    assert_eq!(share.budget().held(), CHUNK + 3);

    reserve.handed_on(CHUNK);
    assert_eq!(share.budget().held(), 3);
    drop(reserve);
    assert_eq!(share.budget().held(), 0);
}

#[test]
fn memory_is_used_again_while_others_is_held_and_given_back_after_the_last() {
    let share = budget().share();
    let (one, other) = (gathered(&share, PART, PART).unwrap(), gathered(&share, PART, PART).unwrap());
    let at = one.as_ref().as_ptr();

    drop(one);
    let again = gathered(&share, PART, HEAD + 1).unwrap();
    assert_eq!((again.as_ref().as_ptr(), again.as_ref().len() as u64), (at, HEAD + 1));

    drop((again, other));
    assert!(share.budget().spare().is_empty());
}

#[test]
fn what_is_spare_and_what_is_held_never_come_to_more_than_there_is() {
    let budget = budget();
    let share = budget.share();
    let most = budget.parts.bytes() + budget.downloads.bytes();
    let mut parts = all_parts(&share);
    parts.truncate(1);

    let _odd = gathered(&share, 16 * MIB, 16 * MIB).unwrap();

    let resident = bytes_of(&budget.spare()) + budget.parts.held() + budget.downloads.held();
    assert!(resident <= most, "{resident}");
}
