//! Google's tokens: what its services are shown for them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use data_encoding::{BASE64_MIME, BASE64URL_NOPAD};
use longshore::credentials::Source;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::issuer::{Answer, Asked, Issuer, until};
use crate::support::scratch;
use crate::world::{around, credentials, in_force, missing};

const HOUR: Duration = Duration::from_hours(1);
const ACCOUNT: &str = "cache@project.iam.gserviceaccount.com";
const IMPERSONATE: &str = "/v1/projects/-/serviceAccounts/cache@project.iam.gserviceaccount.com:generateAccessToken";
const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/ours";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// A token as Google's services tell it.
pub fn token(token: &str, lifetime: Duration) -> Answer {
    (200, json!({"access_token": token, "expires_in": lifetime.as_secs(), "token_type": "Bearer"}).to_string())
}

/// The two steps to a service account's token, for somebody else's.
pub fn federation(asked: &Asked, number: &str, lifetime: Duration) -> Option<Answer> {
    match asked.path.as_str() {
        "/token" if asked.field("subject_token") == "a.web.token" => Some(token("federated", HOUR)),
        IMPERSONATE if asked.header("authorization") == "Bearer federated" => {
            Some((200, json!({"accessToken": number, "expireTime": until(lifetime)}).to_string()))
        }
        "/subject" if asked.header("x-ours") == "yes" => Some((200, json!({"inner": "a.web.token"}).to_string())),
        _ => None,
    }
}

/// The files that users of Google have, for what `issuer` stands in for.
pub struct Files {
    pub service_account: PathBuf,
    pub impersonating: PathBuf,
    pub public_key: Vec<u8>,
    folder: TempDir,
}

impl Files {
    pub fn of(issuer: &Issuer) -> Self {
        let folder = scratch("google");
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.as_der().unwrap();
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_MIME.encode(der.as_ref()).trim());
        let account = json!({
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key_id": "key-1",
            "private_key": pem,
            "token_uri": format!("{}/token", issuer.url()),
        });
        let service_account = folder.path().join("service_account.json");
        std::fs::write(&service_account, account.to_string()).unwrap();
        let public_key = key.public_key().as_ref().to_vec();
        let mut files = Self { service_account, impersonating: PathBuf::new(), public_key, folder };
        std::fs::write(files.folder.path().join("token"), "a.web.token\n").unwrap();
        let url = format!("{}{IMPERSONATE}", issuer.url());
        files.impersonating = files.external(issuer, json!({"file": files.folder.path().join("token")}), Some(&url));
        files
    }

    /// The file of an external account whose token is in `source`.
    fn external(&self, issuer: &Issuer, source: Value, impersonation: Option<&str>) -> PathBuf {
        let account = json!({
            "type": "external_account",
            "audience": AUDIENCE,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": format!("{}/token", issuer.url()),
            "credential_source": source,
            "service_account_impersonation_url": impersonation,
        });
        let path = self.folder.path().join(format!("{}.json", uuid::Uuid::new_v4()));
        std::fs::write(&path, account.to_string()).unwrap();
        path
    }
}

#[tokio::test]
async fn a_service_account_signs_who_it_is_and_what_it_wants() {
    let issuer = Issuer::start(|_| token("token", HOUR)).await;
    let files = Files::of(&issuer);
    let source = Source::GoogleServiceAccount { file: files.service_account.clone() };

    assert_eq!(in_force(&source, &credentials(&source, &around(&[]))).await, "token");

    let [asked] = &issuer.asked()[..] else { panic!("{:?}", issuer.asked()) };
    assert_eq!(asked.field("grant_type"), "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = asked.field("assertion");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &files.public_key);
    assert!(key.verify(signed.as_bytes(), &signature).is_ok());
    let decoded = |text: &str| serde_json::from_slice::<Value>(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    assert_eq!(decoded(header), json!({"alg": "RS256", "typ": "JWT", "kid": "key-1"}));
    let claims = decoded(claims);
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!(ACCOUNT), &json!(SCOPE)));
    assert_eq!(claims["aud"], json!(format!("{}/token", issuer.url())));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let (issued, expires) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert!(now - issued < 60 && expires - issued == 3600, "{claims}");
}

#[tokio::test]
async fn somebody_elses_token_is_exchanged_wherever_it_is_kept() {
    let issuer = Issuer::start(|asked| federation(asked, "token", HOUR).unwrap_or((404, String::new()))).await;
    let files = Files::of(&issuer);
    let format = json!({"type": "json", "subject_token_field_name": "inner"});
    let url = json!({"url": format!("{}/subject", issuer.url()), "headers": {"X-Ours": "yes"}, "format": format});
    let file = json!({"file": files.folder.path().join("token"), "format": {"type": "text"}});
    let direct = files.external(&issuer, url, None);
    let in_file = files.external(&issuer, file, None);

    for (file, expected, scope) in [
        (&direct, "federated", SCOPE),
        (&in_file, "federated", SCOPE),
        (&files.impersonating, "token", "https://www.googleapis.com/auth/cloud-platform"),
    ] {
        let source = Source::GoogleExternalAccount { file: file.clone() };
        assert_eq!(in_force(&source, &credentials(&source, &around(&[]))).await, expected);

        let exchange = issuer.asked().into_iter().rfind(|asked| asked.path == "/token").unwrap();
        assert_eq!(exchange.field("grant_type"), "urn:ietf:params:oauth:grant-type:token-exchange");
        assert_eq!((exchange.field("audience").as_str(), exchange.field("scope").as_str()), (AUDIENCE, scope));
        assert_eq!(exchange.field("subject_token_type"), "urn:ietf:params:oauth:token-type:jwt");
    }
    let impersonation: Value = serde_json::from_str(&issuer.asked().last().unwrap().body).unwrap();
    assert_eq!(impersonation, json!({"scope": [SCOPE], "lifetime": "3600s"}));
}

#[tokio::test]
async fn a_metadata_server_is_asked_as_itself() {
    let issuer = Issuer::start(|asked| match asked.header("metadata-flavor") {
        "Google" => token("token", HOUR),
        _ => (403, String::new()),
    })
    .await;
    let around = around(&[("GCE_METADATA_HOST", &issuer.address.to_string())]);

    assert_eq!(in_force(&Source::GoogleMetadata, &credentials(&Source::GoogleMetadata, &around)).await, "token");

    assert_eq!(issuer.asked()[0].path, "/computeMetadata/v1/instance/service-accounts/default/token");
}

#[tokio::test]
async fn what_is_wrong_is_told_without_any_secret() {
    let refusal = json!({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}).to_string();
    let issuer = Issuer::start(move |_| (400, refusal.clone())).await;
    let files = Files::of(&issuer);
    let broken = |name: &str, text: &str| {
        let path = files.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let bad_key = json!({"client_email": ACCOUNT, "private_key": "a marked secret", "token_uri": issuer.url()}).to_string();
    let service_account = |file: &PathBuf| Source::GoogleServiceAccount { file: file.clone() };
    let external = |file: &PathBuf| Source::GoogleExternalAccount { file: file.clone() };
    for (source, why) in [
        (service_account(&files.service_account), "it answered 400: invalid_grant: Invalid JWT Signature."),
        (service_account(&broken("not-json", "{\"private_key\": \"a marked secret\"")), "is not of the form"),
        (service_account(&broken("bad-key", &bad_key)), "is not PKCS #8 in PEM"),
        (service_account(&files.folder.path().join("nowhere")), "No such file"),
        (external(&files.service_account), "is not of the form"),
        (external(&files.external(&issuer, json!({"environment_id": "aws1"}), None)), "neither a file nor a URL"),
        (external(&files.impersonating), "it answered 400: invalid_grant"),
    ] {
        let missing = missing(&credentials(&source, &around(&[]))).await;

        assert!(missing.reason.contains(why), "{missing}");
        assert!(!missing.is_passing && !missing.reason.contains("marked"), "{missing}");
    }
}
