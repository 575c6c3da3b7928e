//! Cheap floods of the media ports and the HTTP port, most of them without a token.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::attackers::{ATTACK_TIME, BUDGET, plain_join, token};
use crate::client::TestClient;
use crate::packets::attacker_and_request;
use crate::signal_socket::SignalSocket;
use crate::support::{HttpClient, TIMEOUT, admin_token, twirp_head, twirp_request};
use crate::{Fixture, MIB};

/// Exceeds the engine's limit on TCP connections for media.
const TCP_CONNECTIONS: usize = 600;

/// Calls `send_packet` `per_second` times a second until `end`, with the number of the call. Returns the number of calls.
fn pace(per_second: u32, end: Instant, mut send_packet: impl FnMut(u32)) -> u32 {
    let started = Instant::now();
    let mut sent = 0;
    while Instant::now() < end {
        let due = started.elapsed().as_secs_f64() * f64::from(per_second);
        while f64::from(sent) < due {
            send_packet(sent);
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// One of many loopback addresses, by its number.
fn loopback_address(number: u32) -> SocketAddr {
    let [_, high, middle, low] = (number + 256).to_be_bytes();
    (Ipv4Addr::new(127, high + 1, middle, low), 0).into()
}

#[tokio::test]
async fn participants_can_join_while_one_sends_from_thousands_of_addresses() {
    let fixture = Fixture::start().await;
    for per_second in [3100, 12_000] {
        let (attacker, request) = attacker_and_request(&fixture).await;
        let media = fixture.media_address();
        let probe = fixture.start_probe();
        let sent = tokio::task::spawn_blocking(move || {
            // Long enough to exceed the 16,384 addresses that the engine remembers.
            let time = if per_second > 10_000 { ATTACK_TIME } else { 2 * ATTACK_TIME };
            pace(per_second, Instant::now() + time, |number| {
                let socket = UdpSocket::bind(loopback_address(number)).unwrap();
                let _ = socket.send_to(&request, media);
            })
        })
        .await
        .unwrap();
        let report = probe.stop().await;
        println!("{sent} addresses");
        // Joins in another room; `check` joins in the attacker's room.
        TestClient::join(fixture.address(), "another room", "newcomer").await.leave().await;
        fixture.check().await;
        report.assert_within_bounds(&format!("STUN from {per_second} addresses a second"), BUDGET);
        drop(attacker);
    }
}

#[tokio::test]
async fn a_new_tcp_connection_for_media_is_served_beside_600_idle_ones() {
    let fixture = Fixture::start().await;
    let (_attacker, request) = attacker_and_request(&fixture).await;
    let media = fixture.media_address();
    let probe = fixture.start_probe();
    let answered = tokio::task::spawn_blocking(move || {
        let open = || {
            let mut stream = TcpStream::connect(media).unwrap();
            // A frame of length 0.
            let _ = stream.write_all(&[0, 0]);
            stream
        };
        let mut held: Vec<TcpStream> = (0..TCP_CONNECTIONS).map(|_| open()).collect();
        let end = Instant::now() + TIMEOUT;
        let mut is_answered = false;
        while !is_answered && Instant::now() < end {
            for stream in &mut held {
                if stream.write_all(&[0, 0]).is_err() {
                    *stream = open();
                }
            }
            is_answered = is_answered_over_tcp(media, &request);
        }
        is_answered
    })
    .await
    .unwrap();
    probe.stop().await.assert_within_bounds("idle TCP connections", BUDGET);
    assert!(answered, "no new TCP connection is served");
    fixture.check().await;
}

/// Returns whether the engine answers a valid STUN request on a new TCP connection.
fn is_answered_over_tcp(media: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect(media) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let length = u16::try_from(request.len()).unwrap();
    let frame = [&length.to_be_bytes()[..], request].concat();
    stream.write_all(&frame).is_ok() && stream.read(&mut [0; 1500]).is_ok_and(|read| read > 0)
}

#[tokio::test]
async fn stray_stun_with_900_participants_does_not_delay_others() {
    const PARTICIPANTS: usize = 900;
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let members: Vec<SignalSocket> = (0..PARTICIPANTS)
        .map(|number| {
            let room = format!("room {number}");
            let token = token("member", &json!({ "roomJoin": true, "room": room }));
            SignalSocket::open(engine, &plain_join(&token)).unwrap()
        })
        .collect();
    let media = fixture.media_address();
    let stray = stray_stun("abcd:efgh");
    for per_second in [2900, 20_000] {
        let attack = async || {
            let stray = stray.clone();
            let sent = tokio::task::spawn_blocking(move || {
                let sockets: Vec<UdpSocket> = (0..16).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
                pace(per_second, Instant::now() + ATTACK_TIME, |number| {
                    let _ = sockets[number as usize % sockets.len()].send_to(&stray, media);
                })
            });
            println!("{} stray packets", sent.await.unwrap());
        };
        fixture.assert_withstands(&format!("{per_second} stray packets a second"), BUDGET, attack).await;
    }
    drop(members);
    fixture.check().await;
}

/// A STUN binding request with an unknown user and an invalid signature.
fn stray_stun(user: &str) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let attributes =
        [attribute(0x0006, user.as_bytes()), attribute(0x0024, &[1, 2, 3, 4]), attribute(0x0008, &[7; 20])].concat();
    let mut message = vec![0, 1];
    message.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    message.extend_from_slice(&[0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    message.extend_from_slice(&attributes);
    message
}

#[tokio::test]
async fn idle_unauthenticated_connections_do_not_abort_an_upload() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let probe = fixture.start_probe();
    let status = tokio::task::spawn_blocking(move || {
        let body = json!({ "room": "none", "data": "x".repeat(MIB) }).to_string();
        let head =
            twirp_head("SendData", &admin_token(), "application/json", &format!("content-length: {}", body.len()));
        let mut upload = HttpClient::connect(engine);
        upload.send(head).unwrap();
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        upload.send(first).unwrap();
        let idle: Vec<TcpStream> = (0..1100).map(|_| TcpStream::connect(engine).unwrap()).collect();
        // The engine has accepted all connections once it answers on the last one.
        let mut last = HttpClient::connect(engine);
        assert_eq!(last.request(twirp_request("ListRooms", &admin_token(), "application/json", b"{}")).status, 200);
        let _ = upload.send(rest);
        let status = upload.receive().map(|response| response.status);
        drop(idle);
        status
    })
    .await
    .unwrap();
    probe.stop().await.assert_within_bounds("idle connections", 2 * BUDGET);
    // The token is for another room; the point is that the engine answers.
    assert_eq!(status, Some(401));
    fixture.check().await;
}
