//! The key of a service account, which signs that we are it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::Failure;
use super::super::fetch::Fetch;
use super::super::file;
use super::super::grant::Grant;
use super::super::question::{Http, Question};
use super::{SCOPE, granted, parsed};

/// How long what we sign is good: the longest that Google takes (Google Identity, "Using OAuth 2.0 for Server to Server
/// Applications").
const LIFETIME: Duration = Duration::from_hours(1);

/// What an assertion is called in a form (RFC 7523, "Authorization Grants").
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Signs with the key in a file, which is read at each refresh.
pub struct ServiceAccount {
    file: PathBuf,
    http: Http,
}

/// The file, as Google's console makes it.
#[derive(Deserialize)]
struct Key {
    client_email: String,
    private_key_id: Option<String>,
    private_key: String,
    token_uri: String,
}

impl ServiceAccount {
    pub(in super::super) fn of(file: &Path, http: &Http) -> Self {
        Self { file: file.to_owned(), http: http.clone() }
    }
}

#[async_trait]
impl Fetch for ServiceAccount {
    async fn fetch(&self) -> Result<Grant, Failure> {
        let key: Key = parsed(&self.file, &file::read(&self.file).await?)?;
        let assertion = key.assertion(SystemTime::now())?;
        let fields = [("grant_type", JWT_BEARER), ("assertion", assertion.expose_secret())];
        let answer = self.http.ask(Question::form(&key.token_uri, &fields)?).await?.good()?;
        granted(&answer, key.client_email)
    }
}

impl Key {
    /// A token of our own that says who asks for what (RFC 7519, signed as RFC 7518 has `RS256`).
    fn assertion(&self, now: SystemTime) -> Result<SecretString, Failure> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now,
            "exp": now + LIFETIME.as_secs(),
        });
        let encoded = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)).into())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let bad = |what: &str| Failure::lasting(format!("the private_key of {} {what}", self.client_email));
        let der = PrivatePkcs8KeyDer::from_pem_slice(self.private_key.as_bytes()).map_err(|_| bad("is not PKCS #8 in PEM"))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| bad("is no RSA key"))?;
        let mut signature = vec![0; key.public_modulus_len()];
        let signed = key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map_err(|_| bad("cannot sign"))?;
        Ok(signature)
    }
}
