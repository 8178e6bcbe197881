//! Reading ahead: the ranges of an object side by side, handed on in order.
//!
//! One range is at the front and goes to the reader as it comes; it needs no
//! memory, so a download always gets on. Those behind it are read into memory
//! that was reserved for them, as many as there is memory for. A reader that
//! falls behind has them taken away again: nobody else's memory waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

use super::run::Run;
use super::{Source, streamed};
use crate::oci::ByteRange;
use crate::store::budget::{Chunks, PART, Reserve};
use crate::store::{ByteStream, StoreError};

/// Most ranges of one object that are read ahead, where memory is plenty.
const MOST: usize = 16;

/// What a reader must have taken before anything is read ahead, in bytes: it
/// may be one that only wants to look.
const TASTE: u64 = 1024 * 1024;

/// How long what was read ahead may lie there.
const UNREAD: Duration = Duration::from_secs(5);

/// How often a reader that takes nothing is looked at.
const GLANCE: Duration = Duration::from_secs(1);

/// The rest of an object of several ranges.
pub(super) struct Ahead {
    source: Arc<Source>,
    front: Front,
    behind: VecDeque<Range>,
    /// Where what is not yet asked for begins.
    next: u64,
    end: u64,
    taken: u64,
    /// How many ranges may be read ahead at the reader's pace.
    pace: usize,
    /// Whether the reader waited for the last bytes, rather than they for it.
    is_quick: bool,
    /// When it last did.
    was_quick: Instant,
}

/// The range that is being handed on.
enum Front {
    Run(Run),
    Range(Range),
}

/// A range that is being read into memory, or has been.
struct Range {
    offset: u64,
    end: u64,
    reserve: Reserve,
    chunks: mpsc::UnboundedReceiver<Result<Bytes, StoreError>>,
    /// When all of it was in memory.
    was_read: Arc<OnceLock<Instant>>,
    _reading: AbortOnDropHandle<()>,
}

impl Ahead {
    /// All that follows `first` until `end`, and that itself; `range` is what the reader asked for.
    pub(super) fn of(first: Run, end: u64, range: Option<ByteRange>) -> Self {
        // Who asks for the rest of an object may be done soon (containerd fetches a layer in such pieces).
        let pace = if matches!(range, Some(ByteRange::From(_))) { 1 } else { MOST };
        let (source, next) = (Arc::clone(first.source()), first.end());
        let (front, behind) = (Front::Run(first), VecDeque::new());
        Self { source, front, behind, next, end, taken: 0, pace, is_quick: true, was_quick: Instant::now() }
    }

    /// All of it in order, from a task that goes on while the reader is busy, and ends with it.
    pub(super) fn stream(self) -> ByteStream {
        let (handing_on, chunks) = mpsc::channel(1);
        let task = AbortOnDropHandle::new(tokio::spawn(self.hand_on(handing_on)));
        streamed((chunks, task), |(mut chunks, task)| async move {
            match chunks.recv().await {
                Some(chunk) => chunk.map(|chunk| chunk.map(|chunk| (chunk, (chunks, task)))),
                None => Err(ended()),
            }
        })
    }

    /// Sends everything, and `None` when that was everything.
    async fn hand_on(mut self, reader: mpsc::Sender<Result<Option<Bytes>, StoreError>>) {
        loop {
            let chunk = self.chunk().await;
            let is_last = !matches!(chunk, Ok(Some(_)));
            if !self.offer(&reader, chunk).await || is_last {
                return;
            }
            self.let_go();
            self.look_ahead();
        }
    }

    /// Waits until the reader takes `chunk`; whether there still is a reader.
    async fn offer(
        &mut self,
        reader: &mpsc::Sender<Result<Option<Bytes>, StoreError>>,
        chunk: Result<Option<Bytes>, StoreError>,
    ) -> bool {
        let offered = Instant::now();
        self.is_quick = reader.capacity() > 0;
        if self.is_quick {
            self.was_quick = offered;
        }
        loop {
            match tokio::time::timeout(GLANCE, reader.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(chunk);
                    return true;
                }
                Ok(Err(_)) => return false,
                Err(_) => self.let_go(),
            }
            if offered.elapsed() >= UNREAD {
                self.let_go_of_front();
            }
        }
    }

    /// The next bytes, `None` when all have come.
    async fn chunk(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            let chunk = match &mut self.front {
                Front::Run(run) => run.next().await?,
                Front::Range(range) => range.next().await?,
            };
            if let Some(chunk) = chunk {
                self.taken += chunk.len() as u64;
                return Ok(Some(chunk));
            }
            match self.following() {
                Some(front) => self.front = front,
                None => return Ok(None),
            }
        }
    }

    fn following(&mut self) -> Option<Front> {
        if self.is_quick {
            self.pace = (self.pace * 2).clamp(1, MOST);
        }
        if let Some(range) = self.behind.pop_front() {
            return Some(Front::Range(range));
        }
        let (offset, end) = self.next_range()?;
        Some(Front::Run(Run::of(Arc::clone(&self.source), offset, end)))
    }

    fn next_range(&mut self) -> Option<(u64, u64)> {
        let (offset, end) = (self.next, self.end.min(self.next + PART));
        self.next = end;
        (offset < end).then_some((offset, end))
    }

    /// Begins to read as much ahead as there is memory for and the reader is quick enough for.
    fn look_ahead(&mut self) {
        while self.taken >= TASTE && self.behind.len() < self.pace && self.next < self.end {
            let size = PART.min(self.end - self.next);
            let Some(reserve) = self.source.shared.memory.reserve(size) else { return };
            let Some((offset, end)) = self.next_range() else { return };
            let run = Run::of(Arc::clone(&self.source), offset, end);
            self.behind.push_back(Range::read(run, reserve));
        }
    }

    /// Gives back what was read long ago for a reader that is slow, the last first.
    fn let_go(&mut self) {
        let was_quick = self.was_quick;
        while let Some(last) = self.behind.pop_back_if(|range| range.lies_since(was_quick) >= UNREAD) {
            self.next = last.offset;
            self.pace = self.behind.len();
        }
    }

    /// Gives back what was read of the front, to be asked for again.
    fn let_go_of_front(&mut self) {
        if let Front::Range(range) = &self.front {
            self.front = Front::Run(Run::of(Arc::clone(&self.source), range.offset, range.end));
        }
    }
}

impl Range {
    fn read(run: Run, reserve: Reserve) -> Self {
        let (offset, end) = (run.offset(), run.end());
        let (sender, chunks) = mpsc::unbounded_channel();
        let was_read = Arc::new(OnceLock::new());
        let reading = tokio::spawn(read(run, reserve.chunks(), sender, Arc::clone(&was_read)));
        Self { offset, end, reserve, chunks, was_read, _reading: AbortOnDropHandle::new(reading) }
    }

    /// How long it has lain in memory, not counted before `was_quick`: until then it was the store that was slow.
    fn lies_since(&self, was_quick: Instant) -> Duration {
        self.was_read.get().map_or(Duration::ZERO, |read| (*read).max(was_quick).elapsed())
    }

    /// The next bytes, `None` when all have come.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.offset == self.end {
            return Ok(None);
        }
        let chunk = self.chunks.recv().await.unwrap_or_else(|| Err(ended()))?;
        self.offset += chunk.len() as u64;
        self.reserve.handed_on(chunk.len() as u64);
        Ok(Some(chunk))
    }
}

/// Reads all of `run`, a chunk at a time.
async fn read(
    mut run: Run,
    mut read: Chunks,
    chunks: mpsc::UnboundedSender<Result<Bytes, StoreError>>,
    was_read: Arc<OnceLock<Instant>>,
) {
    // Where nobody receives them any more, this task is about to be ended.
    let send = |chunk| drop(chunks.send(chunk));
    loop {
        match run.next().await {
            Ok(Some(frame)) => read.put(frame).into_iter().map(Ok).for_each(send),
            Ok(None) => break,
            Err(error) => return send(Err(error)),
        }
    }
    let _ = was_read.set(Instant::now());
}

fn ended() -> StoreError {
    StoreError::Unavailable("reading ended early".into())
}
