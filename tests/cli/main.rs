//! The program as a person calls it: what it says, and with which status it ends.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod attacks;
mod audit;
mod config;
mod explain;
mod floods;
mod mistakes;
mod policy;
mod profiles;
mod reload;
mod secret;
mod start;
mod sweep;
mod tls;
mod tokens;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// How one call ended.
struct Outcome {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The program with nothing in its environment but `variables` and a home.
fn command(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.args(arguments).env_clear().env("HOME", "/home/user").envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Calls the program.
fn longshore(arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    longshore_told(b"", arguments, variables)
}

/// Calls the program with `input` on its standard input.
fn longshore_told(input: &[u8], arguments: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut child = command(arguments, variables).spawn().expect("the program runs");
    // One that has no use for it may have ended by now.
    let _ = child.stdin.take().expect("piped").write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("a child of ours");
    let text = |bytes| String::from_utf8(bytes).expect("what it says is text");
    Outcome { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A file `config.toml` with this text, as long as the folder lives.
fn file(text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).expect("the file is written");
    (folder, path.to_str().expect("a plain path").to_owned())
}

#[test]
fn check_says_what_the_configuration_comes_to() {
    let outcome = longshore(&["check"], &[]);

    assert_eq!(
        outcome.stdout,
        "configuration is fine\nfolder /home/user/.cache/longshore; listening on 127.0.0.1:5000 and [::1]:5000; anonymous clients: write\n"
    );
    assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""));
}

#[test]
fn check_shows_a_bucket_without_its_keys() {
    let keys = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "MARK")];

    let outcome = longshore(&["check", "s3://ci-cache/team", "--anonymous", "read", "--listen", "[::1]:0"], &keys);

    assert_eq!(
        outcome.stdout,
        "configuration is fine\ns3://ci-cache/team, region us-east-1; listening on [::1]:0; anonymous clients: read\n"
    );
    assert_eq!(outcome.status, Some(0));
}

#[test]
fn check_reports_every_mistake_of_a_file_at_once() {
    let (_folder, path) = file(
        "[server]\ndrain = \"2 weeks\"\n[profiles.default]\nstroe = \"s3\"\nendpoint = \"objects.example\"\nbucket = \"CI\"\n",
    );

    let outcome = longshore(&["check", "--config", &path], &[]);

    for part in [
        "config.toml: 4 problems\n",
        "  server.drain               line 2  \"2 weeks\": a time is",
        "  profiles.default.stroe     line 4  there is no such key; did you mean store?\n",
        "  profiles.default.endpoint  line 5  \"objects.example\": a URL begins with https:// or http://\n",
        "  profiles.default.bucket    line 6  \"CI\": a bucket's name is",
        "configuration: 2 problems\n",
        "  profiles.default.credentials  no keys to the bucket",
        "  access.anonymous              must be stated, since a bucket stands behind this server",
    ] {
        assert!(outcome.stderr.contains(part), "{part}\nis not in\n{}", outcome.stderr);
    }
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""));
}

#[test]
fn mistakes_in_words_and_settings_end_with_2_and_name_the_mistake() {
    let aws = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    for (arguments, variables, message) in [
        (&["chekc"][..], &[][..], "\"chekc\" is neither a command nor a store"),
        (&["serve", "cache"], &[], "\"cache\" is neither a command nor a store"),
        (&["check", "s3"], &[], "\"s3\" is neither a command nor a store"),
        (&["./a", "./b"], &[], "unexpected argument './b'"),
        (&["./a", "check", "./b"], &[], "store is stated before the command and after it"),
        (&["--drian", "5s"], &[], "unexpected argument '--drian'"),
        (&["--drain"], &[], "a value is required for '--drain <TIME>'"),
        (&["--drain", "1s", "--drain", "2s"], &[], "cannot be used multiple times"),
        (&["--drain", "1s", "check", "--drain", "2s"], &[], "drain is stated before the command and after it"),
        (&["--config", "/no/such/file"], &[], "--config  \"/no/such/file\" cannot be read: No such file"),
        (&[], &[("LONGSHORE_CONFIG", "/no/such/file")], "LONGSHORE_CONFIG  \"/no/such/file\" cannot be read: No such file"),
        (&["--config", "/"], &[], "--config  \"/\" cannot be read"),
        (&["--drain", "5"], &[], "--drain  \"5\": a time is"),
        (&["--listen", "example.org:5000"], &[], "--listen  \"example.org:5000\": an IP address"),
        (&["--listen", "0.0.0.0:5000"], &[], "State --anonymous none, read or write"),
        (&["s3://ci-cache"], &aws, "State --anonymous none, read or write"),
        (&["s3://ci-cache", "--anonymous", "write"], &[], "no keys to the bucket"),
        (
            &["check", "s3://ci-cache", "--kind", "google"],
            &aws,
            "--kind  \"google\": must be one of aws, gcs, minio, ceph, r2, b2, garage, generic",
        ),
        (&["az://ci-cache"], &[], "STORE  \"az://ci-cache\": a store is s3://bucket/prefix"),
        (&[], &[("LONGSHORE_BUKET", "b")], "LONGSHORE_BUKET  there is no such variable; did you mean LONGSHORE_BUCKET?"),
        (&[], &[("LONGSHORE_BUCKET", "")], "LONGSHORE_BUCKET  is empty"),
        (&[], &[("HOME", "")], "nothing says where to keep the bytes"),
    ] {
        let outcome = longshore(arguments, variables);
        assert!(outcome.stderr.contains(message), "{arguments:?} {variables:?}\n{}", outcome.stderr);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{arguments:?} {variables:?}");
    }
}

#[test]
fn no_flag_takes_a_secret_and_none_is_repeated() {
    for arguments in [&["--secret-access-key", "MARK"][..], &["--secret-access-key=MARK"], &["s3://id:MARK@ci-cache"]] {
        let outcome = longshore(arguments, &[]);
        assert!(!outcome.stderr.contains("MARK"), "{}", outcome.stderr);
        assert_eq!(outcome.status, Some(2), "{arguments:?}");
    }
}

#[test]
fn flags_may_stand_before_and_after_the_command() {
    for arguments in [["--drain", "9", "check"], ["check", "--drain", "9"]] {
        assert!(longshore(&arguments, &[]).stderr.contains("--drain  \"9\""), "{arguments:?}");
    }
    let outcome = longshore(&["--listen", "[::1]:1", "check", "--listen", "[::1]:2", "--listen", "[::1]:3,[::1]:4"], &[]);
    assert!(outcome.stdout.contains("listening on [::1]:1 and [::1]:2 and [::1]:3 and [::1]:4;"), "{}", outcome.stdout);
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let (_folder, path) = file("[profiles.default]\nstore = \"/in-file\"\n");

    let outcome = longshore(&["check"], &[("LONGSHORE_CONFIG", &path)]);

    assert!(outcome.stdout.contains("folder /in-file;"), "{}", outcome.stdout);
}

#[test]
fn help_and_version_are_no_mistakes() {
    for (arguments, part) in [
        (&["--version"][..], concat!("longshore ", env!("CARGO_PKG_VERSION"))),
        (&["--help"], "Usage: longshore [OPTIONS] [STORE] [COMMAND]"),
        (&["--help"], "[default: 120s]"),
        (&["check", "--help"], "Usage: longshore check [OPTIONS] [STORE]"),
    ] {
        let outcome = longshore(arguments, &[]);
        assert!(outcome.stdout.contains(part), "{arguments:?}\n{}", outcome.stdout);
        assert_eq!((outcome.status, outcome.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
