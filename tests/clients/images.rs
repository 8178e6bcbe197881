//! Whole images, through every client on every place.

use std::sync::Arc;

use crate::client::Client;
use crate::containerd::Ctr;
use crate::containers::{Buildah, Podman};
use crate::crane::Crane;
use crate::docker::Docker;
use crate::regctl::Regctl;
use crate::skopeo::Skopeo;
use crate::stand::{Stand, everywhere, run};
use crate::support::image::Image;

const MIB: u64 = 1024 * 1024;

#[test]
fn crane_keeps_images() {
    run(on_every_place(Crane::new()));
}

#[test]
fn regctl_keeps_images() {
    run(on_every_place(Regctl::new()));
}

#[test]
fn skopeo_keeps_images() {
    run(on_every_place(Skopeo::new()));
}

#[test]
fn buildah_keeps_images() {
    run(on_every_place(Buildah));
}

#[test]
fn podman_keeps_images() {
    run(on_every_place(Podman));
}

#[test]
fn ctr_keeps_images() {
    run(async { on_every_place(Ctr::start().await).await });
}

#[test]
fn docker_keeps_images() {
    run(async { on_every_place(Docker::start().await).await });
}

async fn on_every_place(client: impl Client) {
    let (client, image) = (Arc::new(client), Arc::new(Image::random(20, MIB)));
    everywhere(client.name(), |stand| {
        let (client, image) = (Arc::clone(&client), Arc::clone(&image));
        async move { keeps_images(&*client, &image, &stand).await }
    })
    .await;
}

/// Two images, the second copied from the first and put deeper.
const FIRST: &str = "first";
const SECOND: &str = "org/team/second";

async fn keeps_images(client: &dyn Client, image: &Image, stand: &Stand) {
    let (first, second) = (stand.name(&format!("{FIRST}:one")), stand.name(&format!("{SECOND}:two")));

    client.push(image, &first).await;
    assert_eq!(stand.contents(FIRST, "one").await, image.contents, "what was pushed");

    client.copy(&first, &second).await;
    assert_eq!(stand.contents(SECOND, "two").await, image.contents, "what was copied");

    let manifest = stand.digest(SECOND, "two").await.expect("it is there");
    assert_eq!(client.pull(&second).await, (image.contents.clone(), manifest.clone()), "what was pulled");
    if let Some(digest) = client.digest(&second).await {
        assert_eq!(digest, manifest);
    }
    if let Some(tags) = client.tags(&second).await {
        assert_eq!(tags, ["two"]);
    }
    if let Some(images) = client.catalog(&stand.registry.to_string()).await {
        assert_eq!(images, [FIRST, SECOND]);
    }

    if client.delete(&second).await.is_some() {
        assert_eq!(stand.digest(SECOND, "two").await, None, "after it was deleted");
        assert_eq!(client.pull(&first).await.0, image.contents, "the other one");
    }
}
