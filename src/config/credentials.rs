//! The keys to a bucket: whole from one source, and never shown.

use super::layers::{Layer, Layers};
use super::problem::Source;
use super::setting::{ACCESS_KEY_ID, CREDENTIALS, SECRET_ACCESS_KEY, SESSION_TOKEN, Setting};
use crate::credentials;
use crate::secrets::Template;
use crate::store::S3Kind;

/// What to do when there are no keys.
const NO_KEYS: &str = "no keys to the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file),
or state credentials = \"default\" (--credentials default) for what the AWS SDK finds: its files, web identity, the instance's role";

/// What to do when there are none for Google.
const NO_HMAC_KEYS: &str = "no keys to the bucket: a gs:// store needs both values of an HMAC key,
as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the same with LONGSHORE_, or in the file)";

/// The keys of the first source that has any.
pub fn credentials(layers: &mut Layers, kind: S3Kind) -> Option<credentials::Source> {
    check_texts(layers);
    for index in 0..layers.stack.len() {
        if layers.stack[index].source != Source::Aws {
            check_pair(layers, index);
        }
    }
    let mentions =
        |layer: &Layer| [CREDENTIALS, ACCESS_KEY_ID, SECRET_ACCESS_KEY].iter().any(|setting| layer.words(setting).is_some());
    let Some(index) = layers.stack.iter().position(mentions) else {
        layers.refuse(&CREDENTIALS, if kind.has_hmac_keys { NO_HMAC_KEYS } else { NO_KEYS });
        return None;
    };
    check_pair(layers, index);
    if layers.stack[index].words(&CREDENTIALS).is_some() {
        return chain(layers, kind);
    }
    if kind.has_hmac_keys
        && let Some(token) = layers.stack[index].word(&SESSION_TOKEN)
    {
        layers.problems.push(token.place.clone(), "an HMAC key of Google's has no session token");
    }
    keys(&layers.stack[index])
}

/// Whatever the SDK finds, if the store can do with that.
fn chain(layers: &mut Layers, kind: S3Kind) -> Option<credentials::Source> {
    let credentials = layers.choose(&CREDENTIALS, |word| (word == "default").then_some(credentials::Source::Default));
    if kind.has_hmac_keys {
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
    let layer = &layers.stack[index];
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
fn keys(layer: &Layer) -> Option<credentials::Source> {
    let text = |setting| layer.word(setting).map(|word| trimmed(&word.text).to_owned());
    Some(credentials::Source::Static {
        access_key_id: Template::of_text(text(&ACCESS_KEY_ID)?),
        secret_access_key: Template::of_text(text(&SECRET_ACCESS_KEY)?),
        session_token: text(&SESSION_TOKEN).map(Template::of_text),
    })
}

/// A key without the line end that files and their readers leave behind it.
pub fn trimmed(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;
    use crate::config::Store;
    use crate::config::tests::loaded;

    const OURS: [(&str, &str); 2] = [("LONGSHORE_ACCESS_KEY_ID", "our-id"), ("LONGSHORE_SECRET_ACCESS_KEY", "our-secret")];
    const AMAZONS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "aws-id"), ("AWS_SECRET_ACCESS_KEY", "aws-secret")];
    const IN_FILE: &str = "access_key_id = \"file-id\"\nsecret_access_key = \"file-secret\"";

    /// `id:secret:token`, or `default`, of a store that is otherwise fine.
    fn keys(store: &str, variables: &[(&str, &str)], file: &str) -> Result<String, String> {
        let flags = [("anonymous", "none")];
        let config = loaded(&flags, variables, &format!("[profiles.default]\nstore = \"{store}\"\n{file}"))?;
        let Store::S3(s3) = config.profile.store else { panic!("a folder") };
        Ok(match s3.credentials {
            credentials::Source::Default => "default".into(),
            credentials::Source::Static { access_key_id, secret_access_key, session_token } => {
                let text = |template: Template| template.text().unwrap().expose_secret().to_owned();
                let token = session_token.map_or(String::new(), text);
                format!("{}:{}:{token}", text(access_key_id), text(secret_access_key))
            }
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_first_source_with_keys_decides() {
        let both = [OURS, AMAZONS].concat();
        for (variables, file, expected) in [
            (&both[..], IN_FILE, "our-id:our-secret:"),
            (&AMAZONS, IN_FILE, "file-id:file-secret:"),
            (&AMAZONS, "", "aws-id:aws-secret:"),
            (&AMAZONS, "credentials = \"default\"", "default"),
            (&OURS, "credentials = \"default\"", "our-id:our-secret:"),
            (&[("LONGSHORE_CREDENTIALS", "default")], IN_FILE, "default"),
            (
                &[("AWS_ACCESS_KEY_ID", "aws-id"), ("AWS_SECRET_ACCESS_KEY", "aws-secret\n"), ("AWS_SESSION_TOKEN", "t")],
                "",
                "aws-id:aws-secret:t",
            ),
            (&[("AWS_SESSION_TOKEN", "t"), OURS[0], OURS[1]], "", "our-id:our-secret:"),
            (&[("AWS_ACCESS_KEY_ID", "half")], IN_FILE, "file-id:file-secret:"),
        ] {
            assert_eq!(keys("s3://ci-cache", variables, file), Ok(expected.into()), "{variables:?} {file}");
        }
    }

    #[test]
    fn half_a_pair_is_refused_with_the_name_of_the_other_half() {
        for (variables, file, expected) in [
            (&OURS[..1], IN_FILE, "LONGSHORE_ACCESS_KEY_ID  needs LONGSHORE_SECRET_ACCESS_KEY beside it"),
            (&OURS[1..], IN_FILE, "LONGSHORE_SECRET_ACCESS_KEY  needs LONGSHORE_ACCESS_KEY_ID beside it"),
            (&[("LONGSHORE_SESSION_TOKEN", "t")], IN_FILE, "LONGSHORE_SESSION_TOKEN  needs LONGSHORE_ACCESS_KEY_ID beside it"),
            (&OURS, "access_key_id = \"id\"", "access_key_id  line 3  needs profiles.default.secret_access_key beside it"),
            (&AMAZONS[..1], "", "AWS_ACCESS_KEY_ID  needs AWS_SECRET_ACCESS_KEY beside it"),
            (&[AMAZONS[1], ("AWS_ACCESS_KEY_ID", "")], "", "AWS_SECRET_ACCESS_KEY  needs AWS_ACCESS_KEY_ID beside it"),
        ] {
            let problems = keys("s3://ci-cache", variables, file).unwrap_err();
            assert!(problems.contains(" 1 problem\n") && problems.contains(expected), "{problems}");
        }
    }

    #[test]
    fn no_keys_two_kinds_of_keys_and_bad_keys_are_refused() {
        let with_default = format!("{IN_FILE}\ncredentials = \"default\"");
        for (store, variables, file, expected) in [
            ("s3://ci-cache", &[][..], "", "or state credentials = \"default\""),
            ("s3://ci-cache", &[("AWS_SESSION_TOKEN", "t")], "", "or state credentials = \"default\""),
            ("s3://ci-cache", &[], with_default.as_str(), "profiles.default.credentials is stated too"),
            ("s3://ci-cache", &[], "credentials = \"instance\"", "\"instance\": must be default"),
            ("s3://ci-cache", &[], "access_key_id = \"a b\"\nsecret_access_key = \"c\"", "has a space or a control character"),
            (
                "s3://ci-cache",
                &[],
                "access_key_id = \"{{secret:A}}\"\nsecret_access_key = \"c\"",
                "references to secrets are not",
            ),
            ("s3://ci-cache", &[("LONGSHORE_ACCESS_KEY_ID", ""), OURS[1]], "", "LONGSHORE_ACCESS_KEY_ID  is empty"),
            ("gs://ci-cache", &[], "", "a gs:// store needs both values of an HMAC key"),
            ("gs://ci-cache", &[], "credentials = \"default\"", "which Google does not take"),
            ("gs://ci-cache", &[OURS[0], OURS[1], ("LONGSHORE_SESSION_TOKEN", "t")], "", "has no session token"),
        ] {
            let problems = keys(store, variables, file).unwrap_err();
            assert!(problems.contains(" 1 problem\n") && problems.contains(expected), "{problems}");
        }
    }

    // The keys of one kind of store must never be tried on another.
    #[test]
    fn keys_beside_another_kind_of_store_are_not_used() {
        let file = format!("[access]\nanonymous = \"none\"\n[profiles.default]\nstore = \"s3://ci-cache\"\n{IN_FILE}");

        let problems = loaded(&[("store", "gs://ci-cache")], &[], &file).unwrap_err();

        assert!(problems.contains("a gs:// store needs both values of an HMAC key"), "{problems}");
    }
}
