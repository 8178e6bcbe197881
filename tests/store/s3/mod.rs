//! What only a bucket can get wrong: requests that are counted, lost, cut off or refused.

mod broken_off;
mod leftovers;
mod outage;
mod refused;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::{Bench, MIB, minio, s3_store, settings};
use crate::support::door::{Door, S3Operation};

/// How long a request may take that a test waits for.
const SOON: Duration = Duration::from_secs(20);

/// A bucket behind a door.
struct Doorway {
    door: Door,
    /// Through the door.
    bench: Bench,
    /// The same objects, past the door.
    beside: Bench,
}

impl Doorway {
    async fn open() -> Self {
        let minio = minio().await;
        let door = Door::open(minio.address);
        let through = settings(door.address);
        let mut past = settings(minio.address);
        past.prefix.clone_from(&through.prefix);
        let (bench, beside) = (s3_store(through, 64 * MIB).await, s3_store(past, 64 * MIB).await);
        Self { door, bench: Bench::over(bench), beside: Bench::over(beside) }
    }

    /// What was asked of the bucket, and how often.
    fn requests(&self) -> BTreeMap<S3Operation, usize> {
        let mut requests = BTreeMap::new();
        for seen in self.door.seen() {
            *requests.entry(seen.operation()).or_default() += 1;
        }
        requests
    }
}
