//! What costs little to send to the media's ports and the server's, mostly without a token.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use serde_json::json;

use crate::attack::{self, ATTACK_TIME, BUDGET, plain_join, token};
use crate::caller::Caller;
use crate::packets::enemy_and_request;
use crate::support::{Client, PATIENCE, admin, call, call_head};
use crate::wire::{self, Wire};
use crate::{MIB, Party};

/// More than the engine has TCP connections for media.
const TCP_CONNECTIONS: usize = 600;

/// Sends so many packets a second until the end, each as `act` does with its number.
fn pace(per_second: u32, end: Instant, mut act: impl FnMut(u32)) -> u32 {
    let begun = Instant::now();
    let mut sent = 0;
    while Instant::now() < end {
        let due = begun.elapsed().as_secs_f64() * f64::from(per_second);
        while f64::from(sent) < due {
            act(sent);
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// The address of one of many on this machine, by its number.
fn own_address(number: u32) -> SocketAddr {
    let [_, high, middle, low] = (number + 256).to_be_bytes();
    (Ipv4Addr::new(127, high + 1, middle, low), 0).into()
}

#[tokio::test]
async fn a_participant_that_writes_from_everywhere_keeps_nobody_out() {
    let party = Party::start().await;
    for per_second in [3100, 12_000] {
        let (enemy, request) = enemy_and_request(&party).await;
        let media = party.media();
        let watch = party.watch();
        let sent = tokio::task::spawn_blocking(move || {
            // Enough for the 16,384 addresses that are remembered.
            let time = if per_second > 10_000 { ATTACK_TIME } else { 2 * ATTACK_TIME };
            pace(per_second, Instant::now() + time, |number| {
                let socket = UdpSocket::bind(own_address(number)).unwrap();
                let _ = socket.send_to(&request, media);
            })
        })
        .await
        .unwrap();
        let report = watch.stop().await;
        println!("{sent} addresses");
        // One in another room, and one in the enemy's.
        Caller::join(party.address(), "another room", "newcomer").await.leave().await;
        party.check().await;
        report.assert_undisturbed(&format!("STUN from {per_second} addresses a second"), BUDGET);
        drop(enemy);
    }
}

#[tokio::test]
async fn idle_tcp_connections_for_media_keep_nobody_out() {
    let party = Party::start().await;
    let (_enemy, request) = enemy_and_request(&party).await;
    let media = party.media();
    let watch = party.watch();
    let answered = tokio::task::spawn_blocking(move || {
        let open = || {
            let mut stream = TcpStream::connect(media).unwrap();
            // An empty frame.
            let _ = stream.write_all(&[0, 0]);
            stream
        };
        let mut held: Vec<TcpStream> = (0..TCP_CONNECTIONS).map(|_| open()).collect();
        let end = Instant::now() + PATIENCE;
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
    watch.stop().await.assert_undisturbed("idle TCP connections", BUDGET);
    assert!(answered, "nobody else is served over TCP");
    party.check().await;
}

/// Whether a good STUN request is answered on a TCP connection of its own.
fn is_answered_over_tcp(media: SocketAddr, request: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect(media) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let length = u16::try_from(request.len()).unwrap();
    let frame = [&length.to_be_bytes()[..], request].concat();
    stream.write_all(&frame).is_ok() && stream.read(&mut [0; 1500]).is_ok_and(|read| read > 0)
}

#[tokio::test]
async fn stray_stun_among_many_participants_disturbs_nobody() {
    const PARTICIPANTS: usize = 900;
    let party = Party::start().await;
    let engine = party.address();
    let members: Vec<Wire> = (0..PARTICIPANTS)
        .map(|number| {
            let room = format!("room {number}");
            let token = token("member", &json!({ "roomJoin": true, "room": room }));
            Wire::open(engine, &plain_join(&token)).unwrap()
        })
        .collect();
    let media = party.media();
    let stray = stun("abcd:efgh");
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
        party.withstands(&format!("{per_second} stray packets a second"), BUDGET, attack).await;
    }
    drop(members);
    party.check().await;
}

/// A binding request of nobody's: it names a user, and its signature is nonsense.
fn stun(user: &str) -> Vec<u8> {
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
async fn connections_without_a_token_end_no_upload() {
    let party = Party::start().await;
    let engine = party.address();
    let watch = party.watch();
    let status = tokio::task::spawn_blocking(move || {
        let body = json!({ "room": "none", "data": "x".repeat(MIB) }).to_string();
        let head = call_head("SendData", &admin(), "application/json", &format!("content-length: {}", body.len()));
        let mut upload = Client::connect(engine);
        upload.say(head).unwrap();
        let (first, rest) = body.as_bytes().split_at(body.len() / 2);
        upload.say(first).unwrap();
        let idle: Vec<TcpStream> = (0..1100).map(|_| TcpStream::connect(engine).unwrap()).collect();
        // The engine has seen them all once the last one is answered.
        let mut last = Client::connect(engine);
        assert_eq!(last.ask(call("ListRooms", &admin(), "application/json", b"{}")).status, 200);
        let _ = upload.say(rest);
        let status = upload.hear().map(|answer| answer.status);
        drop(idle);
        status
    })
    .await
    .unwrap();
    watch.stop().await.assert_undisturbed("idle connections", 2 * BUDGET);
    // The token is for another room, but there is an answer.
    assert_eq!(status, Some(401));
    party.check().await;
}

#[tokio::test]
async fn metadata_past_its_limit_is_no_way_in() {
    let party = Party::start().await;
    let metadata = "m".repeat(700_000);
    let attributes = std::collections::HashMap::from([("a".to_owned(), "b".repeat(700_000))]);
    let requests = [
        proto::JoinRequest { metadata, ..Default::default() },
        proto::JoinRequest { participant_attributes: attributes, ..Default::default() },
    ];
    for request in requests {
        let packed = crate::requests::zipped(&prost::Message::encode_to_vec(&request));
        let join = wire::join_request("/rtc/v1", &attack::token_to_update("attacker"), &packed);
        let status = attack::request(party.address(), &join);
        // Browsers show the reason of a failed join only with 401 and 403.
        assert_eq!(status, Some(403));
    }
    party.check().await;
}
