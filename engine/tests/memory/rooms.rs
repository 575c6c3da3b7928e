//! Memory of rooms, of deleted rooms and of closed engines.

use maravilla_engine::Engine;
use maravilla_engine::rooms::Settings;
use serde_json::json;

use crate::support::{self, HttpClient, admin_token};
use crate::{GET, KIB, MEMORY, MIB, SerialEngine, assert_settles, peak};

fn room_name(number: usize) -> String {
    format!("room number {number}")
}

pub fn create_rooms(engine: &Engine, count: usize) {
    for number in 0..count {
        let settings = Settings { metadata: "twenty bytes of text", ..Settings::default() };
        engine.rooms(|rooms, now| rooms.create(&room_name(number), &settings, now).map(drop)).unwrap();
    }
}

/// Deletes every tenth room over HTTP, which revokes no tokens, and the others with revocation.
fn delete_rooms(engine: &Engine, count: usize) {
    let mut client = HttpClient::connect(engine.address());
    for number in 0..count {
        let room = room_name(number);
        if number % 10 == 0 {
            assert_eq!(client.call("DeleteRoom", &admin_token(), &json!({ "room": room })).status, 200);
        } else {
            assert!(engine.rooms(|rooms, now| rooms.delete_and_revoke(&room, now)).is_some());
        }
    }
}

#[test]
fn each_of_100_000_rooms_takes_less_than_600_bytes_and_deletion_frees_them() {
    const ROOMS: usize = 100_000;
    let engine = SerialEngine::start();
    let list = || HttpClient::connect(engine.address()).call("ListRooms", &admin_token(), &json!({}));
    list();
    let empty = MEMORY.current_usage();
    create_rooms(&engine, ROOMS);
    let used = MEMORY.current_usage() - empty;
    println!("10,000 rooms: {} KB", used / (ROOMS / 10_000) / 1000);
    assert!(used < ROOMS * 600, "{used} bytes");

    let (listing, response) = peak(list);
    println!("ListRooms: {} MB for a response of {} MB", listing / 1_000_000, response.body.len() / 1_000_000);
    assert_eq!(response.text().matches("\"sid\"").count(), ROOMS);
    assert!(listing < response.body.len() * 6, "{listing} bytes");
    drop(response);

    delete_rooms(&engine, ROOMS);
    // The revocations of the deleted rooms remain, which take about 10 MB.
    assert_settles(&engine, empty + 16 * MIB);
    let remaining = MEMORY.current_usage();
    println!("after the deletion: {} KB", (remaining - empty) / 1000);
    create_rooms(&engine, 20_000);
    delete_rooms(&engine, 20_000);
    assert_settles(&engine, remaining + MIB);
}

#[test]
fn deleting_rooms_that_do_not_exist_keeps_no_long_names() {
    let engine = SerialEngine::start();
    let mut client = HttpClient::connect(engine.address());
    let empty = MEMORY.current_usage();
    for number in 0..50 {
        let room = format!("{number}{}", "x".repeat(MIB));
        assert_eq!(client.call("DeleteRoom", &admin_token(), &json!({ "room": room })).status, 404);
        assert!(engine.rooms(|rooms, now| rooms.delete_and_revoke(&room, now)).is_none());
    }
    assert_settles(&engine, empty + 2 * MIB);
}

#[test]
fn one_hundred_closed_engines_leak_no_memory() {
    let engine = SerialEngine::start();
    let start_and_close = |engines: usize| {
        for _ in 0..engines {
            let another = support::start();
            create_rooms(&another, 10);
            assert_eq!(HttpClient::connect(another.address()).request(GET).status, 200);
            support::close(&another);
        }
    };
    // The first engines initialise statics.
    start_and_close(5);
    let before = MEMORY.current_usage();
    start_and_close(100);
    assert_settles(&engine, before + 64 * KIB);
}
