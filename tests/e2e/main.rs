//! A real buildkitd exports its cache and another one, which never built the thing, imports it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/mod.rs"]
mod support;

mod broken_off;
mod bucket;
mod caches;
mod costs;
mod faults;
mod identities;
mod large_caches;
mod leaks;
mod outage;
mod permissions;
mod profiles;
mod rotation;
mod round_trip;
mod run_steps;
mod stage;
mod stands;
mod type_s3;
