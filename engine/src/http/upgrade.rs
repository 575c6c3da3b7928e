//! The upgrade of a join request to a signalling connection.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::{Request, StatusCode};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::response::{self, Response};
use super::validate::{Admission, error_response};
use crate::session::{self, JoinParams};
use crate::shared::Shared;
use crate::signal::connection;

/// Joins a client to its room and upgrades its connection to a WebSocket.
pub(super) async fn open(shared: &Arc<Shared>, mut request: Request<Incoming>, admission: Admission) -> Response {
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let Some(key) = headers.get(SEC_WEBSOCKET_KEY).filter(|_| version) else {
        return response::text(StatusCode::BAD_REQUEST, "Bad Request\n");
    };
    let accept = derive_accept_key(key.as_bytes());
    let Admission { claims, grants, is_single, request: mut join_request, memory } = admission;
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    session::augment(join_request.client_info.get_or_insert_default(), user_agent);
    let sender = shared.decoded_memory.participant(&grants.room, claims.identity());
    let (signal_sink, signal_stream) = session::signal_channel(&shared.outgoing);
    let params = JoinParams { claims, grants, is_single, request: join_request, signal_sink };
    let signal_id = match shared.media.join(params, memory).await {
        Ok(signal_id) => signal_id,
        Err(error) => return response::validated(Err(error_response(&error))),
    };
    connection::spawn(shared, hyper::upgrade::on(&mut request), (signal_id, sender), signal_stream);
    let mut response = response::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.extend(HeaderValue::from_str(&accept).ok().map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
    response
}
