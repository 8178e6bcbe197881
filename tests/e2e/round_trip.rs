//! What one daemon exports, another one imports: every form of cache that BuildKit writes.

use serde_json::Value;

use crate::stage::{EVERY_STORE, Quay, STORES, cold, export, exporter, import, result_of, run};
use crate::support::client;
use crate::support::project::Project;

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const OCI_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const DOCKER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

#[test]
fn a_cold_daemon_makes_the_same_bytes_from_every_form_of_cache() {
    let forms = [
        ("mode=min", OCI_MANIFEST, OCI_GZIP),
        ("mode=max", OCI_MANIFEST, OCI_GZIP),
        ("mode=max,image-manifest=true", OCI_MANIFEST, OCI_GZIP),
        ("mode=max,image-manifest=false", OCI_INDEX, OCI_GZIP),
        ("mode=max,oci-mediatypes=false", DOCKER_LIST, DOCKER_GZIP),
        ("mode=max,compression=gzip", OCI_MANIFEST, OCI_GZIP),
        ("mode=max,compression=zstd", OCI_MANIFEST, OCI_ZSTD),
        ("mode=max,compression=estargz", OCI_MANIFEST, OCI_GZIP),
        ("mode=max,compression=uncompressed", OCI_MANIFEST, OCI_LAYER),
    ];
    run(async {
        for store in STORES {
            let quay = Quay::on(store).await;
            for (number, (form, manifest_type, layer_type)) in forms.into_iter().enumerate() {
                println!("{form} on {store:?}");
                let (project, image) = (Project::new(), format!("org/app-{number}"));
                let cache = quay.cache(&format!("{image}:cache"));

                let exported = export(&project, &format!("{cache},{form}")).await;
                let imported = import(&project, &cache).await;

                assert_eq!(imported, exported, "{form} on {store:?}");
                let manifest = client::pull_manifest(quay.front.address, &image, "cache").await;
                assert_eq!(manifest.header("content-type"), manifest_type, "{form} on {store:?}");
                assert_eq!(layer_types(&manifest.body), [layer_type], "{form} on {store:?}");
                // Nothing else tells estargz from gzip.
                let is_estargz = String::from_utf8_lossy(&manifest.body).contains("stargz/toc.digest");
                assert_eq!(is_estargz, form.ends_with("estargz"), "{form} on {store:?}");
            }
        }
    });
}

/// The media types of the layers that a cache manifest of either form names.
fn layer_types(manifest: &[u8]) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(manifest).expect("JSON");
    let descriptors = ["layers", "manifests"].iter().filter_map(|field| manifest[field].as_array()).flatten();
    let types = descriptors.map(|descriptor| descriptor["mediaType"].as_str().expect("text").to_owned());
    let mut types: Vec<_> = types.filter(|media_type| !media_type.contains("cacheconfig")).collect();
    types.sort();
    types.dedup();
    types
}

#[test]
fn a_cold_daemon_makes_the_same_bytes_from_the_cache_in_every_store() {
    run(async {
        for store in EVERY_STORE {
            // One layer goes with one request, the other in parts.
            let (quay, project) = (Quay::on(store).await, Project::with_layers(&[200_000, 20_000_000]));
            let cache = quay.cache("org/app:cache");

            let exported = export(&project, &format!("{cache},mode=max")).await;
            let imported = import(&project, &cache).await;

            assert_eq!(imported, exported, "{store:?}");
        }
    });
}

#[test]
fn an_image_and_its_cache_go_to_one_repository_in_one_build() {
    run(async {
        for store in STORES {
            let (quay, project) = (Quay::on(store).await, Project::new());
            let (image, cache) = (quay.reference("org/app:latest"), quay.cache("org/app:cache"));

            let exported = result_of(exporter().await, &project, |build| {
                let build = build.output(&format!("type=image,name={image},push=true"));
                build.export_cache(&format!("{cache},mode=max"))
            })
            .await;
            let pulled = result_of(cold().await, &Project::from_image(&image), |build| build).await;
            let imported = import(&project, &cache).await;

            assert_eq!(pulled, exported, "{store:?}");
            assert_eq!(imported, exported, "{store:?}");
        }
    });
}

#[test]
fn an_image_carries_its_cache_inside() {
    run(async {
        for store in STORES {
            let (quay, project) = (Quay::on(store).await, Project::new());
            let image = quay.reference("org/app:latest");

            let exported = result_of(exporter().await, &project, |build| {
                build.output(&format!("type=image,name={image},push=true")).export_cache("type=inline")
            })
            .await;
            let imported = import(&project, &format!("type=registry,ref={image}")).await;

            assert_eq!(imported, exported, "{store:?}");
        }
    });
}

#[test]
fn a_second_unchanged_export_uploads_no_byte() {
    run(async {
        for store in STORES {
            let (quay, project) = (Quay::on(store).await, Project::new());
            let cache = format!("{},mode=max", quay.cache("org/app:cache"));

            let first = export(&project, &cache).await;
            let uploaded = || quay.front.seen().iter().map(|seen| seen.uploaded_bytes()).sum::<u64>();
            assert!(uploaded() > 200_000, "{store:?}: the first export went past the door");
            quay.front.forget();
            let second = export(&project, &cache).await;

            assert_eq!(second, first, "{store:?}");
            assert_eq!(uploaded(), 0, "{store:?}: {:#?}", quay.front.seen());
            assert!(!quay.front.seen().is_empty(), "{store:?}: the second export asked nothing");
        }
    });
}

#[test]
fn a_changed_source_reruns_only_what_follows_it() {
    run(async {
        for store in STORES {
            let (quay, project) = (Quay::on(store).await, Project::new());
            let cache = quay.cache("org/app:cache");

            let before = export(&project, &format!("{cache},mode=max")).await;
            project.change_source();
            let after = import(&project, &cache).await;

            for (file, is_rerun) in [("layer-0", false), ("layer-1", false), ("source", true), ("made-from-source", true)] {
                assert_eq!(after.file(file) != before.file(file), is_rerun, "{file} on {store:?}");
            }
        }
    });
}
