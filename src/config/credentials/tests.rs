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
    let mut config = loaded(&flags, variables, &format!("[profiles.default]\nstore = \"{store}\"\n{file}"))?;
    let Store::S3(s3) = config.profiles.remove(0).store else { panic!("a folder") };
    Ok(match s3.credentials {
        Source::Default => "default".into(),
        Source::Static { access_key_id, secret_access_key, session_token } => {
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
        ("s3://ci-cache", &[], "credentials = \"sso\"", "\"sso\": must be one of static, hmac, file,"),
        ("s3://ci-cache", &[], "access_key_id = \"a b\"\nsecret_access_key = \"c\"", "an access key id is letters"),
        (
            "s3://ci-cache",
            &[],
            "access_key_id = \"{{secret:A}}\"\nsecret_access_key = \"c\"",
            "secret A is in none of the sources",
        ),
        ("s3://ci-cache", &[("LONGSHORE_ACCESS_KEY_ID", ""), OURS[1]], "", "LONGSHORE_ACCESS_KEY_ID  is empty"),
        ("gs://ci-cache", &[], "", "a gs:// store needs both values of an HMAC key"),
        ("gs://ci-cache", &[], "credentials = \"default\"", "what default finds are Amazon's keys, which Google does not take"),
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
