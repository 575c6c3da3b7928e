//! Connection quality updates when a participant loses and regains its connection.

use std::time::{Duration, Instant};

use livekit_protocol as proto;
use proto::ConnectionQuality;
use proto::signal_response::Message as Response;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::client::{State, TestClient};
use crate::support::start;

/// Maximum time from the last packet of a participant to the update `LOST`.
const MAX_DELAY: Duration = Duration::from_secs(10);

fn participant_sid(client: &TestClient) -> String {
    let join = |response: &Response| match response {
        Response::Join(join) => join.participant.as_ref().map(|participant| participant.sid.clone()),
        _ => None,
    };
    client.with_state(|state| state.responses.iter().find_map(join)).unwrap()
}

/// All quality updates of a participant.
fn qualities(state: &State, sid: &str) -> Vec<ConnectionQuality> {
    let updates = state.responses.iter().filter_map(|response| match response {
        Response::ConnectionQuality(update) => Some(&update.updates),
        _ => None,
    });
    let infos = updates.flatten().filter(|info| info.participant_sid == sid);
    infos.map(proto::ConnectionQualityInfo::quality).collect()
}

#[tokio::test]
async fn reports_a_connection_as_lost_within_10_s_of_its_last_packet_and_as_good_after_recovery() {
    let engine = start();
    let (ann, ben) =
        tokio::join!(TestClient::join(engine.address(), ROOM, "ann"), TestClient::join(engine.address(), ROOM, "ben"));
    let (ann_sid, ben_sid) = (participant_sid(&ann), participant_sid(&ben));
    let track = ann.publish(MediaKind::Audio).await;
    ben.wait_for_packets(std::slice::from_ref(&track)).await;
    let has_quality = |state: &mut State, expected: &[ConnectionQuality]| {
        qualities(state, &ann_sid).last().filter(|last| expected.contains(last)).map(|_| ())
    };
    ben.wait_until("receives an excellent quality", |state| has_quality(state, &[ConnectionQuality::Excellent])).await;
    let last_packet_at = Instant::now();
    ann.with_state(|state| state.tamper = Some(Box::new(|_| Vec::new())));
    ben.wait_until("receives the quality LOST", |state| has_quality(state, &[ConnectionQuality::Lost])).await;
    let delay = last_packet_at.elapsed();
    assert!(delay <= MAX_DELAY, "{delay:?}");
    ann.with_state(|state| state.tamper = None);
    let good = [ConnectionQuality::Good, ConnectionQuality::Excellent];
    ben.wait_until("receives a good quality again", |state| has_quality(state, &good)).await;
    ben.wait_for_packets(std::slice::from_ref(&track)).await;
    // A participant that publishes nothing is not reported as lost.
    let own = ben.with_state(|state| qualities(state, &ben_sid));
    assert!(!own.is_empty() && !own.contains(&ConnectionQuality::Lost), "{own:?}");
}
