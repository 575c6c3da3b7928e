//! The addresses of this machine that media is received at.

use std::collections::HashSet;
use std::net::IpAddr;

/// Addresses that are offered to clients. The rest is not, because clients try each pair of addresses.
const MAX_ADDRESSES: usize = 8;

/// All addresses of this machine.
pub(super) fn own_addresses() -> HashSet<IpAddr> {
    if_addrs::get_if_addrs().unwrap_or_default().iter().map(if_addrs::Interface::ip).collect()
}

/// The addresses to receive media at, loopback last: a client on this machine reaches them all, and Firefox uses no other.
///
/// For clients on this machine alone, one address besides loopback is enough for Firefox.
pub(super) fn media_addresses(own: &HashSet<IpAddr>, local_only: bool) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = own.iter().copied().filter(is_usable).collect();
    addresses.sort_by_key(|address| (address.is_loopback(), address.is_ipv6(), *address));
    addresses.truncate(if local_only { 1 } else { MAX_ADDRESSES - 1 });
    let loopback = IpAddr::from([127, 0, 0, 1]);
    if !addresses.contains(&loopback) {
        addresses.push(loopback);
    }
    addresses
}

/// Whether to accept TCP connections at an address. TCP is for clients that UDP does not reach: one family of addresses is
/// enough, and loopback for clients on this machine.
pub(super) fn takes_tcp(address: IpAddr, addresses: &[IpAddr], local_only: bool) -> bool {
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

    fn ips<const N: usize>(texts: [&str; N]) -> [IpAddr; N] {
        texts.map(|text| text.parse().unwrap())
    }

    #[test]
    fn no_address_is_offered_that_is_tried_for_nothing() {
        let own = HashSet::from(ips(["127.0.0.1", "::1", "fe80::1", "169.254.0.1", "10.0.0.1", "fd00::1"]));
        assert_eq!(media_addresses(&own, false), ips(["10.0.0.1", "fd00::1", "127.0.0.1"]));
        assert_eq!(media_addresses(&HashSet::new(), false), ips(["127.0.0.1"]));
    }

    #[test]
    fn clients_on_this_machine_get_loopback_and_one_address_for_firefox() {
        let own = HashSet::from(ips(["127.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"]));
        let addresses = media_addresses(&own, true);
        assert_eq!(addresses, ips(["10.0.0.1", "127.0.0.1"]));
        assert_eq!(
            addresses.iter().map(|address| takes_tcp(*address, &addresses, true)).collect::<Vec<_>>(),
            [false, true]
        );
    }

    #[test]
    fn of_many_addresses_some_and_loopback_are_offered() {
        let own: HashSet<IpAddr> = (1..100).map(|last| IpAddr::from([10, 0, 0, last])).collect();
        let addresses = media_addresses(&own, false);
        assert_eq!((addresses.len(), addresses.last()), (MAX_ADDRESSES, Some(&IpAddr::from([127, 0, 0, 1]))));
    }

    #[test]
    fn tcp_is_offered_by_ipv6_only_where_nobody_else_is_reached_by_ipv4() {
        let both = ips(["10.0.0.1", "fd00::1", "127.0.0.1"]);
        assert_eq!(both.map(|address| takes_tcp(address, &both, false)), [true, false, true]);
        let ipv6 = ips(["fd00::1", "127.0.0.1"]);
        assert_eq!(ipv6.map(|address| takes_tcp(address, &ipv6, false)), [true, true]);
    }
}
