'use strict';

// The room state of this page's participant, as JSON.

(() => {
  const { ConnectionQuality, DisconnectReason, RoomEvent, Track } = window.LivekitClient;

  /** @param {any} publication */
  const stateOfTrack = (publication) => ({
    sid: publication.trackSid,
    name: publication.trackName,
    kind: publication.kind,
    isMuted: publication.isMuted,
    isEncrypted: publication.isEncrypted,
    mimeType: publication.mimeType,
    dimensions: publication.dimensions,
    ...(!publication.isLocal && {
      isSubscribed: publication.isSubscribed,
      isEnabled: publication.isEnabled,
      status: publication.subscriptionStatus,
      permission: publication.permissionStatus,
      streamState: publication.track?.streamState,
    }),
  });

  /** By source, or else by name. @param {any} participant */
  const tracksOf = (participant) =>
    Object.fromEntries(
      [...participant.trackPublications.values()].map((publication) => [
        publication.source === Track.Source.Unknown ? publication.trackName : publication.source,
        stateOfTrack(publication),
      ]),
    );

  /** @param {any} participant */
  const stateOfParticipant = (participant) => ({
    sid: participant.sid,
    identity: participant.identity,
    name: participant.name,
    metadata: participant.metadata,
    attributes: { ...participant.attributes },
    isSpeaking: participant.isSpeaking,
    quality: participant.connectionQuality ?? ConnectionQuality.Unknown,
    permissions: participant.permissions && JSON.parse(participant.permissions.toJsonString({ emitDefaultValues: true })),
    tracks: tracksOf(participant),
  });

  /** @param {any} room */
  const stateOf = (room) => ({
    state: room.state,
    room: { name: room.name, metadata: room.metadata, numParticipants: room.numParticipants, numPublishers: room.numPublishers },
    me: stateOfParticipant(room.localParticipant),
    others: Object.fromEntries([...room.remoteParticipants.values()].map((other) => [other.identity, stateOfParticipant(other)])),
    activeSpeakers: room.activeSpeakers.map(({ identity }) => identity),
  });

  /** Collects room events, as one short line each. @param {any} room @param {string[]} events */
  function collectEvents(room, events) {
    const keep = (event, format = () => '') => room.on(event, (...args) => events.push([event, format(...args)].join(' ').trim()));
    const identityOf = (participant) => participant?.identity;
    const sourceAndIdentity = (publication, participant) => `${publication.source ?? publication} ${identityOf(participant)}`;
    for (const event of ['Connected', 'SignalReconnecting', 'SignalConnected', 'Reconnecting', 'Reconnected']) keep(RoomEvent[event]);
    keep(RoomEvent.Disconnected, (reason) => DisconnectReason[reason]);
    for (const event of ['ParticipantConnected', 'ParticipantDisconnected']) keep(RoomEvent[event], identityOf);
    for (const event of ['TrackPublished', 'TrackUnpublished', 'TrackMuted', 'TrackUnmuted', 'LocalTrackPublished', 'LocalTrackUnpublished']) {
      keep(RoomEvent[event], sourceAndIdentity);
    }
    for (const event of ['TrackSubscribed', 'TrackUnsubscribed']) {
      keep(RoomEvent[event], (_track, publication, participant) => sourceAndIdentity(publication, participant));
    }
    keep(RoomEvent.TrackSubscriptionFailed, (sid, participant) => sourceAndIdentity(sid, participant));
    keep(RoomEvent.TrackSubscriptionPermissionChanged, (publication, status, participant) => `${sourceAndIdentity(publication, participant)} ${status}`);
    keep(RoomEvent.TrackStreamStateChanged, (publication, state, participant) => `${sourceAndIdentity(publication, participant)} ${state}`);
    keep(RoomEvent.ActiveSpeakersChanged, (speakers) => speakers.map(identityOf).join());
    keep(RoomEvent.ConnectionQualityChanged, (quality, participant) => `${identityOf(participant)} ${quality}`);
    keep(RoomEvent.ParticipantPermissionsChanged, (_before, participant) => identityOf(participant));
    keep(RoomEvent.ParticipantMetadataChanged, (_before, participant) => `${identityOf(participant)} ${participant.metadata}`);
    keep(RoomEvent.ParticipantNameChanged, (name, participant) => `${identityOf(participant)} ${name}`);
    keep(RoomEvent.ParticipantAttributesChanged, (changed, participant) => `${identityOf(participant)} ${JSON.stringify(changed)}`);
    keep(RoomEvent.RoomMetadataChanged, (metadata) => metadata);
    keep(RoomEvent.EncryptionError, (error) => error.message);
  }

  window.state = { collectEvents, stateOf };
})();
