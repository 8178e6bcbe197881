//! Blobs that no store has seen and none can shorten.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use longshore::oci::{Algorithm, Hasher};

/// How much is handed on at a time, in bytes.
const BLOCK: usize = 256 * 1024;

/// What all blobs have after their first block, again and again: bytes cost nothing while somebody is being measured.
static POOL: LazyLock<Bytes> = LazyLock::new(|| random(64 * 1024 * 1024));

/// A blob; only its first block is its own.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: String,
    pub length: u64,
    head: Bytes,
}

impl Blob {
    /// One of `length` bytes that never was before.
    pub fn new(length: u64) -> Self {
        let mut blob = Self { digest: String::new(), length, head: random(BLOCK) };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        blob.blocks(0..length).for_each(|block| hasher.update(&block));
        blob.digest = hasher.finish().to_string();
        blob
    }

    /// What lies in `range`, in blocks; nothing is copied.
    pub fn blocks(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + use<> {
        let (head, mut at) = (self.head.clone(), range.start);
        std::iter::from_fn(move || {
            let offset = usize::try_from(at % BLOCK as u64).expect("less than a block");
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(BLOCK - offset);
            let block = block_of(&head, at / BLOCK as u64).slice(offset..offset + left);
            at += left as u64;
            (left > 0).then_some(block)
        })
    }

    /// What lies in `range`, as one; nothing is copied where that can be helped.
    pub fn bytes(&self, range: Range<u64>) -> Bytes {
        let start = usize::try_from(range.start % POOL.len() as u64).expect("less than the pool");
        let end = start + usize::try_from(range.end - range.start).expect("it fits in memory");
        if range.start >= BLOCK as u64 && end <= POOL.len() {
            return POOL.slice(start..end);
        }
        let mut bytes = BytesMut::new();
        self.blocks(range).for_each(|block| bytes.extend_from_slice(&block));
        bytes.freeze()
    }

    /// Panics unless `bytes` are what lies at `at`.
    pub fn must_hold(&self, at: u64, mut bytes: &[u8]) {
        for block in self.blocks(at..at + bytes.len() as u64) {
            let (these, rest) = bytes.split_at(block.len());
            assert!(block == these, "wrong bytes were served, at {at} or after");
            bytes = rest;
        }
    }
}

fn block_of(head: &Bytes, index: u64) -> Bytes {
    if index == 0 {
        return head.clone();
    }
    let start = usize::try_from(index % (POOL.len() / BLOCK) as u64).expect("less than the pool") * BLOCK;
    POOL.slice(start..start + BLOCK)
}

fn random(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::fill(&mut bytes);
    bytes.into()
}
