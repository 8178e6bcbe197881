//! Tokens that a CI system vouches for jobs by, and those of others.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::Request;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::client::{Answer, send};
use crate::support::issuer::Issuer;
use crate::support::jwt::{Signer, encoded, now, shared, unsigned, with};
use crate::support::longshore::{Launch, Longshore};
use crate::support::{eventually, scratch};
use crate::tls::Authority;
use crate::{longshore, longshore_told};

const SOON: Duration = Duration::from_secs(20);

/// The grants of the example: main writes, everybody reads main and writes their own.
const GRANTS: &str = r#"
[[access.grants]]
who = { issuer = "ci", repository = "org/*", ref = "refs/heads/main" }
images = ["org/**"]
tags = ["*"]
allow = ["read", "write", "create"]
[[access.grants]]
who = { issuer = "ci", repository = "org/*" }
images = ["org/**"]
tags = ["cache-{ref_slug}", "*--x"]
allow = ["read", "write"]
[[access.grants]]
who = { issuer = "ci", repository = "org/*" }
images = ["org/**"]
tags = ["cache-main"]
allow = ["read"]
push = "discard"
[[access.grants]]
who = { issuer = "ci", repository = "org/*" }
images = ["org/app"]
tags = ["guarded"]
allow = ["read"]
"#;

/// A Longshore that believes an issuer.
pub struct Stage {
    pub longshore: Longshore,
    url: String,
    folder: TempDir,
}

impl Stage {
    /// One that believes the issuer at `url`, of which it has the keys; or where there are none, asks for them.
    pub async fn start(url: &str, keys: Option<Value>, more: &str) -> Self {
        let folder = scratch("tokens");
        let (config, jwks) = (folder.path().join("config.toml"), folder.path().join("jwks.json"));
        let keys = keys.map(|keys| {
            fs::write(&jwks, json!({"keys": keys}).to_string()).expect("it is written");
            format!("jwks = \"{}\"\n", jwks.display())
        });
        let store = folder.path().join("store");
        let text = format!(
            "[access]\nanonymous = \"none\"\n[[access.issuers]]\nname = \"ci\"\nissuer = \"{url}\"\naudience = \"longshore\"\n\
             require = {{ repository_owner = \"org\" }}\n{}{more}{GRANTS}[profiles.default]\nstore = \"{}\"\n",
            keys.unwrap_or_default(),
            store.display()
        );
        fs::write(&config, text).expect("it is written");
        fs::set_permissions(&config, Permissions::from_mode(0o600)).expect("it is ours");
        let launch = Launch::bare(&["--config", config.to_str().expect("plain"), "--log-level", "trace"]).listening();
        Self { longshore: launch.start().await, url: url.to_owned(), folder }
    }

    /// What a job of `git_ref` says.
    pub fn claims(&self, git_ref: &str) -> Value {
        json!({
            "iss": self.url, "aud": "longshore", "sub": format!("repo:org/app:ref:{git_ref}"), "repository": "org/app",
            "repository_owner": "org", "ref": git_ref, "iat": now(), "nbf": now(), "exp": now() + 300,
        })
    }

    async fn ask(&self, authorization: &str, line: &str, body: impl Into<Bytes>) -> Answer {
        let (method, path) = line.split_once(' ').expect("a line");
        let request = Request::builder().method(method).uri(path).header("authorization", authorization);
        let request = request.header("content-type", "application/vnd.oci.image.manifest.v1+json");
        send(self.longshore.address, request.body(body.into()).expect("a request")).await
    }

    async fn status(&self, token: &str) -> u16 {
        self.ask(&format!("Bearer {token}"), "GET /v2/", "").await.status.as_u16()
    }

    /// Pushes a cache of BuildKit's as `tag`.
    pub async fn push(&self, authorization: &str, tag: &str) -> Answer {
        let config = "{}";
        let digest = longshore::oci::Digest::sha256(config.as_bytes());
        let blob = self.ask(authorization, &format!("POST /v2/org/app/blobs/uploads/?digest={digest}"), config).await;
        assert_eq!(blob.status.as_u16(), 201, "{blob:?}");
        let config = json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": digest.to_string(), "size": 2});
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        self.ask(authorization, &format!("PUT /v2/org/app/manifests/{tag}"), manifest).await
    }

    /// How many logins were refused so far, by the log.
    fn refused(&self) -> usize {
        let lines = self.longshore.log();
        lines.lines().filter(|line| line.contains("event=\"login\"") && line.contains("result=\"refused\"")).count()
    }
}

fn message(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    body["errors"][0]["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn a_pull_request_reads_what_main_wrote_and_writes_its_own() {
    let signer = Signer::rsa("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), "").await;
    let main = format!("Bearer {}", signer.token(&stage.claims("refs/heads/main")));
    // What docker login can carry: a password, with any name.
    let token = signer.token(&stage.claims("refs/pull/7/merge"));
    let request = format!("Basic {}", BASE64.encode(format!("oauth2:{token}").as_bytes()));

    assert_eq!(stage.push(&main, "cache-main").await.status.as_u16(), 201);
    assert_eq!(stage.push(&main, "guarded").await.status.as_u16(), 201);
    let read = async || stage.ask(&request, "GET /v2/org/app/manifests/cache-main", "").await;
    let before = read().await;
    assert_eq!(before.status.as_u16(), 200, "{before:?}");
    assert_eq!(stage.push(&request, "cache-pr-7").await.status.as_u16(), 201);
    for (tag, told) in [
        ("guarded", "may not write guarded of org/app"),
        ("cache-pr-8", "may not write cache-pr-8 of org/app"),
        ("guarded--x", "may not write guarded--x of org/app"),
    ] {
        let denied = stage.push(&request, tag).await;
        assert_eq!((denied.status.as_u16(), message(&denied)), (403, format!("ci: repo:org/app:ref:refs/pull/7/merge {told}")));
    }
    // Taken and not kept, also as a part of it.
    for tag in ["cache-main", "cache-main--x"] {
        assert_eq!(stage.push(&request, tag).await.status.as_u16(), 201, "{tag}");
    }
    assert_eq!(stage.ask(&main, "HEAD /v2/org/app/manifests/cache-main--x", "").await.status.as_u16(), 404);
    assert_eq!(read().await.header("docker-content-digest"), before.header("docker-content-digest"));
    // And what has no token, such as a RUN step with the host's network, gets nowhere.
    let put = Request::put("/v2/org/app/manifests/cache-main").body(Bytes::from("{}")).expect("a request");
    assert_eq!(send(stage.longshore.address, put).await.status.as_u16(), 401);
}

#[tokio::test]
async fn no_token_is_believed_but_what_the_issuer_signed_for_us_and_each_refusal_has_its_line() {
    let (signer, other, rsa) = (Signer::new("k"), Signer::new("k"), Signer::rsa("r"));
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk(), rsa.jwk()])), "").await;
    let claims = stage.claims("refs/heads/main");
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "k"});
    let good = signer.token(&claims);
    let [signed, claimed, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    let forged = encoded(&with(&claims, json!({"repository_owner": "org", "ref": "refs/heads/main", "x": 1})));
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&rsa.public()));
    let hs = |kid: &str| json!({"alg": "HS256", "typ": "JWT", "kid": kid});
    let changed = |more| signer.token(&with(&claims, more));
    for (what, token) in [
        ("nobody's signature", unsigned(&json!({"alg": "none", "kid": "k"}), &claims)),
        ("nobody's signature, in other letters", unsigned(&json!({"alg": "nOnE", "kid": "k"}), &claims)),
        ("an empty signature", unsigned(&header, &claims)),
        ("a public key as a secret", shared(&hs("k"), &claims, &signer.public())),
        ("a public key in PEM as a secret", shared(&hs("r"), &claims, pem.as_bytes())),
        ("a public key in DER as a secret", shared(&hs("r"), &claims, &rsa.public())),
        ("an empty secret", shared(&hs("k"), &claims, b"")),
        ("a key of another kind", rsa.signed(&json!({"alg": "RS256", "kid": "k"}), &claims)),
        ("another algorithm than it is signed by", signer.signed(&json!({"alg": "RS256", "kid": "r"}), &claims)),
        ("an algorithm that is not taken", signer.signed(&json!({"alg": "ES384", "kid": "k"}), &claims)),
        ("somebody else's key of that name", other.token(&claims)),
        ("a key that it brings", other.signed(&json!({"alg": "ES256", "kid": "k", "jwk": other.jwk()}), &claims)),
        (
            "a key that it says where to find",
            other.signed(&json!({"alg": "ES256", "kid": "x", "jku": "http://127.0.0.1:1/"}), &claims),
        ),
        ("a key by a path", other.signed(&json!({"alg": "ES256", "kid": "../../../../dev/null"}), &claims)),
        ("a key by a query", other.signed(&json!({"alg": "ES256", "kid": "k' UNION SELECT 'k"}), &claims)),
        ("a key by a number", signer.signed(&json!({"alg": "ES256", "kid": 1}), &claims)),
        ("something critical", signer.signed(&json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}), &claims)),
        ("another's claims", format!("{signed}.{forged}.{signature}")),
        ("a changed signature", format!("{signed}.{claimed}.{}", signature.replace(&signature[..4], "AAAA"))),
        ("no signature part", format!("{signed}.{claimed}")),
        ("a part too many", format!("{good}.{signature}")),
        ("padding", format!("{signed}.{claimed}.{signature}==")),
        ("nonsense", "eyJ.eyJ.eyJ".to_owned()),
        ("too much of it", changed(json!({"x": "x".repeat(13_000)}))),
        ("another audience", changed(json!({"aud": "sts.amazonaws.com"}))),
        ("other audiences", changed(json!({"aud": ["a", "longshore2"]}))),
        ("an audience like ours", changed(json!({"aud": "longshore/"}))),
        ("no audience", changed(json!({"aud": null}))),
        ("another issuer", changed(json!({"iss": "https://other.example"}))),
        ("an issuer like ours", changed(json!({"iss": "https://ci.example/"}))),
        ("an issuer of our name", changed(json!({"iss": "ci"}))),
        ("no issuer", changed(json!({"iss": null}))),
        ("an expired time", changed(json!({"exp": now() - 61}))),
        ("no time", changed(json!({"exp": null}))),
        ("a time in words", changed(json!({"exp": "tomorrow"}))),
        ("a time to come", changed(json!({"nbf": now() + 120}))),
        ("a time of issue to come", changed(json!({"iat": now() + 120}))),
        ("another owner", changed(json!({"repository_owner": "mallory"}))),
        ("an owner with slashes", changed(json!({"repository_owner": "org/../mallory"}))),
        ("no owner", changed(json!({"repository_owner": null}))),
    ] {
        let before = stage.refused();
        assert_eq!(stage.status(&token).await, 401, "{what}: {token}");
        eventually("the refusal has its line", SOON, || async { (stage.refused() == before + 1).then_some(()) }).await;
    }
    let huge = format!("Bearer {}", "e".repeat(40_000));
    assert_eq!(stage.ask(&huge, "GET /v2/", "").await.status.as_u16(), 431);
    assert_eq!(stage.status(&good).await, 200);
    assert_eq!(stage.status(&changed(json!({"aud": ["a", "longshore"]}))).await, 200);
    assert_eq!(stage.status(&rsa.token(&claims)).await, 200);
    assert!(!stage.longshore.log().contains(signature), "no token is in the log");
}

#[tokio::test]
async fn claims_are_matched_to_the_letter() {
    let signer = Signer::new("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), "").await;
    let main = format!("Bearer {}", signer.token(&stage.claims("refs/heads/main")));
    assert_eq!(stage.push(&main, "cache-main").await.status.as_u16(), 201);
    for more in [
        json!({"repository": "org/app/x"}),
        json!({"repository": "other/app"}),
        json!({"repository": "Org/app"}),
        json!({"repository": "org%2fapp"}),
        json!({"repository": ["x", "other/app"]}),
        json!({"repository": {"name": "org/app"}}),
        json!({"repository": null}),
    ] {
        let token = signer.token(&with(&stage.claims("refs/heads/main"), more.clone()));
        let read = stage.ask(&format!("Bearer {token}"), "GET /v2/org/app/manifests/cache-main", "").await;
        assert_eq!(read.status.as_u16(), 404, "{more}: {read:?}");
        let blob = stage.ask(&format!("Bearer {token}"), "POST /v2/org/app/blobs/uploads/", "").await;
        assert_eq!((blob.status.as_u16(), message(&blob)), (403, "denied".into()), "{more}");
    }
    // What would be main's slug, or a star, is neither.
    for git_ref in [
        "refs/heads/Main",
        "refs/heads/main/",
        "refs/heads/*",
        "refs/heads/pr-7",
        "refs/tags/main",
        "main",
        "refs/heads/ma\u{0456}n",
    ] {
        let token = format!("Bearer {}", signer.token(&stage.claims(git_ref)));
        let pushed = stage.push_to_blobs_and(&token, "cache-pr-7").await;
        assert_eq!(pushed, 403, "{git_ref}");
    }
}

impl Stage {
    /// What comes of pushing a manifest as `tag`, whether or not blobs may be.
    async fn push_to_blobs_and(&self, authorization: &str, tag: &str) -> u16 {
        self.ask(authorization, &format!("PUT /v2/org/app/manifests/{tag}"), "{}").await.status.as_u16()
    }
}

#[tokio::test]
async fn a_session_outlasts_its_token_and_no_longer() {
    let signer = Signer::new("k");
    for (more, issued, expected) in [("", 300, 401), ("session = \"1h\"\n", 300, 200), ("session = \"1h\"\n", 3700, 401)] {
        let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), more).await;
        let times = json!({"iat": now() - issued, "nbf": now() - issued, "exp": now() - 200});
        let token = signer.token(&with(&stage.claims("refs/heads/main"), times));

        let answer = stage.ask(&format!("Bearer {token}"), "GET /v2/", "").await;

        assert_eq!(answer.status.as_u16(), expected, "{more} {issued}: {answer:?}");
        assert!(expected == 200 || message(&answer).contains("the token has expired"), "{answer:?}");
        let forever = signer.token(&with(&stage.claims("refs/heads/main"), json!({"iat": null, "exp": now() - 200})));
        assert_eq!(stage.status(&forever).await, 401, "it does not say when it was issued");
    }
}

#[tokio::test]
async fn each_algorithm_is_verified_where_the_issuer_is_to_sign_by_it_and_no_other_is() {
    let signers = ["RS256", "PS256", "ES256", "ES384", "EdDSA"].map(Signer::by);
    let keys: Value = signers.iter().map(Signer::jwk).collect();
    for allowed in &signers {
        let algorithms = format!("algorithms = [\"{}\"]\n", allowed.algorithm());
        let stage = Stage::start("https://ci.example", Some(keys.clone()), &algorithms).await;
        for signer in &signers {
            let expected = if signer.algorithm() == allowed.algorithm() { 200 } else { 401 };
            let status = stage.status(&signer.token(&stage.claims("refs/heads/main"))).await;
            assert_eq!(status, expected, "{} where {} is taken", signer.algorithm(), allowed.algorithm());
        }
    }
}

#[tokio::test]
async fn a_token_that_was_accepted_is_not_when_its_time_is_over() {
    let signer = Signer::new("k");
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), "").await;
    // Clocks may be a minute apart.
    let claims = with(&stage.claims("refs/heads/main"), json!({"iat": now() - 300, "nbf": null, "exp": now() - 57}));
    let token = signer.token(&claims);

    assert_eq!(stage.status(&token).await, 200);

    eventually("it is over", SOON, || async { (stage.status(&token).await == 401).then_some(()) }).await;
}

/// An issuer that publishes `keys`.
async fn publisher(keys: Value) -> Issuer {
    publisher_over("http", "http", keys).await
}

/// An issuer that says that it is asked over `scheme`, and its keys over `of_keys`.
async fn publisher_over(scheme: &'static str, of_keys: &'static str, keys: Value) -> Issuer {
    // Its address is known only once it listens, so it looks at whom it is asked as.
    Issuer::start(move |asked| match asked.path.as_str() {
        "/.well-known/openid-configuration" => {
            let host = asked.header("host");
            let (url, keys) = (format!("{scheme}://{host}"), format!("{of_keys}://{host}/keys"));
            (200, json!({"issuer": url, "jwks_uri": keys, "more": true}).to_string())
        }
        "/keys" => (200, json!({"keys": keys}).to_string()),
        _ => (404, "{}".to_owned()),
    })
    .await
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_asked_for_once_and_outlive_its_outage() {
    let (signer, unknown) = (Signer::new("k"), Signer::new("unknown"));
    let issuer = publisher(json!([signer.jwk()])).await;
    let stage = Stage::start(&issuer.url(), None, "").await;
    let token = |number: u64| signer.token(&with(&stage.claims("refs/heads/main"), json!({"jti": number})));
    assert_eq!(issuer.asked().len(), 0, "nobody needs them yet");

    // All who come at once wait for the one question.
    let tokens: Vec<String> = (0..8).map(token).collect();
    let statuses = futures_util::future::join_all(tokens.iter().map(|token| stage.status(token))).await;
    assert_eq!((statuses, issuer.asked().len()), (vec![200; 8], 2));

    issuer.is_down(true);
    assert_eq!(stage.status(&token(9)).await, 200, "its key is known");
    for name in ["a", "b", "c"] {
        let token = unknown.signed(&json!({"alg": "ES256", "kid": name}), &stage.claims("refs/heads/main"));
        assert_eq!(stage.status(&token).await, 401, "{name}");
    }
    assert_eq!(issuer.asked().len(), 2, "not again within a minute");

    let config = stage.folder.path().join("config.toml");
    let text = fs::read_to_string(&config).expect("it is there");
    fs::write(&config, text.replace("tags = [\"*\"]", "tags = [\"**\"]")).expect("it is written");
    stage.longshore.line_with("settings reloaded", SOON).await;
    assert_eq!(stage.status(&token(10)).await, 200, "other settings take no keys away");
}

/// Answers every connection with `answer`, and then goes on with `more` for ever, if there is any.
async fn saying(answer: impl Fn(SocketAddr) -> String + Send + 'static, more: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (said, more) = (answer(address), more.clone());
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(said.as_bytes()).await;
                while !more.is_empty() && stream.write_all(more.as_bytes()).await.is_ok() {}
            });
        }
    });
    address
}

#[tokio::test]
async fn keys_that_lead_elsewhere_never_end_or_are_gone_are_none() {
    let endless_chunks = format!("400\r\n{}\r\n", " ".repeat(1024));
    let signer = Signer::new("k");
    let good = publisher(json!([signer.jwk()])).await;
    let elsewhere = format!("{}/.well-known/openid-configuration", good.url());
    let redirecting = saying(
        move |_| format!("HTTP/1.1 302 Found\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
        String::new(),
    )
    .await;
    let endless = saying(
        |_| "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        endless_chunks,
    )
    .await;
    let url = good.url();
    let another = saying(
        move |_| {
            let body = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        },
        String::new(),
    )
    .await;
    let unsafe_keys = saying(
        |address| {
            let body = json!({"issuer": format!("http://{address}"), "jwks_uri": "http://192.0.2.1/keys"}).to_string();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        },
        String::new(),
    )
    .await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it is bound");
    for (what, address, reason) in [
        ("redirecting", redirecting, "it answered 302"),
        ("endless", endless, "far too long"),
        ("another issuer's", another, "its configuration is another issuer's"),
        ("in the open", unsafe_keys, "its keys are not behind https"),
        ("gone", gone, "could not be fetched"),
    ] {
        let stage = Stage::start(&format!("http://{address}"), None, "").await;
        let token = signer.token(&stage.claims("refs/heads/main"));

        assert_eq!(stage.status(&token).await, 401, "{what}");

        let line = stage.longshore.line_with("the keys of an issuer could not be fetched", SOON).await;
        assert!(line.contains(reason), "{what}: {line}");
        stage.longshore.line_with("reason=\"its key is not known\"", SOON).await;
    }
    assert_eq!(good.asked().len(), 0, "nobody was led there");
}

/// Speaks TLS with the certificate and key in these files for whoever listens at `behind`.
async fn over_tls(behind: SocketAddr, (cert, key): &(PathBuf, PathBuf)) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let chain = vec![CertificateDer::from_pem_file(cert).expect("PEM")];
    let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).expect("PEM"));
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config.expect("a pair"))), TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut front = acceptor.accept(stream).await?;
                copy_bidirectional(&mut front, &mut TcpStream::connect(behind).await?).await
            });
        }
    });
    address
}

#[tokio::test]
async fn an_issuer_whose_authority_only_its_ca_bundle_has_is_asked_where_nobody_listens() {
    let (signer, authority) = (Signer::new("k"), Authority::new());
    let certificate = authority.certify("issuer", "IP:127.0.0.1", false);
    let bundle = format!("ca_bundle = \"{}\"\n", authority.path("ca.pem").display());
    for (of_keys, bundle, expected, reason) in [
        ("https", bundle.as_str(), 200, ""),
        ("https", "", 401, "the keys of an issuer could not be fetched"),
        ("http", bundle.as_str(), 401, "its keys are not behind https://"),
    ] {
        let issuer = publisher_over("https", of_keys, json!([signer.jwk()])).await;
        let url = format!("https://{}", over_tls(issuer.address, &certificate).await);
        let stage = Stage::start(&url, None, bundle).await;

        assert_eq!(stage.status(&signer.token(&stage.claims("refs/heads/main"))).await, expected, "{of_keys} {bundle}");

        stage.longshore.line_with(reason, SOON).await;
    }
}

#[tokio::test]
async fn can_verifies_a_token_as_a_server_would_and_says_who_it_is_or_why_it_is_refused() {
    let (signer, other) = (Signer::new("k"), Signer::new("k"));
    let stage = Stage::start("https://ci.example", Some(json!([signer.jwk()])), "session = \"1h\"\n").await;
    let config = stage.folder.path().join("config.toml");
    let can = |token: &str, who: &str, tag: &str| {
        let object = format!("org/app:{tag}");
        let words = ["can", who, "push", &object, "--token", "-", "--config", config.to_str().expect("plain")];
        longshore_told(format!("{token}\n").as_bytes(), &words, &[])
    };
    let main = stage.claims("refs/heads/main");
    let refused = |why: &str| format!("denied: the token is not accepted: {why}\n");
    for (what, claims, tag, status, said) in [
        (
            "main",
            main.clone(),
            "cache-main",
            0,
            "allowed by grant 1: who { issuer = \"ci\", ref = \"refs/heads/main\"".to_owned(),
        ),
        ("a request", stage.claims("refs/pull/7/merge"), "cache-pr-8", 1, "denied: no grant allows it\n".to_owned()),
        ("a request", stage.claims("refs/pull/7/merge"), "cache-main", 1, "taken and not kept by grant 3".to_owned()),
        (
            "expired",
            with(&main, json!({"iat": now() - 7200, "nbf": null, "exp": now() - 3700})),
            "t",
            1,
            refused("it has expired"),
        ),
        (
            "in session",
            with(&main, json!({"iat": now() - 600, "nbf": null, "exp": now() - 300})),
            "t",
            0,
            "allowed by grant 1".to_owned(),
        ),
        ("early", with(&main, json!({"nbf": now() + 300})), "t", 1, refused("it is not good yet")),
        ("another's", with(&main, json!({"aud": "other"})), "t", 1, refused("it is for somebody else")),
        ("unknown", with(&main, json!({"iss": "https://other"})), "t", 1, refused("its issuer is not known here")),
        ("required", with(&main, json!({"repository_owner": "x"})), "t", 1, refused("its claims are not as require has them")),
    ] {
        let outcome = can(&signer.token(&claims), "ci", tag);
        assert_eq!(outcome.status, Some(status), "{what}: {}{}", outcome.stdout, outcome.stderr);
        let (who, answer) = outcome.stdout.split_once('\n').expect("a line");
        if said.starts_with("denied: the token") {
            assert_eq!(outcome.stdout, said, "{what}");
        } else {
            assert!(
                who.starts_with("ci: repo:org/app:ref:refs/") && who.ends_with(" s") && answer.starts_with(&said),
                "{what}: {who}\n{answer}"
            );
        }
    }
    let forged = can(&other.token(&main), "ci", "t");
    assert_eq!((forged.status, forged.stdout), (Some(1), refused("its signature is wrong")));
    let strange = can(&signer.token(&main), "github", "t");
    assert!(
        strange.status == Some(2) && strange.stderr.contains("the token is one of ci's, not of \"github\""),
        "{}",
        strange.stderr
    );

    // One that stands on the command line is no file, and is not repeated.
    let token = signer.token(&main);
    let words = ["can", "ci", "push", "org/app:t", "--token", &token, "--config", config.to_str().expect("plain")];
    let outcome = longshore(&words, &[]);
    assert_eq!(outcome.status, Some(2));
    assert!(outcome.stderr.contains("--token takes a file, or - for standard input"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains(&token[..20]), "{}", outcome.stderr);
}

#[tokio::test]
async fn can_asks_the_issuer_for_its_keys_and_says_where_it_cannot() {
    let signer = Signer::new("k");
    let issuer = publisher(json!([signer.jwk()])).await;
    let stage = Stage::start(&issuer.url(), None, "").await;
    let (config, file) = (stage.folder.path().join("config.toml"), stage.folder.path().join("token"));
    fs::write(&file, signer.token(&stage.claims("refs/heads/main"))).expect("it is written");
    for (is_down, status, said) in [(false, 0, "allowed by grant 1"), (true, 1, "not accepted: its key is not known")] {
        issuer.is_down(is_down);
        let (config, file) = (config.to_str().expect("plain").to_owned(), file.to_str().expect("plain").to_owned());
        let words = move || longshore(&["can", "ci", "pull", "org/app:t", "--token", &file, "--config", &config], &[]);
        let outcome = tokio::task::spawn_blocking(words).await.expect("no panic");
        assert_eq!(outcome.status, Some(status), "{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
        assert_eq!(outcome.stderr.contains("the keys of an issuer could not be fetched"), is_down, "{}", outcome.stderr);
    }
}
