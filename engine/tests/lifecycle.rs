//! Start, failure and close of an engine. The tests run one by one, because they count the threads and files of the whole
//! process.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
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
use support::{HttpClient, KEY, SECRET, TIMEOUT, admin_token, close, start, twirp_head, twirp_request};

fn lock_serial() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::new(());
    SERIAL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_at(host: impl Into<IpAddr>, port: Port) -> Result<Engine, StartError> {
    Engine::start(&Config {
        host: host.into(),
        port,
        keys: &[(KEY, SECRET)],
        limits: Limits::default(),
        rtc: RtcConfig::default(),
        webhooks: None,
    })
}

fn is_served(address: SocketAddr) -> bool {
    HttpClient::connect(address).call("CreateRoom", &admin_token(), &json!({ "name": "new" })).status == 200
}

/// Polls until `is_done`, for conditions that no event reports.
#[track_caller]
fn poll_until(is_done: impl Fn() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !is_done() {
        assert!(Instant::now() < end, "timeout");
        thread::yield_now();
    }
}

/// Number of engine threads, and of open files including sockets.
#[cfg(target_os = "linux")]
fn open_resources() -> (usize, usize) {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // Linux truncates a thread name to 15 bytes. A thread may exit between the two reads.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let threads = names.filter(|name| name.starts_with("maravilla-engi")).count();
    (threads, fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
#[cfg(target_os = "linux")]
fn a_hundred_engines_leak_no_thread_and_no_file() {
    let _serial = lock_serial();
    // Engines that earlier tests dropped end in the background.
    poll_until(|| open_resources().0 == 0);
    let before = open_resources();
    let start_and_use = || {
        let engine = start();
        let mut client = HttpClient::connect(engine.address());
        assert_eq!(client.call("CreateRoom", &admin_token(), &json!({ "name": "r" })).status, 200);
        let _idle = TcpStream::connect(engine.address()).unwrap();
        engine
    };
    for _ in 0..100 {
        close(&start_and_use());
        // Linux lists a thread for a moment after it has been joined.
        poll_until(|| open_resources() == before);
    }
    // A dropped engine ends in the background.
    (0..100).map(|_| start_and_use()).for_each(drop);
    poll_until(|| open_resources() == before);
    let many: Vec<Engine> = (0..100).map(|_| start()).collect();
    // A thread gets its name only once it runs.
    poll_until(|| open_resources().0 == 100);
    for engine in &many {
        assert!(is_served(engine.address()));
    }
    drop(many);
    poll_until(|| open_resources() == before);
}

#[test]
fn close_frees_the_port_and_closes_all_connections() {
    let _serial = lock_serial();
    let mut engine = start();
    let address = engine.address();
    for _ in 0..5 {
        let mut clients: Vec<HttpClient> = (0..40).map(|_| HttpClient::connect(address)).collect();
        let incomplete = twirp_head("CreateRoom", &admin_token(), "application/json", "content-length: 1000");
        let complete = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
        for (number, client) in clients.iter_mut().enumerate() {
            let request: &[u8] = [b"".as_slice(), b"GET / HT", incomplete.as_bytes(), &complete][number % 4];
            client.send(request).unwrap();
        }
        close(&engine);
        drop(TcpListener::bind(address).unwrap());
        assert!(clients.iter_mut().step_by(4).all(HttpClient::is_closed));
        engine = start_at(address.ip(), Port::Exactly(address.port())).unwrap();
        assert_eq!(engine.address(), address);
        assert!(is_served(address));
    }
}

#[test]
fn close_waits_for_a_request_in_progress() {
    let _serial = lock_serial();
    let engine = start();
    let [mut client, mut idle] = [(); 2].map(|()| HttpClient::connect(engine.address()));
    idle.call("ListRooms", &admin_token(), &json!({}));
    let body = r#"{"name":"late"}"#;
    let headers = format!("expect: 100-continue\r\ncontent-length: {}", body.len());
    assert_eq!(client.request(twirp_head("CreateRoom", &admin_token(), "application/json", &headers)).status, 100);
    thread::scope(|scope| {
        scope.spawn(|| close(&engine));
        // The engine closes idle connections first, which shows that `close` has started. Probing with new connections could
        // evict this one.
        assert!(idle.is_closed());
        client.send(body).unwrap();
        let response = client.receive().unwrap();
        assert_eq!((response.status, response.json()["name"].as_str()), (200, Some("late")));
        assert_eq!(response.header("connection"), Some("close"));
        assert!(client.is_closed());
    });
}

#[test]
fn close_does_not_wait_for_clients_that_read_nothing() {
    let _serial = lock_serial();
    let engine = start();
    let metadata = "m".repeat(500_000);
    for number in 0..40 {
        let settings = Settings { metadata: &metadata, ..Settings::default() };
        engine.rooms(|rooms, now| rooms.create(&number.to_string(), &settings, now).map(drop)).unwrap();
    }
    let mut clients: Vec<HttpClient> = (0..100).map(|_| HttpClient::connect(engine.address())).collect();
    for client in &mut clients {
        // A response that is never read, then half a request.
        let list = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
        client.send(&list).unwrap();
        client.send(&list[..100]).unwrap();
    }
    let started = Instant::now();
    close(&engine);
    assert!(started.elapsed() < TIMEOUT / 2, "close took {:?}", started.elapsed());
    assert!(TcpStream::connect(engine.address()).is_err());
}

#[test]
fn close_can_be_cancelled_repeated_and_called_concurrently() {
    let _serial = lock_serial();
    let engine = start();
    engine.rooms(|rooms, now| rooms.create("r", &Settings::default(), now).map(drop)).unwrap();
    // Cancels the first close after one poll.
    {
        let mut cancelled = pin!(engine.close());
        let _ = cancelled.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| close(&engine));
        }
    });
    drop(TcpListener::bind(engine.address()).unwrap());
    close(&engine);
    assert_eq!(engine.rooms(|rooms, now| rooms.snapshot().sorted(now).len()), 0);
}

#[test]
fn an_engine_starts_and_closes_inside_a_tokio_runtime() {
    let _serial = lock_serial();
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
    let _serial = lock_serial();
    let engine = start();
    let address = engine.address();
    let _client = HttpClient::connect(address);
    drop(engine);
    poll_until(|| TcpListener::bind(address).is_ok());
}

#[test]
fn start_rejects_a_used_port_and_an_unknown_address() {
    let _serial = lock_serial();
    let localhost = Ipv4Addr::LOCALHOST;
    let first = start();
    let port = first.address().port();
    let used = start_at(localhost, Port::Exactly(port));
    assert!(matches!(used, Err(StartError::Listen(error)) if error.kind() == std::io::ErrorKind::AddrInUse));
    let next = start_at(localhost, Port::From(port)).unwrap();
    assert_ne!(next.address().port(), port);
    assert!(is_served(first.address()) && is_served(next.address()));
    // If no port up to 65535 is free, the system selects one.
    let _last = TcpListener::bind((localhost, u16::MAX));
    let past_last = start_at(localhost, Port::From(u16::MAX)).unwrap();
    assert!(is_served(past_last.address()));
    // No machine has this address (RFC 5737).
    assert!(matches!(start_at(Ipv4Addr::new(192, 0, 2, 1), Port::Any), Err(StartError::Listen(_))));
    if let Ok(engine) = start_at(Ipv6Addr::LOCALHOST, Port::Any) {
        assert!(is_served(engine.address()));
    }
}

#[test]
fn a_panic_while_a_room_changes_does_not_affect_other_rooms() {
    let _serial = lock_serial();
    let engine = start();
    let mut client = HttpClient::connect(engine.address());
    let others = json!({ "names": ["first", "second"] });
    for name in ["first", "second", "panicking"] {
        assert_eq!(client.call("CreateRoom", &admin_token(), &json!({ "name": name, "metadata": "m" })).status, 200);
    }
    let before = client.call("ListRooms", &admin_token(), &others).json();
    for _ in 0..100 {
        let result = catch_unwind(AssertUnwindSafe(|| {
            engine.rooms(|rooms, now| {
                rooms.update_metadata("panicking", "half done".into(), now).unwrap();
                // Unwinds without the panic hook, which would print each panic.
                std::panic::resume_unwind(Box::new("expected"))
            })
        }));
        assert!(result.is_err());
    }
    assert_eq!(client.call("ListRooms", &admin_token(), &others).json(), before);
    assert_eq!(engine.rooms(|rooms, now| rooms.snapshot().sorted(now).len()), 3);
    assert_eq!(client.call("DeleteRoom", &admin_token(), &json!({ "room": "panicking" })).status, 200);
    assert!(is_served(engine.address()));
    // The engine still removes expired rooms.
    let short = Settings { empty_timeout: 1, ..Settings::default() };
    engine.rooms(|rooms, now| rooms.create("short", &short, now).map(drop)).unwrap();
    poll_until(|| engine.rooms(|rooms, now| rooms.get("short", now).is_none()));
    close(&engine);
}

#[test]
fn concurrent_changes_in_process_and_over_http_are_consistent() {
    let _serial = lock_serial();
    let engine = start();
    let end = Instant::now() + Duration::from_millis(300);
    thread::scope(|scope| {
        for number in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                let name = format!("own {number}");
                let mut client = HttpClient::connect(engine.address());
                while Instant::now() < end {
                    engine.rooms(|rooms, now| rooms.create(&name, &Settings::default(), now).map(drop)).unwrap();
                    let shared = client.call("CreateRoom", &admin_token(), &json!({ "name": "shared" }));
                    assert_eq!(shared.status, 200);
                    let listed = client.call("ListRooms", &admin_token(), &json!({ "names": [name] })).json();
                    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1);
                    let deleted = client.call("DeleteRoom", &admin_token(), &json!({ "room": "shared" })).status;
                    assert!(matches!(deleted, 200 | 404));
                    assert!(engine.rooms(|rooms, now| rooms.delete(&name, now)).is_some());
                }
            });
        }
    });
    assert_eq!(engine.rooms(|rooms, now| rooms.snapshot().sorted(now).len()), 0);
}

#[test]
fn start_rejects_an_empty_key_or_secret() {
    for keys in [&[("", "secret")], &[("key", "")]] {
        let config = Config {
            host: Ipv4Addr::LOCALHOST.into(),
            port: Port::Any,
            keys,
            limits: Limits::default(),
            rtc: RtcConfig::default(),
            webhooks: None,
        };
        assert!(matches!(Engine::start(&config), Err(StartError::EmptyKey)));
    }
}
