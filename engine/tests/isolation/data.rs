//! Arbitrary messages on data channels.

use arbitrary::{Result, Unstructured};
use livekit_protocol as proto;
use prost::Message as _;
use proto::data_packet::Value;

use crate::generators::{damage, protobuf, text};
use crate::{Fixture, generate};

fn packet(source: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (id, long) = (text(source)?, "x".repeat(source.int_in_range(0..=50_000)?));
    let value = match source.int_in_range(0..=7)? {
        0 => Value::User(proto::UserPacket { payload: long.into_bytes(), topic: Some(id), ..Default::default() }),
        1 => Value::RpcRequest(proto::RpcRequest { id, payload: long, ..Default::default() }),
        2 => Value::RpcAck(proto::RpcAck { request_id: id }),
        3 => Value::RpcResponse(proto::RpcResponse { request_id: id, ..Default::default() }),
        4 => Value::StreamHeader(proto::data_stream::Header { stream_id: id, ..Default::default() }),
        5 => Value::StreamChunk(proto::data_stream::Chunk { content: long.into_bytes(), ..Default::default() }),
        6 => Value::ChatMessage(proto::ChatMessage { id, message: long, ..Default::default() }),
        _ => Value::Metrics(proto::MetricsBatch::default()),
    };
    let mut names = vec![text(source)?, "ann".to_owned(), "ben".to_owned()];
    names.truncate(source.int_in_range(0..=3)?);
    let packet = proto::DataPacket {
        participant_identity: (*source.choose(&["ann", "ben", "", "unknown"])?).to_owned(),
        destination_identities: names,
        sequence: if source.ratio(1, 3)? { source.arbitrary()? } else { 0 },
        value: Some(value),
        ..Default::default()
    };
    let mut bytes = if source.ratio(1, 6)? { protobuf(source)? } else { packet.encode_to_vec() };
    damage(source, &mut bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn arbitrary_data_packets_do_not_affect_others_or_use_their_identity() {
    let fixture = Fixture::start().await;
    let attacker = fixture.connected_attacker().await;
    for batch in 0..4 {
        let mut sent = 0;
        for number in 0..150 {
            let Some(bytes) = generate(batch * 150 + number, packet) else { continue };
            sent += usize::from(attacker.with_state(|state| state.write_channel(&bytes, number % 3 != 0)));
        }
        assert!(sent > 20, "only {sent} packets were sent");
        crate::wait_until_processed(&attacker, batch).await;
        for client in [&fixture.ann, &fixture.ben] {
            let is_spoofed = |packet: &proto::DataPacket| packet.participant_identity == client.identity;
            assert!(
                !client.with_state(|state| state.data_packets.iter().any(is_spoofed)),
                "sender identity is spoofed"
            );
        }
        fixture.check().await;
    }
    assert!(!attacker.with_state(|state| state.is_closed));
}
