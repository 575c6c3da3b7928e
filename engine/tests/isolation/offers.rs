//! Offers that no browser makes: recorded ones with lines lost, doubled, moved, cut and joined, and ones that never end.

use std::time::Instant;

use arbitrary::{Result, Unstructured};
use livekit_protocol::SessionDescription;
use livekit_protocol::signal_request::Message as Ask;
use prost::Message as _;

use crate::attack::{self, BUDGET, Stream, ordinary_token};
use crate::caller::{dial, packed, ticket};
use crate::requests::zipped;
use crate::wire::{self, signal};
use crate::{MIB, Party, ROOM, is_dealt_with, made};

const RECORDED: [&str; 5] = [
    include_str!("../offers/chromium/1-join.offer.sdp"),
    include_str!("../offers/chromium/2-publish.offer.sdp"),
    include_str!("../offers/firefox/2-publish.offer.sdp"),
    include_str!("../offers/firefox/4-share-again.offer.sdp"),
    include_str!("../offers/chromium/publisher-vp9.offer.sdp"),
];

/// What is allowed in a section beside its other lines.
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
async fn whatever_an_enemy_offers_the_others_go_on() {
    let party = Party::start().await;
    let mut answered = 0;
    for batch in 0..4 {
        for number in 0..60 {
            let case = batch * 60 + number;
            let Some(sdp) = made(case, damaged) else { continue };
            // Half of them on top of what was agreed before.
            if case % 2 == 0 {
                let join = packed(&livekit_protocol::JoinRequest {
                    publisher_offer: Some(offer(sdp)),
                    ..livekit_protocol::JoinRequest::default()
                });
                answered +=
                    usize::from(dial(party.address(), &ticket(ROOM, "enemy", "standard"), &join).await.is_some());
            } else if let Some(enemy) = party.enemy(|_| ()).await {
                enemy.say(Ask::Offer(offer(sdp)));
                is_dealt_with(&enemy, case).await;
            }
        }
        party.check().await;
    }
    assert!(answered > 60, "{answered}");
}

/// A recorded offer with so many more candidates.
fn offer_of_candidates(candidates: usize) -> String {
    let candidate = |number: usize| {
        let [_, high, middle, low] = u32::try_from(number).unwrap().to_be_bytes();
        format!("a=candidate:{number} 1 udp 1 127.{high}.{middle}.{low} 9 typ host\r\n")
    };
    // Spread over sections, because the lines of each are counted.
    let start = start();
    let (_, rest) = start.split_once("m=audio").unwrap();
    let (audio, _) = rest.split_once("m=").unwrap();
    let more = (0..candidates.div_ceil(CANDIDATES_PER_SECTION)).map(|index| {
        let first = index * CANDIDATES_PER_SECTION;
        let candidates = (first..candidates.min(first + CANDIDATES_PER_SECTION)).map(candidate).collect::<String>();
        format!("m=audio{}{candidates}", audio.replace("a=mid:0", &format!("a=mid:x{index}")))
    });
    start.clone() + &more.collect::<String>()
}

fn start() -> String {
    RECORDED[0].replace('\n', "\r\n")
}

/// One more section of video.
fn section(number: usize) -> String {
    let start = start();
    let (_, rest) = start.split_once("m=video").unwrap();
    let (section, _) = rest.split_once("m=").unwrap();
    format!("m=video{}", section.replace("a=mid:3", &format!("a=mid:x{number}")))
}

/// As many of them as are allowed fit into a join request.
fn small_section(number: usize) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:x{number}\r\na=recvonly\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\n"
    )
}

/// Offers that the others would wait for while the engine looks at them.
fn endless_offers() -> Vec<(&'static str, String)> {
    let source = |ssrc: u32| format!("a=ssrc:{ssrc} cname:x\r\n");
    vec![
        ("390 candidates", offer_of_candidates(390)),
        ("5,850 candidates", offer_of_candidates(5850)),
        ("23,400 candidates", offer_of_candidates(23_400)),
        ("78,000 candidates", offer_of_candidates(78_000)),
        ("sections", start() + &(0..990).map(section).collect::<String>()),
        ("more sections", start() + &(0..1100).map(section).collect::<String>()),
        ("extensions", start() + &"a=extmap:1 urn:x\r\n".repeat(100_000)),
        ("sources", start() + &(0..50_000).map(source).collect::<String>()),
        ("one line", format!("{}a=fmtp:96 {}\r\n", start(), "x=1;".repeat(500_000))),
    ]
}

#[tokio::test]
async fn an_offer_without_end_holds_nobody_up() {
    let party = Party::start().await;
    for (number, (what, sdp)) in endless_offers().into_iter().enumerate() {
        let attack = async || {
            let enemy = party.enemy(|_| ()).await.unwrap();
            enemy.say(Ask::Offer(offer(sdp.clone())));
            is_dealt_with(&enemy, number).await;
        };
        party.withstands(&format!("an offer of {what}"), 2 * BUDGET, attack).await;
    }
    party.check().await;
}

#[tokio::test]
async fn offers_without_end_one_after_another_hold_nobody_up() {
    let party = Party::start().await;
    for (what, sdp) in endless_offers().into_iter().filter(|(_, sdp)| sdp.len() < 3 * MIB) {
        let stream = Stream::of(signal(Ask::Offer(offer(sdp))));
        let attack = async || party.flood(2, ordinary_token, Vec::new(), stream.clone()).await;
        party.withstands(&format!("offers of {what}"), 2 * BUDGET, attack).await;
    }
    party.check().await;
}

#[tokio::test]
async fn join_requests_with_offers_without_end_hold_nobody_up() {
    let party = Party::start().await;
    let engine = party.address();
    let sections = start() + &(0..990).map(small_section).collect::<String>();
    for (what, sdp) in [("5,850 candidates", offer_of_candidates(5850)), ("990 sections", sections)] {
        let request = livekit_protocol::JoinRequest { publisher_offer: Some(offer(sdp)), ..Default::default() };
        let packed = zipped(&request.encode_to_vec());
        println!("{what}: {} bytes", packed.len());
        let attacker = move |number, end| {
            let join = wire::join_request("/rtc/v1", &ordinary_token(&format!("attacker {number}")), &packed);
            while Instant::now() < end {
                attack::request(engine, &join);
            }
        };
        let attack = async || attack::run(4, attacker.clone()).await;
        party.withstands(&format!("joins with {what}"), 2 * BUDGET, attack).await;
    }
    party.check().await;
}
