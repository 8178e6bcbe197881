//! Ports that nobody else is given.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that Linux gives to outgoing connections, so that a server which is stopped finds its port free again.
const FIRST: u16 = 12_000;

/// How many ports a test process has for itself; the first of them says that they are taken.
const BLOCK: u16 = 2000;
const BLOCKS: u16 = 10;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// The block that is this process's for as long as it lives, held by listening on its first port.
static OWN: LazyLock<(TcpListener, u16)> = LazyLock::new(|| {
    // Processes that run side by side begin at different places.
    let start = u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("less than BLOCKS");
    let blocks = (0..BLOCKS).map(|step| FIRST + (start + step) % BLOCKS * BLOCK);
    let mut taken = blocks.filter_map(|first| Some((TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?, first)));
    taken.next().expect("a free block of ports")
});

/// A loopback address that was free a moment ago, and that no other call is given soon.
pub fn free_address() -> SocketAddrV4 {
    let (_, first) = &*OWN;
    for _ in 1..BLOCK {
        let step = 1 + NEXT.fetch_add(1, Ordering::Relaxed) % (BLOCK - 1);
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, first + step);
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port");
}

/// `address`, which is one of IPv4.
pub fn v4(address: std::net::SocketAddr) -> SocketAddrV4 {
    match address {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(address) => panic!("{address} is not IPv4"),
    }
}
