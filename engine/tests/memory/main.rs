//! Memory use of rooms, connections, requests and signals, and its release. The tests run one by one, because the allocator
//! counts the memory of the whole process.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../support/signal_socket.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod signal_socket;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

mod http;
mod rooms;
mod signalling;

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use maravilla_engine::Engine;
use peak_alloc::PeakAlloc;
use support::{HttpClient, TIMEOUT};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
const JSON: &str = "application/json";
const GET: &str = "GET / HTTP/1.1\r\nhost: t\r\n\r\n";

/// An engine that runs while no other test of this suite does. It is closed on drop.
struct SerialEngine {
    engine: Engine,
    _serial: MutexGuard<'static, ()>,
}

impl SerialEngine {
    fn start() -> Self {
        static SERIAL: Mutex<()> = Mutex::new(());
        let serial = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
        Self { engine: support::start(), _serial: serial }
    }
}

impl Drop for SerialEngine {
    fn drop(&mut self) {
        support::close(&self.engine);
    }
}

impl Deref for SerialEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// Runs `work`. Returns the bytes by which memory use rose at its peak, and the result.
fn peak<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (MEMORY.peak_usage().saturating_sub(before), result)
}

/// Waits until memory use is at most `max` bytes. Meanwhile the engine has to answer requests.
#[track_caller]
fn assert_settles(engine: &Engine, max: usize) {
    let end = Instant::now() + TIMEOUT;
    while MEMORY.current_usage() > max {
        assert_eq!(HttpClient::connect(engine.address()).request(GET).status, 200);
        assert!(Instant::now() < end, "{} bytes are in use, more than {max}", MEMORY.current_usage());
    }
}
