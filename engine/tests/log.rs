//! The events that the engine logs: level and fields of each, and that none contains a token, secret or message.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

#[path = "support/client.rs"]
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod client;
#[expect(clippy::allow_attributes, reason = "each suite uses a different part")]
#[allow(dead_code, reason = "each suite uses a different part")]
mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock};

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use serde_json::{Value, json};
use str0m::media::MediaKind;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

use client::{ConnectOptions, TestClient, connect_signalling, encode_join_request, participant_token};
use support::{HttpClient, SECRET, TIMEOUT, start, token};

const ROOM: &str = "party";

/// An event: its level, its message, and its other fields.
#[derive(Debug, Clone, Default)]
struct LoggedEvent {
    level: Option<Level>,
    fields: BTreeMap<&'static str, String>,
}

impl LoggedEvent {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Visit for LoggedEvent {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Collects the engine's events at all levels.
#[derive(Default)]
struct Collector {
    events: Mutex<Vec<LoggedEvent>>,
    changed: Notify,
}

impl Subscriber for &'static Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("maravilla_engine") && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut logged = LoggedEvent { level: Some(*event.metadata().level()), ..LoggedEvent::default() };
        event.record(&mut logged);
        self.events.lock().unwrap().push(logged);
        self.changed.notify_waiters();
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Collector {
    /// The collector of the process.
    fn start() -> &'static Self {
        static COLLECTOR: OnceLock<Collector> = OnceLock::new();
        static STARTED: OnceLock<()> = OnceLock::new();
        let collector = COLLECTOR.get_or_init(Self::default);
        STARTED.get_or_init(|| tracing::subscriber::set_global_default(collector).unwrap());
        collector
    }

    /// Waits for an event with this message and these fields.
    async fn wait_for(&self, message: &str, fields: &[(&str, &str)]) -> LoggedEvent {
        let is_expected = |event: &&LoggedEvent| {
            event.field("message") == message && fields.iter().all(|(name, value)| event.field(name) == *value)
        };
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = self.events.lock().unwrap().iter().find(is_expected) {
                    return found.clone();
                }
                changed.await;
            }
        };
        timeout(TIMEOUT, wait).await.unwrap_or_else(|_| {
            let events = self.events.lock().unwrap().clone();
            panic!("timeout waiting for {message:?} with {fields:?}: {events:#?}")
        })
    }
}

fn call(engine: &Engine, method: &str, body: &Value) {
    let token = token(&json!({ "roomCreate": true, "roomAdmin": true, "room": ROOM }));
    let response = HttpClient::connect(engine.address()).call(method, &token, body);
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Opens a signalling connection that resumes the session with this `sid`.
async fn resume(engine: &Engine, token: &str, sid: &str) {
    let request = proto::JoinRequest { reconnect: true, participant_sid: sid.to_owned(), ..Default::default() };
    let connection = connect_signalling(engine.address(), token, &encode_join_request(&request)).await;
    assert!(connection.is_some());
}

/// The refresh tokens and ICE passwords that a client was sent, as far as its answers are recorded.
fn secrets_of(client: &TestClient) -> (Vec<String>, Vec<String>) {
    let token = |response: &Response| match response {
        Response::RefreshToken(token) => Some(token.clone()),
        _ => None,
    };
    let password = |line: &str| line.strip_prefix("a=ice-pwd:").map(str::to_owned);
    client.with_state(|state| {
        let answers = state.recorded_answers.iter().flatten();
        let passwords = answers.flat_map(|answer| answer.sdp.lines().filter_map(password)).collect();
        (state.responses.iter().filter_map(token).collect(), passwords)
    })
}

// One test, because sessions have the same numbers in each engine, and the collector is the process's.
#[tokio::test]
async fn logs_each_event_with_its_fields_and_without_secrets() {
    let (log, engine) = (Collector::start(), start());
    let join = |identity| TestClient::join(engine.address(), ROOM, identity);

    // Join.
    let ann = join("ann").await;
    let joined = log.wait_for("participant joined", &[("room", ROOM), ("participant", "ann")]).await;
    assert_eq!(joined.level, Some(Level::INFO));
    let (ann_session, ann_sid) = (joined.field("session").to_owned(), joined.field("sid").to_owned());
    assert!(ann_sid.starts_with("PA_"));
    let ben = join("ben").await;
    let ben_session = log.wait_for("participant joined", &[("participant", "ben")]).await.field("session").to_owned();

    // Tracks, layer switch and PLI.
    ann.with_state(|state| state.recorded_answers = Some(Vec::new()));
    let sid = ann.publish(MediaKind::Video).await;
    let published = log.wait_for("track published", &[("participant", "ann"), ("sid", &sid)]).await;
    let track = published.field("track").to_owned();
    ben.wait_for_packets(std::slice::from_ref(&sid)).await;
    let switched = log.wait_for("layer switched", &[("subscriber", &ben_session), ("from", "None")]).await;
    assert_eq!(switched.level, Some(Level::DEBUG));
    let requested = [("publisher", &*ann_session), ("subscriber", &ben_session), ("track", &track)];
    ben.with_state(|state| {
        let mid = state.mid_of(&sid).unwrap();
        state.request_keyframe(mid);
    });
    assert_eq!(log.wait_for("PLI sent", &requested).await.level, Some(Level::DEBUG));

    // Drop.
    ann.wait_for_data_channels().await;
    call(
        &engine,
        "UpdateParticipant",
        &json!({
            "room": ROOM, "identity": "ann", "permission": { "canSubscribe": true, "canPublish": true, "canPublishData": false }
        }),
    );
    ann.send_data("a private message", true);
    let dropped = log.wait_for("data dropped", &[("session", &ann_session), ("reason", "not permitted")]).await;
    assert_eq!(dropped.level, Some(Level::DEBUG));

    // Resume.
    let token = participant_token(ROOM, "ann", "standard");
    resume(&engine, &token, &ann_sid).await;
    let resumed = log.wait_for("participant resumed", &[("participant", "ann"), ("session", &ann_session)]).await;
    assert_eq!(resumed.level, Some(Level::INFO));
    resume(&engine, &token, "PA_unknown").await;
    let rejected = log.wait_for("resume rejected", &[("room", ROOM), ("participant", "ann")]).await;
    assert_eq!(rejected.level, Some(Level::INFO));

    // Rejection.
    call(&engine, "CreateRoom", &json!({ "name": "full", "maxParticipants": 1 }));
    let _first = TestClient::join(engine.address(), "full", "first").await;
    assert!(TestClient::connect(engine.address(), ConnectOptions::new("full", "second")).await.is_none());
    let rejected = log.wait_for("join rejected", &[("room", "full"), ("participant", "second")]).await;
    assert_eq!(rejected.level, Some(Level::INFO));
    assert_eq!(rejected.field("error"), "room has exceeded its max participants");

    // Leave, removal and failure.
    let (tokens, passwords) = secrets_of(&ann);
    ben.leave().await;
    let left = [("room", ROOM), ("participant", "ben"), ("session", &ben_session), ("reason", "CLIENT_INITIATED")];
    assert_eq!(log.wait_for("participant left", &left).await.level, Some(Level::INFO));
    call(&engine, "RemoveParticipant", &json!({ "room": ROOM, "identity": "ann" }));
    let removed =
        [("room", ROOM), ("participant", "ann"), ("session", &*ann_session), ("reason", "PARTICIPANT_REMOVED")];
    assert_eq!(log.wait_for("participant removed", &removed).await.level, Some(Level::INFO));
    let cat = join("cat").await;
    let unknown = proto::TrackPublishedResponse {
        track: Some(proto::TrackInfo { sid: "TR_unknown".into(), ..Default::default() }),
        ..Default::default()
    };
    cat.send_request(Request::SyncState(proto::SyncState { publish_tracks: vec![unknown], ..Default::default() }));
    let failed = [("participant", "cat"), ("reason", "STATE_MISMATCH"), ("cause", "published track unknown")];
    assert_eq!(log.wait_for("participant removed", &failed).await.level, Some(Level::WARN));
    engine.close().await;
    let closed = [("participant", "first"), ("reason", "SERVER_SHUTDOWN")];
    assert_eq!(log.wait_for("participant removed", &closed).await.level, Some(Level::INFO));

    // Secrets: tokens, also refreshed ones, ICE passwords, and messages.
    assert!(!tokens.is_empty() && !passwords.is_empty());
    let secrets = tokens.iter().chain(&passwords).map(String::as_str);
    let secrets = secrets.chain([SECRET, "eyJ", "a private message", &token]);
    let text = format!("{:?}", log.events.lock().unwrap());
    for secret in secrets {
        assert!(!text.contains(secret), "an event contains {secret}");
    }
}
