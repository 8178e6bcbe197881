//! Longshore: a BuildKit cache proxy that holds the keys.
//!
//! It looks like an OCI registry to buildkitd and keeps what is pushed as
//! objects, keyed by image name, in a bucket or a folder. A request falls
//! straight down the floors [`server`], [`api`], [`access`], [`registry`],
//! [`store`]; each uses only those below it. [`oci`] holds the words they all
//! speak, [`buildkit`] those of BuildKit's cache.

pub mod access;
pub mod api;
pub mod app;
pub mod audit;
pub mod buildkit;
pub mod cli;
pub mod config;
pub mod credentials;
pub mod files;
pub mod metrics;
pub mod oci;
pub mod registry;
pub mod secrets;
pub mod server;
pub mod store;
pub mod tls;
