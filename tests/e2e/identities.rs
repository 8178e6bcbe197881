//! Builds whose pipelines carry nothing but a token that their CI system issued for the job.

use std::fs;
use std::path::PathBuf;

use data_encoding::BASE64;
use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::profiles::{config_file, write};
use crate::stage::{cold, exporter, run};
use crate::support::buildkit::{Build, Outcome};
use crate::support::client::ask;
use crate::support::jwt::{Signer, now, with};
use crate::support::longshore::{Launch, Longshore};
use crate::support::project::{Project, Tree};
use crate::support::scratch;

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
"#;

/// A Longshore that believes an issuer.
struct Quay {
    longshore: Longshore,
    signer: Signer,
    folder: TempDir,
}

impl Quay {
    /// With what `more` says of the issuer, and tokens that clients fetch, if there are to be `tokens`.
    async fn start(more: &str, tokens: bool) -> Self {
        Self::of(more, tokens, &format!("{GRANTS}[profiles.default]\nstore = \"$/store\"\n")).await
    }

    /// The same with these grants and profiles; `$` stands for a folder.
    async fn of(more: &str, tokens: bool, rest: &str) -> Self {
        let (signer, (folder, config)) = (Signer::rsa("k"), config_file());
        let (jwks, rest) = (folder.path().join("jwks.json"), rest.replace('$', folder.path().to_str().unwrap()));
        fs::write(&jwks, json!({"keys": [signer.jwk()]}).to_string()).unwrap();
        let launch = Launch::bare(&["--config", config.to_str().unwrap(), "--log-level", "trace"]).listening();
        let launch = launch.env("LONGSHORE_SECRET_TOKENS", &"k".repeat(32));
        let realm = format!("[access.token]\nrealm = \"http://{}/token\"\nkey = \"{{{{secret:TOKENS}}}}\"\n", launch.address);
        let realm = if tokens { realm } else { String::new() };
        let text = format!(
            "[access]\nanonymous = \"none\"\n{realm}[[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\n\
             audience = \"longshore\"\njwks = \"{}\"\n{more}{rest}",
            jwks.display()
        );
        write(&config, &text);
        Self { longshore: launch.start().await, signer, folder }
    }

    fn claims(git_ref: &str) -> Value {
        json!({
            "iss": "https://ci.example", "aud": "longshore", "sub": git_ref, "ref": git_ref,
            "iat": now(), "exp": now() + 300,
        })
    }

    /// What `docker login` leaves behind for a job with these claims.
    fn login(&self, claims: &Value) -> TempDir {
        let folder = scratch("login");
        let login = BASE64.encode(format!("oidc:{}", self.signer.token(claims)).as_bytes());
        let config = json!({"auths": {self.longshore.address.to_string(): {"auth": login}}});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        folder
    }

    /// A tag of `org/app`, or of another image that is named before it.
    fn cache(&self, tag: &str) -> String {
        let image = if tag.contains(':') { "" } else { "org/app:" };
        format!("type=registry,ref={}/{image}{tag}", self.longshore.address)
    }

    fn stored_tags(&self) -> Vec<String> {
        let folder: PathBuf = self.folder.path().join("store/org/app/_oci/tags");
        let mut tags: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        tags.sort();
        tags
    }
}

/// Builds `project` on the exporting daemon, and exports its cache as `to`.
async fn export(quay: &Quay, project: &Project, claims: &Value, to: &str) -> (Outcome, Option<Tree>) {
    let (login, output) = (quay.login(claims), scratch("output"));
    let build = Build::of(project.path()).output_to(output.path()).logged_in(login.path());
    let outcome = exporter().await.build(&build.export_cache(&format!("{},mode=max", quay.cache(to)))).await;
    let tree = outcome.succeeded.then(|| Tree::read(output.path()));
    (outcome, tree)
}

/// Builds `project` on a daemon that knows nothing of it, with the cache `from`.
async fn import(quay: &Quay, project: &Project, claims: &Value, from: &str) -> (Outcome, Tree) {
    let (login, output) = (quay.login(claims), scratch("output"));
    let build = Build::of(project.path()).output_to(output.path()).logged_in(login.path());
    let outcome = cold().await.must_build(&build.import_cache(&quay.cache(from))).await;
    (outcome, Tree::read(output.path()))
}

#[test]
fn a_pull_request_builds_with_mains_cache_and_cannot_change_it() {
    run(async {
        for tokens in [false, true] {
            let (quay, project) = (Quay::start("", tokens).await, Project::new());
            let [main, request] = ["refs/heads/main", "refs/pull/7/merge"].map(Quay::claims);
            let (exported, built) = export(&quay, &project, &main, "cache-main").await;
            assert!(exported.succeeded, "{}", exported.log);

            let (_, imported) = import(&quay, &project, &request, "cache-main").await;
            assert_eq!(Some(imported), built, "what main built, from its cache");
            let before = quay.stored_tags();
            project.change_source();
            let (discarded, _) = export(&quay, &project, &request, "cache-main").await;
            assert!(discarded.succeeded, "it stays green: {}", discarded.log);
            assert_eq!(quay.stored_tags(), before);
            let (own, _) = export(&quay, &project, &request, "cache-pr-7").await;
            assert!(own.succeeded, "{}", own.log);
            let (denied, _) = export(&quay, &project, &request, "cache-pr-8").await;
            assert!(!denied.succeeded && denied.log.contains("ci: refs/pull/7/merge may not write"), "{}", denied.log);
            assert_eq!(quay.stored_tags(), ["cache-main", "cache-pr-7"]);
            let put = ask(quay.longshore.address, "PUT", "/v2/org/app/manifests/cache-main").await;
            assert_eq!(put.status, StatusCode::UNAUTHORIZED, "what has no token, such as a RUN step");
        }
    });
}

#[test]
fn a_token_that_expires_before_the_export_counts_where_there_is_a_session() {
    run(async {
        for (more, is_exported) in [("", false), ("session = \"1h\"\n", true)] {
            let (quay, project) = (Quay::start(more, false).await, Project::new());
            let expired = with(&Quay::claims("refs/heads/main"), json!({"iat": now() - 600, "exp": now() - 300}));

            let (outcome, _) = export(&quay, &project, &expired, "cache-main").await;

            assert_eq!(outcome.succeeded, is_exported, "{more}: {}", outcome.log);
        }
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
        for tokens in [false, true] {
            let quay = Quay::of("", tokens, rest).await;
            let ([a, b], [one, other, another]) = (["a", "b"].map(of_tenant), [(); 3].map(|()| Project::new()));
            let (exported, built) = export(&quay, &one, &a, "cache").await;
            assert!(exported.succeeded, "{}", exported.log);

            let (_, of_b) = import(&quay, &one, &b, "cache").await;
            assert_ne!(Some(of_b), built, "b has no cache yet");

            let (of_a, built_by_a) = export(&quay, &other, &a, "cache").await;
            let (of_b, built_by_b) = export(&quay, &another, &b, "cache").await;
            assert!(of_a.succeeded && of_b.succeeded, "{} {}", of_a.log, of_b.log);
            for (tenant, project, built) in [(&a, &other, built_by_a), (&b, &another, built_by_b)] {
                let (_, imported) = import(&quay, project, tenant, "cache").await;
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
        let (quay, project) = (Quay::of("", false, &rest).await, Project::new());
        for tenant in ["a", "b"] {
            let (claims, cache) = (of_tenant(tenant), format!("{tenant}/app:cache"));
            let (exported, built) = export(&quay, &project, &claims, &cache).await;
            assert!(exported.succeeded, "{tenant}: {}", exported.log);

            let (_, imported) = import(&quay, &project, &claims, &cache).await;

            assert_eq!(Some(imported), built, "{tenant}: what was built, from its cache");
        }
    });
}
