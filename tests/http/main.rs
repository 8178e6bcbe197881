//! What a client sees, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/broken_store.rs"]
#[allow(dead_code, reason = "every test crate uses a part of it")]
mod broken_store;
#[path = "../support/client.rs"]
#[allow(dead_code, reason = "every test crate uses a part of it")]
mod client;

mod blobs;
mod chunks;
mod listings;
mod manifests;
mod metrics;
mod patience;
mod refused;
mod serving;
mod stand;
