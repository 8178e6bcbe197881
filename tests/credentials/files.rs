//! The credentials file that Amazon's tools share.

use std::time::Duration;

use longshore::credentials::Source;
use tokio::time::Instant;

use crate::support::{eventually, scratch};
use crate::world::{around, credentials, keys, missing};

fn section(name: &str, id: &str) -> String {
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = secret-of-{id}\n")
}

#[tokio::test]
async fn a_file_that_changes_is_in_force_soon_and_at_once_where_its_keys_are_refused() {
    let folder = scratch("file");
    let file = folder.path().join("credentials");
    let source = Source::File { path: Some(file.clone()), section: "a".to_owned() };
    let credentials = credentials(&source, &around(&[]));

    std::fs::write(&file, section("b", "other") + &section("a", "one") + "aws_session_token = token\n").unwrap();
    assert_eq!(keys(&credentials).await, ["one", "secret-of-one", "token"]);

    std::fs::write(&file, section("a", "two")).unwrap();
    assert!(credentials.refused(Instant::now()).await);
    assert_eq!(keys(&credentials).await, ["two", "secret-of-two", ""]);

    std::fs::write(&file, section("a", "three")).unwrap();
    let limit = Duration::from_secs(15);
    eventually("it is read again", limit, async || (keys(&credentials).await[0] == "three").then_some(())).await;

    // Half written, or gone.
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!credentials.refused(Instant::now()).await);
    assert_eq!(keys(&credentials).await[0], "three");
}

#[tokio::test]
async fn the_file_is_where_amazons_tools_look_for_it() {
    let folder = scratch("file");
    let home = folder.path().to_str().unwrap();
    std::fs::create_dir(folder.path().join(".aws")).unwrap();
    std::fs::write(folder.path().join(".aws/credentials"), section("a", "at-home")).unwrap();
    std::fs::write(folder.path().join("elsewhere"), section("a", "elsewhere")).unwrap();
    let elsewhere = format!("{home}/elsewhere");
    let source = Source::File { path: None, section: "a".to_owned() };

    let at_home = credentials(&source, &around(&[("HOME", home)]));
    let pointed_to = credentials(&source, &around(&[("HOME", home), ("AWS_SHARED_CREDENTIALS_FILE", &elsewhere)]));

    assert_eq!(keys(&at_home).await[0], "at-home");
    assert_eq!(keys(&pointed_to).await[0], "elsewhere");
}

#[tokio::test]
async fn what_is_no_file_is_not_read() {
    let folder = scratch("file");
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();

    for path in [pipe, "/dev/zero".into()] {
        let source = Source::File { path: Some(path.clone()), section: "a".to_owned() };

        let missing = missing(&credentials(&source, &around(&[]))).await;

        assert_eq!(missing.reason, format!("{}: it is not a file", path.display()));
    }
}

#[tokio::test]
async fn what_is_missing_is_told_by_its_name_and_never_by_its_text() {
    let folder = scratch("file");
    let file = folder.path().join("credentials");
    std::fs::write(
        &file,
        "[a]\naws_access_key_id = id\n[b]\naws_access_key_id = id\naws_secret_access_key = a marked\u{1}secret\n",
    )
    .unwrap();
    let of = |section: &str| Source::File { path: Some(file.clone()), section: section.to_owned() };
    let nowhere = Source::File { path: Some(folder.path().join("nowhere")), section: "a".to_owned() };
    for (source, why) in [
        (of("a"), "[a] of"),
        (of("a"), "has no aws_secret_access_key"),
        (of("c"), "has no aws_access_key_id"),
        (of("b"), "a secret access key has no spaces"),
        (nowhere, "No such file"),
        (Source::File { path: None, section: "a".to_owned() }, "HOME is not set"),
        (Source::Environment, "AWS_ACCESS_KEY_ID is not set"),
    ] {
        let missing = missing(&credentials(&source, &around(&[]))).await;

        assert!(missing.reason.contains(why), "{missing}");
        assert!(!missing.is_passing && !missing.reason.contains("marked"), "{missing}");
    }
}

#[tokio::test]
async fn the_environment_is_what_it_was_given_as() {
    let variables = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "marked-1"), ("AWS_SESSION_TOKEN", "marked-2")];
    let around = around(&variables);

    assert_eq!(keys(&credentials(&Source::Environment, &around)).await, ["id", "marked-1", "marked-2"]);
    assert!(!format!("{around:?}").contains("marked"));
}
