//! One cache for builds that go through Longshore and builds that have BuildKit's own `type=s3` on the same bucket.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::profiles::{config_file, write};
use crate::stage::{Quay, bucket_of, cold, export, exporter, import, result_of, run};
use crate::support::buildkit::{Build, Buildkit};
use crate::support::door::Door;
use crate::support::longshore::{Launch, Longshore};
use crate::support::minio::{ACCESS_KEY_ID, DOMAIN, Minio, REGION, SECRET_ACCESS_KEY};
use crate::support::project::{Project, Tree};
use crate::support::s3_server::{S3Server, minio};
use crate::support::scratch_parent;

/// Where such clients and Longshore have their caches.
#[derive(Clone, Copy, Debug)]
struct Berth {
    /// The profile's prefix.
    prefix: &'static str,
    /// What else the profile says.
    settings: &'static str,
    /// What such a client says besides where the bucket is and who it is.
    attributes: &'static str,
}

/// The image, and what it is called by such clients in each.
const BERTHS: [Berth; 3] = [
    Berth {
        prefix: "team/cache",
        settings: "s3_clients = { write = true }",
        attributes: "prefix=team/cache/ghcr.io/org/app/,name=cache",
    },
    Berth { prefix: "", settings: "layout = \"shared\"\ns3_clients = { write = true }", attributes: "name=ghcr.io/org/app" },
    Berth {
        prefix: "team",
        settings: "layout = \"shared\"\n[profiles.default.s3_clients]\nname = \"{image}/{tag}\"\nwrite = true\n\
                   blobs_prefix = \"b-\"\nmanifests_prefix = \"caches/m-\"\n",
        attributes: "prefix=team/,blobs_prefix=b-,manifests_prefix=caches/m-,name=ghcr.io/org/app/cache",
    },
];

/// How a build that goes through Longshore calls the cache.
const IMAGE: &str = "ghcr.io/org/app:cache";

/// Longshore at a berth, and the bucket.
struct Pier {
    quay: Quay,
    bucket: String,
    attributes: &'static str,
    config: PathBuf,
    _folder: TempDir,
}

impl Pier {
    async fn at(berth: Berth) -> Self {
        let ((folder, config), mut name) = (config_file(), String::new());
        let launch = |back: &Door, bucket: &str| {
            name = bucket.to_owned();
            let profile = format!(
                "[profiles.default]\nbucket = {bucket:?}\nprefix = {:?}\nendpoint = \"http://{}\"\n{}",
                berth.prefix, back.address, berth.settings
            );
            write(&config, &profile);
            with_keys(Launch::configured(&config))
        };
        let quay = Quay::launched(berth.prefix, launch).await;
        Self { quay, bucket: name, attributes: berth.attributes, config, _folder: folder }
    }

    /// Attributes of a client that goes to the bucket by itself.
    async fn direct(&self) -> String {
        direct(&self.bucket, self.attributes).await
    }

    /// Attributes of a client that goes through Longshore.
    fn through(&self) -> String {
        self.quay.cache(IMAGE)
    }

    /// What a person is told of the cache.
    fn explained(&self) -> String {
        with_keys(Launch::bare(&["explain", "--config", self.config.to_str().expect("text"), IMAGE])).says()
    }

    /// The key and digest of each blob; no two have the same.
    async fn blobs(&self) -> BTreeMap<String, String> {
        let mut objects = self.quay.objects().await;
        objects.retain(|key, digest| key.ends_with(digest.as_str()) && !key.contains("/_oci/"));
        let digests: BTreeSet<_> = objects.values().collect();
        assert_eq!(digests.len(), objects.len(), "{objects:#?}");
        objects
    }
}

fn with_keys(launch: Launch) -> Launch {
    launch.env("LONGSHORE_ACCESS_KEY_ID", ACCESS_KEY_ID).env("LONGSHORE_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
}

async fn direct(bucket: &str, attributes: &str) -> String {
    let endpoint = minio().await.address;
    format!(
        "type=s3,endpoint_url=http://{endpoint},use_path_style=true,region={REGION},bucket={bucket},\
         access_key_id={ACCESS_KEY_ID},secret_access_key={SECRET_ACCESS_KEY},{attributes}"
    )
}

/// Small layers and large ones, of several stages.
fn project() -> Project {
    Project::with_whole_stages(&[vec![60_000_000, 30_000], vec![200_000, 10_000]])
}

/// What comes of each stage by itself, and of all, on the cold daemon that imports `attributes`, where it is cold, or else
/// on the one that has built it.
async fn results(project: &Project, attributes: Option<&str>) -> Vec<Tree> {
    let mut results = Vec::new();
    for stage in ["stage-0", "stage-1", ""] {
        let with = |build: Build| {
            let build = if stage.is_empty() { build } else { build.target(stage) };
            attributes.iter().fold(build, |build, attributes| build.import_cache(attributes))
        };
        let daemon = if attributes.is_some() { cold().await } else { exporter().await };
        results.push(result_of(daemon, project, with).await);
    }
    results
}

#[test]
fn what_goes_through_longshore_type_s3_imports_and_no_blob_is_stored_twice() {
    run(async {
        for berth in BERTHS {
            let (pier, project) = (Pier::at(berth).await, project());

            export(&project, &format!("{},mode=max", pier.through())).await;
            let (exported, blobs) = (results(&project, None).await, pier.blobs().await);
            let imported = results(&project, Some(&pier.direct().await)).await;

            assert_eq!(imported, exported, "{berth:?}");
            assert!(blobs.len() > 6, "{berth:?}: {blobs:#?}");
            let told = pier.explained();
            assert!(told.contains("Builds with type=s3 find the same as it was pushed"), "{told}");
            // Who has imported it all exports it again by itself, and sends no blob.
            let again = format!("{},mode=max", pier.direct().await);
            result_of(cold().await, &project, |build| build.export_cache(&again)).await;
            assert_eq!(pier.blobs().await, blobs, "{berth:?}");
        }
    });
}

#[test]
fn what_type_s3_exports_goes_through_longshore_and_no_blob_is_stored_twice() {
    run(async {
        for berth in BERTHS {
            let (pier, project) = (Pier::at(berth).await, project());

            export(&project, &format!("{},mode=max", pier.direct().await)).await;
            let (exported, blobs) = (results(&project, None).await, pier.blobs().await);
            let imported = results(&project, Some(&pier.through())).await;

            assert_eq!(imported, exported, "{berth:?}");
            assert!(blobs.len() > 5, "{berth:?}: {blobs:#?}");
            let told = pier.explained();
            assert!(told.contains("Builds with type=s3 find what one of them exported "), "{told}");
            assert_eq!(pier.blobs().await, blobs, "{berth:?}");
            // Who has imported it all exports it again through Longshore, and sends no layer: only a config is new.
            let again = format!("{},mode=max", pier.through());
            result_of(cold().await, &project, |build| build.export_cache(&again)).await;
            let mut after = pier.blobs().await;
            after.retain(|key, _| !blobs.contains_key(key));
            assert_eq!(after.len(), 1, "{berth:?}: {after:#?}");
        }
    });
}

#[test]
fn each_of_several_names_is_a_tag_of_its_own() {
    run(async {
        let berth = Berth { attributes: "prefix=team/cache/ghcr.io/org/app/,name=cache;main", ..BERTHS[0] };
        let (pier, project) = (Pier::at(berth).await, Project::new());

        let exported = export(&project, &format!("{},mode=max", pier.direct().await)).await;

        for tag in ["cache", "main"] {
            cold().await.prune().await;
            assert_eq!(import(&project, &pier.quay.cache(&format!("ghcr.io/org/app:{tag}"))).await, exported, "{tag}");
        }
    });
}

#[test]
fn a_build_whose_every_request_goes_to_another_replica_imports_what_type_s3_exported() {
    run(async {
        let (pier, project) = (Pier::at(BERTHS[1]).await, Project::new());
        let other = with_keys(Launch::configured(&pier.config)).start().await;
        let in_turn = Door::open_in_turn(&[pier.quay.longshore.address, other.address]);
        let through = format!("type=registry,ref={}/{IMAGE}", in_turn.address);

        for round in 0..5 {
            project.change_source();
            let exported = export(&project, &format!("{},mode=max", pier.direct().await)).await;
            assert_eq!(import(&project, &through).await, exported, "{round}");
        }
    });
}

// A store that keeps objects as files has none below another one, and type=s3 itself could not have such names there.
#[test]
fn a_name_that_the_store_cannot_have_is_told_of_and_fails_no_build() {
    run(async {
        let ((_folder, config), (bucket, back)) = (config_file(), bucket_of(S3Server::Versitygw).await);
        let settings = "layout = \"shared\"\ns3_clients = { write = true }";
        write(&config, &format!("[profiles.default]\nbucket = {bucket:?}\nendpoint = \"http://{}\"\n{settings}", back.address));
        let longshore = with_keys(Launch::configured(&config)).start().await;
        let cache = |image: &str| format!("type=registry,ref={}/{image}:cache", longshore.address);
        let project = Project::new();
        export(&project, &format!("{},mode=max", cache("org/app"))).await;

        let began = Instant::now();
        let exported = export(&project, &format!("{},mode=max", cache("org/app/worker"))).await;

        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(import(&project, &cache("org/app/worker")).await, exported);
        assert!(longshore.log().contains("cache not written for type=s3 clients"), "{}", longshore.log());
    });
}

/// Where the MinIO of gocdnext's steps has a host for each bucket; who goes there has it for a proxy.
fn host() -> String {
    format!("http://{DOMAIN}:9000")
}

/// A bucket, steps of gocdnext that have their caches there by themselves, and Longshore with what such a step finds around it.
struct Gocdnext {
    /// What the steps say of their cache, made of gocdnext's variables as it makes it: no prefix, no path style. It is
    /// `type=s3` for Google's storage too, with a region that is none.
    attributes: String,
    /// As the steps start it: the keys are its own.
    daemon: Buildkit,
    longshore: Longshore,
    _minio: Minio,
}

impl Gocdnext {
    async fn with(backend: &str) -> Self {
        let (region, bucket) = (if backend == "gcs" { "auto" } else { REGION }, "gocdnext-cache");
        let minio = Minio::start_anywhere().await;
        minio.make_bucket(bucket);
        let proxy = format!("http://{}", minio.address);
        let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)];
        let no_sums =
            [("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required"), ("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")];
        let of_daemon = [&keys[..], &no_sums, &[("HTTP_PROXY", &proxy)]].concat();
        let launch = Launch::bare(&["--anonymous", "write", "--proxy", &proxy])
            .listening()
            .env("GOCDNEXT_LAYER_CACHE_BACKEND", backend)
            .env("GOCDNEXT_LAYER_CACHE_BUCKET", bucket)
            .env("GOCDNEXT_LAYER_CACHE_ENDPOINT", &host());
        Self {
            attributes: format!("type=s3,region={region},bucket={bucket},name=ghcr.io/org/app,endpoint_url={}", host()),
            daemon: Buildkit::start_with(&scratch_parent(), "gocdnext's daemon", "buildkit", &of_daemon).await,
            longshore: keys.iter().fold(launch, |launch, (name, value)| launch.env(name, value)).start().await,
            _minio: minio,
        }
    }

    /// What a build says that goes through Longshore.
    fn through(&self) -> String {
        format!("type=registry,ref={}/{IMAGE}", self.longshore.address)
    }
}

#[test]
fn gocdnexts_steps_find_what_goes_through_longshore() {
    run(async {
        for backend in ["s3", "gcs"] {
            let (gocdnext, project) = (Gocdnext::with(backend).await, Project::new());

            let exported = export(&project, &format!("{},mode=max", gocdnext.through())).await;
            let imported = result_of(&gocdnext.daemon, &project, |build| build.import_cache(&gocdnext.attributes)).await;

            assert_eq!(imported, exported, "{backend}");
        }
    });
}

#[test]
fn what_gocdnexts_steps_export_goes_through_longshore() {
    run(async {
        for backend in ["s3", "gcs"] {
            let (gocdnext, project) = (Gocdnext::with(backend).await, Project::new());
            let step = format!("{},mode=max", gocdnext.attributes);

            let exported = result_of(&gocdnext.daemon, &project, |build| build.export_cache(&step)).await;
            let imported = import(&project, &gocdnext.through()).await;

            assert_eq!(imported, exported, "{backend}");
        }
    });
}
