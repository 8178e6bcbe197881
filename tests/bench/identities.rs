//! What a request costs more where somebody says who they are: `cargo bench --bench identities`.
//!
//! HEADs of a layer that the server knows, over connections that stay open: in turn by nobody, by a password, a token of
//! a CI system and one of the server's own, all of which it remembers; and over TLS by nobody and by a certificate. So
//! whatever else the machine does slows all of them alike. Once with ten grants, and once with ten thousand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use longshore::oci::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use support::jwt::{Signer, now};
use support::longshore::{Launch, Longshore};
use support::{ports, scratch, tools};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How often each asks, for the median; and where it is only to be seen that all of this runs.
const ROUNDS: usize = 5000;
const QUICK_ROUNDS: usize = 20;

/// The most that an identity may add at the median.
const LIMIT: Duration = Duration::from_micros(100);

/// The most that ten thousand grants may cost of what ten do.
const MOST_TIMES: u32 = 10;

const IMAGE: &str = "org/app";

/// One who asks again and again.
struct Asker {
    name: &'static str,
    connection: SendRequest<Full<Bytes>>,
    authorization: Option<String>,
    /// The one who asks the same way, and says nothing.
    nobody: usize,
    times: Vec<Duration>,
}

#[tokio::main]
async fn main() {
    let is_quick = std::env::args().any(|word| word == "--quick" || word == "--test");
    let rounds = if is_quick { QUICK_ROUNDS } else { ROUNDS };
    println!("| grants | who | median | more than nobody |");
    println!("|---|---|---|---|");
    let [few, many] = [measure(10, rounds).await, measure(10_000, rounds).await];
    if is_quick {
        return;
    }
    for more in few.iter().chain(&many) {
        assert!(*more < LIMIT, "{more:?} is more than {LIMIT:?}");
    }
    for (few, many) in few.iter().zip(&many) {
        // What is less than a microsecond is no cost that could be told from noise.
        assert!(*many <= (*few).max(Duration::from_micros(1)) * MOST_TIMES, "{few:?} with 10 grants, {many:?} with 10000");
    }
}

/// What each identity adds, with so many grants; says it, too.
async fn measure(grants: usize, rounds: usize) -> Vec<Duration> {
    let (folder, signer) = (certificates(), Signer::new("k"));
    let [tls, launch] = [ports::free_address(), ports::free_address()];
    let longshore = start(folder.path(), &signer, [launch, tls], grants).await;
    let layer = Bytes::from_static(b"a layer");
    let digest = Digest::sha256(&layer).to_string();
    let pushed = send_as(longshore.address, &format!("POST /v2/{IMAGE}/blobs/uploads/?digest={digest}"), &basic(), layer).await;
    assert_eq!(pushed.0, StatusCode::CREATED);
    let mut askers = askers(&longshore, tls, folder.path(), &signer).await;
    for round in 0..rounds + rounds / 10 {
        for asker in &mut askers {
            let took = asker.ask(&digest).await;
            // The first ones are for both sides to get used to it.
            if round >= rounds / 10 {
                asker.times.push(took);
            }
        }
    }
    let medians: Vec<_> = askers.iter_mut().map(|asker| median(&mut asker.times)).collect();
    let mut added = Vec::new();
    for (asker, took) in askers.iter().zip(&medians) {
        let more = took.saturating_sub(medians[asker.nobody]);
        println!("| {grants} | {} | {} | {} |", asker.name, micros(*took), micros(more));
        added.push(more);
    }
    added
}

/// A server whose clients can say who they are in each way, with so many grants that are about others.
async fn start(folder: &Path, signer: &Signer, [address, tls]: [SocketAddrV4; 2], grants: usize) -> Longshore {
    let hash = bcrypt::hash_with_salt("right", 4, [7; 16]).unwrap().to_string();
    fs::write(folder.join("htpasswd"), format!("alice:{hash}\n")).unwrap();
    fs::write(folder.join("jwks.json"), json!({"keys": [signer.jwk()]}).to_string()).unwrap();
    let mut text = format!(
        "[server]\n[[server.listeners]]\naddress = \"{address}\"\n[[server.listeners]]\naddress = \"{tls}\"\n\
         tls = {{ cert = \"$/server.pem\", key = \"$/server.key\", client_ca = \"$/ca.pem\" }}\n\
         [access]\nanonymous = \"read\"\nhtpasswd = \"$/htpasswd\"\n\
         [access.token]\nrealm = \"http://{address}/token\"\nkey = \"{}\"\n\
         [[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"longshore\"\njwks = \"$/jwks.json\"\n\
         [profiles.default]\nstore = \"$/store\"\n",
        "k".repeat(32)
    )
    .replace('$', folder.to_str().unwrap());
    let everything = "images = [\"**\"]\nallow = [\"read\", \"write\", \"create\"]";
    for who in ["user = \"alice\"", "issuer = \"ci\", repository = \"org/app\"", "certificate = \"builder\""] {
        writeln!(text, "[[access.grants]]\nwho = {{ {who} }}\n{everything}").unwrap();
    }
    for number in 3..grants {
        writeln!(
            text,
            "[[access.grants]]\nwho={{issuer=\"ci\",repository=\"org/{number}\"}}\nimages=[\"org/**\"]\nallow=[\"read\"]"
        )
        .unwrap();
    }
    let config = folder.join("config.toml");
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "warn"]);
    launch.address = address;
    launch.start().await
}

/// All who ask: those in the open first.
async fn askers(longshore: &Longshore, tls: SocketAddrV4, folder: &Path, signer: &Signer) -> Vec<Asker> {
    let claims = json!({
        "iss": "https://ci.example", "aud": "longshore", "sub": "job", "repository": "org/app", "iat": now(), "exp": now() + 3600,
    });
    let (_, pass) =
        send_as(longshore.address, &format!("GET /token?scope=repository:{IMAGE}:pull"), &basic(), Bytes::new()).await;
    let pass: Value = serde_json::from_slice(&pass).unwrap();
    let mut askers = Vec::new();
    for (name, authorization) in [
        ("nobody", None),
        ("a password", Some(basic())),
        ("a CI system's token", Some(format!("Bearer {}", signer.token(&claims)))),
        ("the server's own token", Some(format!("Bearer {}", pass["token"].as_str().unwrap()))),
    ] {
        let connection = connect(TcpStream::connect(longshore.address).await.unwrap()).await;
        askers.push(Asker { name, connection, authorization, nobody: 0, times: Vec::new() });
    }
    let nobody = askers.len();
    for (name, is_certified) in [("nobody, over TLS", false), ("a certificate", true)] {
        let stream = TcpStream::connect(tls).await.unwrap();
        let connector = connector(folder, is_certified);
        let connection = connect(connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()).await;
        askers.push(Asker { name, connection, authorization: None, nobody, times: Vec::new() });
    }
    askers
}

impl Asker {
    /// How long it takes until the server has said that it has the layer.
    async fn ask(&mut self, digest: &str) -> Duration {
        let mut request = Request::head(format!("/v2/{IMAGE}/blobs/{digest}")).header("host", "localhost");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::default()).unwrap();
        let began = Instant::now();
        self.connection.ready().await.unwrap();
        let answer = self.connection.send_request(request).await.unwrap();
        let took = began.elapsed();
        assert_eq!(answer.status(), StatusCode::OK, "{}", self.name);
        answer.into_body().collect().await.unwrap();
        took
    }
}

fn basic() -> String {
    format!("Basic {}", BASE64.encode(b"alice:right"))
}

/// Sends one request; the status and the body of the answer.
async fn send_as(server: SocketAddrV4, line: &str, authorization: &str, body: Bytes) -> (StatusCode, Bytes) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header("authorization", authorization).body(body).unwrap();
    let answer = support::client::send(server, request).await;
    (answer.status, answer.body)
}

async fn connect<S>(stream: S) -> SendRequest<Full<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A client that trusts the authority in `folder`, and shows a certificate if it is to have one.
fn connector(folder: &Path, is_certified: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = if is_certified {
        let chain = vec![CertificateDer::from_pem_file(folder.join("builder.pem")).unwrap()];
        builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(folder.join("builder.key")).unwrap()).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    TlsConnector::from(Arc::new(config))
}

/// An authority, and certificates that it has signed for `localhost` and `builder`.
fn certificates() -> TempDir {
    let folder = scratch("identities");
    let openssl = |words: &str| {
        let mut command = Command::new(tools::debian_tool("openssl"));
        let made = command.args(words.split_whitespace()).current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{words}: {}", String::from_utf8_lossy(&made.stderr));
    };
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {new} -days 2 -subj /CN=tests -keyout ca.key -out ca.pem"));
    for (file, name) in [("server", "localhost"), ("builder", "builder")] {
        fs::write(folder.path().join("extensions"), format!("subjectAltName = DNS:{name}\n")).unwrap();
        openssl(&format!("req {new} -subj /CN={name} -keyout {file}.key -out {file}.csr"));
        openssl(&format!(
            "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {file}.pem"
        ));
    }
    folder
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}
