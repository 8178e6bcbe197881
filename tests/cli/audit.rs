//! Who did what, in a file of its own: every line of it, and a file that cannot take them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, StatusCode};
use longshore::oci::Digest;
use serde_json::{Value, json};

use crate::longshore;
use crate::profiles::{SOON, Stage};
use crate::support::client::{Answer, send};
use crate::support::eventually;
use crate::support::longshore::Longshore;

const FIELDS: [&str; 12] =
    ["time", "event", "identity", "profile", "image", "tag", "digest", "bytes", "verb", "result", "reason", "changed"];

const TABLES: &str = "[profiles.default]\nstore = \"$/all\"\n[access]\nanonymous = \"none\"\nhtpasswd = \"$/htpasswd\"\n\
    [[access.grants]]\nwho = { user = \"alice\" }\nimages = [\"**\"]\nallow = [\"read\", \"write\", \"delete\", \"create\"]\n\
    [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"org/*\"]\ntags = [\"pr\"]\nallow = [\"read\", \"write\"]\n\
    [[access.grants]]\nwho = { user = \"bob\" }\nimages = [\"org/*\"]\ntags = [\"main\"]\nallow = [\"read\"]\npush = \"discard\"\n";

const GRANT_OF_MAIN: &str = "grant 3: who { user = \"bob\" }, images org/*, tags main, allow read, push discard";

const DENIED: &str = "no grant allows it";

/// What is in the file at `path`, once that is `count` lines: each line's values in the order of [`FIELDS`].
async fn lines(path: &Path, format: &str, count: usize) -> Vec<Vec<Value>> {
    let text = eventually(&format!("{count} lines"), SOON, || async {
        fs::read_to_string(path).ok().filter(|text| text.lines().count() >= count)
    })
    .await;
    let lines: Vec<_> = text.lines().map(|line| if format == "json" { of_json(line) } else { of_text(line) }).collect();
    assert_eq!(lines.len(), count, "{text}");
    lines
}

fn of_json(line: &str) -> Vec<Value> {
    let fields: Value = serde_json::from_str(line).expect(line);
    assert_eq!(fields.as_object().expect(line).len(), FIELDS.len(), "{line}");
    FIELDS.map(|key| fields.get(key).cloned().unwrap_or_else(|| panic!("no {key} in {line}"))).to_vec()
}

fn of_text(line: &str) -> Vec<Value> {
    let mut rest = line;
    let value = |key: &str| {
        let text = rest.trim_start().strip_prefix(&format!("{key}=")).unwrap_or_else(|| panic!("no {key} in {rest:?}"));
        if let Some(after) = text.strip_prefix('-') {
            rest = after;
            return Value::Null;
        }
        let mut values = serde_json::Deserializer::from_str(text).into_iter();
        let value = values.next().expect(line).expect(line);
        rest = &text[values.byte_offset()..];
        value
    };
    let values = FIELDS.map(value).to_vec();
    assert_eq!(rest, "", "{line}");
    values
}

async fn ask(longshore: &Longshore, user: &str, line: &str, body: &'static str) -> Answer {
    let (method, path) = line.split_once(' ').expect("a line");
    let mut request = Request::builder().method(method).uri(path);
    if !user.is_empty() {
        request = request.header("authorization", format!("Basic {}", BASE64.encode(format!("{user}:right").as_bytes())));
    }
    if path.contains("/manifests/") {
        request = request.header("content-type", "application/vnd.oci.image.manifest.v1+json");
    }
    send(longshore.address, request.body(Bytes::from_static(body.as_bytes())).expect("a request")).await
}

/// A manifest of a cache whose config is `{}`.
fn cache() -> &'static str {
    let config =
        json!({"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": Digest::sha256(b"{}").to_string(), "size": 2});
    let manifest =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []});
    Box::leak(manifest.to_string().into_boxed_str())
}

fn stage(audit: &str) -> Stage {
    let stage = Stage::guarded();
    write(&stage, audit);
    stage
}

fn write(stage: &Stage, audit: &str) {
    let hash = bcrypt::hash_with_salt("right", 4, [7; 16]).expect("it is short").to_string();
    fs::write(stage.path("htpasswd"), format!("alice:{hash}\nbob:{hash}\n")).expect("it is written");
    stage.write("config.toml", &format!("{TABLES}{audit}"));
}

#[tokio::test]
async fn every_kind_of_event_has_exactly_its_line() {
    let (config, manifest) = (Digest::sha256(b"{}").to_string(), cache());
    let digest = Digest::sha256(manifest.as_bytes()).to_string();
    let bytes = manifest.len();
    let (alice, bob) = ("user alice", "user bob");
    let upload = |image: &str| format!("POST /v2/{image}/blobs/uploads/?digest={config}");
    let wrong = Digest::sha256(b"other").to_string();
    // Who asks for what with which body; how that is answered; and what is told of it.
    let steps = [
        ("", "GET /v2/".to_owned(), "", 401, vec![]),
        (
            "",
            "GET /v2/org/app/manifests/main".into(),
            "",
            401,
            vec![json!(["denied", "anonymous", "default", "org/app", "main", null, null, "read", "denied", DENIED, null])],
        ),
        (
            "alice",
            upload("org/app"),
            "{}",
            201,
            vec![
                json!(["login", alice, null, null, null, null, null, null, "accepted", null, null]),
                json!(["write", alice, "default", "org/app", null, config, 2, null, "done", null, null]),
            ],
        ),
        (
            "alice",
            "PUT /v2/org/app/manifests/main".into(),
            manifest,
            201,
            vec![json!(["write", alice, "default", "org/app", "main", digest, bytes, null, "done", null, null])],
        ),
        (
            "alice",
            format!("PUT /v2/org/app/manifests/{digest}?tag=a&tag=b"),
            manifest,
            201,
            vec![json!(["write", alice, "default", "org/app", "a b", digest, bytes, null, "done", null, null])],
        ),
        ("alice", "GET /v2/org/app/manifests/main".into(), "", 200, vec![]),
        (
            "alice",
            format!("POST /v2/org/app/blobs/uploads/?digest={wrong}"),
            "{}",
            400,
            vec![json!([
                "write",
                alice,
                "default",
                "org/app",
                null,
                wrong,
                2,
                null,
                "failed",
                format!("content does not match its digest; what was received is {config}"),
                null
            ])],
        ),
        (
            "bob",
            "PUT /v2/org/app/manifests/main".into(),
            manifest,
            201,
            vec![
                json!(["login", bob, null, null, null, null, null, null, "accepted", null, null]),
                json!(["write", bob, "default", "org/app", "main", digest, bytes, null, "discarded", GRANT_OF_MAIN, null]),
            ],
        ),
        (
            "bob",
            "PUT /v2/org/app/manifests/other".into(),
            manifest,
            403,
            vec![json!(["denied", bob, "default", "org/app", "other", null, bytes, "write", "denied", DENIED, null])],
        ),
        (
            "bob",
            "PUT /v2/org/new/manifests/pr".into(),
            manifest,
            403,
            vec![json!(["denied", bob, "default", "org/new", "pr", null, bytes, "create", "denied", DENIED, null])],
        ),
        (
            "bob",
            "GET /v2/a/app/manifests/main".into(),
            "",
            404,
            vec![json!(["denied", bob, "default", "a/app", "main", null, null, "read", "denied", DENIED, null])],
        ),
        (
            "bob",
            format!("DELETE /v2/org/app/blobs/{config}"),
            "",
            403,
            vec![json!(["denied", bob, "default", "org/app", null, config, null, "delete", "denied", DENIED, null])],
        ),
        (
            "alice",
            "DELETE /v2/org/app/manifests/a".into(),
            "",
            202,
            vec![json!(["delete", alice, "default", "org/app", "a", null, null, null, "done", null, null])],
        ),
        (
            "alice",
            format!("DELETE /v2/org/app/blobs/{config}"),
            "",
            202,
            vec![json!(["delete", alice, "default", "org/app", null, config, null, null, "done", null, null])],
        ),
        (
            "eve\u{2028}",
            "GET /v2/".into(),
            "",
            401,
            vec![json!([
                "login",
                "user eve\u{2028}",
                null,
                null,
                null,
                null,
                null,
                null,
                "refused",
                "wrong, or nobody is called so",
                null
            ])],
        ),
    ];
    for format in ["text", "json"] {
        let stage = stage(&format!("[access.audit]\nfile = \"$/audit.log\"\nformat = \"{format}\"\n"));
        let longshore = stage.launch.start().await;
        let mut expected: Vec<Vec<Value>> = Vec::new();
        for (user, line, body, status, told) in &steps {
            let answer = ask(&longshore, user, line, body).await;
            assert_eq!(answer.status.as_u16(), *status, "{user} {line}: {answer:?}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("grant"), "rules are no client's business: {answer:?}");
            expected.extend(told.iter().map(|line| line.as_array().expect("a line").clone()));
        }
        let found = lines(&stage.path("audit.log"), format, expected.len()).await;
        for (line, expected) in found.iter().zip(&expected) {
            assert_eq!(&line[1..], expected, "{line:?}");
            assert!(line[0].as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z')), "{line:?}");
        }
        assert!(!longshore.log().contains("longshore.audit"), "the log has nothing of it: {}", longshore.log());
    }
}

#[tokio::test]
async fn what_is_turned_away_at_the_door_has_its_line_too() {
    let stage = stage("[access.audit]\nfile = \"$/audit.log\"\n");
    let longshore = stage.launch.start().await;
    let request = || Request::put("/v2/org/app/manifests/main");
    for (request, status) in [
        (request().header("host", "evil.example"), 421),
        (request().header("origin", "http://evil.example"), 403),
        (request().header("authorization", "Basic ???"), 401),
        (request().header("x-long", "x".repeat(40_000)), 431),
    ] {
        assert_eq!(send(longshore.address, request.body(Bytes::new()).expect("a request")).await.status.as_u16(), status);
    }

    let found = lines(&stage.path("audit.log"), "text", 4).await;

    let told: Vec<_> = found.iter().map(|line| [&line[1], &line[2], &line[4], &line[8], &line[9]].map(Clone::clone)).collect();
    let denied = || json!(["denied", null, "org/app", "write", "denied"]);
    let expected = [denied(), denied(), json!(["login", "an Authorization header", null, null, "refused"]), denied()];
    assert_eq!(told, expected.map(|line| <[Value; 5]>::try_from(line.as_array().expect("a line").clone()).expect("five")));
    let reasons: Vec<_> = found.iter().map(|line| line[10].to_string()).collect();
    for (reason, part) in reasons.iter().zip(["evil.example", "other origins", "makes no sense", "more than 32768 bytes"]) {
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn a_reload_has_its_line_and_the_file_may_change_with_it() {
    let stage = stage("[access.audit]\nfile = \"$/audit.log\"\n");
    let longshore = stage.launch.start().await;

    write(
        &stage,
        "[access.audit]\nfile = \"$/next.log\"\nformat = \"json\"\n[profiles.team]\nimages = [\"team/*\"]\nstore = \"$/team\"\n",
    );
    let found = lines(&stage.path("next.log"), "json", 1).await;
    assert_eq!(
        found[0][1..],
        json!(["reload", null, null, null, null, null, null, null, "in force", null, "+team grants:3"])
            .as_array()
            .expect("a line")[..]
    );
    assert_eq!(fs::read_to_string(stage.path("audit.log")).expect("it was opened"), "");

    write(&stage, "[access.audit]\nfile = \"$/none/audit.log\"\n[profiles.team]\nimages = [\"team/*\"]\nstore = \"$/team\"\n");
    let found = lines(&stage.path("next.log"), "json", 2).await;
    assert_eq!((&found[1][1], &found[1][9]), (&json!("reload"), &json!("refused")));
    let reason = found[1][10].as_str().expect("a text");
    assert!(reason.contains("access.audit.file") && reason.contains("there is no folder"), "{reason}");
    ask(&longshore, "alice", "DELETE /v2/org/app/manifests/x", "").await;
    lines(&stage.path("next.log"), "json", 4).await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_begun_anew_and_the_last_lines_are_in_it_at_the_end() {
    let stage = stage("[access.audit]\nfile = \"$/audit.log\"\n");
    let mut longshore = stage.launch.clone().arg("--drain").arg("1s").start().await;
    ask(&longshore, "", "DELETE /v2/org/app/manifests/x", "").await;
    lines(&stage.path("audit.log"), "text", 1).await;

    fs::rename(stage.path("audit.log"), stage.path("audit.log.1")).expect("it is there");
    for _ in 0..100 {
        ask(&longshore, "", "DELETE /v2/org/app/manifests/x", "").await;
    }
    longshore.terminate();
    assert!(longshore.ended(SOON).await.success());

    assert_eq!(fs::read_to_string(stage.path("audit.log.1")).expect("it is there").lines().count(), 1);
    assert_eq!(fs::read_to_string(stage.path("audit.log")).expect("it is there").lines().count(), 100);
}

#[tokio::test]
async fn a_disk_that_is_full_fails_no_build_and_what_is_lost_is_told_and_counted() {
    let stage = stage("[access.audit]\nfile = \"/dev/full\"\n");
    let admin = crate::support::ports::free_address();
    let longshore = stage.launch.clone().arg("--admin-listen").arg(&admin.to_string()).start().await;

    let upload = format!("POST /v2/org/app/blobs/uploads/?digest={}", Digest::sha256(b"{}"));
    for _ in 0..3 {
        assert_eq!(ask(&longshore, "alice", &upload, "{}").await.status, StatusCode::CREATED);
    }

    longshore.line_with("lines of the audit are lost", SOON).await;
    eventually("what is lost is counted", SOON, || async {
        let metrics = send(admin, Request::get("/metrics").body(Bytes::new()).expect("a request")).await;
        String::from_utf8_lossy(&metrics.body).contains("longshore_audit_lines_lost_total 4\n").then_some(())
    })
    .await;
    assert_eq!(longshore.log().matches("lines of the audit are lost").count(), 1, "{}", longshore.log());
}

#[tokio::test]
async fn where_the_file_cannot_be_opened_nothing_starts() {
    let stage = stage("[access.audit]\nfile = \"$/audit.log\"\n");
    std::os::unix::fs::symlink("/no/such/folder/audit.log", stage.path("audit.log")).expect("a link");

    let mut longshore = stage.launch.spawn();

    assert_eq!(longshore.ended(Duration::from_secs(20)).await.code(), Some(2));
    let log = longshore.log_to_end().await;
    assert!(log.contains("access.audit.file: ") && log.contains("audit.log cannot be written: No such file"), "{log}");
}

#[test]
fn every_mistake_of_the_audit_has_its_message() {
    for (text, message) in [
        (
            "file = \"/no/such/audit.log\"",
            "access.audit.file  line 2  \"/no/such/audit.log\": there is no folder /no/such; make it first",
        ),
        ("file = \"/tmp\"", "access.audit.file  line 2  \"/tmp\": is a folder; name a file in it"),
        ("file = 1", "access.audit.file  line 2  must be a text, not a number"),
        ("file = \"\"", "access.audit.file  line 2  is empty; give it a value or take it away"),
        (
            "format = \"json\"",
            "access.audit.format  line 2  needs access.audit.file beside it; the log is written as log.format says",
        ),
        ("file = \"/tmp/a\"\nformat = \"xml\"", "access.audit.format  line 3  \"xml\": must be one of text, json"),
        ("fil = \"/tmp/a\"", "access.audit.fil  line 2  there is no such key; did you mean file?"),
    ] {
        let (_folder, path) = crate::file(&format!("[access.audit]\n{text}\n"));
        let outcome = longshore(&["check", "--config", &path], &[]);
        assert_eq!(outcome.status, Some(2), "{text}: {}", outcome.stdout);
        assert!(outcome.stderr.contains(message) && outcome.stderr.contains("1 problem\n"), "{text}: {}", outcome.stderr);
    }
}
