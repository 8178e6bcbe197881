//! The existence index: which blobs are there, as far as this process knows.
//!
//! It is advice, not evidence. An entry says that a blob was there at some
//! moment, and for [`Belief::index_ttl`](super::Belief) it may spare a push the
//! upload. What is not in it proves nothing to anyone but a push that would
//! send the blob again, and to that only for a minute after a whole listing.
//!
//! Facts come from many sides, and late: a listing that was asked before a
//! blob was written answers after it. So every fact has the moment as of which
//! it holds, and the newer one stays. What went away here is remembered as
//! gone, so that no question that was asked before can bring it back.

mod entries;
mod listing;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Asker, Belief};
use crate::metrics::ProfileMetrics;
use crate::oci::Digest;
use entries::{Entries, Fact, Known, Moment};

pub(super) use entries::Found;

/// How old a whole listing may be to say that a blob is not there. An export
/// of many new layers lists once a minute.
const ABSENCE: Duration = Duration::from_secs(60);

/// How long ago a blob may have been seen for a cache that needs it to be told to be whole.
pub(super) const FRESH: Duration = Duration::from_secs(60);

/// How long an image is asked for blob by blob after its listing failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(60);

/// The same after it turned out that it does not fit.
const PAUSE_AFTER_OVERFLOW: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it is remembered that something went away: longer than any question goes on.
const GONE: Duration = Duration::from_secs(60);

/// How often room is looked for in an image that does not fit.
const PURGE_PAUSE: Duration = Duration::from_secs(60);

/// What an image takes besides its entries, roughly.
const IMAGE_BYTES: usize = 512;

/// How many blobs are asked for at once.
const QUESTIONS_AT_ONCE: usize = 64;

/// What is known of the blobs of all images, each under what its blobs' keys begin with.
#[derive(Debug)]
pub(super) struct Index {
    began: Instant,
    shelf: Mutex<Shelf>,
    /// Permits to ask for a single blob.
    questions: Semaphore,
    /// Permits to ask for a page of a listing that nobody waits for.
    pages: Semaphore,
    metrics: ProfileMetrics,
}

#[derive(Debug)]
struct Shelf {
    images: HashMap<String, Image>,
    ttl: Duration,
    most_bytes: usize,
    bytes: usize,
    metrics: ProfileMetrics,
    /// How often an image was used, how many things went away, how many listings were begun.
    uses: u64,
    departures: u32,
    walks: u64,
}

/// What is known of one image.
#[derive(Debug, Default)]
struct Image {
    entries: Entries,
    walk: Option<Walk>,
    /// As of when a listing showed everything.
    listed: Option<Moment>,
    /// It takes many requests to list it.
    is_large: bool,
    /// It is not listed before then.
    unlisted_until: Option<Moment>,
    purged: Option<Moment>,
    last_used: u64,
}

/// A listing that is going on.
#[derive(Clone, Debug)]
struct Walk {
    id: u64,
    began: Moment,
    /// Cancelled as soon as nobody needs to wait for it any more.
    first_page: CancellationToken,
}

/// The moment of a question, taken before it is asked; what is learned from the answer holds as of then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Moment,
    /// How many things had gone away by then.
    departures: u32,
}

/// What the index has to say to somebody who wants to know whether a blob is there.
#[derive(Debug)]
enum Advice {
    There(Found),
    NotThere,
    /// Ask the store for this blob.
    Ask,
    /// A listing will tell soon.
    Wait(CancellationToken),
    /// Make this listing.
    List(Walk),
}

impl Index {
    pub(super) fn new(belief: &Belief, metrics: ProfileMetrics) -> Self {
        let most_bytes = usize::try_from(belief.index_bytes).unwrap_or(usize::MAX);
        let images = HashMap::new();
        let shelf = Shelf {
            images,
            ttl: belief.index_ttl,
            most_bytes,
            bytes: 0,
            metrics: metrics.clone(),
            uses: 0,
            departures: 0,
            walks: 0,
        };
        Self {
            began: Instant::now(),
            shelf: Mutex::new(shelf),
            questions: Semaphore::new(QUESTIONS_AT_ONCE),
            pages: Semaphore::new(listing::PAGES_AT_ONCE),
            metrics,
        }
    }

    /// To be called before the store is asked anything whose answer is to be noted.
    pub(super) fn asking(&self) -> Asked {
        Asked { at: self.now(), departures: self.lock().departures }
    }

    /// The blob `digest`, if it is believed to be there.
    pub(super) fn find(&self, blobs: &str, digest: &Digest) -> Option<Found> {
        self.find_within(blobs, digest, Duration::MAX)
    }

    /// The blob `digest`, if it is believed to be there and was seen no longer than `age` ago.
    pub(super) fn find_within(&self, blobs: &str, digest: &Digest, age: Duration) -> Option<Found> {
        let now = self.now();
        let shelf = self.lock();
        shelf.images.get(blobs)?.find(digest, now, shelf.ttl.min(age))
    }

    /// The store said, asked at `asked`, that the blob `digest` is there.
    pub(super) fn told(&self, blobs: &str, digest: &Digest, found: Found, asked: Asked) {
        self.lock().learn(blobs, digest, found, asked, asked.at);
    }

    /// The blob `digest` was written here, by a request begun at `asked`.
    pub(super) fn wrote(&self, blobs: &str, digest: &Digest, found: Found, asked: Asked) {
        let now = self.now();
        self.lock().learn(blobs, digest, found, asked, now);
    }

    /// The store said, asked at `asked`, that there is no blob `digest`.
    pub(super) fn missed(&self, blobs: &str, digest: &Digest, asked: Asked) {
        let now = self.now();
        let mut shelf = self.lock();
        let Some(image) = shelf.images.get(blobs) else { return };
        let known = image.entries.get(digest);
        let is_older = known.is_some_and(|known| known.as_of <= asked.at);
        // What a listing shows that was asked before is no news.
        if is_older || known.is_none() && image.walk.is_some() {
            shelf.depart(blobs, digest, now);
        }
    }

    /// The blob `digest` was removed here.
    pub(super) fn removed(&self, blobs: &str, digest: &Digest) {
        let now = self.now();
        self.lock().depart(blobs, digest, now);
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn advise(&self, blobs: &str, digest: &Digest, asker: Asker) -> Advice {
        let now = self.now();
        let mut shelf = self.lock();
        let ttl = shelf.ttl;
        let known = shelf.images.get(blobs).and_then(|image| image.find(digest, now, ttl));
        match (known, asker) {
            (Some(found), _) => Advice::There(found),
            // Whoever does not send a blob that is taken for absent would go without it.
            (None, Asker::Pull | Asker::Import) => Advice::Ask,
            (None, Asker::Push) => shelf.advise_listing(blobs, now),
        }
    }

    fn now(&self) -> Moment {
        Moment::after(self.began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    pub(super) fn new(size: u64, last_modified: SystemTime) -> Self {
        Self { size, last_modified }
    }
}

impl Image {
    /// The blob `digest`, if it was there not long ago.
    fn find(&self, digest: &Digest, now: Moment, ttl: Duration) -> Option<Found> {
        match self.entries.get(digest)? {
            Known { fact: Fact::There(found), as_of } if as_of.is_within(ttl, now) => Some(found),
            _ => None,
        }
    }

    /// Whether what is not known to be there may be taken for absent by who would send it then.
    ///
    /// Never for longer than what the listing showed is believed: or all of it would seem to be absent.
    fn is_absence_known(&self, now: Moment, ttl: Duration) -> bool {
        self.listed.is_some_and(|listed| listed.is_within(ABSENCE.min(ttl), now))
    }

    /// What to say of a blob that is not known to be there to somebody who would send it then.
    fn advise_push(&mut self, next: u64, now: Moment, ttl: Duration) -> Advice {
        let is_listed = self.listed.is_some_and(|listed| listed.is_within(ttl, now));
        match &self.walk {
            _ if self.is_absence_known(now, ttl) => Advice::NotThere,
            Some(walk) if !walk.first_page.is_cancelled() => Advice::Wait(walk.first_page.clone()),
            Some(_) => Advice::Ask,
            None if self.unlisted_until.is_some_and(|until| now < until) => Advice::Ask,
            // To list a large one for each new blob would cost more than to ask for it.
            None if self.is_large && is_listed => Advice::Ask,
            None => {
                let walk = Walk { id: next, began: now, first_page: CancellationToken::new() };
                Advice::List(self.walk.insert(walk).clone())
            }
        }
    }

    /// It does not fit: it is asked for blob by blob from now on, and what there is room for is remembered.
    fn overflow(&mut self, now: Moment) {
        (self.listed, self.walk) = (None, None);
        self.unlisted_until = Some(now.later(PAUSE_AFTER_OVERFLOW));
    }

    fn bytes(&self) -> usize {
        IMAGE_BYTES + self.entries.bytes()
    }
}

impl Shelf {
    /// Whether to list an image for something that is not known to be there.
    fn advise_listing(&mut self, blobs: &str, now: Moment) -> Advice {
        let (next, ttl) = (self.walks + 1, self.ttl);
        let advice = self.image(blobs).advise_push(next, now, ttl);
        self.walks += u64::from(matches!(advice, Advice::List(_)));
        advice
    }

    /// The image whose blobs' keys begin with `blobs`, just used.
    fn image(&mut self, blobs: &str) -> &mut Image {
        self.uses += 1;
        if !self.images.contains_key(blobs) {
            self.make_room(blobs, IMAGE_BYTES);
            self.hold(self.bytes + IMAGE_BYTES);
        }
        let image = self.images.entry(blobs.to_owned()).or_default();
        image.last_used = self.uses;
        image
    }

    /// Notes that `digest` is there as of `as_of`, unless it went away after that was `asked`, or more is known;
    /// whether there was room.
    fn learn(&mut self, blobs: &str, digest: &Digest, mut found: Found, asked: Asked, mut as_of: Moment) -> bool {
        match self.image(blobs).entries.get(digest) {
            Some(Known { fact: Fact::Gone(number), .. }) if number > asked.departures => return true,
            Some(Known { fact: Fact::There(known), as_of: known_as_of }) if known_as_of > as_of => {
                found.last_modified = found.last_modified.max(known.last_modified);
                (found.size, as_of) = (known.size, known_as_of);
            }
            _ => {}
        }
        self.note(blobs, digest, Known { fact: Fact::There(found), as_of })
    }

    /// Notes that `digest` went away just now.
    fn depart(&mut self, blobs: &str, digest: &Digest, now: Moment) {
        self.departures += 1;
        let fact = Fact::Gone(self.departures);
        self.note(blobs, digest, Known { fact, as_of: now });
    }

    /// Notes a fact if there is room, or can be made; whether there was.
    fn note(&mut self, blobs: &str, digest: &Digest, known: Known) -> bool {
        if self.image(blobs).entries.growth(digest) > 0 {
            self.purge(blobs, known.as_of);
        }
        let growth = self.image(blobs).entries.growth(digest);
        self.make_room(blobs, growth);
        let has_room = self.bytes + growth <= self.most_bytes;
        if has_room {
            self.change(blobs, |entries| entries.insert(digest, known));
        } else {
            self.image(blobs).overflow(known.as_of);
        }
        has_room
    }

    /// Forgets what is of no use any more, unless that was done a moment ago.
    fn purge(&mut self, blobs: &str, now: Moment) {
        let ttl = self.ttl;
        let image = self.image(blobs);
        if image.purged.is_some_and(|purged| purged.is_within(PURGE_PAUSE, now)) {
            return;
        }
        image.purged = Some(now);
        let is_kept = |known: Known| match known.fact {
            Fact::There(_) => known.as_of.is_within(ttl, now),
            Fact::Gone(_) => known.as_of.is_within(GONE, now),
        };
        self.change(blobs, |entries| entries.retain(is_kept));
    }

    /// Does `change` to what is known of an image, and notes how much memory that takes by then.
    fn change(&mut self, blobs: &str, change: impl FnOnce(&mut Entries)) {
        let image = self.image(blobs);
        let before = image.bytes();
        change(&mut image.entries);
        let after = image.bytes();
        self.hold(self.bytes - before + after);
    }

    fn hold(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.metrics.index_held(bytes as u64);
    }

    /// Whether the listing `walk` of an image is the one that goes on.
    fn is_wanted(&self, blobs: &str, walk: &Walk) -> bool {
        self.images.get(blobs).and_then(|image| image.walk.as_ref()).is_some_and(|going_on| going_on.id == walk.id)
    }

    /// Forgets images, those first that were not used the longest, until `more` bytes fit or only `blobs` is left.
    fn make_room(&mut self, blobs: &str, more: usize) {
        while self.bytes + more > self.most_bytes {
            let others = self.images.iter().filter(|(prefix, _)| *prefix != blobs);
            let Some(oldest) = others.min_by_key(|(_, image)| image.last_used).map(|(prefix, _)| prefix.clone()) else { return };
            if let Some(image) = self.images.remove(&oldest) {
                self.hold(self.bytes - image.bytes());
            }
        }
    }
}
