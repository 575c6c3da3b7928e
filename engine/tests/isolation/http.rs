//! Attackers that speak HTTP, most of them without a token: nobody else waits for what they send.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use maravilla_engine::rooms::Settings;

use crate::attack::{self, Stream, ordinary_token, repeat};
use crate::caller::packed;
use crate::support::{KEY, admin, base64, call, now, sign};
use crate::{MIB, Party, wire};

/// How long the response to one request is waited for.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request again and again on new connections, and reads what it is answered.
async fn flood(engine: SocketAddr, attackers: usize, request: Vec<u8>) {
    let stream = Stream::of(request);
    attack::run(attackers, move |_, end| {
        while Instant::now() < end {
            let Ok(mut socket) = TcpStream::connect(engine) else { continue };
            socket.set_read_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
            // Refused before all is sent, or closed: it tries again.
            let _ = socket.write_all(&stream.unit);
            let _ = socket.shutdown(Shutdown::Write);
            let _ = socket.read_to_end(&mut Vec::new());
        }
    })
    .await;
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n\r\n").into_bytes()
}

fn with_token(token: &str) -> Vec<u8> {
    get("/rtc/validate", &format!("authorization: Bearer {token}"))
}

/// A token of nearly the greatest length, with a signature that is wrong.
fn forged() -> String {
    let claims = format!("{{\"iss\":\"{KEY}\",\"exp\":{},\"x\":[{}0]}}", now() + 600, "[],".repeat(240_000));
    sign(r#"{"alg":"HS256"}"#, &claims, "another secret that is longer than 32 bytes")
}

#[tokio::test]
async fn requests_without_a_token_cost_the_others_nothing() {
    let party = Party::start().await;
    let headers = format!("x: {}\r\n", "y".repeat(900)).repeat(1000);
    let parameters = "a&".repeat(30_000);
    let body = format!("{{\"names\":[{}\"\"]}}", "\"\",".repeat(300_000));
    let not_json = format!("{}.{}.{}", base64("{\"alg\":\"HS256\"}"), base64("[".repeat(700_000)), base64("x"));
    let list = |kind| call("ListRooms", "", kind, body.as_bytes());
    for (attack, request) in [
        ("a long header", get("/", &format!("x: {}", "y".repeat(1_000_000)))),
        ("many headers", get("/", &headers)),
        ("many parameters", get(&format!("/rtc?{parameters}"), "x: y")),
        ("a forged token", with_token(&forged())),
        ("a token that is none", with_token(&not_json)),
        ("a long method", [b"X".repeat(900_000), get("/twirp/livekit.RoomService/ListRooms", "x: y")].concat()),
        ("a long type", list(&"y".repeat(900_000))),
        ("a body", list("application/json")),
    ] {
        party.withstands(attack, 96 * MIB, async || flood(party.address(), 32, request.clone()).await).await;
    }
    party.check().await;
}

#[tokio::test]
async fn large_requests_with_a_token_cost_the_others_nothing() {
    let party = Party::start().await;
    for number in 0..10_000 {
        let settings = Settings { metadata: "twenty bytes of text", ..Settings::default() };
        let name = format!("room number {number}");
        party.engine.rooms(|rooms, now| rooms.create(&name, &settings, now).map(drop)).unwrap();
    }
    let names = |count| format!("{{\"names\":[{}\"\"]}}", "\"abcdefgh\",".repeat(count));
    let text = format!("{{\"x\":\"{}\"}}", "[{,".repeat(3_000_000));
    for (attack, request, budget) in [
        ("a list of all rooms", call("ListRooms", &admin(), "application/json", b"{}"), 128),
        ("a long list of names", call("ListRooms", &admin(), "application/json", names(250_000).as_bytes()), 160),
        ("a list of too many names", call("ListRooms", &admin(), "application/json", names(800_000).as_bytes()), 160),
        ("a long text", call("ListRooms", &admin(), "application/json", text.as_bytes()), 160),
    ] {
        party.withstands(attack, budget * MIB, async || flood(party.address(), 4, request.clone()).await).await;
    }
    party.check().await;
}

#[tokio::test]
async fn packed_join_requests_cost_the_others_nothing() {
    let party = Party::start().await;
    let request = livekit_protocol::JoinRequest { metadata: "m".repeat(40_000), ..Default::default() };
    let token = ordinary_token("attacker");
    for path in ["/rtc/validate", "/rtc/v1/validate", "/rtc/v1"] {
        let request = wire::join_request(path, &token, &packed(&request));
        party.withstands(path, 32 * MIB, async || flood(party.address(), 16, request.clone()).await).await;
    }
    party.check().await;
}

#[tokio::test]
async fn a_stream_of_requests_costs_the_others_nothing() {
    let party = Party::start().await;
    let engine = party.address();
    let pipelined = get("/rtc/validate?access_token=x", "x: y").repeat(1000);
    let attacker = move |_, end| {
        let Ok(mut socket) = TcpStream::connect(engine) else { return };
        let mut reader = socket.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let _ = repeat(&mut socket, &Stream::of(pipelined.clone()), end);
        let _ = socket.shutdown(Shutdown::Both);
    };
    party.withstands("pipelined requests", 8 * MIB, async || attack::run(4, attacker.clone()).await).await;
    party.check().await;
}
