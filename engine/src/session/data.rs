//! Messages between participants, over data channels.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;
use tokio::sync::oneshot;

use crate::error::{ApiError, RpcError};
use crate::ids::SessionId;
use crate::ids::new_sid;
use crate::net::connections::Connections;
use crate::net::peer_connection::Io;
use crate::session::participant::Participant;
use crate::session::room::{Context, Removal, Room};

/// Bytes that wait for one participant in the reliable channel. Past it, the participant has to join anew.
const MAX_RELIABLE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that are under way to one participant in the lossy channel. Past it, lossy messages wait.
const MAX_LOSSY_IN_FLIGHT: usize = 128 * 1024;
/// Bytes that wait for one participant in the lossy channel. Past it, the oldest messages are dropped: the newest counts.
const MAX_LOSSY_BYTES: usize = 128 * 1024;
/// Maximum bytes of a message, with its envelope: what a client accepts whose description says nothing else (RFC 8841, section 6).
/// A longer one is dropped, as livekit-server does.
const MAX_MESSAGE_BYTES: usize = 65_536;
/// Maximum time in ms that a participant may take to answer a call of the server API. A longer one is shortened.
const MAX_RPC_MS: u32 = 10 * 60 * 1000;
/// Bytes that wait for, or are under way to, all participants. Past it, the participant that holds most has to join anew.
pub(crate) const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;

/// Messages that wait for a participant.
#[derive(Default)]
struct MessageQueue {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl MessageQueue {
    fn push(&mut self, message: &Arc<[u8]>) {
        self.bytes += message.len();
        self.messages.push_back(message.clone());
    }

    fn pop(&mut self) {
        if let Some(message) = self.messages.pop_front() {
            self.bytes -= message.len();
        }
    }
}

/// A participant's messages.
#[derive(Default)]
pub(crate) struct DataChannelState {
    reliable: MessageQueue,
    lossy: MessageQueue,
    /// The number of the last reliable message that came from it.
    received: u32,
    /// Calls of the server API that wait for its answer.
    pending_rpcs: HashMap<String, PendingRpc>,
}

struct PendingRpc {
    reply: oneshot::Sender<Result<String, ApiError>>,
    is_acknowledged: bool,
    /// Until when it must acknowledge, and until when answer.
    deadlines: (std::time::Instant, std::time::Instant),
}

impl DataChannelState {
    pub(crate) fn last_received(&self) -> u32 {
        self.received
    }

    /// The bytes that are held for the participant.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reliable.bytes + self.lossy.bytes
    }
}

/// The bytes that wait for participants, each message once for all of them.
pub(crate) fn distinct_bytes<'a>(all: impl Iterator<Item = &'a DataChannelState>) -> usize {
    let waiting = all.flat_map(|data| data.reliable.messages.iter().chain(&data.lossy.messages));
    let mut seen = HashSet::new();
    waiting.filter(|message| seen.insert(Arc::as_ptr(message))).map(|message| message.len()).sum()
}

/// Whether so many more bytes may be sent in a lossy channel. A single message may be longer than the bound.
fn lossy_fits(in_flight: usize, bytes: usize) -> bool {
    in_flight == 0 || in_flight + bytes <= MAX_LOSSY_IN_FLIGHT
}

impl Participant {
    /// Sends a message, or lets it wait; whether that is possible.
    fn enqueue_data(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        is_reliable: bool,
        message: &Arc<[u8]>,
    ) -> bool {
        if is_reliable {
            if self.data.reliable.bytes + message.len() > MAX_RELIABLE_BYTES {
                return false;
            }
            self.data.reliable.push(message);
        } else if connections.get(self.data_downlink()).is_some_and(|downlink| downlink.channel(false).is_some()) {
            self.data.lossy.push(message);
            while self.data.lossy.bytes > MAX_LOSSY_BYTES.max(message.len()) {
                self.data.lossy.pop();
            }
        }
        self.flush_data(io, connections);
        true
    }

    /// Sends what waits, as far as the channels take it.
    pub(crate) fn flush_data(&mut self, io: &mut Io<'_>, connections: &mut Connections) {
        let Some(downlink) = connections.get_mut(self.data_downlink()) else { return };
        // First, because both channels share what may be under way, and reliable messages may always fill it.
        while let Some(message) = self.data.lossy.messages.front().cloned()
            && let Some(channel) = downlink.channel(false)
            && lossy_fits(downlink.buffered(channel), message.len())
            && downlink.write(io, channel, &message) != Some(false)
        {
            self.data.lossy.pop();
        }
        while let Some(message) = self.data.reliable.messages.front().cloned()
            && let Some(channel) = downlink.channel(true)
            // If it is full, the rest goes on once less is under way. What it cannot take at all is dropped, because the rest
            // would wait behind it.
            && downlink.write(io, channel, &message) != Some(false)
        {
            self.data.reliable.pop();
        }
    }
}

impl Room {
    /// Hands on what a participant sends.
    pub(crate) fn on_data_packet(&mut self, context: &mut Context<'_>, id: SessionId, is_reliable: bool, bytes: &[u8]) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let Ok(mut packet) = proto::DataPacket::decode(bytes) else { return };
        if is_reliable && packet.sequence > 0 {
            // After a resume a client repeats what may have come already.
            if packet.sequence <= participant.data.received {
                return;
            }
            participant.data.received = packet.sequence;
        }
        if !participant.may_send(packet.value.as_ref()) || participant.on_rpc_reply(&packet) {
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
            return;
        }
        set_sender(&mut packet, participant);
        self.broadcast_data(context, Some(id), true, packet);
    }

    /// Sends a message to those that it names, or to all but its sender.
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
            return;
        }
        let is_named = |participant: &Participant| {
            let (identity, sid) = (&participant.info.identity, &participant.info.sid);
            (identities.is_empty() && sids.is_empty()) || identities.contains(identity) || sids.contains(sid)
        };
        let mut overrun = Vec::new();
        for participant in
            self.participants.values_mut().filter(|participant| Some(participant.id) != sender && is_named(participant))
        {
            if !participant.enqueue_data(&mut context.io, &mut self.connections, is_reliable, &message) {
                overrun.push(participant.id);
            }
        }
        for id in overrun {
            self.remove(context, id, Removal::full_reconnect(proto::DisconnectReason::StateMismatch));
        }
    }

    /// Calls a method of a participant for the server API.
    pub(crate) fn perform_rpc(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        request: &proto::PerformRpcRequest,
        reply: oneshot::Sender<Result<String, ApiError>>,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        if request.payload.len() + request.method.len() > RpcError::MAX_PAYLOAD_BYTES {
            // Whoever has gone meanwhile does not hear it.
            let _ = reply.send(Err(ApiError::Rpc(RpcError::too_large())));
            return;
        }
        let response_timeout_ms =
            if request.response_timeout_ms == 0 { 10_000 } else { request.response_timeout_ms.min(MAX_RPC_MS) };
        let call_id = new_sid("RPC_");
        let packet = proto::DataPacket {
            // Its answer is addressed to that, which is nobody's identity.
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
        let now = context.io.now;
        let answered = now + std::time::Duration::from_millis(response_timeout_ms.into());
        let deadlines = (now + RpcError::ACK_TIMEOUT, answered);
        participant.data.pending_rpcs.insert(call_id, PendingRpc { reply, is_acknowledged: false, deadlines });
        participant.enqueue_data(&mut context.io, &mut self.connections, true, &message);
    }
}

impl Participant {
    /// Whether the packet is an answer to a call of the server's, which is nobody else's business.
    fn on_rpc_reply(&mut self, packet: &proto::DataPacket) -> bool {
        match &packet.value {
            Some(Value::RpcAck(ack)) => {
                let call = self.data.pending_rpcs.get_mut(&ack.request_id);
                call.map(|call| call.is_acknowledged = true).is_some()
            }
            Some(Value::RpcResponse(response)) => {
                let Some(call) = self.data.pending_rpcs.remove(&response.request_id) else { return false };
                let outcome = match &response.value {
                    Some(proto::rpc_response::Value::Payload(payload)) => Ok(payload.clone()),
                    Some(proto::rpc_response::Value::Error(error)) => Err(ApiError::Rpc(RpcError::from(error))),
                    _ => Err(ApiError::Rpc(RpcError::application())),
                };
                let _ = call.reply.send(outcome);
                true
            }
            _ => false,
        }
    }

    /// Gives up the calls that are not answered in time, and those whose callers have gone.
    pub(crate) fn expire_rpcs(&mut self, now: std::time::Instant) {
        let late: Vec<String> = self
            .data
            .pending_rpcs
            .iter()
            .filter(|(_, call)| {
                let deadline =
                    if call.is_acknowledged { call.deadlines.1 } else { call.deadlines.0.min(call.deadlines.1) };
                deadline <= now || call.reply.is_closed()
            })
            .map(|(id, _)| id.clone())
            .collect();
        for call in late.iter().filter_map(|id| self.data.pending_rpcs.remove(id)) {
            let fault = if call.is_acknowledged { RpcError::no_response() } else { RpcError::no_connection() };
            let _ = call.reply.send(Err(ApiError::Rpc(fault)));
        }
    }

    /// Whether it may send that. As on livekit-server, who may send no data answers no call.
    fn may_send(&self, value: Option<&Value>) -> bool {
        let may_publish = self.permission().can_publish_data;
        match value {
            Some(Value::Transcription(_)) => self.is_agent() && may_publish,
            // Nobody reads them here.
            Some(Value::Metrics(_)) | None => false,
            Some(_) => may_publish,
        }
    }
}

/// Writes who has sent it, whatever the sender says; of a hidden one, nobody learns. An agent may send text in another's
/// name, as in a transcript; it is then marked as generated.
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

/// Whom it is for, by identity and by `sid`.
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
