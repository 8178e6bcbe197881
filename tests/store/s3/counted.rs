//! What of a bucket is counted for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use longshore::credentials::Surroundings;
use longshore::metrics::Metrics;
use longshore::store::{MemoryBudget, S3Store};

use crate::bench::{Bench, MIB, content, minio, settings, write};
use crate::support::door::{Door, Mode};

#[tokio::test]
async fn requests_are_counted_by_operation_and_answer_and_a_store_that_is_down_is_told() {
    let door = Door::open(minio().await.address);
    let (metrics, memory) = (Metrics::new(0), Arc::new(MemoryBudget::new(64 * MIB as u64)));
    let store =
        S3Store::new(settings(door.address), &Surroundings::default(), memory.share(), metrics.profile("p")).await.unwrap();
    let bench = Bench::over(store);

    let mut upload = bench.upload("large", Some(17 * MIB)).await;
    write(&mut *upload, content(17 * MIB)).await.unwrap();
    upload.finish(None).await.unwrap();
    bench.put("it", "hello").await;
    assert!(bench.head("absent").await.is_none());

    for series in [
        r#"longshore_store_requests_total{profile="p",operation="UploadPart",result="200"} 3"#,
        r#"longshore_store_requests_total{profile="p",operation="CreateMultipartUpload",result="200"} 1"#,
        r#"longshore_store_requests_total{profile="p",operation="PutObject",result="200"} 1"#,
        r#"longshore_store_requests_total{profile="p",operation="HeadObject",result="404"} 1"#,
        r#"longshore_store_request_seconds_count{profile="p",operation="UploadPart"} 3"#,
        r#"longshore_store_up{profile="p"} 1"#,
    ] {
        assert!(metrics.to_text().lines().any(|line| line == series), "{series}\n{}", metrics.to_text());
    }

    door.become_(Mode::Refuse).await;
    let (key, patience) = (bench.key("it"), Duration::from_millis(2500));
    let asked = [(); 4].map(|()| bench.store.head(&key, patience));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_err));

    assert!(metrics.to_text().contains(r#"longshore_store_up{profile="p"} 0"#), "{}", metrics.to_text());
    assert!(metrics.to_text().contains(r#"operation="HeadObject",result="none""#), "{}", metrics.to_text());
}
