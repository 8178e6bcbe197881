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
fn who_may_what_is_told_with_where_it_stands_and_no_hash_is() {
    const HASH: &str = "$2y$10$wEMr3aKSJ2nLWPgd1.SXYe8vVLVHALBc7rCVCLTTMzqNXaGsKqdv2";
    let folder = tempfile::tempdir().expect("a folder");
    let htpasswd = folder.path().join("htpasswd").display().to_string();
    std::fs::write(&htpasswd, format!("carol:{HASH}\n")).expect("it is written");
    let (_folder, path) = file(&format!(
        "[access]\nanonymous = \"none\"\nhtpasswd = \"{htpasswd}\"\n[access.users]\nalice = \"{HASH}\"\nbob = \"{{{{secret:BOB}}}}\"\n\
         [access.groups]\nops = [\"alice\", \"bob\"]\n\
         [access.token]\nrealm = \"https://cache.example/token\"\nkey = \"{{{{secret:TOKENS}}}}\"\n\
         [access.audit]\nfile = \"/tmp/audit.log\"\n\
         [[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = [\"a\", \"b\"]\nrequire = {{ org = \"our*\" }}\n\
         [[access.issuers]]\nname = \"other\"\nissuer = \"https://other.example\"\naudience = \"a\"\nsession = \"6h\"\n\
         [[access.grants]]\nwho = {{ group = \"ops\" }}\nimages = [\"**\"]\nallow = [\"read\"]\n\
         [[access.grants]]\nwho = {{ issuer = \"ci\" }}\nimages = [\"org/*\"]\nallow = [\"write\"]\n"
    ));
    let variables = [("LONGSHORE_SECRET_BOB", HASH), ("LONGSHORE_SECRET_TOKENS", "a key of thirty-two bytes, or so")];

    let outcome = longshore(&["config", "--config", &path], &variables);

    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
    for (section, expected) in [
        ("access.users", format!("alice (stored) {path}:5")),
        ("access.users", format!("bob → secret BOB {path}:6")),
        ("access.users", format!("carol (stored) {htpasswd}")),
        ("access.groups", format!("ops alice, bob {path}:8")),
        ("access.token", format!("realm https://cache.example/token {path}:10")),
        ("access.token", format!("key → secret TOKENS {path}:11")),
        ("access.audit", format!("file /tmp/audit.log {path}:13")),
        ("access.audit", "format (text) default".into()),
        ("access.issuers.ci", format!("issuer https://ci.example {path}:16")),
        ("access.issuers.ci", format!("audience a, b {path}:17")),
        ("access.issuers.ci", format!("require {{ org = \"our*\" }} {path}:18")),
        ("access.issuers.ci", "session 0s default".into()),
        ("access.issuers.ci", "algorithms RS256, ES256, EdDSA default".into()),
        ("access.issuers.other", format!("session 6h {path}:23")),
        ("access.issuers.other", "require (nothing) default".into()),
        ("access.grants", format!("1 who {{ group = \"ops\" }}, images **, tags *, allow read {path}:24")),
        ("access.grants", format!("2 who {{ issuer = \"ci\" }}, images org/*, tags *, allow write {path}:28")),
    ] {
        let key = expected.split(' ').next().expect("a key");
        assert_eq!(line(&outcome.stdout, section, key), expected, "{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("$2y$") && !outcome.stdout.contains("thirty-two"), "{}", outcome.stdout);
}

#[test]
fn what_listeners_greet_with_is_told_after_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let words = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=a -keyout {} -out {}",
        at("key"),
        at("cert")
    );
    let made = std::process::Command::new(crate::support::tools::debian_tool("openssl"))
        .args(words.split(' '))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{made:?}");
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", at("cert"), at("key"));
    let (_folder, path) =
        file(&format!("[[server.listeners]]\naddress = \"127.0.0.1:1\"\n{tls}\n[profiles.default]\nstore = \"/x\"\n"));

    let told = longshore(&["config", "--config", &path], &[]).stdout;

    let expected = format!("127.0.0.1:1 cert {}, key {} {path}:3", at("cert"), at("key"));
    assert_eq!(line(&told, "server.listeners.tls", "127.0.0.1:1"), expected, "{told}");
    let sections: Vec<_> = told.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(
        sections,
        [
            "[server]",
            "[server.listeners.tls]",
            "[access]",
            "[access.token]",
            "[access.audit]",
            "[store]",
            "[secrets]",
            "[log]",
            "[profiles.default]"
        ]
    );
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
