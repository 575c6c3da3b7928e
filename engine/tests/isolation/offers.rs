//! Offers that no browser makes: recorded ones with lines lost, doubled, moved, cut and joined, and ones that never end.

use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use livekit_protocol::SessionDescription;
use livekit_protocol::signal_request::Message as Ask;

use crate::caller::{dial, packed, ticket};
use crate::{Party, ROOM, is_dealt_with, made};

const RECORDED: [&str; 5] = [
    include_str!("../offers/chromium/1-join.offer.sdp"),
    include_str!("../offers/chromium/2-publish.offer.sdp"),
    include_str!("../offers/firefox/2-publish.offer.sdp"),
    include_str!("../offers/firefox/4-share-again.offer.sdp"),
    include_str!("../offers/chromium/publisher-vp9.offer.sdp"),
];

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

/// How long the others have to wait while the engine looks at an offer.
#[tokio::test]
async fn an_offer_without_end_holds_nobody_up() {
    let party = Party::start().await;
    let start = RECORDED[0].replace('\n', "\r\n");
    let candidate = |number: usize| {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        format!("a=candidate:{number} 1 udp 1 127.1.{high}.{low} 9 typ host\r\n")
    };
    let section = |number: usize| {
        let (_, rest) = start.split_once("m=video").unwrap();
        let (section, _) = rest.split_once("m=").unwrap();
        format!("m=video{}", section.replace("a=mid:3", &format!("a=mid:x{number}")))
    };
    let source = |ssrc: u32| format!("a=ssrc:{ssrc} cname:x\r\n");
    let endless: [(&str, String); 6] = [
        ("candidates", start.clone() + &(0..50_000).map(candidate).collect::<String>()),
        ("sections", start.clone() + &(0..990).map(section).collect::<String>()),
        ("more sections", start.clone() + &(0..1100).map(section).collect::<String>()),
        ("extensions", start.clone() + &"a=extmap:1 urn:x\r\n".repeat(100_000)),
        ("sources", start.clone() + &(0..50_000).map(source).collect::<String>()),
        ("one line", format!("{start}a=fmtp:96 {}\r\n", "x=1;".repeat(500_000))),
    ];
    for (number, (what, sdp)) in endless.into_iter().enumerate() {
        let enemy = party.enemy(|_| ()).await.unwrap();
        let begun = Instant::now();
        enemy.say(Ask::Offer(offer(sdp)));
        is_dealt_with(&enemy, number).await;
        let took = begun.elapsed();
        println!("{what}: {} ms", took.as_millis());
        assert!(took < Duration::from_secs(2), "{what}: {took:?}");
        drop(enemy);
        party.check().await;
    }
}
