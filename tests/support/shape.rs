//! What a store far away does to those who ask it: each request waits, and bytes flow no faster than they may.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How far away a store seems; the default is next door.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How long each request waits before it is passed on.
    pub latency: Duration,
    /// The most one connection carries each way, in bytes per second.
    pub per_connection: Option<u64>,
    /// The most all connections together carry each way, in bytes per second.
    pub in_all: Option<u64>,
}

/// How far bytes may run ahead of their time: timers tick once a millisecond, and a wake-up costs more than it carries.
const AHEAD: Duration = Duration::from_millis(4);

/// How much of the time that a late wake-up lost may be made good.
const CREDIT: Duration = Duration::from_millis(10);

/// The schedule of bytes that go one way.
#[derive(Debug)]
struct Schedule {
    bytes_per_second: u64,
    /// When all that has passed was due.
    due: Instant,
}

impl Schedule {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, due: Instant::now() }
    }

    /// Takes note of `bytes` that pass now; when they were due.
    fn pass(&mut self, bytes: usize) -> Instant {
        let due = self.due.max(Instant::now() - CREDIT);
        self.due = due + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.due
    }
}

/// What all connections have in common.
#[derive(Clone, Debug)]
pub struct Pipe {
    shape: Shape,
    up: Option<Arc<Mutex<Schedule>>>,
    down: Option<Arc<Mutex<Schedule>>>,
}

impl Pipe {
    pub fn new(shape: Shape) -> Self {
        let schedule = || shape.in_all.map(|rate| Arc::new(Mutex::new(Schedule::new(rate))));
        Self { shape, up: schedule(), down: schedule() }
    }

    /// Holds one request back as long as it has to wait.
    pub async fn delay(&self) {
        if !self.shape.latency.is_zero() {
            tokio::time::sleep(self.shape.latency).await;
        }
    }

    /// `stream`, a connection from in front, no faster than it may be.
    pub fn pace<S>(&self, stream: S) -> Paced<S> {
        let pace = |all: &Option<_>| Pace { own: self.shape.per_connection.map(Schedule::new), all: all.clone(), wait: None };
        Paced { stream, up: pace(&self.up), down: pace(&self.down) }
    }
}

/// One way of one connection.
#[derive(Debug)]
struct Pace {
    own: Option<Schedule>,
    all: Option<Arc<Mutex<Schedule>>>,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Ready when the next bytes may pass.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(context));
            self.wait = None;
        }
        Poll::Ready(())
    }

    fn passed(&mut self, bytes: usize) {
        let own = self.own.as_mut().map(|own| own.pass(bytes));
        let all = self.all.as_ref().map(|all| all.lock().expect("no panic").pass(bytes));
        let due = own.max(all);
        self.wait = due.filter(|&due| due > Instant::now() + AHEAD).map(|due| Box::pin(tokio::time::sleep_until(due)));
    }
}

/// A connection that carries no more than it may.
#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    up: Pace,
    down: Pace,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.up.poll_ready(context));
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.up.passed(buffer.filled().len() - before);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.down.poll_ready(context));
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, bytes));
        self.down.passed(*written.as_ref().unwrap_or(&0));
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
