//! A signalling connection byte by byte, on a blocking socket: its frames can be encoded long before they are sent, and
//! nothing is read unless the test reads.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;

use crate::support::PATIENCE;

/// Opcodes of RFC 6455.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// The bit of a frame's first byte that says that it is its message's last.
pub const FINAL: u8 = 0x80;

/// A message in one frame. Its mask is zero, so the payload is sent as it is.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(FINAL | opcode, payload.len());
    bytes.reserve_exact(payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of a frame whose payload has that length.
pub fn header(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(14);
    bytes.push(first);
    match length {
        length @ ..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// A signal in one frame.
pub fn signal(message: Ask) -> Vec<u8> {
    frame(BINARY, &proto::SignalRequest { message: Some(message) }.encode_to_vec())
}

/// The bytes of a request that joins, or with `path` `/rtc/v1/validate` only asks whether it could.
pub fn join_request(path: &str, token: &str, packed: &str) -> Vec<u8> {
    let query = format!("access_token={token}&join_request={}", packed.replace('=', "%3D"));
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("GET {path}?{query} HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n").into_bytes()
}

/// A connection. Dropped, it is closed without a word.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    /// Sends a request that joins, and waits until it is accepted.
    ///
    /// # Errors
    /// What the socket says; `ConnectionRefused` where the status is another one than 101.
    pub fn open(engine: SocketAddr, request: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::connect(engine)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Self(BufReader::new(stream));
        wire.send(request)?;
        let status = wire.status()?;
        if status == 101 { Ok(wire) } else { Err(io::Error::new(io::ErrorKind::ConnectionRefused, status.to_string())) }
    }

    /// Reads the head of a response, and gives its status.
    ///
    /// # Errors
    /// What the socket says.
    pub fn status(&mut self) -> io::Result<u16> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap())
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Another handle of the same socket, to write by.
    pub fn writer(&self) -> TcpStream {
        self.0.get_ref().try_clone().unwrap()
    }

    /// # Errors
    /// What the socket says, such as that the engine has closed it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next signal. Other frames are skipped.
    ///
    /// # Errors
    /// What the socket says; `UnexpectedEof` at its end.
    pub fn hear(&mut self) -> io::Result<Told> {
        loop {
            let (opcode, payload) = self.read_frame()?;
            if opcode == CLOSE {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if opcode == BINARY
                && let Some(told) = proto::SignalResponse::decode(&*payload).unwrap().message
            {
                return Ok(told);
            }
        }
    }

    /// The code with which the engine closes the connection. Other frames are skipped.
    ///
    /// # Errors
    /// What the socket says; `UnexpectedEof` where it ends without a code.
    pub fn close_code(&mut self) -> io::Result<u16> {
        loop {
            if let (CLOSE, payload) = self.read_frame()? {
                let code = payload.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
                return Ok(u16::from_be_bytes(*code));
            }
        }
    }

    /// The opcode and the payload of the next frame.
    ///
    /// # Errors
    /// What the socket says.
    pub fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut length = usize::from(head[1]);
        let longer = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if longer > 0 {
            let mut bytes = [0; 8];
            self.0.read_exact(&mut bytes[8 - longer..])?;
            length = usize::try_from(u64::from_be_bytes(bytes)).unwrap();
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }
}
