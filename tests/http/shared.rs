//! What is told of blobs that all images share.

use std::sync::Arc;

use http::StatusCode;
use longshore::access::Access;
use longshore::registry::{Layout, Patience, Registry};
use longshore::store::{MemoryStore, ObjectStore};

use crate::stand::{PATIENCE, Stand, code};

fn stand() -> Stand {
    let store: Arc<dyn ObjectStore> = Arc::new(MemoryStore::default());
    let layout = Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() };
    let registry = Registry::new(Arc::clone(&store), Patience::with_bytes(PATIENCE)).with_layout(layout);
    Stand::of(registry, store, Access::Write)
}

#[tokio::test]
async fn a_blob_is_mounted_where_it_is_and_deleted_for_nobody() {
    let stand = stand();
    let digest = stand.push("org/app", "layer").await;

    let mounted = stand.ask(&format!("POST /v2/other/blobs/uploads/?mount={digest}&from=org/app")).await;
    let deleted = stand.ask(&format!("DELETE /v2/org/app/blobs/{digest}")).await;

    assert_eq!(mounted.status, StatusCode::CREATED, "{mounted:?}");
    assert_eq!((deleted.status, deleted.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"), "{deleted:?}");
    assert_eq!(code(&deleted), "UNSUPPORTED");
    assert_eq!(stand.keys().await, [format!("blobs/{digest}")]);
    assert_eq!(stand.ask(&format!("GET /v2/other/blobs/{digest}")).await.body, "layer");
}
