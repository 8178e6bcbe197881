//! A bucket behind TLS, whose certificate nobody knows but who was told.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use longshore::store::{ObjectStore, S3Settings, StoreError};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::stand_in::StandIn;
use crate::bench::{MIB, PATIENCE, s3_store};
use crate::support::{scratch, tools};

/// How long what must fail is tried.
const SHORT: Duration = Duration::from_millis(500);

/// What a certificate for loopback is made by (openssl-req, "CONFIGURATION FILE FORMAT").
const WISH: &str = "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = extensions\n\
    [name]\nCN = Longshore's tests\n\
    [extensions]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = critical, CA:FALSE\n";

/// A certificate that is as good as nobody else's word for it.
struct Certificate {
    folder: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let folder = scratch("tls");
        std::fs::write(folder.path().join("wish"), WISH).unwrap();
        let mut openssl = Command::new(tools::debian_tool("openssl"));
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
        openssl.args(["-config", "wish", "-keyout", "key", "-out", "certificate"]).current_dir(folder.path());
        let made = openssl.output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("certificate")
    }

    /// Serves `behind` with this certificate; how to reach that.
    async fn before(&self, behind: &StandIn) -> S3Settings {
        let certificate = CertificateDer::from_pem_file(self.path()).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.folder.path().join("key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = S3Settings { endpoint: Some(format!("https://{}", listener.local_addr().unwrap())), ..behind.settings() };
        let behind = behind.address;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let (mut front, mut back) = (acceptor.accept(stream).await?, TcpStream::connect(behind).await?);
                    tokio::io::copy_bidirectional(&mut front, &mut back).await
                });
            }
        });
        settings
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_that_the_bundle_has_and_no_other() {
    let (stand_in, own, other) = (StandIn::saying(|_| None).await, Certificate::new(), Certificate::new());
    let settings = own.before(&stand_in).await;
    let (key, both) = ("it".parse().unwrap(), own.folder.path().join("both"));
    std::fs::write(&both, [other.path(), own.path()].map(|path| std::fs::read_to_string(path).unwrap()).concat()).unwrap();
    for (bundle, is_trusted) in [(Some(own.path()), true), (Some(both), true), (Some(other.path()), false), (None, false)] {
        let store = s3_store(S3Settings { ca_bundle: bundle.clone(), ..settings.clone() }, MIB).await;
        let patience = if is_trusted { PATIENCE } else { SHORT };
        for _ in 0..2 {
            let put = store.put(&key, "hello".into(), "text/plain", patience).await;

            assert_eq!(put.is_ok(), is_trusted, "{bundle:?}: {put:?}");
            assert!(is_trusted || matches!(put, Err(StoreError::Unavailable(_))), "{bundle:?}: {put:?}");
            // As it does where a connection was forgotten.
            store.reconnect();
        }
    }
    assert_eq!(stand_in.operations(), ["PutObject"; 4]);
}
