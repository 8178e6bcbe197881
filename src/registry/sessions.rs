//! What this process knows of chunked uploads that it is taking part in.
//!
//! None of it is needed: what an upload holds is what the store lists. But two
//! chunks of one upload must not be taken at once by one process, and who wrote
//! every piece knows their hash and need not read them again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::UploadId;
use crate::oci::Hasher;

/// Most uploads remembered; past it the one that is quiet the longest is forgotten.
const MAX_SESSIONS: usize = 1024;

/// The uploads that this process has had to do with lately.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    session: Arc<AsyncMutex<Session>>,
    last_used: Instant,
}

/// What was written of one upload here.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The pieces written here, in order.
    pub(super) pieces: Vec<WrittenPiece>,
    /// The hash of them all, `None` while there are none.
    pub(super) hasher: Option<Hasher>,
}

/// A piece that was written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WrittenPiece {
    pub(super) offset: u64,
    pub(super) etag: String,
}

impl Sessions {
    /// The session of `id`, for one request at a time.
    pub(super) async fn enter(&self, id: UploadId) -> OwnedMutexGuard<Session> {
        let session = {
            let mut sessions = self.lock();
            make_room(&mut sessions);
            let entry = sessions.entry(id.to_string()).or_insert_with(Entry::new);
            entry.last_used = Instant::now();
            Arc::clone(&entry.session)
        };
        session.lock_owned().await
    }

    /// Forgets what is known of `id`.
    pub(super) fn forget(&self, id: UploadId) {
        self.lock().remove(&id.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Notes a piece that was written at `offset`, after which everything hashes as `hasher` says.
    pub(super) fn wrote(&mut self, offset: u64, etag: String, hasher: Hasher) {
        if offset == 0 {
            self.pieces.clear();
        }
        self.pieces.push(WrittenPiece { offset, etag });
        self.hasher = Some(hasher);
    }
}

impl Entry {
    fn new() -> Self {
        Self { session: Arc::default(), last_used: Instant::now() }
    }

    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.session) == 1
    }
}

fn make_room(sessions: &mut HashMap<String, Entry>) {
    if sessions.len() < MAX_SESSIONS {
        return;
    }
    let idle = sessions.iter().filter(|(_, entry)| entry.is_idle());
    if let Some(oldest) = idle.min_by_key(|(_, entry)| entry.last_used).map(|(id, _)| id.clone()) {
        sessions.remove(&oldest);
    }
}
