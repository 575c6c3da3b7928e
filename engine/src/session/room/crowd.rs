//! Rooms with many participants that leave together.

use std::panic::resume_unwind;

use futures_util::FutureExt as _;
use livekit_protocol as proto;
use prost::Message as _;
use proto::participant_info::State;
use proto::signal_response::Message as Response;
use tokio::sync::oneshot;
use tokio::task::unconstrained;

use crate::Engine;
use crate::decoded_memory::Sender;
use crate::ids::SignalTarget;
use crate::session::client::participant_token;
use crate::session::join::JoinParams;
use crate::session::removal::Removal;
use crate::session::signal_channel::{SignalStream, signal_channel};
use crate::session::worker::Worker;
use crate::support;

const ROOM: &str = "crowd";

/// Joins a participant with two peer connections, without a WebSocket.
async fn join(engine: &Engine, identity: &str) -> SignalStream {
    let shared = &engine.shared;
    let mut claims = shared.services.keys.verify(&participant_token(ROOM, identity, "standard")).unwrap();
    let grants = claims.video.take().unwrap();
    let (signal_sink, stream) = signal_channel(&shared.outgoing);
    let request = proto::JoinRequest::default();
    let params = JoinParams { claims, grants, is_single: false, request, signal_sink };
    shared.media.join(params, shared.decoded_memory.reserve(Sender::ServerApi, 0).await).await.unwrap();
    stream
}

async fn join_crowd(engine: &Engine, count: usize) -> Vec<SignalStream> {
    let mut streams = Vec::new();
    for index in 0..count {
        streams.push(join(engine, &index.to_string()).await);
    }
    streams
}

/// The messages that a client is sent until its signalling connection ends, or while none has to be waited for.
async fn messages(stream: &mut SignalStream, until_end: bool) -> Vec<Response> {
    let mut messages = Vec::new();
    loop {
        // Without tokio's budget, which ends a poll while messages are left.
        let next = unconstrained(stream.next());
        let next = if until_end { Some(next.await) } else { next.now_or_never() };
        let Some(batch) = next.filter(|batch| !batch.is_empty()) else { return messages };
        let decoded = batch.iter().map(|queued| proto::SignalResponse::decode(queued.protobuf()).unwrap());
        messages.extend(decoded.filter_map(|response| response.message));
    }
}

async fn is_empty(engine: &Engine) -> bool {
    let work = |worker: &mut Worker, reply: oneshot::Sender<bool>| {
        let _ = reply.send(worker.is_empty());
    };
    engine.shared.media.run(work).await.unwrap()
}

/// Whether a message tells that another participant has left, or how many are left.
fn is_departure(message: &Response) -> bool {
    match message {
        Response::Update(update) => update.participants.iter().any(|info| info.state() == State::Disconnected),
        Response::RoomUpdate(_) => true,
        _ => false,
    }
}

#[tokio::test]
async fn removes_all_participants_whose_connections_fail_together() {
    let engine = support::start();
    let mut streams = join_crowd(&engine, 100).await;
    let fail_all = |worker: &mut Worker, reply: oneshot::Sender<()>| {
        worker.with_room(ROOM, |room, context| {
            for (id, participant) in &mut room.participants {
                // Each participant has something to offer, and the offer fails as well.
                participant.negotiation.pending = None;
                participant.negotiation.offer_data_channels = true;
                let connection = room.connections.get_mut((*id, SignalTarget::Subscriber)).unwrap();
                connection.mutate_and_drain(&mut context.io, |_| resume_unwind(Box::new("the connection fails")));
            }
        });
        let _ = reply.send(());
    };
    engine.shared.media.run(fail_all).await.unwrap();
    for stream in &mut streams {
        let last = messages(stream, true).await.pop();
        assert!(matches!(last, Some(Response::Leave(_))), "{last:?}");
    }
    assert!(is_empty(&engine).await);
}

#[tokio::test]
async fn sends_participants_that_are_removed_together_no_departures() {
    let engine = support::start();
    let mut streams = join_crowd(&engine, 20).await;
    let remove_all_but_one = |worker: &mut Worker, reply: oneshot::Sender<()>| {
        worker.with_room(ROOM, |room, context| {
            let ids: Vec<_> = room.participants.keys().copied().collect();
            // Announcement: others are notified of their departure.
            for id in &ids {
                room.broadcast_participant(context, *id, false);
            }
            for id in &ids[1..] {
                room.remove(context, *id, Removal::disconnect(proto::DisconnectReason::RoomDeleted));
            }
        });
        let _ = reply.send(());
    };
    for stream in &mut streams {
        messages(stream, false).await;
    }
    engine.shared.media.run(remove_all_but_one).await.unwrap();
    for stream in &mut streams[1..] {
        assert_eq!(messages(stream, true).await.iter().filter(|message| is_departure(message)).count(), 0);
    }
    // The turn that follows settles the room: one update of all participants, and one of the room.
    assert!(!is_empty(&engine).await);
    let remaining = messages(&mut streams[0], false).await;
    let departed = remaining.iter().map(|message| match message {
        Response::Update(update) => {
            update.participants.iter().filter(|info| info.state() == State::Disconnected).count()
        }
        _ => 0,
    });
    assert_eq!(departed.sum::<usize>(), 19);
    assert_eq!(remaining.iter().filter(|message| is_departure(message)).count(), 2);
}
