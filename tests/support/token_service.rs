//! A token service that stands in for Amazon's, whose keys are good for a short while on a real MinIO.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::issuer::{Answer, Asked, Issuer, role_keys};
use super::mc::{Admin, fresh_id};

/// How many keys are made before anybody asks: it takes longer than some who ask wait.
const READY: usize = 2;

/// Hands out roles' keys of the MinIO that is `admin`'s, whose secret is `secret`, and takes each away again when it has
/// held for `lifetime`.
pub async fn short_lived_role(admin: Arc<Admin>, secret: &str, lifetime: Duration) -> Issuer {
    let told = xml(secret);
    // MinIO's service accounts have no session token; an empty one is none.
    short_lived(admin, secret, lifetime, move |_, fresh| role_keys("AssumeRole", [&fresh(), &told, ""], lifetime)).await
}

/// Answers by `answer`, which gets the id of another key of the MinIO that is `admin`'s as often as it asks. Their secret is
/// `secret`, and each is taken away again when it has held for `lifetime`.
pub async fn short_lived(
    admin: Arc<Admin>,
    secret: &str,
    lifetime: Duration,
    answer: impl Fn(&Asked, &dyn Fn() -> String) -> Answer + Send + Sync + 'static,
) -> Issuer {
    let (runtime, secret) = (tokio::runtime::Handle::current(), secret.to_owned());
    let (ready, keys) = std::sync::mpsc::sync_channel(READY);
    let maker = Arc::clone(&admin);
    // It ends when nobody can ask any more.
    std::thread::spawn(move || {
        let made = std::iter::repeat_with(|| {
            let id = fresh_id();
            maker.add_key(&id, &secret);
            id
        });
        made.map(|id| ready.send(id)).take_while(Result::is_ok).for_each(drop);
    });
    let keys = Mutex::new(keys);
    let fresh = move || {
        let id = keys.lock().expect("no panic").recv().expect("it goes on making them");
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
