//! Signalling connections: `WebSocket`s that carry `SignalRequest` from the client and `SignalResponse` to it, in protobuf,
//! or in JSON if the client's last message was JSON.

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
use crate::decoded_memory::Sender;
use crate::ids::SignalConnectionId;
use crate::session::{self, QueuedMessage, SignalStream};
use crate::shared::Shared;
use crate::signal::websocket::{Message, ReadError, Received, WebSocket};
use crate::work::Kind;

/// Time for a client to read the queued messages once its queue is closed. Past it, the connection is dropped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a client to answer the close frame. Past it, the connection is dropped. Without this wait, Firefox loses the last
/// messages.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum number of tracks in one message, as many as a participant can have settings for. Past it, the connection is closed
/// with 1007.
const MAX_NAMED_TRACKS: usize = 4096;
/// Maximum number of published tracks in one message, as many as a participant can publish. Past it, the connection is closed
/// with 1007.
pub(crate) const MAX_TRACKS: usize = 64;

/// Why a signalling connection ends.
enum End {
    /// The client closed it with this code.
    Closed(Option<CloseCode>),
    /// The queue is closed, and all messages are sent.
    Done,
    /// The client does not read.
    Stuck,
    /// Reading a message failed.
    Failed(ReadError),
    /// A message cannot be decoded, or would take too much memory.
    Malformed,
}

/// Spawns a task that serves a signalling connection once its upgrade to a WebSocket is complete.
pub(crate) fn spawn(
    shared: &Arc<Shared>,
    upgrade: OnUpgrade,
    (signal_id, sender): (SignalConnectionId, Sender),
    signal_stream: SignalStream,
) {
    let shared_then = shared.clone();
    shared.signalling.spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            let socket = WebSocket::new(upgraded, shared_then.incomplete.clone(), shared_then.limits.signal_timeout);
            serve(&shared_then, socket, (signal_id, sender), signal_stream).await;
        }
        shared_then.media.signal_closed(signal_id).await;
    });
}

/// Exchanges messages until either side ends the connection, then closes it.
async fn serve(
    shared: &Arc<Shared>,
    mut socket: WebSocket,
    source: (SignalConnectionId, Sender),
    mut signal_stream: SignalStream,
) {
    let closing = signal_stream.closing();
    let end = tokio::select! {
        end = pump(shared, &mut socket, source, &mut signal_stream) => end,
        () = closing.overflowed() => End::Stuck,
        () = async { closing.ended().await; sleep(FLUSH_TIMEOUT).await } => End::Stuck,
    };
    // Frees unsent messages before the close handshake.
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
    // After the timeout, dropping the socket closes the connection.
    let _ = timeout(LINGER, close).await;
}

/// Exchanges messages. The next message is read after the previous one was handled, which is the backpressure for clients.
async fn pump(
    shared: &Arc<Shared>,
    socket: &mut WebSocket,
    source: (SignalConnectionId, Sender),
    signal_stream: &mut SignalStream,
) -> End {
    let mut is_json = false;
    let mut handling: Handling<_> = None;
    loop {
        tokio::select! {
            // Queued messages first, because reading may queue more of them.
            biased;
            signals = signal_stream.next() => {
                if signals.is_empty() {
                    return End::Done;
                }
                // Fails after the write timeout of the TCP socket if the client does not read.
                if beside(&mut handling, send(shared, socket, signals, is_json)).await.is_err() {
                    return End::Stuck;
                }
            }
            received = socket.read(), if handling.is_none() => match received {
                Ok(Received::Message(message)) => {
                    is_json = message.is_text;
                    handling = Some(Box::pin(maybe_done(handle(shared.clone(), source, message))));
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

/// Sends a batch of messages.
async fn send(shared: &Shared, socket: &mut WebSocket, signals: Vec<QueuedMessage>, is_json: bool) -> io::Result<()> {
    if !is_json {
        return match &*signals {
            [signal] => socket.send(false, signal.protobuf()).await,
            several => socket.send_all(several.iter().map(|signal| signal.protobuf())).await,
        };
    }
    for signal in signals {
        let bytes_to_encode = if signal.has_json() { 0 } else { signal.protobuf().len() };
        let encode = move || {
            signal.json();
            signal
        };
        let Some(signal) = shared.work.run(Kind::Signal, bytes_to_encode, encode).await else { continue };
        // The copy of a request with an unknown enumeration value has no JSON.
        if let Some(json) = signal.json() {
            socket.send(true, json.as_bytes()).await?;
        }
    }
    Ok(())
}

/// A message that is being handled.
type Handling<F> = Option<Pin<Box<MaybeDone<F>>>>;

/// Awaits `work`, and drives the handling of a message meanwhile. Handling may hold memory or a worker thread that others wait
/// for, and sending to a slow client takes long.
async fn beside<T>(handling: &mut Handling<impl Future>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        if let Some(handling) = handling {
            // `MaybeDone` stores the result.
            let _ = handling.as_mut().poll(context);
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Decodes a message and hands it to the media thread.
///
/// # Errors
/// [`End::Malformed`] if it cannot be decoded or would take too much memory; [`ReadError::Overloaded`] if its bytes had to be
/// freed for newer messages while it waited.
async fn handle(
    shared: Arc<Shared>,
    (signal_id, sender): (SignalConnectionId, Sender),
    message: Message,
) -> Result<(), End> {
    let revoked = message.revocation();
    let decoded = async {
        let length = message.bytes.len();
        let (cost, message) = shared.work.run(Kind::Signal, length, move || (cost(&message), message)).await?;
        let cost = cost?;
        let memory = shared.decoded_memory.reserve(sender, cost).await;
        let request = shared.work.run(Kind::Signal, length.max(cost), move || decode(&message)).await??;
        is_within_limits(&request).then_some((request, memory))
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

/// Whether the number of tracks in a request is within [`MAX_NAMED_TRACKS`] and [`MAX_TRACKS`].
fn is_within_limits(request: &proto::SignalRequest) -> bool {
    match &request.message {
        Some(SignalRequest::Subscription(subscription)) => named_tracks(subscription) <= MAX_NAMED_TRACKS,
        Some(SignalRequest::TrackSetting(settings)) => settings.track_sids.len() <= MAX_NAMED_TRACKS,
        Some(SignalRequest::SyncState(state)) => is_small(state),
        _ => true,
    }
}

fn named_tracks(subscription: &proto::UpdateSubscription) -> usize {
    let of_participants = subscription.participant_tracks.iter().map(|tracks| tracks.track_sids.len());
    subscription.track_sids.len() + of_participants.sum::<usize>()
}

/// Whether the number of tracks in a client's session state is within [`MAX_NAMED_TRACKS`] and [`MAX_TRACKS`].
pub(crate) fn is_small(state: &proto::SyncState) -> bool {
    state.subscription.as_ref().map_or(0, named_tracks) <= MAX_NAMED_TRACKS
        && state.track_sids_disabled.len() <= MAX_NAMED_TRACKS
        && state.publish_tracks.len() <= MAX_TRACKS
}
