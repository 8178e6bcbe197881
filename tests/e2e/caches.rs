//! Caches that no registry and no BuildKit would have served: with holes, in parts, in place of others.

use std::net::SocketAddrV4;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;

use crate::profiles::{config_file, write};
use crate::stage::{PREFIX, Quay, Store, Version, cache_at, cold, export, exporter, import, result_of, run};
use crate::support::buildkit::{Build, Buildkit};
use crate::support::client::pull_manifest;
use crate::support::distribution::Distribution;
use crate::support::door::Door;
use crate::support::longshore::Launch;
use crate::support::minio::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::support::project::{Project, Tree, size_of_second};

/// Of a project whose stage `made` is what is built.
const MADE: &str = "made";

/// The layer of `layer-1`, which everything after it stands on.
const SECOND: std::ops::Range<u64> = 30_000..31_000;

async fn made(daemon: &Buildkit, project: &Project, with: impl FnOnce(Build) -> Build) -> Tree {
    result_of(daemon, project, |build| with(build.target(MADE))).await
}

/// What of `after` is other than `before` if everything from `layer-1` on was made anew.
fn assert_rerun_from_the_second(before: &Tree, after: &Tree, what: &str) {
    for (file, is_rerun) in [("layer-0", false), ("layer-1", true), ("source", false), ("made-from-source", true)] {
        let path = format!("result/{file}");
        assert_eq!(after.file(&path) != before.file(&path), is_rerun, "{file}, {what}");
    }
}

#[test]
fn a_layer_that_is_gone_is_a_step_that_runs_again_in_every_form_of_cache() {
    run(async {
        let forms = ["mode=max,image-manifest=true", "mode=max,image-manifest=false", "mode=min,oci-mediatypes=false"];
        for (version, form) in Version::ALL.into_iter().flat_map(|version| forms.map(|form| (version, form))) {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
            let (cache, exporter) = (quay.cache("org/app:cache"), version.exporter().await);
            let exported = made(exporter, &project, |build| build.export_cache(&format!("{cache},{form}"))).await;
            quay.lose_layer("org/app", "cache", SECOND).await;
            let replica = quay.replica().await;

            let cache = cache_at(replica.address, "org/app:cache");
            let imported = made(version.cold().await, &project, |build| build.import_cache(&cache)).await;

            assert_rerun_from_the_second(&exported, &imported, &format!("{form}, {version:?}"));
            assert!(replica.log().contains("layers of a cache are gone"), "{}", replica.log());
            let told = quay.explained("org/app:cache");
            assert!(told.contains("1 blob is gone from the store") && told.contains("will run again"), "{told}");
        }
    });
}

#[test]
fn an_image_of_which_a_layer_is_gone_has_a_cache_still() {
    run(async {
        for (version, is_attested) in Version::ALL.into_iter().flat_map(|version| [(version, false), (version, true)]) {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
            let image = quay.reference("org/app:latest");
            let (exporter, build) = (version.exporter().await, Build::of(project.path()).target(MADE).attested(is_attested));
            // v0.12 has one output at a time; what it has made once it makes no other way.
            let exported = made(exporter, &project, |build| build).await;
            let build = build.output(&format!("type=image,name={image},push=true")).export_cache("type=inline");
            exporter.must_build(&build).await;
            let is_index = pull_manifest(quay.front.address, "org/app", "latest").await.header("content-type").contains("index");
            assert_eq!(is_index, is_attested, "{version:?}");
            quay.lose_layer("org/app", "latest", SECOND).await;
            let replica = quay.replica().await;

            let cache = cache_at(replica.address, "org/app:latest");
            let imported = made(version.cold().await, &project, |build| build.import_cache(&cache)).await;

            assert_rerun_from_the_second(&exported, &imported, &format!("inline, {is_attested}, {version:?}"));
            let told = quay.explained("org/app:latest");
            assert!(told.contains("1 blob is gone from the store"), "{told}");
        }
    });
}

// What it is all about: the same, without Longshore.
#[test]
fn at_distribution_a_layer_that_is_gone_fails_the_build() {
    run(async {
        let (distribution, project) = (Distribution::start().await, Project::new());
        let cache = cache_at(distribution.address, "org/app:cache");
        made(exporter().await, &project, |build| build.export_cache(&format!("{cache},mode=max"))).await;
        distribution.lose_layer("org/app", "cache", SECOND).await;

        let build = Build::of(project.path()).target(MADE).import_cache(&cache);
        let folder = crate::support::scratch("output");
        let outcome = cold().await.build(&build.output_to(folder.path())).await;

        assert!(!outcome.succeeded && outcome.log.contains("not found"), "{}", outcome.log);
    });
}

#[test]
fn what_does_not_need_the_layer_that_is_gone_does_not_run_again() {
    run(async {
        let (quay, project) = (Quay::on(Store::Bucket).await, Project::of_jobs(2));
        let job = |job: usize| move |build: Build| build.target(&format!("job-{job}"));
        let exported = [job_of(&project, 0, None).await, job_of(&project, 1, None).await];
        export(&project, &format!("{},mode=max", quay.cache("org/app:cache"))).await;
        let size = size_of_second(0);
        quay.lose_layer("org/app", "cache", size..size + 1000).await;
        let replica = quay.replica().await;
        let cache = cache_at(replica.address, "org/app:cache");

        let with_hole = result_of(cold().await, &project, |build| job(0)(build).import_cache(&cache)).await;
        let whole = result_of(cold().await, &project, |build| job(1)(build).import_cache(&cache)).await;

        assert_eq!(with_hole.file("result/first-0"), exported[0].file("result/first-0"));
        assert_ne!(with_hole.file("result/second-0"), exported[0].file("result/second-0"));
        assert_eq!(whole, exported[1]);
    });
}

/// Builds what one of several jobs makes, and exports its cache to there.
async fn job_of(project: &Project, job: usize, to: Option<(SocketAddrV4, &str)>) -> Tree {
    result_of(exporter().await, project, |build| {
        let build = build.target(&format!("job-{job}"));
        match to {
            Some((address, image)) => build.export_cache(&format!("{},mode=max", cache_at(address, image))),
            None => build,
        }
    })
    .await
}

#[test]
fn jobs_that_export_at_once_through_two_replicas_are_one_cache() {
    run(async {
        let (quay, project) = (Quay::on(Store::Bucket).await, Project::of_jobs(3));
        let replica = quay.replica().await;
        let [one, other] = [quay.front.address, replica.address];

        let jobs = [(one, "org/app:cache--a"), (other, "org/app:cache--b"), (one, "org/app:cache--c")];
        let exporting = jobs.into_iter().enumerate().map(|(job, to)| job_of(&project, job, Some(to)));
        let exported = join_all(exporting).await;

        let cache = cache_at(other, "org/app:cache");
        for (job, exported) in exported.iter().enumerate() {
            let imported =
                result_of(cold().await, &project, |build| build.target(&format!("job-{job}")).import_cache(&cache)).await;
            assert_eq!(imported, *exported, "job {job}");
        }
        let told = quay.explained("org/app:cache");
        assert!(told.contains("gets the union of 3 caches"), "{told}");
    });
}

/// What stands in for the caches of branches.
const FALLBACK: &str =
    "[[profiles.default.fallback]]\nimage = \"org/*\"\ntag = \"cache-*\"\nto = [\"cache-main\", \"org/base:cache\"]\n";

fn with_fallback(back: &Door, bucket: &str, config: &std::path::Path) -> Launch {
    let store = format!(
        "store = \"s3://{bucket}/{PREFIX}\"\nendpoint = \"http://{}\"\nregion = \"{REGION}\"\naccess_key_id = \"{ACCESS_KEY_ID}\"\n\
         secret_access_key = \"{{{{secret:KEY_OF_STORE}}}}\"\n",
        back.address
    );
    write(config, &format!("[profiles.default]\n{store}{FALLBACK}"));
    Launch::configured(config).env("LONGSHORE_SECRET_KEY_OF_STORE", SECRET_ACCESS_KEY)
}

#[test]
fn a_new_branch_begins_with_mains_cache_and_goes_on_with_its_own() {
    run(async {
        let (_folder, config) = config_file();
        let quay = Quay::launched(PREFIX, |back, bucket| with_fallback(back, bucket, &config)).await;
        let (project, main, branch) = (Project::new(), quay.cache("org/app:cache-main"), quay.cache("org/app:cache-branch"));
        let of_main = export(&project, &format!("{main},mode=max")).await;
        let tag = quay.objects().await["org/app/_oci/tags/cache-main"].clone();

        let told = quay.explained("org/app:cache-branch");
        assert!(told.contains("by its fallback org/app:cache-main stands in for it"), "{told}");
        project.change_source();
        quay.front.forget();
        let first =
            result_of(cold().await, &project, |build| build.import_cache(&branch).export_cache(&format!("{branch},mode=max")))
                .await;
        cold().await.prune().await;
        let second =
            result_of(cold().await, &project, |build| build.import_cache(&branch).export_cache(&format!("{branch},mode=max")))
                .await;

        for file in ["layer-0", "layer-1"] {
            assert_eq!(first.file(file), of_main.file(file), "{file} is main's");
        }
        assert_ne!(first.file("made-from-source"), of_main.file("made-from-source"));
        assert_eq!(second, first, "the branch's own");
        let manifests =
            |seen: &str| quay.front.seen().iter().filter(|it| it.method == Method::PUT && it.path.ends_with(seen)).count();
        assert_eq!(manifests("manifests/cache-main"), 0);
        assert_eq!(quay.objects().await["org/app/_oci/tags/cache-main"], tag);
    });
}

#[test]
fn an_unchanged_cache_is_pushed_once_though_another_stands_in_for_it_first() {
    run(async {
        let (_folder, config) = config_file();
        let quay = Quay::launched(PREFIX, |back, bucket| with_fallback(back, bucket, &config)).await;
        let (project, branch) = (Project::new(), format!("{},mode=max", quay.cache("org/app:cache-branch")));
        // The branch's cache is main's, to the byte: its tag must be pushed all the same, and only once.
        export(&project, &format!("{},mode=max", quay.cache("org/app:cache-main"))).await;

        for pushes in [1, 0, 0] {
            quay.front.forget();
            export(&project, &branch).await;
            let puts = quay
                .front
                .seen()
                .iter()
                .filter(|seen| seen.method == Method::PUT)
                .map(|seen| seen.path.clone())
                .collect::<Vec<_>>();
            assert_eq!(puts.len(), pushes, "{puts:?}");
        }
    });
}

#[test]
fn an_image_without_a_cache_begins_with_that_of_another_that_is_listed() {
    run(async {
        let (_folder, config) = config_file();
        let quay = Quay::launched(PREFIX, |back, bucket| with_fallback(back, bucket, &config)).await;
        let project = Project::new();
        let of_base = export(&project, &format!("{},mode=max", quay.cache("org/base:cache"))).await;
        let before = quay.objects().await;

        let imported = import(&project, &quay.cache("org/new:cache-x")).await;

        assert_eq!(imported, of_base);
        let told = quay.explained("org/new:cache-x");
        assert!(told.contains("by its fallback org/base:cache stands in for it"), "{told}");
        let is_of_new = |key: &&String| key.starts_with("org/new/");
        assert_eq!(quay.objects().await.keys().filter(is_of_new).count(), 0, "nothing is copied");
        let without_marks = |objects: std::collections::BTreeMap<String, String>| {
            objects.into_iter().filter(|(key, _)| !key.contains("/_oci/used/")).collect::<Vec<_>>()
        };
        assert_eq!(without_marks(quay.objects().await), without_marks(before));
        cold().await.prune().await;
        let own = format!("{},mode=max", quay.cache("org/new:cache-x"));
        let exported =
            result_of(cold().await, &project, |build| build.import_cache(&own[..own.len() - 9]).export_cache(&own)).await;
        assert_eq!(exported, of_base);
        assert!(quay.objects().await.keys().any(|key| key.starts_with("org/new/_oci/tags/cache-x")));
    });
}

#[test]
fn a_cache_of_the_last_stage_alone_is_noticed_when_it_is_pushed() {
    run(async {
        let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
        let notice = "cache pushed with layers of its last stage alone";

        // In this order: what has been exported once is in every export.
        export(&project, &format!("{},mode=min", quay.cache("org/app:min"))).await;
        let line = quay.longshore.line_with(notice, Duration::from_secs(10)).await;
        export(&project, &format!("{},mode=max", quay.cache("org/app:max"))).await;

        assert!(line.contains("tag=min"), "{line}");
        let told = ["min", "max"].map(|tag| quay.explained(&format!("org/app:{tag}")));
        assert_eq!(told.map(|page| page.contains("as mode=min exports it")), [true, false]);
        assert_eq!(quay.longshore.log().matches(notice).count(), 1);
    });
}
