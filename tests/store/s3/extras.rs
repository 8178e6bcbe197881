//! Tags and ACLs that the keys may not give: what is written goes without them.

use std::time::Duration;

use longshore::store::{ObjectStore, S3Settings, StoreError};

use super::stand_in::{Asked, StandIn, error};
use crate::bench::{MIB, PATIENCE, s3_store};

const TAGS: &str = "x-amz-tagging";
const ACL: &str = "x-amz-acl";

/// A bucket that refuses whatever has one of `headers`, and settings that ask for tags and an ACL.
async fn refusing(headers: &'static [&'static str]) -> (StandIn, S3Settings) {
    let stand_in = StandIn::saying(move |asked: &Asked| {
        headers.iter().any(|name| asked.header(name).is_some()).then(|| error(403, "AccessDenied"))
    })
    .await;
    let mut settings = stand_in.settings();
    settings.objects.tags = vec![("team".to_owned(), "ci".to_owned())];
    settings.objects.acl = Some("private".to_owned());
    (stand_in, settings)
}

#[tokio::test]
async fn what_is_refused_is_left_out_and_the_rest_is_not() {
    for (refused, has_tags, has_acl, requests) in
        [(&[][..], true, true, 1), (&[TAGS], false, true, 2), (&[ACL], true, false, 3), (&[TAGS, ACL], false, false, 4)]
    {
        let (stand_in, settings) = refusing(refused).await;
        let store = s3_store(settings, MIB).await;
        let key = "it".parse().unwrap();

        for written in 1..=2 {
            store.put(&key, "hello".into(), "text/plain", PATIENCE).await.unwrap();

            let asked = stand_in.asked();
            let last = asked.last().unwrap();
            assert_eq!((last.header(TAGS).is_some(), last.header(ACL).is_some()), (has_tags, has_acl), "{refused:?}");
            // From the second on it is known.
            assert_eq!(asked.len(), requests + written - 1, "{refused:?}");
        }
    }
}

#[tokio::test]
async fn every_way_to_write_does_without_them() {
    let (stand_in, settings) = refusing(&[TAGS, ACL]).await;
    let (key, other) = ("it".parse().unwrap(), "other".parse().unwrap());

    let mut upload = s3_store(settings.clone(), 64 * MIB).await.upload(&key, Some(20 * MIB as u64), PATIENCE).await.unwrap();
    upload.write(vec![7; 20 * MIB].into()).await.unwrap();
    upload.finish(None).await.unwrap();
    assert!(s3_store(settings.clone(), MIB).await.copy(&key, "\"etag\"", &other, PATIENCE).await.unwrap());
    // What it says of itself is not enough to be made young.
    let touched = s3_store(settings, MIB).await.touch(&key, Duration::from_millis(100)).await;

    assert!(!matches!(touched, Err(StoreError::Denied(_))), "{touched:?}");
    let last = |operation| stand_in.asked().into_iter().rfind(|asked| asked.operation == operation).unwrap();
    for operation in ["CreateMultipartUpload", "CopyObject"] {
        let asked = last(operation);
        let directive = asked.header("x-amz-tagging-directive");
        assert!(asked.header(TAGS).is_none() && asked.header(ACL).is_none() && directive.is_none(), "{asked:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_refused_without_them_too_is_refused_for_what_it_was_first() {
    let stand_in = StandIn::saying(|_| Some(error(403, "AccessDenied"))).await;
    let mut settings = stand_in.settings();
    settings.objects.acl = Some("private".to_owned());

    let outcome = s3_store(settings, MIB).await.put(&"it".parse().unwrap(), "hello".into(), "text/plain", PATIENCE).await;

    assert_eq!(outcome.unwrap_err().to_string(), "storage refused access; its keys lack s3:PutObject");
    assert_eq!(stand_in.operations(), ["PutObject", "PutObject"]);
}
