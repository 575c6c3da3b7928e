//! Recycling of media sections. A browser adds a section for each published track unless it can recycle one that the answer
//! has rejected (RFC 8829, section 5.2.2).

use std::collections::HashSet;

use futures_util::{SinkExt as _, StreamExt as _};
use livekit_protocol as proto;
use prost::Message as _;
use proto::client_info::Sdk;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::ROOM;
use crate::client::{connect_signalling, encode_join_request, participant_token};
use crate::support::{TIMEOUT, start};

const ROUNDS: usize = 60;
/// Sections that the engine never rejects: the first one, eight unused ones, and a used one.
const MAX_SECTIONS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SectionUse {
    Sending,
    Unused,
    Rejected,
}

/// The signalling of a browser and the audio sections of its peer connection.
struct Browser {
    socket: WebSocketStream<TcpStream>,
    sections: Vec<(usize, SectionUse)>,
    next_mid: usize,
}

impl Browser {
    async fn join(engine: std::net::SocketAddr, sdk: Sdk) -> Self {
        let client_info = proto::ClientInfo { protocol: 17, sdk: sdk.into(), ..Default::default() };
        let request = proto::JoinRequest { client_info: Some(client_info), ..Default::default() };
        let socket =
            connect_signalling(engine, &participant_token(ROOM, "ann", "standard"), &encode_join_request(&request))
                .await
                .unwrap();
        Self { socket, sections: Vec::new(), next_mid: 0 }
    }

    async fn send_request(&mut self, request: Request) {
        let bytes = proto::SignalRequest { message: Some(request) }.encode_to_vec();
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    /// Reads responses until `find` returns a value.
    async fn receive<T>(&mut self, mut find: impl FnMut(Response) -> Option<T>) -> T {
        let receive = async {
            loop {
                let Message::Binary(bytes) = self.socket.next().await.unwrap().unwrap() else { continue };
                let message = proto::SignalResponse::decode(bytes).unwrap().message.unwrap();
                if let Some(found) = find(message) {
                    return found;
                }
            }
        };
        timeout(TIMEOUT, receive).await.unwrap()
    }

    fn offer(&self) -> String {
        let section = |(mid, usage): &(usize, SectionUse)| {
            let (port, direction) = match usage {
                SectionUse::Sending => (9, "sendonly"),
                SectionUse::Unused => (9, "inactive"),
                SectionUse::Rejected => (0, "inactive"),
            };
            format!(
                "m=audio {port} UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:vfop\r\n\
                 a=ice-pwd:UuxYFofVvkleKhuLDbusFGiz\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:{mid}\r\n\
                 a={direction}\r\na=msid:mine track{mid}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n",
                ["AB"; 32].join(":")
            )
        };
        let bundle =
            self.sections.iter().filter(|(_, usage)| *usage != SectionUse::Rejected).map(|(mid, _)| mid.to_string());
        let bundle = bundle.collect::<Vec<_>>().join(" ");
        let head = format!("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {bundle}\r\n");
        head + &self.sections.iter().map(section).collect::<String>()
    }

    /// Offers all sections and applies the answer. Returns the answer.
    async fn negotiate(&mut self) -> String {
        let sdp = self.offer();
        self.send_request(Request::Offer(proto::SessionDescription {
            r#type: "offer".to_owned(),
            sdp,
            ..Default::default()
        }))
        .await;
        let answer = |response: Response| match response {
            Response::Answer(answer) => Some(answer.sdp),
            Response::Leave(leave) => panic!("{leave:?}"),
            _ => None,
        };
        let answer = self.receive(answer).await;
        let ports: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("m=audio ")).collect();
        assert_eq!(ports.len(), self.sections.len());
        for ((mid, usage), port) in self.sections.iter_mut().zip(ports) {
            if port.starts_with("0 ") {
                assert_ne!(*usage, SectionUse::Sending, "section {mid} was rejected while in use");
                *usage = SectionUse::Rejected;
            } else {
                assert_ne!(*usage, SectionUse::Rejected, "rejected section {mid} was accepted again");
            }
        }
        answer
    }

    /// Publishes a track. Returns its `sid`.
    async fn publish(&mut self) -> String {
        let mid = self.next_mid;
        self.next_mid += 1;
        match self.sections.iter_mut().find(|(_, usage)| *usage == SectionUse::Rejected) {
            Some(section) => *section = (mid, SectionUse::Sending),
            None => self.sections.push((mid, SectionUse::Sending)),
        }
        let cid = format!("track{mid}");
        self.send_request(Request::AddTrack(proto::AddTrackRequest { cid, ..Default::default() })).await;
        let sid = |response: Response| match response {
            Response::TrackPublished(published) => Some(published.track.unwrap().sid),
            _ => None,
        };
        let sid = self.receive(sid).await;
        let answer = self.negotiate().await;
        let section = answer.split("\nm=").find(|section| section.contains(&format!("a=mid:{mid}\r"))).unwrap();
        assert!(section.contains("a=recvonly"), "{section}");
        sid
    }

    async fn unpublish(&mut self) {
        for (_, usage) in self.sections.iter_mut().filter(|(_, usage)| *usage == SectionUse::Sending) {
            *usage = SectionUse::Unused;
        }
        self.negotiate().await;
    }
}

#[tokio::test]
async fn repeated_publishing_by_a_browser_does_not_grow_the_offer() {
    let engine = start();
    let mut browser = Browser::join(engine.address(), Sdk::Js).await;
    let mut sids = HashSet::new();
    for _ in 0..ROUNDS {
        sids.insert(browser.publish().await);
        browser.unpublish().await;
    }
    assert_eq!(sids.len(), ROUNDS);
    assert!(browser.sections.len() <= MAX_SECTIONS, "{}", browser.sections.len());
    assert_eq!(browser.sections[0], (0, SectionUse::Unused), "the first section was rejected");
}

#[tokio::test]
async fn keeps_the_unused_sections_of_a_client_that_reuses_them() {
    let engine = start();
    let mut browser = Browser::join(engine.address(), Sdk::Go).await;
    for _ in 0..2 * MAX_SECTIONS {
        browser.publish().await;
        browser.unpublish().await;
    }
    assert!(browser.sections.iter().all(|(_, usage)| *usage == SectionUse::Unused));
}
