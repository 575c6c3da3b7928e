//! A client of the older kind, which is offered what it is sent, and changes its mind about that for ever.

use livekit_protocol as proto;
use proto::signal_request::Message as Ask;
use proto::signal_response::Message as Told;
use serde_json::json;

use crate::attack::{BUDGET, token};
use crate::wire::{Wire, signal};
use crate::{Party, ROOM};

/// How often the client unsubscribes and subscribes again.
const CYCLES: usize = 250;
/// The most sections of the engine's offer after that: one for each track that is sent, and some that wait for reuse.
const MAX_SECTIONS: usize = 50;

/// An answer that takes all that is offered.
fn answer(offer: &str) -> String {
    let is_kept = |line: &&str| {
        let dropped = ["a=ssrc", "a=msid", "a=candidate", "a=end-of-candidates", "a=ice-lite"];
        !dropped.iter().any(|start| line.starts_with(start))
    };
    let lines = offer.split_inclusive('\n').filter(is_kept).map(|line| {
        line.replace("a=setup:actpass", "a=setup:active")
            .replace("a=sendonly", "a=recvonly")
            .replace("a=sendrecv", "a=recvonly")
    });
    lines.collect()
}

#[tokio::test]
async fn changing_subscriptions_for_ever_grows_no_offer() {
    let party = Party::start().await;
    let engine = party.address();
    let track_sids = vec![party.tracks[0][0].clone()];
    let token = token("undecided", &json!({ "roomJoin": true, "room": ROOM }));
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request =
        format!("GET /rtc?access_token={token}&protocol=17&auto_subscribe=1 HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n");
    let watch = party.watch();
    let sections = tokio::task::spawn_blocking(move || {
        let mut wire = Wire::open(engine, request.as_bytes()).unwrap();
        let mut sections = 0;
        let mut offers = 0;
        while offers < 2 * CYCLES {
            // Once the engine has enough of it, the client may join anew.
            let Ok(told) = wire.hear() else { break };
            let Told::Offer(offer) = told else { continue };
            offers += 1;
            sections = offer.sdp.matches("\nm=").count();
            let description = proto::SessionDescription {
                r#type: "answer".to_owned(),
                sdp: answer(&offer.sdp),
                id: offer.id,
                ..Default::default()
            };
            wire.send(&signal(Ask::Answer(description))).unwrap();
            let subscription = proto::UpdateSubscription {
                track_sids: track_sids.clone(),
                subscribe: offers % 2 == 0,
                ..Default::default()
            };
            wire.send(&signal(Ask::Subscription(subscription))).unwrap();
        }
        println!("{offers} offers, the last one of {sections} sections");
        assert!(offers > 10, "{offers}");
        sections
    })
    .await
    .unwrap();
    watch.stop().await.assert_undisturbed("changing subscriptions", BUDGET);
    assert!(sections <= MAX_SECTIONS, "{sections} sections");
    party.check().await;
}
