//! Sessions of participants: joins, resumes and removals.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{Context, Io, Now, SLICE, SessionEntry, Worker};
use crate::error::ApiError;
use crate::ids::SignalConnectionId;
use crate::session::join::{JoinParams, refuse_resume};
use crate::session::lane::Lane;
use crate::session::removal::Removal;
use crate::session::room::Room;

/// Minimum time between two reads of the machine's addresses for joins.
const MIN_INTERFACE_INTERVAL: Duration = Duration::from_millis(100);

impl Worker {
    /// Joins or resumes a participant.
    ///
    /// # Errors
    /// [`ApiError::Overloaded`] at the limit of participants; those of [`JoinParams::admit`] and [`JoinParams::check`].
    pub(super) fn join(&mut self, params: JoinParams) -> Result<SignalConnectionId, ApiError> {
        let signal_id = self.services.next_id();
        let log_rejection = |error: &ApiError| {
            let participant = params.claims.identity();
            info!(room = params.grants.room, participant, %error, "join rejected");
        };
        if params.request.reconnect {
            params.check(&self.services).inspect_err(log_rejection)?;
            self.resume(signal_id, params);
            return Ok(signal_id);
        }
        if self.sessions.len() >= self.services.limits.participants && !self.replaces(&params) {
            return Err(ApiError::Overloaded).inspect_err(log_rejection);
        }
        self.read_interfaces(MIN_INTERFACE_INTERVAL);
        let joined = params.admit(&self.services).inspect_err(log_rejection)?;
        let (name, sid) = (params.grants.room.clone(), joined.room.sid().to_owned());
        let id = self.services.next_id();
        let identity = joined.participant.identity.clone();
        let session = SessionEntry {
            room: sid.clone(),
            sid: joined.participant.sid.clone(),
            signal: Some(signal_id),
            lane: self.lane_of(&name, &identity),
            name: name.clone(),
            identity,
        };
        self.by_participant_sid.insert(session.sid.clone(), id);
        self.signal_connections.insert(signal_id, id);
        self.sessions.insert(id, session);
        self.rooms.entry(sid.clone()).or_insert_with(|| Room::new(name, sid));
        self.with_participant(id, |room, context| room.add_participant(context, (id, signal_id), params, joined));
        self.register(id);
        Ok(signal_id)
    }

    /// Whether a join replaces a participant of the same identity, so that their number does not grow.
    fn replaces(&mut self, params: &JoinParams) -> bool {
        self.room(&params.grants.room).is_some_and(|room| room.by_identity(params.claims.identity()).is_some())
    }

    fn resume(&mut self, signal_id: SignalConnectionId, params: JoinParams) {
        let identity = params.claims.identity();
        let known = self.room(&params.grants.room).and_then(|room| {
            let id = room.by_identity(identity)?;
            let info = room.participant_info(id)?;
            (info.sid == params.request.participant_sid).then_some(id)
        });
        let Some(id) = known else {
            info!(room = params.grants.room, participant = identity, "resume rejected");
            refuse_resume(&params.signal_sink);
            return;
        };
        self.read_interfaces(MIN_INTERFACE_INTERVAL);
        let replaced = self.sessions.get_mut(&id).and_then(|session| session.signal.replace(signal_id));
        replaced.and_then(|replaced| self.signal_connections.remove(&replaced));
        self.signal_connections.insert(signal_id, id);
        self.with_participant(id, |room, context| room.resume(context, (id, signal_id), params));
    }

    pub(super) fn on_signal_closed(&mut self, signal_id: SignalConnectionId) {
        let Some(id) = self.signal_connections.remove(&signal_id) else { return };
        self.with_own_lane(id, |room, context| room.on_signal_closed(context, id));
    }

    /// Takes over the participants that were evicted from the rooms of the server API.
    pub(super) fn evict(&mut self) {
        self.evicted.extend(self.services.rooms(|rooms, _| rooms.take_evicted()));
    }

    /// Removes evicted participants for a [`SLICE`].
    pub(super) fn remove_evicted(&mut self) {
        let start = Instant::now();
        while start.elapsed() < SLICE
            && let Some(evicted) = self.evicted.pop_front()
        {
            if let Some(id) = self.by_participant_sid.get(&evicted.sid).copied() {
                let removal = Removal::disconnect(evicted.reason);
                self.with_participant(id, |room, context| room.remove(context, id, removal));
            }
        }
        self.process_events();
    }

    /// Settles the rooms that have changed in this turn, for a [`SLICE`]. Waits for the end of evictions, because participants
    /// that are evicted next need no updates.
    pub(super) fn settle_rooms(&mut self) {
        let start = Instant::now();
        let deadline = start + SLICE;
        let mut now = start;
        while now < deadline
            && self.evicted.is_empty()
            && let Some(sid) = self.unsettled.pop_front()
        {
            let mut payers = Vec::new();
            let cost = self.cost_of(Lane::Api, now, |worker| {
                let Some(room) = worker.rooms.get_mut(&sid) else { return };
                let mut context = context!(worker);
                // A panic must not keep the rest of the room from being reconciled.
                let settled = catch_unwind(AssertUnwindSafe(|| room.settle(&mut context, deadline)));
                if let Ok(lanes) = settled {
                    payers = lanes;
                } else {
                    error!(room = room.name(), "panic in a step of a room");
                    room.schedule(&mut context);
                }
            });
            now += cost.time;
            self.debit(&payers, &cost, now);
        }
    }
}
