//! What comes to the media's sockets from strangers, and from a participant whose datagrams are damaged on the way.

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

use crate::caller::{Call, Caller, Tamper};
use crate::generators::damage;
use crate::support::PATIENCE;
use crate::{Party, ROOM, made};

/// The head of a STUN binding request (RFC 5389) without its length.
const STUN: [u8; 20] = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// Something that looks like a datagram of WebRTC, or not.
fn datagram(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = match source.int_in_range(0..=5)? {
        0 => Vec::new(),
        1 | 2 => STUN.to_vec(),
        // DTLS, RTP and RTCP, by their first bytes.
        3 => vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 1],
        4 => vec![0x90, 111, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xbe, 0xde, 0, 1],
        _ => vec![0x81, 200, 0, 6, 0, 0, 0, 1],
    };
    while bytes.first().is_some_and(|first| *first == 0) && bytes.len() < 1400 && source.ratio(3, 4)? {
        // An attribute, some of known kinds.
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
async fn whoever_comes_to_the_address_of_one_who_is_gone_is_connected() {
    let party = Party::start().await;
    let lost = party.connected_enemy().await;
    let address = lost.act(|state| state.address);
    // Nothing is said: for a while it may still come back.
    drop(lost);
    while UdpSocket::bind(address).await.is_err() {
        yield_now().await;
    }
    let heir = party.enemy(|call| call.address = address).await.unwrap();
    heir.has_channels().await;
    heir.sees(&party.tracks[0]).await;
    party.check().await;
}

#[tokio::test]
async fn an_address_that_somebody_has_left_is_free_though_they_are_there() {
    let party = Party::start().await;
    let (enemy, request) = enemy_and_request(&party).await;
    let left = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = left.local_addr().unwrap();
    left.send_to(&request, party.media()).await.unwrap();
    let answer = timeout(PATIENCE, left.recv(&mut [0; 1500])).await;
    assert!(answer.unwrap().is_ok(), "the enemy is known there, too");
    drop(left);
    let heir = Call { address, ..Call::new(ROOM, "heir") };
    let heir = Caller::call(party.address(), heir).await.unwrap();
    heir.has_channels().await;
    assert!(!enemy.act(|state| state.is_closed));
    party.check().await;
}

#[tokio::test]
async fn nobody_gets_the_address_of_one_who_is_there() {
    let party = Party::start().await;
    let (_enemy, request) = enemy_and_request(&party).await;
    // As if the enemy could write from that address, after all that is written from there.
    party.ann.act(|state| {
        state.tamper = Some(Box::new(move |bytes| vec![bytes.to_vec(), request.clone()]));
    });
    party.check().await;
    party.ben.sees(&party.tracks[0]).await;
    party.check().await;
}

#[tokio::test]
async fn a_participant_that_writes_from_many_addresses_gets_few_of_them_and_others_connect() {
    let party = Party::start().await;
    let (enemy, request) = enemy_and_request(&party).await;
    let media = party.media();
    let mut sockets = Vec::new();
    for _ in 0..300 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&request, media).await.unwrap();
        sockets.push(socket);
    }
    party.check().await;
    // All of them are handled by now, since the others were served after them.
    let answered = sockets.iter().filter(|socket| socket.try_recv(&mut [0; 1500]).is_ok()).count();
    assert!((1..150).contains(&answered), "{answered} of 300 addresses are accepted");
    // The client moves to another address later: it is let through again, if not with the first request.
    let moved = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let answer = timeout(PATIENCE, async {
        let mut answer = [0; 1500];
        loop {
            moved.send_to(&request, media).await.unwrap();
            if timeout(Duration::from_millis(100), moved.recv(&mut answer)).await.is_ok() {
                return;
            }
        }
    });
    assert!(answer.await.is_ok(), "an address is accepted again after a while");
    assert!(!enemy.act(|state| state.is_closed));
}

/// An enemy that is connected, and a good request of its: STUN with its credentials.
pub async fn enemy_and_request(party: &Party) -> (Caller, Vec<u8>) {
    let enemy = party.enemy(|_| ()).await.unwrap();
    let first = Arc::new(Mutex::new(None));
    let sent = first.clone();
    enemy.act(|state| {
        state.tamper = Some(Box::new(move |bytes| {
            sent.lock().unwrap().get_or_insert_with(|| bytes.to_vec());
            vec![bytes.to_vec()]
        }));
    });
    enemy.has_channels().await;
    let request: Vec<u8> = first.lock().unwrap().clone().unwrap();
    assert_eq!(request[..2], STUN[..2]);
    (enemy, request)
}

#[tokio::test]
async fn whatever_strangers_send_to_the_media_ports_the_others_go_on() {
    let party = Party::start().await;
    let media = party.media();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for batch in 0..3 {
        for number in 0..1000 {
            let Some(bytes) = made(batch * 1000 + number, datagram) else { continue };
            // What the system has no room for is lost.
            let _ = socket.try_send_to(&bytes, media);
        }
        let mut streams = Vec::new();
        for number in 0..40 {
            let mut stream = TcpStream::connect(media).await.unwrap();
            let Some(bytes) = made(batch * 40 + number, frames) else { continue };
            // It may be closed before all is said.
            let _ = timeout(Duration::from_millis(200), stream.write_all(&bytes)).await;
            streams.push(stream);
        }
        party.check().await;
    }
}

/// Frames of RFC 4571, whose length is what it says or not.
fn frames(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for _ in 0..source.int_in_range(1..=6)? {
        let frame = match source.int_in_range(0..=4)? {
            0 => vec![0; source.int_in_range(0..=65_535)?],
            1 => [STUN.to_vec(), vec![0; source.int_in_range(0..=3000)?]].concat(),
            _ => datagram(source)?,
        };
        let length = if source.ratio(5, 6)? { frame.len() } else { source.int_in_range(0..=65_535)? };
        bytes.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes)
}

/// Damages some datagrams, doubles some, and holds some back.
fn bad_way(seed: u64) -> Tamper {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kept = Vec::new();
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
            4 => std::mem::replace(&mut kept, vec![bytes.to_vec()]),
            _ => vec![bytes.to_vec()],
        }
    })
}

#[tokio::test]
async fn a_participant_behind_a_bad_network_disturbs_nobody() {
    let party = Party::start().await;
    for seed in 0..3 {
        let enemy = party.enemy(|_| ()).await.unwrap();
        // A handshake that is damaged fails, as it should.
        enemy.until("is connected", |state| state.is_connected.then_some(())).await;
        enemy.act(|state| state.tamper = Some(bad_way(seed)));
        enemy.publish(MediaKind::Audio).await;
        enemy.publish(MediaKind::Video).await;
        for number in 0..50 {
            enemy.send(&format!("message {number} {}", "x".repeat(number * 100)), number % 2 == 0);
        }
        party.check().await;
    }
}
