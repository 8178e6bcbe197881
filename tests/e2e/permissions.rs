//! Builds with keys that may do what the printed policy says, and nothing else.

use uuid::Uuid;

use crate::stage::{cold, export, exporter, import, result_of, run};
use crate::support::longshore::{Launch, Longshore};
use crate::support::mc::Admin;
use crate::support::project::Project;
use crate::support::s3_server;

const BUCKET: &str = "permissions";
const SECRET: &str = "secret-of-a-user";

/// Longshore as `launch` has it, with the keys of a user of MinIO to whom the policy was given that is printed with `flags`.
async fn with_printed_policy(launch: &Launch, flags: &[&str]) -> Longshore {
    let printing = flags.iter().fold(launch.clone().arg("policy").arg("default"), |launch, flag| launch.arg(flag));
    let id = Uuid::new_v4().simple().to_string()[..20].to_owned();
    Admin::of(s3_server::minio().await.address).add_user(&id, SECRET, &printing.says());
    launch.clone().env("LONGSHORE_ACCESS_KEY_ID", &id).env("LONGSHORE_SECRET_ACCESS_KEY", SECRET).start().await
}

#[test]
fn a_build_exports_with_the_printed_policy_and_imports_with_the_read_only_one() {
    run(async {
        let minio = s3_server::minio().await;
        minio.make_bucket(BUCKET);
        let launch = Launch::on_bucket_at(minio.address, BUCKET, "team/cache");
        // One layer goes with one request, the other in parts; the image is pushed by another part of BuildKit.
        let project = Project::with_layers(&[200_000, 20_000_000]);
        let cache = |longshore: &Longshore| format!("type=registry,ref={}/org/app:cache", longshore.address);

        let writing = with_printed_policy(&launch, &[]).await;
        let exported = export(&project, &format!("{},mode=max", cache(&writing))).await;
        let image = format!("{}/org/app:latest", writing.address);
        result_of(exporter().await, &project, |build| build.output(&format!("type=image,name={image},push=true"))).await;
        assert!(!writing.log().contains("the keys lack a permission"), "{}", writing.log());
        drop(writing);
        let reading = with_printed_policy(&launch, &["--read-only"]).await;
        let imported = import(&project, &cache(&reading)).await;
        let pulled = result_of(cold().await, &Project::from_image(&image), |build| build).await;

        assert_eq!(imported, exported);
        assert_eq!(pulled, exported);
    });
}
