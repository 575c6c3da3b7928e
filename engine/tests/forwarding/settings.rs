//! A subscriber's track settings remain in effect while the track exists.

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Request;
use serde_json::json;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::client::{ConnectOptions, TestClient};
use crate::support::{HttpClient, start, token};

/// A publisher of video and audio, and a subscriber.
struct Fixture {
    engine: Engine,
    ann: TestClient,
    ben: TestClient,
    video: String,
    audio: String,
}

impl Fixture {
    async fn start(auto_subscribe: bool) -> Self {
        let engine = start();
        let ann = TestClient::join(engine.address(), ROOM, "ann").await;
        let (video, audio) = (ann.publish(MediaKind::Video).await, ann.publish(MediaKind::Audio).await);
        let mut options = ConnectOptions::new(ROOM, "ben");
        options.edit_join_request = Box::new(move |request| {
            request.connection_settings =
                Some(proto::ConnectionSettings { auto_subscribe, ..proto::ConnectionSettings::default() });
        });
        let ben = TestClient::connect(engine.address(), options).await.unwrap();
        ben.wait_until_connected().await;
        Self { engine, ann, ben, video, audio }
    }

    fn set_disabled(&self, disabled: bool) {
        let track_sids = vec![self.video.clone()];
        self.ben.send_request(Request::TrackSetting(proto::UpdateTrackSettings {
            track_sids,
            disabled,
            ..Default::default()
        }));
    }

    fn subscribe(&self) {
        let track_sids = vec![self.video.clone(), self.audio.clone()];
        self.ben.send_request(Request::Subscription(proto::UpdateSubscription {
            track_sids,
            subscribe: true,
            ..Default::default()
        }));
    }

    /// Waits until the subscriber is unsubscribed from both tracks.
    async fn wait_until_unsubscribed(&self) {
        self.ben.wait_until_unsubscribed(&self.video).await;
        self.ben.wait_until_unsubscribed(&self.audio).await;
    }

    /// Asserts that the subscriber receives audio but no video, and receives video once it enables it.
    async fn assert_video_disabled(&self) {
        let audio = std::slice::from_ref(&self.audio);
        self.ben.wait_for_packets(audio).await;
        let video_packets = |ben: &TestClient| {
            ben.with_state(|state| state.mid_of(&self.video).and_then(|mid| state.packets.get(&mid).copied()))
        };
        let before = video_packets(&self.ben);
        for _ in 0..10 {
            self.ben.wait_for_packets(audio).await;
        }
        assert_eq!(video_packets(&self.ben), before, "video packets were sent although the track is disabled");
        self.set_disabled(false);
        self.ben.wait_for_packets(std::slice::from_ref(&self.video)).await;
    }

    async fn set_can_subscribe(&self, can_subscribe: bool) {
        let address = self.engine.address();
        let admin = token(&json!({ "roomAdmin": true, "room": ROOM }));
        let permission = json!({ "can_subscribe": can_subscribe, "can_publish": true, "can_publish_data": true });
        let body = json!({ "room": ROOM, "identity": "ben", "permission": permission });
        let call = move || HttpClient::connect(address).call("UpdateParticipant", &admin, &body).status;
        assert_eq!(tokio::task::spawn_blocking(call).await.unwrap(), 200);
    }

    fn set_subscription_permission(&self, all_participants: bool) {
        let permission = proto::SubscriptionPermission { all_participants, ..Default::default() };
        self.ann.send_request(Request::SubscriptionPermission(permission));
    }
}

#[tokio::test]
async fn settings_sent_before_the_subscription_apply() {
    let fixture = Fixture::start(false).await;
    fixture.set_disabled(true);
    fixture.subscribe();
    fixture.assert_video_disabled().await;
}

#[tokio::test]
async fn settings_remain_after_can_subscribe_is_revoked_and_granted() {
    let fixture = Fixture::start(true).await;
    fixture.ben.wait_for_packets(std::slice::from_ref(&fixture.video)).await;
    fixture.set_disabled(true);
    fixture.set_can_subscribe(false).await;
    fixture.wait_until_unsubscribed().await;
    fixture.set_can_subscribe(true).await;
    fixture.assert_video_disabled().await;
}

#[tokio::test]
async fn settings_remain_after_the_publisher_denies_and_allows_the_subscription() {
    let fixture = Fixture::start(true).await;
    fixture.ben.wait_for_packets(std::slice::from_ref(&fixture.video)).await;
    fixture.set_disabled(true);
    fixture.set_subscription_permission(false);
    fixture.wait_until_unsubscribed().await;
    fixture.set_subscription_permission(true);
    fixture.assert_video_disabled().await;
}

#[tokio::test]
async fn tracks_disabled_in_sync_state_stay_disabled_after_a_later_subscription() {
    let fixture = Fixture::start(false).await;
    let track_sids_disabled = vec![fixture.video.clone()];
    fixture.ben.send_request(Request::SyncState(proto::SyncState { track_sids_disabled, ..Default::default() }));
    fixture.subscribe();
    fixture.assert_video_disabled().await;
}
