//! A store that goes wrong just where a test tells it to.
//!
//! ```ignore
//! let store = BrokenStore::around(Arc::new(MemoryStore::default()));
//! store.when(Operation::Put).key("manifests/").nth(2).fail(unavailable);
//! let pause = store.when(Operation::Finish).pause();
//! // … begin what should get stuck
//! pause.arrived().await;
//! // … look around, then
//! pause.release();
//! ```
//!
//! Rules count the calls that fit them, from 1, since they were made. The first
//! made that fires decides; without [`nth`](When::nth) a rule fires at each.

use std::fmt;
use std::future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt, stream};
use longshore::oci::ByteRange;
use longshore::store::{ByteStream, Key, Object, ObjectMeta, ObjectStore, Page, StoreError, Unfinished, Upload};
use tokio::sync::Semaphore;

/// A call that can go wrong. `Write`, `Finish` and `Abort` are those of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Head,
    Get,
    Put,
    Upload,
    Write,
    Finish,
    Abort,
    Copy,
    Touch,
    Delete,
    List,
    Folders,
    Unfinished,
    Discard,
    Probe,
}

/// An error to fail with, where it does not matter which.
pub fn unavailable() -> StoreError {
    StoreError::Unavailable("told to fail".into())
}

/// Passes every call on to another store, unless a rule fires.
pub struct BrokenStore {
    inner: Arc<dyn ObjectStore>,
    book: Arc<Mutex<Book>>,
}

/// What is to happen, and what has happened.
#[derive(Default)]
struct Book {
    rules: Vec<Rule>,
    /// Every call, with its key.
    calls: Vec<(Operation, String)>,
}

fn open(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().expect("nobody panics while it is open")
}

#[derive(Clone)]
struct Rule {
    operation: Option<Operation>,
    key: String,
    nth: Option<usize>,
    after: Option<u64>,
    seen: usize,
    fault: Fault,
}

#[derive(Clone)]
enum Fault {
    Pause(Arc<Gate>),
    HoldAnswer(Arc<Gate>),
    Fail(Arc<dyn Fn() -> StoreError + Send + Sync>),
    LoseAnswer(Arc<dyn Fn() -> StoreError + Send + Sync>),
    Stall,
    Hang,
    Garble,
}

impl BrokenStore {
    pub fn around(inner: Arc<dyn ObjectStore>) -> Arc<Self> {
        Arc::new(Self { inner, book: Arc::default() })
    }

    /// Begins a rule for `operation`.
    pub fn when(&self, operation: Operation) -> When<'_> {
        When { operation: Some(operation), ..self.at_any_call() }
    }

    /// Begins a rule for all operations.
    pub fn at_any_call(&self) -> When<'_> {
        When { book: &self.book, operation: None, key: String::new(), nth: None, after: None }
    }

    /// Forgets all rules; who waits at one goes on waiting.
    pub fn mend(&self) {
        open(&self.book).rules.clear();
    }

    /// How often anything was called.
    pub fn all_calls(&self) -> usize {
        open(&self.book).calls.len()
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: Operation) -> usize {
        self.calls_for(operation, "")
    }

    /// How often `operation` was called for keys (of a listing: prefixes) that contain `part`.
    pub fn calls_for(&self, operation: Operation, part: &str) -> usize {
        open(&self.book).calls.iter().filter(|(called, key)| *called == operation && key.contains(part)).count()
    }
}

/// A rule that is being made; the last word makes it.
#[must_use]
pub struct When<'a> {
    book: &'a Mutex<Book>,
    operation: Option<Operation>,
    key: String,
    nth: Option<usize>,
    after: Option<u64>,
}

impl When<'_> {
    /// Only for keys (of a copy: the new one; of a listing: the prefix) that contain `part`.
    pub fn key(self, part: &str) -> Self {
        Self { key: part.to_owned(), ..self }
    }

    /// Only at the `nth` such call, counted from 1.
    pub fn nth(self, nth: usize) -> Self {
        Self { nth: Some(nth), ..self }
    }

    /// Not at once, but when this many bytes of a `Get` were read or of an `Upload` written.
    pub fn after(self, bytes: u64) -> Self {
        Self { after: Some(bytes), ..self }
    }

    /// The call waits until it is released.
    pub fn pause(self) -> Pause {
        let gate = Gate::new();
        self.make(Fault::Pause(gate.clone()));
        Pause(gate)
    }

    /// The call is done, and its answer waits until it is released.
    pub fn hold_answer(self) -> Pause {
        let gate = Gate::new();
        self.make(Fault::HoldAnswer(gate.clone()));
        Pause(gate)
    }

    /// The call fails, and nothing is done.
    pub fn fail(self, error: impl Fn() -> StoreError + Send + Sync + 'static) {
        self.make(Fault::Fail(Arc::new(error)));
    }

    /// The call is done, and fails.
    pub fn lose_answer(self, error: impl Fn() -> StoreError + Send + Sync + 'static) {
        self.make(Fault::LoseAnswer(Arc::new(error)));
    }

    /// The call fails when its patience is at an end, as at a store that never answers.
    pub fn stall(self) {
        self.make(Fault::Stall);
    }

    /// The call never ends.
    pub fn hang(self) {
        self.make(Fault::Hang);
    }

    /// One byte of what a `Get` brings is another than what is stored: the first, or that [`after`](Self::after) so many.
    pub fn garble(self) {
        Self { after: Some(self.after.unwrap_or(0)), ..self }.make(Fault::Garble);
    }

    fn make(self, fault: Fault) {
        let Self { book, operation, key, nth, after } = self;
        open(book).rules.push(Rule { operation, key, nth, after, seen: 0, fault });
    }
}

/// Holds calls back; those that still wait go on when it is dropped.
#[must_use]
pub struct Pause(Arc<Gate>);

struct Gate {
    arrived: Semaphore,
    released: Semaphore,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { arrived: Semaphore::new(0), released: Semaphore::new(0) })
    }

    async fn pass(&self) {
        self.arrived.add_permits(1);
        // Closed is released.
        if let Ok(permit) = self.released.acquire().await {
            permit.forget();
        }
    }
}

impl Pause {
    /// Waits for the next call to arrive here.
    pub async fn arrived(&self) {
        self.0.arrived.acquire().await.expect("it is never closed").forget();
    }

    /// Lets one call go on.
    pub fn release(&self) {
        self.0.released.add_permits(1);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.released.close();
    }
}

impl Rule {
    /// Whether this rule fires at a call of `operation` for `key`.
    fn meets(&mut self, operation: Operation, key: &str) -> bool {
        if self.operation.is_some_and(|mine| mine != operation) || !key.contains(&self.key) {
            return false;
        }
        self.seen += 1;
        self.nth.is_none_or(|nth| nth == self.seen)
    }
}

impl Fault {
    /// Keeps the call waiting, or fails it.
    async fn strike(&self, patience: Duration) -> Result<(), StoreError> {
        match self {
            Self::Pause(gate) | Self::HoldAnswer(gate) => {
                gate.pass().await;
                Ok(())
            }
            Self::Fail(error) | Self::LoseAnswer(error) => Err(error()),
            Self::Stall => {
                tokio::time::sleep(patience).await;
                Err(unavailable())
            }
            Self::Hang => future::pending().await,
            Self::Garble => Ok(()),
        }
    }
}

/// A fault that waits inside a body.
type Trap = Option<(u64, Fault)>;

impl Book {
    /// What is to happen at this call, and inside the body that it begins.
    fn enter(&mut self, operation: Operation, key: &str) -> (Option<Fault>, Trap) {
        self.calls.push((operation, key.to_owned()));
        let fired: Vec<_> = self.rules.iter_mut().filter_map(|rule| rule.meets(operation, key).then(|| rule.clone())).collect();
        let now = fired.iter().find(|rule| rule.after.is_none()).map(|rule| rule.fault.clone());
        let later = fired.iter().find_map(|rule| Some((rule.after?, rule.fault.clone())));
        (now, later)
    }
}

/// Does `call` as the book says.
async fn pass<T>(
    book: &Mutex<Book>,
    what: (Operation, &str, Duration),
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    begin(book, what, call).await.map(|(answer, _)| answer)
}

/// Does `call` as the book says; what it came to, and the trap in the body that it begins.
async fn begin<T>(
    book: &Mutex<Book>,
    (operation, key, patience): (Operation, &str, Duration),
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<(T, Trap), StoreError> {
    let (now, later) = open(book).enter(operation, key);
    match now {
        Some(Fault::LoseAnswer(error)) => {
            call.await?;
            return Err(error());
        }
        Some(Fault::HoldAnswer(gate)) => {
            let answer = call.await;
            gate.pass().await;
            return Ok((answer?, later));
        }
        Some(fault) => fault.strike(patience).await?,
        None => {}
    }
    Ok((call.await?, later))
}

#[async_trait]
impl ObjectStore for BrokenStore {
    async fn head(&self, key: &Key, patience: Duration) -> Result<Option<ObjectMeta>, StoreError> {
        let call = (Operation::Head, key.as_str(), patience);
        pass(&self.book, call, self.inner.head(key, patience)).await
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>, patience: Duration) -> Result<Option<Object>, StoreError> {
        let call = (Operation::Get, key.as_str(), patience);
        let (found, trap) = begin(&self.book, call, self.inner.get(key, range, patience)).await?;
        Ok(found.map(|object| Object { body: trapped(object.body, trap, patience), ..object }))
    }

    async fn put(&self, key: &Key, bytes: Bytes, content_type: &str, patience: Duration) -> Result<(), StoreError> {
        let call = (Operation::Put, key.as_str(), patience);
        pass(&self.book, call, self.inner.put(key, bytes, content_type, patience)).await
    }

    async fn upload(&self, key: &Key, length: Option<u64>, patience: Duration) -> Result<Box<dyn Upload>, StoreError> {
        let call = (Operation::Upload, key.as_str(), patience);
        let (inner, trap) = begin(&self.book, call, self.inner.upload(key, length, patience)).await?;
        Ok(Box::new(BrokenUpload { inner, book: self.book.clone(), key: key.clone(), patience, written: 0, trap }))
    }

    async fn copy(&self, from: &Key, etag: &str, to: &Key, patience: Duration) -> Result<bool, StoreError> {
        let call = (Operation::Copy, to.as_str(), patience);
        pass(&self.book, call, self.inner.copy(from, etag, to, patience)).await
    }

    async fn touch(&self, key: &Key, patience: Duration) -> Result<bool, StoreError> {
        let call = (Operation::Touch, key.as_str(), patience);
        pass(&self.book, call, self.inner.touch(key, patience)).await
    }

    async fn delete(&self, key: &Key, patience: Duration) -> Result<(), StoreError> {
        let call = (Operation::Delete, key.as_str(), patience);
        pass(&self.book, call, self.inner.delete(key, patience)).await
    }

    async fn list(&self, prefix: &str, after: Option<&Key>, patience: Duration) -> Result<Page, StoreError> {
        let call = (Operation::List, prefix, patience);
        pass(&self.book, call, self.inner.list(prefix, after, patience)).await
    }

    async fn folders(&self, prefix: &str, patience: Duration) -> Result<Vec<String>, StoreError> {
        let call = (Operation::Folders, prefix, patience);
        pass(&self.book, call, self.inner.folders(prefix, patience)).await
    }

    async fn unfinished(
        &self,
        prefix: &str,
        before: SystemTime,
        patience: Duration,
    ) -> Result<Option<Vec<Unfinished>>, StoreError> {
        let call = (Operation::Unfinished, prefix, patience);
        pass(&self.book, call, self.inner.unfinished(prefix, before, patience)).await
    }

    async fn discard(&self, upload: &Unfinished, patience: Duration) -> Result<(), StoreError> {
        let call = (Operation::Discard, upload.key.as_ref().map_or("", Key::as_str), patience);
        pass(&self.book, call, self.inner.discard(upload, patience)).await
    }

    async fn probe(&self, patience: Duration) -> Result<(), StoreError> {
        pass(&self.book, (Operation::Probe, "", patience), self.inner.probe(patience)).await
    }

    fn reconnect(&self) {
        self.inner.reconnect();
    }

    async fn settle(&self) {
        self.inner.settle().await;
    }
}

struct BrokenUpload {
    inner: Box<dyn Upload>,
    book: Arc<Mutex<Book>>,
    key: Key,
    patience: Duration,
    written: u64,
    trap: Trap,
}

#[async_trait]
impl Upload for BrokenUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.written += chunk.len() as u64;
        if let Some((_, fault)) = self.trap.take_if(|(after, _)| self.written > *after) {
            fault.strike(self.patience).await?;
        }
        let call = (Operation::Write, self.key.as_str(), self.patience);
        pass(&self.book, call, self.inner.write(chunk)).await
    }

    async fn finish(self: Box<Self>, sha256: Option<[u8; 32]>) -> Result<String, StoreError> {
        let call = (Operation::Finish, self.key.as_str(), self.patience);
        pass(&self.book, call, self.inner.finish(sha256)).await
    }

    async fn abort(self: Box<Self>) {
        let Self { inner, book, key, patience, .. } = *self;
        let call = (Operation::Abort, key.as_str(), patience);
        // An abort that fails is an upload that is dropped.
        let _ = pass(&book, call, inner.abort().map(Ok)).await;
    }
}

/// `body`, with `trap` in it.
fn trapped(body: ByteStream, trap: Trap, patience: Duration) -> ByteStream {
    let Some((after, fault)) = trap else { return body };
    if let Fault::Garble = fault {
        return garbled(body, after);
    }
    let state = Trapped { body, rest: Bytes::new(), left: after, fault: Some(fault), patience };
    Box::pin(stream::try_unfold(state, Trapped::next))
}

/// `body`, with another byte at `at`.
fn garbled(body: ByteStream, at: u64) -> ByteStream {
    let mut passed = 0;
    Box::pin(body.map_ok(move |chunk| {
        let mut bytes = chunk.to_vec();
        if let Some(byte) = bytes.get_mut((at - passed.min(at)) as usize).filter(|_| passed <= at) {
            *byte ^= 1;
        }
        passed += bytes.len() as u64;
        bytes.into()
    }))
}

struct Trapped {
    body: ByteStream,
    /// What arrived and was not yet given out.
    rest: Bytes,
    /// How many bytes may be given out until the fault strikes.
    left: u64,
    fault: Option<Fault>,
    patience: Duration,
}

impl Trapped {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if let Some(fault) = self.fault.take_if(|_| self.left == 0) {
            fault.strike(self.patience).await?;
        }
        if self.rest.is_empty() {
            match self.body.try_next().await? {
                Some(chunk) => self.rest = chunk,
                None => return Ok(None),
            }
        }
        let most = if self.fault.is_some() { self.left.min(self.rest.len() as u64) } else { self.rest.len() as u64 };
        self.left = self.left.saturating_sub(most);
        let chunk = self.rest.split_to(most as usize);
        Ok(Some((chunk, self)))
    }
}

impl fmt::Debug for BrokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokenStore({:?})", self.inner)
    }
}

impl fmt::Debug for BrokenUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokenUpload({:?})", self.inner)
    }
}
