//! What is counted, as Prometheus reads it.

use http::{Request, StatusCode};

use crate::stand::{Stand, send};

async fn metrics(stand: &Stand) -> String {
    let answer = send(stand.admin, Request::get("/metrics").body("").unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[tokio::test]
async fn requests_and_bytes_are_counted_by_route_and_image() {
    let stand = Stand::new();
    let layer = stand.push("org/app", "hello world").await;
    stand.ask(&format!("GET /v2/org/app/blobs/{layer}")).await;
    stand.ask("GET /v2/org/app/manifests/absent").await;

    let metrics = metrics(&stand).await;

    for (series, expected) in [
        (r#"longshore_requests_total{profile="default",route="finish_upload",status="201"}"#, 1.0),
        (r#"longshore_requests_total{profile="default",route="get_blob",status="200"}"#, 1.0),
        (r#"longshore_requests_total{profile="default",route="get_manifest",status="404"}"#, 1.0),
        (r#"longshore_request_seconds_count{profile="default",route="get_blob"}"#, 1.0),
        (r#"longshore_image_bytes_total{profile="default",image="org/app",direction="received"}"#, 11.0),
        (r#"longshore_image_bytes_total{profile="default",image="org/app",direction="sent"}"#, 11.0),
    ] {
        assert_eq!(value(&metrics, series), Some(expected), "{series}\n{metrics}");
    }
}

#[tokio::test]
async fn a_name_that_nothing_is_read_from_or_written_to_is_no_series() {
    let stand = Stand::new();
    stand.ask("GET /v2/nobody/manifests/absent").await;
    stand.ask("GET /v2/nobody/tags/list").await;

    assert!(!metrics(&stand).await.contains("nobody"));
}

#[tokio::test]
async fn those_who_watch_and_clients_come_in_by_different_doors() {
    let stand = Stand::new();

    for (line, clients, admin) in [
        ("GET /metrics", StatusCode::NOT_FOUND, StatusCode::OK),
        ("GET /healthz", StatusCode::OK, StatusCode::OK),
        ("GET /readyz", StatusCode::OK, StatusCode::OK),
        ("GET /v2/", StatusCode::OK, StatusCode::NOT_FOUND),
        ("GET /v2/_catalog", StatusCode::OK, StatusCode::NOT_FOUND),
        ("GET /v2/app/tags/list", StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
        ("POST /v2/app/blobs/uploads/", StatusCode::ACCEPTED, StatusCode::NOT_FOUND),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = || Request::builder().method(method).uri(path).body("").unwrap();

        assert_eq!(send(stand.address, request()).await.status, clients, "{line}");
        assert_eq!(send(stand.admin, request()).await.status, admin, "{line}");
    }
    let rebound = Request::get("/metrics").header("host", "attacker.example").body("").unwrap();
    assert_eq!(send(stand.admin, rebound).await.status, StatusCode::MISDIRECTED_REQUEST);
}
