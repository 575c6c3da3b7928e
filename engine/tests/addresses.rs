//! Media candidates: configured ports and addresses, and changes of the machine's addresses.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[path = "support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

use std::env;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use maravilla_engine::{Engine, Limits, RtcConfig, StartError};
use str0m::media::MediaKind;

use client::{ConnectOptions, TestClient};

const ROOM: &str = "room";

fn start(rtc: RtcConfig) -> Engine {
    support::try_start(Limits::default(), rtc).unwrap()
}

/// Starts an engine with a media port below the range of ephemeral ports.
fn start_with_media_port() -> (Engine, u16) {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let started = (first..first + 100).find_map(|port| {
        let rtc = RtcConfig { port: Some(port), ..RtcConfig::default() };
        Some((support::try_start(Limits::default(), rtc).ok()?, port))
    });
    started.unwrap()
}

/// The candidates in the engine's last answer: protocol, address and port.
fn candidates(client: &TestClient) -> Vec<String> {
    let answer = client.with_state(|state| state.last_answer.clone());
    let lines = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
    let mut candidates: Vec<_> = lines
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            format!("{} {} {}", words[2], words[4], words[5])
        })
        .collect();
    candidates.sort_unstable();
    candidates.dedup();
    candidates
}

/// Connects a client and waits for the answer to its offer.
async fn connect(engine: &Engine, options: ConnectOptions) -> TestClient {
    let client = TestClient::connect(engine.address(), options).await.unwrap();
    client.wait_until("receives an answer", |state| (!state.last_answer.is_empty()).then_some(())).await;
    client
}

#[tokio::test]
async fn offers_udp_and_tcp_on_the_configured_port_and_frees_it_on_close() {
    let (engine, port) = start_with_media_port();
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let offered = candidates(&ann);
    assert!(offered.iter().all(|candidate| candidate.ends_with(&format!(" {port}"))), "{offered:?}");
    assert!(offered.contains(&format!("tcp 127.0.0.1 {port}")), "{offered:?}");
    let second = support::try_start(Limits::default(), RtcConfig { port: Some(port), ..RtcConfig::default() });
    assert!(matches!(second, Err(StartError::Media(error)) if error.kind() == ErrorKind::AddrInUse));
    engine.close().await;
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[tokio::test]
async fn offers_only_the_configured_addresses() {
    let addresses = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    let engine = start(RtcConfig { addresses, ..RtcConfig::default() });
    let ann = connect(&engine, ConnectOptions::new(ROOM, "ann")).await;
    let offered: Vec<_> =
        candidates(&ann).iter().filter_map(|each| Some(each.rsplit_once(' ')?.0.to_owned())).collect();
    assert_eq!(offered, ["tcp 192.0.2.7", "tcp 2001:db8::7", "udp 192.0.2.7", "udp 2001:db8::7"]);
}

#[tokio::test]
async fn media_connects_to_a_configured_address() {
    let engine = start(RtcConfig { addresses: vec![Ipv4Addr::LOCALHOST.into()], ..RtcConfig::default() });
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    let sid = ann.publish(MediaKind::Audio).await;
    ben.wait_for_packets(&[sid]).await;
}

#[tokio::test]
async fn local_only_offers_tcp_on_loopback_and_udp_on_loopback_and_one_more_address() {
    let engine = start(RtcConfig { local_only: true, ..RtcConfig::default() });
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let offered = candidates(&ann);
    let tcp: Vec<_> = offered.iter().filter(|each| each.starts_with("tcp ")).collect();
    assert!(tcp.len() == 1 && tcp[0].starts_with("tcp 127.0.0.1 "), "{offered:?}");
    assert!((2..=3).contains(&offered.len()), "{offered:?}");
}

/// Runs an ignored test of this file in a new network namespace, where it may change addresses. Skips it if the system doesn't
/// allow namespaces.
fn in_namespace(test: &str) {
    let unshare = |arguments: &[&str]| Command::new("unshare").arg("-rn").args(arguments).output();
    if !unshare(&["ip", "link"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: this system has no network namespaces for this user");
        return;
    }
    let executable = env::current_exe().unwrap();
    let output = unshare(&[executable.to_str().unwrap(), "--exact", test, "--ignored", "--nocapture"]).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn offers_the_new_addresses_after_the_machines_addresses_have_changed() {
    in_namespace("inside_namespace_offers_the_new_addresses");
}

#[tokio::test]
#[ignore = "changes addresses; run by the test above in a network namespace"]
async fn inside_namespace_offers_the_new_addresses() {
    ip("link set lo up");
    ip("addr add 10.9.0.1/32 dev lo");
    let engine = start(RtcConfig::default());
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Audio).await;
    let is_offered = |client: &TestClient, address: &str| {
        let address = format!("udp {address} ");
        candidates(client).iter().any(|candidate| candidate.starts_with(&address))
    };
    assert!(is_offered(&ann, "10.9.0.1") && is_offered(&ann, "127.0.0.1"));
    ip("addr del 10.9.0.1/32 dev lo");
    ip("addr add 10.9.0.2/32 dev lo");
    // A join makes the engine read the machine's addresses again, but at most every 100 ms.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let options = ConnectOptions { media_address: ([10, 9, 0, 2], 0).into(), ..ConnectOptions::new(ROOM, "ben") };
    let ben = connect(&engine, options).await;
    assert!(is_offered(&ben, "10.9.0.2") && !is_offered(&ben, "10.9.0.1"), "{:?}", candidates(&ben));
    ben.wait_for_packets(&[sid]).await;
    // An earlier participant receives the new candidates in its next answer.
    ann.publish(MediaKind::Video).await;
    assert!(is_offered(&ann, "10.9.0.2") && !is_offered(&ann, "10.9.0.1"), "{:?}", candidates(&ann));
}
