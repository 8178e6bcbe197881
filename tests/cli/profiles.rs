//! Several profiles in one process, and changing them while it serves.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tempfile::TempDir;

use crate::support::client::{ask, push_blob};
use crate::support::longshore::{Launch, Longshore};
use crate::support::{ports, scratch};

/// How long a change of the settings may take to be in force.
pub const SOON: Duration = Duration::from_secs(20);

/// A configuration file with stores beside it.
pub struct Stage {
    folder: TempDir,
    pub launch: Launch,
}

impl Stage {
    pub fn new() -> Self {
        let folder = scratch("profiles");
        let config = folder.path().join("config.toml");
        Self { launch: Launch::configured(&config), folder }
    }

    /// One where the file says what everybody may.
    pub fn guarded() -> Self {
        let folder = scratch("profiles");
        let config = folder.path().join("config.toml");
        let launch = Launch::bare(&["--config", config.to_str().expect("a plain path")]).listening();
        Self { folder, launch }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts `text` in force as a whole, as an editor or Kubernetes would. `$` stands for the folder of all stores.
    pub fn write(&self, name: &str, text: &str) {
        let partial = self.path("partial");
        fs::write(&partial, text.replace('$', self.folder.path().to_str().expect("a plain path"))).expect("it is written");
        fs::create_dir_all(self.path(name).parent().expect("a folder")).expect("a folder");
        fs::rename(&partial, self.path(name)).expect("it is put in place");
    }

    pub fn has(&self, store: &str, image: &str) -> bool {
        self.path(store).join(image).join("blobs").is_dir()
    }
}

/// Pushes a blob whose content is the image's name.
pub async fn push(longshore: &Longshore, image: &str) -> StatusCode {
    push_at(longshore.address, image).await
}

async fn push_at(address: SocketAddrV4, image: &str) -> StatusCode {
    push_blob(address, image, &digest(image), Bytes::copy_from_slice(image.as_bytes())).await.status
}

fn digest(text: &str) -> String {
    longshore::oci::Digest::sha256(text.as_bytes()).to_string()
}

pub const TWO: &str = "[profiles.a]\nimages = [\"a/**\"]\nstore = \"$/a\"\n[profiles.default]\nstore = \"$/rest\"\n";

#[tokio::test]
async fn an_image_goes_to_the_profile_whose_pattern_is_the_most_specific() {
    let stage = Stage::new();
    stage.write("config.toml", &format!("{TWO}[profiles.web]\nimages = [\"a/web-*\"]\nstore = \"$/web\"\n"));
    stage.write("profiles.d/c.toml", "images = [\"c\"]\nstore = \"$/c\"\n");
    let longshore = stage.launch.start().await;

    for (image, store) in [("a/x", "a"), ("a/web-1", "web"), ("a/web-1/x", "a"), ("c", "c"), ("c/x", "rest"), ("b", "rest")] {
        assert_eq!(push(&longshore, image).await, StatusCode::CREATED, "{image}");
        assert!(stage.has(store, image), "{image} is not in {store}");
    }
}

#[tokio::test]
async fn an_image_of_no_profile_is_unknown_and_the_log_says_why() {
    let stage = Stage::new();
    stage.write("config.toml", "[profiles.a]\nimages = [\"a/**\"]\nstore = \"$/a\"\n");
    let longshore = stage.launch.start().await;

    assert_eq!(ask(longshore.address, "POST", "/v2/b/blobs/uploads/").await.status, StatusCode::NOT_FOUND);
    longshore.line_with("no profile has this image", SOON).await;
}

#[tokio::test]
async fn a_listener_may_have_a_profile_of_its_own() {
    let stage = Stage::new();
    let other = ports::free_address();
    stage.write("config.toml", TWO);
    let longshore = stage.launch.clone().arg("--listen").arg(&format!("{other}=a")).start().await;

    assert_eq!(push_at(other, "b").await, StatusCode::CREATED);
    assert_eq!(push(&longshore, "b").await, StatusCode::CREATED);

    assert!(stage.has("a", "b") && stage.has("rest", "b"));
}

#[tokio::test]
async fn images_that_are_kept_as_one_share_what_they_have() {
    let stage = Stage::new();
    stage.write("config.toml", "[profiles.default]\nstore = \"$/all\"\nmap = { \"org/web-*\" = \"org/web\" }\n");
    let longshore = stage.launch.start().await;

    push(&longshore, "org/web-1").await;

    let found = ask(longshore.address, "HEAD", &format!("/v2/org/web-2/blobs/{}", digest("org/web-1"))).await;
    assert_eq!(found.status, StatusCode::OK);
    assert!(stage.has("all", "org/web") && !stage.has("all", "org/web-1"));
    let begun = ask(longshore.address, "POST", "/v2/org/web-1/blobs/uploads/").await;
    assert!(begun.header("location").starts_with("/v2/org/web-1/"), "{}", begun.header("location"));
}

#[tokio::test]
async fn a_change_of_the_settings_is_in_force_without_a_restart_and_a_mistake_changes_nothing() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    let longshore = stage.launch.start().await;
    push(&longshore, "b").await;

    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstore = \"$/b\"\n");
    let told = longshore.line_with("settings reloaded", SOON).await;
    assert!(told.contains("opened=\"b\""), "{told}");
    push(&longshore, "b").await;
    assert!(stage.has("b", "b"));

    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstoer = \"$/b\"\n");
    stage.write("profiles.d/d.toml", "images = [\"d\"]\nstore = \"$/d\"\n");
    longshore.line_with("settings not reloaded", SOON).await;
    longshore.line_with("did you mean store?", SOON).await;
    push(&longshore, "d").await;
    assert!(stage.has("rest", "d") && !stage.has("d", "d"));
}

#[tokio::test]
async fn a_change_that_is_made_while_another_is_put_in_force_is_not_lost() {
    let (stage, silent) = (Stage::new(), tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    stage.write("config.toml", TWO);
    let longshore = stage.launch.clone().env("LONGSHORE_SECRET_K", "of-no-store-at-all").start().await;

    let slow = "images = [\"slow\"]\nstore = \"s3://slow\"\naccess_key_id = \"id\"\nsecret_access_key = \"{{secret:K}}\"\n";
    let endpoint = format!("endpoint = \"http://{}\"\n", silent.local_addr().expect("it is bound"));
    stage.write("profiles.d/slow.toml", &(slow.to_owned() + &endpoint));
    let _asking = silent.accept().await.expect("it asks the store");
    stage.write("profiles.d/b.toml", "images = [\"b\"]\nstore = \"$/b\"\n");

    longshore.line_with("opened=\"slow\"", SOON).await;
    longshore.line_with("opened=\"b\"", SOON).await;
}

#[tokio::test]
async fn sighup_reloads_at_once() {
    let stage = Stage::new();
    stage.write("config.toml", TWO);
    let longshore = stage.launch.start().await;

    longshore.hang_up();

    longshore.line_with("settings reloaded", SOON).await;
}

/// Kubernetes puts a whole folder in the place of another by one link.
#[tokio::test]
async fn files_that_are_changed_by_a_link_are_noticed() {
    let stage = Stage::new();
    let link = |to: &str| {
        std::os::unix::fs::symlink(stage.path(to), stage.path("..tmp")).expect("a link");
        fs::rename(stage.path("..tmp"), stage.path("..data")).expect("it is put in place");
    };
    stage.write("first/config.toml", TWO);
    stage.write("second/config.toml", &format!("{TWO}[profiles.b]\nimages = [\"b\"]\nstore = \"$/b\"\n"));
    link("first");
    std::os::unix::fs::symlink(Path::new("..data/config.toml"), stage.path("config.toml")).expect("a link");
    let longshore = stage.launch.start().await;

    link("second");

    longshore.line_with("settings reloaded", SOON).await;
    push(&longshore, "b").await;
    assert!(stage.has("b", "b"));
}

#[tokio::test]
async fn a_secret_that_changes_is_in_force_and_one_that_is_gone_stays_as_it_was() {
    let stage = Stage::new();
    let profile = "[profiles.default]\nstore = \"s3://cache\"\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"id\"\n\
        secret_access_key = \"{{secret:key}}\"\n";
    stage.write("config.toml", &format!("[secrets]\nsources = [\"dir:$/keys\"]\n{profile}"));
    stage.write("keys/key", "MARK-one\n");
    stage.write("keys/other", "MARK-other\n");
    let longshore = stage.launch.start().await;

    stage.write("keys/key", "MARK-two\n");
    let told = longshore.line_with("settings reloaded", SOON).await;
    assert!(told.contains("secrets=\"key\"") && told.contains("opened=\"\""), "{told}");

    fs::remove_file(stage.path("keys/key")).expect("it is there");
    longshore.line_with("settings not reloaded", SOON).await;
    longshore.line_with("secret key is in none of the sources", SOON).await;
    assert!(!longshore.log().contains("MARK"), "{}", longshore.log());
}

#[tokio::test]
async fn a_secret_that_is_missing_keeps_it_from_starting() {
    let stage = Stage::new();
    stage.write(
        "config.toml",
        "[profiles.team]\nimages = [\"team/*\"]\nstore = \"s3://cache\"\naccess_key_id = \"id\"\nsecret_access_key = \"{{secret:KEY}}\"\n",
    );

    let mut longshore = stage.launch.spawn();

    assert_eq!(longshore.ended(SOON).await.code(), Some(2));
    let log = longshore.log_to_end().await;
    assert!(log.contains("profiles.team.secret_access_key  line 5  secret KEY is in none of the sources"), "{log}");
}
