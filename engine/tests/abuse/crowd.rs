//! More connections than the limit allows.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use maravilla_engine::Limits;
use serde_json::json;

use crate::GuardedEngine;
use crate::support::{HttpClient, TIMEOUT, admin_token, twirp_head, twirp_request};

/// 10,000 connections, or fewer if the limit of open files is too low. Each connection takes two; other tests take some.
fn crowd_size() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024_usize);
    files.saturating_sub(4000).clamp(100, 10_000)
}

/// Creates, lists and deletes a room.
#[track_caller]
fn assert_served(client: &mut HttpClient, name: &str) {
    assert_eq!(client.call("CreateRoom", &admin_token(), &json!({ "name": name })).json()["name"], name);
    let listed = client.call("ListRooms", &admin_token(), &json!({ "names": [name] })).json();
    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1);
    assert_eq!(client.call("DeleteRoom", &admin_token(), &json!({ "room": name })).text(), "{}");
}

fn assert_closed(mut socket: &TcpStream) {
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut received = Vec::new();
    match socket.read_to_end(&mut received) {
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (),
        Err(error) => panic!("{error}"),
    }
    // On a slow machine, the header timeout expires first.
    assert!(received.is_empty() || received.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&received));
}

#[test]
fn serves_authenticated_clients_during_10_000_unauthenticated_connections() {
    let size = crowd_size();
    let connections = Limits::default().connections.min(size / 4);
    let engine = GuardedEngine::start_with(Limits { connections, ..Limits::default() });
    let mut established = HttpClient::connect(engine.address());
    let post = twirp_head("CreateRoom", &admin_token(), "application/json", "content-length: 1000");
    let prefixes = ["", "G", "GET / HTTP/1.1\r\nhost: t\r\n", &post];
    let mut crowd = Vec::with_capacity(size);
    for number in 0..size {
        let mut socket = TcpStream::connect(engine.address()).unwrap();
        // Fails if the engine has already closed the connection.
        let _ = socket.write_all(prefixes[number % prefixes.len()].as_bytes());
        crowd.push(socket);
        if number % 50 == 0 {
            assert_served(&mut established, "established");
            assert_served(&mut HttpClient::connect(engine.address()), "new");
        }
    }
    assert_served(&mut established, "established");
    // A quarter of the connections have sent a token and may hold half of the limit, so only older ones must be closed.
    for socket in &crowd[..size - 3 * connections] {
        assert_closed(socket);
    }
    assert_served(&mut established, "established");
}

#[test]
fn keeps_a_request_in_progress_during_1_100_unauthenticated_connections() {
    let engine = GuardedEngine::start_with(Limits { connections: 32, ..Limits::default() });
    let body = br#"{"name":"uploaded"}"#;
    let mut uploads: Vec<HttpClient> = (0..8).map(|_| HttpClient::connect(engine.address())).collect();
    let length = format!("expect: 100-continue\r\ncontent-length: {}", body.len());
    for upload in &mut uploads {
        // The engine has verified the token before it asks for the body.
        assert_eq!(upload.request(twirp_head("CreateRoom", &admin_token(), "application/json", &length)).status, 100);
        upload.send(&body[..1]).unwrap();
    }
    let mut idle = HttpClient::connect(engine.address());
    assert_eq!(idle.request(twirp_request("ListRooms", &admin_token(), "application/json", b"{}")).status, 200);
    let get = "GET / HTTP/1.1\r\nhost: t\r\n\r\n";
    let unauthenticated = (0..1100).map(|number| {
        let mut client = HttpClient::connect(engine.address());
        // Fails if the engine has already closed the connection.
        let _ = client.send(if number % 2 == 0 { get } else { "GET / HTTP/1.1\r\n" });
        client
    });
    let unauthenticated: Vec<HttpClient> = unauthenticated.collect();
    for upload in &mut uploads {
        assert_eq!(upload.request(&body[1..]).json()["name"], "uploaded");
    }
    assert_eq!(idle.request(twirp_request("ListRooms", &admin_token(), "application/json", b"{}")).status, 200);
    assert_closed(unauthenticated[1].socket());
}

#[test]
fn closes_the_longest_idle_connection_at_the_limit() {
    let engine = GuardedEngine::start_with(Limits { connections: 3, ..Limits::default() });
    let get = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    let mut clients = Vec::new();
    for index in [0, 1, 2, 0] {
        if index == clients.len() {
            clients.push(HttpClient::connect(engine.address()));
        }
        assert_eq!(clients[index].request(&get).status, 200);
    }
    let mut fourth = HttpClient::connect(engine.address());
    assert_eq!(fourth.request(&get).status, 200);
    assert!(clients[1].is_closed());
    for index in [0, 2] {
        assert_eq!(clients[index].request(&get).status, 200);
    }
    assert_eq!(fourth.request(&get).status, 200);
}

#[test]
fn accepts_new_connections_while_the_limit_is_used_by_incomplete_requests() {
    let engine = GuardedEngine::start_with(Limits { connections: 8, ..Limits::default() });
    let incomplete = twirp_head("CreateRoom", &admin_token(), "application/json", "content-length: 1000");
    let list = twirp_request("ListRooms", &admin_token(), "application/json", b"{}");
    let mut held = Vec::new();
    for number in 0..100 {
        let mut client = HttpClient::connect(engine.address());
        client.send(if number % 2 == 0 { incomplete.as_bytes() } else { &list }).unwrap();
        held.push(client);
        if number % 4 == 0 {
            assert_served(&mut HttpClient::connect(engine.address()), "new");
        }
    }
}
