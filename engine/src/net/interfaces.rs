//! The addresses of this machine that media is received at.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, UdpSocket};

/// Addresses that are offered to clients. The rest is not, because clients try each pair of addresses.
const MAX_ADDRESSES: usize = 8;

/// The addresses of this machine.
#[derive(Debug, Default)]
pub(crate) struct LocalAddresses {
    all: HashSet<IpAddr>,
    /// Those that packets to other networks leave from. Machines with containers have many more, which lead nowhere else.
    outer: Vec<IpAddr>,
}

impl LocalAddresses {
    /// # Errors
    /// If the system does not tell, as when the process has no file descriptor left.
    pub(crate) fn read() -> io::Result<Self> {
        let all = if_addrs::get_if_addrs()?.iter().map(if_addrs::Interface::ip).collect();
        // Documentation addresses (RFC 5737, RFC 3849), which only the default route leads to. Nothing is sent.
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

/// The addresses to receive media at, loopback last: a client on this machine reaches them all, and Firefox uses no other.
///
/// For clients on this machine alone, one address besides loopback is enough for Firefox.
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

/// Whether to accept TCP connections at an address. TCP is for clients that UDP does not reach: one family of addresses is
/// enough, and loopback for clients on this machine.
pub(crate) fn accepts_tcp(address: IpAddr, addresses: &[IpAddr], local_only: bool) -> bool {
    if local_only {
        return address.is_loopback();
    }
    address.is_ipv4() || !addresses.iter().any(|other| other.is_ipv4() && !other.is_loopback())
}

/// Addresses that need their interface's name beside them cannot stand in a candidate. Clients that reach `::1` reach
/// `127.0.0.1`, too; clients try each pair of addresses, and those that they try for nothing cost them time.
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
    fn no_address_is_offered_that_is_tried_for_nothing() {
        let own = own(ips(["127.0.0.1", "::1", "fe80::1", "169.254.0.1", "10.0.0.1", "fd00::1"]));
        assert_eq!(media_addresses(&own, false), ips(["10.0.0.1", "fd00::1", "127.0.0.1"]));
        assert_eq!(media_addresses(&LocalAddresses::default(), false), ips(["127.0.0.1"]));
    }

    #[test]
    fn clients_on_this_machine_get_loopback_and_one_address_for_firefox() {
        let own = own(ips(["127.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"]));
        let addresses = media_addresses(&own, true);
        assert_eq!(addresses, ips(["10.0.0.1", "127.0.0.1"]));
        assert_eq!(
            addresses.iter().map(|address| accepts_tcp(*address, &addresses, true)).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn of_many_addresses_some_and_loopback_are_offered() {
        let mut own = own((1..100).map(|last| IpAddr::from([10, 0, 0, last])).chain(ips(["192.168.1.5"])));
        own.outer = ips(["192.168.1.5"]).to_vec();
        let addresses = media_addresses(&own, false);
        assert!(addresses.contains(&own.outer[0]), "the one that leads to other machines: {addresses:?}");
        assert_eq!((addresses.len(), addresses.last()), (MAX_ADDRESSES, Some(&IpAddr::from([127, 0, 0, 1]))));
    }

    #[test]
    fn tcp_is_offered_by_ipv6_only_where_nobody_else_is_reached_by_ipv4() {
        let both = ips(["10.0.0.1", "fd00::1", "127.0.0.1"]);
        assert_eq!(both.map(|address| accepts_tcp(address, &both, false)), [true, false, true]);
        let ipv6 = ips(["fd00::1", "127.0.0.1"]);
        assert_eq!(ipv6.map(|address| accepts_tcp(address, &ipv6, false)), [true, true]);
    }
}
