//! Participants and tracks in JSON, with the field names of the .proto files and with default values, as livekit-server writes
//! them.

use std::collections::BTreeMap;

use livekit_protocol as proto;
use proto::client_info::Capability;
use proto::participant_info::{Kind, KindDetail, State};
use serde::Serialize;

/// The enumeration value with this number; the default for an unknown number.
fn known<E: TryFrom<i32> + Default>(number: i32) -> E {
    E::try_from(number).unwrap_or_default()
}

fn all_known<E: TryFrom<i32> + Default>(numbers: &[i32]) -> Vec<E> {
    numbers.iter().map(|number| known(*number)).collect()
}

fn list<'a, From, To: std::convert::From<&'a From>>(items: &'a [From]) -> Vec<To> {
    items.iter().map(To::from).collect()
}

#[derive(Serialize)]
pub(super) struct ParticipantJson<'a> {
    sid: &'a str,
    identity: &'a str,
    state: State,
    tracks: Vec<TrackJson<'a>>,
    metadata: &'a str,
    // ProtoJSON writes 64-bit integers as strings.
    joined_at: String,
    joined_at_ms: String,
    name: &'a str,
    version: u32,
    permission: Option<PermissionJson>,
    region: &'a str,
    is_publisher: bool,
    kind: Kind,
    attributes: BTreeMap<&'a str, &'a str>,
    disconnect_reason: proto::DisconnectReason,
    kind_details: Vec<KindDetail>,
    /// Always empty: the engine has no data tracks.
    data_tracks: [(); 0],
    client_protocol: i32,
    capabilities: Vec<Capability>,
}

impl<'a> From<&'a proto::ParticipantInfo> for ParticipantJson<'a> {
    fn from(info: &'a proto::ParticipantInfo) -> Self {
        Self {
            sid: &info.sid,
            identity: &info.identity,
            state: known(info.state),
            tracks: list(&info.tracks),
            metadata: &info.metadata,
            joined_at: info.joined_at.to_string(),
            joined_at_ms: info.joined_at_ms.to_string(),
            name: &info.name,
            version: info.version,
            permission: info.permission.as_ref().map(PermissionJson::from),
            region: &info.region,
            is_publisher: info.is_publisher,
            kind: known(info.kind),
            attributes: info.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            disconnect_reason: known(info.disconnect_reason),
            kind_details: all_known(&info.kind_details),
            data_tracks: [],
            client_protocol: info.client_protocol,
            capabilities: all_known(&info.capabilities),
        }
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "fields of the protocol")]
struct PermissionJson {
    can_subscribe: bool,
    can_publish: bool,
    can_publish_data: bool,
    can_publish_sources: Vec<proto::TrackSource>,
    hidden: bool,
    recorder: bool,
    can_update_metadata: bool,
    agent: bool,
    can_subscribe_metrics: bool,
    can_manage_agent_session: bool,
}

impl From<&proto::ParticipantPermission> for PermissionJson {
    #[expect(deprecated, reason = "livekit-server still writes `recorder` and `agent`")]
    fn from(permission: &proto::ParticipantPermission) -> Self {
        Self {
            can_subscribe: permission.can_subscribe,
            can_publish: permission.can_publish,
            can_publish_data: permission.can_publish_data,
            can_publish_sources: all_known(&permission.can_publish_sources),
            hidden: permission.hidden,
            recorder: permission.recorder,
            can_update_metadata: permission.can_update_metadata,
            agent: permission.agent,
            can_subscribe_metrics: permission.can_subscribe_metrics,
            can_manage_agent_session: permission.can_manage_agent_session,
        }
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "fields of the protocol")]
pub(super) struct TrackJson<'a> {
    sid: &'a str,
    r#type: proto::TrackType,
    name: &'a str,
    muted: bool,
    width: u32,
    height: u32,
    simulcast: bool,
    disable_dtx: bool,
    source: proto::TrackSource,
    layers: Vec<LayerJson<'a>>,
    mime_type: &'a str,
    mid: &'a str,
    codecs: Vec<CodecJson<'a>>,
    stereo: bool,
    disable_red: bool,
    encryption: proto::encryption::Type,
    stream: &'a str,
    version: Option<VersionJson>,
    audio_features: Vec<proto::AudioTrackFeature>,
    backup_codec_policy: proto::BackupCodecPolicy,
    packet_trailer_features: Vec<proto::PacketTrailerFeature>,
}

impl<'a> From<&'a proto::TrackInfo> for TrackJson<'a> {
    #[expect(deprecated, reason = "livekit-server still writes the deprecated fields")]
    fn from(track: &'a proto::TrackInfo) -> Self {
        Self {
            sid: &track.sid,
            r#type: known(track.r#type),
            name: &track.name,
            muted: track.muted,
            width: track.width,
            height: track.height,
            simulcast: track.simulcast,
            disable_dtx: track.disable_dtx,
            source: known(track.source),
            layers: list(&track.layers),
            mime_type: &track.mime_type,
            mid: &track.mid,
            codecs: list(&track.codecs),
            stereo: track.stereo,
            disable_red: track.disable_red,
            encryption: known(track.encryption),
            stream: &track.stream,
            version: track.version.as_ref().map(VersionJson::from),
            audio_features: all_known(&track.audio_features),
            backup_codec_policy: known(track.backup_codec_policy),
            packet_trailer_features: all_known(&track.packet_trailer_features),
        }
    }
}

#[derive(Serialize)]
struct VersionJson {
    unix_micro: String,
    ticks: i32,
}

impl From<&proto::TimedVersion> for VersionJson {
    fn from(version: &proto::TimedVersion) -> Self {
        Self { unix_micro: version.unix_micro.to_string(), ticks: version.ticks }
    }
}

#[derive(Serialize)]
struct LayerJson<'a> {
    quality: proto::VideoQuality,
    width: u32,
    height: u32,
    bitrate: u32,
    ssrc: u32,
    spatial_layer: i32,
    rid: &'a str,
    repair_ssrc: u32,
}

impl<'a> From<&'a proto::VideoLayer> for LayerJson<'a> {
    fn from(layer: &'a proto::VideoLayer) -> Self {
        Self {
            quality: known(layer.quality),
            width: layer.width,
            height: layer.height,
            bitrate: layer.bitrate,
            ssrc: layer.ssrc,
            spatial_layer: layer.spatial_layer,
            rid: &layer.rid,
            repair_ssrc: layer.repair_ssrc,
        }
    }
}

#[derive(Serialize)]
struct CodecJson<'a> {
    mime_type: &'a str,
    mid: &'a str,
    cid: &'a str,
    layers: Vec<LayerJson<'a>>,
    video_layer_mode: proto::video_layer::Mode,
    sdp_cid: &'a str,
}

impl<'a> From<&'a proto::SimulcastCodecInfo> for CodecJson<'a> {
    fn from(codec: &'a proto::SimulcastCodecInfo) -> Self {
        Self {
            mime_type: &codec.mime_type,
            mid: &codec.mid,
            cid: &codec.cid,
            layers: list(&codec.layers),
            video_layer_mode: known(codec.video_layer_mode),
            sdp_cid: &codec.sdp_cid,
        }
    }
}
