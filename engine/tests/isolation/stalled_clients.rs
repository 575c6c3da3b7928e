//! Participants that stop reading signals or acknowledging data.

use livekit_protocol as proto;
use proto::signal_request::Message as Request;
use proto::signal_response::Message as Response;

use crate::{Fixture, MEMORY, MIB};

#[tokio::test]
async fn a_client_that_stops_reading_signals_takes_bounded_memory_and_later_receives_the_latest_state() {
    let fixture = Fixture::start().await;
    let stalled = fixture.connected_attacker().await;
    stalled.with_state(|state| state.pauses_reading = true);
    let before = MEMORY.current_usage();
    for number in 0..400 {
        let metadata = format!("{number}{}", "m".repeat(60_000));
        fixture
            .ann
            .send_request(Request::UpdateMetadata(proto::UpdateParticipantMetadata { metadata, ..Default::default() }));
        if number % 20 == 0 {
            fixture.check().await;
        }
    }
    crate::wait_until_processed(&fixture.ann, 0).await;
    fixture.check().await;
    let grown = MEMORY.current_usage().saturating_sub(before);
    println!("a client that reads nothing: {} MB", grown / 1_000_000);
    assert!(grown < 24 * MIB, "{grown} bytes");
    stalled.with_state(|state| state.pauses_reading = false);
    let is_latest = |response: &Response| match response {
        Response::Update(update) => update.participants.iter().any(|each| each.metadata.starts_with("399m")),
        _ => false,
    };
    stalled
        .wait_until("receives the latest metadata", |state| state.responses.iter().any(is_latest).then_some(()))
        .await;
}

#[tokio::test]
async fn a_client_that_never_acknowledges_data_takes_bounded_memory_and_is_disconnected() {
    let fixture = Fixture::start().await;
    let stalled = fixture.connected_attacker().await;
    // Drops SCTP, which is application data in DTLS (RFC 6347).
    stalled.with_state(|state| state.receive_filter = Box::new(|bytes| bytes.first() != Some(&23)));
    let before = MEMORY.current_usage();
    let text = "t".repeat(50_000);
    let mut max = 0;
    for number in 0..600 {
        fixture.ann.send_data(&format!("{number}{text}"), true);
        fixture.ben.wait_for_data(&format!("{number}{text}")).await;
        fixture.ben.with_state(|state| state.data_packets.clear());
        max = max.max(MEMORY.current_usage().saturating_sub(before));
        if number % 100 == 0 {
            fixture.check().await;
        }
    }
    println!("a client that acknowledges nothing: {} MB", max / 1_000_000);
    assert!(max < 24 * MIB, "{max} bytes");
    stalled.wait_until_closed().await;
    fixture.check().await;
}

#[tokio::test]
async fn the_latest_lossy_message_arrives_after_a_congestion() {
    let fixture = Fixture::start().await;
    let stalled = fixture.connected_attacker().await;
    // Drops SCTP, which is application data in DTLS (RFC 6347).
    stalled.with_state(|state| state.receive_filter = Box::new(|bytes| bytes.first() != Some(&23)));
    let text = "t".repeat(4000);
    let message = |number: usize| format!("{number}{text}");
    for number in 0..200 {
        fixture.ann.send_data(&message(number), false);
        fixture.ben.wait_for_data(&message(number)).await;
        fixture.ben.with_state(|state| state.data_packets.clear());
    }
    stalled.with_state(|state| state.receive_filter = Box::new(|_| true));
    stalled.wait_for_data(&message(199)).await;
}
