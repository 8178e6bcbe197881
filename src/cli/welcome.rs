//! The first lines a server says: where it listens, where the bytes go, and
//! what to paste into a build.

use std::io::Write;
use std::net::SocketAddr;

use crate::config::{Anonymous, Config, LogFormat, Profile};

/// What is known before the server listens.
pub(super) struct Welcome {
    store: String,
    anonymous: Anonymous,
    host: Option<String>,
}

impl Welcome {
    pub(super) fn of(config: &Config) -> Self {
        Self { store: stores(&config.profiles), anonymous: config.access.anonymous, host: config.server.hosts.first().cloned() }
    }

    /// Says it: to people on standard output, to machines as an event in the log.
    pub(super) fn say(&self, format: LogFormat, addresses: &[SocketAddr], admin: &[SocketAddr]) {
        match format {
            // Nobody may be listening to standard output, which is no reason not to serve.
            LogFormat::Text => drop(std::io::stdout().write_all(self.text(addresses, admin).as_bytes())),
            LogFormat::Json => {
                tracing::info!(
                    version = env!("CARGO_PKG_VERSION"),
                    listening = joined(addresses),
                    metrics = joined(admin),
                    store = self.store,
                    anonymous = self.may(),
                    "started"
                );
            }
        }
    }

    fn text(&self, addresses: &[SocketAddr], admin: &[SocketAddr]) -> String {
        let metrics = if admin.is_empty() { String::new() } else { format!("metrics on {}\n", joined(admin)) };
        let mut lines = format!(
            "longshore {}\nlistening on {}\n{metrics}storing in {}\nanonymous clients may {}\n",
            env!("CARGO_PKG_VERSION"),
            joined(addresses),
            self.store,
            self.may(),
        );
        if let Some(host) = self.host(addresses).filter(|_| self.anonymous == Anonymous::Write) {
            let name = format!("type=registry,ref={host}/ghcr.io/org/app:cache");
            lines += &format!(
                "\nWith buildx:\n  docker buildx build --cache-to {name},mode=max,ignore-error=true \\\n                      --cache-from {name} .\n\
                 With buildctl:\n  buildctl build --export-cache {name},mode=max,ignore-error=true \\\n                 --import-cache {name} …\n\n"
            );
        }
        lines
    }

    /// How a build calls this server: by `localhost` where it can, which needs no setting in buildkitd.
    fn host(&self, addresses: &[SocketAddr]) -> Option<String> {
        let loopback = addresses.iter().find(|address| address.ip().is_loopback());
        let port = loopback.or(addresses.first())?.port();
        Some(match (loopback, &self.host) {
            (Some(_), _) => format!("localhost:{port}"),
            (None, Some(host)) => format!("{host}:{port}"),
            (None, None) => addresses.first()?.to_string(),
        })
    }

    fn may(&self) -> &'static str {
        match self.anonymous {
            Anonymous::None => "do nothing",
            Anonymous::Read => "read",
            Anonymous::Write => "read and write",
        }
    }
}

/// The places of all profiles.
fn stores(profiles: &[Profile]) -> String {
    match profiles {
        [only] => only.store.to_string(),
        _ => profiles.iter().map(|profile| format!("{} ({})", profile.store, profile.name)).collect::<Vec<_>>().join("; "),
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(anonymous: Anonymous, host: Option<&str>, addresses: &[&str]) -> String {
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Welcome { store: "folder /x".into(), anonymous, host: host.map(Into::into) }.text(&addresses, &[])
    }

    #[test]
    fn the_flags_name_an_address_that_a_build_can_use() {
        for (host, addresses, named) in [
            (None, &["127.0.0.1:5000", "[::1]:5000"][..], "ref=localhost:5000/"),
            (Some("cache.svc"), &["0.0.0.0:80", "127.0.0.1:5001"], "ref=localhost:5001/"),
            (Some("cache.svc"), &["0.0.0.0:80"], "ref=cache.svc:80/"),
            (None, &["10.0.0.1:80"], "ref=10.0.0.1:80/"),
        ] {
            let text = text(Anonymous::Write, host, addresses);

            assert_eq!(text.matches(named).count(), 4, "{text}");
            assert!(text.contains(addresses[0]), "{text}");
        }
    }

    #[test]
    fn nobody_is_told_to_push_where_they_may_not() {
        assert!(!text(Anonymous::Read, None, &["127.0.0.1:5000"]).contains("--cache-to"));
    }
}
