//! What the server says of its own holds no secret; what clients have stored is theirs.

use http::Request;

use crate::stand::{SECRET, Stand, send};

#[tokio::test]
async fn no_error_tells_a_secret() {
    let stand = Stand::new();
    let elsewhere = Request::get("/v2/").header("host", SECRET).body("").unwrap();

    for answer in [stand.ask(&format!("GET /v2/app/manifests/{SECRET}")).await, stand.send(elsewhere).await] {
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(answer.status.is_client_error() && body.contains("***") && !body.contains(SECRET), "{body}");
    }
}

#[tokio::test]
async fn no_metric_tells_a_secret() {
    let stand = Stand::new();
    stand.push(SECRET, "hello").await;

    let answer = send(stand.admin, Request::get("/metrics").body("").unwrap()).await;

    let metrics = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(metrics.contains("image=\"***\"") && !metrics.contains(SECRET), "{metrics}");
}

#[tokio::test]
async fn a_blob_comes_back_as_it_was_stored() {
    let stand = Stand::new();
    let layer = stand.push("app", "sesame-open, and more").await;

    assert_eq!(stand.ask(&format!("GET /v2/app/blobs/{layer}")).await.body, "sesame-open, and more");
}
