//! `longshore check`: whether the configuration is fine, and what it comes to.

use std::process::ExitCode;

use crate::config::{self, Access, Config, Profile, Server};

use super::say;

/// Says what would be served; by now the configuration is known to be fine.
pub fn run(config: &Config) -> ExitCode {
    let (listening, may) = (listening(&config.server), may(&config.access));
    say(&format_args!("configuration is fine\n{}; {listening}; {may}", stores(&config.profiles)));
    config.warnings.iter().for_each(|warning| say(&format_args!("warning: {warning}")));
    ExitCode::SUCCESS
}

/// Where the bytes would be, of each profile by its name if there are several.
fn stores(profiles: &[Profile]) -> String {
    match profiles {
        [only] => only.store.to_string(),
        _ => profiles.iter().map(|profile| format!("{}: {}", profile.name, profile.store)).collect::<Vec<_>>().join("\n"),
    }
}

/// Where it would listen, and whose clients come in there.
fn listening(server: &Server) -> String {
    let addresses = server.listeners.iter().map(|listener| match &listener.profile {
        Some(profile) => format!("{} for {profile}", listener.address),
        None => listener.address.to_string(),
    });
    format!("listening on {}", addresses.collect::<Vec<_>>().join(" and "))
}

/// What clients without credentials may do, and how many others there are.
fn may(access: &Access) -> String {
    let anonymous = format!("anonymous clients: {}", access.anonymous);
    let issuers = access.issuers.iter().map(|issuer| match issuer.session.as_secs() {
        0 => issuer.name.to_string(),
        _ => format!("{} (session {})", issuer.name, config::written_time(issuer.session)),
    });
    let issuers = issuers.collect::<Vec<_>>().join(", ");
    let issuers = if issuers.is_empty() { issuers } else { format!("; issuers: {issuers}") };
    match (access.users.len(), access.grants.len()) {
        (0, 0) => format!("{anonymous}{issuers}"),
        (users, grants) => format!("{anonymous}; users: {users}{issuers}; grants: {grants}"),
    }
}
