//! Signalling connections: `WebSocket`s that carry `SignalRequest` one way and `SignalResponse` the other, as protobuf or,
//! where the client has spoken so last, as JSON.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{MaybeDone, OptionFuture, maybe_done};
use hyper::upgrade::OnUpgrade;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as SignalRequest;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::auth::strict_json;
use crate::decode_cost::{self, SIGNAL_REQUEST};
use crate::ids::SignalConnectionId;
use crate::session::{self, QueuedMessage, SignalStream};
use crate::shared::Shared;
use crate::signal::websocket::{Message, ReadError, Received, WebSocket};
use crate::work::Kind;

/// Time for a client to take what is left for it, once the engine has ended its connection.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a client to close a connection that the engine has closed. Firefox drops what came before if it is closed at once.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum number of tracks or participants that one message names, as many as a participant can choose; a message that
/// names more closes the connection.
const MAX_NAMES: usize = 4096;
/// Maximum number of own tracks in one message, as many as a participant can publish.
pub(crate) const MAX_TRACKS: usize = 64;

/// Why a signalling connection ends.
enum End {
    /// The client has closed it, with that code.
    Closed(Option<CloseCode>),
    /// The engine has nothing more to say.
    Done,
    /// The client does not take what it is sent.
    Stuck,
    /// The client sends what cannot be read.
    Failed(ReadError),
    /// The client's message is none, or would take too much memory.
    Malformed,
}

/// Serves a signalling connection on a task of its own, once it has become a WebSocket.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    upgrade: OnUpgrade,
    signal_id: SignalConnectionId,
    signal_stream: SignalStream,
) {
    let shared_then = shared.clone();
    shared.signalling.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket = WebSocket::new(upgraded, shared_then.incomplete.clone(), shared_then.limits.signal_timeout);
            serve(&shared_then, socket, signal_id, signal_stream).await;
        }
        shared_then.media.signal_closed(signal_id).await;
    });
}

/// Carries messages until either side has had enough, and closes the connection.
async fn serve(
    shared: &Arc<Shared>,
    mut socket: WebSocket,
    signal_id: SignalConnectionId,
    mut signal_stream: SignalStream,
) {
    let closing = signal_stream.closing();
    let end = tokio::select! {
        end = pump(shared, &mut socket, signal_id, &mut signal_stream) => end,
        () = closing.overflowed() => End::Stuck,
        () = async { closing.ended().await; sleep(FLUSH_TIMEOUT).await } => End::Stuck,
    };
    // Messages that are not sent give their memory back before the connection has ended.
    drop(signal_stream);
    let close = async {
        match end {
            End::Stuck | End::Failed(ReadError::Lost) => (),
            End::Closed(code) => drop(socket.answer_close(code).await),
            End::Done => socket.close(CloseCode::Normal).await,
            End::Malformed => socket.close(CloseCode::Invalid).await,
            End::Failed(error) => socket.fail(error.close_code()).await,
        }
    };
    // It is closed in any case.
    let _ = timeout(LINGER, close).await;
}

/// Carries messages. The next one is read once the last one is dealt with: a client that says more than can be done waits.
async fn pump(
    shared: &Arc<Shared>,
    socket: &mut WebSocket,
    signal_id: SignalConnectionId,
    signal_stream: &mut SignalStream,
) -> End {
    let mut is_json = false;
    let mut handling: Handling<_> = None;
    loop {
        tokio::select! {
            // What waits for the client goes out before it is asked for more, which may cause more of that.
            biased;
            signals = signal_stream.next() => {
                if signals.is_empty() {
                    return End::Done;
                }
                // A client that takes nothing is given up by its TCP socket after a while.
                if beside(&mut handling, send(shared, socket, signals, is_json)).await.is_err() {
                    return End::Stuck;
                }
            }
            received = socket.read(), if handling.is_none() => match received {
                Ok(Received::Message(message)) => {
                    is_json = message.is_text;
                    handling = Some(Box::pin(maybe_done(handle(shared.clone(), signal_id, message))));
                }
                Ok(Received::Ping(bytes)) => if beside(&mut handling, socket.pong(&bytes)).await.is_err() {
                    return End::Stuck;
                },
                Ok(Received::Close(code)) => return End::Closed(code),
                Err(error) => return End::Failed(error),
            },
            Some(()) = OptionFuture::from(handling.as_mut()) => {
                let handled = handling.take().and_then(|mut handling| handling.as_mut().take_output());
                if let Some(Err(end)) = handled {
                    return end;
                }
            }
        }
    }
}

/// Sends messages to a client.
async fn send(shared: &Shared, socket: &mut WebSocket, signals: Vec<QueuedMessage>, is_json: bool) -> io::Result<()> {
    if !is_json {
        return match &*signals {
            [signal] => socket.send(false, signal.bytes()).await,
            several => socket.send_all(several.iter().map(|signal| signal.bytes())).await,
        };
    }
    for signal in signals {
        let length = signal.bytes().len();
        // There is no JSON for the echo of a request that no enumeration has a word for.
        if let Some(json) = shared.work.run(Kind::Signal, length, move || signal.to_json()).await.flatten() {
            socket.send(true, json.as_bytes()).await?;
        }
    }
    Ok(())
}

/// A message that is being handled.
type Handling<F> = Option<Pin<Box<MaybeDone<F>>>>;

/// Awaits `work` while the message is still being handled: handling may hold memory or a turn that others wait for, and sending to a
/// slow client takes long.
async fn beside<T>(handling: &mut Handling<impl Future>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Some(handling) = handling {
            // Its outcome is kept.
            let _ = handling.as_mut().poll(context);
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Has a message dealt with. Otherwise, how the connection ends: the message is none, would take too much memory, or has lost
/// its own while it waited.
async fn handle(shared: Arc<Shared>, signal_id: SignalConnectionId, message: Message) -> Result<(), End> {
    let revoked = message.revocation();
    let decoded = async {
        let length = message.bytes.len();
        let (cost, message) = shared.work.run(Kind::Signal, length, move || (cost(&message), message)).await?;
        let cost = cost?;
        let memory = shared.work.memory(cost).await;
        let request = shared.work.run(Kind::Signal, length.max(cost), move || decode(&message)).await??;
        names_few(&request).then_some((request, memory))
    };
    let (request, memory) = tokio::select! {
        biased;
        decoded = decoded => decoded.ok_or(End::Malformed)?,
        () = revoked.cancelled() => return Err(End::Failed(ReadError::Overloaded)),
    };
    shared.media.signal(signal_id, request, memory).await;
    Ok(())
}

fn cost(message: &Message) -> Option<usize> {
    if message.is_text {
        decode_cost::json(&message.bytes, decode_cost::SIGNAL)
    } else {
        decode_cost::protobuf(&message.bytes, &SIGNAL_REQUEST, decode_cost::SIGNAL)
    }
}

fn decode(message: &Message) -> Option<proto::SignalRequest> {
    let bytes = &*message.bytes;
    let mut request =
        if message.is_text { strict_json::read(bytes) } else { proto::SignalRequest::decode(bytes).ok() }?;
    if let Some(SignalRequest::Offer(description) | SignalRequest::Answer(description)) = &mut request.message {
        session::shorten(&mut description.sdp);
    }
    Some(request)
}

/// Whether a request names no more tracks and participants than there may be.
fn names_few(request: &proto::SignalRequest) -> bool {
    match &request.message {
        Some(SignalRequest::Subscription(subscription)) => names(subscription) <= MAX_NAMES,
        Some(SignalRequest::TrackSetting(settings)) => settings.track_sids.len() <= MAX_NAMES,
        Some(SignalRequest::SyncState(state)) => is_small(state),
        _ => true,
    }
}

fn names(subscription: &proto::UpdateSubscription) -> usize {
    let of_participants = subscription.participant_tracks.iter().map(|tracks| tracks.track_sids.len());
    subscription.track_sids.len() + of_participants.sum::<usize>()
}

/// Whether what a client says about its session names no more than there may be.
pub(crate) fn is_small(state: &proto::SyncState) -> bool {
    state.subscription.as_ref().map_or(0, names) <= MAX_NAMES
        && state.track_sids_disabled.len() <= MAX_NAMES
        && state.publish_tracks.len() <= MAX_TRACKS
}
