//! Token revocation by room deletion. Rooms are deleted while participants join, resume and update their metadata. No token
//! minted before the deletion admits a participant again, including the refresh tokens that the engine mints meanwhile.
//!
//! `REVOCATION_TRIES` sets the number of rooms; with the default the test takes a few seconds.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use maravilla_engine::Engine;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::HS256;
use crate::client::{connect_signalling, encode_join_request};
use crate::support::{HttpClient, HttpResponse, KEY, SECRET, admin_token, now, sign, start};

const DEFAULT_TRIES: usize = 40;
/// Participants of each room that update their metadata, that resume, and that join again.
const UPDATERS: usize = 4;
const RESUMERS: usize = 2;
const JOINERS: usize = 3;
/// Connection attempts of one participant after the deletion. One success fails the test.
const ATTEMPTS_AFTER_DELETION: usize = 3;

/// A token to join `room`, with `more` claims. Without the private `maravilla` claim, it looks like a token of
/// another library.
pub fn token(room: &str, identity: &str, more: &Value) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let mut claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sign(HS256, &claims.to_string(), SECRET)
}

/// A token that the engine's own library would mint now.
fn mint(engine: &Engine, room: &str, identity: &str) -> String {
    let epoch = engine.rooms(|rooms, _| rooms.epoch());
    token(room, identity, &json!({ "nbf": now(), "maravilla": serde_json::to_value(epoch).unwrap() }))
}

fn join_request() -> proto::JoinRequest {
    let client_info = Some(proto::ClientInfo { protocol: 17, ..Default::default() });
    proto::JoinRequest { client_info, ..Default::default() }
}

fn validate(engine: &Engine, token: &str) -> HttpResponse {
    let request = encode_join_request(&join_request()).replace('=', "%3D");
    let path = format!("/rtc/v1/validate?access_token={token}&join_request={request}");
    HttpClient::connect(engine.address()).request(format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n"))
}

fn status(engine: &Engine, token: &str) -> u16 {
    validate(engine, token).status
}

/// A participant with signalling only, and every token that it has received.
struct Participant<'a> {
    engine: &'a Engine,
    sid: String,
    tokens: Vec<String>,
    socket: Option<WebSocketStream<TcpStream>>,
}

impl<'a> Participant<'a> {
    fn new(engine: &'a Engine, room: &str, identity: &str) -> Self {
        Self { engine, sid: String::new(), tokens: vec![mint(engine, room, identity)], socket: None }
    }

    /// Connects with the newest token. Returns whether the engine accepted it.
    async fn connect(&mut self, request: &proto::JoinRequest) -> bool {
        let token = self.tokens.last().unwrap();
        self.socket = connect_signalling(self.engine.address(), token, &encode_join_request(request)).await;
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
        let request = proto::SignalRequest { message: Some(Request::UpdateMetadata(update)) };
        if let Some(socket) = &mut self.socket {
            // Fails if the engine has closed the connection.
            let _ = socket.send(Message::binary(request.encode_to_vec())).await;
        }
    }

    /// Reads up to the next refresh token. Returns `false` if the engine closes the connection before.
    async fn read_token(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(bytes) = message else { continue };
            match proto::SignalResponse::decode(bytes).unwrap().message {
                Some(Response::Join(join)) => self.sid = join.participant.unwrap().sid,
                Some(Response::RefreshToken(token)) => {
                    self.tokens.push(token);
                    return true;
                }
                _ => (),
            }
        }
        false
    }

    async fn read_to_end(&mut self) {
        while self.read_token().await {}
    }
}

/// How many participants have joined a room, and whether it was deleted.
#[derive(Default)]
struct Progress {
    joined: AtomicUsize,
    deleted: AtomicUsize,
}

impl Progress {
    fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::SeqCst) > 0
    }

    /// Returns whether to connect once more. Counts the attempts after the deletion.
    fn may_continue(&self, attempts: &mut usize) -> bool {
        *attempts += usize::from(self.is_deleted());
        *attempts <= ATTEMPTS_AFTER_DELETION
    }
}

async fn run_updater(mut participant: Participant<'_>, progress: &Progress, number: usize) -> Vec<String> {
    assert!(participant.join().await && participant.read_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    // The deletion is delayed by the same random range, so that the updates come before, during and after it.
    sleep(Duration::from_micros(rand::random_range(0..3000))).await;
    for update in 0..5 {
        participant.update_name(format!("{number} {update}")).await;
    }
    participant.read_to_end().await;
    participant.tokens
}

async fn run_resumer(mut participant: Participant<'_>, progress: &Progress) -> Vec<String> {
    assert!(participant.join().await && participant.read_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    let mut attempts = 0;
    while progress.may_continue(&mut attempts) {
        if participant.resume().await {
            participant.read_token().await;
        }
    }
    participant.tokens
}

async fn run_joiner(mut participant: Participant<'_>, progress: &Progress) -> Vec<String> {
    assert!(participant.join().await && participant.read_token().await);
    progress.joined.fetch_add(1, Ordering::SeqCst);
    let mut attempts = 0;
    while progress.may_continue(&mut attempts) {
        if participant.join().await {
            participant.read_token().await;
        }
    }
    participant.tokens
}

/// Deletes one room under load. Returns the number of tokens that its participants hold, and how many are still accepted.
async fn delete_under_load(engine: &Engine, number: usize) -> (usize, usize) {
    let room = format!("room {number}");
    let progress = Progress::default();
    let participant = |identity: String| Participant::new(engine, &room, &identity);
    let updaters = (0..UPDATERS).map(|index| run_updater(participant(format!("updater {index}")), &progress, index));
    let resumers = (0..RESUMERS).map(|index| run_resumer(participant(format!("resumer {index}")), &progress));
    let joiners = (0..JOINERS).map(|index| run_joiner(participant(format!("joiner {index}")), &progress));
    let delete = async {
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
        delete
    );
    let tokens = [all(updaters), all(resumers), all(joiners)].concat();
    let statuses: Vec<u16> = tokens.iter().map(|token| status(engine, token)).collect();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
    let still_accepted = statuses.iter().filter(|status| **status == 200).count();
    let is_live = engine.rooms(|rooms, now| rooms.get(&room, now).is_some());
    assert!(still_accepted > 0 || !is_live, "{room} exists though no token for it is accepted");
    assert_eq!(status(engine, &mint(engine, &room, "ann")), 200, "a token minted after the deletion is rejected");
    (tokens.len(), still_accepted)
}

/// Apps that use LiveKit delete a room and join it again with the same token.
#[tokio::test]
async fn accepts_the_same_token_after_a_deletion_by_the_server_api() {
    let engine = start();
    let claims = [json!({}), json!({ "nbf": 0 }), json!({ "nbf": now() - 30 })];
    let foreign = claims.iter().map(|more| token("r", "ann", more));
    for token in foreign.chain([mint(&engine, "r", "ann")]) {
        let mut participant = Participant { tokens: vec![token], ..Participant::new(&engine, "r", "ann") };
        assert!(participant.join().await && participant.read_token().await);
        let delete = json!({ "room": "r" });
        assert_eq!(HttpClient::connect(engine.address()).call("DeleteRoom", &admin_token(), &delete).status, 200);
        for token in participant.tokens.clone() {
            participant.tokens.push(token);
            assert!(participant.join().await, "{:?}", participant.tokens.last());
        }
    }
}

#[test]
fn rejects_a_foreign_token_without_a_later_nbf_after_a_revoking_deletion_and_states_the_reason() {
    let engine = start();
    let tokens = [json!({}), json!({ "nbf": 0 }), json!({ "nbf": now() })].map(|more| token("r", "ann", &more));
    assert!(tokens.iter().all(|token| status(&engine, token) == 200));
    engine.rooms(|rooms, now| rooms.delete_and_revoke("r", now));
    for token in &tokens {
        let response = validate(&engine, token);
        let reason =
            "invalid authorization token: it was minted before its room was deleted, or has no nbf from after that";
        assert_eq!((response.status, response.text().as_str()), (401, reason));
    }
    assert_eq!(status(&engine, &token("other", "ann", &json!({ "nbf": 0 }))), 200);
    assert_eq!(status(&engine, &token("r", "ann", &json!({ "nbf": now() + 2 }))), 200);
}

#[tokio::test]
async fn rejects_every_earlier_token_when_a_room_is_deleted_under_load() {
    let tries = env::var("REVOCATION_TRIES").map_or(DEFAULT_TRIES, |tries| tries.parse().unwrap());
    let engine = start();
    let (mut tokens, mut reopened) = (0, 0);
    for number in 0..tries {
        let (held, still_accepted) = delete_under_load(&engine, number).await;
        tokens += held;
        reopened += usize::from(still_accepted > 0);
    }
    println!("{tries} rooms deleted, {tokens} tokens held, {reopened} rooms accept an earlier token");
    assert_eq!(reopened, 0);
}
