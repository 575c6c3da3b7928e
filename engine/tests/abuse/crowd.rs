//! More clients than there is room for.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use maravilla_engine::Limits;
use serde_json::json;

use crate::Watched;
use crate::support::{Client, PATIENCE, admin, call, call_head};

/// Ten thousand, where the system lets one process have so many sockets and as many for the other end and other tests.
fn crowd_size() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024_usize);
    files.saturating_sub(4000).clamp(100, 10_000)
}

/// One client's day: it makes a room, sees it, and lets it go.
#[track_caller]
fn work(client: &mut Client, name: &str) {
    assert_eq!(client.call("CreateRoom", &admin(), &json!({ "name": name })).json()["name"], name);
    let listed = client.call("ListRooms", &admin(), &json!({ "names": [name] })).json();
    assert_eq!(listed["rooms"].as_array().unwrap().len(), 1);
    assert_eq!(client.call("DeleteRoom", &admin(), &json!({ "room": name })).text(), "{}");
}

fn assert_closed(mut socket: &TcpStream) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    match socket.read(&mut [0; 64]) {
        Ok(0) => (),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_thousand_connections_at_once_leave_the_others_served() {
    let size = crowd_size();
    let connections = Limits::default().connections.min(size / 4);
    let engine = Watched::start_with(Limits { connections, ..Limits::default() });
    let mut steady = Client::connect(engine.address());
    let post = call_head("CreateRoom", &admin(), "application/json", "content-length: 1000");
    let beginnings = ["", "G", "GET / HTTP/1.1\r\nhost: t\r\n", &post];
    let mut crowd = Vec::with_capacity(size);
    for number in 0..size {
        let mut socket = TcpStream::connect(engine.address()).unwrap();
        // The server may have closed it already.
        let _ = socket.write_all(beginnings[number % beginnings.len()].as_bytes());
        crowd.push(socket);
        if number % 50 == 0 {
            work(&mut steady, "steady");
            work(&mut Client::connect(engine.address()), "new");
        }
    }
    work(&mut steady, "steady");
    // A quarter of them have shown a token, and hold half of the connections.
    for socket in &crowd[..size - 3 * connections] {
        assert_closed(socket);
    }
    work(&mut steady, "steady");
}

#[test]
fn a_request_under_way_outlives_connections_without_a_token() {
    let engine = Watched::start_with(Limits { connections: 32, ..Limits::default() });
    let body = br#"{"name":"uploaded"}"#;
    let mut uploads: Vec<Client> = (0..8).map(|_| Client::connect(engine.address())).collect();
    let length = format!("expect: 100-continue\r\ncontent-length: {}", body.len());
    for upload in &mut uploads {
        // Its token is known before its body comes.
        assert_eq!(upload.ask(call_head("CreateRoom", &admin(), "application/json", &length)).status, 100);
        upload.say(&body[..1]).unwrap();
    }
    let mut idle = Client::connect(engine.address());
    assert_eq!(idle.ask(call("ListRooms", &admin(), "application/json", b"{}")).status, 200);
    let get = "GET / HTTP/1.1\r\nhost: t\r\n\r\n";
    let strangers = (0..1100).map(|number| {
        let mut stranger = Client::connect(engine.address());
        // The server may have closed it already.
        let _ = stranger.say(if number % 2 == 0 { get } else { "GET / HTTP/1.1\r\n" });
        stranger
    });
    let strangers: Vec<Client> = strangers.collect();
    for upload in &mut uploads {
        assert_eq!(upload.ask(&body[1..]).json()["name"], "uploaded");
    }
    assert_eq!(idle.ask(call("ListRooms", &admin(), "application/json", b"{}")).status, 200);
    assert_closed(strangers[1].socket());
}

#[test]
fn the_connection_that_was_idle_for_longest_is_ended() {
    let engine = Watched::start_with(Limits { connections: 3, ..Limits::default() });
    let get = call("ListRooms", &admin(), "application/json", b"{}");
    let mut clients = Vec::new();
    for at in [0, 1, 2, 0] {
        if at == clients.len() {
            clients.push(Client::connect(engine.address()));
        }
        assert_eq!(clients[at].ask(&get).status, 200);
    }
    let mut fourth = Client::connect(engine.address());
    assert_eq!(fourth.ask(&get).status, 200);
    assert!(clients[1].is_closed());
    for at in [0, 2] {
        assert_eq!(clients[at].ask(&get).status, 200);
    }
    assert_eq!(fourth.ask(&get).status, 200);
}

#[test]
fn clients_that_never_finish_their_requests_do_not_keep_others_out() {
    let engine = Watched::start_with(Limits { connections: 8, ..Limits::default() });
    let half = call_head("CreateRoom", &admin(), "application/json", "content-length: 1000");
    let list = call("ListRooms", &admin(), "application/json", b"{}");
    let mut hogs = Vec::new();
    for number in 0..100 {
        let mut hog = Client::connect(engine.address());
        hog.say(if number % 2 == 0 { half.as_bytes() } else { &list }).unwrap();
        hogs.push(hog);
        if number % 4 == 0 {
            work(&mut Client::connect(engine.address()), "new");
        }
    }
}
