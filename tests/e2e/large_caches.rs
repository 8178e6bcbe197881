//! Caches that BuildKit passes over in silence, since their config is over 1 MiB.

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use longshore::oci::{Digest, MediaType};
use serde_json::{Value, json};

use crate::stage::{Quay, Store, Version, cache_at, result_of, run};
use crate::support::longshore::Longshore;
use crate::support::project::{Project, Tree};
use crate::support::{client, eventually};

/// What importers take of a config (v0.32.2 `cache/remotecache/import.go`, `readBlob`).
const LIMIT: usize = 1 << 20;

/// Adds so many steps that nobody will ask for to the cache `tag` of `org/app`, each with a layer and on a path to
/// others; how many bytes its config has then.
async fn grow(at: SocketAddrV4, tag: &str, steps: usize) -> usize {
    let manifest = client::pull_manifest(at, "org/app", tag).await.body;
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let is_index = manifest["manifests"].is_array();
    let config = if is_index { manifest["manifests"].as_array().unwrap().last().unwrap() } else { &manifest["config"] };
    let config = client::ask(at, "GET", &format!("/v2/org/app/blobs/{}", config["digest"].as_str().unwrap())).await;
    let config = Bytes::from(grown(serde_json::from_slice(&config.body).unwrap(), tag, steps).to_string());
    let digest = Digest::sha256(&config).to_string();
    let descriptor = json!({"mediaType": MediaType::CACHE_CONFIG, "digest": digest, "size": config.len()});
    if is_index {
        *manifest["manifests"].as_array_mut().unwrap().last_mut().unwrap() = descriptor;
    } else {
        manifest["config"] = descriptor;
    }

    assert_eq!(client::push_blob(at, "org/app", &digest, config.clone()).await.status, StatusCode::CREATED);
    let media_type = if is_index { MediaType::OCI_INDEX } else { MediaType::OCI_MANIFEST };
    let put = Request::put(format!("/v2/org/app/manifests/{tag}")).header(header::CONTENT_TYPE, media_type);
    let put = client::send(at, put.body(manifest.to_string().into()).unwrap()).await;
    assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    config.len()
}

fn grown(mut config: Value, name: &str, steps: usize) -> Value {
    let digest = |what: &str| Digest::sha256(format!("{name} {what}").as_bytes()).to_string();
    let (layer, first) = (config["layers"].as_array().unwrap().len(), config["records"].as_array().unwrap().len());
    let blob = config["layers"][0]["blob"].clone();
    config["layers"].as_array_mut().unwrap().push(json!({"blob": blob, "parent": -1}));
    let records = config["records"].as_array_mut().unwrap();
    records.push(json!({"digest": digest("source")}));
    for step in 0..steps {
        let at = first + 1 + step;
        let below = if step % 10 == 0 { first } else { at - 1 };
        let from_source = |part: &str| json!([{"selector": digest(&format!("{part} {step}")), "link": first}]);
        records.push(json!({
            "digest": digest(&format!("step {step}")),
            "inputs": [[{"link": below}], from_source("file"), from_source("folder"), from_source("mount")],
            "layers": [{"layer": layer, "createdAt": "2026-11-22T04:02:41.344977119Z"}],
        }));
    }
    config
}

/// Asks for the cache until it is served in a form of which the log says `so`. What can't be made within what an import
/// waits is passed over, and a busy machine, with a build for tests, may take several goes at it.
async fn until_served(longshore: &Longshore, so: &str) {
    eventually("the cache is made in time", Duration::from_secs(60), async || {
        client::ask_as_buildkit(longshore.address, "HEAD", "/v2/org/app/manifests/cache", client::ANY_MANIFEST).await;
        longshore.log().contains(so).then_some(())
    })
    .await;
}

/// What the job makes on `daemon` of `version`, which has nothing but the cache.
async fn job_from(version: Version, project: &Project, job: usize, cache: &str) -> Tree {
    result_of(version.cold().await, project, |build| build.target(&format!("job-{job}")).import_cache(cache)).await
}

async fn export_job(version: Version, project: &Project, job: usize, cache: &str) -> Tree {
    result_of(version.exporter().await, project, |build| {
        build.target(&format!("job-{job}")).export_cache(&format!("{cache},mode=max"))
    })
    .await
}

#[test]
fn a_cache_of_three_thousand_steps_is_imported_though_its_config_is_too_large() {
    run(async {
        for version in Version::ALL {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::of_jobs(1));
            let cache = quay.cache("org/app:cache");
            let exported = export_job(version, &project, 0, &cache).await;
            let bytes = grow(quay.front.address, "cache", 3000).await;
            assert!(bytes > 1_200_000, "{bytes}");
            until_served(&quay.longshore, "is_rescued=true").await;

            assert_eq!(job_from(version, &project, 0, &cache).await, exported, "{version:?}");

            let told = quay.explained("org/app:cache");
            assert!(told.contains("be passed over without a word") && told.contains(" 3004 of them with layers"), "{told}");
            let info = client::ask_as_buildkit(quay.front.address, "HEAD", "/v2/org/app/manifests/cache", client::ANY_MANIFEST);
            let served = client::pull_manifest(quay.front.address, "org/app", info.await.header("docker-content-digest")).await;
            assert_eq!(steps_of(&quay, &served.body).await, 3000 + STEPS_OF_A_JOB, "all of it is there, {version:?}");
        }
    });
}

/// What a job does: it copies two files, makes a folder, and makes two files in that.
const STEPS_OF_A_JOB: usize = 4;

/// How many steps a cache has layers of that is in the form of an image.
async fn steps_of(quay: &Quay, manifest: &[u8]) -> usize {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let path = format!("/v2/org/app/blobs/{}", manifest["config"]["digest"].as_str().unwrap());
    let config: Value = serde_json::from_slice(&client::ask(quay.front.address, "GET", &path).await.body).unwrap();
    let records = config["moby.buildkit.cache.v0"].as_str().expect("the inline form");
    let records: Vec<Value> = serde_json::from_slice(&data_encoding::BASE64.decode(records.as_bytes()).unwrap()).unwrap();
    records.iter().filter(|record| record["chains"].is_array()).count()
}

#[test]
fn ten_caches_that_together_are_too_large_are_imported_all() {
    run(async {
        for version in Version::ALL {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::of_jobs(10));
            let (mut exported, mut bytes) = (Vec::new(), 0);
            for job in 0..10 {
                let tag = format!("cache--{job}");
                exported.push(export_job(version, &project, job, &quay.cache(&format!("org/app:{tag}"))).await);
                bytes += grow(quay.front.address, &tag, 300).await;
            }
            assert!(bytes > LIMIT, "{bytes}");
            let replica = quay.replica().await;
            until_served(&replica, "united=10").await;

            let cache = cache_at(replica.address, "org/app:cache");
            for (job, exported) in exported.iter().enumerate() {
                assert_eq!(job_from(version, &project, job, &cache).await, *exported, "job {job}, {version:?}");
            }
            let told = quay.explained("org/app:cache");
            assert!(told.contains("the union of 10 caches") && told.contains("be passed over without a word"), "{told}");
        }
    });
}
