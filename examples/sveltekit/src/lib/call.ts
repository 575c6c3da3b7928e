// The state of a call as plain data, independent of the framework. Each event of the LiveKit room makes a new snapshot. The class
// implements Svelte's store contract, and works with React's useSyncExternalStore.
import { ConnectionState, DisconnectReason, type LocalTrack, MediaDeviceFailure, type Participant, Room, RoomEvent, Track } from 'livekit-client';

export interface Person {
  identity: string;
  name: string;
  isMe: boolean;
  isSpeaking: boolean;
  isMuted: boolean;
  /** `false` for listeners. */
  canPublish: boolean;
  camera: Track | undefined;
  screen: Track | undefined;
}

export interface Message {
  id: number;
  name: string;
  isMine: boolean;
  text: string;
  at: Date;
}

export interface CallState {
  phase: 'joining' | 'live' | 'reconnecting' | 'over';
  /** Why the call is over. */
  endReason: string;
  /** A problem that does not end the call. */
  notice: string;
  me: Person | undefined;
  people: Person[];
  messages: Message[];
  /** The browser's autoplay policy blocks audio until a user gesture: call `startAudio` in one. */
  isAudioBlocked: boolean;
}

export const INITIAL_STATE: CallState = {
  phase: 'joining',
  endReason: '',
  notice: '',
  me: undefined,
  people: [],
  messages: [],
  isAudioBlocked: false,
};

/** Topic of the text streams that carry chat messages. */
const CHAT_TOPIC = 'chat';
/** Maximum characters of a received message; the rest is cut off. */
const MAX_MESSAGE_CHARS = 2_000;
const CONNECTION_LOST = 'The connection was lost';

const END_REASONS: Partial<Record<DisconnectReason, string>> = {
  [DisconnectReason.CLIENT_INITIATED]: 'You left',
  [DisconnectReason.PARTICIPANT_REMOVED]: 'You were removed',
  [DisconnectReason.ROOM_DELETED]: 'The huddle has ended',
  [DisconnectReason.DUPLICATE_IDENTITY]: 'You joined from another tab',
};

const DEVICE_NOTICES: Record<MediaDeviceFailure, string> = {
  [MediaDeviceFailure.PermissionDenied]: 'The browser does not let this page use camera or microphone.',
  [MediaDeviceFailure.NotFound]: 'No camera or microphone was found.',
  [MediaDeviceFailure.DeviceInUse]: 'Camera or microphone is in use by another program.',
  [MediaDeviceFailure.Other]: 'Camera or microphone cannot be used.',
};

/** Events that change the snapshot. */
const SNAPSHOT_EVENTS = [
  RoomEvent.ConnectionStateChanged,
  RoomEvent.ParticipantConnected,
  RoomEvent.ParticipantDisconnected,
  RoomEvent.ParticipantNameChanged,
  RoomEvent.ParticipantPermissionsChanged,
  RoomEvent.ActiveSpeakersChanged,
  // Unlike TrackUnsubscribed, this event comes after the track has been removed from its publication.
  RoomEvent.TrackSubscriptionStatusChanged,
  RoomEvent.TrackUnpublished,
  RoomEvent.TrackMuted,
  RoomEvent.TrackUnmuted,
  RoomEvent.LocalTrackPublished,
  RoomEvent.LocalTrackUnpublished,
  RoomEvent.AudioPlaybackStatusChanged,
] as const;

/** Whether the browser can share its screen: phones cannot, and no browser can on a page from plain http. Call it in the browser only. */
export const canShareScreen = (): boolean => 'getDisplayMedia' in (navigator.mediaDevices ?? {});

export class Call {
  #state = INITIAL_STATE;
  #room: Room | undefined;
  /** Tracks of camera and microphone. They capture until they are stopped. */
  #devices: LocalTrack[] = [];
  #isPublishing = false;
  readonly #listeners = new Set<(state: CallState) => void>();
  readonly #baseUrl: string;
  readonly #isListener: boolean;

  /** Has no side effects, so that server-side rendering can create it too. */
  constructor(groupId: string, isListener: boolean) {
    this.#baseUrl = `/api/huddles/${encodeURIComponent(groupId)}`;
    this.#isListener = isListener;
  }

  readonly getState = (): CallState => this.#state;

  /** Calls `listener` with the state now and after each change. Returns the function that unsubscribes it. */
  readonly subscribe = (listener: (state: CallState) => void): (() => void) => {
    this.#listeners.add(listener);
    listener(this.#state);
    return () => this.#listeners.delete(listener);
  };

  /** Requests a token from the server, connects, and publishes microphone and camera. Can be called again once the call is over. */
  async join(): Promise<void> {
    const room = new Room({ adaptiveStream: true, dynacast: true });
    this.#room = room;
    this.#set(INITIAL_STATE);
    this.#handleEvents(room);
    try {
      const { token, url }: JoinResponse = await this.#post('join', new URLSearchParams(this.#isListener ? { listen: '' } : {}));
      // The user may have left in the meantime.
      if (this.#room !== room) return;
      await room.connect(url, token);
    } catch (error) {
      if (this.#room === room) this.#end(error instanceof RequestError ? error.message : 'The call cannot be joined now');
      return;
    }
    if (!this.#isListener) await this.#publishDevices(room);
  }

  /** Disconnects. A page that is closed disconnects by itself. */
  async leave(): Promise<void> {
    const room = this.#room;
    this.#end('You left');
    await room?.disconnect();
  }

  async toggleMicrophone(): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!this.#isPublishing) await this.#withDevice(() => me?.setMicrophoneEnabled(!me.isMicrophoneEnabled));
  }

  async toggleCamera(): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!this.#isPublishing) await this.#withDevice(() => me?.setCameraEnabled(!me.isCameraEnabled));
  }

  /** Starts or stops screen sharing. Cancelling the browser's dialog is not an error. */
  async toggleScreen(): Promise<void> {
    const me = this.#room?.localParticipant;
    await me?.setScreenShareEnabled(!me.isScreenShareEnabled).catch(() => undefined);
  }

  async sendMessage(text: string): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!me) return;
    try {
      await me.sendText(text, { topic: CHAT_TOPIC });
      this.#addMessage(me, text);
    } catch {
      this.#set({ notice: 'The message could not be sent.' });
    }
  }

  /** Plays audio that the browser has blocked. Call it in a click handler. */
  async startAudio(): Promise<void> {
    await this.#room?.startAudio();
  }

  async remove(identity: string): Promise<void> {
    await this.#command('remove', new URLSearchParams({ identity }));
  }

  async endForEveryone(): Promise<void> {
    await this.#command('end');
  }

  dismissNotice(): void {
    this.#set({ notice: '' });
  }

  #set(change: Partial<CallState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener(this.#state);
  }

  #end(endReason: string): void {
    this.#room = undefined;
    for (const track of this.#devices.splice(0)) track.stop();
    this.#set({ phase: 'over', endReason, notice: '', people: [], me: undefined });
  }

  #handleEvents(room: Room): void {
    // Events of an earlier room may still arrive after the user has left and joined again.
    const ifCurrent =
      <Args extends unknown[]>(act: (...args: Args) => void) =>
      (...args: Args) => {
        if (this.#room === room) act(...args);
      };
    for (const event of SNAPSHOT_EVENTS) room.on(event, ifCurrent(() => this.#updateSnapshot(room)));
    room.on(
      RoomEvent.Disconnected,
      ifCurrent((reason?: DisconnectReason) => {
        // `join` reports a connection that fails before it is established.
        if (this.#state.phase !== 'joining') this.#end((reason !== undefined && END_REASONS[reason]) || CONNECTION_LOST);
      }),
    );
    // Audio elements are invisible, so they are appended to the body. Components attach video where they show it.
    room.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind === Track.Kind.Audio) document.body.append(track.attach());
    });
    room.on(RoomEvent.TrackUnsubscribed, (track) => {
      if (track.kind === Track.Kind.Audio) for (const element of track.detach()) element.remove();
    });
    room.registerTextStreamHandler(CHAT_TOPIC, async (reader, { identity }) => {
      // Ignore a message whose sender disconnects before it is complete.
      const text = await reader.readAll().catch(() => '');
      const sender = room.remoteParticipants.get(identity);
      if (this.#room === room && sender && text) this.#addMessage(sender, text.slice(0, MAX_MESSAGE_CHARS));
    });
  }

  #updateSnapshot(room: Room): void {
    const { localParticipant: me, remoteParticipants: others } = room;
    if (room.state === ConnectionState.Connecting || room.state === ConnectionState.Disconnected) return;
    const everyone = [me, ...[...others.values()].sort((a, b) => Number(a.joinedAt) - Number(b.joinedAt))];
    const people = everyone.map((participant) => personOf(participant));
    const phase = room.state === ConnectionState.Connected ? 'live' : 'reconnecting';
    this.#set({ phase, people, me: people[0], isAudioBlocked: !room.canPlaybackAudio });
  }

  #addMessage({ isLocal: isMine, name, identity }: Participant, text: string): void {
    const { messages } = this.#state;
    this.#set({ messages: [...messages, { id: messages.length, name: name || identity, isMine, text, at: new Date() }] });
  }

  async #publishDevices(room: Room): Promise<void> {
    this.#isPublishing = true;
    await this.#publishTracks(room);
    this.#isPublishing = false;
  }

  /** Requests camera and microphone together, so that the browser asks once. If that fails, publishes the one that is available. */
  async #publishTracks(room: Room): Promise<void> {
    const me = room.localParticipant;
    const tracks = await me.createTracks({ audio: true, video: true }).catch(() => undefined);
    if (this.#room !== room) {
      // The user left while the browser was asking for permission.
      for (const track of tracks ?? []) track.stop();
    } else if (tracks) {
      this.#devices = tracks;
      await this.#withDevice(() => Promise.all(tracks.map((track) => me.publishTrack(track))));
    } else {
      await this.#withDevice(() => me.setMicrophoneEnabled(true));
      await this.#withDevice(() => me.setCameraEnabled(true));
    }
  }

  /** Runs `act`, and turns a failure of a device into a notice. */
  async #withDevice(act: () => Promise<unknown> | undefined): Promise<void> {
    const room = this.#room;
    if (!room) return;
    try {
      await act();
    } catch (error) {
      const failure = MediaDeviceFailure.getFailure(error) ?? MediaDeviceFailure.Other;
      if (this.#room === room) this.#set({ notice: DEVICE_NOTICES[failure] });
    }
  }

  /** Calls a route whose response has no content; a failure becomes a notice. */
  async #command(route: string, form?: URLSearchParams): Promise<void> {
    try {
      await this.#post(route, form);
    } catch (error) {
      this.#set({ notice: error instanceof RequestError ? error.message : 'The server cannot be reached.' });
    }
  }

  /** Returns the JSON of the route's response, or `{}` for an empty one. */
  async #post(route: string, body = new URLSearchParams()) {
    const response = await fetch(`${this.#baseUrl}/${route}`, { method: 'POST', body });
    const content = await response.json().catch(() => ({}));
    if (!response.ok) throw new RequestError(content.error ?? 'Something went wrong');
    return content;
  }
}

/** The response of the route `join`: what a browser needs to connect. */
export interface JoinResponse {
  token: string;
  url: string;
  roomId: string;
}

/** An error response of the server's routes. Its message is for the user. */
class RequestError extends Error {}

function personOf(participant: Participant): Person {
  const { identity, name, isLocal, isSpeaking, isMicrophoneEnabled, permissions } = participant;
  const trackOf = (source: Track.Source) => {
    const publication = participant.getTrackPublication(source);
    return publication?.isMuted ? undefined : publication?.track;
  };
  return {
    identity,
    name: name || identity,
    isMe: isLocal,
    isSpeaking,
    isMuted: !isMicrophoneEnabled,
    canPublish: permissions?.canPublish ?? true,
    camera: trackOf(Track.Source.Camera),
    screen: trackOf(Track.Source.ScreenShare),
  };
}
