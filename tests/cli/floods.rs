//! Strangers who try passwords, one after the other and all at once.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;

use crate::file;
use crate::support::longshore::Launch;

const SOON: Duration = Duration::from_secs(60);

/// What is answered to who comes from `from` as `user` with `password`, and when to ask again.
async fn ask(from: IpAddr, server: SocketAddrV4, user: &str, password: &str) -> (StatusCode, Option<String>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
    let stream = socket.connect(server.into()).await.expect("it listens");
    let (mut connection, io) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(io);
    let basic = BASE64.encode(format!("{user}:{password}").as_bytes());
    let request = Request::get("/v2/").header("host", server.to_string()).header("authorization", format!("Basic {basic}"));
    let answer = connection.send_request(request.body(Empty::<Bytes>::new()).expect("a request")).await.expect("an answer");
    let again = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    let status = answer.status();
    answer.into_body().collect().await.expect("all of it");
    (status, again)
}

#[tokio::test]
async fn who_tries_passwords_by_the_hundred_keeps_nobody_out_who_comes_from_elsewhere() {
    let hash = bcrypt::hash_with_salt("right", 8, [7; 16]).expect("it is short");
    let (folder, path) = file("");
    let text = format!(
        "[access]\nanonymous = \"none\"\n[access.users]\nalice = \"{hash}\"\n\
         [[access.grants]]\nwho = {{ user = \"alice\" }}\nimages = [\"**\"]\nallow = [\"read\"]\n\
         [profiles.default]\nstore = \"{}\"\n",
        folder.path().join("store").display()
    );
    std::fs::write(&path, text).expect("it is written");
    let launch = Launch::bare(&["--config", &path]).listening();
    let (longshore, server) = (launch.start().await, launch.address);
    let (here, stranger) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));

    let flood: Vec<_> =
        (0..400).map(|n| tokio::spawn(async move { ask(stranger, server, &format!("u{n}"), "x").await })).collect();
    longshore.line_with("not looked at", SOON).await;
    let alice = ask(here, server, "alice", "right").await;
    let waiting = flood.iter().filter(|guess| !guess.is_finished()).count();

    assert_eq!(alice.0, StatusCode::OK);
    assert!(waiting > 100, "the flood is not over: {waiting}");
    let answers: Vec<_> = join_all(flood).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    for (status, again) in &answers {
        match status.as_u16() {
            401 => assert_eq!(again, &None),
            503 => assert_eq!(again.as_deref(), Some("5")),
            other => panic!("{other}"),
        }
    }
    assert!(answers.iter().filter(|(status, _)| status.as_u16() == 503).count() > 50, "the line is of 256");
    // Each was refused, or not looked at, and each has its line.
    let log = longshore.log();
    assert_eq!(log.lines().filter(|line| line.contains("event=\"login\"") && line.contains("result=\"refused\"")).count(), 400);
}
