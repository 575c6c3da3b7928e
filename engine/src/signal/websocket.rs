//! The server's side of a WebSocket (RFC 6455), without extensions. What a client can make it hold is bounded: one message,
//! which counts against a budget of all connections while it is incomplete and has to be complete within a time limit; and
//! one pong, because nothing is read while an answer is written.

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

/// Maximum bytes of one message, as livekit-server has it; a longer one closes the connection. A client that receives 400
/// tracks resumes with a message of that length: it holds an offer and an answer of 5 kB for each.
const MAX_MESSAGE_BYTES: usize = 2 * 1024 * 1024;
/// Maximum bytes of a control frame (RFC 6455, section 5.5).
const MAX_CONTROL_BYTES: usize = 125;
/// Maximum bytes of the header of a frame that the engine sends: it is not masked.
const MAX_HEADER_BYTES: usize = 10;
/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// What a client has sent.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message),
    Ping(Vec<u8>),
    /// The close frame's code, if it has one.
    Close(Option<CloseCode>),
}

/// A whole message. It counts against the budget until it is dropped.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) is_text: bool,
    pub(crate) bytes: Vec<u8>,
    share: Option<Share>,
}

/// Why nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The client is gone.
    Lost,
    /// The client does not keep to RFC 6455.
    Protocol,
    TooLarge,
    /// A message was not complete in time.
    Timeout,
    /// All connections together hold too much of incomplete messages, and this one's is the oldest.
    Overloaded,
}

impl ReadError {
    /// What the client is told.
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
    /// The frame that is being read.
    frame: Option<Frame>,
    message: Option<Incomplete>,
    control: Vec<u8>,
    /// Whether messages are read and dropped.
    discards: bool,
    budget: Arc<Budget>,
    /// Maximum time from a message's beginning to its end.
    message_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    is_final: bool,
    opcode: OpCode,
    mask: [u8; 4],
    /// How many of its bytes are still to come.
    rest: usize,
}

/// A message of which not all has come.
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

    /// Waits for what the client sends next. Nothing is lost if it is cancelled.
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

    /// Sends a whole message.
    ///
    /// # Errors
    /// If the client is gone, or takes nothing for too long.
    pub(crate) async fn send(&mut self, is_text: bool, bytes: &[u8]) -> io::Result<()> {
        self.write(OpCode::Data(if is_text { Data::Text } else { Data::Binary }), bytes).await
    }

    /// Sends several short binary messages at once.
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

    /// Answers a ping.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn pong(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(OpCode::Control(Control::Pong), bytes).await
    }

    /// Sends a close frame, and reads on until the client has answered it. Clients lose what was sent before if the
    /// connection ends while they are sending.
    pub(crate) async fn close(&mut self, code: CloseCode) {
        self.discards = true;
        if self.send_close(code).await.is_ok() {
            while let Ok(Received::Message(_) | Received::Ping(_)) = self.read().await {}
        }
    }

    /// Answers a close frame with its own code, and with none if it has none (RFC 6455, section 5.5.1): some clients take 1000 for
    /// an end that they asked for, and do not reconnect.
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

    /// Sends a close frame, and discards what the client sends on: its frames cannot be read any more.
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

    /// Reads the header of the next frame, unless there is a frame already. `false` if more has to come for it.
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
        let rest = usize::try_from(length).map_err(|_| ReadError::TooLarge)?;
        match opcode {
            OpCode::Control(_) if !is_final || rest > MAX_CONTROL_BYTES => return Err(ReadError::Protocol),
            OpCode::Control(_) => (),
            OpCode::Data(kind) => self.begin(kind, rest)?,
        }
        self.frame = Some(Frame { is_final, opcode, mask, rest });
        Ok(true)
    }

    /// Begins a message, or goes on with it.
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

    /// Takes what has come of the frame.
    fn read_payload(&mut self) -> Result<Option<Received>, ReadError> {
        let Some(frame) = &mut self.frame else { return Ok(None) };
        let mut part = self.input.split_to(frame.rest.min(self.input.len()));
        unmask(&mut part, frame.mask);
        frame.mask.rotate_left(part.len() % 4);
        match &mut self.message {
            _ if matches!(frame.opcode, OpCode::Control(_)) => self.control.extend_from_slice(&part),
            Some(_) if self.discards => (),
            Some(incomplete) => {
                let length = incomplete.message.bytes.len();
                let max_length = if frame.is_final { length + frame.rest } else { MAX_MESSAGE_BYTES };
                incomplete.message.extend(&part, max_length, &self.budget)?;
            }
            None => (),
        }
        frame.rest -= part.len();
        if frame.rest > 0 {
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
            // A pong that answers no ping.
            Some((OpCode::Control(_), _)) => {
                self.control.clear();
                None
            }
            _ => None,
        })
    }

    /// Reads more bytes.
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
        // A client that takes nothing keeps what it has sent of a message no longer than one that sends nothing.
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

/// Resolves once an incomplete message has lost its memory, or is late; never if there is none.
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
    /// Cancelled once the message has lost its memory to others.
    pub(crate) fn revocation(&self) -> CancellationToken {
        self.share.as_ref().map_or_else(CancellationToken::new, Share::revocation)
    }

    /// `max_length`: its length in the end, if that is known.
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

/// `mask` begins with the byte for the first of `bytes`.
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
