//! Copies within the bucket: they take their time, and few are made at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::join_all;
use http::request::Parts;
use longshore::store::{Clock, MemoryStore, StoreError};
use tokio::sync::Semaphore;

use crate::bench::{Bench, MIB, PATIENCE, s3_store};
use crate::support::eventually;
use crate::support::strict::{Kind, Strict, refusal};

/// A bucket in which every copy waits until it is let through, and how many came.
struct Slow {
    bench: Bench,
    came: Arc<AtomicUsize>,
    through: Arc<Semaphore>,
    bucket: Strict,
}

fn is_copy(head: &Parts) -> bool {
    head.headers.contains_key("x-amz-copy-source")
}

impl Slow {
    async fn start() -> Self {
        // Every object is some seconds younger than the one before, for an age is told in seconds.
        let (began, asked) = (SystemTime::now(), AtomicU64::new(0));
        let clock = Clock::new(move || began + Duration::from_secs(2) * asked.fetch_add(1, Ordering::SeqCst) as u32);
        let bucket = Strict::over(Arc::new(MemoryStore::with_clock(clock)), Kind::Aws, Duration::ZERO);
        let (came, through) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (coming, gate) = (Arc::clone(&came), Arc::clone(&through));
        bucket.before(move |head| {
            let (coming, gate, is_copy) = (Arc::clone(&coming), Arc::clone(&gate), is_copy(head));
            async move {
                if is_copy {
                    coming.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                }
                None
            }
            .boxed()
        });
        let bench = Bench::over(s3_store(bucket.settings(bucket.address), MIB).await);
        bench.put("it", "hello").await;
        Self { bench, came, through, bucket }
    }

    /// One of the two, to its end.
    async fn ask(&self, what: &str, patience: Duration) -> Result<bool, StoreError> {
        let (store, it) = (&self.bench.store, self.bench.key("it"));
        if what == "touch" {
            return store.touch(&it, patience).await;
        }
        let etag = self.bench.head("it").await.unwrap().etag;
        store.copy(&it, &etag, &self.bench.key("copy"), patience).await
    }
}

const BOTH: [&str; 2] = ["copy", "touch"];

#[tokio::test]
async fn a_copy_that_is_slow_is_waited_for_and_not_made_again() {
    for what in BOTH {
        let slow = Slow::start().await;
        let patience = Duration::from_secs(4);
        let asking = slow.ask(what, patience);
        // Longer than any other request may be silent.
        let letting = async {
            tokio::time::sleep(patience / 2).await;
            slow.through.add_permits(1);
        };

        let (outcome, ()) = tokio::join!(asking, letting);

        assert!(outcome.as_ref().is_ok_and(|is_done| *is_done), "{what}: {outcome:?}");
        assert_eq!(slow.came.load(Ordering::SeqCst), 1, "{what}");
    }
}

#[tokio::test]
async fn no_more_than_eight_copies_are_made_at_once_and_none_is_waited_for_longer_than_patience() {
    for what in BOTH {
        let slow = Slow::start().await;
        let patience = Duration::from_millis(500);
        let asking = join_all((0..12).map(|_| slow.ask(what, PATIENCE)));
        let looking = async {
            eventually("eight copies", PATIENCE, || async { (slow.came.load(Ordering::SeqCst) == 8).then_some(()) }).await;
            let late = tokio::time::timeout(PATIENCE, slow.ask(what, patience)).await.expect("it waited for its turn");
            assert!(matches!(late, Err(StoreError::Unavailable(_))), "{what}: {late:?}");
            assert_eq!(slow.came.load(Ordering::SeqCst), 8, "{what}");
            slow.through.add_permits(12);
        };

        let (outcomes, ()) = tokio::join!(asking, looking);

        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(true))), "{what}: {outcomes:?}");
    }
}

#[tokio::test]
async fn a_copy_that_fails_behind_a_200_is_made_again() {
    for what in BOTH {
        let slow = Slow::start().await;
        slow.through.add_permits(2);
        let asked = AtomicUsize::new(0);
        slow.bucket.before(move |head| {
            let fails = is_copy(head) && asked.fetch_add(1, Ordering::SeqCst) == 0;
            async move { fails.then(|| refusal(200, "InternalError", "We encountered an internal error.")) }.boxed()
        });

        let outcome = slow.ask(what, PATIENCE).await;

        assert!(matches!(outcome, Ok(true)), "{what}: {outcome:?}");
        assert_eq!(slow.came.load(Ordering::SeqCst), 2, "{what}");
    }
}
