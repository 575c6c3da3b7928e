//! Unauthenticated datagrams and TCP frames on the media ports, spoofed source addresses, and a damaging network.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use str0m::media::MediaKind;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::client::{ConnectOptions, Tamper, TestClient};
use crate::generators::damage;
use crate::support::TIMEOUT;
use crate::{Fixture, ROOM, generate};

/// The header of a STUN binding request (RFC 5389) with a length of zero.
const STUN_HEADER: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Generates a datagram that resembles STUN, DTLS, RTP or RTCP.
fn datagram(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = match source.int_in_range(0..=5)? {
        0 => Vec::new(),
        1 | 2 => STUN_HEADER.to_vec(),
        // The first bytes of DTLS, RTP and RTCP.
        3 => vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1],
        4 => vec![0x90, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0, 1],
        _ => vec![0x81, 200, 0, 6, 0, 0, 0, 1],
    };
    while bytes.first().is_some_and(|first| *first == 0) && bytes.len() < 1400 && source.ratio(3, 4)? {
        // A STUN attribute, usually of a known type.
        let kind: u16 = *source.choose(&[0x0006, 0x0008, 0x0020, 0x0024, 0x0025, 0x8028, 0x802a, 0x0009, 0x4242])?;
        let value: Vec<u8> = (0..source.int_in_range(0..=40)?).map(|_| source.arbitrary()).collect::<Result<_>>()?;
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let length = u16::try_from(bytes.len() - 20).unwrap();
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
    damage(source, &mut bytes)?;
    bytes.extend_from_slice(source.bytes(source.len().min(30))?);
    Ok(bytes)
}

#[tokio::test]
async fn a_participant_connects_from_the_address_of_a_vanished_one() {
    let fixture = Fixture::start().await;
    let lost = fixture.connected_attacker().await;
    let address = lost.with_state(|state| state.address);
    // The engine keeps the participant for a while because no leave request was sent.
    drop(lost);
    while UdpSocket::bind(address).await.is_err() {
        yield_now().await;
    }
    let successor = fixture.attacker(|options| options.media_address = address).await.unwrap();
    successor.wait_for_data_channels().await;
    successor.wait_for_packets(&fixture.tracks[0]).await;
    fixture.check().await;
}

#[tokio::test]
async fn a_participant_connects_from_a_former_address_of_a_connected_one() {
    let fixture = Fixture::start().await;
    let (attacker, request) = attacker_and_request(&fixture).await;
    let former = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = former.local_addr().unwrap();
    former.send_to(&request, fixture.media_address()).await.unwrap();
    let response = timeout(TIMEOUT, former.recv(&mut [0; 1500])).await;
    assert!(response.unwrap().is_ok(), "no response at the second address");
    drop(former);
    let options = ConnectOptions { media_address: address, ..ConnectOptions::new(ROOM, "successor") };
    let successor = TestClient::connect(fixture.address(), options).await.unwrap();
    successor.wait_for_data_channels().await;
    assert!(!attacker.with_state(|state| state.is_closed));
    fixture.check().await;
}

#[tokio::test]
async fn an_attacker_cannot_take_over_the_address_of_a_participant() {
    let fixture = Fixture::start().await;
    let (_attacker, request) = attacker_and_request(&fixture).await;
    // Sends the attacker's request from ann's address after each of her datagrams.
    fixture.ann.with_state(|state| {
        state.tamper = Some(Box::new(move |bytes| vec![bytes.to_vec(), request.clone()]));
    });
    fixture.check().await;
    fixture.ben.wait_for_packets(&fixture.tracks[0]).await;
    fixture.check().await;
}

#[tokio::test]
async fn accepts_few_of_300_addresses_of_one_participant_and_others_can_connect() {
    let fixture = Fixture::start().await;
    let (attacker, request) = attacker_and_request(&fixture).await;
    let media = fixture.media_address();
    let mut sockets = Vec::new();
    for _ in 0..300 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request, media).await.unwrap();
        sockets.push(socket);
    }
    fixture.check().await;
    // The engine has processed all requests, because it has served the others after them.
    let accepted = sockets.iter().filter(|socket| socket.try_recv(&mut [0; 1500]).is_ok()).count();
    assert!((1..150).contains(&accepted), "{accepted} of 300 addresses are accepted");
    // Later the client moves to another address; the engine accepts it after some requests.
    let moved = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let accepted = timeout(TIMEOUT, async {
        let mut response = [0; 1500];
        loop {
            moved.send_to(&request, media).await.unwrap();
            if timeout(Duration::from_millis(100), moved.recv(&mut response)).await.is_ok() {
                return;
            }
        }
    });
    assert!(accepted.await.is_ok(), "the engine accepts no other address again");
    assert!(!attacker.with_state(|state| state.is_closed));
}

/// A connected attacker, and a STUN request with its credentials.
pub async fn attacker_and_request(fixture: &Fixture) -> (TestClient, Vec<u8>) {
    let attacker = fixture.attacker(|_| ()).await.unwrap();
    let first = Arc::new(Mutex::new(None));
    let captured = first.clone();
    attacker.with_state(|state| {
        state.tamper = Some(Box::new(move |bytes| {
            captured.lock().unwrap().get_or_insert_with(|| bytes.to_vec());
            vec![bytes.to_vec()]
        }));
    });
    attacker.wait_for_data_channels().await;
    let request: Vec<u8> = first.lock().unwrap().clone().unwrap();
    assert_eq!(request[..2], STUN_HEADER[..2]);
    (attacker, request)
}

#[tokio::test]
async fn arbitrary_datagrams_and_tcp_frames_do_not_affect_others() {
    let fixture = Fixture::start().await;
    let media = fixture.media_address();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for batch in 0..3 {
        for number in 0..1000 {
            let Some(bytes) = generate(batch * 1000 + number, datagram) else { continue };
            // Fails if the socket buffer is full.
            let _ = socket.try_send_to(&bytes, media);
        }
        let mut streams = Vec::new();
        for number in 0..40 {
            let mut stream = TcpStream::connect(media).await.unwrap();
            let Some(bytes) = generate(batch * 40 + number, frames) else { continue };
            // Fails if the engine closes the connection before all bytes are sent.
            let _ = timeout(Duration::from_millis(200), stream.write_all(&bytes)).await;
            streams.push(stream);
        }
        fixture.check().await;
    }
}

/// Generates RFC 4571 frames; one in six length prefixes is random.
fn frames(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..source.int_in_range(1..=6)? {
        let frame = match source.int_in_range(0..=4)? {
            0 => vec![0; source.int_in_range(0..=65_535)?],
            1 => [STUN_HEADER.to_vec(), vec![0; source.int_in_range(0..=3000)?]].concat(),
            _ => datagram(source)?,
        };
        let length = if source.ratio(5, 6)? { frame.len() } else { source.int_in_range(0..=65_535)? };
        bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

/// Damages, duplicates, truncates and delays some datagrams.
fn damaging_network(seed: u64) -> Tamper {
    let mut random = StdRng::seed_from_u64(seed);
    let mut delayed = Vec::new();
    Box::new(move |bytes| {
        let mut damaged = bytes.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..damaged.len());
            damaged[at] ^= 1 << random.random_range(0..8);
        }
        match random.random_range(0..8) {
            0 => vec![damaged],
            1 => vec![damaged, bytes.to_vec()],
            2 => vec![bytes.to_vec(); 3],
            3 => vec![bytes[..random.random_range(0..bytes.len())].to_vec(), bytes.to_vec()],
            4 => std::mem::replace(&mut delayed, vec![bytes.to_vec()]),
            _ => vec![bytes.to_vec()],
        }
    })
}

#[tokio::test]
async fn a_participant_on_a_damaging_network_does_not_affect_others() {
    let fixture = Fixture::start().await;
    for seed in 0..3 {
        let attacker = fixture.attacker(|_| ()).await.unwrap();
        // The damage starts after the handshake, which it would break.
        attacker.wait_until_connected().await;
        attacker.with_state(|state| state.tamper = Some(damaging_network(seed)));
        attacker.publish(MediaKind::Audio).await;
        attacker.publish(MediaKind::Video).await;
        for number in 0..50 {
            attacker.send_data(&format!("message {number} {}", "x".repeat(number * 100)), number % 2 == 0);
        }
        fixture.check().await;
    }
}
