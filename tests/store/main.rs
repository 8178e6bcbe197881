//! What a store promises, held against every store there is, and what each of them promises besides.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod broken;
mod contract;
mod crowded;
mod folder;
mod killed;
mod long_listing;
mod s3;
mod strict;
mod words;
