//! Names and addresses of machines: where to listen, what to be called, where a store answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Listener;

/// A host name or an IP address as it is compared: in small letters, without brackets.
pub fn host(text: &str) -> Result<String, &'static str> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text.contains("://") || text.contains('/') {
        return Err("only the name, without scheme or path");
    }
    if text.contains(':') {
        return Err("only the name, without a port");
    }
    let is_label = |label: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(is_plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(is_label) {
        return Err("a name is letters, digits and dashes with dots between, or it is an IP address");
    }
    Ok(text.to_ascii_lowercase())
}

/// The listeners that one word stands for: `IP:PORT` is one, `localhost:PORT` both loopback addresses.
///
/// The IPv6 half of `localhost` is not required, as a machine may have no IPv6.
///
/// After `=` the word may name the profile whose clients come in there.
pub fn listeners(text: &str) -> Result<Vec<Listener>, &'static str> {
    let (address, profile) = text.split_once('=').map_or((text, None), |(address, profile)| (address, Some(profile)));
    if profile == Some("") {
        return Err("names no profile after =");
    }
    let listeners = addresses(address)?;
    Ok(listeners.into_iter().map(|listener| Listener { profile: profile.map(str::to_owned), ..listener }).collect())
}

/// The listeners of no profile in particular at an address.
fn addresses(text: &str) -> Result<Vec<Listener>, &'static str> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(vec![Listener { address, required: true, profile: None, tls: None }]);
    }
    if text.parse::<IpAddr>().is_ok() || text == "localhost" {
        return Err("needs a port, such as 127.0.0.1:5000, [::1]:5000 or localhost:5000");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("is an address and a port, such as 127.0.0.1:5000, [::1]:5000 or localhost:5000");
    };
    let Ok(port) = port.parse::<u16>() else {
        return Err("a port is a number from 0 to 65535; 0 takes any that is free");
    };
    match host {
        "localhost" => Ok(loopback(port)),
        "" | "*" => Err("say which addresses: localhost:5000 for this machine only, 0.0.0.0:5000 or [::]:5000 for all"),
        _ => Err("an IP address, in brackets if it is IPv6, or localhost; other names are not looked up"),
    }
}

/// Both loopback addresses.
fn loopback(port: u16) -> Vec<Listener> {
    vec![
        Listener { address: (Ipv4Addr::LOCALHOST, port).into(), required: true, profile: None, tls: None },
        Listener { address: (Ipv6Addr::LOCALHOST, port).into(), required: false, profile: None, tls: None },
    ]
}

/// An endpoint as `scheme://host` or `scheme://host:port`.
pub fn endpoint(text: &str) -> Result<String, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or("a URL begins with https:// or http://")?;
    let scheme = scheme.to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err("a URL begins with https:// or http://");
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Err("no user name or password in a URL; keys are settings of their own");
    }
    if authority.contains(['/', '?', '#']) {
        return Err("only scheme, host and port; bucket and prefix are settings of their own");
    }
    let (name, port) = split_port(authority)?;
    let name = host(name).map_err(|_| "the host is a name or an IP address, in brackets if it is IPv6")?;
    let name = if name.contains(':') { format!("[{name}]") } else { name };
    Ok(format!("{scheme}://{name}{port}"))
}

/// Host and `:port`, which may be absent.
fn split_port(authority: &str) -> Result<(&str, String), &'static str> {
    let end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority[end..].find(':') else {
        return Ok((authority, String::new()));
    };
    let (name, port) = authority.split_at(end + colon);
    match port[1..].parse::<u16>() {
        Ok(number) if number != 0 => Ok((name, format!(":{number}"))),
        _ => Err("a port is a number from 1 to 65535, after an IPv6 address in brackets"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_in_small_letters_and_without_brackets() {
        for (text, expected) in [
            ("Longshore.CI.svc", "longshore.ci.svc"),
            ("cache_1", "cache_1"),
            ("10.0.0.7", "10.0.0.7"),
            ("[FD00::1]", "fd00::1"),
            ("fd00:0::1", "fd00::1"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_host_is_refused() {
        let long = "a".repeat(64);
        for text in ["", "a:5000", "http://a", "a/b", "*.a", "a..b", "-a", "a-", "a b", "a.", "user@a", "ä", "[::1]:5000", &long]
        {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stated_address_is_required_and_the_ipv6_half_of_localhost_is_not() {
        let listener =
            |address: &str, required| Listener { address: address.parse().unwrap(), required, profile: None, tls: None };
        for (text, expected) in [
            ("0.0.0.0:5000", vec![listener("0.0.0.0:5000", true)]),
            ("[::1]:0", vec![listener("[::1]:0", true)]),
            ("localhost:80", vec![listener("127.0.0.1:80", true), listener("[::1]:80", false)]),
        ] {
            assert_eq!(listeners(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_words_to_listen_on_are_refused_with_what_to_write() {
        for (text, hint) in [
            ("", "and a port"),
            ("5000", "and a port"),
            (":5000", "say which addresses"),
            ("*:5000", "say which addresses"),
            ("127.0.0.1", "needs a port"),
            ("localhost", "needs a port"),
            ("::1", "needs a port"),
            ("example.org:5000", "not looked up"),
            ("127.0.0.1:65536", "from 0 to 65535"),
            ("127.0.0.1:http", "from 0 to 65535"),
            ("http://127.0.0.1:5000", "not looked up"),
        ] {
            let error = listeners(text).expect_err(text);
            assert!(error.contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for (text, expected) in [
            ("https://objects.example", "https://objects.example"),
            ("HTTP://Minio:9000/", "http://minio:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("http://10.0.0.1", "http://10.0.0.1"),
        ] {
            assert_eq!(endpoint(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "minio:9000",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u:p@a",
            "https://a:0",
            "https://a:x",
            "https://a:70000",
            "https://a b",
            "https://::1:80",
            "https://a//",
        ] {
            assert!(endpoint(text).is_err(), "{text}");
        }
    }
}
