//! Data messages between participants, and RPCs of the server API.

use std::sync::Arc;
use std::time::Duration;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;
use tokio::sync::oneshot;
use tracing::debug;

use crate::error::{ApiError, RpcError};
use crate::ids::{SessionId, new_sid};
use crate::session::removal::Removal;
use crate::session::room::participant::Participant;
use crate::session::room::{Context, Room};

/// Maximum bytes of a message with its envelope: what clients accept that state no maximum in their SDP (RFC 8841, section 6).
/// Longer messages are dropped, as on livekit-server.
const MAX_MESSAGE_BYTES: usize = 65_536;
/// Maximum response timeout of an RPC of the server API, in ms; longer ones are shortened.
const MAX_RPC_MS: u32 = 10 * 60 * 1000;

impl Room {
    /// Forwards a data packet of a participant.
    pub(crate) fn on_data_packet(&mut self, context: &mut Context<'_>, id: SessionId, is_reliable: bool, bytes: &[u8]) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Ok(mut packet) = proto::DataPacket::decode(bytes) else { return };
        if is_reliable && !participant.data.accept(packet.sequence) {
            return;
        }
        if !participant.may_send(packet.value.as_ref()) {
            debug!(room = self.name, session = id, bytes = bytes.len(), reason = "not permitted", "data dropped");
            return;
        }
        if participant.data.on_rpc_reply(&packet) {
            return;
        }
        set_sender(&mut packet, participant);
        self.broadcast_data(context, Some(id), is_reliable, packet);
    }

    /// Forwards bytes from a data channel of the application to all others, as a reliable user packet without a topic.
    pub(crate) fn on_raw_data(&mut self, context: &mut Context<'_>, id: SessionId, bytes: Vec<u8>) {
        let Some(participant) = self.participants.get(&id) else { return };
        let user = proto::UserPacket { payload: bytes, ..proto::UserPacket::default() };
        let mut packet = proto::DataPacket { value: Some(Value::User(user)), ..proto::DataPacket::default() };
        if !participant.may_send(packet.value.as_ref()) {
            debug!(room = self.name, session = id, reason = "not permitted", "data dropped");
            return;
        }
        set_sender(&mut packet, participant);
        self.broadcast_data(context, Some(id), true, packet);
    }

    /// Sends a packet to the recipients that it lists, or to all participants except its sender.
    pub(crate) fn broadcast_data(
        &mut self,
        context: &mut Context<'_>,
        sender: Option<SessionId>,
        is_reliable: bool,
        mut packet: proto::DataPacket,
    ) {
        let (identities, sids) = recipients(&mut packet);
        packet.set_kind(if is_reliable { Kind::Reliable } else { Kind::Lossy });
        let message: Arc<[u8]> = packet.encode_to_vec().into();
        if message.len() > MAX_MESSAGE_BYTES {
            debug!(room = self.name, session = sender, bytes = message.len(), reason = "too long", "data dropped");
            return;
        }
        let is_recipient = |participant: &Participant| {
            let (identity, sid) = (&participant.info.identity, &participant.info.sid);
            (identities.is_empty() && sids.is_empty()) || identities.contains(identity) || sids.contains(sid)
        };
        let mut overrun = Vec::new();
        for participant in self
            .participants
            .values_mut()
            .filter(|participant| Some(participant.id) != sender && is_recipient(participant))
        {
            let downlink = self.connections.get_mut(participant.data_downlink());
            if !participant.data.enqueue(&mut context.io, downlink, is_reliable, &message) {
                overrun.push(participant.id);
            }
        }
        for id in overrun {
            self.remove(context, id, Removal::failure("data queue full"));
        }
    }

    /// Sends an RPC of the server API to a participant.
    pub(crate) fn perform_rpc(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        request: &proto::PerformRpcRequest,
        reply: oneshot::Sender<Result<String, ApiError>>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if request.payload.len() + request.method.len() > RpcError::MAX_PAYLOAD_BYTES {
            // The caller may be gone.
            let _ = reply.send(Err(ApiError::Rpc(RpcError::too_large())));
            return;
        }
        let response_timeout_ms =
            if request.response_timeout_ms == 0 { 10_000 } else { request.response_timeout_ms.min(MAX_RPC_MS) };
        let call_id = new_sid("RPC_");
        let packet = proto::DataPacket {
            // The response is addressed to this identity, which no participant has.
            participant_identity: call_id.clone(),
            value: Some(Value::RpcRequest(proto::RpcRequest {
                id: call_id.clone(),
                method: request.method.clone(),
                payload: request.payload.clone(),
                response_timeout_ms,
                version: 1,
                ..proto::RpcRequest::default()
            })),
            ..proto::DataPacket::default()
        };
        let message: Arc<[u8]> = packet.encode_to_vec().into();
        let response_timeout = Duration::from_millis(response_timeout_ms.into());
        participant.data.add_rpc(call_id, reply, response_timeout, context.io.now);
        let downlink = self.connections.get_mut(participant.data_downlink());
        participant.data.enqueue(&mut context.io, downlink, true, &message);
    }
}

impl Participant {
    /// Whether the participant may send a packet. As on livekit-server, RPC responses need the permission to publish data.
    fn may_send(&self, value: Option<&Value>) -> bool {
        let may_publish = self.permission().can_publish_data;
        match value {
            Some(Value::Transcription(_)) => self.is_agent() && may_publish,
            // The engine does not collect metrics.
            Some(Value::Metrics(_)) | None => false,
            Some(_) => may_publish,
        }
    }
}

/// Sets the sender of a packet, whatever the client has set; none if the sender is hidden. An agent may send text in the name of
/// another participant, as in a transcript; it is then marked as generated.
#[expect(deprecated, reason = "older clients read the sender in the inner message")]
fn set_sender(packet: &mut proto::DataPacket, sender: &Participant) {
    let (sid, identity) =
        if sender.is_hidden() { ("", "") } else { (sender.info.sid.as_str(), sender.info.identity.as_str()) };
    sid.clone_into(&mut packet.participant_sid);
    let is_of_another = !packet.participant_identity.is_empty() && packet.participant_identity != sender.info.identity;
    let generated = match &mut packet.value {
        Some(Value::ChatMessage(message)) => Some(&mut message.generated),
        Some(Value::StreamHeader(proto::data_stream::Header {
            content_header: Some(ContentHeader::TextHeader(header)),
            ..
        })) => Some(&mut header.generated),
        _ => None,
    };
    match generated.filter(|_| is_of_another && sender.is_agent()) {
        Some(generated) => *generated = true,
        None => identity.clone_into(&mut packet.participant_identity),
    }
    if let Some(Value::User(user)) = &mut packet.value {
        sid.clone_into(&mut user.participant_sid);
        identity.clone_into(&mut user.participant_identity);
    }
}

/// The identities and `sid`s of the recipients.
#[expect(deprecated, reason = "older clients name the recipients in the inner message")]
fn recipients(packet: &mut proto::DataPacket) -> (Vec<String>, Vec<String>) {
    let mut sids = Vec::new();
    if let Some(Value::User(user)) = &mut packet.value {
        sids.clone_from(&user.destination_sids);
        if packet.destination_identities.is_empty() {
            packet.destination_identities.clone_from(&user.destination_identities);
        }
    }
    (packet.destination_identities.clone(), sids)
}
