//! A browser adds a section for each track that it publishes, unless the answer has rejected one that it can put the track in
//! the place of (RFC 8829, section 5.2.2).

use std::collections::HashSet;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::client_info::Sdk;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::ROOM;
use crate::caller::{dial, packed, ticket};
use crate::support::{PATIENCE, start};

const ROUNDS: usize = 60;
/// The sections of a browser that are never rejected: its first one, eight that are unused, and one that is used.
const MAX_SECTIONS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Sends,
    Unused,
    Rejected,
}

/// The signalling of a browser, and the sections of its only connection.
struct Browser {
    socket: WebSocketStream<TcpStream>,
    sections: Vec<(usize, Use)>,
    mids: usize,
}

impl Browser {
    async fn join(engine: std::net::SocketAddr, sdk: Sdk) -> Self {
        let client_info = proto::ClientInfo { protocol: 17, sdk: sdk.into(), ..Default::default() };
        let request = proto::JoinRequest { client_info: Some(client_info), ..Default::default() };
        let socket = dial(engine, &ticket(ROOM, "ann", "standard"), &packed(&request)).await.unwrap();
        Self { socket, sections: Vec::new(), mids: 0 }
    }

    async fn say(&mut self, message: Ask) {
        let bytes = proto::SignalRequest { message: Some(message) }.encode_to_vec();
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    async fn hear<T>(&mut self, mut look: impl FnMut(Told) -> Option<T>) -> T {
        let hears = async {
            loop {
                let Message::Binary(bytes) = self.socket.next().await.unwrap().unwrap() else { continue };
                let message = proto::SignalResponse::decode(bytes).unwrap().message.unwrap();
                if let Some(found) = look(message) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, hears).await.unwrap()
    }

    fn offer(&self) -> String {
        let section = |(mid, is): &(usize, Use)| {
            let (port, direction) = match is {
                Use::Sends => (9, "sendonly"),
                Use::Unused => (9, "inactive"),
                Use::Rejected => (0, "inactive"),
            };
            format!(
                "m=audio {port} UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:vfop\r\n\
                 a=ice-pwd:UuxYFofVvkleKhuLDbusFGiz\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
                 a={direction}\r\na=msid:mine track{mid}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n",
                ["AB"; 32].join(":")
            )
        };
        let bundle = self.sections.iter().filter(|(_, is)| *is != Use::Rejected).map(|(mid, _)| mid.to_string());
        let bundle = bundle.collect::<Vec<_>>().join(" ");
        let head = format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n");
        head + &self.sections.iter().map(section).collect::<String>()
    }

    /// Offers its sections, and follows the answer. Returns that.
    async fn negotiate(&mut self) -> String {
        let sdp = self.offer();
        self.say(Ask::Offer(proto::SessionDescription { r#type: "offer".to_owned(), sdp, ..Default::default() })).await;
        let answer = |told: Told| match told {
            Told::Answer(answer) => Some(answer.sdp),
            Told::Leave(leave) => panic!("{leave:?}"),
            _ => None,
        };
        let answer = self.hear(answer).await;
        let ports: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("m=audio ")).collect();
        assert_eq!(ports.len(), self.sections.len());
        for ((mid, is), port) in self.sections.iter_mut().zip(ports) {
            if port.starts_with("0 ") {
                assert_ne!(*is, Use::Sends, "{mid} is rejected");
                *is = Use::Rejected;
            } else {
                assert_ne!(*is, Use::Rejected, "{mid} was rejected before");
            }
        }
        answer
    }

    /// Publishes a track; returns its `sid`.
    async fn publish(&mut self) -> String {
        let mid = self.mids;
        self.mids += 1;
        match self.sections.iter_mut().find(|(_, is)| *is == Use::Rejected) {
            Some(section) => *section = (mid, Use::Sends),
            None => self.sections.push((mid, Use::Sends)),
        }
        let cid = format!("track{mid}");
        self.say(Ask::AddTrack(proto::AddTrackRequest { cid, ..Default::default() })).await;
        let sid = |told: Told| match told {
            Told::TrackPublished(published) => Some(published.track.unwrap().sid),
            _ => None,
        };
        let sid = self.hear(sid).await;
        let answer = self.negotiate().await;
        let section = answer.split("\nm=").find(|section| section.contains(&format!("a=mid:{mid}\r"))).unwrap();
        assert!(section.contains("a=recvonly"), "{section}");
        sid
    }

    async fn unpublish(&mut self) {
        for (_, is) in self.sections.iter_mut().filter(|(_, is)| *is == Use::Sends) {
            *is = Use::Unused;
        }
        self.negotiate().await;
    }
}

#[tokio::test]
async fn a_browser_that_publishes_again_and_again_grows_no_offer() {
    let engine = start();
    let mut browser = Browser::join(engine.address(), Sdk::Js).await;
    let mut sids = HashSet::new();
    for _ in 0..ROUNDS {
        sids.insert(browser.publish().await);
        browser.unpublish().await;
    }
    assert_eq!(sids.len(), ROUNDS);
    assert!(browser.sections.len() <= MAX_SECTIONS, "{}", browser.sections.len());
    assert_eq!(browser.sections[0], (0, Use::Unused), "the first section stays");
}

#[tokio::test]
async fn unused_sections_of_a_client_that_publishes_on_them_again_are_not_rejected() {
    let engine = start();
    let mut browser = Browser::join(engine.address(), Sdk::Go).await;
    for _ in 0..2 * MAX_SECTIONS {
        browser.publish().await;
        browser.unpublish().await;
    }
    assert!(browser.sections.iter().all(|(_, is)| *is == Use::Unused));
}
