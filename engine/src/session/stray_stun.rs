//! Cost of STUN packets from unknown senders.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use str0m::net::Protocol;

use crate::Engine;
use crate::net::datagram::ReceivedDatagram;
use crate::session::client::{connect_signalling, encode_join_request, participant_token};
use crate::support;

/// A binding request with an unknown username.
fn stray() -> ReceivedDatagram {
    let name = b"nobody:here.";
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for (kind, value) in [(0x0006_u16, &name[..]), (0x0024, &[0, 0, 0, 1]), (0x0008, &[9; 20])] {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend(value);
    }
    let length = u16::try_from(bytes.len() - 20).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let source = ([127, 0, 0, 1], 9).into();
    let destination = ([127, 0, 0, 1], 10).into();
    ReceivedDatagram { protocol: Protocol::Udp, source, destination, arrived_at: Instant::now(), bytes }
}

/// Minimum time for 100 stray requests, over several tries.
async fn cost(engine: &Engine) -> Duration {
    let measured = engine.shared.media.run(|worker, reply| {
        let stray = stray();
        let tries = (0..20).map(|_| {
            let start = Instant::now();
            (0..100).for_each(|_| worker.on_datagram(&stray));
            start.elapsed()
        });
        let _ = reply.send(tries.min().unwrap());
    });
    measured.await.unwrap()
}

#[tokio::test]
async fn stray_stun_costs_the_same_with_many_participants() {
    let engine = support::start();
    let request = proto::JoinRequest {
        client_info: Some(proto::ClientInfo { protocol: 17, ..Default::default() }),
        ..Default::default()
    };
    let mut sockets = Vec::new();
    let mut costs = Vec::new();
    for total in [1, 150] {
        while sockets.len() < total {
            let token = participant_token(&format!("room {}", sockets.len()), "ann", "standard");
            sockets.push(connect_signalling(engine.address(), &token, &encode_join_request(&request)).await.unwrap());
        }
        costs.push(cost(&engine).await);
    }
    let [few, many] = costs[..] else { unreachable!() };
    assert!(many < few * 10 + Duration::from_micros(100), "100 requests take {few:?} with one, {many:?} with many");
}
