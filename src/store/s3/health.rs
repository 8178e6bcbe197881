//! Whether a store is well: one view of it for all who ask it anything.
//!
//! When several calls have failed for a while and none succeeded, the store is
//! down. Then nobody hammers it: who has little patience is told at once, who
//! has more waits, and now and then one of them tries. The first success wakes
//! them all. When to try next is a time, not a token that somebody holds, so
//! nobody who leaves takes it with them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::retry::jittered;
use crate::metrics::ProfileMetrics;
use crate::store::StoreError;

/// So many calls must have failed: one alone may be about an object that is broken.
const FAILED_CALLS: usize = 3;

/// For so long nothing must have succeeded: connections that break together are not a store that is down.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// Who has no more patience than this does not wait for a store that is down: an import is better skipped at once.
const HASTE: Duration = Duration::from_secs(2);

/// When a store that went down is tried first. The pause doubles after each try.
const FIRST_PROBE: Duration = Duration::from_millis(250);

/// The longest time between two tries.
const MAX_PROBE: Duration = Duration::from_secs(2);

/// What is known of a store.
#[derive(Debug)]
pub(super) struct Health {
    view: Mutex<View>,
    /// Changes when the store was down and is well again.
    recoveries: watch::Sender<u64>,
    calls: AtomicU64,
    metrics: ProfileMetrics,
}

#[derive(Debug, Default)]
struct View {
    /// Calls that failed since the last success, no more than matter, and when the first of them did.
    failed: Vec<u64>,
    since: Option<Instant>,
    down: Option<Down>,
}

/// A store that is down.
#[derive(Debug)]
struct Down {
    why: String,
    next_probe: Instant,
    pause: Duration,
}

/// Somebody who wants something of a store, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    id: u64,
    pub(super) deadline: Instant,
    is_hasty: bool,
}

/// What a call may do now.
enum Turn {
    Go,
    Probe,
    Wait(Instant),
}

impl Health {
    /// A store that is well as far as anybody knows.
    pub(super) fn new(metrics: ProfileMetrics) -> Self {
        metrics.store_is_well(true);
        Self { view: Mutex::default(), recoveries: watch::Sender::new(0), calls: AtomicU64::new(0), metrics }
    }

    /// A call that begins now.
    pub(super) fn call(&self, patience: Duration) -> Call {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        Call { id, deadline: Instant::now() + patience, is_hasty: patience <= HASTE }
    }

    /// Waits until `call` may make an attempt: not before `earliest` unless the store recovers.
    ///
    /// # Errors
    ///
    /// The store is down, and stayed so for as long as `call` would wait.
    pub(super) async fn admit(&self, call: &Call, earliest: Instant) -> Result<(), StoreError> {
        loop {
            // Subscribed before looking, so that no recovery is missed in between.
            let mut recoveries = self.recoveries.subscribe();
            let now = Instant::now();
            let until = match self.turn(now) {
                Turn::Go if now >= earliest => return Ok(()),
                Turn::Probe => return Ok(()),
                Turn::Go => earliest,
                Turn::Wait(_) if call.is_hasty || now >= call.deadline => return Err(self.error()),
                Turn::Wait(probe) => probe.min(call.deadline),
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = recoveries.changed() => return Ok(()),
            }
        }
    }

    /// Tells of recoveries from now on.
    pub(super) fn recoveries(&self) -> watch::Receiver<u64> {
        self.recoveries.subscribe()
    }

    /// The store has answered somebody.
    pub(super) fn succeeded(&self) {
        let mut view = self.view();
        let was_down = view.down.is_some();
        *view = View::default();
        drop(view);
        if was_down {
            tracing::info!("the store answers again");
            self.metrics.store_is_well(true);
            self.recoveries.send_modify(|count| *count += 1);
        }
    }

    /// An attempt of `call` got no answer, or one that says that the store does not work.
    pub(super) fn failed(&self, call: &Call, why: &StoreError) {
        let (mut view, now) = (self.view(), Instant::now());
        let since = *view.since.get_or_insert(now);
        if view.failed.len() < FAILED_CALLS && !view.failed.contains(&call.id) {
            view.failed.push(call.id);
        }
        if view.down.is_none() && view.failed.len() == FAILED_CALLS && now - since >= FAILED_FOR {
            let why = std::error::Error::source(why).map_or_else(|| why.to_string(), ToString::to_string);
            tracing::warn!(why, "the store is down");
            self.metrics.store_is_well(false);
            view.down = Some(Down { why, next_probe: now + FIRST_PROBE, pause: FIRST_PROBE });
        }
    }

    fn turn(&self, now: Instant) -> Turn {
        let mut view = self.view();
        let Some(down) = &mut view.down else { return Turn::Go };
        if now < down.next_probe {
            return Turn::Wait(down.next_probe);
        }
        down.pause = (down.pause * 2).min(MAX_PROBE);
        down.next_probe = now + jittered(down.pause);
        Turn::Probe
    }

    fn error(&self) -> StoreError {
        let why = self.view().down.as_ref().map_or_else(String::new, |down| format!(": {}", down.why));
        StoreError::Unavailable(format!("the store is down{why}").into())
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const LONG: Duration = Duration::from_mins(3);

    fn why() -> StoreError {
        StoreError::Unavailable("connection refused".into())
    }

    /// A store that went down just now.
    async fn down() -> Arc<Health> {
        let health = Arc::new(Health::new(ProfileMetrics::default()));
        for call in 0..FAILED_CALLS {
            if call > 0 {
                tokio::time::sleep(FAILED_FOR).await;
            }
            health.failed(&health.call(LONG), &why());
        }
        health
    }

    /// Whether a call of so much patience is admitted, and after how long.
    async fn admitted(health: &Health, patience: Duration) -> (bool, Duration) {
        let began = Instant::now();
        let outcome = health.admit(&health.call(patience), began).await;
        (outcome.is_ok(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_is_down_when_several_calls_failed_for_a_while_and_none_succeeded() {
        let second = Duration::from_secs(1);
        for (failures, is_down) in [
            (&[(0, 0), (1, 500), (2, 1000)][..], true),
            (&[(0, 0), (1, 0), (2, 0)], false),
            (&[(0, 0), (0, 1000), (0, 9000)], false),
            (&[(0, 0), (1, 1000), (1, 9000)], false),
        ] {
            let (health, began) = (Health::new(ProfileMetrics::default()), Instant::now());
            let calls = [0; 3].map(|_| health.call(LONG));
            for (call, after) in failures {
                tokio::time::sleep_until(began + Duration::from_millis(*after)).await;
                health.failed(&calls[*call], &why());
            }

            assert_eq!(!admitted(&health, second).await.0, is_down, "{failures:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_success_among_failures_keeps_it_well() {
        let health = Health::new(ProfileMetrics::default());
        for _ in 0..10 {
            for _ in 0..FAILED_CALLS - 1 {
                tokio::time::sleep(FAILED_FOR).await;
                health.failed(&health.call(LONG), &why());
            }
            health.succeeded();
        }

        assert_eq!(admitted(&health, HASTE).await, (true, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_in_haste_is_told_at_once_unless_it_is_time_to_try() {
        let health = down().await;

        let error = health.admit(&health.call(HASTE), Instant::now()).await.unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("connection refused"), "{error:?}");
        assert_eq!(admitted(&health, HASTE).await, (false, Duration::ZERO));

        tokio::time::sleep(FIRST_PROBE).await;
        assert_eq!(admitted(&health, HASTE).await, (true, Duration::ZERO));
        assert_eq!(admitted(&health, HASTE).await, (false, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn of_all_who_wait_one_tries_at_a_time_and_seldom() {
        let health = down().await;
        let (began, mut waiting) = (Instant::now(), tokio::task::JoinSet::new());
        for _ in 0..1000 {
            let health = Arc::clone(&health);
            waiting.spawn(async move { health.admit(&health.call(LONG), Instant::now()).await });
        }

        tokio::time::sleep_until(began + Duration::from_secs(20)).await;

        let mut tried = 0;
        while let Some(outcome) = waiting.try_join_next() {
            outcome.unwrap().unwrap();
            tried += 1;
        }
        assert!((10..=25).contains(&tried), "{tried}");
        health.succeeded();
        while let Some(outcome) = waiting.join_next().await {
            outcome.unwrap().unwrap();
        }
        assert_eq!(began.elapsed(), Duration::from_secs(20), "they were not woken at once");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_takes_neither_the_try_nor_the_recovery_with_them() {
        let health = down().await;
        tokio::time::sleep(FIRST_PROBE).await;
        // It may try, and leaves without having done so.
        assert!(admitted(&health, LONG).await.0);
        // It waits, and leaves.
        let call = health.call(LONG);
        let left = tokio::time::timeout(Duration::from_millis(1), health.admit(&call, Instant::now())).await;
        assert!(left.is_err());

        let (may_try, after) = admitted(&health, LONG).await;

        assert!(may_try && after <= MAX_PROBE, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_when_patience_is_over() {
        let health = down().await;
        let began = Instant::now();
        let patience = Duration::from_secs(10);
        // Somebody else makes every try.
        let other = async {
            loop {
                let _ = health.admit(&health.call(LONG), Instant::now()).await;
            }
        };

        let outcome = tokio::select! {
            biased;
            () = other => unreachable!(),
            outcome = async { health.admit(&health.call(patience), began).await } => outcome,
        };

        assert!(outcome.is_err() && began.elapsed() == patience, "{outcome:?} {:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_ends_a_pause() {
        let health = down().await;
        let call = health.call(LONG);
        let waiting = health.admit(&call, Instant::now() + Duration::from_secs(60));

        let recovery = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            health.succeeded();
        };
        let began = Instant::now();
        let (admitted, ()) = tokio::join!(waiting, recovery);

        assert!(admitted.is_ok() && began.elapsed() == Duration::from_millis(100), "{:?}", began.elapsed());
    }
}
