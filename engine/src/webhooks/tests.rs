use std::collections::VecDeque;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use livekit_protocol as proto;
use tokio::sync::Notify;

use super::*;
use crate::clock::Now;
use crate::registry::rooms::{Rooms, Settings, TokenIssuedAt};

const TIMING: Timing = Timing {
    max_age: Duration::from_secs(30),
    attempt: Duration::from_secs(10),
    backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(4),
};

type Outcome = Result<WebhookResponse, WebhookFailure>;

/// Answers with the given outcomes, then with 200; hangs if there is no URL to answer.
#[derive(Default)]
struct FakeTransport {
    outcomes: Mutex<VecDeque<Outcome>>,
    hanging: Option<&'static str>,
    requests: Mutex<Vec<WebhookRequest>>,
    lost: Mutex<Vec<(String, String, LossReason)>>,
    changed: Notify,
    /// Number of next requests that panic.
    panics: AtomicUsize,
    report_panics: AtomicBool,
}

impl WebhookTransport for FakeTransport {
    fn post(&self, request: WebhookRequest) -> BoxFuture<'static, Outcome> {
        if self.panics.load(Ordering::SeqCst) > 0 {
            self.panics.fetch_sub(1, Ordering::SeqCst);
            panic!("a test of a panic");
        }
        let hangs = self.hanging.is_some_and(|part| request.url.contains(part));
        self.requests.lock().unwrap().push(request);
        let outcome = self.outcomes.lock().unwrap().pop_front().unwrap_or(Ok(status(200)));
        self.changed.notify_waiters();
        if hangs { pending().boxed() } else { async move { outcome }.boxed() }
    }

    fn report(&self, lost: &LostWebhook<'_>) {
        self.lost.lock().unwrap().push((lost.event.to_owned(), lost.room.to_owned(), lost.reason));
        self.changed.notify_waiters();
        assert!(!self.report_panics.load(Ordering::SeqCst), "a test of a panic");
    }
}

impl FakeTransport {
    /// Waits until `check` holds.
    async fn until(&self, check: impl Fn(&Self) -> bool) {
        loop {
            let changed = self.changed.notified();
            if check(self) {
                return;
            }
            // A change may come before the wait for it.
            let _ = tokio::time::timeout(Duration::from_millis(20), changed).await;
        }
    }

    /// The names of the events in the requests to a URL.
    fn events(&self, url: &str) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        let bodies = requests.iter().filter(|request| &*request.url == url).map(|request| {
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            format!("{} {}", body["event"].as_str().unwrap(), body["room"]["name"].as_str().unwrap())
        });
        bodies.collect()
    }

    fn losses(&self) -> Vec<LossReason> {
        self.lost.lock().unwrap().iter().map(|(_, _, reason)| *reason).collect()
    }
}

fn status(status: u16) -> WebhookResponse {
    WebhookResponse { status, retry_after: None }
}

fn delivery(urls: &[&str], transport: &Arc<FakeTransport>, timing: Timing) -> Delivery {
    let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
    let transport: Arc<dyn WebhookTransport> = transport.clone();
    Delivery::new(&urls, &transport, Signer::new("key", "secret"), timing)
}

/// The events of creating those rooms.
fn started(names: &[&str]) -> Vec<RoomEvent> {
    let mut rooms = Rooms::new("e".into());
    rooms.record_events();
    for name in names {
        rooms.create(name, &Settings::default(), Now::read()).unwrap();
    }
    rooms.take_events()
}

/// So many events of one room, which is created and deleted in turn.
fn of_one_room(count: usize) -> Vec<RoomEvent> {
    let mut rooms = Rooms::new("e".into());
    rooms.record_events();
    for _ in 0..count.div_ceil(2) {
        rooms.create("r", &Settings::default(), Now::read()).unwrap();
        rooms.delete("r", Now::read());
    }
    let mut events = rooms.take_events();
    events.truncate(count);
    events
}

fn enqueue(delivery: &Delivery, events: &[RoomEvent]) {
    for event in events {
        delivery.enqueue(event);
    }
}

#[tokio::test]
async fn sends_the_events_of_a_room_in_order_to_every_url() {
    let transport = Arc::new(FakeTransport::default());
    let delivery = delivery(&["http://a", "http://b"], &transport, TIMING);
    enqueue(&delivery, &of_one_room(6));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 12).await;
    let expected = ["room_started r", "room_finished r"].repeat(3);
    assert_eq!(
        (transport.events("http://a"), transport.events("http://b")),
        (to_owned(&expected), to_owned(&expected))
    );
}

fn to_owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn signs_the_body_as_livekit_server_does() {
    let transport = Arc::new(FakeTransport::default());
    enqueue(&delivery(&["http://a"], &transport, TIMING), &started(&["r"]));
    transport.until(|transport| !transport.requests.lock().unwrap().is_empty()).await;
    let request = transport.requests.lock().unwrap()[0].clone();
    assert_eq!((request.content_type, request.user_agent), ("application/webhook+json", "LiveKit"));
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.validate_nbf = true;
    let key = jsonwebtoken::DecodingKey::from_secret(b"secret");
    let claims = jsonwebtoken::decode::<serde_json::Value>(&*request.token, &key, &validation).unwrap().claims;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &request.body);
    let sha256 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    assert_eq!((claims["iss"].as_str(), claims["sha256"].as_str()), (Some("key"), Some(sha256.as_str())));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 300);
}

#[tokio::test]
async fn retries_with_the_same_body_until_a_receiver_has_got_the_event() {
    let transport = Arc::new(FakeTransport::default());
    let failures = [Err(WebhookFailure::Temporary), Ok(status(500)), Ok(status(429)), Ok(status(503))];
    transport.outcomes.lock().unwrap().extend(failures);
    enqueue(&delivery(&["http://a"], &transport, TIMING), &of_one_room(2));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 6).await;
    let mut expected = vec!["room_started r"; 5];
    expected.push("room_finished r");
    assert_eq!(transport.events("http://a"), expected);
    let bodies: Vec<_> = transport.requests.lock().unwrap().iter().map(|request| request.body.clone()).collect();
    assert!(bodies[..5].iter().all(|body| *body == bodies[0]), "a retry has the same id");
    assert!(transport.losses().is_empty());
}

#[tokio::test]
async fn gives_an_event_up_after_five_attempts_and_sends_the_next_one() {
    let transport = Arc::new(FakeTransport::default());
    transport.outcomes.lock().unwrap().extend([Ok(status(500)); 5]);
    enqueue(&delivery(&["http://a"], &transport, TIMING), &of_one_room(2));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 6).await;
    assert_eq!(transport.losses(), [LossReason::Failed]);
}

#[tokio::test]
async fn does_not_retry_what_can_never_succeed_or_was_received() {
    for (outcome, losses) in [
        (Err(WebhookFailure::Permanent), vec![LossReason::Failed]),
        (Ok(status(404)), vec![LossReason::Rejected(404)]),
        (Ok(status(501)), vec![LossReason::Rejected(501)]),
        (Ok(status(302)), vec![LossReason::Rejected(302)]),
        (Ok(status(204)), vec![]),
    ] {
        let transport = Arc::new(FakeTransport::default());
        transport.outcomes.lock().unwrap().push_back(outcome);
        enqueue(&delivery(&["http://a"], &transport, TIMING), &of_one_room(2));
        transport.until(|transport| transport.events("http://a").len() == 2).await;
        assert_eq!(transport.losses(), losses, "{outcome:?}");
    }
}

#[tokio::test]
async fn caps_retry_after_at_the_maximum_backoff() {
    let transport = Arc::new(FakeTransport::default());
    let response = WebhookResponse { status: 429, retry_after: Some(Duration::from_secs(3600)) };
    transport.outcomes.lock().unwrap().push_back(Ok(response));
    enqueue(&delivery(&["http://a"], &transport, TIMING), &started(&["r"]));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 2).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_no_other_and_loses_only_what_exceeds_its_queue() {
    let transport = Arc::new(FakeTransport { hanging: Some("slow"), ..FakeTransport::default() });
    let delivery = delivery(&["http://slow", "http://fast"], &transport, TIMING);
    for event in of_one_room(300) {
        delivery.enqueue(&event);
        // The task that sends has to run first, as on the webhook thread.
        tokio::task::yield_now().await;
    }
    transport.until(|transport| transport.events("http://fast").len() == 300).await;
    assert_eq!(transport.events("http://slow").len(), 1);
    assert_eq!(transport.losses(), vec![LossReason::QueueFull; 99], "1 is in flight, 200 wait");
}

#[tokio::test]
async fn sends_at_most_64_requests_at_a_time_and_drops_events_that_have_waited_too_long() {
    let timing = Timing { max_age: Duration::from_millis(50), attempt: Duration::from_millis(20), ..TIMING };
    let transport = Arc::new(FakeTransport { hanging: Some("slow"), ..FakeTransport::default() });
    let delivery = delivery(&["http://slow"], &transport, timing);
    let names: Vec<String> = (0..400).map(|i| format!("r{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    enqueue(&delivery, &started(&names));
    tokio::task::yield_now().await;
    assert!(transport.requests.lock().unwrap().len() <= 64);
    transport.until(|transport| transport.losses().len() == 400).await;
    assert!(
        transport.losses().contains(&LossReason::TooOld),
        "400 attempts of 20 ms, 64 at a time, take longer than 50 ms"
    );
}

/// Blocks a thread of the runtime's pool for each request, as a name lookup does, until it is released.
#[derive(Default)]
struct BlockingTransport {
    requests: AtomicUsize,
    running: Arc<AtomicUsize>,
    released: Arc<AtomicBool>,
}

impl WebhookTransport for BlockingTransport {
    fn post(&self, _: WebhookRequest) -> BoxFuture<'static, Outcome> {
        let (running, released) = (self.running.clone(), self.released.clone());
        let lookup = tokio::task::spawn_blocking(move || {
            running.fetch_add(1, Ordering::SeqCst);
            while !released.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        self.requests.fetch_add(1, Ordering::SeqCst);
        async move { lookup.await.map(|()| status(200)).map_err(|_| WebhookFailure::Temporary) }.boxed()
    }
}

#[test]
fn hanging_name_lookups_block_at_most_four_threads() {
    let transport = Arc::new(BlockingTransport::default());
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let config = WebhookConfig { urls: vec!["http://a".into()], transport: transport.clone() };
    let webhooks = Webhooks::start(&config, ("key", "secret"), stop).unwrap();
    let names: Vec<String> = (0..20).map(|i| format!("r{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for event in started(&names) {
        webhooks.enqueue(event);
    }
    while transport.requests.load(Ordering::SeqCst) < 20 || transport.running.load(Ordering::SeqCst) < 4 {
        std::thread::yield_now();
    }
    let running = transport.running.load(Ordering::SeqCst);
    transport.released.store(true, Ordering::SeqCst);
    assert_eq!(running, 4);
}

/// The events of creating and deleting a room with so much metadata so many times.
fn of_large_room(name: &str, metadata_bytes: usize, times: usize) -> Vec<RoomEvent> {
    let mut rooms = Rooms::new("e".into());
    rooms.record_events();
    let settings = Settings { metadata: &"m".repeat(metadata_bytes), ..Settings::default() };
    for _ in 0..times {
        rooms.create(name, &settings, Now::read()).unwrap();
        rooms.delete(name, Now::read());
    }
    rooms.take_events()
}

#[tokio::test]
async fn drops_new_events_of_a_room_that_takes_too_much_memory_and_none_of_other_rooms() {
    let transport = Arc::new(FakeTransport { hanging: Some("slow"), ..FakeTransport::default() });
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let config = WebhookConfig { urls: vec!["http://slow".into()], transport: transport.clone() };
    let webhooks = Webhooks::start(&config, ("key", "secret"), stop).unwrap();
    for event in of_large_room("large", 512 * 1024, 40) {
        webhooks.enqueue(event);
    }
    for event in of_large_room("other", 512 * 1024, 1) {
        webhooks.enqueue(event);
    }
    for event in started(&["small"]) {
        webhooks.enqueue(event);
    }
    transport.until(|transport| transport.events("http://slow").contains(&"room_started small".into())).await;
    transport.until(|transport| transport.losses().len() >= 70).await;
    let lost = transport.lost.lock().unwrap();
    assert!(
        lost.iter().all(|(_, room, reason)| room == "large" && *reason == LossReason::OutOfMemory),
        "{:?}",
        lost.iter().find(|(_, room, _)| room != "large")
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_takes_no_memory_of_another() {
    let transport = Arc::new(FakeTransport { hanging: Some("slow"), ..FakeTransport::default() });
    let delivery = delivery(&["http://slow", "http://fast"], &transport, TIMING);
    for i in 0..40 {
        for event in of_large_room(&format!("r{i}"), 512 * 1024, 1) {
            delivery.enqueue(&event);
            let sent = transport.events("http://fast").len() + 1;
            transport.until(|transport| transport.events("http://fast").len() == sent).await;
        }
    }
    transport.until(|transport| transport.events("http://fast").len() == 80).await;
    assert!(transport.losses().len() > 40, "the one that hangs");
}

#[tokio::test]
async fn events_that_have_waited_too_long_make_room_for_new_ones() {
    let timing = Timing { max_age: Duration::from_millis(500), ..TIMING };
    let transport = Arc::new(FakeTransport { hanging: Some("slow"), ..FakeTransport::default() });
    let delivery = delivery(&["http://slow"], &transport, timing);
    let late: Vec<Vec<RoomEvent>> = (0..4).map(|i| of_large_room(&format!("late {i}"), 512 * 1024, 1)).collect();
    let names: Vec<String> = (0..64).map(|i| format!("in flight {i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    enqueue(&delivery, &started(&names));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 64).await;
    for i in 0..28 {
        enqueue(&delivery, &of_large_room(&format!("r{i}"), 512 * 1024, 1)[..1]);
    }
    enqueue(&delivery, &of_one_room(200));
    assert!(transport.losses().is_empty(), "28 large events and 200 small ones of one room fit");
    tokio::time::sleep(timing.max_age * 2).await;
    enqueue(&delivery, &of_one_room(1));
    assert_eq!(transport.losses(), [LossReason::TooOld; 200], "those of the queue that is full");
    for events in &late {
        enqueue(&delivery, &events[..1]);
    }
    assert_eq!(transport.losses(), [LossReason::TooOld; 228], "those of all queues");
}

#[tokio::test]
async fn sends_the_next_events_of_a_room_after_a_panic() {
    for report_panics in [false, true] {
        let transport = Arc::new(FakeTransport::default());
        transport.panics.store(1, Ordering::SeqCst);
        transport.report_panics.store(report_panics, Ordering::SeqCst);
        let delivery = delivery(&["http://a"], &transport, TIMING);
        let events = of_one_room(2);
        enqueue(&delivery, &events[..1]);
        transport.until(|transport| !transport.losses().is_empty()).await;
        tokio::task::yield_now().await;
        enqueue(&delivery, &events[1..]);
        let sent = transport.until(|transport| transport.events("http://a") == ["room_finished r"]);
        tokio::time::timeout(Duration::from_secs(5), sent).await.expect("the next event is sent");
        assert_eq!(transport.losses(), [LossReason::Internal]);
    }
}

#[tokio::test]
async fn reports_events_that_the_webhook_thread_does_not_take() {
    let transport = Arc::new(FakeTransport::default());
    let (queue, _) = mpsc::unbounded_channel();
    let (budget, stop) = (Budget::new(MAX_UNENCODED_BYTES), CancellationToken::new());
    let webhooks = Webhooks { queue, budget, transport: transport.clone(), stop: stop.clone() };
    for event in started(&["r"]) {
        webhooks.enqueue(event);
    }
    assert_eq!(transport.losses(), [LossReason::Internal]);
    stop.cancel();
    for event in started(&["r"]) {
        webhooks.enqueue(event);
    }
    assert_eq!(transport.losses().len(), 1, "none once the engine ends");
}

#[tokio::test]
async fn signs_each_attempt_at_its_time() {
    static SECONDS: AtomicI64 = AtomicI64::new(1_000);
    let transport = Arc::new(FakeTransport::default());
    transport.outcomes.lock().unwrap().extend([Ok(status(500)); 2]);
    let signer = Signer::with_clock("key", "secret", || SECONDS.fetch_add(1, Ordering::SeqCst));
    let sender: Arc<dyn WebhookTransport> = transport.clone();
    let delivery = Delivery::new(&["http://a".to_owned()], &sender, signer, TIMING);
    enqueue(&delivery, &started(&["r"]));
    transport.until(|transport| transport.requests.lock().unwrap().len() == 3).await;
    let tokens: Vec<_> = transport.requests.lock().unwrap().iter().map(|request| request.token.clone()).collect();
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2]);
}

#[test]
fn reports_a_call_in_the_order_of_its_events() {
    let (mut rooms, now) = (Rooms::new("e".into()), Now::read());
    rooms.record_events();
    let participant = |identity: &str| proto::ParticipantInfo { identity: identity.into(), ..Default::default() };
    let join = |rooms: &mut Rooms, identity: &str| {
        let issued_at = TokenIssuedAt::default();
        rooms.join("r", &Settings::default(), participant(identity), issued_at, now).unwrap().participant
    };
    let active = |info: &proto::ParticipantInfo, tracks: &[&str]| {
        let track = |sid: &&str| proto::TrackInfo { sid: sid.to_string(), ..proto::TrackInfo::default() };
        let mut info = proto::ParticipantInfo { tracks: tracks.iter().map(track).collect(), ..info.clone() };
        info.set_state(proto::participant_info::State::Active);
        Arc::new(info)
    };
    let ann = join(&mut rooms, "ann");
    rooms.update("r", active(&ann, &[]), now);
    rooms.update("r", active(&ann, &["TR_1", "TR_2"]), now);
    rooms.update("r", active(&ann, &["TR_2"]), now);
    let ben = join(&mut rooms, "ben");
    rooms.leave("r", "ben", proto::DisconnectReason::SignalClose, now).unwrap();
    let again = join(&mut rooms, "ann");
    rooms.update("r", active(&again, &["TR_3"]), now);
    rooms.delete("r", now);
    let events: Vec<_> = rooms.take_events().iter().map(|event| event.to_proto("EV_1".into())).collect();
    let shown: Vec<String> = events
        .iter()
        .map(|event| {
            let sid = event.participant.as_ref().map_or("", |participant| participant.sid.as_str());
            let who = if sid == ann.sid {
                "ann"
            } else if sid == ben.sid {
                "ben"
            } else if sid == again.sid {
                "again"
            } else {
                ""
            };
            let track = event.track.as_ref().map_or("", |track| track.sid.as_str());
            format!("{} {who}{track}", event.event)
        })
        .collect();
    let expected = [
        "room_started ",
        "participant_joined ann",
        "track_published annTR_1",
        "track_published annTR_2",
        "track_unpublished annTR_1",
        "participant_connection_aborted ben",
        "track_unpublished annTR_2",
        "participant_left ann",
        "participant_joined again",
        "track_published againTR_3",
        "track_unpublished againTR_3",
        "participant_left again",
        "room_finished ",
    ];
    assert_eq!(shown, expected);
    let left = events[7].participant.as_ref().unwrap();
    assert_eq!(left.disconnect_reason(), proto::DisconnectReason::DuplicateIdentity);
    assert_eq!((left.state(), left.tracks.len()), (proto::participant_info::State::Disconnected, 0));
    let finished = events.last().unwrap();
    assert_eq!(finished.room_end_reason(), proto::RoomEndReason::RoomEndApiDelete);
    assert_eq!(finished.room.as_ref().unwrap().name, "r");
    assert_eq!(events[2].room.as_ref().unwrap().creation_time, 0, "events of tracks have only ids of the room");
}

#[test]
fn reports_tracks_only_while_their_participant_is_active() {
    let (mut rooms, now) = (Rooms::new("e".into()), Now::read());
    rooms.record_events();
    let settings = Settings { metadata: &"m".repeat(500 * 1024), ..Settings::default() };
    let join = |rooms: &mut Rooms, identity: &str| {
        let participant = proto::ParticipantInfo { identity: identity.into(), ..Default::default() };
        rooms.join("r", &settings, participant, TokenIssuedAt::default(), now).unwrap().participant
    };
    let with_track = |info: &proto::ParticipantInfo, state: proto::participant_info::State| {
        let tracks = vec![proto::TrackInfo { sid: "TR_1".into(), ..Default::default() }];
        let mut info = proto::ParticipantInfo { tracks, ..info.clone() };
        info.set_state(state);
        Arc::new(info)
    };
    let ann = join(&mut rooms, "ann");
    rooms.update("r", with_track(&ann, proto::participant_info::State::Joined), now);
    rooms.update("r", with_track(&ann, proto::participant_info::State::Active), now);
    let ben = join(&mut rooms, "ben");
    rooms.update("r", with_track(&ben, proto::participant_info::State::Joined), now);
    for identity in ["ben", "ann"] {
        rooms.leave("r", identity, proto::DisconnectReason::SignalClose, now).unwrap();
    }
    let events = rooms.take_events();
    let names: Vec<&str> = events.iter().map(RoomEvent::name).collect();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "participant_connection_aborted",
        "track_unpublished",
        "participant_left",
    ];
    assert_eq!(names, expected);
    for track in [&events[2], &events[4]] {
        assert!(track.size() < 4096, "the room's metadata is not part of a track's event: {} bytes", track.size());
    }
}

#[test]
fn reports_an_expired_room_as_idle_also_when_it_is_created_again() {
    let (mut rooms, now) = (Rooms::new("e".into()), Now::read());
    rooms.record_events();
    let settings = Settings { empty_timeout: 1, ..Settings::default() };
    let later = Now { instant: now.instant + Duration::from_secs(2), ..now };
    rooms.create("r", &settings, now).unwrap();
    rooms.create("r", &settings, later).unwrap();
    rooms.sweep(later);
    let events: Vec<_> = rooms.take_events().iter().map(|event| event.to_proto(String::new())).collect();
    let names: Vec<&str> = events.iter().map(|event| event.event.as_str()).collect();
    assert_eq!(names, ["room_started", "room_finished", "room_started"]);
    assert_eq!(events[1].room_end_reason(), proto::RoomEndReason::RoomEndIdleTimeout);
    assert_ne!(events[0].room.as_ref().unwrap().sid, events[2].room.as_ref().unwrap().sid);
}

#[test]
fn records_nothing_unless_it_is_told_to() {
    let mut rooms = Rooms::new("e".into());
    rooms.create("r", &Settings::default(), Now::read()).unwrap();
    rooms.delete("r", Now::read());
    assert!(rooms.take_events().is_empty());
}
