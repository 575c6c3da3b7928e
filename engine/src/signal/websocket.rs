//! The server side of a WebSocket (RFC 6455), without extensions.
//!
//! Memory per client is bounded. A connection holds at most one message, which counts against a budget of all connections while
//! it is incomplete, and must be complete within a time limit. It holds at most one pong, because it does not read while it
//! writes.

use std::future::pending;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, Share};
use crate::work::SHORT_BYTES;

/// Maximum bytes of one message, the limit of livekit-server. Past it, the connection is closed with 1009. A client that
/// receives 400 tracks resumes with a message of this length, which contains about 5 kB of SDP per track.
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// Maximum bytes of a control frame (RFC 6455, section 5.5). Past it, the connection is closed with 1002.
const MAX_CONTROL_BYTES: usize = 125;
/// Maximum bytes of the header of an unmasked frame, as servers send them.
const MAX_HEADER_BYTES: usize = 10;
/// Bytes to read from the stream at once.
const READ_BYTES: usize = 8 * 1024;

/// A message or control frame from the client.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message),
    Ping(Vec<u8>),
    /// The close frame's code, if it has one.
    Close(Option<CloseCode>),
}

/// A message. Its bytes count against the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) is_text: bool,
    pub(crate) bytes: Vec<u8>,
    share: Option<Share>,
}

/// Why reading failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The connection is closed or broken.
    Lost,
    /// The client violates RFC 6455.
    Protocol,
    /// The message is longer than [`MAX_MESSAGE_BYTES`].
    TooLarge,
    /// The message was not complete in time.
    Timeout,
    /// Incomplete messages of all connections exceed the budget, and this message is the oldest.
    Overloaded,
}

impl ReadError {
    /// The status code for the close frame (RFC 6455, section 7.4).
    pub(crate) fn close_code(self) -> CloseCode {
        match self {
            Self::Lost | Self::Protocol => CloseCode::Protocol,
            Self::TooLarge => CloseCode::Size,
            Self::Timeout => CloseCode::Policy,
            Self::Overloaded => CloseCode::Again,
        }
    }
}

pub(crate) struct WebSocket {
    stream: TokioIo<Upgraded>,
    input: BytesMut,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    message: Option<Incomplete>,
    /// Payload of the current control frame.
    control: Vec<u8>,
    /// Whether messages are read and discarded.
    discards: bool,
    budget: Arc<Budget>,
    /// Maximum time from the first to the last byte of a message.
    message_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    is_final: bool,
    opcode: OpCode,
    mask: [u8; 4],
    /// Bytes of the payload that are not read yet.
    remaining: usize,
}

/// A message that is not complete.
struct Incomplete {
    message: Message,
    deadline: Instant,
}

impl WebSocket {
    pub(crate) fn new(upgraded: Upgraded, budget: Arc<Budget>, message_timeout: Duration) -> Self {
        Self {
            stream: TokioIo::new(upgraded),
            input: BytesMut::new(),
            frame: None,
            message: None,
            control: Vec::new(),
            discards: false,
            budget,
            message_timeout,
        }
    }

    /// Waits for the next message, ping or close frame. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) async fn read(&mut self) -> Result<Received, ReadError> {
        loop {
            while self.read_header()? {
                if let Some(received) = self.read_payload()? {
                    return Ok(received);
                }
                if self.frame.is_some() {
                    break;
                }
            }
            self.fill().await?;
        }
    }

    /// Sends a message in one frame.
    ///
    /// # Errors
    /// If the connection is lost, or the client does not read within the write timeout.
    pub(crate) async fn send(&mut self, is_text: bool, bytes: &[u8]) -> io::Result<()> {
        self.write(OpCode::Data(if is_text { Data::Text } else { Data::Binary }), bytes).await
    }

    /// Sends several short binary messages in one write.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_all(&mut self, messages: impl Iterator<Item = &[u8]> + Clone) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(messages.clone().map(|message| message.len() + MAX_HEADER_BYTES).sum());
        for message in messages {
            write_header(OpCode::Data(Data::Binary), message.len(), &mut bytes)?;
            bytes.extend_from_slice(message);
        }
        self.write_bytes(&*bytes).await
    }

    /// Sends a pong, with the payload of the ping.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn pong(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(OpCode::Control(Control::Pong), bytes).await
    }

    /// Sends a close frame, then reads and discards messages until the client's close frame. If the connection ended while the
    /// client sends, the client could lose earlier messages.
    pub(crate) async fn close(&mut self, code: CloseCode) {
        self.discards = true;
        if self.send_close(code).await.is_ok() {
            while let Ok(Received::Message(_) | Received::Ping(_)) = self.read().await {}
        }
    }

    /// Answers a close frame with its own code, or without one if it has none (RFC 6455, section 5.5.1). Some clients take 1000 for
    /// a close that they requested, and do not reconnect.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn answer_close(&mut self, code: Option<CloseCode>) -> io::Result<()> {
        match code {
            Some(code) if code.is_allowed() => self.send_close(code).await,
            Some(_) => self.send_close(CloseCode::Protocol).await,
            None => self.write(OpCode::Control(Control::Close), &[]).await,
        }
    }

    /// # Errors
    /// As [`Self::send`].
    async fn send_close(&mut self, code: CloseCode) -> io::Result<()> {
        self.write(OpCode::Control(Control::Close), &u16::from(code).to_be_bytes()).await
    }

    /// Sends a close frame, then discards bytes until the client closes the connection. For use after [`ReadError`], when
    /// frame boundaries are unknown.
    pub(crate) async fn fail(&mut self, code: CloseCode) {
        self.message = None;
        if self.send_close(code).await.is_ok() {
            loop {
                self.input.clear();
                if self.fill().await.is_err() {
                    return;
                }
            }
        }
    }

    /// Parses the header of the next frame, unless a frame is being read. `false` if `input` does not hold all of it.
    fn read_header(&mut self) -> Result<bool, ReadError> {
        if self.frame.is_some() {
            return Ok(true);
        }
        let mut cursor = Cursor::new(&self.input);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Protocol)? else {
            return Ok(false);
        };
        let parsed = usize::try_from(cursor.position()).unwrap_or_default();
        self.input.advance(parsed);
        let FrameHeader { is_final, rsv1, rsv2, rsv3, opcode, mask } = header;
        let (Some(mask), false) = (mask, rsv1 || rsv2 || rsv3) else { return Err(ReadError::Protocol) };
        let remaining = usize::try_from(length).map_err(|_| ReadError::TooLarge)?;
        match opcode {
            OpCode::Control(_) if !is_final || remaining > MAX_CONTROL_BYTES => return Err(ReadError::Protocol),
            OpCode::Control(_) => (),
            OpCode::Data(kind) => self.begin(kind, remaining)?,
        }
        self.frame = Some(Frame { is_final, opcode, mask, remaining });
        Ok(true)
    }

    /// Starts or continues a message with a data frame of `length` bytes.
    fn begin(&mut self, kind: Data, length: usize) -> Result<(), ReadError> {
        match (kind, &self.message) {
            (Data::Text | Data::Binary, None) => {
                let message = Message { is_text: kind == Data::Text, bytes: Vec::new(), share: None };
                self.message = Some(Incomplete { message, deadline: Instant::now() + self.message_timeout });
            }
            (Data::Continue, Some(_)) => (),
            _ => return Err(ReadError::Protocol),
        }
        let before = self.message.as_ref().map_or(0, |incomplete| incomplete.message.bytes.len());
        if length > MAX_MESSAGE_BYTES - before { Err(ReadError::TooLarge) } else { Ok(()) }
    }

    /// Reads payload from `input`. Returns the message or control frame that this completes.
    fn read_payload(&mut self) -> Result<Option<Received>, ReadError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let mut part = self.input.split_to(frame.remaining.min(self.input.len()));
        unmask(&mut part, frame.mask);
        frame.mask.rotate_left(part.len() % 4);
        match &mut self.message {
            _ if matches!(frame.opcode, OpCode::Control(_)) => self.control.extend_from_slice(&part),
            Some(_) if self.discards => (),
            Some(incomplete) => {
                let length = incomplete.message.bytes.len();
                let max_length = if frame.is_final { length + frame.remaining } else { MAX_MESSAGE_BYTES };
                incomplete.message.extend(&part, max_length, &self.budget)?;
            }
            None => (),
        }
        frame.remaining -= part.len();
        if frame.remaining > 0 {
            return Ok(None);
        }
        let frame = self.frame.take();
        Ok(match frame.map(|frame| (frame.opcode, frame.is_final)) {
            Some((OpCode::Data(_), true)) => {
                self.message.take().map(|incomplete| Received::Message(incomplete.message))
            }
            Some((OpCode::Control(Control::Ping), _)) => Some(Received::Ping(std::mem::take(&mut self.control))),
            Some((OpCode::Control(Control::Close), _)) => {
                let code = self.control.first_chunk().map(|code| CloseCode::from(u16::from_be_bytes(*code)));
                self.control.clear();
                Some(Received::Close(code))
            }
            // An unsolicited pong.
            Some((OpCode::Control(_), _)) => {
                self.control.clear();
                None
            }
            _ => None,
        })
    }

    /// Reads more bytes into `input`.
    async fn fill(&mut self) -> Result<(), ReadError> {
        self.input.reserve(READ_BYTES);
        tokio::select! {
            biased;
            error = interrupted(self.message.as_ref()) => Err(error),
            read = self.stream.read_buf(&mut self.input) => match read {
                Ok(0) | Err(_) => Err(ReadError::Lost),
                Ok(_) => Ok(()),
            },
        }
    }

    async fn write(&mut self, opcode: OpCode, payload: &[u8]) -> io::Result<()> {
        let mut head = Vec::with_capacity(MAX_HEADER_BYTES);
        write_header(opcode, payload.len(), &mut head)?;
        self.write_bytes(bytes::Buf::chain(&*head, payload)).await
    }

    async fn write_bytes(&mut self, mut bytes: impl bytes::Buf) -> io::Result<()> {
        // The incomplete message has its deadline here too: a client that does not read must not hold its bytes for longer.
        tokio::select! {
            biased;
            _ = interrupted(self.message.as_ref()) => Err(io::ErrorKind::TimedOut.into()),
            written = self.stream.write_all_buf(&mut bytes) => written,
        }
    }
}

fn write_header(opcode: OpCode, length: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask: None };
    header.format(u64::try_from(length).unwrap_or(u64::MAX), out).map_err(io::Error::other)
}

/// Resolves when an incomplete message loses its memory or misses its deadline; never if there is none.
async fn interrupted(incomplete: Option<&Incomplete>) -> ReadError {
    let Some(incomplete) = incomplete else { return pending().await };
    let revocation = incomplete.message.revocation();
    tokio::select! {
        biased;
        () = revocation.cancelled() => ReadError::Overloaded,
        () = sleep_until(incomplete.deadline) => ReadError::Timeout,
    }
}

impl Message {
    /// Cancelled when the memory of the message is needed for newer ones.
    pub(crate) fn revocation(&self) -> CancellationToken {
        self.share.as_ref().map_or_else(CancellationToken::new, Share::revocation)
    }

    /// Appends bytes. The capacity doubles, up to `max_length`, the final length as far as it is known.
    fn extend(&mut self, part: &[u8], max_length: usize, budget: &Arc<Budget>) -> Result<(), ReadError> {
        let (length, before) = (self.bytes.len(), self.bytes.capacity());
        if length + part.len() > before {
            let capacity = (2 * before).clamp(length + part.len(), max_length);
            let more = capacity.saturating_sub(SHORT_BYTES.max(before));
            if more > 0 && !self.share.get_or_insert_with(|| budget.share()).grow(more) {
                return Err(ReadError::Overloaded);
            }
            self.bytes.reserve_exact(capacity - length);
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }
}

/// Applies a mask (RFC 6455, section 5.3) that is rotated to start with the byte for `bytes[0]`.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let wide = u32::from_ne_bytes(mask);
    let (words, rest) = bytes.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}
