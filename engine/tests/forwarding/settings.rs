//! What a subscriber has said of how it wants a track holds as long as the track exists.

use livekit_protocol as proto;
use maravilla_engine::Engine;
use proto::signal_request::Message as Ask;
use serde_json::json;
use str0m::media::MediaKind;

use crate::ROOM;
use crate::caller::{Call, Caller};
use crate::support::{Client, start, token};

/// Two participants, and what one of them publishes: a picture and a voice.
struct Scene {
    engine: Engine,
    ann: Caller,
    ben: Caller,
    picture: String,
    voice: String,
}

impl Scene {
    async fn start(auto_subscribe: bool) -> Self {
        let engine = start();
        let ann = Caller::join(engine.address(), ROOM, "ann").await;
        let (picture, voice) = (ann.publish(MediaKind::Video).await, ann.publish(MediaKind::Audio).await);
        let mut call = Call::new(ROOM, "ben");
        call.wishes = Box::new(move |request| {
            request.connection_settings =
                Some(proto::ConnectionSettings { auto_subscribe, ..proto::ConnectionSettings::default() });
        });
        let ben = Caller::call(engine.address(), call).await.unwrap();
        ben.until("is connected", |state| state.is_connected.then_some(())).await;
        Self { engine, ann, ben, picture, voice }
    }

    fn set_disabled(&self, disabled: bool) {
        let track_sids = vec![self.picture.clone()];
        self.ben.say(Ask::TrackSetting(proto::UpdateTrackSettings { track_sids, disabled, ..Default::default() }));
    }

    fn subscribe(&self) {
        let track_sids = vec![self.picture.clone(), self.voice.clone()];
        self.ben.say(Ask::Subscription(proto::UpdateSubscription {
            track_sids,
            subscribe: true,
            ..Default::default()
        }));
    }

    /// Waits until the subscriber is sent neither track.
    async fn is_cut(&self) {
        self.ben.loses(&self.picture).await;
        self.ben.loses(&self.voice).await;
    }

    /// The subscriber receives the voice and, while that arrives, nothing of the picture. It does once it asks for that.
    async fn assert_disabled(&self) {
        let voice = std::slice::from_ref(&self.voice);
        self.ben.sees(voice).await;
        let picture = |ben: &Caller| {
            ben.act(|state| state.section(&self.picture).and_then(|mid| state.packets.get(&mid).copied()))
        };
        let before = picture(&self.ben);
        for _ in 0..10 {
            self.ben.sees(voice).await;
        }
        assert_eq!(picture(&self.ben), before, "the picture is sent, though it is disabled");
        self.set_disabled(false);
        self.ben.sees(std::slice::from_ref(&self.picture)).await;
    }

    async fn permit(&self, can_subscribe: bool) {
        let address = self.engine.address();
        let admin = token(&json!({ "roomAdmin": true, "room": ROOM }));
        let permission = json!({ "can_subscribe": can_subscribe, "can_publish": true, "can_publish_data": true });
        let body = json!({ "room": ROOM, "identity": "ben", "permission": permission });
        let call = move || Client::connect(address).call("UpdateParticipant", &admin, &body).status;
        assert_eq!(tokio::task::spawn_blocking(call).await.unwrap(), 200);
    }

    fn allow(&self, all_participants: bool) {
        let permission = proto::SubscriptionPermission { all_participants, ..Default::default() };
        self.ann.say(Ask::SubscriptionPermission(permission));
    }
}

#[tokio::test]
async fn settings_that_arrive_before_the_subscription_hold() {
    let scene = Scene::start(false).await;
    scene.set_disabled(true);
    scene.subscribe();
    scene.assert_disabled().await;
}

#[tokio::test]
async fn settings_hold_when_the_right_to_subscribe_is_revoked_and_granted() {
    let scene = Scene::start(true).await;
    scene.ben.sees(std::slice::from_ref(&scene.picture)).await;
    scene.set_disabled(true);
    scene.permit(false).await;
    scene.is_cut().await;
    scene.permit(true).await;
    scene.assert_disabled().await;
}

#[tokio::test]
async fn settings_hold_when_the_publisher_changes_who_may_subscribe() {
    let scene = Scene::start(true).await;
    scene.ben.sees(std::slice::from_ref(&scene.picture)).await;
    scene.set_disabled(true);
    scene.allow(false);
    scene.is_cut().await;
    scene.allow(true);
    scene.assert_disabled().await;
}

#[tokio::test]
async fn what_a_client_disables_when_it_resumes_holds_for_later_subscriptions() {
    let scene = Scene::start(false).await;
    let track_sids_disabled = vec![scene.picture.clone()];
    scene.ben.say(Ask::SyncState(proto::SyncState { track_sids_disabled, ..Default::default() }));
    scene.subscribe();
    scene.assert_disabled().await;
}
