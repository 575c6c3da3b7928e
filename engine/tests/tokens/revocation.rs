//! Deletes rooms while participants join, resume and update their metadata: no token from before the deletion opens the room
//! again, the tokens that the engine hands out meanwhile included.
//!
//! `REVOCATION_TRIES` sets the number of rooms; the default keeps the test within some seconds.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use maravilla_engine::Engine;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::HS256;
use crate::caller::{dial, packed};
use crate::support::{Answer, Client, KEY, SECRET, admin, now, sign, start};

const DEFAULT_TRIES: usize = 40;
/// Participants that update their metadata, resume and join again in each room.
const UPDATERS: usize = 4;
const RESUMERS: usize = 2;
const JOINERS: usize = 3;
/// Attempts of one participant to get in after the deletion; one that succeeds fails the test.
const ATTEMPTS_AFTER_DELETION: usize = 3;

/// A token to join with. `mark` is the engine's private claim, `None` for a token of a foreign library.
pub fn token(room: &str, identity: &str, more: &Value) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let mut claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sign(HS256, &claims.to_string(), SECRET)
}

/// A token that the engine's owner mints now.
fn minted(engine: &Engine, room: &str, identity: &str) -> String {
    let mark = engine.rooms(|rooms, _| rooms.epoch());
    token(room, identity, &json!({ "nbf": now(), "maravilla": serde_json::to_value(mark).unwrap() }))
}

fn join_request() -> proto::JoinRequest {
    let client_info = Some(proto::ClientInfo { protocol: 17, ..Default::default() });
    proto::JoinRequest { client_info, ..Default::default() }
}

/// The answer to whether that token joins.
fn validate(engine: &Engine, token: &str) -> Answer {
    let request = packed(&join_request()).replace('=', "%3D");
    let path = format!("/rtc/v1/validate?access_token={token}&join_request={request}");
    Client::connect(engine.address()).ask(format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n"))
}

fn status(engine: &Engine, token: &str) -> u16 {
    validate(engine, token).status
}

/// One participant's signalling, without media, and every token that it was given.
struct Participant<'a> {
    engine: &'a Engine,
    sid: String,
    tokens: Vec<String>,
    socket: Option<WebSocketStream<TcpStream>>,
}

impl<'a> Participant<'a> {
    fn new(engine: &'a Engine, room: &str, identity: &str) -> Self {
        Self { engine, sid: String::new(), tokens: vec![minted(engine, room, identity)], socket: None }
    }

    /// Connects with the newest token. Whether that was admitted.
    async fn connect(&mut self, request: &proto::JoinRequest) -> bool {
        let token = self.tokens.last().unwrap();
        self.socket = dial(self.engine.address(), token, &packed(request)).await;
        self.socket.is_some()
    }

    async fn join(&mut self) -> bool {
        self.connect(&join_request()).await
    }

    async fn resume(&mut self) -> bool {
        let participant_sid = self.sid.clone();
        self.connect(&proto::JoinRequest { reconnect: true, participant_sid, ..Default::default() }).await
    }

    async fn update_name(&mut self, name: String) {
        let update = proto::UpdateParticipantMetadata { name, ..Default::default() };
        let request = proto::SignalRequest { message: Some(Ask::UpdateMetadata(update)) };
        if let Some(socket) = &mut self.socket {
            // The engine may have closed the connection.
            let _ = socket.send(Message::binary(request.encode_to_vec())).await;
        }
    }

    /// Reads until the engine has sent one more token; `false` if it has closed the connection instead.
    async fn reads_a_token(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(bytes) = message else { continue };
            match proto::SignalResponse::decode(bytes).unwrap().message {
                Some(Told::Join(join)) => self.sid = join.participant.unwrap().sid,
                Some(Told::RefreshToken(token)) => {
                    self.tokens.push(token);
                    return true;
                }
                _ => (),
            }
        }
        false
    }

    async fn reads_to_the_end(&mut self) {
        while self.reads_a_token().await {}
    }
}

/// How far a try is.
#[derive(Default)]
struct Progress {
    joined: AtomicUsize,
    deleted: AtomicUsize,
}

impl Progress {
    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst) > 0
    }

    /// Whether to connect once more, and counts those attempts that come after the deletion.
    fn goes_on(&self, attempts: &mut usize) -> bool {
        *attempts += usize::from(self.is_deleted());
        *attempts <= ATTEMPTS_AFTER_DELETION
    }
}

async fn updates(mut participant: Participant<'_>, progress: &Progress, number: usize) -> Vec<String> {
    assert!(participant.join().await && participant.reads_a_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    // Spread around the deletion, which comes within the same time.
    sleep(Duration::from_micros(rand::random_range(0..3000))).await;
    for update in 0..5 {
        participant.update_name(format!("{number} {update}")).await;
    }
    participant.reads_to_the_end().await;
    participant.tokens
}

async fn resumes(mut participant: Participant<'_>, progress: &Progress) -> Vec<String> {
    assert!(participant.join().await && participant.reads_a_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    let mut attempts = 0;
    while progress.goes_on(&mut attempts) {
        if participant.resume().await {
            participant.reads_a_token().await;
        }
    }
    participant.tokens
}

async fn joins(mut participant: Participant<'_>, progress: &Progress) -> Vec<String> {
    assert!(participant.join().await && participant.reads_a_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    let mut attempts = 0;
    while progress.goes_on(&mut attempts) {
        if participant.join().await {
            participant.reads_a_token().await;
        }
    }
    participant.tokens
}

/// Deletes one room under load. Gives the number of tokens that its participants hold and of those that still open it.
async fn delete_under_load(engine: &Engine, number: usize) -> (usize, usize) {
    let room = format!("room {number}");
    let progress = Progress::default();
    let participant = |identity: String| Participant::new(engine, &room, &identity);
    let updaters = (0..UPDATERS).map(|index| updates(participant(format!("updater {index}")), &progress, index));
    let resumers = (0..RESUMERS).map(|index| resumes(participant(format!("resumer {index}")), &progress));
    let joiners = (0..JOINERS).map(|index| joins(participant(format!("joiner {index}")), &progress));
    let deletes = async {
        while progress.joined.load(Ordering::SeqCst) < UPDATERS + RESUMERS + JOINERS {
            tokio::task::yield_now().await;
        }
        sleep(Duration::from_micros(rand::random_range(0..3000))).await;
        engine.rooms(|rooms, now| rooms.delete_and_revoke(&room, now));
        progress.deleted.store(1, Ordering::SeqCst);
    };
    let all = |list: Vec<Vec<String>>| list.into_iter().flatten().collect::<Vec<_>>();
    let (updaters, resumers, joiners, ()) = tokio::join!(
        futures_util::future::join_all(updaters),
        futures_util::future::join_all(resumers),
        futures_util::future::join_all(joiners),
        deletes
    );
    let tokens = [all(updaters), all(resumers), all(joiners)].concat();
    let statuses: Vec<u16> = tokens.iter().map(|token| status(engine, token)).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    let still_good = statuses.iter().filter(|status| **status == 200).count();
    let is_live = engine.rooms(|rooms, now| rooms.get(&room, now).is_some());
    assert!(still_good > 0 || !is_live, "{room} is open, though nobody has a token for it");
    assert_eq!(status(engine, &minted(engine, &room, "ann")), 200, "a token from after the deletion is refused");
    (tokens.len(), still_good)
}

/// LiveKit's clients delete a room and join it again with the token they have.
#[tokio::test]
async fn a_token_joins_again_at_once_after_a_deletion_by_the_server_api() {
    let engine = start();
    let undated = [json!({}), json!({ "nbf": 0 }), json!({ "nbf": now() - 30 })];
    let foreign = undated.iter().map(|more| token("r", "ann", more));
    for token in foreign.chain([minted(&engine, "r", "ann")]) {
        let mut participant = Participant { tokens: vec![token], ..Participant::new(&engine, "r", "ann") };
        assert!(participant.join().await && participant.reads_a_token().await);
        let delete = json!({ "room": "r" });
        assert_eq!(Client::connect(engine.address()).call("DeleteRoom", &admin(), &delete).status, 200);
        for token in participant.tokens.clone() {
            participant.tokens.push(token);
            assert!(participant.join().await, "{:?}", participant.tokens.last());
        }
    }
}

#[test]
fn a_foreign_token_without_a_usable_nbf_is_refused_once_its_room_was_deleted_and_says_why() {
    let engine = start();
    let tokens = [json!({}), json!({ "nbf": 0 }), json!({ "nbf": now() })].map(|more| token("r", "ann", &more));
    assert!(tokens.iter().all(|token| status(&engine, token) == 200));
    engine.rooms(|rooms, now| rooms.delete_and_revoke("r", now));
    for token in &tokens {
        let answer = validate(&engine, token);
        let reason =
            "invalid authorization token: it was minted before its room was deleted, or has no nbf from after that";
        assert_eq!((answer.status, answer.text().as_str()), (401, reason));
    }
    assert_eq!(status(&engine, &token("other", "ann", &json!({ "nbf": 0 }))), 200);
    assert_eq!(status(&engine, &token("r", "ann", &json!({ "nbf": now() + 2 }))), 200);
}

#[tokio::test]
async fn no_token_survives_a_deletion_while_participants_join_resume_and_update() {
    let tries = env::var("REVOCATION_TRIES").map_or(DEFAULT_TRIES, |tries| tries.parse().unwrap());
    let engine = start();
    let (mut tokens, mut reopened) = (0, 0);
    for number in 0..tries {
        let (held, still_good) = delete_under_load(&engine, number).await;
        tokens += held;
        reopened += usize::from(still_good > 0);
    }
    println!("{tries} rooms deleted, {tokens} tokens held, {reopened} rooms open to an older token");
    assert_eq!(reopened, 0);
}
