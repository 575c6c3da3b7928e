//! Memory of a decoded message, computed before decoding. An element of two bytes can take hundreds of bytes in memory, so the
//! length of a message does not bound its cost.

use livekit_protocol as proto;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Bytes that any message may take once decoded, however short it is.
const FREE_BYTES: usize = 256 * 1024;
/// Capacity of a growing list, relative to its length.
const GROWTH: usize = 2;
/// Bytes of a text or byte field besides its content: its handle in a growing list, and the allocator's overhead.
const TEXT_BYTES: usize = GROWTH * size_of::<String>() + 16;
/// Bytes of a number in a growing list.
const NUMBER_BYTES: usize = GROWTH * size_of::<u64>();
/// Bytes of a JSON value in a growing list.
const JSON_VALUE_BYTES: usize = GROWTH * size_of::<serde_json::Value>();
/// Bytes of a JSON object: one B-tree node, and the message decoded from it.
const JSON_OBJECT_BYTES: usize = 1024;

/// Limits of a message's cost. A message past one of them is rejected before decoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of fields and list elements, nested ones included.
    parts: usize,
    /// Maximum bytes once decoded, as a multiple of the length.
    factor: usize,
    /// The same for JSON.
    json_factor: usize,
    /// Maximum bytes once decoded.
    bytes: usize,
}

/// Limits of a signal or join request. After a resume in a room of 1,000, a client sends about 20,000 parts, which take up to
/// five times their length.
pub(crate) const SIGNAL: Limits = Limits { parts: 65_536, factor: 8, json_factor: 32, bytes: 16 * 1024 * 1024 };
/// Limits of a server API body. The largest useful one is a list of many short room names.
pub(crate) const BODY: Limits = Limits { parts: 300_000, factor: 16, json_factor: 32, bytes: 32 * 1024 * 1024 };

/// Schema of a message for computing its cost: its size in memory, and the fields that are messages.
pub(crate) struct Message {
    bytes: usize,
    fields: &'static [(u32, &'static Message)],
}

macro_rules! messages {
    ($($name:ident: $message:ty { $($tag:literal => $field:ident),* $(,)? })*) => {
        $(pub(crate) static $name: Message =
            Message { bytes: GROWTH * size_of::<$message>(), fields: &[$(($tag, &$field)),*] };)*
    };
}

/// A packed list of enumeration values: each byte can become a number.
static PACKED: Message = Message { bytes: 0, fields: &[] };
type MapEntry = (String, String);

// Lists repeated messages and the path to them. Any other field counts as a text.
messages! {
    MAP_ENTRY: MapEntry {}
    DESCRIPTION: proto::SessionDescription { 4 => MAP_ENTRY }
    VIDEO_LAYER: proto::VideoLayer {}
    SIMULCAST_CODEC: proto::SimulcastCodec { 4 => VIDEO_LAYER }
    ADD_TRACK: proto::AddTrackRequest { 9 => VIDEO_LAYER, 10 => SIMULCAST_CODEC, 17 => PACKED, 18 => PACKED }
    PARTICIPANT_TRACKS: proto::ParticipantTracks {}
    UPDATE_SUBSCRIPTION: proto::UpdateSubscription { 3 => PARTICIPANT_TRACKS }
    UPDATE_TRACK_SETTINGS: proto::UpdateTrackSettings {}
    REGION: proto::RegionInfo {}
    REGIONS: proto::RegionSettings { 1 => REGION }
    LEAVE: proto::LeaveRequest { 4 => REGIONS }
    UPDATE_LAYERS: proto::UpdateVideoLayers { 2 => VIDEO_LAYER }
    TRACK_PERMISSION: proto::TrackPermission {}
    SUBSCRIPTION_PERMISSION: proto::SubscriptionPermission { 2 => TRACK_PERMISSION }
    CODEC_INFO: proto::SimulcastCodecInfo { 4 => VIDEO_LAYER }
    TRACK_INFO: proto::TrackInfo { 10 => VIDEO_LAYER, 13 => CODEC_INFO, 19 => PACKED, 21 => PACKED }
    TRACK_PUBLISHED: proto::TrackPublishedResponse { 2 => TRACK_INFO }
    DATA_CHANNEL: proto::DataChannelInfo {}
    RECEIVE_STATE: proto::DataChannelReceiveState {}
    PUBLISH_DATA_TRACK: proto::PublishDataTrackResponse {}
    DATA_SUBSCRIPTION: proto::update_data_subscription::Update {}
    UPDATE_DATA_SUBSCRIPTION: proto::UpdateDataSubscription { 1 => DATA_SUBSCRIPTION }
    SYNC_STATE: proto::SyncState {
        1 => DESCRIPTION, 2 => UPDATE_SUBSCRIPTION, 3 => TRACK_PUBLISHED, 4 => DATA_CHANNEL, 5 => DESCRIPTION,
        7 => RECEIVE_STATE, 8 => PUBLISH_DATA_TRACK, 9 => UPDATE_DATA_SUBSCRIPTION,
    }
    UPDATE_METADATA: proto::UpdateParticipantMetadata { 3 => MAP_ENTRY }
    UPDATE_AUDIO_TRACK: proto::UpdateLocalAudioTrack { 2 => PACKED }
    SIGNAL_REQUEST: proto::SignalRequest {
        1 => DESCRIPTION, 2 => DESCRIPTION, 4 => ADD_TRACK, 6 => UPDATE_SUBSCRIPTION, 7 => UPDATE_TRACK_SETTINGS,
        8 => LEAVE, 10 => UPDATE_LAYERS, 11 => SUBSCRIPTION_PERMISSION, 12 => SYNC_STATE, 15 => UPDATE_METADATA,
        17 => UPDATE_AUDIO_TRACK, 21 => UPDATE_DATA_SUBSCRIPTION,
    }
    CLIENT_INFO: proto::ClientInfo { 13 => PACKED }
    JOIN_REQUEST: proto::JoinRequest {
        1 => CLIENT_INFO, 4 => MAP_ENTRY, 5 => ADD_TRACK, 6 => DESCRIPTION, 10 => SYNC_STATE,
    }
    PROXIED_UPLOAD: proto::S3Upload { 7 => MAP_ENTRY }
    FILE_OUTPUT: proto::EncodedFileOutput { 3 => PROXIED_UPLOAD }
    STREAM_OUTPUT: proto::StreamOutput {}
    SEGMENTED_OUTPUT: proto::SegmentedFileOutput { 5 => PROXIED_UPLOAD }
    IMAGE_OUTPUT: proto::ImageOutput { 8 => PROXIED_UPLOAD }
    WEBHOOK_FILTER: proto::FilterParams {}
    WEBHOOK: proto::WebhookConfig { 3 => WEBHOOK_FILTER }
    ROOM_COMPOSITE: proto::RoomCompositeEgressRequest {
        6 => FILE_OUTPUT, 7 => STREAM_OUTPUT, 10 => SEGMENTED_OUTPUT, 11 => FILE_OUTPUT, 12 => STREAM_OUTPUT,
        13 => SEGMENTED_OUTPUT, 14 => IMAGE_OUTPUT, 16 => WEBHOOK,
    }
    PARTICIPANT_EGRESS: proto::AutoParticipantEgress { 3 => FILE_OUTPUT, 4 => SEGMENTED_OUTPUT }
    TRACK_EGRESS: proto::AutoTrackEgress { 2 => PROXIED_UPLOAD }
    ROOM_EGRESS: proto::RoomEgress { 1 => ROOM_COMPOSITE, 2 => TRACK_EGRESS, 3 => PARTICIPANT_EGRESS }
    AGENT_DISPATCH: proto::RoomAgentDispatch { 5 => MAP_ENTRY }
    CREATE_ROOM: proto::CreateRoomRequest { 6 => ROOM_EGRESS, 14 => AGENT_DISPATCH, 15 => MAP_ENTRY }
    PERMISSION: proto::ParticipantPermission { 9 => PACKED }
    UPDATE_PARTICIPANT: proto::UpdateParticipantRequest { 4 => PERMISSION, 6 => MAP_ENTRY }
    UPDATE_SUBSCRIPTIONS: proto::UpdateSubscriptionsRequest { 5 => PARTICIPANT_TRACKS }
    // Any message without nested messages.
    FLAT: () {}
}

/// Bytes of a protobuf message once decoded; `None` past a limit. For malformed input, the cost of the part before the error,
/// where decoding stops as well.
pub(crate) fn protobuf(bytes: &[u8], message: &Message, limits: Limits) -> Option<usize> {
    let mut cost = Cost::new(limits, limits.factor, bytes.len());
    cost.message(bytes, message)?;
    Some(cost.bytes)
}

/// Bytes of a JSON message once decoded, including the tree of values it is parsed into; `None` past a limit.
pub(crate) fn json(text: &[u8], limits: Limits) -> Option<usize> {
    let mut cost = Cost::new(limits, limits.json_factor, text.len());
    cost.bytes = 2 * text.len();
    let (mut in_text, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => {
                in_text = !in_text;
                cost.bytes += if in_text { TEXT_BYTES } else { 0 };
            }
            b',' | b'[' if !in_text => cost.add(JSON_VALUE_BYTES)?,
            b'{' if !in_text => cost.add(JSON_VALUE_BYTES + JSON_OBJECT_BYTES)?,
            _ => (),
        }
    }
    cost.add(0)?;
    Some(cost.bytes)
}

struct Cost {
    parts: usize,
    bytes: usize,
    max_parts: usize,
    max_bytes: usize,
}

impl Cost {
    fn new(limits: Limits, factor: usize, length: usize) -> Self {
        let max_bytes = limits.bytes.min(FREE_BYTES + factor * length);
        Self { parts: 0, bytes: 0, max_parts: limits.parts, max_bytes }
    }

    fn add(&mut self, bytes: usize) -> Option<()> {
        self.parts += 1;
        self.bytes += bytes;
        (self.parts <= self.max_parts && self.bytes <= self.max_bytes).then_some(())
    }

    fn message(&mut self, mut rest: &[u8], message: &Message) -> Option<()> {
        while let Ok((tag, kind)) = decode_key(&mut rest) {
            if kind != WireType::LengthDelimited {
                self.add(NUMBER_BYTES)?;
                if skip_field(kind, tag, &mut rest, DecodeContext::default()).is_err() {
                    break;
                }
                continue;
            }
            let length = decode_varint(&mut rest).ok().and_then(|length| usize::try_from(length).ok());
            let Some((content, after)) = length.and_then(|length| rest.split_at_checked(length)) else { break };
            rest = after;
            match message.fields.iter().find(|(known, _)| *known == tag) {
                Some((_, field)) if std::ptr::eq(*field, &raw const PACKED) => {
                    self.add(NUMBER_BYTES * content.len())?;
                }
                Some((_, field)) => {
                    self.add(field.bytes)?;
                    self.message(content, field)?;
                }
                None => self.add(TEXT_BYTES + content.len())?,
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use proto::signal_request::Message as Signal;

    use super::*;

    fn signal(message: Signal) -> Option<usize> {
        let bytes = proto::SignalRequest { message: Some(message) }.encode_to_vec();
        protobuf(&bytes, &SIGNAL_REQUEST, SIGNAL)
    }

    fn sid(prefix: &str, number: usize) -> String {
        format!("{prefix}_{number:012}")
    }

    #[test]
    #[expect(deprecated, reason = "clients still send a track's layers twice")]
    fn accepts_the_sync_state_after_a_resume_in_a_room_of_1000() {
        let tracks = |number| (0..2).map(|track| sid("TR", 2 * number + track)).collect();
        let participant =
            |number| proto::ParticipantTracks { participant_sid: sid("PA", number), track_sids: tracks(number) };
        let mids = (0..2000).map(|number| (number.to_string(), sid("TR", number)));
        let description = proto::SessionDescription {
            sdp: "m=video 9 UDP/TLS/RTP/SAVPF 96".repeat(20_000),
            mid_to_track_id: mids.collect(),
            ..Default::default()
        };
        let track =
            proto::TrackInfo { sid: sid("TR", 0), layers: vec![proto::VideoLayer::default(); 3], ..Default::default() };
        let published = proto::TrackPublishedResponse { cid: "c".repeat(36), track: Some(track) };
        let received = |number| proto::DataChannelReceiveState { publisher_sid: sid("PA", number), last_seq: 7 };
        let state = proto::SyncState {
            answer: Some(description.clone()),
            offer: Some(description),
            subscription: Some(proto::UpdateSubscription {
                participant_tracks: (0..1000).map(participant).collect(),
                ..Default::default()
            }),
            publish_tracks: vec![published; 64],
            track_sids_disabled: tracks(0),
            datachannel_receive_states: (0..1000).map(received).collect(),
            ..Default::default()
        };
        let request = proto::SignalRequest { message: Some(Signal::SyncState(state)) };
        assert!(protobuf(&request.encode_to_vec(), &SIGNAL_REQUEST, SIGNAL).is_some());
        assert!(json(&serde_json::to_vec(&request).unwrap(), SIGNAL).is_some());
    }

    #[test]
    fn accepts_metadata_attributes_and_names_at_their_limits() {
        let metadata = "m".repeat(512 * 1024);
        let attributes = (0..64).map(|number| (number.to_string(), "a".repeat(1000))).collect();
        let update = proto::UpdateParticipantMetadata { metadata: metadata.clone(), attributes, ..Default::default() };
        assert!(signal(Signal::UpdateMetadata(update)).is_some());
        let request = proto::CreateRoomRequest { name: "r".into(), metadata, ..Default::default() };
        assert!(protobuf(&request.encode_to_vec(), &CREATE_ROOM, BODY).is_some());
        let request = proto::ListRoomsRequest { names: (0..100_000).map(|number| sid("room", number)).collect() };
        assert!(protobuf(&request.encode_to_vec(), &FLAT, BODY).is_some());
        assert!(json(&serde_json::to_vec(&request).unwrap(), BODY).is_some());
    }

    #[test]
    #[expect(deprecated, reason = "attackers can send deprecated fields")]
    fn rejects_elements_that_take_many_times_their_length() {
        const COUNT: usize = 50_000;
        let empty = vec![String::new(); COUNT];
        let layers = vec![proto::VideoLayer::default(); COUNT];
        let codecs = vec![proto::SimulcastCodec::default(); COUNT];
        let published = vec![proto::TrackPublishedResponse::default(); COUNT];
        let permissions = vec![proto::TrackPermission::default(); COUNT];
        let features = vec![1; 2_000_000];
        let updates = vec![proto::update_data_subscription::Update::default(); COUNT];
        let regions = Some(proto::RegionSettings { regions: vec![proto::RegionInfo::default(); COUNT] });
        let subscription = proto::UpdateSubscription { track_sids: empty.clone(), ..Default::default() };
        let tracks = vec![proto::ParticipantTracks::default(); COUNT];
        for (name, message) in [
            ("sids", Signal::Subscription(subscription.clone())),
            (
                "participants",
                Signal::Subscription(proto::UpdateSubscription { participant_tracks: tracks, ..Default::default() }),
            ),
            (
                "settings",
                Signal::TrackSetting(proto::UpdateTrackSettings { track_sids: empty.clone(), ..Default::default() }),
            ),
            ("layers", Signal::AddTrack(proto::AddTrackRequest { layers: layers.clone(), ..Default::default() })),
            ("old layers", Signal::UpdateLayers(proto::UpdateVideoLayers { layers, ..Default::default() })),
            ("codecs", Signal::AddTrack(proto::AddTrackRequest { simulcast_codecs: codecs, ..Default::default() })),
            (
                "features",
                Signal::AddTrack(proto::AddTrackRequest { audio_features: features.clone(), ..Default::default() }),
            ),
            ("own features", Signal::UpdateAudioTrack(proto::UpdateLocalAudioTrack { features, ..Default::default() })),
            ("published", Signal::SyncState(proto::SyncState { publish_tracks: published, ..Default::default() })),
            ("disabled", Signal::SyncState(proto::SyncState { track_sids_disabled: empty, ..Default::default() })),
            ("synced", Signal::SyncState(proto::SyncState { subscription: Some(subscription), ..Default::default() })),
            (
                "permissions",
                Signal::SubscriptionPermission(proto::SubscriptionPermission {
                    track_permissions: permissions,
                    ..Default::default()
                }),
            ),
            ("data", Signal::UpdateDataSubscription(proto::UpdateDataSubscription { updates })),
            ("regions", Signal::Leave(proto::LeaveRequest { regions, ..Default::default() })),
        ] {
            assert_eq!(signal(message), None, "{name}");
        }
    }

    #[test]
    fn rejects_json_that_takes_many_times_its_length() {
        for unit in ["[],", "{\"\":0},", "\"\",", "{},"] {
            let text = format!("{{\"x\":[{}0]}}", unit.repeat(60_000));
            assert_eq!(json(text.as_bytes(), SIGNAL), None, "{unit}");
        }
        assert!(json(format!("{{\"x\":\"{}\"}}", "[{,".repeat(600_000)).as_bytes(), SIGNAL).is_some());
    }

    #[test]
    fn counts_nested_fields_and_stops_at_the_first_error() {
        let layer = proto::VideoLayer { width: 1, ..Default::default() };
        let codec = proto::SimulcastCodec { codec: "vp8".into(), layers: vec![layer], ..Default::default() };
        let track = proto::AddTrackRequest { simulcast_codecs: vec![codec], ..Default::default() };
        let expected = [&SIMULCAST_CODEC, &VIDEO_LAYER].map(|message| message.bytes);
        let expected = expected.iter().sum::<usize>() + TEXT_BYTES + 3 + NUMBER_BYTES;
        let mut bytes = track.encode_to_vec();
        assert_eq!(protobuf(&bytes, &ADD_TRACK, SIGNAL), Some(expected));
        bytes.extend([0x0a, 200]);
        assert_eq!(protobuf(&bytes, &ADD_TRACK, SIGNAL), Some(expected));
    }
}
