//! Queue of messages to a client on its signalling connection. A client that does not read loses its connection; it never
//! delays the room.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::FutureExt as _;
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Maximum number of messages that wait for one client. Past it, the signalling connection is closed.
const MAX_MESSAGES: usize = 4096;
/// Maximum bytes that wait for one client, besides one message of any length, because a join response grows with the room.
/// Past it, the signalling connection is closed.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that may wait for one client even if all memory is in use, so that clients that do not read cannot starve others.
const MIN_BYTES: usize = 64 * 1024;
/// Messages for one client may take this part of the free memory. Past it, the signalling connection is closed.
const FREE_SHARE_DIVISOR: usize = 4;

/// Maximum bytes of a batch of messages; a single message may be longer.
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// Above either threshold a client is congested, and updates to it are coalesced.
const CONGESTED_MESSAGES: usize = 256;
const CONGESTED_BYTES: usize = 1024 * 1024;

/// Memory of the messages that wait for all clients. A message to many clients counts once.
#[derive(Debug)]
pub(crate) struct OutgoingBudget {
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl OutgoingBudget {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), max_bytes })
    }

    /// Maximum bytes that may wait for one client now. The less memory is free, the sooner slow clients are disconnected;
    /// clients that read hold next to nothing.
    fn max_bytes_of_client(&self) -> usize {
        let free = self.max_bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        MAX_BYTES.min((free / FREE_SHARE_DIVISOR).max(MIN_BYTES))
    }
}

thread_local! {
    static SENT_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that this thread has queued so far. The sender of a request is charged for the difference over its step.
pub(crate) fn sent_bytes() -> u64 {
    SENT_BYTES.get()
}

/// A message to one or many clients, encoded at most once per format.
#[derive(Debug)]
pub(crate) struct SignalMessage {
    protobuf: Bytes,
    /// Set by the first client that needs it.
    json: OnceLock<Option<Json>>,
    counted: OnceLock<Counted>,
    #[cfg(test)]
    pub(crate) json_encodings: AtomicUsize,
}

#[derive(Debug)]
struct Json {
    text: String,
    _counted: Option<Counted>,
}

/// Bytes that count against the budget until they are dropped.
#[derive(Debug)]
struct Counted {
    outgoing: Arc<OutgoingBudget>,
    bytes: usize,
}

impl Counted {
    fn new(outgoing: &Arc<OutgoingBudget>, bytes: usize) -> Self {
        outgoing.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { outgoing: outgoing.clone(), bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.outgoing.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl SignalMessage {
    pub(crate) fn new(message: Message) -> Arc<Self> {
        let protobuf = proto::SignalResponse { message: Some(message) }.encode_to_vec().into();
        Arc::new(Self {
            protobuf,
            json: OnceLock::new(),
            counted: OnceLock::new(),
            #[cfg(test)]
            json_encodings: AtomicUsize::new(0),
        })
    }

    /// The `SignalResponse` in protobuf.
    pub(crate) fn protobuf(&self) -> &[u8] {
        &self.protobuf
    }

    /// The `SignalResponse` in JSON; `None` if JSON cannot represent it, such as an unknown enumeration value. The first
    /// call encodes it, which takes long for a long message.
    pub(crate) fn json(&self) -> Option<&str> {
        let json = self.json.get_or_init(|| {
            #[cfg(test)]
            self.json_encodings.fetch_add(1, Ordering::Relaxed);
            let text = serde_json::to_string(&proto::SignalResponse::decode(self.protobuf.clone()).ok()?).ok()?;
            let counted = self.counted.get().map(|counted| Counted::new(&counted.outgoing, text.len()));
            Some(Json { text, _counted: counted })
        });
        json.as_ref().map(|json| json.text.as_str())
    }

    /// Whether [`json`](Self::json) returns at once.
    pub(crate) fn has_json(&self) -> bool {
        self.json.get().is_some()
    }
}

/// Sending half of a client's queue. When it is dropped, the connection is closed after the queued messages.
#[derive(Debug)]
pub(crate) struct SignalSink {
    sender: mpsc::Sender<QueuedMessage>,
    held: Arc<Held>,
    outgoing: Arc<OutgoingBudget>,
    overflowed: CancellationToken,
    _ends: DropGuard,
}

/// Receiving half of a client's queue.
#[derive(Debug)]
pub(crate) struct SignalStream {
    receiver: mpsc::Receiver<QueuedMessage>,
    /// A message received from the channel that did not fit into the last batch.
    next: Option<QueuedMessage>,
    closing: Closing,
}

/// State of a [`SignalSink`] that its [`SignalStream`] can await.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    ended: CancellationToken,
    overflowed: CancellationToken,
}

/// A message that waits for one client.
#[derive(Debug)]
pub(crate) struct QueuedMessage {
    signal: Arc<SignalMessage>,
    held: Arc<Held>,
    is_counted: bool,
}

/// Memory of the messages that wait for one client.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    /// Whether a message waits that `bytes` does not include.
    has_uncounted: AtomicBool,
}

impl Deref for QueuedMessage {
    type Target = SignalMessage;

    fn deref(&self) -> &SignalMessage {
        &self.signal
    }
}

impl Drop for QueuedMessage {
    fn drop(&mut self) {
        if self.is_counted {
            self.held.bytes.fetch_sub(self.signal.protobuf.len(), Ordering::Relaxed);
        } else {
            self.held.has_uncounted.store(false, Ordering::Relaxed);
        }
    }
}

pub(crate) fn signal_channel(outgoing: &Arc<OutgoingBudget>) -> (SignalSink, SignalStream) {
    let (sender, receiver) = mpsc::channel(MAX_MESSAGES);
    let closing = Closing { ended: CancellationToken::new(), overflowed: CancellationToken::new() };
    let signal_sink = SignalSink {
        sender,
        held: Arc::default(),
        outgoing: outgoing.clone(),
        overflowed: closing.overflowed.clone(),
        _ends: closing.ended.clone().drop_guard(),
    };
    (signal_sink, SignalStream { receiver, next: None, closing })
}

impl SignalSink {
    /// Whether messages arrive faster than the client reads them. Updates should then be coalesced.
    pub(crate) fn is_congested(&self) -> bool {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        let held = self.held.bytes.load(Ordering::Relaxed);
        let congested = CONGESTED_BYTES.min(self.outgoing.max_bytes_of_client() / 2);
        waiting >= CONGESTED_MESSAGES || (held > 0 && held >= congested)
    }

    /// Queues a message. `false` if the queue is full: the connection is then closed, and queued messages are dropped.
    pub(crate) fn send(&self, signal: &Arc<SignalMessage>) -> bool {
        let bytes = signal.protobuf.len();
        let is_counted = self.held.has_uncounted.swap(true, Ordering::Relaxed);
        let held = self.held.bytes.fetch_add(if is_counted { bytes } else { 0 }, Ordering::Relaxed);
        let queued = QueuedMessage { signal: signal.clone(), held: self.held.clone(), is_counted };
        let fits = !is_counted || held + bytes <= self.outgoing.max_bytes_of_client();
        if !fits || self.sender.try_send(queued).is_err() {
            self.overflowed.cancel();
            return false;
        }
        SENT_BYTES.set(SENT_BYTES.get() + bytes as u64);
        signal.counted.get_or_init(|| Counted::new(&self.outgoing, bytes));
        true
    }
}

impl SignalStream {
    /// Waits for the next message, and returns it with the queued ones after it, up to [`MAX_BATCH_BYTES`]. Empty once the
    /// [`SignalSink`] is dropped and all messages were returned. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<QueuedMessage> {
        let first = match self.next.take() {
            Some(next) => Some(next),
            None => self.receiver.recv().await,
        };
        let mut batch: Vec<QueuedMessage> = first.into_iter().collect();
        let mut length: usize = batch.iter().map(|queued| queued.protobuf().len()).sum();
        while let Some(Some(next)) = self.receiver.recv().now_or_never() {
            length += next.protobuf().len();
            if length > MAX_BATCH_BYTES {
                self.next = Some(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    pub(crate) fn closing(&self) -> Closing {
        self.closing.clone()
    }
}

impl Closing {
    /// Resolves when the [`SignalSink`] is dropped. Queued messages may still be there.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Resolves when a message did not fit. Queued messages are useless then, because the client has missed one.
    pub(crate) async fn overflowed(&self) {
        self.overflowed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn text(bytes: usize) -> Arc<SignalMessage> {
        SignalMessage::new(Message::RefreshToken("x".repeat(bytes)))
    }

    fn plenty() -> Arc<OutgoingBudget> {
        OutgoingBudget::new(64 * MIB)
    }

    #[test]
    fn closes_the_connection_past_the_maximum_of_bytes_or_messages() {
        let (signal_sink, _inbox) = signal_channel(&plenty());
        assert!(signal_sink.send(&text(2 * MAX_BYTES)), "a single message may exceed the maximum");
        assert!(signal_sink.send(&text(MAX_BYTES - 64)), "as after a long join response");
        assert!(!signal_sink.send(&text(64)));
        let (signal_sink, signal_stream) = signal_channel(&plenty());
        assert!((0..MAX_MESSAGES).all(|_| signal_sink.send(&text(1))));
        assert!(!signal_stream.closing.overflowed.is_cancelled());
        assert!(!signal_sink.send(&text(1)));
        assert!(signal_stream.closing.overflowed.is_cancelled());
    }

    #[tokio::test]
    async fn a_client_is_congested_until_it_reads_queued_messages() {
        let (signal_sink, mut signal_stream) = signal_channel(&plenty());
        for _ in 0..CONGESTED_MESSAGES {
            assert!(!signal_sink.is_congested());
            signal_sink.send(&text(1));
        }
        assert!(signal_sink.is_congested());
        assert!(!signal_stream.next().await.is_empty());
        assert!(!signal_sink.is_congested());
        signal_sink.send(&text(1));
        signal_sink.send(&text(CONGESTED_BYTES));
        assert!(signal_sink.is_congested());
    }

    #[tokio::test]
    async fn a_message_frees_its_bytes_once_it_is_sent() {
        let (signal_sink, mut signal_stream) = signal_channel(&plenty());
        assert!(signal_sink.send(&text(1)) && signal_sink.send(&text(MAX_BYTES - 64)));
        drop(signal_stream.next().await);
        let first = signal_stream.next().await;
        assert!(signal_sink.is_congested(), "a message counts while it is being sent");
        drop(first);
        assert!(signal_sink.send(&text(1)));
        drop(signal_sink);
        assert_eq!(signal_stream.next().await.len(), 1, "queued messages are still sent");
        assert_eq!(signal_stream.next().await.len(), 0);
        signal_stream.closing().ended().await;
    }

    #[tokio::test]
    async fn batches_short_messages_and_sends_long_ones_alone() {
        let (signal_sink, mut signal_stream) = signal_channel(&plenty());
        for bytes in [1, 1, MAX_BATCH_BYTES, MAX_BATCH_BYTES, 1] {
            signal_sink.send(&text(bytes));
        }
        drop(signal_sink);
        let mut taken = Vec::new();
        while let batch = signal_stream.next().await
            && !batch.is_empty()
        {
            taken.push(batch.len());
        }
        assert_eq!(taken, [2, 1, 1, 1]);
    }

    #[test]
    fn disconnects_slow_clients_before_memory_runs_out_and_keeps_the_others() {
        let outgoing = plenty();
        let slow: Vec<_> = (0..100).map(|_| signal_channel(&outgoing)).collect();
        let mut closed = 0;
        for _ in 0..80 {
            closed += slow.iter().filter(|(signal_sink, _)| !signal_sink.send(&text(MIB / 10))).count();
        }
        assert!(closed > 100, "{closed}");
        assert!(outgoing.bytes.load(Ordering::Relaxed) <= 64 * MIB);
        let (fast, _inbox) = signal_channel(&outgoing);
        assert!(fast.send(&text(MIB / 10)) && fast.send(&text(1000)), "it holds less than each of the others");
        drop(slow);
        assert!(outgoing.bytes.load(Ordering::Relaxed) < 2 * MIB, "the memory is returned");
    }

    #[test]
    fn a_message_to_many_clients_counts_once() {
        let outgoing = plenty();
        let clients: Vec<_> = (0..500).map(|_| signal_channel(&outgoing)).collect();
        let message = text(MIB / 2);
        for _ in 0..2 {
            assert!(clients.iter().all(|(signal_sink, _)| signal_sink.send(&message)));
        }
        assert!(outgoing.bytes.load(Ordering::Relaxed) < MIB);
        drop((clients, message));
        assert_eq!(outgoing.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn encodes_a_message_to_many_clients_once_per_format() {
        let outgoing = plenty();
        let message = text(MIB);
        let clients: Vec<_> = (0..100).map(|_| signal_channel(&outgoing)).collect();
        let queued: Vec<_> = clients
            .into_iter()
            .map(|(signal_sink, mut signal_stream)| {
                assert!(signal_sink.send(&message));
                signal_stream.next().now_or_never().unwrap().remove(0)
            })
            .collect();
        let protobuf: HashSet<_> = queued.iter().map(|queued| queued.protobuf().as_ptr()).collect();
        let json: HashSet<_> = queued.iter().map(|queued| queued.json().unwrap().as_ptr()).collect();
        assert_eq!((protobuf.len(), json.len()), (1, 1));
        assert_eq!(message.json_encodings.load(Ordering::Relaxed), 1);
        let held = outgoing.bytes.load(Ordering::Relaxed);
        assert!((2 * MIB..3 * MIB).contains(&held), "both formats count: {held}");
        drop((queued, message));
        assert_eq!(outgoing.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn encodes_a_message_as_json() {
        assert_eq!(text(1).json().unwrap(), r#"{"refreshToken":"x"}"#);
    }
}
