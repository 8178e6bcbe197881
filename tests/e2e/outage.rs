//! The store is gone for a while: imports are skipped, exports wait.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use crate::stage::{Quay, Store, assert_all, export, import, run, spawn};
use crate::support::door::{Action, Door, Mode, S3Operation, Seen};
use crate::support::project::Project;

/// How long the store is gone in the middle of things.
const DARK: Duration = Duration::from_secs(3);
const MOST_OF_A_MINUTE: Duration = Duration::from_secs(50);

const WAYS_TO_BE_GONE: [Mode; 2] = [Mode::Refuse, Mode::BlackHole];

#[test]
fn an_import_from_a_store_that_is_gone_is_skipped_within_five_seconds() {
    run(async {
        for mode in WAYS_TO_BE_GONE {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
            let cache = quay.cache("org/app:cache");
            let exported = export(&project, &format!("{cache},mode=max")).await;

            quay.front.forget();
            quay.back().become_(mode).await;
            let built = import(&project, &cache).await;

            let asked = quay.front.seen();
            let first = asked.iter().map(|seen| seen.came).min().expect("the import asked for something");
            let last = asked.iter().map(|seen| seen.answered().expect("every request was answered")).max();
            let took = last.expect("as many answers as requests") - first;
            assert!(took < Duration::from_secs(5), "{mode:?}: {took:?} {asked:#?}");
            assert_ne!(built.file("layer-0"), exported.file("layer-0"), "{mode:?}: the store was gone, yet its cache was used");
        }
    });
}

/// A request of an export's, told by what Longshore asks of the store; the door is the one before Longshore.
type IsIt = fn(&Seen, &Door) -> bool;

/// Layers that are sent with one request each.
const SMALL: &[u64] = &[200_000, 30_000];

/// A layer that is sent in parts, after a small one.
const LARGE: &[u64] = &[200_000, 20_000_000];

const REQUESTS_OF_AN_EXPORT: [(&str, &[u64], usize, IsIt); 8] = [
    ("the look for layers", SMALL, 1, |seen, _| {
        seen.operation() == S3Operation::ListObjectsV2 && seen.query.contains("blobs%2F")
    }),
    ("a small layer", SMALL, 2, |seen, _| seen.operation() == S3Operation::PutObject && is_blob(seen)),
    ("the begin of a large layer", LARGE, 1, |seen, _| seen.operation() == S3Operation::CreateMultipartUpload),
    ("a part of a large layer", LARGE, 2, |seen, _| seen.operation() == S3Operation::UploadPart),
    ("the end of a large layer", LARGE, 1, |seen, _| seen.operation() == S3Operation::CompleteMultipartUpload),
    ("the config", SMALL, 1, is_config),
    ("the manifest", SMALL, 1, is_manifest),
    ("the tag", SMALL, 1, is_tag),
];

fn is_blob(seen: &Seen) -> bool {
    seen.path.contains("/blobs/")
}

fn is_manifest(seen: &Seen, _: &Door) -> bool {
    seen.operation() == S3Operation::PutObject && seen.path.contains("/_oci/manifests/")
}

fn is_tag(seen: &Seen, _: &Door) -> bool {
    seen.operation() == S3Operation::PutObject && seen.path.contains("/_oci/tags/")
}

/// Whether this writes the blob that buildkitd has called a cache config before.
fn is_config(seen: &Seen, front: &Door) -> bool {
    let is_head_of_config = |asked: &&Arc<Seen>| asked.method == Method::HEAD && asked.header("accept").contains("cacheconfig");
    let asked = front.seen();
    let hex = asked.iter().find(is_head_of_config).and_then(|asked| asked.path.split_once("sha256:"));
    seen.operation() == S3Operation::PutObject && hex.is_some_and(|(_, hex)| seen.path.ends_with(hex))
}

#[test]
fn an_export_waits_for_the_store_at_each_of_its_requests() {
    let mut scenarios = Vec::new();
    for mode in WAYS_TO_BE_GONE {
        for (request, layers, nth, is_it) in REQUESTS_OF_AN_EXPORT {
            for action in [Action::Become(mode), Action::LoseAnswer(mode)] {
                let scenario = spawn(export_through_an_outage(layers, action, DARK, nth, is_it));
                scenarios.push((format!("{action:?} at {request}"), scenario));
            }
        }
        let scenario = spawn(export_through_an_outage(SMALL, Action::Become(mode), MOST_OF_A_MINUTE, 1, is_tag));
        scenarios.push((format!("{mode:?} for {MOST_OF_A_MINUTE:?}"), scenario));
    }
    assert_all(scenarios);
}

async fn export_through_an_outage(layers: &[u64], action: Action, dark: Duration, nth: usize, is_it: IsIt) {
    let (quay, project) = (Quay::on(Store::Bucket).await, Project::with_layers(layers));
    let cache = quay.cache("org/app:cache");
    let front = Arc::clone(&quay.front);
    let gone = quay.back().trip(nth, action, move |seen| is_it(seen, &front));

    let outage = async {
        gone.sprung(Duration::from_secs(120)).await;
        tokio::time::sleep(dark).await;
        quay.back().become_(Mode::Open).await;
    };
    let attributes = format!("{cache},mode=max");
    let (exported, ()) = tokio::join!(export(&project, &attributes), outage);

    assert_eq!(import(&project, &cache).await, exported);
}

#[test]
fn an_import_that_has_begun_waits_for_the_store() {
    let scenarios = WAYS_TO_BE_GONE.map(|mode| (format!("{mode:?} at a layer"), spawn(import_through_an_outage(mode))));
    assert_all(scenarios.into());
}

async fn import_through_an_outage(mode: Mode) {
    let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
    let cache = quay.cache("org/app:cache");
    let exported = export(&project, &format!("{cache},mode=max")).await;
    // The config is remembered from when it was pushed, so the first blob that is read is a layer.
    let is_it = |seen: &Seen| seen.operation() == S3Operation::GetObject && is_blob(seen);
    let gone = quay.back().trip(1, Action::Become(mode), is_it);

    let outage = async {
        gone.sprung(Duration::from_secs(180)).await;
        tokio::time::sleep(DARK).await;
        quay.back().become_(Mode::Open).await;
    };
    let (imported, ()) = tokio::join!(import(&project, &cache), outage);

    assert_eq!(imported, exported);
}

#[test]
fn an_import_right_after_an_outage_uses_the_cache() {
    run(async {
        for mode in WAYS_TO_BE_GONE {
            let (quay, project) = (Quay::on(Store::Bucket).await, Project::new());
            let cache = quay.cache("org/app:cache");
            let exported = export(&project, &format!("{cache},mode=max")).await;
            // Connections that were idle are dead now, and nothing says so.
            quay.back().become_(mode).await;
            quay.back().become_(Mode::Open).await;

            let imported = import(&project, &cache).await;

            assert_eq!(imported, exported, "{mode:?}");
        }
    });
}
