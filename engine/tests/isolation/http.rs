//! Floods of HTTP requests, with and without a token.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use maravilla_engine::rooms::Settings;

use crate::attackers::{self, Stream, ordinary_token, send_repeatedly};
use crate::client::encode_join_request;
use crate::support::{KEY, admin_token, base64, now, sign, twirp_request};
use crate::{Fixture, MIB, signal_socket};

/// Maximum time to wait for one response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends a request repeatedly, on a new connection each time, and reads the responses.
async fn flood(engine: SocketAddr, attackers: usize, request: Vec<u8>) {
    let stream = Stream::of(request);
    attackers::run(attackers, move |_, end| {
        while Instant::now() < end {
            let Ok(mut socket) = TcpStream::connect(engine) else { continue };
            socket.set_read_timeout(Some(RESPONSE_TIMEOUT)).unwrap();
            // Fails if the engine has rejected the request before the end or closed the connection.
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

/// A token of almost the maximum length, with an invalid signature.
fn forged_token() -> String {
    let claims = format!("{{\"iss\":\"{KEY}\",\"exp\":{},\"x\":[{}0]}}", now() + 600, "[],".repeat(240_000));
    sign(r#"{"alg":"HS256"}"#, &claims, "another secret that is longer than 32 bytes")
}

#[tokio::test]
async fn requests_without_a_valid_token_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let headers = format!("x: {}\r\n", "y".repeat(900)).repeat(1000);
    let parameters = "a&".repeat(30_000);
    let body = format!("{{\"names\":[{}\"\"]}}", "\"\",".repeat(300_000));
    let malformed = format!("{}.{}.{}", base64("{\"alg\":\"HS256\"}"), base64("[".repeat(700_000)), base64("x"));
    let list = |content_type| twirp_request("ListRooms", "", content_type, body.as_bytes());
    for (attack, request) in [
        ("a long header", get("/", &format!("x: {}", "y".repeat(1_000_000)))),
        ("many headers", get("/", &headers)),
        ("many parameters", get(&format!("/rtc?{parameters}"), "x: y")),
        ("a forged token", with_token(&forged_token())),
        ("a malformed token", with_token(&malformed)),
        ("a long method", [b"X".repeat(900_000), get("/twirp/livekit.RoomService/ListRooms", "x: y")].concat()),
        ("a long content type", list(&"y".repeat(900_000))),
        ("a body", list("application/json")),
    ] {
        fixture.assert_withstands(attack, 96 * MIB, async || flood(fixture.address(), 32, request.clone()).await).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn large_requests_with_a_token_do_not_delay_others() {
    let fixture = Fixture::start().await;
    for number in 0..10_000 {
        let settings = Settings { metadata: "twenty bytes of text", ..Settings::default() };
        let name = format!("room number {number}");
        fixture.engine.rooms(|rooms, now| rooms.create(&name, &settings, now).map(drop)).unwrap();
    }
    let names = |count| format!("{{\"names\":[{}\"\"]}}", "\"abcdefgh\",".repeat(count));
    let long_string = format!("{{\"x\":\"{}\"}}", "[{,".repeat(3_000_000));
    for (attack, request, budget) in [
        ("a list of all rooms", twirp_request("ListRooms", &admin_token(), "application/json", b"{}"), 128),
        (
            "a long list of names",
            twirp_request("ListRooms", &admin_token(), "application/json", names(250_000).as_bytes()),
            160,
        ),
        (
            "a list of too many names",
            twirp_request("ListRooms", &admin_token(), "application/json", names(800_000).as_bytes()),
            160,
        ),
        ("a long string", twirp_request("ListRooms", &admin_token(), "application/json", long_string.as_bytes()), 160),
    ] {
        fixture
            .assert_withstands(attack, budget * MIB, async || flood(fixture.address(), 4, request.clone()).await)
            .await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn repeated_join_requests_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let request = livekit_protocol::JoinRequest { metadata: "m".repeat(40_000), ..Default::default() };
    let token = ordinary_token("attacker");
    for path in ["/rtc/validate", "/rtc/v1/validate", "/rtc/v1"] {
        let request = signal_socket::join_request(path, &token, &encode_join_request(&request));
        fixture.assert_withstands(path, 32 * MIB, async || flood(fixture.address(), 16, request.clone()).await).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn pipelined_requests_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let pipelined = get("/rtc/validate?access_token=x", "x: y").repeat(1000);
    let attacker = move |_, end| {
        let Ok(mut socket) = TcpStream::connect(engine) else { return };
        let mut reader = socket.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let _ = send_repeatedly(&mut socket, &Stream::of(pipelined.clone()), end);
        let _ = socket.shutdown(Shutdown::Both);
    };
    fixture.assert_withstands("pipelined requests", 8 * MIB, async || attackers::run(4, attacker.clone()).await).await;
    fixture.check().await;
}
