//! The packet path of a room: by which stream each published track arrives, and to which streams it is forwarded.
//!
//! A packet costs the lookup of its track, and then as much as that track has subscribers, whatever else is in the room.

use std::collections::HashMap;

use str0m::media::{Mid, Rid};
use str0m::rtp::RtpPacket;
use str0m::rtp::rtcp::NackEntry;
use tracing::debug;

use crate::ids::{PeerConnectionId, StreamId, TrackId};
use crate::net::connections::Connections;
use crate::net::peer_connection::{Io, PeerConnection};
use crate::sfu::active_speakers::ActiveSpeakers;
use crate::sfu::down_track::DownTrack;
use crate::sfu::keyframes::PliBudgets;
use crate::sfu::layer_selector::TrackSettings;
use crate::sfu::up_track::UpTrack;

/// A subscriber whose client turned out not to support a track's codec, with the track's first packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CodecUnsupported {
    pub(crate) track: TrackId,
    pub(crate) subscriber: PeerConnectionId,
}

#[derive(Default)]
pub(crate) struct Router {
    routes: HashMap<TrackId, Route>,
    /// The track that arrives by each stream.
    tracks: HashMap<StreamId, TrackId>,
    downlinks: HashMap<PeerConnectionId, Downlink>,
    /// By the connection that the audio arrives on.
    speakers: ActiveSpeakers<PeerConnectionId>,
}

/// A published track and its subscribers.
struct Route {
    source: StreamId,
    up_track: UpTrack,
    /// Sorted by their connection, which has at most one of them.
    down_tracks: Vec<DownTrack>,
}

/// A connection that tracks are forwarded to.
#[derive(Default)]
struct Downlink {
    /// The tracks by the sections that carry them.
    tracks: Vec<(Mid, TrackId)>,
    pli_budgets: PliBudgets,
}

impl Downlink {
    fn track(&self, mid: Mid) -> Option<TrackId> {
        self.tracks.iter().find(|(known, _)| *known == mid).map(|(_, track)| *track)
    }
}

impl Router {
    /// Adds a published track, which arrives by a stream. It has no subscribers yet.
    pub(crate) fn publish(&mut self, id: TrackId, source: StreamId, up_track: UpTrack) {
        self.unpublish(id);
        self.tracks.insert(source, id);
        self.routes.insert(id, Route { source, up_track, down_tracks: Vec::new() });
    }

    /// Removes a published track together with its subscriptions.
    pub(crate) fn unpublish(&mut self, id: TrackId) {
        let Some(route) = self.routes.remove(&id) else { return };
        if self.tracks.get(&route.source) == Some(&id) {
            self.tracks.remove(&route.source);
        }
        self.speakers.remove_source((route.source.connection, id));
        for down_track in route.down_tracks {
            self.forget(id, down_track.destination().connection);
        }
    }

    /// Starts to forward a track. Does nothing if the track is not published any more.
    pub(crate) fn subscribe(&mut self, id: TrackId, down_track: DownTrack) {
        let StreamId { connection, mid } = down_track.destination();
        self.unsubscribe(id, connection);
        let Some(route) = self.routes.get_mut(&id) else { return };
        let (Ok(index) | Err(index)) = route.position(connection);
        route.down_tracks.insert(index, down_track);
        self.downlinks.entry(connection).or_default().tracks.push((mid, id));
    }

    /// Stops forwarding a track to a connection.
    pub(crate) fn unsubscribe(&mut self, id: TrackId, subscriber: PeerConnectionId) {
        if let Some(route) = self.routes.get_mut(&id)
            && let Ok(index) = route.position(subscriber)
        {
            route.down_tracks.remove(index);
            self.forget(id, subscriber);
        }
    }

    /// Removes what a connection publishes, what it is subscribed to, and the limits of its PLIs.
    pub(crate) fn remove_connection(&mut self, id: PeerConnectionId) {
        let published = self.routes.iter().filter(|(_, route)| route.source.connection == id);
        let published: Vec<TrackId> = published.map(|(track, _)| *track).collect();
        for track in published {
            self.unpublish(track);
        }
        for (_, track) in self.downlinks.remove(&id).map(|downlink| downlink.tracks).unwrap_or_default() {
            self.unsubscribe(track, id);
        }
        self.speakers.remove(id);
    }

    fn forget(&mut self, id: TrackId, subscriber: PeerConnectionId) {
        if let Some(downlink) = self.downlinks.get_mut(&subscriber) {
            downlink.tracks.retain(|(_, track)| *track != id);
        }
    }

    /// Sets which layer a subscriber wants, if any.
    pub(crate) fn set_settings(&mut self, id: TrackId, subscriber: PeerConnectionId, settings: TrackSettings) {
        if let Some(down_track) = self.routes.get_mut(&id).and_then(|route| route.down_track(subscriber)) {
            down_track.set_settings(settings);
        }
    }

    /// Stops forwarding a track, or starts again with keyframes.
    pub(crate) fn set_muted(&mut self, io: &mut Io<'_>, connections: &mut Connections, id: TrackId, is_muted: bool) {
        let Some(route) = self.routes.get_mut(&id) else { return };
        route.up_track.set_muted(is_muted);
        if is_muted {
            return;
        }
        let subscribers = route.down_tracks.iter_mut().map(|down_track| {
            // Packets that were not forwarded must not look like lost ones.
            down_track.resync();
            down_track.destination().connection
        });
        let subscribers: Vec<PeerConnectionId> = subscribers.collect();
        for subscriber in subscribers {
            self.request_keyframe(io, connections, id, subscriber);
        }
    }

    /// Forwards a packet to the subscribers of its track.
    pub(crate) fn forward(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        source: StreamId,
        rid: Option<Rid>,
        packet: &RtpPacket,
    ) -> Vec<CodecUnsupported> {
        let mut unsupported = Vec::new();
        let Some(&id) = self.tracks.get(&source) else { return unsupported };
        let Some(Route { up_track, down_tracks, .. }) = self.routes.get_mut(&id) else { return unsupported };
        let Some(publisher) = connections.get(source.connection) else { return unsupported };
        let Some(inbound) = up_track.on_packet(publisher, rid, packet, io.now) else { return unsupported };
        if let Some(level) = inbound.audio_level() {
            self.speakers.observe((source.connection, id), level, packet.header.timestamp, io.now);
        }
        for down_track in down_tracks {
            let subscriber = down_track.destination().connection;
            // str0m keeps packets that it cannot send before the connection is established, without a bound.
            let Some(connection) = connections.get_mut(subscriber).filter(|connection| connection.is_connected())
            else {
                continue;
            };
            if !down_track.write_rtp(io, connection, up_track.layers(), &inbound) {
                unsupported.push(CodecUnsupported { track: id, subscriber });
            }
        }
        unsupported
    }

    /// A subscriber has lost packets that it cannot decode the stream without.
    pub(crate) fn on_pli(&mut self, io: &mut Io<'_>, connections: &mut Connections, stream: StreamId) {
        let Some(id) = self.downlinks.get(&stream.connection).and_then(|downlink| downlink.track(stream.mid)) else {
            return;
        };
        if let Some(down_track) = self.routes.get_mut(&id).and_then(|route| route.down_track(stream.connection)) {
            down_track.on_pli();
        }
        self.request_keyframe(io, connections, id, stream.connection);
    }

    /// Retransmits packets that a subscriber reports as lost.
    pub(crate) fn on_nack(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        stream: StreamId,
        entries: &[NackEntry],
    ) {
        let Some(id) = self.downlinks.get(&stream.connection).and_then(|downlink| downlink.track(stream.mid)) else {
            return;
        };
        let Some(down_track) = self.routes.get_mut(&id).and_then(|route| route.down_track(stream.connection)) else {
            return;
        };
        if let Some(connection) = connections.get_mut(stream.connection) {
            down_track.retransmit(io, connection, entries);
        }
    }

    /// Requests the keyframes that a subscriber needs to start its tracks, to change their layers, or to recover from a loss; none
    /// before its connection is established. Later calls make the requests that the limits do not allow yet.
    pub(crate) fn request_keyframes(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        subscriber: PeerConnectionId,
    ) {
        if !connections.get(subscriber).is_some_and(PeerConnection::is_connected) {
            return;
        }
        let Some(Downlink { tracks, pli_budgets }) = self.downlinks.get_mut(&subscriber) else { return };
        for (_, id) in tracks.iter() {
            if let Some(route) = self.routes.get_mut(id) {
                route.request_keyframe(io, connections, (*id, subscriber), pli_budgets);
            }
        }
        pli_budgets.prune(|id| tracks.iter().any(|(_, track)| *track == id));
    }

    fn request_keyframe(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        id: TrackId,
        subscriber: PeerConnectionId,
    ) {
        if !connections.get(subscriber).is_some_and(PeerConnection::is_connected) {
            return;
        }
        if let (Some(route), Some(downlink)) = (self.routes.get_mut(&id), self.downlinks.get_mut(&subscriber)) {
            route.request_keyframe(io, connections, (id, subscriber), &mut downlink.pli_budgets);
        }
    }

    /// Sends fillers for the tracks that a subscriber waits for the first packet of.
    pub(crate) fn send_fillers(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        subscriber: PeerConnectionId,
    ) {
        let Some(connection) = connections.get_mut(subscriber).filter(|connection| connection.is_connected()) else {
            return;
        };
        let Some(downlink) = self.downlinks.get(&subscriber) else { return };
        for (_, id) in &downlink.tracks {
            if let Some(down_track) = self.routes.get_mut(id).and_then(|route| route.down_track(subscriber)) {
                down_track.send_filler(io, connection);
            }
        }
    }

    /// The active speakers, by the connection that the audio arrives on.
    pub(crate) fn speakers(&mut self) -> &mut ActiveSpeakers<PeerConnectionId> {
        &mut self.speakers
    }
}

impl Route {
    fn position(&self, subscriber: PeerConnectionId) -> Result<usize, usize> {
        self.down_tracks.binary_search_by_key(&subscriber, |down_track| down_track.destination().connection)
    }

    fn down_track(&mut self, subscriber: PeerConnectionId) -> Option<&mut DownTrack> {
        let index = self.position(subscriber).ok()?;
        self.down_tracks.get_mut(index)
    }

    /// Requests the keyframe that a subscriber needs, if it needs one and the limits allow it.
    fn request_keyframe(
        &mut self,
        io: &mut Io<'_>,
        connections: &mut Connections,
        (id, subscriber): (TrackId, PeerConnectionId),
        budgets: &mut PliBudgets,
    ) {
        let Ok(index) = self.position(subscriber) else { return };
        let Some(layer) = self.down_tracks[index].needs_keyframe(&self.up_track, io.now) else { return };
        if self.up_track.is_pli_due(layer, io.now) && budgets.try_take(id, io.now) {
            self.up_track.note_pli(layer, io.now);
            let (publisher, _) = self.source.connection;
            debug!(track = id, publisher, subscriber = subscriber.0, ?layer, "PLI sent");
            if let Some(publisher) = connections.get_mut(self.source.connection) {
                publisher.request_keyframe(io, self.source.mid, layer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use str0m::media::MediaKind;

    use super::*;
    use crate::ids::{SessionId, SignalTarget};

    const PUBLISHER: PeerConnectionId = (1, SignalTarget::Publisher);

    fn downlink(session: SessionId) -> PeerConnectionId {
        (session, SignalTarget::Subscriber)
    }

    fn stream(connection: PeerConnectionId, mid: &str) -> StreamId {
        StreamId { connection, mid: mid.into() }
    }

    fn down_track(connection: PeerConnectionId, mid: &str) -> DownTrack {
        DownTrack::new(stream(connection, mid), MediaKind::Video, false, TrackSettings::default())
    }

    /// Track 7 with subscribers of those sessions.
    fn router(sessions: &[SessionId]) -> Router {
        let mut router = Router::default();
        router.publish(7, stream(PUBLISHER, "0"), UpTrack::new(MediaKind::Video, false, &[], &[]));
        for session in sessions {
            router.subscribe(7, down_track(downlink(*session), "1"));
        }
        router
    }

    fn subscribers(router: &Router, track: TrackId) -> Vec<PeerConnectionId> {
        router.routes[&track].down_tracks.iter().map(|each| each.destination().connection).collect()
    }

    #[test]
    fn finds_each_subscriber_in_whatever_order_they_came() {
        let mut router = router(&[5, 3, 9, 3]);
        assert_eq!(subscribers(&router, 7), [downlink(3), downlink(5), downlink(9)]);
        router.unsubscribe(7, downlink(5));
        router.unsubscribe(7, downlink(4));
        assert_eq!(subscribers(&router, 7), [downlink(3), downlink(9)]);
        assert_eq!(router.downlinks[&downlink(3)].tracks, [("1".into(), 7)]);
        assert!(router.downlinks[&downlink(5)].tracks.is_empty());
    }

    #[test]
    fn an_unpublished_track_leaves_nothing() {
        let mut router = router(&[2, 3]);
        router.unpublish(7);
        assert!(router.routes.is_empty() && router.tracks.is_empty());
        assert!(router.downlinks.values().all(|downlink| downlink.tracks.is_empty()));
        router.subscribe(7, down_track(downlink(2), "1"));
        assert!(router.downlinks[&downlink(2)].tracks.is_empty());
    }

    #[test]
    fn a_removed_connection_leaves_neither_tracks_nor_subscriptions() {
        let mut router = router(&[2, 3]);
        router.remove_connection(downlink(2));
        assert_eq!(subscribers(&router, 7), [downlink(3)]);
        assert!(!router.downlinks.contains_key(&downlink(2)));
        router.remove_connection(PUBLISHER);
        assert!(router.routes.is_empty() && router.tracks.is_empty());
    }

    #[test]
    fn a_section_that_is_used_again_carries_the_new_track() {
        let mut router = router(&[2]);
        router.publish(8, stream(PUBLISHER, "4"), UpTrack::new(MediaKind::Video, false, &[], &[]));
        router.unsubscribe(7, downlink(2));
        router.subscribe(8, down_track(downlink(2), "1"));
        assert_eq!(router.downlinks[&downlink(2)].track("1".into()), Some(8));
        // The publisher's section carries another track before the first is unpublished.
        router.publish(9, stream(PUBLISHER, "0"), UpTrack::new(MediaKind::Video, false, &[], &[]));
        router.unpublish(7);
        assert_eq!(router.tracks.get(&stream(PUBLISHER, "0")), Some(&9));
    }
}
