//! Attackers on separate threads. They encode what they send before the measurement starts, because the attack itself must
//! cost little CPU time.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use serde_json::{Value, json};

use crate::Fixture;
use crate::client::encode_join_request;
use crate::signal_socket::{self, SignalSocket};
use crate::support::{KEY, SECRET, now, sign};

/// Duration of most attacks.
pub const ATTACK_TIME: Duration = Duration::from_secs(1);
/// Default limit on the peak memory of an attack, in bytes.
pub const BUDGET: usize = 32 * crate::MIB;
/// The room that most attackers join.
pub const ROOM: &str = "attack";

/// Time after which a blocked write is interrupted to check for the end of the attack.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

/// A token with only the grant `roomJoin`.
pub fn ordinary_token(identity: &str) -> String {
    token(identity, &json!({ "roomJoin": true, "room": ROOM }))
}

/// A token with the grants `roomJoin` and `canUpdateOwnMetadata`.
pub fn metadata_token(identity: &str) -> String {
    token(identity, &json!({ "roomJoin": true, "room": ROOM, "canUpdateOwnMetadata": true }))
}

pub fn token(identity: &str, video: &Value) -> String {
    let claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// An upgrade request that joins with auto-subscribe and without an offer.
pub fn plain_join(token: &str) -> Vec<u8> {
    let settings = proto::ConnectionSettings { auto_subscribe: true, ..Default::default() };
    let request = proto::JoinRequest { connection_settings: Some(settings), ..Default::default() };
    signal_socket::join_request("/rtc/v1", token, &encode_join_request(&request))
}

/// Bytes that an attacker sends repeatedly.
#[derive(Clone)]
pub struct Stream {
    pub unit: Arc<[u8]>,
    /// Maximum number of units per second; `None` sends as fast as the engine reads.
    pub per_second: Option<u32>,
    /// Whether the attacker reads what the engine sends.
    pub reads: bool,
}

impl Stream {
    /// A stream without a rate limit.
    pub fn of(unit: Vec<u8>) -> Self {
        Self { unit: unit.into(), per_second: None, reads: true }
    }

    pub fn with_rate(self, per_second: u32) -> Self {
        Self { per_second: Some(per_second), ..self }
    }
}

/// Runs `attack` on one thread for each attacker, with its number and the end of the attack.
pub async fn run<F>(attackers: usize, attack: F)
where
    F: Fn(usize, Instant) + Send + Sync + 'static,
{
    let (attack, end) = (Arc::new(attack), Instant::now() + ATTACK_TIME);
    let threads = (0..attackers).map(|number| {
        let attack = attack.clone();
        tokio::task::spawn_blocking(move || attack(number, end))
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.await.unwrap();
    }
}

impl Fixture {
    /// Each attacker joins, sends `first`, then the stream. An attacker that the engine disconnects joins again at once.
    pub async fn flood(&self, attackers: usize, token: fn(&str) -> String, first: Vec<u8>, stream: Stream) {
        let engine = self.address();
        run(attackers, move |number, end| {
            let request = plain_join(&token(&format!("attacker {number}")));
            while Instant::now() < end {
                let socket =
                    SignalSocket::open(engine, &request).and_then(|mut socket| socket.send(&first).map(|()| socket));
                // The engine has rejected or closed the connection.
                let Ok(socket) = socket else { continue };
                if stream.reads {
                    discard(&socket);
                }
                let _ = send_repeatedly(&mut socket.clone_stream(), &stream, end);
                let _ = socket.socket().shutdown(std::net::Shutdown::Both);
            }
        })
        .await;
    }
}

/// Starts a thread that reads and discards everything.
pub fn discard(socket: &SignalSocket) {
    let mut reader = socket.clone_stream();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
}

/// Sends a stream until `end`.
///
/// # Errors
/// An error of the socket, for example because the engine has closed it.
pub fn send_repeatedly(socket: &mut TcpStream, stream: &Stream, end: Instant) -> io::Result<()> {
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let started = Instant::now();
    for number in 1_u32.. {
        let mut rest = &*stream.unit;
        while !rest.is_empty() {
            if Instant::now() >= end {
                return Ok(());
            }
            match socket.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => (),
                Err(error) => return Err(error),
            }
        }
        if let Some(per_second) = stream.per_second {
            let due = started + Duration::from_secs(1) * number / per_second;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Sends a request on a new connection. Returns the status of the response.
pub fn request_status(engine: SocketAddr, request: &[u8]) -> Option<u16> {
    let outcome = SignalSocket::open(engine, request);
    match outcome {
        Ok(_) => Some(101),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => error.to_string().parse().ok(),
        Err(_) => None,
    }
}
