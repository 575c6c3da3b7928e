//! Changes of participants' permissions, and of who may subscribe to their tracks.

use std::collections::HashSet;

use livekit_protocol as proto;
use proto::signal_response::Message;

use crate::ids::SessionId;
use crate::session::permissions::{SubscriptionPermission, may_publish};
use crate::session::room::participant::{Announcement, Participant};
use crate::session::room::{Context, Room};

impl Room {
    /// Handles a publisher's subscription permissions.
    pub(crate) fn set_subscription_permission(
        &mut self,
        context: &mut Context<'_>,
        id: SessionId,
        permission: proto::SubscriptionPermission,
    ) {
        if self.revoke_subscriptions(id, SubscriptionPermission::new(permission)) {
            // Media stops at once; in a large room, clients are notified in later turns of the event loop.
            self.reconcile_others(context, Some(id));
        }
    }

    /// Drops the subscriptions that are no longer permitted. Returns whether the permissions have changed.
    fn revoke_subscriptions(&mut self, id: SessionId, permission: SubscriptionPermission) -> bool {
        if self.participants.get(&id).is_none_or(|participant| participant.subscription_permission == permission) {
            return false;
        }
        for other in self.participants.values_mut() {
            let info = std::mem::take(&mut other.info);
            other.drop_subscriptions(&mut self.router, |each| {
                each.publisher == id && !permission.may_subscribe(&info, &each.track_sid)
            });
            other.info = info;
        }
        if let Some(participant) = self.participants.get_mut(&id) {
            participant.subscription_permission = permission;
        }
        true
    }

    /// Changes a participant's permissions. Forbidden tracks are unpublished and unsubscribed at once.
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

    /// Notifies others as if the participant had left, because it is hidden from now on.
    pub(crate) fn broadcast_as_left(&mut self, id: SessionId) {
        let Some(participant) =
            self.participants.get(&id).filter(|participant| participant.announced > Announcement::No)
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

impl Participant {
    /// Sends a `SubscriptionPermissionUpdate` for each wanted track whose permission has changed. `denied` lists the wanted
    /// tracks that are denied now; with `publisher_sid`, only that publisher's are compared.
    pub(crate) fn send_permission_changes(&mut self, denied: Vec<(String, String)>, publisher_sid: Option<&str>) {
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
    use crate::session::client::TestClient;
    use crate::session::removal::Removal;
    use crate::support;

    const ROOM: &str = "room";

    #[tokio::test]
    async fn keeps_a_denial_when_another_publisher_leaves() {
        let engine = support::start();
        let join = async |identity| TestClient::join(engine.address(), ROOM, identity).await;
        let (ann, ben, cas) = (join("ann").await, join("ben").await, join("cas").await);
        tokio::join!(ann.publish(MediaKind::Video), ben.publish(MediaKind::Video));
        ann.send_request(Ask::SubscriptionPermission(proto::SubscriptionPermission::default()));
        let is_denial =
            |response: &Message| matches!(response, Message::SubscriptionPermissionUpdate(update) if !update.allowed);
        cas.wait_until("is denied a track", |state| state.responses.iter().any(is_denial).then_some(())).await;
        let work = |worker: &mut crate::session::worker::Worker, reply: tokio::sync::oneshot::Sender<_>| {
            let denied = worker.with_identity(ROOM, "ben", |room, context, ben| {
                let cas = room.by_identity("cas").unwrap();
                room.unreconciled.push_all([cas], Some(ben), [context.lane]);
                room.remove(context, ben, Removal::without_leave(proto::DisconnectReason::ClientInitiated));
                room.reconcile_until(context, Instant::now() + Duration::from_secs(1));
                Ok(room.participants[&cas].denied.len())
            });
            let _ = reply.send(denied);
        };
        assert!(matches!(engine.shared.media.run(work).await, Some(Ok(1))));
    }

    #[tokio::test]
    async fn stops_media_before_clients_are_notified() {
        let engine = support::start();
        let join = async |identity| TestClient::join(engine.address(), ROOM, identity).await;
        let (ann, ben, cas) = (join("ann").await, join("ben").await, join("cas").await);
        let sid = ann.publish(MediaKind::Audio).await;
        tokio::join!(
            ben.wait_for_packets(std::slice::from_ref(&sid)),
            cas.wait_for_packets(std::slice::from_ref(&sid))
        );
        let allowed = proto::TrackPermission {
            participant_identity: "ben".to_owned(),
            all_tracks: true,
            ..proto::TrackPermission::default()
        };
        let only_ben = proto::SubscriptionPermission { all_participants: false, track_permissions: vec![allowed] };
        let only_ben = SubscriptionPermission::new(only_ben);
        let work = |worker: &mut crate::session::worker::Worker, reply: tokio::sync::oneshot::Sender<_>| {
            let sent = worker.with_identity(ROOM, "ann", |room, _, ann| {
                room.revoke_subscriptions(ann, only_ben);
                let sent = |identity| room.participants[&room.by_identity(identity).unwrap()].subscriptions.len();
                Ok((sent("ben"), sent("cas")))
            });
            let _ = reply.send(sent);
        };
        assert!(matches!(engine.shared.media.run(work).await, Some(Ok((1, 0)))));
    }
}
