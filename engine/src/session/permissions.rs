//! What participants may do, and who is sent what.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::signal_response::Message;
use proto::{DisconnectReason, TrackSource};

use crate::session::SessionId;
use crate::session::participant::{Announced, Participant};
use crate::session::room::{Context, Removal, Room};
use crate::session::worker::SLICE;
use crate::sfu::down_track::{Subscription, TrackId};
use crate::sfu::layer_selector::TrackSettings;

/// The most tracks that a participant may have chosen or put aside one by one.
const MAX_SUBSCRIPTION_OVERRIDES: usize = 4096;

/// No track's `sid` is longer.
const MAX_SID_BYTES: usize = 64;
/// The most permissions that a publisher may give, of tracks and participants.
const MAX_PERMISSIONS: usize = 4096;

/// What a token calls a source.
fn name_of(source: TrackSource) -> String {
    source.as_str_name().to_ascii_lowercase()
}

/// What a token's grants allow in a room.
#[expect(deprecated, reason = "older tokens still say `recorder` and `agent` among the permissions")]
pub(crate) fn from_grants(grants: &VideoGrants) -> proto::ParticipantPermission {
    let source = |name: &String| {
        let known = TrackSource::from_str_name(&name.to_ascii_uppercase());
        known.filter(|known| name_of(*known) == *name).map(i32::from)
    };
    let named = &grants.can_publish_sources;
    let sources: Vec<i32> = named.iter().filter_map(source).collect();
    // An empty list would allow all; names that nobody knows allow nothing.
    let can_publish = grants.can_publish() && (named.is_empty() || !sources.is_empty());
    proto::ParticipantPermission {
        can_subscribe: grants.can_subscribe(),
        can_publish,
        can_publish_data: grants.can_publish_data(),
        can_publish_sources: sources,
        hidden: grants.hidden,
        recorder: grants.recorder,
        can_update_metadata: grants.can_update_own_metadata(),
        agent: grants.agent,
        ..proto::ParticipantPermission::default()
    }
}

/// The grants that allow so much.
#[expect(deprecated, reason = "older tokens still say `recorder` and `agent` among the permissions")]
pub(crate) fn apply_to(permission: &proto::ParticipantPermission, grants: &mut VideoGrants) {
    let name = |source: &i32| name_of(TrackSource::try_from(*source).unwrap_or_default());
    grants.can_subscribe = Some(permission.can_subscribe);
    grants.can_publish = Some(permission.can_publish);
    grants.can_publish_data = Some(permission.can_publish_data);
    grants.can_publish_sources = permission.can_publish_sources.iter().map(name).collect();
    grants.can_update_own_metadata = Some(permission.can_update_metadata);
    grants.hidden = permission.hidden;
    grants.recorder = permission.recorder;
    grants.agent = permission.agent;
}

/// Whether a track of that source may be published.
pub(crate) fn may_publish(permission: &proto::ParticipantPermission, source: i32) -> bool {
    let sources = &permission.can_publish_sources;
    permission.can_publish && (sources.is_empty() || sources.contains(&source))
}

/// Who may subscribe to a publisher's tracks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionPermission {
    all_participants: bool,
    /// By `sid`, for permissions without an identity.
    by_sid: HashMap<String, AllowedTracks>,
    by_identity: HashMap<String, AllowedTracks>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct AllowedTracks {
    all: bool,
    sids: HashSet<String>,
}

impl SubscriptionPermission {
    /// All participants may have all tracks.
    pub(crate) fn all() -> Self {
        Self { all_participants: true, by_sid: HashMap::new(), by_identity: HashMap::new() }
    }

    /// What a publisher says of it.
    fn new(permission: proto::SubscriptionPermission) -> Self {
        let mut parsed = Self { all_participants: permission.all_participants, ..Self::all() };
        let named = permission.track_permissions.iter().map(|permission| 1 + permission.track_sids.len());
        if permission.all_participants || named.sum::<usize>() > MAX_PERMISSIONS {
            // Fewer than were meant may have the tracks; more never.
            return parsed;
        }
        for permission in permission.track_permissions {
            let allowed = if permission.participant_identity.is_empty() {
                parsed.by_sid.entry(permission.participant_sid)
            } else {
                parsed.by_identity.entry(permission.participant_identity)
            };
            let allowed = allowed.or_default();
            allowed.all |= permission.all_tracks;
            allowed.sids.extend(permission.track_sids);
        }
        parsed
    }

    /// Whether that participant may have a track.
    fn may_subscribe(&self, who: &proto::ParticipantInfo, track_sid: &str) -> bool {
        let named = [self.by_sid.get(&who.sid), self.by_identity.get(&who.identity)];
        let may = |allowed: &AllowedTracks| allowed.all || allowed.sids.contains(track_sid);
        self.all_participants || named.into_iter().flatten().any(may)
    }
}

impl Participant {
    fn wants(&self, track_sid: &str) -> bool {
        self.subscription_overrides.get(track_sid).copied().unwrap_or(self.auto_subscribe)
    }
}

impl Room {
    /// Notes what a participant wants, or another wants for it.
    pub(crate) fn set_subscription(
        &mut self,
        id: SessionId,
        track_sids: impl IntoIterator<Item = String>,
        wanted: bool,
    ) {
        let track_sids: Vec<String> = track_sids.into_iter().filter(|sid| sid.len() <= MAX_SID_BYTES).collect();
        if self.participants.get(&id).is_some_and(|participant| {
            participant.subscription_overrides.len() + track_sids.len() > MAX_SUBSCRIPTION_OVERRIDES
        }) {
            self.prune_overrides(id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for sid in track_sids {
            if participant.subscription_overrides.len() < MAX_SUBSCRIPTION_OVERRIDES
                || participant.subscription_overrides.contains_key(&sid)
            {
                participant.subscription_overrides.insert(sid, wanted);
            }
        }
    }

    /// Notes how a participant wants tracks: those that it is sent, and those that it may come to be sent.
    pub(crate) fn update_settings(
        &mut self,
        id: SessionId,
        track_sids: &[String],
        change: impl Fn(TrackSettings) -> TrackSettings,
    ) {
        if self
            .participants
            .get(&id)
            .is_some_and(|participant| participant.track_settings.len() + track_sids.len() > MAX_SUBSCRIPTION_OVERRIDES)
        {
            self.prune_overrides(id);
        }
        let Some(participant) = self.participants.get_mut(&id) else { return };
        for sid in track_sids.iter().filter(|sid| sid.len() <= MAX_SID_BYTES) {
            if participant.track_settings.len() < MAX_SUBSCRIPTION_OVERRIDES
                || participant.track_settings.contains_key(sid)
            {
                let wanted = participant.track_settings.entry(sid.clone()).or_default();
                *wanted = change(*wanted);
            }
        }
        for each in &mut participant.subscriptions {
            each.settings = participant.track_settings.get(&each.track_sid).copied().unwrap_or_default();
        }
    }

    /// Forgets what a participant has chosen of tracks that are gone.
    fn prune_overrides(&mut self, id: SessionId) {
        let tracks = self.participants.values().flat_map(|publisher| &publisher.tracks);
        let there: HashSet<String> = tracks.map(|track| track.info.sid.clone()).collect();
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.subscription_overrides.retain(|known, _| there.contains(known));
            participant.track_settings.retain(|known, _| there.contains(known));
        }
    }

    /// Reconciles the subscriptions of all participants with what is published, wanted and allowed: as many participants as fit into
    /// a [`SLICE`] at once, the others in later turns of the media thread.
    pub(crate) fn reconcile_all(&mut self, context: &mut Context<'_>) {
        self.reconcile_others(context, None);
    }

    /// As [`Room::reconcile_all`]; if a publisher is given, what it publishes.
    fn reconcile_others(&mut self, context: &mut Context<'_>, publisher: Option<SessionId>) {
        for id in self.participants.keys().filter(|id| Some(**id) != publisher) {
            self.unreconciled.push(*id, publisher);
        }
        self.reconcile_some(context);
    }

    /// Reconciles queued participants for a [`SLICE`]. A participant whose reconciliation panics is removed; the others are not
    /// affected.
    pub(crate) fn reconcile_some(&mut self, context: &mut Context<'_>) {
        let start = Instant::now();
        while start.elapsed() < SLICE {
            let Some((id, publisher)) = self.unreconciled.pop() else { return };
            let reconciled = catch_unwind(AssertUnwindSafe(|| {
                self.reconcile_with(id, publisher);
                self.negotiate(context, id);
            }));
            if reconciled.is_err() {
                self.remove(context, id, Removal::full_reconnect(DisconnectReason::StateMismatch));
            }
        }
        if !self.unreconciled.is_empty() {
            context.unreconciled.push(self.sid.clone());
        }
    }

    /// Brings what a participant is sent in line with what is there, wanted and allowed. It learns of it by the next
    /// [`Room::negotiate`].
    pub(crate) fn reconcile(&mut self, _context: &mut Context<'_>, id: SessionId) {
        self.reconcile_with(id, None);
    }

    /// As [`Room::reconcile`]; if a publisher is given, what it publishes.
    fn reconcile_with(&mut self, id: SessionId, publisher: Option<SessionId>) {
        // The publisher has left, and a full reconciliation follows its removal.
        if publisher.is_some_and(|publisher| !self.participants.contains_key(&publisher)) {
            return;
        }
        let Some(participant) = self.participants.get(&id) else { return };
        #[cfg(test)]
        assert_ne!(self.faulty, Some(id), "meant to be");
        let may_subscribe = participant.permission().can_subscribe;
        let concerns = |one: SessionId| one != id && publisher.is_none_or(|publisher| publisher == one);
        let subscribed: HashSet<TrackId> = participant.subscriptions.iter().map(|each| each.track).collect();
        let mut due: HashSet<TrackId> = HashSet::new();
        let (mut added, mut denied) = (Vec::new(), Vec::new());
        let publishers = match publisher {
            Some(publisher) => self.participants.range(publisher..=publisher),
            None => self.participants.range(..),
        };
        for (_, publisher) in publishers.filter(|(one, publisher)| concerns(**one) && !publisher.is_hidden()) {
            for track in publisher.tracks.iter().filter(|track| track.is_published) {
                let sid = &track.info.sid;
                if !may_subscribe || !participant.wants(sid) {
                    continue;
                }
                if !publisher.subscription_permission.may_subscribe(&participant.info, sid) {
                    denied.push((publisher.info.sid.clone(), sid.clone()));
                    continue;
                }
                due.insert(track.id);
                if !subscribed.contains(&track.id) {
                    let wanted = participant.track_settings.get(sid).copied().unwrap_or_default();
                    added.push(Subscription::new(participant, publisher, track, wanted));
                }
            }
        }
        let publisher_sid =
            publisher.and_then(|publisher| self.participants.get(&publisher)).map(|one| one.info.sid.clone());
        let Some(participant) = self.participants.get_mut(&id) else { return };
        participant.subscriptions.extend(added);
        participant.send_permission_changes(denied, publisher_sid.as_deref());
        participant.drop_subscriptions(|each| concerns(each.publisher) && !due.contains(&each.track));
    }

    /// Takes what a participant says of who may have its tracks.
    pub(crate) fn set_subscription_permission(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        permission: proto::SubscriptionPermission,
    ) {
        if self.revoke_subscriptions(id, SubscriptionPermission::new(permission)) {
            // In a large room, the clients are told in later turns of the media thread.
            self.reconcile_others(context, Some(id));
        }
    }

    /// Stops sending a publisher's tracks to participants outside the audience at once. Returns whether the audience has changed.
    fn revoke_subscriptions(&mut self, id: SessionId, permission: SubscriptionPermission) -> bool {
        if self.participants.get(&id).is_none_or(|participant| participant.subscription_permission == permission) {
            return false;
        }
        for other in self.participants.values_mut() {
            let info = std::mem::take(&mut other.info);
            other.drop_subscriptions(|each| each.publisher == id && !permission.may_subscribe(&info, &each.track_sid));
            other.info = info;
        }
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.subscription_permission = permission;
        }
        true
    }

    /// Gives a participant other permissions, with effect at once.
    pub(crate) fn set_permission(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        permission: proto::ParticipantPermission,
    ) {
        let Some(participant) = self.participants.get_mut(&id) else { return };
        let was_hidden = participant.is_hidden();
        let forbidden = participant.tracks.iter().filter(|track| !may_publish(&permission, track.info.source));
        let forbidden: Vec<String> = forbidden.map(|track| track.info.sid.clone()).collect();
        participant.info.permission = Some(permission);
        let is_hidden = participant.is_hidden();
        self.reconcile(context, id);
        self.unpublish(context, id, &forbidden, true);
        if is_hidden && !was_hidden {
            self.broadcast_as_left(id);
        }
        self.broadcast_participant(context, id, true);
        self.reconcile_all(context);
    }

    /// The others see it go, while it stays.
    pub(crate) fn broadcast_as_left(&mut self, id: SessionId) {
        let Some(participant) = self.participants.get(&id).filter(|participant| participant.announced > Announced::No)
        else {
            return;
        };
        let mut info = proto::ParticipantInfo {
            tracks: Vec::new(),
            version: participant.info.version + 1,
            ..participant.info.clone()
        };
        info.set_state(proto::participant_info::State::Disconnected);
        self.broadcast_except(id, Message::Update(proto::ParticipantUpdate { participants: vec![info] }));
    }
}

/// Queue of participants whose subscriptions have to be reconciled. Each is in it at most once.
#[derive(Debug, Default)]
pub(crate) struct ReconcileQueue {
    queue: VecDeque<SessionId>,
    /// The publisher whose tracks are concerned; `None`: those of all publishers.
    publishers: HashMap<SessionId, Option<SessionId>>,
}

impl ReconcileQueue {
    fn push(&mut self, id: SessionId, publisher: Option<SessionId>) {
        match self.publishers.entry(id) {
            Entry::Vacant(new) => {
                new.insert(publisher);
                self.queue.push_back(id);
            }
            Entry::Occupied(known) if *known.get() == publisher => (),
            Entry::Occupied(mut known) => *known.get_mut() = None,
        }
    }

    fn pop(&mut self) -> Option<(SessionId, Option<SessionId>)> {
        let id = self.queue.pop_front()?;
        Some((id, self.publishers.remove(&id).flatten()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Participant {
    /// Tells the participant which tracks it wants and may not have, and which of those it may by now; if a publisher is given, of
    /// that one's.
    fn send_permission_changes(&mut self, denied: Vec<(String, String)>, publisher_sid: Option<&str>) {
        let is_other = |(publisher, _): &(String, String)| publisher_sid.is_some_and(|sid| sid != publisher);
        let (mut kept, before): (Vec<_>, Vec<_>) = std::mem::take(&mut self.denied).into_iter().partition(is_other);
        let known: HashSet<&str> = before.iter().map(|(_, track)| track.as_str()).collect();
        let still: HashSet<&str> = denied.iter().map(|(_, track)| track.as_str()).collect();
        let begun = denied.iter().filter(|(_, track)| !known.contains(track.as_str())).map(|each| (each, false));
        let ended = before.iter().filter(|(_, track)| !still.contains(track.as_str())).map(|each| (each, true));
        for ((publisher, track), allowed) in begun.chain(ended) {
            self.send(Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
                participant_sid: publisher.clone(),
                track_sid: track.clone(),
                allowed,
            }));
        }
        kept.extend(denied);
        self.denied = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proto::signal_request::Message as Ask;
    use str0m::media::MediaKind;

    use super::*;
    use crate::session::caller::Caller;
    use crate::support;

    const ROOM: &str = "room";

    fn named(identity: &str, sid: &str) -> proto::ParticipantInfo {
        proto::ParticipantInfo { identity: identity.to_owned(), sid: sid.to_owned(), ..Default::default() }
    }

    fn allowed(identity: &str, sid: &str, tracks: &[&str]) -> proto::TrackPermission {
        proto::TrackPermission {
            participant_identity: identity.to_owned(),
            participant_sid: sid.to_owned(),
            all_tracks: tracks.is_empty(),
            track_sids: tracks.iter().map(|track| (*track).to_owned()).collect(),
        }
    }

    fn permission(track_permissions: Vec<proto::TrackPermission>) -> SubscriptionPermission {
        SubscriptionPermission::new(proto::SubscriptionPermission { all_participants: false, track_permissions })
    }

    #[test]
    fn a_participant_may_have_the_tracks_that_any_of_its_permissions_names() {
        let permissions = vec![
            allowed("ann", "", &["TR_1"]),
            allowed("ann", "", &["TR_2"]),
            allowed("", "PA_b", &[]),
            allowed("", "", &[]),
        ];
        let permission = permission(permissions);
        assert!(
            permission.may_subscribe(&named("ann", "PA_a"), "TR_1")
                && permission.may_subscribe(&named("ann", "PA_a"), "TR_2")
        );
        assert!(!permission.may_subscribe(&named("ann", "PA_a"), "TR_3"));
        assert!(permission.may_subscribe(&named("ben", "PA_b"), "TR_3"));
        assert!(!permission.may_subscribe(&named("cid", "PA_c"), "TR_1"));
        assert!(!permission.may_subscribe(&named("PA_b", "PA_c"), "TR_1"), "an identity is no sid");
        assert!(SubscriptionPermission::all().may_subscribe(&named("cid", "PA_c"), "TR_1"));
    }

    #[test]
    fn too_many_permissions_permit_nobody() {
        let most = (0..MAX_PERMISSIONS).map(|number| allowed(&number.to_string(), "", &[])).collect::<Vec<_>>();
        assert!(permission(most.clone()).may_subscribe(&named("7", "PA_7"), "TR_1"));
        let more = most.into_iter().chain([allowed("more", "", &[])]).collect();
        assert!(!permission(more).may_subscribe(&named("7", "PA_7"), "TR_1"));
    }

    #[tokio::test]
    async fn a_denial_remains_when_another_publisher_leaves_before_its_reconciliation() {
        let engine = support::start();
        let join = async |identity| Caller::join(engine.address(), ROOM, identity).await;
        let (ann, ben, cas) = (join("ann").await, join("ben").await, join("cas").await);
        tokio::join!(ann.publish(MediaKind::Video), ben.publish(MediaKind::Video));
        ann.say(Ask::SubscriptionPermission(proto::SubscriptionPermission::default()));
        let is_denial =
            |told: &Message| matches!(told, Message::SubscriptionPermissionUpdate(update) if !update.allowed);
        cas.until("is denied a track", |state| state.heard.iter().any(is_denial).then_some(())).await;
        let work = |worker: &mut super::super::Worker, reply: tokio::sync::oneshot::Sender<_>| {
            let denied = worker.with_identity(ROOM, "ben", |room, context, ben| {
                let cas = room.by_identity("cas").unwrap();
                room.unreconciled.push(cas, Some(ben));
                room.detach(context, ben, Removal::without_leave(DisconnectReason::ClientInitiated));
                room.reconcile_some(context);
                Ok(room.participants[&cas].denied.len())
            });
            let _ = reply.send(denied);
        };
        assert!(matches!(engine.shared.media.run(work).await, Some(Ok(1))));
    }

    #[tokio::test]
    async fn media_of_a_withdrawn_track_stops_before_any_client_is_told() {
        let engine = support::start();
        let join = async |identity| Caller::join(engine.address(), ROOM, identity).await;
        let (ann, ben, cas) = (join("ann").await, join("ben").await, join("cas").await);
        let sid = ann.publish(MediaKind::Audio).await;
        tokio::join!(ben.sees(std::slice::from_ref(&sid)), cas.sees(std::slice::from_ref(&sid)));
        let work = |worker: &mut super::super::Worker, reply: tokio::sync::oneshot::Sender<_>| {
            let sent = worker.with_identity(ROOM, "ann", |room, _, ann| {
                room.revoke_subscriptions(ann, permission(vec![allowed("ben", "", &[])]));
                let sent = |identity| room.participants[&room.by_identity(identity).unwrap()].subscriptions.len();
                Ok((sent("ben"), sent("cas")))
            });
            let _ = reply.send(sent);
        };
        assert!(matches!(engine.shared.media.run(work).await, Some(Ok((1, 0)))));
    }

    #[test]
    fn the_cost_of_a_permission_is_that_of_its_length() {
        let names: Vec<_> =
            (0..MAX_PERMISSIONS / 2).map(|number| allowed(&format!("name {number}"), "", &["TR"])).collect();
        let others: Vec<_> = (0..120).map(|number| named(&format!("other {number}"), "PA_other")).collect();
        let cost = || {
            let started = Instant::now();
            let permission = permission(names.clone());
            for other in &others {
                assert!((0..64).all(|track| !permission.may_subscribe(other, &format!("TR_{track}"))));
            }
            started.elapsed()
        };
        // By names, tracks and participants it would be seconds here.
        assert!((0..5).map(|_| cost()).min() < Some(Duration::from_millis(150)));
    }
}
