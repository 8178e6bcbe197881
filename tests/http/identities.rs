//! Who may do what, by their passwords.

use std::sync::Arc;

use data_encoding::BASE64;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use longshore::access::{Access, Authenticator, Grant, Grants, Profile, Profiles, TextPattern, User, Verb, Who};
use longshore::api::{Api, Entrance, Hosts};
use longshore::metrics::Metrics;
use longshore::oci::Digest;
use longshore::registry::{Patience, Registry};
use longshore::store::MemoryStore;
use serde_json::json;

use crate::broken_store::BrokenStore;
use crate::client::Answer;
use crate::stand::{PATIENCE, Stand, code, message};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const READ: &[Verb] = &[Verb::Read];
const WRITE: &[Verb] = &[Verb::Read, Verb::Write];
pub const ALL: &[Verb] = &[Verb::Read, Verb::Write, Verb::Delete, Verb::Create];

pub fn user(name: &str) -> User {
    let hash = bcrypt::hash_with_salt(format!("{name}-secret"), 4, [7; 16]).unwrap().to_string();
    User { name: name.into(), hash: hash.parse().unwrap(), groups: Vec::new() }
}

pub fn grant(user: &str, image: &str, tag: &str, allow: &[Verb]) -> Grant {
    Grant {
        who: Who::User { name: Some(TextPattern::on_claim(user).unwrap()), group: None },
        images: vec![TextPattern::on_image(image).unwrap()],
        tags: vec![TextPattern::on_tag(tag).unwrap()],
        allow: allow.to_vec(),
        discards: false,
        skips: false,
    }
}

pub fn anonymously(line: &str) -> http::request::Builder {
    let (method, path) = line.split_once(' ').unwrap();
    Request::builder().method(method).uri(path)
}

pub fn as_user(name: &str, line: &str) -> http::request::Builder {
    with_password(name, &format!("{name}-secret"), line)
}

pub fn with_password(name: &str, password: &str, line: &str) -> http::request::Builder {
    anonymously(line).header("authorization", format!("Basic {}", BASE64.encode(format!("{name}:{password}").as_bytes())))
}

/// A server whose users are alice, bob and mallory, with `grants` and what everybody may; and a look at the calls to its store.
fn stand(everybody: Access, grants: Vec<Grant>) -> (Stand, Arc<BrokenStore>) {
    let store = BrokenStore::around(Arc::new(MemoryStore::default()));
    let authenticator = Authenticator::new(["alice", "bob", "mallory"].map(user).into());
    let patience = Patience::with_bytes(PATIENCE);
    let stand = Stand::guarded(Arc::clone(&store) as _, everybody, patience, Grants::new(grants), authenticator);
    (stand, store)
}

/// How many calls there were to the store, once nothing runs in the background.
async fn calls(stand: &Stand, store: &BrokenStore) -> usize {
    stand.registry.settle().await;
    store.all_calls()
}

/// Pushes `content` as a blob.
async fn push_blob(stand: &Stand, name: &str, image: &str, content: &'static str) -> (StatusCode, Digest) {
    let digest = Digest::sha256(content.as_bytes());
    let line = format!("POST /v2/{image}/blobs/uploads/?digest={digest}");
    (stand.send(as_user(name, &line).body(content).unwrap()).await.status, digest)
}

/// Pushes a manifest of the config `{}` as `reference`; an image, or a cache of BuildKit's.
async fn push(stand: &Stand, name: &str, reference: &str, config_type: &str) -> Answer {
    let (image, _) = reference.split_once("/manifests/").unwrap();
    push_blob(stand, name, image, "{}").await;
    let config = json!({"mediaType": config_type, "digest": Digest::sha256(b"{}").to_string(), "size": 2});
    let manifest = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).to_string();
    let request = as_user(name, &format!("PUT /v2/{reference}")).header("content-type", IMAGE);
    stand.send(request.body(manifest).unwrap()).await
}

async fn push_cache(stand: &Stand, name: &str, reference: &str) -> Answer {
    push(stand, name, reference, "application/vnd.buildkit.cacheconfig.v0").await
}

async fn status(stand: &Stand, request: http::request::Builder) -> u16 {
    stand.send(request.body("").unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn who_does_not_say_who_they_are_is_asked_to() {
    let (stand, store) = stand(Access::None, vec![grant("alice", "org/**", "*", ALL)]);
    for line in ["GET /v2/", "GET /v2/org/app/manifests/t", "POST /v2/org/app/blobs/uploads/", "GET /v2/other/manifests/t"] {
        let answer = stand.send(anonymously(line).body("").unwrap()).await;

        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (401, "UNAUTHORIZED"), "{line}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), "Basic realm=\"longshore\", charset=\"UTF-8\"", "{line}");
    }
    assert_eq!(status(&stand, as_user("alice", "GET /v2/")).await, 200);
    // skopeo sends this where it has none.
    assert_eq!(status(&stand, with_password("", "", "GET /v2/")).await, 401);
    assert_eq!(calls(&stand, &store).await, 0);
}

#[tokio::test]
async fn a_wrong_password_is_refused_also_where_none_is_needed() {
    let (stand, _) = stand(Access::Read, vec![grant("alice", "org/**", "*", ALL)]);
    let tags = "GET /v2/org/app/tags/list";
    for request in [
        with_password("alice", "wrong", tags),
        with_password("alice", "", tags),
        with_password("carol", "alice-secret", tags),
        anonymously(tags).header("authorization", "Bearer x.y.z"),
        anonymously(tags).header("authorization", "Basic ???"),
        as_user("alice", tags).header("authorization", "Bearer x"),
        as_user("alice", tags).header("authorization", "Basic bWFsbG9yeTptYWxsb3J5LXNlY3JldA=="),
    ] {
        let answer = stand.send(request.body("").unwrap()).await;

        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (401, "UNAUTHORIZED"), "{answer:?}");
        assert!(answer.headers.contains_key("www-authenticate"), "{answer:?}");
    }
    assert_eq!(status(&stand, anonymously(tags)).await, 404, "nothing is there, for who says nothing");
}

#[tokio::test]
async fn everybody_reads_and_only_who_may_writes() {
    let (stand, _) = stand(Access::Read, vec![grant("alice", "org/**", "*", ALL)]);

    assert_eq!(push_cache(&stand, "alice", "org/app/manifests/t").await.status, StatusCode::CREATED);
    assert_eq!(status(&stand, anonymously("GET /v2/org/app/manifests/t")).await, 200);
    assert_eq!(status(&stand, as_user("bob", "GET /v2/org/app/manifests/t")).await, 200, "no less than everybody");
    let denied = push_cache(&stand, "bob", "org/app/manifests/t").await;
    assert_eq!((denied.status.as_u16(), message(&denied)), (403, "user bob may not write t of org/app".into()));
    assert_eq!(status(&stand, anonymously("POST /v2/org/app/blobs/uploads/")).await, 401);
}

#[tokio::test]
async fn tags_are_written_by_whom_they_are_granted_to_and_parts_as_their_whole() {
    let grants = vec![
        grant("alice", "org/**", "*", ALL),
        grant("bob", "org/app", "cache-main", READ),
        grant("bob", "org/app", "cache-pr-7", WRITE),
        grant("bob", "org/app", "*--x", WRITE),
        grant("bob", "org/new", "*", WRITE),
    ];
    let (stand, _) = stand(Access::None, grants);
    assert_eq!(push_cache(&stand, "alice", "org/app/manifests/cache-main").await.status, StatusCode::CREATED);
    for (reference, told) in [
        ("org/app/manifests/cache-pr-7", ""),
        ("org/app/manifests/cache-pr-7--x", ""),
        ("org/app/manifests/cache-main", "user bob may not write cache-main of org/app"),
        ("org/app/manifests/cache-main--x", "user bob may not write cache-main--x of org/app"),
        ("org/app/manifests/cache-pr-7--y", "user bob may not write cache-pr-7--y of org/app"),
        ("org/app/manifests/cache-pr-8", "user bob may not write cache-pr-8 of org/app"),
        ("org/new/manifests/t", "user bob may not create t of org/new"),
    ] {
        let answer = push_cache(&stand, "bob", reference).await;
        match told {
            "" => assert_eq!(answer.status, StatusCode::CREATED, "{reference}: {answer:?}"),
            told => assert_eq!((answer.status.as_u16(), code(&answer), message(&answer)), (403, "DENIED".into(), told.into())),
        }
    }
    // Who is about to push looks first, and asks why it is refused.
    for method in ["HEAD", "GET"] {
        let looking = as_user("bob", &format!("{method} /v2/org/app/manifests/other")).header("user-agent", "buildkit/v0.32.2");
        let refused = stand.send(looking.header("accept", format!("{IMAGE}, */*")).body("").unwrap()).await;
        assert_eq!(refused.status.as_u16(), 403, "{refused:?}");
        assert!(method == "HEAD" || message(&refused) == "user bob may not write other of org/app", "{refused:?}");
    }
    // A push by digest sets no tag that is not granted, either.
    let manifest = stand.send(as_user("bob", "GET /v2/org/app/manifests/cache-main").body("").unwrap()).await;
    let digest = manifest.header("docker-content-digest").to_owned();
    for (query, expected) in
        [("", 201), ("?tag=cache-pr-7", 201), ("?tag=cache-pr-7&tag=cache-main", 403), ("?tag=cache-main--x", 403)]
    {
        let request = as_user("bob", &format!("PUT /v2/org/app/manifests/{digest}{query}")).header("content-type", IMAGE);
        assert_eq!(stand.send(request.body(manifest.body.clone()).unwrap()).await.status.as_u16(), expected, "{query}");
    }
    assert_eq!(push_cache(&stand, "alice", "org/new/manifests/t").await.status, StatusCode::CREATED);
    assert_eq!(push_cache(&stand, "bob", "org/new/manifests/u").await.status, StatusCode::CREATED, "it is not the first");
}

#[tokio::test]
async fn what_is_pushed_in_vain_is_taken_and_not_kept() {
    let discarding = Grant { discards: true, ..grant("bob", "org/app", "cache-main", READ) };
    let (stand, _) = stand(Access::None, vec![grant("alice", "org/**", "*", ALL), discarding]);
    assert_eq!(push_blob(&stand, "alice", "org/app", "theirs").await.0, StatusCode::CREATED);
    let before = stand.keys().await;

    let (opened, digest) =
        (stand.send(as_user("bob", "POST /v2/org/app/blobs/uploads/").body("").unwrap()).await, Digest::sha256(b"mine"));
    assert_eq!(opened.status, StatusCode::ACCEPTED, "{opened:?}");
    let line = format!("PUT {}?digest={digest}", opened.header("location"));
    assert_eq!(stand.send(as_user("bob", &line).body("mine").unwrap()).await.status, StatusCode::CREATED);
    let wrong = stand.send(as_user("bob", &line).body("other").unwrap()).await;
    assert_eq!((wrong.status.as_u16(), code(&wrong).as_str()), (400, "DIGEST_INVALID"), "{wrong:?}");
    let head = |digest: &Digest| as_user("bob", &format!("HEAD /v2/org/app/blobs/{digest}"));
    assert_eq!(status(&stand, head(&digest)).await, 404, "the truth");
    assert_eq!(status(&stand, head(&Digest::sha256(b"theirs"))).await, 200, "the truth");
    let cache = push_cache(&stand, "bob", "org/app/manifests/cache-main").await;
    assert_eq!(cache.status, StatusCode::CREATED, "{cache:?}");
    let image = push(&stand, "bob", "org/app/manifests/cache-main", "application/vnd.oci.image.config.v1+json").await;
    assert_eq!((image.status.as_u16(), code(&image).as_str()), (403, "DENIED"), "{image:?}");
    let other = push_cache(&stand, "bob", "org/app/manifests/other").await;
    assert_eq!(other.status, StatusCode::FORBIDDEN, "{other:?}");
    assert_eq!(stand.keys().await, before);
}

#[tokio::test]
async fn a_pull_that_is_skipped_finds_nothing() {
    let skipping = Grant { skips: true, ..grant("bob", "org/app", "cache-main", &[]) };
    let grants = vec![grant("alice", "org/**", "*", ALL), grant("bob", "org/app", "mine", WRITE), skipping];
    let (stand, _) = stand(Access::None, grants);
    assert_eq!(push_cache(&stand, "alice", "org/app/manifests/cache-main").await.status, StatusCode::CREATED);

    let skipped = stand.send(as_user("bob", "GET /v2/org/app/manifests/cache-main").body("").unwrap()).await;
    assert_eq!((skipped.status.as_u16(), code(&skipped).as_str()), (404, "MANIFEST_UNKNOWN"), "{skipped:?}");
    let denied = stand.send(as_user("bob", "GET /v2/org/app/manifests/theirs").body("").unwrap()).await;
    assert_eq!((denied.status.as_u16(), message(&denied)), (403, "user bob may not read theirs of org/app".into()));
}

#[tokio::test]
async fn whoever_has_no_part_in_an_image_learns_nothing_and_the_store_is_not_asked() {
    let grants = vec![grant("alice", "a/**", "*", ALL), grant("mallory", "m/**", "*", ALL)];
    let (stand, store) = stand(Access::None, grants);
    let blob = push_blob(&stand, "alice", "a/app", "secret layer").await.1;
    assert_eq!(push_cache(&stand, "alice", "a/app/manifests/t").await.status, StatusCode::CREATED);
    let opened = stand.send(as_user("alice", "POST /v2/a/app/blobs/uploads/").body("").unwrap()).await;
    let upload = opened.header("location").to_owned();
    assert_eq!(push_cache(&stand, "mallory", "m/app/manifests/t").await.status, StatusCode::CREATED);
    let manifest = stand.send(as_user("alice", "GET /v2/a/app/manifests/t").body("").unwrap()).await;
    let digest = manifest.header("docker-content-digest").to_owned();
    let before = calls(&stand, &store).await;

    let there = ["a/app", "a/nothing"].map(|image| {
        [
            (format!("HEAD /v2/{image}/blobs/{blob}"), 404),
            (format!("GET /v2/{image}/blobs/{blob}"), 404),
            (format!("HEAD /v2/{image}/manifests/t"), 404),
            (format!("GET /v2/{image}/manifests/t"), 404),
            (format!("GET /v2/{image}/manifests/{digest}"), 404),
            (format!("GET /v2/{image}/tags/list"), 404),
            (format!("GET /v2/{image}/referrers/{digest}"), 404),
            (format!("PUT /v2/{image}/manifests/t"), 403),
            (format!("DELETE /v2/{image}/manifests/t"), 403),
            (format!("DELETE /v2/{image}/blobs/{blob}"), 403),
            (format!("POST /v2/{image}/blobs/uploads/"), 403),
            (format!("POST /v2/{image}/blobs/uploads/?digest={blob}"), 403),
            (format!("POST /v2/{image}/blobs/uploads/?mount={blob}&from=m/app"), 403),
            (format!("GET {}", upload.replace("a/app", image)), 403),
            (format!("PATCH {}", upload.replace("a/app", image)), 403),
            (format!("PUT {}?digest={blob}", upload.replace("a/app", image)), 403),
            (format!("DELETE {}", upload.replace("a/app", image)), 403),
        ]
    });
    for ((line, expected), (other, _)) in there[0].iter().zip(&there[1]) {
        let ask = async |line: &str| {
            let answer = stand.send(as_user("mallory", line).header("content-type", IMAGE).body("").unwrap()).await;
            (answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned())
        };
        let (answer, of_nothing) = (ask(line).await, ask(other).await);

        assert_eq!(answer.0, *expected, "{line}: {answer:?}");
        // What is there is told as what is not.
        assert_eq!(answer.1.replace("a/app", "a/nothing"), of_nothing.1, "{line}");
    }
    assert_eq!(calls(&stand, &store).await, before, "the store was asked");
    // A mount takes nothing from where one may not read.
    let mount = format!("POST /v2/m/app/blobs/uploads/?mount={blob}&from=a/app");
    assert_eq!(status(&stand, as_user("mallory", &mount)).await, 202);
    assert_eq!(status(&stand, as_user("mallory", &format!("HEAD /v2/m/app/blobs/{blob}"))).await, 404);
    let catalog = stand.send(as_user("mallory", "GET /v2/_catalog").body("").unwrap()).await;
    assert_eq!(catalog.body, r#"{"repositories":["m/app"]}"#);
}

#[tokio::test]
async fn nobody_lists_what_they_may_not_read() {
    let grants =
        vec![grant("alice", "**", "*", ALL), grant("bob", "org/app", "b*", READ), grant("bob", "org/other", "b*", WRITE)];
    let (stand, store) = stand(Access::None, grants);
    for reference in ["org/app/manifests/a1", "org/app/manifests/b1", "org/app/manifests/b2", "org/x/manifests/t"] {
        assert_eq!(push_cache(&stand, "alice", reference).await.status, StatusCode::CREATED);
    }

    let listed = async |line: &str| stand.send(as_user("bob", line).body("").unwrap()).await.body;
    assert_eq!(listed("GET /v2/org/app/tags/list").await, r#"{"name":"org/app","tags":["b1","b2"]}"#);
    assert_eq!(listed("GET /v2/_catalog").await, r#"{"repositories":["org/app"]}"#);
    let before = calls(&stand, &store).await;
    let of_nobody = stand.send(as_user("mallory", "GET /v2/_catalog").body("").unwrap()).await;
    assert_eq!((of_nobody.body.as_ref(), calls(&stand, &store).await), (&br#"{"repositories":[]}"#[..], before));
}

#[tokio::test]
async fn what_takes_every_tag_with_it_takes_a_grant_on_every_tag() {
    let some = &[Verb::Read, Verb::Write, Verb::Delete];
    let (stand, _) = stand(Access::None, vec![grant("alice", "**", "*", ALL), grant("bob", "org/app", "b*", some)]);
    assert_eq!(push_cache(&stand, "alice", "org/app/manifests/a").await.status, StatusCode::CREATED);
    assert_eq!(push_cache(&stand, "bob", "org/app/manifests/b").await.status, StatusCode::CREATED);
    let manifest = stand.send(as_user("bob", "GET /v2/org/app/manifests/b").body("").unwrap()).await;
    let digest = manifest.header("docker-content-digest").to_owned();
    for (name, line, expected) in [
        ("bob", format!("DELETE /v2/org/app/manifests/{digest}"), 403),
        ("bob", format!("DELETE /v2/org/app/blobs/{}", Digest::sha256(b"{}")), 403),
        ("bob", "DELETE /v2/org/app/manifests/a".into(), 403),
        ("bob", "DELETE /v2/org/app/manifests/b".into(), 202),
        ("alice", format!("DELETE /v2/org/app/manifests/{digest}"), 202),
    ] {
        assert_eq!(status(&stand, as_user(name, &line)).await, expected, "{name} {line}");
    }
}

#[tokio::test]
async fn names_that_are_written_otherwise_are_the_same_names() {
    let (stand, _) = stand(Access::None, vec![grant("mallory", "m/**", "*", ALL), grant("alice", "a/**", "*", ALL)]);
    assert_eq!(push_cache(&stand, "alice", "a/app/manifests/t").await.status, StatusCode::CREATED);
    for path in [
        "a%2Fapp/manifests/t",
        "%61/app/manifests/t",
        "m/../a/app/manifests/t",
        "m/%2e%2e/a/app/manifests/t",
        "m//a/app/manifests/t",
        "A/app/manifests/t",
        "a/app/manifests/%74",
        "m%2f..%2fa/app/manifests/t",
    ] {
        let answer = stand.send(as_user("mallory", &format!("GET /v2/{path}")).body("").unwrap()).await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{path}: {answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("cacheconfig"), "{path}");
    }
}

#[tokio::test]
async fn a_password_opens_nothing_to_pages_of_other_sites_or_to_other_names() {
    let (stand, store) = stand(Access::None, vec![grant("alice", "org/**", "*", ALL)]);
    let line = "GET /v2/org/app/tags/list";
    for (header, value, expected) in [
        ("host", "evil.example", 421),
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("host", "longshore.test", 404),
    ] {
        assert_eq!(status(&stand, as_user("alice", line).header(header, value)).await, expected, "{header}: {value}");
        if expected != 404 {
            assert_eq!(calls(&stand, &store).await, 0, "{header}: {value}");
        }
    }
}

/// What is answered to `request` from beyond this machine, in the open.
async fn from_afar(api: &Api, request: http::request::Builder) -> u16 {
    let request =
        request.header("host", "10.0.0.5").body(Full::default().map_err(|never| match never {}).boxed_unsync()).unwrap();
    api.answer(request, &Entrance::Registry(None), "10.0.0.5".parse().unwrap()).await.status().as_u16()
}

#[tokio::test]
async fn nobody_says_in_the_open_who_they_are_unless_the_settings_say_so() {
    let registry = Arc::new(Registry::new(Arc::new(MemoryStore::default()), Patience::with_bytes(PATIENCE)));
    let api = Api::new(Profiles::new([]), Hosts::new([]), Metrics::new(1));
    for (is_allowed, with, without) in [(false, 403, 401), (true, 404, 401)] {
        let profile = Arc::new(Profile::new("default".to_owned(), Arc::clone(&registry), Access::None));
        let grants = Grants::new(vec![grant("alice", "org/**", "*", ALL)]);
        let authenticator = Authenticator::new(vec![user("alice")]).over_plain_http(is_allowed);
        api.put_in_force(Profiles::new([profile]).with_grants(grants), authenticator);

        assert_eq!(from_afar(&api, as_user("alice", "GET /v2/org/app/tags/list")).await, with, "{is_allowed}");
        assert_eq!(from_afar(&api, anonymously("GET /v2/org/app/tags/list")).await, without, "{is_allowed}");
    }
}
