//! Starting: what is told, and what must be mended first.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use longshore::oci::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::profiles::{Stage, push};
use crate::support::client;
use crate::support::door::Door;
use crate::support::longshore::Launch;
use crate::support::minio::{self, Minio};
use crate::support::{ports, scratch};

/// How long a start that must fail may take to say so.
const SOON: Duration = Duration::from_secs(10);

/// Starts what cannot start; what it says. It must end with status 2.
async fn refused(launch: Launch) -> String {
    let mut longshore = launch.spawn();
    let status = longshore.ended(SOON).await;
    let log = longshore.log_to_end().await;
    assert_eq!(status.code(), Some(2), "{log}");
    log
}

/// A server that answers every request with `response`.
async fn answering(response: &'static str) -> SocketAddrV4 {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = ports::v4(listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 8192];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    address
}

/// What a store says to who is nobody to it.
const UNKNOWN_KEY: &str = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 51\r\nConnection: close\r\n\r\n\
    <Error><Code>InvalidAccessKeyId</Code></Error>     ";

fn on_endpoint(address: SocketAddrV4) -> Launch {
    Launch::on("s3://bucket/prefix")
        .env("LONGSHORE_ENDPOINT", &format!("http://{address}"))
        .env("LONGSHORE_ACCESS_KEY_ID", "id")
        .env("LONGSHORE_SECRET_ACCESS_KEY", "MARKED-SECRET")
}

#[tokio::test]
async fn the_first_lines_say_where_it_listens_where_bytes_go_and_what_to_paste() {
    let folder = scratch("start");
    let launch = Launch::on_folder(folder.path());

    let longshore = launch.start().await;

    longshore.line_with("--import-cache", SOON).await;
    let log = longshore.log();
    let name = format!("type=registry,ref=localhost:{}/ghcr.io/org/app:cache", launch.address.port());
    for part in [
        format!("listening on {}", launch.address),
        format!("storing in folder {}", folder.path().display()),
        "anonymous clients may read and write".to_owned(),
        format!("--cache-to {name},mode=max,ignore-error=true"),
        format!("--cache-from {name}"),
        format!("--export-cache {name},mode=max,ignore-error=true"),
        format!("--import-cache {name}"),
    ] {
        assert!(log.contains(&part), "{part}\nis not in\n{log}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let folder = scratch("start");

    let log = refused(Launch::bare(&[path(folder.path()), "--listen", &address])).await;

    assert!(log.contains(&format!("{address} is taken")) && log.contains("--listen"), "{log}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let folder = scratch("start");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("it is ours");

    let log = refused(Launch::on_folder(&file.join("below"))).await;

    assert!(log.contains("cannot write in folder") && log.contains("file/below"), "{log}");
}

#[tokio::test]
async fn a_bucket_that_is_set_up_wrong_is_told_by_what_is_wrong() {
    let minio = Minio::start().await;
    minio.make_bucket("bucket");
    let door = Door::open(minio.address);
    let launch = |name: &str, value: &str| Launch::on_bucket(&door, "bucket", "team").env(name, value);

    for (launch, told) in [
        (Launch::on_bucket(&door, "nowhere", "team"), "there is no bucket \"nowhere\""),
        (launch("LONGSHORE_ACCESS_KEY_ID", "stranger"), "knows no access key id \"stranger\""),
        (launch("LONGSHORE_SECRET_ACCESS_KEY", "MARKED-SECRET"), "does not belong to access key id"),
    ] {
        let log = refused(launch).await;

        assert!(log.contains(told) && log.contains("correct `") || log.contains("create it"), "{told}\nis not in\n{log}");
        assert!(!log.contains("MARKED-SECRET") && !log.contains(minio::SECRET_ACCESS_KEY), "{log}");
    }
}

#[tokio::test]
async fn a_profile_whose_store_refuses_it_keeps_no_other_from_starting() {
    let (mut stage, stranger) = (Stage::new(), answering(UNKNOWN_KEY).await);
    stage.launch = stage.launch.env("LONGSHORE_SECRET_K", "of-no-store-at-all");
    let refused = |name: &str| {
        format!(
            "[profiles.{name}]\nimages = [\"{name}/*\"]\nstore = \"s3://cache\"\nendpoint = \"http://{stranger}\"\n\
             access_key_id = \"id\"\nsecret_access_key = \"{{{{secret:K}}}}\"\n"
        )
    };
    stage.write("config.toml", &(refused("b") + "[profiles.a]\nimages = [\"a/*\"]\nstore = \"$/a\"\n"));

    let mut longshore = stage.launch.start().await;

    longshore.line_with("profile b: http://", SOON).await;
    assert_eq!(push(&longshore, "a/x").await, StatusCode::CREATED);
    let refusal = client::ask(longshore.address, "GET", "/v2/b/x/tags/list").await;
    assert_eq!(refusal.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(String::from_utf8_lossy(&refusal.body).contains(r#"profile \"b\": storage is misconfigured"#), "{refusal:?}");
    longshore.line_with("profile=\"b\" repository=b/x", SOON).await;
    longshore.kill().await;
    stage.write("config.toml", &(refused("b") + &refused("c")));
    let log = self::refused(stage.launch.clone()).await;
    assert!(log.contains("profile b: http://") && log.contains("profile c: http://"), "{log}");
}

#[tokio::test]
async fn a_region_is_corrected_and_warned_of_where_the_store_names_the_right_one() {
    let minio = Minio::start().await;
    minio.make_bucket("bucket");
    let launch = Launch::on_bucket_at(minio.address, "bucket", "team");

    let longshore = launch.env("LONGSHORE_REGION", "eu-central-1").start().await;

    let warning = longshore.line_with("is in another region", SOON).await;
    assert!(warning.contains("eu-central-1") && warning.contains(minio::REGION), "{warning}");
}

#[tokio::test]
async fn a_wrong_region_is_a_mistake_where_the_store_names_none_or_one_that_does_not_help() {
    for (header, told) in [("", "is not in region \"us-east-1\""), ("x-amz-bucket-region: eu-west-1\r\n", "but in \"eu-west-1\"")]
    {
        let answer = format!("HTTP/1.1 301 Moved Permanently\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n");
        let address = answering(answer.leak()).await;

        let log = refused(on_endpoint(address)).await;

        assert!(log.contains(told), "{log}");
    }
}

#[tokio::test]
async fn a_store_that_may_come_right_is_warned_of_and_the_server_starts() {
    let denied = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: 65\r\nConnection: close\r\n\r\n\
        <Error><Code>AccessDenied</Code><Message>no</Message></Error>    ";
    let failing = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    for (address, warning) in [
        (answering(denied).await, "the keys lack a permission"),
        (answering(failing).await, "starting all the same"),
        (ports::free_address(), "starting all the same"),
        (ports::v4(silent.local_addr().expect("it is bound")), "starting all the same"),
    ] {
        let longshore = on_endpoint(address).start().await;

        longshore.line_with(warning, SOON).await;
        assert_eq!(client::ask(longshore.address, "GET", "/v2/").await.status, 200);
        assert!(!longshore.log().contains("MARKED-SECRET"));
    }
}

#[tokio::test]
async fn a_bucket_without_a_word_on_who_may_is_refused_with_the_reason() {
    let log = refused(Launch::bare(&["s3://bucket"]).env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret")).await;

    assert!(log.contains("access.anonymous") && log.contains("RUN"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let folder = scratch("start");
    let mut longshore = Launch::on_folder(folder.path()).start().await;
    // A push without its manifest keeps a server that was told to stop running.
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    client::push_blob(longshore.address, "app", digest, "hello".into()).await;

    longshore.terminate();
    longshore.line_with("stopping once", SOON).await;
    longshore.terminate();

    assert_eq!(longshore.ended(SOON).await.code(), Some(1));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[tokio::test]
async fn no_more_connections_are_served_at_once_and_no_more_images_counted_than_stated() {
    let (folder, admin) = (scratch("limits"), ports::free_address());
    let launch = Launch::on_folder(folder.path()).arg("--admin-listen").arg(&admin.to_string());
    let longshore = launch.arg("--max-connections").arg("2").arg("--metrics-images").arg("0").start().await;
    client::push_blob(longshore.address, "app", &Digest::sha256(b"hello").to_string(), "hello".into()).await;

    let metrics = client::ask(admin, "GET", "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let idle = [TcpStream::connect(longshore.address).await.unwrap(), TcpStream::connect(longshore.address).await.unwrap()];
    let waiting = client::ask(longshore.address, "GET", "/healthz");
    let mut waiting = std::pin::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
    drop(idle);

    assert!(early.is_err() && waiting.await.status == StatusCode::OK);
    assert!(metrics.contains("longshore_image_bytes_total{") && !metrics.contains("image=\"app\""), "{metrics}");
}
