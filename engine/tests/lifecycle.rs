//! How engines start, fail and end. One test after the other: threads and sockets of the whole process are counted.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

use std::fs;
use std::future::Future as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use maravilla_engine::rooms::Settings;
use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig, StartError};
use serde_json::json;
use support::{Client, KEY, PATIENCE, SECRET, admin, call, call_head, close, start};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_at(host: impl Into<IpAddr>, port: Port) -> Result<Engine, StartError> {
    Engine::start(&Config {
        host: host.into(),
        port,
        keys: &[(KEY, SECRET)],
        limits: Limits::default(),
        rtc: RtcConfig::default(),
    })
}

fn is_served(address: SocketAddr) -> bool {
    Client::connect(address).call("CreateRoom", &admin(), &json!({ "name": "new" })).status == 200
}

/// What cannot be awaited: another thread does it, and tells nobody.
#[track_caller]
fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end);
        thread::yield_now();
    }
}

/// Engines' threads and the process's sockets and other files.
#[cfg(target_os = "linux")]
fn held() -> (usize, usize) {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // The system keeps 15 bytes of a thread's name. A thread may end while it is looked at.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let threads = names.filter(|name| name.starts_with("maravilla-engi")).count();
    (threads, fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_engines_leave_no_thread_and_no_socket() {
    let _turn = turn();
    // Tests before this one drop theirs.
    until(|| held().0 == 0);
    let before = held();
    let used = || {
        let engine = start();
        let mut client = Client::connect(engine.address());
        assert_eq!(client.call("CreateRoom", &admin(), &json!({ "name": "r" })).status, 200);
        let _idle = TcpStream::connect(engine.address()).unwrap();
        engine
    };
    for _ in 0..100 {
        close(&used());
        // The system shows a thread for a moment after it has been joined.
        until(|| held() == before);
    }
    // Those that are only dropped end by themselves.
    (0..100).map(|_| used()).for_each(drop);
    until(|| held() == before);
    let many: Vec<Engine> = (0..100).map(|_| start()).collect();
    // A thread names itself once it runs.
    until(|| held().0 == 100);
    for engine in &many {
        assert!(is_served(engine.address()));
    }
    drop(many);
    until(|| held() == before);
}

#[test]
fn a_port_is_free_as_soon_as_its_engine_is_closed() {
    let _turn = turn();
    let mut engine = start();
    let address = engine.address();
    for _ in 0..5 {
        let mut clients: Vec<Client> = (0..40).map(|_| Client::connect(address)).collect();
        let half = call_head("CreateRoom", &admin(), "application/json", "content-length: 1000");
        let whole = call("ListRooms", &admin(), "application/json", b"{}");
        for (number, client) in clients.iter_mut().enumerate() {
            let said: &[u8] = [b"".as_slice(), b"GET / HT", half.as_bytes(), &whole][number % 4];
            client.say(said).unwrap();
        }
        close(&engine);
        drop(TcpListener::bind(address).unwrap());
        assert!(clients.iter_mut().step_by(4).all(Client::is_closed));
        engine = start_at(address.ip(), Port::Exactly(address.port())).unwrap();
        assert_eq!(engine.address(), address);
        assert!(is_served(address));
    }
}

#[test]
fn a_request_that_is_under_way_is_answered_before_the_end() {
    let _turn = turn();
    let engine = start();
    let [mut client, mut idle] = [(); 2].map(|()| Client::connect(engine.address()));
    idle.call("ListRooms", &admin(), &json!({}));
    let body = r#"{"name":"late"}"#;
    let more = format!("expect: 100-continue\r\ncontent-length: {}", body.len());
    assert_eq!(client.ask(call_head("CreateRoom", &admin(), "application/json", &more)).status, 100);
    thread::scope(|scope| {
        scope.spawn(|| close(&engine));
        // The end has begun. To try until nobody is let in would be many connections, of which the idlest is ended: this one.
        assert!(idle.is_closed());
        client.say(body).unwrap();
        let answer = client.hear().unwrap();
        assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("late")));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed());
    });
}

#[test]
fn nobody_keeps_an_engine_from_closing() {
    let _turn = turn();
    let engine = start();
    let metadata = "m".repeat(500_000);
    for number in 0..40 {
        let settings = Settings { metadata: &metadata, ..Settings::default() };
        engine.rooms(|rooms, now| rooms.create(&number.to_string(), &settings, now).map(drop)).unwrap();
    }
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(engine.address())).collect();
    for client in &mut clients {
        // An answer that is never read, and half a request after it.
        let list = call("ListRooms", &admin(), "application/json", b"{}");
        client.say(&list).unwrap();
        client.say(&list[..100]).unwrap();
    }
    let start = Instant::now();
    close(&engine);
    assert!(start.elapsed() < PATIENCE / 2);
    assert!(TcpStream::connect(engine.address()).is_err());
}

#[test]
fn closing_again_and_at_once_is_closing() {
    let _turn = turn();
    let engine = start();
    engine.rooms(|rooms, now| rooms.create("r", &Settings::default(), now).map(drop)).unwrap();
    // One who asks and does not wait.
    {
        let mut impatient = pin!(engine.close());
        let _ = impatient.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| close(&engine));
        }
    });
    drop(TcpListener::bind(engine.address()).unwrap());
    close(&engine);
    assert_eq!(engine.rooms(|rooms, now| rooms.iter(now).count()), 0);
}

#[test]
fn an_engine_can_start_and_end_within_a_runtime() {
    let _turn = turn();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = start();
        assert!(is_served(engine.address()));
        engine.close().await;
        drop(start());
    });
}

#[test]
fn a_dropped_engine_frees_its_port() {
    let _turn = turn();
    let engine = start();
    let address = engine.address();
    let _client = Client::connect(address);
    drop(engine);
    until(|| TcpListener::bind(address).is_ok());
}

#[test]
fn a_port_that_is_taken_is_not_shared() {
    let _turn = turn();
    let localhost = Ipv4Addr::LOCALHOST;
    let first = start();
    let port = first.address().port();
    let taken = start_at(localhost, Port::Exactly(port));
    assert!(matches!(taken, Err(StartError::Listen(error)) if error.kind() == std::io::ErrorKind::AddrInUse));
    let next = start_at(localhost, Port::From(port)).unwrap();
    assert_ne!(next.address().port(), port);
    assert!(is_served(first.address()) && is_served(next.address()));
    // There is none after the last, and none below 1024 for everybody.
    let last = TcpListener::bind((localhost, u16::MAX));
    let wrapped = start_at(localhost, Port::From(u16::MAX)).unwrap();
    assert!(last.is_err() || wrapped.address().port() != u16::MAX);
    assert!(is_served(wrapped.address()));
    // Nobody has this address (RFC 5737).
    assert!(matches!(start_at(Ipv4Addr::new(192, 0, 2, 1), Port::Any), Err(StartError::Listen(_))));
    if let Ok(engine) = start_at(Ipv6Addr::LOCALHOST, Port::Any) {
        assert!(is_served(engine.address()));
    }
}

#[test]
fn a_fault_in_one_rooms_step_leaves_the_others_as_they_were() {
    let _turn = turn();
    let engine = start();
    let mut client = Client::connect(engine.address());
    let others = json!({ "names": ["first", "second"] });
    for name in ["first", "second", "faulty"] {
        assert_eq!(client.call("CreateRoom", &admin(), &json!({ "name": name, "metadata": "m" })).status, 200);
    }
    let before = client.call("ListRooms", &admin(), &others).json();
    for _ in 0..100 {
        let fault = catch_unwind(AssertUnwindSafe(|| {
            engine.rooms(|rooms, now| {
                rooms.update_metadata("faulty", "half done".into(), now).unwrap();
                // Not a panic: that would be reported a hundred times.
                std::panic::resume_unwind(Box::new("a fault"))
            })
        }));
        assert!(fault.is_err());
    }
    assert_eq!(client.call("ListRooms", &admin(), &others).json(), before);
    assert_eq!(engine.rooms(|rooms, now| rooms.iter(now).count()), 3);
    assert_eq!(client.call("DeleteRoom", &admin(), &json!({ "room": "faulty" })).status, 200);
    assert!(is_served(engine.address()));
    // The server's own steps, too: it looks for rooms whose time is over.
    let short = Settings { empty_timeout: 1, ..Settings::default() };
    engine.rooms(|rooms, now| rooms.create("short", &short, now).map(drop)).unwrap();
    until(|| engine.rooms(|rooms, now| rooms.get("short", now).is_none()));
    close(&engine);
}

#[test]
fn rooms_that_are_used_from_all_sides_at_once_stay_whole() {
    let _turn = turn();
    let engine = start();
    let end = Instant::now() + Duration::from_millis(300);
    thread::scope(|scope| {
        for number in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let name = format!("own {number}");
                let mut client = Client::connect(engine.address());
                while Instant::now() < end {
                    engine.rooms(|rooms, now| rooms.create(&name, &Settings::default(), now).map(drop)).unwrap();
                    let shared = client.call("CreateRoom", &admin(), &json!({ "name": "shared" }));
                    assert_eq!(shared.status, 200);
                    let listed = client.call("ListRooms", &admin(), &json!({ "names": [name] })).json();
                    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1);
                    let deleted = client.call("DeleteRoom", &admin(), &json!({ "room": "shared" })).status;
                    assert!(matches!(deleted, 200 | 404));
                    assert!(engine.rooms(|rooms, now| rooms.delete(&name, now)).is_some());
                }
            });
        }
    });
    assert_eq!(engine.rooms(|rooms, now| rooms.iter(now).count()), 0);
}

#[test]
fn an_engine_that_everyone_could_sign_for_does_not_start() {
    for keys in [&[("", "secret")], &[("key", "")]] {
        let config = Config {
            host: Ipv4Addr::LOCALHOST.into(),
            port: Port::Any,
            keys,
            limits: Limits::default(),
            rtc: RtcConfig::default(),
        };
        assert!(matches!(Engine::start(&config), Err(StartError::EmptyKey)));
    }
}
