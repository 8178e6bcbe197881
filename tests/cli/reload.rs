//! Changing the settings while it serves: what could go wrong with that.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::StatusCode;

use crate::profiles::{SOON, Stage, TWO, push};
use crate::support::client::ask;
use crate::support::longshore::Launch;

#[tokio::test]
async fn a_reload_opens_no_port_that_others_reach() {
    let stage = Stage::new();
    let launch = Launch::bare(&["--config", stage.path("config.toml").to_str().expect("a plain path")]);
    let port = launch.address.port();
    let store = "[profiles.default]\nstore = \"$/all\"\n";
    let wide = format!("[server]\nlisten = [\"0.0.0.0:{port}\"]\n[access]\nanonymous = \"none\"\n");
    stage.write("config.toml", &(wide + store));
    let longshore = launch.start().await;
    let begin = || ask(longshore.address, "POST", "/v2/a/blobs/uploads/");
    assert_eq!(begin().await.status, StatusCode::FORBIDDEN);

    stage.write("config.toml", &format!("[server]\nlisten = [\"127.0.0.1:{port}\"]\n{store}"));

    longshore.line_with("settings not reloaded", SOON).await;
    assert_eq!(begin().await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_holds_up_nothing() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstore = \"$/b\"\n");
    let mut longshore = stage.launch.clone().arg("--drain").arg("1s").start().await;

    let pipe = stage.path("profiles.d/z.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    longshore.line_with("it is not a file", SOON).await;

    assert_eq!(push(&longshore, "b").await, StatusCode::CREATED);
    longshore.terminate();
    assert!(longshore.ended(SOON).await.success());
}

// A mount that is lost looks the same.
#[tokio::test]
async fn a_profile_that_is_gone_stays_until_somebody_says_that_it_is_meant() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstore = \"$/b\"\n");
    let longshore = stage.launch.start().await;

    fs::remove_file(stage.path("profiles.d/b.toml")).expect("it is there");
    longshore.line_with("settings not reloaded", SOON).await;
    longshore.line_with("profile b is in none of the files any more", SOON).await;
    assert_eq!(push(&longshore, "b").await, StatusCode::CREATED);
    assert!(stage.has("b", "b") && !stage.has("rest", "b"));

    longshore.hang_up();
    longshore.line_with("closed=\"b\"", SOON).await;
    push(&longshore, "b").await;
    assert!(stage.has("rest", "b"));
}

#[tokio::test]
async fn a_mistake_is_over_when_what_it_was_about_is_mended() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    let longshore = stage.launch.start().await;

    stage.write("config.toml", &format!("[secrets]\nsources = [\"file:K=$/new/key\"]\n{TWO}"));
    longshore.line_with("settings not reloaded", SOON).await;
    stage.write("new/key", "key");

    longshore.line_with("settings reloaded", SOON).await;
}

#[tokio::test]
async fn a_secret_that_everybody_can_read_is_taken_once_they_no_longer_can() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    let longshore = stage.launch.start().await;
    let exposed = "images = [\"b\"]\nstore = \"s3://cache\"\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"id\"\n\
        secret_access_key = \"MARK\"\n";
    stage.write("profiles.d/b.toml", exposed);
    longshore.line_with("take that right away (chmod 600)", SOON).await;

    fs::set_permissions(stage.path("profiles.d/b.toml"), fs::Permissions::from_mode(0o600)).expect("it is ours");

    longshore.line_with("opened=\"b\"", SOON).await;
}

#[tokio::test]
async fn a_file_that_never_rests_is_read_all_the_same() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstore = \"$/b\"\n");
    let longshore = stage.launch.start().await;

    let restless = async {
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        for count in 0.. {
            beat.tick().await;
            fs::write(stage.path("profiles.d/b.toml"), format!("# {count}\nimages = [\"b\"]\nstore = \"/dev/null/b\"\n"))
                .expect("ours");
        }
    };

    tokio::select! {
        () = restless => {}
        _ = longshore.line_with("settings ", SOON) => {}
    }
}
