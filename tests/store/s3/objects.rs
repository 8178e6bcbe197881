//! What a bucket is asked for every object, as it goes over the wire.

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore::credentials::Surroundings;
use longshore::metrics::ProfileMetrics;
use longshore::store::{MemoryBudget, Misconfiguration, ObjectStore, S3Encryption, S3Objects, S3Settings, S3Store};

use super::stand_in::{Asked, StandIn};
use crate::bench::{MIB, PATIENCE, content, s3_store};

const ALL: &[&str] = &[
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "GetObject",
    "HeadObject",
    "ListObjectsV2",
    "PutObject",
    "UploadPart",
];
const WRITES: &[&str] = &["CopyObject", "CreateMultipartUpload", "PutObject"];
const READS_AND_WRITES: &[&str] = &["CopyObject", "CreateMultipartUpload", "GetObject", "HeadObject", "PutObject", "UploadPart"];

/// Everything that was asked when each call was made once, of objects as in `objects`.
async fn asked(objects: S3Objects) -> Vec<Asked> {
    let stand_in = StandIn::saying(|_| None).await;
    let store = s3_store(S3Settings { objects, ..stand_in.settings() }, 64 * MIB).await;
    let key = "it".parse().unwrap();
    store.head(&key, PATIENCE).await.unwrap();
    store.get(&key, None, PATIENCE).await.unwrap();
    store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();
    store.copy(&key, "\"etag\"", &"other".parse().unwrap(), PATIENCE).await.unwrap();
    store.delete(&key, PATIENCE).await.unwrap();
    store.list("", None, PATIENCE).await.unwrap();
    for ends_well in [true, false] {
        let mut upload = store.upload(&key, None, PATIENCE).await.unwrap();
        upload.write(content(9 * MIB)).await.unwrap();
        if ends_well { drop(upload.finish(None).await.unwrap()) } else { upload.abort().await }
    }
    stand_in.asked()
}

#[tokio::test]
async fn each_header_is_on_the_requests_that_take_it_and_signed() {
    let customer = S3Encryption::Customer(vec![7; 32].into());
    for (objects, header, value, operations) in [
        (
            S3Objects { encryption: Some(S3Encryption::Own), ..S3Objects::default() },
            "x-amz-server-side-encryption",
            "AES256",
            WRITES,
        ),
        (
            S3Objects { encryption: Some(S3Encryption::Kms(None)), ..S3Objects::default() },
            "x-amz-server-side-encryption",
            "aws:kms",
            WRITES,
        ),
        (
            S3Objects { encryption: Some(S3Encryption::Kms(Some("alias/cache".to_owned()))), ..S3Objects::default() },
            "x-amz-server-side-encryption-aws-kms-key-id",
            "alias/cache",
            WRITES,
        ),
        (
            S3Objects { encryption: Some(customer.clone()), ..S3Objects::default() },
            "x-amz-server-side-encryption-customer-key",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            READS_AND_WRITES,
        ),
        (
            S3Objects { encryption: Some(customer.clone()), ..S3Objects::default() },
            "x-amz-server-side-encryption-customer-key-md5",
            "y4HAEFCYWuvAXWFTtA1Qpg==",
            READS_AND_WRITES,
        ),
        (
            S3Objects { encryption: Some(customer.clone()), ..S3Objects::default() },
            "x-amz-server-side-encryption-customer-algorithm",
            "AES256",
            READS_AND_WRITES,
        ),
        (
            S3Objects { encryption: Some(customer), ..S3Objects::default() },
            "x-amz-copy-source-server-side-encryption-customer-key",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            &["CopyObject"],
        ),
        (
            S3Objects { storage_class: Some("STANDARD_IA".to_owned()), ..S3Objects::default() },
            "x-amz-storage-class",
            "STANDARD_IA",
            WRITES,
        ),
        (S3Objects { acl: Some("private".to_owned()), ..S3Objects::default() }, "x-amz-acl", "private", WRITES),
        (
            S3Objects {
                tags: vec![("team".to_owned(), "ci & co".to_owned()), ("a".to_owned(), String::new())],
                ..S3Objects::default()
            },
            "x-amz-tagging",
            "team=ci%20%26%20co&a=",
            WRITES,
        ),
        (S3Objects { requester_pays: true, ..S3Objects::default() }, "x-amz-request-payer", "requester", ALL),
        (S3Objects::default(), "x-amz-acl", "", &[]),
    ] {
        let asked = asked(objects).await;

        let with: Vec<&Asked> = asked.iter().filter(|asked| asked.header(header).is_some()).collect();
        let found: BTreeSet<_> = with.iter().map(|asked| asked.operation).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), operations, "{header}");
        for asked in with {
            assert_eq!(asked.header(header), Some(value), "{header}");
            let signed = asked.header("authorization").unwrap().split("SignedHeaders=").nth(1).unwrap();
            assert!(signed.split([';', ',']).any(|name| name == header), "{header} is not signed: {signed}");
        }
    }
}

#[tokio::test]
async fn a_customer_key_is_never_shown() {
    let encryption = Some(S3Encryption::Customer(b"MARKMARKMARKMARKMARKMARKMARKMARK".to_vec().into()));
    let stand_in = StandIn::saying(|_| None).await;
    let settings = S3Settings { objects: S3Objects { encryption, ..S3Objects::default() }, ..stand_in.settings() };

    let shown = format!("{settings:?} {:?}", s3_store(settings.clone(), MIB).await);

    for part in ["MARK", "TUFSS", "77, 65, 82, 75"] {
        assert!(!shown.contains(part), "{shown}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_stated_is_gone_through() {
    let proxy = StandIn::saying(|_| None).await;
    let proxied = Some(format!("http://{}", proxy.address));
    let endpoint = Some("http://objects.example:9000".to_owned());
    let store = s3_store(S3Settings { endpoint, proxy: proxied, ..proxy.settings() }, MIB).await;

    store.put(&"it".parse().unwrap(), "hello".into(), "text/plain", PATIENCE).await.unwrap();

    let target = &proxy.asked()[0].target;
    assert!(target.starts_with("http://objects.example:9000/contract/"), "{target}");
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_a_mistake_told_at_once() {
    let stand_in = StandIn::saying(|_| None).await;
    let folder = crate::support::scratch("ca");
    for (name, text, reason) in [
        ("missing", None, "No such file"),
        ("empty", Some(""), "it has no certificate in PEM"),
        ("cut", Some("-----BEGIN CERTIFICATE-----\nMIIB"), "section end"),
        ("nonsense", Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ""),
    ] {
        let path = folder.path().join(name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let settings = S3Settings { ca_bundle: Some(path), ..stand_in.settings() };

        let opened =
            S3Store::new(settings, &Surroundings::default(), Arc::new(MemoryBudget::new(1)).share(), ProfileMetrics::default())
                .await;

        let Err(mistake @ Misconfiguration::CaBundle { .. }) = opened else { panic!("{name}: {opened:?}") };
        assert!(mistake.to_string().contains(reason) && mistake.to_string().contains("correct `ca_bundle`"), "{mistake}");
    }
}
