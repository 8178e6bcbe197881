//! Pushes that end in the middle: Longshore is killed, a client vanishes, Longshore is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::stage::{Quay, STORES, Store, export, exporter, import, result_of, run};
use crate::support::buildkit::Build;
use crate::support::door::{Action, S3Operation, Seen};
use crate::support::project::Project;
use crate::support::{client, eventually};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_push_that_a_crash_ends_leaves_nothing_wrong_and_works_again_after_a_restart() {
    run(async {
        for store in STORES {
            let (mut quay, project) = (Quay::on(store).await, Project::with_layers(&[500_000_000]));
            let cache = quay.cache("org/app:cache");
            let attributes = format!("{cache},mode=max,compression=uncompressed");
            let built = result_of(exporter().await, &project, |build| build).await;

            let push = async { exporter().await.build(&Build::of(project.path()).export_cache(&attributes)).await };
            let crash = async {
                eventually("half of the large layer is under way", Duration::from_secs(240), || async {
                    quay.front.seen().iter().any(|seen| seen.uploaded_bytes() > 250 * MIB).then_some(())
                })
                .await;
                quay.longshore.kill().await;
            };
            let (pushed, ()) = tokio::join!(push, crash);

            assert!(!pushed.succeeded, "{store:?}: nobody was there to finish it");
            assert_only_whole_blobs(&quay).await;
            let large = |seen: &Arc<Seen>| seen.uploaded_bytes() > 250 * MIB;
            let large = quay.front.seen().into_iter().find(large).expect("it was under way");
            let (_, hex) = large.query.split_once("sha256%3A").expect("the digest is in the query");
            assert!(!quay.objects().await.keys().any(|key| key.contains(&hex[..64])), "{store:?}: it is visible");

            quay.longshore = quay.launch.start().await;
            assert_eq!(export(&project, &attributes).await, built, "{store:?}");
            assert_only_whole_blobs(&quay).await;
            assert_eq!(import(&project, &cache).await, built, "{store:?}");
        }
    });
}

/// Asserts that each blob in the store hashes to its key.
async fn assert_only_whole_blobs(quay: &Quay) {
    for (key, digest) in quay.objects().await {
        if let Some((_, named)) = key.split_once("/blobs/") {
            assert_eq!(digest, named, "{key}");
        }
    }
}

#[test]
fn a_client_that_vanishes_mid_body_leaves_no_object_and_its_multipart_upload_is_aborted() {
    run(async {
        for store in STORES {
            let quay = Quay::on(store).await;
            let digest = format!("sha256:{}", "a".repeat(64));

            let put = client::put_blob_request(quay.longshore.address, "org/app", &digest).await.body(()).unwrap();
            let mut connection = TcpStream::connect(quay.longshore.address).await.unwrap();
            let head = format!("PUT {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", put.uri(), 40 * MIB);
            connection.write_all(head.as_bytes()).await.unwrap();
            connection.write_all(&vec![7; usize::try_from(24 * MIB).unwrap()]).await.unwrap();
            if store == Store::Bucket {
                eventually("a part is under way", Duration::from_secs(10), || async {
                    (!quay.back().seen_operations(S3Operation::UploadPart).is_empty()).then_some(())
                })
                .await;
            }
            drop(connection);

            if store == Store::Bucket {
                let answered = |operation| {
                    let seen = quay.back().seen_operations(operation);
                    seen.iter().filter(|seen| seen.status().is_some_and(|status| status.is_success())).count()
                };
                eventually("the upload is aborted", Duration::from_secs(30), || async {
                    (answered(S3Operation::AbortMultipartUpload) > 0).then_some(())
                })
                .await;
                assert_eq!(answered(S3Operation::CreateMultipartUpload), 1);
                assert_eq!(answered(S3Operation::AbortMultipartUpload), 1);
                assert_eq!(quay.back().seen_operations(S3Operation::CompleteMultipartUpload).len(), 0);
            }
            eventually("nothing is left", Duration::from_secs(10), || async { quay.objects().await.is_empty().then_some(()) })
                .await;
        }
    });
}

#[test]
fn an_export_completes_when_longshore_is_told_to_stop_before_the_config() {
    run(async {
        for store in STORES {
            let (mut quay, project) = (Quay::on(store).await, Project::new());
            let cache = quay.cache("org/app:cache");
            // Layers come first: once the config was asked for, the next POST is the config's.
            let is_config_next = AtomicBool::new(false);
            let config_post = quay.front.trip(1, Action::Hold, move |seen| {
                if seen.method == Method::HEAD && seen.header("accept").contains("cacheconfig") {
                    is_config_next.store(true, Ordering::SeqCst);
                }
                seen.method == Method::POST && is_config_next.load(Ordering::SeqCst)
            });

            let stop = async {
                config_post.sprung(Duration::from_secs(60)).await;
                quay.longshore.terminate();
                eventually("Longshore says that it is stopping", Duration::from_secs(10), || async {
                    let ready = client::ask(quay.longshore.address, "GET", "/readyz").await;
                    (ready.status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
                })
                .await;
                config_post.release();
            };
            let attributes = format!("{cache},mode=max");
            let (exported, ()) = tokio::join!(export(&project, &attributes), stop);

            let status = quay.longshore.ended(Duration::from_secs(30)).await;
            assert!(status.success(), "{store:?}: {status}\n{}", quay.longshore.log());
            quay.longshore = quay.launch.start().await;
            assert_eq!(import(&project, &cache).await, exported, "{store:?}");
        }
    });
}
