//! How clients reach us, and what they may do once they have.

use std::time::Duration;

use super::host;
use super::layers::Layers;
use super::setting::{ANONYMOUS, DRAIN, HOSTS, LISTEN};
use super::store::StoreKind;
use super::{Access, Anonymous, Listener, Server};

/// Why anonymous access to a bucket must be stated.
const BUCKET_NEEDS_A_WORD: &str =
    "must be stated, since a bucket stands behind this server: code inside a RUN step can reach the port when
buildkitd uses host networking, and whoever can write the cache of main runs code in main's builds.
State --anonymous none, read or write: what clients without credentials may do.";

/// Why anonymous access from beyond this machine must be stated.
const NETWORK_NEEDS_A_WORD: &str = "must be stated, since this server listens beyond loopback: others can reach the port,
and whoever can write the cache of main runs code in main's builds.
State --anonymous none, read or write: what clients without credentials may do.";

/// How clients reach us.
pub fn server(layers: &mut Layers) -> Option<Server> {
    let listeners = listeners(layers);
    let hosts = layers.read_all(&HOSTS, host::host);
    let drain = layers.duration(&DRAIN, &(Duration::ZERO..=Duration::from_hours(1)));
    Some(Server { listeners: listeners?, hosts: hosts?, drain: drain? })
}

/// Where to listen; no address twice.
fn listeners(layers: &mut Layers) -> Option<Vec<Listener>> {
    let listeners = layers.read_all(&LISTEN, host::listeners)?.concat();
    for (index, Listener { address, .. }) in listeners.iter().enumerate() {
        if address.port() != 0 && listeners[..index].iter().any(|other| other.address == *address) {
            layers.refuse(&LISTEN, format!("{address} is stated twice"));
        }
    }
    Some(listeners)
}

/// What clients may do. It must be stated where the wrong guess would let strangers write into builds.
pub fn access(layers: &mut Layers, server: Option<&Server>, store: Option<StoreKind>) -> Option<Access> {
    if layers.words(&ANONYMOUS).is_some() {
        return Some(Access { anonymous: stated(layers)? });
    }
    let is_bucket = matches!(store, Some(StoreKind::Bucket(_)));
    let is_loopback = server.is_none_or(|server| server.listeners.iter().all(|listener| listener.address.ip().is_loopback()));
    if is_bucket {
        layers.refuse(&ANONYMOUS, BUCKET_NEEDS_A_WORD);
    } else if !is_loopback {
        layers.refuse(&ANONYMOUS, NETWORK_NEEDS_A_WORD);
    }
    Some(Access { anonymous: Anonymous::Write })
}

/// What somebody said clients may do.
fn stated(layers: &mut Layers) -> Option<Anonymous> {
    layers.choose(&ANONYMOUS, |word| match word {
        "none" => Some(Anonymous::None),
        "read" => Some(Anonymous::Read),
        "write" => Some(Anonymous::Write),
        _ => None,
    })
}
