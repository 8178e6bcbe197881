//! Clients and replicas that die, and answers that are lost, at each call to the store in turn.

use http::{Request, StatusCode};

use crate::races::{begun, digest, image, lone, referrer};
use crate::world::{Client, strike};

const CREATED: StatusCode = StatusCode::CREATED;
const GONE: [StatusCode; 2] = [StatusCode::ACCEPTED, StatusCode::NOT_FOUND];

/// Sends `chunks` from the one that begins at `held` on, and ends the upload; the last answer.
async fn upload(client: &Client, location: &str, chunks: &[&'static str], held: usize) -> StatusCode {
    let mut first = 0;
    for chunk in chunks {
        if first >= held {
            let patch = client.patch(location, first, chunk).await;
            if patch.status != StatusCode::ACCEPTED {
                return patch.status;
            }
        }
        first += chunk.len();
    }
    client.close(location, &chunks.concat()).await
}

/// Goes on where the upload stands.
async fn go_on(client: &Client, location: &str, chunks: &[&'static str]) -> StatusCode {
    let status = client.get(location).await;
    match status.status {
        StatusCode::NO_CONTENT => {
            let last: usize = status.header("range").strip_prefix("0-").unwrap().parse().unwrap();
            upload(client, location, chunks, if last == 0 { 0 } else { last + 1 }).await
        }
        // It had ended, and nobody was told.
        _ => client.close(location, &chunks.concat()).await,
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunked_upload_goes_on_after_whatever_happened_to_it() {
    for chunks in [&["hello"][..], &["hello", " ", "world"]] {
        strike(
            async |client| client.open_upload("app").await,
            async |client, location| upload(client, location, chunks, 0).await,
            async |client, location| go_on(client, location, chunks).await,
            async |client, _, closed| {
                assert_eq!(closed, CREATED);
                assert_eq!(client.blob("app", &chunks.concat()).await, Some(chunks.concat()));
            },
        )
        .await;
    }
}

/// Pushes all that an image is made of, and the image as `t`; the first answer that is not 201, if there is one.
async fn push_image(client: &Client) -> StatusCode {
    for blob in ["config", "layer"] {
        let pushed = client.push_blob("app", blob).await;
        if pushed != CREATED {
            return pushed;
        }
    }
    client.push_manifest("t", &image()).await
}

#[tokio::test(start_paused = true)]
async fn an_image_can_be_pushed_again_after_whatever_happened_to_the_first_push() {
    strike(
        async |_| {},
        async |client, ()| push_image(client).await,
        async |client, ()| {
            let tagged = client.manifest("t").await;
            assert!(tagged.is_none_or(|tagged| tagged == image()));
            push_image(client).await
        },
        async |client, (), pushed| {
            assert_eq!(pushed, CREATED);
            assert_eq!(client.manifest("t").await, Some(image()));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_whose_move_is_cut_off_points_to_the_old_or_the_new_manifest() {
    strike(
        async |client| assert_eq!(client.push_manifest("t", &lone("old")).await, CREATED),
        async |client, ()| client.push_manifest("t", &lone("new")).await,
        async |client, ()| client.manifest("t").await.unwrap(),
        async |_, (), tagged| assert!([lone("old"), lone("new")].contains(&tagged), "{tagged}"),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_whose_deletion_is_cut_off_can_be_deleted_for_good() {
    let (manifest, path) = (referrer("subject"), format!("/v2/app/manifests/{}", digest(&referrer("subject"))));
    strike(
        async |client| assert_eq!(client.push_manifest("t", &manifest).await, CREATED),
        async |client, ()| client.delete(&path).await,
        async |client, ()| client.delete(&path).await,
        async |client, (), deletion| {
            assert!(GONE.contains(&deletion), "{deletion}");
            assert_eq!((client.manifest("t").await, client.manifest(&digest(&manifest)).await), (None, None));
            let listed = client.get(&format!("/v2/app/referrers/{}", digest("subject"))).await;
            assert!(!String::from_utf8_lossy(&listed.body).contains("sha256"), "{listed:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_blob_whose_deletion_is_cut_off_can_be_deleted_for_good() {
    let path = format!("/v2/app/blobs/{}", digest("hello"));
    strike(
        async |client| assert_eq!(client.push_blob("app", "hello").await, CREATED),
        async |client, ()| client.delete(&path).await,
        async |client, ()| client.delete(&path).await,
        async |client, (), deletion| {
            assert!(GONE.contains(&deletion), "{deletion}");
            assert_eq!(client.blob("app", "hello").await, None);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_end_is_cut_off_can_be_cancelled() {
    strike(
        begun,
        async |client, location| client.delete(location).await,
        async |client, location| client.delete(location).await,
        async |client, location, cancelled| {
            assert!([StatusCode::NO_CONTENT, StatusCode::NOT_FOUND].contains(&cancelled), "{cancelled}");
            assert_eq!(client.get(location).await.status, StatusCode::NOT_FOUND);
            assert_eq!(client.close(location, "hello").await, StatusCode::NOT_FOUND);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_mount_that_is_cut_off_can_be_asked_for_again() {
    let path = format!("/v2/other/blobs/uploads/?mount={}&from=app", digest("hello"));
    strike(
        async |client| assert_eq!(client.push_blob("app", "hello").await, CREATED),
        async |client, ()| client.send(Request::post(&path), "").await.status,
        async |client, ()| client.send(Request::post(&path), "").await.status,
        async |client, (), mounted| {
            assert_eq!(mounted, CREATED);
            assert_eq!(client.blob("other", "hello").await.as_deref(), Some("hello"));
        },
    )
    .await;
}
