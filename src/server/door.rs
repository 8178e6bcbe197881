//! The door of a listener that speaks TLS.

use std::io;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;
use x509_cert::der::{self, DecodeValue, Header, Reader, SliceReader, Tag};
use x509_cert::name::Name;

use crate::api::Certificate;
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

/// Who the certificate says that the client is which it has shown, if it has: it was checked when it came.
pub(super) fn certificate(stream: &TlsStream<TcpStream>) -> Option<Certificate> {
    let shown: &CertificateDer<'_> = stream.get_ref().1.peer_certificates()?.first()?;
    let shown = EndEntityCert::try_from(shown).ok()?;
    // What is no URI, though it stands in the place of one, could pass for a name in DNS.
    let uris = shown.valid_uri_names().filter(|uri| uri.contains(':'));
    let names = shown.valid_dns_names().chain(uris).map(str::to_owned).collect();
    let subject = subject(shown.subject()).ok().filter(|subject| !subject.is_empty());
    Some(Certificate { names, subject: subject.map(Into::into) })
}

/// A subject, from its DER without what stands around it: the parts as RFC 4514 writes each, with `/` between, which
/// stands in none of them. So no star in a pattern takes what follows a part for the rest of it.
fn subject(der: &[u8]) -> der::Result<String> {
    let mut reader = SliceReader::new(der)?;
    let name = Name::decode_value(&mut reader, Header::new(Tag::Sequence, der.len().try_into()?))?;
    reader.finish()?;
    let parts: Vec<_> = name.iter_rdn().map(|part| part.to_string().replace('/', "\\2f")).collect();
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use x509_cert::der::Encode;

    use super::*;

    #[test]
    fn a_subject_has_its_parts_between_slashes_and_no_other_slash() {
        // As RFC 4514 writes them: the last part first.
        for (name, expected) in [
            ("CN=builder-1,OU=ci,O=org", "O=org/OU=ci/CN=builder-1"),
            (r"CN=a\2fO=b,O=org", r"O=org/CN=a\2fO=b"),
            (r"CN=a\,O=b,O=org", r"O=org/CN=a\,O=b"),
            ("CN=a+UID=b,O=org", "O=org/CN=a+UID=b"),
            (r"CN=a\0ab", r"CN=a\0ab"),
        ] {
            let der = Name::from_str(name).unwrap().to_der().unwrap();
            // Short ones: a tag and a length before the rest.
            assert_eq!(subject(&der[2..]).as_deref(), Ok(expected), "{name}");
        }
        assert_eq!(subject(b"").as_deref(), Ok(""));
        assert!(subject(b"\x31\x7f").is_err());
    }
}
