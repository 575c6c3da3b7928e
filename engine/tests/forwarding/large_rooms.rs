//! CPU time of the engine per forwarded packet, in a small room and a large one. Takes minutes, and runs on its own:
//! `cargo test --release -p maravilla-engine --test forwarding large_rooms -- --ignored --nocapture`.

use std::fs;
use std::time::{Duration, Instant};

use str0m::media::MediaKind;

use crate::ROOM;
use crate::client::TestClient;
use crate::support::start;

/// Name of the engine's thread that forwards packets.
const THREAD: &str = "maravilla-media";
/// By how much a forwarded packet may cost more in the large room.
const MAX_RATIO: f64 = 1.3;
/// Packets forwarded per measurement.
const FORWARDED: usize = 20_000;
/// Time over which the cost of a room without packets is measured.
const IDLE: Duration = Duration::from_secs(3);

/// CPU time of the engine so far.
fn cpu_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let own = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap_or_default().trim() == THREAD);
    let nanos = own.map(|task| fs::read_to_string(task.join("schedstat")).unwrap());
    nanos.map(|stat| Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())).sum()
}

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
        }
        all.push(participant);
    }
    for (index, participant) in all.iter().enumerate() {
        let others: Vec<String> =
            sids.iter().enumerate().filter(|(of, _)| *of != index).map(|(_, sid)| sid.clone()).collect();
        participant.wait_for_packets(&others).await;
    }
    for participant in &all {
        participant.with_state(|state| state.sends_media = false);
    }
    tokio::time::sleep(IDLE).await;

    let (start, before) = (Instant::now(), cpu_time());
    tokio::time::sleep(IDLE).await;
    let idle = cpu_time().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64();

    let (start, before) = (Instant::now(), cpu_time());
    let rounds = FORWARDED / (participants - 1);
    for round in 0..rounds {
        let publisher = round % publishers;
        let expected: Vec<usize> = all.iter().map(|participant| received(participant) + 1).collect();
        all[publisher].with_state(|state| state.send_packet(0));
        for (index, participant) in all.iter().enumerate().filter(|(index, _)| *index != publisher) {
            let is_there = |state: &mut crate::client::state::State| {
                (state.packets.values().sum::<usize>() >= expected[index]).then_some(())
            };
            participant.wait_until("receives the packet", is_there).await;
        }
    }
    let busy = cpu_time().saturating_sub(before).as_secs_f64() - idle * start.elapsed().as_secs_f64();
    let forwarded = rounds * (participants - 1);
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let per_packet = busy * 1e6 / forwarded as f64;
    println!(
        "{participants} participants, {publishers} publish: {per_packet:.2} us per packet, idle {:.2} %",
        idle * 100.0
    );
    per_packet
}

#[tokio::test]
#[ignore = "takes minutes, and measures"]
async fn a_forwarded_packet_costs_the_same_in_a_large_room() {
    let small = cost(10, 1).await;
    let large = cost(200, 20).await;
    assert!(large <= small * MAX_RATIO, "{large:.2} us in a room of 200, {small:.2} us in a room of 10");
}
