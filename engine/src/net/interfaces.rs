//! Addresses of this machine for media.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, UdpSocket};

/// Maximum number of addresses to send to clients as candidates; further ones are left out, because clients check every pair
/// of addresses.
const MAX_ADDRESSES: usize = 8;

/// The addresses of this machine.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    all: HashSet<IpAddr>,
    /// Source addresses of packets to other networks. Machines with containers have many addresses that reach only those.
    outer: Vec<IpAddr>,
}

impl LocalAddresses {
    /// Reads the addresses of all interfaces.
    ///
    /// # Errors
    /// If the system call fails, such as when the process has no file descriptors left.
    pub(crate) fn read() -> io::Result<Self> {
        let all = if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect();
        // Documentation addresses (RFC 5737, RFC 3849), which only the default route matches. Connecting a UDP socket sends
        // nothing.
        let outer =
            [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")].into_iter().filter_map(|(any, far)| {
                let socket = UdpSocket::bind(any).ok()?;
                socket.connect(far).ok()?;
                Some(socket.local_addr().ok()?.ip())
            });
        Ok(Self { all, outer: outer.collect() })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.all.contains(&address)
    }
}

/// Addresses to listen on for media. Loopback is last, because clients on this machine reach all addresses, and Firefox does not
/// use loopback. `local_only` selects loopback and one other address for Firefox.
pub(crate) fn media_addresses(own: &LocalAddresses, local_only: bool) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = own.all.iter().copied().filter(is_usable).collect();
    addresses.sort_by_key(|address| (address.is_loopback(), !own.outer.contains(address), address.is_ipv6(), *address));
    addresses.truncate(if local_only { 1 } else { MAX_ADDRESSES - 1 });
    addresses.sort_by_key(|address| (address.is_loopback(), address.is_ipv6(), *address));
    let loopback = IpAddr::from([127, 0, 0, 1]);
    if !addresses.contains(&loopback) {
        addresses.push(loopback);
    }
    addresses
}

/// Whether to accept TCP connections on an address. TCP is for clients without UDP, for which one address family is enough, and
/// loopback for clients on this machine.
pub(crate) fn accepts_tcp(address: IpAddr, addresses: &[IpAddr], local_only: bool) -> bool {
    if local_only {
        return address.is_loopback();
    }
    address.is_ipv4() || !addresses.iter().any(|other| other.is_ipv4() && !other.is_loopback())
}

/// Whether an address is useful as a candidate. Link-local addresses are not, because candidates have no scope id; `::1` is not,
/// because clients that reach it reach `127.0.0.1` as well, and each pair of addresses costs clients a check.
fn is_usable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local() && !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unicast_link_local() && !address.is_unspecified() && !address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(all: impl IntoIterator<Item = IpAddr>) -> LocalAddresses {
        LocalAddresses { all: all.into_iter().collect(), outer: Vec::new() }
    }

    fn ips<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    #[test]
    fn leaves_out_addresses_that_are_useless_as_candidates() {
        let own = own(ips(["127.0.0.1", "::1", "fe80::1", "169.254.0.1", "10.0.0.1", "fd00::1"]));
        assert_eq!(media_addresses(&own, false), ips(["10.0.0.1", "fd00::1", "127.0.0.1"]));
        assert_eq!(media_addresses(&LocalAddresses::default(), false), ips(["127.0.0.1"]));
    }

    #[test]
    fn selects_loopback_and_one_other_address_for_local_clients() {
        let own = own(ips(["127.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"]));
        let addresses = media_addresses(&own, true);
        assert_eq!(addresses, ips(["10.0.0.1", "127.0.0.1"]));
        assert_eq!(
            addresses.iter().map(|address| accepts_tcp(*address, &addresses, true)).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn selects_the_outer_address_and_loopback_among_many() {
        let mut own = own((1..100).map(|last| IpAddr::from([10, 0, 0, last])).chain(ips(["192.168.1.5"])));
        own.outer = ips(["192.168.1.5"]).to_vec();
        let addresses = media_addresses(&own, false);
        assert!(addresses.contains(&own.outer[0]), "the source address of packets to other networks: {addresses:?}");
        assert_eq!((addresses.len(), addresses.last()), (MAX_ADDRESSES, Some(&IpAddr::from([127, 0, 0, 1]))));
    }

    #[test]
    fn accepts_tcp_on_ipv6_only_without_an_ipv4_address_besides_loopback() {
        let both = ips(["10.0.0.1", "fd00::1", "127.0.0.1"]);
        assert_eq!(both.map(|address| accepts_tcp(address, &both, false)), [true, false, true]);
        let ipv6 = ips(["fd00::1", "127.0.0.1"]);
        assert_eq!(ipv6.map(|address| accepts_tcp(address, &ipv6, false)), [true, true]);
    }
}
