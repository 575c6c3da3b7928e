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
const PING_INTERVAL: Duration = Duration::from_millis(5);
/// The fewest pings of a watch: fewer would make a 99th percentile of nothing.
const MIN_PINGS: usize = 200;
/// The longest 99th percentile of the round trips that counts as undisturbed.
const MAX_P99: Duration = Duration::from_millis(50);
/// Maximum number of measurements of one attack: other processes on the machine can disturb a single one.
const TRIES: usize = 3;
/// A witness that hears nothing for so long has lost its connection.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// The prefix of the names of the engine's threads, as the system cuts them.
const ENGINE_THREAD: &str = "maravilla-";

impl Party {
    /// Begins to measure.
    pub fn watch(&self) -> Watch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let identity = format!("witness {}", COUNT.fetch_add(1, Ordering::Relaxed));
        Watch::start(self.address(), &identity)
    }

    /// Asserts that an attack keeps to [`MAX_P99`] and the memory budget; a miss of [`MAX_P99`] is measured again, up to [`TRIES`] times.
    pub async fn withstands(&self, attack: &str, budget: usize, mut run: impl AsyncFnMut()) {
        for number in 1.. {
            let watch = self.watch();
            run().await;
            let report = watch.stop().await;
            if report.p99 <= MAX_P99 || number == TRIES {
                return report.assert_undisturbed(attack, budget);
            }
            println!("{attack}: {report}, again");
        }
    }
}

/// A witness at work.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    is_answered: Arc<AtomicBool>,
    sent: JoinHandle<Vec<Instant>>,
    answers: JoinHandle<Vec<Instant>>,
    control: JoinHandle<Vec<Slot>>,
    before: usize,
}

/// What the machine did in a time that ends then and begins where the one before ends.
struct Slot {
    end: Instant,
    /// How long the engine's threads have been ready to run, and had no processor: the one that had to wait longest.
    waited: Duration,
    /// How long the engine's threads have run: the one that ran longest.
    ran: Duration,
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
        wire.socket().set_read_timeout(Some(MAX_WAIT)).unwrap();
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
            let slots = self.control.join().unwrap();
            assert_eq!(sent.len(), answers.len(), "the witness has lost its connection");
            Report::new(sent.into_iter().zip(answers).collect(), &slots, peak)
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

fn observe_machine(is_over: &AtomicBool) -> Vec<Slot> {
    let mut slots = vec![Slot { end: Instant::now(), waited: Duration::ZERO, ran: Duration::ZERO }];
    let mut before = engine_threads();
    while !is_over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        thread::sleep(PING_INTERVAL);
        let (end, now) = (Instant::now(), engine_threads());
        let since = |time: fn(&Usage) -> Duration| {
            let each = now
                .iter()
                .map(|(task, usage)| time(usage).saturating_sub(before.get(task).map(time).unwrap_or_default()));
            each.max().unwrap_or_default()
        };
        // This thread, too, has waited for a processor if it woke late; so have the ones of the witness.
        let late = (end - begun).saturating_sub(PING_INTERVAL);
        slots.push(Slot { end, waited: since(|usage| usage.waited).max(late), ran: since(|usage| usage.ran) });
        before = now;
    }
    slots
}

/// What a thread has had of the processors, ever.
struct Usage {
    ran: Duration,
    waited: Duration,
}

/// The engine's threads; none where the system does not tell.
fn engine_threads() -> HashMap<String, Usage> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_engine = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with(ENGINE_THREAD)));
    let usages = of_engine.filter_map(|task| {
        let stats = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let mut nanoseconds = stats.split(' ').map(|count| count.parse().map(Duration::from_nanos));
        let (ran, waited) = (nanoseconds.next()?.ok()?, nanoseconds.next()?.ok()?);
        Some((task.file_name().to_string_lossy().into_owned(), Usage { ran, waited }))
    });
    usages.collect()
}

/// What a round trip would have taken on a machine that does nothing else. It is at least the time that the engine has run
/// meanwhile: threads that wait for a processor may wait for each other.
fn adjusted(slots: &[Slot], from: Instant, to: Instant) -> Duration {
    let took = to - from;
    let (mut waited, mut ran) = (Duration::ZERO, Duration::ZERO);
    for pair in slots.windows(2) {
        let [Slot { end: begin, .. }, Slot { end, .. }] = pair else { continue };
        let overlap = to.min(*end).saturating_duration_since(from.max(*begin));
        let share = overlap.as_secs_f64() / (*end - *begin).as_secs_f64();
        waited += pair[1].waited.min(*end - *begin).mul_f64(share);
        ran += pair[1].ran.mul_f64(share);
    }
    took.saturating_sub(waited).max(ran).min(took)
}

impl Report {
    fn new(round_trips: Vec<(Instant, Instant)>, slots: &[Slot], peak: usize) -> Self {
        let max_with_stalls = round_trips.iter().map(|(from, to)| *to - *from).max().unwrap();
        let mut took: Vec<Duration> = round_trips.into_iter().map(|(from, to)| adjusted(slots, from, to)).collect();
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
