//! New small blobs: what most layers of a build cache are.

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Case, IMAGE, Scale, Station};
use crate::bucket::{Bucket, Way};
use crate::content::Blob;
use crate::report::{Reading, Unit};
use crate::sides::{Direct, Registry, Side};
use crate::support::shape::Shape;
use crate::wire::Client;

const BLOB_BYTES: u64 = 200_000;

/// A side that takes longer than this for its share of the blobs has shown what it can do.
const ENOUGH: Duration = Duration::from_secs(15);

/// How many blobs a connection pushes all the same.
const AT_LEAST: usize = 4;

/// What is different from one to the next.
#[derive(Clone, Copy, Debug)]
struct Variant {
    latency_ms: u64,
    connections: usize,
    /// How many each connection pushes.
    blobs: usize,
}

pub fn cases(scale: Scale) -> Vec<Case> {
    let (latencies, blobs) = scale.pick((&[0, 20, 100][..], 26), (&[5][..], 2));
    let both = latencies.iter().flat_map(|&latency_ms| [(latency_ms, 1), (latency_ms, 4)]);
    both.map(|(latency_ms, connections)| {
        case(scale, Variant { latency_ms, connections, blobs: blobs / if connections == 1 { 1 } else { 2 } })
    })
    .collect()
}

fn case(scale: Scale, variant: Variant) -> Case {
    let mut sides = vec![Side::Longshore, Side::Distribution, Side::Direct];
    if variant.latency_ms == 0 {
        sides.push(Side::OnDisk);
    }
    Case {
        name: "small",
        sides,
        rounds: scale.pick(2, 1),
        limit: Duration::from_secs(120),
        disk_bytes: 100_000_000,
        measure: Box::new(move |station| measure(station, variant).boxed_local()),
    }
}

async fn measure(station: Station, variant: Variant) -> Vec<Reading> {
    let latency = Duration::from_millis(variant.latency_ms);
    let bucket = station.bucket(Way::Through(Shape { latency, ..Shape::default() }));
    let milliseconds = match station.side {
        Side::Direct => put_all(&bucket, variant).await,
        side => push_all(&Registry::start(side, &bucket).await, variant).await,
    };
    let connections = if variant.connections == 1 { "1 connection" } else { "4 connections" };
    let row = format!("new small blob, +{} ms, {connections}", variant.latency_ms);
    let requests = bucket.take_requests().into_iter().flat_map(|requests| requests.readings(&row, milliseconds.len()));
    milliseconds.iter().map(|&value| Reading::new(&row, Unit::Milliseconds, value)).chain(requests).collect()
}

/// Pushes blobs as BuildKit does; how long each took, in milliseconds.
async fn push_all(registry: &Registry, variant: Variant) -> Vec<f64> {
    let connection = |blobs: Vec<Blob>| async move {
        let mut client = Client::connect(registry.address).await;
        timed(blobs, async |blob| client.push(IMAGE, blob).await).await
    };
    join_all(shares(variant).map(connection)).await.concat()
}

/// Puts blobs without asking: the floor.
async fn put_all(bucket: &Bucket, variant: Variant) -> Vec<f64> {
    let connection = |blobs: Vec<Blob>| async move {
        let direct = Direct::new(bucket);
        timed(blobs, async |blob| direct.put(blob).await).await
    };
    join_all(shares(variant).map(connection)).await.concat()
}

/// The blobs of each connection, made before anything is measured.
fn shares(variant: Variant) -> impl Iterator<Item = Vec<Blob>> {
    let share = move |_| (0..variant.blobs).map(|_| Blob::new(BLOB_BYTES)).collect();
    (0..variant.connections).map(share).collect::<Vec<_>>().into_iter()
}

/// How long `push` takes for each of `blobs`, in milliseconds.
async fn timed(blobs: Vec<Blob>, mut push: impl AsyncFnMut(&Blob)) -> Vec<f64> {
    let (began, mut milliseconds) = (Instant::now(), Vec::new());
    for blob in blobs {
        if began.elapsed() > ENOUGH && milliseconds.len() >= AT_LEAST {
            break;
        }
        let began = Instant::now();
        push(&blob).await;
        milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds
}
