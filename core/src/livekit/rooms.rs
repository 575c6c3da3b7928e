use std::sync::Arc;
use std::time::{Duration, Instant};

use livekit_api::access_token::VideoGrants;
use livekit_protocol as proto;

use super::LiveKitConfig;
use super::answer::Failure;
use super::decode;
use super::turns::{self, Key};
use super::twirp::{Answer, Method, Twirp};
use crate::{Deadline, Provider, Work, convert};
use crate::{
    Identity, Join, MediaError, Mismatch, Participant, Room, RoomName, RoomPrefix, RoomSettings, Secret, Upstream,
    by_name,
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
    /// Where clients connect.
    url: Option<String>,
    server: Arc<Twirp>,
    /// What tells this server, as this key sees it, from others in [`turns`].
    account: Arc<LiveKitConfig>,
}

impl LiveKit {
    /// A provider for that server. Nothing is opened before the first call.
    ///
    /// # Errors
    /// [`MediaError::InvalidConfig`] if the API URL cannot be parsed.
    pub fn new(config: &LiveKitConfig) -> Result<Self, MediaError> {
        // Where clients connect makes no difference to the rooms there are.
        let account = LiveKitConfig { url: None, ..config.clone() };
        Ok(Self { url: config.url.clone(), server: Arc::new(Twirp::new(config)?), account: Arc::new(account) })
    }

    fn key(&self, room: &RoomName) -> Key {
        Key { account: self.account.clone(), room: room.on_server().to_owned() }
    }
}

impl Provider for LiveKit {
    fn media_url(&self) -> Result<Option<String>, MediaError> {
        Ok(self.url.clone())
    }

    fn engine_port(&self) -> Option<u16> {
        None
    }

    fn generate_token(&self, join: &Join) -> Result<Secret, MediaError> {
        if self.url.is_none() {
            return Err(MediaError::UrlNotConfigured);
        }
        self.server.signer().join(join, None)
    }

    fn create_room(&self, room: RoomName, settings: RoomSettings, deadline: &Deadline) -> Work<Room> {
        let server = self.server.clone();
        turns::create(&self.key(&room), deadline, |own| async move {
            let created = create(&server, &room, &settings, &own).await;
            created.map_err(|failure| failure.or_missing(|upstream| room_not_found(&room, upstream)))
        })
    }

    fn delete_room(&self, room: RoomName, deadline: &Deadline) -> Work<()> {
        let (server, deadline) = (self.server.clone(), deadline.clone());
        let key = self.key(&room);
        let work = async move {
            let mut outcome = delete(&server, &room, &deadline).await;
            if matches!(outcome, Err(Failure::NoNode(_))) {
                outcome = match rehome(&server, &room, &deadline).await {
                    Ok(()) => delete(&server, &room, &deadline).await,
                    Err(failure) => Err(failure.or_missing(|upstream| room_not_found(&room, upstream)).into()),
                };
            }
            match outcome {
                Ok(()) | Err(Failure::NotFound(_) | Failure::NotFoundAgain(_)) => Ok(()),
                Err(failure) => Err(failure.or_missing(|upstream| room_not_found(&room, upstream))),
            }
        };
        turns::alone(&key, work)
    }

    fn list_rooms(&self, prefix: RoomPrefix, deadline: &Deadline) -> Work<Vec<Room>> {
        let (server, deadline) = (self.server.clone(), deadline.clone());
        Work::new(async move {
            let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
            let request = proto::ListRoomsRequest::default();
            let answer = server.call::<proto::ListRoomsResponse>(&LIST_ROOMS, grants, &request, &deadline).await;
            let listed = answer.map_err(unexpected)?.message;
            let own =
                listed.rooms.iter().filter_map(|room| Some(convert::room(prefix.strip(&room.name)?.to_owned(), room)));
            let mut rooms: Vec<Room> = own.collect();
            rooms.sort_unstable_by(|a, b| by_name(&a.name, &b.name));
            Ok(rooms)
        })
    }

    fn list_participants(&self, room: RoomName, deadline: &Deadline) -> Work<Vec<Participant>> {
        let (server, deadline) = (self.server.clone(), deadline.clone());
        Work::new(async move {
            let request = proto::ListParticipantsRequest { room: room.on_server().to_owned() };
            let answer = server
                .call::<proto::ListParticipantsResponse>(&LIST_PARTICIPANTS, admin_of(&room), &request, &deadline)
                .await;
            let answer = answer.map_err(|failure| failure.or_missing(|upstream| room_not_found(&room, upstream)))?;
            let mut participants: Vec<_> = answer.message.participants.into_iter().map(convert::participant).collect();
            participants.sort_unstable_by(|a, b| by_name(&a.identity, &b.identity));
            Ok(participants)
        })
    }

    fn remove_participant(&self, room: RoomName, identity: Identity, deadline: &Deadline) -> Work<()> {
        let (server, deadline) = (self.server.clone(), deadline.clone());
        Work::new(async move {
            let (room_name, identity) = (room.on_server().to_owned(), identity.as_str().to_owned());
            let request =
                proto::RoomParticipantIdentity { room: room_name, identity: identity.clone(), ..Default::default() };
            let answer = server
                .call::<proto::RemoveParticipantResponse>(&REMOVE_PARTICIPANT, admin_of(&room), &request, &deadline)
                .await;
            match answer {
                Ok(_) | Err(Failure::NotFoundAgain(_)) => Ok(()),
                Err(failure) => Err(failure.or_missing(|upstream| MediaError::ParticipantNotFound {
                    room: room.id().to_owned(),
                    identity,
                    upstream,
                })),
            }
        })
    }

    fn close(&self) -> Work<()> {
        // Connections belong to the process, and idle ones close by themselves.
        Work::done(Ok(()))
    }
}

async fn create(
    server: &Twirp,
    room: &RoomName,
    settings: &RoomSettings,
    deadline: &Deadline,
) -> Result<Room, Failure> {
    let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
    let request = convert::create_request(room, settings);
    let Answer { message, upstream } = server.call::<proto::Room>(&CREATE_ROOM, grants, &request, deadline).await?;
    if message.name != room.on_server() {
        return Err(MediaError::BadResponse { mismatch: Mismatch::OtherRoom, upstream }.into());
    }
    Ok(convert::room(room.id().to_owned(), &message))
}

/// Gives a node to a room whose node died: LiveKit lists its record for ever and cannot delete it, but creates it anew.
async fn rehome(server: &Twirp, room: &RoomName, deadline: &Deadline) -> Result<(), Failure> {
    loop {
        let asked = Instant::now();
        let outcome = create(server, room, &RoomSettings::default(), deadline).await;
        // For 5 s LiveKit still sends calls to a node that died, and waits 3 s for it. One that refuses at once is
        // another matter.
        let was_silent = asked.elapsed() > Duration::from_secs(1);
        if !(was_silent && matches!(outcome, Err(Failure::NoNode(_)))) {
            return outcome.map(drop);
        }
    }
}

async fn delete(server: &Twirp, room: &RoomName, deadline: &Deadline) -> Result<(), Failure> {
    let grants = VideoGrants { room_create: true, ..VideoGrants::default() };
    let request = proto::DeleteRoomRequest { room: room.on_server().to_owned() };
    server.call::<proto::DeleteRoomResponse>(&DELETE_ROOM, grants, &request, deadline).await.map(drop)
}

fn admin_of(room: &RoomName) -> VideoGrants {
    VideoGrants { room_admin: true, room: room.on_server().to_owned(), ..VideoGrants::default() }
}

fn room_not_found(room: &RoomName, upstream: Upstream) -> MediaError {
    MediaError::RoomNotFound { room: room.id().to_owned(), upstream }
}

/// `not_found` where nothing was named: not an answer LiveKit gives.
fn unexpected(failure: Failure) -> MediaError {
    failure.or_missing(|upstream| MediaError::Refused { code: "not_found".into(), upstream })
}
