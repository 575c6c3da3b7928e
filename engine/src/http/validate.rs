//! Whether a token opens a room: what a client asks before it connects, and again when it could not.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use flate2::read::GzDecoder;
use hyper::StatusCode;
use livekit_api::access_token::VideoGrants;
use livekit_protocol as proto;
use prost::Message as _;
use proto::wrapped_join_request::Compression;

use crate::engine::Shared;
use crate::refusal::MOST_NAME_BYTES;
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

/// Checks that the token opens its room now, in livekit-server's order.
pub(super) fn check(
    shared: &Shared,
    path: Path,
    query: &HashMap<Cow<'_, str>, Cow<'_, str>>,
    claims: Option<&Claims>,
) -> Result<(), Fault> {
    let (claims, grants) = claims.and_then(|claims| Some((claims, claims.video.as_ref()?))).ok_or(NO_ACCESS)?;
    let wished = Wishes::read(path, query)?;
    if !grants.room_join {
        return Err((StatusCode::UNAUTHORIZED, "permissions denied".into()));
    }
    check_names(claims.identity(), &grants.room)?;
    if !wished.are_allowed(grants) {
        return Err(NO_ACCESS);
    }
    let (mark, not_before) = (claims.mark.as_ref(), claims.not_before());
    if !shared.rooms(|rooms, now| rooms.takes(&grants.room, mark, not_before, now)) {
        let reason = "invalid token, error: it was minted before its room was deleted";
        return Err((StatusCode::UNAUTHORIZED, reason.into()));
    }
    Ok(())
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

/// What a client wants beyond joining, and may not if the token forbids it.
#[derive(Default)]
struct Wishes {
    publishes: bool,
    describes_itself: bool,
}

impl Wishes {
    fn read(path: Path, query: &HashMap<Cow<'_, str>, Cow<'_, str>>) -> Result<Self, Fault> {
        let parameter = |name: &str| query.get(name).map(AsRef::as_ref).filter(|value: &&str| !value.is_empty());
        let wrong = |fault: &'static str| (StatusCode::BAD_REQUEST, Cow::Borrowed(fault));
        if let Some(packed) = parameter("join_request") {
            let request = join_request(packed).map_err(wrong)?;
            let describes_itself = !request.metadata.is_empty() || !request.participant_attributes.is_empty();
            return Ok(Self { publishes: false, describes_itself });
        }
        if path == Path::V1 {
            return Err(wrong("join_request is required"));
        }
        let attributes: HashMap<String, String> = match parameter("attributes") {
            None => HashMap::new(),
            Some(packed) => {
                let json = URL_SAFE.decode(packed).map_err(|_| wrong("cannot decode attributes"))?;
                serde_json::from_slice(&json).map_err(|_| wrong("cannot decode attributes"))?
            }
        };
        Ok(Self { publishes: parameter("publish").is_some(), describes_itself: !attributes.is_empty() })
    }

    fn are_allowed(&self, grants: &VideoGrants) -> bool {
        (grants.can_publish() || !self.publishes) && (grants.can_update_own_metadata() || !self.describes_itself)
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
