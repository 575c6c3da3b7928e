//! Attacks by participants and by unauthenticated clients. The other participants keep media, data and signalling, and the
//! latency in another room stays within its bound.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[path = "../support/generators.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod generators;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

mod attackers;
mod corrupted_packets;
mod corrupting_crypto;
mod crowds;
mod data;
mod floods;
mod http;
mod offers;
mod packets;
#[path = "../support/panics.rs"]
mod panics;
mod probe;
mod requests;
mod resubscription;
#[path = "../support/signal_socket.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod signal_socket;
mod signals;
mod stalled_clients;
mod unauthenticated;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbitrary::{Result, Unstructured};
use livekit_protocol::Ping;
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use maravilla_engine::Engine;
use peak_alloc::PeakAlloc;
use str0m::media::MediaKind;
use tokio::sync::{Mutex, MutexGuard};

use client::{ConnectOptions, TestClient};
use generators::seed;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
const MIB: usize = 1024 * 1024;

const ROOM: &str = "room";

/// An engine with two participants that receive each other's media and data during an attack.
struct Fixture {
    engine: Engine,
    ann: TestClient,
    ben: TestClient,
    /// The tracks of `ann` and of `ben`.
    tracks: [Vec<String>; 2],
    checks: AtomicUsize,
    attackers: AtomicUsize,
    /// Held because the memory and the panics of the whole process are counted.
    _serial: MutexGuard<'static, ()>,
}

impl Fixture {
    async fn start() -> Self {
        static SERIAL: Mutex<()> = Mutex::const_new(());
        let serial = SERIAL.lock().await;
        panics::start_counting();
        let engine = support::start();
        let address = engine.address();
        let (ann, ben) = tokio::join!(TestClient::join(address, ROOM, "ann"), TestClient::join(address, ROOM, "ben"));
        tokio::join!(ann.wait_for_data_channels(), ben.wait_for_data_channels());
        let publish = async |client: &TestClient| {
            vec![client.publish(MediaKind::Audio).await, client.publish(MediaKind::Video).await]
        };
        let (first, second) = tokio::join!(publish(&ann), publish(&ben));
        let fixture = Self {
            engine,
            ann,
            ben,
            tracks: [first, second],
            checks: AtomicUsize::new(0),
            attackers: AtomicUsize::new(0),
            _serial: serial,
        };
        fixture.check().await;
        fixture
    }

    fn address(&self) -> SocketAddr {
        self.engine.address()
    }

    /// The engine's media address.
    fn media_address(&self) -> SocketAddr {
        self.ann.with_state(|state| state.media_address).unwrap()
    }

    /// Connects an attacker; `None` if the engine rejects it.
    async fn attacker(&self, edit: impl FnOnce(&mut ConnectOptions)) -> Option<TestClient> {
        let mut options = ConnectOptions::new(ROOM, "attacker");
        edit(&mut options);
        TestClient::connect(self.address(), options).await
    }

    /// Connects an attacker with data channels. Each one has a new identity, so that it inherits no state.
    async fn connected_attacker(&self) -> TestClient {
        let number = self.attackers.fetch_add(1, Ordering::Relaxed);
        let attacker = TestClient::join(self.address(), ROOM, &format!("attacker {number}")).await;
        attacker.wait_for_data_channels().await;
        attacker
    }

    /// Asserts that `ann` and `ben` still receive each other's media and data, that another participant can join and receive
    /// media, and that the engine has not panicked.
    async fn check(&self) {
        let number = self.checks.fetch_add(1, Ordering::Relaxed);
        let [first, second] = &self.tracks;
        let (question, answer) = (format!("question {number}"), format!("answer {number}"));
        self.ann.send_data(&question, true);
        self.ben.send_data(&answer, true);
        let newcomer = async {
            let newcomer = TestClient::join(self.address(), ROOM, "newcomer").await;
            newcomer.wait_for_packets(first).await;
            newcomer.leave().await;
        };
        let (ann, ben) = (&self.ann, &self.ben);
        tokio::join!(
            ann.wait_for_packets(second),
            ben.wait_for_packets(first),
            ann.wait_for_data(&answer),
            ben.wait_for_data(&question),
            newcomer
        );
        assert!(
            !ann.with_state(|state| state.is_closed) && !ben.with_state(|state| state.is_closed),
            "a participant was disconnected"
        );
        panics::assert_none();
        for client in [ann, ben] {
            client.with_state(|state| {
                state.data_packets.clear();
                state.responses.clear();
            });
        }
    }
}

/// Waits until the engine has processed all earlier requests of the client, or has closed its connection. `number` identifies
/// the ping.
async fn wait_until_processed(client: &TestClient, number: usize) {
    let timestamp = i64::try_from(number).unwrap() + 1_000_000;
    client.send_request(Request::PingReq(Ping { timestamp, ..Ping::default() }));
    let is_pong =
        |response: &Response| matches!(response, Response::PongResp(pong) if pong.last_ping_timestamp == timestamp);
    client
        .wait_until("receives a pong", |state| (state.is_closed || state.responses.iter().any(is_pong)).then_some(()))
        .await;
}

/// Generates a case from its number; `None` if its random bytes run out.
fn generate<T>(number: usize, generator: impl FnOnce(&mut Unstructured<'_>) -> Result<T>) -> Option<T> {
    generator(&mut Unstructured::new(&seed(u64::try_from(number).unwrap()))).ok()
}
