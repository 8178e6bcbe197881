//! What is asked of a bucket for every object in it.

use data_encoding::BASE64;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretSlice};

use super::credentials::trimmed;
use super::layers::Layers;
use super::secrets::resolved;
use super::setting::{ACL, CANNED_ACLS, OBJECT_TAGS, REQUEST_PAYER, SSE, SSE_CUSTOMER_KEY, SSE_KMS_KEY_ID, STORAGE_CLASS};
use crate::secrets::{MalformedTemplate, Secrets, Template};
use crate::store::{S3Encryption, S3Kind, S3Objects};

/// Most tags an object may have (S3 User Guide, "Categorizing your storage using tags"), as the two below.
const MAX_TAGS: usize = 10;

/// Most characters of a tag's key.
const MAX_TAG_KEY: usize = 128;

/// Most characters of a tag's value.
const MAX_TAG_VALUE: usize = 256;

/// What is stated for the objects of a bucket of this kind, at `endpoint`.
pub fn objects(layers: &mut Layers, kind: S3Kind, endpoint: Option<&str>) -> Option<S3Objects> {
    for (setting, is_known) in [(&OBJECT_TAGS, kind.has_tags), (&ACL, kind.has_acls)] {
        if !is_known && layers.words(setting).is_some() {
            layers.refuse(setting, format!("a store of kind {} has no such thing", kind.name));
        }
    }
    Some(S3Objects {
        encryption: encryption(layers, endpoint),
        storage_class: layers.read(&STORAGE_CLASS, storage_class),
        acl: layers.choose(&ACL, |word| CANNED_ACLS.contains(&word).then(|| word.to_owned())),
        tags: tags(layers),
        requester_pays: layers.choose(&REQUEST_PAYER, |word| word.parse().ok())?,
    })
}

/// How objects are encrypted.
fn encryption(layers: &mut Layers, endpoint: Option<&str>) -> Option<S3Encryption> {
    let key_id = layers.read(&SSE_KMS_KEY_ID, kms_key);
    let sse = layers.choose(&SSE, |word| match word {
        "AES256" => Some(S3Encryption::Own),
        "aws:kms" => Some(S3Encryption::Kms(key_id.clone())),
        _ => None,
    });
    if key_id.is_some() && !matches!(sse, Some(S3Encryption::Kms(_))) {
        layers.refuse(&SSE_KMS_KEY_ID, "needs sse = \"aws:kms\" beside it");
    }
    let secrets = layers.secrets.clone();
    let Some(customer_key) = layers.read(&SSE_CUSTOMER_KEY, |text| customer_key(text, secrets.as_ref())) else { return sse };
    if sse.is_some() {
        layers.refuse(&SSE_CUSTOMER_KEY, format!("{} is stated too; one of the two is enough", SSE.key));
    }
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        layers.refuse(&SSE_CUSTOMER_KEY, "travels with every request, so the endpoint must be https://");
    }
    customer_key.map(S3Encryption::Customer)
}

/// A key of AWS KMS, by its id, ARN or alias.
fn kms_key(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_:/".contains(c);
    if text.len() <= 2048 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a key of KMS is named by its id, its ARN, or an alias such as alias/cache")
}

/// A customer key: 32 bytes in base64, or what refers to that; `None` where secrets could not be read, which has been told.
fn customer_key(text: &str, secrets: Option<&Secrets>) -> Result<Option<SecretSlice<u8>>, String> {
    let template: Template = trimmed(text).parse().map_err(|error: MalformedTemplate| error.to_string())?;
    let Some(value) = resolved(&template, secrets).map_err(|error| error.to_string())? else { return Ok(None) };
    let key = BASE64.decode(value.expose_secret().as_bytes()).ok().filter(|key| key.len() == 32);
    Ok(Some(key.ok_or("is 32 bytes in base64, such as openssl rand -base64 32 makes")?.into()))
}

/// A storage class, from which objects can be read at once.
fn storage_class(text: &str) -> Result<String, &'static str> {
    if ["GLACIER", "DEEP_ARCHIVE"].contains(&text) {
        return Err("what is archived cannot be read, so a cache in it would be empty");
    }
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("a storage class is a word such as STANDARD_IA: capital letters, digits and _")
}

/// The tags that every object gets.
fn tags(layers: &mut Layers) -> Vec<(String, String)> {
    let tags: Vec<_> = layers.read_all(&OBJECT_TAGS, pairs).unwrap_or_default().into_iter().flatten().collect();
    if tags.len() > MAX_TAGS {
        layers.refuse(&OBJECT_TAGS, format!("an object has at most {MAX_TAGS} tags"));
    }
    tags
}

/// `key=value&key=value`, percent-encoded.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    text.split('&').map(pair).collect()
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("tags are key=value, with & between several")?;
    let decoded = |text| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| "is not UTF-8 once decoded");
    let (key, value) = (decoded(key)?, decoded(value)?);
    if key.is_empty() || key.chars().count() > MAX_TAG_KEY || value.chars().count() > MAX_TAG_VALUE {
        return Err("a tag's key is 1 to 128 characters, its value at most 256");
    }
    Ok((key, value))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::Store;
    use crate::config::tests::loaded;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    /// What comes of these lines, in a bucket that is otherwise fine.
    fn stated(lines: &str) -> Result<S3Objects, String> {
        let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("LONGSHORE_ANONYMOUS", "none")];
        let mut config = loaded(&[], &keys, &format!("[profiles.default]\nbucket = \"ci-cache\"\n{lines}"))?;
        let Store::S3(s3) = config.profiles.remove(0).store else { panic!("a folder") };
        Ok(s3.objects)
    }

    #[test]
    fn nothing_is_asked_for_unless_it_is_stated() {
        let objects = stated("").unwrap();

        assert_eq!(format!("{objects:?}"), format!("{:?}", S3Objects::default()));
    }

    #[test]
    fn what_is_stated_is_asked_for() {
        let objects = stated(
            "sse = \"aws:kms\"\nsse_kms_key_id = \"alias/cache\"\nstorage_class = \"STANDARD_IA\"\n\
             acl = \"bucket-owner-full-control\"\nrequest_payer = true\nobject_tags = { team = \"ci & co\", \"a b\" = \"\" }",
        );

        let objects = objects.unwrap();
        assert!(matches!(objects.encryption, Some(S3Encryption::Kms(Some(key))) if key == "alias/cache"));
        assert_eq!(objects.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(objects.acl.as_deref(), Some("bucket-owner-full-control"));
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(objects.tags, [pair("a b", ""), pair("team", "ci & co")]);
        assert!(objects.requester_pays);
        assert_eq!(stated("object_tags = \"team=ci%20%26%20co&a=\"").unwrap().tags, [pair("team", "ci & co"), pair("a", "")]);
        assert!(matches!(stated("sse = \"AES256\"").unwrap().encryption, Some(S3Encryption::Own)));
        let Some(S3Encryption::Customer(key)) = stated(&format!("sse_customer_key = {KEY:?}")).unwrap().encryption else {
            panic!("no customer key")
        };
        assert_eq!(key.expose_secret(), (0..32).collect::<Vec<u8>>());
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused_by_its_key() {
        for (lines, expected) in [
            ("sse = \"SSE-S3\"", "sse  line 3  \"SSE-S3\": must be one of AES256, aws:kms"),
            ("sse_kms_key_id = \"k\"", "sse_kms_key_id  line 3  needs sse = \"aws:kms\" beside it"),
            ("sse = \"aws:kms\"\nsse_kms_key_id = \"a b\"", "sse_kms_key_id  line 4  \"a b\": a key of KMS is named by"),
            ("sse_customer_key = \"MARK\"", "sse_customer_key  line 3  is 32 bytes in base64"),
            (
                "sse = \"AES256\"\nsse_customer_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"",
                "sse_customer_key  line 4  profiles.default.sse is stated too",
            ),
            (
                "endpoint = \"http://minio:9000\"\nsse_customer_key = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"",
                "sse_customer_key  line 4  travels with every request, so the endpoint must be https://",
            ),
            ("storage_class = \"GLACIER\"", "storage_class  line 3  \"GLACIER\": what is archived cannot be read"),
            ("storage_class = \"standard\"", "storage_class  line 3  \"standard\": a storage class is a word"),
            ("acl = \"public\"", "acl  line 3  \"public\": must be one of private, public-read,"),
            ("object_tags = \"team\"", "object_tags  line 3  \"team\": tags are key=value"),
            ("object_tags = { team = 1 }", "object_tags  line 3  must be a table of texts, or a text, not of other things"),
            ("object_tags = {}", "object_tags  line 3  is empty"),
            ("object_tags = \"=v\"", "object_tags  line 3  \"=v\": a tag's key is 1 to 128 characters"),
            ("object_tags = \"a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=\"", "object_tags  line 3  an object has at most 10 tags"),
            ("kind = \"gcs\"\nobject_tags = \"a=b\"", "object_tags  line 4  a store of kind gcs has no such thing"),
            ("kind = \"gcs\"\nacl = \"private\"", "acl  line 4  a store of kind gcs has no such thing"),
            ("proxy = \"proxy:3128\"", "proxy  line 3  \"proxy:3128\": a URL begins with https:// or http://"),
            ("proxy = \"http://user:MARK@proxy:3128\"", "proxy  line 3  no user name or password in a URL"),
            ("ca_bundle = \"~/ca.pem\"", "ca_bundle  line 3  \"~/ca.pem\": ~ means nothing here"),
        ] {
            let problems = stated(lines).expect_err(lines);
            assert!(problems.contains(" 1 problem\n") && problems.contains(expected), "{problems}");
            assert!(!problems.contains("MARK") && !problems.contains("AAECAw"), "{problems}");
        }
    }
}
