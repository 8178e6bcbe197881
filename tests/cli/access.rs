//! Who may do what: what `can`, `slug` and `check` say of it, and changing it while it serves.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::Request;

use crate::support::client::send;
use crate::support::longshore::{Launch, Longshore};
use crate::support::scratch;
use crate::{file, longshore};

/// How long a change of the settings may take to be in force.
const SOON: Duration = Duration::from_secs(20);

const GRANTS: &str = "[access]\nanonymous = \"none\"\n[access.users]\nalice = \"<right>\"\nbob = \"<right>\"\n\
    [access.groups]\nops = [\"alice\"]\n\
    [[access.grants]]\nwho = { group = \"ops\" }\nimages = [\"org/**\"]\nallow = [\"read\", \"write\", \"delete\", \"create\"]\n\
    [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"org/*\"]\ntags = [\"cache-{user}\"]\nallow = [\"read\", \"write\"]\n\
    [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"org/*\"]\ntags = [\"cache-main\"]\nallow = [\"read\"]\npush = \"discard\"\n\
    [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"org/*\"]\ntags = [\"old\"]\nallow = [\"delete\"]\npull = \"skip\"\n";

/// `text` with hashes in place of the passwords in angle brackets.
fn hashed(text: &str) -> String {
    let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [7; 16]).expect("it is short").to_string();
    text.replace("<right>", &hash("right")).replace("<other>", &hash("other"))
}

#[test]
fn can_goes_by_the_profile_that_has_the_image_and_what_a_part_is_there() {
    let profiles = "[profiles.default]\nstore = \"/a\"\n[profiles.team]\nimages = [\"org/*\"]\nstore = \"/b\"\n\
        [profiles.team.parts]\nseparator = \"__\"\n[[profiles.team.rules]]\nimage = \"org/whole\"\nparts = false\n\
        [access.users]\nbob = \"<right>\"\n\
        [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"**\"]\ntags = [\"*__x\"]\nallow = [\"write\", \"create\"]\n";
    let (_folder, path) = file(&hashed(profiles));
    for (image, status) in [("org/app:main__x", 1), ("org/whole:main__x", 0), ("other:main__x", 0)] {
        let said = longshore(&["can", "bob", "push", image, "--config", &path], &[]);
        assert_eq!(said.status, Some(status), "{image}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn can_goes_by_the_profile_that_serves_whoever_it_is() {
    let profiles = "[profiles.a]\nstore = \"/a\"\nwho = [{ user = \"alice\" }]\n[profiles.a.parts]\nseparator = \"__\"\n\
        [profiles.b]\nstore = \"/b\"\nwho = [{ user = \"bob\" }]\n\
        [access.users]\nalice = \"<right>\"\nbob = \"<right>\"\ncarol = \"<right>\"\n\
        [[access.grants]]\nwho = { user = \"*\" }\nimages = [\"**\"]\ntags = [\"*__x\"]\nallow = [\"write\", \"create\"]\n";
    let (_folder, path) = file(&hashed(profiles));
    for (name, status, said) in [
        ("alice", 1, "denied: no grant allows it\n"),
        ("bob", 0, "allowed by grant 1: who { user = \"*\" }, images **, tags *__x, allow write create\n"),
        ("carol", 1, "denied: no profile has this image, and there is no profile default\n"),
        ("anonymous", 1, "denied: no profile has this image, and there is no profile default\n"),
    ] {
        let outcome = longshore(&["can", name, "push", "app:main__x", "--config", &path], &[]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(status), said), "{name}: {}", outcome.stderr);
    }
    let explained = longshore(&["explain", "app:main", "--config", &path], &[]);
    assert_eq!(explained.status, Some(2), "{}", explained.stdout);
    assert!(explained.stderr.contains("--profile says whose is meant: a, b"), "{}", explained.stderr);
    let unknown = longshore(&["explain", "app:main", "--profile", "c", "--config", &path], &[]);
    assert_eq!(unknown.status, Some(2), "{}", unknown.stdout);
    assert!(unknown.stderr.contains("there is no profile \"c\""), "{}", unknown.stderr);
}

#[test]
fn check_tells_of_tenants_that_are_not_kept_apart() {
    let served = "[profiles.default]\nstore = \"/x\"\n[profiles.a]\nstore = \"/x/a\"\nwho = [{ user = \"alice\" }]\n\
        [access.users]\nalice = \"<right>\"\n";
    let (_folder, path) = file(&hashed(served));
    let refused = longshore(&["check", "--config", &path], &[]);
    let expected = "images a/** of profile default lie where those of profile a do, in folder /x/a";
    assert_eq!(refused.status, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);

    let (_folder, path) = file(&hashed(&served.replace("who = [{ user = \"alice\" }]", "images = [\"a/**\"]")));
    let warned = longshore(&["check", "--config", &path], &[]);
    assert_eq!(warned.status, Some(0), "{}", warned.stderr);
    assert!(
        warned.stdout.contains(&format!("warning: profile default and profile a are not kept apart: {expected}")),
        "{}",
        warned.stdout
    );
}

#[test]
fn can_says_the_answer_and_the_rule_that_decides() {
    let (_folder, path) = file(&hashed(GRANTS));
    for (words, status, said) in [
        (
            ["alice", "push", "org/app:t"],
            0,
            "allowed by grant 1: who { group = \"ops\" }, images org/**, tags *, allow read write delete create\n",
        ),
        (
            ["bob", "push", "org/app:cache-bob"],
            0,
            "allowed by grant 2: who { user = \"bob\" }, images org/*, tags cache-{user}, allow read write; but not as the first tag of the image, which takes create\n",
        ),
        (
            ["bob", "push", "org/app:cache-main"],
            1,
            "taken and not kept by grant 3: who { user = \"bob\" }, images org/*, tags cache-main, allow read, push discard\n",
        ),
        (["bob", "push", "org/app:cache-bob--x"], 1, "denied: no grant allows it\n"),
        (
            ["bob", "pull", "org/app:cache-main"],
            0,
            "allowed by grant 3: who { user = \"bob\" }, images org/*, tags cache-main, allow read, push discard\n",
        ),
        (
            ["bob", "pull", "org/app:old"],
            1,
            "denied, and told to be absent, by grant 4: who { user = \"bob\" }, images org/*, tags old, allow delete, pull skip\n",
        ),
        (
            ["bob", "delete", "org/app:old"],
            0,
            "allowed by grant 4: who { user = \"bob\" }, images org/*, tags old, allow delete, pull skip\n",
        ),
        (["bob", "pull", "org/a/b:cache-main"], 1, "denied: no grant allows it\n"),
        (["anonymous", "pull", "org/app:t"], 1, "denied: no grant allows it\n"),
    ] {
        let outcome = longshore(&[&["can"], &words[..], &["--config", &path]].concat(), &[]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(status), said), "{words:?} {}", outcome.stderr);
    }
    let open = longshore(&["can", "anonymous", "push", "app:t"], &[]);
    assert_eq!((open.status, open.stdout.as_str()), (Some(0), "allowed by access.anonymous = \"write\"\n"));
}

#[test]
fn a_question_that_makes_no_sense_is_a_mistake() {
    let (_folder, path) = file(&hashed(GRANTS));
    for (words, said) in [
        (&["carol", "pull", "org/app:t"][..], "no user is called \"carol\"; an issuer takes --claims FILE beside it"),
        (&["bob", "pull", "org/app"], "\"org/app\" is no IMAGE:TAG"),
        (&["bob", "pull", "Org:t"], "\"Org\": a repository name"),
        (&["bob", "pull", "org/app:.t"], "\".t\": a tag has"),
        (&["bob", "fetch", "org/app:t"], "invalid value 'fetch'"),
        (&["github", "pull", "org/app:t", "--claims", "/no/such/file"], "the claims cannot be read"),
        (&["github", "pull", "org/app:t", "--claims", &path], "the claims are no object of JSON"),
    ] {
        let outcome = longshore(&[&["can"], words, &["--config", &path]].concat(), &[]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(outcome.stderr.contains(said), "{words:?}: {}", outcome.stderr);
    }
}

#[test]
fn slug_says_what_stands_for_a_ref() {
    for (git_ref, slug) in [("refs/heads/main", "main\n"), ("refs/pull/7/merge", "pr-7\n"), ("refs/tags/v1", "tag-v1\n")] {
        let outcome = longshore(&["slug", git_ref], &[]);
        assert_eq!((outcome.status, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), slug, ""));
    }
    let outcome = longshore(&["slug", "main"], &[]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (Some(2), ""));
    assert!(outcome.stderr.contains("such as refs/heads/main"), "{}", outcome.stderr);
}

#[test]
fn check_counts_users_and_grants_and_warns_of_what_can_never_match() {
    let (_folder, path) = file(&hashed(&GRANTS.replace("user = \"bob\"", "user = \"bo\"")));

    let outcome = longshore(&["check", "--config", &path], &[]);

    assert!(outcome.stdout.contains("anonymous clients: none; users: 2; grants: 4\n"), "{}", outcome.stdout);
    assert!(
        outcome.stdout.contains("warning: grant 2 can never match: no user is so (who { user = \"bo\" }"),
        "{}",
        outcome.stdout
    );
}

/// What `longshore` answers to somebody with a password, or without.
async fn status(longshore: &Longshore, user: &str, password: &str, line: &str) -> u16 {
    let (method, path) = line.split_once(' ').expect("a line");
    let mut request = Request::builder().method(method).uri(path);
    if !user.is_empty() {
        let encoded = BASE64.encode(format!("{user}:{password}").as_bytes());
        request = request.header("authorization", format!("Basic {encoded}"));
    }
    send(longshore.address, request.body(Bytes::new()).expect("a request")).await.status.as_u16()
}

#[tokio::test]
async fn users_and_grants_that_change_are_in_force_without_a_restart() {
    let folder = scratch("access");
    let (config, htpasswd) = (folder.path().join("config.toml"), folder.path().join("htpasswd"));
    let text = |tag: &str| {
        format!(
            "[access]\nanonymous = \"none\"\nhtpasswd = \"{}\"\n[[access.grants]]\nwho = {{ user = \"carol\" }}\nimages = [\"app\"]\n\
             tags = [\"{tag}\"]\nallow = [\"read\"]\n[profiles.default]\nstore = \"{}\"\n",
            htpasswd.display(),
            folder.path().join("store").display()
        )
    };
    fs::write(&htpasswd, hashed("carol:<right>\n")).expect("it is written");
    fs::write(&config, text("a")).expect("it is written");
    let launch = Launch::bare(&["--config", config.to_str().expect("plain")]).listening();
    let longshore = launch.keeping("the password", "right-of-carol").start().await;
    let (a, b) = ("GET /v2/app/manifests/a", "GET /v2/app/manifests/b");
    assert_eq!(status(&longshore, "", "", a).await, 401);
    assert_eq!(status(&longshore, "carol", "right", a).await, 404, "nothing is there");
    assert_eq!(status(&longshore, "carol", "right", b).await, 403);

    fs::write(&config, text("b")).expect("it is written");
    longshore.line_with("settings reloaded", SOON).await;
    assert_eq!(status(&longshore, "carol", "right", a).await, 403);
    assert_eq!(status(&longshore, "carol", "right", b).await, 404);

    fs::write(&htpasswd, hashed("carol:<other>\n")).expect("it is written");
    longshore.hang_up();
    crate::support::eventually("the password has changed", SOON, || async {
        (status(&longshore, "carol", "right", b).await == 401).then_some(())
    })
    .await;
    assert_eq!(status(&longshore, "carol", "other", b).await, 404);

    fs::write(&htpasswd, "carol:MARK\n").expect("it is written");
    longshore.line_with("settings not reloaded", SOON).await;
    assert_eq!(status(&longshore, "carol", "other", b).await, 404, "a mistake changes nothing");
    assert!(!longshore.log().contains("MARK"), "{}", longshore.log());
}

#[tokio::test]
async fn every_refusal_has_its_line_in_the_log_and_no_password_has() {
    let folder = scratch("access");
    let config = folder.path().join("config.toml");
    let store = format!("[profiles.default]\nstore = \"{}\"\n", folder.path().join("store").display());
    fs::write(&config, hashed(GRANTS) + &store).expect("it is written");
    let launch = Launch::bare(&["--config", config.to_str().expect("plain"), "--log-level", "trace"]).listening();
    let longshore = launch.keeping("a wrong password", "MARK-wrong").start().await;

    assert_eq!(status(&longshore, "bob", "MARK-wrong", "GET /v2/").await, 401);
    longshore.line_with("event=\"login\" identity=\"user bob\" result=\"refused\"", SOON).await;
    assert_eq!(status(&longshore, "bob", "right", "PUT /v2/org/app/manifests/cache-bob").await, 403, "no first tag");
    assert_eq!(status(&longshore, "bob", "right", "DELETE /v2/org/app/manifests/other").await, 403);
    longshore.line_with("event=\"login\" identity=\"user bob\" result=\"accepted\"", SOON).await;
    longshore
        .line_with(
            "event=\"denied\" identity=\"user bob\" profile=\"default\" image=\"org/app\" tag=\"other\" verb=\"delete\"",
            SOON,
        )
        .await;
    let digest = longshore::oci::Digest::sha256(b"");
    let push = format!("POST /v2/org/app/blobs/uploads/?digest={digest}");
    assert_eq!(status(&longshore, "alice", "right", &push).await, 201);
    longshore
        .line_with(
            &format!("event=\"write\" identity=\"user alice\" profile=\"default\" image=\"org/app\" digest=\"{digest}\""),
            SOON,
        )
        .await;
    let delete = format!("DELETE /v2/org/app/blobs/{digest}");
    assert_eq!(status(&longshore, "alice", "right", &delete).await, 202);
    longshore
        .line_with(
            &format!(
                "event=\"delete\" identity=\"user alice\" profile=\"default\" image=\"org/app\" digest=\"{digest}\" result=\"done\""
            ),
            SOON,
        )
        .await;
    assert_eq!(status(&longshore, "", "", "DELETE /v2/org/app/manifests/other").await, 401);
    longshore.line_with("event=\"denied\" identity=\"anonymous\"", SOON).await;
}
