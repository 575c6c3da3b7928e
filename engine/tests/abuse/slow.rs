//! Clients that take their time, or more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maravilla_engine::Limits;
use serde_json::json;

use crate::Watched;
use crate::support::{Client, PATIENCE, admin, call, call_head};

/// Longer than a busy machine keeps a quick client waiting.
const SOON: Duration = Duration::from_secs(2);

/// Says one byte after the other, until the server has enough of it.
fn trickle(client: &mut Client) {
    let end = Instant::now() + PATIENCE;
    while client.say("x").is_ok() {
        assert!(Instant::now() < end, "the server is too patient");
        // The trickle itself, not a wait for anything.
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let engine = Watched::start_with(Limits { header_timeout: SOON, ..Limits::default() });
    thread::scope(|scope| {
        for beginning in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: t\r\nx: "] {
            let [mut silent, mut slow] = [(); 2].map(|()| Client::connect(engine.address()));
            scope.spawn(move || {
                silent.say(beginning).unwrap();
                assert!(silent.hear().is_none_or(|answer| answer.status == 408), "{beginning}");
            });
            scope.spawn(move || {
                slow.say(beginning).unwrap();
                trickle(&mut slow);
            });
        }
    });
    let mut idle = Client::connect(engine.address());
    assert_eq!(idle.ask("GET / HTTP/1.1\r\nhost: t\r\n\r\n").status, 200);
    assert!(idle.is_closed());
}

#[test]
fn a_body_that_does_not_come_in_time_is_not_waited_for() {
    let engine = Watched::start_with(Limits { header_timeout: SOON, body_timeout: SOON, ..Limits::default() });
    let length = "content-length: 1000000";
    let head = |more: &str| call_head("ListRooms", &admin(), "application/json", more);
    let connect = || Client::connect(engine.address());
    thread::scope(|scope| {
        for more in [length, "transfer-encoding: chunked", "content-length: 1000000\r\nexpect: 100-continue"] {
            scope.spawn(move || {
                let mut client = connect();
                client.say(head(more)).unwrap();
                let answer = client.hear().filter(|answer| answer.status != 100).or_else(|| client.hear()).unwrap();
                assert_eq!((answer.status, answer.json()["code"].as_str()), (408, Some("deadline_exceeded")), "{more}");
                assert!(client.is_closed());
            });
        }
        let mut slow = connect();
        slow.say(head(length)).unwrap();
        trickle(&mut slow);
    });
}

#[test]
fn an_answer_that_nobody_takes_is_let_go() {
    let limits = Limits { write_timeout: SOON, response_bytes: 1024 * 1024, ..Limits::default() };
    let engine = Watched::start_with(limits);
    let mut client = Client::connect(engine.address());
    for number in 0..60 {
        let room = json!({ "name": number.to_string(), "metadata": "m".repeat(500_000) });
        assert_eq!(client.call("CreateRoom", &admin(), &room).status, 200);
    }
    let list = call("ListRooms", &admin(), "application/json", b"{}");
    let end = Instant::now() + PATIENCE;
    // An answer that is not taken is more than all may hold together.
    let mut deaf = Vec::new();
    loop {
        let mut another = Client::connect(engine.address());
        another.say(&list).unwrap();
        deaf.push(another);
        if client.ask(&list).status == 429 {
            break;
        }
        assert!(Instant::now() < end);
    }
    assert_eq!(client.call("ListRooms", &admin(), &json!({ "names": ["none"] })).status, 200);
    // Until it is given up.
    while client.ask(&list).status != 200 {
        assert!(Instant::now() < end);
    }
}

#[test]
fn slow_clients_do_not_hold_up_quick_ones() {
    let engine = Watched::start();
    let head = call_head("CreateRoom", &admin(), "application/json", "content-length: 1000000");
    let mut slow: Vec<Client> = (0..300).map(|_| Client::connect(engine.address())).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.say(if number % 2 == 0 { &head[..head.len() / 2] } else { &head }).unwrap();
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for client in &mut slow {
                    client.say("x").unwrap();
                }
            }
        });
        let mut client = Client::connect(engine.address());
        let start = Instant::now();
        for _ in 0..200 {
            assert_eq!(client.call("CreateRoom", &admin(), &json!({ "name": "quick" })).status, 200);
            assert_eq!(client.call("DeleteRoom", &admin(), &json!({ "room": "quick" })).status, 200);
        }
        over.store(true, Ordering::Relaxed);
        assert!(start.elapsed() < PATIENCE);
    });
}

#[test]
fn a_client_that_vanishes_takes_nothing_with_it() {
    let engine = Watched::start();
    let list = call("ListRooms", &admin(), "application/json", b"{}");
    for _ in 0..300 {
        let mut client = Client::connect(engine.address());
        client.say(&list).unwrap();
        client.say(&list[..list.len() / 2]).unwrap();
        // Closed with an answer unread, it is a reset.
    }
    engine.check();
}
