//! A probe: a participant in another room that measures the effect of an attack on the round trips of its signalling and
//! on the peak memory of the process.

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
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::attackers::plain_join;
use crate::client::participant_token;
use crate::signal_socket::{self, SignalSocket};
use crate::{Fixture, MEMORY, MIB};

/// Time between two pings.
const PING_INTERVAL: Duration = Duration::from_millis(5);
/// Minimum number of pings in a measurement; with fewer a 99th percentile means little.
const MIN_PINGS: usize = 200;
/// Maximum 99th percentile of the round trips; above it an attack test fails.
const MAX_P99: Duration = Duration::from_millis(50);
/// Maximum number of measurements of one attack, because other processes on the machine can disturb one.
const TRIES: usize = 3;
/// Time without a signal after which the probe fails.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Prefix of the engine's thread names, which Linux truncates to 15 bytes.
const ENGINE_THREAD_PREFIX: &str = "maravilla-";

impl Fixture {
    /// Starts a measurement.
    pub fn start_probe(&self) -> Probe {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let identity = format!("probe {}", COUNT.fetch_add(1, Ordering::Relaxed));
        Probe::start(self.address(), &identity)
    }

    /// Runs an attack. Asserts that its round trips keep to [`MAX_P99`] and its memory to `budget` bytes. Measures again if the
    /// round trips don't, up to [`TRIES`] times in total.
    pub async fn assert_withstands(&self, attack: &str, budget: usize, mut run: impl AsyncFnMut()) {
        for number in 1.. {
            let probe = self.start_probe();
            run().await;
            let report = probe.stop().await;
            if report.p99 <= MAX_P99 || number == TRIES {
                return report.assert_within_bounds(attack, budget);
            }
            println!("{attack}: {report}, measuring again");
        }
    }
}

/// A running measurement.
pub struct Probe {
    stop_pings: Arc<AtomicBool>,
    stop_observer: Arc<AtomicBool>,
    sender: JoinHandle<Vec<Instant>>,
    receiver: JoinHandle<Vec<Instant>>,
    observer: JoinHandle<Vec<Slot>>,
    memory_before: usize,
}

/// Scheduling of the engine's threads from the end of the previous slot to `end`.
struct Slot {
    end: Instant,
    /// Time that an engine thread was ready to run without a processor; the maximum of the threads.
    waited: Duration,
    /// Time that an engine thread ran; the maximum of the threads.
    ran: Duration,
}

/// The result of a measurement. Round trips exclude the time that threads waited for a processor.
pub struct Report {
    pub median: Duration,
    pub p99: Duration,
    pub max: Duration,
    /// Bytes by which the memory of the process rose at its peak.
    pub peak: usize,
    /// The maximum including the time that threads waited for a processor.
    pub max_with_stalls: Duration,
}

impl Probe {
    fn start(engine: SocketAddr, identity: &str) -> Self {
        let mut socket =
            SignalSocket::open(engine, &plain_join(&participant_token("elsewhere", identity, "standard"))).unwrap();
        socket.socket().set_read_timeout(Some(READ_TIMEOUT)).unwrap();
        let stream = socket.clone_stream();
        let (stop_pings, stop_observer) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (pings_stopped, observer_stopped) = (stop_pings.clone(), stop_observer.clone());
        let sender = thread::spawn(move || send_pings(stream, &pings_stopped));
        let receiver = thread::spawn(move || {
            let mut received_at = Vec::new();
            while let Ok(response) = socket.receive() {
                if matches!(response, Response::PongResp(_)) {
                    received_at.push(Instant::now());
                }
            }
            received_at
        });
        let observer = thread::spawn(move || observe_engine_threads(&observer_stopped));
        let memory_before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        Self { stop_pings, stop_observer, sender, receiver, observer, memory_before }
    }

    /// Stops the pings and waits for all pongs, which includes the engine's remaining work for the attack.
    pub async fn stop(self) -> Report {
        self.stop_pings.store(true, Ordering::Relaxed);
        // The clients of the fixture continue to run on the async runtime.
        tokio::task::spawn_blocking(move || {
            let (sent_at, received_at) = (self.sender.join().unwrap(), self.receiver.join().unwrap());
            let peak = MEMORY.peak_usage().saturating_sub(self.memory_before);
            self.stop_observer.store(true, Ordering::Relaxed);
            let slots = self.observer.join().unwrap();
            assert_eq!(sent_at.len(), received_at.len(), "the probe has lost its connection");
            Report::new(sent_at.into_iter().zip(received_at).collect(), &slots, peak)
        })
        .await
        .unwrap()
    }
}

/// Sends pings on schedule, without waiting for pongs, then a leave request. Returns the times of the pings.
fn send_pings(mut stream: TcpStream, stopped: &AtomicBool) -> Vec<Instant> {
    let started = Instant::now();
    let mut sent_at = Vec::new();
    while !stopped.load(Ordering::Relaxed) || sent_at.len() < MIN_PINGS {
        let ping = signal_socket::signal(Request::PingReq(proto::Ping::default()));
        sent_at.push(Instant::now());
        stream.write_all(&ping).expect("the probe has lost its connection");
        let next = started + PING_INTERVAL * u32::try_from(sent_at.len()).unwrap();
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    stream.write_all(&signal_socket::signal(Request::Leave(proto::LeaveRequest::default()))).unwrap();
    sent_at
}

fn observe_engine_threads(stopped: &AtomicBool) -> Vec<Slot> {
    let mut slots = vec![Slot { end: Instant::now(), waited: Duration::ZERO, ran: Duration::ZERO }];
    let mut before = engine_threads();
    while !stopped.load(Ordering::Relaxed) {
        let started = Instant::now();
        thread::sleep(PING_INTERVAL);
        let (end, now) = (Instant::now(), engine_threads());
        let since = |time: fn(&Usage) -> Duration| {
            let each = now
                .iter()
                .map(|(task, usage)| time(usage).saturating_sub(before.get(task).map(time).unwrap_or_default()));
            each.max().unwrap_or_default()
        };
        // A late wake-up means that this thread waited for a processor, and so did the threads of the probe.
        let late = (end - started).saturating_sub(PING_INTERVAL);
        slots.push(Slot { end, waited: since(|usage| usage.waited).max(late), ran: since(|usage| usage.ran) });
        before = now;
    }
    slots
}

/// Total scheduler times of a thread.
struct Usage {
    ran: Duration,
    waited: Duration,
}

/// The engine's threads by task id; empty on systems without `schedstat`.
fn engine_threads() -> HashMap<String, Usage> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_engine = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(ENGINE_THREAD_PREFIX))
    });
    let usages = of_engine.filter_map(|task| {
        let stats = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut nanoseconds = stats.split(' ').map(|count| count.parse().map(Duration::from_nanos));
        let (ran, waited) = (nanoseconds.next()?.ok()?, nanoseconds.next()?.ok()?);
        Some((task.file_name().to_string_lossy().into_owned(), Usage { ran, waited }))
    });
    usages.collect()
}

/// The duration of a round trip without the time that threads waited for a processor. It is at least the time that the engine
/// ran, because its threads may have waited for each other.
fn without_stalls(slots: &[Slot], from: Instant, to: Instant) -> Duration {
    let took = to - from;
    let (mut waited, mut ran) = (Duration::ZERO, Duration::ZERO);
    for pair in slots.windows(2) {
        let [Slot { end: start, .. }, Slot { end, .. }] = pair else { continue };
        let overlap = to.min(*end).saturating_duration_since(from.max(*start));
        let share = overlap.as_secs_f64() / (*end - *start).as_secs_f64();
        waited += pair[1].waited.min(*end - *start).mul_f64(share);
        ran += pair[1].ran.mul_f64(share);
    }
    took.saturating_sub(waited).max(ran).min(took)
}

impl Report {
    fn new(round_trips: Vec<(Instant, Instant)>, slots: &[Slot], peak: usize) -> Self {
        let max_with_stalls = round_trips.iter().map(|(from, to)| *to - *from).max().unwrap();
        let mut took: Vec<Duration> =
            round_trips.into_iter().map(|(from, to)| without_stalls(slots, from, to)).collect();
        took.sort_unstable();
        let at = |percentile: usize| took[(took.len() - 1) * percentile / 100];
        Self { median: at(50), p99: at(99), max: at(100), peak, max_with_stalls }
    }

    /// Asserts that the 99th percentile is at most [`MAX_P99`] and that the peak memory is at most `budget` bytes.
    #[track_caller]
    pub fn assert_within_bounds(&self, attack: &str, budget: usize) {
        println!("{attack}: {self}");
        assert!(self.p99 <= MAX_P99, "{attack}: signalling in another room was delayed: {self}");
        assert!(self.peak <= budget, "{attack}: took more than {budget} bytes: {self}");
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
async fn a_probe_without_an_attack_is_within_bounds() {
    let fixture = Fixture::start().await;
    fixture.start_probe().stop().await.assert_within_bounds("no attack", MIB);
}

#[tokio::test]
async fn a_probe_measures_a_stall_of_the_engine_and_a_memory_peak() {
    let fixture = Fixture::start().await;
    let probe = fixture.start_probe();
    fixture.engine.rooms(|_, _| {
        // The engine thread waits for the lock of the rooms when it handles this request.
        let request = plain_join(&participant_token("elsewhere", "another", "standard"));
        TcpStream::connect(fixture.address()).unwrap().write_all(&request).unwrap();
        thread::sleep(Duration::from_millis(500));
    });
    drop(vec![1; 20 * MIB]);
    let report = probe.stop().await;
    assert!(report.p99 >= Duration::from_millis(200) && report.peak >= 20 * MIB, "{report}");
}
