use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use livekit_api::access_token::VideoGrants;
use livekit_protocol as proto;

use super::LiveKitConfig;
use super::decode;
use super::error_mapping::CallError;
use super::single_flight::{self, Key};
use super::twirp::{CallContext, Method, Response, Twirp};
use crate::provider::{Call, Outcome, PendingCall, Provider};
use crate::{
    BadResponseReason, Deadline, Identity, Join, MediaError, Participant, Room, RoomName, RoomPrefix, RoomSettings,
    Secret, Upstream, by_name, convert,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const CREATE_ROOM: Method = Method { name: "CreateRoom", max_bytes: 4 * MIB, shape: &decode::ROOM };
const DELETE_ROOM: Method = Method { name: "DeleteRoom", max_bytes: 64 * KIB, shape: &decode::EMPTY };
const LIST_ROOMS: Method = Method { name: "ListRooms", max_bytes: 64 * MIB, shape: &decode::ROOMS };
const LIST_PARTICIPANTS: Method =
    Method { name: "ListParticipants", max_bytes: 64 * MIB, shape: &decode::PARTICIPANTS };
const REMOVE_PARTICIPANT: Method = Method { name: "RemoveParticipant", max_bytes: 64 * KIB, shape: &decode::EMPTY };

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
            // LiveKit never answers ListRooms with `not_found`.
            let unexpected = |upstream| MediaError::Refused { code: "not_found".into(), upstream };
            let listed = response.map_err(|error| error.or_missing(unexpected))?.message;
            let own =
                listed.rooms.iter().filter_map(|room| Some(convert::room(prefix.strip(&room.name)?.to_owned(), room)));
            let mut rooms: Vec<Room> = own.collect();
            rooms.sort_unstable_by(|a, b| by_name(&a.name, &b.name));
            Ok(rooms)
        })
    }

    fn list_participants(&self, room: RoomName, deadline: Deadline) -> Call<Vec<Participant>> {
        self.call(deadline, |server, context| async move {
            let request = proto::ListParticipantsRequest { room: room.on_server().to_owned() };
            let grants = room_admin(&room);
            let response =
                server.call::<proto::ListParticipantsResponse>(&LIST_PARTICIPANTS, grants, &request, &context).await;
            let listed = response.map_err(|error| error.or_missing(|upstream| room_not_found(&room, upstream)))?;
            let mut participants: Vec<_> = listed.message.participants.into_iter().map(convert::participant).collect();
            participants.sort_unstable_by(|a, b| by_name(&a.identity, &b.identity));
            Ok(participants)
        })
    }

    fn remove_participant(&self, room: RoomName, identity: Identity, deadline: Deadline) -> Call<()> {
        self.call(deadline, |server, context| async move {
            let (room_name, identity) = (room.on_server().to_owned(), identity.as_str().to_owned());
            let request =
                proto::RoomParticipantIdentity { room: room_name, identity: identity.clone(), ..Default::default() };
            let grants = room_admin(&room);
            let response =
                server.call::<proto::RemoveParticipantResponse>(&REMOVE_PARTICIPANT, grants, &request, &context).await;
            match response {
                Ok(_) | Err(CallError::NotFoundAgain(_)) => Ok(()),
                Err(error) => Err(error.or_missing(|upstream| MediaError::ParticipantNotFound {
                    room: room.id().to_owned(),
                    identity,
                    upstream,
                })),
            }
        })
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
    let Response { message, upstream } = server.call::<proto::Room>(&CREATE_ROOM, grants, &request, context).await?;
    if message.name != room.on_server() {
        return Err(MediaError::BadResponse { reason: BadResponseReason::OtherRoom, upstream }.into());
    }
    Ok(convert::room(room.id().to_owned(), &message))
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

fn room_admin(room: &RoomName) -> VideoGrants {
    VideoGrants { room_admin: true, room: room.on_server().to_owned(), ..VideoGrants::default() }
}

fn room_not_found(room: &RoomName, upstream: Upstream) -> MediaError {
    MediaError::RoomNotFound { room: room.id().to_owned(), upstream }
}
