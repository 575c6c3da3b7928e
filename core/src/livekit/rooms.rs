use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use livekit_api::access_token::VideoGrants;
use livekit_protocol as proto;

use super::LiveKitConfig;
use super::decode;
use super::error_mapping::CallError;
use super::participants::{self, Target};
use super::single_flight::{self, Key};
use super::twirp::{CallContext, Method, Response, Twirp};
use crate::provider::{Call, Outcome, PendingCall, Provider};
use crate::webhook::{self, Event, SignedWebhook};
use crate::{
    BadResponseReason, DataMessage, Deadline, Identity, Join, MediaError, Participant, ParticipantChange, Room,
    RoomName, RoomPrefix, RoomSettings, Secret, Track, TrackSource, Upstream, by_name, convert,
};

pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;
const CREATE_ROOM: Method = Method { name: "CreateRoom", max_bytes: 4 * MIB, shape: &decode::ROOM };
const DELETE_ROOM: Method = Method { name: "DeleteRoom", max_bytes: 64 * KIB, shape: &decode::EMPTY };
const LIST_ROOMS: Method = Method { name: "ListRooms", max_bytes: 64 * MIB, shape: &decode::ROOMS };
const GET_ROOM: Method = Method { name: "ListRooms", max_bytes: 4 * MIB, shape: &decode::ROOMS };
const UPDATE_ROOM: Method = Method { name: "UpdateRoomMetadata", max_bytes: 4 * MIB, shape: &decode::ROOM };

/// Rooms on a LiveKit server, a cluster or LiveKit Cloud.
pub struct LiveKit {
    /// The URL that clients connect to.
    url: Option<String>,
    server: Arc<Twirp>,
    /// Identifies the server and the key in [`single_flight`]; without the URL for clients, which makes no difference there.
    account: Arc<LiveKitConfig>,
}

impl LiveKit {
    /// A provider for a server. Connects at the first call.
    ///
    /// # Errors
    /// [`MediaError::InvalidConfig`] if the API URL cannot be parsed.
    pub fn new(config: &LiveKitConfig) -> Result<Self, MediaError> {
        let account = LiveKitConfig { url: None, ..config.clone() };
        Ok(Self { url: config.url.clone(), server: Arc::new(Twirp::new(config)?), account: Arc::new(account) })
    }

    fn key(&self, room: &RoomName) -> Key {
        Key { account: self.account.clone(), room: room.on_server().to_owned() }
    }

    /// A call that runs `request` in a context of its own.
    fn call<T: 'static, F>(&self, deadline: Deadline, request: impl FnOnce(Arc<Twirp>, CallContext) -> F) -> Call<T>
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let context = CallContext::new(deadline);
        let request_id = Some(context.request_id.clone());
        let future = request(self.server.clone(), context).boxed();
        Call::Pending(PendingCall { future, request_id, keep_alive: None })
    }
}

impl Provider for LiveKit {
    fn media_url(&self) -> Outcome<Option<String>> {
        Ok(self.url.clone())
    }

    fn engine_port(&self) -> Option<u16> {
        None
    }

    fn generate_token(&self, join: &Join) -> Outcome<Secret> {
        if self.url.is_none() {
            return Err(MediaError::UrlNotConfigured);
        }
        self.server.signer().join(join, None)
    }

    fn create_room(&self, room: RoomName, settings: RoomSettings, deadline: Deadline) -> Call<Room> {
        let server = self.server.clone();
        single_flight::create(&self.key(&room), CallContext::new(deadline), |context| async move {
            let created = create(&server, &room, &settings, &context).await;
            created.map_err(|error| error.or_missing(|upstream| room_not_found(&room, upstream)))
        })
    }

    fn delete_room(&self, room: RoomName, deadline: Deadline) -> Call<()> {
        let key = self.key(&room);
        self.call(deadline, |server, context| {
            single_flight::exclusive(&key, async move {
                let mut outcome = delete(&server, &room, &context).await;
                if matches!(outcome, Err(CallError::NoNode(_))) {
                    outcome = match recreate_on_live_node(&server, &room, &context).await {
                        Ok(()) => delete(&server, &room, &context).await,
                        Err(error) => Err(error.or_missing(|upstream| room_not_found(&room, upstream)).into()),
                    };
                }
                match outcome {
                    Ok(()) | Err(CallError::NotFound(_) | CallError::NotFoundAgain(_)) => Ok(()),
                    Err(error) => Err(error.or_missing(|upstream| room_not_found(&room, upstream))),
                }
            })
        })
    }

    fn list_rooms(&self, prefix: RoomPrefix, deadline: Deadline) -> Call<Vec<Room>> {
        self.call(deadline, |server, context| async move {
            let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
            let request = proto::ListRoomsRequest::default();
            let response = server.call::<proto::ListRoomsResponse>(&LIST_ROOMS, grants, &request, &context).await;
            let listed = response.map_err(|error| error.or_missing(unexpected))?.message;
            let own =
                listed.rooms.iter().filter_map(|room| Some(convert::room(prefix.strip(&room.name)?.to_owned(), room)));
            let mut rooms: Vec<Room> = own.collect();
            rooms.sort_unstable_by(|a, b| by_name(&a.name, &b.name));
            Ok(rooms)
        })
    }

    fn get_room(&self, room: RoomName, deadline: Deadline) -> Call<Option<Room>> {
        self.call(deadline, |server, context| async move { get(&server, &room, &context).await })
    }

    fn update_room(&self, room: RoomName, metadata: String, deadline: Deadline) -> Call<Room> {
        self.call(deadline, |server, context| async move {
            let request = proto::UpdateRoomMetadataRequest { room: room.on_server().to_owned(), metadata };
            let response = server.call::<proto::Room>(&UPDATE_ROOM, room_admin(&room), &request, &context).await;
            let updated = response.map_err(|error| error.or_missing(|upstream| room_not_found(&room, upstream)))?;
            checked(&room, updated)
        })
    }

    fn list_participants(&self, room: RoomName, deadline: Deadline) -> Call<Vec<Participant>> {
        self.call(deadline, |server, context| async move { participants::list(&server, &room, &context).await })
    }

    fn get_participant(&self, room: RoomName, identity: Identity, deadline: Deadline) -> Call<Option<Participant>> {
        let target = Target { room, identity };
        self.call(deadline, |server, context| async move { target.get(&server, &context).await })
    }

    fn update_participant(
        &self,
        room: RoomName,
        identity: Identity,
        change: ParticipantChange,
        deadline: Deadline,
    ) -> Call<Participant> {
        // An update that changes some permissions repeats the others, and would undo an update that runs at the same time.
        // No room has this name, because names have no control characters.
        let name = format!("{}\0{}", room.on_server(), identity.as_str());
        let key = Key { account: self.account.clone(), room: name };
        let target = Target { room, identity };
        self.call(deadline, |server, context| {
            single_flight::exclusive(&key, async move { target.update(&server, change, &context).await })
        })
    }

    fn mute_participant(
        &self,
        room: RoomName,
        identity: Identity,
        sources: Option<Vec<TrackSource>>,
        deadline: Deadline,
    ) -> Call<Vec<Track>> {
        let target = Target { room, identity };
        self.call(deadline, |server, context| async move { target.mute(&server, sources.as_deref(), &context).await })
    }

    fn send_data(&self, room: RoomName, message: DataMessage, deadline: Deadline) -> Call<()> {
        match convert::data_request(&room, message) {
            Err(error) => Call::Ready(Err(error)),
            Ok(request) => self.call(deadline, |server, context| async move {
                participants::send_data(&server, &room, &request, &context).await
            }),
        }
    }

    fn remove_participant(
        &self,
        room: RoomName,
        identity: Identity,
        revoke_tokens: bool,
        deadline: Deadline,
    ) -> Call<bool> {
        let target = Target { room, identity };
        self.call(deadline, move |server, context| async move { target.remove(&server, revoke_tokens, &context).await })
    }

    fn receive_webhook(&self, prefix: &RoomPrefix, body: &[u8], authorization: Option<&str>) -> Outcome<Option<Event>> {
        webhook::receive(self.server.signer(), prefix, body, authorization)
    }

    fn sign_webhook(&self, prefix: &RoomPrefix, event: Event) -> Outcome<SignedWebhook> {
        webhook::sign(self.server.signer(), prefix, event)
    }

    fn close(&self) -> Call<()> {
        // Connections belong to the process, and idle ones close by themselves.
        Call::Ready(Ok(()))
    }
}

async fn create(
    server: &Twirp,
    room: &RoomName,
    settings: &RoomSettings,
    context: &CallContext,
) -> Result<Room, CallError> {
    let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
    let request = convert::create_request(room, settings);
    let created = server.call::<proto::Room>(&CREATE_ROOM, grants, &request, context).await?;
    Ok(checked(room, created)?)
}

/// The room of a response, if it is the requested one.
fn checked(room: &RoomName, response: Response<proto::Room>) -> Outcome<Room> {
    let Response { message, upstream } = response;
    if message.name != room.on_server() {
        return Err(MediaError::BadResponse { reason: BadResponseReason::OtherRoom, upstream });
    }
    Ok(convert::room(room.id().to_owned(), &message))
}

/// The room of that name, if it exists.
pub(super) async fn get(server: &Twirp, room: &RoomName, context: &CallContext) -> Outcome<Option<Room>> {
    let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
    let request = proto::ListRoomsRequest { names: vec![room.on_server().to_owned()] };
    let response = server.call::<proto::ListRoomsResponse>(&GET_ROOM, grants, &request, context).await;
    let listed = response.map_err(|error| error.or_missing(unexpected))?.message;
    let found = listed.rooms.iter().find(|found| found.name == room.on_server());
    Ok(found.map(|found| convert::room(room.id().to_owned(), found)))
}

/// LiveKit never answers `ListRooms` with `not_found`.
fn unexpected(upstream: Upstream) -> MediaError {
    MediaError::Refused { code: "not_found".into(), upstream }
}

/// Moves a room to a live node after its node died: LiveKit keeps listing the room and cannot delete it, but a creation
/// assigns a node.
async fn recreate_on_live_node(server: &Twirp, room: &RoomName, context: &CallContext) -> Result<(), CallError> {
    loop {
        let started = Instant::now();
        let outcome = create(server, room, &RoomSettings::default(), context).await;
        // For 5 s LiveKit still routes calls to a dead node, and waits 3 s for it. An immediate error has another cause.
        let was_silent = started.elapsed() > Duration::from_secs(1);
        if !(was_silent && matches!(outcome, Err(CallError::NoNode(_)))) {
            return outcome.map(drop);
        }
    }
}

async fn delete(server: &Twirp, room: &RoomName, context: &CallContext) -> Result<(), CallError> {
    let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
    let request = proto::DeleteRoomRequest { room: room.on_server().to_owned() };
    server.call::<proto::DeleteRoomResponse>(&DELETE_ROOM, grants, &request, context).await.map(drop)
}

pub(super) fn room_admin(room: &RoomName) -> VideoGrants {
    VideoGrants { room_admin: true, room: room.on_server().to_owned(), ..VideoGrants::default() }
}

pub(super) fn room_not_found(room: &RoomName, upstream: Upstream) -> MediaError {
    MediaError::RoomNotFound { room: room.id().to_owned(), upstream }
}
