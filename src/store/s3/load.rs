//! How many requests may be on their way to a store at once.
//!
//! A bound that halves when the store asks for less and grows by one for each
//! round of successes (additive increase, multiplicative decrease). Parts of
//! layers take three quarters of it at most, so what is small, and what
//! everybody waits for, finds room beside them. First come, first served.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Most requests at once unless stated otherwise: more than a large import has open, fewer than a store would mind.
const MOST: usize = 256;

/// The bound is never lower, however slow the store wants us.
const LEAST: usize = 4;

/// Of the bound, what parts may take: so many of four.
const PARTS_OF_FOUR: usize = 3;

/// What the store says of too many requests within this time it says of the same ones.
const ROUND: Duration = Duration::from_secs(1);

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Burden {
    /// A question, or bytes that are soon sent.
    Small,
    /// A part of a layer.
    Part,
}

/// Requests on their way, and how many there may be.
#[derive(Debug)]
pub(super) struct Load {
    all: Lane,
    parts: Lane,
    pace: Mutex<Pace>,
}

/// How the bound moves.
#[derive(Debug)]
struct Pace {
    /// It never goes past this.
    most: usize,
    bound: usize,
    /// Since the bound last moved.
    successes: usize,
    slowed: Option<Instant>,
}

/// A request on its way, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    _all: Place<'a>,
    _parts: Option<Place<'a>>,
}

impl Load {
    /// As many as there may ever be.
    pub(super) fn new() -> Self {
        let pace = Pace { most: MOST, bound: MOST, successes: 0, slowed: None };
        Self { all: Lane::of(MOST), parts: Lane::of(parts_of(MOST)), pace: Mutex::new(pace) }
    }

    /// From now on as many as `most`.
    pub(super) fn allow(&self, most: usize) {
        let mut pace = self.pace();
        (pace.most, pace.bound) = (most, most);
        self.apply(&mut pace);
    }

    /// Waits for room for one more request until `deadline`.
    pub(super) async fn enter(&self, burden: Burden, deadline: Instant) -> Option<Entry<'_>> {
        let entering = async {
            let _parts = match burden {
                Burden::Small => None,
                Burden::Part => Some(self.parts.place().await?),
            };
            Some(Entry { _all: self.all.place().await?, _parts })
        };
        tokio::time::timeout_at(deadline, entering).await.ok().flatten()
    }

    /// The store did what it was asked to.
    pub(super) fn succeeded(&self) {
        let mut pace = self.pace();
        pace.successes += 1;
        if pace.successes >= pace.bound && pace.bound < pace.most {
            pace.bound += 1;
            self.apply(&mut pace);
        }
    }

    /// The store asks for less.
    pub(super) fn slow_down(&self) {
        let (mut pace, now) = (self.pace(), Instant::now());
        if pace.slowed.is_some_and(|slowed| now - slowed < ROUND) {
            return;
        }
        pace.slowed = Some(now);
        pace.bound = (pace.bound / 2).max(LEAST);
        tracing::warn!(requests = pace.bound, "the store asks for fewer requests");
        self.apply(&mut pace);
    }

    fn apply(&self, pace: &mut Pace) {
        pace.successes = 0;
        self.all.resize(pace.bound);
        self.parts.resize(parts_of(pace.bound));
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts_of(bound: usize) -> usize {
    bound * PARTS_OF_FOUR / 4
}

/// Places that are given out in turn; there may be fewer of them tomorrow.
#[derive(Debug)]
struct Lane {
    free: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    /// Places there are, taken ones too.
    places: usize,
    /// Places there are to be: what is taken goes as it comes back.
    wanted: usize,
}

/// A place that is taken.
#[derive(Debug)]
struct Place<'a> {
    lane: &'a Lane,
    permit: Option<SemaphorePermit<'a>>,
}

impl Lane {
    fn of(places: usize) -> Self {
        Self { free: Semaphore::new(places), size: Mutex::new(Size { places, wanted: places }) }
    }

    /// The next place that is free; always some, since the semaphore is never closed.
    async fn place(&self) -> Option<Place<'_>> {
        let permit = self.free.acquire().await.ok()?;
        Some(Place { lane: self, permit: Some(permit) })
    }

    fn resize(&self, wanted: usize) {
        let mut size = self.size();
        size.wanted = wanted;
        if size.places > wanted {
            size.places -= self.free.forget_permits(size.places - wanted);
        } else {
            self.free.add_permits(wanted - size.places);
            size.places = wanted;
        }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut size = self.lane.size();
        if size.places > size.wanted
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            size.places -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_ready<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
        // Tokio lets a task take only so many at a time.
        match pin!(tokio::task::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => None,
        }
    }

    /// As many entries as there is room for.
    fn fill(load: &Load, burden: Burden) -> Vec<Entry<'_>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        std::iter::from_fn(|| is_ready(load.enter(burden, deadline))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn parts_leave_room_for_what_is_small() {
        let load = Load::new();

        let (parts, small) = (fill(&load, Burden::Part), fill(&load, Burden::Small));

        assert_eq!((parts.len(), small.len()), (192, 64));
        drop(parts);
        assert_eq!(fill(&load, Burden::Small).len(), 192);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_halves_when_the_store_asks_for_less_even_of_what_is_on_its_way() {
        let load = Load::new();
        let under_way = fill(&load, Burden::Small);

        load.slow_down();
        load.slow_down();

        assert_eq!(fill(&load, Burden::Small).len(), 0);
        drop(under_way);
        assert_eq!(fill(&load, Burden::Small).len(), 128);
        assert_eq!(fill(&load, Burden::Part).len(), 96);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_as_many_as_are_allowed() {
        let load = Load::new();
        for most in [16, 1000] {
            load.allow(most);
            assert_eq!(fill(&load, Burden::Small).len(), most);
            assert_eq!(fill(&load, Burden::Part).len(), most * 3 / 4);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_comes_to_nothing_and_grows_by_one_a_round() {
        let load = Load::new();
        for _ in 0..20 {
            tokio::time::sleep(ROUND).await;
            load.slow_down();
        }
        assert_eq!(fill(&load, Burden::Small).len(), LEAST);
        assert_eq!(fill(&load, Burden::Part).len(), 3);

        for _ in 0..LEAST {
            load.succeeded();
        }
        assert_eq!(fill(&load, Burden::Small).len(), LEAST + 1);
        for _ in 0..MOST * MOST {
            load.succeeded();
        }
        assert_eq!(fill(&load, Burden::Small).len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_until_the_deadline_and_who_leaves_takes_none() {
        let load = Load::new();
        let mut entries = fill(&load, Burden::Small);
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(load.enter(Burden::Small, soon).await.is_none());
        assert_eq!(Instant::now(), soon);
        // It is next in line, and leaves.
        let mut leaving = Box::pin(load.enter(Burden::Part, soon + Duration::from_secs(60)));
        assert!(is_ready(leaving.as_mut()).is_none());
        entries.pop();
        drop(leaving);

        assert_eq!(fill(&load, Burden::Small).len(), 1);
    }
}
