//! A client with a subscriber peer connection that changes its subscriptions repeatedly.

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;
use serde_json::json;

use crate::attackers::{BUDGET, token};
use crate::signal_socket::{SignalSocket, signal};
use crate::{Fixture, ROOM};

/// Number of times that the client unsubscribes and subscribes again.
const CYCLES: usize = 250;
/// Maximum number of sections in the engine's offer: one for each subscribed track, and some that wait for reuse.
const MAX_SECTIONS: usize = 50;

/// An answer that accepts everything.
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
async fn repeated_subscription_changes_do_not_grow_the_engines_offer() {
    let fixture = Fixture::start().await;
    let engine = fixture.address();
    let track_sids = vec![fixture.tracks[0][0].clone()];
    let token = token("attacker", &json!({ "roomJoin": true, "room": ROOM }));
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let request =
        format!("GET /rtc?access_token={token}&protocol=17&auto_subscribe=1 HTTP/1.1\r\nhost: test\r\n{upgrade}\r\n");
    let probe = fixture.start_probe();
    let sections = tokio::task::spawn_blocking(move || {
        let mut socket = SignalSocket::open(engine, request.as_bytes()).unwrap();
        let mut sections = 0;
        let mut offers = 0;
        while offers < 2 * CYCLES {
            // The engine may disconnect the client for a full reconnect.
            let Ok(response) = socket.receive() else { break };
            let Response::Offer(offer) = response else { continue };
            offers += 1;
            sections = offer.sdp.matches("\nm=").count();
            let description = proto::SessionDescription {
                r#type: "answer".to_owned(),
                sdp: answer(&offer.sdp),
                id: offer.id,
                ..Default::default()
            };
            socket.send(&signal(Request::Answer(description))).unwrap();
            let subscription = proto::UpdateSubscription {
                track_sids: track_sids.clone(),
                subscribe: offers % 2 == 0,
                ..Default::default()
            };
            socket.send(&signal(Request::Subscription(subscription))).unwrap();
        }
        println!("{offers} offers, {sections} sections in the last one");
        assert!(offers > 10, "only {offers} offers");
        sections
    })
    .await
    .unwrap();
    probe.stop().await.assert_within_bounds("changing subscriptions", BUDGET);
    assert!(sections <= MAX_SECTIONS, "{sections} sections");
    fixture.check().await;
}
