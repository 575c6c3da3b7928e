//! Joins and leaves by the dozen, and what is left of them: nothing. One test after the other: the whole process is measured.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]
#![cfg(target_os = "linux")]

#[path = "../support/caller.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod caller;
#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses another part")]
#[allow(dead_code, reason = "each suite uses another part")]
mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use caller::{Caller, State};
use livekit_protocol::signal_request::Message as Ask;
use livekit_protocol::signal_response::Message as Told;
use livekit_protocol::simulate_scenario::Scenario;
use livekit_protocol::{CandidateProtocol, DisconnectReason, SimulateScenario};
use maravilla_engine::Engine;
use peak_alloc::PeakAlloc;
use str0m::media::MediaKind;
use support::{PATIENCE, start};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;
static TURN: Mutex<()> = Mutex::const_new(());

/// Engines' threads, and the process's sockets but those of Unix: they come and go with the tests' own runtimes, as other files do.
fn held() -> (usize, usize) {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread may end while it is looked at.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let threads = stats.filter(|stat| stat.contains("(maravilla-") && !is_exiting(stat)).count();
    let unix = fs::read_to_string("/proc/self/net/unix").unwrap();
    let unix: Vec<_> = unix.lines().filter_map(|line| line.split_whitespace().nth(6)).collect();
    let files = fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let is_held = |file: &PathBuf| {
        let name = file.to_string_lossy();
        name.strip_prefix("socket:[").is_some_and(|inode| !unix.contains(&inode.trim_end_matches(']')))
    };
    (threads, files.filter(is_held).count())
}

/// Whether a thread has done all it does: the system shows it for a moment after it has been joined.
fn is_exiting(stat: &str) -> bool {
    /// `PF_EXITING` of Linux's flags, the ninth field (`proc_pid_stat(5)`).
    const EXITING: u32 = 4;
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(6).unwrap().parse::<u32>().unwrap() & EXITING != 0
}

/// What cannot be awaited: others do it, and tell nobody.
async fn until(what: impl Fn() -> String, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{}", what());
        sleep(Duration::from_millis(5)).await;
    }
}

/// The processor time that the process has used, in ticks of 10 ms.
fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|time| time.parse::<u64>().unwrap()).sum()
}

/// Two come, see each other and talk, and go.
async fn visit(engine: &Engine, number: usize) {
    let name = |which| format!("visitor {number}{which}");
    let (ann, ben) = (name("a"), name("b"));
    let (ann, ben) = tokio::join!(Caller::join(engine.address(), "r", &ann), Caller::join(engine.address(), "r", &ben));
    tokio::join!(ann.has_channels(), ben.has_channels());
    let (voice, view) = tokio::join!(ann.publish(MediaKind::Audio), ben.publish(MediaKind::Video));
    let (voice, view) = ([voice], [view]);
    ann.send("hello", true);
    tokio::join!(ann.sees(&view), ben.sees(&voice), ben.receives("hello"));
    if number.is_multiple_of(2) {
        tokio::join!(ann.leave(), ben.leave());
    } else {
        // One of the two just vanishes, and is put out so that nobody has to wait for it.
        engine.rooms(|rooms, now| rooms.remove("r", &ann.identity, now)).unwrap();
        drop(ann);
        ben.leave().await;
    }
}

/// Waits until nobody is there.
async fn empties(engine: &Engine) {
    let is_empty =
        |engine: &Engine| engine.rooms(|rooms, now| rooms.iter(now).all(|room| room.participants().count() == 0));
    until(|| "somebody is left".to_owned(), || is_empty(engine)).await;
}

async fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().await;
    until(|| format!("{:?} are left of the test before", held()), || held().0 == 0).await;
    turn
}

#[tokio::test]
async fn fifty_joins_and_leaves_give_everything_back() {
    const KIB: usize = 1024;
    let _turn = turn().await;
    let before = held();
    let engine = start();
    for number in 0..4 {
        visit(&engine, number).await;
    }
    empties(&engine).await;
    // The engine, its media, and what both listen on.
    until(|| format!("{:?}", held()), || held().0 == 2).await;
    let (full, memory) = (held(), MEMORY.current_usage());
    for number in 0..25 {
        visit(&engine, number).await;
    }
    empties(&engine).await;
    until(|| format!("{:?}, and no more than {full:?}", held()), || held().1 <= full.1).await;
    let grown = || MEMORY.current_usage().saturating_sub(memory);
    until(|| format!("{} bytes are left", grown()), || grown() < 64 * KIB).await;
    println!("25 visits by two have left {} bytes", grown());
    engine.close().await;
    until(|| format!("{:?}, and not {before:?}", held()), || held() == before).await;
}

#[tokio::test]
async fn an_engine_that_all_have_left_rests() {
    let _turn = turn().await;
    let engine = start();
    visit(&engine, 0).await;
    empties(&engine).await;
    // Connections that are closed are heard out for a moment.
    sleep(Duration::from_millis(300)).await;
    let before = ticks();
    sleep(Duration::from_secs(1)).await;
    let used = ticks() - before;
    println!("an engine that all have left takes {used} ticks a second");
    assert!(used <= 2, "{used} ticks");
    engine.close().await;
}

#[tokio::test]
async fn an_engine_that_ends_in_the_middle_of_a_call_leaves_nothing() {
    let _turn = turn().await;
    let before = held();
    for number in 0..6 {
        let engine = start();
        let (ann, ben) =
            tokio::join!(Caller::join(engine.address(), "r", "ann"), Caller::join(engine.address(), "r", "ben"));
        let track = ann.publish(MediaKind::Video).await;
        ben.sees(&[track]).await;
        if number % 2 == 0 {
            engine.close().await;
            assert_eq!(held().0, 0, "a thread is left when all is closed");
        } else {
            drop(engine);
        }
        tokio::join!(ann.is_gone(), ben.is_gone());
        let is_told = |state: &mut State| state.heard.iter().any(|told| matches!(told, Told::Leave(_)));
        assert!(ann.act(is_told) && ben.act(is_told), "they are told that it is over");
        drop((ann, ben));
        until(|| format!("{:?}, and not {before:?}", held()), || held() == before).await;
    }
}

/// Why somebody was told to go.
fn farewell(state: &mut State) -> Option<DisconnectReason> {
    state.heard.iter().find_map(|told| match told {
        Told::Leave(leave) => Some(leave.reason()),
        _ => None,
    })
}

/// At least so long somebody has who has closed its media.
const MOMENT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn whoever_closes_media_first_has_a_moment_to_say_what_for() {
    let _turn = turn().await;
    let engine = start();
    for says in [true, false] {
        let ann = Caller::join(engine.address(), "r", "ann").await;
        ann.has_channels().await;
        let begun = Instant::now();
        ann.act(|state| state.rtc.close()).unwrap();
        if says {
            // Signalling may be slower than the last packet of media.
            let early = timeout(Duration::from_millis(100), ann.is_gone()).await;
            assert!(early.is_err(), "it is let go before it could say anything");
            let scenario = Some(Scenario::SwitchCandidateProtocol(CandidateProtocol::Tcp.into()));
            ann.say(Ask::Simulate(SimulateScenario { scenario }));
        }
        let reason = ann.until("is told why", farewell).await;
        let expected = if says { DisconnectReason::Migration } else { DisconnectReason::StateMismatch };
        assert_eq!(reason, expected);
        ann.is_gone().await;
        assert!(says || begun.elapsed() >= MOMENT, "it is let go before it could say anything");
    }
    engine.close().await;
}
