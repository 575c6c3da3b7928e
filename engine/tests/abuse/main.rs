//! Malformed, slow, greedy and random requests. The engine never panics, and existing rooms don't change.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "../support/signal_socket.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod signal_socket;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

mod bodies;
mod crowd;
mod fuzzing;
#[path = "../support/generators.rs"]
mod generators;
mod http;
mod origins;
#[path = "../support/panics.rs"]
mod panics;
mod slow;
mod websockets;

use std::ops::Deref;
use std::thread;

use maravilla_engine::{Engine, Limits};
use serde_json::{Value, json};

use support::{HttpClient, admin_token};

/// An engine with some rooms. On drop, asserts that no engine has panicked and that the rooms are unchanged.
struct GuardedEngine {
    engine: Engine,
    rooms: Value,
}

impl GuardedEngine {
    fn start() -> Self {
        Self::start_with(Limits::default())
    }

    fn start_with(limits: Limits) -> Self {
        Self::start_with_keys(limits, support::KEYS)
    }

    fn start_with_keys(limits: Limits, keys: &[(&str, &str)]) -> Self {
        panics::start_counting();
        let engine = support::start_with_keys(limits, keys);
        let mut client = HttpClient::connect(engine.address());
        for name in KEPT_ROOMS {
            let room = json!({ "name": name, "emptyTimeout": 1000, "maxParticipants": 7, "metadata": "kept" });
            assert_eq!(client.call("CreateRoom", &admin_token(), &room).status, 200);
        }
        let rooms = list_kept_rooms(&engine);
        assert_eq!(rooms["rooms"].as_array().unwrap().len(), KEPT_ROOMS.len());
        Self { engine, rooms }
    }

    /// Asserts that the engine answers on a new connection, has its rooms, and has not panicked.
    fn check(&self) {
        assert_eq!(list_kept_rooms(&self.engine), self.rooms);
        panics::assert_none();
    }
}

impl Drop for GuardedEngine {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.check();
        }
    }
}

impl Deref for GuardedEngine {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// Names that no test or generator uses.
const KEPT_ROOMS: [&str; 3] = ["kept: first", "kept: second", "kept: \u{1f980}"];

fn list_kept_rooms(engine: &Engine) -> Value {
    HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &json!({ "names": KEPT_ROOMS })).json()
}
