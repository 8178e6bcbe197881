//! What Amazon's machines and containers give us, and what they want to hear first.

use std::time::{Duration, Instant};

use longshore::credentials::Source;

use crate::life::machine_keys;
use crate::support::issuer::{Answer, Asked, Issuer};
use crate::support::scratch;
use crate::world::{around, credentials, keys, missing};

const HOUR: Duration = Duration::from_hours(1);

/// What an instance's metadata service says; `keys` are those of its one role. It wants the session that it opened.
pub fn metadata_service(asked: &Asked, keys: impl FnOnce() -> Answer) -> Option<Answer> {
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    let has_session = asked.header("x-aws-ec2-metadata-token") == "a-session";
    match (asked.method.as_str(), asked.path.as_str()) {
        ("PUT", "/latest/api/token") if !asked.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() => {
            Some((200, "a-session".to_owned()))
        }
        ("GET", _) if !has_session => Some((401, String::new())),
        ("GET", ROLES) => Some((200, "builders".to_owned())),
        ("GET", path) if path.strip_prefix(ROLES) == Some("builders") => Some(keys()),
        _ => None,
    }
}

#[tokio::test]
async fn an_instance_is_asked_in_a_session_and_not_through_the_container_s_door() {
    let issuer =
        Issuer::start(|asked| metadata_service(asked, || machine_keys("id", HOUR)).unwrap_or((404, String::new()))).await;
    let around = around(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &issuer.url())]);

    assert_eq!(keys(&credentials(&Source::Instance, &around)).await, ["id", "secret", "token"]);

    let methods: Vec<_> = issuer.asked().iter().map(|asked| asked.method.to_string()).collect();
    assert_eq!(methods, ["PUT", "GET", "GET"]);
}

#[tokio::test]
async fn an_instance_without_a_role_is_told_as_that() {
    let issuer = Issuer::start(|asked| match asked.method.as_str() {
        "PUT" => (200, "a-session".to_owned()),
        _ => (404, String::new()),
    })
    .await;
    let around = around(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &issuer.url())]);

    let missing = missing(&credentials(&Source::Instance, &around)).await;

    assert_eq!(missing.to_string(), "instance: the instance has no role");
    assert!(!missing.is_passing);
}

#[tokio::test]
async fn a_machine_that_does_not_answer_is_waited_for_two_seconds() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let url = format!("http://{address}");
    for (source, variables) in [
        (Source::Instance, [("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())]),
        (Source::Instance, [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str())]),
        (Source::GoogleMetadata, [("GCE_METADATA_HOST", address.as_str())]),
    ] {
        let began = Instant::now();

        let missing = missing(&credentials(&source, &around(&variables))).await;

        assert!((2..4).contains(&began.elapsed().as_secs()), "{missing}: {:?}", began.elapsed());
        assert!(missing.is_passing && missing.reason.contains("within 2s"), "{missing}");
    }
}

#[tokio::test]
async fn a_machine_is_not_asked_where_that_is_switched_off() {
    let issuer = Issuer::start(|_| machine_keys("id", HOUR)).await;
    let around = around(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &issuer.url()), ("AWS_EC2_METADATA_DISABLED", "true")]);

    let missing = missing(&credentials(&Source::Instance, &around)).await;

    assert!(missing.reason.contains("AWS_EC2_METADATA_DISABLED"), "{missing}");
    assert!(issuer.asked().is_empty());
}

#[tokio::test]
async fn a_container_shows_its_token_which_is_read_each_time() {
    let issuer = Issuer::start(|asked| machine_keys(asked.header("authorization"), Duration::from_secs(2))).await;
    let folder = scratch("token");
    let file = folder.path().join("token");
    let path = file.to_str().unwrap();
    let address = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*issuer.url());
    let of_file = credentials(&Source::Instance, &around(&[address, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path)]));
    let of_variable = credentials(&Source::Instance, &around(&[address, ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "stated")]));

    assert_eq!(keys(&of_variable).await[0], "stated");
    std::fs::write(&file, "one\n").unwrap();
    assert_eq!(keys(&of_file).await[0], "one");
    std::fs::write(&file, "two").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(keys(&of_file).await[0], "two");
}
