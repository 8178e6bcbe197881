//! The keys to a bucket: whole from one source, and never shown.

use secrecy::SecretString;

use super::layers::{Layer, Layers};
use super::problem::Source;
use super::setting::{ACCESS_KEY_ID, CREDENTIALS, SECRET_ACCESS_KEY, SESSION_TOKEN, Setting};
use super::{Credentials, S3Dialect};

/// What to do when there are no keys.
const NO_KEYS: &str = "no keys to the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file),
or state credentials = \"default\" (--credentials default) for what the AWS SDK finds: its files, web identity, the instance's role";

/// What to do when there are none for Google.
const NO_HMAC_KEYS: &str = "no keys to the bucket: a gs:// store needs both values of an HMAC key,
as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file)";

/// The keys of the first source that has any.
pub fn credentials(layers: &mut Layers, dialect: S3Dialect) -> Option<Credentials> {
    check_texts(layers);
    for index in 0..layers.layers.len() {
        if layers.layers[index].source != Source::Aws {
            check_pair(layers, index);
        }
    }
    let mentions =
        |layer: &Layer| [CREDENTIALS, ACCESS_KEY_ID, SECRET_ACCESS_KEY].iter().any(|setting| layer.words(setting).is_some());
    let Some(index) = layers.layers.iter().position(mentions) else {
        layers.refuse(&CREDENTIALS, if dialect == S3Dialect::Gcs { NO_HMAC_KEYS } else { NO_KEYS });
        return None;
    };
    check_pair(layers, index);
    if layers.layers[index].words(&CREDENTIALS).is_some() {
        return chain(layers, dialect);
    }
    if let (S3Dialect::Gcs, Some(token)) = (dialect, layers.layers[index].word(&SESSION_TOKEN)) {
        layers.problems.push(token.place.clone(), "an HMAC key of Google's has no session token");
    }
    keys(&layers.layers[index])
}

/// Whatever the SDK finds, if the store can do with that.
fn chain(layers: &mut Layers, dialect: S3Dialect) -> Option<Credentials> {
    let credentials = layers.choose(&CREDENTIALS, |word| (word == "default").then_some(Credentials::Default));
    if dialect == S3Dialect::Gcs {
        layers.refuse(
            &CREDENTIALS,
            "what the AWS SDK finds are Amazon's keys, which Google does not take: a gs:// store needs an HMAC key",
        );
    }
    credentials
}

/// Tells what is wrong with the texts of keys, without showing them.
fn check_texts(layers: &mut Layers) {
    for setting in [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN] {
        layers.read(&setting, |text| {
            let text = trimmed(text);
            if text.contains("{{") {
                return Err("references to secrets are not supported so far");
            }
            if text.is_empty() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
                return Err("has a space or a control character in it, or nothing else");
            }
            Ok(())
        });
    }
}

/// Tells what a source leaves out of its key pair, or states beside the other way to get one.
fn check_pair(layers: &mut Layers, index: usize) {
    let layer = &layers.layers[index];
    let parts = [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN];
    let Some(stated) = parts.iter().find_map(|setting| layer.word(setting)) else { return };
    if layer.words(&CREDENTIALS).is_some() {
        layers.problems.push(stated.place.clone(), format!("{} is stated too; one of the two is enough", CREDENTIALS.key));
        return;
    }
    let missing = [ACCESS_KEY_ID, SECRET_ACCESS_KEY].into_iter().find(|setting| layer.words(setting).is_none());
    if let Some(missing) = missing {
        let message = format!("needs {} beside it: keys come whole from one source", name_in(layer.source, &missing));
        layers.problems.push(stated.place.clone(), message);
    }
}

/// What a setting is called in a source.
fn name_in(source: Source, setting: &Setting) -> String {
    match source {
        Source::File => setting.key.into(),
        Source::Aws => setting.variable().replacen("LONGSHORE", "AWS", 1),
        _ => setting.variable(),
    }
}

/// The keys that a source states, if it has both.
fn keys(layer: &Layer) -> Option<Credentials> {
    let text = |setting| layer.word(setting).map(|word| trimmed(&word.text).to_owned());
    Some(Credentials::Static {
        access_key_id: text(&ACCESS_KEY_ID)?,
        secret_access_key: SecretString::from(text(&SECRET_ACCESS_KEY)?),
        session_token: text(&SESSION_TOKEN).map(SecretString::from),
    })
}

/// A key without the line end that files and their readers leave behind it.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}
