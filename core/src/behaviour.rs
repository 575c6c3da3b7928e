//! One behaviour suite for all providers. A provider joins with one test, which starts it and calls [`behaves`].

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::embedded::{Embedded, EmbeddedConfig};
use crate::livekit::{LiveKit, LiveKitConfig};
use crate::{
    DataMessage, Deadline, Identity, Join, MediaError, ParticipantChange, Permissions, Provider, RoomName, RoomPrefix,
    RoomSettings, Secret,
};

const SECRET: &str = "a secret of 32 characters or more";

async fn behaves(provider: &dyn Provider) {
    create_room_returns_a_live_room_unchanged(provider).await;
    concurrent_creations_create_one_room(provider).await;
    create_and_delete_run_in_order(provider).await;
    deleting_a_missing_room_succeeds(provider).await;
    lists_rooms_with_the_prefix_sorted_by_name(provider).await;
    lists_no_participants_of_an_empty_or_missing_room(provider).await;
    calls_on_a_missing_participant_fail(provider).await;
    gets_and_updates_rooms(provider).await;
    sends_data_to_rooms_that_exist(provider).await;
    a_token_is_a_jwt_with_redacted_debug(provider);
}

async fn create_room_returns_a_live_room_unchanged(provider: &dyn Provider) {
    let settings = RoomSettings { max_participants: 3, ..RoomSettings::default() };
    let first = provider.create_room(room("same"), settings, soon()).settled().await.unwrap();
    let other = RoomSettings { max_participants: 9, ..RoomSettings::default() };
    let second = provider.create_room(room("same"), other, soon()).settled().await.unwrap();
    assert_eq!((first.name.as_str(), first.max_participants, first.active), ("same", 3, true));
    assert_eq!(first, second);
}

async fn concurrent_creations_create_one_room(provider: &dyn Provider) {
    let creations = (0..50).map(|_| provider.create_room(room("at once"), RoomSettings::default(), soon()).settled());
    let rooms = futures_util::future::join_all(creations).await;
    let created_at = rooms[0].as_ref().unwrap().created_at;
    assert!(rooms.iter().all(|room| room.as_ref().unwrap().created_at == created_at));
}

async fn create_and_delete_run_in_order(provider: &dyn Provider) {
    let first = provider.create_room(room("turns"), RoomSettings::default(), soon()).settled();
    let deleted = provider.delete_room(room("turns"), soon()).settled();
    let second = provider
        .create_room(room("turns"), RoomSettings { max_participants: 2, ..Default::default() }, soon())
        .settled();
    let (first, deleted, second) = tokio::join!(first, deleted, second);
    assert_eq!((first.unwrap().max_participants, deleted, second.unwrap().max_participants), (0, Ok(()), 2));
}

async fn deleting_a_missing_room_succeeds(provider: &dyn Provider) {
    provider.create_room(room("gone"), RoomSettings::default(), soon()).settled().await.unwrap();
    assert_eq!(provider.delete_room(room("gone"), soon()).settled().await, Ok(()));
    assert_eq!(provider.delete_room(room("gone"), soon()).settled().await, Ok(()));
    let left = provider.list_rooms(RoomPrefix::default(), soon()).settled().await.unwrap();
    assert!(left.iter().all(|room| room.name != "gone"));
}

async fn lists_rooms_with_the_prefix_sorted_by_name(provider: &dyn Provider) {
    let prefix = RoomPrefix::new("t1:".into());
    for id in ["b", "a b/#😀", "a"] {
        let name = RoomName::parse(&prefix, id.into()).unwrap();
        provider.create_room(name, RoomSettings::default(), soon()).settled().await.unwrap();
    }
    provider.create_room(room("t10:c"), RoomSettings::default(), soon()).settled().await.unwrap();
    let listed = provider.list_rooms(prefix, soon()).settled().await.unwrap();
    let names: Vec<_> = listed.iter().map(|room| room.name.as_str()).collect();
    assert_eq!(names, ["a", "a b/#😀", "b"]);
}

async fn lists_no_participants_of_an_empty_or_missing_room(provider: &dyn Provider) {
    provider.create_room(room("empty"), RoomSettings::default(), soon()).settled().await.unwrap();
    for id in ["empty", "never was"] {
        assert_eq!(provider.list_participants(room(id), soon()).settled().await, Ok(Vec::new()));
    }
}

async fn calls_on_a_missing_participant_fail(provider: &dyn Provider) {
    let nobody = || Identity::parse("identity", "nobody".into()).unwrap();
    let removed = provider.remove_participant(room("empty"), nobody(), true, soon()).settled().await.map(drop);
    let change = ParticipantChange { name: Some("n".into()), ..ParticipantChange::default() };
    let updated = provider.update_participant(room("empty"), nobody(), change, soon()).settled().await.map(drop);
    let muted = provider.mute_participant(room("empty"), nobody(), None, soon()).settled().await.map(drop);
    for outcome in [removed, updated, muted] {
        assert!(matches!(outcome, Err(MediaError::ParticipantNotFound { .. })), "{outcome:?}");
    }
    assert_eq!(provider.get_participant(room("empty"), nobody(), soon()).settled().await, Ok(None));
}

async fn gets_and_updates_rooms(provider: &dyn Provider) {
    let made = provider.create_room(room("got"), RoomSettings::default(), soon()).settled().await.unwrap();
    assert_eq!(provider.get_room(room("got"), soon()).settled().await, Ok(Some(made.clone())));
    assert_eq!(provider.get_room(room("never was"), soon()).settled().await, Ok(None));
    assert_eq!(provider.update_room(room("got"), "m".into(), soon()).settled().await, Ok(made));
    let missing = provider.update_room(room("never was"), "m".into(), soon()).settled().await;
    assert!(matches!(missing, Err(MediaError::RoomNotFound { .. })), "{missing:?}");
}

async fn sends_data_to_rooms_that_exist(provider: &dyn Provider) {
    let message = DataMessage { data: b"hello".to_vec(), to: Vec::new(), topic: None, reliable: true };
    provider.create_room(room("got"), RoomSettings::default(), soon()).settled().await.unwrap();
    assert_eq!(provider.send_data(room("got"), message.clone(), soon()).settled().await, Ok(()));
    let missing = provider.send_data(room("never was"), message, soon()).settled().await;
    assert!(matches!(missing, Err(MediaError::RoomNotFound { .. })), "{missing:?}");
}

fn a_token_is_a_jwt_with_redacted_debug(provider: &dyn Provider) {
    let token = provider.generate_token(&join()).unwrap();
    assert_eq!(token.expose().split('.').count(), 3);
    assert!(!format!("{token:?}").contains(token.expose()));
}

fn room(id: &str) -> RoomName {
    RoomName::parse(&RoomPrefix::default(), id.to_owned()).unwrap()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn join() -> Join {
    Join {
        room: room("r"),
        identity: Identity::parse("identity", "ann".into()).unwrap(),
        name: "Ann".into(),
        permissions: Permissions {
            can_publish: true,
            can_subscribe: true,
            can_publish_data: true,
            can_update_own_metadata: false,
            hidden: false,
            sources: Vec::new(),
        },
        now: 4_102_444_800,
        ttl_secs: 60,
        metadata: String::new(),
        attributes: Vec::new(),
        room_settings: RoomSettings::default(),
    }
}

#[tokio::test]
async fn livekit_server_behaves_as_a_provider() {
    let server = Server::start();
    let config = LiveKitConfig {
        url: Some(format!("ws://127.0.0.1:{}", server.port)),
        api_url: Some(format!("http://127.0.0.1:{}", server.port)),
        api_key: "key".into(),
        api_secret: Secret::new(SECRET.into()),
    };
    assert!(!format!("{config:?}").contains(SECRET));
    behaves(&LiveKit::new(&config).unwrap()).await;
}

#[tokio::test]
async fn embedded_engine_behaves_as_a_provider() {
    let config = EmbeddedConfig {
        shared: false,
        host: Some(Ipv4Addr::LOCALHOST.into()),
        port: None,
        advertised_host: None,
        public_url: None,
        rtc_port: None,
        rtc_addresses: Vec::new(),
        is_attached: false,
        webhook_urls: Vec::new(),
        credentials: Some(("key".into(), Secret::new(SECRET.into()))),
    };
    assert!(!format!("{config:?}").contains(SECRET));
    let provider = Embedded::new(config);
    behaves(&provider).await;
    provider.close().settled().await.unwrap();
    let late = provider.create_room(room("late"), RoomSettings::default(), soon()).settled().await;
    assert_eq!(late, Err(MediaError::Closed));
}

/// A livekit-server on free loopback ports; ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let binary = server_binary().expect("livekit-server is built: type \"npm run test:livekit\"");
        let [port, tcp, udp] = free_ports();
        let config = format!(
            r#"{{"port":{port},"bind_addresses":["127.0.0.1"],"keys":{{"key":"{SECRET}"}},
                "rtc":{{"tcp_port":{tcp},"udp_port":{udp},"node_ip":"127.0.0.1"}},"logging":{{"level":"error"}}}}"#
        );
        let mut command = Command::new(binary);
        command.arg("--config-body").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: command.spawn().expect("livekit-server starts"), port };
        let late = Instant::now() + Duration::from_secs(20);
        while !server.is_ready() {
            assert!(Instant::now() < late, "livekit-server is not ready after 20 s");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn is_ready(&self) -> bool {
        use std::io::{Read as _, Write as _};
        let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut answer = String::new();
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").is_ok()
            && socket.read_to_string(&mut answer).is_ok()
            && answer.contains(" 200 ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has ended; then the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that `npm run test:livekit` builds; its name ends in its version.
fn server_binary() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/bin").read_dir().ok()?;
    let mut files = built.flatten().map(|entry| entry.path());
    files.find(|file| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("livekit-server-")))
}

/// Free ports. All are bound at the same time, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
