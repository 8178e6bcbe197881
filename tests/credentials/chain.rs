//! The SDK's own chain, which looks at the variables of its process: so that is a process of its own.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::instance::metadata_service;
use crate::life::machine_keys_with;
use crate::minio::{BUCKET, admin, minio};
use crate::support::client::{Answer, ask};
use crate::support::door::Door;
use crate::support::eventually;
use crate::support::longshore::{Launch, Longshore};
use crate::support::token_service::short_lived;

const LIFETIME: Duration = Duration::from_secs(12);

const SECRET: &str = "a-secret-of-the-chain";

/// Asks for a tag that is not there, which the store has to say.
async fn asked(longshore: &Longshore) -> Answer {
    ask(longshore.address, "GET", "/v2/app/manifests/none").await
}

/// Whose keys signed last.
fn signer(back: &Door) -> String {
    back.seen().last().expect("something was asked").signer().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_s_keys_are_used_refreshed_in_time_used_up_in_an_outage_and_taken_up_again() {
    let issuer = short_lived(admin().await, SECRET, LIFETIME, |asked, fresh| {
        metadata_service(asked, || machine_keys_with([&fresh(), SECRET, ""], LIFETIME)).unwrap_or((404, String::new()))
    })
    .await;
    let back = Door::open(minio().await.address);
    // Nothing of the machine that the tests run on may come before it in the chain.
    let launch = Launch::bare(&[&format!("s3://{BUCKET}/chain"), "--anonymous", "write", "--credentials", "default"])
        .listening()
        .env("LONGSHORE_ENDPOINT", &format!("http://{}", back.address))
        .env("LONGSHORE_KIND", "minio")
        .env("LONGSHORE_PATH_STYLE", "true")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &issuer.url())
        .keeping("what the instance has", SECRET);

    // First use.
    let longshore = launch.start().await;
    assert_eq!(asked(&longshore).await.status, StatusCode::NOT_FOUND, "{}", longshore.log());
    let (first, first_used) = (signer(&back), Instant::now());

    // Refresh: in time, and without a request that fails.
    let second = eventually("the refresh", LIFETIME, async || {
        assert_eq!(asked(&longshore).await.status, StatusCode::NOT_FOUND);
        Some(signer(&back)).filter(|id| *id != first)
    })
    .await;
    assert!(first_used.elapsed() < LIFETIME && longshore.log().contains(&second), "{}", longshore.log());

    // Outage: what holds is used, and then it is told who has none.
    issuer.is_down(true);
    let down = Instant::now();
    while down.elapsed() < LIFETIME / 2 {
        assert_eq!((asked(&longshore).await.status, signer(&back)), (StatusCode::NOT_FOUND, second.clone()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The SDK goes on with what it had last for as long as an instance says nothing; then the store has to refuse it.
    let reasons = [r#"profile \"default\" has no credentials for its storage"#, "storage is misconfigured"];
    eventually("the end of what holds", 2 * LIFETIME, async || {
        let answer = asked(&longshore).await;
        let told = String::from_utf8_lossy(&answer.body);
        assert!([StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status), "{answer:?}");
        reasons.iter().any(|reason| told.contains(reason)).then_some(())
    })
    .await;

    // Recovery.
    issuer.is_down(false);
    eventually("the recovery", LIFETIME, async || {
        Some(asked(&longshore).await).filter(|answer| answer.status == StatusCode::NOT_FOUND)
    })
    .await;
    assert_ne!(signer(&back), second);
}
