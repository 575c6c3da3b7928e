//! A panic while a participant is served, which nobody outside can bring about: it loses that one alone.

use livekit_protocol as proto;
use proto::signal_response::Message as Told;
use str0m::media::MediaKind;
use tokio::sync::oneshot;

use crate::error::ApiError;
use crate::ids::{SessionId, SignalTarget};
use crate::session::client::{ConnectOptions, TestClient};
use crate::session::room::{Context, Room};
use crate::support;
use crate::{Engine, Limits};

const ROOM: &str = "party";
/// Whoever has that identity panics as it joins.
const UNLUCKY: &str = "unlucky";

/// What happens first when somebody joins.
pub(crate) fn on_join(identity: &str) {
    assert_ne!(identity, UNLUCKY, "meant to be");
}

/// The identities in the room, as the server API sees them.
fn listed(engine: &Engine) -> Vec<String> {
    engine.rooms(|rooms, now| {
        let room = rooms.get(ROOM, now);
        room.into_iter().flat_map(|room| room.participants()).map(|info| info.identity.clone()).collect()
    })
}

/// Two who publish and see each other.
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

/// Does something as the engine does it when a participant has said something.
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

/// The one who is left is told, and a newcomer sees it.
async fn goes_on(engine: &Engine, (caller, sid): &(TestClient, [String; 1]), lost: &str) {
    let is_told = |told: &Told| match told {
        Told::Update(update) => update
            .participants
            .iter()
            .any(|other| other.identity == lost && other.state() == proto::participant_info::State::Disconnected),
        _ => false,
    };
    caller.wait_until("is told who has gone", |state| state.responses.iter().any(is_told).then_some(())).await;
    let again = TestClient::join(engine.address(), ROOM, lost).await;
    again.wait_for_packets(sid).await;
    assert!(!caller.with_state(|state| state.is_closed));
}

#[tokio::test]
async fn a_panic_while_a_participant_is_served_loses_it_alone() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |_, _, _| panic!("meant to be")).await;
    assert!(matches!(outcome, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_within_a_connection_loses_its_participant_alone() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, context, id| {
        let connection = room.connections.get_mut((id, SignalTarget::Publisher)).unwrap();
        assert_eq!(connection.mutate_and_drain(&mut context.io, |_| -> u8 { panic!("meant to be") }), None);
        assert_eq!(connection.mutate_and_drain(&mut context.io, |_| 1), None, "what has panicked is used no more");
    });
    assert!(outcome.await.is_ok());
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_while_a_participant_is_reconciled_loses_it_though_another_was_served() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ann", |room, context, _| {
        room.faulty = room.by_identity("ben");
        room.reconcile_all(context);
    });
    assert!(outcome.await.is_ok());
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_while_a_participant_is_reconciled_leaves_nothing_of_it() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, context, id| {
        room.faulty = Some(id);
        room.reconcile(context, id);
    });
    assert!(matches!(outcome.await, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    goes_on(&engine, &ann, "ben").await;
}

#[tokio::test]
async fn a_panic_while_somebody_joins_leaves_nothing_of_it() {
    let engine = support::start_with(Limits { participants: 2, ..Limits::default() });
    let ann = TestClient::join(engine.address(), ROOM, "ann").await;
    for _ in 0..2 {
        if let Some(unlucky) = TestClient::connect(engine.address(), ConnectOptions::new(ROOM, UNLUCKY)).await {
            unlucky.wait_until_closed().await;
        }
        assert_eq!(listed(&engine), ["ann"]);
    }
    // There is still a place for another one.
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
async fn a_panic_while_a_participant_is_out_of_its_room_leaves_nothing_of_it() {
    let (engine, [ann, ben]) = party().await;
    let outcome = while_serving(&engine, "ben", |room, _, id| {
        let _taken_out = room.participants.remove(&id);
        panic!("meant to be");
    });
    assert!(matches!(outcome.await, Err(ApiError::NoParticipant)));
    ben.0.wait_until_closed().await;
    assert_eq!(listed(&engine), ["ann"]);
    let again = TestClient::join(engine.address(), ROOM, "ben").await;
    again.wait_for_packets(&ann.1).await;
}

#[tokio::test]
async fn a_panic_in_a_step_of_the_whole_room_loses_nobody() {
    let (engine, [ann, ben]) = party().await;
    let work = |worker: &mut crate::session::worker::Worker, reply: oneshot::Sender<_>| {
        worker.with_room(ROOM, |_, _| panic!("meant to be"));
        let _ = reply.send(());
    };
    assert_eq!(engine.shared.media.run(work).await, Some(()));
    tokio::join!(ann.0.wait_for_packets(&ben.1), ben.0.wait_for_packets(&ann.1));
    assert_eq!(listed(&engine), ["ann", "ben"]);
}
