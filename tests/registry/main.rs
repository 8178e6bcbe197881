//! What a registry knows, and when: replicas over one store, with the clock in the test's hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/broken_store.rs"]
#[allow(dead_code, reason = "every test crate uses a part of it")]
mod broken_store;

mod answers;
mod belief;
mod caches;
mod harbour;
mod imports;
mod large;
mod marks;
mod refresh;
mod s3_clients;
mod shared;
