//! TLS for a listener: its certificate, and whose certificates its clients may show.
//!
//! What is read here once is what connections are greeted with; a listener
//! takes other files without being opened anew.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

/// Most bytes of a file of certificates or keys.
const MAX_BYTES: u64 = 1 << 20;

/// What is said of what only looks like a certificate.
const NO_CERTIFICATE: &str = "has a certificate that makes no sense; it must be X.509";

/// The files for one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and one that clients know, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// Whose certificates clients may show, in PEM; `None` where they show none.
    pub client_ca: Option<PathBuf>,
}

/// What a listener greets its clients with.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// Of everything that it was made of.
    fingerprint: [u8; 32],
}

/// What is wrong with a file. Nothing of it is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct TlsMistake {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

impl Tls {
    /// What `files` have.
    ///
    /// # Errors
    ///
    /// One of them cannot be used.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsMistake> {
        let mut hasher = Sha256::new();
        let mut read = |path: &Path| bytes(path).inspect(|pem| hasher.update(pem));
        let chain = certificates(&files.cert, &read(&files.cert)?)?;
        let key =
            PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|_| mistake(&files.key, "has no private key in PEM"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| mistake(&files.cert, &error.to_string()))?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path, &read(path)?)?);
                // Who shows none may still say who they are by a password or a token.
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).allow_unauthenticated();
                builder.with_client_cert_verifier(verifier.build().map_err(|error| mistake(path, &error.to_string()))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InvalidCertificate(_) => mistake(&files.cert, NO_CERTIFICATE),
            _ => mistake(&files.key, &format!("is not the key of the certificate in {}", files.cert.display())),
        });
        let mut config = config?;
        // BuildKit and containerd speak HTTP/1.1 to registries.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint: hasher.finalize().into() })
    }

    /// What rustls takes.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// The certificates to trust in the file at `path`, in PEM.
///
/// # Errors
///
/// It cannot be used.
pub fn trusted(path: &Path) -> Result<Arc<[u8]>, TlsMistake> {
    let pem = bytes(path)?;
    roots(path, &pem)?;
    Ok(pem.into())
}

/// The certificates in `pem`, which is what the file at `path` holds, as what to trust.
fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsMistake> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|_| mistake(path, NO_CERTIFICATE))?;
    }
    Ok(roots)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsMistake> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| mistake(path, "is not PEM"))?;
    if certificates.is_empty() { Err(mistake(path, "has no certificate in PEM")) } else { Ok(certificates) }
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsMistake> {
    let unreadable = |error: std::io::Error| mistake(path, &format!("cannot be read: {error}"));
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(mistake(path, "is larger than 1 MiB"));
    }
    std::fs::read(path).map_err(unreadable)
}

fn mistake(path: &Path, why: &str) -> TlsMistake {
    TlsMistake { path: path.to_owned(), why: why.to_owned() }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Tls {}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
