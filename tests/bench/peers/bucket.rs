//! The store that all sides use, MinIO, and how they get to it.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::report::{Reading, Unit};
use crate::support::door::{Door, S3Operation};
use crate::support::minio::Minio;
use crate::support::rclone::Rclone;
use crate::support::shape::Shape;

/// How a side gets to its bucket.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Over loopback, with nothing between them.
    Straight,
    /// Through a door that makes it seem far away, and counts.
    Through(Shape),
}

/// A bucket of one side, empty at first; gone with all that is in it when dropped.
#[derive(Debug)]
pub struct Bucket {
    pub name: String,
    /// Where the store is, for that side.
    pub endpoint: SocketAddrV4,
    door: Option<Door>,
    rclone: Rclone,
}

impl Bucket {
    pub fn new(minio: &Minio, way: Way) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bench-{}", MADE.fetch_add(1, Ordering::Relaxed));
        minio.make_bucket(&name);
        let door = match way {
            Way::Straight => None,
            Way::Through(shape) => Some(Door::open_shaped(minio.address, shape)),
        };
        let endpoint = door.as_ref().map_or(minio.address, |door| door.address);
        Self { name, endpoint, door, rclone: minio.rclone() }
    }

    /// What was asked of the store since the last time; `None` when nobody counted.
    pub fn take_requests(&self) -> Option<Requests> {
        let door = self.door.as_ref()?;
        let mut requests = Requests::default();
        for seen in door.seen() {
            *requests.count.entry(seen.operation()).or_default() += 1;
            requests.downloaded_bytes += seen.downloaded_bytes();
        }
        door.forget();
        Some(requests)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // Why a side was not done in time is said by what it still waits for.
        for seen in self.door.iter().flat_map(Door::seen).filter(|seen| seen.status().is_none()) {
            eprintln!("not answered after {:.0?}: {} {}?{}", seen.came.elapsed(), seen.method, seen.path, seen.query);
        }
        if !self.rclone.purge(&self.name) {
            eprintln!("what {} held is still there", self.name);
        }
    }
}

/// What was asked of a store.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    count: BTreeMap<S3Operation, usize>,
    pub downloaded_bytes: u64,
}

impl Requests {
    /// How many there were of one kind.
    pub fn of(&self, operation: S3Operation) -> usize {
        self.count.get(&operation).copied().unwrap_or_default()
    }

    /// How many requests `row` takes and what a thousand of it cost, when these were made for `times` of it.
    pub fn readings(&self, row: &str, times: usize) -> [Reading; 2] {
        let total: usize = self.count.values().sum();
        let dollars = self.count.iter().fold(0.0, |sum, (&operation, &count)| sum + count as f64 * dollars(operation));
        let each = 1.0 / times as f64;
        [
            Reading::new(row, Unit::Requests, total as f64 * each),
            Reading::new(row, Unit::DollarsPerThousand, dollars * each * 1000.0),
        ]
    }
}

/// What S3 takes for one request, in us-east-1, class Standard, on its price list of 2026-11.
fn dollars(operation: S3Operation) -> f64 {
    use S3Operation as Op;
    let per_thousand = match operation {
        Op::HeadObject | Op::GetObject | Op::Other => 0.0004,
        Op::DeleteObject | Op::DeleteObjects | Op::AbortMultipartUpload => 0.0,
        Op::PutObject | Op::CopyObject | Op::CreateMultipartUpload | Op::UploadPart | Op::UploadPartCopy => 0.005,
        Op::CompleteMultipartUpload | Op::ListParts | Op::ListMultipartUploads | Op::ListObjectsV2 => 0.005,
    };
    per_thousand / 1000.0
}
