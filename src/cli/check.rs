//! `longshore check`: whether the configuration is fine, and what it comes to.

use std::process::ExitCode;

use crate::config::{Access, Config, Server};

/// Says what would be served; by now the configuration is known to be fine.
pub fn run(config: &Config) -> ExitCode {
    println!("configuration is fine");
    println!("{}; {}; {}", config.profile.store, listening(&config.server), may(config.access));
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
