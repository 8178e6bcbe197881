//! Where credentials come from: each source against a stand-in or a real server, from its first use to its outage.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod chain;
mod files;
mod google;
mod instance;
mod life;
mod minio;
mod oauth;
mod permissions;
mod refused;
mod roles;
mod waiting;
mod world;
