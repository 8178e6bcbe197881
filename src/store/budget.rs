//! The memory that bodies on their way to a bucket may hold.
//!
//! One budget for the whole process. Memory is reserved for a whole part
//! before the part's first byte is taken, first come first served, so a client
//! waits on its socket rather than in our memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in, so that the count fits a semaphore's `u32`.
const UNIT: u64 = 1024;

/// Bodies up to this size have a lane of their own: a config must not wait
/// behind the parts of layers.
const SMALL: u64 = 1024 * 1024;

/// What of the budget is the small bodies' own: one in so many.
const SMALL_SHARE: u64 = 8;

/// How much memory may be held, and by whom it is.
#[derive(Debug)]
pub struct MemoryBudget {
    parts: Arc<Semaphore>,
    small: Arc<Semaphore>,
    part_bytes: u64,
}

/// Memory that somebody may hold until this is dropped.
#[derive(Debug)]
pub struct Reserved {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let small_bytes = bytes / SMALL_SHARE;
        let part_bytes = bytes - small_bytes;
        Self { parts: lane(part_bytes), small: lane(small_bytes), part_bytes }
    }

    /// The most that one reservation may be: two of them fit side by side.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.part_bytes / 2
    }

    /// Waits until `bytes` may be held; never more than [`largest`](Self::largest).
    #[allow(clippy::expect_used, reason = "the semaphores live as long as the budget and are never closed")]
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let lane = if bytes <= SMALL { &self.small } else { &self.parts };
        let permits = units(bytes.min(self.largest()));
        let permit = Arc::clone(lane).acquire_many_owned(permits).await.expect("never closed");
        Reserved { _permit: permit }
    }
}

fn lane(bytes: u64) -> Arc<Semaphore> {
    // A lane that held less than one small body would never let one through.
    Arc::new(Semaphore::new(units(bytes.max(SMALL)) as usize))
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn no_more_is_held_than_the_budget_and_what_is_dropped_may_be_held_again() {
        let budget = MemoryBudget::new(64 * MIB);
        let held: Vec<_> = (0..7).map(|_| poll(budget.reserve(8 * MIB))).collect();

        assert!(held.iter().all(Poll::is_ready));
        assert!(poll(budget.reserve(8 * MIB)).is_pending());
        drop(held);
        assert!(poll(budget.reserve(8 * MIB)).is_ready());
    }

    #[test]
    fn a_small_body_does_not_wait_behind_parts() {
        let budget = MemoryBudget::new(64 * MIB);
        let _parts: Vec<_> = (0..7).map(|_| poll(budget.reserve(8 * MIB))).collect();

        assert!(poll(budget.reserve(3 * 1024)).is_ready());
    }
}
