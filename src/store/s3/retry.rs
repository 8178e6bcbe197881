//! How long the bucket is waited for.
//!
//! A call has its patience: how long it may go on without getting anywhere.
//! Inside it, attempts follow one another with growing pauses. An attempt that
//! hears and sends nothing for a while is given up, since a connection that a
//! store has forgotten never says so, and neither do the idle ones beside it:
//! the next attempt goes over a new one. It waits longer, since a store may
//! also be slow.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::fault::{Fault, Remedy};
use super::health::{Call, Health};
use super::load::{Burden, Load};
use crate::metrics::ProfileMetrics;
use crate::store::StoreError;

/// How long the first attempt may stand still.
const FIRST_STILL: Duration = Duration::from_secs(10);

/// What of the patience the first attempt may use up standing still: one in so many.
pub(super) const FIRST_SHARE: u32 = 4;

/// How long any attempt may.
const MAX_STILL: Duration = Duration::from_secs(60);

/// How long an attempt may from when the store was found well again: most likely it went with the connections.
const STILL_WHEN_WELL: Duration = Duration::from_secs(5);

/// The pause after the first attempt, doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// What a body passes to the socket at a time.
const SLICE: usize = 64 * 1024;

/// A body with more than this is a part's: it takes its time.
const SMALL: usize = 1024 * 1024;

/// A store as all who ask it see it: whether it is well, and how much it has to do for us.
#[derive(Debug)]
pub(super) struct Endpoint {
    health: Health,
    load: Load,
}

/// One attempt: its sign of life, moved on by the body it sends, and the bytes of that body.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    began: Instant,
    /// Milliseconds after `began`.
    moved: Arc<AtomicU64>,
    /// Lent to the body for as long as the attempt goes on. A connection whose
    /// other end reads nothing keeps its body for ever, and must not keep the
    /// memory of an upload with it.
    lent: Arc<Mutex<Option<Bytes>>>,
}

/// Ends an attempt's loan.
struct Loan(Attempt);

impl Drop for Loan {
    fn drop(&mut self) {
        *self.0.lent() = None;
    }
}

impl Attempt {
    fn new() -> Self {
        Self { began: Instant::now(), moved: Arc::default(), lent: Arc::default() }
    }

    fn lent(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There was a sign of life.
    pub(super) fn moves(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(now, Ordering::Relaxed);
    }

    /// Lets the store work until then before its silence means anything.
    pub(super) fn gives_time(&self, until: Instant) {
        let until = u64::try_from((until - self.began).as_millis()).unwrap_or(u64::MAX);
        self.moved.fetch_max(until, Ordering::Relaxed);
    }

    fn last_moved(&self) -> Instant {
        self.began + Duration::from_millis(self.moved.load(Ordering::Relaxed))
    }

    fn burden(&self) -> Burden {
        if self.lent().as_ref().is_some_and(|bytes| bytes.len() > SMALL) { Burden::Part } else { Burden::Small }
    }

    /// Runs `request` until it has stood still for `still`, or for less once the store has recovered meanwhile.
    async fn run<T>(
        &self,
        mut still: Duration,
        health: &Health,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut recoveries = health.recoveries();
        let mut request = std::pin::pin!(request);
        self.moves();
        loop {
            let limit = self.last_moved() + still;
            tokio::select! {
                biased;
                outcome = &mut request => return outcome,
                _ = recoveries.changed() => {
                    self.moves();
                    still = still.min(STILL_WHEN_WELL);
                }
                () = tokio::time::sleep_until(limit) => {
                    if self.last_moved() + still <= limit {
                        return Err(Fault::silent(still));
                    }
                }
            }
        }
    }
}

impl Endpoint {
    /// A store of which nothing is known as yet.
    pub(super) fn new(metrics: ProfileMetrics) -> Self {
        Self { health: Health::new(metrics), load: Load::new() }
    }

    /// Asks as much of it at once as `requests`.
    pub(super) fn allow(&self, requests: usize) {
        self.load.allow(requests);
    }

    /// Makes one attempt when it is the turn of `call`; how it ended, and when it began.
    ///
    /// # Errors
    ///
    /// It was never made, since the store is down or has too much to do.
    async fn attempt<T, F>(
        &self,
        call: &Call,
        Turn { earliest, still }: Turn,
        request: impl FnOnce(Attempt) -> F,
    ) -> Result<(Result<T, Fault>, Instant), StoreError>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        self.health.admit(call, earliest).await?;
        let attempt = Attempt::new();
        let _loan = Loan(attempt.clone());
        let request = request(attempt.clone());
        let entry = self.load.enter(attempt.burden(), call.deadline).await;
        let _entry = entry.ok_or_else(|| StoreError::Unavailable("too many requests are on their way to the store".into()))?;
        let began = Instant::now();
        let still = still.min(call.deadline.saturating_duration_since(began));
        Ok((attempt.run(still, &self.health, request).await, began))
    }

    fn learn<T>(&self, call: &Call, outcome: &Result<T, Fault>) {
        match outcome.as_ref().map_err(|fault| &fault.remedy) {
            Ok(_) => self.load.succeeded(),
            Err(Remedy::LessLoad) => self.load.slow_down(),
            Err(_) => {}
        }
        match outcome {
            Err(Fault { remedy: Remedy::Recovery | Remedy::NewConnections, error }) => self.health.failed(call, error),
            Err(Fault { error: StoreError::NoCredentials(_), .. }) => {}
            _ => self.health.succeeded(),
        }
    }
}

/// When an attempt may be made, and how long it may stand still.
#[derive(Clone, Copy)]
struct Turn {
    earliest: Instant,
    still: Duration,
}

/// When another attempt makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// At once: what was wrong is mended.
    Now,
    /// When some time has passed.
    Later,
    /// It does not.
    Never,
}

/// Makes attempts until one succeeds, one fails for good, or `patience` is over.
///
/// `apply` does what helps before the next, against an attempt that began then.
pub(super) async fn retry<T, F, G>(
    patience: Duration,
    endpoint: &Endpoint,
    apply: impl Fn(Remedy, Instant) -> G,
    mut request: impl FnMut(Attempt) -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Fault>>,
    G: Future<Output = Again>,
{
    let call = endpoint.health.call(patience);
    let mut turn = Turn { earliest: Instant::now(), still: FIRST_STILL.min(patience / FIRST_SHARE) };
    let (mut pauses, mut last) = (Pauses::new(), None);
    loop {
        let (outcome, began) = match endpoint.attempt(&call, turn, &mut request).await {
            Ok(attempt) => attempt,
            Err(never_made) => return Err(last.unwrap_or(never_made)),
        };
        endpoint.learn(&call, &outcome);
        let fault = match outcome {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        let pause = match tokio::time::timeout_at(call.deadline, apply(fault.remedy.clone(), began)).await {
            Ok(Again::Now) => Duration::ZERO,
            Ok(Again::Later) => pauses.next(),
            Ok(Again::Never) | Err(_) => return Err(fault.error),
        };
        turn = Turn { earliest: Instant::now() + pause, still: (turn.still * 2).min(MAX_STILL) };
        if turn.earliest >= call.deadline {
            return Err(fault.error);
        }
        tracing::debug!(error = %fault, "store request failed, trying again");
        last = Some(fault.error);
    }
}

/// Growing pauses with some chance in them, so that many who failed together do not come back together.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = jittered(self.0);
        self.0 = (self.0 * 2).min(MAX_PAUSE);
        pause
    }
}

/// Between half of `pause` and all of it.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// Bytes sent in slices, each a sign of life and a copy.
pub(super) struct Slices {
    attempt: Attempt,
    sent: usize,
    length: usize,
    /// What was copied to, the oldest first: memory that the socket is done with is used again. Allocated for each, it
    /// would be touched for the first time each time, which costs as much as the copy.
    copies: VecDeque<Bytes>,
}

/// The attempt that a body belonged to is over.
#[derive(Debug, thiserror::Error)]
#[error("given up")]
pub(super) struct GivenUp;

impl Slices {
    /// A body of `bytes`, for as long as `attempt` goes on.
    pub(super) fn new(bytes: Bytes, attempt: Attempt) -> Self {
        let length = bytes.len();
        *attempt.lent() = Some(bytes);
        Self { attempt, sent: 0, length, copies: VecDeque::new() }
    }

    fn next(&mut self) -> Result<Frame<Bytes>, GivenUp> {
        let end = self.length.min(self.sent + SLICE);
        let mut copy = self.memory(end - self.sent);
        copy.extend_from_slice(&self.attempt.lent().as_ref().ok_or(GivenUp)?[self.sent..end]);
        let copy = copy.freeze();
        self.copies.push_back(copy.clone());
        self.sent = end;
        self.attempt.moves();
        Ok(Frame::data(copy))
    }

    /// Empty memory for a copy of `size` bytes.
    fn memory(&mut self, size: usize) -> BytesMut {
        if self.copies.front().is_some_and(Bytes::is_unique)
            && let Some(Ok(mut memory)) = self.copies.pop_front().map(Bytes::try_into_mut)
        {
            memory.clear();
            return memory;
        }
        BytesMut::with_capacity(size)
    }
}

impl Body for Slices {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        Poll::Ready((!self.is_end_stream()).then(|| self.next()))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.length - self.sent) as u64)
    }
}

#[cfg(test)]
mod tests;
