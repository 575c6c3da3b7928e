//! Whether a token opens a room: what a client asks before it connects, and again when it could not.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::read::GzDecoder;
use hyper::StatusCode;
use livekit_protocol as proto;
use livekit_token::VideoGrants;
use prost::Message as _;
use proto::client_info::Sdk;
use proto::wrapped_join_request::Compression;

use crate::engine::Shared;
use crate::media;
use crate::refusal::{MOST_NAME_BYTES, Refusal, check_creation};
use crate::rooms::Minted;
use crate::token::Claims;

/// The most bytes of an unpacked join request, as Go's servers limit a head.
const MOST_JOIN_REQUEST_BYTES: usize = 1024 * 1024;

/// The two paths by which clients connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// `/rtc`: parameters, and two peer connections unless there is a join request.
    V0,
    /// `/rtc/v1`: a join request, and one peer connection.
    V1,
}

type Fault = (StatusCode, Cow<'static, str>);

const NO_ACCESS: Fault = (StatusCode::UNAUTHORIZED, Cow::Borrowed("no permissions to access the room"));

/// Who may join, and what with.
pub(super) struct Admission {
    pub(super) claims: Claims,
    pub(super) grants: VideoGrants,
    /// With one peer connection.
    pub(super) is_single: bool,
    pub(super) request: proto::JoinRequest,
}

/// Checks that the token opens its room now, in livekit-server's order.
pub(super) fn check(
    shared: &Shared,
    path: Path,
    query: &HashMap<Cow<'_, str>, Cow<'_, str>>,
    claims: Option<Claims>,
) -> Result<Admission, Fault> {
    let (claims, grants) =
        claims.and_then(|mut claims| claims.video.take().map(|grants| (claims, grants))).ok_or(NO_ACCESS)?;
    let wishes = Wishes::read(path, query)?;
    if !grants.room_join {
        return Err((StatusCode::UNAUTHORIZED, "permissions denied".into()));
    }
    check_names(claims.identity(), &grants.room)?;
    if !wishes.are_allowed(&grants) {
        return Err(NO_ACCESS);
    }
    let Wishes { is_single, request, .. } = wishes;
    check_creation(&creation(&claims)).map_err(|refusal| fault(&refusal))?;
    let participant = media::participant(&claims, &grants, &request);
    let minted = Minted { mark: claims.mark.as_ref(), not_before: claims.not_before() };
    let checked = shared.rooms(|rooms, now| {
        rooms.check(&grants.room, &participant, minted, now)?;
        // As for the server API, a live room is not asked what it was made with.
        let has_preset = !claims.room_preset.is_empty() && rooms.get(&grants.room, now).is_none();
        if has_preset { Err(Refusal::RoomPreset) } else { Ok(()) }
    });
    // Whoever comes back has its place.
    if let Err(refusal) = checked
        && !(request.reconnect && refusal == Refusal::RoomFull)
    {
        return Err(fault(&refusal));
    }
    Ok(Admission { claims, grants, is_single, request })
}

/// What the room is made with that a token names, as a request of the server API.
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

/// What a client that may not join is told.
pub(super) fn fault(refusal: &Refusal) -> Fault {
    let status = match refusal {
        // livekit-client shows a user the reason of a join that was refused with 401 or 403 only.
        Refusal::Unsupported(_) | Refusal::RoomPreset | Refusal::Name | Refusal::Metadata | Refusal::Attributes => 403,
        refusal => refusal.code().1,
    };
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), refusal.to_string().into())
}

fn check_names(identity: &str, room: &str) -> Result<(), Fault> {
    let fault: Cow<'static, str> = if identity.is_empty() {
        "identity cannot be empty".into()
    } else if identity.len() > MOST_NAME_BYTES {
        format!("participant identity length exceeds limits: max length {MOST_NAME_BYTES}").into()
    } else if room.is_empty() {
        "no room name".into()
    } else if room.len() > MOST_NAME_BYTES {
        format!("room name length exceeds limits: max length {MOST_NAME_BYTES}").into()
    } else {
        return Ok(());
    };
    Err((StatusCode::BAD_REQUEST, fault))
}

/// What a client wants, however it says so.
struct Wishes {
    is_single: bool,
    publishes: bool,
    request: proto::JoinRequest,
}

impl Wishes {
    fn read(path: Path, query: &HashMap<Cow<'_, str>, Cow<'_, str>>) -> Result<Self, Fault> {
        let parameter = |name: &str| query.get(name).map(AsRef::as_ref).filter(|value: &&str| !value.is_empty());
        let wrong = |fault: &'static str| (StatusCode::BAD_REQUEST, Cow::Borrowed(fault));
        if let Some(packed) = parameter("join_request") {
            return Ok(Self { is_single: true, publishes: false, request: join_request(packed).map_err(wrong)? });
        }
        if path == Path::V1 {
            return Err(wrong("join_request is required"));
        }
        let participant_attributes: HashMap<String, String> = match parameter("attributes") {
            None => HashMap::new(),
            Some(packed) => {
                let json = URL_SAFE.decode(packed).map_err(|_| wrong("cannot decode attributes"))?;
                serde_json::from_slice(&json).map_err(|_| wrong("cannot decode attributes"))?
            }
        };
        let is =
            |name, standard| parameter(name).map_or(standard, |value| matches!(value, "1" | "t" | "true" | "TRUE"));
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
        Ok(Self { is_single: false, publishes: parameter("publish").is_some(), request })
    }

    fn are_allowed(&self, grants: &VideoGrants) -> bool {
        let describes_itself = !self.request.metadata.is_empty() || !self.request.participant_attributes.is_empty();
        (grants.can_publish() || !self.publishes) && (grants.can_update_own_metadata() || !describes_itself)
    }
}

/// The SDK by its name in the `sdk` parameter.
fn sdk(name: &str) -> Sdk {
    match name {
        "ios" => Sdk::Swift,
        "reactnative" => Sdk::ReactNative,
        "unityweb" => Sdk::UnityWeb,
        name => Sdk::from_str_name(&name.to_ascii_uppercase()).unwrap_or_default(),
    }
}

fn join_request(packed: &str) -> Result<proto::JoinRequest, &'static str> {
    let wrapped = URL_SAFE.decode(packed).map_err(|_| "cannot base64 decode wrapped join request")?;
    let wrapped = proto::WrappedJoinRequest::decode(&*wrapped).map_err(|_| "cannot unmarshal wrapped join request")?;
    let unpacked = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) => wrapped.join_request,
        Ok(Compression::Gzip) => gunzip(&wrapped.join_request)?,
        // Whatever else there may be one day is not looked into.
        Err(_) => Vec::new(),
    };
    if unpacked.len() > MOST_JOIN_REQUEST_BYTES {
        return Err("join request too large");
    }
    proto::JoinRequest::decode(&*unpacked).map_err(|_| "cannot unmarshal join request")
}

/// At most one byte more than is allowed, however much is packed in it.
fn gunzip(packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(MOST_JOIN_REQUEST_BYTES).unwrap_or(u64::MAX);
    let read = GzDecoder::new(packed).take(most + 1).read_to_end(&mut unpacked);
    read.map_err(|_| "cannot read decompressed join request")?;
    Ok(unpacked)
}
