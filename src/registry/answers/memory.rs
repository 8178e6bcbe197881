//! What this process remembers of its answers, so that the next one costs less.
//!
//! None of it is needed: an answer is a function of what the store has. What is
//! remembered is what came of the same things before, where that was stored.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::super::manifests::ManifestInfo;
use crate::oci::{Digest, RepoName};
use crate::store::Key;

/// How long a derived form that was stored is not stored again. It goes when it
/// is older than the grace, and must be there for a whole build after it was announced.
const STORED: Duration = Duration::from_secs(24 * 60 * 60);

/// How long nothing is stored after the store did not allow it.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(10 * 60);

/// Most that is remembered of each kind, some 200 bytes each; past it half is forgotten.
const MOST: usize = 2048;

/// What came of sources before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The first of them is served as it is.
    AsIs,
    /// This was made of them, and is stored.
    Derived {
        manifest: ManifestInfo,
        /// Whether it is what several of them are together, or in another form than they were.
        united: usize,
        is_rescued: bool,
    },
    /// No build has a use for them.
    Nothing,
}

/// How many new forms are made and stored at once: whoever waits finds most likely that theirs was among them.
const MADE_AT_ONCE: usize = 2;

/// What this process remembers, and whose turn it is to make something new.
#[derive(Debug)]
pub(in crate::registry) struct Memory {
    remembered: Mutex<Remembered>,
    making: Semaphore,
}

impl Default for Memory {
    fn default() -> Self {
        Self { remembered: Mutex::default(), making: Semaphore::new(MADE_AT_ONCE) }
    }
}

#[derive(Debug, Default)]
struct Remembered {
    /// What came of sources that are known by a digest over all of them, of an image.
    answers: HashMap<(RepoName, Digest), (Known, Instant)>,
    /// Whether manifests are caches or hold one.
    holding: HashMap<Digest, bool>,
    /// Whether what was last found under tags was.
    tags_holding: HashMap<Key, bool>,
    /// What a tag that had that etag was.
    tagged: HashMap<Key, (String, Digest)>,
    refused: Option<Instant>,
}

impl Memory {
    /// What came of the sources `of` of `image` before, if what was made of them is there still.
    pub(super) fn recall(&self, image: &RepoName, of: &Digest) -> Option<Known> {
        let remembered = self.lock();
        let (known, since) = remembered.answers.get(&(image.clone(), *of))?;
        (since.elapsed() < STORED).then(|| known.clone())
    }

    pub(super) fn remember(&self, image: &RepoName, of: Digest, known: Known) {
        let mut remembered = self.lock();
        make_room(&mut remembered.answers);
        remembered.answers.insert((image.clone(), of), (known, Instant::now()));
    }

    /// Forgets what was made under `digest`: it is not there after all.
    pub(in crate::registry) fn forget(&self, digest: &Digest) {
        let is_it = |known: &Known| matches!(known, Known::Derived { manifest, .. } if manifest.digest == *digest);
        self.lock().answers.retain(|_, (known, _)| !is_it(known));
    }

    /// Whether `manifest` is a cache or holds one, if that is known.
    pub(super) fn holds_cache(&self, manifest: &Digest) -> Option<bool> {
        self.lock().holding.get(manifest).copied()
    }

    /// Notes whether `manifest`, which `tag` points to, is a cache or holds one.
    pub(super) fn note_holds_cache(&self, manifest: Digest, tag: &Key, holds: bool) {
        let mut remembered = self.lock();
        make_room(&mut remembered.holding);
        make_room(&mut remembered.tags_holding);
        remembered.holding.insert(manifest, holds);
        remembered.tags_holding.insert(tag.clone(), holds);
    }

    /// Whether what was last found under `tag` was no cache. It may be one by now.
    pub(super) fn was_plain(&self, tag: &Key) -> bool {
        self.lock().tags_holding.get(tag) == Some(&false)
    }

    /// What `tag` was when it had `etag`.
    pub(super) fn tagged(&self, tag: &Key, etag: &str) -> Option<Digest> {
        self.lock().tagged.get(tag).filter(|(had, _)| had == etag).map(|(_, digest)| *digest)
    }

    pub(super) fn note_tagged(&self, tag: &Key, etag: &str, digest: Digest) {
        let mut remembered = self.lock();
        make_room(&mut remembered.tagged);
        remembered.tagged.insert(tag.clone(), (etag.to_owned(), digest));
    }

    /// Whether the store did not let us write a moment ago.
    pub(super) fn is_refused(&self) -> bool {
        self.lock().refused.is_some_and(|since| since.elapsed() < PAUSE_AFTER_REFUSAL)
    }

    /// Notes that the store does not let us write; whether that is news.
    pub(super) fn note_refusal(&self) -> bool {
        self.lock().refused.replace(Instant::now()).is_none()
    }

    /// A turn at making something. Nobody is ever refused one.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.making.acquire().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets every other entry when there are as many as may be.
fn make_room<K: Eq + Hash, V>(entries: &mut HashMap<K, V>) {
    if entries.len() >= MOST {
        let mut is_kept = false;
        entries.retain(|_, _| {
            is_kept = !is_kept;
            is_kept
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_stored_is_remembered_for_a_day_and_no_more_of_it_than_the_bound() {
        let (memory, image) = (Memory::default(), "app".parse().unwrap());
        let of = |number: usize| Digest::sha256(&number.to_le_bytes());

        memory.remember(&image, of(0), Known::AsIs);
        assert_eq!(memory.recall(&image, &of(0)), Some(Known::AsIs));
        assert_eq!(memory.recall(&"other".parse().unwrap(), &of(0)), None);
        tokio::time::advance(STORED).await;
        assert_eq!(memory.recall(&image, &of(0)), None);

        for number in 0..MOST * 2 {
            memory.remember(&image, of(number), Known::Nothing);
        }
        assert!(memory.lock().answers.len() <= MOST);
        assert!(memory.recall(&image, &of(MOST * 2 - 1)).is_some());
    }

    #[test]
    fn what_turned_out_to_be_gone_is_made_anew() {
        let (memory, image, of) = (Memory::default(), "app".parse().unwrap(), Digest::sha256(b"sources"));
        let made = |text: &str| {
            let manifest = ManifestInfo { digest: Digest::sha256(text.as_bytes()), media_type: String::new(), size: 1 };
            Known::Derived { manifest, united: 1, is_rescued: false }
        };
        memory.remember(&image, of, made("derived"));

        memory.forget(&Digest::sha256(b"other"));
        assert!(memory.recall(&image, &of).is_some());
        memory.forget(&Digest::sha256(b"derived"));
        assert!(memory.recall(&image, &of).is_none());
    }
}
