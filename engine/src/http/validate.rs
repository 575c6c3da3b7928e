//! Checks of a join request. Clients send it to `/rtc/validate` as well, after a connection failed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::read::GzDecoder;
use hyper::StatusCode;
use livekit_protocol as proto;
use livekit_token::VideoGrants;
use prost::Message as _;
use proto::client_info::Sdk;
use proto::wrapped_join_request::Compression;
use tracing::info;

use super::query::Query;
use crate::auth::token::Claims;
use crate::decode_cost::{self, JOIN_REQUEST};
use crate::decoded_memory::{Memory, Sender};
use crate::error::{ApiError, MAX_NAME_BYTES, check_creation};
use crate::registry::rooms::TokenIssuedAt;
use crate::session;
use crate::shared::Shared;
use crate::signal::connection::{MAX_TRACKS, is_small};
use crate::work::{Kind, SHORT_BYTES};

/// Maximum bytes of a decompressed join request, the limit of livekit-server's HTTP heads. Past it, the request is rejected
/// with 400.
const MAX_JOIN_REQUEST_BYTES: usize = 1024 * 1024;
const TOO_LARGE: &str = "join request too large";

/// Versions of the path that clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// `/rtc`: query parameters and two peer connections, or a join request and one.
    V0,
    /// `/rtc/v1`: a join request and one peer connection.
    V1,
}

type ValidationError = (StatusCode, Cow<'static, str>);

const NO_ACCESS: ValidationError = (StatusCode::UNAUTHORIZED, Cow::Borrowed("no permissions to access the room"));

/// A join request that passed the checks.
pub(super) struct Admission {
    pub(super) claims: Claims,
    pub(super) grants: VideoGrants,
    /// Whether the client uses a single peer connection.
    pub(super) is_single: bool,
    pub(super) request: proto::JoinRequest,
    /// Reservation for the decoded request.
    pub(super) memory: Memory,
}

/// Checks a join request against its token and the room's state, in livekit-server's order. `is_strict` rejects attributes that
/// cannot be decoded; otherwise they are ignored.
///
/// # Errors
/// The status and text of the response.
pub(super) async fn check(
    shared: &Arc<Shared>,
    path: Path,
    query: &Query<'_>,
    claims: Option<Claims>,
    is_strict: bool,
) -> Result<Admission, ValidationError> {
    let (claims, grants) =
        claims.and_then(|mut claims| claims.video.take().map(|grants| (claims, grants))).ok_or(NO_ACCESS)?;
    let sender = shared.decoded_memory.participant(&grants.room, claims.identity());
    let client_params = ClientParams::read(shared, sender, path, query, is_strict).await?;
    if !grants.room_join {
        return Err((StatusCode::UNAUTHORIZED, "permissions denied".into()));
    }
    check_names(claims.identity(), &grants.room)?;
    if !client_params.are_allowed(&grants) {
        return Err(NO_ACCESS);
    }
    let ClientParams { is_single, request, memory, .. } = client_params;
    check_creation(&creation(&claims)).map_err(|error| error_response(&error))?;
    let participant = session::participant(&claims, &grants, &request);
    let issued_at = TokenIssuedAt { epoch: claims.epoch.as_ref(), not_before: claims.not_before() };
    let checked = shared.rooms(|rooms, now| {
        rooms.check(&grants.room, &participant, issued_at, now)?;
        // As in the server API, the field is ignored for an open room.
        let has_preset = !claims.room_preset.is_empty() && rooms.get(&grants.room, now).is_none();
        if has_preset { Err(ApiError::RoomPreset) } else { Ok(()) }
    });
    // A participant that resumes is in the room already.
    if let Err(error) = checked
        && !(request.reconnect && error == ApiError::RoomFull)
    {
        // Clients validate a token again after a rejected join, which is logged once.
        if !is_strict {
            info!(room = grants.room, participant = claims.identity(), %error, "join rejected");
        }
        return Err(error_response(&error));
    }
    Ok(Admission { claims, grants, is_single, request, memory })
}

/// The room settings of a token, as a request of the server API.
fn creation(claims: &Claims) -> proto::CreateRoomRequest {
    let configured = claims.room_config.clone().unwrap_or_default();
    proto::CreateRoomRequest {
        metadata: configured.metadata,
        egress: configured.egress,
        min_playout_delay: configured.min_playout_delay,
        max_playout_delay: configured.max_playout_delay,
        sync_streams: configured.sync_streams,
        agents: configured.agents,
        ..proto::CreateRoomRequest::default()
    }
}

/// Status and text of the response to a join that was rejected.
pub(super) fn error_response(error: &ApiError) -> ValidationError {
    let status = match error {
        // livekit-client reports the text to the app for 401 and 403 only.
        ApiError::Unsupported(_)
        | ApiError::RoomPreset
        | ApiError::Name
        | ApiError::Metadata
        | ApiError::Attributes => 403,
        error => error.code().1,
    };
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), error.to_string().into())
}

fn check_names(identity: &str, room: &str) -> Result<(), ValidationError> {
    let message: Cow<'static, str> = if identity.is_empty() {
        "identity cannot be empty".into()
    } else if identity.len() > MAX_NAME_BYTES {
        format!("participant identity length exceeds limits: max length {MAX_NAME_BYTES}").into()
    } else if room.is_empty() {
        "no room name".into()
    } else if room.len() > MAX_NAME_BYTES {
        format!("room name length exceeds limits: max length {MAX_NAME_BYTES}").into()
    } else {
        return Ok(());
    };
    Err((StatusCode::BAD_REQUEST, message))
}

/// A join request, from either form of parameters.
struct ClientParams {
    is_single: bool,
    /// Whether the `publish` parameter is set.
    publishes: bool,
    request: proto::JoinRequest,
    memory: Memory,
}

impl ClientParams {
    async fn read(
        shared: &Arc<Shared>,
        sender: Sender,
        path: Path,
        query: &Query<'_>,
        is_strict: bool,
    ) -> Result<Self, ValidationError> {
        let parameter = |name| query.get(name);
        let invalid = |message: &'static str| (StatusCode::BAD_REQUEST, Cow::Borrowed(message));
        if let Some(packed) = parameter("join_request") {
            let (request, memory) = join_request(shared, sender, packed).await.map_err(invalid)?;
            return Ok(Self { is_single: true, publishes: false, request, memory });
        }
        if path == Path::V1 {
            return Err(invalid("join_request is required"));
        }
        let participant_attributes: HashMap<String, String> = match parameter("attributes") {
            None => HashMap::new(),
            Some(packed) => {
                let json = URL_SAFE.decode(packed).ok();
                let attributes = json.and_then(|json| serde_json::from_slice(&json).ok());
                // livekit-server ignores attributes that cannot be decoded.
                attributes
                    .or_else(|| (!is_strict).then(HashMap::new))
                    .ok_or_else(|| invalid("cannot decode attributes"))?
            }
        };
        let is = |name, default| parameter(name).map_or(default, |value| matches!(value, "1" | "t" | "true" | "TRUE"));
        let number = |name| parameter(name).and_then(|value| value.parse().ok()).unwrap_or_default();
        let text = |name| parameter(name).unwrap_or_default().to_owned();
        let request = proto::JoinRequest {
            client_info: Some(proto::ClientInfo {
                sdk: sdk(parameter("sdk").unwrap_or_default()).into(),
                version: text("version"),
                protocol: number("protocol"),
                os: text("os"),
                os_version: text("os_version"),
                device_model: text("device_model"),
                browser: text("browser"),
                browser_version: text("browser_version"),
                network: text("network"),
                client_protocol: number("client_protocol"),
                ..proto::ClientInfo::default()
            }),
            connection_settings: Some(proto::ConnectionSettings {
                auto_subscribe: is("auto_subscribe", true),
                adaptive_stream: is("adaptive_stream", false),
                ..proto::ConnectionSettings::default()
            }),
            participant_attributes,
            reconnect: is("reconnect", false),
            participant_sid: parameter("sid").unwrap_or_default().to_owned(),
            ..proto::JoinRequest::default()
        };
        let memory = shared.decoded_memory.reserve(sender, 0).await;
        Ok(Self { is_single: false, publishes: parameter("publish").is_some(), request, memory })
    }

    fn are_allowed(&self, grants: &VideoGrants) -> bool {
        let sets_metadata = !self.request.metadata.is_empty() || !self.request.participant_attributes.is_empty();
        (grants.can_publish() || !self.publishes) && (grants.can_update_own_metadata() || !sets_metadata)
    }
}

/// The SDK with this name in the `sdk` parameter.
fn sdk(name: &str) -> Sdk {
    match name {
        "ios" => Sdk::Swift,
        "reactnative" => Sdk::ReactNative,
        "unityweb" => Sdk::UnityWeb,
        name => Sdk::from_str_name(&name.to_ascii_uppercase()).unwrap_or_default(),
    }
}

/// Decompresses and decodes a join request.
async fn join_request(
    shared: &Arc<Shared>,
    sender: Sender,
    packed: &str,
) -> Result<(proto::JoinRequest, Memory), &'static str> {
    let wrapped = URL_SAFE.decode(packed).map_err(|_| "cannot base64 decode wrapped join request")?;
    let wrapped = proto::WrappedJoinRequest::decode(&*wrapped).map_err(|_| "cannot unmarshal wrapped join request")?;
    // The decompressed length is not known before. Past the limit for this thread, a worker thread starts again.
    let unpacked = if let Some(unpacked) = unpack(&wrapped, SHORT_BYTES)? {
        unpacked
    } else {
        let unpack = move || unpack(&wrapped, MAX_JOIN_REQUEST_BYTES);
        let unpacked = shared.work.run(Kind::Signal, MAX_JOIN_REQUEST_BYTES, unpack).await;
        unpacked.ok_or("cannot unmarshal join request")??.ok_or(TOO_LARGE)?
    };
    let cost = decode_cost::protobuf(&unpacked, &JOIN_REQUEST, decode_cost::SIGNAL).ok_or(TOO_LARGE)?;
    let memory = shared.decoded_memory.reserve(sender, cost).await;
    let decode = move || {
        let mut request = proto::JoinRequest::decode(&*unpacked).ok()?;
        request.publisher_offer.iter_mut().for_each(|offer| session::shorten(&mut offer.sdp));
        Some(request)
    };
    let request = shared.work.run(Kind::Signal, cost, decode).await.flatten();
    let request = request.ok_or("cannot unmarshal join request")?;
    if request.add_track_requests.len() > MAX_TRACKS || !request.sync_state.as_ref().is_none_or(is_small) {
        return Err(TOO_LARGE);
    }
    Ok((request, memory))
}

/// Decompresses a join request; `None` if it is longer than `max_bytes`.
fn unpack(wrapped: &proto::WrappedJoinRequest, max_bytes: usize) -> Result<Option<Vec<u8>>, &'static str> {
    let packed = &*wrapped.join_request;
    let mut unpacked = Vec::new();
    let limit = u64::try_from(max_bytes + 1).unwrap_or(u64::MAX);
    let read = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) => packed.take(limit).read_to_end(&mut unpacked),
        Ok(Compression::Gzip) => GzDecoder::new(packed).take(limit).read_to_end(&mut unpacked),
        // An unknown compression; the empty request then has no effect.
        Err(_) => Ok(0),
    };
    read.map_err(|_| "cannot read decompressed join request")?;
    Ok((unpacked.len() <= max_bytes).then_some(unpacked))
}
