//! A cache of 2 GB, exported and imported by a real buildkitd.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::{Case, REGION, Scale, Station, free_bytes};
use crate::bucket::{Bucket, Way};
use crate::report::{Reading, Unit};
use crate::sides::{Registry, Side};
use crate::support::buildkit::{Build, Buildkit};
use crate::support::minio;
use crate::support::project::Project;
use crate::support::scratch_parent;

pub fn case(scale: Scale) -> Case {
    // A stage of one large layer, and ten of small ones. For each step BuildKit looks at every layer below it, and below
    // those again: more layers in one stage would measure that.
    let (large, small) = scale.pick((512_000_000, vec![10_000_000; 15]), (20_000_000, vec![100_000; 2]));
    let stages = [vec![vec![large]], vec![small; scale.pick(10, 2)]].concat();
    let bytes: u64 = stages.iter().flatten().sum();
    let built = Arc::new(OnceCell::new());
    Case {
        name: "cache",
        sides: vec![Side::Longshore, Side::Distribution, Side::TypeS3],
        rounds: scale.pick(2, 1),
        limit: Duration::from_secs(420),
        // What was built, unpacked and packed; the bucket, and what the one before it had; what was imported.
        disk_bytes: 2 * bytes + 2 * bytes + bytes,
        measure: Box::new(move |station| {
            let (built, stages) = (Arc::clone(&built), stages.clone());
            async move { measure(station, built.get_or_init(|| Built::new(&stages)).await).await }.boxed_local()
        }),
    }
}

/// What all sides export: built once, and packed.
#[derive(Debug)]
struct Built {
    daemon: Buildkit,
    project: Project,
    stages: usize,
    bytes: u64,
}

impl Built {
    async fn new(stages: &[Vec<u64>]) -> Self {
        let built = Self {
            daemon: Buildkit::start("that builds").await,
            project: Project::with_stages(stages),
            stages: stages.len(),
            bytes: stages.iter().flatten().sum(),
        };
        join_all(built.each_stage().iter().map(|stage| built.daemon.must_build(stage))).await;
        built.daemon.must_build(&built.all()).await;
        built
    }

    /// A build of all stages.
    fn all(&self) -> Build {
        Build::of(self.project.path())
    }

    /// A build of each stage, whose result is packed, layer by layer, and thrown away.
    fn each_stage(&self) -> Vec<Build> {
        let packed = || self.all().output("type=oci,dest=/dev/null");
        (0..self.stages).map(|index| packed().target(&format!("stage-{index}"))).collect()
    }
}

async fn measure(station: Station, built: &Built) -> Vec<Reading> {
    let bucket = station.bucket(Way::Through(REGION));
    let (_registry, place) = match station.side {
        Side::TypeS3 => (None, type_s3(&bucket)),
        side => {
            let registry = Registry::start(side, &bucket).await;
            let place = format!("type=registry,ref={}/bench:cache", registry.address);
            (Some(registry), place)
        }
    };
    let export = built.all().export_cache(&format!("{place},mode=max"));
    let mut readings = timed(&bucket, "2 GB cache exported, region", &built.daemon, &[export]).await.0;

    let cold = Buildkit::start_in(&cold_parent(built.bytes), "that imports", "buildkit").await;
    let import: Vec<_> = built.each_stage().into_iter().map(|stage| stage.import_cache(&place)).collect();
    let (imported, pulled_bytes) = timed(&bucket, "2 GB cache imported, region", &cold, &import).await;
    assert!(pulled_bytes >= built.bytes, "only {pulled_bytes} bytes were imported");
    readings.extend(imported);
    readings
}

/// Where a daemon lies that will import `bytes`: in memory, if that has room, for else its disk would be measured.
fn cold_parent(bytes: u64) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if free_bytes(memory) > 2 * bytes { memory.to_owned() } else { scratch_parent() }
}

/// How long `builds` take side by side and what they ask of the store, and how many bytes that gave.
async fn timed(bucket: &Bucket, row: &str, daemon: &Buildkit, builds: &[Build]) -> (Vec<Reading>, u64) {
    let _ = bucket.take_requests();
    let began = Instant::now();
    join_all(builds.iter().map(|build| daemon.must_build(build))).await;
    let mut readings = vec![Reading::new(row, Unit::Seconds, began.elapsed().as_secs_f64())];
    let requests = bucket.take_requests().unwrap_or_default();
    readings.extend(requests.readings(row, 1));
    (readings, requests.downloaded_bytes)
}

fn type_s3(bucket: &Bucket) -> String {
    format!(
        "type=s3,endpoint_url=http://{},use_path_style=true,region={},bucket={},prefix=cache/,name=bench,access_key_id={},secret_access_key={}",
        bucket.endpoint,
        minio::REGION,
        bucket.name,
        minio::ACCESS_KEY_ID,
        minio::SECRET_ACCESS_KEY
    )
}
