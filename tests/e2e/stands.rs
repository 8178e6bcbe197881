//! The stage itself: were these to fail, no other test here would mean anything.

use std::time::Duration;

use bytes::Bytes;

use crate::stage::{cold, export, exporter, import, result_of, run};
use crate::support::door::{Action, Door, Mode, S3Operation};
use crate::support::marks::{Marks, marked};
use crate::support::minio::{ACCESS_KEY_ID, Minio, SECRET_ACCESS_KEY};
use crate::support::project::Project;
use crate::support::rclone::Rclone;
use crate::support::{client, scratch};

#[test]
fn without_a_cache_two_daemons_make_different_bytes() {
    run(async {
        let project = Project::new();

        let first = result_of(exporter().await, &project, |build| build).await;
        let second = result_of(cold().await, &project, |build| build).await;

        assert_eq!(first.file("source"), second.file("source"));
        assert_ne!(first.file("layer-0"), second.file("layer-0"));
        assert_ne!(first.file("made-from-source"), second.file("made-from-source"));
    });
}

#[test]
fn with_a_cache_two_daemons_make_the_same_bytes() {
    run(async {
        let (project, cache) = (Project::new(), scratch("cache"));
        let cache = cache.path().display();

        let first = export(&project, &format!("type=local,mode=max,dest={cache}")).await;
        let second = import(&project, &format!("type=local,src={cache}")).await;

        assert_eq!(first, second);
    });
}

#[test]
fn a_door_sees_what_passes_and_can_be_shut_and_opened() {
    run(async {
        let minio = Minio::start().await;
        let door = Door::open(minio.address);
        let through = Rclone::new(door.address, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        let ready = || http::Request::get("/minio/health/ready").body(Bytes::new()).unwrap();

        assert!(through.make_bucket("first"));
        assert!(minio.rclone().list("first").is_empty());
        assert!(through.list("first").is_empty());
        assert_eq!(door.seen_operations(S3Operation::ListObjectsV2).len(), 1);

        door.become_(Mode::Refuse).await;
        let refused = tokio::net::TcpStream::connect(door.address).await.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(std::io::ErrorKind::ConnectionRefused));

        door.become_(Mode::BlackHole).await;
        let answer = tokio::time::timeout(Duration::from_millis(300), client::try_send(door.address, ready())).await;
        assert!(answer.is_err(), "a black hole answered: {answer:?}");

        door.become_(Mode::Open).await;
        assert!(through.list("first").is_empty());

        door.forget();
        let trip = door.trip(2, Action::Become(Mode::Refuse), |seen| seen.path.starts_with("/minio"));
        assert!(client::try_send(door.address, ready()).await.is_some());
        assert!(!trip.has_sprung());
        assert!(client::try_send(door.address, ready()).await.is_none());
        trip.sprung(Duration::from_secs(5)).await;
        assert_eq!(door.seen().iter().map(|seen| seen.status().is_some()).collect::<Vec<_>>(), [true, false]);
        door.become_(Mode::Open).await;

        let trip = door.trip(1, Action::Hold, |_| true);
        let held = tokio::spawn(client::try_send(door.address, ready()));
        trip.sprung(Duration::from_secs(5)).await;
        assert!(!held.is_finished());
        trip.release();
        assert!(held.await.unwrap().is_some_and(|answer| answer.status.is_success()));
    });
}

#[test]
fn a_secret_is_found_in_every_form() {
    let (secret, mut marks) = (r#"a+b/c"d\é=, longer"#, Marks::default());
    marks.add("it", secret);
    marks.add("another", &marked());
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let percent = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();

    for form in [
        secret.to_owned(),
        format!("{secret:?}"),
        json(secret),
        json(&json(secret)),
        percent(secret),
        percent(secret).to_lowercase(),
        "a%2Bb%2Fc%22d%5C%C3%A9%3D%2C+longer".to_owned(),
    ] {
        assert_eq!(marks.found_in(&format!("x{form}y")).len(), 1, "{form}");
    }
    for (before, after) in [("", ""), ("x", ""), ("", "y"), ("xx", "yy"), ("xxx", "y"), ("user:", "\n")] {
        let text = format!("{before}{secret}{after}");
        let encoded = [data_encoding::BASE64.encode(text.as_bytes()), data_encoding::BASE64URL_NOPAD.encode(text.as_bytes())];
        for base64 in encoded {
            assert_eq!(marks.found_in(&format!("Basic {base64}")).len(), 1, "{text}: {base64}");
        }
    }
    assert_eq!(marks.found_in("a+b/c, longer"), [""; 0]);
}
