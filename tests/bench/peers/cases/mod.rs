//! What is measured.

mod cache;
mod fanout;
mod known;
mod large;
mod small;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::bucket::{Bucket, Way};
use crate::report::Reading;
use crate::sides::Side;
use crate::support::minio::Minio;
use crate::support::shape::Shape;

/// One thing that is measured, by each side in its turn and then again from the start.
pub struct Case {
    pub name: &'static str,
    pub sides: Vec<Side>,
    pub rounds: usize,
    /// How long one side may take in one round.
    pub limit: Duration,
    /// What one side needs on disk, in bytes, with what is not deleted yet.
    pub disk_bytes: u64,
    measure: Box<dyn Fn(Station) -> LocalBoxFuture<'static, Vec<Reading>>>,
}

/// Who is measured now, and on what.
#[derive(Clone, Debug)]
pub struct Station {
    pub side: Side,
    pub minio: Arc<Minio>,
}

impl Station {
    /// A bucket of its own.
    fn bucket(&self, way: Way) -> Bucket {
        Bucket::new(&self.minio, way)
    }
}

impl Case {
    /// Measures one side once. Panics when it can't.
    pub fn measure(&self, station: Station) -> LocalBoxFuture<'static, Vec<Reading>> {
        (self.measure)(station)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("sides", &self.sides).finish_non_exhaustive()
    }
}

/// Whether figures are wanted, or only to see that all of it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Full,
    /// So small that it says nothing about speed.
    Quick,
}

impl Scale {
    /// `full`, or `quick` of it when only that is wanted.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self == Self::Full { full } else { quick }
    }
}

/// The names by which cases are chosen, in the order in which they run.
pub const NAMES: [&str; 5] = ["small", "known", "large", "fanout", "cache"];

/// All cases, in the order in which they run.
pub fn all(scale: Scale) -> Vec<Case> {
    let mut cases = small::cases(scale);
    cases.push(known::case(scale));
    cases.extend(large::cases(scale));
    cases.push(fanout::case(scale));
    cases.push(cache::case(scale));
    cases
}

/// What is free where `folder` lies, in bytes; nothing, when there is no such folder.
pub fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |disk| disk.f_bavail * disk.f_frsize)
}

/// As far as a bucket is from a machine in the same region: what one connection to S3 carries, and four of them.
const REGION: Shape =
    Shape { latency: Duration::from_millis(20), per_connection: Some(CONNECTION), in_all: Some(4 * CONNECTION) };

/// What one connection to S3 carries, in bytes per second ("one request for each 85–90 MB/s", S3 performance guidelines).
const CONNECTION: u64 = 90_000_000;

const GIB: u64 = 1024 * 1024 * 1024;

/// The image to which everything is pushed.
const IMAGE: &str = "bench";
