//! By which names this server may be called.
//!
//! A web page can make a browser send requests to a port on the same machine,
//! and, by pointing its own name there, read the answers (DNS rebinding). Such
//! requests carry that name in `Host`, or the page's in `Origin`.

use std::collections::HashSet;
use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use super::error::ApiError;

/// Names this server may be called by, besides `localhost`, loopback addresses
/// and the very address that a request came in on.
#[derive(Clone, Debug, Default)]
pub struct Hosts(HashSet<String>);

impl Hosts {
    /// The names in `names`, whatever their case.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Refuses a request that calls this server by another name or comes from a page of another site.
    pub(super) fn check(&self, headers: &HeaderMap, authority: Option<&str>, local: IpAddr) -> Result<(), ApiError> {
        // Of several, a proxy and we could go by different ones.
        let stated = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let mut hosts = authority.into_iter().chain(stated).peekable();
        let is_unstated = hosts.peek().is_none();
        if let Some(host) = hosts.find(|host| !self.is_ours(host, local)).or(is_unstated.then_some("")) {
            return Err(ApiError::UnknownHost { host: host.to_owned() });
        }
        let origins_are_ours = headers.get_all(ORIGIN).iter().all(|origin| {
            let host = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
            host.is_some_and(|host| self.is_ours(host, local))
        });
        if origins_are_ours { Ok(()) } else { Err(ApiError::ForeignOrigin) }
    }

    fn is_ours(&self, host: &str, local: IpAddr) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        // `user@host` would name one host and be read as another.
        if host.contains('@') {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => {
                address.is_loopback() || address.to_canonical() == local.to_canonical() || self.0.contains(&address.to_string())
            }
            Err(_) => name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(host: &'static str, origin: Option<&'static str>) -> Result<(), ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Hosts::new(["Cache.svc".to_owned()]).check(&headers, None, "10.0.0.5".parse().unwrap())
    }

    #[test]
    fn our_own_names_are_answered() {
        for host in [
            "localhost",
            "localhost:5000",
            "LOCALHOST:1",
            "127.0.0.1:5000",
            "127.9.9.9",
            "[::1]:5000",
            "cache.svc:5000",
            "10.0.0.5:5000",
        ] {
            assert!(check(host, None).is_ok(), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_refused_and_told_the_setting() {
        for host in
            ["", "evil.example", "evil.example:5000", "10.0.0.6", "localhost.evil.example", "localhost@evil.example", "a b"]
        {
            let error = check(host, None).unwrap_err();

            assert!(error.to_string().contains("server.hosts"), "{host}: {error}");
        }
    }

    #[test]
    fn every_name_that_a_request_has_is_looked_at() {
        let check = |authority: Option<&str>, hosts: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_static(host));
            }
            Hosts::default().check(&headers, authority, "10.0.0.5".parse().unwrap()).is_ok()
        };

        assert!(check(None, &["localhost"]) && check(Some("localhost"), &["localhost"]) && check(Some("localhost"), &[]));
        assert!(
            !check(None, &[]) && !check(None, &["localhost", "evil.example"]) && !check(None, &["evil.example", "localhost"])
        );
        assert!(!check(Some("evil.example"), &["localhost"]) && !check(Some("localhost"), &["evil.example"]));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        assert!(check("localhost", Some("http://localhost:5000")).is_ok());
        for origin in ["http://evil.example", "null", "", "http://localhost@evil.example"] {
            assert!(matches!(check("localhost", Some(origin)), Err(ApiError::ForeignOrigin)), "{origin}");
        }
    }
}
