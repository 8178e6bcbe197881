//! A token service that stands in for Amazon's, whose keys are good for a short while on a real MinIO.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::issuer::{Issuer, role_keys};
use super::mc::{Admin, fresh_id};

/// Hands out keys of the MinIO that is `admin`'s, whose secret is `secret`, and takes each away again when it has held
/// for `lifetime`.
pub async fn short_lived(admin: Arc<Admin>, secret: &str, lifetime: Duration) -> Issuer {
    let (runtime, secret) = (tokio::runtime::Handle::current(), secret.to_owned());
    Issuer::start(move |_| {
        let (id, expires) = (fresh_id(), Instant::now() + lifetime);
        admin.add_key(&id, &secret);
        let (taken, admin) = (id.clone(), Arc::clone(&admin));
        runtime.spawn(async move {
            tokio::time::sleep_until(expires.into()).await;
            tokio::task::spawn_blocking(move || admin.remove_key(&taken)).await
        });
        // MinIO's service accounts have no session token; an empty one is none.
        role_keys("AssumeRole", [&id, &xml(&secret), ""], lifetime)
    })
    .await
}

/// `text` between the tags of an element.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
