//! A server over a folder, killed in the middle of writing.

use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use longshore::oci::{Digest, MediaType};
use longshore::store::{FolderStore, ObjectStore};
use serde_json::json;
use tokio::sync::watch;

use crate::bench::PATIENCE;
use crate::folder::{TEMPORARY, found_in, leave_over};
use crate::support::longshore::Launch;
use crate::support::{client, scratch};
use crate::words::{key, read};

/// The blob of one round.
fn blob(round: u32) -> Bytes {
    vec![round as u8; 2_500_000 + round as usize].into()
}

/// The manifest that is pushed after it, always by the same tag.
fn manifest(round: u32) -> String {
    let blob = blob(round);
    let config = json!({"mediaType": MediaType::CACHE_CONFIG, "digest": Digest::sha256(&blob).to_string(), "size": blob.len()});
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST, "config": config, "layers": []}).to_string()
}

/// Pushes what belongs to one round; `None` when the server does not answer any more.
async fn push(server: SocketAddrV4, round: u32) -> Option<()> {
    let opened = client::try_send(server, Request::post("/v2/app/blobs/uploads/").body(Bytes::new()).unwrap()).await?;
    let (blob, location) = (blob(round), opened.header("location"));
    let put = Request::put(format!("{location}?digest={}", Digest::sha256(&blob))).body(blob).unwrap();
    let tag = Request::put("/v2/app/manifests/t").header("content-type", MediaType::OCI_MANIFEST);
    for put in [put, tag.body(manifest(round).into()).unwrap()] {
        let answer = client::try_send(server, put).await?;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    }
    Some(())
}

/// The last round that was acknowledged by a server that was killed so long after so many rounds.
async fn killed_in_the_middle(folder: &Path, rounds: u32, grace: Duration) -> u32 {
    let mut server = Launch::on_folder(folder).start().await;
    let (address, (acknowledged, mut enough)) = (server.address, watch::channel(0));
    let pushing = tokio::spawn(async move {
        for round in 1.. {
            if push(address, round).await.is_none() {
                break;
            }
            acknowledged.send_replace(round);
        }
        *acknowledged.borrow()
    });
    enough.wait_for(|last| *last == rounds).await.unwrap();
    tokio::time::sleep(grace).await;
    server.kill().await;
    pushing.await.unwrap()
}

#[tokio::test]
async fn what_was_stored_outlives_kill_9_and_the_rest_is_whole_or_absent() {
    for run in 0..12 {
        let folder = scratch("folder");
        let last = killed_in_the_middle(folder.path(), 2 + run, Duration::from_micros(900) * run).await;

        let store = FolderStore::open(folder.path()).unwrap();
        let digest = |bytes: &[u8]| Digest::sha256(bytes).to_string();
        for round in 1..=last + 1 {
            for (place, bytes) in [("blobs", blob(round)), ("_oci/manifests", manifest(round).into())] {
                let found = read(&store, &format!("app/{place}/{}", digest(&bytes))).await;
                assert!(found.is_none() && round > last || found.as_ref() == Some(&bytes), "{place} of {round} of {last}");
            }
        }
        let tag = store.get(&key("app/_oci/tags/t"), None, PATIENCE).await.unwrap().unwrap();
        assert_eq!(tag.meta.content_type, MediaType::OCI_MANIFEST);
        let tagged = read(&store, "app/_oci/tags/t").await.unwrap();
        assert!([last, last + 1].iter().any(|round| tagged == manifest(*round)), "{tagged:?} after {last}");

        for entry in std::fs::read_dir(folder.path().join(TEMPORARY)).unwrap() {
            drop(leave_over(folder.path(), entry.unwrap().file_name().to_str().unwrap()));
        }
        FolderStore::open(folder.path()).unwrap();
        assert_eq!(found_in(&folder.path().join(TEMPORARY)), [""; 0]);
    }
}
