//! The door of a listener that speaks TLS.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use crate::tls::Tls;

/// How long a client may take to say how it will speak.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What connections are greeted with, which may be changed: those that are there go on.
#[derive(Debug)]
pub struct TlsDoor(RwLock<Tls>);

impl TlsDoor {
    /// One that greets with `tls`.
    #[must_use]
    pub fn new(tls: Tls) -> Self {
        Self(RwLock::new(tls))
    }

    /// Greets with `tls` from now on; whether that is something else than before.
    pub fn replace(&self, tls: Tls) -> bool {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_other = *held != tls;
        *held = tls;
        is_other
    }

    /// `stream`, once both sides have agreed.
    ///
    /// # Errors
    ///
    /// They have not, and why, for the log.
    pub(super) async fn greet(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, NoAgreement> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).config();
        let greeting = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        match greeting {
            Ok(agreed) => agreed.map_err(|error| NoAgreement::of(&error)),
            Err(_) => Err(NoAgreement { reason: "nothing came in time".to_owned(), is_about_a_certificate: false }),
        }
    }
}

/// Why two sides could not agree on how to speak.
pub(super) struct NoAgreement {
    pub(super) reason: String,
    /// Whether the client has shown a certificate that is not taken, rather than been a probe or no speaker of TLS.
    pub(super) is_about_a_certificate: bool,
}

impl NoAgreement {
    fn of(error: &io::Error) -> Self {
        let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let is_about_a_certificate = matches!(of_tls, Some(rustls::Error::InvalidCertificate(_)));
        Self { reason: error.to_string(), is_about_a_certificate }
    }
}

/// The names in the certificate that the client has shown, if it has: it was checked when it came.
pub(super) fn names(stream: &TlsStream<TcpStream>) -> Option<Arc<[String]>> {
    let shown: &CertificateDer<'_> = stream.get_ref().1.peer_certificates()?.first()?;
    let certificate = EndEntityCert::try_from(shown).ok()?;
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    Some(names.map(str::to_owned).collect())
}
