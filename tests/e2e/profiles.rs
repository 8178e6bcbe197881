//! Builds through profiles: what sets them up, whose keys they use, and keys that hold for a short while.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;
use tempfile::TempDir;

use crate::stage::{PREFIX, Quay, bucket_of, export, import, run};
use crate::support::door::{Door, Seen};
use crate::support::longshore::Launch;
use crate::support::marks::marked;
use crate::support::mc::{Admin, fresh_id, least_policy};
use crate::support::minio::{ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY};
use crate::support::project::Project;
use crate::support::rclone::Rclone;
use crate::support::s3_server::{S3Server, minio};
use crate::support::scratch;
use crate::support::shape::Shape;
use crate::support::token_service::short_lived_role;

/// A folder for a configuration file, and that in it.
pub fn config_file() -> (TempDir, PathBuf) {
    let folder = scratch("config");
    let path = folder.path().join("config.toml");
    (folder, path)
}

/// Writes `text` to the file at `path`, which only its owner may read.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("the file is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// What a gocdnext step finds around it, and nothing else but who may come in.
fn as_gocdnext_does(back: &Door, bucket: &str) -> Launch {
    Launch::bare(&["--anonymous", "write"])
        .listening()
        .env("GOCDNEXT_LAYER_CACHE_BACKEND", "s3")
        .env("GOCDNEXT_LAYER_CACHE_BUCKET", bucket)
        .env("GOCDNEXT_LAYER_CACHE_REGION", REGION)
        .env("GOCDNEXT_LAYER_CACHE_ENDPOINT", &format!("http://{}", back.address))
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
}

#[test]
fn what_gocdnext_documents_and_one_flag_are_enough_for_a_build_to_cache() {
    run(async {
        let (quay, project) = (Quay::launched("", as_gocdnext_does).await, Project::new());
        let cache = quay.cache("ghcr.io/org/app:cache");

        let exported = export(&project, &format!("{cache},mode=max")).await;
        let imported = import(&project, &cache).await;

        assert_eq!(imported, exported);
        // Where its own steps have them, too.
        let is_known = |key: &str| {
            ["blobs/sha256:", "manifests/ghcr.io/org/app", "ghcr.io/org/app/_oci/"].iter().any(|at| key.starts_with(at))
        };
        assert!(quay.objects().await.keys().all(|key| is_known(key)), "{:#?}", quay.objects().await);
    });
}

#[test]
fn where_gocdnext_names_the_cache_all_images_have_that_one() {
    run(async {
        let named = |back: &Door, bucket: &str| as_gocdnext_does(back, bucket).env("GOCDNEXT_LAYER_CACHE_NAME", "team/cache");
        let (quay, project) = (Quay::launched("", named).await, Project::new());

        let exported = export(&project, &format!("{},mode=max", quay.cache("org/web:cache"))).await;
        let imported = import(&project, &quay.cache("org/worker:cache")).await;

        assert_eq!(imported, exported);
        assert!(quay.objects().await.contains_key("manifests/team/cache"), "{:#?}", quay.objects().await);
    });
}

/// Profiles of a file whose keys are secrets of the environment; `@bucket` and `@endpoint` stand for what they are.
const REFERRING: [&str; 2] = [
    "store = \"s3://@bucket/team/cache\"\nendpoint = \"@endpoint\"\n\
     access_key_id = \"{{secret:CACHE_ID}}\"\nsecret_access_key = \"{{secret:CACHE_KEY}}\"\n",
    "prefix = \"team/cache\"\n\
     env = { GOCDNEXT_LAYER_CACHE_BUCKET = \"@bucket\", GOCDNEXT_LAYER_CACHE_ENDPOINT = \"@endpoint\" }\n\
     secrets = { AWS_ACCESS_KEY_ID = \"{{secret:CACHE_ID}}\", AWS_SECRET_ACCESS_KEY = \"{{secret:CACHE_KEY}}\" }\n",
];

#[test]
fn a_build_caches_through_a_profile_whose_keys_are_secrets() {
    run(async {
        for profile in REFERRING {
            let (_folder, config) = config_file();
            let launch = |back: &Door, bucket: &str| {
                let profile = profile.replace("@bucket", bucket).replace("@endpoint", &format!("http://{}", back.address));
                write(&config, &format!("[profiles.team]\nimages = [\"org/**\"]\n{profile}"));
                let launch = Launch::configured(&config).env("LONGSHORE_SECRET_CACHE_ID", ACCESS_KEY_ID);
                launch.env("LONGSHORE_SECRET_CACHE_KEY", SECRET_ACCESS_KEY)
            };
            let (quay, project) = (Quay::launched(PREFIX, launch).await, Project::new());
            let cache = quay.cache("org/app:cache");

            let exported = export(&project, &format!("{cache},mode=max")).await;

            assert_eq!(import(&project, &cache).await, exported, "{profile}");
        }
    });
}

/// The bucket that an S3 request is about.
fn bucket(seen: &Seen) -> &str {
    seen.path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

#[test]
fn the_keys_of_a_profile_never_reach_the_bucket_of_another() {
    run(async {
        let (admin, (first, back), (_folder, config)) =
            (Admin::of(minio().await.address), bucket_of(S3Server::Minio).await, config_file());
        let second = format!("{first}-b");
        minio().await.make_bucket(&second);
        let teams = [("team-a", first, fresh_id(), marked()), ("team-b", second, fresh_id(), marked())];
        let (mut profiles, mut launch) = (String::new(), Launch::configured(&config).env("LONGSHORE_LOG_LEVEL", "trace"));
        for (index, (team, bucket, id, secret)) in teams.iter().enumerate() {
            admin.add_user(id, secret, &least_policy(bucket));
            profiles += &format!(
                "[profiles.{team}]\nimages = [\"{team}/**\"]\nstore = \"s3://{bucket}\"\nendpoint = \"http://{}\"\n\
                 credentials = {{ source = \"static\", access_key_id = {id:?}, secret_access_key = \"{{{{secret:{team}}}}}\" }}\n",
                back.address
            );
            launch = launch.env(&format!("LONGSHORE_SECRET_{team}"), secret);
            // Nothing but the policy keeps these keys from the other's bucket.
            assert!(!Rclone::new(minio().await.address, id, secret).purge(&teams[1 - index].1), "{team} may do it");
        }
        write(&config, &profiles);
        let longshore = launch.start().await;

        let builds = teams.iter().map(|(team, ..)| build_and_build_again(longshore.address, team));
        join_all(builds).await;

        for (team, its, id, _) in &teams {
            let signed: Vec<_> = back.seen().into_iter().filter(|seen| seen.signer() == id).collect();
            assert!(signed.len() > 10, "{team}: {signed:#?}");
            assert!(signed.iter().all(|seen| bucket(seen) == its), "{team}: {signed:#?}");
        }
        let (signers, refused): (BTreeSet<_>, Vec<_>) =
            back.seen().iter().map(|seen| (seen.signer().to_owned(), seen.status() == Some(StatusCode::FORBIDDEN))).unzip();
        assert_eq!(signers, teams.iter().map(|(_, _, id, _)| id.clone()).collect());
        assert!(!refused.contains(&true), "{:#?}", back.seen());
    });
}

/// Exports a few caches of images of `team`, and imports each.
async fn build_and_build_again(longshore: SocketAddrV4, team: &str) {
    for round in 0..3 {
        let (project, cache) = (Project::new(), format!("type=registry,ref={longshore}/{team}/app-{round}:cache"));
        let exported = export(&project, &format!("{cache},mode=max")).await;
        assert_eq!(import(&project, &cache).await, exported, "{team}");
    }
}

#[test]
fn a_build_that_takes_longer_than_its_keys_hold_does_not_notice() {
    const LIFETIME: Duration = Duration::from_secs(20);
    run(async {
        let admin = Arc::new(Admin::of(minio().await.address));
        let (issued, base, (_folder, config)) = (marked(), marked(), config_file());
        let issuer = short_lived_role(admin, &issued, LIFETIME).await;
        let launch = |back: &Door, bucket: &str| {
            let profile = format!(
                "[profiles.default]\nstore = \"s3://{bucket}/{PREFIX}\"\nendpoint = \"http://{}\"\n\
                 [profiles.default.credentials]\nsource = \"assume-role\"\nrole_arn = \"arn:aws:iam::1:role/cache\"\n\
                 from = {{ source = \"static\", access_key_id = \"base\", secret_access_key = \"{{{{secret:BASE}}}}\" }}\n",
                back.address
            );
            write(&config, &profile);
            let launch = Launch::configured(&config).env("LONGSHORE_SECRET_BASE", &base).keeping("what is issued", &issued);
            launch.env("AWS_ENDPOINT_URL_STS", &issuer.url())
        };
        // Parts of a large layer, one after the other, for most of a minute.
        let (quay, project) = (Quay::launched(PREFIX, launch).await, Project::with_layers(&[200_000, 36_000_000]));
        let slow = Door::open_shaped(quay.longshore.address, Shape { in_all: Some(750_000), ..Shape::default() });
        let began = Instant::now();

        let exported = export(&project, &format!("type=registry,ref={}/org/app:cache,mode=max", slow.address)).await;
        let (took, handed_out) = (began.elapsed(), issuer.asked().len());
        let imported = import(&project, &quay.cache("org/app:cache")).await;

        assert_eq!(imported, exported);
        // Each is used for half of its time at least, however long a busy machine takes over all of it.
        let most = took.div_duration_f64(LIFETIME / 2).ceil() as usize + 1;
        assert!(took > 2 * LIFETIME && (3..=most).contains(&handed_out), "{took:?}, {handed_out}");
        let signers: BTreeSet<_> = quay.back().seen().iter().map(|seen| seen.signer().to_owned()).collect();
        assert!(signers.len() >= 3 && !signers.contains("base"), "{signers:?}");
        // They were refreshed in time, and not only when they were refused.
        let refused: Vec<_> =
            quay.back().seen().into_iter().filter(|seen| seen.status() == Some(StatusCode::FORBIDDEN)).collect();
        assert!(refused.is_empty(), "{refused:#?}");
        assert!(quay.longshore.log().contains("credentials changed over"), "{}", quay.longshore.log());
    });
}
