//! A participant of another room, which measures what an attack costs everybody else: the round trips of its signalling,
//! and the peak of the process's memory.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;

use crate::attack::plain_join;
use crate::caller::ticket;
use crate::wire::{self, Wire};
use crate::{MEMORY, MIB, Party};

/// How often the witness pings.
const PING_INTERVAL: Duration = Duration::from_millis(10);
/// The fewest pings of a watch: fewer would make a 99th percentile of nothing.
const MIN_PINGS: usize = 200;
/// The longest 99th percentile of the round trips that counts as undisturbed.
const MAX_P99: Duration = Duration::from_millis(50);
/// The prefix of the names of the engine's threads, as the system cuts them.
const ENGINE_THREAD: &str = "maravilla-";

impl Party {
    /// Begins to measure.
    pub fn watch(&self) -> Watch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let identity = format!("witness {}", COUNT.fetch_add(1, Ordering::Relaxed));
        Watch::start(self.address(), &identity)
    }
}

/// A witness at work.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    is_answered: Arc<AtomicBool>,
    sent: JoinHandle<Vec<Instant>>,
    answers: JoinHandle<Vec<Instant>>,
    control: JoinHandle<Vec<Stall>>,
    before: usize,
}

/// What the machine, not the engine, has cost until some time.
struct Stall {
    at: Instant,
    /// By how much a thread that slept woke too late.
    late: Duration,
    /// How long each thread of the engine has been ready to run, and had no processor.
    waited: HashMap<String, Duration>,
}

/// What a witness has measured.
pub struct Report {
    pub median: Duration,
    pub p99: Duration,
    pub max: Duration,
    /// By how much the memory of the process has grown at its peak.
    pub peak: usize,
    /// The maximum before what the machine has cost is subtracted.
    pub max_with_stalls: Duration,
}

impl Watch {
    fn start(engine: SocketAddr, identity: &str) -> Self {
        let mut wire = Wire::open(engine, &plain_join(&ticket("elsewhere", identity, "standard"))).unwrap();
        let writer = wire.writer();
        let (is_over, is_answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (over, done) = (is_over.clone(), is_answered.clone());
        let sent = thread::spawn(move || send_pings(writer, &over));
        let answers = thread::spawn(move || {
            let mut answers = Vec::new();
            while let Ok(told) = wire.hear() {
                if matches!(told, Told::PongResp(_)) {
                    answers.push(Instant::now());
                }
            }
            answers
        });
        let control = thread::spawn(move || observe_machine(&done));
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        Self { is_over, is_answered, sent, answers, control, before }
    }

    /// Waits for the answers to all pings, which includes what the engine has still to do for the attack.
    pub async fn stop(self) -> Report {
        self.is_over.store(true, Ordering::Relaxed);
        // Meanwhile the others go on talking.
        tokio::task::spawn_blocking(move || {
            let (sent, answers) = (self.sent.join().unwrap(), self.answers.join().unwrap());
            let peak = MEMORY.peak_usage().saturating_sub(self.before);
            self.is_answered.store(true, Ordering::Relaxed);
            let stalls = self.control.join().unwrap();
            assert_eq!(sent.len(), answers.len(), "the witness has lost its connection");
            Report::new(sent.into_iter().zip(answers).collect(), &stalls, peak)
        })
        .await
        .unwrap()
    }
}

/// Pings on time, whether the ones before are answered or not, and leaves.
fn send_pings(mut writer: TcpStream, is_over: &AtomicBool) -> Vec<Instant> {
    let begun = Instant::now();
    let mut sent = Vec::new();
    while !is_over.load(Ordering::Relaxed) || sent.len() < MIN_PINGS {
        let ping = wire::signal(Ask::PingReq(proto::Ping::default()));
        sent.push(Instant::now());
        writer.write_all(&ping).expect("the witness has lost its connection");
        let next = begun + PING_INTERVAL * u32::try_from(sent.len()).unwrap();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    writer.write_all(&wire::signal(Ask::Leave(proto::LeaveRequest::default()))).unwrap();
    sent
}

fn observe_machine(is_over: &AtomicBool) -> Vec<Stall> {
    let mut stalls = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        thread::sleep(PING_INTERVAL);
        let at = Instant::now();
        stalls.push(Stall { at, late: (at - begun).saturating_sub(PING_INTERVAL), waited: waited() });
    }
    stalls
}

/// How long each of the engine's threads has waited for a processor; nothing where the system does not tell.
fn waited() -> HashMap<String, Duration> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_engine = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(ENGINE_THREAD)));
    let waits = of_engine.filter_map(|task| {
        let stats = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let nanoseconds = stats.split(' ').nth(1)?.parse().ok()?;
        Some((task.file_name().to_string_lossy().into_owned(), Duration::from_nanos(nanoseconds)))
    });
    waits.collect()
}

/// What the machine has cost in a time: the longest wait of one of the engine's threads, and the lateness of our own.
fn cost_of_machine(stalls: &[Stall], from: Instant, to: Instant) -> Duration {
    let first = stalls.partition_point(|stall| stall.at <= from);
    let last = stalls.partition_point(|stall| stall.at < to).min(stalls.len().saturating_sub(1));
    let Some(within) = stalls.get(first.saturating_sub(1)..=last) else { return Duration::ZERO };
    let [begin, .., end] = within else { return Duration::ZERO };
    let late = within[1..].iter().map(|stall| stall.late).sum::<Duration>();
    let waits = end
        .waited
        .iter()
        .map(|(task, waited)| waited.saturating_sub(begin.waited.get(task).copied().unwrap_or_default()));
    late + waits.max().unwrap_or_default()
}

impl Report {
    fn new(round_trips: Vec<(Instant, Instant)>, stalls: &[Stall], peak: usize) -> Self {
        let max_with_stalls = round_trips.iter().map(|(from, to)| *to - *from).max().unwrap();
        let cost = |from: Instant, to: Instant| {
            let took = to - from;
            // The cost of the machine is known to the interval of the control, no closer.
            let adjusted = took.saturating_sub(cost_of_machine(stalls, from, to));
            took.min(adjusted.max(PING_INTERVAL))
        };
        let mut took: Vec<Duration> = round_trips.into_iter().map(|(from, to)| cost(from, to)).collect();
        took.sort_unstable();
        let at = |percentile: usize| took[(took.len() - 1) * percentile / 100];
        Self { median: at(50), p99: at(99), max: at(100), peak, max_with_stalls }
    }

    /// The others have not waited, and the attack took no more memory than so many bytes.
    #[track_caller]
    pub fn assert_undisturbed(&self, attack: &str, budget: usize) {
        println!("{attack}: {self}");
        assert!(self.p99 <= MAX_P99, "{attack}: another room waited: {self}");
        assert!(self.peak <= budget, "{attack}: more than {budget} bytes: {self}");
    }
}

impl Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (median, p99, max, with_stalls) = (ms(self.median), ms(self.p99), ms(self.max), ms(self.max_with_stalls));
        let peak = self.peak / 1_000_000;
        write!(formatter, "median {median:.1}, p99 {p99:.1}, max {max:.1} ({with_stalls:.1}) ms, peak {peak} MB")
    }
}

#[tokio::test]
async fn a_witness_at_rest_waits_for_nothing() {
    let party = Party::start().await;
    party.watch().stop().await.assert_undisturbed("at rest", MIB);
}

#[tokio::test]
async fn a_witness_measures_a_stall_of_the_engine_and_a_peak_of_memory() {
    let party = Party::start().await;
    let watch = party.watch();
    party.engine.rooms(|_, _| {
        // The engine's thread waits for the rooms to answer this request.
        let request = plain_join(&ticket("elsewhere", "another", "standard"));
        TcpStream::connect(party.address()).unwrap().write_all(&request).unwrap();
        thread::sleep(Duration::from_millis(500));
    });
    drop(vec![1; 20 * MIB]);
    let report = watch.stop().await;
    assert!(report.p99 >= Duration::from_millis(200) && report.peak >= 20 * MIB, "{report}");
}
