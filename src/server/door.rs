//! The door of a listener that speaks TLS.

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
    pub(super) async fn greet(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let config = self.0.read().unwrap_or_else(PoisonError::into_inner).config();
        let greeting = tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await;
        greeting.map_err(|_| "nothing came in time".to_owned())?.map_err(|error| error.to_string())
    }
}

/// The names in the certificate that the client has shown, if it has: it was checked when it came.
pub(super) fn names(stream: &TlsStream<TcpStream>) -> Option<Arc<[String]>> {
    let shown: &CertificateDer<'_> = stream.get_ref().1.peer_certificates()?.first()?;
    let certificate = EndEntityCert::try_from(shown).ok()?;
    let names = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    Some(names.map(str::to_owned).collect())
}
