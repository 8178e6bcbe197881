//! What a client sees, over real sockets; and what replicas make of one store, whatever comes between.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/broken_store.rs"]
#[allow(dead_code, reason = "every test crate uses a part of it")]
mod broken_store;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "every test crate uses a part of it")]
mod client;

mod blobs;
mod chunks;
mod corrupt;
mod deaths;
mod grammar;
mod listings;
mod manifests;
mod masked;
mod metrics;
mod patience;
mod races;
mod refused;
mod serving;
mod stand;
mod world;
