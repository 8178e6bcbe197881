//! `longshore policy`: what a person is told of permissions.

use serde_json::Value;

use crate::{file, longshore};

pub const KEYS: [(&str, &str); 2] = [("LONGSHORE_ACCESS_KEY_ID", "AKIAMARK"), ("LONGSHORE_SECRET_ACCESS_KEY", "MARK")];

/// A profile of each kind.
pub const PROFILES: &str = "[profiles.team-a]\nimages = [\"team-a/*\"]\nstore = \"s3://team-a-cache/builds\"\n\
    env = { AWS_REGION = \"eu-central-1\" }\n\
    secrets = { AWS_ACCESS_KEY_ID = \"AKIA\", AWS_SECRET_ACCESS_KEY = \"{{secret:A}}\" }\n\
    sse = \"aws:kms\"\nsse_kms_key_id = \"alias/cache\"\nacl = \"private\"\n\
    [profiles.team-b]\nimages = [\"b\"]\nstore = \"gs://team-b-cache/b\"\ncredentials = \"google-metadata\"\n\
    [profiles.team-c]\nimages = [\"c\"]\nstore = \"/c\"\n\
    [profiles.team-d]\nimages = [\"d\"]\nbucket = \"team-d-cache\"\nkind = \"garage\"\nendpoint = \"http://127.0.0.1:1\"\n\
    access_key_id = \"GK\"\nsecret_access_key = \"{{secret:A}}\"\n";

#[test]
fn a_policy_names_what_the_profile_needs_without_asking_who_may_come_in() {
    let (_folder, path) = file(PROFILES);

    for (flags, actions) in [
        (
            &[][..],
            &[
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:PutObjectAcl",
                "s3:ListBucket",
                "kms:GenerateDataKey",
                "kms:Decrypt",
            ][..],
        ),
        (&["--read-only"], &["s3:GetObject", "s3:ListBucket", "kms:Decrypt"]),
    ] {
        let words = [&["policy", "team-a", "--config", &path], flags].concat();
        let outcome = longshore(&words, &[("LONGSHORE_SECRET_A", "secret-of-a")]);

        let policy: Value = serde_json::from_str(&outcome.stdout).expect(&outcome.stderr);
        let statements = policy["Statement"].as_array().expect("statements").iter();
        let found: Vec<&str> =
            statements.flat_map(|it| it["Action"].as_array().expect("actions")).filter_map(Value::as_str).collect();
        assert_eq!(found, actions);
        assert_eq!(policy["Statement"][0]["Resource"], "arn:aws:s3:::team-a-cache/builds/*");
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn every_kind_of_profile_is_told_its_own_way() {
    let (_folder, path) = file(PROFILES);
    for (profile, status, stdout, stderr) in [
        ("team-b", 0, "--role=roles/storage.objectUser --condition='^~^title=longshore~expression=resource.name.startsWith(", ""),
        ("team-c", 0, "profile team-c keeps its bytes in a folder, which takes no permissions", ""),
        ("team-d", 0, "arn:aws:s3:::team-d-cache/*", "a store of kind garage takes no such policies"),
        ("team-e", 2, "", "there is no profile \"team-e\"; there are: team-a, team-b, team-c, team-d"),
    ] {
        let outcome = longshore(&["policy", profile, "--config", &path], &[("LONGSHORE_SECRET_A", "secret-of-a")]);

        assert!(outcome.stdout.contains(stdout) && outcome.stderr.contains(stderr), "{}{}", outcome.stdout, outcome.stderr);
        assert_eq!((outcome.status, outcome.stderr.is_empty()), (Some(status), stderr.is_empty()), "{profile}");
        assert!(!outcome.stdout.contains("hmac create"), "a token needs no key: {}", outcome.stdout);
    }
    assert_eq!(longshore(&["policy"], &[]).status, Some(2));
    let gs = longshore(&["policy", "default", "gs://ci-cache"], &KEYS);
    assert!(gs.stdout.contains("gcloud storage hmac create \"$ACCOUNT\"\n"), "{}{}", gs.stdout, gs.stderr);
}
