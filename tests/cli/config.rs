//! `longshore config`: what a person is told of settings.

use crate::policy::{KEYS, PROFILES};
use crate::{file, longshore};

/// The line of `key` in the table `section`, with one space between its columns.
fn line(stdout: &str, section: &str, key: &str) -> String {
    let table = stdout.split(&format!("[{section}]\n")).nth(1).unwrap_or_default();
    let lines = table.lines().take_while(|line| !line.is_empty());
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.into_iter().find(|line| line.split(' ').next() == Some(key)).unwrap_or_default()
}

#[test]
fn every_setting_is_told_with_where_it_comes_from() {
    let (_folder, path) = file(&format!("[server]\ndrain = \"5s\"\n{PROFILES}"));
    let variables =
        [KEYS[0], KEYS[1], ("LONGSHORE_SECRET_A", "secret-of-a"), ("LONGSHORE_HOSTS", ""), ("AWS_REGION", "eu-west-1")];

    let outcome = longshore(&["config", "s3://ci-cache", "--anonymous", "read", "--config", &path], &variables);

    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    let (of_a, of_b, default) = ("profiles.team-a", "profiles.team-b", "profiles.default");
    for (section, expected) in [
        ("server", "listen localhost:5000 default".to_owned()),
        ("server", format!("drain 5s {path}:2")),
        ("server", "hosts (none) LONGSHORE_HOSTS".into()),
        ("access", "anonymous read --anonymous".into()),
        ("secrets", "sources env default".into()),
        (of_a, format!("bucket team-a-cache {path}:5 (store)")),
        (of_a, format!("region eu-central-1 {path}:6 (AWS_REGION)")),
        (of_a, format!("access_key_id (stored) {path}:7 (AWS_ACCESS_KEY_ID)")),
        (of_a, format!("secret_access_key → secret A {path}:7 (AWS_SECRET_ACCESS_KEY)")),
        (of_a, "credentials static default".into()),
        (of_b, "kind gcs default".into()),
        (of_b, "region auto default".into()),
        (of_b, format!("credentials google-metadata {path}:14")),
        ("profiles.team-c", format!("path /c {path}:17 (store)")),
        (default, "store s3://ci-cache STORE".into()),
        (default, "region eu-west-1 AWS_REGION".into()),
        (default, "path_style false default".into()),
        (default, "access_key_id (stored) LONGSHORE_ACCESS_KEY_ID".into()),
        (default, "secret_access_key (stored) LONGSHORE_SECRET_ACCESS_KEY".into()),
    ] {
        let key = expected.split(' ').next().expect("a key");
        assert_eq!(line(&outcome.stdout, section, key), expected, "{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("MARK") && !outcome.stdout.contains("secret-of-a"), "{}", outcome.stdout);
    assert_eq!(line(&outcome.stdout, "profiles.team-c", "region"), "", "a folder has none");
}

#[test]
fn keys_that_do_not_count_are_not_told() {
    let variables = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("LONGSHORE_CREDENTIALS", "instance")];

    let told = longshore(&["config", "s3://ci-cache", "--anonymous", "read"], &variables).stdout;

    assert_eq!(line(&told, "profiles.default", "credentials"), "credentials instance LONGSHORE_CREDENTIALS");
    assert_eq!(line(&told, "profiles.default", "access_key_id"), "");
}

#[test]
fn a_configuration_with_mistakes_tells_them_instead() {
    let outcome = longshore(&["config", "--drain", "5"], &[]);

    assert!(outcome.stderr.contains("--drain  \"5\": a time is"), "{}", outcome.stderr);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""));
}
