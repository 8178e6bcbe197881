//! What every source that issues short-lived credentials goes through: first use, refresh, outage, expiry, recovery.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use longshore::credentials::{Source, Surroundings, WebIdentity};
use serde_json::json;

use crate::google;
use crate::support::issuer::{Answer, Asked, Issuer, role_keys, until};
use crate::support::{eventually, scratch};
use crate::world::{ROLE, around, credentials, in_force, missing, role, stated};

/// How long everything holds that is issued here; services tell it in whole seconds.
const LIFETIME: Duration = Duration::from_secs(6);

/// A service whose credentials are called `number-1`, `number-2` and so on; `answer` writes each down.
pub async fn numbering(answer: impl Fn(&Asked, &str) -> Option<Answer> + Send + Sync + 'static) -> Issuer {
    let number = AtomicUsize::new(1);
    Issuer::start(move |asked| {
        let answer = answer(asked, &format!("number-{}", number.load(Ordering::SeqCst)));
        // What was only a step on the way to them has no number in it.
        if answer.as_ref().is_some_and(|(_, body)| body.contains("number-")) {
            number.fetch_add(1, Ordering::SeqCst);
        }
        answer.unwrap_or((404, String::new()))
    })
    .await
}

/// Keys as machines and containers tell them.
pub fn machine_keys(id: &str, lifetime: Duration) -> Answer {
    machine_keys_with([id, "secret", "token"], lifetime)
}

pub fn machine_keys_with([id, secret, token]: [&str; 3], lifetime: Duration) -> Answer {
    let keys = json!({"AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": until(lifetime)});
    (200, keys.to_string())
}

async fn lives(source: Source, around: &Surroundings, issuer: &Issuer) {
    let credentials = credentials(&source, around);

    // First use.
    let first_used = Instant::now();
    let name = source.name();
    assert_eq!(in_force(&source, &credentials).await, "number-1", "{name}");

    // Refresh: in time, and without anybody's waiting.
    let refreshed = eventually(name, LIFETIME, async || {
        let asked = Instant::now();
        let id = in_force(&source, &credentials).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{name}: {:?}", asked.elapsed());
        (id == "number-2").then(Instant::now)
    });
    assert!(refreshed.await - first_used < LIFETIME, "{name}");

    // Outage: what holds is used, and then it is told who has none, from where and why.
    issuer.is_down(true);
    let down = Instant::now();
    while down.elapsed() < LIFETIME / 2 {
        assert_eq!(in_force(&source, &credentials).await, "number-2", "{name}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(LIFETIME / 2 + Duration::from_secs(1)).await;
    let missing = missing(&credentials).await;
    assert_eq!((missing.profile.as_str(), missing.from, missing.is_passing), ("team-a", name, true));
    assert!(missing.reason.contains("503"), "{missing}");

    // Recovery.
    issuer.is_down(false);
    eventually(name, LIFETIME, async || credentials.ready(tokio::time::Instant::now()).await.ok()).await;
    assert_eq!(in_force(&source, &credentials).await, "number-3", "{name}");
}

// All at once, since each takes its time.
#[tokio::test]
async fn every_source_is_used_refreshed_in_time_used_up_in_an_outage_and_taken_up_again() {
    tokio::join!(
        an_instance_s(),
        a_container_s(),
        a_role_s_by_a_token(),
        a_role_s_by_keys(),
        a_google_service_account_s(),
        a_google_machine_s(),
        a_google_external_account_s()
    );
}

async fn an_instance_s() {
    let issuer = numbering(|asked, id| crate::instance::metadata_service(asked, || machine_keys(id, LIFETIME))).await;

    lives(Source::Instance, &around(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &issuer.url())]), &issuer).await;
}

async fn a_container_s() {
    let issuer = numbering(|_, id| Some(machine_keys(id, LIFETIME))).await;

    lives(Source::Instance, &around(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &issuer.url())]), &issuer).await;
}

async fn a_role_s_by_a_token() {
    let issuer = numbering(|_, id| Some(role_keys("AssumeRoleWithWebIdentity", [id, "secret", "token"], LIFETIME))).await;
    let folder = scratch("token");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "a.web.token\n").unwrap();
    let identity = WebIdentity {
        role_arn: Some(ROLE.to_owned()),
        token_file: Some(token_file),
        endpoint: Some(issuer.url()),
        ..WebIdentity::default()
    };

    lives(Source::WebIdentity(identity), &around(&[]), &issuer).await;
}

async fn a_role_s_by_keys() {
    let issuer = numbering(|_, id| Some(role_keys("AssumeRole", [id, "secret", "token"], LIFETIME))).await;
    let role = role(issuer.url(), stated("base", "secret"));

    lives(Source::AssumeRole(Box::new(role)), &around(&[]), &issuer).await;
}

async fn a_google_service_account_s() {
    let issuer = numbering(|_, token| Some(google::token(token, LIFETIME))).await;
    let file = google::Files::of(&issuer);

    lives(Source::GoogleServiceAccount { file: file.service_account.clone() }, &around(&[]), &issuer).await;
}

async fn a_google_machine_s() {
    let issuer = numbering(|_, token| Some(google::token(token, LIFETIME))).await;

    lives(Source::GoogleMetadata, &around(&[("GCE_METADATA_HOST", &issuer.address.to_string())]), &issuer).await;
}

async fn a_google_external_account_s() {
    let issuer = numbering(|asked, token| google::federation(asked, token, LIFETIME)).await;
    let files = google::Files::of(&issuer);

    lives(Source::GoogleExternalAccount { file: files.impersonating.clone() }, &around(&[]), &issuer).await;
}
