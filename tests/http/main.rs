//! What a client sees, over real sockets; and what replicas make of one store, whatever comes between.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod blobs;
mod chunks;
mod corrupt;
mod deaths;
mod grammar;
mod identities;
mod listings;
mod manifests;
mod masked;
mod metrics;
mod passes;
mod patience;
mod races;
mod refused;
mod serving;
mod shared;
mod soak;
mod stand;
mod tenants;
mod world;

use support::{broken_store, client};
