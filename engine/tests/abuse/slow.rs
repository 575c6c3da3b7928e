//! Slow clients, and clients that stop sending or reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use maravilla_engine::Limits;
use serde_json::json;

use crate::GuardedEngine;
use crate::support::{HttpClient, TIMEOUT, admin_token, twirp_head, twirp_request};

/// A short timeout that fast clients still meet on a busy machine.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends one byte every 5 ms until the engine closes the connection.
fn trickle(client: &mut HttpClient) {
    let end = Instant::now() + TIMEOUT;
    while client.send("x").is_ok() {
        assert!(Instant::now() < end, "the engine has not closed a slow connection");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn closes_a_connection_without_a_complete_head_in_time() {
    let engine = GuardedEngine::start_with(Limits { header_timeout: SHORT_TIMEOUT, ..Limits::default() });
    thread::scope(|scope| {
        for start in ["", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: t\r\nx: "] {
            let [mut silent, mut slow] = [(); 2].map(|()| HttpClient::connect(engine.address()));
            scope.spawn(move || {
                silent.send(start).unwrap();
                assert!(silent.receive().is_none_or(|response| response.status == 408), "{start}");
            });
            scope.spawn(move || {
                slow.send(start).unwrap();
                trickle(&mut slow);
            });
        }
    });
    let mut idle = HttpClient::connect(engine.address());
    assert_eq!(idle.request("GET / HTTP/1.1\r\nhost: t\r\n\r\n").status, 200);
    assert!(idle.is_closed());
}

#[test]
fn answers_408_to_a_body_that_is_incomplete_after_the_timeout() {
    let engine = GuardedEngine::start_with(Limits {
        header_timeout: SHORT_TIMEOUT,
        body_timeout: SHORT_TIMEOUT,
        ..Limits::default()
    });
    let length = "content-length: 1000000";
    let head = |more: &str| twirp_head("ListRooms", &admin_token(), "application/json", more);
    let connect = || HttpClient::connect(engine.address());
    thread::scope(|scope| {
        for header in [length, "transfer-encoding: chunked", "content-length: 1000000\r\nexpect: 100-continue"] {
            scope.spawn(move || {
                let mut client = connect();
                client.send(head(header)).unwrap();
                let response =
                    client.receive().filter(|response| response.status != 100).or_else(|| client.receive()).unwrap();
                assert_eq!(
                    (response.status, response.json()["code"].as_str()),
                    (408, Some("deadline_exceeded")),
                    "{header}"
                );
                assert!(client.is_closed());
            });
        }
        let mut slow = connect();
        slow.send(head(length)).unwrap();
        trickle(&mut slow);
    });
}

#[test]
fn drops_an_unread_response_after_the_write_timeout() {
    let limits = Limits { write_timeout: SHORT_TIMEOUT, response_bytes: 1024 * 1024, ..Limits::default() };
    let engine = GuardedEngine::start_with(limits);
    let mut client = HttpClient::connect(engine.address());
    for number in 0..60 {
        let room = json!({ "name": number.to_string(), "metadata": "m".repeat(500_000) });
        assert_eq!(client.call("CreateRoom", &admin_token(), &room).status, 200);
    }
    let list = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    let end = Instant::now() + TIMEOUT;
    // One unread response, 30 MB, exceeds the shared budget.
    let mut not_reading = Vec::new();
    loop {
        let mut another = HttpClient::connect(engine.address());
        another.send(&list).unwrap();
        not_reading.push(another);
        if client.request(&list).status == 429 {
            break;
        }
        assert!(Instant::now() < end, "timeout");
    }
    assert_eq!(client.call("ListRooms", &admin_token(), &json!({ "names": ["none"] })).status, 200);
    // The budget is free again after the write timeout.
    let end = Instant::now() + TIMEOUT;
    while client.request(&list).status != 200 {
        assert!(Instant::now() < end, "timeout");
    }
}

#[test]
fn serves_fast_clients_beside_300_slow_ones() {
    let engine = GuardedEngine::start();
    let head = twirp_head("CreateRoom", &admin_token(), "application/json", "content-length: 1000000");
    let mut slow: Vec<HttpClient> = (0..300).map(|_| HttpClient::connect(engine.address())).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.send(if number % 2 == 0 { &head[..head.len() / 2] } else { &head }).unwrap();
    }
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                for client in &mut slow {
                    client.send("x").unwrap();
                }
            }
        });
        let mut client = HttpClient::connect(engine.address());
        let started = Instant::now();
        for _ in 0..200 {
            assert_eq!(client.call("CreateRoom", &admin_token(), &json!({ "name": "fast" })).status, 200);
            assert_eq!(client.call("DeleteRoom", &admin_token(), &json!({ "room": "fast" })).status, 200);
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(started.elapsed() < TIMEOUT, "400 calls took {:?}", started.elapsed());
    });
}

#[test]
fn survives_connections_reset_in_the_middle_of_a_response() {
    let engine = GuardedEngine::start();
    let list = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    for _ in 0..300 {
        let mut client = HttpClient::connect(engine.address());
        client.send(&list).unwrap();
        client.send(&list[..list.len() / 2]).unwrap();
        // Closing a socket with unread data resets the connection.
    }
    engine.check();
}
