//! Injected panics: each one removes only the participant whose step panics.

use livekit_protocol as proto;
use proto::DisconnectReason;
use proto::signal_response::Message as Response;
use str0m::media::MediaKind;
use tokio::sync::oneshot;

use crate::error::ApiError;
use crate::ids::{SessionId, SignalTarget};
use crate::session::client::{ConnectOptions, TestClient};
use crate::session::removal::Removal;
use crate::session::room::{Context, Room};
use crate::support;
use crate::{Engine, Limits};

const ROOM: &str = "party";
/// The join of a participant with this identity panics.
const UNLUCKY: &str = "unlucky";

/// A step that panics for one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Reconciliation(SessionId),
    /// Before the participant is taken out of its room.
    Removal(SessionId),
    /// After the participant is taken out of its room.
    RemovalOfRoutes(SessionId),
}

/// Called at the start of each join.
pub(crate) fn on_join(identity: &str) {
    assert_ne!(identity, UNLUCKY, "injected");
}

/// The identities in the room of the server API.
fn listed(engine: &Engine) -> Vec<String> {
    engine.rooms(|rooms, now| {
        let room = rooms.get(ROOM, now);
        room.into_iter().flat_map(|room| room.participants()).map(|info| info.identity.clone()).collect()
    })
}

/// Two participants that publish and receive each other's video.
async fn party() -> (Engine, [(TestClient, [String; 1]); 2]) {
    let engine = support::start();
    let join = async |identity| {
        let caller = TestClient::join(engine.address(), ROOM, identity).await;
        let sid = caller.publish(MediaKind::Video).await;
        (caller, [sid])
    };
    let (ann, ben) = (join("ann").await, join("ben").await);
    tokio::join!(ann.0.wait_for_packets(&ben.1), ben.0.wait_for_packets(&ann.1));
    (engine, [ann, ben])
}

/// Runs a step for a participant, as for one of its requests.
async fn while_serving(
    engine: &Engine,
    identity: &'static str,
    work: impl FnOnce(&mut Room, &mut Context<'_>, SessionId) + Send + 'static,
) -> Result<(), ApiError> {
    let work = move |worker: &mut crate::session::worker::Worker, reply: oneshot::Sender<_>| {
        let outcome = worker.with_identity(ROOM, identity, |room, context, id| {
            work(room, context, id);
            Ok(())
        });
        let _ = reply.send(outcome);
    };
    engine.shared.media.run(work).await.unwrap()
}

/// Asserts that the other participant is notified, and that a new one receives its video.
async fn goes_on(engine: &Engine, (caller, sid): &(TestClient, [String; 1]), lost: &str) {
    let is_notified = |response: &Response| match response {
        Response::Update(update) => update
            .participants
            .iter()
            .any(|other| other.identity == lost && other.state() == proto::participant_info::State::Disconnected),
        _ => false,
    };
    caller
        .wait_until("is notified of the departure", |state| state.responses.iter().any(is_notified).then_some(()))
        .await;
    let again = TestClient::join(engine.address(), ROOM, lost).await;
    again.wait_for_packets(sid).await;
    assert!(!caller.with_state(|state| state.is_closed));
}

#[tokio::test]
async fn a_panic_in_a_step_removes_only_its_participant() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |_, _, _| panic!("injected")).await;
    assert!(matches!(outcome, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_in_a_connection_removes_only_its_participant() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, context, id| {
        let connection = room.connections.get_mut((id, SignalTarget::Publisher)).unwrap();
        assert_eq!(connection.mutate_and_drain(&mut context.io, |_| -> u8 { panic!("injected") }), None);
        assert_eq!(connection.mutate_and_drain(&mut context.io, |_| 1), None, "what has panicked is used no more");
    });
    assert!(outcome.await.is_ok());
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_in_a_reconciliation_removes_the_reconciled_participant() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ann", |room, context, _| {
        room.fault = room.by_identity("ben").map(Fault::Reconciliation);
        room.reconcile_all(context);
    });
    assert!(outcome.await.is_ok());
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_in_a_reconciliation_leaves_no_state() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, context, id| {
        room.fault = Some(Fault::Reconciliation(id));
        room.reconcile(context, id);
    });
    assert!(matches!(outcome.await, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_in_a_removal_does_not_keep_the_others_from_being_notified() {
    for fault in [Fault::Removal, Fault::RemovalOfRoutes] {
        let (engine, [ann, ben]) = party().await;
        let outcome = while_serving(&engine, "ben", move |room, context, id| {
            room.fault = Some(fault(id));
            room.remove(context, id, Removal::disconnect(DisconnectReason::ParticipantRemoved));
        });
        assert!(matches!(outcome.await, Err(ApiError::NoParticipant)));
        ben.0.wait_until_closed().await;
        goes_on(&engine, &ann, "ben").await;
    }
}

#[tokio::test]
async fn a_panic_in_a_join_leaves_no_state() {
    let engine = support::start_with(Limits { participants: 2, ..Limits::default() });
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    for _ in 0..2 {
        if let Some(unlucky) = TestClient::connect(engine.address(), ConnectOptions::new(ROOM, UNLUCKY)).await {
            unlucky.wait_until_closed().await;
        }
        assert_eq!(listed(&engine), ["ann"]);
    }
    // The failed joins do not count towards the limit.
    let ben = TestClient::join(engine.address(), ROOM, "ben").await;
    assert_eq!(listed(&engine), ["ann", "ben"]);
    ben.leave().await;
    ann.leave().await;
    let is_empty = |worker: &mut crate::session::worker::Worker, reply: oneshot::Sender<bool>| {
        let _ = reply.send(worker.is_empty());
    };
    assert_eq!(engine.shared.media.run(is_empty).await, Some(true));
}

#[tokio::test]
async fn a_panic_with_the_participant_taken_out_leaves_no_state() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, _, id| {
        let _taken_out = room.participants.remove(&id);
        panic!("injected");
    });
    assert!(matches!(outcome.await, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    assert_eq!(listed(&engine), ["ann"]);
    let again = TestClient::join(engine.address(), ROOM, "ben").await;
    again.wait_for_packets(&ann.1).await;
}

#[tokio::test]
async fn a_panic_in_a_step_of_a_room_removes_no_participant() {
    let (engine, [ann, ben]) = party().await;
    let work = |worker: &mut crate::session::worker::Worker, reply: oneshot::Sender<_>| {
        worker.with_room(ROOM, |_, _| panic!("injected"));
        let _ = reply.send(());
    };
    assert_eq!(engine.shared.media.run(work).await, Some(()));
    tokio::join!(ann.0.wait_for_packets(&ben.1), ben.0.wait_for_packets(&ann.1));
    assert_eq!(listed(&engine), ["ann", "ben"]);
}
