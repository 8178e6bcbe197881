//! Roles: what the token service is asked for, and what its refusals mean.

use std::time::Duration;

use longshore::credentials::{AssumeRole, Scope, Source, WebIdentity, session_policy};
use longshore::secrets::Secrets;
use tokio::time::Instant;

use crate::support::issuer::{Asked, Issuer, role_error, role_keys};
use crate::support::scratch;
use crate::world::{ROLE, around, credentials, keys, missing, role, stated};

const HOUR: Duration = Duration::from_hours(1);
/// Whose keys signed this.
fn signer(asked: &Asked) -> &str {
    let (_, rest) = asked.header("authorization").split_once("Credential=").unwrap();
    rest.split('/').next().unwrap()
}

#[tokio::test]
async fn a_role_is_assumed_with_all_that_is_stated() {
    let issuer = Issuer::start(|_| role_keys("AssumeRole", ["id", "secret", "token"], HOUR)).await;
    let policy = session_policy(&Scope { role_arn: ROLE, bucket: "cache", prefix: "team-a", kms_key: None, also: &[] });
    let source = AssumeRole {
        external_id: Some("x-{{secret:EXT}}".parse().unwrap()),
        session_name: Some("builds".to_owned()),
        duration: Some(Duration::from_mins(15)),
        policy: Some(policy.clone()),
        ..role(issuer.url(), stated("base", "base-secret"))
    };
    let mut around = around(&[]);
    around.secrets = Secrets::of([("EXT", "17")]);

    let keys = keys(&credentials(&Source::AssumeRole(Box::new(source)), &around)).await;

    assert_eq!(keys, ["id", "secret", "token"]);
    let [asked] = &issuer.asked()[..] else { panic!("{:?}", issuer.asked()) };
    assert_eq!(signer(asked), "base");
    for (field, value) in [
        ("Action", "AssumeRole"),
        ("RoleArn", ROLE),
        ("ExternalId", "x-17"),
        ("RoleSessionName", "builds"),
        ("DurationSeconds", "900"),
        ("Policy", policy.as_str()),
    ] {
        assert_eq!(asked.field(field), value, "{field}");
    }
}

#[tokio::test]
async fn what_is_not_stated_of_a_web_identity_comes_from_the_environment() {
    let issuer = Issuer::start(|_| role_keys("AssumeRoleWithWebIdentity", ["id", "secret", "token"], HOUR)).await;
    let folder = scratch("token");
    let file = folder.path().join("token");
    std::fs::write(&file, "a.web.token\n").unwrap();
    let around = around(&[
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", &issuer.url()),
        // Not to be tried.
        ("AWS_ACCESS_KEY_ID", "other"),
        ("AWS_SECRET_ACCESS_KEY", "other"),
    ]);

    let keys = keys(&credentials(&Source::WebIdentity(WebIdentity::default()), &around)).await;

    assert_eq!(keys, ["id", "secret", "token"]);
    let [asked] = &issuer.asked()[..] else { panic!("{:?}", issuer.asked()) };
    assert_eq!(asked.header("authorization"), "");
    for (field, value) in [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("RoleArn", ROLE),
        ("WebIdentityToken", "a.web.token"),
        ("RoleSessionName", "longshore-team-a"),
    ] {
        assert_eq!(asked.field(field), value, "{field}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason_and_lasts() {
    let issuer = Issuer::start(|_| role_error(403, "AccessDenied")).await;
    let source = Source::AssumeRole(Box::new(role(issuer.url(), stated("base", "base-secret"))));
    let credentials = credentials(&source, &around(&[]));

    let missing = missing(&credentials).await;

    assert_eq!(missing.to_string(), "assume-role: it answered 403 AccessDenied: detail");
    assert!(!missing.is_passing && !format!("{missing:?}").contains("base-secret"));
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_told_by_its_name_and_nothing_is_asked() {
    let issuer = Issuer::start(|_| role_keys("AssumeRole", ["id", "secret", "token"], HOUR)).await;
    let external_id = Some("{{secret:EXT}}".parse().unwrap());
    let with_id = AssumeRole { external_id, ..role(issuer.url(), stated("base", "base-secret")) };
    let base = Source::Static {
        access_key_id: "{{secret:BASE}}".parse().unwrap(),
        secret_access_key: "{{secret:BASE}}".parse().unwrap(),
        session_token: None,
    };
    for (source, name) in [(with_id, "EXT"), (role(issuer.url(), base), "BASE")] {
        let missing = missing(&credentials(&Source::AssumeRole(Box::new(source)), &around(&[]))).await;

        assert!(missing.reason.contains(&format!("secret {name} is in none of the sources")), "{missing}");
        assert!(!missing.is_passing);
    }
    assert!(issuer.asked().is_empty());
}

// The base keys are in a file, so they can be rotated under the role.
#[tokio::test]
async fn base_keys_that_are_refused_are_read_once_more() {
    let issuer = Issuer::start(|asked| match signer(asked) {
        "new" => role_keys("AssumeRole", ["id-2", "secret", "token"], HOUR),
        _ if asked.body.is_empty() => role_error(400, "ValidationError"),
        _ => role_error(403, "InvalidClientTokenId"),
    })
    .await;
    let folder = scratch("base");
    let file = folder.path().join("credentials");
    let write = |id: &str| {
        std::fs::write(&file, format!("[a]\naws_access_key_id = {id}\naws_secret_access_key = secret\n")).unwrap();
    };
    write("old");
    let base = Source::File { path: Some(file.clone()), section: "a".to_owned() };
    let credentials = credentials(&Source::AssumeRole(Box::new(role(issuer.url(), base))), &around(&[]));
    let refused = missing(&credentials).await;
    assert!(refused.reason.contains("InvalidClientTokenId"), "{refused}");

    write("new");
    // The file was read for a refusal a moment ago, and is not for another one so soon.
    tokio::time::sleep(Duration::from_secs(4)).await;
    credentials.ready(Instant::now() + HOUR).await.unwrap();

    assert_eq!(keys(&credentials).await[0], "id-2");
}
