//! Signalling connections: `WebSocket`s that carry `SignalRequest` one way and `SignalResponse` the other, as protobuf or,
//! where the client has spoken so last, as JSON.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use livekit_protocol as proto;
use prost::Message as _;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use super::answer::{self, Answer};
use super::json;
use super::routes::validated;
use super::validate::{Admission, fault};
use crate::engine::Shared;
use crate::media::{self, Inbox, Joining, LinkId};

/// The most bytes of one message from a client: an offer with a thousand sections, or metadata and attributes at their limits.
const MOST_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long a client has to close a connection that is over. Firefox drops what came before if it is closed at once.
const LINGER: Duration = Duration::from_secs(1);

type Stream = WebSocketStream<TokioIo<Upgraded>>;

/// Lets a client join, and its connection become a WebSocket.
pub(super) async fn open(shared: &Arc<Shared>, mut request: Request<Incoming>, admission: Admission) -> Answer {
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| version) else {
        return answer::text(StatusCode::BAD_REQUEST, "Bad Request\n");
    };
    let accept = derive_accept_key(key.as_bytes());
    let Admission { claims, grants, is_single, request: mut wished } = admission;
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media::augment(wished.client_info.get_or_insert_default(), user_agent);
    let (outbox, inbox) = media::pair();
    let joining = Joining { claims, grants, is_single, request: wished, outbox };
    let link = match shared.media.join(shared, joining).await {
        Ok(link) => link,
        Err(refusal) => return validated(Err(fault(&refusal))),
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let shared_then = shared.clone();
    shared.signalling.spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let config = WebSocketConfig::default()
                .max_message_size(Some(MOST_MESSAGE_BYTES))
                .max_frame_size(Some(MOST_MESSAGE_BYTES));
            let io = TokioIo::new(upgraded);
            let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
            attend(&shared_then, &mut socket, link, inbox).await;
        }
        shared_then.media.lost(link).await;
    });
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.extend(HeaderValue::from_str(&accept).ok().map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    answer
}

/// Carries messages until either side has had enough.
async fn attend(shared: &Shared, socket: &mut Stream, link: LinkId, mut inbox: Inbox) {
    let mut is_json = false;
    loop {
        tokio::select! {
            // What waits for the client goes out before it is asked for more, which may cause more of that.
            biased;
            signal = inbox.next() => {
                let Some(signal) = signal else { break };
                let message = if is_json {
                    // Such as the echo of a request that no enumeration has a word for.
                    let Ok(json) = serde_json::to_string(&signal.response) else { continue };
                    Message::text(json)
                } else {
                    Message::binary(signal.response.encode_to_vec())
                };
                // Who takes nothing is given up by the socket after a while.
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            message = socket.next() => {
                let request = match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        is_json = false;
                        proto::SignalRequest::decode(bytes).ok()
                    }
                    Some(Ok(Message::Text(text))) => {
                        is_json = true;
                        json::read(text.as_bytes())
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                };
                // Who talks nonsense is no client of ours.
                let Some(request) = request else { break };
                shared.media.signal(link, request).await;
            }
        }
    }
    let farewell = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    if socket.close(Some(farewell)).await.is_ok() {
        let rest = async { while let Some(Ok(_)) = socket.next().await {} };
        let _ = timeout(LINGER, rest).await;
    }
}
