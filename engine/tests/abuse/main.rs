//! What broken, slow, greedy and random clients can do: nothing. No answer panics, and the rooms of others are undisturbed.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;
#[path = "../isolation/wire.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod wire;

mod bodies;
mod crowd;
mod generated;
mod generators;
mod http;
mod origins;
mod slow;
mod websockets;

use std::ops::Deref;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use maravilla_engine::{Engine, Limits};
use serde_json::{Value, json};

use support::{Client, admin};

/// Panics of engines; those of failing tests are not counted.
static PANICS: AtomicUsize = AtomicUsize::new(0);
static WATCH: Once = Once::new();

/// An engine with some rooms. When it goes, nothing may have panicked and the rooms must be as they were.
struct Watched {
    engine: Engine,
    rooms: Value,
}

impl Watched {
    fn start() -> Self {
        Self::start_with(Limits::default())
    }

    fn start_with(limits: Limits) -> Self {
        Self::start_with_keys(limits, support::KEYS)
    }

    fn start_with_keys(limits: Limits, keys: &[(&str, &str)]) -> Self {
        WATCH.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let by_engine = thread::current().name().is_some_and(|name| name.starts_with("maravilla-"));
                PANICS.fetch_add(usize::from(by_engine), Ordering::Relaxed);
                report(info);
            }));
        });
        let engine = support::start_with_keys(limits, keys);
        let mut client = Client::connect(engine.address());
        for name in KEPT {
            let room = json!({ "name": name, "emptyTimeout": 1000, "maxParticipants": 7, "metadata": "kept" });
            assert_eq!(client.call("CreateRoom", &admin(), &room).status, 200);
        }
        let rooms = kept(&engine);
        assert_eq!(rooms["rooms"].as_array().unwrap().len(), KEPT.len());
        Self { engine, rooms }
    }

    /// Answers a newcomer, and has its rooms.
    fn check(&self) {
        assert_eq!(kept(&self.engine), self.rooms);
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "an engine has panicked");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.check();
        }
    }
}

impl Deref for Watched {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

/// Names that no other test uses, and no generator makes.
const KEPT: [&str; 3] = ["kept: first", "kept: second", "kept: \u{1f980}"];

fn kept(engine: &Engine) -> Value {
    Client::connect(engine.address()).call("ListRooms", &admin(), &json!({ "names": KEPT })).json()
}
