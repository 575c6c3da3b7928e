//! CPU time of the engine per forwarded packet, in a small room and a large one. Takes a minute, and runs on its own:
//! `cargo test --release -p maravilla-engine --test forwarding large_rooms -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use str0m::media::MediaKind;
use tokio::time::timeout;

use crate::ROOM;
use crate::client::{State, TestClient};
use crate::cpu::engine_cpu_time;
use crate::support::start;

/// By how much a forwarded packet may cost more in the large room.
const MAX_RATIO: f64 = 1.3;
/// Packets forwarded per measurement.
const FORWARDED: usize = 20_000;
/// Time over which the cost of a room without packets is measured.
const IDLE: Duration = Duration::from_secs(3);
/// Maximum time of the whole measurement. Past it, the test fails.
const MAX_TIME: Duration = Duration::from_secs(300);

fn received(participant: &TestClient) -> usize {
    participant.with_state(|state| state.packets.values().sum())
}

/// CPU time in µs per forwarded packet in a room whose participants all subscribe to all tracks, without the cost of the same room
/// while nothing is sent. One packet is sent at a time, so that none share a system call.
async fn cost(participants: usize, publishers: usize) -> f64 {
    let engine = start();
    let mut all = Vec::new();
    let mut sids = Vec::new();
    for index in 0..participants {
        let participant = TestClient::join(engine.address(), ROOM, &format!("participant {index}")).await;
        if index < publishers {
            sids.push(participant.publish(MediaKind::Video).await);
            participant.with_state(|state| state.sends_media = false);
        }
        all.push(participant);
    }
    println!("{participants} participants have joined");
    // One publisher at a time: together they send more than a small machine can receive.
    for (publisher, sid) in sids.iter().enumerate() {
        all[publisher].with_state(|state| state.sends_media = true);
        for (_, participant) in all.iter().enumerate().filter(|(index, _)| *index != publisher) {
            let has_packet =
                |state: &mut State| state.mid_of(sid).filter(|mid| state.packets.contains_key(mid)).map(|_| ());
            participant.wait_until("receives the track", has_packet).await;
        }
        all[publisher].with_state(|state| state.sends_media = false);
    }
    println!("all receive {publishers} tracks");
    tokio::time::sleep(IDLE).await;

    let (start, before) = (Instant::now(), engine_cpu_time());
    tokio::time::sleep(IDLE).await;
    let idle = engine_cpu_time().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64();

    let (start, before) = (Instant::now(), engine_cpu_time());
    let rounds = FORWARDED / (participants - 1);
    for round in 0..rounds {
        let publisher = round % publishers;
        let expected: Vec<usize> = all.iter().map(|participant| received(participant) + 1).collect();
        all[publisher].with_state(|state| state.send_packet(0));
        for (index, participant) in all.iter().enumerate().filter(|(index, _)| *index != publisher) {
            let is_there = |state: &mut State| (state.packets.values().sum::<usize>() >= expected[index]).then_some(());
            participant.wait_until("receives the packet", is_there).await;
        }
    }
    let busy = engine_cpu_time().saturating_sub(before).as_secs_f64() - idle * start.elapsed().as_secs_f64();
    let forwarded = rounds * (participants - 1);
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let per_packet = busy * 1e6 / forwarded as f64;
    assert!(per_packet > 0.0, "other processes disturb the measurement: {:.2} % while idle", idle * 100.0);
    println!(
        "{participants} participants, {publishers} publish: {per_packet:.2} us per packet, idle {:.2} %",
        idle * 100.0
    );
    per_packet
}

#[tokio::test]
#[ignore = "takes a minute and measures CPU time"]
async fn a_forwarded_packet_costs_the_same_in_a_large_room() {
    let costs = async { (cost(10, 1).await, cost(200, 20).await) };
    let (small, large) = timeout(MAX_TIME, costs).await.expect("the measurement does not end");
    assert!(large <= small * MAX_RATIO, "{large:.2} us in a room of 200, {small:.2} us in a room of 10");
}
