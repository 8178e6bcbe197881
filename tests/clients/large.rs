//! A layer of 1 GiB, through two replicas.

use crate::client::Client;
use crate::docker::Docker;
use crate::skopeo::Skopeo;
use crate::stand::{Place, Stand, run};
use crate::support::image::Image;

const GIB: u64 = 1024 * 1024 * 1024;

#[test]
fn a_layer_of_a_gibibyte_comes_back_as_it_went() {
    run(async {
        let (skopeo, docker) = (Skopeo::new(), Docker::start().await);
        let (clients, image): ([&dyn Client; 2], _) = ([&skopeo, &docker], Image::random(1, GIB));
        for client in clients {
            let stand = Stand::on(Place::TwoReplicas).await;
            let name = stand.name("large:one");

            client.push(&image, &name).await;

            assert_eq!(client.pull(&name).await.0, image.contents, "{}", client.name());
        }
    });
}
