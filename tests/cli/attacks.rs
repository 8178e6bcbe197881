//! What somebody may try who wants to be taken for another, or to reach what is another's: each is refused, and each
//! leaves its line.

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::Request;
use http::request::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::send;
use crate::support::eventually;
use crate::support::jwt::{Signer, with};
use crate::tokens::Stage;

const SOON: Duration = Duration::from_secs(20);

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

fn line(line: &str) -> Builder {
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let request = Request::builder().method(method).uri(path);
    request.header("content-type", "application/vnd.oci.image.manifest.v1+json")
}

fn as_(authorization: &str, what: &str) -> Builder {
    line(what).header("authorization", authorization)
}

/// A job's attempt at something, by what its token says.
struct Job<'a> {
    stage: &'a Stage,
    signer: &'a Signer,
}

impl Job<'_> {
    /// Of `git_ref`, with `more` in its claims.
    fn as_(&self, git_ref: &str, more: Value, what: &str) -> Builder {
        let token = self.signer.token(&with(&self.stage.claims(git_ref), more));
        as_(&format!("Bearer {token}"), what)
    }
}

/// What is tried, how it is refused, and which line that leaves.
type Row = (&'static str, Builder, u16, &'static str);

/// With passwords, passes and headers.
fn by_whom() -> Vec<Row> {
    const READ: &str = "GET /v2/alice/app/manifests/t";
    let alice = basic("alice", "right");
    let said = BASE64URL_NOPAD
        .encode(br#"{"holder":{"user":"alice"},"scope":{"images":{"alice/app":["pull"]},"catalog":true},"until":99999999999}"#);
    let pass = |signature: &[u8]| format!("Bearer longshore1.{said}.{}", BASE64URL_NOPAD.encode(signature));
    vec![
        ("a wrong password", as_(&basic("alice", "wrong"), READ), 401, "login"),
        ("an empty password", as_(&basic("alice", ""), READ), 401, "login"),
        ("the hash of a password", as_(&basic("alice", "$2b$04$"), READ), 401, "login"),
        ("nobody's name", as_(&basic("carol", "right"), READ), 401, "login"),
        ("a name in other letters", as_(&basic("Alice", "right"), READ), 401, "login"),
        ("a name and more", as_(&basic("alice ", "right"), READ), 401, "login"),
        ("a name that breaks a line", as_(&basic("alice\n", "right"), READ), 401, "login"),
        ("two headers", as_(&alice, READ).header("authorization", basic("bob", "right")), 401, "login"),
        ("two in one header", as_(&format!("{alice}, {alice}"), READ), 401, "login"),
        ("another scheme", as_("Digest username=alice", READ), 401, "login"),
        ("a pass that nobody signed", as_(&pass(b""), READ), 401, "login"),
        ("a pass that another signed", as_(&pass(&[7; 32]), READ), 401, "login"),
        ("a name in a header of a proxy's", line(READ).header("x-remote-user", "alice"), 401, "denied"),
        ("an address in a header of a proxy's", line(READ).header("x-forwarded-for", "127.0.0.1"), 401, "denied"),
        ("credentials for a proxy", line(READ).header("proxy-authorization", &alice), 401, "denied"),
        ("credentials in a cookie", line(READ).header("cookie", format!("authorization={alice}")), 401, "denied"),
        (
            "another path in a header",
            as_(&basic("bob", "right"), READ).header("x-original-url", "/v2/bob/app/manifests/t"),
            404,
            "denied",
        ),
        (
            "another method in a header",
            as_(&basic("bob", "right"), "DELETE /v2/alice/app/manifests/t").header("x-http-method-override", "GET"),
            403,
            "denied",
        ),
        ("a huge header", as_(&format!("Bearer {}", "e".repeat(40_000)), READ), 431, "denied"),
        ("another host", as_(&alice, READ).header("host", "evil.example"), 421, "denied"),
        ("a host like ours", as_(&alice, READ).header("host", "localhost.evil.example"), 421, "denied"),
        ("a second host", as_(&alice, READ).header("host", "127.0.0.1").header("host", "evil.example"), 421, "denied"),
        ("a page elsewhere", as_(&alice, READ).header("origin", "http://evil.example"), 403, "denied"),
        ("a page from nowhere", as_(&alice, READ).header("origin", "null"), 403, "denied"),
    ]
}

/// With names that are written otherwise, as bob, whose is `bob/**` alone.
fn by_name() -> Vec<Row> {
    let bob = basic("bob", "right");
    let row = |what, path: &str, status| (what, as_(&bob, &format!("GET /v2/{path}")), status, "denied");
    vec![
        row("another's", "alice/app/manifests/t", 404),
        row("an encoded slash", "alice%2Fapp/manifests/t", 404),
        row("an encoded letter", "%61lice/app/manifests/t", 404),
        row("an encoded tag", "alice/app/manifests/%74", 404),
        row("an encoded slash behind one's own", "bob%2F..%2Falice/app/manifests/t", 404),
        row("a folder up", "bob/../alice/app/manifests/t", 400),
        row("an encoded folder up", "bob/%2e%2e/alice/app/manifests/t", 400),
        row("a folder up that is encoded twice", "bob/%252e%252e/alice/app/manifests/t", 400),
        row("an empty part", "bob//alice/app/manifests/t", 400),
        row("capital letters", "Alice/app/manifests/t", 400),
        row("a byte of nothing", "bob/app%00alice/manifests/t", 400),
        row("a letter like another", "%D0%B0lice/app/manifests/t", 400),
        row("a tag that is a path", "bob/app/manifests/..%2F..%2Falice", 404),
        row("a digest that is a path", "bob/app/blobs/sha256:..%2F..%2Falice", 404),
    ]
}

/// With tokens of an issuer that is believed, about other jobs.
fn by_claim(job: &Job<'_>) -> Vec<Row> {
    const READ: &str = "GET /v2/org/app/manifests/cache-main";
    const MAIN: &str = "refs/heads/main";
    let write = |tag: &str| format!("PUT /v2/org/app/manifests/{tag}");
    vec![
        ("a repository with more slashes", job.as_(MAIN, json!({"repository": "org/app/x"}), READ), 404, "denied"),
        ("a repository that goes up", job.as_(MAIN, json!({"repository": "other/../org/app"}), READ), 404, "denied"),
        ("a repository that is a pattern", job.as_(MAIN, json!({"repository": "*/*"}), READ), 404, "denied"),
        ("an encoded repository", job.as_(MAIN, json!({"repository": "org%2Fapp"}), READ), 404, "denied"),
        ("an owner that is a path", job.as_(MAIN, json!({"repository_owner": "org/x"}), READ), 401, "login"),
        ("an owner among others' parts", job.as_(MAIN, json!({"repository_owner": {"0": "org"}}), READ), 401, "login"),
        ("a branch like a request", job.as_("refs/heads/pr-7", json!({}), &write("cache-pr-7")), 403, "denied"),
        ("a tag like a branch", job.as_("refs/tags/x", json!({}), &write("cache-x")), 403, "denied"),
        ("a branch like a tag", job.as_("refs/heads/tag-x", json!({}), &write("cache-tag-x")), 403, "denied"),
        ("a branch with a slash", job.as_("refs/heads/a/b", json!({}), &write("cache-a-b")), 403, "denied"),
        ("a branch in capitals", job.as_("refs/heads/A-b", json!({}), &write("cache-a-b")), 403, "denied"),
        ("a slug in a claim", job.as_("refs/heads/x", json!({"ref_slug": "y"}), &write("cache-y")), 403, "denied"),
        ("two refs", job.as_("x", json!({"ref": ["refs/heads/x", "refs/heads/y"]}), &write("cache-y")), 403, "denied"),
        ("an issuer of the same name", job.as_(MAIN, json!({"iss": "ci"}), READ), 401, "login"),
        ("an issuer beyond a slash", job.as_(MAIN, json!({"iss": "https://ci.example/"}), READ), 401, "login"),
        ("two issuers", job.as_(MAIN, json!({"iss": ["https://ci.example", "https://other.example"]}), READ), 401, "login"),
    ]
}

/// alice and bob, each of whom may everything with images of their name.
fn people() -> String {
    let hash = bcrypt::hash_with_salt("right", 4, [7; 16]).expect("it is short");
    format!(
        "[access.users]\nalice = \"{hash}\"\nbob = \"{hash}\"\n\
         [[access.grants]]\nwho = {{ user = \"*\" }}\nimages = [\"{{user}}/**\"]\nallow = [\"read\", \"write\", \"create\"]\n\
         [access.token]\nrealm = \"http://127.0.0.1/token\"\nkey = \"{}\"\n",
        "k".repeat(32)
    )
}

// The other image's name stands in the settings; whoever pulls may not know it.
#[tokio::test]
async fn only_what_one_may_read_stands_in_for_a_tag() {
    let both = "[[access.grants]]\nwho = { user = \"alice\" }\nimages = [\"bob/**\"]\nallow = [\"read\"]\n\
        [[profiles.default.fallback]]\nimage = \"bob/app\"\ntag = \"cache-*\"\nto = [\"alice/base:cache\"]\n";
    let signer = Signer::new("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), &(people() + both)).await;
    let ask = async |user: &str, what: &str, body: String| {
        let request = as_(&basic(user, "right"), what).body(Bytes::from(body)).expect("a request");
        send(stage.longshore.address, request).await.status.as_u16()
    };
    let digest = longshore::oci::Digest::sha256(b"{}").to_string();
    let config = json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": digest, "size": 2});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    assert_eq!(ask("alice", &format!("POST /v2/alice/base/blobs/uploads/?digest={digest}"), "{}".into()).await, 201);
    assert_eq!(ask("alice", "PUT /v2/alice/base/manifests/cache", manifest).await, 201);

    for (user, expected) in [("alice", 200), ("bob", 404)] {
        assert_eq!(ask(user, "GET /v2/bob/app/manifests/cache-x", String::new()).await, expected, "{user}");
    }
}

#[tokio::test]
async fn every_attack_is_refused_and_leaves_its_line() {
    let signer = Signer::new("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), &people()).await;
    let main = signer.token(&stage.claims("refs/heads/main"));
    assert_eq!(stage.push(&format!("Bearer {main}"), "cache-main").await.status.as_u16(), 201);
    let log = || stage.longshore.log();
    let refusals = |log: &str, event: &str| {
        let is_one = |line: &&str| line.contains("result=\"refused\"") || line.contains("result=\"denied\"");
        log.lines().filter(is_one).filter(|line| line.contains(&format!("event=\"{event}\""))).count()
    };
    let job = Job { stage: &stage, signer: &signer };
    for (what, request, status, event) in by_whom().into_iter().chain(by_name()).chain(by_claim(&job)) {
        let before = refusals(&log(), event);

        let answer = send(stage.longshore.address, request.body(Bytes::new()).expect("a request")).await;

        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("cacheconfig"), "{what}");
        eventually(what, SOON, || async { (refusals(&log(), event) == before + 1).then_some(()) }).await;
    }
}

/// All that is answered to these bytes, until nothing more comes.
async fn answered_to(address: SocketAddrV4, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(bytes.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it closes");
    String::from_utf8_lossy(&answer).into_owned()
}

// What a proxy before us takes for one request we take for one, or for none.
#[tokio::test]
async fn a_request_within_a_request_is_not_answered() {
    let signer = Signer::new("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), "").await;
    let address = stage.longshore.address;
    let token = signer.token(&stage.claims("refs/heads/main"));
    let headers = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n");
    let within = format!("GET /v2/ HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    for (what, bytes, status) in [
        ("two lengths", format!("POST /v2/x HTTP/1.1\r\n{headers}Content-Length: 0\r\nContent-Length: 9\r\n\r\n{within}"), "400"),
        (
            "a length and chunks",
            format!("POST /v2/x HTTP/1.1\r\n{headers}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{within}"),
            "404",
        ),
        (
            "chunks by another name",
            format!("POST /v2/x HTTP/1.1\r\n{headers}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{within}"),
            "400",
        ),
        ("a name with a space", format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nAuthorization : Bearer {token}\r\n\r\n"), "400"),
        (
            "a folded line",
            format!("GET /v2/ HTTP/1.1\r\nHost: {address}\r\nX: a\r\n Authorization: Bearer {token}\r\n\r\n"),
            "400",
        ),
    ] {
        let answer = tokio::time::timeout(SOON, answered_to(address, &bytes)).await.expect("it closes");

        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
}
