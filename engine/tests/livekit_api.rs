//! LiveKit's own Rust client drives the engine, unmodified.

use std::net::Ipv4Addr;

use livekit_api::services::room::{CreateRoomOptions, RoomClient, SendDataOptions, UpdateParticipantOptions};
use livekit_api::services::{ServerError, ServiceError, ServiceResult};
use maravilla_engine::{Config, Engine, Limits, Port};

const SECRET: &str = "a secret of 32 characters or more";

#[tokio::test]
async fn livekits_client_makes_lists_changes_and_deletes_rooms() {
    let engine = engine();
    let client = RoomClient::with_api_key(&url(&engine), "key", SECRET);
    let options = CreateRoomOptions { max_participants: 3, metadata: "m".into(), ..CreateRoomOptions::default() };
    let created = client.create_room("r", options).await.unwrap();
    assert_eq!((created.name.as_str(), created.max_participants, created.empty_timeout), ("r", 3, 300));
    let changed = client.update_room_metadata("r", "new").await.unwrap();
    assert_eq!((changed.sid, changed.metadata.as_str()), (created.sid, "new"));
    let listed = client.list_rooms(vec!["r".into(), "none".into()]).await.unwrap();
    assert_eq!(listed.iter().map(|room| room.metadata.as_str()).collect::<Vec<_>>(), ["new"]);
    assert_eq!(client.list_participants("r").await.unwrap(), []);
    client.send_data("r", vec![1], SendDataOptions::default()).await.unwrap();
    client.delete_room("r").await.unwrap();
    assert_eq!(code(client.delete_room("r").await), "not_found");
    engine.close().await;
}

#[tokio::test]
async fn livekits_client_is_told_at_once_who_is_not_there() {
    let engine = engine();
    let client = RoomClient::with_api_key(&url(&engine), "key", SECRET);
    client.create_room("r", CreateRoomOptions::default()).await.unwrap();
    let outcomes = [
        code(client.get_participant("r", "ann").await),
        code(client.remove_participant("r", "ann").await),
        code(client.update_participant("r", "ann", UpdateParticipantOptions::default()).await),
        code(client.mute_published_track("r", "ann", "TR_1", true).await),
        code(client.update_subscriptions("r", "ann", vec!["TR_1".into()], true).await),
        code(client.forward_participant("r", "ann", "other").await),
        code(client.move_participant("r", "ann", "other").await),
    ];
    assert!(outcomes.iter().all(|code| code == "not_found"), "{outcomes:?}");
    engine.close().await;
}

#[tokio::test]
async fn livekits_client_is_refused_with_another_secret() {
    let engine = engine();
    let client = RoomClient::with_api_key(&url(&engine), "key", "another secret of 32 characters!");
    assert!(client.create_room("r", CreateRoomOptions::default()).await.is_err());
    assert_eq!(engine.rooms(|rooms, now| rooms.iter(now).count()), 0);
    engine.close().await;
}

fn engine() -> Engine {
    let keys = &[("key", SECRET)];
    let config = Config { host: Ipv4Addr::LOCALHOST.into(), port: Port::Any, keys, limits: Limits::default() };
    Engine::start(&config).expect("loopback has a free port")
}

fn url(engine: &Engine) -> String {
    format!("http://{}", engine.address())
}

fn code<T>(outcome: ServiceResult<T>) -> String {
    match outcome {
        Err(ServiceError::Twirp(ServerError::Twirp(error))) => error.code,
        Err(other) => panic!("no answer of the server: {other}"),
        Ok(_) => "none".into(),
    }
}
