//! What waits to be sent to a client over its signalling connection. A client that takes nothing loses the connection; it
//! never holds up the room.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_response::Message;
use tokio::sync::mpsc;

/// The most messages that wait for one client.
const MOST_MESSAGES: usize = 4096;
/// The most bytes that wait for one client. A single message may be longer.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Of a client for which so many messages or bytes wait it counts that it is behind.
const MANY_MESSAGES: usize = 256;
const MANY_BYTES: usize = 1024 * 1024;

thread_local! {
    static SENT_BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Bytes that this thread has put into outboxes so far: what somebody's message costs is the difference.
pub(super) fn sent_bytes() -> u64 {
    SENT_BYTES.get()
}

/// A message for one or many clients.
#[derive(Debug)]
pub(crate) struct Signal {
    pub(crate) response: proto::SignalResponse,
    bytes: usize,
}

impl Signal {
    pub(crate) fn new(message: Message) -> Arc<Self> {
        let response = proto::SignalResponse { message: Some(message) };
        let bytes = response.encoded_len();
        Arc::new(Self { response, bytes })
    }
}

/// Where a room puts messages for one client. Dropped, the connection ends once they are sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<Arc<Signal>>,
    held: Arc<AtomicUsize>,
}

/// Where a client's connection takes them from.
#[derive(Debug)]
pub(crate) struct Inbox {
    receiver: mpsc::Receiver<Arc<Signal>>,
    held: Arc<AtomicUsize>,
}

pub(crate) fn pair() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel(MOST_MESSAGES);
    let held = Arc::<AtomicUsize>::default();
    (Outbox { sender, held: held.clone() }, Inbox { receiver, held })
}

impl Outbox {
    /// Whether the client takes less than it is told. Whoever has news then had better wait, and tell the newest only.
    pub(crate) fn is_behind(&self) -> bool {
        let waiting = self.sender.max_capacity() - self.sender.capacity();
        waiting >= MANY_MESSAGES || self.held.load(Ordering::Relaxed) >= MANY_BYTES
    }

    /// Whether there was room for it.
    pub(crate) fn send(&self, signal: &Arc<Signal>) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        if held > 0 && held + signal.bytes > MOST_BYTES {
            return false;
        }
        self.held.fetch_add(signal.bytes, Ordering::Relaxed);
        SENT_BYTES.set(SENT_BYTES.get() + signal.bytes as u64);
        self.sender.try_send(signal.clone()).is_ok()
    }
}

impl Inbox {
    /// The next message; `None` once nothing more will come.
    pub(crate) async fn next(&mut self) -> Option<Arc<Signal>> {
        let signal = self.receiver.recv().await?;
        self.held.fetch_sub(signal.bytes, Ordering::Relaxed);
        Some(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Arc<Signal> {
        Signal::new(Message::RefreshToken("x".repeat(bytes)))
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up_after_so_many_bytes_or_messages() {
        let (outbox, _inbox) = pair();
        assert!(outbox.send(&text(MOST_BYTES + 1)), "a single message may be longer");
        assert!(!outbox.send(&text(1)));
        let (outbox, _inbox) = pair();
        assert!((0..MOST_MESSAGES).all(|_| outbox.send(&text(1))));
        assert!(!outbox.send(&text(1)));
    }

    #[tokio::test]
    async fn a_client_is_behind_until_it_takes_what_waits() {
        let (outbox, mut inbox) = pair();
        for _ in 0..MANY_MESSAGES {
            assert!(!outbox.is_behind());
            outbox.send(&text(1));
        }
        assert!(outbox.is_behind());
        inbox.next().await.unwrap();
        assert!(!outbox.is_behind());
        outbox.send(&text(MANY_BYTES));
        assert!(outbox.is_behind());
    }

    #[tokio::test]
    async fn what_is_taken_makes_room() {
        let (outbox, mut inbox) = pair();
        assert!(outbox.send(&text(MOST_BYTES)));
        assert!(!outbox.send(&text(1)));
        inbox.next().await.unwrap();
        assert!(outbox.send(&text(MOST_BYTES)));
        drop(outbox);
        assert!(inbox.next().await.is_some(), "what was put in is still sent");
        assert!(inbox.next().await.is_none());
    }
}
