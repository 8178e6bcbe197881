//! What only a bucket can get wrong: requests that are counted, lost, cut off or refused.

mod absent;
mod ahead;
mod broken_off;
mod copies;
mod corrected;
mod counted;
mod disguised;
mod extras;
mod leftovers;
mod objects;
mod outage;
mod refused;
mod requests;
mod stand_in;
mod trusted;

use std::collections::BTreeMap;
use std::time::Duration;

use longshore::store::S3Settings;

use crate::bench::{Bench, MIB, s3_store, settings_of};
use crate::support::door::{Door, S3Operation};
use crate::support::s3_server::S3Server;

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
        Self::open_to(S3Server::Minio).await
    }

    async fn open_to(server: S3Server) -> Self {
        let past = settings_of(server).await;
        let door = Door::open(server.address().await);
        let through = S3Settings { endpoint: Some(format!("http://{}", door.address)), ..past.clone() };
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
