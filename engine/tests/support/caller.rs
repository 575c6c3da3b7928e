//! A participant by hand: signalling over a WebSocket, and a peer connection of str0m's that offers, publishes and receives.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use serde_json::{Value, json};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelId, Reliability};
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{KEY, PATIENCE, SECRET, now, sign};

/// How often a packet of each track is sent.
const PACKET: Duration = Duration::from_millis(20);
/// A keyframe of VP8 in one packet: the payload descriptor (RFC 7741), and the head of a picture of 16 by 16.
pub const KEYFRAME: [u8; 14] = [0x90, 0x80, 0x80, 1, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 16, 0, 16, 0];
/// Silence in Opus.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// What a caller does with each datagram before it goes out; what it gives is sent instead.
pub type Tamper = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// Says whether a datagram is read.
pub type Filter = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// How somebody calls.
pub struct Call {
    pub identity: String,
    pub room: String,
    /// What kind of participant it is, as its token says.
    pub kind: &'static str,
    pub rtc: RtcConfig,
    /// Where media is sent from; port 0: one that is free.
    pub address: SocketAddr,
    /// Changes the join request.
    pub wishes: Box<dyn FnOnce(&mut proto::JoinRequest) + Send>,
    /// Subscribes over a second peer connection, which the engine offers, and publishes nothing.
    pub has_two: bool,
}

impl Call {
    pub fn new(room: &str, identity: &str) -> Self {
        let wishes = Box::new(|_: &mut proto::JoinRequest| ());
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let (identity, room) = (identity.to_owned(), room.to_owned());
        Self { identity, room, kind: "standard", rtc: rtc_config(), address, wishes, has_two: false }
    }
}

/// What str0m has to be like to be a client of the engine.
pub fn rtc_config() -> RtcConfig {
    Rtc::builder().set_rtp_mode(true).clear_codecs().enable_opus(true, true).enable_vp8(true)
}

/// Somebody in a call. Dropped, it vanishes without a word.
pub struct Caller {
    pub identity: String,
    state: Arc<Mutex<State>>,
    /// Told when something has come.
    news: Arc<Notify>,
    /// Told when there is something to send.
    work: Arc<Notify>,
    task: JoinHandle<()>,
}

/// A track that somebody sends.
pub struct Sent {
    cid: String,
    pub mid: Mid,
    pub kind: MediaKind,
    /// The number of the next packet.
    pub next: u64,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own, that a test looks at or sets")]
pub struct State {
    pub rtc: Box<Rtc>,
    socket: Arc<UdpSocket>,
    pub address: SocketAddr,
    /// Where the engine takes media.
    pub media: Option<SocketAddr>,
    /// The engine's last answer.
    pub answer: String,
    /// The engine's last offer.
    pub offer: String,
    deadline: Instant,
    says: mpsc::UnboundedSender<Message>,
    /// What was said over signalling, but for what is answered at once.
    pub heard: Vec<Told>,
    /// The offer that is not answered yet: only then another one is made.
    pending: Option<SdpPendingOffer>,
    /// What the next offer has to bring: sections to receive on, tracks, and the ends of tracks.
    due: (u32, u32),
    unsent: Vec<(MediaKind, String)>,
    unpublished: Vec<(Mid, MediaKind)>,
    /// Whether it has to offer though nothing has changed.
    is_asked: bool,
    placeholders: Vec<Mid>,
    /// The sections of tracks that have ended, for other tracks.
    idle: Vec<(Mid, MediaKind)>,
    pub sent: Vec<Sent>,
    /// How many tracks it has published ever.
    cids: usize,
    /// Whether the tracks are sent by themselves, a packet every 20 ms.
    pub is_talking: bool,
    /// How many keyframes the engine has requested, by section.
    pub keyframe_requests: HashMap<Mid, usize>,
    /// How many packets have come, by section; those without a payload not counted.
    pub packets: HashMap<Mid, usize>,
    /// All of them, by section.
    pub arrivals: HashMap<Mid, usize>,
    /// The source of the last one, by section.
    sources: HashMap<Mid, Ssrc>,
    /// The number of the first of them, and the highest one.
    pub numbers: HashMap<Mid, (u64, u64)>,
    /// The header extensions of the last one, by section.
    pub extensions: HashMap<Mid, ExtensionValues>,
    /// The tracks, by section.
    pub tracks: HashMap<String, String>,
    /// The engine's answers, if they are kept.
    pub answers: Option<Vec<proto::SessionDescription>>,
    channels: HashMap<ChannelId, bool>,
    pub mail: Vec<proto::DataPacket>,
    pub is_connected: bool,
    /// Whether the engine has ended the signalling connection.
    pub is_closed: bool,
    /// Reads nothing from its signalling connection.
    pub is_deaf: bool,
    /// Keeps nothing in `heard` but answers to pings: a flood would fill the memory that is measured.
    pub is_forgetful: bool,
    pub tamper: Option<Tamper>,
    /// Which datagrams are read; the others are lost.
    pub reads: Filter,
}

/// A token to join with.
pub fn ticket(room: &str, identity: &str, kind: &str) -> String {
    let video = json!({ "roomJoin": true, "room": room, "canUpdateOwnMetadata": true });
    let claims: Value = json!({ "iss": KEY, "sub": identity, "exp": now() + 600, "kind": kind, "video": video });
    sign(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// A join request as it stands in the address.
pub fn packed(request: &proto::JoinRequest) -> String {
    let wrapped = proto::WrappedJoinRequest { join_request: request.encode_to_vec(), ..Default::default() };
    URL_SAFE.encode(wrapped.encode_to_vec())
}

/// Opens a signalling connection.
pub async fn dial(engine: SocketAddr, token: &str, join_request: &str) -> Option<WebSocketStream<TcpStream>> {
    dial_path(engine, &format!("/rtc/v1?access_token={token}&join_request={}", join_request.replace('=', "%3D"))).await
}

async fn dial_path(engine: SocketAddr, path: &str) -> Option<WebSocketStream<TcpStream>> {
    let url = format!("ws://{engine}{path}");
    let stream = TcpStream::connect(engine).await.unwrap();
    tokio_tungstenite::client_async(url, stream).await.ok().map(|(socket, _)| socket)
}

impl Caller {
    /// Joins, and is connected.
    pub async fn join(engine: SocketAddr, room: &str, identity: &str) -> Self {
        let caller = Self::call(engine, Call::new(room, identity)).await.unwrap();
        caller.until("is connected", |state| state.is_connected.then_some(())).await;
        caller
    }

    /// Joins, if it is let in.
    pub async fn call(engine: SocketAddr, call: Call) -> Option<Self> {
        let Call { identity, room, kind, rtc, address, wishes, has_two } = call;
        let socket = Arc::new(UdpSocket::bind(address).await.unwrap());
        let address = socket.local_addr().unwrap();
        let mut rtc = Box::new(rtc.build(Instant::now()));
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let (says, said) = mpsc::unbounded_channel();
        let mut state = State::new(rtc, socket.clone(), address, says);
        let token = ticket(&room, &identity, kind);
        if has_two {
            let signals = dial_path(engine, &format!("/rtc?access_token={token}&protocol=15&auto_subscribe=1")).await?;
            return Some(Self::carried(identity, state, (signals, said), socket));
        }
        let mut request = proto::JoinRequest {
            client_info: Some(proto::ClientInfo { protocol: 17, ..Default::default() }),
            connection_settings: Some(proto::ConnectionSettings { auto_subscribe: true, ..Default::default() }),
            publisher_offer: Some(state.offer()),
            ..proto::JoinRequest::default()
        };
        wishes(&mut request);
        let signals = dial(engine, &token, &packed(&request)).await?;
        Some(Self::carried(identity, state, (signals, said), socket))
    }

    fn carried(
        identity: String,
        state: State,
        signalling: (WebSocketStream<TcpStream>, mpsc::UnboundedReceiver<Message>),
        socket: Arc<UdpSocket>,
    ) -> Self {
        let state = Arc::new(Mutex::new(state));
        let (news, work) = (Arc::<Notify>::default(), Arc::<Notify>::default());
        let carried = carry(state.clone(), signalling, socket, news.clone(), work.clone());
        Self { identity, state, news, work, task: tokio::spawn(carried) }
    }

    /// Does something with it, and sends what comes of that.
    pub fn act<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let done = work(&mut self.state.lock().unwrap());
        self.work.notify_one();
        done
    }

    /// Waits until something is so.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let wait = async {
            loop {
                let news = self.news.notified();
                if let Some(found) = look(&mut self.state.lock().unwrap()) {
                    return found;
                }
                news.await;
            }
        };
        let found = timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("{} never {what}: {}", self.identity, self.state.lock().unwrap().describe()))
    }

    pub fn say(&self, message: Ask) {
        self.act(|state| state.say(message));
    }

    /// Publishes a track, is sending it when this returns, and gives its `sid`.
    pub async fn publish(&self, kind: MediaKind) -> String {
        let number = self.act(|state| {
            state.cids += 1;
            state.cids
        });
        let cid = format!("track {number}");
        self.act(|state| state.publish(kind, &cid));
        let sid = |told: &Told| match told {
            Told::TrackPublished(published) if published.cid == cid => Some(published.track.clone()?.sid),
            _ => None,
        };
        let published = |state: &mut State| state.heard.iter().find_map(sid).filter(|_| state.is_sending(&cid));
        let sid = self.until("publishes", published).await;
        self.act(|state| state.is_talking = true);
        sid
    }

    /// Publishes a track no longer. The next one of its kind is sent in its section.
    pub async fn unpublish(&self, sid: &str) {
        let cid = |told: &Told| match told {
            Told::TrackPublished(published) if published.track.as_ref().is_some_and(|track| track.sid == sid) => {
                Some(published.cid.clone())
            }
            _ => None,
        };
        let cid = self.act(|state| state.heard.iter().find_map(cid)).unwrap();
        self.act(|state| state.unpublish(&cid));
        self.until("unpublishes", |state| (!state.is_sending(&cid) && state.pending.is_none()).then_some(())).await;
    }

    /// Waits until it is sent a track no longer.
    pub async fn loses(&self, sid: &str) {
        self.until("is sent a track no longer", |state| state.section(sid).is_none().then_some(())).await;
    }

    pub fn send(&self, text: &str, reliable: bool) {
        let user = proto::UserPacket { payload: text.as_bytes().to_vec(), ..Default::default() };
        let value = Some(proto::data_packet::Value::User(user));
        let packet = proto::DataPacket { value, ..Default::default() };
        self.act(|state| state.write(&packet.encode_to_vec(), reliable));
    }

    /// Waits until its data channels are open.
    pub async fn has_channels(&self) {
        self.until("has data channels", |state| (state.channels.len() == 2).then_some(())).await;
    }

    /// Waits for a message.
    pub async fn receives(&self, text: &str) {
        let is_it = |packet: &proto::DataPacket| match &packet.value {
            Some(proto::data_packet::Value::User(user)) => user.payload == text.as_bytes(),
            _ => false,
        };
        self.until("receives its message", |state| state.mail.iter().any(is_it).then_some(())).await;
    }

    /// Waits until more of those tracks has come.
    pub async fn sees(&self, sids: &[String]) {
        let before = self.act(|state| state.packets.clone());
        let is_more = |state: &State, mid: Mid| {
            state.packets.get(&mid).copied().unwrap_or_default() > before.get(&mid).copied().unwrap_or_default() + 2
        };
        for sid in sids {
            let look = |state: &mut State| state.section(sid).filter(|mid| is_more(state, *mid));
            self.until("sees the others", look).await;
        }
    }

    /// Waits until the engine has ended its connection.
    pub async fn is_gone(&self) {
        self.until("is let go", |state| state.is_closed.then_some(())).await;
    }

    /// Says good-bye, and is gone.
    pub async fn leave(self) {
        self.say(Ask::Leave(proto::LeaveRequest::default()));
        self.is_gone().await;
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries a caller until it is dropped.
async fn carry(
    state: Arc<Mutex<State>>,
    (signals, mut said): (WebSocketStream<TcpStream>, mpsc::UnboundedReceiver<Message>),
    socket: Arc<UdpSocket>,
    news: Arc<Notify>,
    work: Arc<Notify>,
) {
    let (mut says, mut hears) = signals.split();
    let writes = async {
        while let Some(message) = said.recv().await {
            if says.send(message).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let carries = async {
        let mut buffer = vec![0; 4096];
        let mut tick = interval(PACKET);
        loop {
            let (deadline, hears_all) = {
                let mut state = state.lock().unwrap();
                state.drain();
                (state.deadline, !state.is_deaf && !state.is_closed)
            };
            news.notify_waiters();
            tokio::select! {
                message = hears.next(), if hears_all => state.lock().unwrap().hear(message.and_then(Result::ok)),
                received = socket.recv_from(&mut buffer) => {
                    if let Ok((length, source)) = received {
                        state.lock().unwrap().receive(source, &buffer[..length]);
                    }
                }
                _ = tick.tick() => state.lock().unwrap().talk(),
                () = sleep_until(deadline.into()) => state.lock().unwrap().pass_time(),
                () = work.notified() => (),
            }
        }
    };
    tokio::join!(writes, carries);
}

impl State {
    fn new(rtc: Box<Rtc>, socket: Arc<UdpSocket>, address: SocketAddr, says: mpsc::UnboundedSender<Message>) -> Self {
        Self {
            rtc,
            socket,
            address,
            media: None,
            answer: String::new(),
            offer: String::new(),
            deadline: Instant::now(),
            says,
            heard: Vec::new(),
            pending: None,
            due: (3, 3),
            unsent: Vec::new(),
            unpublished: Vec::new(),
            is_asked: false,
            placeholders: Vec::new(),
            idle: Vec::new(),
            sent: Vec::new(),
            cids: 0,
            is_talking: false,
            keyframe_requests: HashMap::new(),
            packets: HashMap::new(),
            arrivals: HashMap::new(),
            sources: HashMap::new(),
            numbers: HashMap::new(),
            extensions: HashMap::new(),
            tracks: HashMap::new(),
            answers: None,
            channels: HashMap::new(),
            mail: Vec::new(),
            is_connected: false,
            is_closed: false,
            is_deaf: false,
            is_forgetful: false,
            tamper: None,
            reads: Box::new(|_| true),
        }
    }

    fn describe(&self) -> String {
        let Self { is_connected, is_closed, packets, tracks, channels, .. } = self;
        let heard = self.heard.iter().map(|told| format!("{told:?}").chars().take(60).collect::<String>());
        let heard: Vec<_> = heard.collect();
        format!("{:?}", (is_connected, is_closed, packets, tracks, channels, heard))
    }

    pub fn say(&mut self, message: Ask) {
        let bytes = proto::SignalRequest { message: Some(message) }.encode_to_vec();
        self.say_raw(Message::binary(bytes));
    }

    pub fn say_raw(&mut self, message: Message) {
        // Who is gone hears nothing.
        let _ = self.says.send(message);
    }

    /// An offer with all that is due.
    pub fn offer(&mut self) -> proto::SessionDescription {
        let is_first = self.placeholders.is_empty();
        let mut reused = Vec::new();
        for (kind, cid) in std::mem::take(&mut self.unsent) {
            match self.idle.iter().position(|(_, idle)| *idle == kind) {
                Some(index) => reused.push((self.idle.swap_remove(index).0, kind, cid)),
                None => self.unsent.push((kind, cid)),
            }
        }
        for (mid, kind, _) in &reused {
            self.renew_stream(*mid, *kind);
        }
        let mut changes = self.rtc.sdp_api();
        for (mid, kind, cid) in reused {
            changes.set_direction(mid, Direction::SendOnly);
            self.sent.push(Sent { cid, mid, kind, next: 1 });
        }
        for (mid, kind) in self.unpublished.drain(..) {
            changes.set_direction(mid, Direction::Inactive);
            self.idle.push((mid, kind));
        }
        // The engine answers that nothing is sent there yet.
        for mid in &self.placeholders {
            changes.set_direction(*mid, Direction::RecvOnly);
        }
        let (audios, videos) = std::mem::take(&mut self.due);
        for (kind, count) in [(MediaKind::Audio, audios), (MediaKind::Video, videos)] {
            for _ in 0..count {
                self.placeholders.push(changes.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        for (kind, cid) in self.unsent.drain(..) {
            let names = (Some("mine".to_owned()), Some(cid.clone()));
            let mid = changes.add_media(kind, Direction::SendOnly, names.0, names.1, None);
            self.sent.push(Sent { cid, mid, kind, next: 1 });
        }
        if is_first {
            changes.add_channel("_reliable".to_owned());
            let reliability = Reliability::MaxRetransmits { retransmits: 0 };
            let lossy = ChannelConfig { label: "_lossy".to_owned(), ordered: false, reliability, ..Default::default() };
            changes.add_channel_with_config(lossy);
        }
        if std::mem::take(&mut self.is_asked) && !changes.has_changes() {
            // str0m offers only what has changed.
            changes.set_direction(self.placeholders[0], Direction::Inactive);
            changes.set_direction(self.placeholders[0], Direction::RecvOnly);
        }
        let (offer, pending) = changes.apply().unwrap();
        self.pending = Some(pending);
        proto::SessionDescription { r#type: "offer".to_owned(), sdp: offer.to_sdp_string(), ..Default::default() }
    }

    /// Offers what is due, unless an answer is.
    fn negotiate(&mut self) {
        let has_changes = self.due != (0, 0) || !self.unsent.is_empty() || !self.unpublished.is_empty();
        if self.pending.is_none() && (has_changes || self.is_asked) {
            let offer = self.offer();
            self.say(Ask::Offer(offer));
        }
    }

    /// Begins to publish a track of that name.
    fn publish(&mut self, kind: MediaKind, cid: &str) {
        let (r#type, source) = match kind {
            MediaKind::Audio => (proto::TrackType::Audio, proto::TrackSource::Microphone),
            MediaKind::Video => (proto::TrackType::Video, proto::TrackSource::Camera),
        };
        self.say(Ask::AddTrack(proto::AddTrackRequest {
            cid: cid.to_owned(),
            r#type: r#type.into(),
            source: source.into(),
            ..Default::default()
        }));
        self.unsent.push((kind, cid.to_owned()));
        self.negotiate();
    }

    /// Gives a section that was used before another source.
    fn renew_stream(&mut self, mid: Mid, kind: MediaKind) {
        let mut direct = self.rtc.direct_api();
        if let Some(before) = direct.stream_tx_by_mid(mid, None).map(|stream| stream.ssrc()) {
            direct.remove_stream_tx(before);
        }
        let ssrc = direct.new_ssrc();
        let rtx = (kind == MediaKind::Video).then(|| direct.new_ssrc());
        direct.declare_stream_tx(ssrc, rtx, mid, None);
    }

    fn is_sending(&self, cid: &str) -> bool {
        let sent = self.sent.iter().find(|sent| sent.cid == cid);
        sent.and_then(|sent| self.rtc.media(sent.mid)).is_some_and(|media| media.direction().is_sending())
    }

    fn unpublish(&mut self, cid: &str) {
        let index = self.sent.iter().position(|sent| sent.cid == cid).unwrap();
        let Sent { mid, kind, .. } = self.sent.remove(index);
        self.unpublished.push((mid, kind));
        self.negotiate();
    }

    /// The section that a track comes by.
    pub fn section(&self, sid: &str) -> Option<Mid> {
        self.tracks.iter().find(|(_, track)| *track == sid).map(|(mid, _)| Mid::from(mid.as_str()))
    }

    /// The payload type of a kind of media.
    pub fn payload_type(&self, mid: Mid, kind: MediaKind) -> Option<Pt> {
        let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
        let offered = self.rtc.media(mid)?.remote_pts();
        let mut params = self.rtc.codec_config().iter();
        params.find(|params| params.spec().codec == codec && offered.contains(&params.pt())).map(PayloadParams::pt)
    }

    /// Sends a packet of each track, unless they are still.
    fn talk(&mut self) {
        for index in 0..if self.is_talking { self.sent.len() } else { 0 } {
            self.send_packet(index);
        }
    }

    /// Sends a packet of a track; if that is video, a keyframe.
    pub fn send_packet(&mut self, index: usize) {
        let Sent { mid, kind, next, .. } = self.sent[index];
        let Some(pt) = self.payload_type(mid, kind) else { return };
        let (payload, ticks) = match kind {
            MediaKind::Audio => (SILENCE.to_vec(), 960),
            MediaKind::Video => (KEYFRAME.to_vec(), 1800),
        };
        let time = u32::try_from(next * ticks % (1 << 32)).unwrap();
        self.write_rtp(mid, RtpWrite::new(pt, next.into(), time, Instant::now(), payload).marker(true));
        self.sent[index].next += 1;
    }

    /// Requests a keyframe of what is received in a section.
    pub fn request_keyframe(&mut self, mid: Mid) {
        if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None) {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
        self.drain();
    }

    pub fn write_rtp(&mut self, mid: Mid, write: RtpWrite) {
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            stream.write_rtp(write);
        }
        self.drain();
    }

    pub fn write(&mut self, bytes: &[u8], reliable: bool) -> bool {
        let channel = self.channels.iter().find(|(_, kind)| **kind == reliable).map(|(id, _)| *id);
        let channel = channel.and_then(|id| self.rtc.channel(id));
        let is_taken = channel.is_some_and(|mut channel| channel.write(true, bytes).unwrap_or(false));
        self.drain();
        is_taken
    }

    /// Sends a datagram as it is.
    pub fn send_raw(&self, bytes: &[u8]) {
        if let Some(media) = self.media {
            // As good as lost on the way.
            let _ = self.socket.try_send_to(bytes, media);
        }
    }

    fn hear(&mut self, message: Option<Message>) {
        let Some(message) = message else {
            self.is_closed = true;
            return;
        };
        let response = match message {
            Message::Binary(bytes) => proto::SignalResponse::decode(bytes).unwrap(),
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            Message::Close(_) => return self.is_closed = true,
            _ => return,
        };
        match response.message.unwrap() {
            Told::Answer(answer) => self.take_answer(answer),
            Told::Offer(offer) => self.take_offer(&offer),
            Told::MediaSectionsRequirement(required) => {
                self.due.0 += required.num_audios;
                self.due.1 += required.num_videos;
                self.is_asked = true;
                self.negotiate();
            }
            told if self.is_forgetful && !matches!(told, Told::PongResp(_)) => (),
            told => self.heard.push(told),
        }
    }

    fn take_answer(&mut self, answer: proto::SessionDescription) {
        let Some(pending) = self.pending.take() else { return };
        self.answer.clone_from(&answer.sdp);
        let sdp = SdpAnswer::from_sdp_string(&self.nearest(&answer.sdp)).unwrap();
        match self.rtc.sdp_api().accept_answer(pending, sdp) {
            Ok(()) => self.tracks.clone_from(&answer.mid_to_track_id),
            Err(error) => panic!("{error}: {}", answer.sdp),
        }
        // str0m keeps a source that is not announced any more.
        let tracks = &self.tracks;
        for (_, ssrc) in self.sources.extract_if(|mid, _| !tracks.contains_key(&*mid.to_string())) {
            self.rtc.direct_api().remove_stream_rx(ssrc);
        }
        if let Some(answers) = &mut self.answers {
            answers.push(answer);
        }
        self.negotiate();
    }

    fn take_offer(&mut self, offer: &proto::SessionDescription) {
        self.offer.clone_from(&offer.sdp);
        self.tracks.clone_from(&offer.mid_to_track_id);
        let sdp = SdpOffer::from_sdp_string(&self.nearest(&offer.sdp)).unwrap();
        let sdp = self.rtc.sdp_api().accept_offer(sdp).unwrap().to_sdp_string();
        self.say(Ask::Answer(proto::SessionDescription {
            r#type: "answer".to_owned(),
            sdp,
            id: offer.id,
            ..Default::default()
        }));
    }

    /// The engine's description with its candidates on the caller's address alone, so that nothing leaves the machine. Its port is
    /// where the engine takes media.
    fn nearest(&mut self, sdp: &str) -> String {
        let is_candidate = |line: &str| line.starts_with("a=candidate:");
        let own = format!(" {} ", self.address.ip());
        let is_here = |line: &str| line.contains(" udp ") && line.contains(&own);
        let here = sdp.lines().find(|line| is_candidate(line) && is_here(line));
        let port = here.and_then(|here| here.split(' ').nth(5)?.parse().ok());
        self.media = port.map(|port| (self.address.ip(), port).into());
        sdp.split_inclusive('\n').filter(|line| !is_candidate(line) || is_here(line)).collect()
    }

    fn receive(&mut self, source: SocketAddr, bytes: &[u8]) {
        if !(self.reads)(bytes) {
            return;
        }
        let Ok(contents) = bytes.try_into() else { return };
        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
    }

    fn pass_time(&mut self) {
        let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => return self.deadline = deadline,
                Ok(Output::Transmit(transmit)) => {
                    let bytes = transmit.contents.to_vec();
                    let sent = self.tamper.as_mut().map_or_else(|| vec![bytes.clone()], |tamper| tamper(&bytes));
                    for bytes in sent {
                        let _ = self.socket.try_send_to(&bytes, transmit.destination);
                    }
                }
                Ok(Output::Event(event)) => self.note(event),
                // It does nothing more.
                Err(_) => return self.deadline = Instant::now() + PATIENCE,
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::ChannelOpen(id, label) => drop(self.channels.insert(id, label == "_reliable")),
            Event::ChannelData(data) => self.mail.push(proto::DataPacket::decode(&*data.data).unwrap()),
            Event::KeyframeRequest(request) => *self.keyframe_requests.entry(request.mid).or_default() += 1,
            Event::RtpPacket(packet) => {
                let mid = self.rtc.direct_api().stream_rx(&packet.header.ssrc).map(|stream| stream.mid());
                if let Some(mid) = mid {
                    *self.arrivals.entry(mid).or_default() += 1;
                    self.sources.insert(mid, packet.header.ssrc);
                }
                if let Some(mid) = mid.filter(|_| !packet.payload.is_empty()) {
                    *self.packets.entry(mid).or_default() += 1;
                    let number = *packet.seq_no;
                    let (_, last) = self.numbers.entry(mid).or_insert((number, number));
                    *last = number.max(*last);
                    self.extensions.insert(mid, packet.header.ext_vals);
                }
            }
            _ => (),
        }
    }
}
