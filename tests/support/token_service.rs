//! A token service that stands in for Amazon's, whose keys are good for a short while on a real MinIO.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::issuer::{Answer, Asked, Issuer, role_keys};
use super::mc::{Admin, fresh_id};

/// Hands out roles' keys of the MinIO that is `admin`'s, whose secret is `secret`, and takes each away again when it has
/// held for `lifetime`.
pub async fn short_lived_role(admin: Arc<Admin>, secret: &str, lifetime: Duration) -> Issuer {
    let secret = secret.to_owned();
    // MinIO's service accounts have no session token; an empty one is none.
    short_lived(admin, lifetime, move |_, fresh| role_keys("AssumeRole", [&fresh(&secret), &xml(&secret), ""], lifetime)).await
}

/// Answers by `answer`, which may have a key of the MinIO that is `admin`'s made for a secret, and takes each away again
/// when it has held for `lifetime`.
pub async fn short_lived(
    admin: Arc<Admin>,
    lifetime: Duration,
    answer: impl Fn(&Asked, &dyn Fn(&str) -> String) -> Answer + Send + Sync + 'static,
) -> Issuer {
    let runtime = tokio::runtime::Handle::current();
    let fresh = move |secret: &str| {
        let id = fresh_id();
        admin.add_key(&id, secret);
        let (taken, admin, expires) = (id.clone(), Arc::clone(&admin), Instant::now() + lifetime);
        runtime.spawn(async move {
            tokio::time::sleep_until(expires.into()).await;
            tokio::task::spawn_blocking(move || admin.remove_key(&taken)).await
        });
        id
    };
    Issuer::start(move |asked| answer(asked, &fresh)).await
}

/// `text` between the tags of an element.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
