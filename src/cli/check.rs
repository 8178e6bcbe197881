//! `longshore check`: whether the configuration is fine, and what it comes to.

use std::process::ExitCode;

use crate::config::{Access, Config, Server};

use super::say;

/// Says what would be served; by now the configuration is known to be fine.
pub fn run(config: &Config) -> ExitCode {
    let (store, listening, may) = (&config.profile.store, listening(&config.server), may(config.access));
    say(&format_args!("configuration is fine\n{store}; {listening}; {may}"));
    ExitCode::SUCCESS
}

/// Where it would listen.
fn listening(server: &Server) -> String {
    let addresses: Vec<String> = server.listeners.iter().map(|listener| listener.address.to_string()).collect();
    format!("listening on {}", addresses.join(" and "))
}

/// What clients without credentials may do.
fn may(access: Access) -> String {
    format!("anonymous clients: {}", access.anonymous)
}
