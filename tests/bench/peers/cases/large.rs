//! One large layer, pushed and pulled.

use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::{CONNECTION, Case, GIB, IMAGE, Scale, Station};
use crate::bucket::{Bucket, Way};
use crate::content::Blob;
use crate::report::{Reading, Unit};
use crate::sides::{Direct, Registry, Side};
use crate::support::shape::Shape;
use crate::wire::Client;

/// Without a limit all sides share the processors with the store; with one, how well they use what there is.
pub fn cases(scale: Scale) -> [Case; 2] {
    let limited = Shape { per_connection: Some(CONNECTION), in_all: Some(4 * CONNECTION), ..Shape::default() };
    let in_bucket = vec![Side::Longshore, Side::Distribution, Side::Direct];
    [
        case(scale, [in_bucket.clone(), vec![Side::OnDisk]].concat(), Way::Straight, "no limit"),
        case(scale, in_bucket, Way::Through(limited), "90 MB/s a connection, 360 MB/s in all"),
    ]
}

fn case(scale: Scale, sides: Vec<Side>, way: Way, limits: &'static str) -> Case {
    let bytes = scale.pick(GIB, 40_000_000);
    Case {
        name: "large",
        sides,
        rounds: scale.pick(3, 1),
        limit: Duration::from_secs(120),
        disk_bytes: 3 * bytes,
        measure: Box::new(move |station| measure(station, bytes, way, limits).boxed_local()),
    }
}

async fn measure(station: Station, bytes: u64, way: Way, limits: &str) -> Vec<Reading> {
    let (bucket, blob) = (station.bucket(way), Blob::new(bytes));
    if station.side == Side::Direct {
        let direct = Direct::new(&bucket);
        let mut readings = transfer(&bucket, "push", limits, &blob, direct.push(&blob)).await;
        readings.extend(transfer(&bucket, "pull", limits, &blob, direct.pull(&blob)).await);
        return readings;
    }
    let mut registry = Registry::start(station.side, &bucket).await;
    let mut readings = vec![megabytes("memory: idle", registry.idle_bytes().await)];
    for what in ["push", "pull"] {
        let (mut client, process) = (Client::connect(registry.address).await, registry.process());
        let before = process.cpu_time();
        readings.extend(match what {
            "push" => transfer(&bucket, what, limits, &blob, client.push(IMAGE, &blob)).await,
            _ => transfer(&bucket, what, limits, &blob, client.pull(IMAGE, &blob)).await,
        });
        readings.push(cpu_per_gib(what, process.cpu_time() - before, bytes));
        readings.push(megabytes(&format!("memory: peak of 1 GiB {what}"), process.peak_resident_bytes()));
        // So that the peak of one doesn't hide that of the other.
        registry.restart().await;
    }
    // What a server takes is read where nothing holds it back.
    readings.retain(|reading| matches!(way, Way::Straight) || !matches!(reading.unit, Unit::Megabytes | Unit::CpuSecondsPerGib));
    readings
}

/// How fast `work` moves `blob`, and what it asks of the store.
async fn transfer(bucket: &Bucket, what: &str, limits: &str, blob: &Blob, work: impl Future<Output = ()>) -> Vec<Reading> {
    let row = format!("1 GiB {what}, {limits}");
    let _ = bucket.take_requests();
    let began = Instant::now();
    work.await;
    let megabytes_per_second = blob.length as f64 / 1e6 / began.elapsed().as_secs_f64();
    let requests = bucket.take_requests().into_iter().flat_map(|requests| requests.readings(&row, 1));
    std::iter::once(Reading::new(&row, Unit::MegabytesPerSecond, megabytes_per_second)).chain(requests).collect()
}

fn cpu_per_gib(what: &str, time: Duration, bytes: u64) -> Reading {
    let per_gib = time.as_secs_f64() * GIB as f64 / bytes as f64;
    Reading::new(&format!("processor time of 1 GiB {what}"), Unit::CpuSecondsPerGib, per_gib)
}

fn megabytes(row: &str, bytes: u64) -> Reading {
    Reading::new(row, Unit::Megabytes, bytes as f64 / 1e6)
}
