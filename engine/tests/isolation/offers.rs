//! Offers that no browser creates: recorded ones with lines removed, duplicated, moved, truncated and merged, and very long
//! ones.

use std::time::Instant;

use arbitrary::{Result, Unstructured};
use livekit_protocol::SessionDescription;
use livekit_protocol::signal_request::Message as Request;
use prost::Message as _;

use crate::attackers::{self, BUDGET, Stream, ordinary_token};
use crate::client::{connect_signalling, encode_join_request, participant_token};
use crate::requests::MAX_SIGNAL_BYTES;
use crate::signal_socket::{self, signal};
use crate::support::compress_join_request;
use crate::{Fixture, ROOM, generate, wait_until_processed};

const RECORDED: [&str; 5] = [
    include_str!("../offers/chromium/1-join.offer.sdp"),
    include_str!("../offers/chromium/2-publish.offer.sdp"),
    include_str!("../offers/firefox/2-publish.offer.sdp"),
    include_str!("../offers/firefox/4-share-again.offer.sdp"),
    include_str!("../offers/chromium/publisher-vp9.offer.sdp"),
];

/// Candidates that fit into one section below the limit on its lines.
const CANDIDATES_PER_SECTION: usize = 370;

fn offer(sdp: String) -> SessionDescription {
    SessionDescription { r#type: "offer".to_owned(), sdp, ..SessionDescription::default() }
}

fn recorded(source: &mut Unstructured<'_>) -> Result<Vec<String>> {
    Ok(source.choose(&RECORDED)?.lines().map(|line| format!("{line}\r\n")).collect())
}

fn damaged(source: &mut Unstructured<'_>) -> Result<String> {
    let mut lines = recorded(source)?;
    for _ in 0..source.int_in_range(0..=12)? {
        let (at, other) = (source.choose_index(lines.len())?, source.choose_index(lines.len())?);
        match source.int_in_range(0..=6)? {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(other, lines[at].clone()),
            2 => lines.swap(at, other),
            3 => {
                let length = source.int_in_range(0..=lines[at].len())?;
                lines[at].truncate(length);
            }
            4 => lines[at] = lines[at].replacen(' ', "\r", 1),
            5 => lines[at] = lines[at].replace(char::is_numeric, "9"),
            _ => lines.insert(other, format!("{}\r\n", crate::generators::text(source)?)),
        }
    }
    Ok(lines.concat())
}

#[tokio::test]
async fn damaged_offers_do_not_affect_others() {
    let fixture = Fixture::start().await;
    let mut accepted = 0;
    for batch in 0..4 {
        for number in 0..60 {
            let case = batch * 60 + number;
            let Some(sdp) = generate(case, damaged) else { continue };
            // Half of the offers are part of a join request. The others follow a completed negotiation.
            if case % 2 == 0 {
                let join = encode_join_request(&livekit_protocol::JoinRequest {
                    publisher_offer: Some(offer(sdp)),
                    ..livekit_protocol::JoinRequest::default()
                });
                accepted += usize::from(
                    connect_signalling(fixture.address(), &participant_token(ROOM, "attacker", "standard"), &join)
                        .await
                        .is_some(),
                );
            } else if let Some(attacker) = fixture.attacker(|_| ()).await {
                attacker.send_request(Request::Offer(offer(sdp)));
                wait_until_processed(&attacker, case).await;
            }
        }
        fixture.check().await;
    }
    assert!(accepted > 60, "only {accepted} offers were accepted");
}

/// A recorded offer with additional candidates.
fn offer_of_candidates(candidates: usize) -> String {
    let candidate = |number: usize| {
        let [_, high, middle, low] = u32::try_from(number).unwrap().to_be_bytes();
        format!("a=candidate:{number} 1 udp 1 127.{high}.{middle}.{low} 9 typ host\r\n")
    };
    // Spread over sections because the lines of each are limited.
    let base = base_offer();
    let (_, rest) = base.split_once("m=audio").unwrap();
    let (audio, _) = rest.split_once("m=").unwrap();
    let more = (0..candidates.div_ceil(CANDIDATES_PER_SECTION)).map(|index| {
        let first = index * CANDIDATES_PER_SECTION;
        let candidates = (first..candidates.min(first + CANDIDATES_PER_SECTION)).map(candidate).collect::<String>();
        format!("m=audio{}{candidates}", audio.replace("a=mid:0", &format!("a=mid:x{index}")))
    });
    base.clone() + &more.collect::<String>()
}

/// A recorded offer with the line ends of SDP.
fn base_offer() -> String {
    RECORDED[0].replace('\n', "\r\n")
}

/// An additional video section, as recorded.
fn section(number: usize) -> String {
    let base = base_offer();
    let (_, rest) = base.split_once("m=video").unwrap();
    let (section, _) = rest.split_once("m=").unwrap();
    format!("m=video{}", section.replace("a=mid:3", &format!("a=mid:x{number}")))
}

/// A minimal section, so that the maximum number of them fits into a join request.
fn small_section(number: usize) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:x{number}\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\n"
    )
}

/// Offers that could block the media thread if they were parsed in full.
fn long_offers() -> Vec<(&'static str, String)> {
    let source = |ssrc: u32| format!("a=ssrc:{ssrc} cname:x\r\n");
    let offers = vec![
        ("390 candidates", offer_of_candidates(390)),
        ("5,850 candidates", offer_of_candidates(5850)),
        ("23,400 candidates", offer_of_candidates(23_400)),
        ("36,000 candidates", offer_of_candidates(36_000)),
        ("400 sections", base_offer() + &(0..400).map(section).collect::<String>()),
        ("extensions", base_offer() + &"a=extmap:1 urn:x\r\n".repeat(100_000)),
        ("sources", base_offer() + &(0..50_000).map(source).collect::<String>()),
        ("one line", format!("{}a=fmtp:96 {}\r\n", base_offer(), "x=1;".repeat(500_000))),
    ];
    assert!(offers.iter().all(|(_, sdp)| sdp.len() < MAX_SIGNAL_BYTES), "an offer exceeds the limit of a message");
    offers
}

#[tokio::test]
async fn a_long_offer_does_not_delay_others() {
    let fixture = Fixture::start().await;
    for (number, (what, sdp)) in long_offers().into_iter().enumerate() {
        let attack = async || {
            let attacker = fixture.attacker(|_| ()).await.unwrap();
            attacker.send_request(Request::Offer(offer(sdp.clone())));
            wait_until_processed(&attacker, number).await;
        };
        fixture.assert_withstands(&format!("an offer of {what}"), 2 * BUDGET, attack).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn repeated_long_offers_do_not_delay_others() {
    let fixture = Fixture::start().await;
    for (what, sdp) in long_offers() {
        let stream = Stream::of(signal(Request::Offer(offer(sdp))));
        let attack = async || fixture.flood(2, ordinary_token, Vec::new(), stream.clone()).await;
        fixture.assert_withstands(&format!("offers of {what}"), 2 * BUDGET, attack).await;
    }
    fixture.check().await;
}

#[tokio::test]
async fn join_requests_with_long_offers_do_not_delay_others() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let sections = base_offer() + &(0..990).map(small_section).collect::<String>();
    for (what, sdp) in [("5,850 candidates", offer_of_candidates(5850)), ("990 sections", sections)] {
        let request = livekit_protocol::JoinRequest { publisher_offer: Some(offer(sdp)), ..Default::default() };
        let join_request = compress_join_request(&request.encode_to_vec());
        println!("{what}: {} bytes", join_request.len());
        let attacker = move |number, end| {
            let join =
                signal_socket::join_request("/rtc/v1", &ordinary_token(&format!("attacker {number}")), &join_request);
            while Instant::now() < end {
                attackers::request_status(engine, &join);
            }
        };
        let attack = async || attackers::run(4, attacker.clone()).await;
        fixture.assert_withstands(&format!("joins with {what}"), 2 * BUDGET, attack).await;
    }
    fixture.check().await;
}
