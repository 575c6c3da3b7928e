//! Attackers on threads of their own. What they send is encoded before the watch begins, so that the attack costs its own
//! side next to nothing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use serde_json::{Value, json};

use crate::Party;
use crate::caller::packed;
use crate::support::{KEY, SECRET, now, sign};
use crate::wire::{self, Wire};

/// How long most attacks last.
pub const ATTACK_TIME: Duration = Duration::from_secs(1);
/// How much memory an attack may take at its peak where no other budget is stated.
pub const BUDGET: usize = 32 * crate::MIB;
/// The room of the attackers.
pub const ROOM: &str = "attack";

/// How long a blocked write is waited for before the end of the attack is looked at.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

/// A token with `roomJoin` and nothing else.
pub fn ordinary_token(identity: &str) -> String {
    token(identity, &json!({ "roomJoin": true, "room": ROOM }))
}

/// A token with `canUpdateOwnMetadata` besides.
pub fn token_to_update(identity: &str) -> String {
    token(identity, &json!({ "roomJoin": true, "room": ROOM, "canUpdateOwnMetadata": true }))
}

pub fn token(identity: &str, video: &Value) -> String {
    let claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A request that joins, subscribes to all and offers nothing.
pub fn plain_join(token: &str) -> Vec<u8> {
    let settings = proto::ConnectionSettings { auto_subscribe: true, ..Default::default() };
    let request = proto::JoinRequest { connection_settings: Some(settings), ..Default::default() };
    wire::join_request("/rtc/v1", token, &packed(&request))
}

/// What is sent over and over.
#[derive(Clone)]
pub struct Stream {
    pub unit: Arc<[u8]>,
    /// The most units in a second; more than the engine takes wait in the socket.
    pub per_second: Option<u32>,
    /// Whether the attacker reads what it is sent.
    pub reads: bool,
}

impl Stream {
    /// As fast as the engine takes it.
    pub fn of(unit: Vec<u8>) -> Self {
        Self { unit: unit.into(), per_second: None, reads: true }
    }

    pub fn at(self, per_second: u32) -> Self {
        Self { per_second: Some(per_second), ..self }
    }
}

/// Runs so many attackers, each on a thread of its own with its number and the time at which it has to end.
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

impl Party {
    /// So many participants send a stream each over their signalling, after `first`. Those that the engine lets go come back
    /// at once.
    pub async fn flood(&self, attackers: usize, token: fn(&str) -> String, first: Vec<u8>, stream: Stream) {
        let engine = self.address();
        run(attackers, move |number, end| {
            let request = plain_join(&token(&format!("attacker {number}")));
            while Instant::now() < end {
                let opened = Wire::open(engine, &request).and_then(|mut wire| wire.send(&first).map(|()| wire));
                // Refused or ended: it tries again.
                let Ok(wire) = opened else { continue };
                if stream.reads {
                    discard(&wire);
                }
                let _ = repeat(&mut wire.writer(), &stream, end);
                let _ = wire.socket().shutdown(std::net::Shutdown::Both);
            }
        })
        .await;
    }
}

/// Reads whatever comes, and forgets it.
pub fn discard(wire: &Wire) {
    let mut reader = wire.writer();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
}

/// Sends a stream until its end.
///
/// # Errors
/// If the engine has ended the connection.
pub fn repeat(socket: &mut TcpStream, stream: &Stream, end: Instant) -> io::Result<()> {
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let begun = Instant::now();
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
            let due = begun + Duration::from_secs(1) * number / per_second;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(())
}

/// Sends a request on a connection of its own, and waits for the head of the response.
pub fn request(engine: SocketAddr, request: &[u8]) -> Option<u16> {
    let outcome = Wire::open(engine, request);
    match outcome {
        Ok(_) => Some(101),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => error.to_string().parse().ok(),
        Err(_) => None,
    }
}
