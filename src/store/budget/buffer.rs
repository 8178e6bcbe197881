//! Bytes being gathered, in memory that was reserved for them.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::lane::Permit;
use super::{HEAD, Share};

/// How long somebody may take over memory that others wait for while next to nothing comes.
const CRAWL: Duration = Duration::from_secs(300);

/// What is next to nothing, in bytes over that time.
const CRAWL_BYTES: usize = 64 * 1024;

/// Up to `size` bytes being gathered.
///
/// Who has yet to show that more than a first few bytes come holds memory for
/// those only: many clients that begin and stop would keep all the others from theirs.
pub struct Buffer {
    share: Share,
    size: usize,
    bytes: Vec<u8>,
    /// How many bytes may be held by now.
    room: usize,
    permit: Option<Permit>,
    /// When the pace was last looked at, and how many bytes there were.
    pace: (Instant, usize),
}

impl Buffer {
    pub(super) fn new(share: Share, size: u64) -> Self {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Self { share, size, bytes: Vec::new(), room: 0, permit: None, pace: (Instant::now(), 0) }
    }

    /// One for `size` bytes whose memory is held by somebody else.
    pub(super) fn of_chunk(share: Share, size: u64) -> Self {
        let mut buffer = Self::new(share, size);
        buffer.make_room(buffer.size);
        buffer
    }

    /// Whether it takes no more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// Takes what there is room for from the front of `chunk`, waiting for memory as need be.
    pub async fn fill(&mut self, chunk: &mut Bytes) {
        if self.bytes.len() == self.room && !self.is_full() && !chunk.is_empty() {
            self.grow().await;
        }
        self.take(chunk);
    }

    /// Takes what there is reserved room for from the front of `chunk`.
    pub(super) fn take(&mut self, chunk: &mut Bytes) {
        let taken = chunk.len().min(self.room - self.bytes.len());
        self.bytes.extend_from_slice(&chunk[..taken]);
        chunk.advance(taken);
    }

    /// Whether others wait for such memory while next to nothing came for minutes.
    pub fn must_give_way(&mut self) -> bool {
        let (since, had) = self.pace;
        if since.elapsed() < CRAWL {
            return false;
        }
        self.pace = (Instant::now(), self.bytes.len());
        self.bytes.len() - had < CRAWL_BYTES && self.permit.as_ref().is_some_and(Permit::is_wanted)
    }

    /// Reserves memory for the first bytes, and after that for all of them.
    async fn grow(&mut self) {
        let (room, permit) = if self.room == 0 {
            let room = self.size.min(HEAD as usize);
            (room, self.share.take_head(self.size as u64, room as u64).await)
        } else {
            (self.size, self.share.take_whole(self.size as u64).await)
        };
        self.make_room(room);
        self.permit = Some(permit);
    }

    fn make_room(&mut self, room: usize) {
        let mut bytes = self.share.budget().memory(room);
        bytes.extend_from_slice(&self.bytes);
        (self.bytes, self.room) = (bytes, room);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let held = self.permit.as_ref().map_or(0, Permit::bytes);
        self.share.budget().take_back(std::mem::take(&mut self.bytes), held);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.bytes.len(), self.size)
    }
}
