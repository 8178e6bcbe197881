//! Listeners that speak TLS: certificates that change under load, and clients that show theirs.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::longshore::{Launch, Longshore};
use crate::support::{scratch, tools};

const SOON: Duration = Duration::from_secs(20);

/// What signs certificates.
pub struct Authority(TempDir);

impl Authority {
    pub fn new() -> Self {
        let own = Self(scratch("authority"));
        let settings = "[ca]\ndefault_ca = d\n[d]\ndatabase = db\nserial = serial\nnew_certs_dir = .\npolicy = p\n\
            default_md = sha256\nunique_subject = no\n[p]\ncommonName = supplied\norganizationName = optional\n\
            organizationalUnitName = optional\n";
        own.write("settings", settings);
        own.write("db", "");
        own.write("serial", "01\n");
        own.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tests -keyout ca.key -out ca.pem");
        own
    }

    /// A certificate with `name` in it, and its key, as files called `called`; expired, if it is to be.
    pub fn certify(&self, called: &str, name: &str, is_expired: bool) -> (PathBuf, PathBuf) {
        let end = if is_expired { "20200201000000Z" } else { "20400101000000Z" };
        self.issue(called, "/CN=some", &format!("subjectAltName = {name}\n"), end)
    }

    /// A certificate for `subject`, with no other name.
    fn certify_subject(&self, called: &str, subject: &str) -> (PathBuf, PathBuf) {
        self.issue(called, subject, "basicConstraints = CA:FALSE\n", "20400101000000Z")
    }

    fn issue(&self, called: &str, subject: &str, extensions: &str, end: &str) -> (PathBuf, PathBuf) {
        self.write("extensions", extensions);
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj {subject} -keyout {called}.key -out {called}.csr"
        ));
        self.openssl(&format!(
            "ca -config settings -preserveDN -batch -notext -in {called}.csr -cert ca.pem -keyfile ca.key -startdate 20200101000000Z \
             -enddate {end} -extfile extensions -out {called}.pem"
        ));
        (self.path(&format!("{called}.pem")), self.path(&format!("{called}.key")))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is written");
    }

    fn openssl(&self, words: &str) {
        let mut openssl = Command::new(tools::debian_tool("openssl"));
        let made = openssl.args(words.split_whitespace()).current_dir(self.0.path()).output().expect("openssl runs");
        assert!(made.status.success(), "{words}: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// A client that trusts it, and shows `certificate`.
    fn client(&self, certificate: Option<&(PathBuf, PathBuf)>, versions: &[&'static SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("versions");
        let builder = builder.with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some((path, key)) => {
                let chain = vec![CertificateDer::from_pem_file(path).expect("PEM")];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).expect("PEM")).expect("a pair")
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// What is answered over a new connection, or why there is none; and the certificate that it was greeted with.
async fn ask(
    client: &TlsConnector,
    server: SocketAddrV4,
    path: &str,
    authorization: Option<&str>,
) -> Result<(u16, CertificateDer<'static>), String> {
    let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let stream = client.connect(name, stream).await.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates().expect("it has one")[0].clone().into_owned();
    let (mut connection, io) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(io);
    let mut request = Request::get(path).header("host", server.to_string());
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    let answer = connection.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok((status, shown))
}

/// A Longshore whose port speaks TLS with the files `server.pem` and `server.key`, and looks at clients' certificates.
struct Stage {
    longshore: Longshore,
    folder: TempDir,
}

impl Stage {
    async fn start((cert, key): &(PathBuf, PathBuf), client_ca: &Path) -> Self {
        let folder = scratch("tls");
        let config = folder.path().join("config.toml");
        let launch = Launch::bare(&["--config", config.to_str().expect("plain")]);
        let stage = |name: &str| folder.path().join(name);
        std::fs::copy(cert, stage("server.pem")).expect("a file");
        std::fs::copy(key, stage("server.key")).expect("a file");
        let hash = bcrypt::hash_with_salt("right", 4, [7; 16]).expect("it is short");
        let text = format!(
            "[[server.listeners]]\naddress = \"{}\"\ntls = {{ cert = \"{}\", key = \"{}\", client_ca = \"{}\" }}\n\
             [access]\nanonymous = \"none\"\n[access.users]\nalice = \"{hash}\"\n\
             [[access.grants]]\nwho = {{ certificate = \"builder-*\" }}\nimages = [\"app\"]\nallow = [\"read\"]\n\
             [[access.grants]]\nwho = {{ subject = \"O=org/CN=builder-*\" }}\nimages = [\"app\"]\nallow = [\"read\"]\n\
             [[access.grants]]\nwho = {{ user = \"alice\" }}\nimages = [\"app\"]\nallow = [\"read\"]\n\
             [profiles.default]\nstore = \"{}\"\n",
            launch.address,
            stage("server.pem").display(),
            stage("server.key").display(),
            client_ca.display(),
            stage("store").display()
        );
        std::fs::write(&config, text).expect("it is written");
        let longshore = launch.spawn();
        longshore.line_with("listening on", SOON).await;
        Self { longshore, folder }
    }

    async fn ask(&self, client: &TlsConnector, authorization: Option<&str>) -> Result<u16, String> {
        ask(client, self.longshore.address, "/v2/app/manifests/t", authorization).await.map(|(status, _)| status)
    }
}

#[tokio::test]
async fn who_shows_a_certificate_is_known_by_it_and_an_expired_one_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = authority.certify("server", "IP:127.0.0.1", false);
    let stage = Stage::start(&server, &authority.path("ca.pem")).await;
    let builder = authority.certify("builder", "DNS:builder-1.ci", false);
    let other = authority.certify("other", "URI:spiffe://ci/other", false);
    let expired = authority.certify("expired", "DNS:builder-1.ci", true);
    let foreign = stranger.certify("foreign", "DNS:builder-1.ci", false);
    let [password, wrong] = ["alice:right", "alice:wrong"].map(|text| format!("Basic {}", BASE64.encode(text.as_bytes())));

    for (what, certificate, authorization, expected) in [
        ("nothing", None, None, 401),
        ("a password", None, Some(password.as_str()), 404),
        ("a certificate", Some(&builder), None, 404),
        ("a certificate of another name", Some(&other), None, 404),
        ("a certificate and a password", Some(&other), Some(password.as_str()), 404),
        ("a certificate and a wrong password", Some(&builder), Some(wrong.as_str()), 401),
    ] {
        for version in BOTH {
            let status = stage.ask(&authority.client(certificate, &[version]), authorization).await;
            assert_eq!(status, Ok(expected), "{what} over {version:?}");
        }
    }
    // What has no part in the image is told nothing of it, and the log says who it was.
    let tags = ask(&authority.client(Some(&other), BOTH), stage.longshore.address, "/v2/app/tags/list", None).await;
    assert_eq!(tags.map(|(status, _)| status), Ok(404));
    stage.longshore.line_with("identity=\"certificate spiffe://ci/other\"", SOON).await;
    for (what, certificate, reason) in [("expired", &expired, "certificate expired"), ("foreign", &foreign, "BadSignature")] {
        let refused = stage.ask(&authority.client(Some(certificate), BOTH), None).await;
        assert!(refused.is_err(), "{what}: {refused:?}");
        let line = stage.longshore.line_with(reason, SOON).await;
        assert!(line.contains("identity=\"a certificate\" result=\"refused\""), "{line}");
    }
    // In the open, nothing is said on this port.
    let plain = Request::get("/v2/").body(Bytes::new()).expect("a request");
    assert!(crate::support::client::try_send(stage.longshore.address, plain).await.is_none());
}

#[tokio::test]
async fn who_shows_a_certificate_without_names_is_known_by_all_of_its_subject() {
    let authority = Authority::new();
    let server = authority.certify("server", "IP:127.0.0.1", false);
    let stage = Stage::start(&server, &authority.path("ca.pem")).await;
    for (number, (subject, is_builder)) in [
        ("/O=org/CN=builder-1", true),
        ("/O=org/OU=visitors/CN=builder-1", false),
        ("/O=other/CN=builder-1", false),
        // The authority may let its clients choose this one.
        ("/CN=builder-1", false),
        (r"/CN=O=org\/CN=builder-1", false),
        (r"/O=other/CN=x\/O=org\/CN=builder-1", false),
    ]
    .into_iter()
    .enumerate()
    {
        let certificate = authority.certify_subject(&format!("client-{number}"), subject);

        let tags = ask(&authority.client(Some(&certificate), BOTH), stage.longshore.address, "/v2/app/tags/list", None).await;

        assert_eq!(tags.map(|(status, _)| status), Ok(404), "{subject}");
        // Both are told that there is no such image; the log says who may not know whether there is.
        if !is_builder {
            stage.longshore.line_with(&of_subject(subject), SOON).await;
        }
    }
    assert!(!stage.longshore.log().contains(&of_subject("/O=org/CN=builder-1")));
    // A name that a URI claims to be, and a subject that a name does.
    let posing = authority.certify("posing", "URI:builder-1", false);
    let tags = ask(&authority.client(Some(&posing), BOTH), stage.longshore.address, "/v2/app/tags/list", None).await;
    assert_eq!(tags.map(|(status, _)| status), Ok(404));
    stage.longshore.line_with(&of_subject("/CN=some"), SOON).await;
}

/// What the log calls who has a certificate of a subject in the words of openssl.
fn of_subject(subject: &str) -> String {
    format!("identity={:?}", format!("certificate of {}", subject.trim_start_matches('/').replace("\\/", "\\2f")))
}

#[tokio::test]
async fn a_certificate_is_changed_under_load_and_no_request_fails() {
    let authority = Authority::new();
    let first = authority.certify("first", "IP:127.0.0.1", false);
    let second = authority.certify("second", "IP:127.0.0.1", false);
    let stage = Stage::start(&first, &authority.path("ca.pem")).await;
    let (client, address) = (authority.client(None, BOTH), stage.longshore.address);
    let (is_over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, is_over, asked) = (client.clone(), Arc::clone(&is_over), Arc::clone(&asked));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = ask(&client, address, "/readyz", None).await;
                    assert_eq!(answer.map(|(status, _)| status), Ok(200));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let shown = async || ask(&client, address, "/readyz", None).await.expect("an answer").1;
    assert_eq!(shown().await, CertificateDer::from_pem_file(&first.0).expect("PEM"));

    for (file, new) in [("server.pem", &second.0), ("server.key", &second.1)] {
        std::fs::copy(new, stage.folder.path().join(file)).expect("a file");
    }
    stage.longshore.line_with("certificate changed over", SOON).await;
    assert_eq!(shown().await, CertificateDer::from_pem_file(&second.0).expect("PEM"));

    // Half of a pair changes nothing.
    std::fs::copy(&first.1, stage.folder.path().join("server.key")).expect("a file");
    stage.longshore.line_with("is not the key of the certificate", SOON).await;
    assert_eq!(shown().await, CertificateDer::from_pem_file(&second.0).expect("PEM"));
    is_over.store(true, Ordering::Relaxed);
    for task in load {
        task.await.expect("no request has failed");
    }
    assert!(asked.load(Ordering::Relaxed) > 20);
}
