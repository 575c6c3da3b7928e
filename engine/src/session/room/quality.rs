//! Updates of connection quality and of active speakers.

use std::collections::BTreeSet;
use std::time::Instant;

use livekit_protocol as proto;
use proto::signal_response::Message;

use crate::ids::SessionId;
use crate::session::quality::score;
use crate::session::room::participant::Participant;
use crate::session::room::{Context, Room};

impl Room {
    /// Sends the updates that are due at a tick.
    pub(crate) fn tick_room(&mut self, context: &mut Context<'_>) {
        self.flush_room_update(context.services);
        self.send_quality_updates(context.io.now);
        self.send_speaker_updates(context.io.now);
    }

    /// Sends each participant the changed connection quality of itself and of the publishers that it is subscribed to.
    fn send_quality_updates(&mut self, now: Instant) {
        let mut changed: Vec<SessionId> = Vec::new();
        for participant in self.participants.values_mut().filter(|participant| participant.is_active()) {
            let quality = participant.quality.evaluate(
                now.saturating_duration_since(participant.last_received_at(&self.connections)),
                participant.protocol,
            );
            if participant.quality.last_sent.replace(quality) != Some(quality) {
                changed.push(participant.id);
            }
        }
        let ids: Vec<SessionId> = self.participants.keys().copied().collect();
        for id in ids {
            let Some(participant) = self.participants.get(&id) else { continue };
            let own_and_others =
                participant.subscriptions.iter().map(|subscription| subscription.publisher).chain([id]);
            let is_known = |id: &SessionId| {
                self.participants.get(id).is_some_and(|participant| participant.quality.last_sent.is_some())
            };
            let concerning: BTreeSet<SessionId> = own_and_others.filter(is_known).collect();
            let is_due = |id: &&SessionId| changed.contains(id) || !participant.quality.reported.contains(id);
            let due = concerning.iter().filter(is_due).filter_map(|id| self.participants.get(id)?.quality_info());
            let updates: Vec<_> = due.collect();
            let Some(participant) = self.participants.get_mut(&id) else { continue };
            participant.quality.reported = concerning;
            if !updates.is_empty() {
                participant.send(Message::ConnectionQuality(proto::ConnectionQualityUpdate { updates }));
            }
        }
    }

    /// Sends changes of the active speakers.
    fn send_speaker_updates(&mut self, now: Instant) {
        let participants = &self.participants;
        let speakers: Vec<_> = self
            .router
            .speakers()
            .changes(now)
            .into_iter()
            .filter_map(|((id, _), level)| {
                let participant = participants.get(&id).filter(|participant| !participant.is_hidden())?;
                Some((id, proto::SpeakerInfo { sid: participant.info.sid.clone(), level, active: level > 0.0 }))
            })
            .collect();
        self.broadcast_speakers(&speakers);
    }

    /// Sends speakers to themselves and to their subscribers.
    pub(crate) fn broadcast_speakers(&mut self, speakers: &[(SessionId, proto::SpeakerInfo)]) {
        for participant in self.participants.values_mut() {
            // The end of speech is sent to all, because a participant that has unsubscribed would otherwise show the speaker as
            // active for ever.
            let concerns = |id: SessionId| {
                id == participant.id
                    || participant.subscriptions.iter().any(|subscription| subscription.publisher == id)
            };
            let last_sent = speakers.iter().filter(|(id, speaker)| !speaker.active || concerns(*id));
            let speakers: Vec<_> = last_sent.map(|(_, speaker)| speaker.clone()).collect();
            if !speakers.is_empty() {
                participant.send(Message::SpeakersChanged(proto::SpeakersChanged { speakers }));
            }
        }
    }
}

impl Participant {
    fn quality_info(&self) -> Option<proto::ConnectionQualityInfo> {
        let quality = self.quality.last_sent?;
        let participant_sid = self.info.sid.clone();
        Some(proto::ConnectionQualityInfo { participant_sid, quality: quality.into(), score: score(quality) })
    }
}
