//! A raw signalling connection on a blocking socket. A test can encode frames long before it sends them, and nothing is
//! read until the test reads.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::support::TIMEOUT;

/// Opcodes of RFC 6455.
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;

/// The FIN bit in the first byte of a frame.
pub const FINAL: u8 = 0x80;

/// Encodes a message in one frame. The mask is zero, which leaves the payload unchanged.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(FINAL | opcode, payload.len());
    bytes.reserve_exact(payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// Encodes the header of a frame with a payload of `length` bytes.
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

/// Encodes a signal in one frame.
pub fn signal(message: Request) -> Vec<u8> {
    frame(BINARY, &proto::SignalRequest { message: Some(message) }.encode_to_vec())
}

/// Encodes a WebSocket upgrade request with a token and a join request. `path` may also be a `validate` endpoint.
pub fn join_request(path: &str, token: &str, join_request: &str) -> Vec<u8> {
    let query = format!("access_token={token}&join_request={}", join_request.replace('=', "%3D"));
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("GET {path}?{query} HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n").into_bytes()
}

/// A signalling connection. Dropping it closes the socket without a leave request or a close frame.
pub struct SignalSocket(BufReader<TcpStream>);

impl SignalSocket {
    /// Sends an upgrade request and reads the response.
    ///
    /// # Errors
    /// An error of the socket; `ConnectionRefused` with the status as its message if the status is not 101.
    pub fn open(engine: SocketAddr, request: &[u8]) -> io::Result<Self> {
        let stream = TcpStream::connect(engine)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut socket = Self(BufReader::new(stream));
        socket.send(request)?;
        let status = socket.read_status()?;
        if status == 101 {
            Ok(socket)
        } else {
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, status.to_string()))
        }
    }

    /// Reads the head of an HTTP response. Returns its status.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn read_status(&mut self) -> io::Result<u16> {
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

    /// Another handle to the same socket.
    pub fn clone_stream(&self) -> TcpStream {
        self.0.get_ref().try_clone().unwrap()
    }

    /// # Errors
    /// An error of the socket, for example because the engine has closed it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads the next signal. Skips other frames.
    ///
    /// # Errors
    /// An error of the socket; `UnexpectedEof` after a close frame or at the end of the stream.
    pub fn receive(&mut self) -> io::Result<Response> {
        loop {
            let (opcode, payload) = self.read_frame()?;
            if opcode == CLOSE {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if opcode == BINARY
                && let Some(response) = proto::SignalResponse::decode(&*payload).unwrap().message
            {
                return Ok(response);
            }
        }
    }

    /// Reads up to the close frame. Returns its code.
    ///
    /// # Errors
    /// An error of the socket; `UnexpectedEof` if there is no close code.
    pub fn read_close_code(&mut self) -> io::Result<u16> {
        loop {
            if let (CLOSE, payload) = self.read_frame()? {
                let code = payload.first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
                return Ok(u16::from_be_bytes(*code));
            }
        }
    }

    /// Reads the next frame. Returns its opcode and payload.
    ///
    /// # Errors
    /// An error of the socket.
    pub fn read_frame(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let mut length = usize::from(head[1]);
        let extended = match length {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if extended > 0 {
            let mut bytes = [0; 8];
            self.0.read_exact(&mut bytes[8 - extended..])?;
            length = usize::try_from(u64::from_be_bytes(bytes)).unwrap();
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok((head[0] & 0x0f, payload))
    }
}
