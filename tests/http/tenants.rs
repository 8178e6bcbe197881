//! Two tenants on one server, each with a profile of their own, of whom one tries whatever there is to try.

use std::sync::Arc;

use http::{Request, StatusCode};
use longshore::access::{Access, Authenticator, Grants, Passes, Profile, TextPattern, Who};
use longshore::oci::Digest;
use longshore::registry::{Layout, Patience, Registry};
use longshore::store::{MemoryStore, ObjectStore};
use serde_json::{Value, json};

use crate::broken_store::BrokenStore;
use crate::client::Answer;
use crate::identities::{ALL, anonymously, as_user, grant, user};
use crate::stand::{PATIENCE, Stand, code, message, send};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// One who has a profile, with a look at the calls to its store.
struct Tenant {
    store: Arc<BrokenStore>,
    registry: Arc<Registry>,
}

impl Tenant {
    fn new(layout: &Layout) -> Self {
        let store = BrokenStore::around(Arc::new(MemoryStore::default()));
        let registry = Registry::new(Arc::clone(&store) as _, Patience::with_bytes(PATIENCE)).with_layout(layout.clone());
        Self { store, registry: Arc::new(registry) }
    }

    fn profile(&self, name: &str) -> Profile {
        Profile::new(name.to_owned(), Arc::clone(&self.registry), Access::None)
    }

    /// How many calls there were to the store, once nothing runs in the background.
    async fn calls(&self) -> usize {
        self.registry.settle().await;
        self.store.all_calls()
    }
}

/// What tells the tenants' profiles apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// `a/**` is alice's, `m/**` mallory's.
    Image,
    /// Whatever they call an image: it is theirs.
    Identity,
}

/// A server with the profiles of alice, mallory, and of whoever is neither.
struct World {
    stand: Stand,
    alice: Tenant,
    mallory: Tenant,
    others: Tenant,
}

fn named(name: &str) -> Who {
    Who::User { name: Some(TextPattern::on_claim(name).unwrap()), group: None }
}

/// The profiles are told apart so; a user called `both` is served by two of them, or may do everything in both.
fn world(by: By) -> World {
    world_with(by, true, &Layout::Image)
}

/// The same, perhaps without one for whatever is neither's, where all keep what they have in this `layout`.
fn world_with(by: By, has_default: bool, layout: &Layout) -> World {
    let [alice, mallory, others] = [(); 3].map(|()| Tenant::new(layout));
    let profiles = match by {
        By::Image => [("a", &alice, "a/**"), ("m", &mallory, "m/**")]
            .map(|(name, tenant, images)| tenant.profile(name).with_images(vec![images.parse().unwrap()])),
        By::Identity => [("a", &alice, "alice"), ("m", &mallory, "mallory")]
            .map(|(name, tenant, who)| tenant.profile(name).with_who(vec![named(who), named("both")])),
    };
    let profiles = profiles.into_iter().chain(has_default.then(|| others.profile("default"))).collect();
    let grants = match by {
        By::Image => vec![grant("alice", "a/**", "*", ALL), grant("mallory", "m/**", "*", ALL), grant("both", "**", "*", ALL)],
        By::Identity => ["alice", "mallory", "both", "other"].map(|name| grant(name, "**", "*", ALL)).into(),
    };
    let passes = Passes::new("https://cache.example/token".to_owned(), &["k".repeat(32).into()]);
    let users = ["alice", "mallory", "both", "other"].map(user).into();
    let authenticator = Authenticator::new(users).with_passes(Some(passes));
    let (registry, store) = (Arc::clone(&alice.registry), Arc::clone(&alice.store));
    let stand = Stand::among(profiles, registry, store, Grants::new(grants), authenticator);
    World { stand, alice, mallory, others }
}

/// What alice has in one of her images.
struct Secrets {
    blob: Digest,
    manifest: String,
    /// An upload that has begun, with a piece stored.
    upload: String,
}

impl World {
    async fn ask(&self, name: &str, line: &str, body: impl Into<bytes::Bytes>) -> Answer {
        let body: bytes::Bytes = body.into();
        self.stand.send(as_user(name, line).header("content-type", IMAGE).body(body).unwrap()).await
    }

    async fn push(&self, name: &str, image: &str, tag: &str, layer: &'static str) -> (Digest, String) {
        for content in ["{}", layer] {
            let digest = Digest::sha256(content.as_bytes());
            let pushed = self.ask(name, &format!("POST /v2/{image}/blobs/uploads/?digest={digest}"), content).await;
            assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
        }
        let put = self.ask(name, &format!("PUT /v2/{image}/manifests/{tag}"), manifest(IMAGE_CONFIG, layer).to_string()).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
        (Digest::sha256(layer.as_bytes()), put.header("docker-content-digest").to_owned())
    }

    async fn secrets(&self, image: &str) -> Secrets {
        let (blob, manifest) = self.push("alice", image, "t", "secret layer").await;
        let opened = self.ask("alice", &format!("POST /v2/{image}/blobs/uploads/"), "").await;
        let sent = self.ask("alice", &format!("PATCH {}", opened.header("location")), "half of a").await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "{sent:?}");
        let location = sent.header("location");
        let (_, upload) = location.rsplit_once('/').unwrap();
        Secrets { blob, manifest, upload: upload.to_owned() }
    }

    async fn calls(&self) -> [usize; 3] {
        [self.alice.calls().await, self.mallory.calls().await, self.others.calls().await]
    }
}

/// A manifest of the config `{}` and one layer.
fn manifest(config_type: &str, layer: &str) -> Value {
    let descriptor = |media_type: &str, content: &str| json!({"mediaType": media_type, "digest": Digest::sha256(content.as_bytes()).to_string(), "size": content.len()});
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)];
    json!({"schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(config_type, "{}"), "layers": layers})
}

/// Every endpoint of `image`, asked for what alice has; with a body.
fn attempts(image: &str, from: &str, Secrets { blob, manifest: digest, upload }: &Secrets) -> Vec<(String, String)> {
    let id = upload.split('?').next().unwrap();
    let with_layer = |config_type| manifest(config_type, "secret layer").to_string();
    let whole = "half of a".to_owned();
    [
        (format!("HEAD /v2/{image}/blobs/{blob}"), String::new()),
        (format!("GET /v2/{image}/blobs/{blob}"), String::new()),
        (format!("HEAD /v2/{image}/manifests/t"), String::new()),
        (format!("GET /v2/{image}/manifests/t"), String::new()),
        (format!("HEAD /v2/{image}/manifests/{digest}"), String::new()),
        (format!("GET /v2/{image}/manifests/{digest}"), String::new()),
        (format!("GET /v2/{image}/tags/list"), String::new()),
        (format!("GET /v2/{image}/referrers/{digest}"), String::new()),
        (format!("POST /v2/{image}/blobs/uploads/?mount={blob}&from={from}"), String::new()),
        (format!("POST /v2/{image}/blobs/uploads/?mount={blob}"), String::new()),
        (format!("POST /v2/{image}/blobs/uploads/"), String::new()),
        (format!("GET /v2/{image}/blobs/uploads/{id}"), String::new()),
        (format!("PUT /v2/{image}/blobs/uploads/{upload}&digest={}", Digest::sha256(whole.as_bytes())), String::new()),
        (format!("PATCH /v2/{image}/blobs/uploads/{id}"), " layer".to_owned()),
        (format!("DELETE /v2/{image}/blobs/uploads/{id}"), String::new()),
        (format!("PUT /v2/{image}/manifests/t"), with_layer(IMAGE_CONFIG)),
        // A cache may have holes; one that names what somebody else has is no way to it.
        (format!("PUT /v2/{image}/manifests/c"), with_layer(CACHE_CONFIG)),
        (format!("GET /v2/{image}/manifests/c"), String::new()),
        (format!("GET /v2/{image}/blobs/{blob}"), String::new()),
        (format!("DELETE /v2/{image}/manifests/t"), String::new()),
        (format!("DELETE /v2/{image}/manifests/{digest}"), String::new()),
        (format!("DELETE /v2/{image}/manifests/c"), String::new()),
        (format!("DELETE /v2/{image}/blobs/{blob}"), String::new()),
        (format!("POST /v2/{image}/blobs/uploads/?digest={blob}"), "other".to_owned()),
    ]
    .into()
}

/// All of an answer but what is of no two: names of uploads, and of `image`.
fn told(answer: &Answer, image: &str) -> String {
    let headers = answer.headers.iter().filter(|(name, _)| !["date", "docker-upload-uuid"].contains(&name.as_str()));
    let mut lines: Vec<_> = headers
        .map(|(name, value)| {
            let value = value.to_str().unwrap();
            let value = if name == "location" { value.rsplit_once('/').unwrap().0 } else { value };
            format!("{name}: {value}\n")
        })
        .collect();
    lines.sort();
    let body = String::from_utf8_lossy(&answer.body);
    format!("{}\n{}{body}", answer.status, lines.concat()).replace(image, "IMAGE")
}

/// What mallory is answered about an image that alice has, and about one that nobody has, side by side.
async fn try_everything(world: &World, secrets: &Secrets, [theirs, nobodys]: [&str; 2]) {
    let there = attempts(theirs, theirs, secrets).into_iter().zip(attempts(nobodys, nobodys, secrets));
    for ((line, body), (other, _)) in there {
        let before = world.calls().await;
        let answer = world.ask("mallory", &line, body.clone()).await;
        let between = world.calls().await;
        let of_nothing = world.ask("mallory", &other, body).await;
        let after = world.calls().await;

        assert_eq!(told(&answer, theirs), told(&of_nothing, nobodys), "{line}");
        assert_eq!(after[0], before[0], "alice's store was asked by {line}");
        let spent = |from: [usize; 3], to: [usize; 3]| [to[1] - from[1], to[2] - from[2]];
        assert_eq!(spent(before, between), spent(between, after), "calls of {line}");
        if !theirs.starts_with("there") {
            assert_eq!(spent(before, between), [0, 0], "{line} is denied");
        }
    }
}

#[tokio::test]
async fn who_tries_another_profile_by_its_images_learns_nothing_and_no_store_is_asked() {
    let world = world(By::Image);
    let secrets = world.secrets("a/there").await;
    let kept = world.stand.keys().await;

    try_everything(&world, &secrets, ["a/there", "a/ghost"]).await;
    // Nor what has a profile at all.
    let alone = world_with(By::Image, false, &Layout::Image);
    let others = alone.secrets("a/there").await;
    try_everything(&alone, &others, ["a/there", "x/ghost"]).await;
    try_everything(&world, &secrets, ["a/there", "x/ghost"]).await;

    let before = world.calls().await;
    // A mount takes nothing from where one may not read, and asks nothing there.
    let mount = |from: &str| format!("POST /v2/m/app/blobs/uploads/?mount={}&from={from}", secrets.blob);
    for from in ["a/there", "a/ghost", "x/ghost"] {
        assert_eq!(world.ask("mallory", &mount(from), "").await.status, StatusCode::ACCEPTED, "{from}");
    }
    // What lies in one profile under a name that is another's is nobody's.
    world.others.store.put(&"m/stray/_oci/tags/t".parse().unwrap(), "{}".into(), "text/plain", PATIENCE).await.unwrap();
    let catalog = world.ask("mallory", "GET /v2/_catalog", "").await;
    assert_eq!(catalog.body, r#"{"repositories":[]}"#);
    assert_eq!(world.calls().await[0], before[0], "alice's store was asked");
    assert_eq!(world.stand.keys().await, kept);
}

#[tokio::test]
async fn tenants_who_call_an_image_the_same_have_each_their_own() {
    let world = world(By::Identity);
    let secrets = world.secrets("there").await;
    let kept = world.stand.keys().await;

    try_everything(&world, &secrets, ["there", "ghost"]).await;

    // She has her own under the same names, and alice's is as it was.
    let (own, own_manifest) = world.push("mallory", "there", "t", "another layer").await;
    for (name, own, manifest, others, images) in [
        ("mallory", &own, &own_manifest, &secrets.blob, r#""ghost","there""#),
        ("alice", &secrets.blob, &secrets.manifest, &own, r#""there""#),
    ] {
        let tag = world.ask(name, "GET /v2/there/manifests/t", "").await;
        assert_eq!(tag.header("docker-content-digest"), manifest, "{name}");
        for (blob, status) in [(own, 200), (others, 404)] {
            let found = world.ask(name, &format!("GET /v2/there/blobs/{blob}"), "").await;
            assert_eq!(found.status.as_u16(), status, "{name} {blob}");
        }
        let tags = world.ask(name, "GET /v2/there/tags/list", "").await;
        assert_eq!(tags.body, r#"{"name":"there","tags":["t"]}"#, "{name}");
        let catalog = world.ask(name, "GET /v2/_catalog", "").await;
        assert_eq!(catalog.body, format!(r#"{{"repositories":[{images}]}}"#), "{name}");
    }
    let unknown = world.ask("mallory", &format!("GET /v2/there/manifests/{}", secrets.manifest), "").await;
    assert_eq!((unknown.status.as_u16(), code(&unknown).as_str()), (404, "MANIFEST_UNKNOWN"));
    assert_eq!(world.stand.keys().await, kept);
    // Whoever is neither has nothing to do with either.
    assert_eq!(world.ask("other", "GET /v2/there/manifests/t", "").await.status, StatusCode::NOT_FOUND);
    // The upload that she tried is alice's still, and whole.
    let digest = Digest::sha256(b"half of a");
    let line = format!("PUT /v2/there/blobs/uploads/{}&digest={digest}", secrets.upload);
    assert_eq!(world.ask("alice", &line, "").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_deleted_in_one_profile_stays_in_another() {
    let world = world(By::Identity);
    let secrets = world.secrets("there").await;
    assert_eq!(world.push("mallory", "there", "t", "secret layer").await.1, secrets.manifest);

    for line in [format!("DELETE /v2/there/manifests/{}", secrets.manifest), format!("DELETE /v2/there/blobs/{}", secrets.blob)] {
        assert_eq!(world.ask("mallory", &line, "").await.status, StatusCode::ACCEPTED, "{line}");
    }

    for (name, status) in [("mallory", 404), ("alice", 200)] {
        for line in ["GET /v2/there/manifests/t".to_owned(), format!("GET /v2/there/blobs/{}", secrets.blob)] {
            assert_eq!(world.ask(name, &line, "").await.status.as_u16(), status, "{name} {line}");
        }
    }
}

#[tokio::test]
async fn a_listing_goes_through_one_tenants_images_alone() {
    let world = world(By::Identity);
    for image in ["a", "c", "e"] {
        world.push("alice", image, "t", "layer").await;
    }
    for image in ["b", "d"] {
        world.push("mallory", image, "t", "layer").await;
    }
    let before = world.calls().await;

    let (mut pages, mut line) = (Vec::new(), "GET /v2/_catalog?n=1".to_owned());
    loop {
        let page = world.ask("mallory", &line, "").await;
        pages.push(String::from_utf8(page.body.to_vec()).unwrap());
        let Some(link) = page.headers.get("link") else { break };
        let next = link.to_str().unwrap().split(['<', '>']).nth(1).unwrap();
        line = format!("GET {next}");
    }

    assert_eq!(pages, [r#"{"repositories":["b"]}"#, r#"{"repositories":["d"]}"#]);
    let after = world.calls().await;
    assert_eq!([after[0], after[2]], [before[0], before[2]], "another's store was asked");
}

#[tokio::test]
async fn whom_two_profiles_serve_neither_does() {
    let world = world(By::Identity);
    let secrets = world.secrets("there").await;
    let before = world.calls().await;

    let attempts = attempts("there", "there", &secrets).into_iter().chain([("GET /v2/_catalog".to_owned(), String::new())]);
    for (line, body) in attempts {
        let refused = world.ask("both", &line, body).await;

        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{line}: {refused:?}");
        if !line.starts_with("HEAD") {
            let told = "user both is served by two profiles of this server, so neither is used; whoever runs it must say which";
            assert_eq!((code(&refused).as_str(), message(&refused).as_str()), ("DENIED", told), "{line}");
        }
    }

    assert_eq!(world.calls().await, before, "a store was asked");
}

#[tokio::test]
async fn who_does_not_say_who_they_are_is_nobodys_tenant_and_is_asked() {
    for by in [By::Image, By::Identity] {
        let world = world(by);
        let image = if by == By::Image { "a/there" } else { "there" };
        let secrets = world.secrets(image).await;
        let before = world.calls().await;
        for (line, body) in attempts(image, image, &secrets) {
            let asked = world.stand.send(anonymously(&line).header("content-type", IMAGE).body(body).unwrap()).await;
            assert_eq!(asked.status, StatusCode::UNAUTHORIZED, "{by:?} {line}: {asked:?}");
        }
        assert_eq!(world.calls().await, before, "{by:?}: a store was asked");
    }
}

#[tokio::test]
async fn a_pass_leads_to_the_profile_of_whoever_fetched_it() {
    let world = world(By::Identity);
    let secrets = world.secrets("there").await;
    for (name, status) in [("alice", 200), ("mallory", 404)] {
        let fetched = world.ask(name, "GET /token?scope=repository:there:pull", "").await;
        let token: Value = serde_json::from_slice(&fetched.body).unwrap();
        let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
        let line = format!("GET /v2/there/blobs/{}", secrets.blob);

        let found = world.stand.send(anonymously(&line).header("authorization", bearer).body("").unwrap()).await;

        assert_eq!(found.status.as_u16(), status, "{name}");
    }
}

#[tokio::test]
async fn what_is_counted_is_counted_for_the_tenant_and_shown_to_no_client() {
    let world = world(By::Identity);
    world.secrets("there").await;
    world.push("mallory", "there", "t", "another layer").await;

    let metrics = send(world.stand.admin, Request::get("/metrics").body("").unwrap()).await;
    let counted = String::from_utf8(metrics.body.to_vec()).unwrap();
    for profile in ["a", "m"] {
        let line = format!("longshore_image_bytes_total{{profile=\"{profile}\",image=\"there\",direction=\"received\"}}");
        assert!(counted.contains(&line), "{profile}: {counted}");
    }
    assert!(!counted.contains("profile=\"default\",image"), "{counted}");
    assert_eq!(world.ask("mallory", "GET /metrics", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_mount_never_leaves_its_profile_whoever_asks() {
    let shared = Layout::Shared { blobs: "blobs/".into(), manifests: "manifests/".into() };
    for layout in [Layout::Image, shared] {
        let world = world_with(By::Image, true, &layout);
        let secrets = world.secrets("a/there").await;
        let before = world.calls().await;
        let mount = format!("POST /v2/m/app/blobs/uploads/?mount={}&from=a/there", secrets.blob);
        let head = format!("HEAD /v2/m/app/blobs/{}", secrets.blob);

        assert_eq!(world.ask("both", &mount, "").await.status, StatusCode::ACCEPTED, "{layout:?}");
        assert_eq!(world.ask("both", &head, "").await.status, StatusCode::NOT_FOUND, "{layout:?}");

        assert_eq!(world.calls().await[0], before[0], "{layout:?}");
        let within = mount.replace("m/app", "a/app");
        assert_eq!(world.ask("both", &within, "").await.status, StatusCode::CREATED, "{layout:?}");
    }
}
