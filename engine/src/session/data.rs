//! Data messages that are queued for a participant, and its pending RPCs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::data_packet::Value;
use tokio::sync::oneshot;
use tracing::debug;

use crate::error::{ApiError, RpcError};
use crate::net::peer_connection::{Io, PeerConnection};

/// Maximum bytes queued for one participant in the reliable channel; past it, the participant has to rejoin.
const MAX_RELIABLE_BYTES: usize = 16 * 1024 * 1024;
/// Maximum bytes in flight to one participant in the lossy channel; past it, lossy messages are queued.
const MAX_LOSSY_IN_FLIGHT: usize = 128 * 1024;
/// Maximum bytes queued for one participant in the lossy channel; past it, the oldest messages are dropped.
const MAX_LOSSY_BYTES: usize = 128 * 1024;
/// Maximum bytes that are queued for, or in flight to, all participants; past it, the participant with the most has to rejoin.
pub(crate) const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;

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

/// A participant's data messages.
#[derive(Default)]
pub(crate) struct DataChannelState {
    reliable: MessageQueue,
    lossy: MessageQueue,
    /// Sequence number of the last reliable message that the participant has sent.
    received: u32,
    pending_rpcs: HashMap<String, PendingRpc>,
}

/// A call of the server API that waits for the participant's response.
struct PendingRpc {
    reply: oneshot::Sender<Result<String, ApiError>>,
    is_acknowledged: bool,
    acknowledged_by: Instant,
    answered_by: Instant,
}

impl PendingRpc {
    fn deadline(&self) -> Instant {
        if self.is_acknowledged { self.answered_by } else { self.acknowledged_by.min(self.answered_by) }
    }
}

impl DataChannelState {
    pub(crate) fn last_received(&self) -> u32 {
        self.received
    }

    /// Records the sequence number of a reliable message; `false` if the message is a repetition, as after a resume. Messages
    /// without a number are always new.
    pub(crate) fn accept(&mut self, sequence: u32) -> bool {
        if sequence == 0 {
            return true;
        }
        let is_new = sequence > self.received;
        self.received = self.received.max(sequence);
        is_new
    }

    /// Bytes queued for the participant.
    pub(crate) fn held_bytes(&self) -> usize {
        self.reliable.bytes + self.lossy.bytes
    }

    /// Sends or queues a message; `false` if the reliable queue is full.
    pub(crate) fn enqueue(
        &mut self,
        io: &mut Io<'_>,
        downlink: Option<&mut PeerConnection>,
        is_reliable: bool,
        message: &Arc<[u8]>,
    ) -> bool {
        if is_reliable {
            if self.reliable.bytes + message.len() > MAX_RELIABLE_BYTES {
                return false;
            }
            self.reliable.push(message);
        } else if downlink.as_ref().is_some_and(|downlink| downlink.channel(false).is_some()) {
            self.lossy.push(message);
            while self.lossy.bytes > MAX_LOSSY_BYTES.max(message.len()) {
                let session = downlink.as_ref().map(|downlink| downlink.session_id());
                debug!(session, reason = "lossy queue full", "data dropped");
                self.lossy.pop();
            }
        }
        if let Some(downlink) = downlink {
            self.flush(io, downlink);
        }
        true
    }

    /// Sends queued messages as far as the channels accept them.
    pub(crate) fn flush(&mut self, io: &mut Io<'_>, downlink: &mut PeerConnection) {
        // Lossy messages first: both channels share the SCTP send buffer, and reliable messages may always fill it.
        while let Some(message) = self.lossy.messages.front().cloned()
            && let Some(channel) = downlink.channel(false)
            && lossy_fits(downlink.buffered(channel), message.len())
            && downlink.write(io, channel, &message) != Some(false)
        {
            self.lossy.pop();
        }
        while let Some(message) = self.reliable.messages.front().cloned()
            && let Some(channel) = downlink.channel(true)
            // A full channel goes on once less is in flight. A message that it can never send is dropped, because all others would
            // wait behind it.
            && downlink.write(io, channel, &message) != Some(false)
        {
            self.reliable.pop();
        }
    }

    /// Records an RPC that was sent to the participant.
    pub(crate) fn add_rpc(
        &mut self,
        call_id: String,
        reply: oneshot::Sender<Result<String, ApiError>>,
        response_timeout: Duration,
        now: Instant,
    ) {
        let (acknowledged_by, answered_by) = (now + RpcError::ACK_TIMEOUT, now + response_timeout);
        let call = PendingRpc { reply, is_acknowledged: false, acknowledged_by, answered_by };
        self.pending_rpcs.insert(call_id, call);
    }

    /// Completes a pending RPC; `false` if the packet belongs to none. The packet is then for other participants.
    pub(crate) fn on_rpc_reply(&mut self, packet: &proto::DataPacket) -> bool {
        match &packet.value {
            Some(Value::RpcAck(ack)) => {
                let call = self.pending_rpcs.get_mut(&ack.request_id);
                call.map(|call| call.is_acknowledged = true).is_some()
            }
            Some(Value::RpcResponse(response)) => {
                let Some(call) = self.pending_rpcs.remove(&response.request_id) else { return false };
                let outcome = match &response.value {
                    Some(proto::rpc_response::Value::Payload(payload)) => Ok(payload.clone()),
                    Some(proto::rpc_response::Value::Error(error)) => Err(ApiError::Rpc(RpcError::from(error))),
                    _ => Err(ApiError::Rpc(RpcError::application())),
                };
                // The caller may be gone.
                let _ = call.reply.send(outcome);
                true
            }
            _ => false,
        }
    }

    /// Ends RPCs that are past their deadline, or whose callers are gone.
    pub(crate) fn expire_rpcs(&mut self, now: Instant) {
        let is_expired = |_: &String, call: &mut PendingRpc| call.deadline() <= now || call.reply.is_closed();
        for (_, call) in self.pending_rpcs.extract_if(is_expired) {
            let error = if call.is_acknowledged { RpcError::no_response() } else { RpcError::no_connection() };
            let _ = call.reply.send(Err(ApiError::Rpc(error)));
        }
    }
}

/// Bytes queued for participants; a message for several of them counts once.
pub(crate) fn distinct_bytes<'a>(all: impl Iterator<Item = &'a DataChannelState>) -> usize {
    let waiting = all.flat_map(|data| data.reliable.messages.iter().chain(&data.lossy.messages));
    let mut seen = HashSet::new();
    waiting.filter(|message| seen.insert(Arc::as_ptr(message))).map(|message| message.len()).sum()
}

/// Whether a lossy message may be sent. A single message may exceed [`MAX_LOSSY_IN_FLIGHT`].
fn lossy_fits(in_flight: usize, bytes: usize) -> bool {
    in_flight == 0 || in_flight + bytes <= MAX_LOSSY_IN_FLIGHT
}
