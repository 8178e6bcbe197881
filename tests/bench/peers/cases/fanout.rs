//! Ten jobs that pull one layer at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::{Case, IMAGE, REGION, Scale, Station};
use crate::bucket::{Bucket, Way};
use crate::content::Blob;
use crate::report::{Reading, Unit};
use crate::sides::{Direct, Registry, Side};
use crate::wire::Client;

const PULLERS: usize = 10;

const ROW: &str = "10 pullers of one 256 MB layer, region";

pub fn case(scale: Scale) -> Case {
    let bytes = scale.pick(256_000_000, 20_000_000);
    Case {
        name: "fanout",
        sides: vec![Side::Longshore, Side::Distribution, Side::Direct],
        rounds: scale.pick(2, 1),
        limit: Duration::from_secs(120),
        disk_bytes: 3 * bytes,
        measure: Box::new(move |station| measure(station, bytes).boxed_local()),
    }
}

async fn measure(station: Station, bytes: u64) -> Vec<Reading> {
    let (bucket, blob) = (station.bucket(Way::Through(REGION)), Arc::new(Blob::new(bytes)));
    let source = Source::with(&station, &bucket, &blob).await;
    let _ = bucket.take_requests();

    let (began, mut pullers) = (Instant::now(), JoinSet::new());
    for _ in 0..PULLERS {
        pullers.spawn(source.pull(Arc::clone(&blob)));
    }
    pullers.join_all().await;

    let seconds = Reading::new(ROW, Unit::Seconds, began.elapsed().as_secs_f64());
    let requests = bucket.take_requests().into_iter().flat_map(|requests| requests.readings(ROW, 1));
    std::iter::once(seconds).chain(requests).collect()
}

/// Where the layer is pulled from.
enum Source {
    Direct(Direct),
    Registry(Box<Registry>),
}

impl Source {
    /// One that has `blob` in its store, and nothing of it in memory.
    async fn with(station: &Station, bucket: &Bucket, blob: &Blob) -> Self {
        if station.side == Side::Direct {
            let direct = Direct::new(bucket);
            direct.push(blob).await;
            return Self::Direct(direct);
        }
        let mut registry = Registry::start(station.side, bucket).await;
        Client::connect(registry.address).await.push(IMAGE, blob).await;
        registry.restart().await;
        Self::Registry(Box::new(registry))
    }

    fn pull(&self, blob: Arc<Blob>) -> BoxFuture<'static, ()> {
        match self {
            Self::Direct(direct) => {
                let direct = direct.clone();
                async move { direct.pull(&blob).await }.boxed()
            }
            Self::Registry(registry) => {
                let address = registry.address;
                async move { Client::connect(address).await.pull(IMAGE, &blob).await }.boxed()
            }
        }
    }
}
