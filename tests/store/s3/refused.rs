//! What a bucket refuses, and who must do something about it.

use std::time::Duration;

use http::Response;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use longshore::credentials::Source;
use longshore::secrets::Template;
use longshore::store::{Misconfiguration, ObjectStore, S3Settings, StoreError};
use tokio::net::TcpListener;

use crate::bench::{BUCKET, MIB, PATIENCE, address_of, keys, minio, s3_store, settings, settings_of};
use crate::support::minio::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::support::s3_server::S3Server;

async fn probe(server: S3Server, change: impl FnOnce(&mut S3Settings)) -> Result<(), StoreError> {
    let mut settings = settings_of(server).await;
    change(&mut settings);
    s3_store(settings, 64 * MIB).await.probe(PATIENCE).await
}

async fn mistake(server: S3Server, change: impl FnOnce(&mut S3Settings)) -> Misconfiguration {
    let probed = probe(server, change).await;
    let Err(StoreError::Misconfigured(mistake)) = probed else { panic!("{server:?}: {probed:?}") };
    mistake
}

#[tokio::test]
async fn a_bucket_that_can_be_used_is_found_to_be_so() {
    for server in S3Server::ALL {
        assert!(probe(server, |_| {}).await.is_ok(), "{server:?}");
        assert!(probe(server, |settings| settings.prefix.clear()).await.is_ok(), "{server:?}");
    }
}

#[tokio::test]
async fn each_mistake_is_told_by_its_name() {
    for server in S3Server::ALL {
        let endpoint = format!("http://{}", address_of(server).await);

        assert_eq!(
            mistake(server, |settings| settings.bucket = "nowhere".to_owned()).await,
            Misconfiguration::NoSuchBucket { bucket: "nowhere".to_owned(), endpoint: endpoint.clone() }
        );
        assert_eq!(
            mistake(server, |settings| settings.credentials = keys("nobody", SECRET_ACCESS_KEY)).await,
            Misconfiguration::UnknownAccessKey { access_key_id: "nobody".to_owned(), endpoint }
        );
        assert_eq!(
            mistake(server, |settings| settings.credentials = keys(ACCESS_KEY_ID, "another-secret")).await,
            Misconfiguration::WrongSecret { access_key_id: ACCESS_KEY_ID.to_owned() }
        );
    }
}

#[tokio::test]
async fn a_missing_bucket_is_told_by_every_call_whose_answer_has_a_body() {
    for server in S3Server::ALL {
        let mut settings = settings_of(server).await;
        settings.bucket = "nowhere".to_owned();
        let store = s3_store(settings, 64 * MIB).await;
        let key = "it".parse().unwrap();

        for (call, outcome) in [
            ("get", store.get(&key, None, PATIENCE).await.map(drop)),
            ("put", store.put(&key, Bytes::from("hello"), "text/plain", PATIENCE).await),
            ("list", store.list("", None, PATIENCE).await.map(drop)),
        ] {
            let is_told = matches!(&outcome, Err(StoreError::Misconfigured(Misconfiguration::NoSuchBucket { .. })));
            assert!(is_told, "{call} of {server:?}: {outcome:?}");
        }
    }
}

/// Answers every request with `status` and the error `code`, on a port of its own.
pub async fn refusing(status: u16, code: &'static str) -> S3Settings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(move |_| async move {
                let error = format!("<Error><Code>{code}</Code><Message>detail</Message></Error>");
                let answer = Response::builder().status(status).header("x-amz-bucket-region", "eu-central-1");
                answer.header("content-type", "application/xml").body(Full::new(Bytes::from(error)))
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    settings(address)
}

#[tokio::test]
async fn what_a_bucket_says_is_a_mistake_a_refusal_or_an_outage() {
    let elsewhere = Misconfiguration::WrongRegion {
        bucket: BUCKET.to_owned(),
        region: REGION.to_owned(),
        expected: Some("eu-central-1".to_owned()),
    };
    for (status, code, expected) in [
        (403, "AccessDenied", "storage refused access; its keys lack s3:GetObject".to_owned()),
        (403, "AllAccessDisabled", "storage refused access".to_owned()),
        (401, "", "storage refused access".to_owned()),
        (301, "PermanentRedirect", elsewhere.to_string()),
        (400, "AuthorizationHeaderMalformed", elsewhere.to_string()),
        (403, "RequestTimeTooSkewed", "storage unavailable".to_owned()),
        (400, "ExpiredToken", "storage unavailable".to_owned()),
        (503, "SlowDown", "storage unavailable".to_owned()),
        (429, "TooManyRequests", "storage unavailable".to_owned()),
        (500, "InternalError", "storage unavailable".to_owned()),
        (502, "", "storage unavailable".to_owned()),
        (418, "Teapot", "storage unavailable".to_owned()),
        (507, "XMinioStorageFull", "storage is full".to_owned()),
    ] {
        let store = s3_store(refusing(status, code).await, 64 * MIB).await;

        let probed = store.probe(Duration::from_millis(100)).await;

        let told = match probed {
            Err(StoreError::Misconfigured(mistake)) => mistake.to_string(),
            Err(error) => error.to_string(),
            Ok(()) => "nothing".to_owned(),
        };
        assert_eq!(told, expected, "{status} {code}");
    }
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let mut settings = settings(minio().await.address);
    settings.credentials = Source::Static {
        access_key_id: Template::of_text(ACCESS_KEY_ID),
        secret_access_key: Template::of_text("a-very-secret"),
        session_token: Some(Template::of_text("a-secret-token")),
    };
    let shown = format!("{settings:?}");
    let store = s3_store(settings, 64 * MIB).await;
    let error = store.probe(PATIENCE).await.unwrap_err();

    for text in [shown, format!("{store:?}"), format!("{error:?}"), longshore_chain(&error)] {
        assert!(!text.contains("secret-token") && !text.contains("very-secret"), "{text}");
    }
}

fn longshore_chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
