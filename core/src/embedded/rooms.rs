use std::sync::{Arc, Mutex, PoisonError};

use livekit_protocol::TrackInfo;
use maravilla_engine::ApiError;
use maravilla_engine::rooms::Settings;

use super::EmbeddedConfig;
use super::engines::{self, Running};
use crate::webhook::{self, Event, SignedWebhook};
use crate::{
    Call, DataMessage, Deadline, Identity, Join, MAX_RESULT_BYTES, MediaError, Outcome, Participant, ParticipantChange,
    Provider, Room, RoomName, RoomPrefix, RoomSettings, Secret, Track, TrackSource, Upstream, by_name, convert,
};

/// Provider on an engine in this process, which starts at the first call.
pub struct Embedded {
    config: EmbeddedConfig,
    state: Mutex<State>,
}

enum State {
    NotStarted,
    Running(Arc<Running>),
    Closed,
}

impl Embedded {
    /// A provider with that configuration. Starts nothing.
    #[must_use]
    pub fn new(config: EmbeddedConfig) -> Self {
        Self { config, state: Mutex::new(State::NotStarted) }
    }

    fn running(&self) -> Result<Arc<Running>, MediaError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Running(running) => Ok(running.clone()),
            State::Closed => Err(MediaError::Closed),
            State::NotStarted => {
                let start = if self.config.shared { engines::shared } else { engines::own };
                let running = start(&self.config)?;
                *state = State::Running(running.clone());
                Ok(running)
            }
        }
    }

    /// A call without waiting.
    fn ready<T>(&self, call: impl FnOnce(&Running) -> Result<T, MediaError>) -> Call<T> {
        Call::Ready(self.running().and_then(|running| call(&running)))
    }

    /// A call that waits for the media thread.
    fn pending<T: 'static, F>(&self, call: impl FnOnce(Arc<Running>) -> F) -> Call<T>
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        match self.running() {
            Ok(running) => Call::pending(call(running)),
            Err(error) => Call::Ready(Err(error)),
        }
    }
}

impl Provider for Embedded {
    fn media_url(&self) -> Outcome<Option<String>> {
        let running = self.running()?;
        let Running { engine, advertised_host, .. } = &*running;
        let own = || format!("ws://{advertised_host}:{}", engine.address().port());
        Ok(Some(self.config.public_url.clone().unwrap_or_else(own)))
    }

    fn engine_port(&self) -> Option<u16> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(running) => Some(running.engine.address().port()),
            State::NotStarted | State::Closed => None,
        }
    }

    fn generate_token(&self, join: &Join) -> Outcome<Secret> {
        let running = self.running()?;
        let epoch = running.engine.rooms(|rooms, _| rooms.epoch());
        running.signer.join(join, Some(epoch))
    }

    fn create_room(&self, room: RoomName, settings: RoomSettings, _: Deadline) -> Call<Room> {
        self.ready(|running| {
            let settings = Settings {
                empty_timeout: settings.empty_timeout_secs,
                departure_timeout: settings.departure_timeout_secs,
                max_participants: settings.max_participants,
                metadata: &settings.metadata,
            };
            let created = running.engine.rooms(|rooms, now| rooms.create(room.on_server(), &settings, now));
            Ok(convert::room(room.into_id(), created.map_err(|error| refused(&error))?.info()))
        })
    }

    fn delete_room(&self, room: RoomName, _: Deadline) -> Call<()> {
        self.ready(|running| {
            drop(running.engine.rooms(|rooms, now| rooms.delete_and_revoke(room.on_server(), now)));
            Ok(())
        })
    }

    fn list_rooms(&self, prefix: RoomPrefix, _: Deadline) -> Call<Vec<Room>> {
        self.ready(|running| {
            let (rooms, now) = running.engine.rooms(|rooms, now| (rooms.snapshot(), now));
            let own = |room: &maravilla_engine::rooms::Room| {
                Some(convert::room(prefix.strip(room.name())?.to_owned(), room.info()))
            };
            let mut listed: Vec<Room> = rooms.sorted(now).into_iter().filter_map(own).collect();
            listed.sort_by(|a, b| by_name(&a.name, &b.name));
            Ok(listed)
        })
    }

    fn get_room(&self, room: RoomName, _: Deadline) -> Call<Option<Room>> {
        self.ready(|running| {
            Ok(running.engine.rooms(|rooms, now| {
                let found = rooms.get(room.on_server(), now)?;
                Some(convert::room(room.id().to_owned(), found.info()))
            }))
        })
    }

    fn update_room(&self, room: RoomName, metadata: String, _: Deadline) -> Call<Room> {
        self.pending(|running| async move {
            let updated = running.engine.update_room_metadata(room.on_server(), metadata).await;
            let updated = updated.map_err(|error| room_error(&room, &error))?;
            Ok(convert::room(room.into_id(), &updated))
        })
    }

    fn list_participants(&self, room: RoomName, _: Deadline) -> Call<Vec<Participant>> {
        self.ready(|running| {
            let found = running.engine.rooms(|rooms, now| rooms.get(room.on_server(), now).cloned());
            let mut listed = found.map_or_else(|| Ok(Vec::new()), |room| participants(&room))?;
            listed.sort_by(|a, b| by_name(&a.identity, &b.identity));
            Ok(listed)
        })
    }

    fn get_participant(&self, room: RoomName, identity: Identity, _: Deadline) -> Call<Option<Participant>> {
        self.ready(|running| {
            let found = running
                .engine
                .rooms(|rooms, now| rooms.get(room.on_server(), now)?.participant(identity.as_str()).cloned());
            Ok(found.map(|found| convert::participant(Arc::unwrap_or_clone(found))))
        })
    }

    fn update_participant(
        &self,
        room: RoomName,
        identity: Identity,
        change: ParticipantChange,
        _: Deadline,
    ) -> Call<Participant> {
        self.pending(|running| async move {
            let permissions = change.permissions.clone();
            let request = convert::update_request(&room, &identity, change);
            let change = move |permission: &mut _| convert::change_permission(&permissions, permission);
            let updated = running.engine.update_participant(request, change).await;
            updated.map(convert::participant).map_err(|error| participant_error(&room, &identity, &error))
        })
    }

    fn mute_participant(
        &self,
        room: RoomName,
        identity: Identity,
        sources: Option<Vec<TrackSource>>,
        _: Deadline,
    ) -> Call<Vec<Track>> {
        self.pending(|running| async move {
            let (name, of) = (room.on_server().to_owned(), identity.as_str().to_owned());
            let chosen =
                move |info: &TrackInfo| convert::is_muted_by(sources.as_deref(), &convert::track(info.clone()));
            let muted = running.engine.mute_tracks(name, of, chosen).await;
            let muted = muted.map_err(|error| participant_error(&room, &identity, &error))?;
            Ok(muted.into_iter().map(convert::track).collect())
        })
    }

    fn send_data(&self, room: RoomName, message: DataMessage, _: Deadline) -> Call<()> {
        match convert::data_request(&room, message) {
            Err(error) => Call::Ready(Err(error)),
            Ok(request) => self.pending(|running| async move {
                running.engine.send_data(request).await.map_err(|error| room_error(&room, &error))
            }),
        }
    }

    fn remove_participant(&self, room: RoomName, identity: Identity, revoke_tokens: bool, _: Deadline) -> Call<bool> {
        self.ready(|running| {
            let removed = running.engine.rooms(|rooms, now| {
                let (name, of) = (room.on_server(), identity.as_str());
                if revoke_tokens { rooms.remove_and_revoke(name, of, now) } else { rooms.remove(name, of, now) }
            });
            removed.map_err(|error| participant_error(&room, &identity, &error))?;
            Ok(revoke_tokens)
        })
    }

    fn receive_webhook(&self, prefix: &RoomPrefix, body: &[u8], authorization: Option<&str>) -> Outcome<Option<Event>> {
        webhook::receive(&self.running()?.signer, prefix, body, authorization)
    }

    fn sign_webhook(&self, prefix: &RoomPrefix, event: Event) -> Outcome<SignedWebhook> {
        webhook::sign(&self.running()?.signer, prefix, event)
    }

    fn close(&self) -> Call<()> {
        if self.config.shared {
            return Call::Ready(Ok(()));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Running(running) = std::mem::replace(&mut *state, State::Closed) else {
            return Call::Ready(Ok(()));
        };
        Call::pending(async move {
            running.engine.close().await;
            Ok(())
        })
    }
}

/// Copies the participants, up to the maximum size of a result, because a participant's metadata can have half a megabyte.
fn participants(room: &maravilla_engine::rooms::Room) -> Result<Vec<Participant>, MediaError> {
    let mut left = MAX_RESULT_BYTES;
    let copied = room.participants().map(|info| {
        let attributes: usize = info.attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
        let size = info.metadata.len() + attributes;
        left = left.checked_sub(size).ok_or(MediaError::ResultTooLarge { max: MAX_RESULT_BYTES })?;
        Ok(convert::participant(info.clone()))
    });
    copied.collect()
}

/// The error of a call that concerns a participant.
fn participant_error(room: &RoomName, identity: &Identity, error: &ApiError) -> MediaError {
    match error {
        ApiError::NoParticipant => MediaError::ParticipantNotFound {
            room: room.id().to_owned(),
            identity: identity.as_str().to_owned(),
            upstream: upstream(error),
        },
        other => refused(other),
    }
}

/// The error of a call that concerns a room.
fn room_error(room: &RoomName, error: &ApiError) -> MediaError {
    match error {
        ApiError::NoRoom => MediaError::RoomNotFound { room: room.id().to_owned(), upstream: upstream(error) },
        other => refused(other),
    }
}

/// The error that a livekit-server's error of the same call becomes.
fn refused(error: &ApiError) -> MediaError {
    let (code, _) = error.code();
    MediaError::Refused { code: code.to_owned(), upstream: upstream(error) }
}

/// The HTTP status that a server's response with this error would have. There is no request id, because no request was made.
fn upstream(error: &ApiError) -> Upstream {
    let (_, status) = error.code();
    Upstream { request_id: None, status: Some(status) }
}
