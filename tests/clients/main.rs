//! The clients that people have do with Longshore what they do with any registry.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod artifacts;
mod chunked;
mod client;
mod containerd;
mod containers;
mod crane;
mod docker;
mod images;
mod large;
mod logins;
mod oras;
mod regctl;
mod skopeo;
mod stand;
