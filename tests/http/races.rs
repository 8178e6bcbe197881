//! Two clients at once, one of them held at each of its calls to the store in turn.

use http::StatusCode;
use longshore::oci::{Digest, MediaType};
use serde_json::{Value, json};

use crate::world::{Client, Place, race};

const CREATED: StatusCode = StatusCode::CREATED;
const ACCEPTED: StatusCode = StatusCode::ACCEPTED;
const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
const OUT_OF_ORDER: StatusCode = StatusCode::RANGE_NOT_SATISFIABLE;

fn descriptor(media_type: &str, content: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

pub fn digest(content: &str) -> String {
    Digest::sha256(content.as_bytes()).to_string()
}

/// What a manifest describes that need not be there.
const ELSEWHERE: &str = "application/vnd.test.foreign.config";

/// A manifest, told apart by `name`, that needs nothing to be there.
pub fn lone(name: &str) -> String {
    json!({"schemaVersion": 2, "config": descriptor(ELSEWHERE, name), "layers": []}).to_string()
}

/// A manifest that says something about `subject`.
pub fn referrer(subject: &str) -> String {
    let subject = descriptor(MediaType::OCI_MANIFEST, subject);
    json!({"schemaVersion": 2, "config": descriptor(ELSEWHERE, ""), "layers": [], "subject": subject}).to_string()
}

/// A manifest of an image whose blobs are `config` and `layer`.
pub fn image() -> String {
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer");
    json!({"schemaVersion": 2, "config": descriptor("application/vnd.oci.image.config.v1+json", "config"), "layers": [layer]})
        .to_string()
}

async fn nothing(_: &Client) {}

#[tokio::test(start_paused = true)]
async fn of_two_pushes_of_one_tag_one_is_there_whole_and_both_by_digest() {
    race(
        &Place::ANY,
        nothing,
        async |client, ()| client.push_manifest("t", &lone("a")).await,
        async |client, ()| client.push_manifest("t", &lone("b")).await,
        async |client, (), one, other| {
            assert_eq!((one, other), (CREATED, CREATED));
            let tagged = client.manifest("t").await.unwrap();
            assert!([lone("a"), lone("b")].contains(&tagged), "{tagged}");
            for name in ["a", "b"] {
                assert_eq!(client.manifest(&digest(&lone(name))).await, Some(lone(name)));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_push_of_a_tag_and_its_deletion_leave_the_new_manifest_or_no_tag() {
    race(
        &Place::ANY,
        async |client| assert_eq!(client.push_manifest("t", &lone("old")).await, CREATED),
        async |client, ()| client.push_manifest("t", &lone("new")).await,
        async |client, ()| client.delete("/v2/app/manifests/t").await,
        async |client, (), push, deletion| {
            assert_eq!((push, deletion), (CREATED, ACCEPTED));
            let tagged = client.manifest("t").await;
            assert!(tagged.is_none_or(|tagged| tagged == lone("new")));
            for name in ["old", "new"] {
                assert_eq!(client.manifest(&digest(&lone(name))).await, Some(lone(name)));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_pushed_while_it_is_deleted_is_there_by_tag_and_digest_or_not_at_all() {
    race(
        &Place::ANY,
        async |client| assert_eq!(client.push_manifest("before", &lone("a")).await, CREATED),
        async |client, ()| client.push_manifest("t", &lone("a")).await,
        async |client, ()| client.delete(&format!("/v2/app/manifests/{}", digest(&lone("a")))).await,
        async |client, (), push, deletion| {
            assert_eq!((push, deletion), (CREATED, ACCEPTED));
            assert_eq!(client.manifest("before").await, None);
            let tagged = client.manifest("t").await;
            assert!(tagged.is_none() || client.manifest(&digest(&lone("a"))).await == tagged);
        },
    )
    .await;
}

/// Moves the tag `t` from one manifest to another, while the former is deleted.
async fn move_away(places: &[Place], judge: impl AsyncFn(Option<String>)) {
    race(
        places,
        async |client| assert_eq!(client.push_manifest("t", &lone("old")).await, CREATED),
        async |client, ()| client.push_manifest("t", &lone("new")).await,
        async |client, ()| client.delete(&format!("/v2/app/manifests/{}", digest(&lone("old")))).await,
        async |client, (), push, deletion| {
            assert_eq!((push, deletion), (CREATED, ACCEPTED));
            assert_eq!(client.manifest(&digest(&lone("new"))).await, Some(lone("new")));
            assert_eq!(client.manifest(&digest(&lone("old"))).await, None);
            judge(client.manifest("t").await).await;
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_while_its_old_manifest_is_deleted_is_there() {
    move_away(&[Place::Together], async |tagged| assert_eq!(tagged, Some(lone("new")))).await;
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_another_replica_moves_while_its_old_manifest_is_deleted_never_points_back() {
    // Where it moves between the look and the removal it is gone: not all stores can tell.
    move_away(&[Place::Apart], async |tagged| assert!(tagged.is_none_or(|tagged| tagged == lone("new")))).await;
}

#[tokio::test(start_paused = true)]
async fn a_referrer_that_is_pushed_while_it_is_deleted_is_listed_only_if_it_is_there() {
    let own = digest(&referrer("subject"));
    for reference in [own.as_str(), "t"] {
        race(
            &Place::ANY,
            async |client| assert_eq!(client.push_manifest(reference, &referrer("subject")).await, CREATED),
            async |client, ()| client.push_manifest(reference, &referrer("subject")).await,
            async |client, ()| client.delete(&format!("/v2/app/manifests/{own}")).await,
            async |client, (), push, deletion| {
                assert_eq!((push, deletion), (CREATED, ACCEPTED), "{reference}");
                let listed = client.get(&format!("/v2/app/referrers/{}", digest("subject"))).await;
                let is_listed = String::from_utf8_lossy(&listed.body).contains(&own);
                assert_eq!(client.manifest(&own).await.is_some(), is_listed, "{reference}");
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_pushed_twice_at_once_is_there() {
    race(
        &Place::ANY,
        nothing,
        async |client, ()| client.push_blob("app", "hello").await,
        async |client, ()| client.push_blob("app", "hello").await,
        async |client, (), one, other| {
            assert_eq!((one, other), (CREATED, CREATED));
            assert_eq!(client.blob("app", "hello").await.as_deref(), Some("hello"));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_pushed_while_it_is_deleted_is_there_whole_or_not_at_all() {
    race(
        &Place::ANY,
        async |client| assert_eq!(client.push_blob("app", "hello").await, CREATED),
        async |client, ()| client.push_blob("app", "hello").await,
        async |client, ()| client.delete(&format!("/v2/app/blobs/{}", digest("hello"))).await,
        async |client, (), push, deletion| {
            assert_eq!((push, deletion), (CREATED, ACCEPTED));
            assert!(client.blob("app", "hello").await.is_none_or(|blob| blob == "hello"));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_is_mounted_while_it_is_deleted_is_mounted_whole_or_has_to_be_sent() {
    race(
        &Place::ANY,
        async |client| assert_eq!(client.push_blob("app", "hello").await, CREATED),
        async |client, ()| {
            let query = format!("mount={}&from=app", digest("hello"));
            client.send(http::Request::post(format!("/v2/other/blobs/uploads/?{query}")), "").await.status
        },
        async |client, ()| client.delete(&format!("/v2/app/blobs/{}", digest("hello"))).await,
        async |client, (), mount, deletion| {
            assert_eq!(deletion, ACCEPTED);
            let mounted = client.blob("other", "hello").await;
            assert_eq!(mounted.as_deref(), (mount == CREATED).then_some("hello"), "{mount}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_image_is_acknowledged_only_if_its_layers_were_there() {
    race(
        &Place::ANY,
        async |client| {
            for blob in ["config", "layer"] {
                assert_eq!(client.push_blob("app", blob).await, CREATED);
            }
        },
        async |client, ()| client.push_manifest("t", &image()).await,
        async |client, ()| client.delete(&format!("/v2/app/blobs/{}", digest("layer"))).await,
        async |client, (), push, deletion| {
            assert_eq!(deletion, ACCEPTED);
            assert!([CREATED, StatusCode::BAD_REQUEST].contains(&push), "{push}");
            assert_eq!(client.manifest("t").await, (push == CREATED).then(image));
        },
    )
    .await;
}

/// Sends two chunks for the beginning of one upload, which `closer` (one of the two, or somebody else) then ends as either.
async fn collide(place: Place, [one, two]: [&'static str; 2], closer: usize, outcomes: &[(StatusCode, StatusCode)]) {
    let send =
        |chunk| async move |client: &Client, location: &String| (client.clone(), client.patch(location, 0, chunk).await.status);
    race(
        &[place],
        async |client| client.open_upload("app").await,
        send(one),
        send(two),
        async |client, location, (first, sent), (second, sent_too)| {
            assert!(outcomes.contains(&(sent, sent_too)), "{sent}, {sent_too}");
            let closer = [&first, &second, client][closer];

            let closed = [closer.close(location, one).await, closer.close(location, two).await];

            assert_eq!(closed.iter().filter(|status| **status == CREATED).count(), 1, "{closed:?}");
            for (content, closed) in [one, two].into_iter().zip(closed) {
                assert_eq!(client.blob("app", content).await.as_deref(), (closed == CREATED).then_some(content));
                assert!([CREATED, StatusCode::BAD_REQUEST, NOT_FOUND].contains(&closed), "{closed}");
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_two_chunks_at_one_place_a_replica_takes_one() {
    collide(Place::Together, ["hello", "world"], 0, &[(ACCEPTED, OUT_OF_ORDER), (OUT_OF_ORDER, ACCEPTED)]).await;
}

#[tokio::test(start_paused = true)]
async fn of_two_chunks_that_two_replicas_took_for_one_place_the_end_is_what_is_stored() {
    let outcomes = [(ACCEPTED, ACCEPTED), (ACCEPTED, OUT_OF_ORDER), (OUT_OF_ORDER, ACCEPTED)];
    for closer in 0..3 {
        for chunks in [["hello", "world"], ["hello", "hey"]] {
            collide(Place::Apart, chunks, closer, &outcomes).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_an_upload_gets_what_it_sent_or_is_told() {
    // Each sends its chunk and ends the upload with the digest of that.
    let all_of_it = |content: &'static str| {
        async move |client: &Client, location: &String| {
            let patch = client.patch(location, 0, content).await.status;
            (patch, client.close(location, content).await)
        }
    };
    race(
        &Place::ANY,
        async |client| client.open_upload("app").await,
        all_of_it("hello"),
        all_of_it("world"),
        async |client, _, one, other| {
            for (content, (_, closed)) in [("hello", one), ("world", other)] {
                assert_eq!(client.blob("app", content).await.as_deref(), (closed == CREATED).then_some(content), "{closed}");
            }
        },
    )
    .await;
}

/// Begins an upload and sends `hello`; where it goes on.
pub async fn begun(client: &Client) -> String {
    let location = client.open_upload("app").await;
    assert_eq!(client.patch(&location, 0, "hello").await.status, ACCEPTED);
    location
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_comes_while_the_upload_ends_is_in_the_blob_or_not() {
    race(
        &Place::ANY,
        begun,
        async |client, location| client.patch(location, 5, " world").await.status,
        async |client, location| client.close(location, "hello").await,
        async |client, location, patch, closed| {
            assert!([ACCEPTED, OUT_OF_ORDER, NOT_FOUND].contains(&patch), "{patch}");
            assert!([CREATED, StatusCode::BAD_REQUEST].contains(&closed), "{closed}");
            let content = if closed == CREATED { "hello" } else { "hello world" };
            assert_eq!(client.close(location, content).await, CREATED);
            assert_eq!(client.blob("app", content).await.as_deref(), Some(content));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_ended_twice_at_once_is_there() {
    race(
        &Place::ANY,
        begun,
        async |client, location| client.close(location, "hello").await,
        async |client, location| client.close(location, "hello").await,
        async |client, location, one, other| {
            assert_eq!((one, other), (CREATED, CREATED));
            assert_eq!(client.close(location, "hello").await, CREATED);
            assert_eq!(client.blob("app", "hello").await.as_deref(), Some("hello"));
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_cancelled_while_it_ends_has_become_a_blob_if_that_was_said() {
    race(
        &Place::ANY,
        begun,
        async |client, location| client.close(location, "hello").await,
        async |client, location| client.delete(location).await,
        async |client, location, closed, cancelled| {
            assert!(cancelled == StatusCode::NO_CONTENT || cancelled == NOT_FOUND, "{cancelled}");
            let is_there = client.blob("app", "hello").await.is_some();
            assert!(is_there || closed != CREATED, "{closed}");
            assert_eq!(client.get(location).await.status, NOT_FOUND);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_comes_while_the_upload_is_cancelled_never_is_a_blob() {
    race(
        &Place::ANY,
        begun,
        async |client, location| client.patch(location, 5, " world").await.status,
        async |client, location| client.delete(location).await,
        async |client, location, patch, cancelled| {
            assert!([ACCEPTED, OUT_OF_ORDER, NOT_FOUND].contains(&patch), "{patch}");
            assert_eq!(cancelled, StatusCode::NO_CONTENT);
            assert_eq!(client.close(location, "hello world").await, NOT_FOUND);
        },
    )
    .await;
}
