//! Messages between participants, over data channels.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::{Kind, Value};
use proto::data_stream::header::ContentHeader;
use tokio::sync::oneshot;

use crate::error::{Refusal, RpcFault};
use crate::net::peer_connection::Io;
use crate::registry::rooms::new_id;
use crate::session::PeerId;
use crate::session::participant::Peer;
use crate::session::room::{Context, Farewell, Room};

/// Bytes that wait for one participant in the reliable channel. Past it, the participant has to join anew.
const MAX_RELIABLE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that are under way to one participant in the lossy channel. Past it, lossy messages wait.
const MAX_LOSSY_UNDER_WAY: usize = 128 * 1024;
/// Bytes that wait for one participant in the lossy channel. Past it, the oldest messages are dropped: the newest counts.
const MAX_LOSSY_BYTES: usize = 128 * 1024;
/// Maximum bytes of a message, with its envelope: what a client accepts whose description says nothing else (RFC 8841, section 6).
/// A longer one is dropped, as livekit-server does.
const MAX_MESSAGE_BYTES: usize = 65_536;
/// Maximum time in ms that a participant may take to answer a call of the server API. A longer one is shortened.
const MAX_RPC_MS: u32 = 10 * 60 * 1000;
/// Bytes that wait for, or are under way to, all participants. Past it, the participant that holds most has to join anew.
pub(crate) const MAX_BYTES_IN_ALL: usize = 256 * 1024 * 1024;

/// Messages that wait for a participant.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Waiting {
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
pub(crate) struct Mail {
    reliable: Waiting,
    lossy: Waiting,
    /// The number of the last reliable message that came from it.
    received: u32,
    /// Calls of the server API that wait for its answer.
    calls: HashMap<String, Call>,
}

struct Call {
    reply: oneshot::Sender<Result<String, Refusal>>,
    is_acknowledged: bool,
    /// Until when it must acknowledge, and until when answer.
    deadlines: (std::time::Instant, std::time::Instant),
}

impl Mail {
    pub(crate) fn last_received(&self) -> u32 {
        self.received
    }

    /// The bytes that are held for the participant.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reliable.bytes + self.lossy.bytes
    }
}

/// The bytes that wait for participants, each message once for all of them.
pub(crate) fn distinct_bytes<'a>(all: impl Iterator<Item = &'a Mail>) -> usize {
    let waiting = all.flat_map(|mail| mail.reliable.messages.iter().chain(&mail.lossy.messages));
    let mut seen = HashSet::new();
    waiting.filter(|message| seen.insert(Arc::as_ptr(message))).map(|message| message.len()).sum()
}

/// Whether so many more bytes may be sent in a lossy channel. A single message may be longer than the bound.
fn takes_lossy(under_way: usize, bytes: usize) -> bool {
    under_way == 0 || under_way + bytes <= MAX_LOSSY_UNDER_WAY
}

impl Peer {
    /// Sends a message, or lets it wait; whether that is possible.
    fn deliver(&mut self, io: &mut Io<'_>, is_reliable: bool, message: &Arc<[u8]>) -> bool {
        if is_reliable {
            if self.mail.reliable.bytes + message.len() > MAX_RELIABLE_BYTES {
                return false;
            }
            self.mail.reliable.push(message);
        } else if self.data_sink().channel(false).is_some() {
            self.mail.lossy.push(message);
            while self.mail.lossy.bytes > MAX_LOSSY_BYTES.max(message.len()) {
                self.mail.lossy.pop();
            }
        }
        self.flush(io);
        true
    }

    /// Sends what waits, as far as the channels take it.
    pub(crate) fn flush(&mut self, io: &mut Io<'_>) {
        // First, because both channels share what may be under way, and reliable messages may always fill it.
        while let Some(message) = self.mail.lossy.messages.front().cloned()
            && let sink = self.data_sink()
            && let Some(channel) = sink.channel(false)
            && takes_lossy(sink.buffered(channel), message.len())
            && sink.write(io, channel, &message) != Some(false)
        {
            self.mail.lossy.pop();
        }
        while let Some(message) = self.mail.reliable.messages.front().cloned()
            && let sink = self.data_sink()
            && let Some(channel) = sink.channel(true)
            // If it is full, the rest goes on once less is under way. What it cannot take at all is dropped, because the rest
            // would wait behind it.
            && sink.write(io, channel, &message) != Some(false)
        {
            self.mail.reliable.pop();
        }
    }
}

impl Room {
    /// Hands on what a participant sends.
    pub(crate) fn take_data(&mut self, context: &mut Context<'_>, id: PeerId, is_reliable: bool, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Ok(mut packet) = proto::DataPacket::decode(bytes) else { return };
        if is_reliable && packet.sequence > 0 {
            // After a resume a client repeats what may have come already.
            if packet.sequence <= peer.mail.received {
                return;
            }
            peer.mail.received = packet.sequence;
        }
        if !peer.may_send(packet.value.as_ref()) || peer.answer_call(&packet) {
            return;
        }
        sign(&mut packet, peer);
        self.post(context, Some(id), is_reliable, packet);
    }

    /// Forwards bytes from a data channel of the application to all others, as a reliable user packet without a topic.
    pub(crate) fn on_raw_data(&mut self, context: &mut Context<'_>, id: PeerId, bytes: Vec<u8>) {
        let Some(peer) = self.peers.get(&id) else { return };
        let user = proto::UserPacket { payload: bytes, ..proto::UserPacket::default() };
        let mut packet = proto::DataPacket { value: Some(Value::User(user)), ..proto::DataPacket::default() };
        if !peer.may_send(packet.value.as_ref()) {
            return;
        }
        sign(&mut packet, peer);
        self.post(context, Some(id), true, packet);
    }

    /// Sends a message to those that it names, or to all but its sender.
    pub(crate) fn post(
        &mut self,
        context: &mut Context<'_>,
        sender: Option<PeerId>,
        is_reliable: bool,
        mut packet: proto::DataPacket,
    ) {
        let (identities, sids) = recipients(&mut packet);
        packet.set_kind(if is_reliable { Kind::Reliable } else { Kind::Lossy });
        let message: Arc<[u8]> = packet.encode_to_vec().into();
        if message.len() > MAX_MESSAGE_BYTES {
            return;
        }
        let is_named = |peer: &Peer| {
            let (identity, sid) = (&peer.info.identity, &peer.info.sid);
            (identities.is_empty() && sids.is_empty()) || identities.contains(identity) || sids.contains(sid)
        };
        let mut overrun = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| Some(peer.id) != sender && is_named(peer)) {
            if !peer.deliver(&mut context.io, is_reliable, &message) {
                overrun.push(peer.id);
            }
        }
        for id in overrun {
            self.remove(context, id, Farewell::to_rejoin(proto::DisconnectReason::StateMismatch));
        }
    }

    /// Calls a method of a participant for the server API.
    pub(crate) fn call(
        &mut self,
        context: &mut Context<'_>,
        id: PeerId,
        request: &proto::PerformRpcRequest,
        reply: oneshot::Sender<Result<String, Refusal>>,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if request.payload.len() + request.method.len() > RpcFault::MOST_PAYLOAD_BYTES {
            // Whoever has gone meanwhile does not hear it.
            let _ = reply.send(Err(Refusal::Rpc(RpcFault::too_large())));
            return;
        }
        let response_timeout_ms =
            if request.response_timeout_ms == 0 { 10_000 } else { request.response_timeout_ms.min(MAX_RPC_MS) };
        let call_id = new_id("RPC_");
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
        let deadlines = (now + RpcFault::ACKNOWLEDGED_WITHIN, answered);
        peer.mail.calls.insert(call_id, Call { reply, is_acknowledged: false, deadlines });
        peer.deliver(&mut context.io, true, &message);
    }
}

impl Peer {
    /// Whether the packet is an answer to a call of the server's, which is nobody else's business.
    fn answer_call(&mut self, packet: &proto::DataPacket) -> bool {
        match &packet.value {
            Some(Value::RpcAck(ack)) => {
                let call = self.mail.calls.get_mut(&ack.request_id);
                call.map(|call| call.is_acknowledged = true).is_some()
            }
            Some(Value::RpcResponse(response)) => {
                let Some(call) = self.mail.calls.remove(&response.request_id) else { return false };
                let outcome = match &response.value {
                    Some(proto::rpc_response::Value::Payload(payload)) => Ok(payload.clone()),
                    Some(proto::rpc_response::Value::Error(error)) => Err(Refusal::Rpc(RpcFault::from(error))),
                    _ => Err(Refusal::Rpc(RpcFault::application())),
                };
                let _ = call.reply.send(outcome);
                true
            }
            _ => false,
        }
    }

    /// Gives up the calls that are not answered in time, and those whose callers have gone.
    pub(crate) fn give_up_calls(&mut self, now: std::time::Instant) {
        let late: Vec<String> = self
            .mail
            .calls
            .iter()
            .filter(|(_, call)| {
                let deadline =
                    if call.is_acknowledged { call.deadlines.1 } else { call.deadlines.0.min(call.deadlines.1) };
                deadline <= now || call.reply.is_closed()
            })
            .map(|(id, _)| id.clone())
            .collect();
        for call in late.iter().filter_map(|id| self.mail.calls.remove(id)) {
            let fault = if call.is_acknowledged { RpcFault::no_response() } else { RpcFault::no_connection() };
            let _ = call.reply.send(Err(Refusal::Rpc(fault)));
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
fn sign(packet: &mut proto::DataPacket, sender: &Peer) {
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
