//! A LiveKit client for tests: signalling over a WebSocket, media and data over a str0m peer connection.

pub mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use serde_json::{Value, json};
use str0m::media::{MediaKind, Mid};
use str0m::{Candidate, Rtc, RtcConfig};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{KEY, SECRET, TIMEOUT, now, sign};
pub use state::State;

/// Time between two packets of a published track.
const PACKET_INTERVAL: Duration = Duration::from_millis(20);

/// Receives each outgoing datagram; the datagrams that it returns are sent instead.
pub type Tamper = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// Returns whether an incoming datagram is processed; otherwise it is dropped.
pub type ReceiveFilter = Box<dyn FnMut(&[u8]) -> bool + Send>;

pub struct ConnectOptions {
    pub identity: String,
    pub room: String,
    /// The `kind` claim of the token.
    pub kind: &'static str,
    pub rtc: RtcConfig,
    /// Local address for media; port 0 selects a free port.
    pub media_address: SocketAddr,
    /// Changes the join request before it is sent.
    pub edit_join_request: Box<dyn FnOnce(&mut proto::JoinRequest) + Send>,
    /// Connects to `/rtc` and subscribes on a subscriber peer connection, which the engine offers. Such a client can't publish.
    pub dual_peer_connection: bool,
}

impl ConnectOptions {
    pub fn new(room: &str, identity: &str) -> Self {
        Self {
            identity: identity.to_owned(),
            room: room.to_owned(),
            kind: "standard",
            rtc: rtc_config(),
            media_address: (Ipv4Addr::LOCALHOST, 0).into(),
            edit_join_request: Box::new(|_| ()),
            dual_peer_connection: false,
        }
    }
}

/// A str0m configuration that is compatible with the engine.
pub fn rtc_config() -> RtcConfig {
    Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, true).enable_vp8(true)
}

/// A token to join `room` as `identity`, with a `kind` claim.
pub fn participant_token(room: &str, identity: &str, kind: &str) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let claims: Value = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "kind": kind, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// Encodes a join request for the `join_request` query parameter, uncompressed.
pub fn encode_join_request(request: &proto::JoinRequest) -> String {
    let wrapped = proto::WrappedJoinRequest { join_request: request.encode_to_vec(), ..Default::default() };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

/// Opens a signalling connection to `/rtc/v1`; `None` if the engine rejects it.
pub async fn connect_signalling(
    engine: SocketAddr,
    token: &str,
    join_request: &str,
) -> Option<WebSocketStream<TcpStream>> {
    let join_request = join_request.replace('=', "%3D");
    open_websocket(engine, &format!("/rtc/v1?access_token={token}&join_request={join_request}")).await
}

async fn open_websocket(engine: SocketAddr, path: &str) -> Option<WebSocketStream<TcpStream>> {
    let url = format!("ws://{engine}{path}");
    let stream = TcpStream::connect(engine).await.unwrap();
    tokio_tungstenite::client_async(url, stream).await.ok().map(|(socket, _)| socket)
}

/// A participant. Dropping it stops the client without a leave request or a close frame.
pub struct TestClient {
    pub identity: String,
    state: Arc<Mutex<State>>,
    /// Notified after each change of the state.
    changed: Arc<Notify>,
    /// Notified when the state has output to send.
    has_output: Arc<Notify>,
    task: JoinHandle<()>,
}

impl TestClient {
    /// Connects and waits until media is connected.
    pub async fn join(engine: SocketAddr, room: &str, identity: &str) -> Self {
        let client = Self::connect(engine, ConnectOptions::new(room, identity)).await.unwrap();
        client.wait_until_connected().await;
        client
    }

    /// Opens the signalling connection and starts the client; `None` if the engine rejects it.
    pub async fn connect(engine: SocketAddr, options: ConnectOptions) -> Option<Self> {
        let ConnectOptions { identity, room, kind, rtc, media_address, edit_join_request, dual_peer_connection } =
            options;
        let udp = Arc::new(UdpSocket::bind(media_address).await.unwrap());
        let address = udp.local_addr().unwrap();
        let mut rtc = Box::new(rtc.build(Instant::now()));
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let mut state = State::new(rtc, udp.clone(), address, outgoing);
        let token = participant_token(&room, &identity, kind);
        let websocket = if dual_peer_connection {
            open_websocket(engine, &format!("/rtc?access_token={token}&protocol=15&auto_subscribe=1")).await?
        } else {
            let mut request = proto::JoinRequest {
                client_info: Some(proto::ClientInfo { protocol: 17, ..Default::default() }),
                connection_settings: Some(proto::ConnectionSettings { auto_subscribe: true, ..Default::default() }),
                publisher_offer: Some(state.create_offer()),
                ..proto::JoinRequest::default()
            };
            edit_join_request(&mut request);
            connect_signalling(engine, &token, &encode_join_request(&request)).await?
        };
        let state = Arc::new(Mutex::new(state));
        let (changed, has_output) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let task = tokio::spawn(run(state.clone(), (websocket, to_send), udp, changed.clone(), has_output.clone()));
        Some(Self { identity, state, changed, has_output, task })
    }

    /// Runs `work` on the client's state, then sends the resulting output.
    pub fn with_state<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let result = work(&mut self.state.lock().unwrap());
        self.has_output.notify_one();
        result
    }

    /// Waits until `find` returns a value. `what` completes the panic message "timeout waiting until ann ...".
    pub async fn wait_until<T>(&self, what: &str, mut find: impl FnMut(&mut State) -> Option<T>) -> T {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = find(&mut self.state.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        timeout(TIMEOUT, wait).await.unwrap_or_else(|_| {
            let state = self.state.lock().unwrap().summary();
            panic!("timeout waiting until {} {what}: {state}", self.identity)
        })
    }

    pub async fn wait_until_connected(&self) {
        self.wait_until("is connected", |state| state.is_connected.then_some(())).await;
    }

    pub fn send_request(&self, request: Request) {
        self.with_state(|state| state.send_request(request));
    }

    /// Publishes a track and starts to send it. Returns its `sid`.
    pub async fn publish(&self, kind: MediaKind) -> String {
        let cid = self.with_state(|state| {
            state.track_count += 1;
            let cid = format!("track {}", state.track_count);
            state.publish(kind, &cid);
            cid
        });
        let sid = |response: &Response| match response {
            Response::TrackPublished(published) if published.cid == cid => Some(published.track.clone()?.sid),
            _ => None,
        };
        let published = |state: &mut State| state.responses.iter().find_map(sid).filter(|_| state.is_sending(&cid));
        let sid = self.wait_until("publishes a track", published).await;
        self.with_state(|state| state.sends_media = true);
        sid
    }

    /// Unpublishes a track. The next track of its kind reuses the media section.
    pub async fn unpublish(&self, sid: &str) {
        let cid = |response: &Response| match response {
            Response::TrackPublished(published) if published.track.as_ref().is_some_and(|track| track.sid == sid) => {
                Some(published.cid.clone())
            }
            _ => None,
        };
        let cid = self.with_state(|state| state.responses.iter().find_map(cid)).unwrap();
        self.with_state(|state| state.unpublish(&cid));
        let is_unpublished =
            |state: &mut State| (!state.is_sending(&cid) && state.pending_offer.is_none()).then_some(());
        self.wait_until("unpublishes its track", is_unpublished).await;
    }

    /// Waits until the engine has removed a track from the session description.
    pub async fn wait_until_unsubscribed(&self, sid: &str) {
        self.wait_until("is unsubscribed", |state| state.mid_of(sid).is_none().then_some(())).await;
    }

    /// Sends a user packet on the reliable or the lossy data channel.
    pub fn send_data(&self, text: &str, reliable: bool) {
        let user = proto::UserPacket { payload: text.as_bytes().to_vec(), ..Default::default() };
        let value = Some(proto::data_packet::Value::User(user));
        let packet = proto::DataPacket { value, ..Default::default() };
        self.with_state(|state| state.write_channel(&packet.encode_to_vec(), reliable));
    }

    pub async fn wait_for_data_channels(&self) {
        self.wait_until("has data channels", |state| (state.channels.len() == 2).then_some(())).await;
    }

    /// Waits for a user packet with this text.
    pub async fn wait_for_data(&self, text: &str) {
        let is_expected = |packet: &proto::DataPacket| match &packet.value {
            Some(proto::data_packet::Value::User(user)) => user.payload == text.as_bytes(),
            _ => false,
        };
        self.wait_until("receives the data packet", |state| state.data_packets.iter().any(is_expected).then_some(()))
            .await;
    }

    /// Waits until three more packets of each of these tracks have arrived.
    pub async fn wait_for_packets(&self, sids: &[String]) {
        let before = self.with_state(|state| state.packets.clone());
        let has_more = |state: &State, mid: Mid| {
            state.packets.get(&mid).copied().unwrap_or_default() > before.get(&mid).copied().unwrap_or_default() + 2
        };
        for sid in sids {
            let find = |state: &mut State| state.mid_of(sid).filter(|mid| has_more(state, *mid));
            self.wait_until("receives packets of the track", find).await;
        }
    }

    /// Waits until the engine has closed the signalling connection.
    pub async fn wait_until_closed(&self) {
        self.wait_until("is disconnected", |state| state.is_closed.then_some(())).await;
    }

    /// Sends a leave request and waits until the connection is closed.
    pub async fn leave(self) {
        self.send_request(Request::Leave(proto::LeaveRequest::default()));
        self.wait_until_closed().await;
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs the I/O of a client until the task is aborted.
async fn run(
    state: Arc<Mutex<State>>,
    (websocket, mut to_send): (WebSocketStream<TcpStream>, mpsc::UnboundedReceiver<Message>),
    udp: Arc<UdpSocket>,
    changed: Arc<Notify>,
    has_output: Arc<Notify>,
) {
    let (mut sink, mut stream) = websocket.split();
    let write = async {
        while let Some(message) = to_send.recv().await {
            if sink.send(message).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let process = async {
        let mut buffer = vec![0; 4096];
        let mut tick = interval(PACKET_INTERVAL);
        loop {
            let (deadline, reads_signals) = {
                let mut state = state.lock().unwrap();
                state.drain();
                (state.deadline, !state.pauses_reading && !state.is_closed)
            };
            changed.notify_waiters();
            tokio::select! {
                message = stream.next(), if reads_signals => {
                    state.lock().unwrap().on_message(message.and_then(Result::ok));
                }
                received = udp.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = received {
                        state.lock().unwrap().on_datagram(source, &buffer[..length]);
                    }
                }
                _ = tick.tick() => state.lock().unwrap().send_media(),
                () = sleep_until(deadline.into()) => state.lock().unwrap().handle_timeout(),
                () = has_output.notified() => (),
            }
        }
    };
    tokio::join!(write, process);
}
