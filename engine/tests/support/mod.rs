//! Shared by all suites: an engine, a raw HTTP/1.1 client, and hand-made tokens.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use livekit_protocol as proto;
use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig, StartError};
use prost::Message as _;
use serde_json::{Value, json};

pub const KEY: &str = "APIfirst";
pub const SECRET: &str = "the-first-secret-is-longer-than-32-bytes";
pub const OTHER_KEY: &str = "APIother";
pub const OTHER_SECRET: &str = "the-other-secret-is-longer-than-32-bytes";

/// The default keys of a test engine.
pub const KEYS: &[(&str, &str)] = &[(KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];

/// Time after which a wait fails the test; far longer than any step takes.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub fn start() -> Engine {
    start_with(Limits::default())
}

pub fn start_with(limits: Limits) -> Engine {
    start_with_keys(limits, KEYS)
}

pub fn start_with_keys(limits: Limits, keys: &[(&str, &str)]) -> Engine {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let rtc = RtcConfig::default();
    Engine::start(&Config { host, port: Port::Any, keys, limits, rtc, webhooks: None }).unwrap()
}

pub fn try_start(limits: Limits, rtc: RtcConfig) -> Result<Engine, StartError> {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Engine::start(&Config { host, port: Port::Any, keys: KEYS, limits, rtc, webhooks: None })
}

pub fn close(engine: &Engine) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(engine.close());
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    /// The header lines as received.
    pub headers: String,
    pub body: Vec<u8>,
}

impl HttpResponse {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let has_name = |line: &&str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
        self.headers.lines().find(has_name).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    fn assert_contains_no_secret(&self) {
        let whole = self.headers.clone() + &self.text();
        assert!(!whole.contains(SECRET) && !whole.contains(OTHER_SECRET), "response contains a secret: {whole}");
    }
}

/// One HTTP/1.1 connection.
pub struct HttpClient(BufReader<TcpStream>);

impl HttpClient {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.set_write_timeout(Some(TIMEOUT)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Writes `bytes`. Fails if the server has closed the connection, which it may do in the middle of a request.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Reads the next response; `None` if the connection is closed.
    pub fn receive(&mut self) -> Option<HttpResponse> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(0) if head.is_empty() => return None,
                Ok(0) => panic!("response head is incomplete: {head}"),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                read => assert_ne!(read.unwrap(), 0),
            }
        }
        let (line, headers) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let mut response = HttpResponse { status, headers: headers.to_owned(), body: Vec::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        response.body = vec![0; length];
        self.0.read_exact(&mut response.body).unwrap();
        response.assert_contains_no_secret();
        Some(response)
    }

    /// Reads to the end of the stream. Returns whether the server closed the connection and sent nothing before.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let has_ended = match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        has_ended && rest.is_empty()
    }

    /// Sends a request and reads the response.
    pub fn request(&mut self, request: impl AsRef<[u8]>) -> HttpResponse {
        // A write error is expected: the server may reject the request before it has read all of it.
        let _ = self.send(request);
        self.receive().unwrap()
    }

    /// Calls a `RoomService` method with a JSON body.
    pub fn call(&mut self, method: &str, token: &str, body: &Value) -> HttpResponse {
        self.request(twirp_request(method, token, "application/json", body.to_string().as_bytes()))
    }
}

/// Encodes a `RoomService` request.
pub fn twirp_request(method: &str, token: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}", body.len());
    let mut request = twirp_head(method, token, content_type, &length).into_bytes();
    request.extend_from_slice(body);
    request
}

/// Encodes the head of a `RoomService` request, with `more_headers` as further lines.
pub fn twirp_head(method: &str, token: &str, content_type: &str, more_headers: &str) -> String {
    let bearer = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let path = format!("/twirp/livekit.RoomService/{method}");
    format!("POST {path} HTTP/1.1\r\nhost: test\r\n{bearer}content-type: {content_type}\r\n{more_headers}\r\n\r\n")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Encodes the bytes of a join request for the `join_request` query parameter, compressed with gzip.
pub fn compress_join_request(request: &[u8]) -> String {
    let compression = proto::wrapped_join_request::Compression::Gzip.into();
    let wrapped = proto::WrappedJoinRequest { compression, join_request: gzip(request) };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

/// Unix time in seconds.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A token of [`KEY`] with the grants in `video`.
pub fn token(video: &Value) -> String {
    let claims = json!({ "iss": KEY, "sub": "ann", "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A token of [`KEY`] to join `room` as `identity`.
pub fn join_token(room: &str, identity: &str) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A token that may create, list and delete rooms.
pub fn admin_token() -> String {
    token(&json!({ "roomCreate": true, "roomList": true, "roomAdmin": true, "room": "admin" }))
}

/// Signs any header and payload with HS256, whatever the header says.
pub fn sign(header: &str, payload: &str, secret: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

pub fn base64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}
