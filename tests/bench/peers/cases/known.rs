//! Blobs that are there already: all that a build asks about when little has changed.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Case, IMAGE, Scale, Station};
use crate::bucket::{Bucket, Way};
use crate::content::Blob;
use crate::report::{Reading, Unit};
use crate::sides::{Direct, Registry, Side};
use crate::support::door::S3Operation;
use crate::support::shape::Shape;
use crate::wire::Client;

const BLOB_BYTES: u64 = 200_000;

const LATENCY: Duration = Duration::from_millis(20);

const HEAD: &str = "HEAD of a known blob, +20 ms";

const AGAIN: &str = "re-push of a known blob after a restart, +20 ms";

/// How many push side by side what is then asked for.
const CONNECTIONS: usize = 4;

pub fn case(scale: Scale) -> Case {
    let blobs = scale.pick(50, 4);
    Case {
        name: "known",
        sides: vec![Side::Longshore, Side::Distribution, Side::OnDisk, Side::Direct],
        rounds: scale.pick(2, 1),
        limit: Duration::from_secs(90),
        disk_bytes: 100_000_000,
        measure: Box::new(move |station| measure(station, blobs).boxed_local()),
    }
}

async fn measure(station: Station, blobs: usize) -> Vec<Reading> {
    let bucket = station.bucket(Way::Through(Shape { latency: LATENCY, ..Shape::default() }));
    let blobs: Vec<_> = (0..blobs).map(|_| Blob::new(BLOB_BYTES)).collect();
    if station.side == Side::Direct {
        let direct = Direct::new(&bucket);
        join_all(blobs.iter().map(|blob| direct.put(blob))).await;
        return ask_again(&bucket, HEAD, &blobs, async |blob| direct.head(blob).await).await.0;
    }
    let mut registry = Registry::start(station.side, &bucket).await;
    let pushers = blobs.chunks(blobs.len().div_ceil(CONNECTIONS)).map(async |share| {
        let mut client = Client::connect(registry.address).await;
        for blob in share {
            client.push(IMAGE, blob).await;
        }
    });
    join_all(pushers).await;

    let mut client = Client::connect(registry.address).await;
    let mut readings = ask_again(&bucket, HEAD, &blobs, async |blob| assert!(client.has(IMAGE, blob).await)).await.0;
    registry.restart().await;
    let mut client = Client::connect(registry.address).await;
    let (again, lists) = ask_again(&bucket, AGAIN, &blobs, async |blob| client.push(IMAGE, blob).await).await;
    readings.extend(again);
    readings.push(Reading::new(&format!("{AGAIN}: LISTs for all {}", blobs.len()), Unit::Count, lists as f64));
    readings
}

/// How long `ask` takes for each of `blobs` and what it asks of the store, and how many LISTs are in that.
async fn ask_again(bucket: &Bucket, row: &str, blobs: &[Blob], mut ask: impl AsyncFnMut(&Blob)) -> (Vec<Reading>, usize) {
    let _ = bucket.take_requests();
    let mut readings = Vec::new();
    for blob in blobs {
        let began = Instant::now();
        ask(blob).await;
        readings.push(Reading::new(row, Unit::Milliseconds, began.elapsed().as_secs_f64() * 1e3));
    }
    let requests = bucket.take_requests().unwrap_or_default();
    readings.extend(requests.readings(row, blobs.len()));
    (readings, requests.of(S3Operation::ListObjectsV2))
}
