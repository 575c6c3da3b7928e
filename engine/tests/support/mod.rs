//! What the suites share: an engine, a client that speaks HTTP byte by byte, and tokens made by hand.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use maravilla_engine::{Config, Engine, Limits, Port, RtcConfig, StartError};
use serde_json::{Value, json};

pub const KEY: &str = "APIfirst";
pub const SECRET: &str = "the-first-secret-is-longer-than-32-bytes";
pub const OTHER_KEY: &str = "APIother";
pub const OTHER_SECRET: &str = "the-other-secret-is-longer-than-32-bytes";

/// The keys of an engine that is started without others.
pub const KEYS: &[(&str, &str)] = &[(KEY, SECRET), (OTHER_KEY, OTHER_SECRET)];

/// Far longer than anything takes: a test that waits for it has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn start() -> Engine {
    start_with(Limits::default())
}

pub fn start_with(limits: Limits) -> Engine {
    start_with_keys(limits, KEYS)
}

pub fn start_with_keys(limits: Limits, keys: &[(&str, &str)]) -> Engine {
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Engine::start(&Config { host, port: Port::Any, keys, limits, rtc: RtcConfig::default() }).unwrap()
}

pub fn try_start(limits: Limits, rtc: RtcConfig) -> Result<Engine, StartError> {
    Engine::start(&Config { host: IpAddr::V4(Ipv4Addr::LOCALHOST), port: Port::Any, keys: KEYS, limits, rtc })
}

pub fn close(engine: &Engine) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(engine.close());
}

/// One answer, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| line.split(':').next().is_some_and(|found| found.eq_ignore_ascii_case(name));
        self.headers.lines().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }

    /// No answer may tell a secret.
    fn check(self) -> Self {
        let whole = self.headers.clone() + &self.text();
        assert!(!whole.contains(SECRET) && !whole.contains(OTHER_SECRET), "a secret is told: {whole}");
        self
    }
}

/// One connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Fails if the server has closed, which it may do before all is said.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// The next answer; `None` once the connection is closed.
    pub fn hear(&mut self) -> Option<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.0.read_line(&mut head) {
                Ok(0) if head.is_empty() => return None,
                Ok(0) => panic!("an answer ends in its head: {head}"),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                read => assert_ne!(read.unwrap(), 0),
            }
        }
        let (line, headers) = head.split_once("\r\n").unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        let answer = Answer { status, headers: headers.to_owned(), body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        Some(Answer { body, ..answer }.check())
    }

    /// Whether the server closes without another word.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let ended = match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        ended && rest.is_empty()
    }

    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        // What is said may be refused before all of it is said.
        let _ = self.say(request);
        self.hear().unwrap()
    }

    /// Calls a method of the room service in JSON.
    pub fn call(&mut self, method: &str, token: &str, body: &Value) -> Answer {
        self.ask(call(method, token, "application/json", body.to_string().as_bytes()))
    }
}

/// The bytes of a call of the room service.
pub fn call(method: &str, token: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut request = call_head(method, token, kind, &format!("content-length: {}", body.len())).into_bytes();
    request.extend_from_slice(body);
    request
}

/// Its head, with one more header.
pub fn call_head(method: &str, token: &str, kind: &str, more: &str) -> String {
    let bearer = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
    let path = format!("/twirp/livekit.RoomService/{method}");
    format!("POST {path} HTTP/1.1\r\nhost: test\r\n{bearer}content-type: {kind}\r\n{more}\r\n\r\n")
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// A token of the first key that allows all that `video` says.
pub fn token(video: &Value) -> String {
    let claims = json!({ "iss": KEY, "sub": "ann", "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A token of the first key with which that participant may join a room.
pub fn join_token(room: &str, identity: &str) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let claims = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A token that may make, list and delete rooms.
pub fn admin() -> String {
    token(&json!({ "roomCreate": true, "roomList": true, "roomAdmin": true, "room": "admin" }))
}

/// Whatever header and payload say, in the shape of a token, with the signature of HS256.
pub fn sign(header: &str, payload: &str, secret: &str) -> String {
    let message = format!("{}.{}", base64(header), base64(payload));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

pub fn base64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}
