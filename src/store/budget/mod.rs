//! The memory that bodies on their way to and from a bucket may hold.
//!
//! One budget for the whole process, in lanes that never wait for each other's
//! holders: who holds a place in one lane may wait in the next, never the other
//! way round. An upload waits for its turn and a client so waits on its socket
//! rather than in our memory; a download never waits, it only reads less ahead.

mod buffer;
mod lane;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use buffer::Buffer;
use bytes::Bytes;
use lane::{Lane, Permit, Sharer};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What a large object travels in. S3 takes parts of 5 MiB at least and
/// advises 8 or 16, for ranges too (S3 User Guide, "Multipart upload limits").
pub const PART: u64 = 8 * MIB;

/// Bodies up to this size have lanes of their own: a config must not wait
/// behind the parts of layers.
const SMALL: u64 = MIB;

/// What a body or a part gathers before memory for all of it is reserved.
const HEAD: u64 = 16 * KIB;

/// What a range that is read ahead is handed on in.
const CHUNK: u64 = 256 * KIB;

/// What of the budget is for small bodies and for heads: one in so many.
const SMALL_SHARE: u64 = 8;

/// What of the budget is the downloads' own: one in so many.
const DOWNLOAD_SHARE: u64 = 4;

/// What of the parts' memory downloads leave to uploads that may come.
const LEFT_TO_UPLOADS: u64 = 2 * PART;

/// How much memory may be held, and by whom it is.
pub struct MemoryBudget {
    /// The first bytes of small bodies.
    small_heads: Arc<Lane>,
    /// Small bodies.
    small: Arc<Lane>,
    /// The first bytes of parts.
    heads: Arc<Lane>,
    /// Parts.
    parts: Arc<Lane>,
    /// What is read ahead.
    downloads: Arc<Lane>,
    next_sharer: AtomicU64,
    /// Memory to be used again while others is held. Freed and allocated anew
    /// each time, by one thread and another, it would stay resident twice over.
    spare: Mutex<Vec<Vec<u8>>>,
}

/// The right of one profile to its share of the budget.
#[derive(Clone)]
pub struct Share(Arc<Membership>);

struct Membership {
    budget: Arc<MemoryBudget>,
    sharer: Sharer,
}

/// Memory for a range that is read ahead of its turn, until it is handed on.
#[derive(Debug)]
pub struct Reserve {
    share: Share,
    permit: Permit,
}

/// What is read into a [`Reserve`], in chunks.
#[derive(Debug)]
pub struct Chunks {
    share: Share,
    filling: Option<Buffer>,
    left: u64,
}

impl MemoryBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let (small, downloads) = (bytes / SMALL_SHARE, bytes / DOWNLOAD_SHARE);
        let parts = bytes - small - downloads;
        // A lane of less than one piece would never let one through.
        Self {
            small_heads: Lane::new((small / 4).max(HEAD), HEAD),
            small: Lane::new((small / 2).max(SMALL), SMALL),
            heads: Lane::new((small / 4).max(HEAD), HEAD),
            parts: Lane::new(parts.max(2 * SMALL), PART),
            downloads: Lane::new(downloads, PART),
            next_sharer: AtomicU64::new(0),
            spare: Mutex::default(),
        }
    }

    /// A share of it for one more, who has as much right to it as all the others.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        self.lanes().iter().for_each(|lane| lane.join());
        let sharer = Sharer(self.next_sharer.fetch_add(1, Ordering::Relaxed));
        Share(Arc::new(Membership { budget: Arc::clone(self), sharer }))
    }

    /// How many bytes are held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.lanes().iter().map(|lane| lane.held()).sum()
    }

    fn lanes(&self) -> [&Arc<Lane>; 5] {
        [&self.small_heads, &self.small, &self.heads, &self.parts, &self.downloads]
    }

    /// Memory for `size` bytes, which must have been reserved.
    fn memory(&self, size: usize) -> Vec<u8> {
        let mut spare = self.spare();
        if let Some(fitting) = spare.iter().position(|memory| memory.capacity() == size) {
            return spare.swap_remove(fitting);
        }
        let room = self.room_for_spare();
        while bytes_of(&spare) > room {
            spare.pop();
        }
        drop(spare);
        Vec::with_capacity(size)
    }

    /// Keeps `memory`, of which `held` still counts as held, for the next who
    /// needs as much, unless there is none for now.
    fn take_back(&self, mut memory: Vec<u8>, held: u64) {
        let size = memory.capacity() as u64;
        // Small bodies have sizes that do not come again.
        if size <= SMALL && size != CHUNK {
            return;
        }
        let is_last = self.parts.held() + self.downloads.held() <= held;
        let mut spare = self.spare();
        if is_last {
            spare.clear();
        } else if bytes_of(&spare) + size <= self.room_for_spare() + held {
            memory.clear();
            spare.push(memory);
        }
    }

    /// What is held and what is spare never come to more than the lanes have.
    fn room_for_spare(&self) -> u64 {
        let lanes = [&self.parts, &self.downloads];
        lanes.iter().map(|lane| lane.bytes() - lane.held()).sum()
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_of(spare: &[Vec<u8>]) -> u64 {
    spare.iter().map(|memory| memory.capacity() as u64).sum()
}

impl Share {
    /// The most that one buffer may hold: two of them fit side by side.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.budget().parts.bytes() / 2
    }

    /// A buffer for `size` bytes, never more than [`largest`](Self::largest); it holds nothing until some come.
    #[must_use]
    pub fn buffer(&self, size: u64) -> Buffer {
        Buffer::new(self.clone(), size.min(self.largest()))
    }

    /// Memory to read `size` bytes ahead, if there is some that no upload needs.
    #[must_use]
    pub fn reserve(&self, size: u64) -> Option<Reserve> {
        let (budget, sharer) = (self.budget(), self.0.sharer);
        let own = budget.downloads.try_take(sharer, size, 0);
        let permit = own.or_else(|| budget.parts.try_take(sharer, size, LEFT_TO_UPLOADS))?;
        Some(Reserve { share: self.clone(), permit })
    }

    fn budget(&self) -> &Arc<MemoryBudget> {
        &self.0.budget
    }

    /// Memory for the first bytes of a body or part of `size`.
    async fn take_head(&self, size: u64, head: u64) -> Permit {
        let budget = self.budget();
        let lane = if size <= SMALL { &budget.small_heads } else { &budget.heads };
        lane.take(self.0.sharer, head).await
    }

    /// Memory for all of a body or part of `size`.
    async fn take_whole(&self, size: u64) -> Permit {
        let budget = self.budget();
        let lane = if size <= SMALL { &budget.small } else { &budget.parts };
        lane.take(self.0.sharer, size).await
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.budget.lanes().iter().for_each(|lane| lane.leave());
    }
}

impl Reserve {
    /// Chunks for all of it.
    #[must_use]
    pub fn chunks(&self) -> Chunks {
        Chunks { share: self.share.clone(), filling: None, left: self.permit.bytes() }
    }

    /// Gives back the memory of `bytes` that were handed on. Whoever has them
    /// has no more of them than of any body that just passes through.
    pub fn handed_on(&mut self, bytes: u64) {
        drop(self.permit.split(bytes));
    }
}

impl Chunks {
    /// Puts away `frame`, for which there must be room; what is full by then.
    pub fn put(&mut self, mut frame: Bytes) -> Vec<Bytes> {
        let mut full = Vec::new();
        while !frame.is_empty() && (self.left > 0 || self.filling.is_some()) {
            let mut filling = self.filling.take().unwrap_or_else(|| self.chunk());
            filling.take(&mut frame);
            if filling.is_full() {
                full.push(Bytes::from_owner(filling));
            } else {
                self.filling = Some(filling);
            }
        }
        full
    }

    fn chunk(&mut self) -> Buffer {
        let size = CHUNK.min(self.left);
        self.left -= size;
        Buffer::of_chunk(self.share.clone(), size)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBudget({} bytes held)", self.held())
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({:?})", self.0.sharer)
    }
}

#[cfg(test)]
mod tests;
