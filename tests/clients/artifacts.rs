//! Things that are no images, and what refers to what.

use std::fs;

use serde_json::{Value, json};

use crate::client::Client;
use crate::oras::Oras;
use crate::regctl::Regctl;
use crate::stand::{Stand, everywhere, run};
use crate::support::client::ask;
use crate::support::image::Image;
use crate::support::scratch;

const SBOM: &str = "application/vnd.test.sbom";
const SIGNATURE: &str = "application/vnd.test.signature";

#[test]
fn regctl_finds_and_copies_what_refers_to_an_image() {
    run(everywhere("regctl", |stand| async move {
        let (regctl, files) = (Regctl::new(), scratch("files"));
        let (image, copy) = (stand.name("app:one"), stand.name("elsewhere:one"));
        regctl.push(&Image::random(2, 1000), &image).await;
        let (sbom, signature) = (files.path().join("sbom"), files.path().join("signature"));
        fs::write(&sbom, "what is in it").unwrap();
        fs::write(&signature, "who made it").unwrap();

        for (kind, file) in [(SBOM, &sbom), (SIGNATURE, &signature)] {
            let file = format!("--file={}", file.display());
            regctl.run(&image, &["artifact", "put", "--artifact-type", kind, "--subject", &image, &file]).await;
        }

        assert_eq!(listed(&regctl, &image, &[]).await, [SBOM, SIGNATURE]);
        assert_eq!(listed(&regctl, &image, &["--filter-artifact-type", SBOM]).await, [SBOM]);
        let got = regctl.run(&image, &["artifact", "get", "--subject", &image, "--filter-artifact-type", SIGNATURE]).await;
        assert_eq!(got, "who made it");

        regctl.run(&image, &["image", "copy", "--referrers", &image, &copy]).await;
        assert_eq!(listed(&regctl, &copy, &[]).await, [SBOM, SIGNATURE]);

        let signed = referrers(&stand, "app", "one", SIGNATURE).await;
        let signed = format!("{}@{}", stand.name("app"), signed[0]["digest"].as_str().unwrap());
        regctl.run(&image, &["manifest", "delete", &signed]).await;
        assert_eq!(listed(&regctl, &image, &[]).await, [SBOM]);
    }));
}

/// The kinds of what refers to `image`, as regctl lists them.
async fn listed(regctl: &Regctl, image: &str, filter: &[&str]) -> Vec<String> {
    let list = [&["artifact", "list", "--format", "{{json .Manifest}}", image], filter].concat();
    let index: Value = serde_json::from_str(&regctl.run(image, &list).await).unwrap();
    kinds(&index)
}

fn kinds(index: &Value) -> Vec<String> {
    let descriptors = index["manifests"].as_array().cloned().unwrap_or_default();
    let mut kinds: Vec<_> = descriptors.iter().map(|it| it["artifactType"].as_str().unwrap().to_owned()).collect();
    kinds.sort();
    kinds
}

/// What refers to an image and is of this kind, as the registry lists it.
async fn referrers(stand: &Stand, image: &str, tag: &str, kind: &str) -> Value {
    let digest = stand.digest(image, tag).await.expect("it is there");
    let answer = ask(stand.registry, "GET", &format!("/v2/{image}/referrers/{digest}?artifactType={kind}")).await;
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    index["manifests"].clone()
}

#[test]
fn oras_keeps_files_whole_and_in_chunks_and_what_refers_to_them() {
    run(everywhere("oras", |stand| async move {
        let (oras, files, back) = (Oras::new(), scratch("files"), scratch("back"));
        let (small, large) = (b"small".to_vec(), vec![7; 3_000_000]);
        fs::write(files.path().join("small"), &small).unwrap();
        fs::write(files.path().join("large"), &large).unwrap();
        let kept = stand.name("org/files:one");

        for chunk_bytes in [None, Some(1_000_000)] {
            oras.push(&kept, files.path(), &["small", "large"], chunk_bytes).await;
            oras.pull(&kept, back.path()).await;
            assert_eq!(fs::read(back.path().join("small")).unwrap(), small, "{chunk_bytes:?}");
            assert_eq!(fs::read(back.path().join("large")).unwrap(), large, "{chunk_bytes:?}");
            assert_eq!(oras.tags(&kept).await, json!(["one"]));

            oras.attach(&kept, &stand.name("org/files:sbom"), files.path(), "small", SBOM).await;
            assert_eq!(oras.tags(&kept).await, json!(["one", "sbom"]));
            let referrers = oras.referrers(&kept).await;
            assert_eq!(kinds(&referrers), [SBOM], "{referrers}");

            assert_eq!(oras.delete(&stand.name("org/files:sbom")).await, json!(true));
            assert_eq!(kinds(&oras.referrers(&kept).await), [""; 0]);
            assert_eq!(oras.delete(&kept).await, json!(true));
            assert_eq!(oras.delete(&kept).await, json!(false), "a second time");
        }
    }));
}
