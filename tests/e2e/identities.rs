//! Builds whose pipelines carry nothing but a token that their CI system issued for the job.

use std::fs;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::profiles::{config_file, write};
use crate::stage::{bucket_of, cache_at, cold, exporter, run};
use crate::support::buildkit::{Build, Outcome};
use crate::support::client::ask;
use crate::support::door::{Action, Door, Trip};
use crate::support::jwt::{Signer, now, with};
use crate::support::longshore::{Launch, Longshore};
use crate::support::minio;
use crate::support::project::{Project, Tree};
use crate::support::s3_server::S3Server;
use crate::support::{eventually, scratch};

/// Main writes everything; a pull request reads `cache-main`, pushes there in vain, and writes its own.
const GRANTS: &str = r#"
[[access.grants]]
who = { issuer = "ci", ref = "refs/heads/main" }
images = ["org/**"]
allow = ["read", "write", "create"]
[[access.grants]]
who = { issuer = "ci" }
images = ["org/**"]
tags = ["cache-{ref_slug}"]
allow = ["read", "write"]
[[access.grants]]
who = { issuer = "ci" }
images = ["org/**"]
tags = ["cache-main"]
allow = ["read"]
push = "discard"
[[access.grants]]
who = "anyone"
images = ["open/**"]
allow = ["read"]
[[access.grants]]
who = { issuer = "ci" }
images = ["open/**"]
allow = ["read", "write", "create"]
"#;

/// What clients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Their password, which is the token of their CI system.
    Password,
    /// A token that they fetch with that.
    Token,
}

/// A Longshore that believes an issuer, or several of them, and a door before them that leads to each in turn.
struct Quay {
    door: Door,
    longshores: Vec<Longshore>,
    signer: Signer,
    folder: TempDir,
    _back: Option<Door>,
}

impl Quay {
    /// One, on a folder, with what `more` says of the issuer.
    async fn start(more: &str, asks: Asks) -> Self {
        Self::of(more, asks, &format!("{GRANTS}[profiles.default]\nstore = \"$/store\"\n")).await
    }

    /// The same with these grants and profiles; `$` stands for a folder.
    async fn of(more: &str, asks: Asks, rest: &str) -> Self {
        let (folder, config) = config_file();
        let rest = rest.replace('$', folder.path().to_str().unwrap());
        let launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "trace"]).listening();
        Self::launched((folder, config), &rest, more, asks, &[launch], None).await
    }

    /// Two, on a bucket.
    async fn of_two_replicas(asks: Asks) -> Self {
        let ((folder, config), (bucket, back)) = (config_file(), bucket_of(S3Server::Minio).await);
        let rest = format!(
            "{GRANTS}[profiles.default]\nstore = \"s3://{bucket}/registry\"\nendpoint = \"http://{}\"\npath_style = true\nregion = \"{}\"\n\
             access_key_id = \"{}\"\nsecret_access_key = \"{{{{secret:STORE}}}}\"\n",
            back.address,
            minio::REGION,
            minio::ACCESS_KEY_ID
        );
        let launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "trace"]).listening();
        let launch = launch.env("LONGSHORE_SECRET_STORE", minio::SECRET_ACCESS_KEY);
        let launches = [launch.clone(), launch.beside()];
        Self::launched((folder, config), &rest, "", asks, &launches, Some(back)).await
    }

    async fn launched(
        (folder, config): (TempDir, PathBuf),
        rest: &str,
        more: &str,
        asks: Asks,
        launches: &[Launch],
        back: Option<Door>,
    ) -> Self {
        let (signer, jwks) = (Signer::rsa("k"), folder.path().join("jwks.json"));
        fs::write(&jwks, json!({"keys": [signer.jwk()]}).to_string()).unwrap();
        let door = Door::open_in_turn(&launches.iter().map(|launch| launch.address).collect::<Vec<_>>());
        let realm = match asks {
            Asks::Password => String::new(),
            Asks::Token => {
                format!("[access.token]\nrealm = \"http://{}/token\"\nkey = \"{{{{secret:TOKENS}}}}\"\n", door.address)
            }
        };
        let text = format!(
            "[access]\nanonymous = \"none\"\n{realm}[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\n\
             audience = \"longshore\"\njwks = \"{}\"\n{more}{rest}",
            jwks.display(),
        );
        write(&config, &text);
        let starting = launches.iter().map(async |launch| {
            let launch = launch.clone().env("LONGSHORE_SECRET_TOKENS", &"k".repeat(32));
            launch.start().await
        });
        Self { door, longshores: join_all(starting).await, signer, folder, _back: back }
    }

    fn claims(git_ref: &str) -> Value {
        json!({
            "iss": "https://ci.example", "aud": "longshore", "sub": git_ref, "ref": git_ref,
            "iat": now(), "exp": now() + 300,
        })
    }

    /// What `docker login` leaves behind for a job with these claims.
    fn login(&self, claims: &Value) -> TempDir {
        login(self.door.address, &self.signer.token(claims))
    }

    fn cache(&self, image: &str) -> String {
        cache_at(self.door.address, image)
    }

    fn stored_tags(&self) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("store/org/app/_oci/tags");
        let mut tags: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        tags.sort();
        tags
    }
}

/// What `docker login` leaves behind that was given `token` for the registry at `address`.
fn login(address: SocketAddrV4, token: &str) -> TempDir {
    let folder = scratch("login");
    let login = BASE64.encode(format!("oidc:{token}").as_bytes());
    let config = json!({"auths": {address.to_string(): {"auth": login}}});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

/// Builds `project` on the exporting daemon, and exports its cache as `to`, an image with a tag.
async fn export(quay: &Quay, project: &Project, claims: &Value, to: &str) -> (Outcome, Option<Tree>) {
    let (login, output) = (quay.login(claims), scratch("output"));
    let build = Build::of(project.path()).output_to(output.path()).logged_in(login.path());
    let outcome = exporter().await.build(&build.export_cache(&format!("{},mode=max", quay.cache(to)))).await;
    let tree = outcome.succeeded.then(|| Tree::read(output.path()));
    (outcome, tree)
}

/// Builds `project` on a daemon that knows nothing of it, with the cache `from`; logged in, if there are `claims`.
async fn import(quay: &Quay, project: &Project, claims: Option<&Value>, from: &str) -> (Outcome, Tree) {
    let (login, output) = (claims.map(|claims| quay.login(claims)), scratch("output"));
    let build = Build::of(project.path()).output_to(output.path());
    let build = login.iter().fold(build, |build, login| build.logged_in(login.path()));
    let outcome = cold().await.must_build(&build.import_cache(&quay.cache(from))).await;
    (outcome, Tree::read(output.path()))
}

#[test]
fn a_pull_request_builds_with_mains_cache_and_cannot_change_it() {
    run(async {
        for asks in [Asks::Password, Asks::Token] {
            let (quay, project) = (Quay::start("", asks).await, Project::new());
            let [main, request] = ["refs/heads/main", "refs/pull/7/merge"].map(Quay::claims);
            let (exported, built) = export(&quay, &project, &main, "org/app:cache-main").await;
            assert!(exported.succeeded, "{}", exported.log);

            let (_, imported) = import(&quay, &project, Some(&request), "org/app:cache-main").await;
            assert_eq!(Some(imported), built, "what main built, from its cache");
            let before = quay.stored_tags();
            project.change_source();
            let (discarded, _) = export(&quay, &project, &request, "org/app:cache-main").await;
            assert!(discarded.succeeded, "it stays green: {}", discarded.log);
            assert_eq!(quay.stored_tags(), before);
            let (own, _) = export(&quay, &project, &request, "org/app:cache-pr-7").await;
            assert!(own.succeeded, "{}", own.log);
            let (denied, _) = export(&quay, &project, &request, "org/app:cache-pr-8").await;
            assert!(!denied.succeeded && denied.log.contains("ci: refs/pull/7/merge may not write"), "{}", denied.log);
            assert_eq!(quay.stored_tags(), ["cache-main", "cache-pr-7"]);
            let put = ask(quay.longshores[0].address, "PUT", "/v2/org/app/manifests/cache-main").await;
            assert_eq!(put.status, StatusCode::UNAUTHORIZED, "what has no token, such as a RUN step");
        }
    });
}

#[test]
fn everybody_imports_what_everybody_may_read_and_who_has_logged_in_exports_it() {
    run(async {
        for asks in [Asks::Password, Asks::Token] {
            let (quay, project) = (Quay::start("", asks).await, Project::new());
            let (exported, built) = export(&quay, &project, &Quay::claims("refs/heads/x"), "open/app:cache").await;
            assert!(exported.succeeded, "{}", exported.log);

            let (_, imported) = import(&quay, &project, None, "open/app:cache").await;

            assert_eq!(Some(imported), built, "{asks:?}");
            let output = scratch("output");
            let build = Build::of(project.path()).output_to(output.path());
            let refused = cold().await.build(&build.export_cache(&quay.cache("open/app:cache"))).await;
            assert!(!refused.succeeded, "{}", refused.log);
        }
    });
}

#[test]
fn a_token_is_fetched_by_who_runs_the_build_or_by_the_daemon() {
    run(async {
        // buildctl sends a form first, which is not taken here, and the daemon last.
        for (by_daemon, first) in [(false, Method::POST), (true, Method::GET)] {
            let (quay, project) = (Quay::start("", Asks::Token).await, Project::new());
            let (login, output) = (quay.login(&Quay::claims("refs/heads/main")), scratch("output"));
            let cache = quay.cache("org/app:cache-main");
            let build = Build::of(project.path()).output_to(output.path()).logged_in(login.path());
            let build = build.import_cache(&cache).export_cache(&format!("{cache},mode=max")).fetching_tokens(by_daemon);

            exporter().await.must_build(&build).await;

            let fetched: Vec<_> = quay.door.seen().into_iter().filter(|seen| seen.path == "/token").collect();
            assert!(fetched.iter().any(|seen| seen.status() == Some(StatusCode::OK)), "{fetched:?}");
            assert_eq!(fetched[0].method, first, "{fetched:?}");
            assert_eq!(quay.stored_tags(), ["cache-main"]);
        }
    });
}

#[test]
fn a_token_of_one_replica_counts_at_the_other_for_a_whole_build() {
    run(async {
        for asks in [Asks::Password, Asks::Token] {
            let (quay, project) = (Quay::of_two_replicas(asks).await, Project::new());
            let main = Quay::claims("refs/heads/main");

            let (exported, built) = export(&quay, &project, &main, "org/app:cache-main").await;
            assert!(exported.succeeded, "{asks:?}: {}", exported.log);
            let (_, imported) = import(&quay, &project, Some(&main), "org/app:cache-main").await;

            assert_eq!(Some(imported), built, "{asks:?}");
            for longshore in &quay.longshores {
                let requests = longshore.log().matches("request{").count();
                assert!(requests > 5, "each had its part: {requests}");
            }
        }
    });
}

// buildkitd knows where a layer is from by the name of the host alone, and asks any registry there to mount it.
#[test]
fn a_mount_from_an_image_that_one_may_not_read_is_a_push_all_the_same() {
    run(async {
        for asks in [Asks::Password, Asks::Token] {
            let (quay, project) = (Quay::start("", asks).await, Project::new());
            let (elsewhere, folder) = (scratch("elsewhere"), scratch("output"));
            let open = Launch::on_folder(elsewhere.path()).start().await;
            let secret = cache_at(open.address, "secret/app:cache");
            let build = Build::of(project.path()).output_to(folder.path());
            exporter().await.must_build(&build.export_cache(&format!("{secret},mode=max"))).await;
            let built = Tree::read(folder.path());

            let main = Quay::claims("refs/heads/main");
            let (login, output) = (quay.login(&main), scratch("output"));
            let build = Build::of(project.path()).output_to(output.path()).logged_in(login.path());
            let build = build.import_cache(&secret).export_cache(&format!("{},mode=max", quay.cache("org/app:cache-main")));
            cold().await.must_build(&build).await;

            let is_mount = |query: &str| query.contains("mount=") && query.replace("%2F", "/").contains("from=secret/app");
            let mounts: Vec<_> = quay.door.seen().into_iter().filter(|seen| is_mount(&seen.query)).collect();
            let answers: Vec<_> = mounts.iter().map(|seen| seen.status()).collect();
            assert!(answers.contains(&Some(StatusCode::ACCEPTED)), "{asks:?}: {answers:?}");
            assert!(!answers.contains(&Some(StatusCode::FORBIDDEN)), "{asks:?}: {answers:?}");
            cold().await.prune().await;
            let (_, imported) = import(&quay, &project, Some(&main), "org/app:cache-main").await;
            assert_eq!(imported, built, "{asks:?}");
        }
    });
}

#[test]
fn a_token_that_expires_before_the_build_counts_where_there_is_a_session() {
    run(async {
        for (more, is_taken) in [("", false), ("session = \"1h\"\n", true)] {
            let (quay, project) = (Quay::start(more, Asks::Password).await, Project::new());
            let main = Quay::claims("refs/heads/main");
            let (exported, built) = export(&quay, &project, &main, "org/app:cache-main").await;
            assert!(exported.succeeded, "{}", exported.log);
            let expired = with(&main, json!({"iat": now() - 600, "exp": now() - 300}));

            // Without it the build goes on as if there were no cache, and says why.
            let (outcome, imported) = import(&quay, &project, Some(&expired), "org/app:cache-main").await;
            assert_eq!(Some(imported) == built, is_taken, "{more}: {}", outcome.log);
            assert_eq!(outcome.log.contains("the token has expired"), !is_taken, "{more}: {}", outcome.log);
            let (outcome, _) = export(&quay, &project, &expired, "org/app:cache-main").await;
            assert_eq!(outcome.succeeded, is_taken, "{more}: {}", outcome.log);
        }
    });
}

/// How long a token may take to be over that is nearly so, and a build to get where it waits for that.
const A_WHILE: Duration = Duration::from_secs(90);

/// How long a token that has expired is taken all the same, in seconds: clocks may differ by that.
const LEEWAY: u64 = 60;

/// A build that imports and exports `cache-main` with a token that counts when it imports and is over when it exports.
async fn over_in_mid_build(quay: &Quay, project: &Project) -> Outcome {
    let expires = now() - LEEWAY + 25;
    let expiring = with(&Quay::claims("refs/heads/main"), json!({"iat": now() - 600, "exp": expires}));
    let (login, output, cache) = (quay.login(&expiring), scratch("output"), quay.cache("org/app:cache-main"));
    let is_of_the_export = |method: &Method, path: &str| *method == Method::HEAD && path.contains("/blobs/");
    let hold = |nth| quay.door.trip(nth, Action::Hold, move |seen| is_of_the_export(&seen.method, &seen.path));
    let (held, build) = ((1..=16).map(hold).collect::<Vec<_>>(), Build::of(project.path()).output_to(output.path()));
    quay.door.forget();
    let build = build.logged_in(login.path()).import_cache(&cache).export_cache(&format!("{cache},mode=max"));
    let letting_go = async {
        held[0].sprung(A_WHILE).await;
        eventually("the token is over", A_WHILE, || async { (now() > expires + LEEWAY).then_some(()) }).await;
        held.iter().for_each(Trip::release);
    };
    let (outcome, ()) = tokio::join!(cold().await.build(&build), letting_go);
    let is_import = |path: &str, status| path.ends_with("/manifests/cache-main") && status == Some(StatusCode::OK);
    let imported = quay.door.seen().iter().any(|seen| is_import(&seen.path, seen.status()));
    assert!(imported, "it counted when it began: {}", outcome.log);
    outcome
}

#[test]
fn a_token_that_expires_in_mid_build_counts_to_its_end_where_there_is_a_session_and_else_the_build_says_why_not() {
    let row = async |more: &'static str, asks: Asks| {
        let (quay, project) = (Quay::start(more, asks).await, Project::new());
        let (exported, _) = export(&quay, &project, &Quay::claims("refs/heads/main"), "org/app:cache-main").await;
        assert!(exported.succeeded, "{}", exported.log);
        project.change_source();

        let outcome = over_in_mid_build(&quay, &project).await;

        assert_eq!(outcome.succeeded, !more.is_empty(), "{more} {asks:?}: {}", outcome.log);
        assert!(!more.is_empty() || outcome.log.contains("the token has expired"), "{asks:?}: {}", outcome.log);
    };
    const SESSION: &str = "session = \"1h\"\n";
    run(async {
        let rows = [(SESSION, Asks::Password), (SESSION, Asks::Token), ("", Asks::Password), ("", Asks::Token)];
        join_all(rows.map(|(more, asks)| row(more, asks))).await;
    });
}

/// What the token of a job of a tenant says.
fn of_tenant(tenant: &str) -> Value {
    with(&Quay::claims("refs/heads/main"), json!({"tenant": tenant}))
}

#[test]
fn tenants_that_call_a_cache_the_same_have_each_their_own() {
    run(async {
        let rest = "[[access.grants]]\nwho = { issuer = \"ci\" }\nimages = [\"**\"]\nallow = [\"read\", \"write\", \"create\"]\n\
            [profiles.a]\nstore = \"$/a\"\nwho = [{ issuer = \"ci\", tenant = \"a\" }]\n\
            [profiles.b]\nstore = \"$/b\"\nwho = [{ issuer = \"ci\", tenant = \"b\" }]\n";
        for asks in [Asks::Password, Asks::Token] {
            let quay = Quay::of("", asks, rest).await;
            let ([a, b], [one, other, another]) = (["a", "b"].map(of_tenant), [(); 3].map(|()| Project::new()));
            let (exported, built) = export(&quay, &one, &a, "org/app:cache").await;
            assert!(exported.succeeded, "{}", exported.log);

            let (_, of_b) = import(&quay, &one, Some(&b), "org/app:cache").await;
            assert_ne!(Some(of_b), built, "b has no cache yet");

            let (of_a, built_by_a) = export(&quay, &other, &a, "org/app:cache").await;
            let (of_b, built_by_b) = export(&quay, &another, &b, "org/app:cache").await;
            assert!(of_a.succeeded && of_b.succeeded, "{} {}", of_a.log, of_b.log);
            for (tenant, project, built) in [(&a, &other, built_by_a), (&b, &another, built_by_b)] {
                let (_, imported) = import(&quay, project, Some(tenant), "org/app:cache").await;
                assert_eq!(Some(imported), built, "what {tenant} built, from its cache");
            }
        }
    });
}

// The second tenant is told of none of the layers that the first one has sent, and sends them again.
#[test]
fn tenants_whose_layers_lie_in_one_place_export_and_import_each_their_own() {
    run(async {
        let grant = |tenant: &str| {
            format!(
                "[[access.grants]]\nwho = {{ issuer = \"ci\", tenant = \"{tenant}\" }}\nimages = [\"{tenant}/**\"]\n\
                 allow = [\"read\", \"write\", \"create\"]\n"
            )
        };
        let rest = format!("{}{}[profiles.default]\nstore = \"$/store\"\nlayout = \"shared\"\n", grant("a"), grant("b"));
        let (quay, project) = (Quay::of("", Asks::Password, &rest).await, Project::new());
        for tenant in ["a", "b"] {
            let (claims, cache) = (of_tenant(tenant), format!("{tenant}/app:cache"));
            let (exported, built) = export(&quay, &project, &claims, &cache).await;
            assert!(exported.succeeded, "{tenant}: {}", exported.log);

            let (_, imported) = import(&quay, &project, Some(&claims), &cache).await;

            assert_eq!(Some(imported), built, "{tenant}: what was built, from its cache");
        }
    });
}
