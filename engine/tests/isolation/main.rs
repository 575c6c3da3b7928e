//! What a hostile participant can do to others in its room: nothing. It loses only itself.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "../support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[path = "../abuse/generators.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod generators;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

mod attack;
mod data;
mod excess;
mod harm;
mod http;
mod inside;
mod offers;
mod packets;
mod requests;
mod resubscribing;
mod signals;
mod stalled;
mod strangers;
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod wire;
mod witness;

use std::net::SocketAddr;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arbitrary::{Result, Unstructured};
use livekit_protocol::Ping;
use livekit_protocol::signal_request::Message as Ask;
use livekit_protocol::signal_response::Message as Told;
use maravilla_engine::Engine;
use peak_alloc::PeakAlloc;
use str0m::media::MediaKind;
use tokio::sync::{Mutex, MutexGuard};

use caller::{Call, Caller};
use generators::seed;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
const MIB: usize = 1024 * 1024;

/// Panics of engines; those of failing tests are not counted.
static PANICS: AtomicUsize = AtomicUsize::new(0);
static WATCH: Once = Once::new();

const ROOM: &str = "party";

/// Two in a room who see and hear each other, whatever a third does.
struct Party {
    engine: Engine,
    ann: Caller,
    ben: Caller,
    /// What each of them publishes.
    tracks: [Vec<String>; 2],
    checks: AtomicUsize,
    enemies: AtomicUsize,
    /// One party at a time: they count the process's memory and panics.
    _turn: MutexGuard<'static, ()>,
}

impl Party {
    async fn start() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        watch();
        let engine = support::start();
        let address = engine.address();
        let (ann, ben) = tokio::join!(Caller::join(address, ROOM, "ann"), Caller::join(address, ROOM, "ben"));
        tokio::join!(ann.has_channels(), ben.has_channels());
        let publishes = async |caller: &Caller| {
            vec![caller.publish(MediaKind::Audio).await, caller.publish(MediaKind::Video).await]
        };
        let (first, second) = tokio::join!(publishes(&ann), publishes(&ben));
        let party = Self {
            engine,
            ann,
            ben,
            tracks: [first, second],
            checks: AtomicUsize::new(0),
            enemies: AtomicUsize::new(0),
            _turn: turn,
        };
        party.check().await;
        party
    }

    fn address(&self) -> SocketAddr {
        self.engine.address()
    }

    /// Where the engine takes media.
    fn media(&self) -> SocketAddr {
        self.ann.act(|state| state.media).unwrap()
    }

    /// Somebody who means no good; `None` where it is not let in.
    async fn enemy(&self, change: impl FnOnce(&mut Call)) -> Option<Caller> {
        let mut call = Call::new(ROOM, "enemy");
        change(&mut call);
        Caller::call(self.address(), call).await
    }

    /// An enemy that is connected, each time another one: what one has done to itself is not the next one's.
    async fn connected_enemy(&self) -> Caller {
        let number = self.enemies.fetch_add(1, Ordering::Relaxed);
        let enemy = Caller::join(self.address(), ROOM, &format!("enemy {number}")).await;
        enemy.has_channels().await;
        enemy
    }

    /// The two still see, hear and read each other, and a third can join and see them.
    async fn check(&self) {
        let number = self.checks.fetch_add(1, Ordering::Relaxed);
        let [first, second] = &self.tracks;
        let (question, answer) = (format!("question {number}"), format!("answer {number}"));
        self.ann.send(&question, true);
        self.ben.send(&answer, true);
        let newcomer = async {
            let newcomer = Caller::join(self.address(), ROOM, "newcomer").await;
            newcomer.sees(first).await;
            newcomer.leave().await;
        };
        let (ann, ben) = (&self.ann, &self.ben);
        tokio::join!(ann.sees(second), ben.sees(first), ann.receives(&answer), ben.receives(&question), newcomer);
        assert!(!ann.act(|state| state.is_closed) && !ben.act(|state| state.is_closed), "somebody had to go");
        assert_eq!(PANICS.load(Ordering::Relaxed), 0, "an engine has panicked");
        for caller in [ann, ben] {
            caller.act(|state| {
                state.mail.clear();
                state.heard.clear();
            });
        }
    }
}

/// Counts what panics in engines.
fn watch() {
    WATCH.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let by_engine = thread::current().name().is_some_and(|name| name.starts_with("maravilla-"));
            PANICS.fetch_add(usize::from(by_engine), Ordering::Relaxed);
            report(info);
        }));
    });
}

/// Waits until the engine has dealt with all that somebody has said, or has let it go.
async fn is_dealt_with(caller: &Caller, number: usize) {
    let stamp = i64::try_from(number).unwrap() + 1_000_000;
    caller.say(Ask::PingReq(Ping { timestamp: stamp, ..Ping::default() }));
    let is_it = |told: &Told| matches!(told, Told::PongResp(pong) if pong.last_ping_timestamp == stamp);
    caller.until("is answered", |state| (state.is_closed || state.heard.iter().any(is_it)).then_some(())).await;
}

/// What a case of that number is made of; what there is of it may run out, which ends the case.
fn made<T>(number: usize, make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>) -> Option<T> {
    make(&mut Unstructured::new(&seed(u64::try_from(number).unwrap()))).ok()
}
