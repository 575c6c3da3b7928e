//! Rooms with a thousand participants.

use std::collections::HashSet;
use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use livekit_protocol::signal_response::Message as Response;
use serde_json::json;
use tokio::time::timeout;

use crate::Fixture;
use crate::attackers::{ROOM, ordinary_token, plain_join};
use crate::signal_socket::SignalSocket;
use crate::support::{HttpClient, TIMEOUT, admin_token};

const PARTICIPANTS: usize = 1000;
/// Maximum round trip of the probe; above it, the test fails.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Time between two reads of all connections.
const READ_INTERVAL: Duration = Duration::from_millis(5);

/// Joins one room with many participants, and waits until all are announced. The returned thread reads until the engine has closed
/// all connections.
fn join_all(engine: SocketAddr) -> JoinHandle<()> {
    let join = |number: usize| {
        SignalSocket::open(engine, &plain_join(&ordinary_token(&format!("participant {number}")))).unwrap()
    };
    let (opened, to_read) = mpsc::channel();
    let reader = thread::spawn(move || read_until_closed(&to_read));
    let mut first = join(0);
    for number in 1..PARTICIPANTS {
        opened.send(join(number).clone_stream()).unwrap();
    }
    // All except itself.
    let mut announced = HashSet::new();
    while announced.len() < PARTICIPANTS - 1 {
        if let Response::Update(update) = first.receive().unwrap() {
            announced.extend(update.participants.into_iter().map(|participant| participant.identity));
        }
    }
    opened.send(first.clone_stream()).unwrap();
    reader
}

/// Reads and discards what the engine sends, until it has closed all connections.
fn read_until_closed(opened: &mpsc::Receiver<TcpStream>) {
    let (mut open, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let all_opened = loop {
            match opened.try_recv() {
                Ok(stream) => {
                    stream.set_nonblocking(true).unwrap();
                    open.push(stream);
                }
                Err(error) => break error == mpsc::TryRecvError::Disconnected,
            }
        };
        if all_opened && open.is_empty() {
            return;
        }
        open.retain_mut(|stream| match stream.read(&mut buffer) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        thread::sleep(READ_INTERVAL);
    }
}

#[tokio::test]
async fn the_deletion_of_a_room_of_1000_does_not_delay_others() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let reader = tokio::task::spawn_blocking(move || join_all(engine)).await.unwrap();
    let probe = fixture.start_probe();
    let deletion = tokio::task::spawn_blocking(move || {
        let response = HttpClient::connect(engine).call("DeleteRoom", &admin_token(), &json!({ "room": ROOM }));
        assert_eq!(response.status, 200);
        reader.join().unwrap();
    });
    timeout(TIMEOUT, deletion).await.unwrap().unwrap();
    let report = probe.stop().await;
    println!("deletion of a room of {PARTICIPANTS}: {report}");
    assert!(report.max <= MAX_ROUND_TRIP, "signalling in another room was delayed: {report}");
    fixture.check().await;
}
