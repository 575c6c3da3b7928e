//! What participants may do, and who is sent what.

use std::collections::HashSet;

use livekit_protocol as proto;
use livekit_token::VideoGrants;
use proto::TrackSource;
use proto::signal_response::Message;

use super::PeerId;
use super::forwarding::{Subscription, TrackId};
use super::peer::Peer;
use super::room::{Context, Room};

/// The most tracks that a participant may have chosen or put aside one by one.
const MOST_CHOICES: usize = 4096;

/// No track's `sid` is longer.
const MOST_SID_BYTES: usize = 64;
/// The most permissions that a publisher may give, of tracks and participants.
const MOST_PERMISSIONS: usize = 4096;

/// What a token calls a source.
fn name_of(source: TrackSource) -> String {
    source.as_str_name().to_ascii_lowercase()
}

/// What a token's grants allow in a room.
#[expect(deprecated, reason = "older tokens still say `recorder` and `agent` among the permissions")]
pub(super) fn read(grants: &VideoGrants) -> proto::ParticipantPermission {
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
pub(super) fn write(permission: &proto::ParticipantPermission, grants: &mut VideoGrants) {
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
pub(super) fn may_publish(permission: &proto::ParticipantPermission, source: i32) -> bool {
    let sources = &permission.can_publish_sources;
    permission.can_publish && (sources.is_empty() || sources.contains(&source))
}

/// Whether a publisher lets somebody have one of its tracks.
fn is_audience(audience: &proto::SubscriptionPermission, who: &proto::ParticipantInfo, track_sid: &str) -> bool {
    audience.all_participants
        || audience.track_permissions.iter().any(|permission| {
            let is_named = if permission.participant_identity.is_empty() {
                permission.participant_sid == who.sid
            } else {
                permission.participant_identity == who.identity
            };
            is_named && (permission.all_tracks || permission.track_sids.iter().any(|sid| sid == track_sid))
        })
}

impl Peer {
    fn wants(&self, track_sid: &str) -> bool {
        self.choices.get(track_sid).copied().unwrap_or(self.subscribes_to_all)
    }
}

impl Room {
    /// Notes what a participant wants, or another wants for it.
    pub(super) fn choose(&mut self, id: PeerId, track_sids: impl IntoIterator<Item = String>, wanted: bool) {
        let track_sids: Vec<String> = track_sids.into_iter().filter(|sid| sid.len() <= MOST_SID_BYTES).collect();
        if self.peers.get(&id).is_some_and(|peer| peer.choices.len() + track_sids.len() > MOST_CHOICES) {
            self.forget_choices(id);
        }
        let Some(peer) = self.peers.get_mut(&id) else { return };
        for sid in track_sids {
            if peer.choices.len() < MOST_CHOICES || peer.choices.contains_key(&sid) {
                peer.choices.insert(sid, wanted);
            }
        }
    }

    /// Forgets what a participant has chosen of tracks that are gone.
    fn forget_choices(&mut self, id: PeerId) {
        let tracks = self.peers.values().flat_map(|publisher| &publisher.tracks);
        let there: HashSet<String> = tracks.map(|track| track.info.sid.clone()).collect();
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.choices.retain(|known, _| there.contains(known));
        }
    }

    /// Brings what everybody is sent in line with what is there, wanted and allowed.
    pub(super) fn reconcile_all(&mut self, context: &mut Context<'_>) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.reconcile(context, id);
            self.negotiate(context, id);
        }
    }

    /// Brings what a participant is sent in line with what is there, wanted and allowed. It learns of it by the next
    /// [`Room::negotiate`].
    pub(super) fn reconcile(&mut self, _context: &mut Context<'_>, id: PeerId) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        let may_subscribe = peer.permission().can_subscribe;
        let mut due: HashSet<TrackId> = HashSet::new();
        let mut denied = Vec::new();
        for publisher in self.peers.values().filter(|publisher| !publisher.is_hidden()) {
            for track in publisher.tracks.iter().filter(|track| track.is_public) {
                let sid = &track.info.sid;
                if !may_subscribe || !peer.wants(sid) {
                    continue;
                }
                if !is_audience(&publisher.audience, &peer.info, sid) {
                    denied.push((publisher.info.sid.clone(), sid.clone()));
                    continue;
                }
                due.insert(track.id);
                if !peer.subscriptions.iter().any(|subscription| subscription.track == track.id) {
                    peer.subscriptions.push(Subscription::new(publisher, track));
                }
            }
        }
        peer.tell_denied(denied);
        peer.drop_subscriptions(|subscription| !due.contains(&subscription.track));
        self.peers.insert(id, peer);
    }

    /// Takes what a participant says of who may have its tracks.
    pub(super) fn set_audience(
        &mut self,
        context: &mut Context<'_>,
        id: PeerId,
        mut audience: proto::SubscriptionPermission,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let all = audience.track_permissions.iter().map(|permission| 1 + permission.track_sids.len());
        if all.sum::<usize>() > MOST_PERMISSIONS {
            // Fewer than were meant may have the tracks; more never.
            audience.track_permissions.clear();
        }
        peer.audience = audience;
        self.reconcile_all(context);
    }

    /// Gives a participant other permissions, with effect at once.
    pub(super) fn permit(&mut self, context: &mut Context<'_>, id: PeerId, permission: proto::ParticipantPermission) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let was_hidden = peer.is_hidden();
        let forbidden = peer.tracks.iter().filter(|track| !may_publish(&permission, track.info.source));
        let forbidden: Vec<String> = forbidden.map(|track| track.info.sid.clone()).collect();
        peer.info.permission = Some(permission);
        let is_hidden = peer.is_hidden();
        self.unpublish(context, id, &forbidden, true);
        if is_hidden && !was_hidden {
            self.vanish(id);
        }
        self.announce(context, id, true);
        self.reconcile_all(context);
    }

    /// The others see it go, while it stays.
    pub(super) fn vanish(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else { return };
        let mut info =
            proto::ParticipantInfo { tracks: Vec::new(), version: peer.info.version + 1, ..peer.info.clone() };
        info.set_state(proto::participant_info::State::Disconnected);
        self.tell_others(id, Message::Update(proto::ParticipantUpdate { participants: vec![info] }));
    }
}

impl Peer {
    /// Tells the participant which tracks it wants and may not have, and which of those it may by now.
    fn tell_denied(&mut self, denied: Vec<(String, String)>) {
        let message = |participant_sid: String, track_sid: String, allowed| {
            Message::SubscriptionPermissionUpdate(proto::SubscriptionPermissionUpdate {
                participant_sid,
                track_sid,
                allowed,
            })
        };
        let before = std::mem::take(&mut self.denied);
        for (publisher, track) in denied {
            if !before.iter().any(|(_, known)| *known == track) {
                self.send(message(publisher.clone(), track.clone(), false));
            }
            self.denied.push((publisher, track));
        }
        for (publisher, track) in before {
            if !self.denied.iter().any(|(_, known)| *known == track) {
                self.send(message(publisher, track, true));
            }
        }
    }
}
