//! Tokens that clients fetch here, to show in place of a password.

use std::sync::Arc;

use http::Request;
use longshore::access::{Access, Authenticator, Grants, Passes};
use longshore::oci::Digest;
use longshore::registry::Patience;
use longshore::store::{MemoryStore, ObjectStore};
use serde_json::Value;

use crate::client::Answer;
use crate::identities::{ALL, READ, anonymously, as_user, grant, user, with_password};
use crate::stand::{PATIENCE, Stand, code, message};

const KEY: &str = "a key of thirty-two bytes, or so";
const REALM: &str = "https://cache.example/token";

/// A replica over `store`, whose tokens are signed with the first of `keys`: alice may everything with `org/**`,
/// bob reads there, everybody reads `open`.
fn replica(store: &Arc<dyn ObjectStore>, keys: &[&str], users: &[&str]) -> Stand {
    let keys: Vec<_> = keys.iter().map(|&key| key.into()).collect();
    let authenticator = Authenticator::new(users.iter().map(|name| user(name)).collect());
    let authenticator = authenticator.with_passes(Some(Passes::new(REALM.to_owned(), &keys)));
    let mut everybody = grant("x", "open", "*", READ);
    everybody.who = longshore::access::Who::Anyone;
    let grants = Grants::new(vec![grant("alice", "org/**", "*", ALL), grant("bob", "org/**", "*", READ), everybody]);
    Stand::guarded(Arc::clone(store), Access::None, Patience::with_bytes(PATIENCE), grants, authenticator)
}

fn store() -> Arc<dyn ObjectStore> {
    Arc::new(MemoryStore::default())
}

/// The token in an answer.
fn token(answer: &Answer) -> String {
    assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["token"], body["access_token"]);
    assert!((1..=300).contains(&body["expires_in"].as_u64().unwrap()), "{body}");
    body["token"].as_str().unwrap().to_owned()
}

/// What `name` gets who asks for `scopes`.
async fn fetch(stand: &Stand, name: &str, scopes: &str) -> String {
    let line = format!("GET /token?service=longshore&{scopes}");
    let request = if name.is_empty() { anonymously(&line) } else { as_user(name, &line) };
    token(&stand.send(request.body("").unwrap()).await)
}

async fn show(stand: &Stand, token: &str, line: &str) -> Answer {
    stand.send(anonymously(line).header("authorization", format!("Bearer {token}")).body("").unwrap()).await
}

#[tokio::test]
async fn who_has_no_token_is_told_where_to_fetch_one_whatever_they_call_the_server() {
    let stand = replica(&store(), &[KEY], &["alice"]);
    for (line, scope) in [
        ("GET /v2/", ""),
        ("GET /v2/org/app/manifests/t", ",scope=\"repository:org/app:pull\""),
        (
            "HEAD /v2/org/app/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ",scope=\"repository:org/app:pull\"",
        ),
        ("POST /v2/org/app/blobs/uploads/", ",scope=\"repository:org/app:pull,push\""),
        (
            &format!("POST /v2/org/app/blobs/uploads/?mount={}&from=org%2Fbase", Digest::sha256(b"it")),
            ",scope=\"repository:org/app:pull,push repository:org/base:pull\"",
        ),
        ("POST /v2/org/app/blobs/uploads/?from=Org", ",scope=\"repository:org/app:pull,push\""),
        ("DELETE /v2/org/app/manifests/t", ",scope=\"repository:org/app:delete\""),
    ] {
        let request = anonymously(line).header("host", "longshore.test:1").header("x-forwarded-host", "evil.example");
        let answer = stand.send(request.body("").unwrap()).await;

        assert_eq!(answer.status.as_u16(), 401, "{line}: {answer:?}");
        let expected = format!("Bearer realm=\"{REALM}\",service=\"longshore\"{scope}");
        assert_eq!(answer.header("www-authenticate"), expected, "{line}");
    }
}

#[tokio::test]
async fn a_token_counts_for_what_it_was_fetched_for_at_any_replica() {
    let store = store();
    let (one, other) = (
        replica(&store, &[KEY], &["alice", "bob"]),
        replica(&store, &["a new key of thirty-two bytes, or so", KEY], &["alice", "bob"]),
    );
    let pull = fetch(&one, "alice", "scope=repository:org/app:pull").await;
    let both = fetch(&one, "alice", "scope=repository:org/app:pull,push&scope=repository:org/from:pull").await;
    let spaced = fetch(&one, "alice", "scope=repository:org/app:pull,push%20repository:org/from:pull").await;
    for stand in [&one, &other] {
        assert_eq!(show(stand, &pull, "GET /v2/").await.status.as_u16(), 200);
        assert_eq!(show(stand, &pull, "GET /v2/org/app/manifests/t").await.status.as_u16(), 404);
        for (token, line) in
            [(&pull, "POST /v2/org/app/blobs/uploads/"), (&both, "GET /v2/org/other/tags/list"), (&both, "GET /v2/_catalog")]
        {
            let refused = show(stand, token, line).await;
            assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (401, "UNAUTHORIZED"), "{line}: {refused:?}");
            assert!(refused.header("www-authenticate").contains("scope="), "{line}");
        }
        for token in [&both, &spaced] {
            assert_eq!(show(stand, token, "POST /v2/org/app/blobs/uploads/").await.status.as_u16(), 202);
            assert_eq!(show(stand, token, "DELETE /v2/org/app/manifests/t").await.status.as_u16(), 404);
        }
    }
}

#[tokio::test]
async fn what_may_not_be_had_is_left_out_and_the_refusal_says_so() {
    let stand = replica(&store(), &[KEY], &["alice", "bob"]);

    let token = fetch(&stand, "bob", "scope=repository:org/app:pull,push").await;

    assert_eq!(show(&stand, &token, "GET /v2/org/app/manifests/t").await.status.as_u16(), 404);
    // Another token would help no more, so it is not asked for.
    let denied = show(&stand, &token, "POST /v2/org/app/blobs/uploads/").await;
    assert_eq!((denied.status.as_u16(), message(&denied)), (403, "user bob may not write org/app".to_owned()));
    // A mount from an image out of scope still pushes, also where alice could have had it in.
    let config =
        "POST /v2/org/other/blobs/uploads/?digest=sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(stand.send(as_user("alice", config).body("{}").unwrap()).await.status.as_u16(), 201);
    for (scopes, expected) in
        [("scope=repository:org/app:pull,push", 202), ("scope=repository:org/app:push&scope=repository:org/other:pull", 201)]
    {
        let token = fetch(&stand, "alice", scopes).await;
        let mount = config.replace("org/other", "org/app").replace("digest=", "from=org/other&mount=");
        assert_eq!(show(&stand, &token, &mount).await.status.as_u16(), expected, "{scopes}");
    }
    let token = fetch(&stand, "alice", "scope=repository:org/app:pull,push&scope=repository:secret/x:pull").await;
    let mount = "POST /v2/org/app/blobs/uploads/?mount=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855&from=secret/x";
    assert_eq!(show(&stand, &token, mount).await.status.as_u16(), 202);
}

#[tokio::test]
async fn who_says_nothing_gets_a_token_for_what_everybody_may() {
    let stand = replica(&store(), &[KEY], &["alice"]);

    let token = fetch(&stand, "", "scope=repository:open:pull,push&scope=repository:org/app:pull").await;

    assert_eq!(show(&stand, &token, "GET /v2/open/manifests/t").await.status.as_u16(), 404);
    assert_eq!(show(&stand, &token, "POST /v2/open/blobs/uploads/").await.status.as_u16(), 401);
    assert_eq!(show(&stand, &token, "GET /v2/org/app/manifests/t").await.status.as_u16(), 401);
}

#[tokio::test]
async fn no_token_is_given_for_a_wrong_password_or_taken_from_who_is_gone() {
    let store = store();
    let stand = replica(&store, &[KEY], &["alice", "bob"]);
    let refused = stand.send(with_password("alice", "wrong", "GET /token").body("").unwrap()).await;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (401, "UNAUTHORIZED"), "{refused:?}");
    let post = stand.send(as_user("alice", "POST /token").body("").unwrap()).await;
    assert_eq!(post.status.as_u16(), 405, "{post:?}");
    let token = fetch(&stand, "bob", "scope=repository:org/app:pull").await;

    let without_bob = replica(&store, &[KEY], &["alice"]);
    let with_another_key = replica(&store, &["another key of thirty-two bytes.."], &["alice", "bob"]);

    for stand in [without_bob, with_another_key] {
        assert_eq!(show(&stand, &token, "GET /v2/").await.status.as_u16(), 401);
    }
    let nowhere = Stand::new();
    let asked = nowhere.send(Request::get("/token").body("").unwrap()).await;
    assert_eq!(asked.status.as_u16(), 404, "where there are none");
}
