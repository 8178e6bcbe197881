//! What is known of the blobs of one image, packed: there may be a hundred thousand of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::oci::Digest;

/// A moment, in tenths of a second since the index began; so many fit for 13 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u32);

impl Moment {
    const PER_SECOND: u128 = 10;

    pub(super) fn after(elapsed: Duration) -> Self {
        Self(u32::try_from(elapsed.as_millis() * Self::PER_SECOND / 1000).unwrap_or(u32::MAX))
    }

    pub(super) fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(Self::after(by).0))
    }

    /// Whether no more than `age` has gone by between this and `now`.
    pub(super) fn is_within(self, age: Duration, now: Self) -> bool {
        now <= self.later(age)
    }
}

/// A blob that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::registry) struct Found {
    /// How many bytes it has.
    pub(in crate::registry) size: u64,
    /// When it was written, in whole seconds. Where this process wrote it, by
    /// its own clock: stores refuse one that is off by more than 15 minutes,
    /// and what this is compared with are days.
    pub(in crate::registry) last_modified: SystemTime,
}

/// What is known of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    There(Found),
    /// It went away here; the how manieth time that something did.
    Gone(u32),
}

/// A fact, and as of when it was one; 16 bytes of it.
#[derive(Clone, Copy, Debug)]
struct Packed {
    /// [`GONE`] where the blob is not there.
    size: u64,
    /// Seconds after 1970, until 2106; or which time it was that something went away.
    number: u32,
    as_of: Moment,
}

/// No blob is so large.
const GONE: u64 = u64::MAX;

impl Packed {
    fn new(fact: Fact, as_of: Moment) -> Self {
        match fact {
            Fact::Gone(number) => Self { size: GONE, number, as_of },
            Fact::There(Found { size, last_modified }) => {
                let seconds = last_modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                Self { size: size.min(GONE - 1), number: u32::try_from(seconds).unwrap_or(u32::MAX), as_of }
            }
        }
    }

    fn known(self) -> Known {
        let last_modified = UNIX_EPOCH + Duration::from_secs(self.number.into());
        let fact =
            if self.size == GONE { Fact::Gone(self.number) } else { Fact::There(Found { size: self.size, last_modified }) };
        Known { fact, as_of: self.as_of }
    }
}

/// A fact, and as of when it was one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) fact: Fact,
    pub(super) as_of: Moment,
}

/// Facts by digest.
#[derive(Debug, Default)]
pub(super) struct Entries {
    sha256: Table<[u8; 32]>,
    sha512: Table<[u8; 64]>,
}

impl Entries {
    pub(super) fn get(&self, digest: &Digest) -> Option<Known> {
        let packed = match digest {
            Digest::Sha256(hash) => self.sha256.map.get(hash),
            Digest::Sha512(hash) => self.sha512.map.get(hash),
        };
        packed.map(|packed| packed.known())
    }

    /// How many bytes more it takes to note something of `digest`.
    pub(super) fn growth(&self, digest: &Digest) -> usize {
        match digest {
            Digest::Sha256(hash) => self.sha256.growth(hash),
            Digest::Sha512(hash) => self.sha512.growth(hash),
        }
    }

    pub(super) fn insert(&mut self, digest: &Digest, Known { fact, as_of }: Known) {
        let packed = Packed::new(fact, as_of);
        match digest {
            Digest::Sha256(hash) => self.sha256.insert(*hash, packed),
            Digest::Sha512(hash) => self.sha512.insert(*hash, packed),
        }
    }

    /// Keeps what `is_kept`, and gives back the memory of the rest.
    pub(super) fn retain(&mut self, is_kept: impl Fn(Known) -> bool) {
        self.sha256.retain(&is_kept);
        self.sha512.retain(&is_kept);
    }

    /// How much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.sha256.bytes() + self.sha512.bytes()
    }
}

/// A hash table whose size is known. While it grows the old one stands beside the new one, for some milliseconds.
#[derive(Debug)]
struct Table<K> {
    map: HashMap<K, Packed>,
    slots: usize,
}

impl<K: Hash + Eq> Table<K> {
    /// A slot, and its byte of control.
    const SLOT: usize = size_of::<(K, Packed)>() + 1;

    /// The slots of a map that has room for so much: seven of eight are used, and their number is a power of two.
    fn slots_for(capacity: usize) -> usize {
        if capacity == 0 { 0 } else { (capacity * 8).div_ceil(7).next_power_of_two().max(4) }
    }

    fn growth(&self, key: &K) -> usize {
        let has_room = self.map.len() < self.map.capacity() || self.map.contains_key(key);
        if has_room { 0 } else { self.slots.max(4) * Self::SLOT }
    }

    fn insert(&mut self, key: K, packed: Packed) {
        // A map makes room before it looks, and a full one would be doubled for what is in it already.
        match self.map.get_mut(&key) {
            Some(known) => *known = packed,
            None => drop(self.map.insert(key, packed)),
        }
        // What was removed may count against the capacity, and takes its slot still.
        self.slots = self.slots.max(Self::slots_for(self.map.capacity()));
    }

    fn retain(&mut self, is_kept: impl Fn(Known) -> bool) {
        self.map.retain(|_, packed| is_kept(packed.known()));
        self.map.shrink_to_fit();
        self.slots = Self::slots_for(self.map.capacity());
    }

    fn bytes(&self) -> usize {
        self.slots * Self::SLOT
    }
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { map: HashMap::new(), slots: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(size: u64, seconds: u64) -> Fact {
        Fact::There(Found { size, last_modified: UNIX_EPOCH + Duration::from_secs(seconds) })
    }

    fn blob(number: u32) -> Digest {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_le_bytes());
        Digest::Sha256(hash)
    }

    #[test]
    fn what_is_packed_comes_out_as_it_went_in() {
        let mut entries = Entries::default();
        for fact in [there(0, 0), there(5, 1_800_000_000), there(GONE - 1, u32::MAX.into()), Fact::Gone(0), Fact::Gone(7)] {
            for digest in [blob(1), Digest::of(crate::oci::Algorithm::Sha512, b"")] {
                entries.insert(&digest, Known { fact, as_of: Moment(3) });

                let known = entries.get(&digest).unwrap();
                assert_eq!((known.fact, known.as_of), (fact, Moment(3)));
            }
        }
    }

    #[test]
    fn an_entry_takes_48_bytes_and_the_table_what_it_says() {
        assert_eq!(size_of::<([u8; 32], Packed)>(), 48);
        let mut entries = Entries::default();
        for number in 0..100_000 {
            let expected = entries.bytes() + entries.growth(&blob(number));
            entries.insert(&blob(number), Known { fact: there(1, 1), as_of: Moment(number) });
            assert_eq!(entries.bytes(), expected, "{number}");
        }
        assert_eq!(entries.bytes(), 131_072 * 49);

        entries.retain(|known| known.as_of < Moment(10));

        assert!(entries.bytes() < 32 * 49 && entries.get(&blob(9)).is_some() && entries.get(&blob(10)).is_none());
    }

    #[test]
    fn what_is_noted_again_takes_no_more() {
        let mut entries = Entries::default();
        for number in 0..100 {
            entries.insert(&blob(number), Known { fact: there(1, 1), as_of: Moment(1) });
            let bytes = entries.bytes();
            assert_eq!(entries.growth(&blob(number)), 0, "{number}");

            entries.insert(&blob(number), Known { fact: there(1, 1), as_of: Moment(2) });

            assert_eq!(entries.bytes(), bytes, "{number}");
        }
    }

    #[test]
    fn a_moment_is_within_an_age_or_past_it() {
        let at = |millis| Moment::after(Duration::from_millis(millis));
        for (earlier, now, is_within) in [(0, 0, true), (0, 60_000, true), (0, 60_100, false), (500, 400, true)] {
            assert_eq!(at(earlier).is_within(Duration::from_secs(60), at(now)), is_within, "{earlier} {now}");
        }
    }
}
