//! What waits to be sent to a client over its signalling connection. A client that takes nothing loses the connection; it
//! never holds up the room.

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

/// Maximum number of messages that wait for one client.
const MAX_MESSAGES: usize = 4096;
/// Maximum bytes that wait for one client, one message of any length aside: a join response grows with the room.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that may wait for one client in any case, so that clients that take nothing keep nobody else out.
const MIN_BYTES: usize = 64 * 1024;
/// One client may hold so large a part of what is left of the memory for all.
const FREE_SHARE_DIVISOR: usize = 4;

/// Maximum bytes of a batch of messages; a single message may be longer.
const MAX_BATCH_BYTES: usize = 16 * 1024;

/// From so many messages or bytes on, a client is congested.
const CONGESTED_MESSAGES: usize = 256;
const CONGESTED_BYTES: usize = 1024 * 1024;

/// Memory of the messages that wait for all clients together. A message for many clients counts once.
#[derive(Debug)]
pub(crate) struct OutgoingBudget {
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl OutgoingBudget {
    pub(crate) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), max_bytes })
    }

    /// How many bytes may wait for one client. The less memory is left, the sooner those who take little of what they are
    /// sent have to go; those who take it hold next to nothing.
    fn max_bytes_of_client(&self) -> usize {
        let free = self.max_bytes.saturating_sub(self.bytes.load(Ordering::Relaxed));
        MAX_BYTES.min((free / FREE_SHARE_DIVISOR).max(MIN_BYTES))
    }
}

thread_local! {
    static SENT_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that this thread has put into outboxes so far: what somebody's message costs is the difference.
pub(crate) fn sent_bytes() -> u64 {
    SENT_BYTES.get()
}

/// A message for one or many clients.
#[derive(Debug)]
pub(crate) struct SignalMessage {
    bytes: Bytes,
    counted: OnceLock<Counted>,
}

#[derive(Debug)]
struct Counted {
    outgoing: Arc<OutgoingBudget>,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.outgoing.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl SignalMessage {
    pub(crate) fn new(message: Message) -> Arc<Self> {
        let bytes = proto::SignalResponse { message: Some(message) }.encode_to_vec().into();
        Arc::new(Self { bytes, counted: OnceLock::new() })
    }

    /// A `SignalResponse` as protobuf.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same as JSON; `None` if there is no JSON for it.
    pub(crate) fn to_json(&self) -> Option<String> {
        serde_json::to_string(&proto::SignalResponse::decode(self.bytes.clone()).ok()?).ok()
    }
}

/// Where a room puts messages for one client. Dropped, the connection ends once they are sent.
#[derive(Debug)]
pub(crate) struct SignalSink {
    sender: mpsc::Sender<QueuedMessage>,
    held: Arc<Held>,
    outgoing: Arc<OutgoingBudget>,
    overflowed: CancellationToken,
    _ends: DropGuard,
}

/// Where a client's connection takes them from.
#[derive(Debug)]
pub(crate) struct SignalStream {
    receiver: mpsc::Receiver<QueuedMessage>,
    /// A message that was taken from the channel but did not fit into the last batch.
    next: Option<QueuedMessage>,
    closing: Closing,
}

/// What an [`SignalStream`] is told of its [`SignalSink`].
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

/// What waits for one client.
#[derive(Debug, Default)]
struct Held {
    bytes: AtomicUsize,
    /// Whether a message waits that does not count among `bytes`.
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
            self.held.bytes.fetch_sub(self.signal.bytes.len(), Ordering::Relaxed);
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
    /// Whether the client takes less than it is told. Whoever has news then had better wait, and tell the newest only.
    pub(crate) fn is_congested(&self) -> bool {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        let held = self.held.bytes.load(Ordering::Relaxed);
        let congested = CONGESTED_BYTES.min(self.outgoing.max_bytes_of_client() / 2);
        waiting >= CONGESTED_MESSAGES || (held > 0 && held >= congested)
    }

    /// Whether there was room for it. If there was none, the client is given up together with all that waits for it.
    pub(crate) fn send(&self, signal: &Arc<SignalMessage>) -> bool {
        let bytes = signal.bytes.len();
        let is_counted = self.held.has_uncounted.swap(true, Ordering::Relaxed);
        let held = self.held.bytes.fetch_add(if is_counted { bytes } else { 0 }, Ordering::Relaxed);
        let queued = QueuedMessage { signal: signal.clone(), held: self.held.clone(), is_counted };
        let fits = !is_counted || held + bytes <= self.outgoing.max_bytes_of_client();
        if !fits || self.sender.try_send(queued).is_err() {
            self.overflowed.cancel();
            return false;
        }
        SENT_BYTES.set(SENT_BYTES.get() + bytes as u64);
        signal.counted.get_or_init(|| {
            self.outgoing.bytes.fetch_add(bytes, Ordering::Relaxed);
            Counted { outgoing: self.outgoing.clone(), bytes }
        });
        true
    }
}

impl SignalStream {
    /// The next message, together with queued ones after it, up to [`MAX_BATCH_BYTES`]. Empty once the [`SignalSink`] is dropped and all
    /// messages are taken. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<QueuedMessage> {
        let first = match self.next.take() {
            Some(next) => Some(next),
            None => self.receiver.recv().await,
        };
        let mut batch: Vec<QueuedMessage> = first.into_iter().collect();
        let mut length: usize = batch.iter().map(|queued| queued.bytes().len()).sum();
        while let Some(Some(next)) = self.receiver.recv().now_or_never() {
            length += next.bytes().len();
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
    /// Resolves when the [`SignalSink`] is dropped: nothing more will come.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Resolves when there was no room for a message: what waits is of no use any more.
    pub(crate) async fn overflowed(&self) {
        self.overflowed.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn text(bytes: usize) -> Arc<SignalMessage> {
        SignalMessage::new(Message::RefreshToken("x".repeat(bytes)))
    }

    fn plenty() -> Arc<OutgoingBudget> {
        OutgoingBudget::new(64 * MIB)
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_after_so_many_bytes_or_messages() {
        let (signal_sink, _inbox) = signal_channel(&plenty());
        assert!(signal_sink.send(&text(2 * MAX_BYTES)), "a single message may be longer");
        assert!(signal_sink.send(&text(MAX_BYTES - 64)), "as a join response is, and more follows it");
        assert!(!signal_sink.send(&text(64)));
        let (signal_sink, signal_stream) = signal_channel(&plenty());
        assert!((0..MAX_MESSAGES).all(|_| signal_sink.send(&text(1))));
        assert!(!signal_stream.closing.overflowed.is_cancelled());
        assert!(!signal_sink.send(&text(1)));
        assert!(signal_stream.closing.overflowed.is_cancelled());
    }

    #[tokio::test]
    async fn a_client_is_behind_until_it_takes_what_waits() {
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
    async fn what_is_taken_makes_room() {
        let (signal_sink, mut signal_stream) = signal_channel(&plenty());
        assert!(signal_sink.send(&text(1)) && signal_sink.send(&text(MAX_BYTES - 64)));
        drop(signal_stream.next().await);
        let first = signal_stream.next().await;
        assert!(signal_sink.is_congested(), "what is being sent still counts");
        drop(first);
        assert!(signal_sink.send(&text(1)));
        drop(signal_sink);
        assert_eq!(signal_stream.next().await.len(), 1, "what was put in is still sent");
        assert_eq!(signal_stream.next().await.len(), 0);
        signal_stream.closing().ended().await;
    }

    #[tokio::test]
    async fn short_messages_are_taken_together_and_long_ones_alone() {
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
    fn those_who_take_little_go_before_all_memory_is_taken_and_the_others_stay() {
        let outgoing = plenty();
        let deaf: Vec<_> = (0..100).map(|_| signal_channel(&outgoing)).collect();
        let mut gone = 0;
        for _ in 0..80 {
            gone += deaf.iter().filter(|(signal_sink, _)| !signal_sink.send(&text(MIB / 10))).count();
        }
        assert!(gone > 100, "{gone}");
        assert!(outgoing.bytes.load(Ordering::Relaxed) <= 64 * MIB);
        let (quick, _inbox) = signal_channel(&outgoing);
        assert!(quick.send(&text(MIB / 10)) && quick.send(&text(1000)), "it holds less than any of the others");
        drop(deaf);
        assert!(outgoing.bytes.load(Ordering::Relaxed) < 2 * MIB, "all is given back");
    }

    #[test]
    fn a_message_for_many_counts_once() {
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
    fn a_message_is_written_as_json_where_there_is_json_for_it() {
        assert_eq!(text(1).to_json().unwrap(), r#"{"refreshToken":"x"}"#);
    }
}
