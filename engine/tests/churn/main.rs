//! Resources after many joins and leaves: threads, sockets, memory and CPU time. The tests run one by one, because they
//! measure the whole process.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![cfg(target_os = "linux")]

#[path = "../support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{State, TestClient};
use livekit_protocol::signal_request::Message as Request;
use livekit_protocol::signal_response::Message as Response;
use livekit_protocol::simulate_scenario::Scenario;
use livekit_protocol::{CandidateProtocol, DisconnectReason, SimulateScenario};
use maravilla_engine::Engine;
use peak_alloc::PeakAlloc;
use str0m::media::MediaKind;
use support::{TIMEOUT, start};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Number of engine threads, and of sockets. Excludes Unix sockets, which belong to the runtimes of the tests.
fn open_resources() -> (usize, usize) {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread may exit between the two reads.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let threads = stats.filter(|stat| stat.contains("(maravilla-") && !is_exiting(stat)).count();
    let unix = fs::read_to_string("/proc/self/net/unix").unwrap();
    let unix: Vec<_> = unix.lines().filter_map(|line| line.split_whitespace().nth(6)).collect();
    let files = fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let is_counted = |file: &PathBuf| {
        let name = file.to_string_lossy();
        name.strip_prefix("socket:[").is_some_and(|inode| !unix.contains(&inode.trim_end_matches(']')))
    };
    (threads, files.filter(is_counted).count())
}

/// Returns whether a thread is exiting. Linux lists a thread for a moment after it has been joined.
fn is_exiting(stat: &str) -> bool {
    /// Bit of `flags`, the ninth field of `stat` (`proc_pid_stat(5)`).
    const PF_EXITING: u32 = 4;
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(6).unwrap().parse::<u32>().unwrap() & PF_EXITING != 0
}

/// Polls until `is_done`, for conditions that no event reports. `failure` is the panic message.
async fn poll_until(failure: impl Fn() -> String, is_done: impl Fn() -> bool) {
    let end = Instant::now() + TIMEOUT;
    while !is_done() {
        assert!(Instant::now() < end, "{}", failure());
        sleep(Duration::from_millis(5)).await;
    }
}

/// CPU time of the process, in ticks of 10 ms.
fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum()
}

/// Two participants join, exchange media and data, and leave.
async fn run_call(engine: &Engine, number: usize) {
    let name = |which| format!("participant {number}{which}");
    let (ann, ben) = (name("a"), name("b"));
    let (ann, ben) =
        tokio::join!(TestClient::join(engine.address(), "r", &ann), TestClient::join(engine.address(), "r", &ben));
    tokio::join!(ann.wait_for_data_channels(), ben.wait_for_data_channels());
    let (audio, video) = tokio::join!(ann.publish(MediaKind::Audio), ben.publish(MediaKind::Video));
    let (audio, video) = ([audio], [video]);
    ann.send_data("hello", true);
    tokio::join!(ann.wait_for_packets(&video), ben.wait_for_packets(&audio), ben.wait_for_data("hello"));
    if number.is_multiple_of(2) {
        tokio::join!(ann.leave(), ben.leave());
    } else {
        // `ann` stops without a leave request. Removing it avoids the wait for its timeout.
        engine.rooms(|rooms, now| rooms.remove("r", &ann.identity, now)).unwrap();
        drop(ann);
        ben.leave().await;
    }
}

/// Waits until all rooms are empty.
async fn wait_until_empty(engine: &Engine) {
    let is_empty = |engine: &Engine| {
        engine.rooms(|rooms, now| rooms.snapshot().sorted(now).into_iter().all(|room| room.participants().count() == 0))
    };
    poll_until(|| "a participant is left".to_owned(), || is_empty(engine)).await;
}

/// Waits for the previous test and for the end of its engine threads.
async fn lock_serial() -> MutexGuard<'static, ()> {
    static SERIAL: Mutex<()> = Mutex::const_new(());
    let serial = SERIAL.lock().await;
    poll_until(|| format!("{:?} are left by the previous test", open_resources()), || open_resources().0 == 0).await;
    serial
}

#[tokio::test]
async fn fifty_joins_and_leaves_leak_no_threads_sockets_or_memory() {
    const KIB: usize = 1024;
    let _serial = lock_serial().await;
    let before = open_resources();
    let engine = start();
    for number in 0..4 {
        run_call(&engine, number).await;
    }
    wait_until_empty(&engine).await;
    // The engine thread and the media thread.
    poll_until(|| format!("{:?} are open", open_resources()), || open_resources().0 == 2).await;
    let (full, memory) = (open_resources(), MEMORY.current_usage());
    for number in 0..25 {
        run_call(&engine, number).await;
    }
    wait_until_empty(&engine).await;
    poll_until(|| format!("{:?} are open, more than {full:?}", open_resources()), || open_resources().1 <= full.1)
        .await;
    let grown = || MEMORY.current_usage().saturating_sub(memory);
    poll_until(|| format!("{} bytes are not freed", grown()), || grown() < 64 * KIB).await;
    println!("25 calls of two participants: {} bytes are not freed", grown());
    engine.close().await;
    poll_until(|| format!("{:?} are open, instead of {before:?}", open_resources()), || open_resources() == before)
        .await;
}

#[tokio::test]
async fn an_engine_without_participants_uses_no_cpu_time() {
    let _serial = lock_serial().await;
    let engine = start();
    run_call(&engine, 0).await;
    wait_until_empty(&engine).await;
    // Closed connections linger for a moment, which no event reports.
    sleep(Duration::from_millis(300)).await;
    let before = cpu_ticks();
    sleep(Duration::from_secs(1)).await;
    let used = cpu_ticks() - before;
    println!("an engine without participants: {used} ticks a second");
    assert!(used <= 2, "{used} ticks");
    engine.close().await;
}

#[tokio::test]
async fn closing_or_dropping_an_engine_during_a_call_sends_leave_and_leaks_nothing() {
    let _serial = lock_serial().await;
    let before = open_resources();
    for number in 0..6 {
        let engine = start();
        let (ann, ben) = tokio::join!(
            TestClient::join(engine.address(), "r", "ann"),
            TestClient::join(engine.address(), "r", "ben")
        );
        let track = ann.publish(MediaKind::Video).await;
        ben.wait_for_packets(&[track]).await;
        if number % 2 == 0 {
            engine.close().await;
            assert_eq!(open_resources().0, 0, "an engine thread is left after close");
        } else {
            drop(engine);
        }
        tokio::join!(ann.wait_until_closed(), ben.wait_until_closed());
        let has_leave =
            |state: &mut State| state.responses.iter().any(|response| matches!(response, Response::Leave(_)));
        assert!(ann.with_state(has_leave) && ben.with_state(has_leave), "no leave request was received");
        drop((ann, ben));
        poll_until(|| format!("{:?} are open, instead of {before:?}", open_resources()), || open_resources() == before)
            .await;
    }
}

/// The reason in the leave request from the engine.
fn leave_reason(state: &mut State) -> Option<DisconnectReason> {
    state.responses.iter().find_map(|response| match response {
        Response::Leave(leave) => Some(leave.reason()),
        _ => None,
    })
}

/// Minimum time from the close of the media connection to the removal of the participant.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_client_that_closes_media_first_has_one_second_for_a_request() {
    let _serial = lock_serial().await;
    let engine = start();
    for sends_request in [true, false] {
        let ann = TestClient::join(engine.address(), "r", "ann").await;
        ann.wait_for_data_channels().await;
        let closed_at = Instant::now();
        ann.with_state(|state| state.rtc.close()).unwrap();
        if sends_request {
            // The request may arrive later than the last media packet.
            let early = timeout(Duration::from_millis(100), ann.wait_until_closed()).await;
            assert!(early.is_err(), "the participant was removed before its request");
            let scenario = Some(Scenario::SwitchCandidateProtocol(CandidateProtocol::Tcp.into()));
            ann.send_request(Request::Simulate(SimulateScenario { scenario }));
        }
        let reason = ann.wait_until("receives a leave request", leave_reason).await;
        let expected = if sends_request { DisconnectReason::Migration } else { DisconnectReason::StateMismatch };
        assert_eq!(reason, expected);
        ann.wait_until_closed().await;
        assert!(sends_request || closed_at.elapsed() >= CLOSE_GRACE, "the participant was removed too early");
    }
    engine.close().await;
}
