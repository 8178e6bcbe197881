//! The memory that bodies on their way to a bucket may hold.
//!
//! One budget for the whole process. Memory is reserved for a whole part
//! before the part's first byte is taken, first come first served, so a client
//! waits on its socket rather than in our memory.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// Buffers to be used again while uploads go on. Freed and allocated anew
    /// each time, by one thread and another, they would stay resident twice over.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// Bytes being gathered, in memory that may be held until they are dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    size: usize,
    budget: Arc<MemoryBudget>,
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let small_bytes = bytes / SMALL_SHARE;
        let part_bytes = bytes - small_bytes;
        Self { parts: lane(part_bytes), small: lane(small_bytes), part_bytes, spare: Mutex::default() }
    }

    /// The most that one buffer may hold: two of them fit side by side.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.part_bytes / 2
    }

    /// Waits until `size` bytes may be held, never more than [`largest`](Self::largest); a buffer for them.
    #[allow(clippy::expect_used, reason = "the semaphores live as long as the budget and are never closed")]
    pub async fn reserve(self: &Arc<Self>, size: u64) -> Buffer {
        let size = size.min(self.largest());
        let lane = if size <= SMALL { &self.small } else { &self.parts };
        let permit = Arc::clone(lane).acquire_many_owned(units(size)).await.expect("never closed");
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let spare = self.take_spare(size);
        Buffer { bytes: spare.unwrap_or_else(|| Vec::with_capacity(size)), size, budget: Arc::clone(self), _permit: permit }
    }

    fn take_spare(&self, size: usize) -> Option<Vec<u8>> {
        let mut spare = self.spare();
        let fitting = spare.iter().position(|bytes| bytes.capacity() == size)?;
        Some(spare.swap_remove(fitting))
    }

    /// Keeps `bytes` for the next who needs as many, unless there is none for now.
    fn take_back(&self, mut bytes: Vec<u8>) {
        let held = self.part_bytes.div_ceil(UNIT) - self.parts.available_permits() as u64;
        let is_last = held <= u64::from(units(bytes.capacity() as u64));
        let mut spare = self.spare();
        if is_last {
            spare.clear();
            return;
        }
        let spare_bytes: u64 = spare.iter().map(|bytes| bytes.capacity() as u64).sum();
        // What is held and what is spare never come to more than the budget.
        if bytes.capacity() as u64 > SMALL && spare_bytes + held * UNIT <= self.part_bytes {
            bytes.clear();
            spare.push(bytes);
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buffer {
    /// How many bytes more it takes.
    #[must_use]
    pub fn room(&self) -> usize {
        self.size - self.bytes.len()
    }

    /// Appends `bytes`, for which there must be room.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.budget.take_back(std::mem::take(&mut self.bytes));
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.bytes.len(), self.size)
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
        let budget = Arc::new(MemoryBudget::new(64 * MIB));
        let held: Vec<_> = (0..7).map(|_| poll(budget.reserve(8 * MIB))).collect();

        assert!(held.iter().all(Poll::is_ready));
        assert!(poll(budget.reserve(8 * MIB)).is_pending());
        drop(held);
        assert!(poll(budget.reserve(8 * MIB)).is_ready());
    }

    #[test]
    fn a_small_body_does_not_wait_behind_parts() {
        let budget = Arc::new(MemoryBudget::new(64 * MIB));
        let _parts: Vec<_> = (0..7).map(|_| poll(budget.reserve(8 * MIB))).collect();

        assert!(poll(budget.reserve(3 * 1024)).is_ready());
    }

    #[test]
    fn buffers_are_used_again_while_others_are_held_and_given_back_after_the_last() {
        let budget = Arc::new(MemoryBudget::new(64 * MIB));
        let held = |size| match poll(budget.reserve(size)) {
            Poll::Ready(buffer) => buffer,
            Poll::Pending => panic!("there is room"),
        };
        let (mut one, other) = (held(8 * MIB), held(8 * MIB));
        one.extend(b"x");
        let at = one.as_ref().as_ptr();

        drop(one);
        let mut again = held(8 * MIB);
        again.extend(b"y");
        assert_eq!((again.as_ref().as_ptr(), again.as_ref()), (at, &b"y"[..]));

        drop((again, other));
        assert!(budget.spare().is_empty());
    }
}
