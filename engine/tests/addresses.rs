//! Where media is received: configured ports and addresses, and addresses of the machine that come and go.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

#[path = "support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[path = "support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

use std::env;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

use maravilla_engine::{Engine, Limits, RtcConfig, StartError};
use str0m::media::MediaKind;

use caller::{Call, Caller};

const ROOM: &str = "party";

fn start(rtc: RtcConfig) -> Engine {
    support::try_start(Limits::default(), rtc).unwrap()
}

/// An engine with a media port below those that the system chooses for other sockets.
fn start_with_media_port() -> (Engine, u16) {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let started = (first..first + 100).find_map(|port| {
        let rtc = RtcConfig { port: Some(port), ..RtcConfig::default() };
        Some((support::try_start(Limits::default(), rtc).ok()?, port))
    });
    started.unwrap()
}

/// The candidates of the engine's last answer: protocol, address and port.
fn candidates(caller: &Caller) -> Vec<String> {
    let answer = caller.act(|state| state.answer.clone());
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

async fn answered(engine: &Engine, call: Call) -> Caller {
    let caller = Caller::call(engine.address(), call).await.unwrap();
    caller.until("is answered", |state| (!state.answer.is_empty()).then_some(())).await;
    caller
}

#[tokio::test]
async fn media_comes_to_the_configured_port_over_udp_and_tcp() {
    let (engine, port) = start_with_media_port();
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let offered = candidates(&ann);
    assert!(offered.iter().all(|candidate| candidate.ends_with(&format!(" {port}"))), "{offered:?}");
    assert!(offered.contains(&format!("tcp 127.0.0.1 {port}")), "{offered:?}");
    let taken = support::try_start(Limits::default(), RtcConfig { port: Some(port), ..RtcConfig::default() });
    assert!(matches!(taken, Err(StartError::Media(error)) if error.kind() == ErrorKind::AddrInUse));
    engine.close().await;
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
}

#[tokio::test]
async fn configured_addresses_are_offered_in_place_of_the_machines_own() {
    let addresses = vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
    let engine = start(RtcConfig { addresses, ..RtcConfig::default() });
    let ann = answered(&engine, Call::new(ROOM, "ann")).await;
    let offered: Vec<_> =
        candidates(&ann).iter().filter_map(|each| Some(each.rsplit_once(' ')?.0.to_owned())).collect();
    assert_eq!(offered, ["tcp 192.0.2.7", "tcp 2001:db8::7", "udp 192.0.2.7", "udp 2001:db8::7"]);
}

#[tokio::test]
async fn a_configured_address_that_leads_here_connects() {
    let engine = start(RtcConfig { addresses: vec![Ipv4Addr::LOCALHOST.into()], ..RtcConfig::default() });
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let ben = Caller::join(engine.address(), ROOM, "ben").await;
    let sid = ann.publish(MediaKind::Audio).await;
    ben.sees(&[sid]).await;
}

#[tokio::test]
async fn for_clients_on_this_machine_alone_tcp_is_offered_at_loopback_and_udp_at_one_more_address() {
    let engine = start(RtcConfig { local_only: true, ..RtcConfig::default() });
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let offered = candidates(&ann);
    let tcp: Vec<_> = offered.iter().filter(|each| each.starts_with("tcp ")).collect();
    assert!(tcp.len() == 1 && tcp[0].starts_with("tcp 127.0.0.1 "), "{offered:?}");
    assert!((2..=3).contains(&offered.len()), "{offered:?}");
}

/// Runs a test of this file in a network namespace of its own, where it may change addresses. Where the system allows no
/// namespaces, it is not run.
fn in_namespace(test: &str) {
    let unshared = |arguments: &[&str]| Command::new("unshare").arg("-rn").args(arguments).output();
    if !unshared(&["ip", "link"]).is_ok_and(|output| output.status.success()) {
        println!("skipped: this system has no network namespaces for this user");
        return;
    }
    let own = env::current_exe().unwrap();
    let output = unshared(&[own.to_str().unwrap(), "--exact", test, "--ignored", "--nocapture"]).unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

#[test]
fn who_joins_after_the_addresses_have_changed_connects_to_the_new_ones() {
    in_namespace("inside_who_joins_after_the_addresses_have_changed");
}

#[tokio::test]
#[ignore = "changes addresses: run in a network namespace, by the test above"]
async fn inside_who_joins_after_the_addresses_have_changed() {
    ip("link set lo up");
    ip("addr add 10.9.0.1/32 dev lo");
    let engine = start(RtcConfig::default());
    let ann = Caller::join(engine.address(), ROOM, "ann").await;
    let sid = ann.publish(MediaKind::Audio).await;
    let is_offered = |caller: &Caller, address: &str| {
        let address = format!("udp {address} ");
        candidates(caller).iter().any(|candidate| candidate.starts_with(&address))
    };
    assert!(is_offered(&ann, "10.9.0.1") && is_offered(&ann, "127.0.0.1"));
    ip("addr del 10.9.0.1/32 dev lo");
    ip("addr add 10.9.0.2/32 dev lo");
    // The addresses are read with a join, but not more often than that.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let call = Call { address: ([10, 9, 0, 2], 0).into(), ..Call::new(ROOM, "ben") };
    let ben = answered(&engine, call).await;
    assert!(is_offered(&ben, "10.9.0.2") && !is_offered(&ben, "10.9.0.1"), "{:?}", candidates(&ben));
    ben.sees(&[sid]).await;
    // Who was there before learns of them with the next answer, and so can move to them.
    ann.publish(MediaKind::Video).await;
    assert!(is_offered(&ann, "10.9.0.2") && !is_offered(&ann, "10.9.0.1"), "{:?}", candidates(&ann));
}
