//! Routes datagrams to peer connections: STUN by the ICE username fragment, all others by source address. A lookup takes constant
//! time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::net::Protocol;

use crate::ids::{PeerConnectionId, SessionId, SignalTarget};
use crate::net::stun::{is_stun, recipient_ufrag};
use crate::token_bucket::TokenBucket;

/// Maximum number of source addresses of one connection; past it, its least recently used one is forgotten.
const MAX_ADDRESSES: usize = 32;
/// Maximum number of new source addresses of one connection at once: a client has one per interface, more behind a symmetric NAT,
/// and new ones after each ICE restart. Past it, requests from further ones are dropped.
const NEW_ADDRESS_BURST: u32 = 64;
/// Time after which a connection may use one more new address.
const NEW_ADDRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of new addresses of one connection between two ICE restarts; past it, requests from further ones are dropped,
/// because str0m keeps a remote candidate for each and searches them for each request.
const MAX_NEW_ADDRESSES: usize = 512;
/// Time without a packet after which another connection may take over an address.
const ADDRESS_HOLD: Duration = Duration::from_secs(5);

/// Source of a datagram.
pub(crate) type Source = (Protocol, SocketAddr);

#[derive(Default)]
pub(crate) struct Demux {
    connections: HashMap<PeerConnectionId, Connection>,
    by_ufrag: HashMap<String, PeerConnectionId>,
    by_address: HashMap<Source, Address>,
}

struct Connection {
    ufrag: String,
    addresses: Vec<Source>,
    new_addresses: TokenBucket,
    /// Addresses admitted since the last ICE restart.
    admitted: usize,
}

struct Address {
    connection: PeerConnectionId,
    last_received_at: Instant,
}

impl Demux {
    /// Sets the ICE username fragment of a connection. It replaces the previous one, which str0m no longer accepts.
    pub(crate) fn register(&mut self, id: PeerConnectionId, ufrag: String, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            if connection.ufrag == ufrag {
                return;
            }
            self.by_ufrag.remove(&connection.ufrag);
            connection.ufrag.clone_from(&ufrag);
            connection.admitted = 0;
        } else {
            let new_addresses = TokenBucket::new(NEW_ADDRESS_INTERVAL * NEW_ADDRESS_BURST, now);
            let connection = Connection { ufrag: ufrag.clone(), addresses: Vec::new(), new_addresses, admitted: 0 };
            self.connections.insert(id, connection);
        }
        self.by_ufrag.insert(ufrag, id);
    }

    /// Removes a participant's connections and their addresses.
    pub(crate) fn remove(&mut self, participant: SessionId) {
        for target in [SignalTarget::Publisher, SignalTarget::Subscriber] {
            let Some(connection) = self.connections.remove(&(participant, target)) else { continue };
            self.by_ufrag.remove(&connection.ufrag);
            for address in &connection.addresses {
                self.by_address.remove(address);
            }
        }
    }

    /// The connection that a datagram is for. The connection has to verify STUN; then, [`accept`](Self::accept) follows.
    pub(crate) fn route(&self, source: Source, datagram: &[u8], now: Instant) -> Option<PeerConnectionId> {
        let known = self.by_address.get(&source);
        if !is_stun(datagram) {
            return known.map(|address| address.connection);
        }
        let id = *self.by_ufrag.get(recipient_ufrag(datagram)?)?;
        match known {
            Some(address) if address.connection == id => return Some(id),
            // A client may reuse the address of another one, but source addresses can be forged.
            Some(address) if now.saturating_duration_since(address.last_received_at) < ADDRESS_HOLD => return None,
            _ => (),
        }
        let Connection { new_addresses, admitted, .. } = self.connections.get(&id)?;
        let is_admitted = *admitted < MAX_NEW_ADDRESSES && new_addresses.has(NEW_ADDRESS_INTERVAL, now);
        is_admitted.then_some(id)
    }

    /// Records that a verified datagram has arrived from an address.
    pub(crate) fn accept(&mut self, source: Source, id: PeerConnectionId, now: Instant) {
        match self.by_address.get_mut(&source) {
            Some(address) if address.connection == id => {
                address.last_received_at = now;
                return;
            }
            Some(address) => {
                if let Some(before) = self.connections.get_mut(&address.connection) {
                    before.addresses.retain(|known| *known != source);
                }
            }
            None => (),
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.new_addresses.take(NEW_ADDRESS_INTERVAL, now);
        connection.admitted += 1;
        if connection.addresses.len() >= MAX_ADDRESSES {
            let last_received_at =
                |source: &Source| self.by_address.get(source).map(|address| address.last_received_at);
            let oldest =
                (0..connection.addresses.len()).min_by_key(|index| last_received_at(&connection.addresses[*index]));
            if let Some(index) = oldest {
                self.by_address.remove(&connection.addresses.swap_remove(index));
            }
        }
        connection.addresses.push(source);
        self.by_address.insert(source, Address { connection: id, last_received_at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: PeerConnectionId = (1, SignalTarget::Publisher);
    const BEN: PeerConnectionId = (2, SignalTarget::Publisher);
    const DATA: &[u8] = &[0x80; 20];

    fn source(number: u16) -> Source {
        (Protocol::Udp, ([10, 0, 0, 1], number).into())
    }

    /// A binding request with that username fragment.
    fn request(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:they");
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 6, 0];
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.bytes());
        bytes
    }

    /// A demux with two connections, whose username fragments are `ann` and `ben`.
    fn both(now: Instant) -> Demux {
        let mut demux = Demux::default();
        demux.register(ANN, "ann".to_owned(), now);
        demux.register(BEN, "ben".to_owned(), now);
        demux
    }

    fn routed(demux: &mut Demux, from: Source, datagram: &[u8], now: Instant) -> Option<PeerConnectionId> {
        let id = demux.route(from, datagram, now)?;
        demux.accept(from, id, now);
        Some(id)
    }

    #[test]
    fn routes_stun_by_ufrag_and_other_datagrams_by_address() {
        let now = Instant::now();
        let mut demux = both(now);
        assert_eq!(routed(&mut demux, source(1), DATA, now), None);
        assert_eq!(routed(&mut demux, source(1), &request("nobody"), now), None);
        assert_eq!(routed(&mut demux, source(1), &request("ann"), now), Some(ANN));
        assert_eq!(routed(&mut demux, source(2), &request("ben"), now), Some(BEN));
        assert_eq!(routed(&mut demux, source(1), DATA, now), Some(ANN));
        assert_eq!(routed(&mut demux, source(2), DATA, now), Some(BEN));
        let tcp_only = (Protocol::Tcp, source(1).1);
        assert_eq!(routed(&mut demux, tcp_only, DATA, now), None, "another protocol is another address");
        demux.remove(1);
        assert_eq!(routed(&mut demux, source(1), DATA, now), None);
        assert_eq!(routed(&mut demux, source(1), &request("ann"), now), None);
        assert_eq!(routed(&mut demux, source(2), DATA, now), Some(BEN));
    }

    #[test]
    fn keeps_known_addresses_after_an_ice_restart() {
        let now = Instant::now();
        let mut demux = both(now);
        routed(&mut demux, source(1), &request("ann"), now);
        demux.register(ANN, "ann2".to_owned(), now);
        assert_eq!(demux.route(source(1), &request("ann"), now), None);
        assert_eq!(demux.route(source(1), &request("ann2"), now), Some(ANN));
        assert_eq!(demux.route(source(1), DATA, now), Some(ANN));
    }

    #[test]
    fn reassigns_an_address_only_after_its_hold_time() {
        let now = Instant::now();
        let mut demux = both(now);
        routed(&mut demux, source(1), &request("ann"), now);
        routed(&mut demux, source(1), DATA, now + ADDRESS_HOLD);
        assert_eq!(demux.route(source(1), &request("ben"), now + ADDRESS_HOLD + ADDRESS_HOLD / 2), None);
        assert_eq!(routed(&mut demux, source(1), &request("ben"), now + ADDRESS_HOLD + ADDRESS_HOLD), Some(BEN));
        assert_eq!(demux.route(source(1), DATA, now + ADDRESS_HOLD + ADDRESS_HOLD), Some(BEN));
        demux.remove(1);
        assert_eq!(demux.route(source(1), DATA, now + ADDRESS_HOLD + ADDRESS_HOLD), Some(BEN));
    }

    #[test]
    fn forgets_the_oldest_address_of_the_connection_that_exceeds_the_limit() {
        let now = Instant::now();
        let mut demux = both(now);
        routed(&mut demux, source(1), &request("ben"), now);
        routed(&mut demux, source(2), &request("ann"), now);
        let last = u16::try_from(MAX_ADDRESSES).unwrap() + 2;
        for number in 3..=last {
            // The address is used again, so it is not the oldest.
            routed(&mut demux, source(2), DATA, now + Duration::from_millis(number.into()));
            assert_eq!(
                routed(&mut demux, source(number), &request("ann"), now + Duration::from_millis(number.into())),
                Some(ANN)
            );
        }
        assert_eq!(demux.by_address.len(), MAX_ADDRESSES + 1);
        assert_eq!(demux.route(source(2), DATA, now), Some(ANN));
        assert_eq!(demux.route(source(3), DATA, now), None);
        assert_eq!(demux.route(source(1), DATA, now), Some(BEN));
    }

    #[test]
    fn limits_the_rate_of_new_addresses_after_a_burst() {
        let start = Instant::now();
        let mut demux = both(start);
        let admitted = |demux: &mut Demux, numbers: std::ops::Range<u16>, now| {
            numbers.filter(|number| routed(demux, source(*number), &request("ann"), now) == Some(ANN)).count()
        };
        assert_eq!(admitted(&mut demux, 1000..2000, start), NEW_ADDRESS_BURST as usize);
        assert_eq!(routed(&mut demux, source(1), &request("ben"), start), Some(BEN), "others have their own budget");
        assert_eq!(admitted(&mut demux, 2000..3000, start + NEW_ADDRESS_INTERVAL * 10), 10);
        let mut now = start;
        let mut total = 74;
        for round in 0..100 {
            now += NEW_ADDRESS_INTERVAL * NEW_ADDRESS_BURST;
            total += admitted(&mut demux, 3000 + round * 100..3100 + round * 100, now);
        }
        assert_eq!(total, MAX_NEW_ADDRESSES, "str0m keeps no more");
        demux.register(ANN, "ann2".to_owned(), now);
        now += NEW_ADDRESS_INTERVAL;
        assert_eq!(routed(&mut demux, source(2), &request("ann2"), now), Some(ANN), "an ICE restart starts anew");
    }
}
